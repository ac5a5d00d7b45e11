//! Changes to one revocation list.

use countersign_testing::{CrlParts, TimeField};
use countersign_trust_store::{UnixTime, oid};
use der::Tag;
use der::asn1::{Any, ObjectIdentifier, OctetString};
use x509_cert::ext::Extension;

use super::bases::{Base, Draft};
use super::der::{any, der, sequence, tlv};
use super::fields::algorithm_identifier;
use crate::random::Random;

/// Makes one change and says which.
pub(super) fn change(draft: &mut Draft, other: &Base, random: &mut Random) -> &'static str {
    if draft.open.lists.is_empty() {
        return "nothing";
    }
    let at = random.below(draft.open.lists.len());
    match random.below(16) {
        0 => {
            draft.open.lists.remove(at);
            "a list taken away"
        }
        1 => beside(draft, at, random),
        2..=4 => entries(draft, at, random),
        5..=7 => extension(parts(draft, at), random),
        8 | 9 => times(draft, at, random),
        10 => {
            parts(draft, at).version = *random.of(&[None, Some(0), Some(1), Some(2), Some(127)]);
            "a list's version"
        }
        11 => {
            let count = draft.open.certificates.len();
            let name = draft.open.certificates[random.below(count)]
                .parts
                .subject
                .clone();
            parts(draft, at).issuer = match random.below(3) {
                0 => any(&sequence(&[])),
                1 => random.of(&other.open.certificates).parts.subject.clone(),
                _ => name,
            };
            "a list's issuer"
        }
        12 => {
            let list = &mut draft.open.lists[at];
            let new = algorithm_identifier(random);
            match random.below(3) {
                0 => list.outer_algorithm = Some(new),
                1 => list.parts.signature = new,
                _ => {
                    list.outer_algorithm = Some(list.parts.signature.clone());
                    list.parts.signature = new;
                }
            }
            "a list's algorithm"
        }
        13 => {
            let count = draft.open.certificates.len();
            let key = match random.below(2) {
                0 => random.of(&other.open.certificates).key.clone(),
                _ => draft.open.certificates[random.below(count)].key.clone(),
            };
            let list = &mut draft.open.lists[at];
            list.parts.signature = key.algorithm();
            list.signer = key;
            "a list's signer"
        }
        14 => {
            draft.open.lists.reverse();
            "the order of lists"
        }
        _ => {
            // A stranger's list, which concerns nobody here.
            let list = random.of(&other.open.lists).clone();
            draft.open.lists.push(list);
            "a stranger's list besides"
        }
    }
}

fn parts(draft: &mut Draft, at: usize) -> &mut CrlParts {
    &mut draft.open.lists[at].parts
}

/// An older or newer list of the same issuer besides.
fn beside(draft: &mut Draft, at: usize, random: &mut Random) -> &'static str {
    let mut second = draft.open.lists[at].clone();
    let number = *random.of(&[0, 1, 1, 2, 9]);
    second
        .parts
        .set_extension(oid::CRL_NUMBER, false, &[2, 1, number]);
    draft.open.lists.push(second);
    let last = draft.open.lists.len() - 1;
    if random.one_in(2) {
        entries(draft, last, random);
    }
    "a second list"
}

fn entries(draft: &mut Draft, at: usize, random: &mut Random) -> &'static str {
    let count = draft.open.certificates.len();
    let how_many = *random.of(&[0, 1, 1, 2, 3, 40]);
    let mut entries = Vec::new();
    for _ in 0..how_many {
        let serial = match random.below(8) {
            0 => der(&draft.open.certificates[random.below(count)]
                .parts
                .serial_number),
            1 => vec![2, 3, 0, 0x12, 0x34],
            2 => vec![2, 1, 0x92],
            3 => vec![2, 1, 0],
            _ => tlv(2, &[&[0x11], random.octets(8).as_slice()].concat()),
        };
        let date = match random.below(6) {
            0 => tlv(0x18, b"20200101000000Z"),
            1 => tlv(0x17, b"490101000000Z"),
            _ => tlv(0x17, b"200101000000Z"),
        };
        let reason = |value: u8| (&[6, 3, 0x55, 0x1d, 0x15][..], false, vec![0x0a, 1, value]);
        let extension = match random.below(10) {
            0 => Some(reason(1)),
            1 => Some(reason(6)),
            2 => Some(reason(8)),
            3 => Some(reason(7)),
            4 => Some((
                &[6, 3, 0x55, 0x1d, 0x18][..],
                false,
                tlv(0x18, b"20200101000000Z"),
            )),
            5 => {
                let name = sequence(&[&tlv(0xa4, &sequence(&[]))]);
                Some((&[6, 3, 0x55, 0x1d, 0x1d][..], true, name))
            }
            6 => Some((&[6, 4, 0x2a, 3, 4, 5][..], random.one_in(2), vec![5, 0])),
            _ => None,
        };
        let extensions = extension.map(|(id, critical, value)| {
            let critical: &[u8] = if critical { &[1, 1, 0xff] } else { &[] };
            sequence(&[&sequence(&[id, critical, &tlv(4, &value)])])
        });
        entries.push(any(&sequence(&[
            &serial,
            &date,
            extensions.as_deref().unwrap_or_default(),
        ])));
    }
    parts(draft, at).revoked_certificates = match random.below(8) {
        0 => None,
        _ => Some(entries),
    };
    "a list's entries"
}

