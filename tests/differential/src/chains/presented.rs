//! Changes to what is handed over: which certificates, in which order, and when.

use countersign_testing::Sealed;
use countersign_trust_store::UnixTime;

use super::bases::{Base, Draft};
use crate::random::Random;

/// Makes one change and says which.
pub(super) fn change(sealed: &mut Sealed, other: &Base, random: &mut Random) -> &'static str {
    let chain = &mut sealed.chain;
    let at = random.below(chain.len());
    match random.below(8) {
        0 => {
            let to = random.below(chain.len());
            chain.swap(at, to);
            "the order of the chain"
        }
        1 => {
            chain.remove(at);
            "a certificate missing"
        }
        2 => {
            let again = chain[at].clone();
            chain.push(again);
            "a certificate twice"
        }
        3 => {
            chain.push(sealed.root.clone());
            "the root sent along"
        }
        4 => {
            chain.push(random.of(&other.sealed.chain).clone());
            "a stranger's certificate besides"
        }
        5 => {
            chain[at] = random.of(&other.sealed.chain).clone();
            "a stranger's certificate"
        }
        6 => {
            sealed.root = other.sealed.root.clone();
            "another root"
        }
        _ => {
            let below = chain.remove(0);
            chain.push(below);
            "the leaf at the end"
        }
    }
}

/// The present, or a second before or after something begins or ends.
pub(super) fn time(base: &Base, draft: &Draft, random: &mut Random) -> UnixTime {
    if !random.one_in(10) {
        return draft.now;
    }
    const DAY: i64 = 86_400;
    // A base is valid from a day before its present until a year after it, its lists from a minute before for a week.
    let offset = *random.of(&[
        -DAY - 1,
        -DAY,
        -61,
        -60,
        7 * DAY - 1,
        7 * DAY,
        7 * DAY + 1,
        365 * DAY - 1,
        365 * DAY,
        -1,
        1,
    ]);
    UnixTime::from_secs(base.now.as_secs().saturating_add_signed(offset))
}
