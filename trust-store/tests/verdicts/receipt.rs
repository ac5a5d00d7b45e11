//! What a gateway says of its state on a stick: of which device it is, who asked for it, and whether it is the one that is waited
//! for.

use countersign_format::{
    BootId, ComponentClaim, ComponentName, DeviceIdentity, Digest, EvidenceClaims,
    EvidenceDocument, EvidenceKind, EvidenceNonce, EvidenceProof, Receipt, ReceiptBody,
    ReceiptBundle, ReceiptFields, RuntimeClaim, SoftwareProof, evidence_to_be_signed,
    receipt_nonce,
};
use countersign_testing::{Profile, TestPki};
use countersign_trust_store::{Code, GATEWAY, ReceiptPolicy, Rejection, VerifiedReceipt};

fn nonce(bytes: &[u8]) -> EvidenceNonce {
    EvidenceNonce::new(bytes).unwrap()
}

fn fields() -> ReceiptFields {
    ReceiptFields {
        nonce: Some(nonce(b"asked just now")),
        number: 7,
        generation: 40,
        floor: 1_800_000_000,
        clock: None,
        roots: Vec::new(),
        bundle: Some(ReceiptBundle {
            line: "plant".to_owned(),
            number: 12,
            index: Digest::of(b"index"),
        }),
        services: Vec::new(),
        refusals: Vec::new(),
        lists: Vec::new(),
        versions: Vec::new(),
        minimums: Vec::new(),
        log: None,
    }
}

/// What the device's key signs for somebody who asks with a nonce.
fn attestation(pki: &TestPki, asked: EvidenceNonce, program: &str, by_component: bool) -> Vec<u8> {
    let mut claims = EvidenceClaims::new(
        EvidenceKind::Software,
        asked,
        DeviceIdentity::parse("test-device").unwrap(),
        BootId::new([7; 16]),
        RuntimeClaim::new(program, "1.2.3", None).unwrap(),
    );
    if by_component {
        let component = ComponentClaim::new(
            ComponentName::parse("test:telemetry").unwrap(),
            Digest::of(b"component"),
            vec![Digest::of(b"vendor")],
        );
        claims = claims.for_component(component.unwrap());
    }
    let algorithm = pki.device_key().algorithm();
    let message = evidence_to_be_signed(algorithm, pki.chain(), &claims);
    let proof = EvidenceProof::Software(SoftwareProof {
        algorithm,
        signature: *pki.device_key().sign(&message).unwrap().as_bytes(),
    });
    EvidenceDocument::new(claims, pki.chain().to_vec(), proof)
        .unwrap()
        .encode()
}

fn receipt(pki: &TestPki, fields: ReceiptFields) -> Vec<u8> {
    let body = ReceiptBody::new(fields).unwrap();
    let evidence = attestation(pki, receipt_nonce(&body).unwrap(), GATEWAY, false);
    Receipt::new(body, evidence).unwrap().encode()
}

fn attesting() -> TestPki {
    TestPki::builder().profile(Profile::Attestation).build()
}

fn policy() -> ReceiptPolicy {
    ReceiptPolicy::default().attested(|evidence| evidence.allowing_keys_in_software())
}

fn judge(
    pki: &TestPki,
    bytes: &[u8],
    policy: &ReceiptPolicy,
) -> Result<VerifiedReceipt, Rejection> {
    pki.anchors()
        .verify_receipt(bytes, policy, &pki.now(), &pki.state())
}

#[track_caller]
fn refused(pki: &TestPki, bytes: &[u8], policy: &ReceiptPolicy, code: Code) -> String {
    let rejection = judge(pki, bytes, policy).expect_err("something is wrong with it");
    assert_eq!(rejection.code(), code, "{rejection}");
    rejection.to_string()
}

#[test]
fn a_receipt_says_what_its_gateway_said_and_of_which_device_it_is() {
    let pki = attesting();
    let verified = judge(&pki, &receipt(&pki, fields()), &policy()).unwrap();
    assert_eq!(*verified.fields(), fields());
    assert_eq!(
        verified.evidence().claims().device().as_str(),
        "test-device"
    );
    // Without hardware only by name.
    let strict = ReceiptPolicy::default();
    refused(
        &pki,
        &receipt(&pki, fields()),
        &strict,
        Code::EvidencePolicy,
    );
}

#[test]
fn tf13_an_old_receipt_is_not_the_one_that_is_waited_for() {
    let pki = attesting();
    let bytes = receipt(&pki, fields());
    judge(&pki, &bytes, &policy().answering(nonce(b"asked just now"))).unwrap();
    judge(&pki, &bytes, &policy().after(6)).unwrap();
    judge(&pki, &bytes, &policy().running(Digest::of(b"index"))).unwrap();
    let earlier = policy().answering(nonce(b"asked later"));
    refused(&pki, &bytes, &earlier, Code::EvidenceNonce);
    let unasked = receipt(
        &pki,
        ReceiptFields {
            nonce: None,
            ..fields()
        },
    );
    refused(&pki, &unasked, &earlier, Code::EvidenceNonce);
    let why = refused(&pki, &bytes, &policy().after(7), Code::EvidencePolicy);
    assert!(why.contains("old one"), "{why}");
    let other = policy().running(Digest::of(b"another"));
    refused(&pki, &bytes, &other, Code::EvidencePolicy);
    let none = receipt(
        &pki,
        ReceiptFields {
            bundle: None,
            ..fields()
        },
    );
    refused(&pki, &none, &other, Code::EvidencePolicy);
}

#[test]
fn tf13_a_receipt_of_another_device_or_with_a_byte_changed_is_refused() {
    let (pki, other) = (
        attesting(),
        TestPki::builder()
            .profile(Profile::Attestation)
            .seed(9)
            .build(),
    );
    let bytes = receipt(&pki, fields());
    refused(&other, &bytes, &policy(), Code::UntrustedRoot);
    let elsewhere =
        policy().attested(|evidence| evidence.of_device(DeviceIdentity::parse("gate-8").unwrap()));
    refused(&pki, &bytes, &elsewhere, Code::EvidencePolicy);
    for at in 0..bytes.len() {
        let mut bent = bytes.clone();
        bent[at] ^= 1;
        assert!(judge(&pki, &bent, &policy()).is_err(), "byte {at}");
    }
    // A body under the attestation of another one, by the same key.
    let (older, newer) = (
        fields(),
        ReceiptFields {
            number: 8,
            ..fields()
        },
    );
    let body = ReceiptBody::new(older).unwrap();
    let asked = receipt_nonce(&ReceiptBody::new(newer).unwrap()).unwrap();
    assert!(Receipt::new(body, attestation(&pki, asked, GATEWAY, false)).is_err());
}

#[test]
fn te22_what_a_component_or_a_person_had_attested_is_no_receipt() {
    let pki = attesting();
    // Both choose the nonce, and so what a receipt would say.
    for (program, by_component) in [
        (GATEWAY, true),
        ("countersign", false),
        ("countersign-run", false),
    ] {
        let body = ReceiptBody::new(fields()).unwrap();
        let asked = receipt_nonce(&body).unwrap();
        let evidence = attestation(&pki, asked, program, by_component);
        let forged = Receipt::new(body, evidence).unwrap().encode();
        let why = refused(&pki, &forged, &policy(), Code::EvidencePolicy);
        assert!(why.contains("asked for its attestation"), "{why}");
    }
    // A key for another purpose signs none.
    let data = TestPki::builder().profile(Profile::GuestData).build();
    refused(
        &data,
        &receipt(&data, fields()),
        &policy(),
        Code::ExtendedKeyUsage,
    );
}
