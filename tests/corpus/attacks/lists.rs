//! Revocation lists that are none, or none that this verifier can use.

use countersign_testing::CrlParts;
use countersign_trust_store::oid;
use der::asn1::ObjectIdentifier;

use crate::attack::{Attack, Hostile, unusable_list};
use crate::der::{
    self as hand, BIT_STRING, BOOLEAN, INTEGER, NULL, OCTET_STRING, SEQUENCE, any, children,
    content, sequence, tlv,
};
use crate::good::{Good, LIST_OF_LOWER, LIST_OF_ROOT};

pub(super) fn attacks() -> Vec<Attack> {
    let mut all = kinds();
    all.extend(fields());
    all.extend(entries());
    all.extend(encodings());
    all
}

/// Lists of another kind than a full one of one issuer.
fn kinds() -> Vec<Attack> {
    let point = sequence(&[&tlv(
        0xa0,
        &tlv(0xa0, &tlv(0x86, b"http://example.org/1.crl")),
    )]);
    let reasons = |bits: &[u8]| sequence(&[&tlv(0x83, bits)]);
    [
        ("td13_a_list_of_one_distribution_point", oid::ISSUING_DISTRIBUTION_POINT, true, point.clone()),
        ("td13_a_list_of_one_distribution_point_not_critical", oid::ISSUING_DISTRIBUTION_POINT, false, point),
        ("td13_a_list_of_devices_only", oid::ISSUING_DISTRIBUTION_POINT, true, sequence(&[&tlv(0x81, &[0xff])])),
        ("td13_a_list_of_authorities_only", oid::ISSUING_DISTRIBUTION_POINT, true, sequence(&[&tlv(0x82, &[0xff])])),
        ("td13_a_list_of_some_reasons", oid::ISSUING_DISTRIBUTION_POINT, true, reasons(&[6, 0x40])),
        ("td13_an_indirect_list", oid::ISSUING_DISTRIBUTION_POINT, true, sequence(&[&tlv(0x84, &[0xff])])),
        ("td13_a_list_of_an_empty_part", oid::ISSUING_DISTRIBUTION_POINT, true, sequence(&[])),
        ("tc37_reasons_of_no_bits", oid::ISSUING_DISTRIBUTION_POINT, true, reasons(&[0])),
        ("tc37_reasons_of_no_bytes", oid::ISSUING_DISTRIBUTION_POINT, true, reasons(&[])),
        ("td13_a_delta_list", oid::DELTA_CRL_INDICATOR, true, tlv(INTEGER, &[1])),
        ("td13_a_critical_extension_of_a_list", ObjectIdentifier::new_unwrap("1.2.3.4.5"), true, NULL.to_vec()),
        ("td13_a_number_below_0", oid::CRL_NUMBER, false, tlv(INTEGER, &[0x80])),
        ("td13_a_number_of_21_octets", oid::CRL_NUMBER, false, tlv(INTEGER, &[0x7f; 21])),
        ("td13_a_number_that_is_none", oid::CRL_NUMBER, false, NULL.to_vec()),
        ("td13_an_issuer_without_a_key_identifier", oid::AUTHORITY_KEY_IDENTIFIER, false, sequence(&[])),
        ("td13_endless_extensions", ObjectIdentifier::new_unwrap("1.2.3.4.5"), false, tlv(OCTET_STRING, &[0; 5_000])),
    ]
    .into_iter()
    .map(|(name, id, critical, value)| {
        unusable_list(
            name,
            "A list with an extension that says that it is of another kind, or that is not in its form.",
            move |good| with(good, |list| list.set_extension(id, critical, &value)),
        )
    })
    .collect()
}

