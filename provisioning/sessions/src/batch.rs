//! Many devices: each on its own, so that one that fails stops no other, and so many at once as the station has fixtures.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use countersign_format::Digest;
use tokio::runtime::Handle;
use tokio::task::JoinSet;

use crate::report::{Failure, Report};
use crate::session::{Failed, Provisioned, provision};
use crate::step::{Step, Steps};
use crate::{Devices, Done, Durations, Error, Job, Journal, Row, Station};

/// How many errors of devices in a row, each of the authority's or the registry's, end a run.
const GIVES_UP_AFTER: u32 = 3;

/// Whoever watches a run.
pub trait Progress {
    /// It begins: so many rows, and so many of them done before.
    fn begins(&mut self, total: usize, before: usize);

    /// A device is done.
    fn done(&mut self, row: &Row, done: &Done);

    /// A device failed.
    fn failed(&mut self, failure: &Failure);
}

/// A list of devices on its way.
pub struct Batch<'a> {
    /// Where.
    pub station: Arc<Station>,
    /// Who finds the devices.
    pub devices: Arc<dyn Devices>,
    /// The list.
    pub rows: &'a [Row],
    /// What of it is done.
    pub journal: &'a mut Journal,
    /// How many devices stand in fixtures at once.
    pub at_once: usize,
    /// Who is told of each step.
    pub steps: Steps,
    /// Whether to begin no further device.
    pub stop: &'a (dyn Fn() -> bool + Sync),
}

impl Batch<'_> {
    /// Provisions the devices that the journal does not have. Ends before the list does when the authority or the registry
    /// no longer works, or when it is told to stop; devices that were begun are brought to an end.
    ///
    /// # Errors
    /// [`Error`] if the journal cannot be written: what is done then is on record all the same.
    pub async fn run(self, progress: &mut (dyn Progress + Send)) -> Result<Report, Error> {
        run(self, progress).await
    }
}

async fn run(batch: Batch<'_>, progress: &mut (dyn Progress + Send)) -> Result<Report, Error> {
    let Batch {
        station,
        devices,
        rows,
        journal,
        at_once,
        steps,
        stop,
    } = batch;
    let start = Instant::now();
    let before = rows
        .iter()
        .filter(|row| journal.done(&station.digest_of(row)).is_some())
        .count();
    progress.begins(rows.len(), before);
    let mut failures = Vec::new();
    let mut waiting = VecDeque::new();
    for (place, row) in rows.iter().enumerate() {
        match &row.job {
            Err(reason) => {
                let failure = Failure {
                    row: row.number,
                    device: row.id.clone(),
                    step: Step::Row,
                    error: reason.clone(),
                };
                progress.failed(&failure);
                failures.push(failure);
            }
            Ok(job) if journal.done(&station.digest_of(row)).is_none() => {
                waiting.push_back((place, job))
            }
            Ok(_) => {}
        }
    }
    let mut sessions = JoinSet::new();
    let mut took = Vec::new();
    let (mut in_a_row, mut stopped) = (0_u32, None);
    let mut unwritten = None;
    loop {
        while stopped.is_none() && sessions.len() < at_once.max(1) {
            if stop() {
                stopped = Some("it was told to; run the same command again to go on".to_owned());
                break;
            }
            let Some((place, job)) = waiting.pop_front() else {
                break;
            };
            let job = job.clone();
            let (station, devices) = (Arc::clone(&station), Arc::clone(&devices));
            let (steps, runtime) = (steps.clone(), Handle::current());
            sessions.spawn_blocking(move || {
                let outcome = session(&station, devices.as_ref(), &job, &runtime, &steps);
                (place, job, outcome)
            });
        }
        let Some(ended) = sessions.join_next().await else {
            break;
        };
        let Ok((place, job, outcome)) = ended else {
            // A session that panicked: its device is in nobody's list, and the next run asks for it again.
            stopped =
                Some("a session ended unexpectedly; this is a defect of the program".to_owned());
            continue;
        };
        let Some(row) = rows.get(place) else {
            continue;
        };
        match outcome {
            Ok(provisioned) => {
                in_a_row = 0;
                took.push(provisioned.took);
                let done = of(&station.digest_of(row), &job, &provisioned);
                // What stands in the fixtures is brought to an end all the same; it is in the registry.
                if unwritten.is_none()
                    && let Err(error) = journal.add(done.clone())
                {
                    stopped = Some(error.to_string());
                    unwritten = Some(error);
                }
                progress.done(row, &done);
            }
            Err(Failed { step, error }) => {
                in_a_row = if error.stops_a_batch() {
                    in_a_row.saturating_add(1)
                } else {
                    0
                };
                if in_a_row >= GIVES_UP_AFTER && stopped.is_none() {
                    stopped = Some(format!("no device would fare better: {error}"));
                }
                let failure = Failure {
                    row: row.number,
                    device: job.device.to_string(),
                    step,
                    error: error.to_string(),
                };
                progress.failed(&failure);
                failures.push(failure);
            }
        }
    }
    if let Some(error) = unwritten {
        return Err(error);
    }
    failures.sort_by_key(|failure: &Failure| failure.row);
    let done: Vec<Done> = rows
        .iter()
        .filter_map(|row| journal.done(&station.digest_of(row)).cloned())
        .collect();
    let seconds = start.elapsed().as_secs_f64();
    Ok(Report {
        version: 1,
        station: station.name.clone(),
        total: rows.len(),
        succeeded: done.len(),
        before,
        failed: failures.len(),
        left: waiting.len(),
        rate: rate(took.len(), seconds),
        seconds,
        milliseconds: Durations::of(took),
        stopped,
        failures,
        devices: done,
    })
}

