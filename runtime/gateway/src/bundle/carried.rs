//! The revocation lists that bundles have brought, in one file beside the bundles, which is named by its digest: of each issuer the
//! newest that its key has signed, and behind them those that no key has signed which is known here.
//!
//! Decides that a bundle adds to them and takes none away but for a newer one that the same key has signed, or one too many of the same
//! number; that what no known key has signed is kept for the day on which its issuer is known, and takes no room from the rest; and that
//! a list in the name of a root which that has not signed is forged.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, bail};
use countersign_format::{Digest, FormatError};
use countersign_hosting::{Read, read};
use countersign_trust_store::{Crl, Issuer, Rejection, pem};
use der::pem::{LineEnding, encode_string};

use super::Places;
use super::stage::MAX_LISTS;
use super::unproved::{self, MOST_BYTES};
use crate::admission::Refusal;

/// Most lists that a known key has signed: two of each of as many authorities as anybody has.
pub(super) const MAX_NUMBER: usize = 1_024;

/// How a line begins before a list that no known key has signed; then follows whose bundles have brought it.
const CLAIMED: &str = "Brought-By:";

/// A list that bundles have brought.
#[derive(Clone, Debug)]
pub(crate) struct Carried {
    pub(crate) list: Crl,
    /// Whose bundles have brought it, each with the number that it has among what they brought. Nobody's, once a key that was
    /// known then had signed it: it stays, also where that is forgotten.
    pub(super) claims: BTreeMap<Digest, u64>,
}

/// Issuers whose keys are known.
#[derive(Debug, Default)]
pub(crate) struct Known {
    /// The roots that are compiled in. No other authority rightly has the name of one.
    pub(crate) roots: Vec<Issuer>,
    /// Those that a chain to a root has shown: one that was judged good, or whose lists were consulted, whatever became of it.
    pub(crate) shown: BTreeSet<Issuer>,
}

/// What was carried over.
#[derive(Debug)]
pub(crate) struct CarriedOver {
    /// The digest of the file; none if nothing is carried.
    pub(crate) file: Option<Digest>,
    /// Of the lists that were brought, one that is forged. None of these was put down.
    pub(crate) forged: Option<Rejection>,
    pub(crate) not_kept: NotKept,
}

/// Lists that no known key has signed and that are not kept. What a bundle brings is judged by them nevertheless.
#[derive(Debug, Default)]
pub(crate) struct NotKept {
    /// Those of the bundle that found no room, or lost it to others of the bundle, of which the operator is told.
    pub(crate) left_out: Vec<Crl>,
    /// Those of earlier bundles whose place others of the same signers have.
    pub(crate) replaced: Vec<Crl>,
}

impl NotKept {
    /// All of them, those before that were kept so far: what a bundle brings takes their place, and not their say.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Crl> {
        self.replaced.iter().chain(&self.left_out)
    }

    /// What is to be brought once more of a bundle that brought these, where judging it has shown whose more of them are: what that takes
    /// no room from any more finds it then. Those of other bundles that known keys have signed come first.
    pub(crate) fn again(
        &self,
        brought: Vec<Crl>,
        known_before: &Known,
        known: &Known,
    ) -> Option<Vec<Crl>> {
        if self.all().next().is_none() || known.shown.is_subset(&known_before.shown) {
            return None;
        }
        let is_signed = |list: &&Crl| origin(list, known) == Origin::Signed;
        let replaced = self.replaced.iter().filter(is_signed);
        Some(replaced.cloned().chain(brought).collect())
    }
}

impl Known {
    /// And whoever has signed one of these lists that was consulted.
    pub(crate) fn and_signers_of(mut self, consulted: &[Crl]) -> Self {
        self.shown
            .extend(consulted.iter().filter_map(Issuer::of_verified));
        self
    }
}

