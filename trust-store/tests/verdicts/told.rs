//! What people are told: whose certificate it is, and what was asked for.

use countersign_format::{Audience, DeviceIdentity, NamePattern, Scope, oid};
use countersign_testing::{CertificateParts, EMPTY_COMPONENT, Role, TestPki};
use countersign_trust_store::{Certificate, Crl, Fault, PathProfile, Policy, Rejection};
use x509_cert::der::{Decode, Encode, asn1::Any};
use x509_cert::ext::pkix::KeyUsages;
use x509_cert::name::RdnSequence;

use crate::harness::{NAME, judge, judge_with, signed};

fn audience(devices: &[&str], types: &[&str]) -> Audience {
    let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
    Audience {
        devices: texts(devices),
        types: texts(types),
    }
}

#[test]
fn certificates_roots_and_lists_say_whose_they_are() {
    let pki = TestPki::new();
    let root = Certificate::parse(pki.root()).unwrap();
    assert!(
        root.subject().contains("CN=Test root"),
        "{}",
        root.subject()
    );
    assert_eq!(root.issuer(), root.subject());
    let anchors = pki.anchors();
    assert_eq!(anchors.iter().next().unwrap().subject(), root.subject());
    let list = Crl::parse(&pki.crls()[0]).unwrap();
    assert_eq!(list.issuer(), root.subject());
    assert_eq!(list.der(), pki.crls()[0]);
    let intermediate = Certificate::parse(&pki.chain()[1]).unwrap();
    assert_eq!(intermediate.issuer(), root.subject());
    assert_ne!(intermediate.subject(), root.subject());

    let octets = CertificateParts::of(pki.root()).serial_number;
    let octets: Vec<String> = octets
        .value()
        .iter()
        .map(|octet| format!("{octet:02X}"))
        .collect();
    assert_eq!(root.serial(), octets.join(":"));
}

#[test]
fn whoever_has_to_ask_for_another_certificate_is_told_of_each_check_that_failed() {
    let faults = |pki: &TestPki| {
        let leaf = Certificate::parse(&pki.chain()[0]).unwrap();
        let profile = PathProfile::COMPONENTS;
        let purpose = Some(*profile.purpose);
        let faults = profile.end_entity.faults(&leaf, purpose);
        let first = profile.end_entity.inspect(&leaf, purpose);
        assert_eq!(first.err(), faults.first().cloned());
        faults
    };
    assert_eq!(faults(&TestPki::new()), []);
    let bent = TestPki::builder()
        .key_usage(Role::Leaf, KeyUsages::KeyAgreement)
        .extended_key_usage(Role::Leaf, &[countersign_trust_store::oid::CLIENT_AUTH])
        .build();
    let [usage, purpose] = &faults(&bent)[..] else {
        panic!("{:?}", faults(&bent))
    };
    assert!(matches!(usage, Fault::KeyUsage { .. }), "{usage}");
    assert!(
        matches!(purpose, Fault::ExtendedKeyUsage { .. }),
        "{purpose}"
    );
}

#[test]
fn tc20_the_serial_number_of_a_subject_is_that_of_its_device() {
    let device = |subject: &str| {
        let name: RdnSequence = subject.parse().unwrap();
        let name = Any::from_der(&name.to_der().unwrap()).unwrap();
        let pki = TestPki::builder()
            .bend(Role::Leaf, move |parts| parts.subject = name)
            .build();
        Certificate::parse(&pki.chain()[0]).unwrap().device()
    };
    let named = device("CN=pump,serialNumber=test-device").unwrap().unwrap();
    assert_eq!(named.identity().as_str(), "test-device");
    assert_eq!(named.module_type(), oid::HARDWARE_TYPE.to_string());
    assert!(matches!(
        device("CN=test-device,serialNumber=other-device"),
        Err(Fault::Identity { .. })
    ));
}

#[test]
fn tc39_what_a_signer_may_sign_and_what_it_signed() {
    let refused = |scope: Audience, wanted: Audience| {
        let pki = TestPki::builder()
            .scope(&["acme:*", "acme:pump"])
            .scope_audience(scope)
            .build();
        let mut fields = pki.statement(EMPTY_COMPONENT, &pki.manifest(NAME));
        fields.audience = wanted;
        match judge(&pki, pki.forge(EMPTY_COMPONENT, fields)) {
            Err(Rejection::SignerNotAuthorised {
                scope, component, ..
            }) => (scope, component),
            other => panic!("{other:?}"),
        }
    };
    let said = |scope: &str, component: &str| (scope.to_owned(), component.to_owned());
    assert_eq!(
        refused(Audience::default(), Audience::default()),
        said("acme:*, acme:pump", "test:guest for any device")
    );
    assert_eq!(
        refused(
            audience(&["gate-7", "gate-8"], &[]),
            audience(&[], &["pump", "valve"])
        ),
        said(
            "acme:*, acme:pump for the devices gate-7, gate-8",
            "test:guest for the types pump, valve"
        )
    );
}

#[test]
fn ta34_for_whom_a_component_is_meant() {
    let pki = TestPki::new();
    let mut fields = pki.statement(EMPTY_COMPONENT, &pki.manifest(NAME));
    fields.audience = audience(&["gate-7"], &["gateway"]);
    let bytes = pki.forge(EMPTY_COMPONENT, fields);
    let policy = Policy::default().with_device(DeviceIdentity::parse("gate-8").unwrap(), None);
    match judge_with(&pki, bytes, &policy, &pki.now(), &pki.state()) {
        Err(Rejection::Audience { wanted, own }) => {
            assert_eq!(wanted, "the devices gate-7 of the types gateway");
            assert_eq!(own, "gate-8");
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_verified_hides_no_signer() {
    let pki = TestPki::new();
    let verified = judge(&pki, signed(&pki)).unwrap();
    assert_eq!(verified.uncounted(), Vec::<String>::new().as_slice());
    let scope = Scope::new(
        vec![NamePattern::parse("test:*").unwrap()],
        Audience::default(),
    );
    let leaf = Certificate::parse(&pki.chain()[0]).unwrap();
    assert_eq!(leaf.scope().unwrap(), Some(scope.unwrap()));
}
