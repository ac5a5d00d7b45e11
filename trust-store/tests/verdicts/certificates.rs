//! One field of one certificate wrong.

use countersign_format::{Algorithm, oid as ours};
use countersign_testing::{Role, TestPki};
use countersign_trust_store::{Code, oid};
use der::asn1::{Any, BitString, Int, ObjectIdentifier};
use der::{Decode, Encode, Tag};
use x509_cert::ext::pkix::KeyUsages;

use crate::harness::{accepted, code, judge, signed};

const UNKNOWN: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.3.4.5");
const ANY_PURPOSE: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.37.0");

fn any(value: &impl Encode) -> Any {
    Any::from_der(&value.to_der().unwrap()).unwrap()
}

fn integer(octets: &[u8]) -> Any {
    Any::new(Tag::Integer, octets.to_vec()).unwrap()
}

#[test]
fn what_is_right_is_accepted() {
    for algorithm in [Algorithm::Esp256, Algorithm::Ed25519] {
        let verified = accepted(TestPki::builder().algorithm(algorithm));
        let [signer] = verified.signers() else {
            panic!("one signer")
        };
        assert_eq!(
            signer.chain().device().unwrap().identity().as_str(),
            "test-device"
        );
        assert_eq!(signer.chain().device_type(), Some("test"));
        assert!(!verified.uses_development_root());
    }
    accepted(TestPki::builder().extra_intermediates(1));
    assert!(accepted(TestPki::builder().development()).uses_development_root());
}

#[test]
fn tc01_a_self_signed_leaf_is_untrusted() {
    // Its own issuer: the name of the leaf in place of the intermediate's.
    let pki = TestPki::builder()
        .bend(Role::Leaf, |parts| parts.issuer = parts.subject.clone())
        .build();
    let code = judge(&pki, signed(&pki)).unwrap_err().code();
    assert_eq!(code, Code::ChainOrder);
}

#[test]
fn tc02_another_root_of_the_same_name_is_untrusted() {
    let (ours, theirs) = (TestPki::new(), TestPki::new());
    let refused = judge(&ours, signed(&theirs)).unwrap_err();
    assert_eq!(refused.code(), Code::UntrustedRoot);
}

#[test]
fn tc03_a_root_in_the_file_is_not_trusted() {
    let (ours, theirs) = (TestPki::new(), TestPki::new());
    let mut chain = theirs.chain().to_vec();
    chain.push(theirs.root().to_vec());
    assert_eq!(chain_code(&ours, chain), Code::UntrustedRoot);
}

#[test]
fn tc03_not_even_the_hosts_own_root_may_be_sent() {
    let pki = TestPki::new();
    let mut chain = pki.chain().to_vec();
    chain.push(pki.root().to_vec());
    assert_eq!(chain_code(&pki, chain), Code::ChainOrder);
}

#[test]
fn tc04_tc05_tc07_an_issuer_that_is_no_ca() {
    let bare = TestPki::builder().without_extension(Role::Intermediate, oid::BASIC_CONSTRAINTS);
    assert_eq!(code(bare), Code::NotACa);
    let not = TestPki::builder().basic_constraints(Role::Intermediate, false, None);
    assert_eq!(code(not), Code::NotACa);
}

#[test]
fn tc06_more_cas_than_the_path_length_allows() {
    let tight =
        TestPki::builder()
            .extra_intermediates(1)
            .basic_constraints(Role::Root, true, Some(1));
    assert_eq!(code(tight), Code::ChainLength);
    accepted(TestPki::builder().basic_constraints(Role::Intermediate, true, Some(0)));
    accepted(TestPki::builder().extra_intermediates(1).basic_constraints(
        Role::Root,
        true,
        Some(2),
    ));
}

#[test]
fn tc08_a_ca_that_signs_components() {
    let ca = TestPki::builder().basic_constraints(Role::Leaf, true, None);
    assert_eq!(code(ca), Code::NotACa);
}

#[test]
fn tc09_an_issuer_without_key_cert_sign() {
    let crl_only = TestPki::builder().key_usage(Role::Intermediate, KeyUsages::CRLSign);
    assert_eq!(code(crl_only), Code::KeyUsage);
    let none = TestPki::builder().without_extension(Role::Intermediate, oid::KEY_USAGE);
    assert_eq!(code(none), Code::KeyUsage);
}

