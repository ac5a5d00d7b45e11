//! What an operator sees of a running gateway, and what the gateway has taken from itself.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixDatagram;
use std::process::Command;

use super::*;
use crate::http::free;

impl Bench {
    /// Has the status page served at a free port of the loopback.
    pub(super) fn serve_status(&self) -> SocketAddr {
        let address = free();
        let text = fs::read_to_string(self.path("gateway.toml")).expect("a configuration");
        self.configure_with(&format!("[status]\nlisten = \"{address}\"\n{text}"));
        address
    }

    fn lines(&self, arguments: &[&str]) -> Vec<Value> {
        let ran = self.ran("logs", &[&["--json"], arguments].concat());
        assert_eq!(ran.status, 0, "{ran:?}");
        let lines = ran.stdout.lines().map(serde_json::from_str);
        lines.map(|line| line.expect("JSON")).collect()
    }
}

/// What is answered to a request for this path that calls the machine by this name: status and body.
fn get(address: SocketAddr, host: &str, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).expect("it listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n").expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    let status = head.split(' ').nth(1).expect("a status");
    assert!(head.contains("default-src 'none'"), "{head}");
    (status.parse().expect("a number"), body.to_owned())
}

#[test]
fn te28_what_was_said_is_kept_for_a_while_and_told_to_who_asks() {
    let bench = Bench::new();
    bench.sign("greeter", "hello", 1);
    bench.sign("other", "hello", 1);
    bench.configure(&[("greeter", ONCE), ("other", ONCE)]);
    let gateway = bench.start();
    bench.until("greeter", is("ended"));
    bench.until("other", is("ended"));
    let about = |lines: &[Value], service: &str| {
        let texts = lines.iter().filter(|line| line["service"] == service);
        let texts: Vec<_> = texts.filter_map(|line| line["text"].as_str()).collect();
        texts.join("\n")
    };
    let until = Instant::now() + PATIENCE;
    let all = loop {
        let all = bench.lines(&[]);
        // What it says of itself comes after all were begun.
        if about(&all, "").contains("2 services run") {
            break all;
        }
        assert!(Instant::now() < until, "{all:?}");
        std::thread::sleep(Duration::from_millis(20));
    };
    assert!(
        about(&all, "greeter").contains("> Hello, world!"),
        "{all:?}"
    );
    assert!(about(&all, "other").contains("> Hello, world!"), "{all:?}");
    let one = bench.lines(&["--service", "greeter"]);
    assert!(
        one.iter().all(|line| line["service"] == "greeter"),
        "{one:?}"
    );
    let shown = bench.ran("logs", &["--service", "greeter"]);
    assert!(
        shown.stdout.contains(" greeter: > Hello, world!\n"),
        "{shown:?}"
    );
    let nobody = bench.ran("logs", &["--service", "nobody"]);
    assert_eq!(nobody.status, 2, "{nobody:?}");
    assert!(nobody.stderr.contains("no service is called"), "{nobody:?}");

    // Who follows is told of what comes.
    let mut following = bench
        .command("logs")
        .arg("--config")
        .arg(bench.path("gateway.toml"))
        .args(["--follow", "--service", "greeter"])
        .stdout(Stdio::piped())
        .spawn()
        .expect("it starts");
    let mut lines = BufReader::new(following.stdout.take().expect("piped")).lines();
    let mut until = |text: &str| {
        let found = lines
            .by_ref()
            .map_while(Result::ok)
            .find(|line| line.contains(text));
        found.unwrap_or_else(|| panic!("{text}: {}", bench.log()));
    };
    until("ended with status 0");
    bench.sign("greeter", "hello", 2);
    assert_eq!(bench.reload().0.status, 0);
    until("2.0.0");
    assert_eq!(gateway.stop(), 0);
    let _ = following.kill();
    let _ = following.wait();
}

