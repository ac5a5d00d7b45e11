//! The device whose keys the operator lends: opens them and says what each component may do with them at most.
//!
//! A key that cannot be opened, or that is not the one in its certificate, ends the run before the component starts.
//! There is no software key in its place.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, anyhow, bail};
use countersign_backend_file::FileProvider;
use countersign_format::BootId;
use countersign_keys::{ErrorKind, KeyProvider as _, KeyUri, SigningKey};
use countersign_runtime::Ceiling;
use countersign_runtime::host::{Device, KeyCeiling, LentKey};
use countersign_trust_store::{Certificate, CertifiedDevice, pem};

use crate::args::{Named, Run};
use crate::audit::AuditLog;
use crate::read::{Read, read};

/// The longest file of certificates: three of 8 KiB as PEM, and room for what tools write beside them.
const MAX_CHAIN_BYTES: u64 = 128 << 10;

/// Why a key is not lent.
#[derive(Debug)]
pub(crate) enum NotLent {
    /// The key's store, or this machine, failed.
    Hardware(String),
    /// The options, or what they name, cannot be used.
    Misused(anyhow::Error),
}

impl From<anyhow::Error> for NotLent {
    fn from(error: anyhow::Error) -> Self {
        Self::Misused(error)
    }
}

/// The ceiling with the device whose keys `run` names, if it names any.
pub(crate) fn lend(
    run: &Run,
    log: &Arc<AuditLog>,
    mut ceiling: Ceiling,
) -> Result<Ceiling, NotLent> {
    check_names(run)?;
    let mut builder = None;
    for Named { name, value: uri } in &run.device_keys {
        let chain = chain(run, name)?;
        let key = open(uri).map_err(|error| failure(name, error))?;
        let building = match builder.take() {
            Some(building) => building,
            None => {
                let log = Arc::clone(log);
                Device::builder(identity(name, &chain)?, boot()?)
                    .audit(move |record| log.append(&record.line(countersign_roots::system_time())))
            }
        };
        let lent = LentKey::new(key, chain).in_store(store(uri));
        builder = Some(building.key(name, lent).map_err(|error| anyhow!(error))?);
        ceiling = ceiling.key(name, bounds(run, name));
    }
    match builder {
        Some(builder) => {
            let device = builder
                .build()
                .context("the thread for the device's keys cannot be started")?;
            Ok(ceiling.device(device))
        }
        None => Ok(ceiling),
    }
}

/// Every option names a key that is lent, and each key is named once and has its certificates.
fn check_names(run: &Run) -> anyhow::Result<()> {
    let is_lent = |name: &String| run.device_keys.iter().any(|key| key.name == *name);
    let about = [
        ("--device-chain", names(&run.device_chains)),
        ("--device-rate", names(&run.device_rates)),
        ("--device-context", names(&run.device_contexts)),
    ];
    for (option, names) in about {
        if let Some(name) = names.into_iter().find(|name| !is_lent(name)) {
            bail!(
                "{option} names {name}, but no --device-key {name}=KEY-URI lends a key of this name"
            );
        }
    }
    for key in &run.device_keys {
        let Named { name, value } = key;
        let of = |other: &&Named<_>| other.name == *name;
        if run.device_keys.iter().filter(of).count() > 1 {
            bail!("--device-key names {name} twice; give each key a name of its own");
        }
        match run
            .device_chains
            .iter()
            .filter(|chain| chain.name == *name)
            .count()
        {
            1 => {}
            0 => bail!(
                "the key {name} ({value}) has no certificates; name the file that your authority gave you: \
                 --device-chain {name}=FILE"
            ),
            _ => bail!("--device-chain names {name} twice; a key has one chain, in one file"),
        }
        if run
            .device_rates
            .iter()
            .filter(|rate| rate.name == *name)
            .count()
            > 1
        {
            bail!("--device-rate names {name} twice");
        }
    }
    Ok(())
}

fn names<T>(options: &[Named<T>]) -> Vec<&String> {
    options.iter().map(|option| &option.name).collect()
}

fn bounds(run: &Run, name: &str) -> KeyCeiling {
    let mut bounds = KeyCeiling::default();
    if let Some(rate) = run.device_rates.iter().find(|rate| rate.name == name) {
        bounds = bounds.per_minute(rate.value);
    }
    let contexts: Vec<_> = run
        .device_contexts
        .iter()
        .filter(|context| context.name == name)
        .map(|context| context.value.clone())
        .collect();
    if contexts.is_empty() {
        bounds
    } else {
        bounds.contexts(contexts)
    }
}

/// The certificates of a key, DER.
fn chain(run: &Run, name: &str) -> anyhow::Result<Vec<Vec<u8>>> {
    let path: &Path = run
        .device_chains
        .iter()
        .find(|chain| chain.name == name)
        .map(|chain| chain.value.as_path())
        .with_context(|| format!("the key {name} has no certificates"))?;
    match read(path, MAX_CHAIN_BYTES)? {
        Read::Whole(text) => pem::certificates(&text)
            .with_context(|| format!("{} holds no certificates in PEM", path.display())),
        Read::TooLarge { size } => bail!(
            "{} has {size} bytes, too many for three certificates",
            path.display()
        ),
    }
}

/// Which device it is: its first key's certificate says so, and the others must agree.
fn identity(name: &str, chain: &[Vec<u8>]) -> anyhow::Result<countersign_format::DeviceIdentity> {
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

fn open(uri: &KeyUri) -> Result<SigningKey, countersign_keys::Error> {
    FileProvider::unencrypted().open(uri)
}

/// Which keys are used one after the other: those of one store.
fn store(uri: &KeyUri) -> String {
    match uri {
        // Of one device, whatever else the URI says.
        KeyUri::Tpm(_) | KeyUri::Atecc608(_) | KeyUri::Pkcs11(_) => uri.scheme().to_owned(),
        // Each file, and each program, for itself.
        _ => uri.to_string(),
    }
}

fn failure(name: &str, error: countersign_keys::Error) -> NotLent {
    let is_misuse = matches!(
        error.kind(),
        ErrorKind::Malformed
            | ErrorKind::NotFound
            | ErrorKind::Passphrase
            | ErrorKind::Permissions
            | ErrorKind::Unsupported
    );
    let error = anyhow::Error::from(error).context(format!("the key {name} cannot be lent"));
    if is_misuse {
        NotLent::Misused(error)
    } else {
        NotLent::Hardware(format!("{error:#}"))
    }
}
