//! What a root must be before a host trusts it.

use countersign_format::{NamePattern, Scope};
use countersign_testing::{TestPki, TestPkiBuilder};
use countersign_trust_store::{
    AnchorError, AnchorSource, Anchors, Code, Policy, Purpose, Rejection, UnixTime,
    UnverifiedComponent,
};

use crate::harness::{judge, signed};

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
    let leaf = AnchorSource::new(TestPki::new().chain()[0].clone());
    assert!(Anchors::new(vec![leaf]).is_err());
    let intermediate = AnchorSource::new(TestPki::new().chain()[1].clone());
    assert!(Anchors::new(vec![intermediate]).is_err());
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
    // Nor may one key vouch for components and for native code.
    let other = AnchorSource {
        purpose: Purpose::PrecompiledCode,
        ..source.clone()
    };
    let both = Anchors::new(vec![source.clone(), other]);
    assert!(matches!(both, Err(AnchorError::Duplicate { index: 1, .. })));
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
