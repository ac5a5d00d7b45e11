//! A disk that is full or fails, at any call of everything that changes something, once or from then on: what ran before or what
//! was about to runs, also meanwhile; the fault is told; and nothing is left lying.
//!
//! A few of them in the tests; `cargo xtask soak gateway` sets `COUNTERSIGN_FAULTS` to more.

#[path = "faults/disk.rs"]
mod disk;

use super::bundles::{Plant, WHOLE};
use super::kills::{Deed, Dice, Order, Running, World, count, major, settled};
use super::*;
use crate::device::{Device, Store};
use disk::{Disk, Fault, Kind};

/// How many faults, if nothing was said.
const FAULTS: u32 = 24;

/// Folders that are worked on at the same time.
const WORKERS: u32 = 2;

/// What is done to one folder, before the next is made.
const DEEDS: u32 = 40;

/// Calls that can fail on a disk, and how. One that is full takes so many bytes more, and no file more.
const FAULTY: [(Kind, Fault); 9] = [
    (Kind::Makes, Fault::Full),
    (Kind::Writes, Fault::Full),
    (Kind::Writes, Fault::Full),
    (Kind::Makes, Fault::Broken),
    (Kind::Writes, Fault::Broken),
    (Kind::Flushes, Fault::Broken),
    (Kind::Names, Fault::Broken),
    (Kind::Reads, Fault::Broken),
    (Kind::Removes, Fault::Broken),
];

const FAULTY_DEEDS: [Deed; 4] = [Deed::Nothing, Deed::Reload, Deed::RollBack, Deed::Apply];

/// What was tried, and what came of it.
#[derive(Default)]
struct Tally {
    faults: u32,
    calls: u32,
    by_kind: std::collections::BTreeMap<String, u32>,
}

#[test]
fn th03_th04_whatever_call_fails_of_what_changes_something_the_old_or_the_new_runs_and_it_is_told()
{
    let faults = count("COUNTERSIGN_FAULTS", FAULTS);
    let workers: Vec<_> = (0..WORKERS)
        .map(|worker| {
            let share = faults / WORKERS + u32::from(worker < faults % WORKERS);
            std::thread::spawn(move || work(worker, share))
        })
        .collect();
    let mut all = Tally::default();
    for worker in workers {
        let tally = worker.join().expect("nothing was wrong");
        all.faults += tally.faults;
        all.calls += tally.calls;
        for (kind, number) in tally.by_kind {
            *all.by_kind.entry(kind).or_default() += number;
        }
    }
    println!(
        "{} faults, {} calls failed: {:?}",
        all.faults, all.calls, all.by_kind
    );
    assert!(all.faults >= faults);
}

fn work(worker: u32, share: u32) -> Tally {
    let mut tally = Tally::default();
    let mut dice = Dice::of_now(100 + worker);
    while tally.faults < share {
        let mut world = World::new(200 + worker);
        let bench = &world.plant.bench;
        let disk = Disk::new(bench.path("state"), bench.folder.path());
        world.begin();
        for _ in 0..DEEDS {
            let pick = |bound: usize, dice: &mut Dice| {
                usize::try_from(dice.below(u64::try_from(bound).expect("small"))).expect("small")
            };
            let deed = FAULTY_DEEDS[pick(FAULTY_DEEDS.len(), &mut dice)];
            let (kind, fault) = FAULTY[pick(FAULTY.len(), &mut dice)];
            let always = dice.below(2) == 0;
            let struck = one(&mut world, &disk, &mut dice, deed, kind, fault, always);
            if struck > 0 {
                tally.faults += 1;
                tally.calls += struck;
                *tally
                    .by_kind
                    .entry(format!("{deed:?} {kind:?} {fault:?}"))
                    .or_default() += 1;
            }
            if tally.faults >= share {
                break;
            }
        }
    }
    tally
}

/// How long what runs and is not remembered is waited for.
const SOON_AFTER: Duration = Duration::from_millis(500);

