//! DER in its one encoding (X.690 §10, §11), also where the decoder keeps octets as they are. Decides whether bytes are
//! the only encoding of what they say; leaves what they say to others.

use der::{Decode, Encode};

/// The bit of a tag that marks an element made of others.
const CONSTRUCTED: u8 = 0x20;
const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;

/// Decodes DER and demands that encoding the result gives the same bytes: this refuses every other encoding of the
/// same value (X.690 §10, §11), whatever the decoder lets through.
pub(crate) fn decode_canonical<T: for<'a> Decode<'a> + Encode>(bytes: &[u8]) -> Option<T> {
    let value = T::from_der(bytes).ok()?;
    (is_der_throughout(bytes) && value.to_der().ok()?.as_slice() == bytes).then_some(value)
}

/// What the decoder leaves open, in every element that is made of others, whether it has a type for it or not: lengths
/// are in their shortest form (X.690 §10.1), no arc of an object identifier begins with padding (§8.19.2), texts are in
/// one piece (§10.2) and hold what their type may hold. It keeps all of these as octets where it can, so that encoding
/// again would not show another spelling; and no table finds a padded identifier. Tags of more than one octet occur
/// nowhere.
pub(crate) fn is_der_throughout(bytes: &[u8]) -> bool {
    let mut open = vec![bytes];
    while let Some(bytes) = open.pop() {
        let Some((&tag, rest)) = bytes.split_first() else {
            continue;
        };
        let Some((content, next)) = split_content(rest) else {
            return false;
        };
        if tag & 0x1f == 0x1f {
            return false;
        }
        open.push(next);
        if tag & CONSTRUCTED != 0 {
            let universal = tag & 0xc0 == 0;
            if universal && !matches!(tag, SEQUENCE | SET) {
                return false;
            }
            open.push(content);
        } else if !is_valid_content(tag, content) {
            return false;
        }
    }
    true
}

/// Splits what follows a tag into the content and what comes after it. A length that is longer than it need be, or
/// indefinite, is none.
fn split_content(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (&first, rest) = bytes.split_first()?;
    if first < 0x80 {
        return rest.split_at_checked(first.into());
    }
    let (length, rest) = rest.split_at_checked((first & 0x7f).into())?;
    if matches!(length, [] | [0, ..] | [..0x80]) {
        return None;
    }
    let mut number = [0; 8];
    let start = number.len().checked_sub(length.len())?;
    number.get_mut(start..)?.copy_from_slice(length);
    rest.split_at_checked(usize::try_from(u64::from_be_bytes(number)).ok()?)
}

fn is_minimal_oid(content: &[u8]) -> bool {
    let mut begins_arc = true;
    content.iter().all(|octet| {
        let padded = begins_arc && *octet == 0x80;
        begins_arc = octet & 0x80 == 0;
        !padded
    })
}

