//! Bundles: who may sign what of them, for whom, until when and after which other.

use countersign_format::{
    Audience, BundleEnvelope, BundleFields, BundleIndex, BundlePart, ComponentName, DeviceIdentity,
    Digest, Envelope, Minimum, PartKind, SignerEntry, bundle_preamble, bundle_to_be_signed,
    signer_to_be_signed,
};
use countersign_testing::{Profile, Role, TestPki, TestPkiBuilder};
use countersign_trust_store::{
    BundleAnchors, BundleReadError, BundleReader, Code, Expectation, Now, PartCheck, Policy,
    Rejection, TrustState, UnverifiedBundle, UnverifiedComponent, VerifiedBundle, oid,
};

/// A PKI whose device signs bundles.
fn signers() -> TestPkiBuilder {
    TestPki::builder().profile(Profile::Bundle)
}

fn part(kind: PartKind, name: &str, bytes: &[u8]) -> BundlePart {
    BundlePart {
        kind,
        name: name.to_owned(),
        size: u64::try_from(bytes.len()).unwrap(),
        digest: Digest::of(bytes),
    }
}

/// A bundle of a component, number 5, that ends an hour after the present.
fn fields(pkis: &[&TestPki]) -> BundleFields {
    BundleFields {
        line: "plant".to_owned(),
        number: 5,
        not_after: pkis[0].time().as_secs() + 3600,
        signers: pkis.iter().map(|pki| pki.signer_id()).collect(),
        audience: Audience::default(),
        parts: vec![part(PartKind::Component, "pump.wasm", b"pump")],
        minimums: Vec::new(),
    }
}

fn signed(pkis: &[&TestPki], fields: BundleFields) -> Vec<u8> {
    let index = BundleIndex::new(fields).unwrap();
    let bytes = index.encode();
    let entry = |pki: &TestPki| {
        let key = pki.device_key();
        let message = bundle_to_be_signed(&bytes, key.algorithm(), pki.chain());
        let signature = *key.sign(&message).unwrap().as_bytes();
        SignerEntry::new(key.algorithm(), pki.chain().to_vec(), signature).unwrap()
    };
    let order = index.fields().signers.iter().map(|signer| {
        pkis.iter()
            .find(|pki| pki.signer_id() == *signer)
            .expect("one of them")
    });
    let entries = order.map(|pki| entry(pki)).collect();
    BundleEnvelope::new(bytes, entries).unwrap().encode()
}

/// A judge who trusts these PKIs, and knows their lists.
struct Judge<'a> {
    anchors: BundleAnchors,
    expected: Expectation<'a>,
    policy: Policy,
    now: Now,
    state: TrustState,
}

impl<'a> Judge<'a> {
    fn of(pkis: &[&TestPki]) -> Self {
        let roots = pkis.iter().map(|pki| pki.root().to_vec()).collect();
        let mut state = TrustState::remembering();
        for list in pkis.iter().flat_map(|pki| pki.crls()) {
            state.add_crl(list).unwrap();
        }
        Self {
            anchors: BundleAnchors::new(roots).unwrap(),
            expected: Expectation {
                line: Some("plant"),
                last: Some((4, Digest::of(b"before"))),
                remembers: true,
            },
            policy: Policy::default(),
            now: pkis[0].now(),
            state,
        }
    }

    fn verify(&self, envelope: &[u8]) -> Result<VerifiedBundle, Rejection> {
        let bundle = UnverifiedBundle::parse(envelope)?;
        self.anchors
            .verify(bundle, &self.expected, &self.policy, &self.now, &self.state)
    }

    fn code(&self, envelope: &[u8]) -> Code {
        self.verify(envelope)
            .expect_err("something is wrong")
            .code()
    }
}

#[test]
fn a_bundle_of_the_operators_signer_is_accepted() {
    let pki = signers().build();
    let bundle = Judge::of(&[&pki])
        .verify(&signed(&[&pki], fields(&[&pki])))
        .unwrap();
    assert_eq!(bundle.index().fields().number, 5);
    assert_eq!(bundle.digest(), Digest::of(&bundle.index().encode()));
}