#[test]
fn td07_what_is_trusted_and_remembered_is_shown_and_a_file_is_judged_by_it() {
    let bench = Bench::new();
    bench.sign("pump", "endless-loop", 3);
    bench.configure(&[("pump", SOON)]);
    let verify = |file: &str| {
        let path = bench.path(file);
        bench.ran("verify", &["--json", path.to_str().expect("UTF-8")])
    };
    let verdict = |ran: &Ran| -> Value {
        let verdicts: Value = serde_json::from_str(&ran.stdout).expect("JSON");
        verdicts["services"][0].clone()
    };
    let gateway = bench.start();
    bench.until("pump", healthy);
    let trust = bench.ran("trust", &["--json"]);
    assert_eq!(trust.status, 0, "{trust:?}");
    let trust: Value = serde_json::from_str(&trust.stdout).expect("JSON");
    assert_eq!(trust["roots"].as_array().map(Vec::len), Some(1), "{trust}");
    assert_eq!(trust["clock"]["from"], "clock", "{trust}");
    let version = &trust["remembered"]["versions"][0];
    assert_eq!(
        (&version["component"], &version["security-version"]),
        (&"test:pump".into(), &3.into()),
        "{trust}"
    );
    let lists = trust["lists"].as_array().expect("lists");
    let seen = trust["remembered"]["lists"].as_array().expect("lists");
    assert!(!seen.is_empty() && seen.len() <= lists.len(), "{trust}");
    assert!(
        seen.iter()
            .all(|seen| lists.iter().any(|list| list["number"] == seen["number"])),
        "{trust}"
    );
    let words = bench.ran("trust", &[]);
    assert!(
        words
            .stdout
            .contains("test:pump: no security version below 3 "),
        "{words:?}"
    );

    // A file anywhere, as this machine would judge it: the newer, the older, another component, no component.
    bench.sign("pump", "endless-loop", 4);
    let ran = verify("pump.wasm");
    assert_eq!((ran.status, &verdict(&ran)["name"]), (0, &"pump".into()));
    bench.sign("pump", "endless-loop", 2);
    let ran = verify("pump.wasm");
    let rollback = i32::from(Code::Rollback.exit_status());
    assert_eq!(ran.status, rollback, "{ran:?}");
    assert_eq!(verdict(&ran)["refused"]["code"], "rollback");
    bench.sign("door", "hello", 1);
    let ran = verify("door.wasm");
    assert_eq!(
        (ran.status, &verdict(&ran)["name"]),
        (0, &"no service".into())
    );
    fs::write(bench.path("none.wasm"), b"nothing").expect("our own folder");
    let ran = verify("none.wasm");
    assert_eq!(
        verdict(&ran)["refused"]["code"],
        "not-a-component",
        "{ran:?}"
    );
    // What was asked has changed nothing.
    assert_eq!(bench.service("pump")["version"], "3.0.0");
    assert_eq!(gateway.stop(), 0);
}

#[test]
fn th19_a_running_gateway_cannot_reach_what_its_configuration_does_not_name() {
    let bench = Bench::new();
    bench.sign("pump", "endless-loop", 1);
    bench.configure(&[("pump", SOON)]);
    let gateway = bench.start();
    bench.until("pump", healthy);
    let status = fs::read_to_string(format!("/proc/{}/status", gateway.0.id())).expect("it runs");
    for line in ["NoNewPrivs:\t1", "Seccomp:\t2"] {
        assert!(status.contains(line), "{status}");
    }
    let confinement = &bench.status()["confinement"];
    assert_eq!(confinement["calls"], "whole", "{confinement}");
    if confinement["files"] == "none" {
        eprintln!("this kernel has no landlock");
        return;
    }
    // A sound component, and in its place a link to it somewhere else: even root's gateway does not get there.
    let elsewhere = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    let hidden = elsewhere.path().join("pump.wasm");
    bench.sign("pump", "endless-loop", 2);
    fs::rename(bench.path("pump.wasm"), &hidden).expect("moved");
    std::os::unix::fs::symlink(&hidden, bench.path("pump.wasm")).expect("a link");
    let (reloaded, done) = bench.reload();
    let why = done["refused"]["pump"]["why"].as_str();
    assert!(
        why.is_some_and(|why| why.contains("denied")),
        "{reloaded:?}"
    );
    // And a configuration that names it has to be for a new start.
    let text = fs::read_to_string(bench.path("gateway.toml")).expect("a configuration");
    let named = text.replace("\"pump.wasm\"", &format!("{hidden:?}"));
    bench.configure_with(&named);
    let (reloaded, _) = bench.reload();
    assert!(reloaded.stderr.contains("needs a restart"), "{reloaded:?}");
    assert_eq!(gateway.stop(), 0);
    let gateway = bench.start();
    bench.until("pump", |pump| healthy(pump) && pump["version"] == "2.0.0");
    assert_eq!(gateway.stop(), 0);
}

