//! The PKI as files, for tests of programs.

use std::fs;
use std::path::{Path, PathBuf};

use countersign_backend_file::Overwrite;
use der::pem::LineEnding;

use crate::TestPki;

/// Where [`TestPki::write`] put everything. All are PEM but `roots_toml`.
#[derive(Clone, Debug)]
pub struct Files {
    /// The root.
    pub roots_pem: PathBuf,
    /// The root with its revocation lists, as `COUNTERSIGN_ROOTS` takes it.
    pub roots_toml: PathBuf,
    /// The device's certificate and those above it without the root.
    pub chain: PathBuf,
    /// The device's key, unencrypted, mode 0600.
    pub key: PathBuf,
    /// Every revocation list, one after the other.
    pub crls: PathBuf,
    /// Every revocation list in a file of its own, the root's first.
    pub each_crl: Vec<PathBuf>,
}

impl TestPki {
    /// Writes everything into `folder`, which must exist, replacing what an earlier call wrote.
    ///
    /// # Panics
    /// When a file cannot be written.
    #[must_use]
    pub fn write(&self, folder: &Path) -> Files {
        let files = Files {
            roots_pem: folder.join("roots.pem"),
            roots_toml: folder.join("roots.toml"),
            chain: folder.join("device.chain.pem"),
            key: folder.join("device.key.pem"),
            crls: folder.join("crls.pem"),
            each_crl: (0..self.crls().len())
                .map(|number| folder.join(format!("crl-{number}.pem")))
                .collect(),
        };
        put(&files.roots_pem, &pem("CERTIFICATE", self.root()));
        put(
            &files.chain,
            &self
                .chain()
                .iter()
                .map(|der| pem("CERTIFICATE", der))
                .collect::<String>(),
        );
        put(
            &files.crls,
            &self
                .crls()
                .iter()
                .map(|der| pem("X509 CRL", der))
                .collect::<String>(),
        );
        for (path, der) in files.each_crl.iter().zip(self.crls()) {
            put(path, &pem("X509 CRL", der));
        }
        let names: Vec<String> = (0..self.crls().len())
            .map(|number| format!("\"crl-{number}.pem\""))
            .collect();
        put(
            &files.roots_toml,
            &format!(
                "[[root]]\npem = \"roots.pem\"\npurpose = \"components\"\ncrls = [{}]\n",
                names.join(", ")
            ),
        );
        self.stored_device_key()
            .save(&files.key, None, Overwrite::Replace)
            .expect("the key is written");
        files
    }
}

fn pem(label: &str, der: &[u8]) -> String {
    der::pem::encode_string(label, LineEnding::LF, der).expect("PEM encodes")
}

fn put(path: &Path, text: &str) {
    fs::write(path, text).unwrap_or_else(|error| panic!("{} is written: {error}", path.display()));
}
