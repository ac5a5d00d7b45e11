//! Messages between components and Debian's Mosquitto, over the gateway's connection.

use std::collections::VecDeque;
use std::io::Read as _;
use std::net::{Ipv4Addr, TcpStream};

use countersign_testing::free_port;

use super::*;
use crate::device::{Device, Store};

/// Where the relay listens and answers.
const TOPICS: &str = "topics = [\"devices/gateway-7/ask/#\"]\npublish = [\"devices/gateway-7/answer/#\"]\ntries = 2\n";

/// A broker with a plain listener, and one over TLS if it has files for that. It ends when this is dropped.
struct Broker {
    process: Child,
    folder: TempDir,
    plain: u16,
    over_tls: u16,
}

impl Broker {
    fn start(tls: Option<&Device>) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let (plain, over_tls) = (free_port(), free_port());
        let mut text = format!(
            "per_listener_settings true\npersistence false\nuser root\nlog_type all\nlog_dest file {}\n\
             listener {plain} 127.0.0.1\nallow_anonymous true\n",
            folder.path().join("log").display()
        );
        if let Some(device) = tls {
            text.push_str(&format!(
                "listener {over_tls} 127.0.0.1\ncafile {}\ncertfile {}\nkeyfile {}\n\
                 require_certificate true\nuse_identity_as_username true\nallow_anonymous false\n",
                device.path("pki/root.pem").display(),
                device.path("broker.chain.pem").display(),
                device.path("broker.key.pem").display(),
            ));
        }
        fs::write(folder.path().join("mosquitto.conf"), text).expect("a file");
        let process = mosquitto(folder.path());
        let mut broker = Self {
            process,
            folder,
            plain,
            over_tls,
        };
        broker.wait();
        broker
    }

    fn stop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }

    fn start_again(&mut self) {
        self.process = mosquitto(self.folder.path());
        self.wait();
    }

    fn wait(&mut self) {
        let until = Instant::now() + PATIENCE;
        while TcpStream::connect((Ipv4Addr::LOCALHOST, self.plain)).is_err() {
            let ended = self.process.try_wait().expect("our own process");
            assert!(ended.is_none() && Instant::now() < until, "{}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// How often the gateway has subscribed.
    fn subscribed(&self) -> usize {
        self.log().matches("Sending SUBACK to gateway-7").count()
    }

    /// Waits until it has done so more often: what is published before is nobody's.
    fn until_subscribed(&self, before: usize) {
        let until = Instant::now() + PATIENCE;
        while self.subscribed() <= before {
            assert!(Instant::now() < until, "{}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.stop();
    }
}

fn mosquitto(folder: &Path) -> Child {
    // Debian puts it where only an administrator's PATH leads.
    let debian = Path::new("/usr/sbin/mosquitto");
    let program = if debian.exists() {
        debian
    } else {
        Path::new("mosquitto")
    };
    Command::new(program)
        .arg("-c")
        .arg(folder.join("mosquitto.conf"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("mosquitto starts; `cargo xtask test` installs it")
}

/// Somebody else at the broker: MQTT 3.1.1, as far as these tests need it.
struct Peer {
    stream: TcpStream,
    /// Messages that came while it waited for something else.
    early: VecDeque<Vec<u8>>,
}

impl Peer {
    fn connect(broker: &Broker) -> Self {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, broker.plain)).expect("it listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
        let mut peer = Self {
            stream,
            early: VecDeque::new(),
        };
        let hello = [&b"\0\x04MQTT\x04\x02\0\0"[..], &text("peer")].concat();
        peer.send(0x10, &hello);
        assert_eq!(peer.receive(), (0x20, vec![0, 0]), "accepted");
        peer
    }

    fn subscribe(&mut self, filter: &str) {
        self.send(0x82, &[&[0, 1][..], &text(filter), &[0]].concat());
        assert_eq!(self.receive(), (0x90, vec![0, 1, 0]), "subscribed");
    }

    /// Publishes, and waits until the broker has it.
    fn publish(&mut self, topic: &str, payload: &[u8]) {
        self.send(0x32, &[&text(topic), &[0, 2][..], payload].concat());
        loop {
            match self.receive() {
                (0x40, _) => return,
                (kind, body) if kind & 0xf0 == 0x30 => self.early.push_back(body),
                (kind, _) => panic!("{kind:#x}"),
            }
        }
    }

    /// The next message: its topic and what it says.
    fn message(&mut self) -> (String, String) {
        let body = self.early.pop_front().unwrap_or_else(|| {
            let (kind, body) = self.receive();
            assert_eq!(kind & 0xf0, 0x30, "{kind:#x}");
            body
        });
        let length = usize::from(u16::from_be_bytes([body[0], body[1]]));
        let (topic, payload) = body[2..].split_at(length);
        let words = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (words(topic), words(payload))
    }

    fn send(&mut self, kind: u8, body: &[u8]) {
        let length = u8::try_from(body.len()).ok().filter(|length| *length < 128);
        let head = [kind, length.expect("short packets")];
        let packet = [&head[..], body].concat();
        self.stream.write_all(&packet).expect("the broker reads");
    }

    fn receive(&mut self) -> (u8, Vec<u8>) {
        let mut head = [0; 2];
        self.stream.read_exact(&mut head).expect("a packet");
        assert!(head[1] < 128, "short packets");
        let mut body = vec![0; usize::from(head[1])];
        self.stream.read_exact(&mut body).expect("the rest of it");
        (head[0], body)
    }
}

fn text(text: &str) -> Vec<u8> {
    let length = u16::try_from(text.len()).expect("short");
    [&length.to_be_bytes()[..], text.as_bytes()].concat()
}

/// Signs the relay, and configures it with this broker.
fn configure(bench: &Bench, broker: &str, more: &str) {
    let manifest = bench.pki.manifest("test:relay");
    let file = bench.pki.sign(&guest("relay"), &manifest);
    fs::write(bench.path("relay.wasm"), file).expect("our own folder");
    bench.configure_with(&format!(
        "[gateway]\nstate = \"state\"\nlists = [\"crls.pem\"]\n\
         [[broker]]\nname = \"plant\"\nclient = \"gateway-7\"\n{broker}\n\
         [[on-message]]\nname = \"relay\"\ncomponent = \"relay.wasm\"\nsigned-as = \"test:relay\"\n\
         broker = \"plant\"\n{more}\n"
    ));
}

fn connected(relay: &Value) -> bool {
    relay["messages"]["connected"] == true
}

#[test]
fn te26_te27_a_component_is_handed_messages_and_publishes_within_its_bounds() {
    let mut broker = Broker::start(None);
    let bench = Bench::new();
    let address = format!("address = \"mqtt://127.0.0.1:{}\"", broker.plain);
    let (collector, bodies) = countersign_testing::collector();
    let traced = format!("{TOPICS}[traces]\nendpoint = {collector:?}\n");
    configure(&bench, &address, &traced);
    let gateway = bench.start();
    bench.until("relay", connected);
    let mut peer = Peer::connect(&broker);
    peer.subscribe("devices/gateway-7/answer/#");
    peer.subscribe("elsewhere");
    let ask = |peer: &mut Peer, number: u32, words: &str| {
        peer.publish(&format!("devices/gateway-7/ask/{number}"), words.as_bytes());
    };
    let answer = |number: u32, words: &str| {
        (
            format!("devices/gateway-7/answer/{number}"),
            words.to_owned(),
        )
    };
    // What arrived before it subscribed is nobody's; afterwards nothing is lost.
    bench.until("relay", |relay| {
        relay["messages"]["handled"] == 0 && connected(relay)
    });
    broker.until_subscribed(0);
    ask(&mut peer, 1, "press");
    assert_eq!(peer.message(), answer(1, "sserp"));
    ask(&mut peer, 2, "elsewhere");
    assert_eq!(peer.message(), answer(2, "not-granted"));

    // What cannot be handled is dropped in the end, and keeps nothing else waiting for ever.
    ask(&mut peer, 3, "refuse");
    ask(&mut peer, 4, "trap");
    ask(&mut peer, 5, "pump");
    assert_eq!(peer.message(), answer(5, "pmup"));
    let relay = bench.until("relay", |relay| relay["messages"]["handled"] == 3);
    let counts = &relay["messages"];
    assert_eq!(
        (&counts["failed"], &counts["dropped"]),
        (&4.into(), &2.into()),
        "{relay}"
    );
    let dropped = |words: &str| {
        bench.records().iter().any(|record| {
            let reason = record["reason"].as_str().unwrap_or_default();
            reason.contains("dropped after 2 tries") && reason.contains(words)
        })
    };
    assert!(
        dropped("not to be handled") && dropped("trapped"),
        "{}",
        bench.log()
    );

    // What arrives while nobody is there waits for it.
    assert_eq!(gateway.stop(), 0);
    // A collector was told what became of each, and not where it came from or what it said.
    let (all, sent) = super::traces::told(&bodies);
    let messages = all.iter().filter(|span| span["name"] == "message");
    let verdict = |span| super::traces::said(span, "verdict");
    let verdicts: Vec<_> = messages.filter_map(verdict).collect();
    assert_eq!(
        verdicts,
        ["handled", "handled", "dropped", "dropped", "handled"]
    );
    assert!(
        !sent.contains("press") && !sent.contains("devices/"),
        "{sent}"
    );
    ask(&mut peer, 6, "later");
    let gateway = bench.start();
    assert_eq!(peer.message(), answer(6, "retal"));
    // A broker that goes away and comes back is found again.
    broker.stop();
    let relay = bench.until("relay", |relay| relay["messages"]["connected"] == false);
    assert!(relay["messages"]["why"].is_string(), "{relay}");
    let before = broker.subscribed();
    broker.start_again();
    bench.until("relay", connected);
    let mut peer = Peer::connect(&broker);
    peer.subscribe("devices/gateway-7/answer/#");
    broker.until_subscribed(before);
    ask(&mut peer, 7, "again");
    assert_eq!(peer.message(), answer(7, "niaga"));

    // A flood ends at the component's rate: sixty at once and one a second, beside the two that it published before.
    let began = Instant::now();
    ask(&mut peer, 8, "flood");
    for _ in 0..58 {
        assert_eq!(peer.message(), answer(8, "flood"));
    }
    bench.until("relay", |relay| relay["messages"]["dropped"] == 1);
    let published = bench.service("relay")["messages"]["published"].as_u64();
    let most = 63 + began.elapsed().as_secs();
    assert!(published <= Some(most), "{published:?} of {most}");
    assert_eq!(gateway.stop(), 0);
}

#[test]
fn tf01_messages_go_over_tls_with_the_devices_key_in_its_tpm() {
    let device = Device::with_key_for("tls", Store::tpm());
    let key = ["key", "generate", "file:broker.key.pem", "--unencrypted"];
    device.program("countersign", &key);
    let request = [
        "key",
        "csr",
        "file:broker.key.pem",
        "--device-id",
        "broker-1",
    ];
    device.program(
        "countersign",
        &[&request[..], &["--output", "broker.csr"]].concat(),
    );
    let issue = [
        "issue",
        "--dir",
        "pki/ca",
        "--profile",
        "tls",
        "--days",
        "7",
    ];
    let files = [
        "--csr",
        "broker.csr",
        "--dns",
        "localhost",
        "--out",
        "broker.chain.pem",
    ];
    device.program("countersign-ca", &[&issue[..], &files].concat());
    let broker = Broker::start(Some(&device));
    let bench = Bench::new();
    let with = |roots: &Path| {
        let address = format!(
            "address = \"mqtts://localhost:{}\"\nkey = \"tls\"\nroots = {roots:?}",
            broker.over_tls
        );
        let key = format!(
            "{TOPICS}[[key]]\nname = \"tls\"\npurpose = \"tls\"\nuri = {:?}\nchain = {:?}",
            device.key(),
            device.path("telemetry.chain.pem")
        );
        configure(&bench, &address, &key);
    };
    // A broker that nobody vouches for is not talked to.
    with(&bench.pki.write(bench.folder.path()).roots_pem);
    let gateway = bench.start();
    let relay = bench.until("relay", |relay| relay["messages"]["why"].is_string());
    assert_eq!(relay["messages"]["connected"], false, "{relay}");
    let why = relay["messages"]["why"].as_str().unwrap_or_default();
    assert!(why.contains("certificate"), "{relay}");
    assert_eq!(gateway.stop(), 0);
    with(&device.path("pki/root.pem"));
    let gateway = bench.start();
    bench.until("relay", connected);
    let mut peer = Peer::connect(&broker);
    peer.subscribe("devices/gateway-7/answer/#");
    broker.until_subscribed(0);
    peer.publish("devices/gateway-7/ask/1", b"press");
    let expected = ("devices/gateway-7/answer/1".to_owned(), "sserp".to_owned());
    assert_eq!(peer.message(), expected, "{}", broker.log());
    assert_eq!(gateway.stop(), 0);
}
