//! What a device signs for its guests: judged like a component's chain, and never good for anything else.

use countersign_format::{
    Algorithm, BootId, ComponentName, DeviceIdentity, Digest, Envelope, GuestClaims, GuestData,
    GuestPayload, guest_data_to_be_signed,
};

use countersign_testing::{Profile, Role, TestPki, TestPkiBuilder};
use countersign_trust_store::{Anchors, Code, Now, Rejection, UnixTime, VerifiedGuestData};

/// A PKI whose device signs guest data.
fn devices() -> TestPkiBuilder {
    TestPki::builder().profile(Profile::GuestData)
}

fn claims(device: &str) -> GuestClaims {
    GuestClaims::new(
        DeviceIdentity::parse(device).unwrap(),
        ComponentName::parse("test:telemetry").unwrap(),
        Digest::of(b"component"),
        vec![Digest::of(b"vendor")],
        "reading/v1",
        BootId::new([7; 16]),
        1,
    )
    .unwrap()
}

/// The message as this PKI's device signs it, as `device`.
fn signed_as(pki: &TestPki, device: &str, message: &[u8]) -> GuestData {
    let (key, claims) = (pki.device_key(), claims(device));
    let payload = GuestPayload::Message(message.to_vec());
    let bytes = guest_data_to_be_signed(key.algorithm(), pki.chain(), &claims, &payload);
    let signature = *key.sign(&bytes).unwrap().as_bytes();
    let chain = pki.chain().to_vec();
    GuestData::new(key.algorithm(), chain, claims, payload, signature).unwrap()
}

fn signed(pki: &TestPki, message: &[u8]) -> GuestData {
    signed_as(pki, "test-device", message)
}

fn judge(pki: &TestPki, bytes: &[u8]) -> Result<VerifiedGuestData, Rejection> {
    pki.anchors()
        .verify_guest_data(bytes, &pki.now(), &pki.state())
}

fn code(pki: &TestPki, bytes: &[u8]) -> Code {
    judge(pki, bytes)
        .expect_err("something is wrong with it")
        .code()
}

#[test]
fn what_a_device_signed_is_accepted() {
    for algorithm in [Algorithm::Esp256, Algorithm::Ed25519] {
        let pki = devices().algorithm(algorithm).build();
        let verified = judge(&pki, &signed(&pki, b"21.5 C").encode()).unwrap();
        assert_eq!(
            *verified.payload(),
            GuestPayload::Message(b"21.5 C".to_vec())
        );
        assert_eq!(verified.claims().context(), "reading/v1");
        assert_eq!(
            verified.chain().device().unwrap().identity(),
            verified.claims().device()
        );
    }
}

#[test]
fn tc13_a_certificate_for_another_purpose_signs_no_guest_data() {
    for profile in [Profile::ComponentSigner, Profile::Tls, Profile::Attestation] {
        let pki = TestPki::builder().profile(profile).build();
        let code = code(&pki, &signed(&pki, b"21.5 C").encode());
        assert!(
            [Code::ExtendedKeyUsage, Code::CertificateExtension].contains(&code),
            "{code:?}"
        );
    }
}

#[test]
fn tf08_a_device_does_not_speak_for_another() {
    let pki = devices().build();
    let bytes = signed_as(&pki, "other-device", b"21.5 C").encode();
    assert_eq!(code(&pki, &bytes), Code::DeviceIdentity);
}

#[test]
fn td14_a_revoked_device_signs_no_guest_data() {
    let pki = devices().revoke(Role::Leaf).build();
    assert_eq!(code(&pki, &signed(&pki, b"21.5 C").encode()), Code::Revoked);
}

#[test]
fn td01_an_expired_device_signs_no_guest_data() {
    let pki = devices().build();
    let bytes = signed(&pki, b"21.5 C").encode();
    let later = Now::at(UnixTime::from_secs(pki.time().as_secs() + 5 * 366 * 86_400));
    let refused = pki
        .anchors()
        .verify_guest_data(&bytes, &later, &pki.state());
    assert_eq!(refused.unwrap_err().code(), Code::Expired);
}

#[test]
fn ta28_without_a_root_no_device_is_believed() {
    let pki = devices().build();
    let bytes = signed(&pki, b"21.5 C").encode();
    let none = Anchors::new(Vec::new()).unwrap();
    let refused = none.verify_guest_data(&bytes, &pki.now(), &pki.state());
    assert_eq!(refused.unwrap_err().code(), Code::NoRoot);
    assert_eq!(
        code(&TestPki::builder().build(), &bytes),
        Code::UntrustedRoot
    );
}

