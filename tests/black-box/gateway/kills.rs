//! The gateway killed at any moment of everything that changes something. Whoever kills it knows what may run afterwards:
//! what ran before, or what was about to; what was answered stays answered; nothing that must not fall does; nothing that was
//! revoked comes back; and nothing is left lying that grows.
//!
//! One per cent of it in the tests; `cargo xtask soak gateway` sets `COUNTERSIGN_KILLS` to the whole.

use std::collections::BTreeSet;
use std::os::unix::process::CommandExt as _;
use std::sync::OnceLock;

use super::bundles::{Plant, WHOLE};
use super::small::{traps, waits};
use super::*;

/// How many kills, if nothing was said.
const KILLS: u32 = 100;

/// Folders that are worked on at the same time.
const WORKERS: u32 = 3;

/// What is done to one folder, from its making to its end; the last of it after the signer was revoked.
const DEEDS: u32 = 40;
const AFTER_REVOCATION: u32 = 6;

/// Most files of each kind that may lie in a folder after a start: what counts, and what the next call takes away.
const MOST_LEFT: usize = 8;

/// How many descriptors more than after the first start there may be.
const MORE_DESCRIPTORS: usize = 8;

#[test]
fn th01_th08_killed_at_random_it_starts_with_what_ran_or_what_was_about_to() {
    let kills = count("COUNTERSIGN_KILLS", KILLS);
    let began = Instant::now();
    let workers: Vec<_> = (0..WORKERS)
        .map(|worker| {
            let share = kills / WORKERS + u32::from(worker < kills % WORKERS);
            std::thread::spawn(move || {
                let mut world = World::new(worker);
                while world.killed < share {
                    world.live(share);
                    // For whoever waits for many.
                    println!("{} kills, {} starts", world.killed, world.starts);
                }
                (world.killed, world.starts, world.done)
            })
        })
        .collect();
    let (mut killed, mut starts, mut done) = (0, 0, BTreeSet::new());
    for worker in workers {
        let (kills, started, deeds) = worker.join().expect("nothing was wrong");
        killed += kills;
        starts += started;
        done.extend(deeds);
    }
    println!(
        "{killed} kills and {starts} starts in {:.0} s: {}",
        began.elapsed().as_secs_f64(),
        done.into_iter().collect::<Vec<_>>().join(", ")
    );
    assert!(killed >= kills);
}

/// A count from the environment.
pub(super) fn count(name: &str, or: u32) -> u32 {
    std::env::var(name).map_or(or, |text| text.parse().expect("a number"))
}

/// Numbers that look random: splitmix64.
pub(super) struct Dice(pub(super) u64);

