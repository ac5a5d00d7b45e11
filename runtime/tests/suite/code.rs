//! Compiled code that is kept: believed only as this device sealed it, for this component, build, settings and roots.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use countersign_format::{Digest, Grants, GuestLimits};
use countersign_runtime::trust_store::{
    Anchors, ClaimedComponent, Now, TrustState, UnverifiedComponent, VerifiedComponent,
};
use countersign_runtime::wasmtime::component::Linker;
use countersign_runtime::wasmtime::{Config, ModuleVersionStrategy};
use countersign_runtime::{
    CacheError, Ceiling, CodeAhead, CodeCache, CodeOrigin, Compilation, CompileLimits,
    GuestContext, LoadError, ReadyGuest, RunError, Runtime,
};
use countersign_testing::TestPki;
use tempfile::TempDir;

use crate::support::{Bench, binary, core};

const PLENTY: u64 = 1 << 30;

/// A PKI, a folder, and runtimes that keep their code in it.
struct Kept {
    bench: Bench,
    folder: TempDir,
}

impl Kept {
    fn new() -> Self {
        let bench = Bench::new();
        let folder = tempfile::tempdir().unwrap();
        Self { bench, folder }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("code")
    }

    fn cache(&self) -> Result<CodeCache, CacheError> {
        CodeCache::open(&self.path(), PLENTY)
    }

    fn runtime(&self) -> Runtime {
        Runtime::builder(self.bench.pki.anchors())
            .code_cache(self.cache().unwrap())
            .build()
            .unwrap()
    }

    /// One whose code stays in memory until the process ends.
    fn stays(&self) -> Runtime {
        Runtime::builder(self.bench.pki.anchors())
            .code_cache(self.cache().unwrap())
            .code_for_good()
            .build()
            .unwrap()
    }

    fn verified(&self, wat: &str) -> VerifiedComponent {
        self.bench
            .verified(wat, Grants::default(), GuestLimits::default())
    }

    fn origin(&self, runtime: &Runtime, wat: &str) -> CodeOrigin {
        load(runtime, self.verified(wat)).code_origin().clone()
    }

    /// The only entry.
    fn entry(&self) -> PathBuf {
        let [entry] = &self.entries()[..] else {
            panic!("{:?}", self.entries())
        };
        entry.clone()
    }

    fn entries(&self) -> Vec<PathBuf> {
        let mut entries: Vec<_> = fs::read_dir(self.path())
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.extension().is_some_and(|ending| ending == "code"))
            .collect();
        entries.sort();
        entries
    }
}

fn load(runtime: &Runtime, verified: VerifiedComponent) -> ReadyGuest<GuestContext> {
    let linker = Linker::<GuestContext>::new(runtime.engine());
    runtime.load(verified, &Ceiling::new(), &linker).unwrap()
}

fn gives(number: u32) -> String {
    format!(
        r#"(component
            (core module $m (func (export "run") (result i32) i32.const {number}))
            (core instance $i (instantiate $m))
            (func (export "run") (result u32) (canon lift (core func $i "run"))))"#
    )
}

/// The same with so much data that its code is in large pages where it may be.
fn with_data(wat: &str) -> String {
    let data = "a".repeat(3 << 20);
    wat.replacen(
        "(core module $m",
        &format!("(core module $m (memory 64) (data (i32.const 0) \"{data}\")"),
        1,
    )
}

#[track_caller]
fn not_believed(origin: CodeOrigin, what: &str) {
    assert!(
        matches!(origin, CodeOrigin::Recompiled { .. }),
        "{what}: {origin:?}"
    );
}

#[tokio::test]
async fn te15_what_was_compiled_is_loaded_again_and_runs() {
    let kept = Kept::new();
    let runtime = kept.runtime();
    for expected in [CodeOrigin::Compiled, CodeOrigin::Cached] {
        let ready = load(&runtime, kept.verified(&gives(7)));
        assert_eq!(*ready.code_origin(), expected);
        assert_eq!(given(&runtime, ready).await, 7);
    }
    // After a restart of the program, too, and for another entry.
    drop(runtime);
    let runtime = kept.runtime();
    assert_eq!(kept.origin(&runtime, &gives(7)), CodeOrigin::Cached);
    assert_eq!(kept.origin(&runtime, &gives(8)), CodeOrigin::Compiled);
}

