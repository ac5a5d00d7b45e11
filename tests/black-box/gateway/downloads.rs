//! Bundles from servers that cut, change their mind, never end and trickle, and from a registry.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;

use std::os::unix::fs::PermissionsExt as _;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::bundles::{Plant, WHOLE};
use super::*;
use crate::device::{Device, Store};

/// What a server does with one request.
type Answer = Box<dyn Fn(&str, &mut dyn Stream) -> std::io::Result<()> + Send>;

/// A connection, with TLS or without.
trait Stream: Read + Write {}
impl<S: Read + Write> Stream for S {}

/// A server that gives these answers, one to each request, and then none.
fn serve(answers: Vec<Answer>) -> SocketAddr {
    serve_over(answers, |stream| Box::new(stream))
}

fn serve_over(
    answers: Vec<Answer>,
    dress: impl Fn(TcpStream) -> Box<dyn Stream> + Send + 'static,
) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("bound");
    std::thread::spawn(move || {
        for answer in answers {
            let Ok((stream, _)) = listener.accept() else {
                return;
            };
            let mut stream = dress(stream);
            let request = head(&mut *stream);
            // Whoever asked may have gone, which some of these want.
            let _ = answer(&request, &mut *stream);
            let _ = stream.flush();
        }
    });
    address
}

fn head(stream: &mut dyn Stream) -> String {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|count| count == 1) {
        head.push(byte[0]);
    }
    String::from_utf8(head).expect("text").to_lowercase()
}

/// The first bytes of a file, said to be all of it.
fn cut(file: &Arc<Vec<u8>>, at: usize, tag: &'static str) -> Answer {
    let file = Arc::clone(file);
    Box::new(move |request, stream| {
        assert!(!request.contains("range:"), "{request}");
        write!(
            stream,
            "HTTP/1.1 200 OK\r\nETag: {tag}\r\nContent-Length: {}\r\n\r\n",
            file.len()
        )?;
        stream.write_all(&file[..at])
    })
}

/// The rest of a file, to who asks for it.
fn rest(file: &Arc<Vec<u8>>, from: usize, tag: &'static str) -> Answer {
    let file = Arc::clone(file);
    Box::new(move |request, stream| {
        let asked = request.contains(&format!("range: bytes={from}-\r\n"))
            && request.contains("if-range: \"a\"\r\n");
        assert!(asked, "{request}");
        write!(
            stream,
            "HTTP/1.1 206 Partial Content\r\nETag: {tag}\r\nContent-Range: bytes {from}-{}/{}\r\nContent-Length: {}\r\n\r\n",
            file.len() - 1,
            file.len(),
            file.len() - from
        )?;
        stream.write_all(&file[from..])
    })
}

fn whole(file: &Arc<Vec<u8>>, tag: &'static str) -> Answer {
    let file = Arc::clone(file);
    Box::new(move |_, stream| {
        write!(
            stream,
            "HTTP/1.1 200 OK\r\nETag: {tag}\r\nContent-Length: {}\r\n\r\n",
            file.len()
        )?;
        stream.write_all(&file)
    })
}

impl Plant {
    /// Has the gateway believe a server, and more under `[bundles.download]`.
    fn trust(&self, server: &Device, more: &str) {
        let text = fs::read_to_string(self.bench.path("gateway.toml")).expect("a configuration");
        let roots = server.path("pki/root.pem");
        self.bench
            .configure_with(&format!("{text}roots = {roots:?}\n{more}"));
    }

    fn made(&self, number: u64) -> Arc<Vec<u8>> {
        let path = self.bundle(self.plan(number, WHOLE));
        Arc::new(fs::read(path).expect("a bundle"))
    }

    fn apply_served(&self, answers: Vec<Answer>) -> Ran {
        let url = format!("http://{}/plant.bundle", serve(answers));
        self.bench.ran("apply", &[&url, "--json"])
    }

    /// What is kept of downloads.
    fn kept(&self) -> usize {
        let folder = self.bench.path("state/bundles/incoming");
        fs::read_dir(folder).map_or(0, |entries| entries.count())
    }
}

