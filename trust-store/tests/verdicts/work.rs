//! How much work a stranger can cause: chains and certificates made to be expensive, and each is answered at once.

use std::time::{Duration, Instant};

use countersign_format::{
    Algorithm, CONTENT_TYPE, Statement, signature_section, signer_to_be_signed,
};
use countersign_testing::{CertificateParts, EMPTY_COMPONENT, Role, TestPki, TestPkiBuilder};
use countersign_trust_store::{
    Anchors, Code, MAX_CRL_BYTES, PathProfile, Policy, Rejection, TrustState, UnverifiedComponent,
    oid,
};
use der::asn1::ObjectIdentifier;

use crate::harness::{NAME, judge, signed};

/// Far more than any of it takes, and far less than what has no bound would take.
const AT_ONCE: Duration = Duration::from_secs(2);

/// The verdict on this list of certificates, which must come at once.
fn chain_verdict(anchors: &Anchors, pki: &TestPki, chain: &[Vec<u8>]) -> Result<(), Rejection> {
    let started = Instant::now();
    let verdict = anchors
        .verify_chain(chain, &PathProfile::COMPONENTS, &pki.now(), &pki.state())
        .map(drop);
    let took = started.elapsed();
    assert!(took < AT_ONCE, "{took:?}: {verdict:?}");
    verdict
}

fn chain_code(pki: &TestPki, chain: &[Vec<u8>]) -> Code {
    chain_verdict(&pki.anchors(), pki, chain)
        .unwrap_err()
        .code()
}

#[test]
fn tc27_two_authorities_that_certify_each_other() {
    let pki = TestPki::builder().extra_intermediates(1).build();
    let [leaf, lower, upper] = pki.chain() else {
        panic!("three certificates")
    };
    // The root's key stays out of it: the upper one's issuer is now the lower one.
    let mut round = CertificateParts::of(upper);
    round.issuer = CertificateParts::of(lower).subject;
    let round = round.sign(&pki.authority_keys()[2]);
    let chain = [leaf.clone(), lower.clone(), round];
    assert_eq!(chain_code(&pki, &chain), Code::UntrustedRoot);
}

#[test]
fn tc27_an_authority_beside_its_own_second_certificate() {
    let pki = TestPki::new();
    let root = &pki.authority_keys()[0];
    let mut second = CertificateParts::of(&pki.chain()[1]);
    second.serial_number = der::Any::new(der::Tag::Integer, vec![0x42]).unwrap();
    let second = second.sign(root);
    let [leaf, first] = pki.chain() else {
        panic!("two certificates")
    };
    for chain in [
        [leaf.clone(), first.clone(), second.clone()],
        [leaf.clone(), second.clone(), first.clone()],
    ] {
        assert_eq!(chain_code(&pki, &chain), Code::ChainOrder);
    }
    // Either alone is a chain.
    let alone = [leaf.clone(), second];
    chain_verdict(&pki.anchors(), &pki, &alone).unwrap();
}

#[test]
fn tc27_many_roots_of_one_name_cost_no_more_than_the_budget() {
    let pkis: Vec<TestPki> = (0..16).map(|_| TestPki::new()).collect();
    let trusting = |count: usize| {
        Anchors::new(pkis[..count].iter().map(TestPki::anchor_source).collect()).unwrap()
    };
    // The key identifier finds the right one, wherever it stands.
    for pki in &pkis {
        chain_verdict(&trusting(16), pki, pki.chain()).unwrap();
    }
    let stranger = TestPki::new();
    let code = |count| {
        chain_verdict(&trusting(count), &stranger, stranger.chain())
            .unwrap_err()
            .code()
    };
    // One check for the link below the intermediate, one for each root; the last of the eight is the component's own.
    assert_eq!(code(6), Code::UntrustedRoot);
    assert_eq!(code(7), Code::LimitExceeded);
    assert_eq!(code(16), Code::LimitExceeded);
    let refused = UnverifiedComponent::parse(signed(&stranger))
        .and_then(|component| {
            trusting(16).verify(
                component,
                &Policy::default(),
                &stranger.now(),
                &stranger.state(),
            )
        })
        .unwrap_err();
    assert_eq!(refused.code(), Code::LimitExceeded);
}

#[test]
fn tc26_a_file_cannot_hold_a_chain_that_is_too_long() {
    let pki = TestPki::builder().extra_intermediates(2).build();
    // The decoder counts before it keeps anything, so that the chain as a chain is never looked at.
    let stub = [0x30; 8];
    for chain in [
        pki.chain().iter().map(Vec::as_slice).collect(),
        vec![stub.as_slice(); 10],
        vec![stub.as_slice(); 1_000],
        vec![stub.as_slice(); 10_000],
    ] {
        let refused = judge(&pki, with_chain(&pki, &chain)).unwrap_err();
        assert_eq!(refused.code(), Code::LimitExceeded, "{}", chain.len());
    }
    // The same hand writes a file that is in order.
    let short = TestPki::new();
    let chain: Vec<_> = short.chain().iter().map(Vec::as_slice).collect();
    judge(&short, with_chain(&short, &chain)).unwrap();
}