/// The lists in the file with this digest.
///
/// # Errors
/// If they are not all there as they were: what one of them would have revoked must not run because it is missing.
pub(crate) fn carried(places: &Places, digest: Digest) -> anyhow::Result<Vec<Carried>> {
    let path = places.lists(digest);
    let damaged = || {
        format!(
            "the revocation lists that bundles have brought, {}, are damaged; apply a bundle with the newest lists of all issuers",
            path.display()
        )
    };
    // PEM is longer than what it holds by a third, and its line ends.
    let Read::Whole(text) =
        read(&path, 2 * (MAX_LISTS + MOST_BYTES as u64)).with_context(damaged)?
    else {
        bail!("{}", damaged());
    };
    if Digest::of(&text) != digest {
        bail!("{}", damaged());
    }
    let lists = pem::crls(&text).with_context(damaged)?;
    let claims = claims(&text).with_context(damaged)?;
    let lists = lists.iter().zip(claims);
    let parsed = lists.map(|(list, claims)| {
        let list = Crl::parse(list)?;
        Ok(Carried { list, claims })
    });
    parsed
        .collect::<Result<_, Rejection>>()
        .with_context(damaged)
}

/// Of each list in the text, whose bundles have brought it, where that stands before it.
fn claims(text: &[u8]) -> Option<Vec<BTreeMap<Digest, u64>>> {
    let (mut all, mut next) = (Vec::new(), BTreeMap::new());
    for line in text.split(|byte| *byte == b'\n') {
        if line.starts_with(b"-----BEGIN ") {
            all.push(std::mem::take(&mut next));
        } else if let Some(line) = line.strip_prefix(CLAIMED.as_bytes()) {
            for claim in str::from_utf8(line).ok()?.split_ascii_whitespace() {
                let (signers, number) = claim.split_once('=')?;
                next.insert(signers.parse().ok()?, number.parse().ok()?);
            }
        }
    }
    Some(all)
}

/// Puts down these lists, of which `brought` came last, with a bundle of these signers.
///
/// # Errors
/// If those that known keys have signed are too many, or they cannot be written.
pub(crate) fn carry(
    places: &Places,
    before: Vec<Carried>,
    brought: Vec<Crl>,
    signers: Digest,
    known: &Known,
) -> Result<CarriedOver, Refusal> {
    let (mut signed, mut once, mut unproved) = (Vec::new(), Vec::new(), Vec::new());
    for there in before {
        match (origin(&there.list, known), there.claims.is_empty()) {
            (Origin::Signed, _) => signed.push(there.list),
            (_, true) => once.push(there),
            (Origin::Unproved, false) => unproved.push(there),
            (Origin::Forged, false) => {}
        }
    }
    let (mut forged, mut new) = (None, Vec::new());
    for list in brought {
        match origin(&list, known) {
            Origin::Signed => signed.push(list),
            Origin::Unproved => new.push(list),
            Origin::Forged => {
                let issuer = format!("{}, number {}", list.issuer(), list.number());
                let reason = "a bundle brings a list in its name that its key has not signed";
                forged.get_or_insert(Rejection::CrlInvalid { issuer, reason });
            }
        }
    }
    let mut lists: Vec<_> = newest(signed).into_iter().map(Carried::signed).collect();
    lists.extend(once);
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
    let sum = |sum: u64, there: &Carried| sum.saturating_add(there.list.der().len() as u64);
    let what = "revocation lists of all bundles";
    within(what, MAX_LISTS, lists.iter().fold(0, sum))?;
    within(what, MAX_NUMBER as u64, lists.len() as u64)?;
    let is_there = |list: &Crl| lists.iter().any(|there| there.list.der() == list.der());
    new.retain(|list| !is_there(list));
    let were_there: Vec<_> = unproved.iter().map(|there| there.list.clone()).collect();
    for list in &new {
        unproved::take_in(&mut unproved, list, signers);
    }
    let is_there = |list: &Crl| unproved.iter().any(|there| there.list.der() == list.der());
    let is_new = |list: &Crl| new.iter().any(|new| new.der() == list.der());
    let mut replaced = were_there;
    replaced.retain(|list| !is_there(list) && !is_new(list));
    // A bundle that brings more of an issuer than have room is told so: it may be a genuine one that went.
    let mut left_out = new.clone();
    left_out.retain(|list| !is_there(list));
    let not_kept = NotKept { left_out, replaced };
    lists.extend(unproved);
    Ok(CarriedOver {
        file: put_down(places, &lists)?,
        forged,
        not_kept,
    })
}

