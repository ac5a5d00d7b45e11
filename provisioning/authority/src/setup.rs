//! Making an authority's folder, and telling it which devices it may serve.
//!
//! ```text
//! DIR/                       mode 0700
//!   authority.toml           the configuration
//!   chain.pem                the issuer's certificate and those above it
//!   crls/                    the lists of the authorities above
//!   tls.key tls.pem          the server's own key and chain
//!   audit.key audit/         the audit log and its key
//!   audit.vkey               the public key of the log, for whoever verifies it
//!   registry.db              devices and certificates, unless they are in PostgreSQL
//!   tokens/                  hashes of tokens
//! ```
//!
//! The issuer's key stays where it is: it is named, not copied.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use countersign_audit_log::{LogDirectory, LogKey, Origin};
use countersign_backend_file::{FileKey, Overwrite, SystemRandom};
use countersign_format::DeviceIdentity;
use countersign_issuing::Steps;
use countersign_keys::{Algorithm, SigningKey};
use countersign_provisioning::Profile;
use countersign_registry::{Device, Registry};
use serde::Deserialize;

use crate::config::{
    Audit, Config, Issuer as IssuerConfig, Issuing, Limits, Registry as RegistryConfig, Tls,
};
use crate::desk::{Wish, leaf};
use crate::issuer::Issuer;
use crate::tokens::TokenFolder;
use crate::{keys, pem, serve};

/// The order that the server itself belongs to.
const OWN_ORDER: &str = "authority";

/// Who approves from here, in the audit log.
const BY: &str = "operator, by the program approve";

/// What `init` is told.
#[derive(Debug)]
pub struct Init {
    /// The folder.
    pub dir: PathBuf,
    /// Which authority issues.
    pub source: Source,
    /// The file with the passphrase of its key, or with the PIN of its token.
    pub passphrase_file: Option<PathBuf>,
    /// The server's host names.
    pub hosts: Vec<String>,
    /// The address to listen on.
    pub listen: SocketAddr,
    /// The registry's database, as the configuration has it.
    pub database: String,
}

/// Which authority issues.
#[derive(Debug)]
pub enum Source {
    /// One of a `countersign-ca`.
    Ca {
        /// Its folder.
        folder: PathBuf,
        /// The name of the authority in it.
        name: String,
    },
    /// One that lies in files.
    Files {
        /// Its certificate and those above it to the root, PEM.
        chain: PathBuf,
        /// The key, as a key URI.
        key: String,
        /// The lists of the authorities above.
        crls: Vec<PathBuf>,
    },
}

/// An authority as it was found.
struct Found {
    chain: Vec<Vec<u8>>,
    key: String,
    crls: Vec<PathBuf>,
}

