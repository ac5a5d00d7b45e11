//! A throw-away PKI made by OpenSSL, so that what signs here is certified by code that is not ours.

use countersign_backend_file::{FileKey, SystemRandom};
use countersign_keys::{Algorithm, SigningKey};
use countersign_signer::request::{self, RequestFields, Subject};
use countersign_signer::{CertifiedKey, Chain, Manifest};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

pub(crate) fn openssl(arguments: &[&str]) -> Vec<u8> {
    let output = Command::new("openssl")
        .args(arguments)
        .output()
        .expect("openssl is needed for this test");
    assert!(
        output.status.success(),
        "openssl {arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    output.stdout
}

pub(crate) fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

pub(crate) fn generate(algorithm: Algorithm) -> SigningKey {
    FileKey::generate(algorithm, &mut SystemRandom)
        .unwrap()
        .into()
}

/// A root of OpenSSL's in a folder, and certificates from it.
pub(crate) struct Pki {
    pub(crate) folder: tempfile::TempDir,
}

impl Pki {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (key, certificate) = (
            folder.path().join("root.key"),
            folder.path().join("root.pem"),
        );
        openssl(&[
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-subj",
            "/CN=Root",
            "-days",
            "2",
            "-keyout",
            text(&key),
            "-out",
            text(&certificate),
        ]);
        Self { folder }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, contents: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, contents).unwrap();
        path
    }

    /// The PEM of a certificate for `key`, from a request that we make.
    pub(crate) fn certify(&self, key: &SigningKey, name: &str) -> String {
        let subject = Subject {
            common_name: Some(name.to_owned()),
            ..Subject::default()
        };
        let der = request::certification_request(
            key,
            &RequestFields {
                subject,
                ..RequestFields::default()
            },
        )
        .unwrap();
        let request = self.write(&format!("{name}.csr"), request::to_pem(&der).unwrap());
        let pem = openssl(&[
            "x509",
            "-req",
            "-in",
            text(&request),
            "-CA",
            text(&self.path("root.pem")),
            "-CAkey",
            text(&self.path("root.key")),
            "-days",
            "1",
            "-set_serial",
            "17",
        ]);
        String::from_utf8(pem).unwrap()
    }

    pub(crate) fn signer(&self, algorithm: Algorithm, name: &str) -> CertifiedKey {
        let key = generate(algorithm);
        let chain = Chain::from_pem(self.certify(&key, name).as_bytes()).unwrap();
        CertifiedKey::new(key, chain).unwrap()
    }
}

pub(crate) fn manifest() -> Manifest {
    Manifest::from_component_toml(
        "name = \"acme:valve\"\nversion = \"1.0.0\"\n[grants]\nstdio = [\"stdout\"]\n",
    )
    .unwrap()
}

/// A component: the preamble and one custom section of `size` bytes of payload.
pub(crate) fn component(size: usize) -> Vec<u8> {
    let mut bytes = vec![0, b'a', b's', b'm', 0x0d, 0, 1, 0];
    bytes.push(0);
    let mut length = size + 5;
    loop {
        let low = u8::try_from(length & 0x7f).unwrap();
        length >>= 7;
        if length == 0 {
            bytes.push(low);
            break;
        }
        bytes.push(low | 0x80);
    }
    bytes.extend_from_slice(b"\x04data");
    bytes.extend((0..size).map(|i| u8::try_from(i % 251).unwrap()));
    bytes
}

/// What lies in a folder, to see that nothing was left behind.
pub(crate) fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}