#[test]
fn th11_a_download_is_taken_up_where_it_was_cut_and_never_from_another_file() {
    let plant = Plant::new();
    plant.sign("pump", "endless-loop", 3);
    plant.say(&["pump"]);
    let gateway = plant.bench.start();

    let one = plant.made(1);
    let half = one.len() / 2;
    let ran = plant.apply_served(vec![cut(&one, half, "\"a\""), rest(&one, half, "\"a\"")]);
    assert_eq!(ran.status, 0, "{ran:?}");
    assert_eq!(
        (plant.version("pump"), plant.kept()),
        ("3.0.0".to_owned(), 0)
    );

    // Another file by then: as a whole, or with another tag, after which it is asked for anew.
    plant.sign("pump", "endless-loop", 4);
    let two = plant.made(2);
    let ran = plant.apply_served(vec![cut(&one, half, "\"a\""), whole(&two, "\"b\"")]);
    assert_eq!(ran.status, 0, "{ran:?}");
    plant.sign("pump", "endless-loop", 5);
    let three = plant.made(3);
    let ran = plant.apply_served(vec![
        cut(&two, half, "\"a\""),
        rest(&three, half, "\"b\""),
        whole(&three, "\"b\""),
    ]);
    assert_eq!(ran.status, 0, "{ran:?}");
    assert_eq!(plant.version("pump"), "5.0.0");

    // Other bytes under the same tag: no bundle is made of two.
    plant.sign("pump", "endless-loop", 6);
    let four = plant.made(4);
    let ran = plant.apply_served(vec![cut(&four, half, "\"a\""), rest(&three, half, "\"a\"")]);
    assert_eq!(
        ran.status,
        i32::from(Code::PartMismatch.exit_status()),
        "{ran:?}"
    );
    assert_eq!(
        (plant.version("pump"), plant.kept()),
        ("5.0.0".to_owned(), 0)
    );
    assert_eq!(gateway.stop(), 0);
}

#[test]
fn th11_a_server_that_never_ends_trickles_or_has_nothing_is_given_up() {
    let plant = Plant::new();
    let refused = |answers, why: &str| {
        let ran = plant.apply_served(answers);
        assert_eq!(
            ran.status,
            i32::from(Code::Download.exit_status()),
            "{ran:?}"
        );
        assert!(ran.stderr.contains(why), "{why}: {ran:?}");
    };
    // No gateway needs to run for it: nothing is handed over.
    let endless: Answer = Box::new(|_, stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n")?;
        loop {
            stream.write_all(&[0; 65_536])?;
        }
    });
    refused(vec![endless], "the most that is taken");
    let claimed: Answer = Box::new(|_, stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n")
    });
    refused(vec![claimed], "the most that is taken");
    let trickle = || -> Answer {
        Box::new(|_, stream| {
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")?;
            loop {
                stream.write_all(b"x")?;
                std::thread::sleep(Duration::from_millis(100));
            }
        })
    };
    let silent = || -> Answer {
        Box::new(|_, stream| {
            // Until it is given up.
            stream.read(&mut [0]).map(|_| ())
        })
    };
    refused(
        vec![silent(), trickle(), trickle()],
        "a second are expected",
    );
    let missing: Answer = Box::new(|_, stream| stream.write_all(b"HTTP/1.1 404 Not Found\r\n\r\n"));
    refused(vec![missing], "404");
    let begun = Instant::now();
    // Roots that the operator did not name are none.
    let ran = plant.bench.ran("apply", &["https://127.0.0.1:9/x"]);
    assert_eq!(
        ran.status,
        i32::from(Code::Download.exit_status()),
        "{ran:?}"
    );
    assert!(begun.elapsed() < PATIENCE);
}

/// A server's key, certified for `localhost`.
fn server() -> Device {
    Device::with_key_by(Store::file(), &["--profile", "tls", "--dns", "localhost"])
}