impl Dice {
    /// Others in each run, unless `COUNTERSIGN_SEED` says which; what failed shows with which it did.
    pub(super) fn of_now(more: u32) -> Self {
        static SEED: OnceLock<u64> = OnceLock::new();
        let seed = *SEED.get_or_init(|| match std::env::var("COUNTERSIGN_SEED") {
            Ok(text) => text.parse().expect("a number"),
            Err(_) => {
                let now = std::time::SystemTime::UNIX_EPOCH.elapsed().expect("later");
                u64::try_from(now.as_nanos() & u128::from(u64::MAX)).expect("masked")
            }
        });
        println!("COUNTERSIGN_SEED={seed}, for the numbers of {more}");
        Self(seed ^ u64::from(more))
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    pub(super) fn moment(&mut self, span: Duration) -> Duration {
        let micros = u64::try_from(span.as_micros()).expect("short");
        Duration::from_micros(self.below(micros.max(1)))
    }
}

/// What can be done to a gateway.
#[derive(Clone, Copy, Debug)]
pub(super) enum Deed {
    /// Nothing but to be killed.
    Nothing,
    /// Another version of the machine's own service.
    Reload,
    /// The same, of one that traps.
    ReloadTrap,
    /// The same, of one that is older than what proved healthy.
    ReloadOld,
    Apply,
    ApplyTrap,
    /// With a number that is taken.
    ApplyOld,
    /// With its end cut off.
    ApplyTorn,
    RollBack,
    /// A list that names who signed everything.
    Revoke,
}

/// Healthy soon, but not before what traps has done so; and started again at once.
const AT_ONCE: &str = "restart = { first = \"10ms\", most = \"20ms\", healthy-after = \"100ms\" }";

/// How a deed is asked for.
pub(super) enum Order {
    /// Not at all.
    Nothing,
    /// By this, of the gateway that runs.
    Ask(&'static str),
    /// By having this bundle applied.
    Apply(PathBuf),
}

const DEEDS_AT_RANDOM: [Deed; 12] = [
    Deed::Nothing,
    Deed::Reload,
    Deed::Reload,
    Deed::ReloadTrap,
    Deed::ReloadOld,
    Deed::Apply,
    Deed::Apply,
    Deed::ApplyTrap,
    Deed::ApplyOld,
    Deed::ApplyTorn,
    Deed::RollBack,
    Deed::RollBack,
];

/// What may run of a service after a start: versions, and 0 for nothing.
pub(super) type May = BTreeSet<u64>;

/// A folder, what was done to it, and what is therefore to be expected.
pub(super) struct World {
    pub(super) plant: Plant,
    dice: Dice,
    waits: Vec<u8>,
    traps: Vec<u8>,
    pub(super) door: May,
    /// The version that ran last, and the one before, which is kept.
    door_ran: Option<u64>,
    pub(super) door_before: Option<u64>,
    pub(super) pump: May,
    /// The last version that was made, and the last number of a bundle.
    version: u64,
    number: u64,
    /// What was told of what is remembered.
    pub(super) told: Value,
    /// More of the configuration.
    pub(super) more: String,
    /// What was done before, for whoever reads what went wrong.
    pub(super) context: String,
    revoked: bool,
    descriptors: Option<usize>,
    /// How long a start takes until all is settled.
    start: Duration,
    killed: u32,
    starts: u32,
    done: BTreeSet<String>,
}

impl World {
    pub(super) fn new(worker: u32) -> Self {
        Self {
            plant: Plant::new(),
            dice: Dice::of_now(worker),
            waits: waits(),
            traps: traps(),
            door: May::new(),
            door_ran: None,
            door_before: None,
            pump: May::new(),
            version: 0,
            number: 0,
            told: Value::Null,
            more: String::new(),
            context: String::new(),
            revoked: false,
            descriptors: None,
            start: Duration::from_millis(300),
            killed: 0,
            starts: 0,
            done: BTreeSet::new(),
        }
    }

    /// The life of one folder, or until there were so many kills.
    fn live(&mut self, kills: u32) {
        self.begin();
        for deed in 0..DEEDS {
            if self.killed >= kills {
                return;
            }
            let deed = match DEEDS - deed {
                AFTER_REVOCATION => Deed::Revoke,
                _ => DEEDS_AT_RANDOM[usize::try_from(self.dice.below(12)).expect("small")],
            };
            let gateway = self.start_settled();
            self.carry_out(deed, gateway);
            self.done.insert(format!("{deed:?}"));
        }
    }

    /// A new folder, whose making is cut off a few times.
    pub(super) fn begin(&mut self) {
        let state = self.plant.bench.path("state");
        let _ = fs::remove_dir_all(&state);
        for _ in 0..2 {
            let mut init = self.plant.bench.command("init");
            let mut init = silent(init.arg("--state").arg(&state))
                .spawn()
                .expect("init");
            std::thread::sleep(self.dice.moment(Duration::from_millis(40)));
            init.kill().expect("our own process");
            if init.wait().expect("our own process").success() {
                let _ = fs::remove_dir_all(&state);
            } else {
                self.killed += 1;
            }
        }
        let made = run(self.plant.bench.command("init").arg("--state").arg(&state));
        let there = made.stderr.contains("is the folder of a gateway already");
        assert!(made.status == 0 || there, "{made:?}");
        (self.told, self.revoked, self.descriptors) = (Value::Null, false, None);
        (self.version, self.number) = (2, 1);
        (self.door_ran, self.door_before) = (None, None);
        self.configure("");
        self.write_door(2, false);
        self.write_pump(1, false);
        self.plant.say(&["pump"]);
        let services = self.plant.bench.path("stick/services.toml");
        let said = fs::read_to_string(&services).expect("our own folder");
        put(&services, said.replace(SOON, AT_ONCE).as_bytes());
        let bundle = self.plant.bundle(self.plant.plan(1, WHOLE));
        self.door = May::from([2]);
        self.pump = May::from([0]);
        let gateway = self.start_settled();
        let said = self.plant.bench.ran("apply", &[text(&bundle), "--json"]);
        assert_eq!(said.status, 0, "{said:?}");
        self.pump = May::from([1]);
        drop(gateway);
    }