/// A file signed by this PKI's device with these certificates, however many, written without the format's own encoder.
fn with_chain(pki: &TestPki, chain: &[&[u8]]) -> Vec<u8> {
    const ESP256: i8 = -9;
    let statement = pki.statement(EMPTY_COMPONENT, &pki.manifest(NAME));
    let statement = Statement::new(statement).unwrap().encode();
    let mut body = minicbor::Encoder::new(Vec::new());
    body.map(1).unwrap().u8(3).unwrap();
    body.str(CONTENT_TYPE).unwrap();
    let mut header = minicbor::Encoder::new(Vec::new());
    header.map(2).unwrap().u8(1).unwrap().i8(ESP256).unwrap();
    header.u8(33).unwrap();
    header.array(chain.len() as u64).unwrap();
    for certificate in chain {
        header.bytes(certificate).unwrap();
    }
    let mut message = minicbor::Encoder::new(Vec::new());
    message.tag(minicbor::data::Tag::new(98)).unwrap();
    message
        .array(4)
        .unwrap()
        .bytes(&body.into_writer())
        .unwrap();
    message.map(0).unwrap().bytes(&statement).unwrap();
    message.array(1).unwrap().array(3).unwrap();
    message
        .bytes(&header.into_writer())
        .unwrap()
        .map(0)
        .unwrap();
    let chain: Vec<_> = chain.iter().map(|der| der.to_vec()).collect();
    let signed = signer_to_be_signed(&statement, Algorithm::Esp256, &chain);
    let signature = pki.device_key().sign(&signed).unwrap();
    message.bytes(signature.as_bytes()).unwrap();
    let section = signature_section(&message.into_writer()).unwrap();
    [EMPTY_COMPONENT, &section].concat()
}

/// DER: a tag, a length of two octets, the content.
fn long(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = u16::try_from(content.len()).unwrap().to_be_bytes();
    [&[tag, 0x82], &length[..], content].concat()
}

#[test]
fn tc28_name_constraints_made_to_cost_time() {
    // GeneralSubtrees of dNSNames, permitted and excluded, as many as fit.
    let subtree = |number: u32| {
        let name = format!("{number:04}.example");
        let base = [&[0x82, u8::try_from(name.len()).unwrap()], name.as_bytes()].concat();
        [&[0x30, u8::try_from(base.len()).unwrap()], &base[..]].concat()
    };
    let trees = (0..200).flat_map(subtree).collect::<Vec<u8>>();
    let constraints = long(0x30, &[long(0xa0, &trees), long(0xa1, &trees)].concat());
    for role in [Role::Leaf, Role::Intermediate] {
        for critical in [false, true] {
            let pki = TestPki::builder()
                .with_extension(role, oid::NAME_CONSTRAINTS, critical, &constraints)
                .build();
            let code = chain_code(&pki, pki.chain());
            assert_eq!(code, Code::CertificateExtension, "{role:?} {critical}");
        }
    }
}

#[test]
fn tc30_what_is_larger_than_a_certificate_is_not_read() {
    let unknown = ObjectIdentifier::new_unwrap("1.2.3.4.5");
    let with = |id, value: &[u8]| TestPki::builder().with_extension(Role::Leaf, id, false, value);
    let endless_identifier = [&[0x06, 0x83, 0x10, 0, 0][..], &[0x81; 1 << 20]].concat();
    let names = |count: usize| b"\x82\x01a".repeat(count);
    for (what, builder) in [
        ("10 MB", with(unknown, &vec![0; 10_000_000])),
        ("100,000 extensions", many_extensions(100_000)),
        (
            "100,000 names",
            with(oid::SUBJECT_ALT_NAME, &names(100_000)),
        ),
        (
            "1 MB of identifier",
            with(oid::CERTIFICATE_POLICIES, &endless_identifier),
        ),
    ] {
        let pki = builder.build();
        assert_eq!(chain_code(&pki, pki.chain()), Code::LimitExceeded, "{what}");
    }
}

#[test]
fn tc30_what_fits_into_a_certificate_is_judged_at_once() {
    let with = |id, value: &[u8]| TestPki::builder().with_extension(Role::Leaf, id, false, value);
    // As many extensions as fit, all of which may be there, since nobody knows them and none is critical.
    let pki = many_extensions(400).build();
    chain_verdict(&pki.anchors(), &pki, pki.chain()).unwrap();
    judge(&pki, signed(&pki)).unwrap();

    let names = long(0x30, &b"\x82\x01a".repeat(2_000));
    let pki = with(oid::SUBJECT_ALT_NAME, &names).build();
    chain_verdict(&pki.anchors(), &pki, pki.chain()).unwrap();

    // Identifiers of one arc that never ends, and of as many arcs as fit.
    for filler in [0x81, 0x01] {
        let identifier = long(0x06, &[&[filler; 6_000][..], &[1]].concat());
        let policies = long(0x30, &long(0x30, &identifier));
        let pki = with(oid::CERTIFICATE_POLICIES, &policies).build();
        let code = chain_code(&pki, pki.chain());
        assert_eq!(code, Code::CertificateExtension, "{filler:02x}");
    }

    // Sequences in each other, to the bottom.
    let mut nested = vec![5, 0];
    while nested.len() < 6_000 {
        nested = long(0x30, &nested);
    }
    let pki = with(oid::CERTIFICATE_POLICIES, &nested).build();
    let code = chain_code(&pki, pki.chain());
    assert_eq!(code, Code::CertificateExtension);
}

#[test]
fn td16_a_list_that_is_too_large_is_not_read() {
    let endless = vec![0x30; MAX_CRL_BYTES + 1];
    let started = Instant::now();
    let refused = TrustState::stateless().add_crl(&endless).unwrap_err();
    assert!(started.elapsed() < AT_ONCE);
    assert_eq!(refused.code(), Code::CrlInvalid);
}

/// So many extensions more, each with an identifier of its own.
fn many_extensions(count: u32) -> TestPkiBuilder {
    TestPki::builder().bend(Role::Leaf, move |parts| {
        for number in 0..count {
            let id = ObjectIdentifier::new_unwrap("1.2.3")
                .push_arc(number)
                .unwrap();
            parts.push_extension(id, false, &[]);
        }
    })
}
