//! The revocation lists of a chain: which one counts for each certificate, and what it says.

use std::time::Duration;

use x509_cert::ext::pkix::KeyUsages;

use crate::{
    Anchor, Certificate, Crl, CrlNumber, Rejection,
    algorithm::{Checks, VerifyError},
};

use super::{
    ChainVerifier, issuer_of,
    validity::{Judging, expired},
};

/// Signature checks that lists which were brought may cost for one certificate. Whoever keeps such lists keeps fewer of an issuer.
const BROUGHT_LIST_CHECKS: u32 = 32;

impl ChainVerifier<'_> {
    /// A verified, current list for each certificate, or none for an end entity that says noRevAvail (RFC 9608 §4): that
    /// excuses the absence of a list, not what a list says, and not that of one of which it was seen that there are some: it may
    /// be away because of what it says. Of what was admitted before, a list that is not current any more
    /// still says whether it was revoked, and stops nothing else.
    pub(super) fn choose_crls<'c>(
        &'c self,
        chain: &[Certificate],
        anchor: &'c Anchor,
        judging: Judging<'_>,
    ) -> Result<Vec<Option<&'c Crl>>, Rejection> {
        let mut chosen = Vec::with_capacity(chain.len());
        for (depth, certificate) in chain.iter().enumerate() {
            let issuer = issuer_of(chain, depth, anchor);
            let excused = depth == 0 && certificate.is_no_rev_avail();
            let crl = match self.choose_crl(certificate, issuer, anchor)? {
                Some(crl) => crl,
                None if excused && self.seen(issuer).is_none() => {
                    chosen.push(None);
                    continue;
                }
                None => {
                    return Err(Rejection::RevocationUnknown {
                        subject: certificate.subject(),
                        issuer: certificate.issuer(),
                    });
                }
            };
            if crl.lists(certificate.serial_octets()) {
                return Err(Rejection::Revoked {
                    subject: certificate.subject(),
                    serial: certificate.serial(),
                    issuer: certificate.issuer(),
                    list: Box::new((issuer.spki_sha256(), crl.number())),
                });
            }
            self.check_number(crl, issuer)?;
            if excused {
                chosen.push(None);
                continue;
            }
            self.check_crl(crl, issuer, anchor.crl_grace(), judging)?;
            // Without a clock, a list's thisUpdate shows what time it must be for its own issuer's certificates.
            if !judging.admitted
                && judging.now.clock().is_none()
                && crl.this_update() > certificate.not_after()
            {
                return Err(expired(certificate, crl.this_update(), judging.now));
            }
            chosen.push(Some(crl));
        }
        Ok(chosen)
    }

    /// The issuer's list with the highest number whose signature verifies, if there is one.
    fn choose_crl<'c>(
        &'c self,
        certificate: &Certificate,
        issuer: &Certificate,
        anchor: &'c Anchor,
    ) -> Result<Option<&'c Crl>, Rejection> {
        let invalid = |reason| Rejection::CrlInvalid {
            issuer: issuer.subject(),
            reason,
        };
        let identifier = issuer.subject_key_identifier().ok().flatten();
        let identifier = identifier
            .as_ref()
            .map(|identifier| identifier.0.as_bytes())
            .unwrap_or_default();
        let candidates = self
            .state
            .crls_of(anchor.crls(), issuer.subject_der(), identifier);
        let spare = Checks::new(BROUGHT_LIST_CHECKS);
        let mut chosen: Option<&Crl> = None;
        for (crl, is_brought) in candidates.iter().copied() {
            // The highest number decides; what follows it is older.
            if chosen.is_some_and(|chosen| crl.number() < chosen.number()) {
                break;
            }
            if chosen.is_some_and(|chosen| crl.says_the_same_as(chosen)) {
                continue;
            }
            let verified = match is_brought {
                true => crl.verify_once(&spare, issuer.spki()),
                false => crl.verify(self.checks, issuer.spki()),
            };
            match (verified, chosen) {
                (Ok(()), None) => chosen = Some(crl),
                (Ok(()), Some(_)) => {
                    return Err(invalid(
                        "two different lists of it have the same number; get a newer one",
                    ));
                }
                (Err(VerifyError::Invalid), _) => {}
                (Err(VerifyError::BudgetSpent), _) => {
                    return Err(invalid(
                        "too many lists that claim to be its are not; take the forged ones away",
                    ));
                }
            }
        }
        if chosen.is_none() && !candidates.is_empty() && !certificate.is_no_rev_avail() {
            return Err(invalid(
                "its signature does not verify under its issuer's key",
            ));
        }
        Ok(chosen)
    }

    /// The highest number of an issuer's lists that was seen.
    fn seen(&self, issuer: &Certificate) -> Option<CrlNumber> {
        self.state.seen_crl_number(&issuer.spki_sha256())
    }

    fn check_number(&self, crl: &Crl, issuer: &Certificate) -> Result<(), Rejection> {
        let number = crl.number();
        match self.seen(issuer) {
            Some(seen) if number < seen => Err(Rejection::CrlRollback {
                issuer: issuer.subject(),
                number,
                seen,
            }),
            _ => Ok(()),
        }
    }

    fn check_crl(
        &self,
        crl: &Crl,
        issuer: &Certificate,
        grace: Duration,
        judging: Judging<'_>,
    ) -> Result<(), Rejection> {
        // RFC 5280 §6.3.3 (f). Stricter: absent key usage permits nothing.
        let usage = issuer.key_usage().ok().flatten();
        if !usage.is_some_and(|usage| usage.0.contains(KeyUsages::CRLSign)) {
            return Err(Rejection::CrlInvalid {
                issuer: issuer.subject(),
                reason: "its issuer's key usage lacks cRLSign",
            });
        }
        if judging.admitted {
            return Ok(());
        }
        let at = judging.at;
        let from_the_future = judging
            .now
            .clock()
            .is_some_and(|clock| crl.this_update() > clock);
        if from_the_future || at > crl.next_update().saturating_add(grace) {
            let (this_update, next_update) = (crl.this_update(), crl.next_update());
            return Err(Rejection::CrlStale {
                issuer: issuer.subject(),
                this_update,
                next_update,
                now: at,
            });
        }
        Ok(())
    }
}

/// What a report says of the lists.
pub(super) fn describe_revocation(crls: &[Option<&Crl>]) -> String {
    let each: Vec<_> =
        crls.iter()
            .map(|crl| match crl {
                Some(crl) => format!(
                    "list {} of {} from {}",
                    crl.number(),
                    crl.issuer(),
                    crl.this_update()
                ),
                None => "the signer's certificate says that there is no list for it (noRevAvail)"
                    .to_owned(),
            })
            .collect();
    each.join("; ")
}