    fn configure(&self, more_lists: &str) {
        self.plant.bench.configure_with(&format!(
            "[gateway]\nstate = \"state\"\nlists = [\"crls.pem\"{more_lists}]\n\
             [bundles]\nline = \"plant\"\nanchors = \"releases/roots.pem\"\nhealthy-within = \"60s\"\nmost = \"2MiB\"\n\
             [[service]]\nname = \"door\"\ncomponent = \"door.wasm\"\nsigned-as = \"test:door\"\n{AT_ONCE}\n{}",
            self.more
        ));
    }

    fn signed(&self, name: &str, version: u64, traps: bool) -> Vec<u8> {
        let mut manifest = self.plant.bench.pki.manifest(&format!("test:{name}"));
        manifest.security_version = security(name, version);
        manifest.version = semver::Version::new(version, 0, 0);
        let component = if traps { &self.traps } else { &self.waits };
        self.plant.bench.pki.sign(component, &manifest)
    }

    pub(super) fn write_door(&self, version: u64, traps: bool) {
        let file = self.signed("door", version, traps);
        put(&self.plant.bench.path("door.wasm"), &file);
    }

    pub(super) fn write_pump(&self, version: u64, traps: bool) {
        let file = self.signed("pump", version, traps);
        put(&self.plant.bench.path("stick/pump.wasm"), &file);
    }

    /// Starts the gateway, and kills it a few times while it starts, until it is left alone.
    fn start_settled(&mut self) -> Running {
        while self.dice.below(2) == 0 {
            let gateway = self.spawn();
            std::thread::sleep(self.dice.moment(self.start));
            drop(gateway);
            self.killed += 1;
        }
        self.start_settled_once()
    }

    /// Starts the gateway, waits until it does what it is to do, and holds that against what may be.
    pub(super) fn start_settled_once(&mut self) -> Running {
        let began = Instant::now();
        let gateway = self.spawn();
        let (door, pump) = self.settle(&gateway);
        self.start = (began.elapsed() + self.start) / 2;
        self.starts += 1;
        self.hold_against(door, pump, &gateway);
        gateway
    }

