//! The dates of a chain, at the time that it is judged at.

use crate::{Anchor, Certificate, Now, Rejection, TimeBasis, UnixTime};

use super::ChainVerifier;

/// As of when a chain is judged.
#[derive(Clone, Copy, Debug)]
pub(super) struct Judging<'a> {
    pub(super) at: UnixTime,
    pub(super) now: &'a Now,
    /// Whether this is the time of an admission, and not the present.
    pub(super) admitted: bool,
}

impl<'a> Judging<'a> {
    /// By the present.
    pub(super) fn new(now: &'a Now, chain: &[Certificate], anchor: &Anchor) -> Self {
        Self {
            at: now.judging_time(latest_not_before(chain, anchor)),
            now,
            admitted: false,
        }
    }

    /// By the present of an admission.
    pub(super) fn admitted(then: &'a Now, chain: &[Certificate], anchor: &Anchor) -> Self {
        Self {
            admitted: true,
            ..Self::new(then, chain, anchor)
        }
    }

    /// Whether this machine's clock is not plausible.
    pub(super) fn is_at_floor(&self) -> bool {
        !self.admitted && self.now.basis() == TimeBasis::Floor
    }
}

impl ChainVerifier<'_> {
    /// RFC 5280 §6.1.3 (a)(2), for the root too: its dates bound what it can vouch for.
    pub(super) fn check_validity(
        &self,
        chain: &[Certificate],
        anchor: &Anchor,
        judging: Judging<'_>,
    ) -> Result<(), Rejection> {
        let at = judging.at;
        for certificate in chain.iter().chain([anchor.certificate()]) {
            if at < certificate.not_before() {
                let (subject, not_before) = (certificate.subject(), certificate.not_before());
                return Err(Rejection::NotYetValid {
                    subject,
                    not_before,
                    now: at,
                    basis: judging.now.basis(),
                });
            }
            if at > certificate.not_after() {
                return Err(expired(certificate, at, judging.now));
            }
        }
        Ok(())
    }
}

pub(super) fn describe_time(
    chain: &[Certificate],
    anchor: &Anchor,
    judging: Judging<'_>,
) -> String {
    let at = judging.at;
    let until = chain
        .iter()
        .map(Certificate::not_after)
        .chain([anchor.not_after()])
        .min()
        .unwrap_or(at);
    if judging.admitted {
        return format!(
            "judged as of {at}, when it was admitted here; all were valid until {until}"
        );
    }
    match judging.now.basis() {
        TimeBasis::Clock => format!("judged at {at} by the clock; all are valid until {until}"),
        TimeBasis::Given => format!("judged as of {at}; all are valid until {until}"),
        TimeBasis::Floor => format!(
            "this machine's clock is not plausible (it shows a time before {}), so judged at {at}: \
                 a certificate that expired since then is not noticed",
            judging.now.floor()
        ),
    }
}

pub(super) fn expired(certificate: &Certificate, at: UnixTime, now: &Now) -> Rejection {
    Rejection::Expired {
        subject: certificate.subject(),
        not_after: certificate.not_after(),
        now: at,
        basis: now.basis(),
    }
}

fn latest_not_before(chain: &[Certificate], anchor: &Anchor) -> UnixTime {
    chain
        .iter()
        .map(Certificate::not_before)
        .fold(anchor.not_before(), UnixTime::max)
}
