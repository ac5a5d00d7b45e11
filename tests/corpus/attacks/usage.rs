//! Keys used for what they were not certified for.

use countersign_provisioning::Profile;
use countersign_trust_store::{Code, oid};
use der::Encode as _;
use der::asn1::ObjectIdentifier;
use der::flagset::FlagSet;
use x509_cert::ext::pkix::{ExtendedKeyUsage, KeyUsage, KeyUsages};

use crate::attack::{Attack, attack, control};
use crate::good::{DEVICE, Good, LEAF, LOWER, UPPER};

const ANY_PURPOSE: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.37.0");

pub(super) fn attacks() -> Vec<Attack> {
    let mut all = key_usages();
    all.extend(purposes());
    all.extend(other_certificates());
    all
}

fn key_usages() -> Vec<Attack> {
    let mut all = Vec::new();
    for (word, usage) in [
        ("crl_sign_alone", KeyUsages::CRLSign.into()),
        (
            "digital_signature_alone",
            KeyUsages::DigitalSignature.into(),
        ),
        ("nothing", FlagSet::default()),
        (
            "key_agreement_besides",
            KeyUsages::KeyCertSign | KeyUsages::CRLSign | KeyUsages::KeyAgreement,
        ),
    ] {
        for (whose, place) in [("the_lower", LOWER), ("the_upper", UPPER)] {
            all.push(attack(
                format!("tc09_{whose}_authority_for_{word}"),
                "The key usage of an authority's certificate is not that of one that issues certificates.",
                Code::KeyUsage,
                move |good| with_key_usage(good, place, usage),
            ));
        }
    }
    for (word, usage) in [
        ("key_agreement", KeyUsages::KeyAgreement.into()),
        ("non_repudiation", KeyUsages::NonRepudiation.into()),
        ("key_encipherment", KeyUsages::KeyEncipherment.into()),
        ("nothing", FlagSet::default()),
        (
            "certificates_too",
            KeyUsages::DigitalSignature | KeyUsages::KeyCertSign,
        ),
        (
            "lists_too",
            KeyUsages::DigitalSignature | KeyUsages::CRLSign,
        ),
        (
            "key_agreement_too",
            KeyUsages::DigitalSignature | KeyUsages::KeyAgreement,
        ),
    ] {
        all.push(attack(
            format!("tc10_a_device_for_{word}"),
            "The key usage of the device's certificate is not digitalSignature.",
            Code::KeyUsage,
            move |good| with_key_usage(good, LEAF, usage),
        ));
    }
    for (word, place, code) in [
        ("tc10_a_device_without_key_usage", LEAF, Code::KeyUsage),
        (
            "tc09_the_lower_authority_without_key_usage",
            LOWER,
            Code::KeyUsage,
        ),
        (
            "tc09_the_upper_authority_without_key_usage",
            UPPER,
            Code::KeyUsage,
        ),
    ] {
        all.push(attack(
            word,
            "A certificate has no key usage, which some take for every usage.",
            code,
            move |good| {
                good.sign(&good.bent(place, |parts| parts.remove_extension(oid::KEY_USAGE)))
            },
        ));
    }
    all.push(control(
        "control_a_device_for_non_repudiation_too",
        "The key usage of the device's certificate has nonRepudiation besides digitalSignature.",
        |good| {
            with_key_usage(
                good,
                LEAF,
                KeyUsages::DigitalSignature | KeyUsages::NonRepudiation,
            )
        },
    ));
    all
}

fn purposes() -> Vec<Attack> {
    let mut all = Vec::new();
    for (word, purposes) in [
        ("tc11_a_device_for_no_purpose", &[][..]),
        ("tc11_a_device_for_any_purpose", &[ANY_PURPOSE]),
        (
            "tc11_a_device_for_any_purpose_and_code",
            &[ANY_PURPOSE, oid::CODE_SIGNING],
        ),
        (
            "tc11_a_device_for_code_twice",
            &[oid::CODE_SIGNING, oid::CODE_SIGNING],
        ),
        (
            "tc11_a_device_for_code_and_clients",
            &[oid::CODE_SIGNING, oid::CLIENT_AUTH],
        ),
        ("tc13_a_device_for_clients", &[oid::CLIENT_AUTH]),
        ("tc13_a_device_for_servers", &[oid::SERVER_AUTH]),
        ("tc13_a_device_for_documents", &[oid::DOCUMENT_SIGNING]),
    ] {
        all.push(attack(
            word,
            "The extended key usage of the device's certificate is not exactly codeSigning.",
            Code::ExtendedKeyUsage,
            move |good| with_purposes(good, LEAF, purposes),
        ));
    }
    all.push(attack(
        "tc11_a_device_without_a_purpose",
        "The device's certificate has no extended key usage, which some take for every purpose.",
        Code::ExtendedKeyUsage,
        |good| {
            good.sign(&good.bent(LEAF, |parts| {
                parts.remove_extension(oid::EXTENDED_KEY_USAGE)
            }))
        },
    ));
    for (whose, place) in [("the_lower", LOWER), ("the_upper", UPPER)] {
        for (word, purposes) in [
            ("servers", &[oid::SERVER_AUTH][..]),
            ("any_purpose", &[ANY_PURPOSE]),
            ("no_purpose", &[]),
        ] {
            all.push(attack(
                format!("tc12_{whose}_authority_for_{word}"),
                "An authority's extended key usage does not hold codeSigning.",
                Code::ExtendedKeyUsage,
                move |good| with_purposes(good, place, purposes),
            ));
        }
        all.push(control(
            format!("control_{whose}_authority_for_code_too"),
            "An authority's extended key usage holds codeSigning besides another one.",
            move |good| with_purposes(good, place, &[oid::SERVER_AUTH, oid::CODE_SIGNING]),
        ));
    }
    all
}

/// Whole certificates of this device that were issued for something else.
fn other_certificates() -> Vec<Attack> {
    [
        ("tls", Profile::Tls),
        ("guest_data", Profile::GuestData),
        ("attestation", Profile::Attestation),
        ("its_initial_identity", Profile::IDevId),
    ]
    .into_iter()
    .map(|(word, profile)| {
        attack(
            format!("tc13_the_devices_certificate_for_{word}"),
            "The component is signed with a sound certificate of this device, issued for something else.",
            Code::ExtendedKeyUsage,
            move |good| {
                let key = good.pki.device_key();
                let other = good.issue(profile, DEVICE, key.public_key());
                good.sign(&good.replaced(LEAF, other))
            },
        )
    })
    .collect()
}

fn with_key_usage(good: &Good, place: usize, usage: impl Into<FlagSet<KeyUsages>>) -> Vec<u8> {
    let value = key_usage(usage);
    good.sign(&good.bent(place, |parts| {
        parts.set_extension(oid::KEY_USAGE, true, &value)
    }))
}

/// The value of the extension.
pub(super) fn key_usage(usage: impl Into<FlagSet<KeyUsages>>) -> Vec<u8> {
    KeyUsage(usage.into()).to_der().expect("it encodes")
}

fn with_purposes(good: &Good, place: usize, purposes: &[ObjectIdentifier]) -> Vec<u8> {
    let value = ExtendedKeyUsage(purposes.to_vec())
        .to_der()
        .expect("it encodes");
    good.sign(&good.bent(place, |parts| {
        parts.set_extension(oid::EXTENDED_KEY_USAGE, false, &value);
    }))
}
