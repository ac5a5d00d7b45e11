//! The revocation lists that bundles have brought: of each issuer the newest, in one file beside the bundles, which is named by
//! its digest.
//!
//! Decides that a bundle adds to them and takes none away but for a newer one of the same issuer; and that a list of which nobody
//! has verified the signature is not taken for newer than one of which somebody has.

use anyhow::{Context as _, bail};
use countersign_format::{Digest, FormatError};
use countersign_hosting::{Read, read};
use countersign_trust_store::{Crl, Rejection, pem};
use der::pem::{LineEnding, encode_string};

use super::Places;
use super::stage::MAX_LISTS;
use crate::admission::Refusal;

/// Most lists of all issuers: two of each of as many authorities as anybody has.
const MAX_NUMBER: usize = 1_024;

/// The lists in the file with this digest.
///
/// # Errors
/// If they are not all there as they were: what one of them would have revoked must not run because it is missing.
pub(crate) fn carried(places: &Places, digest: Digest) -> anyhow::Result<Vec<Crl>> {
    let path = places.lists(digest);
    let damaged = || {
        format!(
            "the revocation lists that bundles have brought, {}, are damaged; apply a bundle with the newest lists of all issuers",
            path.display()
        )
    };
    // PEM is longer than what it holds by a third, and its line ends.
    let Read::Whole(text) = read(&path, 2 * MAX_LISTS).with_context(damaged)? else {
        bail!("{}", damaged());
    };
    if Digest::of(&text) != digest {
        bail!("{}", damaged());
    }
    let lists = pem::crls(&text).with_context(damaged)?;
    let parsed = lists.iter().map(|list| Crl::parse(list));
    parsed.collect::<Result<_, _>>().with_context(damaged)
}

/// Puts down these lists, of which `brought` came last, and returns the digest of their file.
///
/// # Errors
/// If they are too many, or cannot be written.
pub(crate) fn carry(
    places: &Places,
    before: Vec<Crl>,
    brought: Vec<Crl>,
) -> Result<Digest, Refusal> {
    let lists = newest(before.into_iter().chain(brought).collect());
    let within = |what, limit: u64, actual: u64| {
        let error = FormatError::LimitExceeded {
            what,
            limit,
            actual,
        };
        (actual <= limit)
            .then_some(())
            .ok_or(Rejection::from(error))
    };
    let sum = |sum: u64, list: &Crl| sum.saturating_add(list.der().len() as u64);
    let what = "revocation lists of all bundles";
    within(what, MAX_LISTS, lists.iter().fold(0, sum))?;
    within(what, MAX_NUMBER as u64, lists.len() as u64)?;
    let mut text = String::new();
    for list in &lists {
        let block = encode_string("X509 CRL", LineEnding::LF, list.der());
        text.push_str(&block.context("a revocation list cannot be written")?);
    }
    let digest = Digest::of(text.as_bytes());
    countersign_durable::replace(&places.lists(digest), text.as_bytes())
        .map_err(anyhow::Error::from)?;
    Ok(digest)
}

/// Of each issuer the newest, and the newest whose signature verified if that is another. In the order in which they came.
fn newest(lists: Vec<Crl>) -> Vec<Crl> {
    let mut kept: Vec<Crl> = Vec::with_capacity(lists.len());
    for list in &lists {
        let is_behind = lists.iter().any(|other| supersedes(other, list));
        if !is_behind && kept.iter().all(|other| other.der() != list.der()) {
            kept.push(list.clone());
        }
    }
    kept
}

fn supersedes(newer: &Crl, older: &Crl) -> bool {
    newer.has_issuer_of(older)
        && newer.number() > older.number()
        && (newer.verified_under().is_some() || older.verified_under().is_none())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use countersign_testing::TestPki;
    use countersign_trust_store::{Link, PathProfile};

    use super::*;

    fn list(der: &[u8]) -> Crl {
        Crl::parse(der).expect("a list")
    }

    fn links(pki: &TestPki) -> Vec<Link> {
        let components = PathProfile::COMPONENTS;
        let chain = pki.anchors();
        let chain = chain.verify_chain(pki.chain(), &components, &pki.now(), &pki.state());
        chain.expect("a good chain").links().to_vec()
    }

    #[test]
    fn td12_td14_lists_of_issuers_that_a_bundle_does_not_speak_of_stay() {
        let (one, two) = (TestPki::new(), TestPki::new());
        let state = tempfile::tempdir().expect("a folder");
        let places = Places::in_state(state.path());
        places.make().expect("made");
        let all = |pki: &TestPki| pki.crls().iter().map(|der| list(der)).collect::<Vec<_>>();
        let revoking = list(&one.crl_against_device(9));
        let first = [all(&one), vec![revoking.clone()]].concat();
        let file = carry(&places, Vec::new(), first).expect("room");
        let before = carried(&places, file).expect("whole");
        // Of the device's issuer the newer; the root's, which has no newer.
        assert_eq!(before.len(), 2);
        let file = carry(&places, before, all(&two)).expect("room");
        let both = carried(&places, file).expect("whole");
        assert_eq!(both.len(), 4);
        let status = links(&one)[0].status(&both).expect("a list");
        assert!(status.revoked);
        // The same once more is nothing more, and an older one nothing at all.
        let again = carry(&places, both.clone(), [both.clone(), all(&one)].concat());
        assert_eq!(again.expect("room"), file);
        // What is not as it was is not less than it was.
        let path = places.lists(file);
        let text = fs::read(&path).expect("ours");
        let half = text.windows(10).rposition(|at| at == b"-----BEGIN");
        for bad in [&text[..half.expect("a last list")], &text[1..], b""] {
            fs::write(&path, bad).expect("ours");
            let error = carried(&places, file).expect_err("damaged");
            assert!(format!("{error:#}").contains("damaged"), "{error:#}");
        }
        fs::remove_file(&path).expect("ours");
        assert!(carried(&places, file).is_err());
    }

    #[test]
    fn td13_a_number_that_nobody_vouches_for_takes_no_list_away() {
        let (pki, stranger) = (TestPki::new(), TestPki::new());
        let genuine = list(&pki.crl_against_device(9));
        // Of the issuer's name and key identifier, and signed by somebody else.
        let mut forged = countersign_testing::CrlParts::of(&pki.crl_against_device(10));
        forged.revoked_certificates = None;
        let forged = list(&forged.sign(&stranger.authority_keys()[1]));
        let kept = |lists: &[&Crl]| newest(lists.iter().map(|list| (*list).clone()).collect());
        // Before anybody looked, the higher number is the newer one.
        assert_eq!(kept(&[&genuine, &forged]).len(), 1);
        let link = &links(&pki)[0];
        assert!(
            link.status(std::slice::from_ref(&genuine))
                .is_some_and(|status| status.revoked)
        );
        let both = kept(&[&genuine, &forged]);
        assert_eq!(both.len(), 2);
        assert!(link.status(&both).is_some_and(|status| status.revoked));
        // A genuine one that follows takes the place of both.
        let next = list(&pki.crl_against_device(11));
        assert!(link.status(std::slice::from_ref(&next)).is_some());
        assert_eq!(kept(&[&genuine, &forged, &next]).len(), 1);
    }
}
