//! Revocation lists: missing, wrong, old, and what they say.

use countersign_testing::{Role, TestPki};
use countersign_trust_store::{
    AnchorSource, Anchors, Code, CrlNumber, Now, Policy, Rejection, TrustState, UnixTime,
    UnverifiedComponent, VerifiedComponent, oid,
};
use x509_cert::ext::pkix::KeyUsages;

use crate::harness::{accepted, code, signed};

/// The verdict when the lists are delivered instead of compiled in: these ones, into this state.
fn deliver(
    pki: &TestPki,
    crls: &[Vec<u8>],
    mut state: TrustState,
    now: &Now,
) -> Result<VerifiedComponent, Rejection> {
    for crl in crls {
        state.add_crl(crl)?;
    }
    let anchors = Anchors::new(vec![AnchorSource::new(pki.root().to_vec())]).unwrap();
    let component = UnverifiedComponent::parse(signed(pki)).unwrap();
    anchors.verify(component, &Policy::default(), now, &state)
}

fn delivered_code(pki: &TestPki, crls: &[Vec<u8>]) -> Code {
    deliver(pki, crls, TrustState::stateless(), &pki.now())
        .unwrap_err()
        .code()
}

#[test]
fn td11_every_certificate_needs_a_list_of_its_issuer() {
    for issuer in [Role::Root, Role::Intermediate] {
        assert_eq!(
            code(TestPki::builder().without_crl(issuer)),
            Code::RevocationUnknown
        );
    }
    let pki = TestPki::new();
    assert_eq!(delivered_code(&pki, &[]), Code::RevocationUnknown);
    deliver(&pki, pki.crls(), TrustState::stateless(), &pki.now()).unwrap();
}

#[test]
fn td11_an_end_entity_may_say_that_there_is_no_list_a_ca_may_not() {
    accepted(
        TestPki::builder()
            .no_rev_avail()
            .without_crl(Role::Intermediate),
    );
    let ca =
        TestPki::builder().with_extension(Role::Intermediate, oid::NO_REV_AVAIL, false, &[5, 0]);
    assert_eq!(code(ca), Code::CertificateExtension);
}

#[test]
fn td11_stale_lists_and_lists_from_the_future() {
    for issuer in [Role::Root, Role::Intermediate] {
        let stale = TestPki::builder().crl_valid(issuer, -100, -1);
        assert_eq!(code(stale), Code::CrlStale);
        let future = TestPki::builder().crl_valid(issuer, 1, 100);
        assert_eq!(code(future), Code::CrlStale);
        accepted(TestPki::builder().crl_valid(issuer, -100, 0));
        accepted(TestPki::builder().crl_valid(issuer, 0, 100));
    }
}

#[test]
fn td11_grace_is_counted_from_next_update() {
    let pki = TestPki::builder().crl_valid(Role::Root, -100, -10).build();
    let verdict = |grace| {
        let source = AnchorSource {
            crl_grace: std::time::Duration::from_secs(grace),
            ..pki.anchor_source()
        };
        let component = UnverifiedComponent::parse(signed(&pki)).unwrap();
        Anchors::new(vec![source])
            .unwrap()
            .verify(component, &Policy::default(), &pki.now(), &pki.state())
            .map(drop)
            .map_err(|rejection| rejection.code())
    };
    assert_eq!(verdict(10), Ok(()));
    assert_eq!(verdict(9), Err(Code::CrlStale));
}

#[test]
fn td12_a_list_older_than_one_seen() {
    let pki = TestPki::builder().crl_number(5).build();
    let root_key = pki.anchors().iter().next().unwrap().spki_sha256();
    let number = |n: u8| {
        let mut bytes = [0; 20];
        bytes[19] = n;
        CrlNumber::from_be_bytes(bytes)
    };
    let verdict = |seen| {
        let mut state = TrustState::stateless();
        state.note_crl_number(root_key, number(seen));
        deliver(&pki, pki.crls(), state, &pki.now())
            .map(drop)
            .map_err(|rejection| rejection.code())
    };
    assert_eq!(verdict(6), Err(Code::CrlRollback));
    assert_eq!(verdict(5), Ok(()));
    assert_eq!(verdict(4), Ok(()));
}

#[test]
fn td12_of_two_lists_the_one_with_the_higher_number_counts() {
    let pki = TestPki::new();
    // The same authorities cannot be built twice, so a second list is made from the first.
    let keys = pki.authority_keys();
    let crl = countersign_testing::CrlParts::of(&pki.crls()[1]);
    let mut revoking = crl.clone();
    revoking.set_extension(oid::CRL_NUMBER, false, &[2, 1, 9]);
    let leaf = x509_serial(&pki.chain()[0]);
    revoking.revoked_certificates = Some(vec![leaf]);
    let second = revoking.sign(&keys[1]);
    for order in [[1, 2], [2, 1]] {
        let mut crls = vec![pki.crls()[0].clone()];
        for index in order {
            crls.push(if index == 1 {
                pki.crls()[1].clone()
            } else {
                second.clone()
            });
        }
        assert_eq!(delivered_code(&pki, &crls), Code::Revoked);
    }
}

