//! What a root must be before a host trusts it.

use countersign_format::{NamePattern, Scope, oid as ours};
use countersign_testing::{Role, TestPki, TestPkiBuilder};
use countersign_trust_store::{
    AnchorError, AnchorSource, Anchors, Code, Policy, Purpose, Rejection, UnixTime,
    UnverifiedComponent, oid,
};
use x509_cert::ext::pkix::KeyUsages;

use crate::harness::{judge, signed};

fn root_code(builder: TestPkiBuilder) -> Code {
    match Anchors::new(vec![builder.build().anchor_source()]) {
        Err(AnchorError::Certificate { fault, .. }) => fault.code(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn ta28_a_host_without_a_root_refuses_and_says_why() {
    let pki = TestPki::new();
    let component = UnverifiedComponent::parse(signed(&pki)).unwrap();
    let refused = Anchors::none()
        .verify(component, &Policy::default(), &pki.now(), &pki.state())
        .unwrap_err();
    assert_eq!(refused, Rejection::NoRoot);
    assert!(refused.code().next_step().contains("COUNTERSIGN_ROOTS"));
}

#[test]
fn ta28_a_root_that_is_none_is_refused() {
    assert_eq!(
        root_code(TestPki::builder().basic_constraints(Role::Root, false, None)),
        Code::NotACa
    );
    assert_eq!(
        root_code(TestPki::builder().key_usage(Role::Root, KeyUsages::DigitalSignature)),
        Code::KeyUsage
    );
    assert_eq!(
        root_code(TestPki::builder().without_extension(Role::Root, oid::SUBJECT_KEY_IDENTIFIER)),
        Code::CertificateExtension
    );
    assert_eq!(
        root_code(TestPki::builder().with_extension(
            Role::Root,
            oid::NAME_CONSTRAINTS,
            true,
            &[0x30, 0]
        )),
        Code::CertificateExtension
    );
    let leaf = AnchorSource::new(TestPki::new().chain()[0].clone());
    assert!(Anchors::new(vec![leaf]).is_err());
    let intermediate = AnchorSource::new(TestPki::new().chain()[1].clone());
    assert!(Anchors::new(vec![intermediate]).is_err());
}

#[test]
fn ta28_a_root_whose_own_signature_is_bad_is_refused() {
    let mut source = TestPki::new().anchor_source();
    *source.certificate.last_mut().unwrap() ^= 1;
    match Anchors::new(vec![source]) {
        Err(AnchorError::Certificate { fault, .. }) => {
            assert_eq!(fault.code(), Code::SignatureInvalid);
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn tc40_a_development_root_lives_at_most_31_days() {
    let marked = ours::DEVELOPMENT_ROOT;
    let long = TestPki::builder().with_extension(Role::Root, marked, false, &[5, 0]);
    assert_eq!(root_code(long), Code::ValidityPeriod);
    let pki = TestPki::builder().development().build();
    assert!(pki.anchors().iter().all(|anchor| anchor.is_development()));
    let day = 86_400;
    let longer = TestPki::builder()
        .development()
        .valid(Role::Root, -day, 30 * day + 1);
    assert_eq!(root_code(longer), Code::ValidityPeriod);
}

#[test]
fn tc40_nobody_below_the_root_is_marked_for_development() {
    for role in [Role::Leaf, Role::Intermediate] {
        let marked =
            TestPki::builder().with_extension(role, ours::DEVELOPMENT_ROOT, false, &[5, 0]);
        assert_eq!(crate::harness::code(marked), Code::CertificateExtension);
    }
}

#[test]
fn a_root_for_precompiled_code_is_none_for_components() {
    let pki = TestPki::new();
    let source = AnchorSource {
        purpose: Purpose::PrecompiledCode,
        ..pki.anchor_source()
    };
    let anchors = Anchors::new(vec![source]).unwrap();
    assert!(anchors.is_empty());
    let component = UnverifiedComponent::parse(signed(&pki)).unwrap();
    let refused = anchors
        .verify(component, &Policy::default(), &pki.now(), &pki.state())
        .unwrap_err();
    assert_eq!(refused.code(), Code::NoRoot);
}

#[test]
fn the_same_root_twice_and_too_many_roots_are_refused() {
    let source = TestPki::new().anchor_source();
    let twice = Anchors::new(vec![source.clone(), source.clone()]);
    assert!(matches!(
        twice,
        Err(AnchorError::Duplicate { index: 1, .. })
    ));
    let many = Anchors::new(vec![source; 17]);
    assert_eq!(many.unwrap_err(), AnchorError::TooMany { actual: 17 });
}

#[test]
fn td20_two_roots_serve_both_until_one_is_taken_out() {
    let (old, new) = (TestPki::new(), TestPki::new());
    let both = Anchors::new(vec![old.anchor_source(), new.anchor_source()]).unwrap();
    for pki in [&old, &new] {
        let component = UnverifiedComponent::parse(signed(pki)).unwrap();
        both.verify(component, &Policy::default(), &pki.now(), &pki.state())
            .unwrap();
    }
    assert_eq!(
        judge(&new, signed(&old)).unwrap_err().code(),
        Code::UntrustedRoot
    );
}

#[test]
fn a_build_demands_roots_that_are_valid() {
    let pki = TestPki::new();
    let anchors = pki.anchors();
    assert_eq!(anchors.require_valid_at(pki.time()), Ok(()));
    for at in [UnixTime::from_secs(0), UnixTime::NO_EXPIRY] {
        assert!(matches!(
            anchors.require_valid_at(at),
            Err(AnchorError::NotValid { .. })
        ));
    }
}

#[test]
fn tc39_a_scope_beside_the_root_binds_and_suffices() {
    let scope = |pattern: &str| {
        let pattern = NamePattern::parse(pattern).unwrap();
        Some(Scope::new(vec![pattern], countersign_format::Audience::default()).unwrap())
    };
    let verdict = |builder: TestPkiBuilder, pattern: &str| {
        let pki = builder.build();
        let source = AnchorSource {
            scope: scope(pattern),
            ..pki.anchor_source()
        };
        let component = UnverifiedComponent::parse(signed(&pki)).unwrap();
        Anchors::new(vec![source])
            .unwrap()
            .verify(component, &Policy::default(), &pki.now(), &pki.state())
            .map(drop)
            .map_err(|rejection| rejection.code())
    };
    let without = || TestPki::builder().without_scope();
    assert_eq!(verdict(without(), "test:*"), Ok(()));
    assert_eq!(verdict(without(), "test:guest"), Ok(()));
    assert_eq!(verdict(without(), "acme:*"), Err(Code::SignerNotAuthorised));
    // The device's own scope reaches beyond the root's.
    assert_eq!(
        verdict(TestPki::builder(), "test:guest"),
        Err(Code::SignerNotAuthorised)
    );
}