/// Serves over TLS with this key.
fn over_tls(server: &Device) -> impl Fn(TcpStream) -> Box<dyn Stream> + Send + 'static {
    let chain = CertificateDer::pem_file_iter(server.path("telemetry.chain.pem"));
    let chain = chain.and_then(Iterator::collect).expect("certificates");
    let key = PrivateKeyDer::from_pem_file(server.path("telemetry.key.pem")).expect("a key");
    let config = rustls::ServerConfig::builder_with_provider(Arc::new(
        rustls::crypto::ring::default_provider(),
    ))
    .with_safe_default_protocol_versions()
    .expect("ring has them")
    .with_no_client_auth()
    .with_single_cert(chain, key)
    .expect("the key's");
    let config = Arc::new(config);
    move |stream| {
        let connection = rustls::ServerConnection::new(Arc::clone(&config)).expect("sound");
        Box::new(rustls::StreamOwned::new(connection, stream))
    }
}

#[test]
fn th11_over_tls_too_it_is_taken_up_where_it_was_cut_and_from_no_stranger() {
    let (plant, ours) = (Plant::new(), server());
    plant.trust(&ours, "");
    plant.sign("pump", "endless-loop", 3);
    plant.say(&["pump"]);
    let gateway = plant.bench.start();
    let one = plant.made(1);
    let half = one.len() / 2;
    let answers = || vec![cut(&one, half, "\"a\""), rest(&one, half, "\"a\"")];
    let apply = |server: &Device| {
        let address = serve_over(answers(), over_tls(server));
        let url = format!("https://localhost:{}/plant.bundle", address.port());
        plant.bench.ran("apply", &[&url])
    };
    // One whose certificate is of other roots is asked for nothing.
    let ran = apply(&server());
    let refused = i32::from(Code::Download.exit_status());
    assert_eq!(ran.status, refused, "{ran:?}");
    let ran = apply(&ours);
    assert_eq!(ran.status, 0, "{ran:?}");
    assert_eq!(
        (plant.version("pump"), plant.kept()),
        ("3.0.0".to_owned(), 0)
    );
    assert_eq!(gateway.stop(), 0);
}

/// Debian's registry, on a port of its own.
struct Registry {
    process: Child,
    address: SocketAddr,
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Registry {
    fn start(folder: &Path) -> Self {
        Self::start_with(folder, "", "")
    }

    /// The same with more of a configuration: under `http`, and beside it.
    fn start_with(folder: &Path, http: &str, more: &str) -> Self {
        let address = crate::http::free();
        let config = folder.join("registry.yml");
        let root = folder.join("registry");
        fs::write(
            &config,
            format!(
                "version: 0.1\nlog: {{ level: error }}\nstorage: {{ filesystem: {{ rootdirectory: {} }} }}\nhttp: {{ addr: \"{address}\"{http} }}\n{more}",
                root.display()
            ),
        )
        .expect("our own folder");
        let process = Command::new("docker-registry")
            .arg("serve")
            .arg(config)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("docker-registry is installed");
        let registry = Self { process, address };
        let until = Instant::now() + PATIENCE;
        while TcpStream::connect(address).is_err() {
            assert!(Instant::now() < until, "the registry does not answer");
            std::thread::sleep(Duration::from_millis(20));
        }
        registry
    }

    /// What the registry answers: its head.
    fn ask(&self, method: &str, path: &str, kind: &str, body: &[u8]) -> String {
        let mut stream = TcpStream::connect(self.address).expect("it listens");
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\r\n",
            self.address,
            body.len()
        )
        .expect("sent");
        stream.write_all(body).expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        answer
    }

    fn put_blob(&self, bytes: &[u8]) -> String {
        let begun = self.ask("POST", "/v2/plant/pump/blobs/uploads/", "text/plain", b"");
        let location = begun
            .lines()
            .find_map(|line| line.strip_prefix("Location: "))
            .unwrap_or_else(|| panic!("{begun}"));
        let path = location
            .split_once(&self.address.to_string())
            .map_or(location, |(_, path)| path);
        let digest = format!("sha256:{}", countersign_format::Digest::of(bytes));
        let path = format!("{}&digest={digest}", path.trim());
        let put = self.ask("PUT", &path, "application/octet-stream", bytes);
        assert!(put.starts_with("HTTP/1.1 201"), "{put}");
        digest
    }

