//! Changes to the fields of one certificate.

use countersign_format::{Algorithm, oid as ours};
use countersign_testing::{CertificateParts, IssuerKey};
use countersign_trust_store::{UnixTime, oid};
use der::Tag;
use der::asn1::{Any, BitString, ObjectIdentifier, OctetString};
use x509_cert::ext::Extension;

use super::bases::{Base, Draft};
use super::der::{any, der, sequence, tlv};
use crate::random::Random;

const UNKNOWN: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.3.4.5");
const SUBJECT_INFO_ACCESS: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.1.11");

/// What may stand in a certificate, and does in some.
const EXTENSIONS: &[ObjectIdentifier] = &[
    oid::AUTHORITY_KEY_IDENTIFIER,
    oid::SUBJECT_KEY_IDENTIFIER,
    oid::KEY_USAGE,
    oid::KEY_USAGE,
    oid::BASIC_CONSTRAINTS,
    oid::BASIC_CONSTRAINTS,
    oid::EXTENDED_KEY_USAGE,
    oid::EXTENDED_KEY_USAGE,
    oid::SUBJECT_ALT_NAME,
    oid::NAME_CONSTRAINTS,
    oid::NAME_CONSTRAINTS,
    oid::CERTIFICATE_POLICIES,
    oid::POLICY_MAPPINGS,
    oid::POLICY_CONSTRAINTS,
    oid::INHIBIT_ANY_POLICY,
    oid::CRL_DISTRIBUTION_POINTS,
    oid::AUTHORITY_INFO_ACCESS,
    oid::FRESHEST_CRL,
    oid::NO_REV_AVAIL,
    SUBJECT_INFO_ACCESS,
    ours::COMPONENT_SCOPE,
    ours::DEVELOPMENT_ROOT,
    ours::DEVICE_TYPE,
    UNKNOWN,
];

const PURPOSES: &[ObjectIdentifier] = &[
    oid::CODE_SIGNING,
    oid::CODE_SIGNING,
    oid::CLIENT_AUTH,
    oid::SERVER_AUTH,
    oid::DOCUMENT_SIGNING,
    ObjectIdentifier::new_unwrap("2.5.29.37.0"),
];

/// Makes one change and says which.
pub(super) fn change(draft: &mut Draft, other: &Base, random: &mut Random) -> &'static str {
    let count = draft.open.certificates.len();
    let place = match random.below(10) {
        0..=3 => 0,
        4 => count - 1,
        _ => random.below(count),
    };
    match random.below(20) {
        0..=7 => extension(draft, place, other, random),
        8 | 9 => period(draft, place, random),
        10 => serial(draft, place, random),
        11 | 12 => name(draft, place, other, random),
        13 | 14 => key(draft, place, other, random),
        15 | 16 => algorithm(draft, place, random),
        17 => version(draft, place, random),
        18 => unique_identifier(draft, place, random),
        _ => signer(draft, place, other, random),
    }
}

fn parts(draft: &mut Draft, place: usize) -> &mut CertificateParts {
    &mut draft.open.certificates[place].parts
}

fn extension(draft: &mut Draft, place: usize, other: &Base, random: &mut Random) -> &'static str {
    let foreign = random.of(&other.open.certificates).parts.extensions.clone();
    let list = parts(draft, place).extensions.get_or_insert_default();
    let at = random.below(list.len().max(1));
    match random.below(10) {
        0 if !list.is_empty() => {
            list[at].critical ^= true;
            "an extension's criticality"
        }
        1 if !list.is_empty() => {
            let to = random.below(list.len());
            list.swap(at, to);
            "the order of extensions"
        }
        2 if !list.is_empty() => {
            list.remove(at);
            "an extension removed"
        }
        3 if !list.is_empty() => {
            let again = list[at].clone();
            list.push(again);
            "an extension twice"
        }
        4 => {
            let Some(taken) = foreign.filter(|list| !list.is_empty()) else {
                return "nothing";
            };
            let taken = random.of(&taken).clone();
            put(list, taken);
            "an extension of another certificate"
        }
        _ => {
            let id = *random.of(EXTENSIONS);
            let new = Extension {
                extn_id: id,
                critical: match id {
                    oid::KEY_USAGE | oid::BASIC_CONSTRAINTS => !random.one_in(8),
                    _ => random.one_in(5),
                },
                extn_value: OctetString::new(value(id, random)).unwrap(),
            };
            put(list, new);
            "an extension's value"
        }
    }
}

fn put(list: &mut Vec<Extension>, new: Extension) {
    match list.iter_mut().find(|old| old.extn_id == new.extn_id) {
        Some(old) => *old = new,
        None => list.push(new),
    }
}

