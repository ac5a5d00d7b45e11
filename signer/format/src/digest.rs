//! SHA-256, over a whole buffer or as bytes arrive.

use core::fmt;
use core::str::FromStr;
use std::io;

use sha2::Digest as _;

use crate::FormatError;

/// A SHA-256 digest: 32 bytes, written as 64 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest([u8; 32]);

impl Digest {
    /// The digest of `bytes`.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(sha2::Sha256::digest(bytes).into())
    }

    /// The digest with this value, as read from somewhere.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The value.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({self})")
    }
}

impl FromStr for Digest {
    type Err = FormatError;

    /// Reads 64 lower-case hexadecimal digits.
    fn from_str(text: &str) -> Result<Self, FormatError> {
        let refuse = || {
            FormatError::text(
                "digest",
                text,
                "a digest is 64 lower-case hexadecimal digits",
            )
        };
        let mut digest = [0; 32];
        let (pairs, rest) = text.as_bytes().as_chunks::<2>();
        if pairs.len() != digest.len() || !rest.is_empty() {
            return Err(refuse());
        }
        for (byte, &[high, low]) in digest.iter_mut().zip(pairs) {
            let (Some(high), Some(low)) = (nibble(high), nibble(low)) else {
                return Err(refuse());
            };
            *byte = (high << 4) | low;
        }
        Ok(Self(digest))
    }
}

fn nibble(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit.wrapping_sub(b'0')),
        b'a'..=b'f' => Some(digit.wrapping_sub(b'a').wrapping_add(10)),
        _ => None,
    }
}

/// Digests bytes as they arrive, in any pieces; also an [`io::Write`] to copy into.
#[derive(Clone, Debug, Default)]
pub struct DigestWriter(sha2::Sha256);

impl DigestWriter {
    /// Starts a digest.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds `bytes`.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The digest of everything added.
    #[must_use]
    pub fn finish(self) -> Digest {
        Digest(self.0.finalize().into())
    }
}

impl io::Write for DigestWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// FIPS 180-4 example: the digest of "abc".
    const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    #[test]
    fn known_answer_in_one_piece_and_in_several() {
        assert_eq!(Digest::of(b"abc").to_string(), ABC);
        assert_eq!(
            format!("{:?}", Digest::of(b"abc")),
            format!("Digest({ABC})")
        );
        let mut writer = DigestWriter::new();
        writer.update(b"a");
        writer.update(b"");
        io::Write::write_all(&mut writer, b"bc").unwrap();
        assert_eq!(writer.finish(), Digest::of(b"abc"));
    }

    #[test]
    fn text_round_trips_and_has_one_form() {
        assert_eq!(ABC.parse::<Digest>().unwrap(), Digest::of(b"abc"));
        for wrong in [
            "",
            "ab",
            &ABC[1..],
            &ABC.to_uppercase(),
            &format!("{ABC}00"),
            &ABC.replace('a', "g"),
        ] {
            assert!(
                matches!(wrong.parse::<Digest>(), Err(FormatError::Text { .. })),
                "{wrong}"
            );
        }
    }
}
