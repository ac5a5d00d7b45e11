//! Whole certificates from compressed ones, after an example.

use super::compressed::{CompressedCertificate, Dates, Kind, SerialSource};
use super::parts::{Parts, Signed, replaced, with_content};
use crate::config::Serial;
use countersign_keys::{Algorithm, PublicKey};
use der::{Encode as _, Tag, Tagged as _};
use sha1::Sha1;
use sha2::{Digest as _, Sha256};
use std::format;
use std::string::ToString as _;
use std::vec::Vec;

/// Why a certificate cannot be stored or made again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CertificateInvalid {
    /// The bytes in the slot are no compressed certificate of a form that is known.
    #[error(
        "what is in the slot is no compressed certificate of format 0; write one there, or name another slot"
    )]
    Form,
    /// The bytes are not a certificate of version 3 in DER, signed by ECDSA on P-256.
    #[error("it is no X.509 certificate with a P-256 signature; give one in DER")]
    Malformed,
    /// The certificate differs from its template in more than the compressed form holds.
    #[error(
        "the certificate is not of the template's kind, so 72 bytes cannot hold it; issue one with whole hours and years and a serial number of the known kinds, or give another example"
    )]
    OtherKind,
    /// The example does not follow from what it is said to be made of.
    #[error(
        "the example is not what it is said to be: chip, key, issuer or kind do not fit it; give those that belong to it"
    )]
    Example,
    /// The rebuilt certificate's signature does not verify under the issuer's key.
    #[error(
        "the signature of the rebuilt certificate does not verify; the slots belong to another chip, key, issuer or template"
    )]
    Signature,
}

/// Whose certificate it is: everything that is not the same in all certificates of a kind and not in the compressed form.
#[derive(Clone, Debug)]
pub struct Subject<'a> {
    /// The certificate's public key.
    pub public: &'a PublicKey,
    /// The chip's serial number.
    pub chip: Serial,
    /// What clear slots give, in the order of [`CertificateTemplate::with_element`].
    pub elements: &'a [Vec<u8>],
}

/// How key identifiers come from keys. They are names, no proofs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum KeyNames {
    /// The maker's way: SHA-1 (RFC 5280 §4.2.1.2, method 1).
    Sha1,
    /// Our way: the first 20 bytes of SHA-256 (RFC 7093 §2, method 1).
    Sha256,
}

impl KeyNames {
    fn of(self, key: &PublicKey) -> Vec<u8> {
        let bits = key.to_raw_bytes();
        match self {
            Self::Sha1 => Sha1::digest(&bits).to_vec(),
            Self::Sha256 => Sha256::digest(&bits).iter().take(20).copied().collect(),
        }
    }

    /// The way in which this name was made of this key.
    fn that_made(name: &[u8], key: &PublicKey) -> Option<Self> {
        [Self::Sha1, Self::Sha256]
            .into_iter()
            .find(|way| way.of(key) == name)
    }
}

/// In which name the signer's four digits stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SignerName {
    Issuer,
    Subject,
    Nowhere,
}

/// What all certificates of one kind have in common, taken from one of them.
#[derive(Clone, Debug)]
pub struct CertificateTemplate {
    example: Signed,
    kind: Kind,
    chip: Serial,
    subject_names: Option<KeyNames>,
    issuer_names: Option<KeyNames>,
    signer: SignerName,
    elements: Vec<Vec<u8>>,
}