fn put_down(places: &Places, lists: &[Carried]) -> anyhow::Result<Option<Digest>> {
    if lists.is_empty() {
        return Ok(None);
    }
    let mut text = String::new();
    for there in lists {
        if !there.claims.is_empty() {
            text.push_str(CLAIMED);
            for (signers, number) in &there.claims {
                text.push_str(&format!(" {signers}={number}"));
            }
            text.push('\n');
        }
        let block = encode_string("X509 CRL", LineEnding::LF, there.list.der());
        text.push_str(&block.context("a revocation list cannot be written")?);
    }
    let file = Digest::of(text.as_bytes());
    countersign_durable::replace(&places.lists(file), text.as_bytes())?;
    Ok(Some(file))
}

impl Carried {
    /// What a known key has signed.
    const fn signed(list: Crl) -> Self {
        let claims = BTreeMap::new();
        Self { list, claims }
    }
}

/// Who a list is from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Origin {
    /// An issuer who is known.
    Signed,
    /// Nobody knows: no key that is known has signed it. Two authorities may have one name and one key identifier, of which one is
    /// known: whoever may issue certificates of authorities can take another's.
    Unproved,
    /// Not the root whose name it has.
    Forged,
}

fn origin(list: &Crl, known: &Known) -> Origin {
    if list.verified_under().is_some() {
        return Origin::Signed;
    }
    let mut all = known.roots.iter().chain(&known.shown);
    if all.any(|issuer| issuer.has_signed(list) == Some(true)) {
        return Origin::Signed;
    }
    let mut roots = known.roots.iter();
    match roots.any(|root| root.has_signed(list).is_some()) {
        true => Origin::Forged,
        false => Origin::Unproved,
    }
}

/// Of each key the newest. Of several with one number the first and the last that came: a key that signs more of them fills no room
/// but its own. In the order in which they came.
fn newest(lists: Vec<Crl>) -> Vec<Crl> {
    let mut kept: Vec<Crl> = Vec::with_capacity(lists.len());
    for list in &lists {
        let is_behind = lists
            .iter()
            .any(|other| is_of_same_key(other, list) && other.number() > list.number());
        // A second signature of the same, which anybody can make, is no second list; but another key's is that key's.
        let is_again = kept
            .iter()
            .any(|other| is_of_same_key(other, list) && other.says_the_same_as(list));
        if is_behind || is_again {
            continue;
        }
        let places = kept.iter().enumerate();
        let mut same = places.filter(|(_, other)| is_of_same_key(other, list));
        if let Some((last, _)) = same.nth(1) {
            kept.remove(last);
        }
        kept.push(list.clone());
    }
    kept
}