#[test]
fn whoever_watches_over_the_machine_is_told_what_is_wrong_and_strangers_nothing() {
    let bench = Bench::new();
    bench.sign("pump", "endless-loop", 1);
    fs::write(bench.path("door.wasm"), b"nothing").expect("our own folder");
    bench.configure(&[("pump", SOON), ("door", ONCE)]);
    let address = bench.serve_status();
    let gateway = bench.start();
    bench.until("pump", healthy);
    bench.until("door", |door| door["code"] == "not-a-component");
    let (status, body) = get(address, "127.0.0.1", "/readyz");
    assert_eq!(
        (status, body.contains("door was refused")),
        (503, true),
        "{body}"
    );
    assert_eq!(
        get(address, "localhost", "/livez"),
        (200, "alive\n".to_owned())
    );

    let (status, figures) = get(address, "localhost", "/metrics");
    assert_eq!(status, 200);
    for line in [
        "countersign_gateway_services{state=\"running\"} 1\n",
        "countersign_gateway_services{state=\"refused\"} 1\n",
        "countersign_gateway_service_healthy{service=\"pump\"} 1\n",
        "countersign_gateway_refusals_total{code=\"not-a-component\"} 1\n",
        "countersign_gateway_service_starts_total{service=\"pump\"} 1\n",
        "countersign_gateway_root_end_timestamp_seconds{",
        "countersign_gateway_revocation_list_end_timestamp_seconds{",
        "countersign_gateway_signature_end_timestamp_seconds{service=\"pump\"} ",
        "countersign_gateway_signatures_waiting 0\n",
        "# EOF\n",
    ] {
        assert!(figures.contains(line), "{line}: {figures}");
    }
    // It computes without end, in a page of memory at least.
    let figure = |name: &str| -> f64 {
        let begins = format!("countersign_gateway_{name}{{service=\"pump\"}} ");
        let found = figures.lines().find_map(|line| line.strip_prefix(&begins));
        found
            .and_then(|number| number.parse().ok())
            .unwrap_or_else(|| panic!("{name}: {figures}"))
    };
    assert!(figure("service_cpu_seconds_total") > 0.0, "{figures}");
    assert!(figure("service_memory_bytes") >= 65_536.0, "{figures}");
    let (status, page) = get(address, "localhost", "/");
    assert_eq!(status, 200);
    assert!(page.contains("1 of 2 services were refused"), "{page}");
    // A browser that was led here under another name learns nothing.
    let (status, page) = get(address, "rebound.example", "/");
    assert_eq!((status, page.contains("pump")), (421, false), "{page}");
    assert_eq!(get(address, "localhost", "/elsewhere").0, 404);
    // Who says nothing, or too much, keeps nobody else from looking.
    let silent: Vec<_> = (0..8).map(|_| TcpStream::connect(address)).collect();
    let long = "x".repeat(64 << 10);
    let mut loud = TcpStream::connect(address).expect("it listens");
    let _ = loud.write_all(format!("GET /{long} HTTP/1.1\r\n").as_bytes());
    assert_eq!(get(address, "localhost", "/livez").0, 200);
    drop(silent);

    bench.sign("door", "hello", 1);
    assert_eq!(bench.reload().0.status, 0);
    assert_eq!(
        get(address, "localhost", "/readyz"),
        (200, "ready\n".to_owned())
    );
    assert_eq!(gateway.stop(), 0);
}

