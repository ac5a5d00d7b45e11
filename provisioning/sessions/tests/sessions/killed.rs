//! A batch is killed, again and again, at each step and at any moment, and taken up again: at the end each device has one
//! certificate, over its own key, and no certificate is anybody's twice.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use countersign_backend_file::rand_core::TryRng as _;
use countersign_sessions::{Devices as _, Journal, Step, Steps, read_list};
use countersign_testing::SystemRandom;
use countersign_trust_store::Certificate;

use crate::batch::{Seen, run, twenty};
use crate::bench::{Bench, Chips, issued, on_runtime};

/// How many moments are tried besides each step; a longer run says more by this variable.
const TIMES: &str = "COUNTERSIGN_KILLS";

#[test]
fn tg12_tg02_a_batch_that_is_killed_anywhere_is_taken_up_again() {
    let bench = Bench::new();
    let times: u32 = std::env::var(TIMES)
        .ok()
        .and_then(|times| times.parse().ok())
        .unwrap_or(3);
    let steps = [
        Step::Key,
        Step::Attest,
        Step::Possess,
        Step::Register,
        Step::Issue,
        Step::Compare,
        Step::Inject,
        Step::ReadBack,
        Step::Lock,
        Step::Test,
        Step::Record,
        Step::End,
    ];
    for step in steps {
        kill(&bench.folder, Some(step), None);
    }
    for _ in 0..times {
        let mut byte = [0];
        SystemRandom.try_fill_bytes(&mut byte).expect("random");
        kill(
            &bench.folder,
            None,
            Some(Duration::from_millis(u64::from(byte[0]))),
        );
    }
    kill(&bench.folder, None, None);
    on_runtime(compare(&bench));
}

async fn compare(bench: &Bench) {
    let station = bench.station().await;
    let registry = station.issuing.registry().clone();
    let rows = read_list(&twenty(), None).expect("a list");
    let chips = Chips::in_folder(&bench.folder);
    let journal = Journal::open(&bench.path("batch.journal")).expect("a journal");
    let mut serials = BTreeSet::new();
    for row in &rows {
        let Ok(job) = &row.job else { continue };
        let expected = usize::from(row.number != 14);
        assert_eq!(
            issued(&registry, job.device.as_str()).await,
            expected,
            "row {}",
            row.number
        );
        let all = registry.certificates(&job.device).await.expect("listed");
        // A serial that was taken when the process died stays closed; a certificate is one.
        assert_eq!(all.iter().filter(|one| one.der.is_some()).count(), expected);
        if expected == 0 {
            continue;
        }
        let done = journal
            .done(&station.digest_of(row))
            .expect("in the journal");
        assert!(serials.insert(done.serial.clone()), "{} twice", done.serial);
        let certificate = all.iter().find(|one| one.der.is_some()).expect("one");
        assert_eq!(certificate.serial.to_string(), done.serial);
        let der = certificate.der.as_ref().expect("its content");
        let key = Certificate::parse(der)
            .expect("a certificate")
            .public_key()
            .expect("a key");
        let chip = chips.of_key(&job.key).expect("a chip");
        assert_eq!(chip.keys().show(&job.key).expect("a key").public, key);
        assert_eq!(&chip.memory().expect("memory").read().expect("read"), der);
    }
    assert_eq!(serials.len(), 17);
}

/// Starts a batch and kills it when a step comes, or after so long, or lets it be.
fn kill(folder: &Path, step: Option<Step>, delay: Option<Duration>) {
    let mut child = Command::new(std::env::current_exe().expect("this program"))
        .args(["--exact", "killed::child", "--nocapture"])
        .env("BENCH_FOLDER", folder)
        .env("STOP_AT", step.map_or("", Step::as_str))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("starts");
    let output = BufReader::new(child.stdout.take().expect("its output"));
    let started = Instant::now();
    let mut is_killed = false;
    let mut seen = Vec::new();
    for line in output.lines() {
        let line = line.expect("text");
        if line.ends_with("started")
            && let Some(delay) = delay
        {
            std::thread::sleep(delay);
            child.kill().expect("killed");
            is_killed = true;
        } else if line.ends_with("stopped") {
            child.kill().expect("killed");
            is_killed = true;
        }
        seen.push(line);
    }
    let output = child.wait_with_output().expect("ended");
    assert!(
        is_killed || output.status.success(),
        "{seen:?} {}",
        String::from_utf8_lossy(&output.stderr)
    );
    // A step that is never reached would prove nothing.
    assert!(
        is_killed || step.is_none(),
        "{step:?} was not reached: {seen:?}"
    );
    assert!(started.elapsed() < Duration::from_secs(300));
}

/// The process that is killed. Does nothing unless it is started by the test above.
#[test]
fn child() {
    let Ok(folder) = std::env::var("BENCH_FOLDER") else {
        return;
    };
    let stop_at = std::env::var("STOP_AT").expect("given");
    let bench = Bench::at(PathBuf::from(folder));
    on_runtime(async move {
        let station = bench.station().await;
        let rows = read_list(&twenty(), None).expect("a list");
        let mut journal = Journal::open(&bench.path("batch.journal")).expect("a journal");
        // The second device of this run, so that one is done in each.
        let count = AtomicU32::new(0);
        let steps = Steps::to(move |step| {
            if step.as_str() == stop_at && count.fetch_add(1, Ordering::SeqCst) == 1 {
                say("stopped");
                std::thread::sleep(Duration::from_secs(60));
            }
        });
        say("started");
        let chips = Arc::new(Chips::in_folder(&bench.folder));
        let mut seen = Seen::default();
        let report = run(&station, chips, &rows, &mut journal, 1, steps, &mut seen).await;
        assert_eq!((report.succeeded, report.failed), (17, 3), "{report}");
    });
}

/// One line, at once.
fn say(text: &str) {
    let mut output = std::io::stdout().lock();
    output
        .write_all(format!("{text}\n").as_bytes())
        .expect("written");
    output.flush().expect("written");
}
