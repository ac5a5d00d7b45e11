//! Files that are whole, signed by somebody who may not: another root, a wrong certificate, a wrong time, revoked.

use std::time::Duration;

use countersign_format::{
    Envelope, SignerEntry, SignerId, Statement, oid, signature_section, signer_to_be_signed,
};
use countersign_provisioning::{Issuer, Reason, Revocation, RevocationList, Serial, Validity};
use countersign_testing::{Role, TestPki};
use countersign_trust_store::{AnchorSource, Code};
use der::Decode as _;
use x509_cert::Certificate;

use super::bench::{Bench, hello};

#[track_caller]
fn refuses(bench: &Bench, code: Code) {
    bench.refuses(&bench.sign(&hello()), code);
}

const DAY: i64 = 24 * 60 * 60;

#[test]
fn tc02_another_root_with_the_same_names() {
    let (ours, theirs) = (Bench::new(TestPki::new()), TestPki::new());
    let file = theirs.sign(&hello(), &ours.manifest());
    ours.refuses(&file, Code::UntrustedRoot);
}

#[test]
fn tc03_a_root_in_the_signature_is_not_trusted() {
    let (ours, theirs) = (Bench::new(TestPki::new()), TestPki::new());
    let (component, key) = (hello(), theirs.device_key());
    let mut chain = theirs.chain().to_vec();
    chain.push(theirs.root().to_vec());

    let mut fields = theirs.statement(&component, &ours.manifest());
    let signer = SignerId::of(key.algorithm(), key.public_key().spki_sha256(), &chain);
    fields.signers = vec![signer];
    let statement = Statement::new(fields).expect("a statement").encode();
    let message = signer_to_be_signed(&statement, key.algorithm(), &chain);
    let signature = key.sign(&message).expect("a key in memory signs");
    let entry = SignerEntry::new(key.algorithm(), chain, *signature.as_bytes())
        .expect("three certificates are allowed");
    let envelope = Envelope::new(statement, vec![entry]).expect("an envelope");
    let section = signature_section(&envelope.encode()).expect("it fits");
    ours.refuses(&[component, section].concat(), Code::UntrustedRoot);
}

#[test]
fn tc11_leaf_without_code_signing() {
    let client_auth = der::asn1::ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.2");
    let any = der::asn1::ObjectIdentifier::new_unwrap("2.5.29.37.0");
    for usages in [&[][..], &[client_auth], &[any]] {
        let bench = Bench::with(TestPki::builder().extended_key_usage(Role::Leaf, usages));
        refuses(&bench, Code::ExtendedKeyUsage);
    }
}

#[test]
fn tc05_an_issuer_that_is_no_ca() {
    refuses(
        &Bench::with(TestPki::builder().basic_constraints(Role::Intermediate, false, None)),
        Code::NotACa,
    );
}

#[test]
fn tc39_leaf_without_scope() {
    refuses(
        &Bench::with(TestPki::builder().without_scope()),
        Code::SignerNotAuthorised,
    );
}

#[test]
fn tc39_name_outside_the_scope() {
    // The component is test:hello.
    for scope in ["other:*", "test:hell", "test:hello-2", "tes:*"] {
        refuses(
            &Bench::with(TestPki::builder().scope(&[scope])),
            Code::SignerNotAuthorised,
        );
    }
}

#[test]
fn tc39_name_outside_the_intermediates_scope() {
    refuses(
        &Bench::with(TestPki::builder().intermediate_scope(&["other:*"])),
        Code::SignerNotAuthorised,
    );
}

#[test]
fn tc14_unknown_critical_extension() {
    let unknown = der::asn1::ObjectIdentifier::new_unwrap("1.2.3.4");
    let bench = Bench::with(TestPki::builder().with_extension(Role::Leaf, unknown, true, &[5, 0]));
    refuses(&bench, Code::CertificateExtension);
}

#[test]
fn td01_expired_leaf() {
    refuses(
        &Bench::with(TestPki::builder().valid(Role::Leaf, -DAY, -60)),
        Code::Expired,
    );
}

#[test]
fn td01_expired_intermediate() {
    refuses(
        &Bench::with(TestPki::builder().valid(Role::Intermediate, -DAY, -60)),
        Code::Expired,
    );
}

