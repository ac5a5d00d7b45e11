//! `intermediate`: an authority below the root, or below another that allows it.

use std::path::Path;

use anyhow::Context as _;
use countersign_backend_file::rand_core::TryCryptoRng;
use countersign_keys::SigningKey;
use countersign_provisioning::{CaName, Issuer, Serial, Validity};
use countersign_trust_store::UnixTime;
use serde::Serialize;

use super::{Context, authority_record, issued_record, scope, validity, years_in_days};
use crate::arguments::NewIntermediate;
use crate::authority::Authority;
use crate::directory::{CaDirectory, INTERMEDIATE};
use crate::new_key::KeyPlan;

/// Years that an intermediate is valid if nothing was said.
const YEARS: u16 = 5;

#[derive(Serialize)]
struct Report<'a> {
    version: u32,
    id: &'a str,
    issuer: &'a str,
    /// Whose place it takes.
    #[serde(skip_serializing_if = "Option::is_none")]
    replaces: Option<&'a str>,
    serial: &'a str,
    spki_sha256: &'a str,
    not_after: u64,
    ends_with_issuer: bool,
    /// Until then the lists of the one that it replaces are needed.
    #[serde(skip_serializing_if = "Option::is_none")]
    old_needed_until: Option<u64>,
    certificate: String,
    encrypted: Option<bool>,
    key: Option<&'a str>,
}

pub(crate) fn run(
    context: &Context<'_>,
    dir: &Path,
    arguments: &NewIntermediate,
    rng: &mut impl TryCryptoRng,
) -> anyhow::Result<()> {
    let name = arguments
        .name
        .as_deref()
        .context("give --name TEXT, the common name of the new authority")?;
    let directory = CaDirectory::open(dir)?;
    let parent = directory.authority(&arguments.issuer)?;
    let id = match &arguments.authority.id {
        Some(id) => id.clone(),
        None => id_from_name(name),
    };
    directory.check_free(&id).with_context(|| {
        format!("the name {name:?} does not give the authority a folder of its own")
    })?;
    let parent_key = parent.key(&context.passphrase)?;
    let plan = KeyPlan::new(&arguments.authority.key, &context.passphrase)?;
    let encrypted = plan.encrypted();

    let issuer = Issuer::new(&parent_key, &parent.certificate()?)?;
    let wanted = countersign_provisioning::Intermediate {
        name: CaName::new(
            &parent.record.organization,
            name,
            parent.record.country.as_deref(),
        )?,
        validity: period(context.now, arguments.authority.years, issuer.validity())?,
        path_length: arguments.path_length,
        scope: scope(&arguments.scope)?,
    };
    let authority = make_intermediate(
        context,
        &directory,
        &Place {
            parent: &parent,
            parent_key: &parent_key,
            id: &id,
            replaces: None,
        },
        &wanted,
        plan,
        rng,
    )?;
    report(context, &authority, &issuer, encrypted, None)
}

/// Tells of an authority that was made, and of the one that it replaces and until when that is needed.
pub(super) fn report(
    context: &Context<'_>,
    made: &Authority,
    issuer: &Issuer<'_>,
    encrypted: Option<bool>,
    replaced: Option<(&Authority, u64)>,
) -> anyhow::Result<()> {
    if encrypted == Some(false) {
        context
            .console
            .warn("the key is not encrypted: whoever reads this folder is the authority");
    }
    let record = &made.record;
    let above = record.issuer.as_deref().unwrap_or_default();
    let certificate = made.certificate_path().display().to_string();
    let ends_with_issuer = record.not_after == issuer.validity().not_after().as_secs();
    let until = if ends_with_issuer {
        ", when its issuer ends"
    } else {
        ""
    };
    let replaces = replaced.map(|(old, _)| old.record.id.as_str());
    let place = replaces.map_or_else(String::new, |old| format!("in place of  {old}\n"));
    context.console.result(
        &format!(
            "authority    {}: {}, {}\n{place}issued by    {above}\nserial       {}\nkey          sha256:{}\nvalid until  {}{until}\ncertificate  {certificate}\n",
            record.id,
            record.common_name,
            record.organization,
            record.serial,
            record.spki_sha256,
            UnixTime::from_secs(record.not_after),
        ),
        &Report {
            version: 1,
            id: &record.id,
            issuer: above,
            replaces,
            serial: &record.serial,
            spki_sha256: &record.spki_sha256,
            not_after: record.not_after,
            ends_with_issuer,
            old_needed_until: replaced.map(|(_, until)| until),
            certificate: certificate.clone(),
            encrypted,
            key: record.key.as_deref(),
        },
    )
}

/// As many years as were asked for, whose end the issuing core refuses if it lies beyond the issuer's; by itself the
/// period ends no later than the issuer's, so that an authority can be made below any other.
pub(super) fn period(
    now: UnixTime,
    years: Option<u16>,
    issuer: Validity,
) -> anyhow::Result<Validity> {
    let whole = validity(now, years_in_days(years.unwrap_or(YEARS)), Some(issuer))?;
    if years.is_some() || whole.not_after() <= issuer.not_after() {
        return Ok(whole);
    }
    Ok(Validity::new(whole.not_before(), issuer.not_after())?)
}

/// Where a new authority stands.
pub(super) struct Place<'a> {
    pub(super) parent: &'a Authority,
    pub(super) parent_key: &'a SigningKey,
    /// Its name in the directory.
    pub(super) id: &'a str,
    /// Whose place it takes.
    pub(super) replaces: Option<&'a str>,
}

/// Makes the key, has it certified, which is recorded with the issuer first, and puts the authority in place.
pub(super) fn make_intermediate(
    context: &Context<'_>,
    directory: &CaDirectory,
    place: &Place<'_>,
    wanted: &countersign_provisioning::Intermediate,
    plan: KeyPlan,
    rng: &mut impl TryCryptoRng,
) -> anyhow::Result<Authority> {
    let Place {
        parent,
        parent_key,
        id,
        replaces,
    } = *place;
    let issuer = Issuer::new(parent_key, &parent.certificate()?)?;
    let new = plan.make(rng)?;
    directory.add(id, &new, |key| {
        let public_key = key.public_key();
        directory.check_authority_key(&public_key.spki_sha256().to_string())?;
        let serial = Serial::generate(rng)?;
        let record = issued_record(
            context.now,
            parent,
            (INTERMEDIATE, None),
            public_key,
            &serial,
            wanted.validity,
        );
        let issued = directory.issue(parent, record, || {
            issuer.intermediate_numbered(serial, public_key, wanted, rng)
        })?;
        let mut record = authority_record(
            id,
            Some(&parent.record.id),
            &wanted.name,
            key,
            &issued,
            wanted.path_length,
            false,
        );
        record.replaces = replaces.map(str::to_owned);
        Ok((record, issued.certificate))
    })
}

/// A folder's name from a common name: its letters and digits, joined by hyphens.
pub(super) fn id_from_name(name: &str) -> String {
    let words: Vec<String> = name
        .split(|character: char| !character.is_ascii_alphanumeric())
        .filter(|word| !word.is_empty())
        .map(str::to_ascii_lowercase)
        .collect();
    words.join("-").chars().take(64).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_are_named_after_their_authorities() {
        assert_eq!(id_from_name("Acme Devices 1"), "acme-devices-1");
        assert_eq!(id_from_name("../../etc"), "etc");
        assert_eq!(id_from_name("日本"), "");
    }
}
