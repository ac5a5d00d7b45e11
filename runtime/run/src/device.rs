//! The device whose keys the operator lends: opens them and says what each component may do with them at most.
//!
//! A key that cannot be opened, or that is not the one in its certificate, ends the run before the component starts.
//! There is no software key in its place.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, anyhow, bail};
use countersign_format::{BootId, Digest, RuntimeClaim};
use countersign_hosting::{AuditLog, Read, read};
use countersign_keys::{Error, ErrorKind, KeyUri, Secret, SigningKey};
use countersign_runtime::Ceiling;
use countersign_runtime::host::{
    Device, DeviceBuilder, DeviceError, KeyCeiling, LentAttestation, LentKey, SigningRecord,
};
use countersign_stores::{SecretFor, Stores};
use countersign_trust_store::{Certificate, CertifiedDevice, pem};

use crate::args::{Named, Run};

/// The longest file of certificates: three of 8 KiB as PEM, and room for what tools write beside them.
const MAX_CHAIN_BYTES: u64 = 128 << 10;
/// The longest file with a passphrase or a PIN.
const MAX_SECRET_BYTES: u64 = 4 << 10;

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
        let key = open(run, name, uri).map_err(|error| failure(name, uri, error))?;
        let building = begun(builder.take(), name, &chain, log)?;
        let lent = LentKey::new(key, chain).in_store(store(uri));
        builder = Some(building.key(name, lent).map_err(unfit)?);
        ceiling = ceiling.key(name, bounds(run, name));
    }
    if let Some(Named { name, value: uri }) = &run.device_attestation {
        let chain = chain(run, name)?;
        let building = begun(builder.take(), name, &chain, log)?;
        let lent = attestation(run, name, uri, chain)?.in_store(store(uri));
        let building = building.attestation(name, lent);
        builder = Some(building.map_err(unfit)?);
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

/// The device so far, or the one that the first certificate names.
fn begun(
    builder: Option<DeviceBuilder>,
    name: &str,
    chain: &[Vec<u8>],
    log: &Arc<AuditLog>,
) -> Result<DeviceBuilder, NotLent> {
    if let Some(builder) = builder {
        return Ok(builder);
    }
    let log = Arc::clone(log);
    let sink =
        move |record: &SigningRecord| log.append(&record.line(countersign_roots::system_time()));
    Ok(Device::builder(identity(name, chain)?, boot()?, sink))
}

/// How the device answers when it is asked for evidence. Where there is hardware, it answers, or nothing does.
fn attestation(
    run: &Run,
    name: &str,
    uri: &KeyUri,
    chain: Vec<Vec<u8>>,
) -> Result<LentAttestation, NotLent> {
    // A program that cannot read its own file says nothing of its digest.
    let program = std::env::current_exe().and_then(std::fs::read).ok();
    let digest = program.map(|bytes| Digest::of(&bytes));
    let runtime = RuntimeClaim::new("countersign-run", env!("CARGO_PKG_VERSION"), digest)
        .map_err(|error| anyhow!(error))?;
    let failed = |error| failure(name, uri, error);
    let provider = stores(run, name).of_key(uri).map_err(failed)?;
    if !run.device_registers.is_empty() {
        let mut registers = run.device_registers.clone();
        registers.sort_unstable();
        registers.dedup();
        // A store without registers says so now, not when a guest asks.
        return match uri {
            KeyUri::Tpm(_) => Ok(LentAttestation::of_boot(
                provider,
                uri.clone(),
                registers,
                chain,
                runtime,
            )),
            _ => Err(
                anyhow!("--device-pcr is for a TPM's attestation key, and {uri} is none").into(),
            ),
        };
    }
    if let KeyUri::Tpm(_) = uri {
        return Err(anyhow!(
            "the attestation key {uri} is in a TPM: say which registers it is to quote, as in --device-pcr 0,2,7"
        )
        .into());
    }
    if provider.capabilities().hardware {
        return LentAttestation::of_key(provider, uri.clone(), chain, runtime).ok_or_else(|| {
            anyhow!("the store of {uri} can vouch for nothing; use a TPM or an ATECC608").into()
        });
    }
    let key = provider.open(uri).map_err(failed)?;
    Ok(LentAttestation::in_software(key, chain, runtime))
}

/// Every option names a key that is lent, and each key is named once and has its certificates.
fn check_names(run: &Run) -> anyhow::Result<()> {
    let once = [
        ("--device-key or --device-attestation", lent_names(run)),
        ("--device-chain", names(&run.device_chains)),
        ("--device-rate", names(&run.device_rates)),
        ("--device-secret", names(&run.device_secrets)),
    ];
    for (option, names) in &once {
        let mut seen = BTreeSet::new();
        if let Some(name) = names.iter().find(|name| !seen.insert(**name)) {
            bail!(
                "{option} names {name} twice; give each key a name of its own, and say each thing of it once"
            );
        }
    }
    let lent: BTreeSet<&str> = lent_names(run).into_iter().collect();
    let any_number = ("--device-context", names(&run.device_contexts));
    for (option, names) in once.iter().chain([&any_number]) {
        if let Some(name) = names.iter().find(|name| !lent.contains(**name)) {
            bail!(
                "{option} names {name}, but no --device-key {name}=KEY-URI lends a key of this name"
            );
        }
    }
    let certified = names(&run.device_chains);
    match run
        .device_keys
        .iter()
        .chain(&run.device_attestation)
        .find(|key| !certified.contains(&key.name.as_str()))
    {
        Some(Named { name, value }) => bail!(
            "the key {name} ({value}) has no certificates; name the file that your authority gave you: \
             --device-chain {name}=FILE"
        ),
        None => Ok(()),
    }
}

/// Under which names anything is lent.
fn lent_names(run: &Run) -> Vec<&str> {
    let lent = run.device_keys.iter().chain(&run.device_attestation);
    lent.map(|key| key.name.as_str()).collect()
}

fn names<T>(options: &[Named<T>]) -> Vec<&str> {
    options.iter().map(|option| option.name.as_str()).collect()
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

/// Opens a key.
fn open(run: &Run, name: &str, uri: &KeyUri) -> Result<SigningKey, Error> {
    stores(run, name).open(uri)
}

/// The stores, for what is lent under a name. Nobody is asked for its secret, since a host may run where nobody is: it is in
/// a file or not known.
fn stores(run: &Run, name: &str) -> Stores {
    let file = run
        .device_secrets
        .iter()
        .find(|secret| secret.name == name)
        .map(|secret| secret.value.clone());
    let name = name.to_owned();
    Stores::new(move |wanted| {
        let (what, only_typed) = match wanted {
            SecretFor::Pin { token, tries } => (
                format!("the PIN of the token {token}"),
                !tries.allow_stored(),
            ),
            _ => ("the key's passphrase".to_owned(), false),
        };
        let refused = |reason: &str| Err(Error::new(ErrorKind::Passphrase, reason.to_owned()));
        match &file {
            // A wrong PIN in a file, and a supervisor that starts us again, would lock the token for good.
            Some(_) if only_typed => refused(&format!(
                "{what} was given wrong of late, so the one in the file was not tried; check it with `countersign key show {name}` at a terminal"
            )),
            Some(path) => secret(path).map(Some),
            None => refused(&format!(
                "{what} is needed; name a file with it: --device-secret {name}=FILE"
            )),
        }
    })
}

/// The first and only line of a file.
fn secret(path: &Path) -> Result<Secret, Error> {
    let refused = |reason: String| Error::new(ErrorKind::Passphrase, reason);
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

/// Which keys are used one after the other: those of one store.
fn store(uri: &KeyUri) -> String {
    match uri {
        // Of one device, whatever else the URI says.
        KeyUri::Tpm(_) | KeyUri::Atecc608(_) | KeyUri::Pkcs11(_) => uri.scheme().to_owned(),
        // Each file, and each program, for itself.
        _ => uri.to_string(),
    }
}

/// Why the device does not take a key. Another key than the certified one shows hardware that was cleared or exchanged.
fn unfit(error: DeviceError) -> NotLent {
    match error {
        DeviceError::KeyMismatch { .. } => NotLent::Hardware(error.to_string()),
        _ => NotLent::Misused(error.into()),
    }
}

fn failure(name: &str, uri: &KeyUri, error: Error) -> NotLent {
    let in_hardware = matches!(
        uri,
        KeyUri::Tpm(_) | KeyUri::Atecc608(_) | KeyUri::Pkcs11(_)
    );
    let is_misuse = match error.kind() {
        // Hardware that is gone, was cleared or lets nobody in.
        ErrorKind::NotFound | ErrorKind::Permissions => !in_hardware,
        ErrorKind::Malformed | ErrorKind::Passphrase | ErrorKind::Unsupported => true,
        _ => false,
    };
    let error = anyhow::Error::from(error).context(format!("the key {name} cannot be lent"));
    if is_misuse {
        NotLent::Misused(error)
    } else {
        NotLent::Hardware(format!("{error:#}"))
    }
}