impl CertificateTemplate {
    /// Takes a certificate (DER) of the chip `chip` as an example of its kind. `issuer` is the key that it was signed with.
    ///
    /// # Errors
    /// [`CertificateInvalid::Malformed`], [`CertificateInvalid::Signature`], and [`CertificateInvalid::Example`] if the
    /// example would not be rebuilt as it is.
    pub fn of_example(
        example: &[u8],
        chip: Serial,
        kind: Kind,
        issuer: &PublicKey,
    ) -> Result<Self, CertificateInvalid> {
        let example = Signed::of_der(example).map_err(|_| CertificateInvalid::Malformed)?;
        let public = public_of(&example.parts)?;
        let digits = signer_digits(kind.signer);
        let ends = |name: &der::asn1::Any| name.value().ends_with(&digits);
        let signer = if ends(&example.parts.issuer) {
            SignerName::Issuer
        } else if ends(&example.parts.subject) {
            SignerName::Subject
        } else {
            SignerName::Nowhere
        };
        let names = |name: Option<Vec<u8>>, key| KeyNames::that_made(&name?, key);
        let template = Self {
            subject_names: names(example.parts.subject_key(), &public),
            issuer_names: names(example.parts.authority_key(), issuer),
            example,
            kind,
            chip,
            signer,
            elements: Vec::new(),
        };
        // A name of the subject's key that cannot be made would be wrong in every other certificate.
        if template.example.parts.subject_key().is_some() && template.subject_names.is_none() {
            return Err(CertificateInvalid::Example);
        }
        let whole = template
            .example
            .to_der()
            .map_err(|_| CertificateInvalid::Malformed)?;
        let subject = Subject {
            public: &public,
            chip,
            elements: &[],
        };
        match template.compress(&whole, &subject, issuer) {
            Err(CertificateInvalid::OtherKind) => Err(CertificateInvalid::Example),
            outcome => outcome.map(|_| template),
        }
    }

    /// Each certificate has bytes of its chip's own where the example has these, of the same length: what a clear slot
    /// holds, such as a hardware address. They must occur exactly once.
    ///
    /// # Errors
    /// [`CertificateInvalid::Example`].
    pub fn with_element(mut self, in_example: &[u8]) -> Result<Self, CertificateInvalid> {
        let (_, count) = self.with_bytes(self.example.parts.clone(), in_example, in_example)?;
        if in_example.len() < 4 || count != 1 {
            return Err(CertificateInvalid::Example);
        }
        self.elements.push(in_example.to_vec());
        Ok(self)
    }

    /// The length of each element, in the order of [`Self::with_element`].
    pub(super) fn element_lengths(&self) -> impl Iterator<Item = usize> {
        self.elements.iter().map(Vec::len)
    }

    /// The compressed form of a certificate (DER) of this kind.
    ///
    /// # Errors
    /// [`CertificateInvalid::OtherKind`] if it could not be rebuilt exactly; [`CertificateInvalid::Signature`].
    pub fn compress(
        &self,
        certificate: &[u8],
        subject: &Subject<'_>,
        issuer: &PublicKey,
    ) -> Result<CompressedCertificate, CertificateInvalid> {
        let signed = Signed::of_der(certificate).map_err(|_| CertificateInvalid::Malformed)?;
        let signature = signed.signature().ok_or(CertificateInvalid::Malformed)?;
        let dates = dates_of(&signed.parts).ok_or(CertificateInvalid::OtherKind)?;
        let signer = self
            .signer_of(&signed.parts)
            .ok_or(CertificateInvalid::OtherKind)?;
        let kind = Kind {
            signer,
            ..self.kind
        };
        let compressed = CompressedCertificate::new(&signature, dates, kind);
        if self.rebuild(&compressed, subject, issuer)? == certificate {
            Ok(compressed)
        } else {
            Err(CertificateInvalid::OtherKind)
        }
    }

    /// The whole certificate, DER. Its signature has been verified under the issuer's key.
    ///
    /// # Errors
    /// [`CertificateInvalid::OtherKind`] if it is another template's; [`CertificateInvalid::Signature`].
    pub fn rebuild(
        &self,
        compressed: &CompressedCertificate,
        subject: &Subject<'_>,
        issuer: &PublicKey,
    ) -> Result<Vec<u8>, CertificateInvalid> {
        let other = || CertificateInvalid::OtherKind;
        let kind = compressed.kind();
        let same = Kind {
            signer: kind.signer,
            ..self.kind
        };
        if kind != same || subject.public.algorithm() != Algorithm::Esp256 {
            return Err(other());
        }
        let parts = self.parts(compressed, subject, issuer)?;
        let mut signed = self.example.clone();
        signed.parts = parts;
        signed
            .set_signature(&compressed.signature())
            .ok_or(CertificateInvalid::Signature)?;
        let message = signed.parts.to_der().map_err(|_| other())?;
        let der = signed.to_der().map_err(|_| other())?;
        // X.509 signatures have either of the two possible s.
        let raw = p256::ecdsa::Signature::from_slice(&compressed.signature())
            .map_err(|_| CertificateInvalid::Signature)?
            .normalize_s();
        issuer
            .verify(&message, &raw.to_bytes())
            .map_err(|_| CertificateInvalid::Signature)?;
        Ok(der)
    }