/// A service manager, to which a gateway says how it is.
struct Manager {
    socket: UnixDatagram,
    address: String,
}

impl Manager {
    fn of(bench: &Bench) -> Self {
        let path = bench.path("notify");
        let socket = UnixDatagram::bind(&path).expect("a socket");
        socket.set_read_timeout(Some(PATIENCE)).expect("a socket");
        let address = path.to_str().expect("UTF-8").to_owned();
        Self { socket, address }
    }

    /// What is said next that has a line which begins with this.
    fn until(&self, word: &str) -> String {
        let mut seen = Vec::new();
        let mut buffer = [0; 4_096];
        loop {
            let length = self
                .socket
                .recv(&mut buffer)
                .unwrap_or_else(|_| panic!("{word}: {seen:?}"));
            let said = String::from_utf8_lossy(&buffer[..length]).into_owned();
            if said.lines().any(|line| line.starts_with(word)) {
                return said;
            }
            seen.push(said);
        }
    }
}

#[test]
fn who_is_told_that_it_is_ready_or_runs_finds_its_address_open() {
    let bench = Bench::new();
    let (address, other) = (free(), free());
    let taken = TcpListener::bind(other).expect("a free port");
    for name in ["slow", "late"] {
        crate::http::sign(&bench, name, "http-faults", 1, &[]);
    }
    // Half a second passes before it says that it is healthy.
    let service = |name: &str, listen: SocketAddr| {
        format!(
            "[[http]]\nname = \"{name}\"\ncomponent = \"{name}.wasm\"\nsigned-as = \"test:{name}\"\n\
             listen = \"{listen}\"\nhealth = \"/slow\"\n"
        )
    };
    bench.configure_with(&format!(
        "[gateway]\nstate = \"state\"\nlists = [\"crls.pem\"]\n{}{}",
        service("slow", address),
        service("late", other)
    ));
    let manager = Manager::of(&bench);
    let gateway = bench.start_with(&[("NOTIFY_SOCKET", manager.address.as_str())]);
    let told = bench.until("slow", |service| !is_on_its_way(service));
    assert!(
        told["state"] != "running" || TcpStream::connect(address).is_ok(),
        "{told}"
    );
    manager.until("READY=1");
    assert!(TcpStream::connect(address).is_ok(), "{}", bench.log());
    assert_eq!(bench.service("slow")["state"], "running");
    // One whose address is another's keeps nobody waiting, and says why.
    let late = bench.until("late", is("waiting"));
    let why = late["ended"].as_str().unwrap_or_default();
    assert!(why.contains("cannot be listened on"), "{late}");
    drop(taken);
    bench.until("late", is("running"));
    assert!(TcpStream::connect(other).is_ok(), "{}", bench.log());
    assert_eq!(gateway.stop(), 0);
}

#[test]
fn a_service_manager_is_told_when_it_is_ready_alive_reloading_and_stopping() {
    let bench = Bench::new();
    bench.sign("pump", "endless-loop", 1);
    bench.configure(&[("pump", SOON)]);
    let manager = Manager::of(&bench);
    let until = |word: &str| manager.until(word);
    let gateway = bench.start_with(&[
        ("NOTIFY_SOCKET", manager.address.as_str()),
        ("WATCHDOG_USEC", "100000"),
    ]);
    let ready = until("READY=1");
    assert!(
        ready.contains("STATUS=1 services run, 0 were refused"),
        "{ready}"
    );
    until("WATCHDOG=1");
    until("WATCHDOG=1");
    let hang_up = Command::new("kill")
        .args(["-HUP", &gateway.0.id().to_string()])
        .status();
    assert!(hang_up.expect("kill").success());
    let reloading = until("RELOADING=1");
    assert!(reloading.contains("MONOTONIC_USEC="), "{reloading}");
    until("READY=1");
    assert_eq!(gateway.stop(), 0);
    until("STOPPING=1");
}