#[tokio::test]
async fn te15_code_that_stays_until_the_process_ends_is_believed_no_sooner() {
    let kept = Kept::new();
    let runtime = kept.stays();
    for expected in [CodeOrigin::Compiled, CodeOrigin::Cached, CodeOrigin::Cached] {
        let ready = load(&runtime, kept.verified(&with_data(&gives(7))));
        assert_eq!(*ready.code_origin(), expected);
        // Its own ends with it, what was compiled here.
        assert_eq!(given(&runtime, ready).await, 7);
    }
    // What one kind of host keeps, the other takes.
    assert_eq!(
        kept.origin(&kept.runtime(), &with_data(&gives(7))),
        CodeOrigin::Cached
    );
    kept.origin(&kept.runtime(), &with_data(&gives(8)));
    assert_eq!(
        kept.origin(&kept.stays(), &with_data(&gives(8))),
        CodeOrigin::Cached
    );
    // It stops where it is told to, as any code does.
    let forever = r#"(component
        (core module $m (func (export "run") (result i32) (loop (br 0)) unreachable))
        (core instance $i (instantiate $m))
        (func (export "run") (result u32) (canon lift (core func $i "run"))))"#;
    let traps = forever.replace("(loop (br 0))", "");
    for (wat, is_stopped) in [(forever, true), (&traps, false)] {
        let wat = &with_data(wat);
        kept.origin(&runtime, wat);
        let limits = GuestLimits {
            run_milliseconds: Some(50),
            ..GuestLimits::default()
        };
        let verified = kept.bench.verified(wat, Grants::default(), limits);
        let ready = load(&runtime, verified);
        assert_eq!(*ready.code_origin(), CodeOrigin::Cached);
        let error = tried(&runtime, ready).await.unwrap_err();
        let late = matches!(error, RunError::Limit { .. });
        assert_eq!(late, is_stopped, "{error}");
    }
    // One without code of its own is kept, and let go, as well.
    for expected in [CodeOrigin::Compiled, CodeOrigin::Cached] {
        assert_eq!(kept.origin(&runtime, "(component)"), expected);
    }
    for entry in kept.entries() {
        let mut changed = fs::read(&entry).unwrap();
        let last = changed.len() - 1;
        changed[last] ^= 1;
        fs::write(&entry, &changed).unwrap();
    }
    let ready = load(&runtime, kept.verified(&with_data(&gives(7))));
    not_believed(ready.code_origin().clone(), "its last bit was changed");
    assert_eq!(given(&runtime, ready).await, 7);
}

