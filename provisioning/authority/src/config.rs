//! The configuration: one TOML file, read once when the authority starts. Paths in it start from its folder.
//!
//! Decided here: what may be written, and the defaults. Whether the keys, certificates and folders that it names are
//! sound is for those to say who open them.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use countersign_format::Digest;
use countersign_keys::KeyUri;
use serde::{Deserialize, Serialize};

use crate::tokens::Scope;

/// The largest file that is read, in bytes.
const MAX_BYTES: u64 = 256 * 1024;

/// The most time servers that are asked.
const MAX_SERVERS: usize = 8;

/// `authority.toml`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The address to listen on.
    pub listen: SocketAddr,
    /// The folder of tokens.
    pub tokens: PathBuf,
    /// Web pages of other origins that may ask; none unless written here.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cors_origins: Vec<String>,
    /// Which authority issues, and with which key.
    pub issuer: Issuer,
    /// The server's own key and certificate.
    pub tls: Tls,
    /// Where the registry is.
    pub registry: Registry,
    /// The audit log.
    pub audit: Audit,
    /// What certificates are like where nobody says otherwise.
    #[serde(default)]
    pub issuing: Issuing,
    /// Bounds on what clients may do.
    #[serde(default)]
    pub limits: Limits,
    /// The operator's page; there is none without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub page: Option<Page>,
    /// Privacy tokens; there are none without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub privacy_tokens: Option<PrivacyTokens>,
    /// Where traces are sent; nowhere without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub telemetry: Option<Telemetry>,
    /// Whose clocks are laid beside this machine's.
    #[serde(default, skip_serializing_if = "Clock::is_empty")]
    pub clock: Clock,
    /// Devices whose client certificates may do more than renew themselves.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub operators: Vec<Operator>,
    /// Other authorities whose factory identities are believed; only those in the registry are without it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub factory: Vec<Factory>,
    /// What devices' attestations must show; that hardware vouches for them without it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attestation: Vec<Attestation>,
}

/// `[issuer]`
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Issuer {
    /// The issuing certificate and those above it up to the root, PEM, in this order.
    pub chain: PathBuf,
    /// The key, as a key URI.
    pub key: String,
    /// The file whose first line is the passphrase of the key, or the PIN of its token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub passphrase_file: Option<PathBuf>,
    /// Revocation lists of the authorities above, PEM or DER.
    #[serde(default)]
    pub crls: Vec<PathBuf>,
}

/// `[tls]`
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// The server's certificate and those between it and the root, PEM.
    pub chain: PathBuf,
    /// Its key, as a key URI. It is another than the issuer's.
    pub key: String,
}

/// `[registry]`
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Registry {
    /// `sqlite:PATH`, or the address of a PostgreSQL database.
    pub database: String,
}

/// `[audit]`
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Audit {
    /// The folder of tiles and checkpoints.
    pub folder: PathBuf,
    /// The log's name in its checkpoints.
    pub origin: String,
    /// The log's key, as a key URI. It is another than the issuer's and the server's.
    pub key: String,
}

/// `[issuing]`
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Issuing {
    /// Days that a certificate is valid.
    pub days: u64,
    /// The organisation in the names of devices.
    pub organization: Option<String>,
    /// What component signers may sign, such as `acme:*`.
    pub component_scope: Vec<String>,
    /// Hours between two revocation lists.
    pub crl_hours: u64,
    /// Days that a revocation list is valid.
    pub crl_days: u64,
    /// Seconds between two looks whether a list is due. What was revoked is on a list that long after at most.
    pub crl_check_seconds: u64,
}

impl Default for Issuing {
    fn default() -> Self {
        Self {
            days: 365,
            organization: None,
            component_scope: Vec::new(),
            crl_hours: 24,
            crl_days: 30,
            crl_check_seconds: 60,
        }
    }
}

/// `[limits]`
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Connections at the same time; more wait.
    pub connections: usize,
    /// Connections of one address at the same time; more are closed.
    pub connections_per_address: usize,
    /// Seconds after which a connection takes no further request. It ends with the one that is under way.
    pub connection_seconds: u64,
    /// Requests of one client in a minute, and as many at once as a tenth of it.
    pub requests_per_minute: u32,
    /// Certificates that wait to be issued at the same time; more are refused.
    pub waiting: usize,
    /// Seconds for a TLS handshake, and for a request's headers.
    pub header_seconds: u64,
    /// Seconds for a request and its answer.
    pub request_seconds: u64,
    /// Bytes of a body.
    pub body_bytes: usize,
    /// Seconds that requests have to finish when the authority is told to stop.
    pub drain_seconds: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 512,
            connections_per_address: 32,
            connection_seconds: 300,
            requests_per_minute: 600,
            waiting: 256,
            header_seconds: 10,
            request_seconds: 30,
            // A request is 16 KiB at most, and half as much again in base64.
            body_bytes: 32 * 1024,
            drain_seconds: 20,
        }
    }
}

