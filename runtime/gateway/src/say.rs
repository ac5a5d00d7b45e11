//! What the gateway says on standard error, for a journal or a terminal: one line each, with whom it is about.
//!
//! Lines wait in a queue for a thread that writes them. Where nobody takes them, they are dropped and counted: no component
//! and no stop waits for a reader.

use std::io::{self, Write as _};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use countersign_hosting::printable;

/// Most lines that wait.
const WAITING: usize = 1_024;

/// How long the end of the program waits for its last lines.
const LAST_WORDS: Duration = Duration::from_secs(1);

static QUEUE: OnceLock<SyncSender<String>> = OnceLock::new();
static TAKEN: AtomicU64 = AtomicU64::new(0);
static WRITTEN: AtomicU64 = AtomicU64::new(0);
static DROPPED: AtomicU64 = AtomicU64::new(0);

/// Says something about a service, or about the gateway itself where `whom` is empty. The text may be a stranger's.
pub(crate) fn say(whom: &str, text: &str) {
    let text = printable(text);
    let line = if whom.is_empty() {
        format!("countersign-gateway: {text}\n")
    } else {
        format!("countersign-gateway: {whom}: {text}\n")
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

fn write(lines: &Receiver<String>) {
    for line in lines {
        let dropped = DROPPED.swap(0, Ordering::SeqCst);
        let mut error = io::stderr();
        if dropped > 0 {
            let _ = writeln!(
                error,
                "countersign-gateway: {dropped} lines were dropped, because nobody took them"
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