    fn parts(
        &self,
        compressed: &CompressedCertificate,
        subject: &Subject<'_>,
        issuer: &PublicKey,
    ) -> Result<Parts, CertificateInvalid> {
        let other = |_| CertificateInvalid::OtherKind;
        let mut parts = self.example.parts.clone();
        // The chip's own bytes first: what comes later must not be taken for them.
        for (old, new) in forms(self.chip).into_iter().zip(forms(subject.chip)) {
            (parts, _) = self.with_bytes(parts, &old, &new)?;
        }
        if subject.elements.len() != self.elements.len() {
            return Err(CertificateInvalid::OtherKind);
        }
        for (old, new) in self.elements.iter().zip(subject.elements) {
            (parts, _) = self.with_bytes(parts, old, new)?;
        }
        let digits = signer_digits(compressed.kind().signer);
        let name = match self.signer {
            SignerName::Issuer => Some(&mut parts.issuer),
            SignerName::Subject => Some(&mut parts.subject),
            SignerName::Nowhere => None,
        };
        if let Some(name) = name {
            let kept = name.value().len().saturating_sub(digits.len());
            let content = [name.value().get(..kept).unwrap_or(&[]), &digits].concat();
            *name = with_content(name, &content).map_err(other)?;
        }
        parts
            .set_public(&subject.public.to_raw_bytes())
            .map_err(other)?;
        if let Some(way) = self.subject_names {
            parts
                .set_subject_key(&way.of(subject.public))
                .map_err(other)?;
        }
        if let Some(way) = self.issuer_names {
            parts.set_authority_key(&way.of(issuer)).map_err(other)?;
        }
        let dates = compressed.dates();
        let serial = serial_of(
            compressed.kind().serial,
            subject,
            dates,
            parts.serial.value().len(),
        );
        parts.serial = with_content(&parts.serial, &serial).map_err(other)?;
        set_dates(&mut parts, Dates::of_bytes(dates)).ok_or(CertificateInvalid::OtherKind)?;
        Ok(parts)
    }

    /// With other bytes of the same length in the subject and the extensions; and how many places there were.
    fn with_bytes(
        &self,
        mut parts: Parts,
        old: &[u8],
        new: &[u8],
    ) -> Result<(Parts, usize), CertificateInvalid> {
        let other = |_| CertificateInvalid::OtherKind;
        if old.len() != new.len() {
            return Err(CertificateInvalid::OtherKind);
        }
        let (content, mut count) = replaced(parts.subject.value(), old, new);
        parts.subject = with_content(&parts.subject, &content).map_err(other)?;
        for extension in &mut parts.extensions {
            let (content, more) = replaced(extension.value.as_bytes(), old, new);
            extension.value = der::asn1::OctetString::new(content).map_err(other)?;
            count = count.saturating_add(more);
        }
        Ok((parts, count))
    }

    /// The signer's number, from where the template's kind has it.
    fn signer_of(&self, parts: &Parts) -> Option<u16> {
        let name = match self.signer {
            SignerName::Issuer => &parts.issuer,
            SignerName::Subject => &parts.subject,
            SignerName::Nowhere => return Some(self.kind.signer),
        };
        let digits = name.value().last_chunk::<4>()?;
        u16::from_str_radix(core::str::from_utf8(digits).ok()?, 16).ok()
    }
}

pub(super) fn public_of(parts: &Parts) -> Result<PublicKey, CertificateInvalid> {
    PublicKey::from_p256_point(parts.public()).map_err(|_| CertificateInvalid::Malformed)
}