#[test]
fn th19_th06_nothing_runs_that_others_could_exchange() {
    use std::os::unix::fs::PermissionsExt as _;
    let bench = Bench::new();
    bench.sign("greeter", "hello", 1);
    bench.configure(&[("greeter", ONCE)]);
    let mode = |path: &Path, mode| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("ours");
    };
    let refused = |words: &str| {
        let ran = bench.ran("run", &[]);
        assert_eq!(ran.status, 2, "{ran:?}");
        assert!(
            ran.stderr.contains(words) && ran.stderr.contains("chmod go-w"),
            "{ran:?}"
        );
        let doctor = bench.ran("doctor", &[]);
        assert_eq!(doctor.status, 2, "{doctor:?}");
    };
    mode(&bench.path("countersign-gateway"), 0o775);
    refused("this program: others than its owner may write");
    mode(&bench.path("countersign-gateway"), 0o755);
    mode(&bench.path(""), 0o757);
    refused("folder: others than its owner may write");
    mode(&bench.path(""), 0o755);
    mode(&bench.path("gateway.toml"), 0o666);
    refused("others than its owner may write it");
    mode(&bench.path("gateway.toml"), 0o600);
    // Root is not asked to take away what belongs to the gateway's user. Only root can give it to another here.
    let give = |user| std::os::unix::fs::chown(bench.path("state"), Some(user), None);
    let ours =
        std::os::unix::fs::MetadataExt::uid(&fs::metadata(bench.path("state")).expect("there"));
    if give(ours + 1).is_ok() {
        let doctor = bench.ran("doctor", &[]);
        assert_eq!(doctor.status, 2, "{doctor:?}");
        assert!(doctor.stdout.contains("runuser -u"), "{doctor:?}");
        assert!(!doctor.stdout.contains("Give it to root"), "{doctor:?}");
        give(ours).expect("given back");
    }
    let gateway = bench.start();
    bench.until("greeter", is("ended"));
    assert_eq!(gateway.stop(), 0);
}

#[test]
fn th21_what_is_wrong_or_soon_will_be_is_found_with_what_to_do() {
    let bench = Bench::new();
    bench.sign("greeter", "hello", 1);
    bench.configure(&[("greeter", ONCE)]);
    let found = || -> Value {
        let ran = bench.ran("doctor", &["--json"]);
        let found: Value = serde_json::from_str(&ran.stdout).expect("JSON");
        let refuses = |finding: &Value| finding["weight"] == "refuse";
        let all = found["findings"].as_array().expect("a list");
        assert_eq!(ran.status == 2, all.iter().any(refuses), "{ran:?}");
        // Whatever is not as it should be says what to do.
        for finding in all {
            assert_eq!(
                finding["weight"] == "ok",
                finding["next"].is_null(),
                "{finding}"
            );
        }
        found["findings"].clone()
    };
    let weights = |found: &Value, what: &str| -> Vec<String> {
        let all = found.as_array().expect("a list").iter();
        let of = all.filter(|finding| finding["what"] == what);
        of.filter_map(|finding| finding["weight"].as_str().map(str::to_owned))
            .collect()
    };
    let all = found();
    assert_eq!(all[0]["what"], "this build", "{all}");
    let build = all[0]["said"].as_str().unwrap_or_default();
    // As the tests build it.
    assert!(build.contains("and TPMs; compiles"), "{build}");
    assert_eq!(weights(&all, "roots"), ["ok"], "{all}");
    assert_eq!(weights(&all, "what is remembered"), ["ok"], "{all}");
    assert_eq!(weights(&all, "clock"), ["ok"], "{all}");
    assert_eq!(weights(&all, "service greeter").len(), 1, "{all}");
    assert_eq!(weights(&all, "the running gateway"), ["warn"], "{all}");
    assert_eq!(weights(&all, "storage").len(), 1, "{all}");
    let gateway = bench.start();
    bench.until("greeter", is("ended"));
    let all = found();
    assert!(
        weights(&all, "the running gateway").contains(&"ok".to_owned()),
        "{all}"
    );
    // Somebody signed another component into its place, and took the lists away.
    fs::write(bench.path("greeter.wasm"), b"nothing").expect("our own folder");
    let all = found();
    assert_eq!(weights(&all, "service greeter"), ["refuse"], "{all}");
    fs::remove_file(bench.path("crls.pem")).expect("ours");
    let all = found();
    assert_eq!(weights(&all, "revocation lists"), ["refuse"], "{all}");
    assert_eq!(gateway.stop(), 0);
    fs::write(bench.path("state/memory"), b"changed").expect("ours");
    let all = found();
    assert_eq!(weights(&all, "what is remembered"), ["refuse"], "{all}");
}

