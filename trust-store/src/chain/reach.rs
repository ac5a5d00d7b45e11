//! Which root a chain leads to: names and signatures, and nothing else yet.

use crate::{
    Anchor, Certificate, Rejection,
    algorithm::{VerifyError, verify_x509},
};

use super::ChainVerifier;

/// Where a chain leads.
pub(super) enum Reach<'a> {
    Anchor(&'a Anchor),
    Nothing(Rejection),
}

impl ChainVerifier<'_> {
    /// Follows names and signatures from the end entity up to a root of ours.
    pub(super) fn reach(&self, chain: &[Certificate]) -> Result<Reach<'_>, Rejection> {
        for (depth, pair) in chain.windows(2).enumerate() {
            let [certificate, issuer] = pair else {
                continue;
            };
            if certificate.issuer_der() != issuer.subject_der() {
                return Ok(Reach::Nothing(
                    self.broken(depth, "the next certificate is not its issuer's"),
                ));
            }
            if !self.is_signed_by(certificate, issuer.spki())? {
                return Ok(Reach::Nothing(self.broken(
                    depth,
                    "its signature is not by the next certificate's key",
                )));
            }
        }
        let Some(last) = chain.last() else {
            return Ok(Reach::Nothing(self.broken(0, "it has no certificate")));
        };
        // Of several roots of one name, the one whose key identifier fits is tried first.
        let wanted = key_identifier_of_issuer(last);
        let mut anchors: Vec<_> = self
            .anchors
            .for_components()
            .filter(|anchor| anchor.certificate().subject_der() == last.issuer_der())
            .collect();
        anchors.sort_by_key(|anchor| own_key_identifier(anchor.certificate()) != wanted);
        for anchor in anchors {
            if self.is_signed_by(last, anchor.certificate().spki())? {
                return Ok(Reach::Anchor(anchor));
            }
        }
        let subject = chain.first().map(Certificate::subject).unwrap_or_default();
        Ok(Reach::Nothing(Rejection::UntrustedRoot {
            signer: self.signer,
            subject,
            issuer: last.issuer(),
        }))
    }

    fn is_signed_by(&self, certificate: &Certificate, spki: &[u8]) -> Result<bool, Rejection> {
        let Ok((message, signature)) = certificate.signed_parts() else {
            return Ok(false);
        };
        match verify_x509(
            self.checks,
            spki,
            certificate.signature_algorithm(),
            &message,
            signature,
        ) {
            Ok(()) => Ok(true),
            Err(VerifyError::Invalid) => Ok(false),
            Err(VerifyError::BudgetSpent) => Err(self.spent()),
        }
    }
}

fn key_identifier_of_issuer(certificate: &Certificate) -> Option<Vec<u8>> {
    let identifier = certificate.authority_key_identifier().ok().flatten()?;
    Some(identifier.key_identifier?.as_bytes().to_vec())
}

fn own_key_identifier(certificate: &Certificate) -> Option<Vec<u8>> {
    let identifier = certificate.subject_key_identifier().ok().flatten()?;
    Some(identifier.0.as_bytes().to_vec())
}
