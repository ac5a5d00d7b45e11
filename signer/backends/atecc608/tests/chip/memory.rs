//! Where a private key is: in the chip, and in no process that signs with it.
//!
//! The model tells a slot's number to tests, over no bus. It lives in this process. Another one signs over the bus, as a
//! program does with `/dev/i2c-1`, and its memory is searched.

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use countersign_atecc608_emulator::{Clock, Emulator, Factory, shim, socket};
use countersign_backend_atecc608::Atecc608Provider;
use countersign_keys::{Algorithm, KeyProvider as _, KeyTemplate};
use countersign_testing::memory::hits;
use p256::ecdsa::SigningKey;
use p256::ecdsa::signature::Signer as _;

use crate::bench::uri;

/// Tells the process that is searched how it signs: `chip`, or the number in hexadecimal.
const ROLE: &str = "COUNTERSIGN_SEARCHED";

#[test]
fn a_process_that_signs_with_a_chips_key_never_has_it_in_memory() {
    let chip = Emulator::with_clock(Factory::provisioned(0).unpredictable(), Clock::real());
    let folder = tempfile::tempdir().expect("a temporary folder");
    let bus = folder.path().join("bus");
    socket::serve(&chip, &bus).expect("a folder takes a socket");
    let library = shim::build(folder.path()).expect("a C compiler");

    let signer = Searched::start(
        "chip",
        &[
            ("LD_PRELOAD", library.as_path()),
            (shim::SOCKET_VARIABLE, bus.as_path()),
        ],
    );
    // The key was made by that process's command, in the chip.
    let scalar = chip.private_key(0).expect("a key in the slot");
    assert_eq!(hits(signer.0.id(), &scalar), Vec::<String>::new());

    let software = Searched::start(&hex::encode(scalar), &[]);
    // Its environment holds the digits; the number itself must be found as well.
    assert!(
        hits(software.0.id(), &scalar)
            .iter()
            .any(|hit| !hit.contains("hexadecimal")),
        "the search misses a key in software"
    );
}

/// A process of this program that signs, and then waits.
struct Searched(Child);

impl Searched {
    fn start(role: &str, environment: &[(&str, &Path)]) -> Self {
        let mut child = Command::new(std::env::current_exe().expect("this program"))
            .args([
                "--exact",
                "memory::the_process_that_is_searched",
                "--nocapture",
            ])
            .env(ROLE, role)
            .envs(environment.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("it starts");
        let output = child.stdout.take().expect("a pipe");
        let ready = BufReader::new(output)
            .lines()
            .map_while(Result::ok)
            .any(|line| line.contains("signed 20 times"));
        let child = Self(child);
        assert!(ready, "it did not sign");
        child
    }
}

impl Drop for Searched {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Does nothing unless it is started by the test above.
#[test]
fn the_process_that_is_searched() {
    let Ok(role) = std::env::var(ROLE) else {
        return;
    };
    if role == "chip" {
        let store = Atecc608Provider::open_bus(Path::new("/dev/i2c-1"), 0x60).expect("the chip");
        store
            .generate(&uri(0), &KeyTemplate::signing(Algorithm::Esp256))
            .expect("a key");
        let key = store.open(&uri(0)).expect("it opens");
        for n in 0..20 {
            key.sign(&[n]).expect("it signs");
        }
        wait();
    } else {
        let bytes = hex::decode(role).expect("a number");
        let key = SigningKey::from_slice(&bytes).expect("a key");
        for n in 0..20 {
            let _: p256::ecdsa::Signature = key.sign(&[n]);
        }
        wait();
        drop(key);
    }
}

fn wait() {
    println!("signed 20 times");
    let _ = std::io::stdin().read(&mut [0]);
}
