//! Several signers: which count, and what happens when one is taken out, added or exchanged.

use countersign_format::{
    Envelope, NamePattern, SignerEntry, SignerId, Statement, signature_section, signer_to_be_signed,
};
use countersign_testing::{CertificateParts, EMPTY_COMPONENT, Role, TestPki};
use countersign_trust_store::{
    Anchors, Certificate, Check, Code, Policy, Rejection, SignerRule, UnverifiedComponent,
    VerifiedSigner,
};

use der::{Decode, Encode};

use crate::harness::{NAME, judge, judge_with};

/// A file whose statement lists these PKIs' devices, and whose envelope holds these entries.
fn file(listed: &[&TestPki], entries: impl FnOnce(&[u8]) -> Vec<SignerEntry>) -> Vec<u8> {
    let first = listed[0];
    let mut fields = first.statement(EMPTY_COMPONENT, &first.manifest(NAME));
    fields.signers = listed.iter().map(|pki| pki.signer_id()).collect();
    let statement = Statement::new(fields).unwrap().encode();
    let entries = entries(&statement);
    let payload = Envelope::new(statement, entries).unwrap().encode();
    [EMPTY_COMPONENT, &signature_section(&payload).unwrap()].concat()
}

/// Two PKIs, the one whose device stands first in a statement first.
fn two(mut make: impl FnMut(&str) -> TestPki) -> (TestPki, TestPki) {
    let (a, b) = (make("device-a"), make("device-b"));
    if a.signer_id() < b.signer_id() {
        (a, b)
    } else {
        (b, a)
    }
}

fn plain(id: &str) -> TestPki {
    TestPki::builder().device_id(id).build()
}

fn both(a: &TestPki, b: &TestPki) -> Anchors {
    Anchors::new(vec![a.anchor_source(), b.anchor_source()]).unwrap()
}

fn needing(signers: u8) -> Policy {
    Policy::default().with_min_signers(signers).unwrap()
}

fn verdict(anchors: &Anchors, pki: &TestPki, bytes: Vec<u8>, signers: u8) -> Result<usize, Code> {
    UnverifiedComponent::parse(bytes)
        .and_then(|component| {
            anchors.verify(component, &needing(signers), &pki.now(), &pki.state())
        })
        .map(|verified| verified.signers().len())
        .map_err(|rejection| rejection.code())
}

#[test]
fn two_devices_count_as_two() {
    let (a, b) = two(plain);
    let signed = a.sign_together(&[&b], EMPTY_COMPONENT, &a.manifest(NAME));
    assert_eq!(verdict(&both(&a, &b), &a, signed.clone(), 2), Ok(2));
    assert_eq!(
        verdict(&both(&a, &b), &a, signed, 3),
        Err(Code::SignersTooFew)
    );
}

#[test]
fn a_signer_is_known_by_its_place_in_the_file() {
    let (a, b) = two(plain);
    let signed = a.sign_together(&[&b], EMPTY_COMPONENT, &a.manifest(NAME));
    let places = |anchors: &Anchors| {
        let component = UnverifiedComponent::parse(signed.clone()).unwrap();
        let verified = anchors
            .verify(component, &needing(1), &a.now(), &b.state())
            .unwrap();
        let places = verified.signers().iter().map(VerifiedSigner::index);
        places.collect::<Vec<_>>()
    };
    assert_eq!(places(&both(&a, &b)), [0, 1]);
    // The first leads to no root here, and does not count.
    assert_eq!(places(&b.anchors()), [1]);
}

#[test]
fn ta35_signers_taken_out_added_repeated_or_reordered() {
    let (a, b) = two(plain);
    let anchors = both(&a, &b);
    let good = file(&[&a, &b], |s| vec![a.forge_entry(s), b.forge_entry(s)]);
    assert_eq!(verdict(&anchors, &a, good, 1), Ok(2));
    for (what, bytes) in [
        ("taken out", file(&[&a, &b], |s| vec![a.forge_entry(s)])),
        (
            "added",
            file(&[&a], |s| vec![a.forge_entry(s), b.forge_entry(s)]),
        ),
        (
            "repeated",
            file(&[&a], |s| vec![a.forge_entry(s), a.forge_entry(s)]),
        ),
        (
            "reordered",
            file(&[&a, &b], |s| vec![b.forge_entry(s), a.forge_entry(s)]),
        ),
        ("exchanged", file(&[&a], |s| vec![b.forge_entry(s)])),
    ] {
        assert_eq!(
            verdict(&anchors, &a, bytes, 1),
            Err(Code::SignersMismatch),
            "{what}"
        );
    }
}

