//! Bundles from servers that cut, change their mind, never end and trickle, and from a registry.

use std::io::Read as _;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;

use super::bundles::{Plant, WHOLE};
use super::*;

/// What a server does with one request.
type Answer = Box<dyn Fn(&str, &mut TcpStream) -> std::io::Result<()> + Send>;

/// A server that gives these answers, one to each request, and then none.
fn serve(answers: Vec<Answer>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("bound");
    std::thread::spawn(move || {
        for answer in answers {
            let Ok((mut stream, _)) = listener.accept() else {
                return;
            };
            let request = head(&mut stream);
            // Whoever asked may have gone, which some of these want.
            let _ = answer(&request, &mut stream);
        }
    });
    address
}

fn head(stream: &mut TcpStream) -> String {
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
        let free = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = free.local_addr().expect("bound");
        drop(free);
        let config = folder.join("registry.yml");
        let root = folder.join("registry");
        fs::write(
            &config,
            format!(
                "version: 0.1\nlog: {{ level: error }}\nstorage: {{ filesystem: {{ rootdirectory: {} }} }}\nhttp: {{ addr: \"{address}\" }}\n",
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
