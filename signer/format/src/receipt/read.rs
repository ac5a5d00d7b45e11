//! Reads the parts of a body. What they may hold is decided where a body is made.

use super::body::{
    ReceiptBundle, ReceiptComponent, ReceiptFields, ReceiptRefusal, ReceiptService, ServiceState,
    VERSION,
};
use crate::bundle::decode_minimum;
use crate::cbor::Reader;
use crate::guest_data::digest;
use crate::{ComponentName, EvidenceNonce, FormatError, limits};

/// The parts of a body, as far as their shapes go.
pub(super) fn read(reader: &mut Reader<'_>) -> Result<ReceiptFields, FormatError> {
    let missing = reader.malformed("the body of a receipt lacks its version, number or time");
    let mut keys = reader.map("the body of a receipt is a map", 16)?;
    if keys.next(reader)? != Some(1) {
        return Err(missing);
    }
    let version = reader.unsigned("version of the receipt")?;
    if version != VERSION {
        return Err(FormatError::VersionUnknown {
            found: version,
            supported: VERSION,
        });
    }
    let (mut number, mut generation, mut floor) = (None, None, None);
    let mut fields = ReceiptFields {
        nonce: None,
        number: 0,
        generation: 0,
        floor: 0,
        clock: None,
        roots: Vec::new(),
        bundle: None,
        services: Vec::new(),
        refusals: Vec::new(),
        lists: Vec::new(),
        versions: Vec::new(),
        minimums: Vec::new(),
        log: None,
    };
    while let Some(key) = keys.next(reader)? {
        match key {
            2 => {
                let bytes = reader.bytes("nonce", limits::MAX_EVIDENCE_NONCE_BYTES)?;
                fields.nonce = Some(EvidenceNonce::new(bytes)?);
            }
            3 => number = Some(reader.unsigned("number")?),
            4 => generation = Some(reader.unsigned("generation")?),
            5 => floor = Some(reader.unsigned("time")?),
            6 => fields.clock = Some(reader.unsigned("time")?),
            7 => {
                fields.roots = reader.list("roots", limits::MAX_RECEIPT_ROOTS, false, digest)?;
            }
            8 => fields.bundle = Some(decode_bundle(reader)?),
            9 => {
                let limit = limits::MAX_RECEIPT_SERVICES;
                fields.services = reader.list("services", limit, false, decode_service)?;
            }
            10 => {
                let limit = limits::MAX_RECEIPT_REFUSALS;
                fields.refusals = reader.list("refusals", limit, false, decode_refusal)?;
            }
            11 => {
                let limit = limits::MAX_RECEIPT_ENTRIES;
                fields.lists = reader.list("lists", limit, false, |reader| {
                    reader.tuple("a list is an issuer and a number", 2)?;
                    let issuer = digest(reader)?;
                    Ok((issuer, reader.array_of("a list's number has 20 bytes")?))
                })?;
            }
            12 => {
                let limit = limits::MAX_RECEIPT_ENTRIES;
                fields.versions = reader.list("versions", limit, false, |reader| {
                    reader.tuple("a version is of a root and a name", 3)?;
                    let root = digest(reader)?;
                    Ok((root, name(reader)?, reader.unsigned("security version")?))
                })?;
            }
            13 => {
                let limit = limits::MAX_RECEIPT_ENTRIES;
                fields.minimums = reader.list("minimums", limit, false, decode_minimum)?;
            }
            14 => {
                let limit = limits::MAX_RECEIPT_CHECKPOINT_BYTES;
                fields.log = Some(text("checkpoint", limit, reader)?);
            }
            _ => {
                return Err(reader.malformed("a part of a receipt that the format does not have"));
            }
        }
    }
    let (Some(number), Some(generation), Some(floor)) = (number, generation, floor) else {
        return Err(missing);
    };
    Ok(ReceiptFields {
        number,
        generation,
        floor,
        ..fields
    })
}

fn decode_bundle(reader: &mut Reader<'_>) -> Result<ReceiptBundle, FormatError> {
    reader.tuple("a bundle is a line, a number and an index", 3)?;
    Ok(ReceiptBundle {
        line: reader.text("line", limits::MAX_TEXT_BYTES)?.to_owned(),
        number: reader.unsigned("number")?,
        index: digest(reader)?,
    })
}

fn decode_service(reader: &mut Reader<'_>) -> Result<ReceiptService, FormatError> {
    let missing = reader.malformed("a service lacks its name, its state or its health");
    let unknown = reader.malformed("a state of a service that the format does not have");
    let mut keys = reader.map("a service is a map", 8)?;
    let (mut name, mut state, mut healthy) = (None, None, None);
    let (mut component, mut refused) = (None, None);
    while let Some(key) = keys.next(reader)? {
        match key {
            1 => name = Some(text("service", limits::MAX_RECEIPT_NAME_BYTES, reader)?),
            2 => state = Some(reader.unsigned("state")?),
            3 => healthy = Some(reader.boolean("whether it is healthy is true or false")?),
            4 => component = Some(decode_component(reader)?),
            5 => refused = Some(text("reason", limits::MAX_RECEIPT_TEXT_BYTES, reader)?),
            _ => return Err(reader.malformed("a part of a service that the format does not have")),
        }
    }
    let (Some(name), Some(state), Some(healthy)) = (name, state, healthy) else {
        return Err(missing);
    };
    let mut states = ServiceState::ALL.into_iter();
    Ok(ReceiptService {
        name,
        state: states
            .find(|known| known.number() == state)
            .ok_or(unknown)?,
        healthy,
        component,
        refused,
    })
}

fn decode_component(reader: &mut Reader<'_>) -> Result<ReceiptComponent, FormatError> {
    reader.tuple("a component is an array of six", 6)?;
    Ok(ReceiptComponent {
        name: name(reader)?,
        version: text("version", limits::MAX_VERSION_BYTES, reader)?,
        security_version: reader.unsigned("security version")?,
        digest: digest(reader)?,
        file: digest(reader)?,
        signers: reader.list("signers", limits::MAX_SIGNERS, false, |reader| {
            reader.tuple("a signer is a name and a key", 2)?;
            let who = text("signer", limits::MAX_RECEIPT_TEXT_BYTES, reader)?;
            Ok((who, digest(reader)?))
        })?,
    })
}

fn decode_refusal(reader: &mut Reader<'_>) -> Result<ReceiptRefusal, FormatError> {
    reader.tuple("a refusal is an array of four", 4)?;
    Ok(ReceiptRefusal {
        at: reader.unsigned("time")?,
        service: text("service", limits::MAX_RECEIPT_NAME_BYTES, reader)?,
        code: text("code", limits::MAX_RECEIPT_NAME_BYTES, reader)?,
        why: text("reason", limits::MAX_RECEIPT_TEXT_BYTES, reader)?,
    })
}

fn name(reader: &mut Reader<'_>) -> Result<ComponentName, FormatError> {
    ComponentName::parse(reader.text("component name", limits::MAX_COMPONENT_NAME_BYTES)?)
}

fn text(what: &'static str, limit: u64, reader: &mut Reader<'_>) -> Result<String, FormatError> {
    reader.text(what, limit).map(str::to_owned)
}