/// Makes the folder.
///
/// # Errors
/// What is wrong with what was given. The folder may be there then, without a configuration.
pub async fn init(init: &Init) -> anyhow::Result<()> {
    let found = match &init.source {
        Source::Ca { folder, name } => in_ca(folder, name)?,
        Source::Files { chain, key, crls } => Found {
            chain: serve::chain(chain)?,
            key: absolute_uri(key)?,
            crls: crls.clone(),
        },
    };
    let dir = &init.dir;
    fs::DirBuilder::new()
        .mode(0o700)
        .create(dir)
        .with_context(|| {
            format!(
                "{} could not be made: name a folder that is not there",
                dir.display()
            )
        })?;
    let dir = std::path::absolute(dir).context("the folder could not be found")?;
    let path = |name: &str| dir.join(name);

    write(
        &path("chain.pem"),
        pem::certificates(&found.chain).as_bytes(),
    )?;
    fs::create_dir(path("crls")).context("crls could not be made")?;
    let mut crls = Vec::new();
    for (number, source) in found.crls.iter().enumerate() {
        let name = PathBuf::from(format!("crls/{number}.crl"));
        write(&dir.join(&name), &keys::read(source)?)?;
        crls.push(name);
    }
    let tls = new_key(&path("tls.key"), Algorithm::Esp256)?;
    let audit = new_key(&path("audit.key"), Algorithm::Ed25519)?;
    let host = init
        .hosts
        .first()
        .context("--host: the server needs a name")?;
    let origin = format!("{host}/audit");
    let audit = LogKey::new(Origin::new(&origin)?, SigningKey::new(audit))?;
    write(
        &path("audit.vkey"),
        format!("{}\n", audit.verifier().to_vkey()).as_bytes(),
    )?;
    LogDirectory::create(&path("audit"), audit)?;
    TokenFolder::open(&path("tokens"))?;

    let config = Config {
        listen: init.listen,
        issuer: IssuerConfig {
            chain: "chain.pem".into(),
            key: found.key,
            passphrase_file: init
                .passphrase_file
                .as_ref()
                .map(std::path::absolute)
                .transpose()
                .context("--passphrase-file")?,
            crls,
        },
        tls: Tls {
            chain: "tls.pem".into(),
            key: "file:tls.key".to_owned(),
        },
        registry: RegistryConfig {
            database: init.database.clone(),
        },
        audit: Audit {
            folder: "audit".into(),
            origin,
            key: "file:audit.key".to_owned(),
        },
        tokens: "tokens".into(),
        issuing: Issuing::default(),
        limits: Limits::default(),
        page: None,
        privacy_tokens: None,
        telemetry: None,
        clock: Default::default(),
        cors_origins: Vec::new(),
        operators: Vec::new(),
        factory: Vec::new(),
        attestation: Vec::new(),
    };
    let text = toml::to_string_pretty(&config).context("the configuration could not be written")?;
    // Read back by the code that will read it: its paths start from the folder.
    let draft = path("authority.toml.new");
    write(&draft, text.as_bytes())?;
    let config = Config::read(&draft)?;
    let issued =
        own_certificate(&config, &found.chain, tls.public_key().clone(), &init.hosts).await?;
    let mut own = vec![issued];
    // The root is not sent: who connects has it, or has no reason to trust it.
    own.extend(
        found
            .chain
            .split_last()
            .map_or(&[][..], |(_, rest)| rest)
            .iter()
            .cloned(),
    );
    write(&path("tls.pem"), pem::certificates(&own).as_bytes())?;
    // The configuration comes last: what has one is whole.
    fs::rename(&draft, path("authority.toml")).context("authority.toml could not be written")?;
    println!("{}", path("authority.toml").display());
    Ok(())
}

/// The server's own certificate, issued and recorded like every other.
async fn own_certificate(
    config: &Config,
    chain: &[Vec<u8>],
    key: countersign_keys::PublicKey,
    hosts: &[String],
) -> anyhow::Result<Vec<u8>> {
    let registry = Registry::open(&config.registry.database).await?;
    let order = registry.order(OWN_ORDER, None, 1).await?;
    let name = hosts.first().context("--host: the server needs a name")?;
    let device = Device::approved(
        DeviceIdentity::parse(name)
            .context("--host: the first name is the server's identity too")?,
        &order,
    );
    registry
        .register(std::slice::from_ref(&device), serve::now().as_secs())
        .await?;
    let audit = keys::open(&config.audit.key, None)?;
    let issuer = Issuer::start(config, registry, chain, audit, false, Steps::default()).await?;
    let wish = Wish {
        device: device.id.clone(),
        profile: Profile::Tls,
        public_key: key,
        dns_names: hosts.to_vec(),
        renews: None,
        order: None,
        request: None,
        one_time: false,
        requester: "init".to_owned(),
    };
    let issued = issuer.issue(wish, &device).await;
    issuer.close().await;
    let issued =
        issued.map_err(|not| anyhow::anyhow!("the server's certificate: {}", not.problem))?;
    issued
        .der
        .context("the server's certificate was not recorded")
}

/// What `approve` is told.
#[derive(Debug)]
pub struct Approve {
    /// The configuration.
    pub config: PathBuf,
    /// The order; it is made if it is not there.
    pub order: String,
    /// For how many devices it is.
    pub quota: u64,
    /// Who makes them.
    pub manufacturer: Option<String>,
    /// Their family.
    pub family: String,
    /// Their type.
    pub device_type: String,
    /// Their identities.
    pub devices: Vec<String>,
}

