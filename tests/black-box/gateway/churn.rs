//! A gateway that is kept busy: new versions, bad ones and strangers', bundles, a component that fails again and again,
//! clients that come and go, a clock that leaps, a disk that is full or broken. Whoever does it knows what may run and asks
//! after each change; and what the gateway uses does not grow.
//!
//! A few rounds in the tests; `cargo xtask soak gateway` sets `COUNTERSIGN_MINUTES`.

use std::net::{SocketAddr, TcpStream};

use super::bundles::WHOLE;
use super::kills::{Dice, Running, World, count, put, text};
use super::*;
use crate::http::free;

/// How many changes, where no minutes are asked for.
const CHANGES: usize = 14;

/// What it uses may grow by in the tests, and in a long run by one per cent and this: what allocators keep.
const SLACK: u64 = 8 << 20;
const LITTLE: u64 = 1 << 20;

/// What a gateway uses: its own memory and all that is resident, in bytes, and descriptors.
#[derive(Clone, Copy, Debug)]
struct Used {
    own: u64,
    resident: u64,
    descriptors: usize,
}

impl Used {
    fn by(gateway: &Running) -> Self {
        Self {
            own: gateway.own_memory(),
            resident: gateway.resident(),
            descriptors: gateway.descriptors(),
        }
    }

    /// The most of each.
    fn most(all: &[Self]) -> Self {
        let most = all.iter().copied().reduce(|one, other| Self {
            own: one.own.max(other.own),
            resident: one.resident.max(other.resident),
            descriptors: one.descriptors.max(other.descriptors),
        });
        most.expect("some")
    }
}

/// What is done.
#[derive(Clone, Copy, Debug)]
enum Change {
    Reload,
    ReloadTrap,
    ReloadOld,
    ReloadBent,
    ReloadStranger,
    Apply,
    ApplyTrap,
    ApplyStranger,
    Clients,
    Nonsense,
    ClockAhead,
    ClockBack,
    DiskFull,
    DiskBroken,
}

const CHANGES_AT_RANDOM: [Change; 14] = [
    Change::Reload,
    Change::ReloadTrap,
    Change::ReloadOld,
    Change::ReloadBent,
    Change::ReloadStranger,
    Change::Apply,
    Change::ApplyTrap,
    Change::ApplyStranger,
    Change::Clients,
    Change::Nonsense,
    Change::ClockAhead,
    Change::ClockBack,
    Change::DiskBroken,
    Change::DiskFull,
];

/// A gateway at work, and who works on it.
struct Busy {
    world: World,
    gateway: Running,
    web: SocketAddr,
    stranger: TestPki,
    dice: Dice,
    /// What runs.
    door: u64,
    pump: u64,
    version: u64,
    number: u64,
    /// Whether there was no room on the disk.
    short: bool,
}

#[test]
fn th20_change_and_faults_without_end_let_nothing_wrong_run_and_nothing_grow() {
    let minutes = count("COUNTERSIGN_MINUTES", 0);
    let until = Instant::now() + Duration::from_secs(60) * minutes;
    let mut busy = Busy::begin();
    let mut used = Vec::new();
    let mut done = 0;
    while done < CHANGES || Instant::now() < until {
        // In the tests each once, and then some.
        let which = match CHANGES_AT_RANDOM.get(done) {
            Some(change) => *change,
            None => CHANGES_AT_RANDOM[usize::try_from(busy.dice.below(14)).expect("small")],
        };
        busy.change(which);
        busy.as_expected(which);
        used.push(Used::by(&busy.gateway));
        done += 1;
    }
    // A third is for whatever fills up once.
    let warm = &used[used.len() / 3..];
    let (first, last) = warm.split_at(warm.len() / 2);
    let (before, after) = (Used::most(first), Used::most(last));
    let slack = |before: u64| match minutes {
        0 => SLACK,
        _ => before / 100 + LITTLE,
    };
    println!("{done} changes in {minutes} minutes: {before:?} at most, then {after:?}");
    for (before, after) in [(before.own, after.own), (before.resident, after.resident)] {
        assert!(after <= before + slack(before), "{before} {after}");
    }
    assert!(
        after.descriptors <= before.descriptors + 4,
        "{before:?} {after:?}"
    );
    busy.gateway.stop();
}

