//! DER written by hand, so that it can be BER, or nothing at all.

use countersign_keys::SigningKey;
use der::asn1::ObjectIdentifier;
use der::{Any, Decode as _, Encode as _};

pub(crate) const BOOLEAN: u8 = 0x01;
pub(crate) const INTEGER: u8 = 0x02;
pub(crate) const BIT_STRING: u8 = 0x03;
pub(crate) const OCTET_STRING: u8 = 0x04;
pub(crate) const OBJECT_IDENTIFIER: u8 = 0x06;
pub(crate) const UTF8_STRING: u8 = 0x0c;
pub(crate) const SEQUENCE: u8 = 0x30;
pub(crate) const SET: u8 = 0x31;

pub(crate) const NULL: &[u8] = &[0x05, 0x00];

/// A way to write something in another form.
pub(crate) type Rewrite = fn(&[u8]) -> Vec<u8>;

/// Tag, length in its shortest form, content.
pub(crate) fn tlv(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len().to_be_bytes();
    let significant = length.iter().position(|octet| *octet != 0).unwrap_or(7);
    let octets = &length[significant..];
    match content.len() {
        0..0x80 => [&[tag], octets, content].concat(),
        _ => {
            let count = u8::try_from(octets.len()).expect("at most eight");
            [&[tag, 0x80 | count], octets, content].concat()
        }
    }
}

/// The same with a length of four octets, whatever it is.
pub(crate) fn long_tlv(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = u32::try_from(content.len()).expect("a length of a test");
    [&[tag, 0x84], &length.to_be_bytes()[..], content].concat()
}

/// The same without a length: it ends with two zeros.
pub(crate) fn indefinite_tlv(tag: u8, content: &[u8]) -> Vec<u8> {
    [&[tag, 0x80], content, &[0, 0]].concat()
}

pub(crate) fn sequence(parts: &[&[u8]]) -> Vec<u8> {
    tlv(SEQUENCE, &parts.concat())
}

/// An object identifier, with its tag.
pub(crate) fn oid(text: &str) -> Vec<u8> {
    ObjectIdentifier::new_unwrap(text)
        .to_der()
        .expect("an identifier encodes")
}

/// The content of a DER value.
pub(crate) fn content(value: &[u8]) -> Vec<u8> {
    any(value).value().to_vec()
}

/// A DER value in the form that the fields of a certificate have.
pub(crate) fn any(value: &[u8]) -> Any {
    Any::from_der(value).expect("DER")
}

/// The values, one after the other, that a DER value holds.
pub(crate) fn children(value: &[u8]) -> Vec<Vec<u8>> {
    let content = content(value);
    let mut rest = content.as_slice();
    let mut found = Vec::new();
    while !rest.is_empty() {
        let (child, after) = Any::from_der_partial(rest).expect("DER in DER");
        found.push(child.to_der().expect("what was read encodes"));
        rest = after;
    }
    found
}

/// A certificate or list: what is signed, as it stands; the algorithm named outside; and the issuer's signature.
pub(crate) fn signed(to_be_signed: &[u8], algorithm: &[u8], issuer: &SigningKey) -> Vec<u8> {
    let signature = issuer.sign(to_be_signed).expect("a key in memory signs");
    sealed(to_be_signed, algorithm, &signature.to_x509())
}

/// The same with a signature as given.
pub(crate) fn sealed(to_be_signed: &[u8], algorithm: &[u8], signature: &[u8]) -> Vec<u8> {
    let bits = tlv(BIT_STRING, &[&[0], signature].concat());
    sequence(&[to_be_signed, algorithm, &bits])
}