/// Fields that are missing, twice, or not what they should be.
fn fields() -> Vec<Attack> {
    type Change = fn(&mut CrlParts);
    const CHANGES: [(&str, &str, Change); 9] = [
        ("td13_no_number", "A list has no number.", |list| {
            list.remove_extension(oid::CRL_NUMBER)
        }),
        (
            "td13_no_key_identifier",
            "A list does not name its issuer's key.",
            |list| {
                list.remove_extension(oid::AUTHORITY_KEY_IDENTIFIER);
            },
        ),
        (
            "td13_no_next_update",
            "A list does not say when the next one comes.",
            |list| list.next_update = None,
        ),
        ("td13_no_extensions", "A list has no extensions.", |list| {
            list.extensions = None
        }),
        (
            "td13_a_list_of_version_1",
            "A list of version 1 has extensions.",
            |list| list.version = None,
        ),
        (
            "td13_a_list_of_version_3",
            "A list is of version 3, which there is not.",
            |list| list.version = Some(2),
        ),
        ("td13_no_issuer", "A list has an empty issuer.", |list| {
            list.issuer = any(&sequence(&[]))
        }),
        (
            "td13_an_endless_issuer",
            "The name of a list's issuer has 3,000 bytes.",
            |list| {
                list.issuer = any(&tlv(SEQUENCE, &[0x30; 3_000]));
            },
        ),
        (
            "td13_the_number_twice",
            "A list has its number twice.",
            |list| {
                let extensions = list.extensions.as_mut().expect("extensions");
                let number = extensions
                    .iter()
                    .find(|extension| extension.extn_id == oid::CRL_NUMBER);
                let number = number.expect("a number").clone();
                extensions.push(number);
            },
        ),
    ];
    let mut all: Vec<Attack> = CHANGES
        .into_iter()
        .map(|(name, what, change)| unusable_list(name, what, move |good| with(good, change)))
        .collect();
    all.push(unusable_list(
        "td13_a_list_that_ends_before_it_begins",
        "A list is to be replaced before it was made.",
        |good| with(good, |list| list.set_updates(good.at(0), good.at(-60))),
    ));
    for (word, this_update) in [
        ("of_another_form", &b"\x18\x0f20200101000000Z"[..]),
        ("of_another_zone", b"\x17\x11200101000000+0100"),
        ("without_seconds", b"\x17\x0b2001010000Z"),
    ] {
        all.push(unusable_list(
            format!("td13_a_time_{word}"),
            "The time of a list is no time in the one form that times have.",
            move |good| raw(good, |fields| fields[3] = this_update.to_vec()),
        ));
    }
    all
}

/// Entries that would revoke nothing, or something else.
fn entries() -> Vec<Attack> {
    let issuer = sequence(&[&tlv(0xa4, &sequence(&[]))]);
    let entry_extension = |id: &str, critical: bool, value: &[u8]| {
        let critical = if critical {
            tlv(BOOLEAN, &[0xff])
        } else {
            Vec::new()
        };
        sequence(&[&sequence(&[
            &hand::oid(id),
            &critical,
            &tlv(OCTET_STRING, value),
        ])])
    };
    let number = tlv(INTEGER, &[0x12, 0x34]);
    [
        (
            "td13_an_entry_padded",
            tlv(INTEGER, &[0, 0x12, 0x34]),
            Vec::new(),
        ),
        (
            "td13_an_entry_below_0",
            tlv(INTEGER, &[0x92, 0x34]),
            Vec::new(),
        ),
        ("td13_an_entry_of_0", tlv(INTEGER, &[0]), Vec::new()),
        (
            "td13_an_entry_of_21_octets",
            tlv(INTEGER, &[0x7f; 21]),
            Vec::new(),
        ),
        ("td13_an_entry_of_no_octets", tlv(INTEGER, &[]), Vec::new()),
        (
            "td13_an_entry_that_is_no_number",
            tlv(OCTET_STRING, &[1]),
            Vec::new(),
        ),
        (
            "td13_an_entry_of_another_issuer",
            number.clone(),
            entry_extension("2.5.29.29", true, &issuer),
        ),
        (
            "td13_a_critical_extension_of_an_entry",
            number.clone(),
            entry_extension("1.2.3.4.5", true, NULL),
        ),
        (
            "td13_an_unknown_reason",
            number,
            entry_extension("2.5.29.21", false, &tlv(0x0a, &[99])),
        ),
    ]
    .into_iter()
    .map(|(name, serial, extensions)| {
        unusable_list(
            name,
            "An entry of a list is not in the one form that finds the certificate it means.",
            move |good| {
                with(good, |list| {
                    list.revoked_certificates = Some(vec![any(&entry(&serial, &extensions))]);
                })
            },
        )
    })
    .collect()
}

