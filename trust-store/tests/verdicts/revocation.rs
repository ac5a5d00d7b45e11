//! Revocation lists: missing, wrong, old, and what they say.

use countersign_format::Digest;
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
fn td12_td14_what_a_list_revoked_stays_so_when_the_list_is_taken_away() {
    let verdict = |pki: &TestPki, lists: &[Vec<u8>], seen: Option<(Digest, CrlNumber)>| {
        let mut state = TrustState::stateless();
        if let Some((issuer, number)) = seen {
            state.note_crl_number(issuer, number);
        }
        deliver(pki, lists, state, &pki.now()).map(drop)
    };
    // One that says there are no lists for it; its issuer made one all the same.
    for excused in [false, true] {
        let builder = TestPki::builder();
        let pki = if excused {
            builder.no_rev_avail()
        } else {
            builder
        }
        .build();
        let lists = [pki.crls(), &[pki.crl_against_device(9)]].concat();
        let refused = verdict(&pki, &lists, None).expect_err("revoked");
        assert_eq!(refused.code(), Code::Revoked);
        let seen = refused.revoking_list();
        assert!(
            seen.is_some_and(|(_, number)| number.to_string() == "9"),
            "{seen:?}"
        );
        // With the lists as they were, or none of its issuer.
        let code = |lists: &[Vec<u8>]| verdict(&pki, lists, seen).map_err(|refused| refused.code());
        assert_eq!(code(pki.crls()), Err(Code::CrlRollback));
        assert_eq!(code(&pki.crls()[..1]), Err(Code::RevocationUnknown));
        assert_eq!(code(&lists), Err(Code::Revoked));
        // Of which nothing was seen, nothing is demanded of it.
        assert_eq!(verdict(&pki, &pki.crls()[..1], None).is_ok(), excused);
    }
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

#[test]
fn td15_what_was_admitted_is_told_to_be_revoked_by_newer_lists_alone() {
    let pki = TestPki::new();
    let chain = pki
        .anchors()
        .verify_chain(
            pki.chain(),
            &countersign_trust_store::PathProfile::COMPONENTS,
            &pki.now(),
            &pki.state(),
        )
        .expect("a good chain");
    let [leaf, intermediate] = chain.links() else {
        panic!("{chain:?}")
    };
    let parse = |der: &[u8]| countersign_trust_store::Crl::parse(der).expect("a list");
    let lists: Vec<_> = pki.crls().iter().map(|der| parse(der)).collect();
    for link in [leaf, intermediate] {
        assert!(link.status(&lists).is_some_and(|status| !status.revoked));
    }
    assert_eq!(leaf.status(&[]), None);
    assert_eq!(
        leaf.status(&lists[..1]),
        None,
        "the root's says nothing of it"
    );
    // Long out of date, and of the issuer: it revokes all the same.
    let mut revoking = countersign_testing::CrlParts::of(&pki.crls()[1]);
    revoking.set_extension(oid::CRL_NUMBER, false, &[2, 1, 9]);
    revoking.revoked_certificates = Some(vec![x509_serial(&pki.chain()[0])]);
    let genuine = parse(&revoking.sign(&pki.authority_keys()[1]));
    // Another's signature under the same name revokes nothing.
    let forged = parse(&revoking.sign(&pki.authority_keys()[0]));
    let mut all = lists.clone();
    all.push(forged);
    assert!(leaf.status(&all).is_some_and(|status| !status.revoked));
    all.insert(0, genuine.clone());
    let status = leaf.status(&all).expect("lists of its issuer");
    assert!(status.revoked);
    assert_eq!(status.number, genuine.number());
    assert!(
        intermediate
            .status(&all)
            .is_some_and(|status| !status.revoked)
    );
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
fn td13_a_list_of_nothing_is_left_out() {
    let pki = TestPki::new();
    let mut list = countersign_testing::CrlParts::of(&pki.crls()[0]);
    assert!(list.revoked_certificates.is_none());
    let unchanged = list.sign(&pki.authority_keys()[0]);
    TrustState::stateless().add_crl(&unchanged).unwrap();
    list.revoked_certificates = Some(Vec::new());
    let crl = list.sign(&pki.authority_keys()[0]);
    let refused = TrustState::stateless().add_crl(&crl).unwrap_err();
    assert_eq!(refused.code(), Code::CrlInvalid);
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

/// The same list with the other `s` that fits its ECDSA signature, which anybody can compute.
fn with_the_other_s(list: &[u8]) -> Vec<u8> {
    use der::{Any, Decode, Encode, Tag, asn1::Uint};
    const ORDER: [u8; 32] = [
        0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xbc,
        0xe6, 0xfa, 0xad, 0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
    ];
    let mut list = Vec::<Any>::from_der(list).unwrap();
    // The content of a BIT STRING begins with the number of unused bits.
    let numbers = Vec::<Uint>::from_der(&list[2].value()[1..]).unwrap();
    let mut s = [0; 32];
    let old = numbers[1].as_bytes();
    s[32 - old.len()..].copy_from_slice(old);
    let mut borrow = 0;
    for (place, of) in s.iter_mut().zip(ORDER).rev() {
        let difference = i16::from(of) - i16::from(*place) - borrow;
        borrow = i16::from(difference < 0);
        *place = u8::try_from(difference & 0xff).unwrap();
    }
    let signature = vec![numbers[0].clone(), Uint::new(&s).unwrap()];
    let bits = [vec![0], signature.to_der().unwrap()].concat();
    list[2] = Any::new(Tag::BitString, bits).unwrap();
    list.to_der().unwrap()
}

#[test]
fn td13_a_list_under_another_signature_of_its_issuer_is_the_same_list() {
    let pki = TestPki::new();
    let others: Vec<_> = pki.crls().iter().map(|crl| with_the_other_s(crl)).collect();
    assert!(
        others
            .iter()
            .zip(pki.crls())
            .all(|(other, crl)| other != crl)
    );
    deliver(&pki, &others, TrustState::stateless(), &pki.now()).unwrap();
    for both in [
        [pki.crls(), &others].concat(),
        [&others, pki.crls()].concat(),
    ] {
        deliver(&pki, &both, TrustState::stateless(), &pki.now()).unwrap();
    }
}

#[test]
fn td13_a_list_verified_under_one_key_counts_for_no_namesake_of_its_issuer() {
    use countersign_testing::CertificateParts;
    let extension = |certificate: &[u8], id| {
        let extensions = CertificateParts::of(certificate).extensions.unwrap();
        let found = extensions.into_iter().find(|e| e.extn_id == id).unwrap();
        found.extn_value.as_bytes().to_vec()
    };
    let pki = TestPki::new();
    let [leaf, authority] = pki.chain() else {
        panic!("a chain of two");
    };
    // Another authority of the same name and key identifier, under a root of its own, whose list is withheld.
    let namesake = TestPki::builder()
        .with_extension(
            Role::Intermediate,
            oid::SUBJECT_KEY_IDENTIFIER,
            false,
            &extension(authority, oid::SUBJECT_KEY_IDENTIFIER),
        )
        .with_extension(
            Role::Leaf,
            oid::AUTHORITY_KEY_IDENTIFIER,
            false,
            &extension(leaf, oid::AUTHORITY_KEY_IDENTIFIER),
        )
        .without_crl(Role::Intermediate)
        .build();
    let source = |pki: &TestPki| AnchorSource {
        crls: vec![pki.crls()[0].clone()],
        ..AnchorSource::new(pki.root().to_vec())
    };
    let anchors = Anchors::new(vec![source(&pki), source(&namesake)]).unwrap();
    let mut state = TrustState::stateless();
    state.add_crl(&pki.crls()[1]).unwrap();
    let verdict = |of: &TestPki, state: &TrustState| {
        let component = UnverifiedComponent::parse(signed(of)).unwrap();
        anchors
            .verify(component, &Policy::default(), &pki.now(), state)
            .map(drop)
            .map_err(|rejection| rejection.code())
    };
    // Whoever is judged first, and for copies of the state, too.
    for _ in 0..2 {
        assert_eq!(verdict(&namesake, &state), Err(Code::CrlInvalid));
        assert_eq!(verdict(&pki, &state.clone()), Ok(()));
    }
}

#[test]
fn td14_a_revoked_device_stays_revoked_where_another_authority_certifies_its_issuers_key() {
    use countersign_format::{
        Envelope, SignerEntry, SignerId, Statement, signature_section, signer_to_be_signed,
    };
    use countersign_testing::{CertificateParts, EMPTY_COMPONENT};
    // An authority under a root of its own makes a certificate for a key that is not its child's, under the name and
    // the key identifier that the key has elsewhere, and the device's certificate fits below.
    let verdict = |of: &TestPki, with_list: bool| {
        let other = TestPki::builder().extra_intermediates(1).build();
        let known = CertificateParts::of(&of.chain()[1]);
        let mut made = CertificateParts::of(&other.chain()[1]);
        made.subject = known.subject;
        made.subject_public_key_info = known.subject_public_key_info;
        let identifier = known
            .extensions
            .unwrap()
            .into_iter()
            .find(|extension| extension.extn_id == oid::SUBJECT_KEY_IDENTIFIER)
            .unwrap();
        made.set_extension(identifier.extn_id, false, identifier.extn_value.as_bytes());
        let made = made.sign(&other.authority_keys()[1]);
        let chain = vec![of.chain()[0].clone(), made, other.chain()[2].clone()];

        let key = of.device_key();
        let (algorithm, spki) = (key.algorithm(), key.public_key().spki_sha256());
        let mut fields = of.statement(EMPTY_COMPONENT, &of.manifest("test:guest"));
        fields.signers = vec![SignerId::of(algorithm, spki, &chain)];
        let statement = Statement::new(fields).unwrap().encode();
        let signature = key
            .sign(&signer_to_be_signed(&statement, algorithm, &chain))
            .unwrap();
        let entry = SignerEntry::new(algorithm, chain, *signature.as_bytes()).unwrap();
        let envelope = Envelope::new(statement, vec![entry]).unwrap().encode();
        let file = [EMPTY_COMPONENT, &signature_section(&envelope).unwrap()].concat();

        let mut state = TrustState::stateless();
        let lists = [&other.crls()[0], &other.crls()[1], &of.crls()[1]];
        for list in &lists[..if with_list { 3 } else { 2 }] {
            state.add_crl(list).unwrap();
        }
        let anchors = Anchors::new(vec![AnchorSource::new(other.root().to_vec())]).unwrap();
        let component = UnverifiedComponent::parse(file).unwrap();
        anchors
            .verify(component, &Policy::default(), &other.now(), &state)
            .map(drop)
            .map_err(|rejection| rejection.code())
    };
    let revoked = TestPki::builder().revoke(Role::Leaf).build();
    assert_eq!(verdict(&revoked, true), Err(Code::Revoked));
    let sound = TestPki::new();
    assert_eq!(verdict(&sound, true), Ok(()));
    assert_eq!(verdict(&sound, false), Err(Code::RevocationUnknown));
}

#[test]
fn td13_tc37_entries_of_other_kinds() {
    let pki = TestPki::new();
    // The intermediate's list with the leaf on it, its entry with one extension; the critical ones say TRUE.
    let list = |extension: &[u8]| {
        let entry = x509_serial(&pki.chain()[0]);
        let extensions = der::Any::new(der::Tag::Sequence, extension).unwrap();
        let content = [entry.value(), &der::Encode::to_der(&extensions).unwrap()].concat();
        let mut list = countersign_testing::CrlParts::of(&pki.crls()[1]);
        list.revoked_certificates = Some(vec![der::Any::new(der::Tag::Sequence, content).unwrap()]);
        list.sign(&pki.authority_keys()[1])
    };
    let refused = [
        // certificateIssuer: the entry is about another authority's certificate.
        &[0x30, 12, 6, 3, 0x55, 0x1d, 29, 1, 1, 0xff, 4, 2, 0x30, 0][..],
        &[0x30, 9, 6, 3, 0x55, 0x1d, 29, 4, 2, 0x30, 0],
        // Critical, and of no known kind.
        &[0x30, 11, 6, 2, 0x2a, 3, 1, 1, 0xff, 4, 2, 5, 0],
        // A reason that occurs twice, and one that there is not.
        &[
            0x30, 10, 6, 3, 0x55, 0x1d, 21, 4, 3, 10, 1, 1, 0x30, 10, 6, 3, 0x55, 0x1d, 21, 4, 3,
            10, 1, 4,
        ],
        &[0x30, 10, 6, 3, 0x55, 0x1d, 21, 4, 3, 10, 1, 7],
    ];
    for extension in refused {
        let refused = TrustState::stateless()
            .add_crl(&list(extension))
            .unwrap_err();
        assert_eq!(refused.code(), Code::CrlInvalid, "{extension:?}");
    }
    let revoking = [
        // Not critical, and of no known kind.
        &[0x30, 8, 6, 2, 0x2a, 3, 4, 2, 5, 0][..],
        // certificateHold; removeFromCRL, which belongs into delta lists and takes nothing back here.
        &[0x30, 10, 6, 3, 0x55, 0x1d, 21, 4, 3, 10, 1, 6],
        &[0x30, 10, 6, 3, 0x55, 0x1d, 21, 4, 3, 10, 1, 8],
    ];
    for extension in revoking {
        let crls = [pki.crls()[0].clone(), list(extension)];
        assert_eq!(delivered_code(&pki, &crls), Code::Revoked, "{extension:?}");
    }
}

#[test]
fn td14_a_serial_number_is_found_whatever_its_length_and_neighbours() {
    let longest = [&[0][..], &[0xff; 19]].concat();
    let serials = [
        &[1][..],
        &[0x7f],
        &[0, 0x80],
        &[0, 0xff],
        &[1, 0],
        &[1, 0, 0],
        &[0x7f; 20],
        &longest,
    ];
    let integer = |serial: &[u8]| der::Any::new(der::Tag::Integer, serial).unwrap();
    for serial in serials {
        let own = integer(serial);
        let pki = TestPki::builder()
            .bend(Role::Leaf, move |parts| parts.serial_number = own)
            .build();
        let leaf = x509_serial(&pki.chain()[0]);
        let template = countersign_testing::CertificateParts::of(&pki.chain()[0]);
        let mut entries: Vec<_> = serials
            .iter()
            .filter(|other| **other != serial)
            .map(|other| {
                let mut parts = template.clone();
                parts.serial_number = integer(other);
                x509_serial(&parts.sign(&pki.authority_keys()[1]))
            })
            .collect();
        let verdict = |entries: &[der::Any]| {
            let mut list = countersign_testing::CrlParts::of(&pki.crls()[1]);
            list.revoked_certificates = Some(entries.to_vec());
            let crls = [pki.crls()[0].clone(), list.sign(&pki.authority_keys()[1])];
            deliver(&pki, &crls, TrustState::stateless(), &pki.now())
                .map(drop)
                .map_err(|rejection| rejection.code())
        };
        assert_eq!(verdict(&entries), Ok(()), "{serial:?}");
        for place in 0..=entries.len() {
            entries.insert(place, leaf.clone());
            assert_eq!(verdict(&entries), Err(Code::Revoked), "{serial:?} {place}");
            entries.remove(place);
        }
    }
}

#[test]
fn td13_forged_lists_are_named_as_the_fault_however_many_there_are() {
    let other = TestPki::new();
    for extra in 0..=1 {
        let mut spent = false;
        for count in 0..10 {
            let pki = TestPki::builder().extra_intermediates(extra).build();
            let mut crls = pki.crls().to_vec();
            for number in 10..10 + count {
                let mut forged = countersign_testing::CrlParts::of(&pki.crls()[0]);
                forged.set_extension(oid::CRL_NUMBER, false, &[2, 1, number]);
                crls.push(forged.sign(&other.authority_keys()[0]));
            }
            match deliver(&pki, &crls, TrustState::stateless(), &pki.now()) {
                Ok(_) => assert!(!spent, "{extra} {count}"),
                Err(refused) => {
                    assert_eq!(
                        refused.code(),
                        Code::CrlInvalid,
                        "{extra} {count}: {refused}"
                    );
                    spent = true;
                }
            }
        }
        assert!(spent);
    }
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
