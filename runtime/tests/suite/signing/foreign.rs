//! What a guest gets signed is good for nothing else: no certificate, component, handshake or other guest's data.

use countersign_format::SignerEntry;
use countersign_keys::PublicKey;
use p256::ecdsa::signature::hazmat::PrehashVerifier as _;

use super::*;

/// What a guest might have signed to use it elsewhere: each as the exact bytes that the other protocol signs.
fn foreign_messages(plant: &Plant) -> Vec<(&'static str, Vec<u8>)> {
    let tls = |who: &str| {
        // RFC 8446 §4.4.3: 64 spaces, who, a zero, the hash of the handshake.
        let label = format!("TLS 1.3, {who} CertificateVerify\0");
        [&[0x20; 64][..], label.as_bytes(), &[7; 32]].concat()
    };
    let statement = {
        let manifest = plant.bench.pki.manifest("test:evil");
        let fields = plant.bench.pki.statement(b"component", &manifest);
        countersign_format::Statement::new(fields).unwrap().encode()
    };
    let component = countersign_format::signer_to_be_signed(
        &statement,
        plant.devices.device_key().algorithm(),
        plant.devices.chain(),
    );
    // RFC 9052 §4.4, with a header that says only the algorithm, and with the content type of an EAT.
    let cose = b"\x84\x6aSignature1\x43\xa1\x01\x28\x40\x42hi".to_vec();
    let eat =
        b"\x84\x6aSignature1\x58\x18\xa2\x01\x28\x03\x73application/eat+cwt\x40\x42hi".to_vec();
    // RFC 2986 §4.1: version, subject, a key, no attributes.
    let request = {
        let spki = plant.devices.device_key().public_key().to_spki_der();
        let content = [&b"\x02\x01\x00\x30\x00"[..], &spki, b"\xa0\x00"].concat();
        let length = u8::try_from(content.len()).unwrap();
        [&[0x30, length][..], &content].concat()
    };
    // RFC 5280 §5.1.2: version, algorithm, an empty name, a time.
    let list = b"\x30\x20\x02\x01\x01\x30\x0a\x06\x08\x2a\x86\x48\xce\x3d\x04\x03\x02\x30\x00\x17\x0d270101000000Z".to_vec();
    // TPM 2.0 part 2, §10.12.12: magic, TPM_ST_ATTEST_QUOTE, name, qualifying data.
    let attest = [&b"\xffTCG\x80\x18\x00\x00\x00\x20"[..], &[9; 32]].concat();
    vec![
        ("a TLS client", tls("client")),
        ("a TLS server", tls("server")),
        ("a certificate", tbs(&plant.devices.chain()[0])),
        ("a request", request),
        ("a revocation list", list),
        ("a component", component),
        ("a component's statement", statement),
        ("a TPM's attestation", attest),
        (
            "an SSH signature",
            b"SSHSIG\0\0\0\x03git\0\0\0\0\0\0\0\x06sha512\0\0\0\x40".to_vec(),
        ),
        ("a JWS", b"eyJhbGciOiJFUzI1NiJ9.e30".to_vec()),
        ("a DSSE envelope", b"DSSEv1 4 text 2 hi".to_vec()),
        ("another COSE message", cose),
        ("an EAT", eat),
    ]
}

/// The TBSCertificate of a certificate, all of whose lengths take two octets: the first element of the outer SEQUENCE.
fn tbs(certificate: &[u8]) -> Vec<u8> {
    let length = usize::from(u16::from_be_bytes([certificate[6], certificate[7]]));
    certificate[4..8 + length].to_vec()
}

#[tokio::test]
async fn te19_te20_te21_te22_te23_te24_what_a_guest_gets_signed_is_good_for_nothing_else() {
    for algorithm in [Algorithm::Esp256, Algorithm::Ed25519] {
        let plant = Plant::new(algorithm);
        let key = plant.devices.device_key().public_key().clone();
        let mut guest = plant.guest("test:telemetry", &plant.device()).await;
        for (what, message) in foreign_messages(&plant) {
            for digest in [false, true] {
                let signed = if digest {
                    guest.digest(CONTEXT, &message, 1).await
                } else {
                    guest.sign(&message).await
                };
                let signed = signed.unwrap();
                // It is what it says, and nothing of what the guest chose was signed as it stands: neither itself, nor
                // its digest, nor as a digest.
                plant.judge(&signed).unwrap();
                let data = countersign_format::GuestData::decode(&signed).unwrap();
                let digest = *Digest::of(&message).as_bytes();
                for bytes in [&message[..], &digest, Digest::of(&digest).as_bytes()] {
                    assert!(key.verify(bytes, data.signature()).is_err(), "{what}");
                }
                assert!(!signs_prehashed(&key, &message, data.signature()), "{what}");
                assert!(!signs_prehashed(&key, &digest, data.signature()), "{what}");
                // What was signed cannot be read as any of these: it begins as none of them does.
                let begins = data.to_be_signed();
                assert!(begins.starts_with(b"\x84\x6aSignature1"));
                if !message.starts_with(b"\x84") {
                    assert_ne!(begins[0], message[0], "{what}");
                } else {
                    assert_ne!(begins[..18], message[..18], "{what}");
                }
            }
        }
    }
}

