use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use countersign_testing::{EMPTY_COMPONENT, Role, TestPki};
use countersign_trust_store::{Crl, UnixTime};

use super::*;
use crate::bundle::Places;
use crate::config::Config;
use crate::lists::Given;
use crate::service::Leaving;

/// A gateway's parts that judge, and a file that its PKI's device signed.
pub(crate) struct Bench {
    pub(crate) host: Host,
    pub(crate) state: State,
    pub(crate) pki: TestPki,
    pub(crate) service: Service,
    pub(crate) folder: tempfile::TempDir,
}

impl Bench {
    /// `wall` is the machine's clock.
    pub(crate) fn new(wall: fn() -> UnixTime) -> Self {
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
        crate::state::create(&folder.path().join("state"), None).expect("made");
        let state = State::open(&folder.path().join("state"), None).expect("opens");
        let runtime = Runtime::builder(pki.anchors()).build();
        let records = Arc::new(AuditLog::open(None).expect("nowhere"));
        let http = {
            let anchors = pki.anchors();
            Server::new(
                config.http,
                Arc::clone(&records),
                Arc::default(),
                move || Runtime::builder(anchors.clone()),
            )
        };
        let host = Host {
            http: Arc::new(http),
            leaving: Leaving::default(),
            runtime: runtime.expect("an engine"),
            keys: Keys::new(Arc::clone(&records), Arc::default()),
            identity: Identity::default(),
            records,
            clock: Clock::by(wall, UnixTime::from_secs(0)),
            lists: Lists::default(),
            compile: config.compile,
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
        let place = Place::alone(self.folder.path().join("pump.wasm"));
        self.host.judge(&self.service, &place, &self.state)
    }

    pub(crate) fn load(&self) -> Admitted {
        let verified = self.judge().expect("valid");
        let log = crate::service::lines("pump");
        let given_up = GivenUp::default();
        let loaded = self
            .host
            .load(&self.service, verified, log, &self.state, given_up);
        loaded.expect("it loads")
    }

    fn code(&self) -> Option<&'static str> {
        self.judge().err().expect("refused").code
    }