impl Busy {
    fn begin() -> Self {
        let web = free();
        let mut world = World::new(20);
        world.more = format!(
            "[[service]]\nname = \"bell\"\ncomponent = \"bell.wasm\"\nsigned-as = \"test:bell\"\n\
             restart = {{ first = \"20ms\", most = \"100ms\" }}\n\
             [[http]]\nname = \"web\"\ncomponent = \"web.wasm\"\nsigned-as = \"test:web\"\nlisten = \"{web}\"\n"
        );
        let bench = &world.plant.bench;
        let manifest = bench.pki.manifest("test:bell");
        put(
            &bench.path("bell.wasm"),
            &bench.pki.sign(&super::small::traps(), &manifest),
        );
        let mut manifest = bench.pki.manifest("test:web");
        manifest.grants.http_incoming = true;
        put(
            &bench.path("web.wasm"),
            &bench.pki.sign(&guest("hello-http"), &manifest),
        );
        world.begin();
        let bench = &world.plant.bench;
        bench.set_clock("+0");
        let mut command = bench.command("run");
        command
            .arg("--config")
            .arg(bench.path("gateway.toml"))
            .envs(bench.by_clock());
        let gateway = world.spawn_by(&mut command);
        let (door, pump) = world.settle(&gateway);
        let stranger = TestPki::builder().scope(&["test:*"]).seed(11).build();
        Self {
            world,
            gateway,
            web,
            stranger,
            dice: Dice::of_now(20),
            door,
            pump,
            version: 100,
            number: 1,
            short: false,
        }
    }

    fn change(&mut self, change: Change) {
        self.version += 2;
        self.until_there_is_room();
        let bench = &self.world.plant.bench;
        match change {
            Change::Reload => {
                self.world.write_door(self.version, false);
                assert_eq!(bench.reload().0.status, 0);
                self.door = self.version;
            }
            Change::ReloadTrap => {
                self.world.write_door(self.version, true);
                assert_eq!(bench.reload().0.status, 0);
                // It is tried, and gives its place back.
                bench.until("door", |door| door["newer"].is_string());
            }
            Change::ReloadOld => {
                self.world.write_door(0, false);
                self.refused(&["rollback"]);
            }
            Change::ReloadBent => {
                self.world.write_door(self.version, false);
                let path = bench.path("door.wasm");
                let mut bytes = fs::read(&path).expect("signed");
                let at = usize::try_from(self.dice.below(300)).expect("small");
                bytes[100 + at] ^= 1;
                put(&path, &bytes);
                let (_, done) = bench.reload();
                assert!(done["refused"]["door"]["why"].is_string(), "{done}");
            }
            Change::ReloadStranger => {
                let mut manifest = self.stranger.manifest("test:door");
                manifest.security_version = self.version;
                let file = self.stranger.sign(&super::small::waits(), &manifest);
                put(&bench.path("door.wasm"), &file);
                self.refused(&["untrusted-root"]);
            }
            Change::Apply | Change::ApplyTrap => {
                let trap = matches!(change, Change::ApplyTrap);
                let next = self.number + 1;
                self.world.write_pump(next, trap);
                let bundle = self.world.plant.bundle(self.world.plant.plan(next, WHOLE));
                let ran = bench.ran("apply", &[text(&bundle)]);
                assert_eq!(ran.status == 0, !trap, "{ran:?}");
                if !trap {
                    (self.pump, self.number) = (next, next);
                }
            }
            Change::ApplyStranger => {
                let manifest = self.stranger.manifest("test:pump");
                let file = self.stranger.sign(&super::small::waits(), &manifest);
                put(&bench.path("stick/pump.wasm"), &file);
                let plan = self.world.plant.plan(self.number + 1, WHOLE);
                let ran = bench.ran("apply", &[text(&self.world.plant.bundle(plan))]);
                assert_eq!(
                    ran.status,
                    i32::from(Code::UntrustedRoot.exit_status()),
                    "{ran:?}"
                );
            }
            Change::Clients => self.clients(),
            Change::Nonsense => {
                for bytes in [&b"{}\n"[..], b"half", b"\xff\n", &[b' '; 5_000]] {
                    let _ = ask(&bench.path("state/control.sock"), bytes);
                }
            }
            Change::ClockAhead | Change::ClockBack => {
                let ahead = matches!(change, Change::ClockAhead);
                bench.set_clock(if ahead {
                    "@2100-01-01 00:00:00"
                } else {
                    "@1970-01-02 00:00:00"
                });
                // What is there runs on. Of what is new nothing is admitted by a clock that is far ahead; where it is behind,
                // the time that has certainly passed stands in for it.
                self.world.write_door(self.version, false);
                if ahead {
                    self.refused(&["expired", "crl-stale"]);
                    // Whatever is judged next, a bundle too, finds it in its place, and is by the right clock.
                    self.world.plant.bench.set_clock("+0");
                }
                assert_eq!(self.world.plant.bench.reload().0.status, 0);
                self.door = self.version;
                self.world.plant.bench.set_clock("+0");
            }
            Change::DiskFull | Change::DiskBroken => self.disk(change),
        }
    }

