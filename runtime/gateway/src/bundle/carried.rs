//! The revocation lists that bundles have brought, in one file beside the bundles, which is named by its digest: of each issuer the
//! newest that its key has signed, and a few of those whose issuer nobody knows yet.
//!
//! Decides that a bundle adds to them and takes none away but for a newer one that the same key has signed; that a list which a known
//! issuer's key has not signed is forged; and that what may be forged is bounded by itself, so that it takes no room from the rest.

use anyhow::{Context as _, bail};
use countersign_format::{Digest, FormatError};
use countersign_hosting::{Read, read};
use countersign_trust_store::{Crl, Issuer, MAX_CRL_BYTES, Rejection, pem};
use der::pem::{LineEnding, encode_string};

use super::Places;
use super::stage::MAX_LISTS;
use crate::admission::Refusal;

/// Most lists of all known issuers: two of each of as many authorities as anybody has.
pub(super) const MAX_NUMBER: usize = 1_024;

/// Of an issuer that nobody knows, so many that came first and so many that came last: who brings forged ones takes away neither what
/// was there before nor what comes afterwards.
const EACH_END: usize = 4;

/// The same of all issuers that nobody knows.
const ALL_EACH_END: usize = 128;

/// Most bytes of their lists: one of the longest (48 MiB).
const MAX_UNKNOWN: usize = MAX_CRL_BYTES;

/// What was carried over.
#[derive(Debug)]
pub(crate) struct CarriedOver {
    /// The digest of the file.
    pub(crate) file: Digest,
    /// Of the lists that were brought, one that its issuer has not signed. None of these was put down.
    pub(crate) forged: Option<Rejection>,
    /// Lists of unknown issuers that found no room.
    pub(crate) left_out: Vec<Crl>,
}

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
    let Read::Whole(text) =
        read(&path, 2 * (MAX_LISTS + MAX_UNKNOWN as u64)).with_context(damaged)?
    else {
        bail!("{}", damaged());
    };
    if Digest::of(&text) != digest {
        bail!("{}", damaged());
    }
    let lists = pem::crls(&text).with_context(damaged)?;
    let parsed = lists.iter().map(|list| Crl::parse(list));
    parsed.collect::<Result<_, _>>().with_context(damaged)
}

/// Puts down these lists, of which `brought` came last. `known` are the issuers whose keys are known.
///
/// # Errors
/// If those of known issuers are too many, or they cannot be written.
pub(crate) fn carry(
    places: &Places,
    before: Vec<Crl>,
    brought: Vec<Crl>,
    known: &[Issuer],
) -> Result<CarriedOver, Refusal> {
    let is_forged = |list: &&Crl| origin(list, known) == Origin::Forged;
    let forged = brought.iter().find(is_forged).map(|list| {
        let reason = "a bundle brings a list in its name that its key has not signed";
        let issuer = format!("{}, number {}", list.issuer(), list.number());
        Rejection::CrlInvalid { issuer, reason }
    });
    let (mut signed, mut unknown) = (Vec::new(), Vec::new());
    for list in before.into_iter().chain(brought) {
        match origin(&list, known) {
            Origin::Signed => signed.push(list),
            Origin::Unknown => unknown.push(list),
            Origin::Forged => {}
        }
    }
    let mut lists = newest(signed);
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
    let (unknown, left_out) = bounded(unknown);
    // Behind: where their issuers are not known any more, those that were signed came first.
    lists.extend(unknown);
    let mut text = String::new();
    for list in &lists {
        let block = encode_string("X509 CRL", LineEnding::LF, list.der());
        text.push_str(&block.context("a revocation list cannot be written")?);
    }
    let file = Digest::of(text.as_bytes());
    countersign_durable::replace(&places.lists(file), text.as_bytes())
        .map_err(anyhow::Error::from)?;
    Ok(CarriedOver {
        file,
        forged,
        left_out,
    })
}

/// Who a list is from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Origin {
    /// The issuer whose name it has.
    Signed,
    /// Nobody knows the issuer whose name it has.
    Unknown,
    /// Not the issuer whose name it has.
    Forged,
}

fn origin(list: &Crl, known: &[Issuer]) -> Origin {
    if list.verified_under().is_some() {
        return Origin::Signed;
    }
    // Two issuers may have one name: it is enough to be signed by one of them.
    let verdicts = known.iter().filter_map(|issuer| issuer.has_signed(list));
    match verdicts.max() {
        Some(true) => Origin::Signed,
        Some(false) => Origin::Forged,
        None => Origin::Unknown,
    }
}

