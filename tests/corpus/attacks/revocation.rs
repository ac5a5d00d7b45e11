//! What lists say, of whom they are, and when there is none.

use countersign_trust_store::{Code, oid};
use x509_cert::ext::pkix::KeyUsages;

use super::lists::{entry, revoking, serial, with};
use super::usage::key_usage;
use crate::attack::{Attack, Hostile, attack, control};
use crate::der::{self, OCTET_STRING, any, sequence, tlv};
use crate::good::{DAY, Good, LEAF, LIST_OF_LOWER, LIST_OF_ROOT, LOWER, UPPER, stranger};

/// The place of the list of the authority below the root.
const LIST_OF_UPPER: usize = 1;

/// Whose list, and its place.
const LISTS: [(&str, usize); 3] = [
    ("the_root", LIST_OF_ROOT),
    ("the_upper_authority", LIST_OF_UPPER),
    ("the_lower_authority", LIST_OF_LOWER),
];

pub(super) fn attacks() -> Vec<Attack> {
    let mut all = absent();
    all.extend(out_of_date());
    all.extend(revoked());
    all.extend(of_others());
    all
}

fn absent() -> Vec<Attack> {
    let mut all = vec![attack(
        "td11_no_list_at_all",
        "Nothing says whether any certificate was revoked.",
        Code::RevocationUnknown,
        |good| Hostile::from(good.file()).with_lists(Vec::new()),
    )];
    for (whose, place) in LISTS {
        all.push(attack(
            format!("td11_no_list_of_{whose}"),
            "Nothing says whether one of the certificates was revoked.",
            Code::RevocationUnknown,
            move |good| {
                let mut lists = good.pki.crls().to_vec();
                lists.remove(place);
                Hostile::from(good.file()).with_lists(lists)
            },
        ));
    }
    all
}

fn out_of_date() -> Vec<Attack> {
    let mut all = Vec::new();
    for (whose, place) in LISTS {
        for (word, from, until) in [
            ("that_ended_a_second_ago", -DAY, -1),
            ("that_ended_a_year_ago", -400 * DAY, -365 * DAY),
            ("from_the_future", DAY, 2 * DAY),
        ] {
            all.push(attack(
                format!("td11_a_list_of_{whose}_{word}"),
                "A list is out of date, or not in force yet.",
                Code::CrlStale,
                move |good| {
                    let lists = good.lists(place, |list| {
                        list.set_updates(good.at(from), good.at(until))
                    });
                    Hostile::from(good.file()).with_lists(lists)
                },
            ));
        }
    }
    all
}

fn revoked() -> Vec<Attack> {
    let mut all = Vec::new();
    for (whose, place, list) in [
        ("the_device", LEAF, LIST_OF_LOWER),
        ("the_lower_authority", LOWER, LIST_OF_UPPER),
        ("the_upper_authority", UPPER, LIST_OF_ROOT),
    ] {
        all.push(attack(
            format!("td14_{whose}_revoked"),
            "A certificate stands on its issuer's list.",
            Code::Revoked,
            move |good| {
                let serial = serial(&good.device().chain[place]);
                let lists = good.lists(list, |list| {
                    list.revoked_certificates = Some(vec![any(&entry(&serial, &[]))]);
                });
                Hostile::from(good.file()).with_lists(lists)
            },
        ));
    }
    for (word, reason) in [
        ("key_compromise", 1),
        ("superseded", 4),
        ("certificate_hold", 6),
        ("remove_from_list", 8),
    ] {
        all.push(attack(
            format!("td14_the_device_revoked_for_{word}"),
            "The device's certificate stands on its issuer's list, with a reason.",
            Code::Revoked,
            move |good| {
                let reason = sequence(&[
                    &der::oid("2.5.29.21"),
                    &tlv(OCTET_STRING, &tlv(0x0a, &[reason])),
                ]);
                let entry = entry(&serial(&good.device().chain[LEAF]), &sequence(&[&reason]));
                with(good, |list| {
                    list.revoked_certificates = Some(vec![any(&entry)])
                })
            },
        ));
    }
    all.extend([
        attack(
            "td14_the_device_revoked_in_the_future",
            "The device's certificate stands on its issuer's list, with a date that has not come.",
            Code::Revoked,
            |good| {
                let date = tlv(0x17, b"491231235959Z");
                let entry = sequence(&[&serial(&good.device().chain[LEAF]), &date]);
                with(good, |list| list.revoked_certificates = Some(vec![any(&entry)]))
            },
        ),
        attack(
            "td14_the_device_last_of_ten_thousand",
            "The device's certificate is the last of ten thousand on its issuer's list.",
            Code::Revoked,
            |good| {
                let mut entries: Vec<_> = (1_u16..10_000)
                    .map(|number| {
                        let octets = [&[1][..], &number.to_be_bytes()].concat();
                        any(&entry(&tlv(der::INTEGER, &octets), &[]))
                    })
                    .collect();
                entries.push(any(&entry(&serial(&good.device().chain[LEAF]), &[])));
                with(good, |list| list.revoked_certificates = Some(entries.clone()))
            },
        ),
        attack(
            "td14_the_device_revoked_and_said_to_have_no_list",
            "The device's certificate says that there is no list, and stands on it.",
            Code::Revoked,
            |good| {
                let device = good.bent(LEAF, |parts| parts.set_extension(oid::NO_REV_AVAIL, false, der::NULL));
                Hostile::from(good.sign(&device)).with_lists(revoking(good, &device.chain[LEAF]))
            },
        ),
        attack(
            "td19_a_statement_dated_before_the_revocation",
            "The device was revoked, and its statement says that it is older than that.",
            Code::Revoked,
            |good| {
                let device = good.device();
                let mut fields = good.fields(&device);
                fields.issued_at = Some(1_500_000_000);
                let file = good.sign_fields(&device, fields);
                Hostile::from(file).with_lists(revoking(good, &device.chain[LEAF]))
            },
        ),
        attack(
            "td12_an_older_list_beside_a_newer_one_that_revokes",
            "Of two lists the older one revokes nothing and the newer one the device.",
            Code::Revoked,
            |good| two_numbers(good, false),
        ),
        attack(
            "td12_a_newer_list_that_revokes_before_an_older_one",
            "Of two lists, the newer one first, the older one revokes nothing and the newer one the device.",
            Code::Revoked,
            |good| two_numbers(good, true),
        ),
    ]);
    all
}

