//! Whether a chip is its maker's: the verdict that provisioning asks for.

use super::stored::{CertificateError, StoredCertificate, SubjectKey};
use super::{CertificateInvalid, parts::Signed, template::public_of};
use crate::device::Atecc608;
use crate::error::Error;
use countersign_keys::{Challenge, PublicKey};
use embedded_hal::delay::DelayNs;
use embedded_hal::i2c::I2c;
use sha2::{Digest as _, Sha256};

/// What goes before a challenge, so that the signature over it is good for nothing else.
const LABEL: &[u8] = b"countersign: a chip of its maker\0";

/// The chain that the maker puts into its preconfigured chips (TNGTLS and the like), and the root that it publishes.
#[derive(Clone, Debug)]
pub struct MakerChain {
    /// The key of the maker's root, from the maker, never from a chip.
    pub root: PublicKey,
    /// The certificate of who signed for the maker; its key is in a slot.
    pub signer: StoredCertificate,
    /// The chip's own certificate, for a private key in it.
    pub device: StoredCertificate,
}

/// Why a chip does not pass for its maker's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NotTheMakers {
    /// It holds no chain, or one that does not lead to the maker's root for this chip and key.
    #[error(
        "the chip has no certificate of its maker for its serial number and key: {0}; do not use it"
    )]
    Chain(CertificateInvalid),
    /// The bus or the chip failed, so nothing is known.
    #[error("the chip could not be asked: {0}")]
    Chip(Error),
    /// The place of its certificate names no private key of the chip.
    #[error(
        "the place of the device's certificate must name a private key of the chip; name its slot"
    )]
    Place,
    /// The key in the chip did not sign the challenge.
    #[error("the chip does not hold the key that its certificate is for; do not use it")]
    Possession,
}

impl From<CertificateError> for NotTheMakers {
    fn from(error: CertificateError) -> Self {
        match error {
            CertificateError::Chip(error) => Self::Chip(error),
            CertificateError::Certificate(invalid) => Self::Chain(invalid),
        }
    }
}

impl MakerChain {
    /// Verifies the chain to the root and lets the chip sign a fresh challenge with the certified key.
    ///
    /// Both signatures cover the chip's serial number as far as the maker's certificates hold it, because the certificates
    /// are rebuilt with the serial number that the chip tells.
    ///
    /// # Errors
    /// [`NotTheMakers`].
    pub fn inspect<I: I2c, D: DelayNs>(
        &self,
        chip: &mut Atecc608<I, D>,
        challenge: &Challenge,
    ) -> Result<(), NotTheMakers> {
        let SubjectKey::Own(slot) = self.device.key else {
            return Err(NotTheMakers::Place);
        };
        let signer = chip.certificate(&self.signer, &self.root)?;
        let signer = key_of(&signer)?;
        let device = key_of(&chip.certificate(&self.device, &signer)?)?;
        let message = [LABEL, challenge.as_bytes().as_slice()].concat();
        let digest = Sha256::digest(&message).into();
        let signature = chip.sign(slot, &digest).map_err(NotTheMakers::Chip)?;
        let signature = p256::ecdsa::Signature::from_slice(&signature)
            .map_err(|_| NotTheMakers::Possession)?
            .normalize_s();
        device
            .verify(&message, &signature.to_bytes())
            .map_err(|_| NotTheMakers::Possession)
    }
}

fn key_of(certificate: &[u8]) -> Result<PublicKey, NotTheMakers> {
    Signed::of_der(certificate)
        .map_err(|_| CertificateInvalid::Malformed)
        .and_then(|signed| public_of(&signed.parts))
        .map_err(NotTheMakers::Chain)
}
