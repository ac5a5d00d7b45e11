//! The gateway where the machine gives it nothing more: no descriptors, no threads, no memory. What runs goes on, what cannot
//! be had is told, and all is as before once there is some again.

use super::small::{traps, waits};
use super::*;

/// How long it is held short.
const SHORT: Duration = Duration::from_millis(400);

/// Address space above what it has, in bytes: enough for small things, and too little for a guest's memory.
const LITTLE: u64 = 16 << 20;

/// Changes a limit of a process that runs.
fn limit(id: u32, what: &str) {
    let limited = Command::new("prlimit")
        .args(["--pid", &id.to_string(), what])
        .status();
    assert!(limited.expect("prlimit").success(), "{what}");
}

/// Has every call of a kind fail that a process makes, until this is dropped.
struct Failing(Child);

impl Failing {
    fn calls(calls: &str, error: &str, bench: &Bench, id: u32) -> Self {
        let strace = Command::new("strace")
            .args(["-f", "-qq", "-e", &format!("trace={calls}")])
            .args(["-e", &format!("inject={calls}:error={error}"), "-o"])
            .arg(bench.path("calls"))
            .args(["-p", &id.to_string()])
            .stderr(Stdio::null())
            .spawn()
            .expect("strace");
        until_traced(id);
        Self(strace)
    }
}

impl Drop for Failing {
    fn drop(&mut self) {
        // It lets go of the process when it is told to end.
        let _ = Command::new("kill").arg(self.0.id().to_string()).status();
        let _ = self.0.wait();
    }
}

#[test]
fn th14_without_descriptors_memory_or_threads_what_runs_goes_on_and_all_comes_back() {
    let bench = Bench::new();
    for (name, component) in [("door", waits()), ("bell", traps()), ("new", waits())] {
        let manifest = bench.pki.manifest(&format!("test:{name}"));
        let file = bench.pki.sign(&component, &manifest);
        fs::write(bench.path(&format!("{name}.wasm")), file).expect("our own folder");
    }
    let services = [("door", SOON), ("bell", SOON)];
    bench.configure(&services);
    let gateway = bench.start();
    let door = bench.until("door", healthy);
    let id = gateway.0.id();
    let with_new = [("door", SOON), ("bell", SOON), ("new", SOON)];
    for lack in ["descriptors", "memory", "threads"] {
        let before =
            bench.until("bell", |bell| bell["starts"].as_u64() > Some(0))["starts"].as_u64();
        let (resident, descriptors) = (gateway.resident(), gateway.descriptors());
        let none = match lack {
            "descriptors" => {
                limit(id, &format!("--nofile={descriptors}:"));
                None
            }
            "memory" => {
                limit(id, &format!("--as={}:", address_space(id) + LITTLE));
                None
            }
            _ => Some(Failing::calls("clone,clone3", "EAGAIN", &bench, id)),
        };
        // One more is wanted meanwhile.
        bench.configure(&with_new);
        let socket = bench.path("state/control.sock");
        let asked = std::thread::spawn(move || ask(&socket, b"{\"question\":\"reload\"}\n"));
        std::thread::sleep(SHORT);
        drop(none);
        limit(id, "--nofile=1024:");
        limit(id, "--as=unlimited:");
        // Who asked is answered: that it was done, or why not.
        let answer = asked.join().expect("it ends");
        let answer: Value = serde_json::from_str(&answer).unwrap_or_default();
        assert!(
            answer["error"].is_string() || answer["unchanged"].is_array(),
            "{lack}: {answer}"
        );
        // All is as if nothing had been.
        let (reloaded, done) = bench.reload();
        assert_eq!(reloaded.status, 0, "{lack}: {reloaded:?} {done}");
        bench.until("new", healthy);
        bench.until("bell", |bell| bell["starts"].as_u64() > before);
        let now = bench.until("door", healthy);
        assert_eq!(
            (&now["starts"], &now["since"]),
            (&door["starts"], &door["since"]),
            "{lack}"
        );
        bench.configure(&services);
        assert_eq!(bench.reload().0.status, 0, "{lack}");
        assert!(gateway.descriptors() <= descriptors + 8, "{lack}");
        assert!(gateway.resident() <= resident + (16 << 20), "{lack}");
    }
    assert_eq!(gateway.stop(), 0);
}

#[test]
fn th14_a_component_whose_compiler_had_no_room_runs_once_there_is_some() {
    let bench = Bench::new();
    bench.sign("door", "hello", 1);
    bench.sign("new", "endless-loop", 1);
    bench.configure(&[("door", SOON)]);
    let gateway = bench.start();
    bench.until("door", |door| door["starts"].as_u64() > Some(0));
    // What is compiled is handed over in a memory of its own.
    let none = Failing::calls("memfd_create", "ENOMEM", &bench, gateway.0.id());
    bench.configure(&[("door", SOON), ("new", SOON)]);
    assert_ne!(bench.reload().0.status, 0);
    let refused = bench.until("new", is("refused"));
    let text = refused.to_string();
    assert!(
        text.contains("cannot be handed over") && text.contains("tried again"),
        "{refused}"
    );
    drop(none);
    // Nobody has to tell it.
    bench.until("new", healthy);
    assert_eq!(gateway.stop(), 0);
}

/// The address space that a process has, in bytes.
fn address_space(id: u32) -> u64 {
    let pages = fs::read_to_string(format!("/proc/{id}/statm")).expect("it runs");
    let pages: u64 = pages
        .split(' ')
        .next()
        .and_then(|pages| pages.parse().ok())
        .expect("a number");
    pages * 4_096
}
