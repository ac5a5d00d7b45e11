//! Keys of the device that an operator lends to components: opened, with their certificates, by the words of a configuration
//! or a command line.
//!
//! A key that cannot be opened is said to be missing, and why. There is no software key in its place. Whether a key is the
//! one in its certificate is decided by [`DeviceBuilder`].

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, anyhow, bail};
use countersign_format::{BootId, DeviceIdentity, Digest, RuntimeClaim};
use countersign_keys::{Error, ErrorKind, KeyUri, Secret, SigningKey};
use countersign_runtime::host::{
    Device, DeviceBuilder, DeviceError, LentAttestation, LentKey, SigningRecord,
};
use countersign_stores::{SecretFor, Stores};
use countersign_trust_store::{Certificate, CertifiedDevice, Code, pem};

use crate::audit::AuditLog;
use crate::read::{Read, read};

/// The longest file of certificates, in bytes: three of 8 KiB as PEM, and room for what tools write beside them.
const MAX_CHAIN_BYTES: u64 = 128 << 10;
/// The longest file with a passphrase or a PIN, in bytes.
const MAX_SECRET_BYTES: u64 = 4 << 10;

/// A key of the device, as the operator names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeySource {
    /// What components call it.
    pub name: String,
    /// Where it is.
    pub uri: KeyUri,
    /// The file with its certificates, PEM: its own first, without the root.
    pub chain: PathBuf,
    /// The file with its passphrase or its token's PIN.
    pub secret: SecretSource,
}

/// Where the passphrase or PIN of a key is. Nobody is asked, since a host may run where nobody is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretSource {
    /// In this file, alone, in one line.
    File(PathBuf),
    /// Nowhere.
    Unnamed {
        /// How the operator would name a file with it, for the message that says so.
        how: String,
    },
}

/// Why a key is not lent.
#[derive(Debug)]
pub enum NotLent {
    /// The key's store, or this machine, failed.
    Hardware(String),
    /// What the operator wrote, or what it names, cannot be used.
    Misused(anyhow::Error),
}

impl NotLent {
    /// The code of a refusal for this reason; none where the operator is at fault.
    #[must_use]
    pub const fn code(&self) -> Option<Code> {
        match self {
            Self::Hardware(_) => Some(Code::KeyHardware),
            Self::Misused(_) => None,
        }
    }
}

impl fmt::Display for NotLent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hardware(reason) => f.write_str(reason),
            Self::Misused(error) => write!(f, "{error:#}"),
        }
    }
}

impl From<anyhow::Error> for NotLent {
    fn from(error: anyhow::Error) -> Self {
        Self::Misused(error)
    }
}

impl From<DeviceError> for NotLent {
    /// Another key than the certified one shows hardware that was cleared or exchanged.
    fn from(error: DeviceError) -> Self {
        match error {
            DeviceError::KeyMismatch { .. } => Self::Hardware(error.to_string()),
            _ => Self::Misused(error.into()),
        }
    }
}

/// Starts to describe the device that this chain's first certificate names. Every signature and refusal of its keys is
/// appended to `log`.
///
/// # Errors
/// [`NotLent`] if the certificate names no device, or the system has no random numbers for the name of this run.
pub fn device(
    name: &str,
    chain: &[Vec<u8>],
    log: &Arc<AuditLog>,
) -> Result<DeviceBuilder, NotLent> {
    let log = Arc::clone(log);
    let sink =
        move |record: &SigningRecord| log.append(&record.line(countersign_roots::system_time()));
    Ok(Device::builder(identity(name, chain)?, boot()?, sink))
}

impl KeySource {
    /// The certificates, DER.
    ///
    /// # Errors
    /// If the file cannot be read, or holds none.
    pub fn certificates(&self) -> anyhow::Result<Vec<Vec<u8>>> {
        let path = &self.chain;
        match read(path, MAX_CHAIN_BYTES)? {
            Read::Whole(text) => pem::certificates(&text)
                .with_context(|| format!("{} holds no certificates in PEM", path.display())),
            Read::TooLarge { size } => bail!(
                "{} has {size} bytes, too many for three certificates",
                path.display()
            ),
        }
    }

    /// The files whose code runs when it is opened.
    #[must_use]
    pub fn programs(&self) -> Vec<PathBuf> {
        countersign_stores::programs_of(&self.uri)
    }

    /// Opens the key. Blocks while hardware answers.
    ///
    /// # Errors
    /// [`NotLent`].
    pub fn open(&self) -> Result<SigningKey, NotLent> {
        self.stores()
            .open(&self.uri)
            .map_err(|error| self.failure(error))
    }

    /// Opens the key, to be lent with these certificates of it.
    ///
    /// # Errors
    /// [`NotLent`].
    pub fn lent(&self, chain: Vec<Vec<u8>>) -> Result<LentKey, NotLent> {
        Ok(LentKey::new(self.open()?, chain).in_store(self.store()))
    }

