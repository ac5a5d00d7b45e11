//! `enroll` and `renew`: certificates for the keys that the configuration names, from an authority (EST, RFC 7030).
//!
//! Decides which key asks and where its chain goes: both stand in the configuration. How the authority is asked, and what of its
//! answer is believed, is decided in `countersign-enrolment`. A running gateway takes the new chain up by a reload.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use countersign_enrolment::{
    Ask, Client, Credential, EnrolError, Expected, IssuedChain, Occasion, Own, Patience, Phase,
    Received, Roots, Server, Standing, Wait, keep, obtain,
};
use countersign_format::DeviceIdentity;
use countersign_hosting::lending::KeySource;
use countersign_hosting::{Read, lending, printable, read};
use countersign_signer::request::{self, RequestFields, Subject};
use countersign_tls::TlsIdentity;
use countersign_trust_store::{Code, UnixTime, pem};

use crate::config::Config;
use crate::gateway::NotStarted;
use crate::overview::out;
use crate::say::say;

/// The largest file of roots that is read, in bytes.
const MAX_ROOTS: u64 = 256 << 10;

/// The authority, and who asks it.
#[derive(Debug, clap::Args)]
pub(crate) struct Authority {
    /// The key's name in the configuration, which says where it is and where its chain goes
    #[arg(value_name = "KEY")]
    key: String,
    /// The authority's EST server: https://HOST or https://HOST:PORT, and /.well-known/est/LABEL behind it where it has several
    #[arg(long, value_name = "URL")]
    server: Server,
    /// Roots to which the new certificate must lead, PEM; may be repeated
    #[arg(long, value_name = "FILE", required = true)]
    roots: Vec<PathBuf>,
    /// Roots to which the server's own certificate must lead, PEM (default: those of --roots); may be repeated
    #[arg(long, value_name = "FILE")]
    server_roots: Vec<PathBuf>,
    /// Show who this is by another key of the configuration, which has a certificate for TLS, such as the one from the factory
    #[arg(long, value_name = "KEY")]
    identity: Option<String>,
    /// Go on asking for so long while the authority decides, is busy or cannot be reached
    #[arg(long, value_name = "SECONDS", default_value_t = 0)]
    wait: u32,
}

/// What a first certificate says, and what shows who asks.
#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("who").args(["token_file", "user", "identity"]))]
pub(crate) struct First {
    #[command(flatten)]
    authority: Authority,
    /// Device id: 1 to 64 letters, digits and . _ : -
    #[arg(long, value_name = "ID")]
    device_id: String,
    /// Common name (CN)
    #[arg(long, value_name = "TEXT")]
    common_name: Option<String>,
    /// Organisation (O)
    #[arg(long, value_name = "TEXT")]
    org: Option<String>,
    /// Host name for a TLS certificate; may be repeated
    #[arg(long = "dns", value_name = "NAME")]
    dns_names: Vec<String>,
    /// File whose only line is a token from the authority
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// The name that goes with --password-file
    #[arg(long, value_name = "NAME", requires = "password_file")]
    user: Option<String>,
    /// File whose only line is a password from the authority, or a token that it takes as one
    #[arg(long, value_name = "FILE", requires = "user")]
    password_file: Option<PathBuf>,
}

/// When the next certificate is asked for.
#[derive(Debug, clap::Args)]
pub(crate) struct Next {
    #[command(flatten)]
    authority: Authority,
    /// Do nothing, successfully, until it is time
    #[arg(long)]
    only_if_due: bool,
}

/// Gets the first certificate of a key.
pub(crate) fn enroll(config: &Config, arguments: &First, json: bool) -> Result<(), NotStarted> {
    let authority = &arguments.authority;
    let source = source(config, &authority.key)?;
    let device = DeviceIdentity::parse(&arguments.device_id).context("the device id")?;
    if source.chain.exists() {
        return Err(anyhow!(
            "{} is there already; `countersign-gateway renew {}` gets the certificate that follows it",
            source.chain.display(),
            authority.key
        )
        .into());
    }
    let credential = if let Some(file) = &arguments.token_file {
        Credential::Token(lending::secret(file)?)
    } else if let (Some(user), Some(file)) = (&arguments.user, &arguments.password_file) {
        Credential::Password {
            user: user.clone(),
            password: lending::secret(file)?,
        }
    } else {
        authority.identity(config)?.unwrap_or(Credential::Nothing)
    };
    let fields = RequestFields {
        subject: Subject {
            common_name: arguments.common_name.clone(),
            organization: arguments.org.clone(),
            ..Subject::default()
        },
        identity: Some(device.clone()),
        dns_names: arguments.dns_names.clone(),
        ..RequestFields::default()
    };
    authority.ask(source, credential, &fields, &device, None, json)
}

/// Gets the certificate that follows the present one of a key.
pub(crate) fn renew(config: &Config, arguments: &Next, json: bool) -> Result<(), NotStarted> {
    let authority = &arguments.authority;
    let source = source(config, &authority.key)?;
    let present = source.certificates()?;
    let first = present.first().context("its chain is empty")?;
    let old = Own::parse(first)?;
    if arguments.only_if_due && Standing::of(&old).at(now().as_secs()) == Phase::Current {
        report(&source.chain, &old, None, json);
        return Ok(());
    }
    let device = old.identity().with_context(|| {
        format!(
            "{} names no device, or two; move it away, and get a first certificate by `countersign-gateway enroll`",
            source.chain.display()
        )
    })?;
    let fields = RequestFields {
        subject: old.subject()?,
        identity: Some(device.clone()),
        dns_names: old.dns_names().to_vec(),
        ..RequestFields::default()
    };
    let credential = match authority.identity(config)? {
        Some(credential) => credential,
        None => by_certificate(source)?,
    };
    authority.ask(source, credential, &fields, &device, Some(&old), json)
}

