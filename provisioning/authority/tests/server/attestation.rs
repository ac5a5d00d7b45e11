//! What a device attests of itself: in software, and in a TPM where this build has TPMs.

use std::fs;

use base64ct::{Base64, Encoding as _};
use countersign_backend_file::FileKey;
use countersign_format::{
    BootId, Digest, EvidenceClaims, EvidenceDocument, EvidenceKind, EvidenceNonce, EvidenceProof,
    RuntimeClaim, SoftwareProof, evidence_to_be_signed,
};
use countersign_trust_store::pem;
use serde_json::{Value, json};

use crate::bench::Bench;
use crate::devices::{challenge, in_time, post, revoke};

/// What a program says of itself and its device in answer to a challenge.
fn claims(kind: EvidenceKind, device: &str, challenge: &str) -> EvidenceClaims {
    let challenge = Base64::decode_vec(challenge).expect("base64");
    let runtime = RuntimeClaim::new("countersign-run", "1.0.0", Some(Digest::of(b"program")));
    EvidenceClaims::new(
        kind,
        EvidenceNonce::new(&challenge).expect("a nonce"),
        device.parse().expect("an identity"),
        BootId::new([7; 16]),
        runtime.expect("a program"),
    )
}

/// What the device of NAME.key says of itself in answer to a challenge, with nothing that vouches for it.
pub(crate) fn evidence(bench: &Bench, name: &str, device: &str, challenge: &str) -> String {
    let key = FileKey::open(&bench.path(&format!("{name}.key")), || {
        unreachable!("not encrypted")
    });
    let key = key.expect("a key");
    let certificates = |file: &str| {
        pem::certificates(&fs::read(bench.path(file)).expect("a file")).expect("certificates")
    };
    let mut chain = certificates(&format!("{name}.pem"));
    chain.extend(certificates("chain.pem").into_iter().take(1));
    let claims = claims(EvidenceKind::Software, device, challenge);
    let algorithm = key.algorithm();
    let message = evidence_to_be_signed(algorithm, &chain, &claims);
    let signature = *key.sign(&message).expect("signed").as_bytes();
    let proof = EvidenceProof::Software(SoftwareProof {
        algorithm,
        signature,
    });
    let document = EvidenceDocument::new(claims, chain, proof).expect("an attestation");
    Base64::encode_string(&document.encode())
}

#[test]
fn tg07_an_attestation_answers_one_challenge_and_shows_what_is_expected_of_its_device() {
    let bench = Bench::new();
    bench.configure(|text| {
        text + "\n[[attestation]]\ndevices = [\"press-*\"]\nsoftware = true\n\
                [[attestation]]\ndevices = [\"oven-*\"]\nregisters = { 7 = [\""
            + &"0f".repeat(32)
            + "\"] }\n"
    });
    bench.approve(&["press-1", "oven-1", "lamp-1"]);
    let reader = bench.token(&["--device", "*", "--may", "read"]);
    let _server = bench.serve();
    let serial = bench.enrol("press-ak", "press-1", "attestation");
    bench.enrol("press-tls", "press-1", "tls");
    bench.enrol("oven-ak", "oven-1", "attestation");
    bench.enrol("lamp-ak", "lamp-1", "attestation");
    let attest = |challenge: &str, evidence: &str| {
        let body = json!({ "challenge": challenge, "evidence": evidence });
        post(&bench, "/api/v1/attest", &body)
    };
    let attested = |name: &str, device: &str| {
        let challenge = challenge(&bench);
        attest(&challenge, &evidence(&bench, name, device, &challenge))
    };
    let shown = in_time(|| attested("press-ak", "press-1"));
    for (name, value) in [
        ("device_id", "press-1"),
        ("serial", &serial),
        ("kind", "software"),
        ("family", "press"),
        ("program", "countersign-run"),
        ("program_sha256", &Digest::of(b"program").to_string()),
    ] {
        assert_eq!(shown[name], value, "{shown}");
    }

    let refused = |answer: (u16, Value), word: &str| {
        assert_eq!(
            (answer.0, &answer.1["code"]),
            (403, &"attestation".into()),
            "{word}"
        );
        let detail = answer.1["detail"].as_str().expect("it says why").to_owned();
        assert!(detail.starts_with(&format!("{word}: ")), "{word}: {detail}");
    };
    // One challenge, one answer; and no other challenge's.
    let first = challenge(&bench);
    let answer = evidence(&bench, "press-ak", "press-1", &first);
    refused(attest(&challenge(&bench), &answer), "evidence-nonce");
    assert_eq!(attest(&first, &answer).0, 200);
    refused(attest(&first, &answer), "evidence-nonce");
    let nobodys = Base64::encode_string(&[7; 56]);
    let old = evidence(&bench, "press-ak", "press-1", &nobodys);
    refused(attest(&nobodys, &old), "evidence-nonce");
    // Hardware is expected of whatever is not named, and registers of ovens.
    refused(attested("lamp-ak", "lamp-1"), "evidence-policy");
    refused(attested("oven-ak", "oven-1"), "evidence-policy");
    // Another device's name, another purpose's certificate, another byte.
    refused(attested("press-ak", "press-2"), "device-identity");
    refused(attested("press-tls", "press-1"), "extended-key-usage");
    let asked = challenge(&bench);
    let mut bent =
        Base64::decode_vec(&evidence(&bench, "press-ak", "press-1", &asked)).expect("base64");
    *bent.last_mut().expect("bytes") ^= 1;
    refused(
        attest(&asked, &Base64::encode_string(&bent)),
        "signature-invalid",
    );
    bent.push(0);
    assert_eq!(attest(&asked, &Base64::encode_string(&bent)).0, 403);
    assert_eq!(attest("?", "").0, 400);
    // The largest attestation has room, and no more than that.
    for (bytes, status) in [(32 * 1024, 403), (34 * 1024, 413)] {
        let large = Base64::encode_string(&vec![0; bytes]);
        assert_eq!(attest(&challenge(&bench), &large).0, status, "{bytes}");
    }
    // What the registry has revoked counts no more, whether or not the list is there yet.
    revoke(&bench, &serial, "cessation-of-operation");
    assert_eq!(attested("press-ak", "press-1").0, 403);

    let bearer = format!("Authorization: Bearer {reader}");
    let (_, metrics) = bench.curl("/metrics", &["--header", &bearer]);
    let metrics = String::from_utf8(metrics).expect("text");
    let line = "countersign_authority_attestations_total{verdict=\"evidence-nonce\"} 3";
    assert!(metrics.contains(line), "{metrics}");
}

