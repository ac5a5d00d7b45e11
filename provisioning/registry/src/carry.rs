//! Records as lines of JSON, to be taken elsewhere: what a line says. `export` writes them, `import` takes them over.

use countersign_provisioning::{Revocation, Serial};
use countersign_trust_store::UnixTime;
use serde::{Deserialize, Serialize};

use crate::{Certificate, Device, Order};

/// One line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
#[non_exhaustive]
pub enum Record {
    /// An order.
    Order {
        /// Its name.
        id: String,
        /// Who makes the devices.
        manufacturer: Option<String>,
        /// The devices that may get certificates.
        quota: u64,
        /// Those that have had one.
        used: u64,
    },
    /// A device.
    Device {
        /// Who it is.
        id: String,
        /// SHA-256 of its hardware, hexadecimal.
        hardware_hash: Option<String>,
        /// Its type.
        device_type: String,
        /// Its family.
        family: String,
        /// Revision of the hardware.
        revision: String,
        /// Version of the firmware.
        firmware: String,
        /// Its state, in a word.
        state: String,
        /// Its order.
        order: Option<String>,
        /// When it was recorded, in seconds since 1970.
        recorded_at: u64,
    },
    /// A certificate, and the key in it.
    Certificate {
        /// Its serial number, hexadecimal.
        serial: String,
        /// Whose it is.
        device: String,
        /// Its kind.
        profile: String,
        /// SHA-256 of the issuing key, hexadecimal.
        issuer: String,
        /// SHA-256 of the device's key, hexadecimal.
        key: String,
        /// First second of its validity.
        not_before: u64,
        /// Last second of its validity.
        not_after: u64,
        /// Its state, in a word.
        state: String,
        /// Since when it is revoked.
        revoked_at: Option<u64>,
        /// Why.
        reason: Option<String>,
        /// The certificate, DER, hexadecimal.
        der: Option<String>,
        /// When its serial was taken.
        reserved_at: u64,
    },
    /// A revocation on somebody's word: of a certificate that is on no record, or that was never finished.
    Revocation {
        /// The certificate's serial number, hexadecimal.
        serial: String,
        /// SHA-256 of the issuing key, hexadecimal.
        issuer: String,
        /// Since when.
        revoked_at: u64,
        /// Why.
        reason: String,
    },
}

pub(crate) fn of_order(order: Order) -> Record {
    Record::Order {
        id: order.id,
        manufacturer: order.manufacturer,
        quota: order.quota,
        used: order.used,
    }
}

pub(crate) fn of_device(device: Device) -> Record {
    Record::Device {
        id: device.id.to_string(),
        hardware_hash: device.hardware_hash.map(hex::encode),
        device_type: device.device_type,
        family: device.family,
        revision: device.revision,
        firmware: device.firmware,
        state: device.state.to_string(),
        order: device.order,
        recorded_at: device.recorded_at,
    }
}

pub(crate) fn of_certificate(certificate: Certificate) -> Record {
    use crate::CertificateState::{Abandoned, Reserved};
    let state = match certificate.state {
        Reserved => Abandoned,
        state => state,
    };
    Record::Certificate {
        serial: certificate.serial.to_string(),
        device: certificate.device.to_string(),
        profile: certificate.profile.to_string(),
        issuer: hex::encode(certificate.issuer),
        key: hex::encode(certificate.key),
        not_before: certificate.not_before,
        not_after: certificate.not_after,
        state: state.to_string(),
        revoked_at: certificate.revoked.map(|(at, _)| at),
        reason: certificate.revoked.map(|(_, reason)| reason.to_string()),
        der: certificate.der.map(hex::encode),
        reserved_at: certificate.reserved_at,
    }
}

pub(crate) fn of_revocation(issuer: [u8; 32], what: &Revocation) -> Record {
    Record::Revocation {
        serial: what.serial.to_string(),
        issuer: hex::encode(issuer),
        revoked_at: what.at.as_secs(),
        reason: what.reason.to_string(),
    }
}

/// The device of a line, or what is wrong with it.
pub(crate) fn to_device(record: Record) -> Result<Device, String> {
    let Record::Device {
        id,
        hardware_hash,
        device_type,
        family,
        revision,
        firmware,
        state,
        order,
        recorded_at,
    } = record
    else {
        return Err("it is no device".to_owned());
    };
    Ok(Device {
        id: id
            .parse()
            .map_err(|error| format!("its id is not a device identity: {error}"))?,
        hardware_hash: hardware_hash.as_deref().map(hash).transpose()?,
        device_type,
        family,
        revision,
        firmware,
        state: crate::DeviceState::from_word(&state)
            .ok_or_else(|| format!("{state:?} is no state of a device"))?,
        order,
        recorded_at,
    })
}

/// The certificate of a line, or what is wrong with it.
pub(crate) fn to_certificate(record: Record) -> Result<Certificate, String> {
    let Record::Certificate {
        serial,
        device,
        profile,
        issuer,
        key,
        not_before,
        not_after,
        state,
        revoked_at,
        reason,
        der,
        reserved_at,
    } = record
    else {
        return Err("it is no certificate".to_owned());
    };
    let state = crate::CertificateState::from_word(&state)
        .filter(|state| *state != crate::CertificateState::Reserved)
        .ok_or_else(|| format!("{state:?} is no state of a finished certificate"))?;
    let revoked = match (revoked_at, reason) {
        (Some(at), Some(reason)) => Some((at, reason.parse()?)),
        (None, None) => None,
        _ => return Err("it has a time of revocation or a reason, and not both".to_owned()),
    };
    if revoked.is_some() != (state == crate::CertificateState::Revoked) {
        return Err("its state and its revocation contradict each other".to_owned());
    }
    Ok(Certificate {
        serial: number(&serial)?,
        device: device
            .parse()
            .map_err(|error| format!("its device is not a device identity: {error}"))?,
        profile: profile.parse()?,
        issuer: hash(&issuer)?,
        key: hash(&key)?,
        not_before,
        not_after,
        state,
        revoked,
        der: der
            .map(hex::decode)
            .transpose()
            .map_err(|error| format!("its DER is not hexadecimal: {error}"))?,
        reserved_at,
    })
}

/// The revocation of a line and whose certificate it is, or what is wrong with it.
pub(crate) fn to_revocation(record: Record) -> Result<([u8; 32], Revocation), String> {
    let Record::Revocation {
        serial,
        issuer,
        revoked_at,
        reason,
    } = record
    else {
        return Err("it is no revocation".to_owned());
    };
    let revocation = Revocation {
        serial: number(&serial)?,
        at: UnixTime::from_secs(revoked_at),
        reason: reason.parse()?,
    };
    Ok((hash(&issuer)?, revocation))
}

fn number(text: &str) -> Result<Serial, String> {
    text.parse()
        .map_err(|error: countersign_provisioning::Error| error.to_string())
}

fn hash(text: &str) -> Result<[u8; 32], String> {
    let bytes = hex::decode(text).map_err(|error| format!("a hash is not hexadecimal: {error}"))?;
    bytes
        .try_into()
        .map_err(|_| "a hash has another length than 32 bytes".to_owned())
}