    /// Pushes a file as an artefact of this type, under a tag: the digest of its manifest.
    fn push(&self, bytes: &[u8], kind: &str, tag: &str) -> String {
        let empty = self.put_blob(b"{}");
        let digest = self.put_blob(bytes);
        let manifest = serde_json::json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "artifactType": "application/vnd.countersign.bundle",
            "config": { "mediaType": "application/vnd.oci.empty.v1+json", "digest": empty, "size": 2 },
            "layers": [{ "mediaType": kind, "digest": digest, "size": bytes.len() }],
        })
        .to_string();
        let path = format!("/v2/plant/pump/manifests/{tag}");
        let kind = "application/vnd.oci.image.manifest.v1+json";
        let put = self.ask("PUT", &path, kind, manifest.as_bytes());
        assert!(put.starts_with("HTTP/1.1 201"), "{put}");
        format!(
            "sha256:{}",
            countersign_format::Digest::of(manifest.as_bytes())
        )
    }
}

#[test]
fn a_bundle_is_pulled_from_a_registry_by_tag_and_by_digest() {
    let plant = Plant::new();
    plant.sign("pump", "endless-loop", 3);
    plant.say(&["pump"]);
    let registry = Registry::start(plant.bench.folder.path());
    let kind = "application/vnd.countersign.bundle";
    registry.push(&plant.made(1), kind, "v1");
    registry.push(b"a picture", "image/png", "picture");
    let gateway = plant.bench.start();
    let apply = |reference: &str| {
        let source = format!("oci+http://{}/plant/pump{reference}", registry.address);
        plant.bench.ran("apply", &[&source])
    };
    let ran = apply(":v1");
    assert_eq!(ran.status, 0, "{ran:?}");
    assert_eq!(plant.version("pump"), "3.0.0");
    plant.sign("pump", "endless-loop", 4);
    let pinned = registry.push(&plant.made(2), kind, "v2");
    let ran = apply(&format!("@{pinned}"));
    assert_eq!(ran.status, 0, "{ran:?}");
    assert_eq!(plant.version("pump"), "4.0.0");
    for (reference, why) in [
        (":picture", "image/png"),
        (":none", "404"),
        (&*format!("@sha256:{}", "0".repeat(64)), "404"),
    ] {
        let ran = apply(reference);
        assert_eq!(
            ran.status,
            i32::from(Code::Download.exit_status()),
            "{ran:?}"
        );
        assert!(ran.stderr.contains(why), "{ran:?}");
    }
    assert_eq!(gateway.stop(), 0);
}

/// The name `plant` with the password `open sesame`, as htpasswd(1) writes it (bcrypt).
const PASSWORDS: &str = "plant:$2y$05$abcdefghijklmnopqrstuupx2xBUC4954936wVIjyyPHmUBFu0wCW\n";

