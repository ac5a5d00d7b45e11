//! `issue`: a device's certificate, recorded first and handed out second.

use std::path::Path;

use anyhow::Context as _;
use countersign_backend_file::rand_core::TryCryptoRng;
use countersign_format::{AttestationHardware, DeviceIdentity, DeviceMetadata};
use countersign_keys::{PublicKey, SigningKey};
use countersign_provisioning::{
    CertificateRequest, DeviceName, EndEntity, Issued, Issuer, Profile, Serial, Validity,
};
use countersign_trust_store::TpmKeyArea;
use serde::Serialize;

use super::{Context, issued_record, read_file, read_object, scope, validity};
use crate::arguments::{Hardware, Issue};
use crate::authority::Authority;
use crate::directory::CaDirectory;
use crate::output::{self, CERTIFICATE};

/// Days that a certificate is valid where nobody says otherwise.
const USUAL_DAYS: u64 = 365;

#[derive(Serialize)]
struct Report<'a> {
    version: u32,
    serial: String,
    issuer: &'a str,
    profile: &'a str,
    device_id: &'a str,
    spki_sha256: String,
    not_before: u64,
    not_after: u64,
    chain_pem: String,
    ignored: &'a [String],
}

pub(crate) fn run(
    context: &Context<'_>,
    dir: &Path,
    arguments: &Issue,
    rng: &mut impl TryCryptoRng,
) -> anyhow::Result<()> {
    output::check_writable(&arguments.output)?;
    check_hardware(arguments)?;
    let given = given_identity(arguments)?;
    let (public_key, identity, ignored) = subject_key(arguments, given.as_ref())?;
    if let Some(path) = &arguments.tpm_public_area {
        anyhow::ensure!(
            tpm_key(path)? == public_key,
            "{} is the public area of another key than the one to certify: give both of the same key",
            path.display()
        );
    }
    if let Some(hardware) = arguments.hardware {
        context.console.warn(&format!(
            "the certificate will say that this key lies in hardware ({}), and only you know that; verifiers will believe it",
            AttestationHardware::from(hardware)
        ));
    }
    for request in &ignored {
        context
            .console
            .note(&format!("ignored in the request: {request}"));
    }

    let directory = CaDirectory::open(dir)?;
    let authority = match &arguments.issuer {
        Some(id) => {
            let authority = directory.authority(id)?;
            let all = directory.list()?;
            if let Some(successor) = super::successor(&all, id, context.now.as_secs()) {
                context.console.warn(&format!(
                    "{id} was replaced by {}, and issues all the same because you name it",
                    successor.record.id
                ));
            }
            authority
        }
        None => newest_intermediate(context, &directory)?,
    };
    if let Some(revoked) = directory.revocation_of(&authority)? {
        anyhow::bail!(
            "{} is revoked ({}), and hosts refuse what it issues: name another authority with --issuer, or make one with \
             `countersign-ca intermediate`",
            authority.record.id,
            revoked.reason
        );
    }
    let key = authority.key(&context.passphrase)?;
    let issuer = Issuer::new(&key, &authority.certificate()?)?;
    let request = EndEntity {
        name: device_name(arguments, &authority, identity)?,
        metadata: metadata(arguments)?,
        validity: period(context, arguments, issuer.validity())?,
        scope: scope(&arguments.scope)?,
        hardware: arguments.hardware.map(Into::into),
        dns_names: arguments.dns_names.clone(),
        no_rev_avail: arguments.no_rev_avail,
    };
    let issued = make_end_entity(
        context,
        &directory,
        &authority,
        &key,
        arguments.profile,
        &public_key,
        &request,
        rng,
    )?;

    let mut chain = vec![issued.certificate.clone()];
    chain.extend(chain_above(&directory, &authority)?);
    context
        .console
        .deliver(&arguments.output, CERTIFICATE, &chain)
        .with_context(|| {
            format!(
                "the certificate is on record and `countersign-ca show {}` prints it",
                issued.serial
            )
        })?;
    context.console.note(&format!(
        "issued {} for {} by {}, serial {}, valid until {}",
        arguments.profile,
        request.name.identity(),
        authority.record.id,
        issued.serial,
        issued.validity.not_after(),
    ));
    let report = Report {
        version: 1,
        serial: issued.serial.to_string(),
        issuer: &authority.record.id,
        profile: arguments.profile.as_str(),
        device_id: request.name.identity().as_str(),
        spki_sha256: public_key.spki_sha256().to_string(),
        not_before: issued.validity.not_before().as_secs(),
        not_after: issued.validity.not_after().as_secs(),
        chain_pem: output::pem(CERTIFICATE, &chain)?,
        ignored: &ignored,
    };
    context.console.result("", &report)
}

