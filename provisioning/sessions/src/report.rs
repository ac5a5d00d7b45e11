//! How a batch went, for programs and for people.

use std::fmt;
use std::path::Path;

use serde::Serialize;

use crate::{Done, Durations, Error, Step};

/// A device that is not done.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Failure {
    /// The row, from 1.
    pub row: usize,
    /// Who it is, as far as that could be read.
    pub device: String,
    /// The step that failed.
    pub step: Step,
    /// Why, in words.
    pub error: String,
}

/// How a batch went. A device that was done in an earlier run counts as done.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// Of the form.
    pub version: u32,
    /// Which station.
    pub station: String,
    /// How many rows the list has.
    pub total: usize,
    /// How many devices are done.
    pub succeeded: usize,
    /// How many of them were done before this run.
    pub before: usize,
    /// How many failed in this run.
    pub failed: usize,
    /// How many were not tried, because the run ended before.
    pub left: usize,
    /// How long the run took, in seconds.
    pub seconds: f64,
    /// Devices that were done in this run, for each second of it.
    pub rate: f64,
    /// How long they took.
    pub milliseconds: Durations,
    /// Why the run ended before its list did.
    pub stopped: Option<String>,
    /// What failed, by row.
    pub failures: Vec<Failure>,
    /// What is done, by row.
    pub devices: Vec<Done>,
}

impl Report {
    /// Whether every device of the list is done.
    #[must_use]
    pub const fn is_complete(&self) -> bool {
        self.succeeded == self.total
    }

    /// Writes it as JSON; what is there is replaced.
    ///
    /// # Errors
    /// [`Error::File`].
    pub fn write(&self, path: &Path) -> Result<(), Error> {
        let mut text =
            serde_json::to_vec_pretty(self).map_err(|error| Error::refused(error.to_string()))?;
        text.push(b'\n');
        crate::output::write(path, &text)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} of {} devices are done, {} of them before this run; {} failed, {} were not tried",
            self.succeeded, self.total, self.before, self.failed, self.left
        )?;
        let times = &self.milliseconds;
        writeln!(
            f,
            "{:.1} s, {:.1} devices a second; each took {:.0} ms (mean), {:.0} (p50), {:.0} (p95), {:.0} (p99)",
            self.seconds, self.rate, times.mean, times.p50, times.p95, times.p99
        )?;
        for failure in &self.failures {
            writeln!(
                f,
                "row {} ({}) failed at {}: {}",
                failure.row, failure.device, failure.step, failure.error
            )?;
        }
        match &self.stopped {
            Some(why) => writeln!(f, "stopped: {why}"),
            None => Ok(()),
        }
    }
}
