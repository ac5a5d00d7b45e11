//! Revocation lists that no key which is known here has signed: of an issuer whom nobody knows yet, or forged, which nobody can tell.
//!
//! Decides that whose bundles brought a list is remembered, and that nobody's bundles take a place from what others' have brought:
//! room is made among one's own, and what finds none is left out.

use std::collections::BTreeMap;

use countersign_format::Digest;
use countersign_trust_store::{Crl, MAX_CRL_BYTES};

use super::carried::Carried;

/// Of one issuer, so many for those whose bundles brought them: the first three, the last and the one of the highest number.
pub(super) const OF_ISSUER_EACH: usize = 5;

/// So many of those that came first make no room for newer ones of their issuer: a number that is not proved may be anything.
const FIRST: usize = 3;

/// Of one issuer from all: fewer than a chain can afford to look at.
const OF_ISSUER: usize = 23;

/// Of all issuers for those whose bundles brought them.
pub(super) const EACH: usize = 64;

/// Most bytes of those: a third of what there is room for (16 MiB).
const EACH_BYTES: usize = MOST_BYTES / 3;

/// Of all issuers from all.
const MOST: usize = 256;

/// Most bytes of those: one of the longest (48 MiB).
pub(super) const MOST_BYTES: usize = MAX_CRL_BYTES;

/// Most that are remembered to have brought the same list.
const CLAIMS: usize = 16;

/// Has a list that came with a bundle of these signers stand among those that are there, if there is room for it. One that came from them
/// of this issuer before gives it its place, behind the first few; and where there is no room, of any issuer one of those between the first
/// and the last that came from them. Of each issuer that of the highest number stays.
pub(super) fn take_in(lists: &mut Vec<Carried>, list: &Crl, signers: Digest) {
    let is_it = |there: &&mut Carried| there.list.der() == list.der();
    let mut next = lists.clone();
    let numbers = next.iter().filter_map(|there| there.claims.get(&signers));
    let number = numbers.max().copied().unwrap_or(0).saturating_add(1);
    match next.iter_mut().find(is_it) {
        Some(there) if there.claims.contains_key(&signers) || there.claims.len() >= CLAIMS => {
            return;
        }
        Some(there) => {
            there.claims.insert(signers, number);
        }
        None => next.push(Carried {
            list: list.clone(),
            claims: BTreeMap::from([(signers, number)]),
        }),
    }
    if let Some(place) = last_before(&next, list, signers) {
        give_up(&mut next, place, signers);
    }
    while !has_room(&next, list, signers) {
        let Some(place) = oldest_between(&next, list, signers) else {
            return;
        };
        give_up(&mut next, place, signers);
    }
    *lists = next;
}

/// Of lists for which there is no room, those that a bundle's own components are judged by: so few of each issuer that, with all that are
/// there, a chain can afford to look at them.
pub(crate) fn few<'a>(lists: impl IntoIterator<Item = &'a Crl>) -> Vec<Crl> {
    let mut few = Vec::<Crl>::new();
    for list in lists {
        let of_issuer = few.iter().filter(|other| other.has_issuer_of(list));
        if of_issuer.count() < OF_ISSUER_EACH {
            few.push(list.clone());
        }
    }
    few
}

/// The last of these signers' lists before this one that they may lose, where they have more of this issuer than they may.
fn last_before(lists: &[Carried], list: &Crl, signers: Digest) -> Option<usize> {
    let own: Vec<_> = places(lists, signers).collect();
    let of_issuer = own.iter().filter(|own| own.list.has_issuer_of(list));
    if of_issuer.clone().count() <= OF_ISSUER_EACH {
        return None;
    }
    let last = of_issuer.filter(|one| may_go(&own, one, FIRST));
    last.max_by_key(|one| one.came).map(|one| one.place)
}