#[test]
fn tc10_a_leaf_without_digital_signature_or_with_more() {
    let agreement = TestPki::builder().key_usage(Role::Leaf, KeyUsages::KeyAgreement);
    assert_eq!(code(agreement), Code::KeyUsage);
    let more = TestPki::builder().key_usage(
        Role::Leaf,
        KeyUsages::DigitalSignature | KeyUsages::KeyCertSign,
    );
    assert_eq!(code(more), Code::KeyUsage);
    let none = TestPki::builder().without_extension(Role::Leaf, oid::KEY_USAGE);
    assert_eq!(code(none), Code::KeyUsage);
}

#[test]
fn tc11_tc13_a_leaf_for_another_purpose() {
    for purposes in [
        &[oid::CLIENT_AUTH][..],
        &[ANY_PURPOSE],
        &[oid::CODE_SIGNING, oid::CLIENT_AUTH],
        &[oid::CODE_SIGNING, oid::CODE_SIGNING],
        &[oid::DOCUMENT_SIGNING],
        &[],
    ] {
        let leaf = TestPki::builder().extended_key_usage(Role::Leaf, purposes);
        assert_eq!(code(leaf), Code::ExtendedKeyUsage, "{purposes:?}");
    }
    let none = TestPki::builder().without_extension(Role::Leaf, oid::EXTENDED_KEY_USAGE);
    assert_eq!(code(none), Code::ExtendedKeyUsage);
}

#[test]
fn tc12_an_intermediate_for_other_purposes() {
    let tls = TestPki::builder().extended_key_usage(Role::Intermediate, &[oid::SERVER_AUTH]);
    assert_eq!(code(tls), Code::ExtendedKeyUsage);
    accepted(
        TestPki::builder()
            .extended_key_usage(Role::Intermediate, &[oid::SERVER_AUTH, oid::CODE_SIGNING]),
    );
}

#[test]
fn tc14_a_critical_extension_that_nobody_knows() {
    for role in [Role::Leaf, Role::Intermediate] {
        let critical = TestPki::builder().with_extension(role, UNKNOWN, true, &[5, 0]);
        assert_eq!(code(critical), Code::CertificateExtension, "{role:?}");
        accepted(TestPki::builder().with_extension(role, UNKNOWN, false, &[5, 0]));
    }
}

#[test]
fn tc15_an_extension_twice() {
    let twice = TestPki::builder().bend(Role::Leaf, |parts| {
        parts.push_extension(UNKNOWN, false, &[5, 0]);
        parts.push_extension(UNKNOWN, false, &[5, 0]);
    });
    assert_eq!(code(twice), Code::CertificateExtension);
}

#[test]
fn tc16_serial_numbers() {
    for bad in [&[0][..], &[0x80], &[0xff; 3], &[0x7f; 21]] {
        let octets = bad.to_vec();
        let leaf = TestPki::builder()
            .no_rev_avail()
            .bend(Role::Leaf, move |parts| {
                parts.serial_number = integer(&octets);
            });
        let code = code(leaf);
        assert!(
            [Code::CertificateSerial, Code::CertificateMalformed].contains(&code),
            "{bad:?}: {code}"
        );
    }
    accepted(TestPki::builder().bend(Role::Leaf, |parts| {
        parts.serial_number = integer(&[0x7f; 20])
    }));
}

#[test]
fn tc17_a_name_that_does_not_chain() {
    let renamed = TestPki::builder().bend(Role::Intermediate, |parts| {
        parts.subject = parts.issuer.clone();
    });
    assert_eq!(code(renamed), Code::ChainOrder);
}

#[test]
fn tc18_key_identifiers_that_do_not_fit() {
    let other = [0x30, 0x06, 0x80, 0x04, 1, 2, 3, 4];
    let foreign =
        TestPki::builder().with_extension(Role::Leaf, oid::AUTHORITY_KEY_IDENTIFIER, false, &other);
    assert_eq!(code(foreign), Code::KeyIdentifier);
    let critical = TestPki::builder().bend(Role::Leaf, |parts| {
        let extensions = parts.extensions.as_mut().unwrap();
        let identifier = extensions
            .iter_mut()
            .find(|e| e.extn_id == oid::AUTHORITY_KEY_IDENTIFIER)
            .unwrap();
        identifier.critical = true;
    });
    assert_eq!(code(critical), Code::CertificateExtension);
    let absent = TestPki::builder().without_extension(Role::Leaf, oid::AUTHORITY_KEY_IDENTIFIER);
    assert_eq!(code(absent), Code::CertificateExtension);
    let no_subject_key =
        TestPki::builder().without_extension(Role::Intermediate, oid::SUBJECT_KEY_IDENTIFIER);
    assert_eq!(code(no_subject_key), Code::KeyIdentifier);
}