/// Whether the signature is one over these bytes taken for a digest. Ed25519 has no such thing.
fn signs_prehashed(key: &PublicKey, digest: &[u8], signature: &[u8; 64]) -> bool {
    if key.algorithm() != Algorithm::Esp256 {
        return false;
    }
    let spki = key.to_spki_der();
    // The point is the end of the SubjectPublicKeyInfo.
    let point = &spki[spki.len() - 65..];
    let key = p256::ecdsa::VerifyingKey::from_sec1_bytes(point).unwrap();
    let signature = p256::ecdsa::Signature::from_slice(signature).unwrap();
    key.verify_prehash(digest, &signature).is_ok()
}

#[tokio::test]
async fn te20_a_certificate_with_a_guests_signature_is_none() {
    for algorithm in [Algorithm::Esp256, Algorithm::Ed25519] {
        let plant = Plant::new(algorithm);
        let key = plant.devices.device_key().public_key().clone();
        let mut guest = plant.guest("test:telemetry", &plant.device()).await;
        let own = plant.devices.chain()[0].clone();
        let signed = guest.sign(&tbs(&own)).await.unwrap();
        let data = countersign_format::GuestData::decode(&signed).unwrap();
        // The device as an authority, of itself: its own certificate with the guest's signature in place of its issuer's.
        let forged =
            countersign_keys::Signature::checked(&key, &data.to_be_signed(), data.signature())
                .unwrap()
                .to_x509();
        assert!(
            countersign_keys::Signature::checked_x509(&key, &tbs(&own), &forged).is_err(),
            "{algorithm:?}"
        );
    }
}

#[tokio::test]
async fn te21_a_component_with_a_guests_signature_is_refused() {
    // One key for both purposes, as it must not be: the host that runs components trusts the same root.
    let plant = Plant {
        bench: Bench::new(),
        devices: TestPki::builder().profile(Profile::GuestData).build(),
        lines: Arc::default(),
    };
    let mut guest = plant.guest("test:telemetry", &plant.device()).await;
    let devices = &plant.devices;
    let component = binary("(component)");
    let fields = devices.statement(&component, &devices.manifest("test:evil"));
    let statement = countersign_format::Statement::new(fields).unwrap().encode();
    let algorithm = devices.device_key().algorithm();
    let message = countersign_format::signer_to_be_signed(&statement, algorithm, devices.chain());
    let signed = guest.sign(&message).await.unwrap();
    let data = countersign_format::GuestData::decode(&signed).unwrap();
    let chain = devices.chain().to_vec();
    let entry = SignerEntry::new(algorithm, chain, *data.signature()).unwrap();
    let envelope = countersign_format::Envelope::new(statement, vec![entry]).unwrap();
    let section = countersign_format::signature_section(&envelope.encode()).unwrap();
    let file = [component, section].concat();
    let unverified = countersign_runtime::trust_store::UnverifiedComponent::parse(file).unwrap();
    let policy = countersign_runtime::trust_store::Policy::default();
    let refused = devices
        .anchors()
        .verify(unverified, &policy, &devices.now(), &devices.state())
        .unwrap_err();
    assert!(
        [Code::SignatureInvalid, Code::ExtendedKeyUsage].contains(&refused.code()),
        "{refused}"
    );
    // Nor is the guest's data itself a component's signature.
    assert!(countersign_format::Envelope::decode(&signed).is_err());
}

#[tokio::test]
async fn te23_another_guests_data_cannot_be_signed() {
    let plant = Plant::new(Algorithm::Esp256);
    let device = plant.device();
    let mut honest = plant.guest("test:telemetry", &device).await;
    let mut evil = plant.guest("test:evil", &device).await;
    let data = honest.sign(b"21.5 C").await.unwrap();
    let honest_data = countersign_format::GuestData::decode(&data).unwrap();
    // The very bytes that were signed for the honest one, and its whole result, as the other's message.
    for message in [honest_data.to_be_signed(), data.clone()] {
        let signed = evil.sign(&message).await.unwrap();
        let verified = plant.judge(&signed).unwrap();
        assert_eq!(verified.claims().component().as_str(), "test:evil");
        let signature = *countersign_format::GuestData::decode(&signed)
            .unwrap()
            .signature();
        let grafted = countersign_format::GuestData::new(
            honest_data.algorithm(),
            honest_data.chain().to_vec(),
            honest_data.claims().clone(),
            honest_data.payload().clone(),
            signature,
        )
        .unwrap();
        let refused = plant.judge(&grafted.encode()).unwrap_err();
        assert_eq!(refused.code(), Code::SignatureInvalid);
    }
}
