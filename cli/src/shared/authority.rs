//! An authority that is asked for certificates: where it is, how it is trusted, who asks, and how long it is waited for.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, anyhow};
use countersign_enrolment::{
    Client, Credential, EnrolError, IssuedChain, Own, Patience, Roots, Server, Wait,
};
use countersign_keys::{KeyUri, SigningKey};
use countersign_tls::TlsIdentity;
use countersign_trust_store::{Code, UnixTime};
use serde_json::{Value, json};

use crate::shared::certificates;
use crate::shared::failure::Failure;
use crate::shared::output::{Output, say};
use crate::shared::passphrase;
use crate::shared::secrets::SecretArguments;

/// The authority, the same for every verb that asks it.
#[derive(clap::Args)]
pub(crate) struct AuthorityArguments {
    /// The authority's EST server: https://HOST or https://HOST:PORT, and /.well-known/est/LABEL behind it where it has several
    #[arg(long, value_name = "URL")]
    server: Server,
    /// Roots to which the new certificate must lead, PEM; may be repeated
    #[arg(long, value_name = "FILE", required = true)]
    roots: Vec<PathBuf>,
    /// Roots to which the server's own certificate must lead, PEM (default: those of --roots); may be repeated
    #[arg(long, value_name = "FILE")]
    server_roots: Vec<PathBuf>,
    /// Go on asking for so long while the authority decides, is busy or cannot be reached
    #[arg(long, value_name = "SECONDS", default_value_t = 0)]
    wait: u32,
}

/// Another certificate of the device with its key, by which it shows who it is.
#[derive(clap::Args)]
pub(crate) struct IdentityArguments {
    /// Show who this is by this key, which has a certificate for TLS, such as the one from the factory
    #[arg(long, value_name = "KEY", requires = "identity_chain")]
    identity: Option<KeyUri>,
    /// The chain of that key, PEM
    #[arg(long, value_name = "FILE", requires = "identity")]
    identity_chain: Option<PathBuf>,
    /// File whose only line is that key's passphrase, or its token's PIN
    #[arg(long, value_name = "FILE", requires = "identity")]
    identity_passphrase_file: Option<PathBuf>,
}

impl IdentityArguments {
    /// The identity, if one was given.
    pub(crate) fn open(&self) -> Result<Option<Credential>, Failure> {
        let (Some(uri), Some(chain)) = (&self.identity, &self.identity_chain) else {
            return Ok(None);
        };
        let secrets = match &self.identity_passphrase_file {
            Some(file) => SecretArguments::of_file(file.clone()),
            None => SecretArguments::default(),
        };
        let key = secrets.stores().open(uri)?;
        Ok(Some(by_certificate(
            key,
            &certificates::read_chain(chain)?,
        )?))
    }
}

/// By a key and its chain.
pub(crate) fn by_certificate(key: SigningKey, chain: &[Vec<u8>]) -> Result<Credential, Failure> {
    let identity = TlsIdentity::new(Arc::new(key), chain)
        .context("the device cannot show who it is")
        .map_err(Failure::usage)?;
    Ok(Credential::Device(identity))
}

/// A secret in a file of its own.
pub(crate) fn secret(path: &Path) -> Result<countersign_keys::Secret, Failure> {
    passphrase::from_file(path)
}

impl AuthorityArguments {
    /// The roots for new certificates.
    pub(crate) fn roots(&self) -> Result<Roots, Failure> {
        read_all(&self.roots, "--roots")
    }

    /// A client that shows this.
    pub(crate) fn client(&self, credential: Credential) -> Result<Client, Failure> {
        let roots = match self.server_roots.as_slice() {
            [] => self.roots()?,
            files => read_all(files, "--server-roots")?,
        };
        Client::new(self.server.clone(), &roots, credential, now).map_err(failure)
    }

    pub(crate) fn patience(&self) -> Patience {
        Patience::of(Duration::from_secs(self.wait.into()))
    }
}

/// The roots of these files, which an option names.
fn read_all(files: &[PathBuf], option: &str) -> Result<Roots, Failure> {
    let mut roots = Vec::new();
    for file in files {
        roots.extend(certificates::read_chain(file)?);
    }
    Roots::new(roots, now())
        .with_context(|| format!("{option} takes roots and nothing else"))
        .map_err(Failure::usage)
}

/// The present, since 1970.
pub(crate) fn now() -> Duration {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
}

/// A failure of enrolling as this program reports it: what is not ours is refused, everything else is for the caller to put right.
pub(crate) fn failure(error: EnrolError) -> Failure {
    match error {
        EnrolError::Mismatch(_) | EnrolError::Kept { .. } => {
            Failure::NotOurs(Code::EnrolmentMismatch, anyhow!(error))
        }
        error => Failure::usage(anyhow!(error)),
    }
}

/// Waits as people do, and says for how long.
pub(crate) struct Patient;

impl Wait for Patient {
    fn wait(&mut self, time: Duration) {
        say(&format!(
            "The authority has no answer yet; asking again in {} seconds",
            time.as_secs().max(1)
        ));
        std::thread::sleep(time);
    }

    fn chance(&mut self) -> u16 {
        let mut bytes = [0; 2];
        // A machine without chance waits the shortest time: nothing secret hangs on it.
        let _ = getrandom::fill(&mut bytes);
        u16::from_be_bytes(bytes)
    }
}

/// A time in seconds since 1970 as people read it.
pub(crate) fn time(seconds: u64) -> String {
    UnixTime::from_secs(seconds).to_string()
}

/// Says what was obtained and written.
pub(crate) fn report(
    chain: &IssuedChain,
    path: &Path,
    previous: Option<&Path>,
    as_json: bool,
    output: &mut Output,
) {
    let own: &Own = chain.own();
    let standing = countersign_enrolment::Standing::of(own);
    if as_json {
        output.json(&json!({
            "version": 1,
            "chain": path.display().to_string(),
            "previous": previous.map(|path| path.display().to_string()),
            "certificates": chain.certificates().len(),
            "device": own.device(),
            "not_before": time(own.not_before()),
            "not_after": standing.end().map(time),
            "renew_from": standing.renew_from().map(time),
        }));
        return;
    }
    output.line(&format!("Wrote {}", path.display()));
    if let Some(previous) = previous {
        output.field("before it", &previous.display().to_string());
    }
    output.field("device", own.device().unwrap_or_default());
    output.field(
        "valid until",
        &standing.end().map_or_else(|| "for ever".to_owned(), time),
    );
    if let Some(from) = standing.renew_from() {
        output.field("renew from", &time(from));
    }
}

/// A failure as JSON, beside the text for people: whether asking again may help, and when.
pub(crate) fn report_failure(error: &EnrolError, output: &mut Output) {
    let after: Option<u64> = match error {
        EnrolError::Later { after } => Some(after.as_secs()),
        EnrolError::Busy { after, .. } => after.map(|after| after.as_secs()),
        _ => None,
    };
    let code = match error {
        EnrolError::Mismatch(_) | EnrolError::Kept { .. } => {
            Value::from(Code::EnrolmentMismatch.as_str())
        }
        _ => Value::Null,
    };
    output.json(&json!({
        "version": 1,
        "error": error.to_string(),
        "code": code,
        "pending": matches!(error, EnrolError::Later { .. }),
        "temporary": error.is_temporary(),
        "retry_after_seconds": after,
    }));
}