#[tokio::test]
async fn te15_what_was_read_ahead_is_used_for_what_it_is_for_and_for_nothing_else() {
    let kept = Kept::new();
    let runtime = kept.runtime();
    let (seven, eight) = (gives(7), gives(8));
    for wat in [&seven, &eight] {
        kept.origin(&runtime, wat);
    }
    let file = kept
        .bench
        .pki
        .sign(&binary(&seven), &kept.bench.pki.manifest("test:guest"));
    // Whatever is asked for, what runs is what was verified.
    for (wat, number) in [(&seven, 7), (&eight, 8)] {
        let ahead = runtime.read_ahead(&claimed(&file)).expect("it is there");
        let linker = Linker::<GuestContext>::new(runtime.engine());
        let (compilation, ceiling) = (Compilation::default(), Ceiling::new());
        let ready = runtime
            .load_with(
                kept.verified(wat),
                Some(ahead.into()),
                &compilation,
                &ceiling,
                &linker,
            )
            .unwrap();
        assert_eq!(*ready.code_origin(), CodeOrigin::Cached);
        assert_eq!(given(&runtime, ready).await, number);
    }
    // It was read before it was asked for: nothing is there any more.
    let ahead = runtime.read_ahead(&claimed(&file)).expect("it is there");
    while !ahead.is_read() {
        std::thread::yield_now();
    }
    for entry in kept.entries() {
        fs::remove_file(entry).unwrap();
    }
    let supplied = |runtime: &Runtime, wat: &str, ahead: CodeAhead| {
        let linker = Linker::<GuestContext>::new(runtime.engine());
        let (supply, compilation) = (Some(ahead.into()), Compilation::default());
        let verified = kept.verified(wat);
        let ready = runtime.load_with(verified, supply, &compilation, &Ceiling::new(), &linker);
        ready.unwrap().code_origin().clone()
    };
    assert_eq!(supplied(&runtime, &seven, ahead), CodeOrigin::Cached);
    assert!(runtime.read_ahead(&claimed(&file)).is_none());
    // A host takes what another kind of host has read.
    let large = with_data(&seven);
    let file = kept
        .bench
        .pki
        .sign(&binary(&large), &kept.bench.pki.manifest("test:guest"));
    let stays = kept.stays();
    for (reads, takes) in [(&runtime, &stays), (&stays, &runtime)] {
        kept.origin(&runtime, &large);
        let ahead = reads.read_ahead(&claimed(&file)).expect("it is there");
        assert_eq!(supplied(takes, &large, ahead), CodeOrigin::Cached);
    }
}

/// What of a file is recognised, as a host sees it: its end, and then the component's bytes.
fn recognised(runtime: &Runtime, file: &[u8]) -> Option<UnverifiedComponent> {
    let claimed = ClaimedComponent::at_end_of(file, u64::try_from(file.len()).unwrap())?;
    let size = usize::try_from(claimed.statement().component_size()).unwrap();
    let mut recogniser = runtime.read_ahead(&claimed)?.recogniser(claimed);
    for piece in file[..size].chunks(7) {
        recogniser.update(piece);
    }
    recogniser.finish()
}

#[tokio::test]
async fn te15_a_component_that_ran_here_is_recognised_and_judged_anew() {
    let kept = Kept::new();
    let pki = &kept.bench.pki;
    let runtime = kept.runtime();
    let mut manifest = pki.manifest("test:guest");
    let file = pki.sign(&binary(&gives(7)), &manifest);
    assert!(recognised(&runtime, &file).is_none(), "it never ran");
    kept.origin(&runtime, &gives(7));

    let (now, state) = (pki.now(), pki.state());
    let verify = |state: &TrustState, now: &Now| {
        let component = recognised(&runtime, &file).expect("it ran here");
        runtime.verify_recognised(component, now, state)
    };
    let verified = verify(&state, &now).expect("it is trusted");
    assert_eq!(verified.digest(), Digest::of(&binary(&gives(7))));
    assert_eq!(verified.component(), None);
    let ready = load(&runtime, verified);
    assert_eq!(*ready.code_origin(), CodeOrigin::Cached);
    assert_eq!(given(&runtime, ready).await, 7);

    // Whoever signs the same bytes again, and says other things of them, is judged by those.
    manifest.security_version = 9;
    let again = pki.sign(&binary(&gives(7)), &manifest);
    let again = recognised(&runtime, &again).expect("the same component");
    let again = runtime.verify_recognised(again, &now, &state).unwrap();
    assert_eq!(again.statement().security_version(), 9);

    // Revoked since, rolled back, expired, of a root that this host has not: as if it had never run.
    let mut revoked = pki.state();
    revoked.add_crl(&pki.crl_against_device(2)).unwrap();
    assert!(verify(&revoked, &now).is_none(), "revoked");
    let mut risen = TrustState::remembering();
    let root = pki.anchors().iter().next().unwrap().spki_sha256();
    risen.note_version(root, "test:guest".parse().unwrap(), 8);
    assert!(verify(&risen, &now).is_none(), "rolled back");
    let later = Now::at(pki.time().saturating_add(Duration::from_secs(1 << 30)));
    assert!(verify(&state, &later).is_none(), "expired");
    let other = Runtime::builder(TestPki::new().anchors())
        .code_cache(kept.cache().unwrap())
        .build()
        .unwrap();
    assert!(recognised(&other, &file).is_none(), "other roots");
}

