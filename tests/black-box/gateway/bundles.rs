//! Bundles from a stick, a server and a registry: what is applied whole, what is refused whole, and the way back from one that does not prove healthy.

use countersign_format::{Audience, Minimum, PartKind};
use countersign_signer::{BundlePlan, BundleSource, Overwrite, create_bundle};
use countersign_testing::Profile;

use super::*;

/// A gateway that takes bundles of a signer's, of a PKI of their own.
pub(super) struct Plant {
    pub(super) bench: Bench,
    releases: TestPki,
}

/// What a bundle is to bring: files in the stick's folder, by kind.
pub(super) type Parts<'a> = &'a [(PartKind, &'a str)];

use PartKind::{Component, Configuration, Lists, Precompiled};

impl Plant {
    pub(super) fn new() -> Self {
        Self::within("60s", "")
    }

    /// Whose bundles have so long to prove healthy, with more configuration.
    pub(super) fn within(healthy_within: &str, more: &str) -> Self {
        let bench = Bench::new();
        let releases = TestPki::builder().profile(Profile::Bundle).seed(7).build();
        fs::create_dir(bench.path("releases")).expect("our own folder");
        fs::create_dir(bench.path("stick")).expect("our own folder");
        let _ = releases.write(&bench.path("releases"));
        fs::copy(
            bench.path("releases/crls.pem"),
            bench.path("stick/releases.pem"),
        )
        .expect("lists");
        let plant = Self { bench, releases };
        plant.bench.configure_with(&format!(
            "[gateway]\nstate = \"state\"\nlists = [\"crls.pem\"]\n\
             [bundles]\nline = \"plant\"\nanchors = \"releases/roots.pem\"\nhealthy-within = \"{healthy_within}\"\nmost = \"2MiB\"\n\
             [bundles.download]\nstalled-after = \"1s\"\nwithin = \"30s\"\n{more}",
        ));
        plant
    }

    /// Signs a guest as a version of `test:NAME`, into the stick's folder.
    pub(super) fn sign(&self, name: &str, guest: &str, version: u64) {
        self.bench.sign(name, guest, version);
        self.bring(name);
    }

    /// The same of one that answers requests.
    pub(super) fn serve(&self, name: &str, guest: &str, version: u64) {
        crate::http::sign(&self.bench, name, guest, version, &[]);
        self.bring(name);
    }

    /// Has the stick bring the component of this name.
    pub(super) fn bring(&self, name: &str) {
        let file = format!("{name}.wasm");
        fs::rename(self.bench.path(&file), self.stick(&file)).expect("our own folder");
    }

    fn stick(&self, name: &str) -> PathBuf {
        self.bench.path("stick").join(name)
    }

    /// Says what is to run: each service from the component of its name.
    pub(super) fn say(&self, services: &[&str]) {
        let text: String = services
            .iter()
            .map(|name| {
                format!(
                    "[[service]]\nname = \"{name}\"\ncomponent = \"{name}.wasm\"\nsigned-as = \"test:{name}\"\n{SOON}\n"
                )
            })
            .collect();
        fs::write(self.stick("services.toml"), text).expect("our own folder");
    }

    pub(super) fn plan(&self, number: u64, parts: Parts<'_>) -> BundlePlan {
        BundlePlan {
            line: "plant".to_owned(),
            number,
            not_after: self.releases.time().as_secs() + 86_400,
            audience: Audience::default(),
            parts: parts
                .iter()
                .map(|(kind, name)| BundleSource {
                    kind: *kind,
                    path: self.stick(name),
                })
                .collect(),
            minimums: Vec::new(),
        }
    }

    /// Signs a bundle, with the lists of its signer's authorities in it.
    pub(super) fn bundle(&self, mut plan: BundlePlan) -> PathBuf {
        plan.parts.push(BundleSource {
            kind: Lists,
            path: self.stick("releases.pem"),
        });
        let path = self.stick("plant.bundle");
        let signers = [self.releases.certified_key()];
        create_bundle(&plan, &signers, &path, Overwrite::Replace).expect("a bundle");
        path
    }

    pub(super) fn apply(&self, path: &Path) -> (i32, Value) {
        let path = path.to_str().expect("our own path");
        let ran = self.bench.ran("apply", &[path, "--json"]);
        let said = serde_json::from_str(&ran.stdout);
        (ran.status, said.unwrap_or_else(|_| panic!("{ran:?}")))
    }

    #[track_caller]
    pub(super) fn applied(&self, plan: BundlePlan) {
        let (status, said) = self.apply(&self.bundle(plan));
        assert_eq!((status, &said["outcome"]), (0, &"applied".into()), "{said}");
    }

    #[track_caller]
    fn refused(&self, path: &Path, code: Code) -> String {
        let (status, said) = self.apply(path);
        assert_eq!(said["refused"]["code"], code.as_str(), "{said}");
        assert_eq!(status, i32::from(code.exit_status()), "{said}");
        said["refused"]["why"]
            .as_str()
            .expect("a reason")
            .to_owned()
    }

    /// The version of a service that runs.
    pub(super) fn version(&self, name: &str) -> String {
        let service = self.bench.service(name);
        assert_eq!(service["state"], "running", "{service}");
        service["version"].as_str().expect("a version").to_owned()
    }
}

#[test]
fn td10_what_proved_healthy_while_a_bundle_was_on_trial_runs_again_where_the_next_fails() {
    // Later than the trial begins, and before it ends.
    let door = "[[service]]\nname = \"door\"\ncomponent = \"door.wasm\"\nsigned-as = \"test:door\"\n\
                restart = { first = \"50ms\", most = \"200ms\", healthy-after = \"400ms\" }\n";
    let plant = Plant::within("60s", door);
    let bench = &plant.bench;
    bench.sign("door", "endless-loop", 2);
    plant.sign("pump", "endless-loop", 1);
    plant.say(&["pump"]);
    let bundle = plant.bundle(plant.plan(1, WHOLE));
    let gateway = bench.start();
    bench.until("door", healthy);
    bench.sign("door", "endless-loop", 3);
    assert_eq!(bench.reload().0.status, 0);
    assert_eq!(plant.apply(&bundle).0, 0);
    bench.until("door", |door| healthy(door) && door["version"] == "3.0.0");
    bench.sign("door", "trap", 4);
    assert_eq!(bench.reload().0.status, 0);
    let door = bench.until("door", |door| door["newer"].is_string());
    let why = door["newer"].as_str().expect("a reason");
    assert!(why.contains("so 3.0.0 runs again"), "{why}");
    assert_eq!(gateway.stop(), 0);
}

#[test]
fn td10_what_ran_well_while_a_bundle_was_on_trial_is_remembered_before_it_is_due_again() {
    // Due once while the trial is on, and long after it once more.
    let report = "[[schedule]]\nname = \"report\"\ncomponent = \"report.wasm\"\nsigned-as = \"test:report\"\n\
                  every = \"25s\"\njitter = \"1ms\"\n";
    let plant = Plant::within("60s", report);
    let bench = &plant.bench;
    bench.sign("report", "hello", 2);
    plant.sign("pump", "endless-loop", 1);
    plant.say(&["pump"]);
    let services = plant.stick("services.toml");
    let slow = fs::read_to_string(&services).expect("our own folder");
    let slow = slow.replace(SOON, "restart = { healthy-after = \"28s\" }");
    fs::write(&services, slow).expect("our own folder");
    let bundle = plant.bundle(plant.plan(1, WHOLE));
    let gateway = bench.start();
    let remembered = || {
        let trust = bench.ran("trust", &["--json"]);
        let trust: Value = serde_json::from_str(&trust.stdout).expect("JSON");
        let versions = trust["remembered"]["versions"].as_array();
        versions.is_some_and(|versions| {
            versions
                .iter()
                .any(|one| one["component"] == "test:report" && one["security-version"] == 2)
        })
    };
    assert_eq!(plant.apply(&bundle).0, 0);
    bench.until("report", |report| report["starts"] == 1);
    let began = Instant::now();
    while !remembered() {
        assert!(began.elapsed() < Duration::from_secs(60), "never");
        std::thread::sleep(Duration::from_millis(100));
    }
    let report = bench.service("report");
    assert_eq!(report["starts"], 1, "{report}");
    assert_eq!(gateway.stop(), 0);
}

#[test]
fn te15_th12_a_bundle_brings_code_for_several_targets_and_its_own_is_used() {
    let plant = Plant::new();
    let desk = super::code::Desk::of(&plant.bench);
    plant.sign("pump", "endless-loop", 1);
    plant.say(&["pump"]);
    let parts: Parts<'_> = &[
        (Configuration, "services.toml"),
        (Component, "pump.wasm"),
        (Precompiled, "another.code"),
        (Precompiled, "pump.code"),
    ];
    let ours = plant.stick("pump.code");
    let _ = desk.vouch(&plant.bench, &plant.stick("pump.wasm"), &ours);
    // By what it says itself, for another component.
    plant.sign("door", "hello", 1);
    let _ = desk.vouch(
        &plant.bench,
        &plant.stick("door.wasm"),
        &plant.stick("another.code"),
    );
    let gateway = plant.bench.start();
    plant.applied(plant.plan(1, parts));
    let pump = plant.bench.service("pump");
    assert!(pump["code-signer"].is_string(), "{pump}");
    // What is changed is no reason not to compile; and bundle, component and code are recorded for what they are.
    let mut changed = fs::read(&ours).expect("ours");
    let last = changed.len() - 1;
    changed[last] ^= 1;
    fs::write(&ours, changed).expect("ours");
    plant.applied(plant.plan(2, parts));
    let pump = plant.bench.service("pump");
    assert!(pump["code-signer"].is_null(), "{pump}");
    let records = plant.bench.records();
    let mut said: Vec<_> = records
        .iter()
        .filter_map(|record| match record["event"].as_str()? {
            "accepted" => record["native_code"].as_str(),
            "code-refused" => record["code"].as_str(),
            _ => None,
        })
        .collect();
    // It is judged before anything is changed, and when it is to run.
    said.dedup();
    assert_eq!(said, ["precompiled", "digest-mismatch", "compiled"]);
    assert_eq!(gateway.stop(), 0);
}

pub(super) const WHOLE: Parts<'_> = &[(Configuration, "services.toml"), (Component, "pump.wasm")];

#[test]
fn td07_a_folder_stands_for_the_newest_bundle_of_the_line_in_it_and_for_nothing_else() {
    let plant = Plant::new();
    plant.say(&["pump"]);
    let stick = plant.bench.path("usb");
    fs::create_dir(&stick).expect("our own folder");
    let bring = |number, line: &str, name: &str| {
        plant.sign("pump", "endless-loop", number);
        let mut plan = plant.plan(number, WHOLE);
        plan.line = line.to_owned();
        fs::rename(plant.bundle(plan), stick.join(name)).expect("our own folder");
    };
    let apply = || plant.bench.ran("apply", &[kills::text(&stick), "--json"]);
    let misused = |said: &str| {
        let ran = apply();
        assert!(
            ran.status == 2 && ran.stderr.contains(said),
            "{said}: {ran:?}"
        );
    };
    let gateway = plant.bench.start();
    fs::write(stick.join("read-me.txt"), "no bundle").expect("our own folder");
    misused("holds no bundle");
    bring(9, "another", "another.bundle");
    misused("holds no bundle of the line \"plant\"");
    bring(1, "plant", "one.bundle");
    bring(3, "plant", "three.bundle");
    bring(2, "plant", "two.bundle");
    let ran = apply();
    assert_eq!(ran.status, 0, "{ran:?}");
    assert!(
        ran.stderr.contains("three.bundle, number 3 of plant"),
        "{ran:?}"
    );
    assert_eq!(plant.version("pump"), "3.0.0");
    // Which one is meant is not guessed; nor is a link followed.
    fs::copy(stick.join("three.bundle"), stick.join("copy.bundle")).expect("our own folder");
    misused("both have the number 3");
    fs::remove_file(stick.join("three.bundle")).expect("our own folder");
    bring(4, "plant", "four.bundle");
    let away = plant.bench.path("away.bundle");
    fs::rename(stick.join("four.bundle"), &away).expect("our own folder");
    std::os::unix::fs::symlink(&away, stick.join("four.bundle")).expect("our own folder");
    // Applied already: what ran runs on.
    let ran = apply();
    assert_eq!(ran.status, 0, "{ran:?}");
    assert!(
        ran.stderr.contains("copy.bundle, number 3 of plant"),
        "{ran:?}"
    );
    assert_eq!(plant.version("pump"), "3.0.0");
    assert_eq!(gateway.stop(), 0);
}

#[test]
fn td10_th12_a_bundle_is_applied_whole_or_not_at_all_and_a_failed_one_gives_the_place_back() {
    let plant = Plant::new();
    plant.sign("pump", "endless-loop", 3);
    plant.say(&["pump"]);
    let mut gateway = plant.bench.start();
    plant.applied(plant.plan(5, WHOLE));
    assert_eq!(plant.version("pump"), "3.0.0");

    // The same again is nothing new; an older one, a leap and another of the same number are refused.
    let (status, said) = plant.apply(&plant.stick("plant.bundle"));
    assert_eq!(
        (status, &said["outcome"]),
        (0, &"unchanged".into()),
        "{said}"
    );
    for number in [4, 5, 5 + 1025] {
        let mut plan = plant.plan(number, WHOLE);
        plan.not_after += 1;
        plant.refused(&plant.bundle(plan), Code::BundleRollback);
    }

    // A newer one that does not live: what ran before runs again, its number is still free, and nothing was raised.
    plant.sign("pump", "trap", 9);
    let path = plant.bundle(plant.plan(6, WHOLE));
    let why = plant.refused(&path, Code::BundleUnhealthy);
    assert!(why.contains("pump"), "{why}");
    plant.bench.until("pump", healthy);
    assert_eq!(plant.version("pump"), "3.0.0");
    // Two, of which one does not live: the other goes back too, though it did.
    plant.sign("pump", "endless-loop", 8);
    plant.sign("door", "trap", 1);
    plant.say(&["pump", "door"]);
    let both: Parts<'_> = &[
        (Configuration, "services.toml"),
        (Component, "pump.wasm"),
        (Component, "door.wasm"),
    ];
    plant.refused(&plant.bundle(plant.plan(6, both)), Code::BundleUnhealthy);
    plant.bench.until("pump", healthy);
    assert_eq!(plant.version("pump"), "3.0.0");
    plant.sign("pump", "endless-loop", 4);
    plant.say(&["pump"]);
    plant.applied(plant.plan(6, WHOLE));
    assert_eq!(plant.version("pump"), "4.0.0");

    // It is there after a restart, without the stick; also after one that nobody announced.
    for killed in [false, true] {
        if killed {
            drop(gateway);
        } else {
            assert_eq!(gateway.stop(), 0);
        }
        gateway = plant.bench.start();
        plant.bench.until("pump", healthy);
        assert_eq!(plant.version("pump"), "4.0.0");
    }
    assert_eq!(plant.bench.reload().0.status, 0);
    let events: Vec<_> = plant
        .bench
        .records()
        .iter()
        .filter_map(|record| {
            Some((
                record["event"].as_str()?.to_owned(),
                record["number"].as_u64(),
            ))
        })
        .filter(|(event, _)| event.starts_with("bundle-"))
        .collect();
    assert_eq!(events.len(), 7, "{events:?}");
    assert_eq!(events[0], ("bundle-applied".to_owned(), Some(5)));
    assert_eq!(events[6], ("bundle-applied".to_owned(), Some(6)));
    // Of what came nothing is left but the bundle that runs, and the lists.
    let left = fs::read_dir(plant.bench.path("state/bundles")).expect("a folder");
    assert_eq!(left.count(), 3);
    let incoming = fs::read_dir(plant.bench.path("state/bundles/incoming")).expect("a folder");
    assert_eq!(incoming.count(), 0);
    drop(gateway);
}

