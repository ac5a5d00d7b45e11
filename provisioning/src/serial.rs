//! Serial numbers: positive, unpredictable, at most 20 octets (RFC 5280 §4.1.2.2).

use std::fmt;
use std::str::FromStr;

use rand_core::TryCryptoRng;
use x509_cert::serial_number::SerialNumber;

use crate::Error;

/// Octets of a serial that this authority makes. 126 of its bits are random: enough that two authorities, or one
/// restored from an old copy, never meet, and that nobody can prepare a colliding certificate.
const GENERATED_OCTETS: usize = 16;

/// The longest serial a certificate may have (RFC 5280 §4.1.2.2).
const MAX_OCTETS: usize = 20;

/// A certificate's serial number: 1 to 20 octets, positive, without leading zero octets.
///
/// Written as lower-case hexadecimal without separators; read back with or without colons.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Serial(Vec<u8>);

impl Serial {
    /// A new random serial of 16 octets.
    ///
    /// # Errors
    ///
    /// [`Error::Random`] when the generator fails.
    pub fn generate<R>(rng: &mut R) -> Result<Self, Error>
    where
        R: TryCryptoRng + ?Sized,
    {
        let mut octets = [0_u8; GENERATED_OCTETS];
        rng.try_fill_bytes(&mut octets)
            .map_err(|error| Error::Random {
                reason: error.to_string(),
            })?;
        // Positive, and always the same length: the top bit is clear and the one below it set.
        octets[0] = (octets[0] & 0x3f) | 0x40;
        Ok(Self(octets.to_vec()))
    }

    /// The serial of a parsed certificate.
    ///
    /// # Errors
    ///
    /// [`Error::SerialInvalid`] when it is zero, negative or too long.
    pub fn from_certificate(serial: &SerialNumber) -> Result<Self, Error> {
        Self::from_der_integer(serial.as_bytes())
    }

    /// The octets, most significant first.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// As x509-cert wants it.
    pub(crate) fn to_x509(&self) -> Result<SerialNumber, Error> {
        SerialNumber::new(&self.0).map_err(Error::encoding("a serial number"))
    }

    /// From the content octets of a DER INTEGER.
    fn from_der_integer(octets: &[u8]) -> Result<Self, Error> {
        if octets.first().is_some_and(|first| first & 0x80 != 0) {
            return Err(Error::SerialInvalid {
                reason: "it is negative",
            });
        }
        Self::from_magnitude(octets)
    }

    fn from_magnitude(octets: &[u8]) -> Result<Self, Error> {
        let start = octets.iter().position(|octet| *octet != 0);
        let significant = start.and_then(|start| octets.get(start..)).unwrap_or(&[]);
        if significant.is_empty() {
            return Err(Error::SerialInvalid {
                reason: "it is zero",
            });
        }
        if significant.len() > MAX_OCTETS {
            return Err(Error::SerialInvalid {
                reason: "it is longer than 20 octets",
            });
        }
        Ok(Self(significant.to_vec()))
    }
}

impl fmt::Display for Serial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|octet| write!(f, "{octet:02x}"))
    }
}

impl fmt::Debug for Serial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Serial({self})")
    }
}

impl FromStr for Serial {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        const NOT_HEX: Error = Error::SerialInvalid {
            reason: "a serial is written as hexadecimal digits, such as 4f1a... or 4F:1A:...",
        };
        let mut digits = Vec::new();
        for character in text.trim().chars().filter(|character| *character != ':') {
            digits.push(
                character
                    .to_digit(16)
                    .and_then(|digit| u8::try_from(digit).ok())
                    .ok_or(NOT_HEX)?,
            );
        }
        // An odd count lacks its leading zero.
        if digits.len() % 2 == 1 {
            digits.insert(0, 0);
        }
        let octets: Vec<u8> = digits
            .chunks_exact(2)
            .map(|pair| pair.iter().fold(0, |octet, digit| (octet << 4) | digit))
            .collect();
        Self::from_magnitude(&octets)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sign::testing::Counting;

    #[test]
    fn tc16_generated_serials_are_positive_and_sixteen_octets() {
        for seed in 0..=255 {
            let serial = Serial::generate(&mut Counting(seed)).expect("generates");
            assert_eq!(serial.as_bytes().len(), 16);
            assert!((0x40..=0x7f).contains(&serial.as_bytes()[0]));
            assert_eq!(
                serial.to_x509().expect("valid").as_bytes(),
                serial.as_bytes()
            );
        }
    }

    #[test]
    fn text_round_trips_and_forgives_colons() {
        let serial: Serial = "4F:1a:00:ff".parse().expect("parses");
        assert_eq!(serial.to_string(), "4f1a00ff");
        assert_eq!("f1a".parse::<Serial>().expect("odd").to_string(), "0f1a");
        assert_eq!(
            "0001".parse::<Serial>().expect("leading zeros").to_string(),
            "01"
        );
    }

    #[test]
    fn tc16_zero_negative_long_and_foreign_text_are_refused() {
        assert!("".parse::<Serial>().is_err());
        assert!("00".parse::<Serial>().is_err());
        assert!("../x".parse::<Serial>().is_err());
        assert!("11".repeat(21).parse::<Serial>().is_err());
        assert!("11".repeat(20).parse::<Serial>().is_ok());
        assert!(Serial::from_der_integer(&[0x80]).is_err());
        assert_eq!(
            Serial::from_der_integer(&[0x00, 0x80])
                .expect("positive")
                .to_string(),
            "80"
        );
    }
}
