//! Certificates in the slots of one chip.

use super::compressed::CompressedCertificate;
use super::template::{CertificateInvalid, CertificateTemplate, Subject};
use crate::config::Slot;
use crate::device::Atecc608;
use crate::error::Error;
use countersign_keys::PublicKey;
use embedded_hal::delay::DelayNs;
use embedded_hal::i2c::I2c;
use std::vec;
use std::vec::Vec;

/// Whose public key is in the certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SubjectKey {
    /// The one of a private key of this chip.
    Own(Slot),
    /// One that lies in a data slot: 4 bytes, X, 4 bytes, Y. That is how the maker keeps the key of who signed.
    Stored(Slot),
}

/// Where a certificate is.
#[derive(Clone, Debug)]
pub struct StoredCertificate {
    /// The slot of its 72 bytes.
    pub slot: Slot,
    /// Whose key it is for.
    pub key: SubjectKey,
    /// What the rest is made of.
    pub template: CertificateTemplate,
    /// Slot and first byte of what the template takes from clear slots, in the order of
    /// [`CertificateTemplate::with_element`].
    pub elements: Vec<(Slot, usize)>,
}

/// Why a certificate in a chip cannot be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CertificateError {
    /// The chip or the bus.
    #[error(transparent)]
    Chip(#[from] Error),
    /// What is in the slots, or was to be put there.
    #[error(transparent)]
    Certificate(#[from] CertificateInvalid),
}

impl<I: I2c, D: DelayNs> Atecc608<I, D> {
    /// Makes a certificate again from its slots. Its signature was verified under the issuer's key.
    ///
    /// # Errors
    /// [`CertificateError`].
    pub fn certificate(
        &mut self,
        place: &StoredCertificate,
        issuer: &PublicKey,
    ) -> Result<Vec<u8>, CertificateError> {
        let mut bytes = [0; 72];
        self.read_slot(place.slot, &mut bytes)?;
        let compressed = CompressedCertificate::of_bytes(bytes)?;
        self.with_subject(place, |subject| {
            place.template.rebuild(&compressed, subject, issuer)
        })
    }

    /// Puts a certificate (DER) into its slot. Nothing is written if it could not be made again exactly, or is not for
    /// this chip and key.
    ///
    /// # Errors
    /// [`CertificateError`].
    pub fn store_certificate(
        &mut self,
        place: &StoredCertificate,
        certificate: &[u8],
        issuer: &PublicKey,
    ) -> Result<(), CertificateError> {
        let compressed = self.with_subject(place, |subject| {
            place.template.compress(certificate, subject, issuer)
        })?;
        self.write_slot(place.slot, compressed.as_bytes())?;
        Ok(())
    }

    /// A public key that lies in a data slot.
    ///
    /// # Errors
    /// [`CertificateInvalid::Form`] if what is there is no point of the curve.
    pub fn stored_key(&mut self, slot: Slot) -> Result<PublicKey, CertificateError> {
        let mut bytes = [0; 72];
        self.read_slot(slot, &mut bytes)?;
        let (x, y) = (bytes.get(4..36), bytes.get(40..72));
        let mut point = vec![0x04];
        point.extend_from_slice(x.unwrap_or(&[]));
        point.extend_from_slice(y.unwrap_or(&[]));
        Ok(PublicKey::from_p256_point(&point).map_err(|_| CertificateInvalid::Form)?)
    }

    /// Puts a P-256 public key into a data slot.
    ///
    /// # Errors
    /// [`CertificateInvalid::Malformed`] for another algorithm's key; [`Error`].
    pub fn store_key(&mut self, slot: Slot, key: &PublicKey) -> Result<(), CertificateError> {
        let point = key.to_raw_bytes();
        let (Some(x), Some(y), 65) = (point.get(1..33), point.get(33..65), point.len()) else {
            return Err(CertificateInvalid::Malformed.into());
        };
        let bytes = [&[0; 4], x, &[0; 4], y].concat();
        self.write_slot(slot, &bytes)?;
        Ok(())
    }

    fn with_subject<T>(
        &mut self,
        place: &StoredCertificate,
        work: impl FnOnce(&Subject<'_>) -> Result<T, CertificateInvalid>,
    ) -> Result<T, CertificateError> {
        let chip = self.serial()?;
        let public = match place.key {
            SubjectKey::Stored(slot) => self.stored_key(slot)?,
            SubjectKey::Own(slot) => {
                let mut point = vec![0x04];
                point.extend_from_slice(&self.public_key(slot)?);
                PublicKey::from_p256_point(&point).map_err(|_| Error::WrittenWrongly)?
            }
        };
        let mut elements = Vec::new();
        for ((slot, first), length) in place.elements.iter().zip(place.template.element_lengths()) {
            let end = first.checked_add(length).ok_or(Error::Place)?;
            let mut bytes = vec![0; end];
            self.read_slot(*slot, &mut bytes)?;
            elements.push(bytes.get(*first..).ok_or(Error::Place)?.to_vec());
        }
        Ok(work(&Subject {
            public: &public,
            chip,
            elements: &elements,
        })?)
    }
}
