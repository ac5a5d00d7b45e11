//! Extensions that are not understood, that contradict, that are missing, or that are there twice.

use countersign_format::oid as ours;
use countersign_testing::CertificateParts;
use countersign_trust_store::{Code, oid};
use der::asn1::ObjectIdentifier;

use super::chain::constraints;
use crate::attack::{Attack, Hostile, attack, control};
use crate::der::{
    self as hand, BIT_STRING, BOOLEAN, INTEGER, NULL, OCTET_STRING, SEQUENCE, sequence, tlv,
};
use crate::good::{Good, LEAF, LIST_OF_LOWER, LOWER, UPPER};

const UNKNOWN: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.3.4.5");

pub(super) fn attacks() -> Vec<Attack> {
    let mut all = understanding();
    all.extend(twice());
    all.extend(key_identifiers());
    all.extend(unprocessed());
    all.extend(values());
    all.extend(no_revocation());
    all
}

fn understanding() -> Vec<Attack> {
    let mut all = Vec::new();
    for (whose, place) in [
        ("a_device", LEAF),
        ("the_lower_authority", LOWER),
        ("the_upper_authority", UPPER),
    ] {
        all.push(attack(
            format!("tc14_an_unknown_critical_extension_of_{whose}"),
            "A certificate has a critical extension that nobody knows.",
            Code::CertificateExtension,
            move |good| extended(good, place, UNKNOWN, true, NULL),
        ));
        all.push(control(
            format!("control_an_unknown_extension_of_{whose}"),
            "A certificate has an extension that nobody knows and nobody must.",
            move |good| extended(good, place, UNKNOWN, false, NULL),
        ));
    }
    for (word, id, critical) in [
        ("key_usage_that_is_not_critical", oid::KEY_USAGE, false),
        (
            "an_authority_key_identifier_that_is_critical",
            oid::AUTHORITY_KEY_IDENTIFIER,
            true,
        ),
        ("a_scope_that_is_critical", ours::COMPONENT_SCOPE, true),
        ("a_device_type_that_is_critical", ours::DEVICE_TYPE, true),
    ] {
        all.push(attack(
            format!("tc14_{word}"),
            "An extension of the device's certificate is critical though it must not be, or the other way round.",
            Code::CertificateExtension,
            move |good| {
                good.sign(&good.bent(LEAF, |parts| {
                    let value = value_of(parts, id);
                    parts.set_extension(id, critical, &value);
                }))
            },
        ));
    }
    all.push(attack(
        "tc14_basic_constraints_that_are_not_critical",
        "The constraints of an authority are not critical.",
        Code::CertificateExtension,
        |good| {
            extended(
                good,
                LOWER,
                oid::BASIC_CONSTRAINTS,
                false,
                &constraints(true, Some(0)),
            )
        },
    ));
    all
}

fn twice() -> Vec<Attack> {
    [
        ("an_unknown_extension", UNKNOWN, LEAF),
        ("key_usage", oid::KEY_USAGE, LEAF),
        ("extended_key_usage", oid::EXTENDED_KEY_USAGE, LEAF),
        ("the_scope", ours::COMPONENT_SCOPE, LEAF),
        ("the_alternative_name", oid::SUBJECT_ALT_NAME, LEAF),
        ("basic_constraints", oid::BASIC_CONSTRAINTS, LOWER),
        ("the_key_identifier", oid::SUBJECT_KEY_IDENTIFIER, LOWER),
    ]
    .into_iter()
    .map(|(word, id, place)| {
        attack(
            format!("tc15_{word}_twice"),
            "A certificate has an extension twice.",
            Code::CertificateExtension,
            move |good| {
                good.sign(&good.bent(place, |parts| {
                    if id == UNKNOWN {
                        parts.push_extension(id, false, NULL);
                    }
                    let value = value_of(parts, id);
                    parts.push_extension(id, false, &value);
                }))
            },
        )
    })
    .collect()
}