/// `[page]`
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Page {
    /// The hash of the password, as `countersign-authority password` prints it.
    pub password: String,
}

/// `[privacy_tokens]`
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PrivacyTokens {
    /// The file of the key under which the tables lie encrypted in the registry: 32 bytes, or 64 hexadecimal digits.
    pub key: PathBuf,
    /// How many tables there are at least; those that are missing are made at the start.
    #[serde(default = "ten")]
    pub tables: u16,
}

const fn ten() -> u16 {
    10
}

/// `[telemetry]`
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Telemetry {
    /// A collector of OpenTelemetry that takes OTLP as JSON, such as `http://127.0.0.1:4318`.
    pub otlp: String,
}

/// `[clock]`
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Clock {
    /// Time servers that are asked by NTP, each as HOST:PORT; nothing is issued unless one answers, and while one of them differs
    /// by more than five minutes.
    pub servers: Vec<String>,
}

impl Clock {
    fn is_empty(&self) -> bool {
        self.servers.is_empty()
    }
}

/// `[[operators]]`
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Operator {
    /// The device identity in the client certificate.
    pub device: String,
    /// What it may do.
    pub scope: Scope,
}

/// `[[factory]]`
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Factory {
    /// Who issues the factory identities: the file of its certificate, or the SHA-256 of its SubjectPublicKeyInfo in 64
    /// lower-case hexadecimal digits.
    pub issuer: String,
    /// Which devices it may name: identities, or beginnings of them that end with `*`.
    pub devices: Vec<String>,
    /// The order that they must belong to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order: Option<String>,
}

/// `[[attestation]]`
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Attestation {
    /// Which devices this is for: identities, or beginnings of them that end with `*`. The first entry that names one counts.
    pub devices: Vec<String>,
    /// What must be in registers of their TPMs (SHA-256 bank), by number: 64 hexadecimal digits, several where several are right.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub registers: BTreeMap<String, Vec<String>>,
    /// Whether what no hardware vouches for is accepted.
    #[serde(default)]
    pub software: bool,
    /// Other authorities that may certify their attestation keys, each as in [`Factory::issuer`]; those of this registry always may.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub issuers: Vec<String>,
}

impl Config {
    /// Reads a configuration. Paths in it become paths from the folder that it lies in.
    ///
    /// # Errors
    /// What is wrong with it, and where.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        let metadata = std::fs::metadata(path).with_context(|| {
            format!(
                "{} could not be read: name the authority.toml that `countersign-authority init` made",
                path.display()
            )
        })?;
        // It says which keys are used and who may do what, and may have the password of a database.
        let mode = metadata.mode() & 0o7777;
        anyhow::ensure!(
            mode & 0o077 == 0,
            "{0} has mode {mode:04o}, so others may read or change it; run: chmod 600 {0}",
            path.display()
        );
        anyhow::ensure!(
            metadata.len() <= MAX_BYTES,
            "{} is larger than the {MAX_BYTES} bytes that are read: name a configuration",
            path.display()
        );
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("{} could not be read", path.display()))?;
        let mut config: Self =
            toml::from_str(&text).with_context(|| format!("{} is not accepted", path.display()))?;
        let folder = path.parent().unwrap_or(Path::new("."));
        let folder = std::path::absolute(folder)
            .with_context(|| format!("{} could not be found", folder.display()))?;
        config.start_from(&folder);
        config.check()?;
        Ok(config)
    }

    fn check(&self) -> anyhow::Result<()> {
        let limits = &self.limits;
        for (name, value) in [
            (
                "connections",
                u64::try_from(limits.connections).unwrap_or(u64::MAX),
            ),
            (
                "connections_per_address",
                u64::try_from(limits.connections_per_address).unwrap_or(u64::MAX),
            ),
            ("connection_seconds", limits.connection_seconds),
            ("requests_per_minute", limits.requests_per_minute.into()),
            ("waiting", u64::try_from(limits.waiting).unwrap_or(u64::MAX)),
            ("header_seconds", limits.header_seconds),
            ("request_seconds", limits.request_seconds),
            (
                "body_bytes",
                u64::try_from(limits.body_bytes).unwrap_or(u64::MAX),
            ),
        ] {
            anyhow::ensure!(
                (1..=1_000_000).contains(&value),
                "limits.{name} is {value}: write a number from 1 to 1000000"
            );
        }
        anyhow::ensure!(
            (1..=3600).contains(&self.issuing.crl_check_seconds),
            "issuing.crl_check_seconds is {}: write a number from 1 to 3600",
            self.issuing.crl_check_seconds
        );
        if let Some(privacy) = &self.privacy_tokens {
            anyhow::ensure!(
                (3..=2500).contains(&privacy.tables),
                "privacy_tokens.tables is {}: write a number from 3 to 2500",
                privacy.tables
            );
        }
        if let Some(telemetry) = &self.telemetry {
            countersign_telemetry::check(&telemetry.otlp).context("telemetry.otlp")?;
        }
        let servers = &self.clock.servers;
        anyhow::ensure!(
            servers.len() <= MAX_SERVERS,
            "clock.servers has {} servers: name {MAX_SERVERS} at most",
            servers.len()
        );
        if let Some(server) = servers.iter().find(|server| !has_port(server)) {
            anyhow::bail!("clock.servers has {server:?}: write HOST:PORT, as in time.example:123");
        }
        for operator in &self.operators {
            operator
                .scope
                .clone()
                .check()
                .with_context(|| format!("the scope of operator {:?}", operator.device))?;
        }
        Ok(())
    }

    fn start_from(&mut self, folder: &Path) {
        let mut paths: Vec<&mut PathBuf> = vec![
            &mut self.issuer.chain,
            &mut self.tls.chain,
            &mut self.audit.folder,
            &mut self.tokens,
        ];
        paths.extend(&mut self.issuer.passphrase_file);
        paths.extend(&mut self.issuer.crls);
        paths.extend(self.privacy_tokens.as_mut().map(|privacy| &mut privacy.key));
        for path in paths {
            *path = folder.join(&path);
        }
        let attesting = self.attestation.iter_mut();
        let issuers = attesting.flat_map(|attestation| &mut attestation.issuers);
        for issuer in issuers.chain(self.factory.iter_mut().map(|factory| &mut factory.issuer)) {
            if issuer.parse::<Digest>().is_err() {
                *issuer = folder.join(&issuer).display().to_string();
            }
        }
        for key in [&mut self.issuer.key, &mut self.tls.key, &mut self.audit.key] {
            // What names no store is refused where it is opened.
            if let Ok(KeyUri::File(path)) = key.parse() {
                *key = KeyUri::File(folder.join(path)).to_string();
            }
        }
        if let Some(path) = self.registry.database.strip_prefix("sqlite:") {
            self.registry.database = format!("sqlite:{}", folder.join(path).display());
        }
    }
}