/// Of each key the newest. In the order in which they came.
fn newest(lists: Vec<Crl>) -> Vec<Crl> {
    let mut kept: Vec<Crl> = Vec::with_capacity(lists.len());
    for list in &lists {
        let is_behind = lists.iter().any(|other| {
            other.has_issuer_of(list)
                && other.verified_under() == list.verified_under()
                && other.number() > list.number()
        });
        if !is_behind && kept.iter().all(|other| other.der() != list.der()) {
            kept.push(list.clone());
        }
    }
    kept
}

/// As many lists of unknown issuers as there is room for, and the others. In the order in which they came.
fn bounded(lists: Vec<Crl>) -> (Vec<Crl>, Vec<Crl>) {
    let (mut kept, mut left_out) = (Vec::<Crl>::new(), Vec::new());
    for list in lists {
        if kept.iter().any(|other| other.der() == list.der()) {
            continue;
        }
        kept.push(list);
        let newest = kept.last().cloned();
        let same = |other: &Crl| {
            newest
                .as_ref()
                .is_some_and(|list| other.has_issuer_of(list))
        };
        left_out.extend(without_middle(&mut kept, EACH_END, same));
        left_out.extend(without_middle(&mut kept, ALL_EACH_END, |_| true));
    }
    while kept.iter().map(|list| list.der().len()).sum::<usize>() > MAX_UNKNOWN {
        let sizes = kept.iter().enumerate();
        let largest = sizes.max_by_key(|(_, list)| list.der().len());
        let Some((place, _)) = largest else {
            break;
        };
        left_out.push(kept.remove(place));
    }
    (kept, left_out)
}