#[test]
fn td07_an_operator_goes_back_to_the_version_before_and_never_below_what_is_remembered() {
    let bench = Bench::new();
    let sign = |version: u64, security_version: u64| {
        let mut manifest = bench.pki.manifest("test:pump");
        manifest.security_version = security_version;
        manifest.version = semver::Version::new(version, 0, 0);
        let file = bench.pki.sign(&guest("endless-loop"), &manifest);
        fs::write(bench.path("pump.wasm"), file).expect("our own folder");
    };
    let back = || {
        let ran = bench.ran("rollback", &["--json", "pump"]);
        let answer: Value = serde_json::from_str(&ran.stdout).expect("JSON");
        (ran.status, answer)
    };
    let version =
        |version: &'static str| move |pump: &Value| healthy(pump) && pump["version"] == version;
    sign(1, 1);
    bench.configure(&[("pump", SOON)]);
    let gateway = bench.start();
    bench.until("pump", healthy);
    let (status, answer) = back();
    assert_eq!(status, 2, "{answer}");
    sign(2, 1);
    assert_eq!(bench.reload().0.status, 0);
    bench.until("pump", version("2.0.0"));
    let (status, answer) = back();
    assert_eq!(
        (status, &answer["runs"]["version"]),
        (0, &"1.0.0".into()),
        "{answer}"
    );
    bench.until("pump", version("1.0.0"));
    // What was gone back from does not come back by itself: not by a reload, and not by a restart.
    let (_, done) = bench.reload();
    let why = done["refused"]["pump"]["why"].as_str();
    assert!(why.is_some_and(|why| why.contains("rolled back")), "{done}");
    assert_eq!(bench.service("pump")["version"], "1.0.0");
    assert_eq!(gateway.stop(), 0);
    let gateway = bench.start();
    bench.until("pump", version("1.0.0"));
    // Another does.
    sign(3, 2);
    assert_eq!(bench.reload().0.status, 0);
    bench.until("pump", version("3.0.0"));
    // From which nobody goes back: the version before has security faults, it says.
    let (status, answer) = back();
    assert_eq!(status, i32::from(Code::Rollback.exit_status()), "{answer}");
    assert_eq!(answer["refused"]["code"], "rollback", "{answer}");
    assert_eq!(bench.service("pump")["version"], "3.0.0");
    let nobody = bench.ran("rollback", &["nobody"]);
    assert_eq!(nobody.status, 2, "{nobody:?}");
    assert!(nobody.stdout.contains("no service is called"), "{nobody:?}");
    assert_eq!(gateway.stop(), 0);
}