/// Whether the content is one that its type has, as far as a decoder leaves it open (X.680 §41; RFC 5280 appendix B).
fn is_valid_content(tag: u8, content: &[u8]) -> bool {
    match tag {
        0x06 => is_minimal_oid(content),
        // UTF8String
        0x0c => std::str::from_utf8(content).is_ok(),
        // NumericString
        0x12 => content
            .iter()
            .all(|octet| octet.is_ascii_digit() || *octet == b' '),
        // PrintableString
        0x13 => content
            .iter()
            .all(|octet| octet.is_ascii_alphanumeric() || b" '()+,-./:=?".contains(octet)),
        // IA5String
        0x16 => content.is_ascii(),
        // VisibleString
        0x1a => content.iter().all(|octet| (b' '..=b'~').contains(octet)),
        // UniversalString
        0x1c => {
            let (characters, rest) = content.as_chunks();
            let valid = |character| char::from_u32(u32::from_be_bytes(character)).is_some();
            rest.is_empty() && characters.iter().copied().all(valid)
        }
        // BMPString: no surrogates, so that each pair of octets is a character.
        0x1e => {
            let (characters, rest) = content.as_chunks();
            let valid = |character| char::from_u32(u16::from_be_bytes(character).into()).is_some();
            rest.is_empty() && characters.iter().copied().all(valid)
        }
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tc21_identifiers_have_no_padded_arcs() {
        let sequence =
            |oid: &[u8]| [&[0x30, oid.len() as u8 + 2, 6, oid.len() as u8], oid].concat();
        for good in [&[0x55, 0x1d, 0x1e][..], &[0x2b, 0x81, 0x80, 0x00], &[0x2a]] {
            assert!(is_der_throughout(&sequence(good)), "{good:?}");
        }
        for bad in [
            &[0x55, 0x1d, 0x80, 0x1e][..],
            &[0x80, 0x2b],
            &[0x2b, 0x81, 0x00, 0x80, 0x01],
        ] {
            assert!(!is_der_throughout(&sequence(bad)), "{bad:?}");
        }
        assert!(!is_der_throughout(&[0x30, 0x05, 6, 1]));
        assert!(is_der_throughout(&[0x04, 0x03, 6, 1, 0x80]));
    }

    #[test]
    fn tc21_lengths_are_shortest_where_the_decoder_has_no_type() {
        // [0] of an OCTET STRING: an attribute of a name may be anything.
        for good in [
            [&[0xa0, 0x02, 0x04, 0x00][..], &[]].concat(),
            [&[0xa0, 0x81, 0x83, 0x04, 0x81, 0x80][..], &[7; 128]].concat(),
        ] {
            assert!(is_der_throughout(&good), "{good:02x?}");
        }
        for bad in [
            &[0xa0, 0x04, 0x04, 0x81, 0x01, 0x07][..],
            &[0xa0, 0x05, 0x04, 0x82, 0x00, 0x01, 0x07],
            &[0xa0, 0x04, 0x24, 0x80, 0x00, 0x00],
            &[0xa0, 0x80, 0x00, 0x00],
            &[0xa0, 0x03, 0x1f, 0x20, 0x00],
        ] {
            assert!(!is_der_throughout(bad), "{bad:02x?}");
        }
        // [UNIVERSAL 32] of 31 octets, which a reader of short tags takes for 32 octets of another type.
        assert!(!is_der_throughout(
            &[&[0x1f, 0x20, 0x1f][..], &[0; 31]].concat()
        ));
    }

    #[test]
    fn tc19_texts_hold_what_their_type_may_hold() {
        let element = |tag: u8, text: &[u8]| {
            [&[0x30, text.len() as u8 + 2, tag, text.len() as u8], text].concat()
        };
        let (utf8, numeric, printable, ia5, visible, universal, bmp) =
            (0x0c, 0x12, 0x13, 0x16, 0x1a, 0x1c, 0x1e);
        for (tag, good) in [
            (utf8, "pump \u{e9}".as_bytes()),
            (utf8, b""),
            (numeric, b"12 34"),
            (printable, b"Pump 7 (left)'+,-./:=?"),
            (ia5, b"a@b\x00\x7f"),
            (visible, b" ~"),
            (universal, b"\x00\x01\xf4\x00"),
            (bmp, b"\x00a\x20\xac"),
        ] {
            assert!(is_der_throughout(&element(tag, good)), "{tag:#x} {good:?}");
        }
        for (tag, bad) in [
            (utf8, &b"pump \xe9"[..]),
            (utf8, b"\xc0\x80"),
            (utf8, b"\xed\xa0\x80"),
            (numeric, b"12a"),
            (printable, b"a@b"),
            (printable, b"a*"),
            (printable, b"a_b"),
            (printable, b"\xe9"),
            (ia5, b"\x80"),
            (visible, b"\x1f"),
            (visible, b"\x7f"),
            (universal, b"\x00\x11\x00\x00"),
            (universal, b"\x00\x00\x00"),
            (bmp, b"\xd8\x00"),
            (bmp, b"a"),
        ] {
            assert!(!is_der_throughout(&element(tag, bad)), "{tag:#x} {bad:?}");
        }
    }

    #[test]
    fn tc21_texts_are_in_one_piece() {
        for tag in [0x24, 0x2c, 0x33, 0x36, 0x3e, 0x28] {
            assert!(!is_der_throughout(&[tag, 0x03, 0x0c, 0x01, b'a']));
        }
        assert!(is_der_throughout(&[0x31, 0x03, 0x0c, 0x01, b'a']));
    }
}
