//! Who signed, and who the statement says signed.

use countersign_format::{SignerEntry, SignerId};
use countersign_provisioning::Profile;
use countersign_trust_store::Code;

use super::lists::revoking;
use crate::attack::{Attack, Hostile, attack, control};
use crate::good::{Device, Good, LEAF, LOWER, encode, seal, stranger};

pub(super) fn attacks() -> Vec<Attack> {
    vec![
        control(
            "control_two_devices",
            "A file that two devices signed.",
            |good| {
                let (one, other) = two(good);
                both(good, &one, &other)
            },
        ),
        attack(
            "ta35_one_of_two_signers_taken_out",
            "The statement lists two signers, and the second one's signature is gone.",
            Code::SignersMismatch,
            |good| {
                let (one, other) = two(good);
                let statement = statement(good, &[&one, &other]);
                good.enclose(&seal(&statement, vec![one.entry(&statement)]))
            },
        ),
        attack(
            "ta35_the_other_of_two_signers_taken_out",
            "The statement lists two signers, and the first one's signature is gone.",
            Code::SignersMismatch,
            |good| {
                let (one, other) = two(good);
                let statement = statement(good, &[&one, &other]);
                good.enclose(&seal(&statement, vec![other.entry(&statement)]))
            },
        ),
        attack(
            "ta35_a_signer_added",
            "A second device signed a statement that lists the first.",
            Code::SignersMismatch,
            |good| {
                let (one, other) = two(good);
                let statement = statement(good, &[&one]);
                good.enclose(&seal(
                    &statement,
                    vec![one.entry(&statement), other.entry(&statement)],
                ))
            },
        ),
        attack(
            "ta35_two_signers_in_each_others_place",
            "The signatures of two signers have changed places.",
            Code::SignersMismatch,
            |good| {
                let (one, other) = two(good);
                let statement = statement(good, &[&one, &other]);
                good.enclose(&seal(
                    &statement,
                    vec![other.entry(&statement), one.entry(&statement)],
                ))
            },
        ),
        attack(
            "ta35_a_signer_twice",
            "The same signature is there twice.",
            Code::SignersMismatch,
            |good| {
                let device = good.device();
                let statement = statement(good, &[&device]);
                good.enclose(&seal(&statement, vec![device.entry(&statement); 2]))
            },
        ),
        attack(
            "ta35_a_signer_exchanged",
            "Another trusted device signed than the statement lists.",
            Code::SignersMismatch,
            |good| {
                let (one, other) = two(good);
                let statement = statement(good, &[&one]);
                good.enclose(&seal(&statement, vec![other.entry(&statement)]))
            },
        ),
        attack(
            "ta35_a_revoked_co_signer",
            "Two devices signed, and one of them was revoked since.",
            Code::Revoked,
            |good| {
                let (one, other) = two(good);
                let revoked = revoked(good, &one, &other);
                Hostile::from(both(good, &one, &other))
                    .with_lists(revoking(good, &revoked.chain[LEAF]))
            },
        ),
        attack(
            "ta35_a_revoked_co_signer_taken_out",
            "Two devices signed, one of them was revoked since, and its signature was taken out.",
            Code::SignersMismatch,
            |good| {
                let (one, other) = two(good);
                let statement = statement(good, &[&one, &other]);
                let revoked = revoked(good, &one, &other);
                let honest = if revoked.id() == one.id() {
                    &other
                } else {
                    &one
                };
                Hostile::from(good.enclose(&seal(&statement, vec![honest.entry(&statement)])))
                    .with_lists(revoking(good, &revoked.chain[LEAF]))
            },
        ),
        attack(
            "ta35_a_revoked_co_signer_with_its_chain_cut_short",
            "A revoked co-signer signed the same statement again with a chain that leads nowhere.",
            Code::SignersMismatch,
            |good| {
                let (one, other) = two(good);
                let statement = statement(good, &[&one, &other]);
                let serial = revoked(good, &one, &other).chain[LEAF].clone();
                let entries = [one, other].map(|mut device| {
                    if device.chain[LEAF] == serial {
                        device.chain.truncate(1);
                    }
                    device.entry(&statement)
                });
                Hostile::from(good.enclose(&seal(&statement, entries.to_vec())))
                    .with_lists(revoking(good, &serial))
            },
        ),
        attack(
            "ta37_a_co_signer_of_an_unknown_root_with_a_bad_signature",
            "A trusted device signed, and one of an unknown root whose signature does not verify.",
            Code::SignatureInvalid,
            |good| with_foreign(good, |signature| signature[40] ^= 1),
        ),
        control(
            "control_ta37_a_co_signer_of_an_unknown_root_with_a_good_signature",
            "A trusted device signed, and one of an unknown root, which does not count and does no harm.",
            |good| with_foreign(good, |_| ()),
        ),
        attack(
            "tb16_a_statement_signed_with_the_authoritys_key",
            "The signature under the device's chain was made with the key of the authority above it.",
            Code::SignatureInvalid,
            |good| with_key_of(good, LEAF),
        ),
        attack(
            "tb16_a_statement_signed_with_the_roots_key",
            "The signature under the device's chain was made with the root's key.",
            Code::SignatureInvalid,
            |good| with_key_of(good, crate::good::UPPER),
        ),
        attack(
            "tb16_an_authority_that_signs_components",
            "An authority signed the component under its own chain.",
            Code::NotACa,
            |good| {
                let chain = good.device().chain.split_off(LOWER);
                good.sign(&Device {
                    key: good.issuer_key(LEAF),
                    chain,
                })
            },
        ),
        attack(
            "tb16_a_root_that_signs_components",
            "The root signed the component under its own certificate.",
            Code::NotACa,
            |good| {
                let key = good.issuer_key(crate::good::UPPER);
                good.sign(&Device {
                    key,
                    chain: vec![good.pki.root().to_vec()],
                })
            },
        ),
        attack(
            "tb17_one_key_listed_twice",
            "The statement lists one key twice, with two chains.",
            Code::Malformed,
            |good| {
                let device = good.device();
                let twin = twin(good, "test-device-2");
                twice(good, &device, &twin)
            },
        ),
        attack(
            "tc38_two_devices_with_one_key",
            "One key has two certificates that name two devices, and both sign.",
            Code::Malformed,
            |good| {
                let (one, other) = (twin(good, "pump-1"), twin(good, "pump-2"));
                twice(good, &one, &other)
            },
        ),
        attack(
            "tc22_another_certificate_for_the_same_key",
            "The device's certificate is exchanged for another good one of the same key; the signature is the old one.",
            Code::SignersMismatch,
            |good| {
                let device = good.device();
                let statement = statement(good, &[&device]);
                let twin = twin(good, crate::good::DEVICE);
                let old = device.entry(&statement);
                let entry =
                    SignerEntry::new(old.algorithm(), twin.chain, raw(&old)).expect("an entry");
                good.enclose(&seal(&statement, vec![entry]))
            },
        ),
        attack(
            "tc22_another_certificate_for_the_same_key_that_signed_again",
            "The device signed the old statement again under another good certificate of the same key.",
            Code::SignersMismatch,
            |good| {
                let device = good.device();
                let statement = statement(good, &[&device]);
                let twin = twin(good, crate::good::DEVICE);
                good.enclose(&seal(&statement, vec![twin.entry(&statement)]))
            },
        ),
    ]
}