/// A value that is mostly well formed.
fn value(id: ObjectIdentifier, random: &mut Random) -> Vec<u8> {
    let uri = || tlv(0x86, b"http://a.example/b");
    match id {
        oid::KEY_USAGE => match random.below(8) {
            0 => random
                .of(&[
                    &[3, 1, 0][..],
                    &[3, 2, 0, 0x80],
                    &[3, 2, 7, 0x81],
                    &[3, 3, 7, 6, 0x80],
                    &[3, 2, 8, 0x80],
                ])
                .to_vec(),
            _ => {
                let bits = random.octet() | random.of(&[0x80, 0x06, 0x04, 0]);
                let unused = bits.trailing_zeros().min(7);
                vec![3, 2, u8::try_from(unused).unwrap(), bits]
            }
        },
        oid::BASIC_CONSTRAINTS => random
            .of(&[
                &[0x30, 0][..],
                &[0x30, 3, 1, 1, 0xff],
                &[0x30, 6, 1, 1, 0xff, 2, 1, 0],
                &[0x30, 6, 1, 1, 0xff, 2, 1, 1],
                &[0x30, 6, 1, 1, 0xff, 2, 1, 2],
                &[0x30, 6, 1, 1, 0xff, 2, 1, 0x7f],
                &[0x30, 7, 1, 1, 0xff, 2, 2, 0, 0x80],
                &[0x30, 7, 1, 1, 0xff, 2, 2, 1, 0],
                &[0x30, 6, 1, 1, 0xff, 2, 1, 0xff],
                &[0x30, 3, 1, 1, 0],
                &[0x30, 3, 1, 1, 1],
                &[0x30, 3, 2, 1, 0],
                &[0x30, 0x80, 0, 0],
            ])
            .to_vec(),
        oid::EXTENDED_KEY_USAGE => {
            let count = *random.of(&[0, 1, 1, 1, 2, 3]);
            let purposes: Vec<u8> = (0..count).flat_map(|_| der(random.of(PURPOSES))).collect();
            tlv(0x30, &purposes)
        }
        oid::SUBJECT_KEY_IDENTIFIER => {
            let length = *random.of(&[0, 1, 20, 20, 32]);
            tlv(4, &random.octets(length))
        }
        oid::AUTHORITY_KEY_IDENTIFIER => match random.below(4) {
            0 => vec![0x30, 0],
            1 => {
                let name = tlv(0xa1, &tlv(0xa4, &sequence(&[])));
                sequence(&[&name, &[0x82, 1, random.octet()]])
            }
            _ => sequence(&[&tlv(0x80, &random.octets(20))]),
        },
        oid::SUBJECT_ALT_NAME => match random.below(5) {
            0 => vec![0x30, 0],
            1 => sequence(&[&tlv(0x82, b"a.example")]),
            2 => sequence(&[&tlv(0x81, b"a@b.example"), &uri()]),
            3 => sequence(&[&tlv(0x87, &random.octets(4))]),
            _ => sequence(&[&tlv(0x82, b"*")]),
        },
        oid::NAME_CONSTRAINTS => {
            let name = match random.below(5) {
                0 => tlv(0x82, b"example"),
                1 => tlv(0x86, b".example"),
                2 => tlv(0x87, &[10, 0, 0, 0, 255, 0, 0, 0]),
                3 => tlv(0xa4, &sequence(&[])),
                _ => tlv(0xa0, &random.octets(6)),
            };
            let subtrees = tlv(*random.of(&[0xa0, 0xa1]), &sequence(&[&name]));
            if random.one_in(4) {
                vec![0x30, 0]
            } else {
                sequence(&[&subtrees])
            }
        }
        oid::CERTIFICATE_POLICIES => match random.below(3) {
            0 => vec![0x30, 0],
            1 => sequence(&[&sequence(&[&[6, 4, 0x55, 0x1d, 0x20, 0]])]),
            _ => {
                let policy = sequence(&[&[6, 2, 0x2a, 3]]);
                sequence(&[&policy, if random.one_in(2) { &policy } else { &[] }])
            }
        },
        oid::POLICY_MAPPINGS => sequence(&[&sequence(&[&[6, 2, 0x2a, 3], &[6, 2, 0x2a, 4]])]),
        oid::POLICY_CONSTRAINTS => random
            .of(&[&[0x30, 0][..], &[0x30, 3, 0x80, 1, 0]])
            .to_vec(),
        oid::INHIBIT_ANY_POLICY => vec![2, 1, random.octet() & 0x7f],
        oid::CRL_DISTRIBUTION_POINTS | oid::FRESHEST_CRL => match random.below(4) {
            0 => vec![0x30, 0],
            1 => sequence(&[&sequence(&[&[0x81, 2, 7, 0x80]])]),
            _ => {
                let point = tlv(0xa0, &tlv(0xa0, &uri()));
                sequence(&[&sequence(&[&point])])
            }
        },
        oid::AUTHORITY_INFO_ACCESS | SUBJECT_INFO_ACCESS => {
            let method = [6, 8, 0x2b, 6, 1, 5, 5, 7, 0x30, 1];
            sequence(&[&sequence(&[&method, &uri()])])
        }
        ours::COMPONENT_SCOPE => {
            let pattern = random.of(&["test:*", "test:guest", "acme:*", ""]);
            sequence(&[&sequence(&[&tlv(0x0c, pattern.as_bytes())])])
        }
        ours::DEVICE_TYPE => tlv(0x0c, random.of(&["test", "", "\u{7}"]).as_bytes()),
        _ => match random.below(4) {
            0 => random.octets(3),
            _ => vec![5, 0],
        },
    }
}

