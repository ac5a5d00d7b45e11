//! Changes to octets: flips, splices and grafts, signed again or not.

use countersign_testing::Sealed;

use super::bases::{Base, Draft, Octets};
use super::tree::Node;
use crate::random::Random;

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
    let (change, words) = of(graft, random);
    if random.one_in(3) && !draft.open.lists.is_empty() {
        let at = random.below(draft.open.lists.len());
        draft.list_octets = Some((at, change));
        return match words {
            true => "a list's octets, and signed",
            false => "a part of a list, and signed",
        };
    }
    let at = random.below(draft.open.certificates.len());
    draft.certificate_octets = Some((at, change));
    match words {
        true => "a certificate's octets, and signed",
        false => "a part of a certificate, and signed",
    }
}

/// The change, and whether it is to single octets.
fn of(graft: Node, random: &mut Random) -> (Octets, bool) {
    let random = std::cell::RefCell::new(Random::new(random.next(), 0));
    let single = random.borrow_mut().one_in(3);
    let change = move |octets: &[u8]| {
        let mut random = random.borrow_mut();
        let tree = Node::read(octets).filter(|_| !single);
        match tree {
            Some(mut tree) => {
                for _ in 0..*random.of(&[1, 1, 1, 2]) {
                    tree.change(&graft, &mut random);
                }
                tree.write()
            }
            None => flipped(octets, &mut random),
        }
    };
    (Octets(Box::new(change)), single)
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