#[test]
fn te21_ta22_component_signers_and_others_sign_no_bundle_and_a_bundles_signer_no_component() {
    for profile in [
        Profile::ComponentSigner,
        Profile::Tls,
        Profile::GuestData,
        Profile::Attestation,
    ] {
        let builder = TestPki::builder().profile(profile);
        let builder = match profile {
            Profile::ComponentSigner => builder.without_scope(),
            _ => builder,
        };
        let pki = builder.build();
        let code = Judge::of(&[&pki]).code(&signed(&[&pki], fields(&[&pki])));
        assert_eq!(code, Code::ExtendedKeyUsage, "{profile}");
    }
    let pki = signers().build();
    let component = pki.sign(
        countersign_testing::EMPTY_COMPONENT,
        &pki.manifest("test:guest"),
    );
    let verdict = UnverifiedComponent::parse(component).and_then(|component| {
        pki.anchors()
            .verify(component, &Policy::default(), &pki.now(), &pki.state())
    });
    assert_eq!(
        verdict.expect_err("another purpose").code(),
        Code::ExtendedKeyUsage
    );
    // A component's signature over the index, and the index's envelope as a component's.
    let index = BundleIndex::new(fields(&[&pki])).unwrap().encode();
    let key = pki.device_key();
    let message = signer_to_be_signed(&index, key.algorithm(), pki.chain());
    let signature = *key.sign(&message).unwrap().as_bytes();
    let entry = SignerEntry::new(key.algorithm(), pki.chain().to_vec(), signature).unwrap();
    let envelope = BundleEnvelope::new(index, vec![entry]).unwrap().encode();
    assert_eq!(Judge::of(&[&pki]).code(&envelope), Code::SignatureInvalid);
    assert!(Envelope::decode(&envelope).is_err());
}

#[test]
fn a_configuration_needs_another_purpose_than_the_rest() {
    let package = signers()
        .extended_key_usage(Role::Leaf, &[oid::UPDATE_PACKAGE_SIGNING])
        .seed(1)
        .build();
    let configuration = signers()
        .extended_key_usage(Role::Leaf, &[oid::CONFIG_SIGNING])
        .seed(2)
        .build();
    let both = [&package, &configuration];
    let judge = Judge::of(&both);
    let with = |pkis: &[&TestPki], kinds: &[PartKind]| {
        let parts = kinds
            .iter()
            .map(|kind| part(*kind, kind.as_str(), b"bytes"))
            .collect();
        signed(
            pkis,
            BundleFields {
                parts,
                ..fields(pkis)
            },
        )
    };
    use PartKind::{Component, Configuration};
    judge.verify(&with(&[&package], &[Component])).unwrap();
    judge
        .verify(&with(&[&configuration], &[Configuration]))
        .unwrap();
    judge
        .verify(&with(&both, &[Configuration, Component]))
        .unwrap();
    for (one, kinds) in [
        (&package, &[Configuration][..]),
        (&package, &[Configuration, Component]),
        (&configuration, &[Component]),
        (&configuration, &[Configuration, Component]),
    ] {
        assert_eq!(judge.code(&with(&[one], kinds)), Code::BundleSigner);
    }
    // What must not run any more is the packages' matter.
    let withdrawing = BundleFields {
        parts: Vec::new(),
        minimums: vec![minimum(1)],
        ..fields(&[&configuration])
    };
    assert_eq!(
        judge.code(&signed(&[&configuration], withdrawing)),
        Code::BundleSigner
    );
}

fn minimum(security_version: u64) -> Minimum {
    Minimum {
        name: ComponentName::parse("acme:pump").unwrap(),
        security_version,
    }
}

