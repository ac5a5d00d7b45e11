//! Revocation lists that no key which is known here has signed: of an issuer whom nobody knows yet, or forged, which nobody can tell.
//!
//! Decides that whose bundles brought a list is remembered, and that nobody's bundles take a place from what others' have brought:
//! what finds no room is left out.

use std::collections::BTreeMap;

use countersign_format::Digest;
use countersign_trust_store::{Crl, MAX_CRL_BYTES};

use super::carried::Carried;

/// Of one issuer, so many of those that came first stay for good.
const FIRST: usize = 3;

/// Of one issuer, so many for those whose bundles brought them: the first, and the one that came last.
pub(super) const OF_ISSUER_EACH: usize = FIRST + 1;

/// Of one issuer from all: fewer than a chain can afford to look at.
const OF_ISSUER: usize = 24;

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

/// Has a list that came with a bundle of these signers stand among those that are there. What is not there any more, or never was: it
/// itself where there is no room, and the last that came from them of this issuer before, whose place it takes.
pub(super) fn take_in(lists: &mut Vec<Carried>, list: Crl, signers: Digest) -> Option<Crl> {
    let is_it = |there: &&mut Carried| there.list.der() == list.der();
    let mut next = lists.clone();
    let numbers = next.iter().filter_map(|there| there.claims.get(&signers));
    let number = numbers.max().copied().unwrap_or(0).saturating_add(1);
    match next.iter_mut().find(is_it) {
        Some(there) if there.claims.contains_key(&signers) || there.claims.len() >= CLAIMS => {
            return None;
        }
        Some(there) => {
            there.claims.insert(signers, number);
        }
        None => next.push(Carried {
            list: list.clone(),
            claims: BTreeMap::from([(signers, number)]),
        }),
    }
    let gone = without_last_before(&mut next, &list, signers);
    if !has_room(&next, &list, signers) {
        return Some(list);
    }
    *lists = next;
    gone
}

/// Of lists for which there is no room, those that a bundle's own components are judged by: so few of each issuer that, with all that are
/// there, a chain can afford to look at them.
pub(crate) fn few(lists: &[Crl]) -> Vec<Crl> {
    let mut few = Vec::<Crl>::new();
    for list in lists {
        let of_issuer = few.iter().filter(|other| other.has_issuer_of(list));
        if of_issuer.count() < OF_ISSUER_EACH {
            few.push(list.clone());
        }
    }
    few
}

/// Takes the place from the last of these signers' lists before this one, where they have more of this issuer than they may.
fn without_last_before(lists: &mut Vec<Carried>, list: &Crl, signers: Digest) -> Option<Crl> {
    let places = lists.iter().enumerate();
    let mut own: Vec<_> = places
        .filter(|(_, there)| there.list.has_issuer_of(list))
        .filter_map(|(place, there)| Some((*there.claims.get(&signers)?, place)))
        .collect();
    own.sort_unstable();
    let (_, place) = own
        .get(FIRST)
        .filter(|_| own.len() > OF_ISSUER_EACH)
        .copied()?;
    let before = lists.get_mut(place)?;
    before.claims.remove(&signers);
    // Others may have brought it as well.
    before.claims.is_empty().then(|| lists.remove(place).list)
}

fn has_room(lists: &[Carried], list: &Crl, signers: Digest) -> bool {
    let bytes = |those: &[&Crl]| those.iter().map(|list| list.der().len()).sum::<usize>();
    let all: Vec<_> = lists.iter().map(|there| &there.list).collect();
    let own = lists
        .iter()
        .filter(|there| there.claims.contains_key(&signers));
    let own: Vec<_> = own.map(|there| &there.list).collect();
    let of_issuer = all.iter().filter(|other| other.has_issuer_of(list));
    of_issuer.count() <= OF_ISSUER
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
        let genuine: Vec<_> = (0..4).map(|number| list(&pki, number)).collect();
        for one in &genuine {
            assert!(take_in(&mut lists, one.clone(), honest).is_none());
        }
        // Neither those that came first nor the last.
        for number in 100..200 {
            take_in(&mut lists, list(&pki, number), hostile);
        }
        assert!(genuine.iter().all(|one| has(&lists, one)));
        assert_eq!(lists.len(), 2 * OF_ISSUER_EACH);
        let forged: Vec<_> = (100..200).map(|number| list(&pki, number)).collect();
        assert_eq!(few(&forged).len(), OF_ISSUER_EACH);
        // Nor what the hostile brought first, as if it were their own, and give up.
        let next = list(&pki, 5);
        take_in(&mut lists, next.clone(), hostile);
        assert!(take_in(&mut lists, next.clone(), honest).is_some());
        take_in(&mut lists, list(&pki, 200), hostile);
        assert!(has(&lists, &next) && has(&lists, &list(&pki, 200)));
        // One's own newer takes the place of one's last, and of none of one's first.
        let newest = list(&pki, 6);
        let gone = take_in(&mut lists, newest.clone(), honest).expect("no room for both");
        assert!(gone.der() == next.der() && has(&lists, &newest));
        assert!(genuine[..FIRST].iter().all(|one| has(&lists, one)));
    }

    #[test]
    fn td13_no_size_and_no_number_takes_a_place_from_what_is_there() {
        let pki = TestPki::new();
        let mut lists = Vec::new();
        let (mut small, mut large) = (parts(&pki, 1), parts(&pki, 300_000));
        let genuine = of(&pki, &mut parts(&pki, 1_000), 0);
        assert!(take_in(&mut lists, genuine.clone(), signers("honest")).is_none());
        // 11 MiB each: of the same signers one has room, and the next has none.
        let mut bring = |lists: &mut Vec<Carried>, issuer: u64, by: &str| {
            let out = take_in(lists, of(&pki, &mut large, issuer), signers(by));
            out.is_none()
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
                take_in(
                    &mut lists,
                    of(&pki, &mut small, 100 + by * 100 + issuer),
                    by_one,
                );
            }
            let own = signers(&format!("small {by}"));
            let own = lists.iter().filter(|one| one.claims.contains_key(&own));
            assert!(own.count() <= EACH);
        }
        assert!(lists.len() == MOST && has(&lists, &genuine));
    }
}