/// SAN with hardwareModuleName entries of these serial numbers.
fn device_names(serials: &[&[u8]]) -> Vec<u8> {
    let wrap = |tag: u8, content: &[u8]| {
        assert!(content.len() < 128);
        [&[tag, u8::try_from(content.len()).unwrap()][..], content].concat()
    };
    let names: Vec<u8> = serials
        .iter()
        .flat_map(|serial| {
            let module = [ours::HARDWARE_TYPE.to_der().unwrap(), wrap(0x04, serial)].concat();
            let value = wrap(0xa0, &wrap(0x30, &module));
            let on_hardware_module_name = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.8.4");
            wrap(
                0xa0,
                &[on_hardware_module_name.to_der().unwrap(), value].concat(),
            )
        })
        .collect();
    wrap(0x30, &names)
}

#[test]
fn tc19_tc20_device_identities() {
    let with = |names: Vec<u8>| {
        TestPki::builder().with_extension(Role::Leaf, oid::SUBJECT_ALT_NAME, false, &names)
    };
    accepted(with(device_names(&[b"test-device"])));
    for bad in [
        &[&b"test-device"[..], &b"test-device"[..]][..],
        &[b"test-device\0"],
        &[b"test\ndevice"],
        &["te\u{202e}st".as_bytes()],
        &["t\u{0435}st-device".as_bytes()],
        &[b""],
        &[b"../../etc"],
        &[b"another-device"],
        &[&[0xff, 0xfe]],
    ] {
        assert_eq!(
            code(with(device_names(bad))),
            Code::DeviceIdentity,
            "{bad:?}"
        );
    }
}

#[test]
fn tc21_another_encoding_of_the_same_certificate() {
    // basicConstraints with its DEFAULT written out, and with a TRUE that is not 0xff.
    for value in [&[0x30, 3, 1, 1, 0][..], &[0x30, 0x80, 0, 0]] {
        let leaf =
            TestPki::builder().with_extension(Role::Leaf, oid::BASIC_CONSTRAINTS, false, value);
        assert_eq!(code(leaf), Code::CertificateExtension, "{value:?}");
    }
    let ca = [0x30, 3, 1, 1, 1];
    let intermediate =
        TestPki::builder().with_extension(Role::Intermediate, oid::BASIC_CONSTRAINTS, true, &ca);
    assert_eq!(code(intermediate), Code::CertificateExtension);
}

#[test]
fn tc22_things_that_are_no_certificate_or_one_too_many() {
    let pki = TestPki::new();
    let good = pki.chain().to_vec();
    let mut trailing = good.clone();
    trailing[0].push(0);
    assert_eq!(chain_code(&pki, trailing), Code::CertificateMalformed);
    let mut pem = good.clone();
    pem[0] = b"-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n".to_vec();
    assert_eq!(chain_code(&pki, pem), Code::CertificateMalformed);
    let mut unrelated = good.clone();
    unrelated.push(TestPki::new().chain()[1].clone());
    assert_eq!(chain_code(&pki, unrelated), Code::ChainOrder);
    let mut twice = good.clone();
    twice.push(good[1].clone());
    assert_eq!(chain_code(&pki, twice), Code::ChainOrder);
}

#[test]
fn tc23_tb08_tb09_signature_algorithms() {
    const SHA1_WITH_ECDSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.1");
    let differing = TestPki::builder().bend(Role::Leaf, |parts| {
        let other = x509_cert::spki::AlgorithmIdentifierOwned {
            oid: SHA1_WITH_ECDSA,
            parameters: None,
        };
        parts.signature = any(&other);
    });
    assert_eq!(code(differing), Code::AlgorithmForbidden);
}

#[test]
fn tc24_times_in_another_form() {
    for (tag, text) in [
        (Tag::GeneralizedTime, "20300101000000Z"),
        (Tag::UtcTime, "3001010000Z"),
        (Tag::UtcTime, "300230000000Z"),
        (Tag::UtcTime, "300101000000+0100"),
        (Tag::GeneralizedTime, "20510101000000.5Z"),
    ] {
        let leaf = TestPki::builder().bend(Role::Leaf, move |parts| {
            let from = Any::new(Tag::UtcTime, b"200101000000Z".to_vec()).unwrap();
            let until = Any::new(tag, text.as_bytes().to_vec()).unwrap();
            let both = [from.to_der().unwrap(), until.to_der().unwrap()].concat();
            parts.validity = Any::new(Tag::Sequence, both).unwrap();
        });
        assert_eq!(code(leaf), Code::CertificateMalformed, "{text}");
    }
}