    fn admit(&self) {
        let admissions = self.judge().expect("valid").admissions();
        let (signatures, admitted) = only(admissions);
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
    crate::state::create(&other, None).expect("made");
    let bench = Bench {
        state: State::open(&other, None).expect("opens"),
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

#[test]
fn td12_td14_what_was_never_admitted_and_is_revoked_stays_so_without_the_list() {
    static WALL: AtomicU64 = AtomicU64::new(0);
    let bench = Bench::new(|| UnixTime::from_secs(WALL.load(Ordering::SeqCst)));
    WALL.store(bench.pki.time().as_secs(), Ordering::SeqCst);
    let list = Crl::parse(&bench.pki.crl_against_device(9)).expect("a list");
    bench.host.lists.exchange(Given::brought(vec![list]));
    assert_eq!(bench.code(), Some("revoked"));
    bench.host.lists.exchange(Given::default());
    assert_eq!(bench.code(), Some("crl-rollback"));
    // And after a restart.
    let folder = bench.folder.path().join("state");
    let Bench {
        host,
        state,
        pki,
        service,
        folder: outer,
    } = bench;
    drop(state);
    let bench = Bench {
        host,
        state: State::open(&folder, None).expect("opens"),
        pki,
        service,
        folder: outer,
    };
    assert_eq!(bench.code(), Some("crl-rollback"));
}

#[test]
fn td13_td14_forged_lists_that_were_brought_stop_nothing_and_hide_no_genuine_one() {
    static WALL: AtomicU64 = AtomicU64::new(0);
    let bench = Bench::new(|| UnixTime::from_secs(WALL.load(Ordering::SeqCst)));
    WALL.store(bench.pki.time().as_secs(), Ordering::SeqCst);
    let stranger = TestPki::builder().seed(9).build();
    let forged = |number| {
        let parts = countersign_testing::CrlParts::of(&bench.pki.crl_against_device(number));
        Crl::parse(&parts.sign(&stranger.authority_keys()[1])).expect("a list")
    };
    let mut lists: Vec<_> = (100..120).map(forged).collect();
    bench.host.lists.exchange(Given::brought(lists.clone()));
    bench.judge().expect("they are nobody's");
    // A genuine one below them counts.
    lists.push(Crl::parse(&bench.pki.crl_against_device(50)).expect("a list"));
    bench.host.lists.exchange(Given::brought(lists));
    assert_eq!(bench.code(), Some("revoked"));
}

#[test]
fn td10_what_came_with_a_bundle_that_failed_is_never_remembered_to_be_healthy() {
    static WALL: AtomicU64 = AtomicU64::new(0);
    let bench = Bench::new(|| UnixTime::from_secs(WALL.load(Ordering::SeqCst)));
    WALL.store(bench.pki.time().as_secs(), Ordering::SeqCst);
    let versions = || bench.state.memory().versions().count();
    bench.host.hold.begin(Vec::new());
    let failed = bench.load();
    bench.host.hold.fail();
    bench
        .host
        .prove(&failed, &bench.state)
        .expect_err("it failed");
    assert_eq!(versions(), 0);
    bench.host.hold.begin(Vec::new());
    let passed = bench.load();
    bench.host.hold.end();
    bench.host.prove(&passed, &bench.state).expect("it passed");
    assert_eq!(versions(), 1);
}

/// A bundle that is taken, and what takes it.
#[test]
fn th01_th12_a_bundle_that_comes_again_is_not_taken_away_first() {
    use std::os::unix::fs::MetadataExt as _;

    use countersign_format::{Audience, PartKind};
    use countersign_signer::{BundlePlan, BundleSource, Overwrite, create_bundle};
    use countersign_testing::Profile;

    use crate::bundle::stage;

    static WALL: AtomicU64 = AtomicU64::new(0);
    let bench = Bench::new(|| UnixTime::from_secs(WALL.load(Ordering::SeqCst)));
    WALL.store(bench.pki.time().as_secs(), Ordering::SeqCst);
    let at = |name: &str| bench.folder.path().join(name);
    let releases = TestPki::builder().profile(Profile::Bundle).build();
    let files = releases.write(bench.folder.path());
    let part = |kind, path: &Path| BundleSource {
        kind,
        path: path.to_owned(),
    };
    let plan = BundlePlan {
        line: "plant".to_owned(),
        number: 1,
        not_after: releases.time().as_secs() + 86_400,
        audience: Audience::default(),
        parts: vec![
            part(PartKind::Lists, &files.crls),
            part(PartKind::Component, &at("pump.wasm")),
        ],
        minimums: Vec::new(),
    };
    let signers = [releases.certified_key()];
    create_bundle(&plan, &signers, &at("plant.bundle"), Overwrite::Refuse).expect("a bundle");
    let text = "[bundles]\nline = \"plant\"\nanchors = \"roots.pem\"\n";
    fs::write(at("gateway.toml"), text).expect("ours");
    let config = Config::load(&at("gateway.toml")).expect("good");
    let places = Places::in_state(&at("state"));
    places.make().expect("made");
    let staged = || {
        let bundles = config.bundles.as_ref().expect("named");
        let memory = bench.state.memory();
        let (path, host) = (at("plant.bundle"), &bench.host);
        stage(&path, &places, &config, bundles, host, &memory).expect("it verifies")
    };
    let folder = places.of(staged().digest);
    let pump = folder.join("parts/pump.wasm");
    let number = |path: &Path| fs::metadata(path).expect("there").ino();
    let before = [number(&folder), number(&pump)];
    staged();
    assert_eq!([number(&folder), number(&pump)], before);
    // One that is not whole is none.
    fs::write(&pump, b"torn").expect("ours");
    staged();
    assert_ne!(number(&folder), before[0]);
    assert_eq!(
        fs::read(&pump).expect("there"),
        fs::read(at("pump.wasm")).expect("there")
    );
}

fn only<T>(all: Vec<T>) -> T {
    let [only] = <[T; 1]>::try_from(all).unwrap_or_else(|_| panic!("one"));
    only
}

/// A copy of a folder, as a disk holds it after power was lost.
fn copy(from: &Path, to: &Path) {
    use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
    fs::DirBuilder::new().mode(0o700).create(to).expect("ours");
    for entry in fs::read_dir(from).expect("ours").flatten() {
        let to = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), &to).expect("ours");
            fs::set_permissions(&to, fs::Permissions::from_mode(0o600)).expect("ours");
        }
    }
}