#[test]
fn a_signer_that_leads_nowhere_does_not_count_and_a_revoked_one_refuses_all() {
    let pki = signers().seed(1).build();
    let stranger = signers().seed(2).build();
    let both = [&pki, &stranger];
    let together = signed(&both, fields(&both));
    Judge::of(&[&pki]).verify(&together).unwrap();
    assert_eq!(
        Judge::of(&[&pki]).code(&signed(&[&stranger], fields(&[&stranger]))),
        Code::UntrustedRoot
    );
    let mut judge = Judge::of(&[&pki]);
    judge.policy = Policy::default().with_min_signers(2).unwrap();
    assert_eq!(judge.code(&together), Code::BundleSigner);
    let revoked = signers().seed(2).revoke(Role::Leaf).build();
    let both = [&pki, &revoked];
    assert_eq!(
        Judge::of(&both).code(&signed(&both, fields(&both))),
        Code::Revoked
    );
    let unknown = signers().seed(3).without_crl(Role::Intermediate).build();
    assert_eq!(
        Judge::of(&[&unknown]).code(&signed(&[&unknown], fields(&[&unknown]))),
        Code::RevocationUnknown
    );
    let mut judge = Judge::of(&[&pki]);
    judge.anchors = BundleAnchors::new(Vec::new()).unwrap();
    assert_eq!(judge.code(&signed(&[&pki], fields(&[&pki]))), Code::NoRoot);
}

#[test]
fn th12_no_bit_of_an_envelope_can_be_changed_and_no_signer_removed() {
    let pki = signers().seed(1).build();
    let other = signers().seed(2).build();
    let judge = Judge::of(&[&pki, &other]);
    let good = signed(&[&pki], fields(&[&pki]));
    judge.verify(&good).unwrap();
    // Every byte before the certificates and after them, and some of those.
    for at in (0..good.len()).filter(|at| *at < 300 || *at > good.len() - 80 || at % 29 == 0) {
        let mut bad = good.clone();
        bad[at] ^= 1;
        assert!(judge.verify(&bad).is_err(), "byte {at}");
    }
    let both = [&pki, &other];
    let index = BundleIndex::new(fields(&both)).unwrap().encode();
    let decoded = BundleEnvelope::decode(&signed(&both, fields(&both))).unwrap();
    let less = BundleEnvelope::new(index, decoded.signers()[..1].to_vec()).unwrap();
    assert_eq!(judge.code(&less.encode()), Code::SignersMismatch);
}

#[test]
fn td17_td09_line_end_and_number_are_held_against_what_is_known() {
    let pki = signers().build();
    let judge = Judge::of(&[&pki]);
    let bundle = |change: fn(&mut BundleFields)| {
        let mut fields = fields(&[&pki]);
        change(&mut fields);
        signed(&[&pki], fields)
    };
    let same = |_: &mut BundleFields| {};
    judge.verify(&bundle(same)).unwrap();
    assert_eq!(
        judge.code(&bundle(|fields| fields.line = "other".to_owned())),
        Code::BundleLine
    );
    assert_eq!(
        judge.code(&bundle(|fields| fields.not_after -= 3601)),
        Code::BundleEnded
    );
    judge
        .verify(&bundle(|fields| fields.not_after -= 3600))
        .unwrap();
    // A machine without a clock, for which more time than that has certainly passed.
    let mut late = Judge::of(&[&pki]);
    late.now = Now::new(
        pki.time()
            .saturating_add(std::time::Duration::from_secs(3601)),
        None,
    );
    assert_eq!(late.code(&bundle(same)), Code::BundleEnded);
    for change in [
        (|fields| fields.number = 3) as fn(&mut BundleFields),
        // The number of the last, and another bundle.
        |fields| fields.number = 4,
        |fields| fields.number = 4 + 1025,
        |fields| fields.number = u64::MAX,
    ] {
        assert_eq!(judge.code(&bundle(change)), Code::BundleRollback);
    }
    judge
        .verify(&bundle(|fields| fields.number = 4 + 1024))
        .unwrap();
    // The last once more is no step back.
    let mut again = Judge::of(&[&pki]);
    let index = BundleIndex::new(fields(&[&pki])).unwrap().encode();
    again.expected.last = Some((5, Digest::of(&index)));
    again.verify(&bundle(same)).unwrap();
    // The first is counted from 0.
    again.expected.last = None;
    again.verify(&bundle(same)).unwrap();
    assert_eq!(
        again.code(&bundle(|fields| fields.number = 1025)),
        Code::BundleRollback
    );
}