#[test]
fn te15_ta30_what_is_not_byte_for_byte_what_ran_here_is_not_recognised() {
    let kept = Kept::new();
    let pki = &kept.bench.pki;
    let runtime = kept.runtime();
    kept.origin(&runtime, &gives(7));
    let component = binary(&gives(7));
    let file = pki.sign(&component, &pki.manifest("test:guest"));
    assert!(recognised(&runtime, &file).is_some());
    // Any byte of the component.
    for at in 0..component.len() {
        let mut bad = file.clone();
        bad[at] ^= 1 << (at % 8);
        assert!(recognised(&runtime, &bad).is_none(), "byte {at}");
    }
    // Any byte of what was noted of it.
    let entry = kept.entry();
    let good = fs::read(&entry).unwrap();
    for at in 60..92 {
        let mut bad = good.clone();
        bad[at] ^= 1 << (at % 8);
        fs::write(&entry, bad).unwrap();
        assert!(recognised(&runtime, &file).is_none(), "note, byte {at}");
    }
    fs::write(&entry, &good).unwrap();
    assert!(recognised(&runtime, &file).is_some());
    // Something before the section, after it, or a byte of it less.
    let (front, section) = file.split_at(component.len());
    for bad in [
        [front, b"\0\x01\0", section].concat(),
        [front, section, b"\0"].concat(),
        [&front[..front.len() - 1], section].concat(),
        [front, &section[1..]].concat(),
        [front, section, section].concat(),
    ] {
        assert!(recognised(&runtime, &bad).is_none());
    }
    // Not seen to its end, or beyond.
    for seen in [component.len() - 1, component.len() + 1] {
        let claimed = claimed(&file);
        let ahead = runtime.read_ahead(&claimed).unwrap();
        let mut recogniser = ahead.recogniser(claimed);
        recogniser.update(&file[..seen]);
        assert!(recogniser.finish().is_none(), "{seen} bytes");
    }
    // One component under the signature of another, with the entry of the one in the place of the other's.
    kept.origin(&runtime, &gives(8));
    let entries = kept.entries();
    let of_eight = entries.iter().find(|other| **other != entry).unwrap();
    let eight = pki.sign(&binary(&gives(8)), &pki.manifest("test:guest"));
    let mixed = [front, &eight[component.len()..]].concat();
    assert!(recognised(&runtime, &mixed).is_none());
    fs::copy(&entry, of_eight).unwrap();
    assert!(recognised(&runtime, &mixed).is_none(), "swapped");
    // What another device noted.
    let theirs = Kept {
        bench: kept.bench,
        folder: tempfile::tempdir().unwrap(),
    };
    let other = theirs.runtime();
    theirs.origin(&other, &gives(7));
    assert!(recognised(&other, &file).is_some());
    fs::write(theirs.entry(), &good).unwrap();
    assert!(recognised(&other, &file).is_none());
}

#[test]
fn te15_what_was_recognised_is_not_compiled_but_read() {
    let kept = Kept::new();
    let pki = &kept.bench.pki;
    let runtime = kept.runtime();
    kept.origin(&runtime, &gives(7));
    let file = pki.sign(&binary(&gives(7)), &pki.manifest("test:guest"));
    let component = recognised(&runtime, &file).unwrap();
    let verified = runtime.verify_recognised(component, &pki.now(), &pki.state());
    // Its code is not what was sealed any more.
    let entry = kept.entry();
    let mut bad = fs::read(&entry).unwrap();
    *bad.last_mut().unwrap() ^= 1;
    fs::write(&entry, bad).unwrap();
    let linker = Linker::<GuestContext>::new(runtime.engine());
    let loaded = runtime.load(verified.unwrap(), &Ceiling::new(), &linker);
    assert!(
        matches!(loaded, Err(LoadError::Recognised)),
        "{:?}",
        loaded.err()
    );
    not_believed(kept.origin(&runtime, &gives(7)), "read whole");
}