#[test]
fn ta35_a_revoked_co_signer_cannot_be_left_out_or_outvoted() {
    let (a, b) = two(|id| match id {
        "device-b" => TestPki::builder().device_id(id).revoke(Role::Leaf).build(),
        _ => plain(id),
    });
    let anchors = both(&a, &b);
    let together = file(&[&a, &b], |s| vec![a.forge_entry(s), b.forge_entry(s)]);
    assert_eq!(verdict(&anchors, &a, together, 1), Err(Code::Revoked));
}

#[test]
fn ta35_a_revoked_co_signer_cannot_cut_its_chain_and_sign_again() {
    let (a, b) = two(|id| match id {
        "device-b" => TestPki::builder().device_id(id).revoke(Role::Leaf).build(),
        _ => plain(id),
    });
    let anchors = both(&a, &b);
    let is_revoked =
        |pki: &TestPki| judge(pki, file(&[pki], |s| vec![pki.forge_entry(s)])).is_err();
    let (revoked, honest) = if is_revoked(&a) { (&a, &b) } else { (&b, &a) };
    assert!(!is_revoked(honest));
    // Both sign the statement; the revoked device's holder does so a second time, with another chain.
    let sign_again = |s: &[u8], chain: &[Vec<u8>]| {
        let key = revoked.device_key();
        let message = signer_to_be_signed(s, key.algorithm(), chain);
        let signature = *key.sign(&message).unwrap().as_bytes();
        let again = SignerEntry::new(key.algorithm(), chain.to_vec(), signature).unwrap();
        let mut entries = vec![a.forge_entry(s), b.forge_entry(s)];
        entries[usize::from(std::ptr::eq(revoked, &b))] = again;
        entries
    };
    let leaf = revoked.chain()[0].clone();
    assert!(revoked.chain().len() > 1);
    for chain in [
        vec![leaf.clone()],
        vec![leaf.clone(), honest.chain()[1].clone()],
    ] {
        let bytes = file(&[&a, &b], |s| sign_again(s, &chain));
        assert_eq!(verdict(&anchors, &a, bytes, 1), Err(Code::SignersMismatch));
    }
    // Its true chain is judged, and the cut one would count for nothing had everyone signed for it.
    let bytes = file(&[&a, &b], |s| sign_again(s, revoked.chain()));
    assert_eq!(verdict(&anchors, &a, bytes, 1), Err(Code::Revoked));
    let cut = vec![leaf];
    let mut fields = a.statement(EMPTY_COMPONENT, &a.manifest(NAME));
    let id = revoked.signer_id();
    fields.signers = vec![
        honest.signer_id(),
        SignerId::of(id.algorithm, id.spki_sha256, &cut),
    ];
    let statement = Statement::new(fields).unwrap().encode();
    let entries = sign_again(&statement, &cut);
    let payload = Envelope::new(statement, entries).unwrap().encode();
    let bytes = [EMPTY_COMPONENT, &signature_section(&payload).unwrap()].concat();
    assert_eq!(verdict(&anchors, &a, bytes, 1), Ok(1));
}

#[test]
fn ta37_a_co_signer_of_an_unknown_root_is_reported_and_does_not_count() {
    let (a, b) = two(plain);
    let bytes = file(&[&a, &b], |s| vec![a.forge_entry(s), b.forge_entry(s)]);
    for pki in [&a, &b] {
        let verified = judge(pki, bytes.clone()).unwrap();
        assert_eq!(verified.signers().len(), 1);
        let [reason] = verified.uncounted() else {
            panic!("one signer does not count")
        };
        assert!(reason.contains("root"), "{reason}");
        let few = judge_with(pki, bytes.clone(), &needing(2), &pki.now(), &pki.state());
        assert!(matches!(
            few.unwrap_err(),
            Rejection::SignersTooFew {
                needed: 2,
                counted: 1,
                ..
            }
        ));
    }
}

