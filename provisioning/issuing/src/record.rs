//! Leaves of the audit log: what was done, as one line of JSON each.

use countersign_format::Digest;
use countersign_provisioning::{Reason, Serial};
use countersign_registry::{Certificate, CertificateState, Told};
use serde::{Deserialize, Serialize};

use crate::ask::Verified;

/// What a leaf tells of.
#[derive(Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
enum Event<'a> {
    Issued {
        at: u64,
        serial: String,
        device: &'a str,
        profile: &'a str,
        issuer: String,
        key: String,
        certificate: String,
        not_before: u64,
        not_after: u64,
        #[serde(skip_serializing_if = "Option::is_none")]
        renews: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        by: Option<&'a str>,
    },
    Abandoned {
        at: u64,
        serial: String,
        device: &'a str,
        profile: &'a str,
    },
    Revoked {
        at: u64,
        serial: String,
        reason: &'a str,
        by: &'a str,
    },
    /// A registry that was put back from an old copy goes on, with or without what the log has.
    Resumed {
        at: u64,
        by: &'a str,
        with_log: bool,
    },
    List {
        at: u64,
        issuer: String,
        number: u64,
        list: String,
        entries: usize,
        next_update: u64,
    },
}

pub(crate) fn issued(
    now: u64,
    issuer: &[u8; 32],
    asked: &Verified,
    serial: &Serial,
    der: &[u8],
    not_after: u64,
) -> Vec<u8> {
    line(&Event::Issued {
        at: now,
        serial: serial.to_string(),
        device: asked.device.as_str(),
        profile: asked.profile.as_str(),
        issuer: hex::encode(issuer),
        key: hex::encode(asked.key_hash),
        certificate: hex::encode(Digest::of(der).as_bytes()),
        not_before: asked.end_entity.validity.not_before().as_secs(),
        not_after,
        renews: asked.renews.as_ref().map(ToString::to_string),
        by: asked.by.as_deref(),
    })
}

pub(crate) fn abandoned(now: u64, orphan: &Certificate) -> Vec<u8> {
    line(&Event::Abandoned {
        at: now,
        serial: orphan.serial.to_string(),
        device: orphan.device.as_str(),
        profile: orphan.profile.as_str(),
    })
}

/// What closes `orphans`.
pub(crate) fn closings(
    now: u64,
    orphans: Vec<Certificate>,
) -> impl Iterator<Item = (Serial, Vec<u8>)> {
    orphans.into_iter().map(move |orphan| {
        let leaf = abandoned(now, &orphan);
        (orphan.serial, leaf)
    })
}

/// The leaf of a revocation, for who revokes in a transaction of the registry. `now` is in seconds since 1970.
#[must_use]
pub fn revoked(now: u64, serial: &Serial, reason: Reason, by: &str) -> Vec<u8> {
    line(&Event::Revoked {
        at: now,
        serial: serial.to_string(),
        reason: reason.as_str(),
        by,
    })
}

pub(crate) fn list(
    now: u64,
    issuer: &[u8; 32],
    number: u64,
    der: &[u8],
    entries: usize,
    next_update: u64,
) -> Vec<u8> {
    line(&Event::List {
        at: now,
        issuer: hex::encode(issuer),
        number,
        list: hex::encode(Digest::of(der).as_bytes()),
        entries,
        next_update,
    })
}

pub(crate) fn resumed(now: u64, by: &str, with_log: bool) -> Vec<u8> {
    line(&Event::Resumed {
        at: now,
        by,
        with_log,
    })
}

/// What a leaf tells the registry; none when it tells of a certificate in words that are not these. No time of it is later
/// than `now`, which is in seconds since 1970.
pub(crate) fn told(leaf: &[u8], now: u64) -> Option<Told> {
    let event = serde_json::from_slice::<Named>(leaf).map(|named| named.event);
    if !matches!(event.as_deref(), Ok("issued" | "abandoned" | "revoked")) {
        return Some(Told::Other);
    }
    let hash = |text: &str| -> Option<[u8; 32]> { hex::decode(text).ok()?.try_into().ok() };
    Some(match serde_json::from_slice(leaf).ok()? {
        Past::Issued {
            at,
            serial,
            device,
            profile,
            issuer,
            key,
            not_before,
            not_after,
        } => Told::Issued(Box::new(Certificate {
            serial: serial.parse().ok()?,
            device: device.parse().ok()?,
            profile: profile.parse().ok()?,
            issuer: hash(&issuer)?,
            key: hash(&key)?,
            not_before,
            not_after,
            state: CertificateState::Issued,
            revoked: None,
            der: None,
            reserved_at: at.min(now),
        })),
        Past::Abandoned { serial } => Told::Abandoned(serial.parse().ok()?),
        Past::Revoked { at, serial, reason } => Told::Revoked {
            serial: serial.parse().ok()?,
            reason: reason.parse().ok()?,
            at: at.min(now),
        },
    })
}

/// SHA-256 of the file whose records were taken over, hexadecimal, if a leaf tells of that; empty where it does not say.
pub(crate) fn imported(leaf: &[u8]) -> Option<String> {
    let named: Named = serde_json::from_slice(leaf).ok()?;
    (named.event == "imported").then(|| named.sha256.unwrap_or_default())
}

#[derive(Deserialize)]
struct Named {
    event: String,
    sha256: Option<String>,
}

/// What is read of a leaf.
#[derive(Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
enum Past {
    Issued {
        at: u64,
        serial: String,
        device: String,
        profile: String,
        issuer: String,
        key: String,
        not_before: u64,
        not_after: u64,
    },
    Abandoned {
        serial: String,
    },
    Revoked {
        at: u64,
        serial: String,
        reason: String,
    },
}

/// When a leaf was recorded, in seconds since 1970, if it says so.
pub(crate) fn time(leaf: &[u8]) -> Option<u64> {
    serde_json::from_slice::<Timed>(leaf)
        .ok()
        .map(|timed| timed.at)
}

#[derive(Deserialize)]
struct Timed {
    at: u64,
}

/// Strings and numbers always have a form in JSON; were it otherwise, the leaf would say what failed.
fn line(event: &Event<'_>) -> Vec<u8> {
    serde_json::to_vec(event).unwrap_or_else(|error| {
        format!(
            "{{\"event\":\"unwritable\",\"error\":{:?}}}",
            error.to_string()
        )
        .into_bytes()
    })
}
