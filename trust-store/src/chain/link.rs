//! What of a chain a later revocation list can take back.

use countersign_format::Digest;

use crate::{Certificate, Crl, CrlNumber, algorithm::Checks};

/// A certificate of a chain that was judged good, as its issuer's lists name it.
///
/// For a host that keeps a component running for longer than its certificates are valid. Whether one of them was revoked is
/// then told by newer lists alone, whatever else the chain would be refused for by that time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    issuer_name: Vec<u8>,
    issuer_key_identifier: Vec<u8>,
    issuer_spki: Vec<u8>,
    serial: Vec<u8>,
}

/// What lists say of a [`Link`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkStatus {
    /// SHA-256 of the issuer's SubjectPublicKeyInfo.
    pub issuer_spki_sha256: Digest,
    /// The number of the list that decides: the highest of those whose signature verifies.
    pub number: CrlNumber,
    /// Whether the certificate stands on it.
    pub revoked: bool,
}

impl Link {
    pub(super) fn new(certificate: &Certificate, issuer: &Certificate) -> Self {
        let identifier = issuer.subject_key_identifier().ok().flatten();
        Self {
            issuer_name: issuer.subject_der().to_vec(),
            issuer_key_identifier: identifier
                .map(|identifier| identifier.0.as_bytes().to_vec())
                .unwrap_or_default(),
            issuer_spki: issuer.spki().to_vec(),
            serial: certificate.serial_octets().to_vec(),
        }
    }

    /// What these lists say; nothing if none of them is its issuer's by name, key identifier and signature. Their dates do not
    /// count: a list that is out of date still revokes.
    #[must_use]
    pub fn status(&self, lists: &[Crl]) -> Option<LinkStatus> {
        let deciding = lists
            .iter()
            .filter(|list| list.claims_issuer(&self.issuer_name, &self.issuer_key_identifier))
            .filter(|list| list.verify(&Checks::new(1), &self.issuer_spki).is_ok())
            .max_by_key(|list| list.number())?;
        Some(LinkStatus {
            issuer_spki_sha256: Digest::of(&self.issuer_spki),
            number: deciding.number(),
            revoked: deciding.lists(&self.serial),
        })
    }
}
