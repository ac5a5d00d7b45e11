//! What is the same for every device of a station, and what is not.

use std::path::PathBuf;

use countersign_format::{DeviceIdentity, DeviceMetadata, Digest, Scope};
use countersign_issuing::Issuing;
use countersign_keys::KeyUri;
use countersign_provisioning::Profile;
use countersign_registry::Order;

use crate::{Error, Row};

/// A place at a line where devices are provisioned.
#[derive(Clone, Debug)]
pub struct Station {
    /// Its name, for records.
    pub name: String,
    /// Who issues.
    pub issuing: Issuing,
    /// The issuing authority's certificate and those above it but the root, DER: what follows a device's own in its chain.
    pub above: Vec<Vec<u8>>,
    /// The kind of certificate.
    pub profile: Profile,
    /// How long certificates are valid, in days.
    pub days: u64,
    /// The organisation in devices' names.
    pub organization: Option<String>,
    /// What devices may sign, for kinds that carry a scope.
    pub scope: Option<Scope>,
    /// The order on which devices that the registry does not know are recorded; without one, they are refused.
    pub order: Option<Order>,
    /// Takes keys that no hardware vouches for: in files, in tokens. Whoever copies such a key's file is the device.
    pub software: bool,
    /// Locks each key's slot **for ever**, once its chain was read back. Nothing undoes it.
    pub lock_for_ever: bool,
    /// The folder in which each device gets one of its own, with what is public about it.
    pub output: PathBuf,
}

impl Station {
    /// By what a journal knows a row again: SHA-256 of the row and of what this station makes of it. The same row is not done
    /// where another kind of certificate, issuer or order is meant, or where slots shall be locked now.
    #[must_use]
    pub fn digest_of(&self, row: &Row) -> Digest {
        let order = self.order.as_ref().map(|order| order.id.as_str());
        let text = format!(
            "{}\n{}\n{:?}\n{order:?}\n{}\n{}",
            row.digest,
            self.profile.as_str(),
            self.issuing.issuer(),
            self.software,
            self.lock_for_ever,
        );
        Digest::of(text.as_bytes())
    }
}

/// One device that is to be provisioned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    /// Who it is.
    pub device: DeviceIdentity,
    /// Its type; empty if nothing is said. As are the next two.
    pub device_type: String,
    /// The revision of its hardware.
    pub revision: String,
    /// The version of its firmware.
    pub firmware: String,
    /// Its key, as the station reaches it.
    pub key: KeyUri,
    /// What its hardware must be ([`crate::Hardware::hash`]), where that is known beforehand.
    pub hardware: Option<[u8; 32]>,
}

impl Job {
    /// What the certificate says about the device.
    pub(crate) fn metadata(&self) -> Result<DeviceMetadata, Error> {
        let refused = |error: countersign_format::FormatError| Error::refused(error.to_string());
        let mut metadata = DeviceMetadata::default();
        if !self.device_type.is_empty() {
            metadata = metadata
                .with_device_type(&self.device_type)
                .map_err(refused)?;
        }
        if !self.revision.is_empty() {
            metadata = metadata
                .with_hardware_revision(&self.revision)
                .map_err(refused)?;
        }
        if !self.firmware.is_empty() {
            metadata = metadata
                .with_firmware_version(&self.firmware)
                .map_err(refused)?;
        }
        Ok(metadata)
    }
}
