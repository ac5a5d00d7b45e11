//! One module for each verb, and what they share.

pub(crate) mod ceremony;
pub(crate) mod crl;
pub(crate) mod dev;
pub(crate) mod import_chain;
pub(crate) mod init;
pub(crate) mod intermediate;
pub(crate) mod issue;
pub(crate) mod lint_chain;
pub(crate) mod request;
pub(crate) mod revoke;
pub(crate) mod rotate;
pub(crate) mod show;

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use countersign_format::{Audience, Scope};
use countersign_keys::{PublicKey, SigningKey};
use countersign_provisioning::{CaName, Issued, Issuer, SECONDS_PER_DAY, Serial, Validity};
use countersign_trust_store::UnixTime;

use crate::arguments::ScopeArguments;
use crate::authority::Authority;
use crate::bounded;
use crate::output::Console;
use crate::passphrase;
use crate::records::{self, VERSION};

/// How far certificates and lists reach back, in seconds, so that a machine whose clock is a little slow accepts them
/// at once.
const BACKDATE: u64 = 300;

/// The largest certificate request, public key or certificate file that is read, in bytes.
const MAX_INPUT_BYTES: u64 = 64 * 1024;

/// What every verb gets from `main`.
#[derive(Debug)]
pub(crate) struct Context<'a> {
    pub(crate) now: UnixTime,
    pub(crate) console: &'a Console,
    pub(crate) passphrase: passphrase::Source,
    /// Where the passphrase comes from, for a ceremony to hand on.
    pub(crate) passphrase_file: Option<PathBuf>,
}

/// Until when an authority's lists are needed: the last end of what it issued, but for identities that never end, and no
/// later than its own, because nothing below it is valid after that.
fn last_end(authority: &Authority) -> anyhow::Result<u64> {
    let mut last = authority.record.not_before;
    for serial in authority.issued_serials()? {
        if let Some(issued) = authority.issued(&serial)? {
            last = last.max(issued.not_after);
        }
    }
    Ok(last.min(authority.record.not_after))
}

/// From shortly before `now`, but not before `issuer` is valid, for `days` days counted from that moment.
fn validity(now: UnixTime, days: u64, issuer: Option<Validity>) -> anyhow::Result<Validity> {
    let backdated = UnixTime::from_secs(now.as_secs().saturating_sub(BACKDATE));
    let start = match issuer {
        Some(issuer) => backdated.max(issuer.not_before()),
        None => backdated,
    };
    Ok(Validity::days(start, days)?)
}

/// Calendar years in days, leap days included.
fn years_in_days(years: u16) -> u64 {
    // 365.2425 days on average; the odd day does not matter to an authority's life.
    u64::from(years)
        .saturating_mul(3_652_425)
        .div_euclid(10_000)
}

/// The scope the arguments ask for, if any.
fn scope(arguments: &ScopeArguments) -> anyhow::Result<Option<Scope>> {
    if arguments.components.is_empty() {
        return Ok(None);
    }
    let audience = Audience {
        devices: arguments.devices.clone(),
        types: arguments.types.clone(),
    };
    Scope::new(arguments.components.clone(), audience)
        .map(Some)
        .context("the scope is not accepted")
}

/// Reads a file of any contents.
fn read_file(path: &Path) -> anyhow::Result<Vec<u8>> {
    let bytes = bounded::read(path, MAX_INPUT_BYTES)?;
    anyhow::ensure!(!bytes.is_empty(), "{} is empty", path.display());
    Ok(bytes)
}

/// Reads a file that holds one object, PEM with one of `labels` or DER.
fn read_object(path: &Path, labels: &[&str]) -> anyhow::Result<Vec<u8>> {
    let bytes = read_file(path)?;
    // X.690 §8.9: everything read here is a SEQUENCE.
    if bytes.first() == Some(&0x30) {
        return Ok(bytes);
    }
    let (label, der) = der::pem::decode_vec(&bytes).map_err(|error| {
        anyhow::anyhow!(
            "{} is neither DER nor one PEM block: {error}",
            path.display()
        )
    })?;
    anyhow::ensure!(
        labels.contains(&label),
        "{} holds a {label}, and a {} is needed here",
        path.display(),
        labels.first().unwrap_or(&"other object")
    );
    Ok(der)
}

