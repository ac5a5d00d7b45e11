//! The 72 bytes: signature, dates, signer, kind.

use crate::certificate::CertificateInvalid;

/// Bytes of the compressed form.
const BYTES: usize = 72;

/// Where a certificate's serial number comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SerialSource {
    /// A digest of the public key and the dates (10).
    PublicKey,
    /// A digest of the chip's serial number and the dates (11).
    Chip,
}

impl SerialSource {
    const fn code(self) -> u8 {
        match self {
            Self::PublicKey => 0xa,
            Self::Chip => 0xb,
        }
    }
}

/// Which kind of certificate it is: the certificates of one template have these in common, but for the signer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Kind {
    /// The template's number, 0 to 15.
    pub template: u8,
    /// The chain's number, 0 to 15.
    pub chain: u8,
    /// Which signer's it is, or which signer it is; four hexadecimal digits in a name.
    pub signer: u16,
    /// Where the serial number comes from.
    pub serial: SerialSource,
}

/// From when, to the hour, and for how many years; 0 is without end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Dates {
    pub(super) year: u16,
    pub(super) month: u8,
    pub(super) day: u8,
    pub(super) hour: u8,
    pub(super) years: u8,
}

impl Dates {
    /// Five bits of the year after 2000, four of the month, five of the day, of the hour and of the years, from the
    /// highest on. Nothing if one does not fit.
    pub(super) fn to_bytes(self) -> Option<[u8; 3]> {
        let year = self.year.checked_sub(2000).filter(|year| *year < 32)?;
        let fits = self.month < 16 && self.day < 32 && self.hour < 32 && self.years < 32;
        let mut bits = u32::from(fits.then_some(year)?);
        for (width, value) in [
            (4, self.month),
            (5, self.day),
            (5, self.hour),
            (5, self.years),
        ] {
            bits = bits.checked_shl(width)? | u32::from(value);
        }
        let [_, first, second, third] = bits.to_be_bytes();
        Some([first, second, third])
    }

    pub(super) fn of_bytes(bytes: [u8; 3]) -> Self {
        let [first, second, third] = bytes;
        let bits = u32::from_be_bytes([0, first, second, third]);
        let field = |shift: u32, mask: u32| {
            let value = bits.checked_shr(shift).unwrap_or(0) & mask;
            u8::try_from(value).unwrap_or(u8::MAX)
        };
        Self {
            year: u16::from(field(19, 0x1f)).saturating_add(2000),
            month: field(15, 0x0f),
            day: field(10, 0x1f),
            hour: field(5, 0x1f),
            years: field(0, 0x1f),
        }
    }
}

/// A certificate as it lies in a slot.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CompressedCertificate([u8; BYTES]);

impl CompressedCertificate {
    pub(super) fn new(signature: &[u8; 64], dates: [u8; 3], kind: Kind) -> Self {
        let mut bytes = [0; BYTES];
        let [high, low] = kind.signer.to_be_bytes();
        let number = kind.template.checked_shl(4).unwrap_or(0) | (kind.chain & 0x0f);
        let source = kind.serial.code().checked_shl(4).unwrap_or(0);
        let tail = [number, source, 0];
        let parts = signature
            .iter()
            .chain(&dates)
            .chain([&high, &low])
            .chain(&tail);
        for (byte, from) in bytes.iter_mut().zip(parts) {
            *byte = *from;
        }
        Self(bytes)
    }

    /// The form that is in a slot.
    ///
    /// # Errors
    /// [`CertificateInvalid::Form`] for another version than 0, and for serial numbers that come from elsewhere.
    pub fn of_bytes(bytes: [u8; BYTES]) -> Result<Self, CertificateInvalid> {
        let compressed = Self(bytes);
        let version = compressed.byte(70) & 0x0f;
        if version != 0 || compressed.source().is_none() {
            return Err(CertificateInvalid::Form);
        }
        Ok(compressed)
    }

    /// Its 72 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; BYTES] {
        &self.0
    }

    /// The signature, `r ‖ s`.
    #[must_use]
    pub fn signature(&self) -> [u8; 64] {
        self.0.first_chunk().copied().unwrap_or([0; 64])
    }

    /// Which kind it is.
    #[must_use]
    pub fn kind(&self) -> Kind {
        Kind {
            template: self.byte(69).checked_shr(4).unwrap_or(0),
            chain: self.byte(69) & 0x0f,
            signer: u16::from_be_bytes([self.byte(67), self.byte(68)]),
            // It has one since it was made.
            serial: self.source().unwrap_or(SerialSource::PublicKey),
        }
    }

    pub(super) fn dates(&self) -> [u8; 3] {
        [self.byte(64), self.byte(65), self.byte(66)]
    }

    fn source(&self) -> Option<SerialSource> {
        [SerialSource::PublicKey, SerialSource::Chip]
            .into_iter()
            .find(|source| Some(source.code()) == self.byte(70).checked_shr(4))
    }

    fn byte(&self, at: usize) -> u8 {
        self.0.get(at).copied().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The bytes are those that the maker's library writes for this date.
    #[test]
    fn dates_are_written_as_the_maker_writes_them() {
        let dates = Dates {
            year: 2026,
            month: 11,
            day: 17,
            hour: 5,
            years: 10,
        };
        assert_eq!(dates.to_bytes(), Some([0xd5, 0xc4, 0xaa]));
        assert_eq!(Dates::of_bytes([0xd5, 0xc4, 0xaa]), dates);
        for year in [1999, 2032] {
            assert_eq!(Dates { year, ..dates }.to_bytes(), None);
        }
        let years = 32;
        assert_eq!(Dates { years, ..dates }.to_bytes(), None);
    }

    #[test]
    fn fields_are_where_they_belong_and_other_forms_are_refused() {
        let kind = Kind {
            template: 3,
            chain: 1,
            signer: 0x2c10,
            serial: SerialSource::Chip,
        };
        let compressed = CompressedCertificate::new(&[7; 64], [1, 2, 3], kind);
        assert_eq!(
            compressed.as_bytes()[64..],
            [1, 2, 3, 0x2c, 0x10, 0x31, 0xb0, 0]
        );
        assert_eq!(
            CompressedCertificate::of_bytes(*compressed.as_bytes()),
            Ok(compressed)
        );
        assert_eq!((compressed.kind(), compressed.signature()), (kind, [7; 64]));
        for byte in [0xb1, 0x00, 0x90, 0xc0] {
            let mut bytes = *compressed.as_bytes();
            bytes[70] = byte;
            assert_eq!(
                CompressedCertificate::of_bytes(bytes),
                Err(CertificateInvalid::Form)
            );
        }
    }
}
