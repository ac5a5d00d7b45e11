//! What a device signs for a guest, judged in Python.

use std::process::Output;

use countersign_format::{
    Algorithm, BootId, ComponentName, DeviceIdentity, Digest, GuestClaims, GuestData, GuestPayload,
    guest_data_to_be_signed,
};
use countersign_testing::{EMPTY_COMPONENT, Profile, Role, TestPki, TestPkiBuilder};

use super::{is_verified, judge_as};

fn devices() -> TestPkiBuilder {
    TestPki::builder().profile(Profile::GuestData)
}

/// What the PKI's device signs, as the device of this name.
fn signed(pki: &TestPki, device: &str, payload: GuestPayload) -> Vec<u8> {
    signed_for(pki, device, Digest::of(b"vendor"), payload)
}

/// The same for a component that the holder of this key signed.
fn signed_for(pki: &TestPki, device: &str, vendor: Digest, payload: GuestPayload) -> Vec<u8> {
    let claims = GuestClaims::new(
        DeviceIdentity::parse(device).expect("a device's name"),
        ComponentName::parse("test:telemetry").expect("a component's name"),
        Digest::of(EMPTY_COMPONENT),
        vec![vendor],
        "reading/v1",
        BootId::new([7; 16]),
        3,
    )
    .expect("sound claims");
    let (key, chain) = (pki.device_key(), pki.chain().to_vec());
    let bytes = guest_data_to_be_signed(key.algorithm(), &chain, &claims, &payload);
    let signature = *key.sign(&bytes).expect("a key file signs").as_bytes();
    GuestData::new(key.algorithm(), chain, claims, payload, signature)
        .expect("sound guest data")
        .encode()
}

fn reading(pki: &TestPki) -> Vec<u8> {
    signed(
        pki,
        "test-device",
        GuestPayload::Message(b"21.5 C".to_vec()),
    )
}

fn judge(pki: &TestPki, bytes: &[u8], options: &[&str]) -> Output {
    judge_as(pki, bytes, "verify_guest_data.py", options)
}

#[test]
fn python_verifies_what_a_device_signs_for_a_guest() {
    for algorithm in [Algorithm::Esp256, Algorithm::Ed25519] {
        for extra in 0..=1 {
            let pki = devices()
                .algorithm(algorithm)
                .extra_intermediates(extra)
                .build();
            let options = ["--context", "reading/v1", "--device", "test-device"];
            let output = judge(&pki, &reading(&pki), &options);
            let said = String::from_utf8_lossy(&output.stdout).into_owned();
            assert!(is_verified(&output), "{algorithm:?}, {extra}: {said}");
            let verdict: serde_json::Value = serde_json::from_str(&said).expect("JSON");
            assert_eq!(verdict["message"], hex::encode(b"21.5 C"));
            assert_eq!(verdict["claims"]["sequence"], 3);
        }
    }
}

#[test]
fn python_takes_a_guests_data_as_text_and_compares_it_with_what_is_given() {
    let pki = devices().build();
    let text = format!("{}\n", hex::encode(reading(&pki)));
    let folder = tempfile::tempdir().expect("a folder");
    let file = |name: &str, content: &[u8]| {
        let path = folder.path().join(name);
        std::fs::write(&path, content).expect("the folder takes files");
        path.display().to_string()
    };
    let component = file("component", EMPTY_COMPONENT);
    let other = file("other", &[EMPTY_COMPONENT, &[0, 2, 1, b'x']].concat());
    let (said, unsaid) = (file("said", b"21.5 C"), file("unsaid", b"99.9 C"));
    for (options, expected) in [
        (["--component", &component], true),
        (["--component", &other], false),
        (["--message", &said], true),
        (["--message", &unsaid], false),
        (["--context", "reading/v2"], false),
        (["--device", "other-device"], false),
    ] {
        let output = judge(&pki, text.as_bytes(), &options);
        assert_eq!(is_verified(&output), expected, "{options:?}: {output:?}");
    }

    let digest = GuestPayload::Digest(Digest::of(b"21.5 C"));
    let streamed = signed(&pki, "test-device", digest);
    assert!(is_verified(&judge(&pki, &streamed, &[])));
    assert!(is_verified(&judge(&pki, &streamed, &["--message", &said])));
    assert!(!is_verified(&judge(
        &pki,
        &streamed,
        &["--message", &unsaid]
    )));
}

#[test]
fn python_compares_the_component_with_the_claims() {
    let (pki, vendor) = (devices().build(), TestPki::new());
    let payload = GuestPayload::Message(b"21.5 C".to_vec());
    let key = vendor.device_key().public_key().spki_sha256();
    let reading = signed_for(&pki, "test-device", key, payload);

    let file = |component: &[u8], name: &str, vendor: &TestPki| {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("signed.wasm");
        let signed = vendor.sign(component, &vendor.manifest(name));
        std::fs::write(&path, signed).expect("the folder takes files");
        let options = ["--component", &path.display().to_string()];
        is_verified(&judge(&pki, &reading, &options))
    };
    let other = [EMPTY_COMPONENT, &[0, 2, 1, b'x']].concat();
    assert!(file(EMPTY_COMPONENT, "test:telemetry", &vendor));
    assert!(!file(&other, "test:telemetry", &vendor));
    assert!(!file(EMPTY_COMPONENT, "test:other", &vendor));
    let another = TestPki::builder().seed(9).build();
    assert!(!file(EMPTY_COMPONENT, "test:telemetry", &another));
}

#[test]
fn python_refuses_guest_data_that_ours_refuses() {
    let pki = devices().build();
    let good = reading(&pki);
    assert!(is_verified(&judge(&pki, &good, &[])));

    let mut signature = good.clone();
    if let Some(last) = signature.last_mut() {
        *last ^= 1;
    }
    // The message is the text before the signature: 2 bytes announce those 64.
    let mut message = good.clone();
    let at = good.len() - 64 - 2 - 1;
    message[at] ^= 1;
    let trailing = [good.as_slice(), &[0]].concat();
    let untagged = good[1..].to_vec();
    // COSE_Mac0 (RFC 9052 §6.2).
    let tagged = [&[0xd1], &good[1..]].concat();
    let impostor = signed(
        &pki,
        "other-device",
        GuestPayload::Message(b"21.5 C".to_vec()),
    );
    for bytes in [signature, message, trailing, untagged, tagged, impostor] {
        assert!(GuestData::decode(&bytes).is_err() || pki_refuses(&pki, &bytes));
        let output = judge(&pki, &bytes, &[]);
        assert!(!is_verified(&output), "{output:?}");
    }
    assert!(
        !is_verified(&judge(&devices().build(), &good, &[])),
        "another root"
    );
    for builder in [
        devices().valid(Role::Leaf, -100, -1),
        TestPki::builder(),
        TestPki::builder().profile(Profile::Tls),
    ] {
        let bent = builder.build();
        let output = judge(&bent, &reading(&bent), &[]);
        assert!(!is_verified(&output), "{output:?}");
    }
    // A component's signature is no guest's data.
    let components = TestPki::new();
    let file = components.sign(EMPTY_COMPONENT, &components.manifest("test:guest"));
    assert!(!is_verified(&judge(&components, &file, &[])));
}

fn pki_refuses(pki: &TestPki, bytes: &[u8]) -> bool {
    pki.anchors()
        .verify_guest_data(bytes, &pki.now(), &pki.state())
        .is_err()
}