/// What a whole file says of itself.
fn claimed(file: &[u8]) -> ClaimedComponent {
    ClaimedComponent::at_end_of(file, u64::try_from(file.len()).unwrap()).expect("it is signed")
}

/// What a component gives when it runs.
async fn given(runtime: &Runtime, ready: ReadyGuest<GuestContext>) -> u32 {
    tried(runtime, ready).await.unwrap()
}

async fn tried(runtime: &Runtime, ready: ReadyGuest<GuestContext>) -> Result<u32, RunError> {
    let context = ready.context().unwrap();
    let store = countersign_runtime::wasmtime::Store::new(runtime.engine(), context);
    let mut running = ready.start(store).await?;
    let (given,) = running.call_export::<(), (u32,)>(None, "run", ()).await?;
    Ok(given)
}

#[test]
fn te15_an_entry_that_was_changed_anywhere_is_compiled_again() {
    let kept = Kept::new();
    let runtime = kept.runtime();
    let wat = gives(7);
    kept.origin(&runtime, &wat);
    let entry = kept.entry();
    let good = fs::read(&entry).unwrap();
    // Head, seal, imports, and some bytes of the code, its last among them.
    let spread = (1..40).map(|part| part * (good.len() - 1) / 39);
    let places: Vec<_> = (0..70).step_by(3).chain(spread).collect();
    for at in places {
        let mut bad = good.clone();
        bad[at] ^= 1 << (at % 8);
        fs::write(&entry, bad).unwrap();
        not_believed(kept.origin(&runtime, &wat), &format!("byte {at}"));
        assert_eq!(fs::read(&entry).unwrap().len(), good.len(), "it is mended");
        assert_eq!(kept.origin(&runtime, &wat), CodeOrigin::Cached, "byte {at}");
    }
    for length in [0, 1, 27, 28, 40, 60, 64, 100, good.len() - 1] {
        fs::write(&entry, &good[..length]).unwrap();
        not_believed(
            kept.origin(&runtime, &wat),
            &format!("cut at {length} bytes"),
        );
    }
    fs::write(&entry, [&good[..], b"\0"].concat()).unwrap();
    not_believed(kept.origin(&runtime, &wat), "a byte more");
}

#[test]
fn te15_an_entry_in_anothers_place_is_compiled_again() {
    let kept = Kept::new();
    let runtime = kept.runtime();
    let wat = gives(7);
    kept.origin(&runtime, &wat);
    let ours = kept.entry();

    // Another component's.
    kept.origin(&runtime, &gives(8));
    let entries = kept.entries();
    let theirs = entries.iter().find(|entry| **entry != ours).unwrap();
    fs::copy(theirs, &ours).unwrap();
    not_believed(kept.origin(&runtime, &wat), "another component's");
    fs::remove_file(theirs).unwrap();

    // That of a host with another root, of other settings, and of another build, which all know it by another name.
    let other_pki = TestPki::new();
    let both = vec![kept.bench.pki.anchor_source(), other_pki.anchor_source()];
    let anchors = Anchors::new(both).unwrap();
    let mut settings = Config::new();
    settings.memory_reservation(32 << 20);
    let others = [
        ("other roots", Runtime::builder(anchors)),
        (
            "other settings",
            Runtime::builder(kept.bench.pki.anchors()).config(settings),
        ),
    ];
    for (what, builder) in others {
        let other = builder.code_cache(kept.cache().unwrap()).build().unwrap();
        assert_eq!(kept.origin(&other, &wat), CodeOrigin::Compiled, "{what}");
        let entries = kept.entries();
        let theirs = entries.iter().find(|entry| **entry != ours).unwrap();
        fs::copy(theirs, &ours).unwrap();
        not_believed(kept.origin(&runtime, &wat), what);
        fs::copy(&ours, theirs).unwrap();
        not_believed(kept.origin(&other, &wat), what);
        fs::remove_file(theirs).unwrap();
    }

    // That of another device: the names, too, are of its key.
    let entry = fs::read(&ours).unwrap();
    fs::remove_file(&ours).unwrap();
    fs::remove_file(kept.path().join("key")).unwrap();
    let other = kept.runtime();
    assert_eq!(kept.origin(&other, &wat), CodeOrigin::Compiled);
    let theirs = kept.entry();
    assert_ne!(theirs, ours);
    fs::write(&theirs, entry).unwrap();
    not_believed(kept.origin(&other, &wat), "another device's");
}