fn period(draft: &mut Draft, place: usize, random: &mut Random) -> &'static str {
    const YEAR: i64 = 31_536_000;
    if random.one_in(4) {
        let times: [(Tag, &str); 14] = [
            (Tag::UtcTime, "200101000000Z"),
            (Tag::UtcTime, "491231235959Z"),
            (Tag::UtcTime, "500101000000Z"),
            (Tag::UtcTime, "3001010000Z"),
            (Tag::UtcTime, "300230000000Z"),
            (Tag::UtcTime, "300101000000+0100"),
            (Tag::UtcTime, "301231235960Z"),
            (Tag::GeneralizedTime, "20200101000000Z"),
            (Tag::GeneralizedTime, "20500101000000Z"),
            (Tag::GeneralizedTime, "20510101000000.5Z"),
            (Tag::GeneralizedTime, "21000229000000Z"),
            (Tag::GeneralizedTime, "22000101000000Z"),
            (Tag::GeneralizedTime, "99991231235959Z"),
            (Tag::GeneralizedTime, "00000101000000Z"),
        ];
        let mut one = |until: usize| {
            let (tag, text) = times[random.below(until)];
            der(&Any::new(tag, text.as_bytes()).unwrap())
        };
        let (from, until) = (one(8), one(14));
        parts(draft, place).validity = any(&sequence(&[&from, &until]));
        return "the form of a period";
    }
    let from = *random.of(&[-2 * YEAR, -YEAR, -1, 0, 0, 1, YEAR]);
    let until = *random.of(&[-YEAR, -1, 0, 1, 100, YEAR, 30 * YEAR]);
    let at = |seconds| UnixTime::from_secs(draft.now.as_secs().saturating_add_signed(seconds));
    let (from, until) = (at(from), at(until));
    parts(draft, place).set_validity(from, until);
    "a period"
}

fn serial(draft: &mut Draft, place: usize, random: &mut Random) -> &'static str {
    let octets = match random.below(8) {
        0 => vec![0],
        1 => vec![0x80],
        2 => vec![0, 1],
        3 => vec![0x7f; 21],
        4 => vec![0, 0x80],
        5 => Vec::new(),
        _ => {
            let mut octets = random.octets(*random.clone().of(&[1, 8, 19, 20]));
            octets[0] = octets[0] & 0x7f | 1;
            octets
        }
    };
    parts(draft, place).serial_number = Any::new(Tag::Integer, octets).unwrap();
    "a serial number"
}

fn name(draft: &mut Draft, place: usize, other: &Base, random: &mut Random) -> &'static str {
    let count = draft.open.certificates.len();
    let of = &draft.open.certificates[random.below(count)].parts;
    let name = match random.below(7) {
        0 => any(&sequence(&[])),
        1 => of.subject.clone(),
        2 => of.issuer.clone(),
        3 => random.of(&other.open.certificates).parts.subject.clone(),
        // Another type of string, or other letters, of the same length.
        kind => {
            let own = &draft.open.certificates[place].parts;
            let name = if random.one_in(2) {
                &own.subject
            } else {
                &own.issuer
            };
            let mut octets = der(name);
            for octet in octets.iter_mut() {
                match (kind, *octet) {
                    (4, 0x0c) => *octet = 0x13,
                    (5, b'a'..=b'z') => *octet = octet.to_ascii_uppercase(),
                    (6, b'e') => *octet = b' ',
                    _ => {}
                }
            }
            any(&octets)
        }
    };
    // A name that changes below and above together still chains.
    let together = random.one_in(3) && place > 0;
    if random.one_in(2) || together {
        parts(draft, place).subject = name.clone();
        if together {
            parts(draft, place - 1).issuer = name.clone();
            if place + 1 == count {
                parts(draft, place).issuer = name.clone();
            }
            for list in draft
                .open
                .lists
                .iter_mut()
                .filter(|list| list.issuer == place)
            {
                list.parts.issuer = name.clone();
            }
        }
    } else {
        parts(draft, place).issuer = name;
    }
    "a name"
}