/// The days that were asked for; else a year, or what the issuer has left if that is less.
fn period(context: &Context<'_>, arguments: &Issue, issuer: Validity) -> anyhow::Result<Validity> {
    if let Some(days) = arguments.days {
        return validity(context.now, days, Some(issuer));
    }
    let usual = validity(context.now, USUAL_DAYS, Some(issuer))?;
    if issuer.contains(&usual) || arguments.profile == Profile::IDevId {
        return Ok(usual);
    }
    anyhow::ensure!(
        issuer.not_after().as_secs() > context.now.as_secs(),
        "the issuer ended on {}: rotate it",
        issuer.not_after()
    );
    context.console.note(&format!(
        "the issuer ends on {}, and so does this certificate: rotate the issuer to have longer ones",
        issuer.not_after()
    ));
    Ok(Validity::new(usual.not_before(), issuer.not_after())?)
}

/// Records and issues; the certificate is returned only when it is on the disk.
#[expect(
    clippy::too_many_arguments,
    reason = "each is a different thing, and the two callers have all of them"
)]
pub(super) fn make_end_entity(
    context: &Context<'_>,
    directory: &CaDirectory,
    authority: &Authority,
    key: &SigningKey,
    profile: Profile,
    public_key: &PublicKey,
    request: &EndEntity,
    rng: &mut impl TryCryptoRng,
) -> anyhow::Result<Issued> {
    let issuer = Issuer::new(key, &authority.certificate()?)?;
    let serial = Serial::generate(rng)?;
    let device_id = Some(request.name.identity().as_str());
    let mut record = issued_record(
        context.now,
        authority,
        (profile.as_str(), device_id),
        public_key,
        &serial,
        request.validity,
    );
    record.no_rev_avail = request.no_rev_avail;
    directory.issue(authority, record, || {
        issuer.end_entity_numbered(serial, profile, public_key, request, rng)
    })
}

/// The certificates from `authority` upwards, without the root: the host has that.
pub(super) fn chain_above(
    directory: &CaDirectory,
    authority: &Authority,
) -> anyhow::Result<Vec<Vec<u8>>> {
    let mut chain = Vec::new();
    if authority.record.is_root() {
        return Ok(chain);
    }
    chain.push(authority.certificate()?);
    chain.extend(authority.above()?);
    let mut next = authority.record.issuer.clone();
    while let Some(id) = next {
        let above = directory.authority(&id)?;
        if above.record.is_root() {
            break;
        }
        chain.push(above.certificate()?);
        chain.extend(above.above()?);
        next = above.record.issuer;
        // Each authority was made below one that existed, so this ends; a damaged record must not make it endless.
        anyhow::ensure!(
            chain.len() <= 8,
            "the records of the authorities go in circles"
        );
    }
    Ok(chain)
}

fn given_identity(arguments: &Issue) -> anyhow::Result<Option<DeviceIdentity>> {
    if let Some(mac) = &arguments.device_mac {
        return DeviceIdentity::from_mac_text(mac)
            .map(Some)
            .context("--device-mac is not accepted");
    }
    if let Some(uuid) = &arguments.device_uuid {
        return DeviceIdentity::from_uuid_text(uuid)
            .map(Some)
            .context("--device-uuid is not accepted");
    }
    Ok(arguments.device_id.clone())
}