/// Adds an order, and approves devices for it.
///
/// # Errors
/// For an identity that is none, a registry that does not answer, or one that a running authority has to itself.
pub async fn approve(approve: &Approve) -> anyhow::Result<()> {
    let config = Config::read(&approve.config)?;
    DeviceIdentity::parse(&approve.order).context("--order")?;
    let mut devices = Vec::new();
    for text in &approve.devices {
        devices.push(DeviceIdentity::parse(text).with_context(|| format!("device {text:?}"))?);
    }
    let registry = Registry::open(&config.registry.database).await?;
    let order = registry
        .order(
            &approve.order,
            approve.manufacturer.as_deref(),
            approve.quota,
        )
        .await?;
    let devices: Vec<Device> = devices
        .into_iter()
        .map(|id| {
            let mut device = Device::approved(id, &order);
            device.family.clone_from(&approve.family);
            device.device_type.clone_from(&approve.device_type);
            device
        })
        .collect();
    let now = serve::now().as_secs();
    let approved = |device: &str| leaf("approve", now, &[("device", device), ("requester", BY)]);
    let known = registry.approve(&devices, now, approved).await?;
    for id in &known {
        eprintln!("{id} is recorded already and was not changed");
    }
    registry.close().await;
    println!("{} approved", devices.len().saturating_sub(known.len()));
    Ok(())
}

/// What an authority's record in a `countersign-ca`'s folder says; the rest of it is the CA's matter.
#[derive(Deserialize)]
struct Record {
    issuer: Option<String>,
    key: Option<String>,
}

/// An authority of a `countersign-ca`.
fn in_ca(folder: &Path, name: &str) -> anyhow::Result<Found> {
    let mut chain = Vec::new();
    let mut crls = Vec::new();
    let mut key = None;
    let mut next = Some(name.to_owned());
    // Four certificates are the most that a host verifies.
    while let Some(name) = next {
        anyhow::ensure!(
            chain.len() < 4,
            "the chain of {name:?} is longer than hosts verify"
        );
        DeviceIdentity::parse(&name)
            .with_context(|| format!("{name:?} is not the name of an authority"))?;
        let place = folder.join("authorities").join(&name);
        let record = keys::read(&place.join("authority.json"))
            .with_context(|| format!("{} has no authority {name:?}", folder.display()))?;
        let record: Record = serde_json::from_slice(&record)
            .with_context(|| format!("the record of authority {name:?} is not accepted"))?;
        if chain.is_empty() {
            key = Some(match record.key {
                Some(uri) => uri,
                None => absolute_uri(&format!("file:{}", place.join("key.pem").display()))?,
            });
        } else {
            let list = place.join("crl.der");
            anyhow::ensure!(
                list.exists(),
                "authority {name:?} has no revocation list, and without one nobody accepts what is below it: \
                 run `countersign-ca crl` first"
            );
            crls.push(list);
        }
        chain.push(keys::read(&place.join("certificate.der"))?);
        next = record.issuer;
    }
    Ok(Found {
        chain,
        key: key.context("the authority has no key")?,
        crls,
    })
}

/// A key URI that means the same wherever it is read.
fn absolute_uri(uri: &str) -> anyhow::Result<String> {
    let Some(path) = uri.strip_prefix("file:") else {
        return Ok(uri.to_owned());
    };
    let path = std::path::absolute(path).with_context(|| format!("{path} could not be found"))?;
    Ok(format!("file:{}", path.display()))
}

fn new_key(path: &Path, algorithm: Algorithm) -> anyhow::Result<FileKey> {
    let key = FileKey::generate(algorithm, &mut SystemRandom)?;
    key.save(path, None, Overwrite::Refuse)?;
    Ok(key)
}

/// Writes a file that is not there yet, for its owner alone.
fn write(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    use std::io::Write as _;
    let failed = || format!("{} could not be written", path.display());
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .with_context(failed)?;
    file.write_all(bytes).with_context(failed)?;
    file.sync_all().with_context(failed)
}