fn signer_digits(signer: u16) -> [u8; 4] {
    let text = format!("{signer:04X}");
    text.as_bytes().try_into().unwrap_or([b'0'; 4])
}

/// The serial number as certificates write it: digits in either case, and its bytes.
fn forms(chip: Serial) -> [Vec<u8>; 3] {
    let lower = chip.to_string();
    let upper = lower.to_ascii_uppercase();
    [upper.into_bytes(), lower.into_bytes(), chip.0.to_vec()]
}

/// The first bytes of a digest, a positive number: the two highest bits are 01.
fn serial_of(
    source: SerialSource,
    subject: &Subject<'_>,
    dates: [u8; 3],
    length: usize,
) -> Vec<u8> {
    let mut digest = Sha256::new();
    match source {
        SerialSource::PublicKey => {
            let bits = subject.public.to_raw_bytes();
            digest.update(bits.get(1..).unwrap_or(&[]));
        }
        SerialSource::Chip => digest.update(subject.chip.0),
    }
    digest.update(dates);
    let mut serial: Vec<u8> = digest.finalize().iter().take(length).copied().collect();
    if let Some(first) = serial.first_mut() {
        *first = (*first & 0x3f) | 0x40;
    }
    serial
}

/// The dates in their 24 bits, if they are whole hours and years.
fn dates_of(parts: &Parts) -> Option<[u8; 3]> {
    let (from, to) = (
        moment(&parts.validity.not_before)?,
        moment(&parts.validity.not_after)?,
    );
    let years = if to == WITHOUT_END {
        0
    } else {
        u8::try_from(to.year.checked_sub(from.year)?)
            .ok()
            .filter(|years| *years > 0)?
    };
    Dates { years, ..from }.to_bytes()
}

/// RFC 5280 §4.1.2.5: 99991231235959Z, here to the hour.
const WITHOUT_END: Dates = Dates {
    year: 9999,
    month: 12,
    day: 31,
    hour: 23,
    years: 0,
};

/// A time to the hour. Minutes and seconds are compared when the whole is.
fn moment(time: &der::asn1::Any) -> Option<Dates> {
    let text = core::str::from_utf8(time.value()).ok()?;
    let (year, rest) = match time.tag() {
        Tag::UtcTime => {
            let year: u16 = text.get(..2)?.parse().ok()?;
            (year.checked_add(2000)?, text.get(2..)?)
        }
        Tag::GeneralizedTime => (text.get(..4)?.parse().ok()?, text.get(4..)?),
        _ => return None,
    };
    Some(Dates {
        year,
        month: rest.get(..2)?.parse().ok()?,
        day: rest.get(2..4)?.parse().ok()?,
        hour: rest.get(4..6)?.parse().ok()?,
        years: 0,
    })
}

fn set_dates(parts: &mut Parts, dates: Dates) -> Option<()> {
    let validity = &mut parts.validity;
    validity.not_before = written(&validity.not_before, dates, "0000")?;
    let (end, rest) = if dates.years == 0 {
        (WITHOUT_END, "5959")
    } else {
        let year = dates.year.checked_add(u16::from(dates.years))?;
        (Dates { year, ..dates }, "0000")
    };
    validity.not_after = written(&validity.not_after, end, rest)?;
    Some(())
}

/// The time in the form that the example has.
fn written(example: &der::asn1::Any, at: Dates, rest: &str) -> Option<der::asn1::Any> {
    // 29 February and the like must be a day of its year, which the decoder of such times sees to.
    der::DateTime::new(at.year, at.month, at.day, at.hour, 0, 0).ok()?;
    let tail = format!("{:02}{:02}{:02}{rest}Z", at.month, at.day, at.hour);
    let text = match example.tag() {
        Tag::UtcTime if at.year < 2050 => format!("{:02}{tail}", at.year.checked_sub(2000)?),
        Tag::GeneralizedTime => format!("{:04}{tail}", at.year),
        _ => return None,
    };
    with_content(example, text.as_bytes()).ok()
}
