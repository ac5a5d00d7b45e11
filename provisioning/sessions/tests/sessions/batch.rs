//! A batch: errors of single devices, what is done again and what is not, and a thousand chips.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use countersign_provisioning::Profile;
use countersign_sessions::{
    Batch, Devices, Done, Failure, Journal, Progress, Report, Row, Station, Step, Steps, read_list,
};

use crate::bench::{Bench, Chips, issued, on_runtime, uri};

/// Counts what it is told.
#[derive(Default)]
pub(crate) struct Seen {
    pub(crate) total: usize,
    pub(crate) before: usize,
    pub(crate) done: Vec<String>,
    pub(crate) failed: Vec<usize>,
}

impl Progress for Seen {
    fn begins(&mut self, total: usize, before: usize) {
        (self.total, self.before) = (total, before);
    }

    fn done(&mut self, _: &Row, done: &Done) {
        self.done.push(done.device.clone());
    }

    fn failed(&mut self, failure: &Failure) {
        self.failed.push(failure.row);
    }
}

/// Twenty rows, three of them bad: an identity that is none, a device twice, a chip that is another row's.
pub(crate) fn twenty() -> Vec<u8> {
    let mut list = "id,type,revision,firmware,key\n".to_owned();
    for number in 1..=20 {
        let (id, bus) = match number {
            5 => ("../../etc/passwd".to_owned(), 5),
            9 => ("press-8".to_owned(), 9),
            // The operator forgot to exchange the device.
            14 => ("press-14".to_owned(), 2),
            _ => (format!("press-{number}"), number),
        };
        list += &format!("{id},press,B,1.2.0,{}\n", uri(bus));
    }
    list.into_bytes()
}

pub(crate) async fn run(
    station: &Station,
    devices: Arc<dyn Devices>,
    rows: &[Row],
    journal: &mut Journal,
    at_once: usize,
    steps: Steps,
    seen: &mut Seen,
) -> Report {
    let batch = Batch {
        station: Arc::new(station.clone()),
        devices,
        rows,
        journal,
        at_once,
        steps,
        stop: &|| false,
    };
    batch.run(seen).await.expect("a report")
}

#[test]
fn tg02_tg08_three_bad_rows_stop_no_other_and_nothing_is_done_twice() {
    on_runtime(async {
        let bench = Bench::new();
        let station = bench.station().await;
        let rows = read_list(&twenty(), None).expect("a list");
        let chips: Arc<dyn Devices> = Arc::new(Chips::new());
        let path = bench.path("batch.journal");
        let mut journal = Journal::open(&path).expect("a journal");
        let mut seen = Seen::default();
        let steps = Steps::default();
        let report = run(
            &station,
            Arc::clone(&chips),
            &rows,
            &mut journal,
            1,
            steps,
            &mut seen,
        )
        .await;
        assert_eq!(
            (report.total, report.succeeded, report.failed),
            (20, 17, 3),
            "{report}"
        );
        let rows_failed: Vec<(usize, Step)> = report
            .failures
            .iter()
            .map(|failure| (failure.row, failure.step))
            .collect();
        assert_eq!(
            rows_failed,
            [(5, Step::Row), (9, Step::Row), (14, Step::Register)]
        );
        assert_eq!(seen.done.len(), 17);
        assert!(
            report.milliseconds.p50 > 0.0 && report.milliseconds.p50 <= report.milliseconds.p99
        );
        assert!(report.rate > 0.0 && !report.is_complete());
        report.write(&bench.path("report.json")).expect("written");
        let text = std::fs::read_to_string(bench.path("report.json")).expect("there");
        for word in [
            "\"succeeded\": 17",
            "\"p95\"",
            "\"step\": \"register\"",
            "press-20",
        ] {
            assert!(text.contains(word), "{word}: {text}");
        }

        // Again: what is done is not asked for, and the bad rows fail again.
        drop(journal);
        let mut journal = Journal::open(&path).expect("a journal");
        let asked = Arc::new(AtomicU32::new(0));
        let counted = Arc::clone(&asked);
        let steps = Steps::to(move |step| {
            if step == Step::Issue {
                counted.fetch_add(1, Ordering::SeqCst);
            }
        });
        let mut seen = Seen::default();
        let again = run(&station, chips, &rows, &mut journal, 1, steps, &mut seen).await;
        assert_eq!(
            (seen.before, again.before, again.succeeded, again.failed),
            (17, 17, 17, 3)
        );
        assert_eq!(asked.load(Ordering::SeqCst), 0);
        assert_eq!(again.devices, report.devices);
        for number in 1..=20 {
            let expected = usize::from(![5, 9, 14].contains(&number));
            let count = issued(station.issuing.registry(), &format!("press-{number}")).await;
            assert_eq!(count, expected, "press-{number}");
        }
    });
}