    /// Whether there is room again is tried now and then.
    fn until_there_is_room(&mut self) {
        if !std::mem::take(&mut self.short) {
            return;
        }
        self.world.write_door(self.version, false);
        let until = Instant::now() + PATIENCE;
        while self.world.plant.bench.reload().0.status != 0 {
            assert!(Instant::now() < until, "{}", self.world.plant.bench.log());
            std::thread::sleep(Duration::from_millis(500));
        }
        self.door = self.version;
        // Before something else takes its place: what has not proved healthy yet is not gone back to.
        self.world.until("door", self.door);
        self.version += 2;
    }

    /// The files are refused for one of these reasons, and what ran runs on.
    fn refused(&self, codes: &[&str]) {
        let (_, done) = self.world.plant.bench.reload();
        let code = done["refused"]["door"]["code"].as_str().unwrap_or_default();
        assert!(codes.contains(&code), "{done}");
    }

    fn as_expected(&self, change: Change) {
        let context = || format!("{change:?}: {}", self.world.plant.bench.log());
        assert!(self.gateway.runs(), "{}", context());
        self.world.until("door", self.door);
        self.world.until("pump", self.pump);
        let (door, pump) = self.world.settle(&self.gateway);
        assert_eq!((door, pump), (self.door, self.pump), "{}", context());
        let web = self.world.plant.bench.service("web");
        assert_eq!(web["state"], "running", "{web} {}", context());
    }

    /// Some ask, some go in the middle of it, some say nothing.
    fn clients(&mut self) {
        let request = format!(
            "GET / HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n",
            self.web
        );
        let mut silent = Vec::new();
        for _ in 0..20 {
            let mut stream = TcpStream::connect(self.web).expect("it listens");
            match self.dice.below(4) {
                0 => silent.push(stream),
                1 => {
                    let half = &request.as_bytes()[..request.len() / 2];
                    let _ = stream.write_all(half);
                }
                _ => {
                    stream.write_all(request.as_bytes()).expect("it reads");
                    let mut answer = String::new();
                    let _ = std::io::Read::read_to_string(&mut stream, &mut answer);
                    assert!(answer.contains("Hello, world!\n"), "{answer}");
                }
            }
        }
    }

    /// What is to last cannot be written, and then it can.
    fn disk(&mut self, change: Change) {
        let bench = &self.world.plant.bench;
        let error = match change {
            Change::DiskFull => "ENOSPC",
            _ => "EIO",
        };
        self.world.write_door(self.version, false);
        let calls = "rename,renameat,renameat2,fsync,fdatasync";
        let mut strace = Command::new("strace")
            .args(["-f", "-qq", "-e", &format!("trace={calls}")])
            .args(["-e", &format!("inject={calls}:error={error}"), "-o"])
            .arg(bench.path("calls"))
            .args(["-p", &self.gateway.id().to_string()])
            .stderr(Stdio::null())
            .spawn()
            .expect("strace");
        self.gateway.until_traced();
        let (reloaded, done) = bench.reload();
        // It may be refused, or run and not be remembered.
        assert!(
            reloaded.status == 0
                || done["refused"]["door"].is_object()
                || !reloaded.stderr.is_empty(),
            "{reloaded:?}"
        );
        let _ = Command::new("kill").arg(strace.id().to_string()).status();
        let _ = strace.wait();
        // With a disk that works it is done; room for records is looked for now and then.
        self.short = true;
        if self.world.plant.bench.reload().0.status == 0 {
            self.door = self.version;
            self.short = false;
        }
    }
}
