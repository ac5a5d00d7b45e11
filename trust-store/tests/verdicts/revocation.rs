//! Revocation lists: missing, wrong, old, and what they say.

use countersign_testing::{Role, TestPki};
use countersign_trust_store::{
    AnchorSource, Anchors, Code, CrlNumber, Now, Policy, Rejection, TrustState, UnixTime,
    UnverifiedComponent, VerifiedComponent, oid,
};

use crate::harness::signed;

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
