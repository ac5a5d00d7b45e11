//! What a gateway says of its state: its parts, their limits, and their one encoding.

use super::read::read;
use crate::bundle::{Minimum, check_bundle_name, write_minimums};
use crate::cbor::{MapWriter, Reader, Writer, length, within};
use crate::grants::filled;
use crate::{ComponentName, Digest, EvidenceNonce, FormatError, limits};

/// The version of the body that this crate reads and writes.
pub(super) const VERSION: u64 = 1;

/// What a service of a gateway is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ServiceState {
    /// Its component runs.
    Running,
    /// Its component is about to start, or to start again.
    Waiting,
    /// Its component ended, and is not started again.
    Ended,
    /// Its component runs when it is due.
    Scheduled,
    /// Nothing of it runs.
    Refused,
}

impl ServiceState {
    pub(super) const ALL: [Self; 5] = [
        Self::Running,
        Self::Waiting,
        Self::Ended,
        Self::Scheduled,
        Self::Refused,
    ];

    /// The spelling in messages and in JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Waiting => "waiting",
            Self::Ended => "ended",
            Self::Scheduled => "scheduled",
            Self::Refused => "refused",
        }
    }

    pub(super) const fn number(self) -> u64 {
        match self {
            Self::Running => 0,
            Self::Waiting => 1,
            Self::Ended => 2,
            Self::Scheduled => 3,
            Self::Refused => 4,
        }
    }
}

/// A component that runs, or ran last.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ReceiptComponent {
    /// Its name in its statement.
    pub name: ComponentName,
    /// Its version, for people.
    pub version: String,
    /// The version that must not fall.
    pub security_version: u64,
    /// SHA-256 of the component P.
    pub digest: Digest,
    /// SHA-256 of the signed file.
    pub file: Digest,
    /// Who signed it: the device, or the subject of its certificate, and the SHA-256 of its SubjectPublicKeyInfo. 1 to 4.
    pub signers: Vec<(String, Digest)>,
}

/// A service. Sorted by name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ReceiptService {
    /// Its name in the configuration.
    pub name: String,
    /// What it is doing.
    pub state: ServiceState,
    /// Whether the component that runs, or ran last, proved healthy.
    pub healthy: bool,
    /// That component.
    pub component: Option<ReceiptComponent>,
    /// Why the component in its place is not the one that runs.
    pub refused: Option<String>,
}

/// Something that was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReceiptRefusal {
    /// When, in seconds since 1970, by the gateway's clock.
    pub at: u64,
    /// Which service; empty for a bundle.
    pub service: String,
    /// The code; empty where the configuration or the machine was at fault.
    pub code: String,
    /// Why.
    pub why: String,
}

/// The bundle that runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReceiptBundle {
    /// Its line.
    pub line: String,
    /// Its number, at least 1.
    pub number: u64,
    /// SHA-256 of its index.
    pub index: Digest,
}

/// The parts of a body; [`ReceiptBody::new`] checks them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReceiptFields {
    /// The nonce of whoever wants the receipt.
    pub nonce: Option<EvidenceNonce>,
    /// Rises from receipt to receipt of a gateway; at least 1.
    pub number: u64,
    /// How often what the gateway remembers was written.
    pub generation: u64,
    /// A time that has certainly passed, in seconds since 1970.
    pub floor: u64,
    /// The gateway's wall clock, where that is plausible, in seconds since 1970.
    pub clock: Option<u64>,
    /// SHA-256 of the SubjectPublicKeyInfo of each root that is compiled in.
    pub roots: Vec<Digest>,
    /// The bundle that runs.
    pub bundle: Option<ReceiptBundle>,
    /// The services of the configuration.
    pub services: Vec<ReceiptService>,
    /// What was refused last since the gateway started, oldest first.
    pub refusals: Vec<ReceiptRefusal>,
    /// The highest number of each issuer's lists, most significant byte first, by the SHA-256 of its SubjectPublicKeyInfo.
    pub lists: Vec<(Digest, [u8; 20])>,
    /// Of each root (SHA-256 of its SubjectPublicKeyInfo) and name, the version below which nothing is admitted.
    pub versions: Vec<(Digest, ComponentName, u64)>,
    /// Of each name, the version below which nothing runs.
    pub minimums: Vec<Minimum>,
    /// The newest signed checkpoint of the gateway's records, as its text.
    pub log: Option<String>,
}

