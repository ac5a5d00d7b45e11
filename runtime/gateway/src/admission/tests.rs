use std::fs;
use std::sync::atomic::{AtomicU64, Ordering};

use countersign_testing::{EMPTY_COMPONENT, Role, TestPki};
use countersign_trust_store::UnixTime;

use super::*;
use crate::config::Config;

/// A gateway's parts that judge, and a file that its PKI's device signed.
struct Bench {
    host: Host,
    state: State,
    pki: TestPki,
    service: Service,
    folder: tempfile::TempDir,
}

impl Bench {
    /// `wall` is the machine's clock.
    fn new(wall: fn() -> UnixTime) -> Self {
        let pki = TestPki::builder()
            .scope(&["test:*"])
            .valid(Role::Leaf, -100, 100)
            .build();
        let folder = tempfile::tempdir().expect("a folder");
        let file = pki.sign(EMPTY_COMPONENT, &pki.manifest("test:pump"));
        fs::write(folder.path().join("pump.wasm"), file).expect("ours");
        let text =
            "[[service]]\nname = \"pump\"\ncomponent = \"pump.wasm\"\nsigned-as = \"test:pump\"\n";
        fs::write(folder.path().join("gateway.toml"), text).expect("ours");
        let mut config = Config::load(&folder.path().join("gateway.toml")).expect("good");
        crate::state::create(&folder.path().join("state")).expect("made");
        let state = State::open(&folder.path().join("state")).expect("opens");
        let runtime = Runtime::builder(pki.anchors()).build();
        let records = Arc::new(AuditLog::open(None).expect("nowhere"));
        let host = Host {
            runtime: runtime.expect("an engine"),
            keys: Keys::new(Arc::clone(&records)),
            records,
            clock: Clock::by(wall, UnixTime::from_secs(0)),
            lists: Lists::default(),
            accepting: Mutex::new(()),
            hold: crate::bundle::Hold::default(),
        };
        let service = config.services.remove(0);
        Self {
            host,
            state,
            pki,
            service,
            folder,
        }
    }

    fn judge(&self) -> Result<Verified, Refusal> {
        let path = self.folder.path().join("pump.wasm");
        self.host.judge(&self.service, &path, &self.state)
    }

    fn code(&self) -> Option<&'static str> {
        self.judge().err().expect("refused").code
    }

    fn admit(&self) {
        let (signatures, admitted) = self.judge().expect("valid").admission();
        self.state
            .remember(|memory| memory.admit(signatures, admitted))
            .expect("remembered");
    }

    fn withdraw(&self, list: &[u8]) -> Vec<String> {
        let list = Crl::parse(list).expect("a list");
        let mut withdrawn = Vec::new();
        self.state
            .remember(|memory| withdrawn = memory.withdraw(&[list]))
            .expect("remembered");
        withdrawn
    }
}

#[test]
fn td01_td05_what_was_admitted_is_admissible_after_its_end_and_not_on_another_machine() {
    static WALL: AtomicU64 = AtomicU64::new(0);
    let bench = Bench::new(|| UnixTime::from_secs(WALL.load(Ordering::SeqCst)));
    let now = bench.pki.time().as_secs();
    WALL.store(now + 101, Ordering::SeqCst);
    assert_eq!(bench.code(), Some("expired"), "never admitted");
    WALL.store(now, Ordering::SeqCst);
    bench.admit();
    let generation = bench.state.memory().generation();
    for wall in [now + 101, 4_102_444_800, now] {
        WALL.store(wall, Ordering::SeqCst);
        let verified = bench.judge().expect("admitted");
        assert_eq!(verified.facts.admitted_at.is_some(), wall != now, "{wall}");
        // Nothing is written for it again.
        bench.admit();
        assert_eq!(bench.state.memory().generation(), generation);
    }
    // Another gateway's memory says nothing of it.
    WALL.store(now + 101, Ordering::SeqCst);
    let other = bench.folder.path().join("other");
    crate::state::create(&other).expect("made");
    let bench = Bench {
        state: State::open(&other).expect("opens"),
        ..bench
    };
    assert_eq!(bench.code(), Some("expired"));
}

#[test]
fn td14_what_was_revoked_once_does_not_come_back_when_a_list_is_short_of_it_again() {
    static WALL: AtomicU64 = AtomicU64::new(0);
    let bench = Bench::new(|| UnixTime::from_secs(WALL.load(Ordering::SeqCst)));
    let now = bench.pki.time().as_secs();
    WALL.store(now, Ordering::SeqCst);
    bench.admit();
    // A list of another issuer says nothing.
    let stranger = TestPki::builder().seed(9).build().crl_against_device(8);
    assert_eq!(bench.withdraw(&stranger), [""; 0]);
    assert_eq!(
        bench.withdraw(&bench.pki.crl_against_device(0)),
        ["test:pump"]
    );
    WALL.store(now + 101, Ordering::SeqCst);
    assert_eq!(bench.code(), Some("expired"), "and admitted no longer");
}