#[test]
fn th12_th11_td17_what_is_cut_mixed_too_late_for_others_or_signed_by_others_changes_nothing() {
    let plant = Plant::new();
    plant.sign("pump", "endless-loop", 3);
    plant.say(&["pump"]);
    let gateway = plant.bench.start();
    plant.applied(plant.plan(1, WHOLE));
    plant.sign("pump", "endless-loop", 4);
    let good = fs::read(plant.bundle(plant.plan(2, WHOLE))).expect("a bundle");
    let bent = plant.stick("bent.bundle");
    let mut mixed = good.clone();
    let last = mixed.len() - 1;
    mixed[last] ^= 1;
    for (bytes, code) in [
        (&good[..good.len() - 1], Code::PartMismatch),
        (&mixed, Code::PartMismatch),
        (&[&good[..], b"x"].concat(), Code::TrailingBytes),
        (&good[..100], Code::Malformed),
        (b"anything else", Code::NotABundle),
    ] {
        fs::write(&bent, bytes).expect("our own folder");
        plant.refused(&bent, code);
    }
    let bent = |change: fn(&mut BundlePlan)| {
        let mut plan = plant.plan(2, WHOLE);
        change(&mut plan);
        plant.bundle(plan)
    };
    plant.refused(
        &bent(|plan| plan.not_after = 1_700_000_000),
        Code::BundleEnded,
    );
    plant.refused(
        &bent(|plan| plan.line = "other".to_owned()),
        Code::BundleLine,
    );
    plant.refused(
        &bent(|plan| plan.audience.devices = vec!["another".to_owned()]),
        Code::Audience,
    );
    // Whoever signs components signs no bundles.
    let path = plant.stick("foreign.bundle");
    let foreign = [plant.bench.pki.certified_key()];
    create_bundle(&plant.plan(2, WHOLE), &foreign, &path, Overwrite::Replace).expect("a bundle");
    plant.refused(&path, Code::UntrustedRoot);
    // A component in it is believed for its own signature alone.
    let stranger = TestPki::builder().scope(&["test:*"]).seed(9).build();
    let file = stranger.sign(&guest("endless-loop"), &stranger.manifest("test:pump"));
    fs::write(plant.stick("pump.wasm"), file).expect("our own folder");
    plant.refused(&plant.bundle(plant.plan(2, WHOLE)), Code::UntrustedRoot);
    // It says what runs, and nothing else.
    plant.sign("pump", "endless-loop", 4);
    for text in [
        "[gateway]\nstate = \"/elsewhere\"\n",
        "[bundles]\nline = \"mine\"\nanchors = \"mine.pem\"\n",
        "[[service]]\nname = \"pump\"\ncomponent = \"/etc/passwd\"\nsigned-as = \"test:pump\"\n",
    ] {
        fs::write(plant.stick("services.toml"), text).expect("our own folder");
        let (status, said) = plant.apply(&plant.bundle(plant.plan(2, WHOLE)));
        assert_eq!((status, &said["outcome"]), (2, &"refused".into()), "{said}");
    }
    plant.bench.until("pump", healthy);
    assert_eq!(plant.version("pump"), "3.0.0");
    plant.say(&["pump"]);
    plant.applied(plant.plan(2, WHOLE));
    assert_eq!(gateway.stop(), 0);
}