/// Lists of others, and lists that contradict one another.
fn of_others() -> Vec<Attack> {
    vec![
        attack(
            "td13_lists_of_authorities_of_the_same_names",
            "The lists are those of other authorities of equal names.",
            Code::RevocationUnknown,
            |good| Hostile::from(good.file()).with_lists(stranger().crls().to_vec()),
        ),
        attack(
            "td13_a_list_signed_by_another",
            "A list has name and key identifier of the right issuer, and the signature of another one.",
            Code::CrlInvalid,
            |good| Hostile::from(good.file()).with_lists(forged(good, &[1])),
        ),
        attack(
            "td13_a_list_signed_by_the_device_itself",
            "The list of the device's issuer is signed by the device.",
            Code::CrlInvalid,
            |good| {
                let mut lists = good.pki.crls().to_vec();
                let parts = countersign_testing::CrlParts::of(&lists[LIST_OF_LOWER]);
                lists[LIST_OF_LOWER] = parts.sign(&good.pki.device_key());
                Hostile::from(good.file()).with_lists(lists)
            },
        ),
        attack(
            "td13_ten_forged_lists_beside_the_genuine_ones",
            "Ten lists of higher numbers claim to come from the device's issuer and do not.",
            Code::CrlInvalid,
            |good| {
                let mut lists = forged(good, &[10, 11, 12, 13, 14, 15, 16, 17, 18, 19]);
                lists.extend(good.pki.crls().to_vec());
                Hostile::from(good.file()).with_lists(lists)
            },
        ),
        control(
            "control_a_forged_list_beside_the_genuine_ones",
            "A list of a higher number claims to come from the device's issuer, does not, and does no harm.",
            |good| {
                let mut lists = vec![forged(good, &[10]).pop().expect("a list")];
                lists.extend(good.pki.crls().to_vec());
                Hostile::from(good.file()).with_lists(lists)
            },
        ),
        attack(
            "td13_two_lists_of_one_number",
            "Two lists of one issuer have the same number, and one of them revokes the device.",
            Code::CrlInvalid,
            |good| {
                let mut lists = good.pki.crls().to_vec();
                lists.push(revoking(good, &good.device().chain[LEAF]).swap_remove(LIST_OF_LOWER));
                Hostile::from(good.file()).with_lists(lists)
            },
        ),
        attack(
            "td13_an_authority_that_may_not_sign_lists",
            "The key usage of the device's issuer lacks cRLSign.",
            Code::CrlInvalid,
            |good| {
                good.sign(&good.bent(LOWER, |parts| {
                    parts.set_extension(oid::KEY_USAGE, true, &key_usage(KeyUsages::KeyCertSign));
                }))
            },
        ),
        attack(
            "td13_the_list_of_an_authority_for_the_one_below_it",
            "The list of the device's issuer is the one of the authority above it.",
            Code::RevocationUnknown,
            |good| {
                let mut lists = good.pki.crls().to_vec();
                lists[LIST_OF_LOWER] = lists[LIST_OF_UPPER].clone();
                Hostile::from(good.file()).with_lists(lists)
            },
        ),
    ]
}

/// The good lists but the one of the device's issuer, and forged ones of these numbers in its place.
fn forged(good: &Good, numbers: &[u8]) -> Vec<Vec<u8>> {
    let mut lists = good.pki.crls().to_vec();
    let genuine = lists.remove(LIST_OF_LOWER);
    let forger = stranger().authority_keys().swap_remove(LIST_OF_LOWER);
    lists.extend(numbers.iter().map(|number| {
        let mut parts = countersign_testing::CrlParts::of(&genuine);
        parts.set_extension(oid::CRL_NUMBER, false, &tlv(der::INTEGER, &[*number]));
        parts.sign(&forger)
    }));
    lists
}

/// The good lists and a newer one that revokes the device.
fn two_numbers(good: &Good, newer_first: bool) -> Hostile {
    let serial = serial(&good.device().chain[LEAF]);
    let newer = good
        .lists(LIST_OF_LOWER, |list| {
            list.set_extension(oid::CRL_NUMBER, false, &tlv(der::INTEGER, &[9]));
            list.revoked_certificates = Some(vec![any(&entry(&serial, &[]))]);
        })
        .swap_remove(LIST_OF_LOWER);
    let mut lists = good.pki.crls().to_vec();
    let place = if newer_first { 0 } else { lists.len() };
    lists.insert(place, newer);
    Hostile::from(good.file()).with_lists(lists)
}