/// Of these signers' lists the oldest that they may lose. Only of this list's issuer where it is this issuer of whom there are too many.
fn oldest_between(lists: &[Carried], list: &Crl, signers: Digest) -> Option<usize> {
    let own: Vec<_> = places(lists, signers).collect();
    let is_crowded = is_crowded(lists, list);
    let of_issuer = own
        .iter()
        .filter(|one| !is_crowded || one.list.has_issuer_of(list));
    let oldest = of_issuer.filter(|one| may_go(&own, one, 1));
    oldest.min_by_key(|one| one.came).map(|one| one.place)
}

/// A list of certain signers.
struct Own<'a> {
    /// As which of theirs it came.
    came: u64,
    /// Where it stands.
    place: usize,
    list: &'a Crl,
}

/// The lists that these signers' bundles brought.
fn places(lists: &[Carried], signers: Digest) -> impl Iterator<Item = Own<'_>> {
    let places = lists.iter().enumerate();
    places.filter_map(move |(place, there)| {
        let came = *there.claims.get(&signers)?;
        let list = &there.list;
        Some(Own { came, place, list })
    })
}

/// Whether one of the signers' own lists is neither among the first of its issuer that came from them, nor the last, nor the one of the
/// highest number: a place where lists are fetched may lag behind.
fn may_go(own: &[Own<'_>], one: &Own<'_>, first: usize) -> bool {
    let of_issuer = || own.iter().filter(|own| own.list.has_issuer_of(one.list));
    let newest = of_issuer().max_by_key(|own| (own.list.number(), own.came));
    let before = of_issuer().filter(|other| other.came < one.came);
    before.count() >= first
        && of_issuer().any(|other| other.came > one.came)
        && newest.is_some_and(|newest| newest.came != one.came)
}

/// Has a list not be these signers' any more: it goes, unless others have brought it as well.
fn give_up(lists: &mut Vec<Carried>, place: usize, signers: Digest) {
    let Some(there) = lists.get_mut(place) else {
        return;
    };
    there.claims.remove(&signers);
    if there.claims.is_empty() {
        lists.remove(place);
    }
}

/// Whether there are more of this issuer than a chain can afford to look at.
fn is_crowded(lists: &[Carried], list: &Crl) -> bool {
    let of_issuer = lists.iter().filter(|other| other.list.has_issuer_of(list));
    of_issuer.count() > OF_ISSUER
}

fn has_room(lists: &[Carried], list: &Crl, signers: Digest) -> bool {
    let bytes = |those: &[&Crl]| those.iter().map(|list| list.der().len()).sum::<usize>();
    let all: Vec<_> = lists.iter().map(|there| &there.list).collect();
    let own = lists
        .iter()
        .filter(|there| there.claims.contains_key(&signers));
    let own: Vec<_> = own.map(|there| &there.list).collect();
    !is_crowded(lists, list)
        && own.len() <= EACH
        && bytes(&own) <= EACH_BYTES
        && all.len() <= MOST
        && bytes(&all) <= MOST_BYTES
}

#[cfg(test)]
mod tests {
    use countersign_testing::{CrlParts, TestPki};
    use countersign_trust_store::oid;
    use der::{Any, Decode as _};

    use super::*;

    /// One of many of the same issuer.
    fn list(pki: &TestPki, number: u64) -> Crl {
        Crl::parse(&pki.crl_against_device(number)).expect("a list")
    }

    /// One with so many entries of 39 bytes.
    fn parts(pki: &TestPki, entries: u32) -> CrlParts {
        let entry = |number: u32| {
            let serial = [&[0x02, 20, 0x40][..], &number.to_be_bytes(), &[7; 15]].concat();
            let at = [&[0x17, 13][..], b"260101000000Z"].concat();
            Any::from_der(&[&[0x30, 37], &serial[..], &at].concat()).expect("an entry")
        };
        let mut parts = CrlParts::of(&pki.crl_against_device(1));
        parts.revoked_certificates = Some((0..entries).map(entry).collect());
        parts
    }

    /// The same of an issuer of its own.
    fn of(pki: &TestPki, parts: &mut CrlParts, issuer: u64) -> Crl {
        let identifier = [&[0x30, 10, 0x80, 8][..], &issuer.to_be_bytes()].concat();
        parts.set_extension(oid::AUTHORITY_KEY_IDENTIFIER, false, &identifier);
        Crl::parse(&parts.sign(&pki.authority_keys()[1])).expect("a list")
    }

    /// What gave its place to a list for which there is room.
    fn bring(lists: &mut Vec<Carried>, list: &Crl, signers: Digest) -> Vec<Crl> {
        let before = lists.clone();
        take_in(lists, list, signers);
        assert!(has(lists, list), "no room");
        let before = before.into_iter().map(|there| there.list);
        before.filter(|there| !has(lists, there)).collect()
    }

    fn has(lists: &[Carried], list: &Crl) -> bool {
        lists.iter().any(|there| there.list.der() == list.der())
    }

    fn signers(name: &str) -> Digest {
        Digest::of(name.as_bytes())
    }

    #[test]
    fn td13_nobodys_bundles_take_a_place_from_what_others_have_brought() {
        let pki = TestPki::new();
        let (honest, hostile) = (signers("honest"), signers("hostile"));
        let mut lists = Vec::new();
        let genuine: Vec<_> = (0..5).map(|number| list(&pki, number)).collect();
        for one in &genuine {
            assert!(bring(&mut lists, one, honest).is_empty());
        }
        // Neither those that came first nor the last.
        for number in 100..200 {
            bring(&mut lists, &list(&pki, number), hostile);
        }
        assert!(genuine.iter().all(|one| has(&lists, one)));
        assert_eq!(lists.len(), 2 * OF_ISSUER_EACH);
        let forged: Vec<_> = (100..200).map(|number| list(&pki, number)).collect();
        assert_eq!(few(&forged).len(), OF_ISSUER_EACH);
        // Nor what the hostile brought first, as if it were their own, and give up.
        let next = list(&pki, 6);
        bring(&mut lists, &next, hostile);
        assert_eq!(bring(&mut lists, &next, honest).len(), 1);
        bring(&mut lists, &list(&pki, 200), hostile);
        assert!(has(&lists, &next) && has(&lists, &list(&pki, 200)));
        // One's own newer takes the place of one's last, and not of one's first.
        let newest = list(&pki, 7);
        let gone = bring(&mut lists, &newest, honest);
        let gone: Vec<_> = gone.iter().map(Crl::der).collect();
        assert!(gone == [next.der()] && has(&lists, &newest));
        assert!(genuine[..3].iter().all(|one| has(&lists, one)));
    }

    #[test]
    fn td13_of_one_list_so_many_are_remembered_to_have_brought_it() {
        let pki = TestPki::new();
        let mut lists = Vec::new();
        let (one, by) = (list(&pki, 1), |number: usize| signers(&number.to_string()));
        for number in 0..CLAIMS + 2 {
            take_in(&mut lists, &one, by(number));
        }
        assert!(lists.len() == 1 && lists[0].claims.len() == CLAIMS);
        // It stays for as long as one of these has it, and nobody else holds it.
        for number in 0..CLAIMS {
            assert!(has(&lists, &one));
            give_up(&mut lists, 0, by(number));
        }
        assert!(lists.is_empty());
    }

    #[test]
    fn td13_no_size_and_no_number_takes_a_place_from_what_is_there() {
        let pki = TestPki::new();
        let mut lists = Vec::new();
        let (mut small, mut large) = (parts(&pki, 1), parts(&pki, 300_000));
        let genuine = of(&pki, &mut parts(&pki, 1_000), 0);
        bring(&mut lists, &genuine, signers("honest"));
        // 11 MiB each: of the same signers one has room, and the next has none.
        let mut bring = |lists: &mut Vec<Carried>, issuer: u64, by: &str| {
            let large = of(&pki, &mut large, issuer);
            take_in(lists, &large, signers(by));
            has(lists, &large)
        };
        assert!(bring(&mut lists, 1, "hostile 1") && !bring(&mut lists, 2, "hostile 1"));
        for issuer in 3..6 {
            assert!(bring(&mut lists, issuer, &format!("hostile {issuer}")));
        }
        // Nor is there room for more than four of whomever.
        assert!(!bring(&mut lists, 6, "hostile 6"));
        let bytes = lists.iter().map(|one| one.list.der().len()).sum::<usize>();
        assert!(bytes > MOST_BYTES / 2 && bytes <= MOST_BYTES && has(&lists, &genuine));
        // What is small has room still: of each so many, and of all.
        for by in 0..5 {
            for issuer in 0..70 {
                let by_one = signers(&format!("small {by}"));
                let of_one = of(&pki, &mut small, 100 + by * 100 + issuer);
                take_in(&mut lists, &of_one, by_one);
            }
            let own = signers(&format!("small {by}"));
            let own = lists.iter().filter(|one| one.claims.contains_key(&own));
            assert!(own.count() <= EACH);
        }
        assert!(lists.len() == MOST && has(&lists, &genuine));
    }

    #[test]
    fn td13_who_brings_more_and_more_of_strangers_makes_room_among_ones_own() {
        let pki = TestPki::new();
        let (honest, other) = (signers("honest"), signers("other"));
        let mut lists = Vec::new();
        let others = of(&pki, &mut parts(&pki, 1), 500);
        assert!(bring(&mut lists, &others, other).is_empty());
        // Each of its bundles has the newest of twenty issuers whom nobody knows yet.
        let of_bundle = |bundle: u32| (0..20).map(move |issuer| (bundle, issuer));
        let one = |(bundle, issuer): (u32, u64)| of(&pki, &mut parts(&pki, bundle + 1), issuer);
        for bundle in 0..12 {
            for list in of_bundle(bundle).map(one) {
                bring(&mut lists, &list, honest);
                assert!(has(&lists, &list));
            }
        }
        // Of each the first, and the newest, and nothing of others went for it.
        for list in of_bundle(0).chain(of_bundle(11)).map(one) {
            assert!(has(&lists, &list));
        }
        assert!(lists.len() <= EACH + 1 && has(&lists, &others));
        // One that lags behind, and another, do not take the place of what has the highest number.
        let newer = |number: u64| list(&pki, number);
        let mut there = |numbers: &[u64]| {
            lists.retain(|there| !there.list.has_issuer_of(&newer(5)));
            for number in numbers {
                bring(&mut lists, &newer(*number), other);
            }
            let of_issuer = lists.iter().map(|there| &there.list);
            let of_issuer = of_issuer.filter(|list| list.has_issuer_of(&newer(5)));
            let numbers = numbers.iter().copied();
            let there: Vec<_> = of_issuer.map(Crl::der).collect();
            numbers
                .filter(|number| there.contains(&newer(*number).der()))
                .collect::<Vec<_>>()
        };
        assert_eq!(there(&[5, 7, 6, 9, 8, 4]), [5, 7, 6, 9, 4]);
        // Nor does a forged one of a high number take the place of those that came before it.
        assert_eq!(there(&[5, 6, 9, 99, 10, 50]), [5, 6, 9, 99, 50]);
        lists.retain(|there| !there.list.has_issuer_of(&newer(5)));
        // Where the first and the last of each fill it, there is no room.
        for issuer in 20..32 {
            for bundle in 0..2 {
                bring(&mut lists, &one((bundle, issuer)), honest);
            }
        }
        let before = lists.len();
        take_in(&mut lists, &one((0, 40)), honest);
        assert!(!has(&lists, &one((0, 40))));
        assert_eq!((before, lists.len()), (EACH + 1, EACH + 1));
        bring(&mut lists, &one((0, 40)), other);
    }
}