#[test]
fn ta10_every_bit_of_guest_data_counts() {
    let pki = devices().build();
    let good = signed(&pki, b"21.5 C").encode();
    for bit in 0..good.len() * 8 {
        let mut bytes = good.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        assert!(judge(&pki, &bytes).is_err(), "bit {bit}");
    }
}

#[test]
fn tb07_the_algorithm_is_that_of_the_key() {
    let pki = devices().build();
    let data = signed(&pki, b"21.5 C");
    let other = GuestData::new(
        Algorithm::Ed25519,
        pki.chain().to_vec(),
        claims("test-device"),
        data.payload().clone(),
        *data.signature(),
    )
    .unwrap();
    assert_eq!(code(&pki, &other.encode()), Code::AlgorithmForbidden);
}

/// What a guest might have signed to use it elsewhere: each as the exact bytes that the other protocol signs.
fn foreign_messages() -> Vec<(&'static str, Vec<u8>)> {
    // RFC 8446 §4.4.3.
    let tls = [
        &[0x20; 64][..],
        b"TLS 1.3, client CertificateVerify\0",
        &[7; 32],
    ]
    .concat();
    let certificate = {
        let pki = TestPki::builder().build();
        let der = pki.chain()[0].clone();
        // TBSCertificate: the first element of the outer SEQUENCE; all lengths here take two octets.
        let length = usize::from(u16::from_be_bytes([der[6], der[7]]));
        der[4..8 + length].to_vec()
    };
    // RFC 2986 §4.1, RFC 5280 §5.1.2: SEQUENCEs, too.
    let request = b"\x30\x0b\x02\x01\x00\x30\x00\x30\x00\xa0\x00".to_vec();
    let list = b"\x30\x05\x02\x01\x01\x30\x00".to_vec();
    let statement = countersign_format::signer_to_be_signed(
        b"statement",
        Algorithm::Esp256,
        &[b"leaf".to_vec()],
    );
    vec![
        ("TLS", tls),
        ("a certificate", certificate),
        ("a request", request),
        ("a revocation list", list),
        ("a component's statement", statement),
        // TPM 2.0 part 2, §10.12.12.
        ("a TPM's attestation", b"\xffTCG\x80\x18".to_vec()),
        (
            "an SSH signature",
            b"SSHSIG\0\0\0\x03git\0\0\0\0\0\0\0\x06sha512".to_vec(),
        ),
        ("a JWS", b"eyJhbGciOiJFUzI1NiJ9.e30".to_vec()),
        ("a DSSE envelope", b"DSSEv1 4 text 2 hi".to_vec()),
        (
            "another COSE message",
            b"\x84\x6aSignature1\x43\xa1\x01\x28\x40\x42hi".to_vec(),
        ),
    ]
}

#[test]
fn te19_te20_te21_te22_te23_what_a_guest_gets_signed_is_good_for_nothing_else() {
    for algorithm in [Algorithm::Esp256, Algorithm::Ed25519] {
        let pki = devices().algorithm(algorithm).build();
        let key = pki.device_key();
        for (what, message) in foreign_messages() {
            let data = signed(&pki, &message);
            judge(&pki, &data.encode()).unwrap();
            // Neither over the bytes that the guest chose, nor could what was signed be read as any of them.
            assert!(
                key.public_key().verify(&message, data.signature()).is_err(),
                "{what}"
            );
            let signed = data.to_be_signed();
            assert!(!signed.starts_with(&message[..4]) || what == "another COSE message");
            assert_ne!(signed, message, "{what}");
        }
    }
}

#[test]
fn te21_a_component_is_not_read_from_guest_data_nor_the_other_way_round() {
    let pki = devices().build();
    let data = signed(&pki, b"statement").encode();
    assert!(Envelope::decode(&data).is_err());
    let component = TestPki::builder().build();
    let file = super::harness::signed(&component);
    let section = countersign_format::SignedFile::parse(&file).unwrap();
    assert!(GuestData::decode(section.signature()).is_err());
}

#[test]
fn te24_there_is_no_way_to_a_bare_digest() {
    // A hash envelope says that it is one: its signature is over the structure, never over the digest itself.
    let pki = devices().build();
    let (key, claims) = (pki.device_key(), claims("test-device"));
    let payload = GuestPayload::Digest(Digest::of(b"firmware"));
    let bytes = guest_data_to_be_signed(key.algorithm(), pki.chain(), &claims, &payload);
    let signature = key.sign(&bytes).unwrap();
    for message in [&b"firmware"[..], Digest::of(b"firmware").as_bytes()] {
        assert!(
            key.public_key()
                .verify(message, signature.as_bytes())
                .is_err()
        );
    }
}
