//! webpki's path validation (RFC 5280 §6.1), which must agree with ours. Revocation is not its part: see `revocation`.

use std::time::Duration;

use pki_types::CertificateDer;
use webpki::{EndEntityCert, KeyUsage};

use crate::{Anchor, Certificate, Rejection, UnixTime, algorithm::Algorithms};

use super::ChainVerifier;

impl ChainVerifier<'_> {
    /// webpki's own validation, which must agree, and must take exactly this path.
    pub(super) fn validate_path(
        &self,
        chain: &[Certificate],
        anchor: &Anchor,
        at: UnixTime,
    ) -> Result<(), Rejection> {
        let refused = |reason: String| Rejection::Path {
            signer: self.signer,
            reason,
        };
        let ders: Vec<_> = chain
            .iter()
            .map(|certificate| CertificateDer::from(certificate.der()))
            .collect();
        let Some((leaf, intermediates)) = ders.split_first() else {
            return Err(self.broken(0, "it has no certificate"));
        };
        let end_entity =
            EndEntityCert::try_from(leaf).map_err(|error| refused(error.to_string()))?;
        let algorithms = Algorithms::new(self.checks);
        let anchors = [anchor.webpki().clone()];
        let path = end_entity
            .verify_for_usage(
                &algorithms.as_dyn(),
                &anchors,
                intermediates,
                pki_types::UnixTime::since_unix_epoch(Duration::from_secs(at.as_secs())),
                KeyUsage::required_if_present(self.profile.purpose.as_bytes()),
                None,
                None,
            )
            .map_err(|error| {
                if self.checks.is_spent() {
                    self.spent()
                } else {
                    refused(error.to_string())
                }
            })?;
        let taken = path.intermediate_certificates().map(webpki::Cert::der);
        if !taken.eq(intermediates.iter().cloned()) {
            return Err(self.broken(0, "not every certificate is needed, each by the one before"));
        }
        Ok(())
    }
}
