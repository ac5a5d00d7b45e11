//! The dates of a chain, at the time that it is judged at.

use crate::{Anchor, Certificate, Rejection, TimeBasis, UnixTime};

use super::ChainVerifier;

impl ChainVerifier<'_> {
    /// RFC 5280 §6.1.3 (a)(2), for the root too: its dates bound what it can vouch for.
    pub(super) fn check_validity(
        &self,
        chain: &[Certificate],
        anchor: &Anchor,
        at: UnixTime,
    ) -> Result<(), Rejection> {
        for certificate in chain.iter().chain([anchor.certificate()]) {
            if at < certificate.not_before() {
                let (subject, not_before) = (certificate.subject(), certificate.not_before());
                return Err(Rejection::NotYetValid {
                    subject,
                    not_before,
                    now: at,
                    basis: self.now.basis(),
                });
            }
            if at > certificate.not_after() {
                return Err(self.expired(certificate, at));
            }
        }
        Ok(())
    }

    pub(super) fn describe_time(
        &self,
        chain: &[Certificate],
        anchor: &Anchor,
        at: UnixTime,
    ) -> String {
        let until = chain
            .iter()
            .map(Certificate::not_after)
            .chain([anchor.not_after()])
            .min()
            .unwrap_or(at);
        match self.now.basis() {
            TimeBasis::Clock => format!("judged at {at} by the clock; all are valid until {until}"),
            TimeBasis::Given => format!("judged as of {at}; all are valid until {until}"),
            TimeBasis::Floor => format!(
                "this machine's clock is not plausible (it shows a time before {}), so judged at {at}: \
                 a certificate that expired since then is not noticed",
                self.now.floor()
            ),
        }
    }

    pub(super) fn expired(&self, certificate: &Certificate, now: UnixTime) -> Rejection {
        Rejection::Expired {
            subject: certificate.subject(),
            not_after: certificate.not_after(),
            now,
            basis: self.now.basis(),
        }
    }
}

pub(super) fn latest_not_before(chain: &[Certificate], anchor: &Anchor) -> UnixTime {
    chain
        .iter()
        .map(Certificate::not_before)
        .fold(anchor.not_before(), UnixTime::max)
}
