//! What is said while a batch goes on, on standard error: a bar where somebody watches, else a line for each device.

use std::io::{IsTerminal as _, Write as _};

use countersign_sessions::{Done, Failure, Progress, Row};

/// Characters of the bar.
const WIDTH: usize = 30;

/// Where it is said.
pub(super) struct Lines {
    is_watched: bool,
    total: usize,
    done: usize,
    failed: usize,
}

impl Lines {
    pub(super) fn new() -> Self {
        Self {
            is_watched: std::io::stderr().is_terminal(),
            total: 0,
            done: 0,
            failed: 0,
        }
    }

    /// A line for good; the bar moves down.
    fn say(&self, line: &str) {
        if self.is_watched {
            // To the line's beginning, and empty it.
            eprintln!("\r\x1b[K{line}");
        } else {
            eprintln!("{line}");
        }
        self.draw();
    }

    fn draw(&self) {
        if !self.is_watched {
            return;
        }
        let mut error = std::io::stderr().lock();
        // Nobody is told if nobody can be.
        let _ = write!(error, "\r\x1b[K{}", self.bar());
        if self.done.saturating_add(self.failed) >= self.total {
            let _ = writeln!(error);
        }
        let _ = error.flush();
    }

    fn bar(&self) -> String {
        let ended = self.done.saturating_add(self.failed).min(self.total);
        let filled = ended
            .saturating_mul(WIDTH)
            .checked_div(self.total)
            .unwrap_or(0);
        format!(
            "[{}{}] {ended} of {}, {} failed",
            "#".repeat(filled),
            ".".repeat(WIDTH.saturating_sub(filled)),
            self.total,
            self.failed
        )
    }
}

impl Progress for Lines {
    fn begins(&mut self, total: usize, before: usize) {
        (self.total, self.done) = (total, before);
        if before > 0 {
            self.say(&format!("{before} of {total} devices were done before"));
        }
        self.draw();
    }

    fn done(&mut self, row: &Row, done: &Done) {
        self.done = self.done.saturating_add(1);
        if self.is_watched {
            self.draw();
        } else {
            self.say(&format!(
                "row {}: {} has the certificate {}",
                row.number, done.device, done.serial
            ));
        }
    }

    fn failed(&mut self, failure: &Failure) {
        self.failed = self.failed.saturating_add(1);
        self.say(&format!(
            "row {}: {} failed at {}: {}",
            failure.row, failure.device, failure.step, failure.error
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bar_is_as_full_as_the_list_is_done() {
        let mut lines = Lines {
            is_watched: false,
            total: 0,
            done: 0,
            failed: 0,
        };
        assert!(lines.bar().starts_with("[....."));
        (lines.total, lines.done, lines.failed) = (30, 14, 1);
        assert!(lines.bar().starts_with("[###############..............."));
        assert!(lines.bar().ends_with("15 of 30, 1 failed"));
    }
}
