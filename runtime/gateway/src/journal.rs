//! The last lines about each service, for `logs`: what was said is kept for a while.
//!
//! Decides how many lines are kept and how many are told at once. What is said, and how it is escaped, is decided where it is
//! said.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{LazyLock, Mutex, PoisonError};

use serde::Serialize;
use tokio::sync::Notify;

/// Most lines that are kept of one service, and their most bytes together (32 KiB).
const LINES: usize = 200;
const BYTES: usize = 32 << 10;

/// The longest line that is kept, in bytes; what goes on beyond that is on standard error alone.
const LINE: usize = 4 << 10;

/// Most services of which lines are kept. Beyond that, those about which nothing was said for longest are forgotten.
const SERVICES: usize = 1_001;

/// Most lines that one answer tells, and about how many bytes (1 MiB).
const TOLD: usize = 2_000;
const TOLD_BYTES: usize = 1 << 20;

static JOURNAL: LazyLock<Mutex<Journal>> = LazyLock::new(Mutex::default);
static NEW: Notify = Notify::const_new();

/// A line that was said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Line {
    /// One more than that of the line before, whomever that was about.
    number: u64,
    /// When, by this machine's clock.
    at: String,
    /// About which service; empty for the gateway itself.
    service: String,
    /// What, escaped.
    text: String,
}

/// Some of the lines.
#[derive(Debug, Serialize)]
pub(crate) struct Told {
    version: u32,
    lines: Vec<Line>,
    /// Whether there are more behind these.
    more: bool,
}

#[derive(Default)]
struct Journal {
    last: u64,
    services: BTreeMap<String, Kept>,
}

#[derive(Default)]
struct Kept {
    bytes: usize,
    lines: VecDeque<Line>,
}

/// Keeps a line about a service, or about the gateway where the name is empty.
pub(crate) fn keep(service: &str, text: &str) {
    let at = countersign_roots::system_time().to_string();
    let mut journal = JOURNAL.lock().unwrap_or_else(PoisonError::into_inner);
    journal.keep(service, text, at);
    drop(journal);
    NEW.notify_waiters();
}

/// The lines behind number `after`, of one service or of all, oldest first.
pub(crate) fn tell(service: Option<&str>, after: u64) -> Told {
    let journal = JOURNAL.lock().unwrap_or_else(PoisonError::into_inner);
    journal.tell(service, after)
}

/// The same, and where there are none yet, what comes first.
pub(crate) async fn wait(service: Option<&str>, after: u64) -> Told {
    loop {
        let new = NEW.notified();
        let mut new = std::pin::pin!(new);
        // From here on it is told, so that no line comes between the look and the wait.
        new.as_mut().enable();
        let told = tell(service, after);
        if !told.lines.is_empty() {
            return told;
        }
        new.await;
    }
}

impl Journal {
    fn keep(&mut self, service: &str, text: &str, at: String) {
        self.last = self.last.saturating_add(1);
        if !self.services.contains_key(service) && self.services.len() >= SERVICES {
            self.forget_one();
        }
        let kept = self.services.entry(service.to_owned()).or_default();
        let line = Line {
            number: self.last,
            at,
            service: service.to_owned(),
            text: cut(text).to_owned(),
        };
        kept.bytes = kept.bytes.saturating_add(line.text.len());
        kept.lines.push_back(line);
        while kept.lines.len() > LINES || kept.bytes > BYTES {
            let Some(gone) = kept.lines.pop_front() else {
                break;
            };
            kept.bytes = kept.bytes.saturating_sub(gone.text.len());
        }
    }

    fn forget_one(&mut self) {
        let last = |kept: &Kept| kept.lines.back().map(|line| line.number);
        let quietest = self.services.iter().min_by_key(|(_, kept)| last(kept));
        if let Some(name) = quietest.map(|(name, _)| name.clone()) {
            self.services.remove(&name);
        }
    }

    fn tell(&self, service: Option<&str>, after: u64) -> Told {
        let wanted = |name: &str| service.is_none_or(|service| service == name);
        let mut lines: Vec<&Line> = self
            .services
            .iter()
            .filter(|(name, _)| wanted(name))
            .flat_map(|(_, kept)| &kept.lines)
            .filter(|line| line.number > after)
            .collect();
        lines.sort_by_key(|line| line.number);
        let mut bytes = 0_usize;
        let fits = lines.iter().take(TOLD).take_while(|line| {
            let fits = bytes < TOLD_BYTES;
            bytes = bytes.saturating_add(line.text.len());
            fits
        });
        let told: Vec<Line> = fits.map(|line| (*line).clone()).collect();
        Told {
            version: 1,
            more: told.len() < lines.len(),
            lines: told,
        }
    }
}

/// The beginning of a line that is too long, whole characters of it.
fn cut(text: &str) -> &str {
    let end = (0..=LINE.min(text.len()))
        .rev()
        .find(|end| text.is_char_boundary(*end));
    end.and_then(|end| text.get(..end)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(told: &Told) -> Vec<&str> {
        told.lines.iter().map(|line| line.text.as_str()).collect()
    }

    #[test]
    fn te29_of_a_service_that_says_much_the_last_is_kept_and_of_the_others_everything() {
        let mut journal = Journal::default();
        journal.keep("quiet", "only this", String::new());
        for number in 0..10_000 {
            journal.keep("loud", &number.to_string(), String::new());
        }
        assert_eq!(texts(&journal.tell(Some("quiet"), 0)), ["only this"]);
        let loud = journal.tell(Some("loud"), 0);
        assert_eq!(loud.lines.len(), LINES);
        assert_eq!(texts(&loud).last(), Some(&"9999"));
        assert_eq!(journal.tell(None, 0).lines.len(), LINES + 1);
        // What was told already is not told again.
        let last = loud.lines.last().expect("a line").number;
        assert!(journal.tell(None, last).lines.is_empty());
        assert_eq!(texts(&journal.tell(None, last - 1)), ["9999"]);
        // Long lines are cut, and count by their length.
        for _ in 0..100 {
            journal.keep("loud", &"é".repeat(LINE), String::new());
        }
        let loud = journal.tell(Some("loud"), 0);
        assert!(loud.lines.len() <= BYTES / LINE);
        assert!(loud.lines.iter().all(|line| line.text.len() <= LINE));
    }

    #[test]
    fn an_answer_is_bounded_and_says_that_there_is_more() {
        let mut journal = Journal::default();
        for service in 0..2_000 {
            for _ in 0..2 {
                journal.keep(&service.to_string(), "line", String::new());
            }
        }
        assert_eq!(journal.services.len(), SERVICES);
        let first = journal.tell(None, 0);
        assert_eq!((first.lines.len(), first.more), (TOLD, true));
        let last = first.lines.last().expect("a line").number;
        let rest = journal.tell(None, last);
        assert_eq!((rest.lines.len(), rest.more), (2 * SERVICES - TOLD, false));
    }
}
