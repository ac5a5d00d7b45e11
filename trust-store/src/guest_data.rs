//! `bytes -> VerifiedGuestData`: the verdict on what a device signed for one of its guests.
//!
//! Decides whether the device is one that these roots certify for guest data, whether its key signed these bytes, and
//! whether it is the device that they name. What the message means, and which component and context may say it, is for
//! whoever reads it: the claims tell.

use countersign_format::{GuestClaims, GuestData, GuestPayload};

use crate::{Anchors, Now, PathProfile, Rejection, TrustState, VerifiedChain};

/// A guest's message, or the digest of one, with what its host says about the guest: signed by a device under one of
/// these roots.
///
/// ```compile_fail,E0451
/// # use countersign_format::GuestData;
/// # use countersign_trust_store::VerifiedGuestData;
/// // There is no constructor but verification, and every field is private.
/// # fn tb21_no_guest_data_but_by_verification(data: GuestData, other: VerifiedGuestData) -> VerifiedGuestData {
/// VerifiedGuestData { data, ..other }
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct VerifiedGuestData {
    data: GuestData,
    chain: VerifiedChain,
}

impl VerifiedGuestData {
    /// What the device's host says: device, component, context, boot, sequence number.
    #[must_use]
    pub fn claims(&self) -> &GuestClaims {
        self.data.claims()
    }

    /// The message, or its digest.
    #[must_use]
    pub fn payload(&self) -> &GuestPayload {
        self.data.payload()
    }

    /// The device's chain.
    #[must_use]
    pub const fn chain(&self) -> &VerifiedChain {
        &self.chain
    }
}

impl Anchors {
    /// Decides whether bytes are what a device signed for a guest. Certificates and lists are judged as for components,
    /// under the profile of guest data (extended key usage documentSigning, RFC 9336).
    ///
    /// # Errors
    /// The first [`Rejection`].
    pub fn verify_guest_data(
        &self,
        bytes: &[u8],
        now: &Now,
        state: &TrustState,
    ) -> Result<VerifiedGuestData, Rejection> {
        let data = GuestData::decode(bytes)?;
        if self.is_empty() {
            return Err(Rejection::NoRoot);
        }
        let chain = self.verify_chain(data.chain(), &PathProfile::GUEST_DATA, now, state)?;
        if chain.key().algorithm() != data.algorithm() {
            return Err(Rejection::AlgorithmMismatch {
                signer: 0,
                stated: data.algorithm().name(),
            });
        }
        // RFC 9052 §4.4.
        chain
            .key()
            .verify(&data.to_be_signed(), data.signature())
            .map_err(|_| Rejection::SignatureInvalid {
                signer: 0,
                subject: chain.leaf().subject(),
            })?;
        let certified = chain.device().map(crate::CertifiedDevice::identity);
        if certified != Some(data.claims().device()) {
            return Err(Rejection::DeviceMismatch {
                claimed: data.claims().device().clone(),
                certified: certified.map_or_else(|| "none".to_owned(), ToString::to_string),
            });
        }
        Ok(VerifiedGuestData { data, chain })
    }
}