#[test]
fn te15_a_build_of_another_name_does_not_load_the_code_of_this_one() {
    // An embedder cannot choose the name either.
    let mut config = Config::new();
    let other = ModuleVersionStrategy::Custom("another".to_owned());
    config.module_version(other).unwrap();
    let bench = Bench::new();
    let engine = |config| {
        let built = Runtime::builder(bench.pki.anchors()).config(config).build();
        built.unwrap()
    };
    let (ours, theirs) = (engine(Config::new()), engine(config));
    let hash = |runtime: &Runtime| {
        use std::hash::{DefaultHasher, Hash as _, Hasher as _};
        let mut hasher = DefaultHasher::new();
        let settings = runtime.engine().precompile_compatibility_hash();
        settings.hash(&mut hasher);
        hasher.finish()
    };
    assert_eq!(hash(&ours), hash(&theirs));
}

#[test]
fn te16_an_entry_that_is_a_link_or_open_to_others_is_not_used() {
    let kept = Kept::new();
    let runtime = kept.runtime();
    let wat = gives(7);
    kept.origin(&runtime, &wat);
    let entry = kept.entry();
    let elsewhere = kept.folder.path().join("elsewhere");
    fs::rename(&entry, &elsewhere).unwrap();
    std::os::unix::fs::symlink(&elsewhere, &entry).unwrap();
    not_believed(kept.origin(&runtime, &wat), "a link");
    assert!(
        fs::symlink_metadata(&entry).unwrap().is_file(),
        "in its place is a file again"
    );
    mode(&entry, 0o644);
    not_believed(kept.origin(&runtime, &wat), "open to others");
    assert_eq!(kept.origin(&runtime, &wat), CodeOrigin::Cached);
}

#[test]
fn te16_a_folder_or_key_that_others_may_open_is_refused() {
    let kept = Kept::new();
    let path = kept.path();
    kept.cache().expect("it is made");
    let folder = fs::metadata(&path).unwrap();
    assert_eq!(folder.permissions().mode() & 0o777, 0o700);
    let refused = |path: &Path, why: &str| {
        let error = CodeCache::open(path, PLENTY).expect_err(why).to_string();
        assert!(error.contains(why), "{error}");
    };
    for open in [0o750, 0o701, 0o777] {
        mode(&path, open);
        refused(&path, "close it with chmod go-rwx");
    }
    mode(&path, 0o700);
    let link = kept.folder.path().join("link");
    std::os::unix::fs::symlink(&path, &link).unwrap();
    refused(&link, "is a link to one");
    let key = path.join("key");
    mode(&key, 0o640);
    refused(&path, "close it with chmod go-rwx");
    mode(&key, 0o600);
    kept.cache().expect("closed again");
    // As root, who may give files away.
    if std::os::unix::fs::chown(&path, Some(12_345), None).is_ok() {
        refused(&path, "it belongs to user 12345");
        std::os::unix::fs::chown(&path, Some(0), None).unwrap();
    }
    fs::remove_file(&key).unwrap();
    std::os::unix::fs::symlink("/dev/zero", &key).unwrap();
    CodeCache::open(&path, PLENTY).expect_err("a key that is a link");
    // A key that was cut is no key: a new one is made, and what the old one sealed is not found.
    fs::remove_file(&key).unwrap();
    fs::write(&key, [7; 31]).unwrap();
    mode(&key, 0o600);
    kept.cache().expect("a new key");
    assert_eq!(fs::read(&key).unwrap().len(), 32);
}

fn mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