fn extension(parts: &mut CrlParts, random: &mut Random) -> &'static str {
    let list = parts.extensions.get_or_insert_default();
    let at = random.below(list.len().max(1));
    match random.below(8) {
        0 if !list.is_empty() => {
            list.remove(at);
            "a list's extension removed"
        }
        1 if !list.is_empty() => {
            list[at].critical ^= true;
            "a list's extension's criticality"
        }
        2 if !list.is_empty() => {
            let again = list[at].clone();
            list.push(again);
            "a list's extension twice"
        }
        3 => {
            parts.extensions = None;
            "a list without extensions"
        }
        _ => {
            let point = tlv(0xa0, &tlv(0xa0, &tlv(0x86, b"http://a.example/b")));
            let number = *random.of(&[1_usize, 8, 20, 21]);
            let octets = [&[0x11], random.octets(number - 1).as_slice()].concat();
            let key = tlv(0x80, &random.octets(20));
            let (id, critical, value) = match random.below(10) {
                0 => (oid::ISSUING_DISTRIBUTION_POINT, true, vec![0x30, 0]),
                1 => (oid::ISSUING_DISTRIBUTION_POINT, true, sequence(&[&point])),
                2 => {
                    let flag = *random.of(&[0x81, 0x82, 0x84, 0x85]);
                    (
                        oid::ISSUING_DISTRIBUTION_POINT,
                        true,
                        vec![0x30, 3, flag, 1, 0xff],
                    )
                }
                3 => (
                    oid::ISSUING_DISTRIBUTION_POINT,
                    true,
                    vec![0x30, 4, 0x83, 2, 1, 0x66],
                ),
                4 => (oid::DELTA_CRL_INDICATOR, random.one_in(2), vec![2, 1, 1]),
                5 => (oid::CRL_NUMBER, false, tlv(2, &octets)),
                6 => (
                    oid::CRL_NUMBER,
                    false,
                    random.of(&[&[2, 1, 0x80][..], &[2, 0], &[5, 0]]).to_vec(),
                ),
                7 => (oid::AUTHORITY_KEY_IDENTIFIER, false, sequence(&[&key])),
                8 => (oid::FRESHEST_CRL, false, sequence(&[&sequence(&[&point])])),
                _ => {
                    let id = ObjectIdentifier::new_unwrap("1.2.3.4.5");
                    (id, random.one_in(2), vec![5, 0])
                }
            };
            let new = Extension {
                extn_id: id,
                critical,
                extn_value: OctetString::new(value).unwrap(),
            };
            match list.iter_mut().find(|old| old.extn_id == id) {
                Some(old) => *old = new,
                None => list.push(new),
            }
            "a list's extension"
        }
    }
}

fn times(draft: &mut Draft, at: usize, random: &mut Random) -> &'static str {
    let now = draft.now;
    let list = parts(draft, at);
    match random.below(5) {
        0 => list.next_update = None,
        1 => {
            let time = |text: &str, tag| TimeField(Any::new(tag, text.as_bytes()).unwrap());
            list.this_update = match random.below(4) {
                0 => time("20200101000000Z", Tag::GeneralizedTime),
                1 => time("2001010000Z", Tag::UtcTime),
                2 => time("200101000000+0100", Tag::UtcTime),
                _ => time("200101000000Z", Tag::UtcTime),
            };
            list.next_update = Some(match random.below(4) {
                0 => time("20490101000000Z", Tag::GeneralizedTime),
                1 => time("99991231235959Z", Tag::GeneralizedTime),
                2 => time("20510101000000.5Z", Tag::GeneralizedTime),
                _ => time("490101000000Z", Tag::UtcTime),
            });
        }
        _ => {
            let mut at = |choices: &[i64]| {
                UnixTime::from_secs(now.as_secs().saturating_add_signed(*random.of(choices)))
            };
            let this = at(&[-31_536_000, -100, -1, 0, 0, 1, 100]);
            let next = at(&[-100, -1, 0, 1, 100, 31_536_000]);
            list.set_updates(this, next);
        }
    }
    "a list's times"
}