/// A revocation entry for this certificate.
fn x509_serial(certificate: &[u8]) -> der::Any {
    use der::{Decode, Encode};
    let parts = countersign_testing::CertificateParts::of(certificate);
    let date = der::Any::new(der::Tag::UtcTime, b"200101000000Z".to_vec()).unwrap();
    let content = [
        parts.serial_number.to_der().unwrap(),
        date.to_der().unwrap(),
    ]
    .concat();
    der::Any::from_der(
        &der::Any::new(der::Tag::Sequence, content)
            .unwrap()
            .to_der()
            .unwrap(),
    )
    .unwrap()
}

#[test]
fn td13_lists_that_are_not_this_issuers() {
    let (pki, other) = (TestPki::new(), TestPki::new());
    // Equal names, other keys: the key identifiers tell them apart.
    assert_eq!(delivered_code(&pki, other.crls()), Code::RevocationUnknown);
    // Names and key identifier of the right issuer, signed by another.
    let forged = countersign_testing::CrlParts::of(&pki.crls()[0]).sign(&other.authority_keys()[0]);
    let crls = [forged.clone(), pki.crls()[1].clone()];
    assert_eq!(delivered_code(&pki, &crls), Code::CrlInvalid);
    // Beside the genuine list a forged one does no harm, whatever number it claims.
    let all = [forged, pki.crls()[0].clone(), pki.crls()[1].clone()];
    deliver(&pki, &all, TrustState::stateless(), &pki.now()).unwrap();
}

#[test]
fn td13_an_issuer_without_crl_sign() {
    let without = TestPki::builder().key_usage(Role::Intermediate, KeyUsages::KeyCertSign);
    assert_eq!(code(without), Code::CrlInvalid);
}

#[test]
fn td13_tc37_lists_of_other_kinds() {
    let reasons_empty = [0x30, 3, 0x83, 1, 0];
    for (id, critical, value) in [
        (oid::ISSUING_DISTRIBUTION_POINT, true, &[0x30, 0][..]),
        (oid::ISSUING_DISTRIBUTION_POINT, false, &[0x30, 0]),
        (oid::ISSUING_DISTRIBUTION_POINT, true, &reasons_empty),
        (oid::DELTA_CRL_INDICATOR, true, &[2, 1, 1]),
        (oid::CRL_NUMBER, false, &[2, 1, 0x80]),
        (oid::CRL_NUMBER, false, &[5, 0]),
        (oid::NO_REV_AVAIL, true, &[5, 0]),
    ] {
        let pki = TestPki::new();
        let mut list = countersign_testing::CrlParts::of(&pki.crls()[0]);
        list.set_extension(id, critical, value);
        let crl = list.sign(&pki.authority_keys()[0]);
        assert_eq!(
            TrustState::stateless().add_crl(&crl).unwrap_err().code(),
            Code::CrlInvalid,
            "{id} {value:?}"
        );
    }
    for id in [oid::CRL_NUMBER, oid::AUTHORITY_KEY_IDENTIFIER] {
        let pki = TestPki::new();
        let mut list = countersign_testing::CrlParts::of(&pki.crls()[0]);
        list.remove_extension(id);
        let crl = list.sign(&pki.authority_keys()[0]);
        assert!(TrustState::stateless().add_crl(&crl).is_err(), "{id}");
    }
    let pki = TestPki::new();
    let mut list = countersign_testing::CrlParts::of(&pki.crls()[0]);
    list.next_update = None;
    assert!(
        TrustState::stateless()
            .add_crl(&list.sign(&pki.authority_keys()[0]))
            .is_err()
    );
}

#[test]
fn td14_revoked_certificates() {
    assert_eq!(code(TestPki::builder().revoke(Role::Leaf)), Code::Revoked);
    assert_eq!(
        code(TestPki::builder().revoke(Role::Intermediate)),
        Code::Revoked
    );
}

#[test]
fn td14_a_revoked_certificate_is_refused_whatever_the_clock_says() {
    let pki = TestPki::builder().revoke(Role::Leaf).build();
    let no_clock = Now::new(UnixTime::from_secs(1), None);
    let refused = deliver(&pki, pki.crls(), TrustState::stateless(), &no_clock).unwrap_err();
    assert_eq!(refused.code(), Code::Revoked);
}

#[test]
fn every_truncation_of_a_list_is_refused() {
    let pki = TestPki::new();
    let crl = &pki.crls()[0];
    for length in 0..crl.len() {
        assert!(TrustState::stateless().add_crl(&crl[..length]).is_err());
    }
    let trailing = [crl.as_slice(), &[0]].concat();
    assert!(TrustState::stateless().add_crl(&trailing).is_err());
}