#[test]
fn th16_another_user_is_not_answered() {
    use std::os::unix::fs::PermissionsExt as _;
    use std::os::unix::process::CommandExt as _;
    const NOBODY: u32 = 65_534;
    let open = |path: &Path, mode| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("ours");
    };
    let bench = Bench::new();
    bench.sign("greeter", "hello", 1);
    bench.configure(&[("greeter", ONCE)]);
    // Where everybody can get to, and with a socket that everybody may connect to: only the kernel's word is left.
    let folder = tempfile::tempdir().expect("a folder");
    open(folder.path(), 0o755);
    let socket = folder.path().join("control.sock");
    let text = fs::read_to_string(bench.path("gateway.toml")).expect("a configuration");
    bench.configure_with(&text.replacen(
        "[gateway]",
        &format!("[gateway]\ncontrol = {socket:?}"),
        1,
    ));
    let gateway = bench.start();
    open(&socket, 0o666);
    let script = "import socket, sys\n\
        s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]); print('connected', flush=True)\n\
        try:\n    s.sendall(b'{\"question\":\"status\"}\\n'); print(len(s.recv(100)))\n\
        except OSError: print(0)";
    let ask = |user: Option<u32>| {
        let mut command = Command::new("python3");
        command.args(["-c", script]).arg(&socket).current_dir("/");
        if let Some(user) = user {
            command.uid(user).gid(user);
        }
        run(&mut command).stdout
    };
    assert_eq!(ask(None), "connected\n100\n");
    // Whoever runs this test without being root is nobody else.
    let ours = std::os::unix::fs::MetadataExt::uid(&fs::metadata("/proc/self").expect("ours"));
    if ours == 0 {
        assert_eq!(ask(Some(NOBODY)), "connected\n0\n");
    }
    assert_eq!(bench.service("greeter")["name"], "greeter");
    assert_eq!(gateway.stop(), 0);
}

#[test]
fn th17_no_variable_changes_what_a_gateway_trusts() {
    let bench = Bench::new();
    let stranger = TestPki::builder().seed(9).scope(&["test:*"]).build();
    let files = bench.path("stranger");
    fs::create_dir(&files).expect("our own folder");
    let _ = stranger.write(&files);
    let file = stranger.sign(&guest("hello"), &stranger.manifest("test:strange"));
    fs::write(bench.path("strange.wasm"), file).expect("our own folder");
    fs::write(bench.path("unsigned.wasm"), guest("hello")).expect("our own folder");
    bench.configure(&[("strange", ONCE), ("unsigned", ONCE)]);
    let roots = files.join("roots.toml");
    let roots = roots.to_str().expect("UTF-8");
    let gateway = bench.start_with(&[
        ("COUNTERSIGN_ROOTS", roots),
        ("COUNTERSIGN_TRUST", roots),
        ("SSL_CERT_FILE", roots),
        ("COUNTERSIGN_INSECURE", "1"),
        ("COUNTERSIGN_SKIP_VERIFY", "1"),
        ("SOURCE_DATE_EPOCH", "0"),
        ("WASMTIME_BACKTRACE_DETAILS", "1"),
        ("RUST_LOG", "trace"),
    ]);
    for (name, code) in [
        ("strange", Code::UntrustedRoot),
        ("unsigned", Code::SignatureMissing),
    ] {
        assert_eq!(bench.until(name, is("refused"))["code"], code.as_str());
    }
    assert_eq!(gateway.stop(), 0);
}

#[test]
fn th18_a_gateway_has_no_option_that_skips_anything() {
    let help = |verb: &[&str]| {
        let mut command = Command::new(program("countersign-gateway"));
        let ran = run(command.args(verb).arg("--help"));
        assert_eq!(ran.status, 0, "{ran:?}");
        ran.stdout
    };
    let all = help(&[]);
    let verbs = all.split("Commands:\n").nth(1).expect("a list");
    let verbs: Vec<_> = verbs
        .lines()
        .take_while(|line| !line.is_empty())
        .filter_map(|line| line.strip_prefix("  ")?.split(' ').next())
        .filter(|verb| !verb.is_empty())
        .collect();
    assert!(
        verbs.contains(&"run") && verbs.contains(&"doctor"),
        "{verbs:?}"
    );
    for verb in verbs {
        let text = if verb == "help" {
            all.clone()
        } else {
            help(&[verb])
        };
        for word in [
            "--insecure",
            "--no-",
            "--allow",
            "--skip",
            "--ignore",
            "--trust",
            "--force",
        ] {
            assert!(!text.contains(word), "{verb}: {word}");
        }
    }
    // And the configuration has no such entry.
    let schema = include_str!("../../../docs/gateway.schema.json").to_lowercase();
    for word in [
        "insecure",
        "no-verify",
        "skip-ver",
        "unsigned",
        "unverified",
    ] {
        assert!(!schema.contains(&format!("\"{word}")), "{word}");
    }
}