#[test]
fn tc25_a_signer_that_never_expires() {
    let leaf = TestPki::builder().bend(Role::Leaf, |parts| {
        let from = Any::new(Tag::UtcTime, b"200101000000Z".to_vec()).unwrap();
        let until = Any::new(Tag::GeneralizedTime, b"99991231235959Z".to_vec()).unwrap();
        let both = [from.to_der().unwrap(), until.to_der().unwrap()].concat();
        parts.validity = Any::new(Tag::Sequence, both).unwrap();
    });
    assert_eq!(code(leaf), Code::ValidityPeriod);
}

#[test]
fn tc26_chains_that_are_too_long() {
    let pki = TestPki::builder().extra_intermediates(2).build();
    assert_eq!(pki.chain().len(), 4);
    let refused = pki
        .anchors()
        .verify_chain(
            pki.chain(),
            &countersign_trust_store::PathProfile::COMPONENTS,
            &pki.now(),
            &pki.state(),
        )
        .unwrap_err();
    assert_eq!(refused.code(), Code::ChainLength);
}

#[test]
fn tc29_tc33_constraints_and_policies_that_nobody_processes() {
    for (id, value) in [
        (oid::NAME_CONSTRAINTS, &[0x30, 0][..]),
        (oid::POLICY_CONSTRAINTS, &[0x30, 0]),
        (oid::POLICY_MAPPINGS, &[0x30, 0]),
        (oid::INHIBIT_ANY_POLICY, &[2, 1, 0]),
    ] {
        for critical in [false, true] {
            let ca = TestPki::builder().with_extension(Role::Intermediate, id, critical, value);
            assert_eq!(code(ca), Code::CertificateExtension, "{id} {critical}");
        }
    }
}

#[test]
fn tc30_a_certificate_that_is_too_large() {
    let big = vec![0x04; 9_000];
    let pki = TestPki::builder()
        .with_extension(Role::Leaf, UNKNOWN, false, &big)
        .build();
    let refused = pki
        .anchors()
        .verify_chain(
            pki.chain(),
            &countersign_trust_store::PathProfile::COMPONENTS,
            &pki.now(),
            &pki.state(),
        )
        .unwrap_err();
    assert_eq!(refused.code(), Code::LimitExceeded);
}

#[test]
fn tc31_versions_and_unique_identifiers() {
    let version1 = TestPki::builder().bend(Role::Leaf, |parts| parts.version = None);
    assert_eq!(code(version1), Code::CertificateMalformed);
    let version2 = TestPki::builder().bend(Role::Intermediate, |parts| {
        parts.version = Some(any(&Int::new(&[1]).unwrap()));
    });
    assert_eq!(code(version2), Code::CertificateMalformed);
    let unique = TestPki::builder().bend(Role::Leaf, |parts| {
        parts.subject_unique_id = Some(BitString::from_bytes(&[1]).unwrap());
    });
    assert_eq!(code(unique), Code::CertificateMalformed);
}

#[test]
fn tc32_empty_names() {
    let empty = Any::new(Tag::Sequence, Vec::new()).unwrap();
    let name = empty.clone();
    let subject = TestPki::builder().bend(Role::Leaf, move |parts| parts.subject = name);
    assert_eq!(code(subject), Code::CertificateMalformed);
    let issuer = TestPki::builder().bend(Role::Leaf, move |parts| parts.issuer = empty);
    assert_eq!(code(issuer), Code::CertificateMalformed);
}

#[test]
fn tc34_chains_out_of_order() {
    let pki = TestPki::builder().extra_intermediates(1).build();
    let [leaf, lower, upper] = pki.chain() else {
        panic!("three certificates")
    };
    let (leaf, lower, upper) = (leaf.clone(), lower.clone(), upper.clone());
    let swapped = vec![leaf.clone(), upper.clone(), lower.clone()];
    assert_eq!(chain_code(&pki, swapped), Code::ChainOrder);
    let missing = vec![leaf.clone(), upper];
    assert_eq!(chain_code(&pki, missing), Code::ChainOrder);
    assert_eq!(chain_code(&pki, vec![leaf, lower]), Code::UntrustedRoot);
}