fn session(
    station: &Station,
    devices: &dyn Devices,
    job: &Job,
    runtime: &Handle,
    steps: &Steps,
) -> Result<Provisioned, Failed> {
    steps.at(Step::Open);
    let opened = devices.of_key(&job.key).map_err(|error| Failed {
        step: Step::Open,
        error,
    })?;
    provision(station, job, opened.as_ref(), runtime, steps)
}

fn of(row: &Digest, job: &Job, provisioned: &Provisioned) -> Done {
    let leaf = provisioned
        .chain
        .first()
        .map(Vec::as_slice)
        .unwrap_or_default();
    Done {
        row: row.to_string(),
        device: job.device.to_string(),
        key: job.key.to_string(),
        serial: provisioned.certificate.serial.to_string(),
        certificate: Digest::of(leaf).to_string(),
        attested_by: provisioned.attested.as_str().to_owned(),
        hardware: provisioned
            .hardware
            .as_ref()
            .map(|hardware| hex::encode(hardware.hash())),
        locked: provisioned.is_locked,
        place: provisioned.place.clone(),
        micros: micros(provisioned.took),
    }
}

fn micros(took: Duration) -> u64 {
    u64::try_from(took.as_micros()).unwrap_or(u64::MAX)
}

fn rate(count: usize, seconds: f64) -> f64 {
    match u32::try_from(count) {
        Ok(count) if seconds > 0.0 => f64::from(count) / seconds,
        _ => 0.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::{Bench, Chips, issued, on_runtime, uri};
    use crate::{Device, read_list};
    use countersign_keys::KeyUri;

    /// The second device takes its time.
    struct Slow(Chips);

    impl Devices for Slow {
        fn of_key(&self, key: &KeyUri) -> Result<Arc<dyn Device>, Error> {
            if key.to_string() == uri(2) {
                std::thread::sleep(Duration::from_millis(500));
            }
            self.0.of_key(key)
        }
    }

    struct Silent;

    impl Progress for Silent {
        fn begins(&mut self, _: usize, _: usize) {}
        fn done(&mut self, _: &Row, _: &Done) {}
        fn failed(&mut self, _: &Failure) {}
    }

    #[test]
    fn devices_in_the_fixtures_are_brought_to_an_end_when_the_journal_is_full() {
        on_runtime(async {
            let bench = Bench::new();
            let station = bench.station().await;
            let registry = station.issuing.registry().clone();
            let template = uri(7).replace("i2c-7", "i2c-{row}");
            let list = b"id\npress-1\npress-2\npress-3\n";
            let rows = read_list(list, Some(&template)).expect("a list");
            let mut journal = Journal::full(&bench.path("journal"));
            let batch = Batch {
                station: Arc::new(station),
                devices: Arc::new(Slow(Chips::new())),
                rows: &rows,
                journal: &mut journal,
                at_once: 2,
                steps: Steps::default(),
                stop: &|| false,
            };
            let error = batch.run(&mut Silent).await.expect_err("no journal");
            assert!(matches!(error, Error::File { .. }), "{error}");
            let counts = [
                issued(&registry, "press-1").await,
                issued(&registry, "press-2").await,
                issued(&registry, "press-3").await,
            ];
            assert_eq!(counts, [1, 1, 0]);
        });
    }
}
