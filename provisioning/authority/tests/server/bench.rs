//! An authority in a folder of its own: root, intermediate and lists made by the issuing core, the rest by the program.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use countersign_authority::tokens::{self, Action, Scope, TokenFolder};
use countersign_backend_file::{FileKey, Overwrite, SystemRandom};
use countersign_keys::{Algorithm, SigningKey};
use countersign_provisioning::{
    CaName, Intermediate, Issuer, Reason, Revocation, RevocationList, Root, Serial, Validity,
};
use countersign_testing::free_port;
use countersign_trust_store::{Certificate, UnixTime, pem};
use serde_json::Value;

/// The folder, and what lies in it: `root.pem`, `chain.pem`, `ca.key`, `root.crl`.
pub(crate) struct Bench {
    folder: tempfile::TempDir,
    port: u16,
}

/// A running authority; it is stopped when this goes.
pub(crate) struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Server {
    /// Asks it to stop, as a service manager does, and waits.
    pub(crate) fn stop(self) -> bool {
        self.terminate();
        self.ended()
    }

    /// The most memory that it ever held, in KiB.
    pub(crate) fn peak_kib(&self) -> u64 {
        let path = format!("/proc/{}/status", self.0.id());
        let status = fs::read_to_string(path).expect("a process");
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let digits = line.and_then(|line| line.split_whitespace().next());
        digits
            .and_then(|digits| digits.parse().ok())
            .expect("a count")
    }

    /// Asks it to stop.
    pub(crate) fn terminate(&self) {
        let pid = self.0.id().to_string();
        let told = Command::new("kill").args(["-TERM", &pid]).status();
        assert!(told.expect("kill runs").success());
    }

    /// Waits a minute for its end; whether it ended well, and nothing when it goes on.
    pub(crate) fn ended_soon(mut self) -> Option<bool> {
        let until = Instant::now() + Duration::from_secs(60);
        while Instant::now() < until {
            if let Some(status) = self.0.try_wait().expect("a child") {
                return Some(status.success());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        None
    }

    /// Waits for its end; whether it ended well.
    pub(crate) fn ended(mut self) -> bool {
        self.0.wait().expect("it ends").success()
    }
}

pub(crate) fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("after 1970")
        .as_secs()
}

pub(crate) fn program() -> Command {
    Command::new(env!("CARGO_BIN_EXE_countersign-authority"))
}

impl Bench {
    /// An authority that was made and not started.
    pub(crate) fn new() -> Self {
        Self::with(&[])
    }

    /// The same, with more that `init` is told.
    pub(crate) fn with(more: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let path = |name: &str| folder.path().join(name);
        let key = |name: &str| {
            let key = FileKey::generate(Algorithm::Esp256, &mut SystemRandom).expect("a key");
            key.save(&path(name), None, Overwrite::Refuse)
                .expect("saved");
            SigningKey::new(key)
        };
        let (root_key, ca_key) = (key("root.key"), key("ca.key"));
        let days = |days| Validity::days(UnixTime::from_secs(now() - 3600), days).expect("days");
        let root = Root {
            name: CaName::new("Acme", "Root", None).expect("a name"),
            validity: days(3650),
            path_length: 1,
            development: false,
        };
        let root = Issuer::root(&root_key, &root, &mut SystemRandom).expect("a root");
        let above = Issuer::new(&root_key, &root.certificate).expect("an issuer");
        let intermediate = Intermediate {
            name: CaName::new("Acme", "Devices", None).expect("a name"),
            validity: days(1825),
            path_length: 0,
            scope: None,
        };
        let intermediate = above
            .intermediate(ca_key.public_key(), &intermediate, &mut SystemRandom)
            .expect("an intermediate");
        let list = RevocationList {
            number: 1,
            validity: days(30),
            revoked: &[],
        };
        fs::write(path("root.crl"), above.crl(&list).expect("a list")).expect("written");
        let pem = countersign_authority::pem::certificates;
        fs::write(path("root.pem"), pem(&[&root.certificate])).expect("written");
        fs::write(
            path("chain.pem"),
            pem(&[&intermediate.certificate, &root.certificate]),
        )
        .expect("written");

        let port = free_port();
        let bench = Self { folder, port };
        let listen = format!("127.0.0.1:{port}");
        let key = format!("file:{}", bench.path("ca.key").display());
        let mut arguments = vec![
            "init",
            "home",
            "--chain",
            "chain.pem",
            "--key",
            &key,
            "--crl",
            "root.crl",
            "--host",
            "localhost",
            "--listen",
            &listen,
        ];
        arguments.extend(more);
        bench.run(&arguments).succeeded();
        bench
    }

    /// Puts a newer list of the root in the place of the one that the authority has, on which its issuer stands or not.
    pub(crate) fn root_lists(&self, issuer_is_revoked: bool, number: u64) {
        let chain = fs::read(self.path("chain.pem")).expect("a chain");
        let issuer = pem::certificates(&chain)
            .expect("certificates")
            .swap_remove(0);
        self.root_revokes(issuer_is_revoked.then_some(issuer).as_deref(), number);
    }

    /// The same with any certificate of the root.
    pub(crate) fn root_revokes(&self, certificate: Option<&[u8]>, number: u64) {
        let key = FileKey::open(&self.path("root.key"), || {
            unreachable!("it is not encrypted")
        });
        let key = key.expect("the root's key");
        let chain = fs::read(self.path("chain.pem")).expect("a chain");
        let chain = pem::certificates(&chain).expect("certificates");
        let root = Issuer::new(&key, &chain[1]).expect("the root");
        let at = UnixTime::from_secs(now());
        let revoked = certificate.map(|certificate| Revocation {
            serial: Certificate::parse(certificate)
                .expect("a certificate")
                .serial()
                .parse::<Serial>()
                .expect("a serial"),
            at,
            reason: Reason::CaCompromise,
        });
        let list = RevocationList {
            number,
            validity: Validity::days(at, 30).expect("days"),
            revoked: revoked.as_slice(),
        };
        let place = self.path("home/crls/0.crl");
        let beside = self.path("newer.crl");
        fs::write(&beside, root.crl(&list).expect("a list")).expect("written");
        fs::rename(beside, place).expect("put there");
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Runs the program in the folder.
    pub(crate) fn run(&self, arguments: &[&str]) -> Ran {
        let output = program()
            .args(arguments)
            .current_dir(self.folder.path())
            .output();
        Ran(output.expect("the program runs"))
    }

    /// Approves devices on the order 17.
    pub(crate) fn approve(&self, devices: &[&str]) {
        let mut arguments = vec![
            "approve",
            "--config",
            "home/authority.toml",
            "--order",
            "17",
            "--quota",
            "1000",
            "--family",
            "press",
        ];
        arguments.extend(devices);
        self.run(&arguments).succeeded();
    }

    /// Makes a token.
    pub(crate) fn token(&self, arguments: &[&str]) -> String {
        let mut all = vec!["token", "--config", "home/authority.toml"];
        all.extend(arguments);
        self.run(&all).succeeded().trim().to_owned()
    }

    /// Makes a token with which one device enrols, without a process of its own.
    pub(crate) fn token_for(&self, device: &str) -> String {
        let token = tokens::generate().expect("randomness");
        let scope = Scope {
            actions: [Action::Enrol].into(),
            devices: vec![device.to_owned()],
            profiles: ["tls".to_owned()].into(),
            order: None,
        };
        TokenFolder::open(&self.path("home/tokens"))
            .and_then(|folder| folder.add(&token.hash, scope, UnixTime::from_secs(now() + 3600)))
            .expect("kept");
        token.text.to_string()
    }

    /// The hash of a password, by the program.
    pub(crate) fn hash(&self, password: &str) -> String {
        use std::io::Write as _;
        let mut child = program()
            .arg("password")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the program runs");
        let mut input = child.stdin.take().expect("piped");
        input.write_all(password.as_bytes()).expect("sent");
        drop(input);
        let output = child.wait_with_output().expect("it ends");
        Ran(output).succeeded().trim().to_owned()
    }

    /// What the server has logged since it serves.
    pub(crate) fn logged(&self) -> String {
        fs::read_to_string(self.path("home.log")).unwrap_or_default()
    }

    /// Changes the configuration's text.
    pub(crate) fn configure(&self, change: impl FnOnce(String) -> String) {
        let path = self.path("home/authority.toml");
        let text = fs::read_to_string(&path).expect("a configuration");
        fs::write(&path, change(text)).expect("written");
    }

    /// Starts it, and waits until it serves.
    pub(crate) fn serve(&self) -> Server {
        self.serve_from("home", &[])
    }

    /// Starts what lies in a folder, with more in its environment, and waits until it serves.
    pub(crate) fn serve_from(&self, home: &str, environment: &[(&str, &str)]) -> Server {
        let child = program()
            .args(["serve", "--config", &format!("{home}/authority.toml")])
            .envs(environment.iter().copied())
            .current_dir(self.folder.path())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program runs");
        // From here on it is stopped whatever comes.
        let mut server = Server(child);
        let errors = server.0.stderr.take().expect("piped");
        let log = self.path(&format!("{home}.log"));
        let mut lines = BufReader::new(errors).lines();
        let mut seen = String::new();
        for line in lines.by_ref() {
            let line = line.expect("text");
            seen.push_str(&line);
            seen.push('\n');
            if line.contains("\"serving\"") {
                // What it logs goes into a file.
                std::thread::spawn(move || {
                    use std::io::Write as _;
                    let mut file = fs::OpenOptions::new()
                        .create(true)
                        .append(true)
                        .mode(0o600)
                        .open(log)
                        .expect("a log");
                    let _ = file.write_all(seen.as_bytes());
                    for line in lines.map_while(Result::ok) {
                        let _ = writeln!(file, "{line}");
                    }
                });
                return server;
            }
        }
        panic!("it did not start: {seen}");
    }

    /// Asks with curl; the answer's status and body.
    pub(crate) fn curl(&self, path: &str, arguments: &[&str]) -> (u16, Vec<u8>) {
        self.curl_at(self.port, path, arguments)
    }

    /// Asks the server at a port.
    pub(crate) fn curl_at(&self, port: u16, path: &str, arguments: &[&str]) -> (u16, Vec<u8>) {
        let url = format!("https://localhost:{port}{path}");
        let output = Command::new("curl")
            .args([
                "--silent",
                "--show-error",
                "--max-time",
                "60",
                "--cacert",
                "root.pem",
            ])
            .args(["--resolve", &format!("localhost:{port}:127.0.0.1")])
            .args(["--write-out", "\n%{http_code}"])
            .args(arguments)
            .arg(&url)
            .current_dir(self.folder.path())
            .output()
            .expect("curl runs");
        let mut body = output.stdout;
        let cut = body
            .iter()
            .rposition(|byte| *byte == b'\n')
            .expect("a status");
        let status = String::from_utf8_lossy(&body[cut + 1..])
            .parse()
            .expect("a number");
        body.truncate(cut);
        (status, body)
    }

    /// The same, where the answer is JSON.
    pub(crate) fn json(&self, path: &str, arguments: &[&str]) -> (u16, Value) {
        let (status, body) = self.curl(path, arguments);
        let value = serde_json::from_slice(&body).unwrap_or(Value::Null);
        (status, value)
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// A key NAME.key and its request NAME.csr by openssl.
    pub(crate) fn request(&self, name: &str) {
        self.openssl(&[
            "ecparam",
            "-name",
            "prime256v1",
            "-genkey",
            "-noout",
            "-out",
            &format!("{name}.key"),
        ]);
        self.openssl(&[
            "req",
            "-new",
            "-key",
            &format!("{name}.key"),
            "-subj",
            &format!("/serialNumber={name}"),
            "-out",
            &format!("{name}.csr"),
        ]);
    }

    /// A device with a key NAME.key in PKCS#8 and a certificate NAME.pem of this profile; its serial number.
    pub(crate) fn enrol(&self, name: &str, device: &str, profile: &str) -> String {
        let key = format!("{name}.key");
        self.openssl(&[
            "genpkey",
            "-algorithm",
            "EC",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-out",
            &key,
        ]);
        let subject = format!("/serialNumber={device}");
        let csr = format!("{name}.csr");
        self.openssl(&["req", "-new", "-key", &key, "-subj", &subject, "-out", &csr]);
        let token = self.token(&["--device", device, "--profile", profile]);
        let bearer = format!("Authorization: Bearer {token}");
        let body = self.provision_body(name);
        let json = "Content-Type: application/json";
        let sent = ["--header", &bearer, "--header", json, "--data", &body];
        let (status, made) = self.json("/api/v1/devices/provision", &sent);
        assert_eq!(status, 201, "{made}");
        let certificate = made["certificate"].as_str().expect("text");
        fs::write(self.path(&format!("{name}.pem")), certificate).expect("written");
        made["serial"].as_str().expect("text").to_owned()
    }

    /// Writes the registry anew with other records, while the authority does not run.
    pub(crate) fn edit_records(&self, edit: impl Fn(&mut Value)) {
        self.run(&["export", "--config", "home/authority.toml", "edited"])
            .succeeded();
        let path = self.path("edited");
        let text = fs::read_to_string(&path).expect("text");
        let edited: Vec<String> = text
            .lines()
            .map(|line| {
                let mut record: Value = serde_json::from_str(line).expect("JSON");
                edit(&mut record);
                record.to_string()
            })
            .collect();
        fs::write(&path, edited.join("\n")).expect("written");
        for entry in fs::read_dir(self.path("home")).expect("listed") {
            let path = entry.expect("an entry").path();
            let name = path.file_name().and_then(|name| name.to_str());
            if name.is_some_and(|name| name.starts_with("registry.db")) {
                fs::remove_file(path).expect("removed");
            }
        }
        for line in [
            &["import", "--config", "home/authority.toml", "edited"][..],
            &["audit", "catch-up", "--config", "home/authority.toml"],
        ] {
            self.run(line).succeeded();
        }
    }

    /// Runs openssl; its output.
    pub(crate) fn openssl(&self, arguments: &[&str]) -> String {
        let output = Command::new("openssl")
            .args(arguments)
            .current_dir(self.folder.path())
            .output();
        Ran(output.expect("openssl runs")).succeeded()
    }

    /// The body that provisions with NAME.csr.
    pub(crate) fn provision_body(&self, name: &str) -> String {
        let csr = fs::read_to_string(self.path(&format!("{name}.csr"))).expect("a request");
        serde_json::json!({ "csr": csr }).to_string()
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }
}

/// A program that ended.
pub(crate) struct Ran(pub(crate) Output);

impl Ran {
    /// Demands success; its output.
    pub(crate) fn succeeded(self) -> String {
        let errors = String::from_utf8_lossy(&self.0.stderr);
        assert!(self.0.status.success(), "it failed: {errors}");
        String::from_utf8(self.0.stdout).expect("text")
    }

    /// Demands failure; its messages.
    pub(crate) fn failed(self) -> String {
        assert!(!self.0.status.success(), "it succeeded");
        String::from_utf8(self.0.stderr).expect("text")
    }
}