/// What a gateway does to have `file` run in the place of what ran, up to its `steps`th lasting change, and which version it
/// would run. None if it would run nothing.
fn goes_on(bench: &Bench, state: &Path, file: &[u8], steps: usize) -> Option<u64> {
    let place = bench.folder.path().join("place.wasm");
    fs::write(&place, file).expect("ours");
    let state_at = State::open(state, None).expect("a memory that was cut is still one");
    let kept = crate::kept::Kept::in_state(state).expect("ours");
    let judge = |path: &Path| {
        let place = Place::alone(path.to_owned());
        bench.host.judge(&bench.service, &place, &state_at).ok()
    };
    let copy = kept.of("pump");
    let chosen = judge(&place).or_else(|| copy.as_deref().and_then(judge))?;
    let version = chosen.facts.security_version;
    let (signatures, admitted) = only(chosen.admissions());
    let root = bench
        .pki
        .anchors()
        .iter()
        .next()
        .expect("one")
        .spki_sha256();
    let name = bench.service.signed_as.clone();
    // In the order of the gateway: put down, admit, keep, raise.
    if steps > 0 {
        let candidate = kept.candidate("pump", &chosen.facts.file_sha256);
        candidate.put_down(&chosen.bytes).expect("room");
    }
    if steps > 1 {
        let admit = |memory: &mut Memory| memory.admit(signatures, admitted);
        state_at.remember(admit).expect("room");
    }
    if steps > 2 {
        let file = &chosen.facts.file_sha256;
        kept.keep("pump", file).expect("it was put down");
    }
    if steps > 3 {
        let raise = |memory: &mut Memory| memory.raise_version(root, name, version);
        state_at.remember(raise).expect("room");
    }
    Some(version)
}

#[test]
fn th01_th02_power_lost_between_any_two_lasting_changes_and_again_leaves_old_or_new() {
    const STEPS: usize = 4;
    static WALL: AtomicU64 = AtomicU64::new(0);
    let bench = Bench::new(|| UnixTime::from_secs(WALL.load(Ordering::SeqCst)));
    WALL.store(bench.pki.time().as_secs(), Ordering::SeqCst);
    let signed = |version| {
        let mut manifest = bench.pki.manifest("test:pump");
        manifest.security_version = version;
        bench.pki.sign(EMPTY_COMPONENT, &manifest)
    };
    let (old, new) = (signed(1), signed(2));
    let first = bench.folder.path().join("first");
    crate::state::create(&first, None).expect("made");
    assert_eq!(goes_on(&bench, &first, &old, STEPS), Some(1));
    let mut number = 0;
    let mut cut = |from: &Path, file: &[u8], steps: usize, torn: bool| {
        number += 1;
        let to = bench.folder.path().join(format!("cut-{number}"));
        copy(from, &to);
        let ran = goes_on(&bench, &to, file, steps);
        if torn {
            // A file that was being written when it happened.
            fs::write(to.join(".unfinished-x"), b"countersign-gateway mem").expect("ours");
            fs::write(to.join("kept/.unfinished-x"), &new[..100]).expect("ours");
        }
        (to, ran)
    };
    for before in 0..=STEPS {
        for again in 0..=STEPS {
            let (state, ran) = cut(&first, &new, before, true);
            assert_eq!(ran, Some(2));
            let (state, ran) = cut(&state, &new, again, true);
            assert_eq!(ran, Some(2), "{before}, {again}");
            // The file in its place was lost or torn, too: what was kept runs.
            let (_, ran) = cut(&state, &new[..new.len() / 2], 0, false);
            let expected = if before.max(again) > 2 { 2 } else { 1 };
            assert_eq!(ran, Some(expected), "{before}, {again}");
            // And the older file, which comes back with whoever restores it.
            let (_, ran) = cut(&state, &old, 0, false);
            let risen = before.max(again) > 3;
            assert_eq!(ran, Some(if risen { 2 } else { 1 }), "{before}, {again}");
        }
    }
}