#[test]
fn th04_what_was_refused_for_a_disk_that_failed_runs_once_that_has_come_to_itself() {
    // Where its copy is to be put down, and where its file lies.
    for (folder, kind, fault) in [
        ("state/kept", Kind::Makes, Fault::Full),
        ("state/kept", Kind::Writes, Fault::Broken),
        ("disk", Kind::Reads, Fault::Broken),
    ] {
        let bench = Bench::new();
        bench.sign("pump", "endless-loop", 1);
        bench.configure(&[("pump", SOON)]);
        fs::create_dir(bench.path("disk")).expect("our own folder");
        fs::rename(bench.path("pump.wasm"), bench.path("disk/pump.wasm")).expect("ours");
        let text = fs::read_to_string(bench.path("gateway.toml")).expect("ours");
        bench.configure_with(&text.replace("\"pump.wasm\"", "\"disk/pump.wasm\""));
        let disk = Disk::new(bench.path(folder), bench.folder.path());
        disk.order(&[kind], fault, 1..u32::MAX);
        let mut command = bench.command("run");
        disk.under(&mut command);
        let gateway = bench.start_by(command);
        let refused = bench.until("pump", is("refused"));
        let next = refused["next"].as_str().expect("what is next");
        assert!(next.contains("tried again"), "{refused}");
        disk.mend();
        // Nobody has to tell it.
        bench.until("pump", healthy);
        let log = bench.log();
        let said = log.lines().filter(|line| line.contains("pump: refused"));
        assert_eq!(said.count(), 1, "{log}");
        assert_eq!(gateway.stop(), 0);
    }
}

#[test]
fn th04_nothing_that_is_remembered_is_left_out_for_a_disk_that_failed_at_a_start() {
    let mut world = World::new(300);
    world.begin();
    let bench = &world.plant.bench;
    // What is remembered itself: it does not start without.
    let disk = Disk::new(bench.path("state"), bench.folder.path());
    disk.order(&[Kind::Reads], Fault::Broken, 1..2);
    let gateway = spawn(&world, &disk);
    let until = Instant::now() + PATIENCE;
    while gateway.runs() {
        assert!(Instant::now() < until, "{}", world.log());
        std::thread::sleep(Duration::from_millis(20));
    }
    let log = world.log();
    assert!(log.contains("could not be read at first"), "{log}");
    assert!(log.contains(Fault::Broken.errno().1), "{log}");
    // The bundle that was applied: the machine's own services do not wait for it. And the lists that it brought: without these
    // nothing is started. Nobody has to tell when they can be read.
    let fault = Fault::Broken;
    let (all, few) = (1..u32::MAX, 1..2);
    for (those, own_run) in [(few, true), (all, false)] {
        let disk = Disk::new(bench.path("state/bundles"), bench.folder.path());
        disk.order(&[Kind::Reads], fault, those);
        let gateway = spawn(&world, &disk);
        let until = Instant::now() + PATIENCE;
        let say = "nothing of the bundle that was applied runs";
        let status = loop {
            let status = world.ask("{\"question\":\"status\"}");
            if status["phase"] == "running" {
                break status;
            }
            assert!(Instant::now() < until, "{}", world.log());
        };
        assert!(world.log().contains(say), "{}", world.log());
        assert_eq!(
            status["services"].as_array().map(Vec::len),
            Some(1),
            "{status}"
        );
        match own_run {
            true => world.until("door", 2),
            false => assert_eq!(settled(&status, "door"), Some(0), "{status}"),
        }
        disk.mend();
        world.until("door", 2);
        let until = Instant::now() + PATIENCE;
        while settled(&world.ask("{\"question\":\"status\"}"), "pump") != Some(1) {
            assert!(Instant::now() < until, "{}", world.log());
            std::thread::sleep(Duration::from_millis(50));
        }
        assert!(gateway.runs());
    }
}

#[test]
fn th04_td10_the_way_back_from_a_bundle_that_a_disk_does_not_allow_is_gone_once_it_does() {
    let plant = Plant::within("10s", "");
    let bench = &plant.bench;
    let disk = Disk::new(bench.path("state/bundles"), bench.folder.path());
    let mut command = bench.command("run");
    disk.under(&mut command);
    let gateway = bench.start_by(command);
    plant.sign("pump", "endless-loop", 1);
    plant.say(&["pump"]);
    plant.applied(plant.plan(1, WHOLE));
    // The next one brings what does not prove healthy in time.
    plant.sign("pump", "endless-loop", 2);
    let services = bench.path("stick/services.toml");
    let text = fs::read_to_string(&services).expect("ours");
    let late = text.replace(SOON, "restart = { healthy-after = \"1m\" }");
    assert_ne!(text, late);
    fs::write(&services, late).expect("ours");
    let bundle = plant.bundle(plant.plan(2, WHOLE));
    let refused = std::thread::scope(|scope| {
        let applying = scope.spawn(|| plant.apply(&bundle));
        bench.until("pump", |pump| pump["version"] == "2.0.0");
        disk.order(&[Kind::Reads], Fault::Broken, 1..u32::MAX);
        applying.join().expect("it ends")
    });
    assert_eq!(refused.1["outcome"], "refused", "{}", refused.1);
    let log = bench.log();
    assert!(log.contains("not all runs again as before"), "{log}");
    // What is configured meanwhile is no state to come back to, nor one to go back in.
    let (_, said) = plant.apply(&bundle);
    let why = said["refused"]["why"].as_str().expect("a reason");
    assert!(why.contains("not all of what was before"), "{said}");
    let back = bench.ran("rollback", &["pump", "--json"]);
    assert_ne!(back.status, 0, "{back:?}");
    assert!(
        back.stdout.contains("not all of what was before"),
        "{back:?}"
    );
    // Nobody has to tell it.
    disk.mend();
    let pump = bench.until("pump", |pump| {
        pump["version"] == "1.0.0" && pump["healthy"] == true
    });
    assert_eq!(pump["state"], "running", "{pump}");
    let trust = bench.ran("trust", &["--json"]);
    let trust: Value = serde_json::from_str(&trust.stdout).expect("JSON");
    assert_eq!(
        trust["remembered"]["versions"][0]["security-version"], 1,
        "{trust}"
    );
    assert_eq!(gateway.stop(), 0);
}

