//! More than one device must have signed. Only `countersign verify` can be told so.

use countersign_trust_store::{Code, oid};

use super::signers::{both, two, with_foreign};
use crate::attack::{Attack, Hostile, attack, control};
use crate::good::{DEVICE, LEAF};

pub(super) fn attacks() -> Vec<Attack> {
    vec![
        control(
            "control_two_devices_where_two_must_sign",
            "Two devices signed, and two must.",
            |good| {
                let (one, other) = two(good);
                Hostile::from(both(good, &one, &other)).needing(2)
            },
        ),
        attack(
            "tb17_one_device_where_two_must_sign",
            "One device signed, and two must.",
            Code::SignersTooFew,
            |good| Hostile::from(good.file()).needing(2),
        ),
        attack(
            "tb17_one_device_with_two_keys",
            "One device signed with two keys, each with its certificate, and two devices must.",
            Code::SignersTooFew,
            |good| {
                let (one, other) = (good.device(), good.other_device(DEVICE));
                let (first, second) = if one.id() < other.id() {
                    (&one, &other)
                } else {
                    (&other, &one)
                };
                Hostile::from(both(good, first, second)).needing(2)
            },
        ),
        attack(
            "ta37_a_co_signer_of_an_unknown_root_where_two_must_sign",
            "A trusted device signed, and one of an unknown root, which does not count; two must.",
            Code::SignersTooFew,
            |good| Hostile::from(with_foreign(good, |_| ())).needing(2),
        ),
        attack(
            "tc20_a_device_without_an_identity_where_two_must_sign",
            "Two devices signed, and one of them is named by its common name alone.",
            Code::DeviceIdentity,
            |good| {
                let nameless =
                    good.bent(LEAF, |parts| parts.remove_extension(oid::SUBJECT_ALT_NAME));
                let other = good.other_device("test-device-2");
                let (first, second) = if nameless.id() < other.id() {
                    (&nameless, &other)
                } else {
                    (&other, &nameless)
                };
                Hostile::from(both(good, first, second)).needing(2)
            },
        ),
    ]
}