    /// What it runs of both services, once that is what it will stay at.
    pub(super) fn settle(&self, gateway: &Running) -> (u64, u64) {
        let until = Instant::now() + PATIENCE;
        loop {
            let status = self.ask("{\"question\":\"status\"}");
            if status["phase"] == "running"
                && let Some(door) = settled(&status, "door")
                && let Some(pump) = settled(&status, "pump")
            {
                return (door, pump);
            }
            assert!(
                Instant::now() < until && gateway.runs(),
                "{}: {status} {}",
                self.context,
                self.log()
            );
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Waits until a service runs this version.
    pub(super) fn until(&self, name: &str, version: u64) {
        let until = Instant::now() + PATIENCE;
        while settled(&self.ask("{\"question\":\"status\"}"), name) != Some(version) {
            assert!(Instant::now() < until, "{name} {version}: {}", self.log());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// What runs of both.
    pub(super) fn runs(&self) -> (u64, u64) {
        (only(&self.door), only(&self.pump))
    }

    fn hold_against(&mut self, door: u64, pump: u64, gateway: &Running) {
        let log = || format!("{}: {}", self.context, self.log());
        assert!(
            self.door.contains(&door),
            "{door} of {:?}: {}",
            self.door,
            log()
        );
        assert!(
            self.pump.contains(&pump),
            "{pump} of {:?}: {}",
            self.pump,
            log()
        );
        if self.revoked {
            assert_eq!((door, pump), (0, 0), "{}", log());
        }
        let trust = self.ask("{\"question\":\"trust\"}");
        let context = &self.context;
        not_fallen(&self.told, &trust);
        for (name, version) in [("test:door", door), ("test:pump", pump)] {
            let remembered = trust["remembered"]["versions"].as_array();
            let remembered = remembered
                .expect("a list")
                .iter()
                .find(|seen| seen["component"] == name)
                .map_or(0, |seen| seen["security-version"].as_u64().expect("it"));
            let runs = security(&name["test:".len()..], version);
            // What is healthy is remembered, and nothing newer that would not be there.
            assert!(
                version == 0 || remembered == runs,
                "{context}: {version}: {trust}"
            );
        }
        self.told = trust;
        if self.door_ran != Some(door) {
            self.door_before = self.door_ran.replace(door);
        }
        (self.door, self.pump) = (May::from([door]), May::from([pump]));
        self.look_for_left();
        let descriptors = gateway.descriptors();
        let first = *self.descriptors.get_or_insert(descriptors);
        assert!(
            descriptors <= first + MORE_DESCRIPTORS,
            "{first} {descriptors}"
        );
    }

    fn look_for_left(&self) {
        for folder in ["state", "state/kept", "state/bundles", "state/code"] {
            let Ok(left) = fs::read_dir(self.plant.bench.path(folder)) else {
                continue;
            };
            let names: Vec<_> = left
                .flatten()
                .map(|left| left.file_name().to_string_lossy().into_owned())
                .collect();
            let unfinished = |name: &&String| name.contains("unfinished");
            // What a compiler left is taken away when it compiles again.
            let left = names.iter().filter(unfinished).count();
            assert!(left == 0 || folder.ends_with("code"), "{folder}: {names:?}");
            assert!(names.len() <= 2 * MOST_LEFT, "{folder}: {names:?}");
        }
        let incoming = fs::read_dir(self.plant.bench.path("state/bundles/incoming"));
        let incoming = incoming.map_or(0, Iterator::count);
        assert!(incoming <= MOST_LEFT, "{incoming} have come and stay");
    }

    /// Puts everything in its place for it, and notes what may run from now on: what is left is to give the order.
    pub(super) fn prepare(&mut self, deed: Deed) -> Order {
        let (door, pump) = (only(&self.door), only(&self.pump));
        if let Deed::Reload | Deed::ReloadTrap = deed {
            self.version += 1;
        }
        self.number += 1;
        let (version, number) = (self.version, self.number);
        match deed {
            Deed::Nothing => return Order::Nothing,
            Deed::Reload => {
                self.write_door(version, false);
                self.door.insert(version);
            }
            Deed::ReloadTrap => self.write_door(version, true),
            Deed::ReloadOld => {
                let old = security("door", door).saturating_sub(1);
                self.write_door(2 * old, false);
            }
            Deed::RollBack => {
                if let Some(before) = self.door_before
                    && security("door", before) == security("door", door)
                {
                    self.door.insert(before);
                }
                return Order::Ask("{\"question\":\"rollback\",\"service\":\"door\"}");
            }
            Deed::Revoke => {
                let list = self.plant.bench.pki.crl_against_device(1_000);
                put(&self.plant.bench.path("newer.crl"), &list);
                self.configure(", \"newer.crl\"");
            }
            Deed::Apply | Deed::ApplyTrap | Deed::ApplyOld | Deed::ApplyTorn => {
                return Order::Apply(self.bundle(deed, number, pump));
            }
        }
        Order::Ask("{\"question\":\"reload\"}")
    }

    /// A bundle as the deed wants it.
    fn bundle(&mut self, deed: Deed, number: u64, pump: u64) -> PathBuf {
        let trap = matches!(deed, Deed::ApplyTrap);
        self.write_pump(number, trap);
        let mut plan = self.plant.plan(number, WHOLE);
        if let Deed::ApplyOld = deed {
            plan.number = pump.max(1);
            plan.not_after += number;
        }
        let bundle = self.plant.bundle(plan);
        match deed {
            Deed::Apply => {
                self.pump.insert(number);
            }
            Deed::ApplyTorn => {
                let whole = fs::read(&bundle).expect("a bundle");
                let length = self.dice.below(u64::try_from(whole.len()).expect("small"));
                put(&bundle, &whole[..usize::try_from(length).expect("small")]);
            }
            _ => {}
        }
        bundle
    }

    /// The command that has a bundle applied.
    pub(super) fn apply(&self, bundle: &Path) -> Command {
        let mut command = self.plant.bench.command("apply");
        command
            .arg("--config")
            .arg(self.plant.bench.path("gateway.toml"))
            .args([text(bundle), "--json"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        command
    }

    /// What was answered counts.
    pub(super) fn answered(&mut self, deed: Deed, said: &str) {
        let said: Value = serde_json::from_str(said).unwrap_or_default();
        if let Some(runs) = said["runs"]["version"].as_str() {
            self.door = May::from([major(runs)]);
        }
        if said["outcome"] == "applied" {
            let expected = matches!(deed, Deed::Apply) && !self.revoked;
            assert!(expected, "{deed:?}: {said}");
            self.pump = May::from([self.number]);
        }
    }

    /// Does it, and kills the gateway at some moment of it, or a little later.
    fn carry_out(&mut self, deed: Deed, gateway: Running) {
        match self.prepare(deed) {
            Order::Nothing => {
                std::thread::sleep(self.dice.moment(Duration::from_millis(20)));
                self.kill(gateway);
            }
            Order::Ask(order) => {
                let socket = self.plant.bench.path("state/control.sock");
                let asking = std::thread::spawn(move || {
                    // It may be gone already.
                    try_ask(&socket, format!("{order}\n").as_bytes()).unwrap_or_default()
                });
                std::thread::sleep(self.dice.moment(Duration::from_millis(150)));
                self.kill(gateway);
                let said = asking.join().expect("it ends");
                self.answered(deed, &said);
            }
            Order::Apply(bundle) => {
                let mut applying = self.apply(&bundle).spawn().expect("apply");
                std::thread::sleep(self.dice.moment(Duration::from_millis(500)));
                if self.dice.below(4) == 0 {
                    applying.kill().expect("our own process");
                }
                self.kill(gateway);
                let said = applying.wait_with_output().expect("it ends");
                self.answered(deed, &String::from_utf8_lossy(&said.stdout));
            }
        }
        if let Deed::Revoke = deed {
            // The next start reads the list, and so does every one after it.
            self.revoked = true;
            (self.door, self.pump) = (May::from([0]), May::from([0]));
        } else if self.revoked {
            (self.door, self.pump) = (May::from([0]), May::from([0]));
            // Also where an operator puts the older list back.
            let lists = ["", ", \"newer.crl\""];
            let lists = lists[usize::from(self.dice.below(2) == 0)];
            self.configure(lists);
        }
    }

    fn kill(&mut self, gateway: Running) {
        assert!(gateway.runs(), "it ended by itself: {}", self.log());
        drop(gateway);
        self.killed += 1;
    }

    fn spawn(&self) -> Running {
        let mut command = self.plant.bench.command("run");
        let configuration = self.plant.bench.path("gateway.toml");
        self.spawn_by(command.arg("--config").arg(configuration))
    }

    /// Starts the gateway by a command of one's own.
    pub(super) fn spawn_by(&self, command: &mut Command) -> Running {
        let log = fs::File::create(self.plant.bench.path("log")).expect("our own folder");
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            // With what it has started.
            .process_group(0);
        let _ = fs::remove_file(self.plant.bench.path("state/control.sock"));
        Running(command.spawn().expect("it starts"))
    }

    pub(super) fn ask(&self, question: &str) -> Value {
        let socket = self.plant.bench.path("state/control.sock");
        let answer = try_ask(&socket, format!("{question}\n").as_bytes());
        serde_json::from_str(&answer.unwrap_or_default()).unwrap_or_default()
    }

    pub(super) fn log(&self) -> String {
        self.plant.bench.log()
    }
}

/// With which a version of a service must not fall: every two of the machine's own share one, so that an operator can go back.
fn security(name: &str, version: u64) -> u64 {
    match name {
        "door" => version / 2,
        _ => version,
    }
}

/// The version that a service runs, 0 if nothing, once that is what it will stay at.
pub(super) fn settled(status: &Value, name: &str) -> Option<u64> {
    let services = status["services"].as_array()?;
    let Some(service) = services.iter().find(|service| service["name"] == name) else {
        return Some(0);
    };
    match service["state"].as_str()? {
        "running" if service["healthy"] == true => Some(major(service["version"].as_str()?)),
        "refused" => Some(0),
        _ => None,
    }
}

pub(super) fn major(version: &str) -> u64 {
    let (major, _) = version.split_once('.').expect("a version");
    major.parse().expect("a number")
}

fn only(may: &May) -> u64 {
    assert_eq!(may.len(), 1, "{may:?}");
    *may.first().expect("one")
}

/// Nothing that was told of what is remembered has fallen. Of the time, a kill may take what is not remembered yet.
fn not_fallen(before: &Value, after: &Value) {
    if before.is_null() {
        return;
    }
    let number = |value: &Value| value.as_u64().or_else(|| value.as_str()?.parse().ok());
    let (old, new) = (&before["remembered"], &after["remembered"]);
    assert!(
        number(&old["generation"]) <= number(&new["generation"]),
        "{before} {after}"
    );
    for (list, key, what) in [
        ("versions", "component", "security-version"),
        ("lists", "issuer-spki-sha256", "number"),
    ] {
        let now = new[list].as_array().expect("a list");
        for seen in old[list].as_array().expect("a list") {
            let same = now.iter().find(|other| other[key] == seen[key]);
            let same = same.unwrap_or_else(|| panic!("{seen} is gone: {after}"));
            assert!(number(&seen[what]) <= number(&same[what]), "{seen} {same}");
        }
    }
}

/// Puts a file in the place of another, whole.
pub(super) fn put(path: &Path, bytes: &[u8]) {
    let beside = path.with_extension("new");
    fs::write(&beside, bytes).expect("our own folder");
    fs::rename(&beside, path).expect("our own folder");
}

pub(super) fn text(path: &Path) -> &str {
    path.to_str().expect("our own path")
}

fn silent(command: &mut Command) -> &mut Command {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
}

/// A gateway with the processes that it started: all of them are killed when this is dropped.
pub(super) struct Running(Child);

impl Running {
    pub(super) fn id(&self) -> u32 {
        self.0.id()
    }

    /// Tells it to stop, and waits until it has.
    pub(super) fn stop(mut self) {
        let told = Command::new("kill").arg(self.0.id().to_string()).status();
        assert!(told.expect("kill").success());
        let status = self.0.wait().expect("our own process");
        assert!(status.success(), "{status}");
    }

    /// Whether it has not ended.
    pub(super) fn runs(&self) -> bool {
        let status = fs::read_to_string(format!("/proc/{}/stat", self.0.id())).unwrap_or_default();
        let state = status
            .rsplit_once(") ")
            .and_then(|(_, rest)| rest.chars().next());
        state.is_some_and(|state| state != 'Z')
    }

    /// Waits until somebody traces it.
    pub(super) fn until_traced(&self) {
        until_traced(self.0.id());
    }

    pub(super) fn resident(&self) -> u64 {
        resident(self.0.id())
    }

    pub(super) fn own_memory(&self) -> u64 {
        own_memory(self.0.id())
    }

    pub(super) fn descriptors(&self) -> usize {
        descriptors(self.0.id())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let group = format!("-{}", self.0.id());
        let _ = silent(Command::new("kill").args(["-KILL", "--", &group])).status();
        let _ = self.0.wait();
        super::clock::forget(self.0.id());
    }
}