/// Takes away, of those that are meant, the first that stands between so many at each end, if there is one.
fn without_middle(
    lists: &mut Vec<Crl>,
    each_end: usize,
    are_meant: impl Fn(&Crl) -> bool,
) -> Option<Crl> {
    let places = lists.iter().enumerate();
    let meant: Vec<_> = places
        .filter(|(_, list)| are_meant(list))
        .map(|(place, _)| place)
        .collect();
    let too_many = meant.len() > each_end.saturating_mul(2);
    let place = meant.get(each_end).filter(|_| too_many)?;
    Some(lists.remove(*place))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use countersign_testing::{CrlParts, TestPki};
    use countersign_trust_store::{Link, PathProfile, oid};

    use super::*;

    fn list(der: &[u8]) -> Crl {
        Crl::parse(der).expect("a list")
    }

    fn all(pki: &TestPki) -> Vec<Crl> {
        pki.crls().iter().map(|der| list(der)).collect()
    }

    fn links(pki: &TestPki) -> Vec<Link> {
        let components = PathProfile::COMPONENTS;
        let chain = pki.anchors();
        let chain = chain.verify_chain(pki.chain(), &components, &pki.now(), &pki.state());
        chain.expect("a good chain").links().to_vec()
    }

    fn issuers(pki: &TestPki) -> Vec<Issuer> {
        links(pki)
            .iter()
            .map(|link| link.issuer().clone())
            .collect()
    }

    /// Of the issuer's name and key identifier, with this number, revoking nobody, and signed by somebody else.
    fn forged(pki: &TestPki, number: u64) -> Crl {
        let mut parts = CrlParts::of(&pki.crl_against_device(number));
        parts.revoked_certificates = None;
        let stranger = TestPki::builder().seed(9).build();
        list(&parts.sign(&stranger.authority_keys()[1]))
    }

    fn folder() -> (tempfile::TempDir, Places) {
        let state = tempfile::tempdir().expect("a folder");
        let places = Places::in_state(state.path());
        places.make().expect("made");
        (state, places)
    }

    /// What a gateway reads at its next start: of no list anybody knows anything.
    fn carried_again(
        places: &Places,
        before: Vec<Crl>,
        brought: Vec<Crl>,
        known: &[Issuer],
    ) -> Vec<Crl> {
        let over = carry(places, before, brought, known).expect("room");
        carried(places, over.file).expect("whole")
    }

    #[test]
    fn td12_td14_lists_of_issuers_that_a_bundle_does_not_speak_of_stay() {
        let (one, two) = (TestPki::new(), TestPki::builder().seed(7).build());
        let (_state, places) = folder();
        let known = issuers(&one);
        let revoking = list(&one.crl_against_device(9));
        let first = [all(&one), vec![revoking.clone()]].concat();
        let before = carried_again(&places, Vec::new(), first, &known);
        // Of the device's issuer the newer; the root's, which has no newer.
        assert_eq!(before.len(), 2);
        let over = carry(&places, before, all(&two), &known).expect("room");
        assert!(over.forged.is_none() && over.left_out.is_empty());
        let file = over.file;
        let both = carried(&places, file).expect("whole");
        assert_eq!(both.len(), 4);
        let status = links(&one)[0].status(&both).expect("a list");
        assert!(status.revoked);
        // The same once more is nothing more, and an older one nothing at all.
        let again = [both.clone(), all(&one)].concat();
        let again = carry(&places, both.clone(), again, &known);
        assert_eq!(again.expect("room").file, file);
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
    fn td13_what_a_known_issuer_has_not_signed_is_forged_whatever_its_number() {
        let pki = TestPki::new();
        let (_state, places) = folder();
        let genuine = list(&pki.crl_against_device(9));
        let brought = vec![genuine.clone(), forged(&pki, 10)];
        let over = carry(&places, Vec::new(), brought, &issuers(&pki)).expect("room");
        let refused = over.forged.expect("forged").to_string();
        assert!(refused.contains("number 10"), "{refused}");
        let kept = carried(&places, over.file).expect("whole");
        assert_eq!(kept.len(), 1);
        assert!(
            links(&pki)[0]
                .status(&kept)
                .is_some_and(|status| status.revoked)
        );
        // A genuine one that follows takes its place.
        let next = vec![list(&pki.crl_against_device(11))];
        let kept = carried_again(&places, kept, next, &issuers(&pki));
        let status = links(&pki)[0].status(&kept).expect("a list");
        assert_eq!(
            (kept.len(), status.number.to_string()),
            (1, "11".to_owned())
        );
    }

    #[test]
    fn td13_forged_lists_of_an_issuer_whom_nobody_knows_take_none_away() {
        let pki = TestPki::new();
        let (_state, places) = folder();
        let genuine = list(&pki.crl_against_device(9));
        let mut kept = carried_again(&places, Vec::new(), vec![genuine.clone()], &[]);
        for number in 10..40 {
            kept = carried_again(&places, kept, vec![forged(&pki, number)], &[]);
            assert!(kept.len() <= 2 * EACH_END);
        }
        let is_there = |lists: &[Crl], list: &Crl| lists.iter().any(|one| one.der() == list.der());
        assert!(is_there(&kept, &genuine));
        // What comes afterwards is there as well; and when the issuer is known, it alone.
        let later = list(&pki.crl_against_device(41));
        let kept = carried_again(&places, kept, vec![later.clone()], &[]);
        assert!(is_there(&kept, &genuine) && is_there(&kept, &later));
        let kept = carried_again(&places, kept, Vec::new(), &issuers(&pki));
        assert!(kept.len() == 1 && is_there(&kept, &later));
        // What was known to be signed outlives all that comes when its issuer is forgotten.
        let mut kept = kept;
        for number in 42..60 {
            kept = carried_again(&places, kept, vec![forged(&pki, number)], &[]);
        }
        assert!(is_there(&kept, &later));
    }

    #[test]
    fn td13_lists_in_names_that_nobody_knows_do_not_fill_the_room_of_others() {
        let pki = TestPki::new();
        let strange = |number: u64| {
            let mut parts = CrlParts::of(&pki.crl_against_device(number));
            // An authorityKeyIdentifier of eight octets.
            let identifier = [&[0x30, 10, 0x80, 8][..], &number.to_be_bytes()].concat();
            parts.set_extension(oid::AUTHORITY_KEY_IDENTIFIER, false, &identifier);
            list(&parts.sign(&pki.authority_keys()[1]))
        };
        let many: Vec<_> = (0..300).map(strange).collect();
        let (_state, places) = folder();
        let over = carry(&places, Vec::new(), many, &[]).expect("room");
        assert_eq!(over.left_out.len(), 300 - 2 * ALL_EACH_END);
        let kept = carried(&places, over.file).expect("whole");
        let over = carry(&places, kept, all(&pki), &issuers(&pki)).expect("room");
        let kept = carried(&places, over.file).expect("whole");
        assert!(links(&pki)[0].status(&kept).is_some());
        assert_eq!(kept.len(), 2 * ALL_EACH_END + all(&pki).len());
    }
}
