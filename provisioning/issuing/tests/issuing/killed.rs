//! A process that issues is killed, again and again, at each step and at any moment. Afterwards: what was signed had its
//! row before; what was handed out has its row and its leaf; no serial is there twice; and who asks again gets the same.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use countersign_backend_file::rand_core::TryRng;
use countersign_issuing::{Ask, Clock, Issuing, Step, Steps};
use countersign_keys::{Error as KeyError, PublicKey, Signer, SigningKey};
use countersign_provisioning::Serial;
use countersign_registry::{CertificateState, Registry};
use countersign_testing::SystemRandom;

use crate::house::{House, approve, ask, issue_soon, key};

/// Requests of each process.
const REQUESTS: u32 = 12;

/// How many kills there are in all, a quarter in each of four tests; a longer run says more by this variable.
const KILLS: &str = "COUNTERSIGN_KILLS";

fn kills() -> u32 {
    std::env::var(KILLS)
        .ok()
        .and_then(|kills| kills.parse().ok())
        .unwrap_or(100)
        / 4
}

/// The steps in turn; each the first time that it is reached, then the second, up to the last request.
pub(crate) async fn tg12_killed_at_every_step(house: House) {
    let mut history = History::new(&house).await;
    for (count, step) in (0..kills()).zip(Step::ALL.into_iter().cycle()) {
        let round = count / u32::try_from(Step::ALL.len()).expect("few");
        // What is done for many at once is done a few times.
        let most = match step {
            Step::Reserving | Step::Reserved | Step::Committing | Step::Committed => 3,
            _ => REQUESTS,
        };
        let at = (step, round % most + 1);
        history.kill(&house, Some(at), None).await;
    }
    history.finish(&house).await;
}

pub(crate) async fn tg12_killed_at_any_moment(house: House) {
    let mut history = History::new(&house).await;
    // As long as one takes that nobody kills, machines being different.
    let whole = history.kill(&house, None, None).await;
    for _ in 0..kills() {
        let mut byte = [0];
        SystemRandom.try_fill_bytes(&mut byte).expect("random");
        let delay = whole * u32::from(byte[0]) / 255;
        history.kill(&house, None, Some(delay)).await;
    }
    history.finish(&house).await;
}

/// What the killed processes handed out.
#[derive(Default)]
struct History {
    /// The certificate's serial for each device.
    released: BTreeMap<u32, String>,
    next: u32,
    started: u32,
    killed: u32,
}

impl History {
    async fn new(house: &House) -> Self {
        let registry = house.open().await;
        approve(&registry, (kills() + 2) * REQUESTS).await;
        registry.close().await;
        Self::default()
    }

    /// Starts a process and kills it, at a step or so long after it was ready, or lets it be; how long it was ready.
    async fn kill(
        &mut self,
        house: &House,
        at: Option<(Step, u32)>,
        delay: Option<Duration>,
    ) -> Duration {
        // Half of them ask again what another was killed over.
        let first = self.next.saturating_sub(REQUESTS / 2);
        self.next = first + REQUESTS;
        let mut child = Command::new(std::env::current_exe().expect("this program"))
            .args(["--exact", "killed::child", "--nocapture"])
            .env("HOUSE_URL", &house.url)
            .env("HOUSE_FOLDER", &house.folder)
            .env("FIRST", first.to_string())
            .env(
                "STOP_AT",
                at.map_or(String::new(), |(step, count)| format!("{step:?} {count}")),
            )
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("starts");
        let mut is_killed = false;
        let output = BufReader::new(child.stdout.take().expect("its output"));
        let mut seen = Vec::new();
        let mut ready = Instant::now();
        for line in output.lines() {
            let line = line.expect("text");
            seen.push(line.clone());
            if line.ends_with("started") {
                ready = Instant::now();
                if let Some(delay) = delay {
                    std::thread::sleep(delay);
                    child.kill().expect("killed");
                    is_killed = true;
                }
            } else if line.ends_with("stopped") {
                child.kill().expect("killed");
                is_killed = true;
            } else if let Some(rest) = line.split_once("released ").map(|(_, rest)| rest) {
                let (device, serial) = rest.split_once(' ').expect("two words");
                let device = device.parse().expect("a number");
                self.released_to(device, serial);
            }
        }
        let lasted = ready.elapsed();
        let output = child.wait_with_output().expect("ended");
        assert!(
            is_killed || output.status.success(),
            "{seen:?} {}",
            String::from_utf8_lossy(&output.stderr)
        );
        self.started += 1;
        self.killed += u32::from(is_killed);
        // A step that is never reached would prove nothing.
        assert!(
            is_killed || at.is_none(),
            "{at:?} was not reached: {seen:?}"
        );
        lasted
    }

    fn released_to(&mut self, device: u32, serial: &str) {
        let before = self.released.insert(device, serial.to_owned());
        assert!(
            before.as_deref().is_none_or(|before| before == serial),
            "device {device} got {serial} after {before:?}"
        );
    }