/// What a gateway says of its state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReceiptBody {
    pub(super) fields: ReceiptFields,
}

impl ReceiptBody {
    /// Checks the parts of a body and sorts its lists.
    ///
    /// # Errors
    /// [`FormatError::LimitExceeded`] for anything too large or too many, [`FormatError::Text`] for the name of a line that is
    /// none and for what appears twice, [`FormatError::Malformed`] for a number of 0 and a component without signer.
    pub fn new(mut fields: ReceiptFields) -> Result<Self, FormatError> {
        let malformed = |what| Err(FormatError::Malformed { what, offset: 0 });
        if fields.number == 0 {
            return malformed("a receipt's number is at least 1");
        }
        for seconds in fields.clock.iter().chain([&fields.floor]) {
            within("time", limits::MAX_UNIX_SECONDS, *seconds)?;
        }
        if let Some(bundle) = &fields.bundle {
            check_bundle_name("line", &bundle.line)?;
            if bundle.number == 0 {
                return malformed("a bundle's number is at least 1");
            }
        }
        fields.roots.sort();
        fields.services.sort();
        fields.lists.sort();
        fields.versions.sort();
        fields.minimums.sort();
        check_counts(&fields)?;
        if let Some(log) = &fields.log {
            check_text("checkpoint", limits::MAX_RECEIPT_CHECKPOINT_BYTES, log)?;
        }
        for service in &fields.services {
            check_service(service)?;
        }
        for refusal in &fields.refusals {
            within("time", limits::MAX_UNIX_SECONDS, refusal.at)?;
            check_text("service", limits::MAX_RECEIPT_NAME_BYTES, &refusal.service)?;
            check_text("code", limits::MAX_RECEIPT_NAME_BYTES, &refusal.code)?;
            check_text("reason", limits::MAX_RECEIPT_TEXT_BYTES, &refusal.why)?;
        }
        let repeats = adjacent(&fields.services, |one, next| one.name == next.name)
            || adjacent(&fields.roots, |one, next| one == next)
            || adjacent(&fields.lists, |one, next| one.0 == next.0)
            || adjacent(&fields.versions, |one, next| {
                (one.0, &one.1) == (next.0, &next.1)
            })
            || adjacent(&fields.minimums, |one, next| one.name == next.name);
        if repeats {
            return malformed("something appears twice in a receipt");
        }
        Ok(Self { fields })
    }

    /// Reads a body.
    ///
    /// # Errors
    /// See [`FormatError`]; [`FormatError::VersionUnknown`] before anything else in it is looked at.
    pub fn decode(bytes: &[u8]) -> Result<Self, FormatError> {
        Self::decode_at(0, bytes)
    }

    /// Reads a body that starts at `base` in what the user gave.
    pub(super) fn decode_at(base: u64, bytes: &[u8]) -> Result<Self, FormatError> {
        let mut reader = Reader::at(base, bytes);
        let fields = read(&mut reader)?;
        reader.finish("bytes are left over after the body of a receipt")?;
        let body = Self::new(fields)?;
        // What is left to compare are the orders that `new` sorts.
        if body.encode() == bytes {
            Ok(body)
        } else {
            Err(FormatError::Noncanonical {
                what: "a list that is not sorted",
                offset: base,
            })
        }
    }

