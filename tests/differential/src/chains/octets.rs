//! Changes to octets: flips, splices and grafts, signed again or not.

use countersign_testing::Sealed;

use super::bases::{Base, Draft};
use super::tree::Node;
use crate::random::Random;

/// A change to encoded octets: to single ones, or to the parts that they are of.
#[derive(Debug)]
pub(super) struct Octets {
    single: bool,
    /// A part of another object.
    graft: Node,
    random: Random,
}

/// Chooses a change to the encoded parts of a certificate or a list, to be made before it is signed.
pub(super) fn choose(draft: &mut Draft, other: &Base, random: &mut Random) -> &'static str {
    let sealed = &other.sealed;
    let foreign = match random.below(3) {
        0 => random.of(&sealed.crls),
        1 => &sealed.root,
        _ => random.of(&sealed.chain),
    };
    let graft = Node::read(foreign)
        .expect("what a base holds is well formed")
        .any(random);
    let change = Octets::new(graft, random);
    let single = change.single;
    if random.one_in(3) && !draft.open.lists.is_empty() {
        let at = random.below(draft.open.lists.len());
        draft.list_octets = Some((at, change));
        return if single {
            "a list's octets, and signed"
        } else {
            "a part of a list, and signed"
        };
    }
    let at = random.below(draft.open.certificates.len());
    draft.certificate_octets = Some((at, change));
    if single {
        "a certificate's octets, and signed"
    } else {
        "a part of a certificate, and signed"
    }
}

impl Octets {
    fn new(graft: Node, random: &mut Random) -> Self {
        let mut random = Random::new(random.next(), 0);
        Self {
            single: random.one_in(3),
            graft,
            random,
        }
    }

    /// The changed octets.
    pub(super) fn of(&self, octets: &[u8]) -> Vec<u8> {
        let mut random = self.random.clone();
        match Node::read(octets).filter(|_| !self.single) {
            Some(mut tree) => {
                for _ in 0..*random.of(&[1, 1, 1, 2]) {
                    tree.change(&self.graft, &mut random);
                }
                tree.write()
            }
            None => flipped(octets, &mut random),
        }
    }
}

/// Flips bits, or exchanges, removes or adds octets, in a finished object.
pub(super) fn after_signing(sealed: &mut Sealed, random: &mut Random) -> &'static str {
    let object = match random.below(8) {
        0 => &mut sealed.root,
        1..=4 if !sealed.chain.is_empty() => {
            let at = random.below(sealed.chain.len());
            &mut sealed.chain[at]
        }
        _ if !sealed.crls.is_empty() => {
            let at = random.below(sealed.crls.len());
            &mut sealed.crls[at]
        }
        _ => &mut sealed.root,
    };
    *object = flipped(object, random);
    "octets, not signed again"
}

fn flipped(octets: &[u8], random: &mut Random) -> Vec<u8> {
    let mut octets = octets.to_vec();
    let at = random.below(octets.len());
    match random.below(6) {
        0 => octets.insert(at, random.octet()),
        1 => drop(octets.remove(at)),
        2 => octets[at] = random.octet(),
        3 => octets.push(random.octet()),
        _ => octets[at] ^= 1 << random.below(8),
    }
    octets
}