fn key_identifiers() -> Vec<Attack> {
    let name = tlv(0xa1, &tlv(0xa4, &sequence(&[])));
    let with_name = sequence(&[&tlv(0x80, &[1; 20]), &name, &tlv(0x82, &[1])]);
    vec![
        attack(
            "tc18_the_key_identifier_of_another_issuer",
            "The device's certificate names another key of its issuer than the one above it.",
            Code::KeyIdentifier,
            |good| {
                extended(
                    good,
                    LEAF,
                    oid::AUTHORITY_KEY_IDENTIFIER,
                    false,
                    &sequence(&[&tlv(0x80, &[1; 20])]),
                )
            },
        ),
        attack(
            "tc18_another_key_identifier_of_the_issuer",
            "An authority's own key identifier is not the one that the device's certificate names.",
            Code::KeyIdentifier,
            |good| {
                extended(
                    good,
                    LOWER,
                    oid::SUBJECT_KEY_IDENTIFIER,
                    false,
                    &tlv(OCTET_STRING, &[1; 20]),
                )
            },
        ),
        attack(
            "tc18_no_key_identifier_of_the_issuer",
            "The device's certificate does not name its issuer's key.",
            Code::CertificateExtension,
            |good| removed(good, LEAF, oid::AUTHORITY_KEY_IDENTIFIER),
        ),
        attack(
            "tc18_an_empty_key_identifier",
            "The device's certificate has an authority key identifier in which nothing stands.",
            Code::KeyIdentifier,
            |good| {
                extended(
                    good,
                    LEAF,
                    oid::AUTHORITY_KEY_IDENTIFIER,
                    false,
                    &sequence(&[]),
                )
            },
        ),
        attack(
            "tc18_an_issuer_named_by_name_and_number",
            "The device's certificate names its issuer by name and serial number too.",
            Code::KeyIdentifier,
            move |good| extended(good, LEAF, oid::AUTHORITY_KEY_IDENTIFIER, false, &with_name),
        ),
        attack(
            "tc18_an_authority_without_a_key_identifier",
            "An authority's certificate has no key identifier.",
            Code::KeyIdentifier,
            |good| removed(good, LOWER, oid::SUBJECT_KEY_IDENTIFIER),
        ),
    ]
}

/// What this verifier does not process, it refuses, critical or not.
fn unprocessed() -> Vec<Attack> {
    let dns = |name: &[u8]| sequence(&[&tlv(0xa0, &sequence(&[&tlv(0x82, name)]))]);
    let uri = |name: &[u8]| sequence(&[&tlv(0xa0, &sequence(&[&tlv(0x86, name)]))]);
    let bomb = sequence(&[&tlv(0xa0, &sequence(&[&tlv(0x82, b"a.b")]).repeat(700))]);
    let mapping = sequence(&[&hand::oid("1.2.3.4"), &hand::oid("1.2.3.5")]);
    let mut all = Vec::new();
    for (name, id, value) in [
        (
            "tc28_a_thousand_name_constraints",
            oid::NAME_CONSTRAINTS,
            bomb,
        ),
        (
            "tc29_name_constraints",
            oid::NAME_CONSTRAINTS,
            dns(b"example.org"),
        ),
        (
            "tc29_name_constraints_with_a_wildcard",
            oid::NAME_CONSTRAINTS,
            dns(b"*.example.org"),
        ),
        (
            "tc29_name_constraints_on_uris",
            oid::NAME_CONSTRAINTS,
            uri(b"https://example.org"),
        ),
        (
            "tc29_empty_name_constraints",
            oid::NAME_CONSTRAINTS,
            sequence(&[]),
        ),
        (
            "tc33_policy_constraints",
            oid::POLICY_CONSTRAINTS,
            sequence(&[&tlv(0x80, &[0])]),
        ),
        (
            "tc33_a_hundred_policy_mappings",
            oid::POLICY_MAPPINGS,
            tlv(SEQUENCE, &mapping.repeat(100)),
        ),
        (
            "tc33_no_policy_for_any",
            oid::INHIBIT_ANY_POLICY,
            tlv(INTEGER, &[0]),
        ),
    ] {
        for (word, critical) in [("critical", true), ("not_critical", false)] {
            let value = value.clone();
            all.push(attack(
                format!("{name}_{word}"),
                "An authority's certificate has an extension that this verifier does not process, and so refuses.",
                Code::CertificateExtension,
                move |good| extended(good, LOWER, id, critical, &value),
            ));
        }
    }
    all.push(attack(
        "tc33_policies_that_are_critical",
        "An authority's certificate demands that its policies are processed.",
        Code::CertificateExtension,
        |good| {
            let policies = sequence(&[&sequence(&[&hand::oid("1.2.3.4")])]);
            extended(good, LOWER, oid::CERTIFICATE_POLICIES, true, &policies)
        },
    ));
    all
}