    /// How the device answers with this key when it is asked for evidence, its registers `registers` included if it is a
    /// TPM's. Where there is hardware, it answers, or nothing does. `program` is the host, as it calls itself; `how` tells the
    /// operator how registers are named.
    ///
    /// # Errors
    /// [`NotLent`].
    pub fn attestation(
        &self,
        chain: Vec<Vec<u8>>,
        registers: &[u8],
        program: &'static str,
        how: &str,
    ) -> Result<LentAttestation, NotLent> {
        let uri = &self.uri;
        let runtime = runtime_claim(program)?;
        let provider = self
            .stores()
            .of_key(uri)
            .map_err(|error| self.failure(error))?;
        let lent = match uri {
            KeyUri::Tpm(_) if registers.is_empty() => {
                return Err(anyhow!(
                    "the attestation key {uri} is in a TPM: say which registers it is to quote, as in {how}"
                )
                .into());
            }
            KeyUri::Tpm(_) => {
                let mut registers = registers.to_vec();
                registers.sort_unstable();
                registers.dedup();
                LentAttestation::of_boot(provider, uri.clone(), registers, chain, runtime)
            }
            // A store without registers says so now, not when a guest asks.
            _ if !registers.is_empty() => {
                return Err(anyhow!(
                    "registers are quoted by a TPM's attestation key, and {uri} is none; leave out what says {how}"
                )
                .into());
            }
            _ if provider.capabilities().hardware => {
                LentAttestation::of_key(provider, uri.clone(), chain, runtime).ok_or_else(|| {
                    anyhow!("the store of {uri} can vouch for nothing; use a TPM or an ATECC608")
                })?
            }
            _ => {
                let key = provider.open(uri).map_err(|error| self.failure(error))?;
                LentAttestation::in_software(key, chain, runtime)
            }
        };
        Ok(lent.in_store(self.store()))
    }

    /// Which keys are used one after the other: those of one store.
    #[must_use]
    pub fn store(&self) -> String {
        match &self.uri {
            // Of one device, whatever else the URI says.
            KeyUri::Tpm(_) | KeyUri::Atecc608(_) | KeyUri::Pkcs11(_) => {
                self.uri.scheme().to_owned()
            }
            // Each file, and each program, for itself.
            _ => self.uri.to_string(),
        }
    }

    /// The stores, for this key.
    fn stores(&self) -> Stores {
        let (name, source) = (self.name.clone(), self.secret.clone());
        Stores::new(move |wanted| {
            let (what, only_typed) = match wanted {
                SecretFor::Pin { token, tries } => (
                    format!("the PIN of the token {token}"),
                    !tries.allow_stored(),
                ),
                _ => ("the key's passphrase".to_owned(), false),
            };
            match &source {
                // A wrong PIN in a file, and a supervisor that starts us again, would lock the token for good.
                SecretSource::File(_) if only_typed => Err(refused(format!(
                    "{what} was given wrong of late, so the one in the file was not tried; check it with `countersign key show {name}` at a terminal"
                ))),
                SecretSource::File(path) => secret(path).map(Some),
                SecretSource::Unnamed { how } => Err(refused(format!(
                    "{what} is needed; name a file with it: {how}"
                ))),
            }
        })
    }

    fn failure(&self, error: Error) -> NotLent {
        let in_hardware = matches!(
            self.uri,
            KeyUri::Tpm(_) | KeyUri::Atecc608(_) | KeyUri::Pkcs11(_)
        );
        let is_misuse = match error.kind() {
            // Hardware that is gone, was cleared or lets nobody in.
            ErrorKind::NotFound | ErrorKind::Permissions => !in_hardware,
            ErrorKind::Malformed | ErrorKind::Passphrase | ErrorKind::Unsupported => true,
            _ => false,
        };
        let error =
            anyhow::Error::from(error).context(format!("the key {} cannot be lent", self.name));
        if is_misuse {
            NotLent::Misused(error)
        } else {
            NotLent::Hardware(format!("{error:#}"))
        }
    }
}

/// This program, as it describes itself. One that cannot read its own file says nothing of its digest.
fn runtime_claim(program: &'static str) -> anyhow::Result<RuntimeClaim> {
    let file = std::env::current_exe().and_then(std::fs::read).ok();
    let digest = file.map(|bytes| Digest::of(&bytes));
    RuntimeClaim::new(program, env!("CARGO_PKG_VERSION"), digest).map_err(|error| anyhow!(error))
}

/// Which device it is: its first key's certificate says so, and the others must agree.
fn identity(name: &str, chain: &[Vec<u8>]) -> anyhow::Result<DeviceIdentity> {
    let certificate = chain
        .first()
        .map(|leaf| Certificate::parse(leaf))
        .transpose()
        .with_context(|| format!("the certificate of the key {name} cannot be used"))?;
    certificate
        .map(|certificate| certificate.device())
        .transpose()
        .with_context(|| format!("the certificate of the key {name} cannot be used"))?
        .flatten()
        .map(|device| CertifiedDevice::identity(&device).clone())
        .with_context(|| {
            format!(
                "the certificate of the key {name} names no device; ask your authority for one with the profile \
                 guest-data"
            )
        })
}

/// This run of the host, in no other's words.
fn boot() -> Result<BootId, NotLent> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|error| {
        NotLent::Hardware(format!("the system gives no random numbers: {error}"))
    })?;
    Ok(BootId::new(bytes))
}

fn refused(reason: String) -> Error {
    Error::new(ErrorKind::Passphrase, reason)
}

/// The first and only line of a file.
///
/// # Errors
/// If it cannot be read, or holds more than that.
pub fn secret(path: &Path) -> Result<Secret, Error> {
    let mut bytes = match read(path, MAX_SECRET_BYTES) {
        Ok(Read::Whole(bytes)) => bytes,
        Ok(Read::TooLarge { .. }) => {
            return Err(refused(format!(
                "{} is too long for a secret",
                path.display()
            )));
        }
        Err(error) => return Err(refused(format!("{error:#}"))),
    };
    for end in [b'\n', b'\r'] {
        if bytes.last() == Some(&end) {
            bytes.pop();
        }
    }
    let secret = Secret::new(bytes);
    if secret.is_empty() || secret.expose().contains(&b'\n') {
        return Err(refused(format!(
            "{} must hold the passphrase or PIN alone, in one line",
            path.display()
        )));
    }
    Ok(secret)
}
