//! The last value that is allowed, and the first that is not.

use countersign_format::{Algorithm, Audience, NamePattern, Scope, limits, oid};
use countersign_testing::{CertificateParts, Role, TestPki, TestPkiBuilder};
use countersign_trust_store::{
    AnchorError, AnchorSource, Anchors, Certificate, Crl, Fault, MAX_ANCHORS, MAX_CRL_BYTES,
    MAX_DEVELOPMENT_VALIDITY, Policy, PolicyError, Rejection, UnixTime, decode_sources,
    encode_sources,
};
use x509_cert::der::asn1::{BitString, ObjectIdentifier};

/// The root of this PKI with one thing about it changed.
fn root(builder: TestPkiBuilder) -> Result<Anchors, AnchorError> {
    Anchors::new(vec![builder.build().anchor_source()])
}

#[test]
fn tc30_a_certificate_of_the_largest_size_is_read_and_a_larger_one_is_not() {
    let pki = TestPki::builder().algorithm(Algorithm::Ed25519).build();
    let issuer = pki.authority_keys().pop().unwrap();
    let padded = |bytes: usize| {
        let mut parts = CertificateParts::of(&pki.chain()[0]);
        let unknown = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.32473.999");
        parts.push_extension(unknown, false, &vec![0; bytes]);
        parts.sign(&issuer)
    };
    let limit = usize::try_from(limits::MAX_CERTIFICATE_BYTES).unwrap();
    let most = 7_000 + limit - padded(7_000).len();
    assert_eq!(padded(most).len(), limit);
    assert!(Certificate::parse(&padded(most)).is_ok());
    assert_eq!(
        Certificate::parse(&padded(most + 1)).unwrap_err(),
        Fault::TooLarge {
            limit: limits::MAX_CERTIFICATE_BYTES,
            actual: limits::MAX_CERTIFICATE_BYTES + 1
        }
    );
}

#[test]
fn tc24_a_certificate_may_live_for_a_second_but_not_backwards() {
    let pki = TestPki::new();
    let issuer = pki.authority_keys().pop().unwrap();
    let parse = |from: u64, until: u64| {
        let mut parts = CertificateParts::of(&pki.chain()[0]);
        parts.set_validity(UnixTime::from_secs(from), UnixTime::from_secs(until));
        Certificate::parse(&parts.sign(&issuer)).map(drop)
    };
    let now = pki.time().as_secs();
    assert_eq!(parse(now, now), Ok(()));
    assert!(matches!(parse(now, now - 1), Err(Fault::Validity { .. })));
    assert!(matches!(parse(now, now - 100), Err(Fault::Validity { .. })));
}

#[test]
fn tc31_neither_unique_identifier_is_read() {
    let pki = TestPki::new();
    let issuer = pki.authority_keys().pop().unwrap();
    let read = |bend: fn(&mut CertificateParts, BitString)| {
        let mut parts = CertificateParts::of(&pki.chain()[0]);
        bend(&mut parts, BitString::from_bytes(&[1]).unwrap());
        Certificate::parse(&parts.sign(&issuer)).map(drop)
    };
    let refused = Err(Fault::UniqueIdentifier);
    assert_eq!(read(|_, _| ()), Ok(()));
    assert_eq!(read(|parts, id| parts.issuer_unique_id = Some(id)), refused);
    assert_eq!(
        read(|parts, id| parts.subject_unique_id = Some(id)),
        refused
    );
}

#[test]
fn tc30_a_list_larger_than_any_needs_to_be_is_not_read() {
    let reason = |bytes: usize| match Crl::parse(&vec![0; bytes]) {
        Err(Rejection::CrlInvalid { reason, .. }) => reason,
        other => panic!("{other:?}"),
    };
    assert!(reason(MAX_CRL_BYTES).contains("not strict DER"));
    assert!(reason(MAX_CRL_BYTES + 1).contains("larger"));
    assert!(reason(MAX_CRL_BYTES + 2).contains("larger"));
}

#[test]
fn a_root_is_valid_at_its_first_and_last_second() {
    let pki = TestPki::new();
    let anchors = pki.anchors();
    let certificate = Certificate::parse(pki.root()).unwrap();
    let (first, last) = (certificate.not_before(), certificate.not_after());
    assert_eq!(anchors.require_valid_at(first), Ok(()));
    assert_eq!(anchors.require_valid_at(last), Ok(()));
    for outside in [first.as_secs() - 1, last.as_secs() + 1] {
        assert!(matches!(
            anchors.require_valid_at(UnixTime::from_secs(outside)),
            Err(AnchorError::NotValid { .. })
        ));
    }
}

#[test]
fn a_development_root_lives_at_most_31_days() {
    let living = |seconds: i64| {
        let builder = TestPki::builder().development();
        root(builder.valid(Role::Root, 0, seconds)).map(drop)
    };
    let most = i64::try_from(MAX_DEVELOPMENT_VALIDITY.as_secs()).unwrap();
    assert_eq!(living(most), Ok(()));
    assert!(matches!(
        living(most + 1),
        Err(AnchorError::Certificate {
            fault: Fault::Validity { .. },
            ..
        })
    ));
}

#[test]
fn tc39_a_scope_inside_a_root_lies_within_the_one_beside_it() {
    let scope = |pattern: &str| {
        let pattern = NamePattern::parse(pattern).unwrap();
        Scope::new(vec![pattern], Audience::default()).unwrap()
    };
    let inside = scope("test:*").to_der().unwrap();
    let pki = TestPki::builder()
        .with_extension(Role::Root, oid::COMPONENT_SCOPE, false, &inside)
        .build();
    let beside = |pattern: &str| {
        let source = AnchorSource {
            scope: Some(scope(pattern)),
            ..pki.anchor_source()
        };
        Anchors::new(vec![source]).map(drop)
    };
    assert_eq!(beside("test:*"), Ok(()));
    assert!(matches!(
        beside("test:guest"),
        Err(AnchorError::Certificate {
            fault: Fault::ScopeWidened,
            ..
        })
    ));
}

#[test]
fn ta28_a_host_holds_so_many_roots_and_lists_and_no_more() {
    let roots = |count: usize| {
        let sources = vec![AnchorSource::new(vec![1]); count];
        decode_sources(&encode_sources(&sources).unwrap()).map(|sources| sources.len())
    };
    assert_eq!(roots(MAX_ANCHORS), Ok(MAX_ANCHORS));
    for actual in [MAX_ANCHORS + 1, MAX_ANCHORS + 2] {
        assert_eq!(roots(actual), Err(AnchorError::TooMany { actual }));
    }
    let lists = |count: usize| {
        let mut source = AnchorSource::new(vec![1]);
        source.crls = vec![vec![2]; count];
        decode_sources(&encode_sources(&[source]).unwrap()).map(drop)
    };
    assert_eq!(lists(64), Ok(()));
    for count in [65, 66] {
        assert_eq!(
            lists(count),
            Err(AnchorError::Damaged {
                what: "a root's revocation lists"
            })
        );
    }
}

#[test]
fn a_host_demands_at_least_one_signer_and_at_most_as_many_as_a_file_has() {
    let demands = |signers| {
        Policy::default()
            .with_min_signers(signers)
            .map(|policy| policy.min_signers())
    };
    let most = u8::try_from(limits::MAX_SIGNERS).unwrap();
    for signers in 1..=most {
        assert_eq!(demands(signers), Ok(signers));
    }
    for signers in [0, most + 1, most + 2, u8::MAX] {
        assert_eq!(demands(signers), Err(PolicyError), "{signers}");
    }
}