    /// Compares everything.
    async fn finish(mut self, house: &House) {
        let registry = house.open().await;
        approve(&registry, 1).await;
        let issuing = Issuing::start(registry.clone(), house.authority(), Clock::system(0))
            .await
            .expect("starts");
        assert!(registry.orphans().await.expect("listed").is_empty());
        let devices: Vec<u32> = (0..self.next).collect();
        for devices in devices.chunks(64) {
            let tasks = devices.iter().map(|device| {
                let (issuing, asked) = (issuing.clone(), asked(*device));
                tokio::spawn(async move { issue_soon(&issuing, asked).await })
            });
            for (device, task) in devices.iter().zip(tasks.collect::<Vec<_>>()) {
                let certificate = task.await.expect("ends");
                self.released_to(*device, &certificate.serial.to_string());
            }
        }
        let leaves = leaves(&registry).await;
        let mut serials = BTreeSet::new();
        for serial in self.released.values() {
            assert!(serials.insert(serial.clone()), "{serial} twice");
            let parsed: Serial = serial.parse().expect("a serial");
            let row = registry
                .certificate(&parsed)
                .await
                .expect("found")
                .expect("on record");
            assert_eq!(row.state, CertificateState::Issued);
            let theirs = leaves.get(serial).map(Vec::as_slice);
            assert_eq!(theirs, Some(["issued".to_owned()].as_slice()), "{serial}");
        }
        // Whatever was signed was on record before, and each serial was signed once.
        let signed = std::fs::read_to_string(house.path("signed")).unwrap_or_default();
        let mut once = BTreeSet::new();
        for serial in signed.lines() {
            assert!(once.insert(serial.to_owned()), "{serial} was signed twice");
            let parsed: Serial = serial.parse().expect("a serial");
            let row = registry.certificate(&parsed).await.expect("found");
            let state = row.expect("signed, and not on record").state;
            assert!(matches!(
                state,
                CertificateState::Issued | CertificateState::Abandoned
            ));
        }
        assert!(!once.is_empty());
        println!(
            "{} processes, {} of them killed: {} certificates handed out, {} signed, each on record, none twice",
            self.started,
            self.killed,
            serials.len(),
            once.len()
        );
    }
}

/// What the leaves tell of each serial number.
async fn leaves(registry: &Registry) -> BTreeMap<String, Vec<String>> {
    while registry.place_leaves(1000).await.expect("placed") > 0 {}
    let leaves = registry.leaves(0, 1_000_000).await.expect("listed");
    let mut told: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for leaf in leaves {
        let leaf: serde_json::Value = serde_json::from_slice(&leaf.bytes).expect("JSON");
        let word = |name: &str| leaf[name].as_str().expect("a text").to_owned();
        told.entry(word("serial")).or_default().push(word("event"));
    }
    told
}

fn asked(device: u32) -> Ask {
    Ask {
        request: Some(format!("kill test\n{device}")),
        ..ask(device)
    }
}

/// The process that is killed. Does nothing unless it is started by the tests above.
#[test]
fn child() {
    let Ok(url) = std::env::var("HOUSE_URL") else {
        return;
    };
    let folder = PathBuf::from(std::env::var("HOUSE_FOLDER").expect("a folder"));
    let first: u32 = std::env::var("FIRST")
        .expect("given")
        .parse()
        .expect("a number");
    let stop_at = std::env::var("STOP_AT").expect("given");
    crate::run(House::at(url, folder), |house| async move {
        let steps = Steps::to(stopping(&stop_at));
        let signer = Recording(key(), house.path("signed"));
        let authority = house.authority_with(SigningKey::new(signer));
        let registry = house.open().await;
        let issuing = Issuing::start_with(registry, authority, Clock::system(0), steps)
            .await
            .expect("starts");
        say("started");
        let tasks: Vec<_> = (first..first + REQUESTS)
            .map(|device| {
                let issuing = issuing.clone();
                tokio::spawn(async move {
                    let certificate = issue_soon(&issuing, asked(device)).await;
                    say(&format!("released {device} {}", certificate.serial));
                })
            })
            .collect();
        for task in tasks {
            task.await.expect("ends");
        }
        // A step that comes less often than asked for is the last one.
        if !stop_at.is_empty() {
            say("stopped");
            std::thread::sleep(Duration::from_secs(60));
        }
    });
}

/// Stops every thread that reaches a step, once the one asked for was reached so often.
fn stopping(stop_at: &str) -> impl Fn(Step) + Send + Sync + 'static {
    let (step, count) = stop_at.split_once(' ').unwrap_or(("", "1"));
    let (step, count) = (step.to_owned(), count.parse::<u32>().expect("a number"));
    let (seen, is_stopped) = (AtomicU32::new(0), AtomicBool::new(false));
    move |at| {
        if format!("{at:?}") == step && seen.fetch_add(1, Ordering::SeqCst) + 1 == count {
            is_stopped.store(true, Ordering::SeqCst);
            say("stopped");
        }
        while is_stopped.load(Ordering::SeqCst) {
            std::thread::sleep(Duration::from_secs(1));
        }
    }
}

/// One line, at once.
fn say(text: &str) {
    let mut output = std::io::stdout().lock();
    output
        .write_all(format!("{text}\n").as_bytes())
        .expect("written");
    output.flush().expect("written");
}

/// A key that writes down the serial of what it is about to sign.
struct Recording(SigningKey, PathBuf);

impl Signer for Recording {
    fn public_key(&self) -> &PublicKey {
        self.0.public_key()
    }

    fn sign_unchecked(&self, message: &[u8]) -> Result<[u8; 64], KeyError> {
        // TBSCertificate (RFC 5280 §4.1): a SEQUENCE of more than 255 bytes, [0] with version 3, the serial's INTEGER.
        assert_eq!(&message[4..11], [0xa0, 3, 2, 1, 2, 2, 16]);
        let line: String = message[11..27]
            .iter()
            .map(|octet| format!("{octet:02x}"))
            .collect();
        let mut file = std::fs::File::options()
            .append(true)
            .create(true)
            .open(&self.1)
            .expect("a file");
        file.write_all(format!("{line}\n").as_bytes())
            .expect("written");
        Ok(*self.0.sign(message)?.as_bytes())
    }
}