/// Values that are not what their extension holds, or in another encoding.
fn values() -> Vec<Attack> {
    let ca = |content: &[u8]| tlv(SEQUENCE, content);
    let mut all = Vec::new();
    for (word, place, id, critical, value) in [
        (
            "a_true_that_is_1",
            LOWER,
            oid::BASIC_CONSTRAINTS,
            true,
            ca(&tlv(BOOLEAN, &[1])),
        ),
        (
            "a_default_written_out",
            LEAF,
            oid::BASIC_CONSTRAINTS,
            true,
            ca(&tlv(BOOLEAN, &[0])),
        ),
        (
            "constraints_of_no_definite_length",
            LEAF,
            oid::BASIC_CONSTRAINTS,
            true,
            vec![0x30, 0x80, 0, 0],
        ),
        (
            "a_path_length_without_an_authority",
            LEAF,
            oid::BASIC_CONSTRAINTS,
            true,
            ca(&tlv(INTEGER, &[0])),
        ),
        (
            "constraints_of_no_bytes",
            LEAF,
            oid::BASIC_CONSTRAINTS,
            true,
            Vec::new(),
        ),
        (
            "a_negative_path_length",
            LOWER,
            oid::BASIC_CONSTRAINTS,
            true,
            ca(&[&[1, 1, 0xff], &tlv(INTEGER, &[0xff])[..]].concat()),
        ),
        (
            "a_path_length_of_a_thousand_octets",
            LOWER,
            oid::BASIC_CONSTRAINTS,
            true,
            ca(&[&[1, 1, 0xff], &tlv(INTEGER, &[0x7f; 1000])[..]].concat()),
        ),
        (
            "key_usage_with_trailing_zeros",
            LEAF,
            oid::KEY_USAGE,
            true,
            tlv(BIT_STRING, &[0, 0x80]),
        ),
        (
            "key_usage_that_is_a_number",
            LEAF,
            oid::KEY_USAGE,
            true,
            tlv(INTEGER, &[0x80]),
        ),
        (
            "a_purpose_that_is_no_list",
            LEAF,
            oid::EXTENDED_KEY_USAGE,
            false,
            hand::oid("1.3.6.1.5.5.7.3.3"),
        ),
        (
            "an_unreadable_alternative_name",
            LEAF,
            oid::SUBJECT_ALT_NAME,
            false,
            vec![0x30, 5, 0],
        ),
        (
            "an_empty_alternative_name",
            LEAF,
            oid::SUBJECT_ALT_NAME,
            false,
            sequence(&[]),
        ),
        (
            "a_device_type_that_is_no_text",
            LEAF,
            ours::DEVICE_TYPE,
            false,
            vec![0x0c, 1, 0xff],
        ),
        (
            "a_hardware_revision_that_is_no_text",
            LEAF,
            ours::HARDWARE_REVISION,
            false,
            NULL.to_vec(),
        ),
        (
            "a_firmware_version_that_is_no_text",
            LEAF,
            ours::FIRMWARE_VERSION,
            false,
            Vec::new(),
        ),
        (
            "capabilities_that_are_no_list",
            LEAF,
            ours::CAPABILITIES,
            false,
            vec![0x0c, 1, b'x'],
        ),
    ] {
        all.push(attack(
            format!("tc21_{word}"),
            "An extension's value is not well-formed, or not in the one form that it has.",
            Code::CertificateExtension,
            move |good| extended(good, place, id, critical, &value),
        ));
    }
    all
}

/// noRevAvail (RFC 9608): who says that there are no lists.
fn no_revocation() -> Vec<Attack> {
    let says = |good: &Good, place: usize, value: &[u8]| {
        extended(good, place, oid::NO_REV_AVAIL, false, value)
    };
    let mut all = vec![
        control(
            "control_a_device_without_a_list",
            "The device's certificate says that there is no list of its issuer, and there is none.",
            move |good| {
                let mut lists = good.pki.crls().to_vec();
                lists.remove(LIST_OF_LOWER);
                Hostile::from(says(good, LEAF, NULL)).with_lists(lists)
            },
        ),
        attack(
            "td11_an_authority_without_a_list",
            "An authority's certificate says that there is no list, which only devices may say.",
            Code::CertificateExtension,
            move |good| says(good, LOWER, NULL),
        ),
    ];
    for (word, value) in [("of_no_bytes", &[][..]), ("that_is_true", &[1, 1, 0xff])] {
        all.push(attack(
            format!("td11_no_list_{word}"),
            "The device's certificate says in another form that there is no list.",
            Code::CertificateExtension,
            move |good| says(good, LEAF, value),
        ));
    }
    for (word, id) in [
        ("distribution_points", oid::CRL_DISTRIBUTION_POINTS),
        ("newest_lists", oid::FRESHEST_CRL),
        ("access_to_its_issuer", oid::AUTHORITY_INFO_ACCESS),
    ] {
        all.push(attack(
            format!("td11_no_list_beside_{word}"),
            "The device's certificate says that there is no list, and where to find it.",
            Code::CertificateExtension,
            move |good| {
                good.sign(&good.bent(LEAF, |parts| {
                    parts.set_extension(oid::NO_REV_AVAIL, false, NULL);
                    parts.set_extension(id, false, &sequence(&[]));
                }))
            },
        ));
    }
    all
}

/// The good file, an extension of a certificate set.
pub(super) fn extended(
    good: &Good,
    place: usize,
    id: ObjectIdentifier,
    critical: bool,
    value: &[u8],
) -> Vec<u8> {
    good.sign(&good.bent(place, |parts| parts.set_extension(id, critical, value)))
}

fn removed(good: &Good, place: usize, id: ObjectIdentifier) -> Vec<u8> {
    good.sign(&good.bent(place, |parts| parts.remove_extension(id)))
}

fn value_of(parts: &CertificateParts, id: ObjectIdentifier) -> Vec<u8> {
    let extensions = parts.extensions.as_ref().expect("extensions");
    let found = extensions.iter().find(|extension| extension.extn_id == id);
    found.expect("the extension").extn_value.as_bytes().to_vec()
}