/// Two trusted devices, in the order in which a statement lists them.
pub(super) fn two(good: &Good) -> (Device, Device) {
    let (one, other) = (good.device(), good.other_device("test-device-2"));
    if one.id() < other.id() {
        (one, other)
    } else {
        (other, one)
    }
}

/// The good device with another certificate, for this device id.
fn twin(good: &Good, id: &str) -> Device {
    let key = good.pki.device_key();
    good.replaced(
        LEAF,
        good.issue(Profile::ComponentSigner, id, key.public_key()),
    )
}

/// One of two devices: the one that is not the good one.
fn revoked<'d>(good: &Good, one: &'d Device, other: &'d Device) -> &'d Device {
    if one.id() == good.device().id() {
        other
    } else {
        one
    }
}

/// The statement about the good component that lists these devices.
pub(super) fn statement(good: &Good, devices: &[&Device]) -> Vec<u8> {
    let mut fields = good.fields(devices[0]);
    fields.signers = devices.iter().map(|device| device.id()).collect();
    encode(fields)
}

/// The good component, signed by two devices.
pub(super) fn both(good: &Good, one: &Device, other: &Device) -> Vec<u8> {
    good.sign_statement(&[one, other], &statement(good, &[one, other]))
}

/// The good component with a statement that lists two devices, whatever their keys.
fn twice(good: &Good, one: &Device, other: &Device) -> Vec<u8> {
    use crate::cbor::{array, bytes, integer};
    let mut listed: Vec<SignerId> = vec![one.id(), other.id()];
    listed.sort();
    let items: Vec<Vec<u8>> = listed
        .iter()
        .map(|id| {
            array(&[
                integer(id.algorithm.cose_id()),
                bytes(id.spki_sha256.as_bytes()),
                bytes(id.chain_sha256.as_bytes()),
            ])
        })
        .collect();
    let mut entries = crate::handmade::entries(good);
    entries[7].1 = array(&items);
    let statement = crate::cbor::map(&entries);
    good.sign_statement(&[one, other], &statement)
}

/// The good component, signed by the good device and one of a stranger's, whose signature may be changed.
pub(super) fn with_foreign(good: &Good, change: impl Fn(&mut [u8; 64])) -> Vec<u8> {
    let pki = stranger();
    let foreign = Device {
        key: pki.device_key(),
        chain: pki.chain().to_vec(),
    };
    let device = good.device();
    let mut listed = [&device, &foreign];
    listed.sort_by_key(|device| device.id());
    let statement = statement(good, &listed);
    let entries = listed.map(|device| {
        let entry = device.entry(&statement);
        let mut signature = raw(&entry);
        if device.id() == foreign.id() {
            change(&mut signature);
        }
        SignerEntry::new(entry.algorithm(), entry.chain().to_vec(), signature).expect("an entry")
    });
    good.enclose(&seal(&statement, entries.to_vec()))
}

/// The good file, but signed with the key that issued the certificate at this place.
fn with_key_of(good: &Good, place: usize) -> Vec<u8> {
    let device = good.device();
    let statement = statement(good, &[&device]);
    let forger = Device {
        key: good.issuer_key(place),
        chain: device.chain,
    };
    good.enclose(&seal(&statement, vec![forger.entry(&statement)]))
}

fn raw(entry: &SignerEntry) -> [u8; 64] {
    entry.signature().try_into().expect("64 bytes")
}