#[test]
fn td01_expired_root_lets_the_host_start_and_admits_nothing() {
    refuses(
        &Bench::with(TestPki::builder().valid(Role::Root, -DAY, -60)),
        Code::Expired,
    );
}

#[test]
fn td02_not_yet_valid() {
    refuses(
        &Bench::with(TestPki::builder().valid(Role::Leaf, DAY, 2 * DAY)),
        Code::NotYetValid,
    );
    refuses(
        &Bench::with(TestPki::builder().valid(Role::Intermediate, DAY, 2 * DAY)),
        Code::NotYetValid,
    );
}

#[test]
fn td11_no_crl_until_the_operator_gives_one() {
    let pki = TestPki::new();
    let root = AnchorSource::new(pki.root().to_vec());
    let mut bench = Bench::trusting(pki, &[root]);
    // The desk tool, too, gets the root alone.
    let (crls, with_crls) = (bench.files.crls.clone(), bench.files.roots_toml.clone());
    bench.files.roots_toml.clone_from(&bench.files.roots_pem);
    let file = bench.sign(&hello());
    bench.refuses(&file, Code::RevocationUnknown);

    let path = bench.path("hello.wasm");
    std::fs::write(&path, &file).expect("our own folder");
    let (ran, records) = bench.run(&path, &["--crl", crls.to_str().expect("UTF-8")]);
    assert_eq!(
        (ran.status, ran.stdout.as_str(), records.len()),
        (0, "Hello, world!\n", 2),
        "{ran:?}"
    );
    // One of the two lists is not enough.
    for one in &bench.files.each_crl {
        bench.run_refuses(
            &path,
            &["--crl", one.to_str().expect("UTF-8")],
            Code::RevocationUnknown,
        );
    }
    bench.files.roots_toml = with_crls;
}

#[test]
fn td11_stale_crl() {
    for issuer in [Role::Root, Role::Intermediate] {
        refuses(
            &Bench::with(TestPki::builder().crl_valid(issuer, -2 * DAY, -60)),
            Code::CrlStale,
        );
    }
}

#[test]
fn td14_revoked_leaf() {
    refuses(
        &Bench::with(TestPki::builder().revoke(Role::Leaf)),
        Code::Revoked,
    );
}

#[test]
fn td14_revoked_intermediate() {
    refuses(
        &Bench::with(TestPki::builder().revoke(Role::Intermediate)),
        Code::Revoked,
    );
}

#[test]
fn td14_a_crl_of_the_operator_revokes_too() {
    let bench = Bench::new(TestPki::new());
    let path = bench.path("hello.wasm");
    std::fs::write(&path, bench.sign(&hello())).expect("our own folder");
    assert_eq!(bench.run(&path, &[]).0.status, 0);

    // A newer list of the same intermediate, on which the device stands.
    let issuer = bench
        .pki
        .authority_keys()
        .pop()
        .expect("the intermediate's key");
    let issuer = Issuer::new(&issuer, &bench.pki.chain()[1]).expect("the intermediate");
    let leaf = Certificate::from_der(&bench.pki.chain()[0]).expect("the device's certificate");
    let serial =
        Serial::from_certificate(leaf.tbs_certificate().serial_number()).expect("a serial number");
    let at = bench.pki.time();
    let revoking = RevocationList {
        number: 2,
        validity: Validity::new(at, at.saturating_add(Duration::from_secs(3600))).expect("an hour"),
        revoked: &[Revocation {
            serial,
            at,
            reason: Reason::KeyCompromise,
        }],
    };
    let list = bench.path("newer.crl");
    std::fs::write(&list, issuer.crl(&revoking).expect("a list")).expect("our own folder");
    bench.run_refuses(
        &path,
        &["--crl", list.to_str().expect("UTF-8")],
        Code::Revoked,
    );
}

#[test]
fn tc10_leaf_without_digital_signature() {
    let bench = Bench::with(
        TestPki::builder().key_usage(Role::Leaf, x509_cert::ext::pkix::KeyUsages::KeyAgreement),
    );
    refuses(&bench, Code::KeyUsage);
}

#[test]
fn tc39_a_scope_that_is_no_scope() {
    let bench = Bench::with(TestPki::builder().with_extension(
        Role::Leaf,
        oid::COMPONENT_SCOPE,
        false,
        b"\x30\x00",
    ));
    let file = bench.sign(&hello());
    bench.refuses(&file, Code::CertificateExtension);
}
