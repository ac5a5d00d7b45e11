//! `key csr`: a certification request (PKCS#10), signed by the key that it asks a certificate for.

use std::path::PathBuf;

use anyhow::{Context as _, anyhow};
use countersign_format::{
    Audience, DeviceIdentity, DeviceMetadata, FormatError, NamePattern, Scope,
};
use countersign_signer::request::{self, RequestError, RequestFields, Subject};

use super::ExistingKey;
use crate::shared::failure::Failure;
use crate::shared::files;
use crate::shared::output::Output;

/// Make a certification request (PKCS#10) for a key
///
/// The request is signed by the key itself, which proves that whoever asks holds it. What is granted of it, the
/// authority decides.
#[derive(clap::Args)]
#[command(
    group = clap::ArgGroup::new("device"),
    group = clap::ArgGroup::new("who").args(["common_name", "device_id", "device_mac", "device_uuid"]).multiple(true).required(true),
    after_help = "\
Examples:
  countersign key csr build.key --common-name 'Build host 7' --org Acme --device-id build-07 --output build.csr
  countersign key csr tpm:0x81010001 --device-mac 00:1b:21:3c:4d:5e --device-type gateway --output gw.csr
  countersign key csr build.key --device-id build-07 --scope 'acme:*' > build.csr"
)]
pub(crate) struct Arguments {
    #[command(flatten)]
    key: ExistingKey,
    /// Common name (CN)
    #[arg(long, value_name = "TEXT")]
    common_name: Option<String>,
    /// Organisation (O)
    #[arg(long, value_name = "TEXT")]
    org: Option<String>,
    /// Organisational unit (OU)
    #[arg(long, value_name = "TEXT")]
    unit: Option<String>,
    /// Country (C), two letters
    #[arg(long, value_name = "CC")]
    country: Option<String>,
    /// Device id: 1 to 64 letters, digits and . _ : -
    #[arg(long, value_name = "ID", group = "device")]
    device_id: Option<String>,
    /// Device id made from a MAC address, such as 00:1b:21:3c:4d:5e
    #[arg(long, value_name = "MAC", group = "device")]
    device_mac: Option<String>,
    /// Device id made from a UUID
    #[arg(long, value_name = "UUID", group = "device")]
    device_uuid: Option<String>,
    /// Type of the device, such as gateway
    #[arg(long, value_name = "TEXT")]
    device_type: Option<String>,
    /// Hardware revision
    #[arg(long, value_name = "TEXT")]
    hardware_revision: Option<String>,
    /// Firmware version
    #[arg(long, value_name = "TEXT")]
    firmware_version: Option<String>,
    /// A capability of the device; may be repeated
    #[arg(long = "capability", value_name = "TEXT")]
    capabilities: Vec<String>,
    /// Component names that the key wants to sign: NAMESPACE:NAME or NAMESPACE:*; may be repeated
    #[arg(long = "scope", value_name = "PATTERN")]
    components: Vec<String>,
    /// Narrow the scope to components for this device; may be repeated
    #[arg(long = "scope-device", value_name = "ID", requires = "components")]
    scope_devices: Vec<String>,
    /// Narrow the scope to components for this type of device; may be repeated
    #[arg(long = "scope-type", value_name = "TYPE", requires = "components")]
    scope_types: Vec<String>,
    /// Host name for a TLS certificate; may be repeated
    #[arg(long = "dns", value_name = "NAME")]
    dns_names: Vec<String>,
    /// Where to write the request, PEM (default: standard output)
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Overwrite an existing output
    #[arg(long)]
    force: bool,
}

pub(super) fn run(arguments: &Arguments, output: &mut Output) -> Result<(), Failure> {
    let fields = fields(arguments)?;
    let existing = files::forced(arguments.force);
    if let Some(path) = &arguments.output {
        files::check_output(path, existing)?;
    }
    let key = arguments.key.open()?;
    let pem = request::certification_request(&key, &fields)
        .and_then(|der| request::to_pem(&der))
        .map_err(|error| match error {
            RequestError::Key(error) => Failure::key(error),
            error => Failure::usage(anyhow!(error).context("cannot make the request")),
        })?;
    match &arguments.output {
        Some(path) => {
            files::write(path, pem.as_bytes(), existing)?;
            output.line(&format!("Wrote {}", path.display()));
        }
        None => output.raw(&pem),
    }
    Ok(())
}

fn fields(arguments: &Arguments) -> Result<RequestFields, Failure> {
    Ok(RequestFields {
        subject: Subject {
            common_name: arguments.common_name.clone(),
            organization: arguments.org.clone(),
            organizational_unit: arguments.unit.clone(),
            country: arguments.country.clone(),
            serial_number: None,
        },
        identity: identity(arguments)?,
        metadata: metadata(arguments)
            .context("the device's description")
            .map_err(Failure::usage)?,
        dns_names: arguments.dns_names.clone(),
        scope: scope(arguments)?,
    })
}

fn identity(arguments: &Arguments) -> Result<Option<DeviceIdentity>, Failure> {
    let parsed = match (
        &arguments.device_id,
        &arguments.device_mac,
        &arguments.device_uuid,
    ) {
        (Some(id), ..) => DeviceIdentity::parse(id),
        (_, Some(mac), _) => DeviceIdentity::from_mac_text(mac),
        (.., Some(uuid)) => DeviceIdentity::from_uuid_text(uuid),
        _ => return Ok(None),
    };
    parsed
        .map(Some)
        .context("the device id")
        .map_err(Failure::usage)
}

fn metadata(arguments: &Arguments) -> Result<DeviceMetadata, FormatError> {
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
    if !arguments.capabilities.is_empty() {
        metadata = metadata.with_capabilities(&arguments.capabilities)?;
    }
    Ok(metadata)
}

fn scope(arguments: &Arguments) -> Result<Option<Scope>, Failure> {
    if arguments.components.is_empty() {
        return Ok(None);
    }
    let patterns: Result<Vec<_>, _> = arguments
        .components
        .iter()
        .map(|text| NamePattern::parse(text))
        .collect();
    let audience = Audience {
        devices: arguments.scope_devices.clone(),
        types: arguments.scope_types.clone(),
    };
    patterns
        .and_then(|patterns| Scope::new(patterns, audience))
        .map(Some)
        .context("the scope")
        .map_err(Failure::usage)
}