#[test]
fn tb04_tb05_tb06_keys_and_signatures_in_other_forms() {
    // A compressed point: the same key by another name.
    let compressed = TestPki::builder().bend(Role::Leaf, |parts| {
        let spki = parts.subject_public_key_info.to_der().unwrap();
        let x = &spki[27..59];
        let content = [&spki[2..23], &[0x03, 0x22, 0x00, 0x02], x].concat();
        parts.subject_public_key_info = Any::new(Tag::Sequence, content).unwrap();
    });
    assert_eq!(code(compressed), Code::KeyInvalid);
    let infinity = TestPki::builder().bend(Role::Leaf, |parts| {
        let spki = parts.subject_public_key_info.to_der().unwrap();
        let content = [&spki[2..23], &[0x03, 0x02, 0x00, 0x00]].concat();
        parts.subject_public_key_info = Any::new(Tag::Sequence, content).unwrap();
    });
    assert_eq!(code(infinity), Code::KeyInvalid);
    let off_curve = TestPki::builder().bend(Role::Leaf, |parts| {
        let mut spki = parts.subject_public_key_info.to_der().unwrap();
        *spki.last_mut().unwrap() ^= 1;
        parts.subject_public_key_info = Any::from_der(&spki).unwrap();
    });
    assert_eq!(code(off_curve), Code::KeyInvalid);
}

#[test]
fn tc14_tc29_a_padded_identifier_is_no_other_extension() {
    // nameConstraints with a padded arc: an extension that no table knows, if it were let through.
    let padded = ObjectIdentifier::from_bytes(&[0x55, 0x1d, 0x80, 0x1e]);
    let Ok(padded) = padded else {
        return; // The decoder refuses it already.
    };
    let leaf = TestPki::builder().with_extension(Role::Leaf, padded, false, &[0x30, 0]);
    assert_eq!(code(leaf), Code::CertificateMalformed);
}

#[test]
fn tb16_a_key_that_certifies_signs_nothing_else() {
    let pki = TestPki::builder();
    let shared = std::rc::Rc::new(std::cell::RefCell::new(None));
    let (given, taken) = (shared.clone(), shared);
    let builder = pki
        .bend(Role::Intermediate, move |parts| {
            *given.borrow_mut() = Some(parts.subject_public_key_info.clone());
        })
        .bend(Role::Leaf, move |parts| {
            parts.subject_public_key_info = taken.borrow().clone().unwrap();
        });
    let pki = builder.build();
    assert_eq!(chain_code(&pki, pki.chain().to_vec()), Code::KeyInvalid);
}

#[test]
fn tc25_the_last_year_is_never() {
    let leaf = TestPki::builder().bend(Role::Leaf, |parts| {
        let from = Any::new(Tag::UtcTime, b"200101000000Z".to_vec()).unwrap();
        let until = Any::new(Tag::GeneralizedTime, b"99991231235958Z".to_vec()).unwrap();
        let both = [from.to_der().unwrap(), until.to_der().unwrap()].concat();
        parts.validity = Any::new(Tag::Sequence, both).unwrap();
    });
    assert_eq!(code(leaf), Code::ValidityPeriod);
}

#[test]
fn tc21_metadata_that_cannot_be_read() {
    for id in [
        ours::DEVICE_TYPE,
        ours::HARDWARE_REVISION,
        ours::FIRMWARE_VERSION,
        ours::CAPABILITIES,
    ] {
        let leaf = TestPki::builder().with_extension(Role::Leaf, id, false, &[0x0c, 1, 0xff]);
        assert_eq!(code(leaf), Code::CertificateExtension, "{id}");
    }
    let empty =
        TestPki::builder().with_extension(Role::Leaf, oid::SUBJECT_ALT_NAME, false, &[0x30, 0]);
    assert_eq!(code(empty), Code::CertificateExtension);
}

/// The code for this PKI's device with another list of certificates, under this PKI's root.
fn chain_code(pki: &TestPki, chain: Vec<Vec<u8>>) -> Code {
    pki.anchors()
        .verify_chain(
            &chain,
            &countersign_trust_store::PathProfile::COMPONENTS,
            &pki.now(),
            &pki.state(),
        )
        .unwrap_err()
        .code()
}