#[test]
fn td18_td09_a_minimum_does_not_leap() {
    let pki = signers().build();
    let judge = Judge::of(&[&pki]);
    let withdrawing = |version| {
        signed(
            &[&pki],
            BundleFields {
                minimums: vec![minimum(version)],
                ..fields(&[&pki])
            },
        )
    };
    judge.verify(&withdrawing(1024)).unwrap();
    assert_eq!(judge.code(&withdrawing(1025)), Code::Rollback);
    assert_eq!(judge.code(&withdrawing(u64::MAX)), Code::Rollback);
}

#[test]
fn a_bundle_for_others_is_refused() {
    let pki = signers().build();
    let mut judge = Judge::of(&[&pki]);
    let envelope = signed(
        &[&pki],
        BundleFields {
            audience: Audience {
                devices: vec!["gw-7".to_owned()],
                types: Vec::new(),
            },
            ..fields(&[&pki])
        },
    );
    assert_eq!(judge.code(&envelope), Code::Audience);
    let device = |id| Policy::default().with_device(DeviceIdentity::parse(id).unwrap(), None);
    judge.policy = device("gw-8");
    assert_eq!(judge.code(&envelope), Code::Audience);
    judge.policy = device("gw-7");
    judge.verify(&envelope).unwrap();
}

#[test]
fn th12_a_part_is_its_size_and_digest() {
    let part = part(PartKind::Component, "pump.wasm", b"pump");
    let judged = |pieces: &[&[u8]]| {
        let mut check = PartCheck::new(&part);
        pieces.iter().for_each(|piece| check.update(piece));
        check.finish().map_err(|rejection| rejection.code())
    };
    assert_eq!(judged(&[b"pu", b"", b"mp"]), Ok(()));
    for bad in [&b"pum"[..], b"pumpe", b"door", b""] {
        assert_eq!(judged(&[bad]), Err(Code::PartMismatch));
    }
    let mut check = PartCheck::new(&part);
    check.update(b"pum");
    assert_eq!(check.left(), 1);
}

fn read(file: &[u8]) -> Result<Vec<(String, Vec<u8>)>, Code> {
    let code = |error| match error {
        BundleReadError::Refused(rejection) => rejection.code(),
        BundleReadError::Io(error) => panic!("{error}"),
    };
    let mut reader = BundleReader::open(file).map_err(code)?;
    let mut parts = Vec::new();
    loop {
        let mut bytes = Vec::new();
        let part = reader.next_part(&mut |piece| {
            bytes.extend_from_slice(piece);
            Ok(())
        });
        match part.map_err(code)? {
            Some(part) => parts.push((part.name, bytes)),
            None => return Ok(parts),
        }
    }
}

#[test]
fn th12_th11_a_bundle_that_is_cut_longer_or_mixed_is_refused() {
    let pki = signers().build();
    let (one, two) = (vec![1; 200_000], b"door".to_vec());
    let of = |parts: &[(&str, &[u8])]| {
        let parts = parts
            .iter()
            .map(|(name, bytes)| part(PartKind::Component, name, bytes))
            .collect();
        let envelope = signed(
            &[&pki],
            BundleFields {
                parts,
                ..fields(&[&pki])
            },
        );
        [&bundle_preamble(&envelope).unwrap()[..], &envelope].concat()
    };
    let head = of(&[("a", &one), ("b", &two)]);
    let good = [&head[..], &one, &two].concat();
    assert_eq!(
        read(&good),
        Ok(vec![
            ("a".to_owned(), one.clone()),
            ("b".to_owned(), two.clone())
        ])
    );
    let cases: [(&[u8], Code); 8] = [
        (b"", Code::NotABundle),
        (b"\0asm\x0d\0\x01\0 and more", Code::NotABundle),
        (&good[..head.len() - 1], Code::Malformed),
        (&good[..head.len()], Code::PartMismatch),
        (&good[..good.len() - 1], Code::PartMismatch),
        (&[&good[..], b"x"].concat(), Code::TrailingBytes),
        (&[&head[..], &two, &one].concat(), Code::PartMismatch),
        // The index of another bundle before these parts.
        (
            &[&of(&[("a", &one), ("b", b"gate")])[..], &one, &two].concat(),
            Code::PartMismatch,
        ),
    ];
    for (number, (bytes, code)) in cases.into_iter().enumerate() {
        assert_eq!(read(bytes), Err(code), "case {number}");
    }
}