#[test]
fn what_was_not_used_for_longest_makes_room() {
    let kept = Kept::new();
    kept.origin(&kept.runtime(), &gives(1));
    let size = fs::metadata(kept.entry()).unwrap().len();
    let runtime = Runtime::builder(kept.bench.pki.anchors())
        .code_cache(CodeCache::open(&kept.path(), 2 * size + size / 2).unwrap())
        .build()
        .unwrap();
    let first = kept.entry();
    assert_eq!(kept.origin(&runtime, &gives(2)), CodeOrigin::Compiled);
    for (entry, hours) in kept.entries().iter().zip([5, 5]) {
        let hours = if *entry == first { 9 } else { hours };
        let long_ago = SystemTime::now() - Duration::from_secs(hours * 3_600);
        let file = File::options().append(true).open(entry).unwrap();
        file.set_modified(long_ago).unwrap();
    }
    // The older of both is used, so that the other goes.
    assert_eq!(kept.origin(&runtime, &gives(1)), CodeOrigin::Cached);
    assert_eq!(kept.origin(&runtime, &gives(3)), CodeOrigin::Compiled);
    assert_eq!(kept.entries().len(), 2);
    assert!(kept.entries().contains(&first));
    assert_eq!(kept.origin(&runtime, &gives(1)), CodeOrigin::Cached);
    // What is larger than all of it runs, and is not kept.
    let small = Runtime::builder(kept.bench.pki.anchors())
        .code_cache(CodeCache::open(&kept.path(), 100).unwrap())
        .build()
        .unwrap();
    let origin = kept.origin(&small, &gives(4));
    assert!(matches!(origin, CodeOrigin::NotKept { .. }), "{origin:?}");
}

#[test]
fn te17_what_is_denied_is_denied_from_the_cache_too() {
    let kept = Kept::new();
    let sockets = r#"(component
        (import "wasi:sockets/network@0.2.0" (instance (export "network" (type (sub resource))))))"#;
    let grants = Grants {
        sockets: Some(vec!["tcp:192.0.2.7:502".to_owned()]),
        ..Grants::default()
    };
    let runtime = kept.runtime();
    let linker = Linker::<GuestContext>::new(runtime.engine());
    let load = |ceiling: &Ceiling| {
        let bytes = binary(sockets);
        let verified = (kept.bench).verified_bytes(&bytes, grants.clone(), GuestLimits::default());
        runtime.load(verified, ceiling, &linker)
    };
    let allowed = Ceiling::new().sockets(["tcp:192.0.2.7:502"]);
    for origin in [CodeOrigin::Compiled, CodeOrigin::Cached] {
        assert_eq!(*load(&allowed).unwrap().code_origin(), origin);
    }
    let denied = load(&Ceiling::new());
    assert!(
        matches!(denied, Err(LoadError::ImportDenied { .. })),
        "{denied:?}"
    );
}

#[test]
fn a_configuration_of_ones_own_does_not_go_with_a_process_that_does_not_know_it() {
    let bench = Bench::new();
    let built = Runtime::builder(bench.pki.anchors())
        .config(Config::new())
        .compile_apart(CompileLimits::new(["compile"]))
        .build();
    let error = built.expect_err("it is refused").to_string();
    assert!(error.contains("leave out either"), "{error}");
}

#[test]
fn a_program_that_does_not_compile_when_it_is_started_so_refuses_the_component() {
    // This one is a program of tests, which prints what it likes.
    let bench = Bench::new();
    let runtime = Runtime::builder(bench.pki.anchors())
        .compile_apart(CompileLimits::new(["--list"]))
        .build()
        .unwrap();
    let verified = bench.verified(
        &core("(func (export \"run\"))"),
        Grants::default(),
        GuestLimits::default(),
    );
    let linker = Linker::<GuestContext>::new(runtime.engine());
    let loaded = runtime.load(verified, &Ceiling::new(), &linker);
    assert!(
        matches!(loaded, Err(LoadError::CompilerFailed { .. })),
        "{loaded:?}"
    );
}