#[test]
fn td13_a_bundles_lists_judge_its_components_also_where_there_is_no_room_to_keep_them() {
    let plant = Plant::new();
    plant.bench.configure_with(
        "[gateway]\nstate = \"state\"\n\
         [bundles]\nline = \"plant\"\nanchors = \"releases/roots.pem\"\nhealthy-within = \"60s\"\nmost = \"2MiB\"\n",
    );
    plant.sign("pump", "endless-loop", 1);
    plant.say(&["pump"]);
    let gateway = plant.bench.start();
    // As many as there is room for from one signer, of authorities that nobody knows; the bundle itself brings too little.
    let mut invented = plant.plan(1, &[(Configuration, "services.toml")]);
    let pki = &plant.bench.pki;
    let mut list = countersign_testing::CrlParts::of(&pki.crls()[1]);
    for number in 0_u8..64 {
        let identifier = [0x30, 10, 0x80, 8, 1, 2, 3, 4, 5, 6, 7, number];
        let id = countersign_trust_store::oid::AUTHORITY_KEY_IDENTIFIER;
        list.set_extension(id, false, &identifier);
        let path = plant.stick(&format!("invented-{number}.crl"));
        fs::write(&path, list.sign(&pki.authority_keys()[1])).expect("our own folder");
        invented.parts.push(BundleSource { kind: Lists, path });
    }
    let (_, said) = plant.apply(&plant.bundle(invented));
    assert_eq!(said["outcome"], "refused", "{said}");
    // Nobody knows the component's issuer before its list is looked at.
    fs::copy(plant.bench.path("crls.pem"), plant.stick("crls.pem")).expect("lists");
    let mut whole = plant.plan(1, WHOLE);
    whole.parts.push(BundleSource {
        kind: Lists,
        path: plant.stick("crls.pem"),
    });
    plant.applied(whole);
    // And then it has its place.
    let log = plant.bench.log();
    assert!(!log.contains("list-not-kept"), "{log}");
    assert_eq!(gateway.stop(), 0);
    let gateway = plant.bench.start();
    plant.bench.until("pump", healthy);
    assert_eq!(gateway.stop(), 0);
}