/// Lists in another form than DER, and things that are none.
fn encodings() -> Vec<Attack> {
    const CHANGES: [(&str, &str, hand::Rewrite); 9] = [
        (
            "td13_a_byte_behind_a_list",
            "A byte stands behind a list.",
            |list| [list, &[0]].concat(),
        ),
        (
            "td13_a_cut_list",
            "A list's last byte is cut off.",
            |list| list[..list.len() - 1].to_vec(),
        ),
        ("td13_half_a_list", "A list ends in the middle.", |list| {
            list[..list.len() / 2].to_vec()
        }),
        (
            "td13_a_list_of_no_definite_length",
            "A list's outermost length is indefinite.",
            |list| hand::indefinite_tlv(SEQUENCE, &content(list)),
        ),
        (
            "td13_a_longer_length_of_a_list",
            "A list's outermost length is longer than it needs.",
            |list| hand::long_tlv(SEQUENCE, &content(list)),
        ),
        (
            "td13_a_fourth_part_of_a_list",
            "A list has a fourth part.",
            |list| tlv(SEQUENCE, &[&content(list), NULL].concat()),
        ),
        (
            "td13_another_algorithm_outside_a_list",
            "The algorithm outside the signed part of a list is another one.",
            |list| {
                let parts = children(list);
                let other = sequence(&[&hand::oid("1.2.840.10045.4.3.3")]);
                sequence(&[&parts[0], &other, &parts[2]])
            },
        ),
        (
            "td13_a_list_with_unused_bits",
            "The signature of a list has unused bits.",
            |list| {
                let parts = children(list);
                let mut bits = content(&parts[2]);
                (bits[0], *bits.last_mut().expect("not empty")) = (1, bits[bits.len() - 1] & 0xfe);
                sequence(&[&parts[0], &parts[1], &tlv(BIT_STRING, &bits)])
            },
        ),
        (
            "td13_a_certificate_for_a_list",
            "What is given for a list is no list.",
            |_| sequence(&[]),
        ),
    ];
    CHANGES
        .into_iter()
        .map(|(name, what, change)| {
            unusable_list(name, what, move |good| {
                let mut lists = good.pki.crls().to_vec();
                lists[LIST_OF_ROOT] = change(&lists[LIST_OF_ROOT]);
                Hostile::from(good.file()).with_lists(lists)
            })
        })
        .collect()
}

/// The good file, the list of the device's issuer changed and signed again.
pub(super) fn with(good: &Good, change: impl Fn(&mut CrlParts)) -> Hostile {
    Hostile::from(good.file()).with_lists(good.lists(LIST_OF_LOWER, change))
}

/// The same with the fields as they stand in the signed part.
fn raw(good: &Good, change: impl Fn(&mut Vec<Vec<u8>>)) -> Hostile {
    let mut lists = good.pki.crls().to_vec();
    let parts = children(&lists[LIST_OF_LOWER]);
    let mut fields = children(&parts[0]);
    change(&mut fields);
    let to_be_signed = sequence(&[&fields.concat()]);
    let key = &good.pki.authority_keys()[LIST_OF_LOWER];
    lists[LIST_OF_LOWER] = hand::signed(&to_be_signed, &parts[1], key);
    Hostile::from(good.file()).with_lists(lists)
}

/// The good lists, this certificate on its issuer's.
pub(super) fn revoking(good: &Good, certificate: &[u8]) -> Vec<Vec<u8>> {
    let serial = serial(certificate);
    good.lists(LIST_OF_LOWER, |list| {
        list.revoked_certificates = Some(vec![any(&entry(&serial, &[]))]);
    })
}

/// The serial number of a certificate, DER.
pub(super) fn serial(certificate: &[u8]) -> Vec<u8> {
    let parts = countersign_testing::CertificateParts::of(certificate);
    ::der::Encode::to_der(&parts.serial_number).expect("it encodes")
}

/// An entry of a list: serial number, a date, and its extensions if it has any.
pub(super) fn entry(serial: &[u8], extensions: &[u8]) -> Vec<u8> {
    sequence(&[serial, &tlv(0x17, b"200101000000Z"), extensions])
}

/// The good file, the signature of a list written in another way.
pub(super) fn sealed_list(good: &Good, change: hand::Rewrite) -> Hostile {
    let mut lists = good.pki.crls().to_vec();
    let parts = children(&lists[LIST_OF_LOWER]);
    let signature = content(&parts[2]);
    lists[LIST_OF_LOWER] = hand::sealed(&parts[0], &parts[1], &change(&signature[1..]));
    Hostile::from(good.file()).with_lists(lists)
}

/// The good file, a list that names this algorithm.
pub(super) fn list_signed_as(good: &Good, algorithm: &[u8]) -> Hostile {
    with(good, |list| list.signature = any(algorithm))
}