fn is_of_same_key(one: &Crl, other: &Crl) -> bool {
    one.has_issuer_of(other) && one.verified_under() == other.verified_under()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use countersign_testing::{CrlParts, TestPki};
    use countersign_trust_store::{Anchor, Link, PathProfile, oid};

    use super::super::unproved::{EACH, OF_ISSUER_EACH, few};
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

    fn issuers(pki: &TestPki) -> Known {
        let issuers = links(pki).into_iter().map(|link| link.issuer().clone());
        Known {
            roots: pki.anchors().iter().map(Anchor::issuer).collect(),
            shown: issuers.collect(),
        }
    }

    fn nobody() -> Known {
        Known::default()
    }

    fn signers() -> Digest {
        Digest::of(b"signers")
    }

    fn only(lists: Vec<Carried>) -> Vec<Crl> {
        lists.into_iter().map(|there| there.list).collect()
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
        before: Vec<Carried>,
        brought: Vec<Crl>,
        known: &Known,
    ) -> Vec<Carried> {
        let over = carry(places, before, brought, signers(), known).expect("room");
        read_again(places, &over)
    }

    fn read_again(places: &Places, over: &CarriedOver) -> Vec<Carried> {
        carried(places, over.file.expect("lists")).expect("whole")
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
        let over = carry(&places, before, all(&two), signers(), &known).expect("room");
        assert!(over.forged.is_none() && over.not_kept.left_out.is_empty());
        let file = over.file.expect("lists");
        let both = carried(&places, file).expect("whole");
        assert_eq!(both.len(), 4);
        let status = links(&one)[0].status(&only(both.clone())).expect("a list");
        assert!(status.revoked);
        // The same once more is nothing more, and an older one nothing at all.
        let again = [only(both.clone()), all(&one)].concat();
        let again = carry(&places, both.clone(), again, signers(), &known);
        assert_eq!(again.expect("room").file, Some(file));
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
    fn td13_an_authority_that_signs_many_lists_of_one_number_fills_no_room_but_its_own() {
        let pki = TestPki::new();
        let (_state, places) = folder();
        let known = issuers(&pki);
        let (root, device) = (list(&pki.crls()[0]), pki.crl_against_device(9));
        let of_one_number = |entries: u8| {
            let mut parts = CrlParts::of(&device);
            let revoked = parts.revoked_certificates.take().expect("one");
            let revoked = revoked.into_iter().cycle().take(entries.into());
            parts.revoked_certificates = Some(revoked.collect());
            list(&parts.sign(&pki.authority_keys()[1]))
        };
        let many: Vec<_> = (1..=40).map(of_one_number).collect();
        let brought = [vec![root.clone()], many.clone()].concat();
        let kept = carried_again(&places, Vec::new(), brought, &known);
        let ders = |kept: &[Carried]| -> Vec<_> {
            let ders = kept.iter().map(|there| there.list.der().to_vec());
            ders.collect()
        };
        let three = [&root, &many[0], &many[39]].map(|list| list.der().to_vec());
        assert_eq!(ders(&kept), three);
        // Nor does the first, with another signature, take the place of the other: two that differ say that something is wrong.
        let again = CrlParts::of(many[0].der()).sign_otherwise(&pki.authority_keys()[1]);
        assert!(again != many[0].der());
        let kept = carried_again(&places, kept, vec![list(&again)], &known);
        assert_eq!(ders(&kept), three);
    }

    #[test]
    fn td13_what_a_root_has_not_signed_is_forged_whatever_its_number() {
        let pki = TestPki::new();
        let (_state, places) = folder();
        let genuine = list(&pki.crl_against_device(9));
        let stranger = TestPki::builder().seed(9).build();
        let of_root = CrlParts::of(&pki.crls()[0]).sign(&stranger.authority_keys()[0]);
        // Where nothing else is there, nothing is put down that could not be read.
        let nothing = Vec::new();
        let over = carry(
            &places,
            nothing,
            vec![list(&of_root)],
            signers(),
            &issuers(&pki),
        );
        let over = over.expect("room");
        assert!(over.forged.is_some() && over.file.is_none());
        let brought = vec![genuine.clone(), list(&of_root)];
        let over = carry(&places, Vec::new(), brought, signers(), &issuers(&pki)).expect("room");
        let refused = over.forged.as_ref().expect("forged").to_string();
        let number = format!("number {}", list(&of_root).number());
        assert!(refused.contains(&number), "{refused}");
        let kept = only(read_again(&places, &over));
        assert_eq!(kept.len(), 1);
        assert!(
            links(&pki)[0]
                .status(&kept)
                .is_some_and(|status| status.revoked)
        );
    }

    #[test]
    fn td13_what_a_known_issuer_has_not_signed_says_nothing_whatever_its_number() {
        let pki = TestPki::new();
        let (_state, places) = folder();
        let genuine = list(&pki.crl_against_device(9));
        let brought = vec![genuine.clone(), forged(&pki, 10)];
        let over = carry(&places, Vec::new(), brought, signers(), &issuers(&pki)).expect("room");
        assert!(over.forged.is_none() && over.not_kept.left_out.is_empty());
        let kept = read_again(&places, &over);
        let status = |kept: &[Carried]| {
            let status = links(&pki)[0].status(&only(kept.to_vec()));
            let status = status.expect("a list");
            (status.number.to_string(), status.revoked)
        };
        assert_eq!(status(&kept), ("9".to_owned(), true));
        // A genuine one that follows takes the place of the genuine one.
        let next = vec![list(&pki.crl_against_device(11))];
        let kept = carried_again(&places, kept, next, &issuers(&pki));
        assert_eq!(status(&kept), ("11".to_owned(), true));
        assert_eq!(kept.len(), 2);
    }

    #[test]
    fn td13_an_authority_with_the_name_of_another_takes_none_of_its_lists() {
        let victim = TestPki::new();
        let (_state, places) = folder();
        // Its own certificate names another key: what it has signed is as good as the victim's, while only it is known.
        let namesake = TestPki::builder().seed(9).build();
        let of_namesake = forged(&victim, 12);
        let text = links(&victim)[0].to_string();
        let mut fields: Vec<_> = text.split('.').map(str::to_owned).collect();
        let spki = links(&namesake)[0].to_string();
        fields[2] = spki.split('.').nth(2).expect("a key").to_owned();
        let link: Link = fields.join(".").parse().expect("a link");
        let only_namesake = Known {
            roots: Vec::new(),
            shown: [link.issuer().clone()].into(),
        };
        let genuine = list(&victim.crl_against_device(9));
        let brought = vec![of_namesake.clone(), genuine.clone()];
        let over = carry(&places, Vec::new(), brought, signers(), &only_namesake).expect("room");
        assert!(over.forged.is_none() && over.not_kept.left_out.is_empty());
        let kept = read_again(&places, &over);
        let is_there = |lists: &[Carried], list: &Crl| {
            let mut lists = lists.iter();
            lists.any(|there| there.list.der() == list.der())
        };
        assert!(is_there(&kept, &genuine) && is_there(&kept, &of_namesake));
        // The day on which the victim is known: each has its own.
        let mut both = issuers(&victim);
        both.shown.insert(link.issuer().clone());
        let kept = carried_again(&places, kept, Vec::new(), &both);
        let (listed, lists) = (links(&victim), only(kept.clone()));
        assert!(kept.len() == 2 && kept.iter().all(|there| there.claims.is_empty()));
        assert!(listed[0].status(&lists).is_some_and(|said| said.revoked));
        let status = link.status(&lists).expect("its own");
        assert_eq!(status.number.to_string(), "12");
        // Nor where it signs the very text of the victim's, and is the first.
        let parts = CrlParts::of(&victim.crl_against_device(9));
        let copied = list(&parts.sign(&namesake.authority_keys()[1]));
        assert!(copied.says_the_same_as(&genuine));
        for brought in [[&copied, &genuine], [&genuine, &copied]] {
            let brought = brought.map(Clone::clone).to_vec();
            let kept = carried_again(&places, Vec::new(), brought, &both);
            assert!(is_there(&kept, &genuine) && is_there(&kept, &copied));
        }
    }

    #[test]
    fn td13_forged_lists_of_an_issuer_whom_nobody_knows_take_none_away() {
        let pki = TestPki::new();
        let (_state, places) = folder();
        let genuine = list(&pki.crl_against_device(9));
        let mut kept = carried_again(&places, Vec::new(), vec![genuine.clone()], &nobody());
        for number in 10..40 {
            kept = carried_again(&places, kept, vec![forged(&pki, number)], &nobody());
            assert!(kept.len() <= OF_ISSUER_EACH);
        }
        let is_there = |lists: &[Carried], list: &Crl| {
            let mut lists = lists.iter();
            lists.any(|there| there.list.der() == list.der())
        };
        assert!(is_there(&kept, &genuine));
        // What comes afterwards is there as well; and when the issuer is known, it alone.
        let later = list(&pki.crl_against_device(41));
        let kept = carried_again(&places, kept, vec![later.clone()], &nobody());
        assert!(is_there(&kept, &genuine) && is_there(&kept, &later));
        let mut kept = carried_again(&places, kept, Vec::new(), &issuers(&pki));
        kept.retain(|there| there.claims.is_empty());
        assert!(kept.len() == 1 && is_there(&kept, &later));
        // What was known to be signed outlives all that comes when its issuer is forgotten.
        let mut kept = kept;
        for number in 42..60 {
            kept = carried_again(&places, kept, vec![forged(&pki, number)], &nobody());
        }
        assert!(is_there(&kept, &later));
    }

    #[test]
    fn td13_what_was_kept_judges_the_bundle_that_takes_its_place() {
        let pki = TestPki::new();
        let (_state, places) = folder();
        let genuine = (1..=5).map(|number| list(&pki.crl_against_device(number)));
        let genuine: Vec<_> = genuine.collect();
        let kept = carried_again(&places, Vec::new(), genuine.clone(), &nobody());
        assert_eq!(kept.len(), OF_ISSUER_EACH);
        let numbers = [1_000, 10, 11, 12, 13, 14, 15];
        let brought = numbers.map(|number| forged(&pki, number)).to_vec();
        let over = carry(&places, kept, brought, signers(), &nobody()).expect("room");
        // Those of the bundle that found no room are told of; those before are not, and are the first by which it is judged.
        assert_eq!(over.not_kept.left_out.len(), 5);
        let judging = few(over.not_kept.all());
        for gone in [&genuine[3], &genuine[4]] {
            assert!(judging.iter().any(|list| list.der() == gone.der()));
        }
        assert!(judging.len() == OF_ISSUER_EACH);
    }

    #[test]
    fn td13_what_a_bundle_brings_once_more_is_kept_or_told_of() {
        let pki = TestPki::new();
        let other = TestPki::builder().seed(7).build();
        let (_state, places) = folder();
        // Of one issuer more than have room, of whom one becomes known meanwhile; of another more than have room, too.
        let genuine: Vec<_> = (1..=7)
            .map(|number| list(&pki.crl_against_device(number)))
            .collect();
        let strange = [1_000, 10, 11, 12, 13, 14, 15].map(|number| forged(&other, number));
        let brought = [&genuine[..], &strange].concat();
        let over = carry(&places, Vec::new(), brought.clone(), signers(), &nobody()).expect("room");
        assert_eq!(over.not_kept.left_out.len(), 4);
        let kept = read_again(&places, &over);
        // While no more is known, nothing is to come of it.
        let again = over.not_kept.again(brought.clone(), &nobody(), &nobody());
        assert!(again.is_none());
        // Of these the newest alone is consulted, in a file of the operator's.
        let consulted = [list(genuine[6].der())];
        let issuer = links(&pki)[0].issuer().clone();
        assert_eq!(issuer.has_signed(&consulted[0]), Some(true));
        let known = nobody().and_signers_of(&consulted);
        let again = over.not_kept.again(brought, &nobody(), &known);
        let again = again.expect("more is known");
        let over = carry(&places, kept, again, signers(), &known).expect("room");
        let kept = only(read_again(&places, &over));
        let is_there = |list: &&Crl| kept.iter().any(|there| there.der() == list.der());
        // Whose it is, the others are: it supersedes them, and nobody is told of them as of a stranger's.
        assert_eq!(genuine.iter().filter(is_there).count(), 1);
        assert!(is_there(&&genuine[6]));
        // The last that came is among those that stay, and each that does not is told of.
        assert!(is_there(&&strange[6]));
        let gone: Vec<_> = strange
            .iter()
            .filter(|list| !is_there(list))
            .map(Crl::der)
            .collect();
        let left_out: Vec<_> = over.not_kept.left_out.iter().map(Crl::der).collect();
        assert!(gone.len() == 2 && left_out == gone);
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
        let over = carry(&places, Vec::new(), many, signers(), &nobody()).expect("room");
        assert_eq!(over.not_kept.left_out.len(), 300 - EACH);
        let kept = read_again(&places, &over);
        let over = carry(&places, kept, all(&pki), signers(), &issuers(&pki)).expect("room");
        let kept = read_again(&places, &over);
        assert!(links(&pki)[0].status(&only(kept.clone())).is_some());
        assert_eq!(kept.len(), EACH + all(&pki).len());
    }
}