#[test]
fn ta37_a_bad_signature_of_an_unknown_co_signer_refuses_the_file() {
    let (a, b) = two(plain);
    let bytes = file(&[&a, &b], |s| {
        let genuine = b.forge_entry(s);
        let mut signature: [u8; 64] = genuine.signature().try_into().unwrap();
        signature[40] ^= 1;
        let bad =
            SignerEntry::new(genuine.algorithm(), genuine.chain().to_vec(), signature).unwrap();
        vec![a.forge_entry(s), bad]
    });
    assert_eq!(judge(&a, bytes).unwrap_err().code(), Code::SignatureInvalid);
}

#[test]
fn tb16_a_statement_signed_by_an_authority_is_refused() {
    let pki = TestPki::new();
    let intermediate = pki.authority_keys().remove(1);
    let bytes = file(&[&pki], |s| {
        let genuine = pki.forge_entry(s);
        let message = signer_to_be_signed(s, genuine.algorithm(), genuine.chain());
        let signature = *intermediate.sign(&message).unwrap().as_bytes();
        vec![SignerEntry::new(genuine.algorithm(), genuine.chain().to_vec(), signature).unwrap()]
    });
    assert_eq!(
        judge(&pki, bytes).unwrap_err().code(),
        Code::SignatureInvalid
    );
}

#[test]
fn tb07_an_algorithm_that_is_not_the_keys_is_refused() {
    let pki = TestPki::new();
    let other = TestPki::builder()
        .algorithm(countersign_format::Algorithm::Ed25519)
        .build();
    let stated = other.signer_id().algorithm;
    let mut fields = pki.statement(EMPTY_COMPONENT, &pki.manifest(NAME));
    fields.signers[0].algorithm = stated;
    let statement = Statement::new(fields).unwrap().encode();
    let entry = SignerEntry::new(stated, pki.chain().to_vec(), [7; 64]).unwrap();
    let payload = Envelope::new(statement, vec![entry]).unwrap().encode();
    let bytes = [EMPTY_COMPONENT, &signature_section(&payload).unwrap()].concat();
    assert_eq!(
        judge(&pki, bytes).unwrap_err().code(),
        Code::AlgorithmForbidden
    );
}

#[test]
fn tb17_one_device_with_two_keys_counts_once() {
    let (a, b) = two(|_| plain("the-same-device"));
    let bytes = file(&[&a, &b], |s| vec![a.forge_entry(s), b.forge_entry(s)]);
    let anchors = both(&a, &b);
    assert_eq!(verdict(&anchors, &a, bytes.clone(), 1), Ok(2));
    assert_eq!(verdict(&anchors, &a, bytes, 2), Err(Code::SignersTooFew));
}

#[test]
fn tc38_one_key_under_two_names_signs_once() {
    let pki = plain("test-device");
    // The same key, certified once more for another device. An honest CA refuses; to a host either is one device.
    let mut other = CertificateParts::of(&pki.chain()[0]);
    let rename = |der: &[u8]| {
        let name = b"test-device";
        let places = der.windows(name.len()).enumerate();
        let places: Vec<_> = places.filter(|(_, window)| window == name).collect();
        assert!(!places.is_empty());
        let mut der = der.to_vec();
        places.iter().for_each(|(at, _)| der[*at] = b'b');
        der
    };
    let subject = other.subject.to_der().unwrap();
    other.subject = der::Any::from_der(&rename(&subject)).unwrap();
    let san = countersign_trust_store::oid::SUBJECT_ALT_NAME;
    let extensions = other.extensions.as_ref().unwrap();
    let names = extensions.iter().find(|e| e.extn_id == san).unwrap();
    let (names, critical) = (rename(names.extn_value.as_bytes()), names.critical);
    other.set_extension(san, critical, &names);
    let other = other.sign(&pki.authority_keys()[1]);
    let chain = vec![other, pki.chain()[1].clone()];

    let mut fields = pki.statement(EMPTY_COMPONENT, &pki.manifest(NAME));
    let (algorithm, key) = (fields.signers[0].algorithm, fields.signers[0].spki_sha256);
    let renamed = SignerId::of(algorithm, key, &chain);
    fields.signers = vec![renamed];
    let statement = Statement::new(fields.clone()).unwrap().encode();
    let message = signer_to_be_signed(&statement, algorithm, &chain);
    let signature = *pki.device_key().sign(&message).unwrap().as_bytes();
    let entry = SignerEntry::new(algorithm, chain, signature).unwrap();
    let payload = Envelope::new(statement, vec![entry]).unwrap().encode();
    let bytes = [EMPTY_COMPONENT, &signature_section(&payload).unwrap()].concat();
    let verified = judge(&pki, bytes.clone()).unwrap();
    let device = verified.signers()[0].chain().device().unwrap();
    assert_eq!(device.identity().as_str(), "best-device");
    assert_eq!(
        verdict(&pki.anchors(), &pki, bytes, 2),
        Err(Code::SignersTooFew)
    );

    // Both names in one statement: the key is listed twice, and no such statement can be read or written.
    fields.signers = vec![pki.signer_id(), renamed];
    fields.signers.sort();
    Statement::new(fields).unwrap_err();
}