/// A key in a TPM that another authority below the root certified, with the TPM's word for what was started.
#[cfg(feature = "tpm")]
#[test]
fn tg07_a_tpm_shows_its_registers_where_the_issuer_of_its_key_is_named() {
    use countersign_format::{AttestationHardware, DeviceMetadata, evidence_challenge};
    use countersign_keys::{Algorithm, Challenge, KeyTemplate, KeyUri};
    use countersign_provisioning::{DeviceName, EndEntity, Profile, Validity};
    use countersign_stores::Stores;
    use countersign_testing::swtpm::Swtpm;
    use countersign_trust_store::UnixTime;

    let tpm = Swtpm::start();
    let uri = format!("tpm:attestation?tcti={}", tpm.tcti());
    let uri: KeyUri = uri.parse().expect("a key");
    let store = Stores::without_secrets().of_key(&uri).expect("a store");
    let template = KeyTemplate::attestation(Algorithm::Esp256);
    let key = store.generate(&uri, &template).expect("a key").public;

    let bench = Bench::new();
    let measured = "11".repeat(32);
    tpm.tool("tpm2_pcrextend", &[&format!("16:sha256={measured}")]);
    let read = tpm.tool("tpm2_pcrread", &["sha256:16"]);
    let value = read.split("0x").nth(1).expect("a value");
    let value = value.trim().to_lowercase();
    // The devices of one kind must show it, those of the other something else; and of a third nobody named the issuer.
    bench.configure(|text| {
        let expected = |devices: &str, value: &str, issuers: &str| {
            format!(
                "\n[[attestation]]\ndevices = [\"{devices}\"]\nregisters = {{ 16 = [\"{value}\"] }}\nissuers = [{issuers}]\n"
            )
        };
        text + &expected("press-*", &value, "\"../factory.pem\"")
            + &expected("oven-*", &"0f".repeat(32), "\"../factory.pem\"")
            + &expected("lamp-*", &value, "")
    });
    bench.approve(&["press-1", "oven-1", "lamp-1"]);
    let another = crate::factory::another_authority(&bench);
    let _server = bench.serve();
    let attested = |device: &str| {
        let identity = EndEntity {
            name: DeviceName::new(device.parse().expect("an identity")),
            metadata: DeviceMetadata::default(),
            validity: Validity::days(UnixTime::from_secs(crate::bench::now() - 60), 30)
                .expect("days"),
            scope: None,
            hardware: Some(AttestationHardware::Tpm),
            dns_names: Vec::new(),
            no_rev_avail: true,
        };
        let certificate = another.certify(Profile::Attestation, &key, &identity);
        let challenge = challenge(&bench);
        let claims = claims(EvidenceKind::TpmQuote, device, &challenge);
        let asked = Challenge::new(*evidence_challenge(&claims).as_bytes());
        let quote = store.state(&uri, &[16], &asked).expect("a quote");
        let proof = quote.to_proof(&asked).expect("signed");
        let chain = vec![certificate, another.certificate.clone()];
        let document = EvidenceDocument::new(claims, chain, proof).expect("an attestation");
        let evidence = Base64::encode_string(&document.encode());
        let body = json!({ "challenge": challenge, "evidence": evidence });
        post(&bench, "/api/v1/attest", &body)
    };
    let shown = in_time(|| attested("press-1"));
    assert_eq!(
        (
            &shown["kind"],
            &shown["registers"]["16"],
            &shown["device_id"]
        ),
        (
            &"tpm-quote".into(),
            &value.as_str().into(),
            &"press-1".into()
        ),
        "{shown}"
    );
    let refused = |device: &str| {
        let (status, answer) = attested(device);
        assert_eq!(status, 403, "{answer}");
        answer["detail"].as_str().expect("it says why").to_owned()
    };
    let said = refused("oven-1");
    assert!(said.starts_with("evidence-policy: "), "{said}");
    let said = refused("lamp-1");
    assert!(said.starts_with("not-in-service: "), "{said}");
    let said = refused("press-2");
    assert!(
        said.starts_with("not-in-service: "),
        "nobody approved it: {said}"
    );
    // Something else was started.
    tpm.tool("tpm2_pcrextend", &[&format!("16:sha256={measured}")]);
    let said = refused("press-1");
    assert!(said.starts_with("evidence-policy: "), "{said}");
}
