//! The shape of `component.toml`, and the checks that know where a value stands.

use super::quantity::{Bytes, Milliseconds};
use super::{DocumentSource, Manifest, ManifestError};
use countersign_format::{
    Audience, ComponentName, DirectoryGrant, FormatError, Grants, GuestLimits, KeyGrant, Stdio,
};
use serde::Deserialize;
use std::collections::BTreeMap;
use toml::Spanned;

/// `component.toml`, and `[package.metadata.countersign]`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct ManifestFile {
    name: Spanned<String>,
    version: Option<Spanned<String>>,
    #[serde(default)]
    security_version: u64,
    #[serde(default)]
    audience: AudiencePart,
    #[serde(default)]
    grants: GrantsPart,
    #[serde(default)]
    limits: LimitsPart,
    #[serde(default)]
    documents: Vec<DocumentPart>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct AudiencePart {
    #[serde(default)]
    devices: Vec<Spanned<String>>,
    #[serde(default)]
    types: Vec<Spanned<String>>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct GrantsPart {
    #[serde(default)]
    args: bool,
    #[serde(default)]
    env: Vec<Spanned<String>>,
    #[serde(default)]
    stdio: Vec<Stream>,
    #[serde(default)]
    directories: Vec<Spanned<DirectoryPart>>,
    http_outgoing: Option<Vec<Spanned<String>>>,
    #[serde(default)]
    http_incoming: bool,
    sockets: Option<Vec<Spanned<String>>>,
    #[serde(default)]
    wall_clock: bool,
    #[serde(default)]
    keys: BTreeMap<Spanned<String>, KeyPart>,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Stream {
    Stdin,
    Stdout,
    Stderr,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DirectoryPart {
    guest: String,
    #[serde(default)]
    writable: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct KeyPart {
    #[serde(default)]
    contexts: Vec<String>,
    per_minute: Option<u32>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct LimitsPart {
    memory: Option<Bytes>,
    table_elements: Option<u64>,
    run: Option<Milliseconds>,
    cpu: Option<Milliseconds>,
    handles: Option<u64>,
    hostcall: Option<Bytes>,
    log: Option<Bytes>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct DocumentPart {
    path: String,
    media_type: String,
}

/// As much of a Cargo.toml as concerns us; Cargo checks the rest.
#[derive(Deserialize)]
struct CargoFile {
    package: Option<CargoPackage>,
}

#[derive(Deserialize)]
struct CargoPackage {
    version: Option<Spanned<toml::Value>>,
    metadata: Option<CargoMetadata>,
}

#[derive(Deserialize)]
struct CargoMetadata {
    countersign: Option<ManifestFile>,
}

pub(super) fn component_toml(text: &str) -> Result<Manifest, ManifestError> {
    let file: ManifestFile = toml::from_str(text).map_err(syntax)?;
    let Some(version) = &file.version else {
        return Err(ManifestError::new(
            "the key `version` is missing, as in version = \"1.0.0\"",
        ));
    };
    let version = parse_version(version)?;
    manifest(file, version)
}

pub(super) fn cargo_toml(text: &str) -> Result<Manifest, ManifestError> {
    let file: CargoFile = toml::from_str(text).map_err(syntax)?;
    let package = file
        .package
        .ok_or_else(|| ManifestError::new("it has no [package]; name the manifest of a package"))?;
    let ours = package.metadata.and_then(|metadata| metadata.countersign).ok_or_else(|| {
        ManifestError::new("add [package.metadata.countersign] with name = \"namespace:name\", or write a component.toml")
    })?;
    let version = match (&ours.version, package.version) {
        (Some(version), _) => parse_version(version)?,
        (None, Some(version)) => match version.get_ref().as_str() {
            Some(text) => parse_version(&Spanned::new(version.span(), text.to_owned()))?,
            // `version.workspace = true` lies in another file.
            None => {
                return Err(ManifestError::at(
                    version.span(),
                    "the version is inherited; name it in [package.metadata.countersign] as well",
                ));
            }
        },
        (None, None) => {
            return Err(ManifestError::new(
                "the key `version` is missing in [package]",
            ));
        }
    };
    manifest(ours, version)
}

fn syntax(error: toml::de::Error) -> ManifestError {
    let message = error.message().trim_end().replace('\n', "; ");
    match error.span() {
        Some(span) => ManifestError::at(span, message),
        None => ManifestError::new(message),
    }
}

fn parse_version(text: &Spanned<String>) -> Result<semver::Version, ManifestError> {
    semver::Version::parse(text.get_ref()).map_err(|error| {
        ManifestError::at(
            text.span(),
            format!(
                "{:?} is not a semantic version such as \"1.0.0\": {error}",
                text.get_ref()
            ),
        )
    })
}

fn manifest(file: ManifestFile, version: semver::Version) -> Result<Manifest, ManifestError> {
    let name = ComponentName::parse(file.name.get_ref()).map_err(|error| at(&file.name, error))?;
    Ok(Manifest {
        version,
        security_version: file.security_version,
        audience: audience(file.audience)?,
        grants: grants(file.grants)?,
        limits: limits(&file.limits),
        documents: file
            .documents
            .into_iter()
            .map(|document| DocumentSource {
                path: document.path.into(),
                media_type: document.media_type,
            })
            .collect(),
        ..Manifest::new(name, semver::Version::new(0, 0, 0))
    })
}

fn at<T>(value: &Spanned<T>, error: FormatError) -> ManifestError {
    ManifestError::at(value.span(), error.to_string())
}

/// Checks each entry by itself, with the rule that the format has for the list, so that its place is known.
fn each(
    entries: &[Spanned<String>],
    check: impl Fn(String) -> Result<(), FormatError>,
) -> Result<Vec<String>, ManifestError> {
    for entry in entries {
        check(entry.get_ref().clone()).map_err(|error| at(entry, error))?;
    }
    Ok(entries
        .iter()
        .map(|entry| entry.get_ref().clone())
        .collect())
}

fn audience(part: AudiencePart) -> Result<Audience, ManifestError> {
    let devices = each(&part.devices, |text| {
        Audience {
            devices: vec![text],
            ..Audience::default()
        }
        .normalise()
    })?;
    let types = each(&part.types, |text| {
        Audience {
            types: vec![text],
            ..Audience::default()
        }
        .normalise()
    })?;
    let mut audience = Audience { devices, types };
    // What is left are entries given twice and lists that are too long.
    audience
        .normalise()
        .map_err(|error| ManifestError::new(format!("[audience]: {error}")))?;
    Ok(audience)
}

fn grants(part: GrantsPart) -> Result<Grants, ManifestError> {
    let list = |entries: &[Spanned<String>], one: fn(String) -> Grants| {
        each(entries, |text| one(text).normalise())
    };
    let env = list(&part.env, |text| Grants {
        env: vec![text],
        ..Grants::default()
    })?;
    let http = |text| Grants {
        http_outgoing: Some(vec![text]),
        ..Grants::default()
    };
    let http_outgoing = part
        .http_outgoing
        .as_deref()
        .map(|entries| list(entries, http))
        .transpose()?;
    let socket = |text| Grants {
        sockets: Some(vec![text]),
        ..Grants::default()
    };
    let sockets = part
        .sockets
        .as_deref()
        .map(|entries| list(entries, socket))
        .transpose()?;

    let mut directories = Vec::with_capacity(part.directories.len());
    for entry in &part.directories {
        let DirectoryPart { guest, writable } = entry.get_ref();
        let grant = DirectoryGrant {
            guest: guest.clone(),
            writable: *writable,
        };
        Grants {
            directories: vec![grant.clone()],
            ..Grants::default()
        }
        .normalise()
        .map_err(|error| at(entry, error))?;
        directories.push(grant);
    }
    let mut keys = Vec::with_capacity(part.keys.len());
    for (name, key) in &part.keys {
        let grant = KeyGrant {
            name: name.get_ref().clone(),
            contexts: key.contexts.clone(),
            per_minute: key.per_minute,
        };
        Grants {
            keys: vec![grant.clone()],
            ..Grants::default()
        }
        .normalise()
        .map_err(|error| at(name, error))?;
        keys.push(grant);
    }
    let mut grants = Grants {
        args: part.args,
        env,
        stdio: Stdio {
            stdin: part.stdio.contains(&Stream::Stdin),
            stdout: part.stdio.contains(&Stream::Stdout),
            stderr: part.stdio.contains(&Stream::Stderr),
        },
        directories,
        http_outgoing,
        http_incoming: part.http_incoming,
        sockets,
        wall_clock: part.wall_clock,
        keys,
    };
    // What is left are entries given twice and lists that are too long.
    grants
        .normalise()
        .map_err(|error| ManifestError::new(format!("[grants]: {error}")))?;
    Ok(grants)
}

fn limits(part: &LimitsPart) -> GuestLimits {
    GuestLimits {
        memory_bytes: part.memory.map(|bytes| bytes.0),
        table_elements: part.table_elements,
        run_milliseconds: part.run.map(|time| time.0),
        cpu_milliseconds: part.cpu.map(|time| time.0),
        handles: part.handles,
        hostcall_bytes: part.hostcall.map(|bytes| bytes.0),
        log_bytes: part.log.map(|bytes| bytes.0),
    }
}