fn key(draft: &mut Draft, place: usize, other: &Base, random: &mut Random) -> &'static str {
    let count = draft.open.certificates.len();
    let seed = [1 + random.octet() % 8; 32];
    match random.below(6) {
        // A sound key of another kind, and everything below signed by it.
        0 if place > 0 => {
            draft.open.give_p384(place, &seed);
            "an authority on P-384"
        }
        1 if place > 0 => {
            let kind = *random.of(&[Algorithm::Esp256, Algorithm::Ed25519]);
            rekey(draft, place, IssuerKey::from_seed(kind, &seed));
            "an authority of another key"
        }
        2 => {
            let key = draft.open.certificates[random.below(count)].key.clone();
            if place > 0 && random.one_in(2) {
                rekey(draft, place, key);
            } else {
                parts(draft, place).subject_public_key_info = key.spki();
            }
            "a key of another certificate"
        }
        3 => {
            let key = random.of(&other.open.certificates).key.spki();
            parts(draft, place).subject_public_key_info = key;
            "a stranger's key"
        }
        4 => {
            parts(draft, place).subject_public_key_info = IssuerKey::p384(&seed).spki();
            "a P-384 key"
        }
        _ => {
            let spki = &mut parts(draft, place).subject_public_key_info;
            let mut octets = der(spki);
            let at = random.below(octets.len().min(40));
            octets[at] ^= 1 << random.below(8);
            if let Ok(changed) = der::Decode::from_der(&octets) {
                *spki = changed;
            }
            "the form of a key"
        }
    }
}

fn rekey(draft: &mut Draft, authority: usize, key: IssuerKey) {
    let root = draft.open.certificates.len() - 1;
    for (place, certificate) in draft.open.certificates.iter_mut().enumerate() {
        if place == authority {
            certificate.parts.subject_public_key_info = key.spki();
            certificate.key = key.clone();
        }
        if (place + 1).min(root) == authority {
            certificate.parts.signature = key.algorithm();
            certificate.signer = key.clone();
        }
    }
    for list in draft
        .open
        .lists
        .iter_mut()
        .filter(|list| list.issuer == authority)
    {
        list.parts.signature = key.algorithm();
        list.signer = key.clone();
    }
}

/// An AlgorithmIdentifier that is known somewhere.
pub(super) fn algorithm_identifier(random: &mut Random) -> Any {
    let dotted: &&str = random.of(&[
        "1.2.840.10045.4.3.2",
        "1.2.840.10045.4.3.3",
        "1.2.840.10045.4.3.4",
        "1.2.840.10045.4.1",
        "1.3.101.112",
        "1.3.101.113",
        "1.2.840.113549.1.1.11",
        "1.2.840.10045.2.1",
    ]);
    let id = ObjectIdentifier::new_unwrap(dotted);
    let parameters: &[u8] = if random.one_in(4) { &[5, 0] } else { &[] };
    any(&sequence(&[&der(&id), parameters]))
}

fn algorithm(draft: &mut Draft, place: usize, random: &mut Random) -> &'static str {
    let new = algorithm_identifier(random);
    let certificate = &mut draft.open.certificates[place];
    match random.below(3) {
        0 => certificate.outer_algorithm = Some(new),
        1 => certificate.parts.signature = new,
        _ => {
            certificate.outer_algorithm = Some(certificate.parts.signature.clone());
            certificate.parts.signature = new;
        }
    }
    "an algorithm"
}

fn version(draft: &mut Draft, place: usize, random: &mut Random) -> &'static str {
    let version = match random.below(5) {
        0 => None,
        number => Some(Any::new(Tag::Integer, vec![[0, 1, 2, 3][number - 1]]).unwrap()),
    };
    let parts = parts(draft, place);
    parts.version = version;
    if random.one_in(3) {
        parts.extensions = None;
    }
    "a version"
}

fn unique_identifier(draft: &mut Draft, place: usize, random: &mut Random) -> &'static str {
    let bits = Some(BitString::from_bytes(&random.octets(2)).unwrap());
    let parts = parts(draft, place);
    if random.one_in(2) {
        parts.issuer_unique_id = bits;
    } else {
        parts.subject_unique_id = bits;
    }
    "a unique identifier"
}

fn signer(draft: &mut Draft, place: usize, other: &Base, random: &mut Random) -> &'static str {
    let count = draft.open.certificates.len();
    let key = match random.below(3) {
        0 => random.of(&other.open.certificates).key.clone(),
        _ => draft.open.certificates[random.below(count)].key.clone(),
    };
    let certificate = &mut draft.open.certificates[place];
    if random.one_in(2) {
        certificate.parts.signature = key.algorithm();
    }
    certificate.signer = key;
    "another signer"
}
