//! A certificate, field by field: what can be replaced, and encoded again (RFC 5280 §4.1).

use der::asn1::{Any, BitString, ObjectIdentifier, OctetString};
use der::{Decode as _, Encode as _, Sequence, Tag, Tagged as _};
use std::vec::Vec;

/// id-ce-subjectKeyIdentifier.
const SUBJECT_KEY: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.14");
/// id-ce-authorityKeyIdentifier.
const AUTHORITY_KEY: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.35");

/// TBSCertificate of version 3, without the unique identifiers that nobody uses.
#[derive(Clone, Debug, PartialEq, Eq, Sequence)]
pub(super) struct Parts {
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT")]
    version: Any,
    pub(super) serial: Any,
    signature: Any,
    pub(super) issuer: Any,
    pub(super) validity: Validity,
    pub(super) subject: Any,
    key: PublicKeyInfo,
    #[asn1(context_specific = "3", tag_mode = "EXPLICIT")]
    pub(super) extensions: Vec<Extension>,
}

/// Times as they stand there.
#[derive(Clone, Debug, PartialEq, Eq, Sequence)]
pub(super) struct Validity {
    pub(super) not_before: Any,
    pub(super) not_after: Any,
}

#[derive(Clone, Debug, PartialEq, Eq, Sequence)]
struct PublicKeyInfo {
    algorithm: Any,
    bits: BitString,
}

#[derive(Clone, Debug, PartialEq, Eq, Sequence)]
pub(super) struct Extension {
    id: ObjectIdentifier,
    #[asn1(default = "Default::default")]
    critical: bool,
    pub(super) value: OctetString,
}

/// The whole.
#[derive(Clone, Debug, PartialEq, Eq, Sequence)]
pub(super) struct Signed {
    pub(super) parts: Parts,
    algorithm: Any,
    signature: BitString,
}

impl Signed {
    /// A certificate in DER whose encoding is the one that its fields have.
    pub(super) fn of_der(der: &[u8]) -> der::Result<Self> {
        let signed = Self::from_der(der)?;
        if signed.to_der()? == der {
            Ok(signed)
        } else {
            Err(Tag::Sequence.value_error().into())
        }
    }

    /// The signature, `r ‖ s`.
    pub(super) fn signature(&self) -> Option<[u8; 64]> {
        let signature = p256::ecdsa::Signature::from_der(self.signature.as_bytes()?).ok()?;
        Some(signature.to_bytes().into())
    }

    pub(super) fn set_signature(&mut self, raw: &[u8; 64]) -> Option<()> {
        let signature = p256::ecdsa::Signature::from_slice(raw).ok()?;
        self.signature = BitString::from_bytes(signature.to_der().as_bytes()).ok()?;
        Some(())
    }
}

impl Parts {
    /// The public key as its bits: `04 ‖ X ‖ Y`.
    pub(super) fn public(&self) -> &[u8] {
        self.key.bits.as_bytes().unwrap_or(&[])
    }

    pub(super) fn set_public(&mut self, bits: &[u8]) -> der::Result<()> {
        self.key.bits = BitString::from_bytes(bits)?;
        Ok(())
    }

    /// The octets that name the subject's key, if the certificate has them.
    pub(super) fn subject_key(&self) -> Option<Vec<u8>> {
        let value = &self.find(&SUBJECT_KEY)?.value;
        OctetString::from_der(value.as_bytes())
            .ok()
            .map(|octets| octets.as_bytes().to_vec())
    }

    pub(super) fn set_subject_key(&mut self, octets: &[u8]) -> der::Result<()> {
        let value = OctetString::new(octets)?.to_der()?;
        self.set(&SUBJECT_KEY, &value)
    }

    /// The same for the issuer's key, where that is all that the extension says: `30 n+2 80 n octets`.
    pub(super) fn authority_key(&self) -> Option<Vec<u8>> {
        match self.find(&AUTHORITY_KEY)?.value.as_bytes() {
            [0x30, outer, 0x80, inner, octets @ ..]
                if octets.len() == usize::from(*inner) && outer.checked_sub(2) == Some(*inner) =>
            {
                Some(octets.to_vec())
            }
            _ => None,
        }
    }

    pub(super) fn set_authority_key(&mut self, octets: &[u8]) -> der::Result<()> {
        let too_long = || der::Error::from(Tag::OctetString.length_error());
        let inner = u8::try_from(octets.len()).map_err(|_| too_long())?;
        let outer = inner
            .checked_add(2)
            .filter(|n| *n < 0x80)
            .ok_or_else(too_long)?;
        let mut value = std::vec![0x30, outer, 0x80, inner];
        value.extend_from_slice(octets);
        self.set(&AUTHORITY_KEY, &value)
    }

    fn find(&self, id: &ObjectIdentifier) -> Option<&Extension> {
        self.extensions.iter().find(|extension| extension.id == *id)
    }

    fn set(&mut self, id: &ObjectIdentifier, value: &[u8]) -> der::Result<()> {
        for extension in &mut self.extensions {
            if extension.id == *id {
                extension.value = OctetString::new(value)?;
            }
        }
        Ok(())
    }
}

/// The same value with each occurrence of `old` replaced by `new`, which is as long; and how many there were.
pub(super) fn replaced(value: &[u8], old: &[u8], new: &[u8]) -> (Vec<u8>, usize) {
    let (mut result, mut count) = (value.to_vec(), 0_usize);
    let mut at = 0_usize;
    while let Some(end) = at.checked_add(old.len()).filter(|end| *end <= value.len()) {
        if !old.is_empty() && old.len() == new.len() && value.get(at..end) == Some(old) {
            if let Some(place) = result.get_mut(at..end) {
                place.copy_from_slice(new);
            }
            count = count.saturating_add(1);
            at = end;
        } else {
            at = at.saturating_add(1);
        }
    }
    (result, count)
}

/// A value of another content and the same tag.
pub(super) fn with_content(value: &Any, content: &[u8]) -> der::Result<Any> {
    Any::new(value.tag(), content)
}
