//! Debian's Mosquitto, started for one test.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use countersign_keys::Algorithm;
use countersign_testing::{TestPki, free_port};

/// How long a broker may take to start; it takes some hundredths of a second.
const START: Duration = Duration::from_secs(120);

/// A broker that asks every client for a certificate of this PKI. It ends when it is dropped.
pub(crate) struct Broker {
    process: Child,
    folder: tempfile::TempDir,
    address: SocketAddr,
}

impl Broker {
    /// A broker whose key is the PKI's device's and `own` the chain for it; `lists` are revocation lists in DER.
    pub(crate) fn start(pki: &TestPki, own: &crate::pki::Certified, lists: &[Vec<u8>]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let files = pki.write(folder.path());
        let pem = |label: &str, all: &[Vec<u8>]| -> String {
            all.iter().map(|der| to_pem(label, der)).collect()
        };
        let path = |name: &str| folder.path().join(name);
        fs::write(path("broker.pem"), pem("CERTIFICATE", &own.chain)).expect("a file");
        fs::write(path("lists.pem"), pem("X509 CRL", lists)).expect("a file");
        // Each device may write below its own name, which is its certificate's, and nowhere else.
        fs::write(path("acl"), "pattern readwrite devices/%u/#\n").expect("a file");
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
        let configuration = format!(
            "listener {port} 127.0.0.1\n\
             cafile {root}\ncertfile {own}\nkeyfile {key}\ncrlfile {lists}\n\
             require_certificate true\nuse_identity_as_username true\ntls_version tlsv1.3\n\
             allow_anonymous false\nacl_file {acl}\npersistence false\nlog_dest file {log}\nuser root\n",
            port = address.port(),
            root = files.roots_pem.display(),
            own = path("broker.pem").display(),
            key = files.key.display(),
            lists = path("lists.pem").display(),
            acl = path("acl").display(),
            log = path("log").display(),
        );
        fs::write(path("mosquitto.conf"), configuration).expect("a file");
        let process = Command::new(mosquitto())
            .arg("-c")
            .arg(path("mosquitto.conf"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("mosquitto starts; `cargo xtask test` installs it");
        let mut broker = Self {
            process,
            folder,
            address,
        };
        match broker.is_there() {
            true => broker,
            // Another test's broker was faster at this port.
            false => Self::start(pki, own, lists),
        }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// What the broker wrote so far.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// Waits until it says itself that it serves: at its port there may be another. False when its port was taken.
    fn is_there(&mut self) -> bool {
        let started = Instant::now();
        while !self.log().contains(" running") || TcpStream::connect(self.address).is_err() {
            let ended = self.process.try_wait().expect("its status");
            if ended.is_some() && self.log().contains("Address already in use") {
                return false;
            }
            assert!(
                ended.is_none() && started.elapsed() < START,
                "mosquitto does not start: {ended:?} {}",
                self.log()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
        true
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A PKI whose device has its key in a file, as a broker needs it.
pub(crate) fn pki() -> TestPki {
    TestPki::builder()
        .algorithm(Algorithm::Esp256)
        .profile(countersign_testing::Profile::Tls)
        .build()
}

fn mosquitto() -> &'static Path {
    // Debian puts it where only an administrator's PATH leads.
    let debian = Path::new("/usr/sbin/mosquitto");
    if debian.exists() {
        debian
    } else {
        Path::new("mosquitto")
    }
}

fn to_pem(label: &str, der: &[u8]) -> String {
    der::pem::encode_string(label, der::pem::LineEnding::LF, der).expect("PEM")
}