fn has_port(server: &str) -> bool {
    server
        .rsplit_once(':')
        .is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok())
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    const SMALL: &str = r#"
        listen = "127.0.0.1:8443"
        tokens = "tokens"
        [issuer]
        chain = "ca/chain.pem"
        key = "file:ca/key.pem"
        [tls]
        chain = "/etc/tls.pem"
        key = "pkcs11:token=x;object=y"
        [registry]
        database = "sqlite:registry.db"
        [audit]
        folder = "audit"
        origin = "factory.example/audit"
        key = "/k/audit.pem"
    "#;

    fn read(text: &str) -> anyhow::Result<Config> {
        read_of_mode(text, 0o600)
    }

    fn read_of_mode(text: &str, mode: u32) -> anyhow::Result<Config> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("authority.toml");
        std::fs::write(&path, text)?;
        std::fs::set_permissions(&path, Permissions::from_mode(mode))?;
        let config = Config::read(&path)?;
        assert!(config.issuer.chain.starts_with(folder.path()));
        assert_eq!(
            config.issuer.key,
            format!("file:{}/ca/key.pem", folder.path().display())
        );
        Ok(config)
    }

    #[test]
    fn paths_start_from_the_files_folder_and_other_uris_stay() {
        let config = read(SMALL).expect("a configuration");
        assert_eq!(config.tls.chain, Path::new("/etc/tls.pem"));
        assert_eq!(config.tls.key, "pkcs11:token=x;object=y");
        assert_eq!(config.audit.key, "file:/k/audit.pem");
        assert!(config.cors_origins.is_empty() && config.page.is_none());
    }

    #[test]
    fn tg18_a_configuration_that_others_may_read_or_change_is_refused() {
        for mode in [0o640, 0o604, 0o620, 0o602] {
            let error = read_of_mode(SMALL, mode).expect_err("refused");
            assert!(error.to_string().contains("chmod 600"), "{error}");
        }
        read_of_mode(SMALL, 0o400).expect("a configuration");
    }

    #[test]
    fn unknown_words_and_limits_of_nothing_are_refused() {
        for bad in [
            "allow_all = true",
            "[limits]\nconnections = 0",
            "[limits]\nno_such = 1",
            "[telemetry]\notlp = \"https://collector.example\"",
            "[privacy_tokens]\nkey = \"tables.key\"\ntables = 2",
            "[clock]\nservers = [\"time.example\"]",
            "[clock]\nservers = [\":123\"]",
            "[[attestation]]\nsoftware = true",
            "[[attestation]]\ndevices = [\"*\"]\nno_such = 1",
        ] {
            let text = match bad.strip_prefix("allow") {
                Some(_) => format!("{bad}\n{SMALL}"),
                None => format!("{SMALL}\n{bad}"),
            };
            assert!(read(&text).is_err(), "{bad}");
        }
    }
}
