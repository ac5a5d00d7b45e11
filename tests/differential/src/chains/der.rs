//! DER by hand, for what no encoder writes.

use der::asn1::Any;
use der::{Decode, Encode};

/// Tag, length in its shortest form, content.
pub(super) fn tlv(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len();
    let mut out = vec![tag];
    match u8::try_from(length) {
        Ok(short @ 0..=0x7f) => out.push(short),
        _ => {
            let octets = length.to_be_bytes();
            let skip = octets.iter().take_while(|octet| **octet == 0).count();
            let octets = &octets[skip..];
            out.push(0x80 | u8::try_from(octets.len()).unwrap());
            out.extend(octets);
        }
    }
    out.extend(content);
    out
}

pub(super) fn sequence(parts: &[&[u8]]) -> Vec<u8> {
    tlv(0x30, &parts.concat())
}

pub(super) fn any(der: &[u8]) -> Any {
    Any::from_der(der).unwrap()
}

pub(super) fn der(value: &impl Encode) -> Vec<u8> {
    value.to_der().unwrap()
}

/// A signed object of its parts, whatever they hold.
pub(super) fn signed(message: &[u8], algorithm: &[u8], signature: &[u8]) -> Vec<u8> {
    let bits = tlv(0x03, &[&[0], signature].concat());
    sequence(&[message, algorithm, &bits])
}