#[test]
fn th15_without_room_for_records_signing_stops_what_runs_goes_on_and_with_room_all_comes_back() {
    let device = Device::with_key_in(Store::file());
    let bench = Bench::new();
    keys::sign(&bench, "meter", 60_000);
    bench.sign("pump", "endless-loop", 1);
    let again = "restart = { when = \"always\", first = \"20ms\", most = \"50ms\", healthy-after = \"10ms\" }";
    let granted = format!("{again}\n[service.grants]\nkeys = [{{ name = \"telemetry\" }}]");
    bench.configure(&[("meter", &granted), ("pump", SOON)]);
    keys::lend(&bench, &device);
    let disk = Disk::new(bench.path("state/audit"), bench.folder.path());
    let mut command = bench.command("run");
    disk.under(&mut command);
    let gateway = bench.start_by(command);
    let signed = || keys::count(&bench.records(), "signed", "test:meter");
    let until = |expected: &dyn Fn() -> bool| {
        let until = Instant::now() + PATIENCE;
        while !expected() {
            assert!(Instant::now() < until, "{}", bench.log());
            std::thread::sleep(Duration::from_millis(50));
        }
    };
    let pump = bench.until("pump", healthy);
    until(&|| signed() >= 3);
    disk.order(&[Kind::Makes, Kind::Writes], Fault::Full, 1..u32::MAX);
    until(&|| bench.log().contains("> hardware-failure"));
    until(&|| bench.log().contains("there is no room for records"));
    let found = |what: &str| bench.ran("doctor", &[]).stdout.contains(what);
    until(&|| found("warn    room for records"));
    let stopped_at = signed();
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(signed(), stopped_at);
    let now = bench.service("pump");
    assert_eq!(
        (&now["starts"], &now["since"]),
        (&pump["starts"], &pump["since"])
    );
    let (_, struck) = disk.mend();
    assert!(struck > 0);
    until(&|| signed() > stopped_at);
    until(&|| bench.log().contains("there is room for records again"));
    until(&|| found("ok      room for records"));
    assert_eq!(bench.service("pump")["since"], pump["since"]);
    assert_eq!(gateway.stop(), 0);
    let verified = bench.audit("verify", &[]);
    assert_eq!(verified.status, 0, "{verified:?}");
}

/// Within what time a gateway tells: it looks every ten seconds whether its disk is full.
const TOLD: Duration = Duration::from_secs(60);

/// More calls of one kind than any deed takes.
const MANY: u64 = 40;

/// A deed may have room for fewer than two to the power of this, in bytes.
const MOST_ROOM: u64 = 21;

