//! S, the signature section: framing it for a signer, finding it in a buffer for a verifier.

use crate::cbor::{length, within};
use crate::layout::{Layout, LayoutScanner, SignatureRange};
use crate::{FormatError, limits};

/// The name of the custom section that holds the signature.
pub const SECTION_NAME: &str = "component-signature";

/// A buffer that is a component followed by one signature section, and nothing else.
#[derive(Clone, Copy, Debug)]
pub struct SignedFile<'a> {
    component: &'a [u8],
    signature: &'a [u8],
    range: SignatureRange,
}

impl<'a> SignedFile<'a> {
    /// Finds P and S in a file.
    ///
    /// # Errors
    /// See [`FormatError`]: [`FormatError::SignatureMissing`] for a sound component without S.
    pub fn parse(file: &'a [u8]) -> Result<Self, FormatError> {
        let range = scan(file)?
            .signature()
            .ok_or(FormatError::SignatureMissing)?;
        let part = |range: core::ops::Range<u64>| {
            let start = usize::try_from(range.start).ok()?;
            let end = usize::try_from(range.end).ok()?;
            file.get(start..end)
        };
        match (part(0..range.start()), part(range.payload())) {
            (Some(component), Some(signature)) => Ok(Self {
                component,
                signature,
                range,
            }),
            _ => Err(FormatError::SignatureMissing),
        }
    }

    /// P: the component as its compiler wrote it.
    #[must_use]
    pub fn component(&self) -> &'a [u8] {
        self.component
    }

    /// The payload of S: the encoded envelope.
    #[must_use]
    pub fn signature(&self) -> &'a [u8] {
        self.signature
    }

    /// Where S lies.
    #[must_use]
    pub fn range(&self) -> SignatureRange {
        self.range
    }
}

/// What seems to be the payload of S in the last bytes of a file, for who does not read the rest of it. Whether S begins where
/// P ends is left to him; a payload that holds the name of its own section is not found.
#[must_use]
pub fn signature_at_end(end: &[u8]) -> Option<&[u8]> {
    let name = SECTION_NAME.as_bytes();
    let start = end.windows(name.len()).rposition(|part| part == name)?;
    end.get(start.saturating_add(name.len())..)
}

/// Scans a whole buffer.
fn scan(file: &[u8]) -> Result<Layout, FormatError> {
    let mut scanner = LayoutScanner::with_total(length(file.len()))?;
    scanner.feed(file)?;
    scanner.finish()
}

/// The whole of S around `payload`: a custom section to append to P.
///
/// # Errors
/// [`FormatError::LimitExceeded`] if the payload is larger than [`limits::MAX_SIGNATURE_BYTES`].
pub fn signature_section(payload: &[u8]) -> Result<Vec<u8>, FormatError> {
    within(
        "signature section",
        limits::MAX_SIGNATURE_BYTES,
        length(payload.len()),
    )?;
    let mut name = leb128(SECTION_NAME.len());
    name.extend_from_slice(SECTION_NAME.as_bytes());
    let mut section = vec![0];
    section.extend_from_slice(&leb128(name.len().saturating_add(payload.len())));
    section.extend_from_slice(&name);
    section.extend_from_slice(payload);
    Ok(section)
}

/// The shortest LEB128 of a length.
fn leb128(mut value: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let low = u8::try_from(value & 0x7f).unwrap_or(0);
        value >>= 7;
        if value == 0 {
            bytes.push(low);
            return bytes;
        }
        bytes.push(low | 0x80);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_section_is_framed_in_shortest_form() {
        for (length, size) in [
            (0, &[0x14][..]),
            (107, &[0x7f]),
            (108, &[0x80, 0x01]),
            (20_000, &[0xb4, 0x9c, 0x01]),
        ] {
            let payload = vec![7; length];
            let section = signature_section(&payload).unwrap();
            let expected = [&[0][..], size, &[19], SECTION_NAME.as_bytes(), &payload].concat();
            assert_eq!(section, expected, "{length}");
            let end = [b"the end of a component", &section[..]].concat();
            assert_eq!(signature_at_end(&end), Some(&payload[..]));
            assert_eq!(signature_at_end(&section[8..]), None);
        }
    }
}
