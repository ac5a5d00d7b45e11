//! What lies in the directory as JSON. Each file has one fact, is written once or replaced whole, and names its version.

use std::path::Path;

use anyhow::Context as _;
use countersign_provisioning::Reason;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::bounded;
use crate::durable::{self, Existing};

/// Version of every record. A directory with another one is refused.
pub(crate) const VERSION: u32 = 1;

/// The largest record that is read, in bytes; the largest written is about 4,000.
const MAX_BYTES: u64 = 256 * 1024;

/// `ca.json`: says that this folder is an authority's.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Directory {
    pub(crate) version: u32,
    pub(crate) created: u64,
}

/// `authority.json`: one authority.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Authority {
    pub(crate) version: u32,
    /// Its name in this directory.
    pub(crate) id: String,
    /// The authority that issued it; absent for the root.
    pub(crate) issuer: Option<String>,
    pub(crate) organization: String,
    pub(crate) country: Option<String>,
    pub(crate) common_name: String,
    pub(crate) serial: String,
    pub(crate) spki_sha256: String,
    /// Where its key is, as a key URI; absent if it lies beside this record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) key: Option<String>,
    pub(crate) not_before: u64,
    pub(crate) not_after: u64,
    pub(crate) path_length: u8,
    pub(crate) development: bool,
    /// The authority of this directory whose place it takes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) replaces: Option<String>,
    /// The subject of the authority outside this directory that issued it; the certificates above are in `above.pem`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) external_issuer: Option<String>,
}

impl Authority {
    /// Whether it is a root, issued by itself.
    pub(crate) fn is_root(&self) -> bool {
        self.issuer.is_none() && self.external_issuer.is_none()
    }

    /// Whether it is valid at this time, in seconds.
    pub(crate) fn is_valid_at(&self, at: u64) -> bool {
        self.not_before <= at && at <= self.not_after
    }
}

/// `requests/ID/request.json`: an authority whose certificate was asked for elsewhere.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Request {
    pub(crate) version: u32,
    pub(crate) id: String,
    pub(crate) organization: String,
    pub(crate) country: Option<String>,
    pub(crate) common_name: String,
    pub(crate) spki_sha256: String,
    /// Where its key is, as a key URI; absent if it lies beside this record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) key: Option<String>,
    pub(crate) made: u64,
}

/// `issued/SERIAL.json`: one certificate, written before it is signed and completed before it is handed out.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Issued {
    pub(crate) version: u32,
    pub(crate) serial: String,
    pub(crate) issuer: String,
    /// A profile's name, or `intermediate`.
    pub(crate) profile: String,
    pub(crate) device_id: Option<String>,
    pub(crate) spki_sha256: String,
    pub(crate) not_before: u64,
    pub(crate) not_after: u64,
    pub(crate) no_rev_avail: bool,
    pub(crate) issued_at: u64,
    /// The certificate, PEM; empty until it is signed.
    pub(crate) certificate: String,
}

/// `revoked/SERIAL.json`: one revocation.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Revoked {
    pub(crate) version: u32,
    pub(crate) serial: String,
    pub(crate) at: u64,
    pub(crate) reason: String,
}

impl Revoked {
    /// Its reason.
    pub(crate) fn why(&self) -> anyhow::Result<Reason> {
        self.reason.parse().map_err(|error| {
            let serial = &self.serial;
            anyhow::anyhow!("the record of the revocation of {serial} is damaged: {error}")
        })
    }
}

/// `crl-number.json`: the highest number that a list of this authority has or may have.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CrlNumber {
    pub(crate) version: u32,
    pub(crate) number: u64,
}

/// `keys/SHA256.json`: what a public key was certified for. A key has one purpose and one device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct KeyUse {
    pub(crate) version: u32,
    pub(crate) profile: String,
    pub(crate) device_id: Option<String>,
}

pub(crate) fn write(
    path: &Path,
    record: &impl Serialize,
    existing: Existing,
) -> anyhow::Result<()> {
    let mut json = serde_json::to_vec_pretty(record).context("a record does not encode as JSON")?;
    json.push(b'\n');
    durable::write(path, &json, existing)
}

/// Reads a record; `None` when there is none.
pub(crate) fn read<T: DeserializeOwned>(path: &Path) -> anyhow::Result<Option<T>> {
    let bytes = match bounded::read(path, MAX_BYTES) {
        Ok(bytes) => bytes,
        Err(error) => {
            let io = error.downcast_ref::<std::io::Error>();
            return match io.map(std::io::Error::kind) {
                Some(std::io::ErrorKind::NotFound) => Ok(None),
                _ => Err(error.context("a record cannot be used")),
            };
        }
    };
    let value: serde_json::Value = serde_json::from_slice(&bytes)
        .with_context(|| format!("the record {} is damaged", path.display()))?;
    let version = value.get("version").and_then(serde_json::Value::as_u64);
    anyhow::ensure!(
        version == Some(u64::from(VERSION)),
        "the record {} has version {}, and this program knows version {VERSION}",
        path.display(),
        version.map_or("none".to_owned(), |version| version.to_string()),
    );
    serde_json::from_value(value)
        .map(Some)
        .with_context(|| format!("the record {} is damaged", path.display()))
}