/// Does one thing on a disk of which a call fails: how many did.
fn one(
    world: &mut World,
    disk: &Disk,
    dice: &mut Dice,
    deed: Deed,
    kind: Kind,
    fault: Fault,
    always: bool,
) -> u32 {
    // Of few calls the last are as likely as of many the first; and of little room the end as of much.
    let bound = 1 + dice.below(MANY);
    let from = u32::try_from(1 + dice.below(bound)).expect("small");
    let until = if always { u32::MAX } else { from + 1 };
    let most = 1 << dice.below(MOST_ROOM);
    let room = u32::try_from(dice.below(most)).expect("small");
    let is_full = matches!((kind, fault), (Kind::Writes, Fault::Full));
    world.context = match is_full {
        true => format!("{deed:?} with {room} bytes left"),
        false => format!("{deed:?} {kind:?} {fault:?} {from}..{until}"),
    };
    let break_it = || match is_full {
        true => disk.fill(room),
        false => disk.order(&[kind], fault, from..until),
    };
    if let Deed::Nothing = deed {
        break_it();
        let gateway = spawn(world, disk);
        world.wait_for_start(&gateway);
        return end(world, disk, gateway, (kind, fault), "");
    }
    let gateway = spawn(world, disk);
    let _ = world.settle(&gateway);
    let order = world.prepare(deed);
    break_it();
    let said = world.give(&order);
    world.answered(deed, &said);
    // Whatever failed: of each something runs, and nothing that must not.
    assert!(gateway.runs(), "{}: {}", world.context, world.log());
    let takes_nothing = always && matches!(fault, Fault::Broken);
    let lacks = world.something_runs(takes_nothing);
    if lacks {
        // What a disk that takes nothing any more did not let go back runs once it does, and nobody has to tell.
        disk.mend();
        world.something_runs(false);
        return end(world, disk, gateway, (kind, fault), &said).max(1);
    }
    end(world, disk, gateway, (kind, fault), &said)
}

/// Mends the disk, and sees that the fault was told, and that all is there afterwards: how many calls failed.
fn end(
    world: &mut World,
    disk: &Disk,
    gateway: Running,
    (kind, fault): (Kind, Fault),
    said: &str,
) -> u32 {
    let (_, struck) = disk.mend();
    // That something is left lying which nobody looks for is told to nobody.
    if struck > 0 && kind != Kind::Removes {
        world.is_told(&gateway, fault, said);
    }
    drop(gateway);
    drop(world.start_settled_once());
    struck
}

impl World {
    /// Gives an order, and says what was answered.
    fn give(&self, order: &Order) -> String {
        match order {
            Order::Nothing => String::new(),
            Order::Ask(question) => self.ask(question).to_string(),
            Order::Apply(bundle) => {
                let said = self.apply(bundle).output().expect("apply");
                String::from_utf8(said.stdout).expect("text")
            }
        }
    }

    /// Waits until a gateway has started as far as its disk lets it, or is gone.
    fn wait_for_start(&self, gateway: &Running) {
        let until = Instant::now() + PATIENCE;
        let mut soon = None;
        while gateway.runs() && soon.is_none_or(|soon| Instant::now() < soon) {
            assert!(Instant::now() < until, "{}: {}", self.context, self.log());
            let status = self.ask("{\"question\":\"status\"}");
            let settled = |name| settled(&status, name).is_some();
            if status["phase"] == "running" {
                if settled("door") && settled("pump") {
                    return;
                }
                // What cannot be remembered is tried again much later.
                soon.get_or_insert(Instant::now() + SOON_AFTER);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Waits until somebody was told of a fault, be it that it was overcome.
    fn is_told(&self, gateway: &Running, fault: Fault, said: &str) {
        let words = [fault.errno().1, "there is no room for records"];
        let until = Instant::now() + TOLD;
        loop {
            let runs = gateway.runs();
            let log = self.log();
            if words
                .iter()
                .any(|words| log.contains(words) || said.contains(words))
            {
                return;
            }
            let late = Instant::now() >= until;
            assert!(runs && !late, "{}: {said} {log}", self.context);
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits until a version of each service runs that may; or, where that is said, is refused for what is lacking and will be tried
    /// again. Whether one is.
    fn something_runs(&self, may_lack: bool) -> bool {
        let until = Instant::now() + PATIENCE;
        loop {
            let status = self.ask("{\"question\":\"status\"}");
            let states = [("door", &self.door), ("pump", &self.pump)].map(|(name, may)| {
                let services = status["services"].as_array();
                let service = services?.iter().find(|service| service["name"] == name)?;
                let is_of_lack = service["state"] == "refused"
                    && service["next"].as_str()?.contains("tried again");
                if is_of_lack && may_lack {
                    return Some(false);
                }
                let version = service["version"].as_str().map(major)?;
                (service["state"] == "running" && may.contains(&version)).then_some(true)
            });
            if let [Some(door), Some(pump)] = states {
                return !(door && pump);
            }
            let log = self.log();
            assert!(Instant::now() < until, "{}: {status} {log}", self.context);
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

fn spawn(world: &World, disk: &Disk) -> Running {
    let mut command = world.plant.bench.command("run");
    let configuration = world.plant.bench.path("gateway.toml");
    disk.under(&mut command).arg("--config").arg(configuration);
    world.spawn_by(&mut command)
}