/// The record of a new authority.
fn authority_record(
    id: &str,
    issuer: Option<&str>,
    name: &CaName,
    key: &SigningKey,
    issued: &Issued,
    path_length: u8,
    development: bool,
) -> records::Authority {
    records::Authority {
        version: VERSION,
        id: id.to_owned(),
        issuer: issuer.map(str::to_owned),
        organization: name.organization().to_owned(),
        country: name.country().map(str::to_owned),
        common_name: name.common_name().to_owned(),
        serial: issued.serial.to_string(),
        spki_sha256: key.public_key().spki_sha256().to_string(),
        key: None,
        not_before: issued.validity.not_before().as_secs(),
        not_after: issued.validity.not_after().as_secs(),
        path_length,
        development,
        replaces: None,
        external_issuer: None,
    }
}

/// The authority that took the place of `id`, if it is valid.
fn successor<'a>(all: &'a [Authority], id: &str, now: u64) -> Option<&'a Authority> {
    all.iter()
        .find(|other| other.record.replaces.as_deref() == Some(id) && other.record.is_valid_at(now))
}

/// Reads a file of certificates: PEM, one or more, or one in DER.
fn read_certificates(path: &Path) -> anyhow::Result<Vec<Vec<u8>>> {
    let bytes = read_file(path)?;
    if bytes.first() == Some(&0x30) {
        return Ok(vec![bytes]);
    }
    countersign_trust_store::pem::certificates(&bytes)
        .with_context(|| format!("{} could not be read", path.display()))
}

/// The record of a certificate that is to be signed.
fn issued_record(
    now: UnixTime,
    issuer: &Authority,
    (profile, device_id): (&str, Option<&str>),
    public_key: &PublicKey,
    serial: &Serial,
    validity: Validity,
) -> records::Issued {
    records::Issued {
        version: VERSION,
        serial: serial.to_string(),
        issuer: issuer.record.id.clone(),
        profile: profile.to_owned(),
        device_id: device_id.map(str::to_owned),
        spki_sha256: public_key.spki_sha256().to_string(),
        not_before: validity.not_before().as_secs(),
        not_after: validity.not_after().as_secs(),
        no_rev_avail: false,
        issued_at: now.as_secs(),
        certificate: String::new(),
    }
}

/// A revocation list that was made.
struct MadeCrl {
    number: u64,
    validity: Validity,
    revoked: usize,
    crl: Vec<u8>,
}

/// Makes, numbers and stores an authority's revocation list.
fn make_crl(
    context: &Context<'_>,
    authority: &Authority,
    key: &SigningKey,
    days: u64,
) -> anyhow::Result<MadeCrl> {
    let issuer = Issuer::new(key, &authority.certificate()?)?;
    let validity = validity(context.now, days, Some(issuer.validity()))?;
    let mut revoked = authority.revocations()?;
    for revocation in &mut revoked {
        // The list is dated back; an entry must not be younger than its list.
        revocation.at = revocation.at.min(validity.not_before());
    }
    let number = authority.next_crl_number(context.now)?;
    let crl = issuer.crl(&countersign_provisioning::RevocationList {
        number,
        validity,
        revoked: &revoked,
    })?;
    authority.store_crl(&crl)?;
    Ok(MadeCrl {
        number,
        validity,
        revoked: revoked.len(),
        crl,
    })
}

/// Whole days from `now` until `end`.
fn days_until(now: UnixTime, end: u64) -> u64 {
    end.saturating_sub(now.as_secs())
        .div_euclid(SECONDS_PER_DAY)
}