/// The key to certify, whose it is, and what else its request asked for.
fn subject_key(
    arguments: &Issue,
    given: Option<&DeviceIdentity>,
) -> anyhow::Result<(PublicKey, DeviceIdentity, Vec<String>)> {
    if let Some(path) = &arguments.csr {
        let der = read_object(path, &["CERTIFICATE REQUEST", "NEW CERTIFICATE REQUEST"])?;
        let request = CertificateRequest::verify(&der)
            .with_context(|| format!("{} was refused", path.display()))?;
        let identity = request
            .identity(given)
            .with_context(|| format!("{} was refused", path.display()))?;
        return Ok((
            request.public_key().clone(),
            identity,
            request.ignored().to_vec(),
        ));
    }
    let public_key = if let Some(path) = &arguments.public_key {
        let der = read_object(path, &["PUBLIC KEY"])?;
        PublicKey::from_spki_der(&der).with_context(|| format!("{} was refused", path.display()))?
    } else {
        let path = arguments
            .tpm_public_area
            .as_ref()
            .context("give --csr, --public-key or --tpm-public-area")?;
        tpm_key(path)?
    };
    let identity = given
        .cloned()
        .context("a public key does not say whose it is: give --device-id")?;
    Ok((public_key, identity, Vec::new()))
}

/// Whether the kind of hardware is asked for where there is one, with what shows it.
fn check_hardware(arguments: &Issue) -> anyhow::Result<()> {
    anyhow::ensure!(
        arguments.hardware.is_none() || arguments.profile == Profile::Attestation,
        "--hardware is for --profile attestation: leave it out"
    );
    match (arguments.hardware, &arguments.tpm_public_area) {
        (Some(Hardware::Tpm), None) => anyhow::bail!(
            "--hardware tpm needs --tpm-public-area FILE, as `tpm2_readpublic -c HANDLE -o FILE` writes it: the key alone does not \
             show that it is a TPM's attestation key"
        ),
        (Some(Hardware::Atecc608), Some(_)) => {
            anyhow::bail!("--tpm-public-area is for --hardware tpm: leave it out")
        }
        _ => Ok(()),
    }
}

/// The key of a TPM's public area, if it is one that may be certified for attestation.
fn tpm_key(path: &Path) -> anyhow::Result<PublicKey> {
    let bytes = read_file(path)?;
    // TPM2B_PUBLIC has its size in front (TPM 2.0 part 2, §12.2.5). No TPMT_PUBLIC begins so: its type would be that size.
    let area = match bytes.split_first_chunk() {
        Some((size, rest)) if usize::from(u16::from_be_bytes(*size)) == rest.len() => rest,
        _ => &bytes,
    };
    let refused = || format!("{} was refused", path.display());
    let area = TpmKeyArea::read(area).with_context(refused)?;
    area.is_attestation_key().with_context(refused)?;
    Ok(area.key().clone())
}

fn device_name(
    arguments: &Issue,
    authority: &Authority,
    identity: DeviceIdentity,
) -> anyhow::Result<DeviceName> {
    let organization = arguments
        .org
        .as_deref()
        .unwrap_or(&authority.record.organization);
    let mut name = DeviceName::new(identity).with_organization(organization)?;
    if let Some(unit) = &arguments.unit {
        name = name.with_organizational_unit(unit)?;
    }
    if let Some(common_name) = &arguments.common_name {
        name = name.with_common_name(common_name)?;
    }
    Ok(name)
}

fn metadata(arguments: &Issue) -> anyhow::Result<DeviceMetadata> {
    let mut metadata = DeviceMetadata::default();
    if let Some(text) = &arguments.device_type {
        metadata = metadata.with_device_type(text)?;
    }
    if let Some(text) = &arguments.hardware_revision {
        metadata = metadata.with_hardware_revision(text)?;
    }
    if let Some(text) = &arguments.firmware_version {
        metadata = metadata.with_firmware_version(text)?;
    }
    Ok(metadata.with_capabilities(&arguments.capabilities)?)
}

/// After a rotation both intermediates exist for a while; the newest that is valid and not replaced issues.
fn newest_intermediate(
    context: &Context<'_>,
    directory: &CaDirectory,
) -> anyhow::Result<Authority> {
    let now = context.now.as_secs();
    let all = directory.list()?;
    let mut newest = None;
    for authority in all.iter().rev() {
        let record = &authority.record;
        let is_replaced = super::successor(&all, &record.id, now).is_some();
        if !record.is_root()
            && record.is_valid_at(now)
            && !is_replaced
            && directory.revocation_of(authority)?.is_none()
        {
            newest = Some(record.id.clone());
            break;
        }
    }
    let newest = newest.context("there is no intermediate that is valid now: make one with `countersign-ca intermediate`, or name an authority with --issuer")?;
    directory.authority(&newest)
}