#[test]
fn tc20_where_several_must_sign_each_must_name_a_device() {
    let san = countersign_trust_store::oid::SUBJECT_ALT_NAME;
    let (a, b) = two(|id| match id {
        "device-b" => TestPki::builder()
            .device_id(id)
            .without_extension(Role::Leaf, san)
            .build(),
        _ => plain(id),
    });
    let bytes = file(&[&a, &b], |s| vec![a.forge_entry(s), b.forge_entry(s)]);
    let anchors = both(&a, &b);
    assert_eq!(verdict(&anchors, &a, bytes.clone(), 1), Ok(2));
    assert_eq!(verdict(&anchors, &a, bytes, 2), Err(Code::DeviceIdentity));
}

#[test]
fn tb01_tb02_tb03_signature_values() {
    let pki = TestPki::new();
    let order = [
        0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xbc,
        0xe6, 0xfa, 0xad, 0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
    ];
    let with = |change: &dyn Fn(&mut [u8; 64])| {
        file(&[&pki], |s| {
            let genuine = pki.forge_entry(s);
            let mut signature = genuine.signature().try_into().unwrap();
            change(&mut signature);
            vec![
                SignerEntry::new(genuine.algorithm(), genuine.chain().to_vec(), signature).unwrap(),
            ]
        })
    };
    let negate = |signature: &mut [u8; 64]| {
        // s := n - s, the other signature that mathematics accepts.
        let mut borrow = 0_i32;
        for index in (0..32).rev() {
            let difference = i32::from(order[index]) - i32::from(signature[32 + index]) - borrow;
            borrow = i32::from(difference < 0);
            signature[32 + index] = u8::try_from(difference.rem_euclid(256)).unwrap();
        }
    };
    for (what, bytes) in [
        ("all zero", with(&|s| s.fill(0))),
        ("r zero", with(&|s| s[..32].fill(0))),
        ("s zero", with(&|s| s[32..].fill(0))),
        ("r = n", with(&|s| s[..32].copy_from_slice(&order))),
        ("s = n", with(&|s| s[32..].copy_from_slice(&order))),
        ("all ones", with(&|s| s.fill(0xff))),
        ("n - s", with(&negate)),
    ] {
        let refused = judge(&pki, bytes).unwrap_err();
        assert_eq!(refused.code(), Code::SignatureInvalid, "{what}");
    }
    judge(&pki, with(&|_| ())).unwrap();
    judge(
        &pki,
        with(&|s| {
            negate(s);
            negate(s);
        }),
    )
    .unwrap();
}

/// The verdict under rules of the operator.
fn under(
    rules: Vec<SignerRule>,
    signers: u8,
    anchors: &Anchors,
    pki: &TestPki,
    bytes: &[u8],
) -> Result<usize, Rejection> {
    let policy = needing(signers).with_rules(rules);
    UnverifiedComponent::parse(bytes.to_vec())
        .and_then(|component| anchors.verify(component, &policy, &pki.now(), &pki.state()))
        .map(|verified| verified.signers().len())
}

fn about(pattern: &str) -> SignerRule {
    SignerRule::new(vec![NamePattern::parse(pattern).unwrap()])
}