#[test]
fn td18_a_bundle_withdraws_versions_and_brings_lists_that_are_never_taken_back() {
    let plant = Plant::new();
    plant.sign("pump", "endless-loop", 3);
    plant.say(&["pump"]);
    let gateway = plant.bench.start();
    plant.applied(plant.plan(1, WHOLE));

    let withdrawing = |number, least, parts| BundlePlan {
        minimums: vec![Minimum {
            name: "test:pump".parse().expect("a name"),
            security_version: least,
        }],
        ..plant.plan(number, parts)
    };
    // A list in the name of a root that this has not signed is named, and nothing else of the bundle counts. One in the name of
    // another authority may be that of a namesake. By neither is judged what runs, whatever its number, now and after a restart.
    let stranger = TestPki::builder().seed(9).build();
    let forged = |name: &str, list: &[u8], issuer: usize| {
        let forged = countersign_testing::CrlParts::of(list);
        let forged = forged.sign(&stranger.authority_keys()[issuer]);
        fs::write(plant.stick(name), forged).expect("our own folder");
        BundleSource {
            kind: Lists,
            path: plant.stick(name),
        }
    };
    let mut parts = plant.plan(2, WHOLE);
    for number in 5_000..5_010 {
        let list = plant.bench.pki.crl_against_device(number);
        let name = format!("forged-{number}.crl");
        parts.parts.push(forged(&name, &list, 1));
    }
    let of_root = forged("forged-root.crl", &plant.bench.pki.crls()[0], 0);
    parts.parts.push(of_root);
    let why = plant.refused(&plant.bundle(parts), Code::CrlInvalid);
    let root = countersign_trust_store::Crl::parse(&plant.bench.pki.crls()[0]).expect("a list");
    assert!(why.contains(root.issuer()), "{why}");
    assert_eq!(gateway.stop(), 0);
    let gateway = plant.bench.start();
    plant.bench.until("pump", healthy);

    // Its own component is too old for it, or the number leaps: nothing changes.
    plant.refused(&plant.bundle(withdrawing(2, 4, WHOLE)), Code::Withdrawn);
    plant.refused(
        &plant.bundle(withdrawing(2, 4 + 1024, WHOLE)),
        Code::Rollback,
    );
    assert_eq!(plant.version("pump"), "3.0.0");
    plant.sign("pump", "endless-loop", 4);
    let mut parts = withdrawing(2, 4, WHOLE);
    let list = plant.bench.pki.crl_against_device(5_010);
    parts.parts.push(forged("forged-5010.crl", &list, 1));
    plant.applied(parts);
    assert_eq!(plant.version("pump"), "4.0.0");
    plant.sign("pump", "endless-loop", 3);
    plant.refused(&plant.bundle(plant.plan(3, WHOLE)), Code::Withdrawn);

    // A list that names the component's signer, in a bundle that brings no other component: it stops.
    let list = plant.bench.pki.crl_against_device(1_000);
    fs::write(plant.stick("newer.crl"), list).expect("our own folder");
    plant.sign("pump", "endless-loop", 5);
    let path = plant.bundle(plant.plan(
        3,
        &[
            (Configuration, "services.toml"),
            (Component, "pump.wasm"),
            (Lists, "newer.crl"),
        ],
    ));
    plant.refused(&path, Code::Revoked);
    plant.bench.until("pump", is("refused"));
    assert_eq!(gateway.stop(), 0);
    let gateway = plant.bench.start();
    let pump = plant.bench.until("pump", is("refused"));
    assert_eq!(pump["code"], "revoked", "{pump}");
    // A bundle that brings lists of other issuers alone takes that one not away.
    plant.refused(&plant.bundle(plant.plan(3, WHOLE)), Code::Revoked);
    assert_eq!(gateway.stop(), 0);
    // Where they are lost, nothing starts, as without a list that the machine's own file names.
    let lists = fs::read_dir(plant.bench.path("state/bundles")).expect("a folder");
    let lists = lists.flatten().map(|entry| entry.path());
    let lists: Vec<_> = lists
        .filter(|path| path.extension() == Some("lists".as_ref()))
        .collect();
    let [lists] = &lists[..] else {
        panic!("{lists:?}")
    };
    fs::remove_file(lists).expect("our own folder");
    let gateway = plant.bench.start();
    let pump = plant.bench.until("pump", is("refused"));
    assert!(
        pump["why"]
            .as_str()
            .is_some_and(|why| why.contains("bundles have brought")),
        "{pump}"
    );
    let mut all = plant.plan(3, WHOLE);
    all.parts.push(BundleSource {
        kind: Lists,
        path: plant.stick("newer.crl"),
    });
    plant.refused(&plant.bundle(all), Code::Revoked);
    assert_eq!(gateway.stop(), 0);
}

#[test]
fn a_document_is_kept_beside_the_components_it_came_with() {
    let plant = Plant::new();
    plant.sign("pump", "endless-loop", 1);
    plant.say(&["pump"]);
    let bom = b"{\"bomFormat\": \"CycloneDX\"}\n";
    fs::write(plant.stick("pump.cdx.json"), bom).expect("our own folder");
    let gateway = plant.bench.start();
    let parts = [
        (Configuration, "services.toml"),
        (Component, "pump.wasm"),
        (PartKind::Document, "pump.cdx.json"),
    ];
    plant.applied(plant.plan(1, &parts));
    let bundles = fs::read_dir(plant.bench.path("state/bundles")).expect("it has some");
    let kept = bundles
        .flatten()
        .map(|one| one.path().join("parts/pump.cdx.json"));
    let kept: Vec<_> = kept.filter_map(|path| fs::read(path).ok()).collect();
    assert_eq!(kept, [bom]);
    assert_eq!(gateway.stop(), 0);
}