#[test]
fn td13_an_entry_in_another_encoding_than_its_serial_number() {
    // Padded, and with its sign octet left out: neither would ever be found.
    for serial in [
        &[0x02, 0x03, 0x00, 0x12, 0x34][..],
        &[0x02, 0x02, 0x92, 0x34],
    ] {
        let pki = TestPki::new();
        let mut list = countersign_testing::CrlParts::of(&pki.crls()[1]);
        let entry = [serial, b"\x17\x0d200101000000Z"].concat();
        list.revoked_certificates = Some(vec![der::Any::new(der::Tag::Sequence, entry).unwrap()]);
        let crl = list.sign(&pki.authority_keys()[1]);
        let refused = TrustState::stateless().add_crl(&crl).unwrap_err();
        assert_eq!(refused.code(), Code::CrlInvalid);
    }
}

#[test]
fn td13_two_lists_of_one_number() {
    let pki = TestPki::new();
    let mut other = countersign_testing::CrlParts::of(&pki.crls()[1]);
    other.revoked_certificates = Some(vec![x509_serial(&pki.chain()[0])]);
    let other = other.sign(&pki.authority_keys()[1]);
    let mut crls = pki.crls().to_vec();
    crls.push(other);
    assert_eq!(delivered_code(&pki, &crls), Code::CrlInvalid);
    crls.reverse();
    assert_eq!(delivered_code(&pki, &crls), Code::CrlInvalid);
    // The same list twice is one list.
    let twice = [pki.crls(), pki.crls()].concat();
    deliver(&pki, &twice, TrustState::stateless(), &pki.now()).unwrap();
}

#[test]
fn td13_many_forged_lists_are_named_as_the_fault() {
    let (pki, other) = (TestPki::new(), TestPki::new());
    let mut crls = pki.crls().to_vec();
    for number in 10..20 {
        let mut forged = countersign_testing::CrlParts::of(&pki.crls()[0]);
        forged.set_extension(oid::CRL_NUMBER, false, &[2, 1, number]);
        crls.push(forged.sign(&other.authority_keys()[0]));
    }
    assert_eq!(delivered_code(&pki, &crls), Code::CrlInvalid);
}

#[test]
fn td13_a_list_with_an_endless_name_or_endless_extensions() {
    let pki = TestPki::new();
    let list = || countersign_testing::CrlParts::of(&pki.crls()[0]);
    let mut named = list();
    named.issuer = der::Any::new(der::Tag::Sequence, vec![0x30; 3_000]).unwrap();
    let mut extended = list();
    let wide = vec![0; 5_000];
    extended.set_extension(
        der::asn1::ObjectIdentifier::new_unwrap("1.2.3.4"),
        false,
        &wide,
    );
    for mut list in [named, extended] {
        list.revoked_certificates = None;
        let crl = list.sign(&pki.authority_keys()[0]);
        assert!(TrustState::stateless().add_crl(&crl).is_err());
    }
}

#[test]
fn td11_no_rev_avail_stands_alone_and_excuses_no_revocation() {
    use countersign_testing::TestPkiBuilder;
    let says = || TestPki::builder().no_rev_avail();
    let beside = |id, value: &[u8]| says().with_extension(Role::Leaf, id, false, value);
    for builder in [
        beside(oid::CRL_DISTRIBUTION_POINTS, &[0x30, 0]),
        beside(oid::AUTHORITY_INFO_ACCESS, &[0x30, 0]),
        beside(oid::FRESHEST_CRL, &[0x30, 0]),
        beside(oid::NO_REV_AVAIL, &[0xff, 0xff]),
        beside(oid::NO_REV_AVAIL, &[]),
    ] {
        assert_eq!(code(builder), Code::CertificateExtension);
    }
    let stale = |builder: TestPkiBuilder| builder.crl_valid(Role::Intermediate, -100, -1);
    accepted(stale(says()));
    assert_eq!(code(says().revoke(Role::Leaf)), Code::Revoked);
    assert_eq!(code(stale(says().revoke(Role::Leaf))), Code::Revoked);
}

#[test]
fn a_host_with_state_is_told_which_lists_were_consulted() {
    let pki = TestPki::builder().crl_number(7).build();
    let verified = deliver(&pki, pki.crls(), TrustState::stateless(), &pki.now()).unwrap();
    let consulted = verified.signers()[0].chain().revocation();
    assert_eq!(consulted.len(), 2);
    assert!(
        consulted
            .iter()
            .all(|(_, number)| number.to_string() == "7")
    );
    let root = pki.anchors().iter().next().unwrap().spki_sha256();
    assert!(consulted.iter().any(|(issuer, _)| *issuer == root));
}