impl Authority {
    fn ask(
        &self,
        source: &KeySource,
        credential: Credential,
        fields: &RequestFields,
        device: &DeviceIdentity,
        replaces: Option<&Own>,
        json: bool,
    ) -> Result<(), NotStarted> {
        let roots = roots(&self.roots, "--roots")?;
        let client = match self.server_roots.as_slice() {
            [] => Client::new(self.server.clone(), &roots, credential, now),
            files => {
                let own = self::roots(files, "--server-roots")?;
                Client::new(self.server.clone(), &own, credential, now)
            }
        };
        let key = source.open().map_err(not_lent)?;
        let request = request::certification_request(&key, fields)?;
        let expected = Expected {
            key: key.public_key(),
            device,
            roots: &roots,
            replaces,
        };
        let ask = Ask {
            client: &client?,
            occasion: replaces.map_or(Occasion::First, |_| Occasion::Renewal),
            request: &request,
            expected: &expected,
            received: &Received::beside(&source.chain),
        };
        let patience = Patience::of(Duration::from_secs(self.wait.into()));
        let issued = obtain(&ask, patience, &mut Patient);
        let kept = issued.and_then(|chain: IssuedChain| Ok((keep(&source.chain, &chain)?, chain)));
        match kept {
            Ok((kept, chain)) => {
                report(&source.chain, chain.own(), kept.previous.as_deref(), json);
                Ok(())
            }
            Err(error @ (EnrolError::Mismatch(_) | EnrolError::Kept { .. })) => Err(
                NotStarted::Refused(Code::EnrolmentMismatch, error.to_string()),
            ),
            Err(error) => Err(error.into()),
        }
    }

    fn identity(&self, config: &Config) -> Result<Option<Credential>, NotStarted> {
        let Some(name) = &self.identity else {
            return Ok(None);
        };
        by_certificate(source(config, name)?).map(Some)
    }
}

/// By a key and its chain.
fn by_certificate(source: &KeySource) -> Result<Credential, NotStarted> {
    let chain = source.certificates()?;
    let key = source.open().map_err(not_lent)?;
    let identity = TlsIdentity::new(Arc::new(key), &chain)
        .with_context(|| format!("the key {} cannot show who this is", source.name))?;
    Ok(Credential::Device(identity))
}

fn not_lent(error: lending::NotLent) -> NotStarted {
    match error.code() {
        Some(code) => NotStarted::Refused(code, error.to_string()),
        None => anyhow!("{error}").into(),
    }
}

fn source<'a>(config: &'a Config, name: &str) -> anyhow::Result<&'a KeySource> {
    match config.known.keys.get(name) {
        Some(key) => Ok(&key.source),
        None => bail!("no [[key]] of the configuration is called {name:?}"),
    }
}

/// The roots of these files, which an option names.
fn roots(files: &[PathBuf], option: &str) -> anyhow::Result<Roots> {
    let mut roots = Vec::new();
    for file in files {
        match read(file, MAX_ROOTS)? {
            Read::Whole(text) => roots.extend(
                pem::certificates(&text)
                    .with_context(|| format!("{} holds no certificates in PEM", file.display()))?,
            ),
            Read::TooLarge { size } => {
                bail!("{} has {size} bytes, too many for roots", file.display())
            }
        }
    }
    Roots::new(roots, now()).with_context(|| format!("{option} takes roots and nothing else"))
}

/// The present, since 1970.
fn now() -> Duration {
    Duration::from_secs(countersign_roots::system_time().as_secs())
}

/// Waits as people do, and says for how long.
struct Patient;

impl Wait for Patient {
    fn wait(&mut self, time: Duration) {
        let seconds = time.as_secs().max(1);
        say(
            "",
            &format!("the authority has no answer yet; asking again in {seconds} seconds"),
        );
        std::thread::sleep(time);
    }

    fn chance(&mut self) -> u16 {
        let mut bytes = [0; 2];
        // A machine without chance waits the shortest time: nothing secret hangs on it.
        let _ = getrandom::fill(&mut bytes);
        u16::from_be_bytes(bytes)
    }
}

/// Says what there is now.
fn report(path: &Path, own: &Own, previous: Option<&Path>, json: bool) {
    let time = |seconds| UnixTime::from_secs(seconds).to_string();
    let standing = Standing::of(own);
    let (end, renew_from) = (standing.end().map(time), standing.renew_from().map(time));
    if json {
        let answer = serde_json::json!({
            "version": 1,
            "chain": path.display().to_string(),
            "previous": previous.map(|path| path.display().to_string()),
            "device": own.device(),
            "not_before": time(own.not_before()),
            "not_after": end,
            "renew_from": renew_from,
        });
        out(&answer.to_string());
        return;
    }
    out(&format!(
        "{}: the certificate of {}",
        path.display(),
        printable(own.device().unwrap_or_default())
    ));
    out(&format!(
        "  valid until {}",
        end.unwrap_or_else(|| "for ever".to_owned())
    ));
    if let Some(from) = renew_from {
        out(&format!("  renew from {from}"));
    }
    if let Some(previous) = previous {
        out(&format!("  before it: {}", previous.display()));
    }
    out("  next: countersign-gateway reload");
}