    /// The one encoding.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let fields = &self.fields;
        let mut map = MapWriter::default();
        map.entry(1, |writer| writer.unsigned(VERSION));
        map.optional(2, fields.nonce.as_ref(), |writer, nonce| {
            writer.bytes(nonce.as_bytes());
        });
        map.entry(3, |writer| writer.unsigned(fields.number));
        map.entry(4, |writer| writer.unsigned(fields.generation));
        map.entry(5, |writer| writer.unsigned(fields.floor));
        map.optional(6, fields.clock, Writer::unsigned);
        map.optional(7, filled(&fields.roots), |writer, roots| {
            each(writer, roots, |writer, root| writer.bytes(root.as_bytes()));
        });
        map.optional(8, fields.bundle.as_ref(), |writer, bundle| {
            writer.array(3);
            writer.text(&bundle.line);
            writer.unsigned(bundle.number);
            writer.bytes(bundle.index.as_bytes());
        });
        map.optional(9, filled(&fields.services), |writer, services| {
            each(writer, services, write_service);
        });
        map.optional(10, filled(&fields.refusals), |writer, refusals| {
            each(writer, refusals, |writer, refusal| {
                writer.array(4);
                writer.unsigned(refusal.at);
                writer.text(&refusal.service);
                writer.text(&refusal.code);
                writer.text(&refusal.why);
            });
        });
        map.optional(11, filled(&fields.lists), |writer, lists| {
            each(writer, lists, |writer, (issuer, number)| {
                writer.array(2);
                writer.bytes(issuer.as_bytes());
                writer.bytes(number);
            });
        });
        map.optional(12, filled(&fields.versions), |writer, versions| {
            each(writer, versions, |writer, (root, name, version)| {
                writer.array(3);
                writer.bytes(root.as_bytes());
                writer.text(name.as_str());
                writer.unsigned(*version);
            });
        });
        map.optional(13, filled(&fields.minimums), write_minimums);
        map.optional(14, fields.log.as_deref(), Writer::text);
        map.finish()
    }

    /// All parts, checked and sorted.
    #[must_use]
    pub const fn fields(&self) -> &ReceiptFields {
        &self.fields
    }
}

fn check_counts(fields: &ReceiptFields) -> Result<(), FormatError> {
    let counts = [
        ("roots", limits::MAX_RECEIPT_ROOTS, fields.roots.len()),
        (
            "services",
            limits::MAX_RECEIPT_SERVICES,
            fields.services.len(),
        ),
        (
            "refusals",
            limits::MAX_RECEIPT_REFUSALS,
            fields.refusals.len(),
        ),
        ("lists", limits::MAX_RECEIPT_ENTRIES, fields.lists.len()),
        (
            "versions",
            limits::MAX_RECEIPT_ENTRIES,
            fields.versions.len(),
        ),
        (
            "minimums",
            limits::MAX_RECEIPT_ENTRIES,
            fields.minimums.len(),
        ),
    ];
    counts
        .into_iter()
        .try_for_each(|(what, limit, count)| within(what, limit, length(count)))
}

fn check_service(service: &ReceiptService) -> Result<(), FormatError> {
    check_text("service", limits::MAX_RECEIPT_NAME_BYTES, &service.name)?;
    if let Some(why) = &service.refused {
        check_text("reason", limits::MAX_RECEIPT_TEXT_BYTES, why)?;
    }
    let Some(component) = &service.component else {
        return Ok(());
    };
    check_text("version", limits::MAX_VERSION_BYTES, &component.version)?;
    let signers = length(component.signers.len());
    within("number of signers", limits::MAX_SIGNERS, signers)?;
    if signers == 0 {
        return Err(FormatError::Malformed {
            what: "a receipt names no signer of a component",
            offset: 0,
        });
    }
    component
        .signers
        .iter()
        .try_for_each(|(who, _)| check_text("signer", limits::MAX_RECEIPT_TEXT_BYTES, who))
}

fn check_text(what: &'static str, limit: u64, text: &str) -> Result<(), FormatError> {
    within(what, limit, length(text.len()))
}

/// Whether two neighbours in a sorted list are such.
fn adjacent<T>(sorted: &[T], are: impl Fn(&T, &T) -> bool) -> bool {
    let mut pairs = sorted.iter().zip(sorted.iter().skip(1));
    pairs.any(|(one, next)| are(one, next))
}

fn each<T>(writer: &mut Writer, items: &[T], write: impl Fn(&mut Writer, &T)) {
    writer.array(items.len());
    for item in items {
        write(writer, item);
    }
}

fn write_service(writer: &mut Writer, service: &ReceiptService) {
    let mut map = MapWriter::default();
    map.entry(1, |writer| writer.text(&service.name));
    map.entry(2, |writer| writer.unsigned(service.state.number()));
    map.entry(3, |writer| writer.boolean(service.healthy));
    map.optional(4, service.component.as_ref(), |writer, component| {
        writer.array(6);
        writer.text(component.name.as_str());
        writer.text(&component.version);
        writer.unsigned(component.security_version);
        writer.bytes(component.digest.as_bytes());
        writer.bytes(component.file.as_bytes());
        each(writer, &component.signers, |writer, (who, key)| {
            writer.array(2);
            writer.text(who);
            writer.bytes(key.as_bytes());
        });
    });
    map.optional(5, service.refused.as_deref(), Writer::text);
    map.write_to(writer);
}
