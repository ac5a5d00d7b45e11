//! Whether lists say of each certificate that it is not revoked: found out with OpenSSL, and from nothing of ours.
//!
//! A reason why another validator refuses is none if this is not so.

use countersign_testing::Sealed;
use countersign_trust_store::UnixTime;
use openssl::asn1::Asn1Time;
use openssl::error::ErrorStack;
use openssl::x509::{CrlStatus, X509, X509Crl};

/// Whether each certificate has a list of its issuer's that is signed by the issuer's key, current, and does not name
/// it, and no other list that is signed so names it. A leaf with noRevAvail needs none, but must not be named either.
pub(super) fn covered(sealed: &Sealed, now: UnixTime, no_rev_avail: bool) -> bool {
    all_covered(sealed, now, no_rev_avail).unwrap_or(false)
}

fn all_covered(sealed: &Sealed, now: UnixTime, no_rev_avail: bool) -> Result<bool, ErrorStack> {
    let now = Asn1Time::from_unix(now.as_secs().try_into().unwrap())?;
    let lists: Vec<_> = sealed
        .crls
        .iter()
        .map(|der| X509Crl::from_der(der))
        .collect::<Result<_, _>>()?;
    let certificates: Vec<_> = sealed
        .chain
        .iter()
        .chain([&sealed.root])
        .map(|der| X509::from_der(der))
        .collect::<Result<_, _>>()?;
    for (depth, pair) in certificates.windows(2).enumerate() {
        let [certificate, issuer] = pair else {
            continue;
        };
        let key = issuer.public_key()?;
        let mut current = false;
        for list in &lists {
            let named = list
                .issuer_name()
                .try_cmp(certificate.issuer_name())?
                .is_eq();
            // A key of another kind than the signature's is an error, and no signature.
            if !named || !list.verify(&key).unwrap_or(false) {
                continue;
            }
            if !matches!(
                list.get_by_serial(certificate.serial_number()),
                CrlStatus::NotRevoked
            ) {
                return Ok(false);
            }
            let due = list.next_update().is_some_and(|next| *next >= now);
            current |= due && *list.last_update() <= now;
        }
        let excused = depth == 0 && no_rev_avail;
        if !current && !excused {
            return Ok(false);
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use countersign_testing::{Role, TestPki};

    use super::*;

    /// Whether the chain of a PKI is covered by those of its lists that are kept: the root's, the intermediate's.
    fn with(pki: &TestPki, keep: &[usize], no_rev_avail: bool) -> bool {
        let sealed = Sealed {
            root: pki.root().to_vec(),
            chain: pki.chain().to_vec(),
            crls: keep.iter().map(|list| pki.crls()[*list].clone()).collect(),
        };
        covered(&sealed, pki.time(), no_rev_avail)
    }

    #[test]
    fn each_certificate_needs_a_list_but_a_leaf_that_says_that_there_is_none() {
        let pki = TestPki::new();
        for (keep, covered, excused) in [
            (&[0, 1][..], true, true),
            (&[0], false, true),
            (&[1], false, false),
            (&[], false, false),
        ] {
            assert_eq!(with(&pki, keep, false), covered, "{keep:?}");
            assert_eq!(with(&pki, keep, true), excused, "{keep:?}");
        }
    }

    #[test]
    fn a_list_that_is_stale_forged_or_names_the_certificate_covers_nothing() {
        let stale = TestPki::builder().crl_valid(Role::Root, -100, -1).build();
        let early = TestPki::builder().crl_valid(Role::Root, 1, 100).build();
        let revoked = TestPki::builder().revoke(Role::Leaf).build();
        for pki in [&stale, &early, &revoked] {
            assert!(!with(pki, &[0, 1], true));
        }
        let (pki, stranger) = (TestPki::new(), TestPki::new());
        let mut sealed = Sealed {
            root: pki.root().to_vec(),
            chain: pki.chain().to_vec(),
            crls: vec![stranger.crls()[0].clone(), pki.crls()[1].clone()],
        };
        assert!(!covered(&sealed, pki.time(), true));
        sealed.crls.push(pki.crls()[0].clone());
        assert!(covered(&sealed, pki.time(), false));
    }
}
