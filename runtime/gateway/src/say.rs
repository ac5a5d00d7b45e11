//! What the gateway says on standard error, for a journal or a terminal: one line each, with whom it is about.
//!
//! Lines wait in a queue for a thread that writes them. Where nobody takes them, they are dropped and counted: no component
//! and no stop waits for a reader. Where standard error is systemd's journal, each has its priority.

use std::io::{self, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use countersign_hosting::printable;

use crate::journal;

/// Most lines that wait.
const WAITING: usize = 1_024;

/// How long the end of the program waits for its last lines.
const LAST_WORDS: Duration = Duration::from_secs(1);

static QUEUE: OnceLock<SyncSender<String>> = OnceLock::new();
static TAKEN: AtomicU64 = AtomicU64::new(0);
static WRITTEN: AtomicU64 = AtomicU64::new(0);
static DROPPED: AtomicU64 = AtomicU64::new(0);

/// How much a line weighs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Priority {
    Error,
    Warning,
    Information,
}

/// Says something about a service, or about the gateway itself where `whom` is empty. The text may be a stranger's.
pub(crate) fn say(whom: &str, text: &str) {
    tell(Priority::Information, whom, text);
}

/// Says something that somebody should look at, as [`say`].
pub(crate) fn warn(whom: &str, text: &str) {
    tell(Priority::Warning, whom, text);
}

/// Says that something cannot be done, as [`say`].
pub(crate) fn complain(whom: &str, text: &str) {
    tell(Priority::Error, whom, text);
}

fn tell(priority: Priority, whom: &str, text: &str) {
    let text = printable(text);
    journal::keep(whom, &text);
    let prefix = prefix(priority, is_journal());
    let line = if whom.is_empty() {
        format!("{prefix}countersign-gateway: {text}\n")
    } else {
        format!("{prefix}countersign-gateway: {whom}: {text}\n")
    };
    let queue = QUEUE.get_or_init(|| {
        let (queue, lines) = sync_channel(WAITING);
        // Without the thread the queue has no reader, and everything is dropped.
        let _ = std::thread::Builder::new()
            .name("countersign-log".to_owned())
            .spawn(move || write(&lines));
        queue
    });
    let counter = match queue.try_send(line) {
        Ok(()) => &TAKEN,
        Err(_) => &DROPPED,
    };
    counter.fetch_add(1, Ordering::SeqCst);
}

/// What stands before a line for a journal (sd-daemon(3)).
fn prefix(priority: Priority, is_journal: bool) -> &'static str {
    match (is_journal, priority) {
        (false, _) => "",
        (true, Priority::Error) => "<3>",
        (true, Priority::Warning) => "<4>",
        (true, Priority::Information) => "<6>",
    }
}

/// Whether standard error is the stream to the journal that systemd names: somebody may have sent it elsewhere
/// (systemd.exec(5), `JOURNAL_STREAM`).
fn is_journal() -> bool {
    static IS: OnceLock<bool> = OnceLock::new();
    *IS.get_or_init(|| {
        let Ok(named) = std::env::var("JOURNAL_STREAM") else {
            return false;
        };
        let ours = std::fs::metadata("/proc/self/fd/2");
        ours.is_ok_and(|ours| named == format!("{}:{}", ours.dev(), ours.ino()))
    })
}

fn write(lines: &Receiver<String>) {
    for line in lines {
        let dropped = DROPPED.swap(0, Ordering::SeqCst);
        let mut error = io::stderr();
        if dropped > 0 {
            let _ = writeln!(
                error,
                "{}countersign-gateway: {dropped} lines were dropped, because nobody took them",
                prefix(Priority::Warning, is_journal())
            );
        }
        // Where nobody reads any more, components go on all the same.
        let _ = error.write_all(line.as_bytes());
        WRITTEN.fetch_add(1, Ordering::SeqCst);
    }
}

/// Waits until what was said is written, for a moment at most.
pub(crate) fn finish() {
    let until = Instant::now() + LAST_WORDS;
    while WRITTEN.load(Ordering::SeqCst) < TAKEN.load(Ordering::SeqCst) && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(2));
    }
}