#[test]
fn a_row_that_is_done_is_not_done_for_another_purpose() {
    on_runtime(async {
        let bench = Bench::new();
        let station = bench.station().await;
        let rows = read_list(b"id\npress-1\n", Some(&uri(1))).expect("a list");
        let chips: Arc<dyn Devices> = Arc::new(Chips::new());
        let mut journal = Journal::open(&bench.path("batch.journal")).expect("a journal");
        let mut seen = Seen::default();
        let steps = Steps::default();
        let mut locking = station.clone();
        locking.lock_for_ever = true;
        for (station, before) in [(&station, 0), (&station, 1), (&locking, 0), (&locking, 1)] {
            let report = run(
                station,
                Arc::clone(&chips),
                &rows,
                &mut journal,
                1,
                steps.clone(),
                &mut seen,
            )
            .await;
            assert_eq!((report.succeeded, report.before), (1, before), "{report}");
            assert_eq!(report.devices[0].locked, station.lock_for_ever);
        }
        let order = station.issuing.registry().order("other", None, 1).await;
        let mut others = [station.clone(), station.clone(), station.clone()];
        others[0].profile = Profile::IDevId;
        others[1].order = Some(order.expect("made"));
        others[2].software = true;
        for other in &others {
            assert!(journal.done(&other.digest_of(&rows[0])).is_none());
        }
    });
}

#[test]
fn tg15_a_batch_ends_when_the_authority_does_not_work_and_goes_on_later() {
    on_runtime(async {
        let bench = Bench::new();
        let station = bench.station().await;
        let rows = read_list(&twenty(), None).expect("a list");
        let chips: Arc<dyn Devices> = Arc::new(Chips::new());
        let mut journal = Journal::open(&bench.path("batch.journal")).expect("a journal");
        let registry = station.issuing.registry().clone();
        station.issuing.drain().await;
        let mut seen = Seen::default();
        let steps = Steps::default();
        let report = run(
            &station,
            Arc::clone(&chips),
            &rows,
            &mut journal,
            1,
            steps.clone(),
            &mut seen,
        )
        .await;
        assert!(report.stopped.is_some(), "{report}");
        // Three devices were tried; the two rows that cannot be read are known before.
        assert_eq!(
            (report.succeeded, report.failed, report.left),
            (0, 5, 15),
            "{report}"
        );
        let station = bench.station_on(registry).await;
        let report = run(&station, chips, &rows, &mut journal, 4, steps, &mut seen).await;
        assert_eq!((report.succeeded, report.failed), (17, 3), "{report}");
    });
}

/// As many as the page about the factory has. A shorter run is enough for each day; `COUNTERSIGN_DEVICES` says more.
#[test]
fn a_batch_of_emulated_chips_is_done_several_at_once() {
    let count: u32 = std::env::var("COUNTERSIGN_DEVICES")
        .ok()
        .and_then(|count| count.parse().ok())
        .unwrap_or(60);
    on_runtime(async {
        let bench = Bench::new();
        let station = bench.station().await;
        let mut list = "id\n".to_owned();
        for number in 1..=count {
            list += &format!("press-{number}\n");
        }
        let template = uri(7).replace("i2c-7", "i2c-{row}");
        let rows = read_list(list.as_bytes(), Some(&template)).expect("a list");
        let mut journal = Journal::open(&bench.path("batch.journal")).expect("a journal");
        let mut seen = Seen::default();
        let chips = Arc::new(Chips::new());
        let report = run(
            &station,
            chips,
            &rows,
            &mut journal,
            8,
            Steps::default(),
            &mut seen,
        )
        .await;
        println!("{report}");
        assert!(report.is_complete(), "{report}");
        let serials: std::collections::BTreeSet<&str> = report
            .devices
            .iter()
            .map(|done| done.serial.as_str())
            .collect();
        assert_eq!(serials.len(), rows.len());
    });
}