fn own(names: &[&str]) -> Vec<String> {
    names.iter().map(|&name| name.to_owned()).collect()
}

#[test]
fn tc41_the_operator_names_who_may_sign_and_adds_to_what_certificates_demand() {
    let typed = |id: &str| {
        TestPki::builder()
            .device_id(id)
            .device_type("builder")
            .build()
    };
    let (a, b) = two(typed);
    let anchors = both(&a, &b);
    let device = |pki: &TestPki| {
        let chain = &pki.chain()[0];
        let leaf = Certificate::parse(chain).unwrap();
        leaf.device().unwrap().unwrap().identity().to_string()
    };
    let (first, second) = (device(&a), device(&b));
    let by_a = a.sign(EMPTY_COMPONENT, &a.manifest(NAME));
    let by_both = a.sign_together(&[&b], EMPTY_COMPONENT, &a.manifest(NAME));
    let root = |pki: &TestPki| Certificate::parse(pki.root()).unwrap().spki_sha256();

    // Who is named by each thing that can be named, alone and together.
    let a_alone = [
        about(NAME),
        about(NAME).devices(own(&[&first])),
        about(NAME).types(own(&["builder", "other"])),
        about(NAME).issuers(vec![root(&a)]),
        about(NAME)
            .devices(own(&[&second, &first]))
            .types(own(&["builder"]))
            .issuers(vec![root(&b), root(&a)]),
    ];
    for rule in a_alone {
        assert_eq!(
            under(vec![rule.clone()], 1, &anchors, &a, &by_a),
            Ok(1),
            "{rule}"
        );
    }
    let refused = [
        // Nobody is named for the name.
        vec![about("other:*")],
        vec![about(NAME).devices(own(&[&second]))],
        vec![about(NAME).devices(own(&["device"]))],
        vec![about(NAME).types(own(&["other"]))],
        vec![about(NAME).issuers(vec![root(&b)])],
        // One thing fits, and another does not.
        vec![about(NAME).devices(own(&[&first])).types(own(&["other"]))],
        vec![about(NAME).devices(own(&[&first])).issuers(vec![root(&b)])],
        // Every rule about it counts.
        vec![about(NAME), about(NAME).devices(own(&[&second]))],
        // Two of the devices.
        vec![about(NAME).at_least(2).unwrap()],
    ];
    for rules in refused {
        let rejection = under(rules.clone(), 1, &anchors, &a, &by_a).unwrap_err();
        assert_eq!(rejection.code(), Code::SignerNotNamed, "{rules:?}");
        assert_eq!(rejection.check(), Check::Threshold);
        let said = rejection.to_string();
        assert!(
            said.contains(&first) && said.contains(&root(&a).to_string()),
            "{said}"
        );
    }

    // Two of them, and one of each.
    let each = [&first, &second].map(|device| about(NAME).devices(own(&[device])));
    let two_of = about("test:*")
        .devices(own(&[&first, &second]))
        .at_least(2)
        .unwrap();
    for rules in [vec![two_of], each.to_vec()] {
        assert_eq!(under(rules.clone(), 2, &anchors, &a, &by_both), Ok(2));
        let rejection = under(rules, 1, &anchors, &a, &by_a).unwrap_err();
        assert_eq!(rejection.code(), Code::SignerNotNamed);
    }
    // Who is not named does not count, though its signature is good.
    let rule = about(NAME).devices(own(&[&first]));
    assert_eq!(under(vec![rule.clone()], 1, &anchors, &a, &by_both), Ok(2));
    let rejection = under(vec![rule], 2, &anchors, &a, &by_both).unwrap_err();
    assert_eq!(rejection.code(), Code::SignersTooFew);
    assert!(about(NAME).at_least(0).is_err() && about(NAME).at_least(5).is_err());
}

#[test]
fn tc41_the_operator_widens_no_scope() {
    let pki = TestPki::builder().scope(&["other:*"]).build();
    let signed = pki.sign(EMPTY_COMPONENT, &pki.manifest(NAME));
    let anchors = Anchors::new(vec![pki.anchor_source()]).unwrap();
    let rejection = under(vec![about(NAME)], 1, &anchors, &pki, &signed).unwrap_err();
    assert_eq!(rejection.code(), Code::SignerNotAuthorised);
}
