//! The two programs that judge a file, and what each must answer.

use std::path::{Path, PathBuf};
use std::process::Command;

use countersign_trust_store::{AnchorSource, Code};
use serde_json::Value;

use crate::attack::{Attack, Expected};
use crate::folder::Folder;
use crate::good::Good;
use crate::programs::{Ran, fill_host, program, run};

/// What the guest of the good file says.
const GREETING: &str = "Hello, world!\n";

/// No file may take longer to judge, on however busy a machine.
const SECONDS: f64 = 20.0;

/// Makes hostile files and has them judged.
pub(crate) struct Court {
    good: Good,
    /// The built host with the corpus's root.
    host: PathBuf,
}

impl Court {
    /// Prepares the corpus's folder and a host.
    pub(crate) fn new(good: Good, attacks: &[Attack]) -> Self {
        crate::folder::prepare(&good, attacks);
        let host = scratch("host");
        fill_host(&host, &[AnchorSource::new(good.pki.root().to_vec())]);
        Self { good, host }
    }

    /// Makes one attack's folder and demands that both programs answer as they must.
    pub(crate) fn judge(&self, attack: &Attack) {
        let hostile = attack.make(&self.good);
        let folder = Folder::write(&self.good, attack, &hostile);
        verify(&folder, hostile.signers, attack.expected);
        if hostile.signers != 1 {
            return;
        }
        match &hostile.root {
            None => run_host(&self.host, &folder, attack),
            Some(root) => {
                let host = scratch(&format!("host-{}", attack.name));
                fill_host(&host, &[AnchorSource::new(root.clone())]);
                run_host(&host, &folder, attack);
                std::fs::remove_file(host).expect("our own file");
            }
        }
    }
}

/// What `countersign verify` says.
fn verify(folder: &Folder, signers: u8, expected: Expected) {
    let mut command = Command::new(program("countersign"));
    command.arg("verify").arg(folder.file());
    command.arg("--roots").arg(&folder.roots).arg("--json");
    command.args(["--signers", &signers.to_string()]);
    let ran = run(with_lists(&mut command, folder));
    sane(&ran);
    match expected {
        Expected::Accepted => {
            assert_eq!(ran.status, 0, "verify: {ran:?}");
            assert_eq!(json(&ran)["verdict"], "accepted", "verify: {ran:?}");
        }
        Expected::Refused(code) => {
            assert_eq!(
                json(&ran)["refusal"]["code"],
                code.as_str(),
                "verify: {ran:?}"
            );
            assert_eq!(json(&ran)["verdict"], "refused", "verify: {ran:?}");
            assert_eq!(ran.status, i32::from(code.exit_status()), "verify: {ran:?}");
            assert!(
                ran.stderr.contains(&format!("code: {code}\n")),
                "verify: {ran:?}"
            );
            assert!(ran.stderr.contains(code.next_step()), "verify: {ran:?}");
        }
        Expected::ListUnusable => list_unusable("verify", &ran),
    }
}

/// What the host says, and what the guest says, which is nothing if the file is refused.
fn run_host(host: &Path, folder: &Folder, attack: &Attack) {
    let log = scratch(&format!("{}.jsonl", attack.name));
    let _earlier = std::fs::remove_file(&log);
    let mut command = Command::new(host);
    command.arg(folder.file()).arg("--audit").arg(&log);
    let ran = run(with_lists(&mut command, folder));
    let records = records(&log);
    std::fs::remove_file(&log).expect("the host made it");
    sane(&ran);
    if attack.expected != Expected::Accepted {
        assert_eq!(ran.stdout, "", "the guest of a refused file spoke: {ran:?}");
        assert!(
            !ran.stderr.contains(GREETING.trim()),
            "the guest spoke: {ran:?}"
        );
        let started = |record: &Value| record["event"] != "refused";
        assert!(!records.iter().any(started), "it was started: {records:?}");
    }
    match attack.expected {
        Expected::Accepted => {
            assert_eq!(
                (ran.status, ran.stdout.as_str()),
                (0, GREETING),
                "host: {ran:?}"
            );
            assert_eq!(records.len(), 2, "accepted, ended: {records:?}");
        }
        Expected::Refused(code) => refused(&ran, &records, code),
        Expected::ListUnusable => {
            list_unusable("host", &ran);
            assert!(records.is_empty(), "nothing was judged: {records:?}");
        }
    }
}

fn refused(ran: &Ran, records: &[Value], code: Code) {
    assert!(
        ran.stderr.contains(&format!("was refused: {code}\n")),
        "host, not {code}: {ran:?}"
    );
    assert!(ran.stderr.contains(code.next_step()), "host: {ran:?}");
    assert_eq!(ran.status, i32::from(code.exit_status()), "host: {ran:?}");
    let [record] = records else {
        panic!("{} records: {records:?}", records.len())
    };
    assert_eq!(record["code"], code.as_str(), "{record}");
}

/// Wrong configuration: status 2, a sentence, and no verdict.
fn list_unusable(who: &str, ran: &Ran) {
    assert_eq!(ran.status, 2, "{who}: {ran:?}");
    assert_eq!(ran.stdout, "", "{who}: {ran:?}");
    assert!(ran.stderr.contains("revocation list"), "{who}: {ran:?}");
}

/// No panic, no long wait, nothing that a terminal would obey.
fn sane(ran: &Ran) {
    assert!(!ran.stderr.contains("panicked"), "{ran:?}");
    assert!(ran.seconds < SECONDS, "{ran:?}");
    let control = |c: char| c.is_control() && c != '\n';
    assert!(!ran.stderr.contains(control), "{ran:?}");
}

fn with_lists<'c>(command: &'c mut Command, folder: &Folder) -> &'c mut Command {
    for list in &folder.lists {
        command.arg("--crl").arg(list);
    }
    command
}

fn json(ran: &Ran) -> Value {
    serde_json::from_str(&ran.stdout).unwrap_or_else(|error| panic!("{error}: {ran:?}"))
}

fn records(log: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(log).expect("the host opened it");
    text.lines()
        .map(|line| serde_json::from_str(line).expect("every line is JSON"))
        .collect()
}

/// A path that is no part of the corpus.
fn scratch(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("corpus");
    std::fs::create_dir_all(&folder).expect("the build folder takes folders");
    folder.join(name)
}