#[test]
fn th19_a_registrys_password_comes_from_a_file_of_ones_own_and_goes_over_tls_alone() {
    let (plant, server) = (Plant::new(), server());
    plant.sign("pump", "endless-loop", 3);
    plant.say(&["pump"]);
    let folder = plant.bench.folder.path();
    // Filled before it wants a password.
    let kind = "application/vnd.countersign.bundle";
    Registry::start(folder).push(&plant.made(1), kind, "v1");
    let passwords = plant.bench.path("htpasswd");
    fs::write(&passwords, PASSWORDS).expect("our own folder");
    let auth = format!("auth: {{ htpasswd: {{ realm: plant, path: {passwords:?} }} }}\n");
    let tls = format!(
        ", tls: {{ certificate: {:?}, key: {:?} }}",
        server.path("telemetry.chain.pem"),
        server.path("telemetry.key.pem")
    );
    let registry = Registry::start_with(folder, &tls, &auth);
    let host = format!("localhost:{}", registry.address.port());
    let logins = plant.bench.path("registries.toml");
    let login = |host: &str, password: &str, mode| {
        let text =
            format!("[[registry]]\nhost = {host:?}\nname = \"plant\"\npassword = {password:?}\n");
        fs::write(&logins, text).expect("our own folder");
        fs::set_permissions(&logins, fs::Permissions::from_mode(mode)).expect("our own file");
    };
    plant.trust(&server, "registries = \"registries.toml\"\n");
    let gateway = plant.bench.start();
    let apply = |scheme: &str, host: &str| {
        let source = format!("{scheme}://{host}/plant/pump:v1");
        plant.bench.ran("apply", &[&source])
    };
    let refused = |ran: Ran, why: &str| {
        let status = i32::from(Code::Download.exit_status());
        assert_eq!(ran.status, status, "{ran:?}");
        assert!(ran.stderr.contains(why), "{why}: {ran:?}");
        assert!(!ran.stderr.contains("sesame"), "{ran:?}");
    };
    login("elsewhere.example", "open sesame", 0o600);
    refused(apply("oci", &host), "wants a name and a password");
    login(&host, "open sesame", 0o644);
    refused(apply("oci", &host), "others than its owner");
    login(&host, "another", 0o600);
    refused(apply("oci", &host), "401");
    login(&host, "open sesame", 0o600);
    let ran = apply("oci", &host);
    assert_eq!(ran.status, 0, "{ran:?}");
    assert_eq!(plant.version("pump"), "3.0.0");
    drop(registry);
    let plain = Registry::start_with(folder, "", &auth);
    let host = format!("localhost:{}", plain.address.port());
    login(&host, "open sesame", 0o600);
    refused(apply("oci+http", &host), "over TLS alone");
    assert_eq!(gateway.stop(), 0);
}

#[test]
fn th19_a_registrys_password_goes_to_no_host_to_which_the_registry_leads() {
    let (plant, server) = (Plant::new(), server());
    plant.say(&["pump"]);
    plant.trust(&server, "registries = \"registries.toml\"\n");
    // The other host says that tokens are to be had from itself, and gives one.
    let (tell, told) = std::sync::mpsc::channel();
    let other = || -> Answer {
        let tell = tell.clone();
        Box::new(move |request, stream| {
            let host = request.lines().find_map(|line| line.strip_prefix("host: "));
            let realm = format!("https://{}/token", host.expect("every request has it"));
            tell.send(request.to_owned()).expect("it is read");
            let (status, body) = match request.starts_with("get /token") {
                true => ("200 OK", "{\"token\":\"x\"}"),
                false => ("401 Unauthorized", ""),
            };
            write!(
                stream,
                "HTTP/1.1 {status}\r\nWWW-Authenticate: Bearer realm=\"{realm}\"\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
                body.len()
            )
        })
    };
    let other = serve_over(vec![other(), other(), other()], over_tls(&server));
    let leads = || -> Answer {
        Box::new(move |_, stream| {
            write!(
                stream,
                "HTTP/1.1 307 Temporary Redirect\r\nLocation: https://localhost:{}/elsewhere\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
                other.port()
            )
        })
    };
    let registry = serve_over(vec![leads(), leads()], over_tls(&server));
    let host = format!("localhost:{}", registry.port());
    let logins = plant.bench.path("registries.toml");
    let text =
        format!("[[registry]]\nhost = {host:?}\nname = \"plant\"\npassword = \"open sesame\"\n");
    fs::write(&logins, text).expect("our own folder");
    fs::set_permissions(&logins, fs::Permissions::from_mode(0o600)).expect("our own file");
    let ran = plant
        .bench
        .ran("apply", &[&format!("oci://{host}/plant/pump:v1")]);
    assert_eq!(
        ran.status,
        i32::from(Code::Download.exit_status()),
        "{ran:?}"
    );
    let told: Vec<String> = told.try_iter().collect();
    // It asked there for the artefact, for a token as nobody, and once more with that.
    let asked: Vec<_> = told.iter().filter_map(|told| told.lines().next()).collect();
    assert_eq!(
        asked,
        [
            "get /elsewhere http/1.1",
            "get /token http/1.1",
            "get /elsewhere http/1.1"
        ]
    );
    assert!(told.iter().all(|told| !told.contains("basic")), "{told:?}");
}
