//! What guests get of the device: signatures that are good for nothing else, within grants and quotas.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use countersign_format::{
    Algorithm, BootId, DeviceIdentity, Digest, Grants, GuestLimits, GuestPayload, KeyGrant,
    SignerEntry,
};
use countersign_keys::{Error, ErrorKind, PublicKey, Signer, SigningKey};
use countersign_runtime::host::{
    Device, DeviceBuilder, DeviceError, KeyCeiling, LentKey, SigningRecord,
};
use countersign_runtime::trust_store::{Code, Rejection, UnixTime, VerifiedGuestData};
use countersign_runtime::wasmtime;
use countersign_runtime::wasmtime::component::{ComponentType, Lift, Linker};
use countersign_runtime::{
    Ceiling, GuestContext, LimitKind, Limits, LoadError, ReadyGuest, RunError, RunningGuest,
};
use countersign_testing::{Profile, TestPki};
use p256::ecdsa::signature::hazmat::PrehashVerifier as _;
use serde_json::Value;

use crate::support::{Bench, binary};

const SIGNER: &str = include_str!("../guests/signer.wat");
/// The key that tests lend.
const KEY: &str = "telemetry";
/// The context that the guests of tests ask for.
const CONTEXT: &str = "reading/v1";
/// More signatures than any test makes.
const PLENTY: u32 = 1_000_000;

/// The error of the interface, as a guest sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ComponentType, Lift)]
#[component(variant)]
enum SignError {
    #[component(name = "not-granted")]
    NotGranted,
    #[component(name = "unknown-key")]
    UnknownKey,
    #[component(name = "context-invalid")]
    ContextInvalid,
    #[component(name = "message-too-large")]
    MessageTooLarge,
    #[component(name = "quota-exceeded")]
    QuotaExceeded(u64),
    #[component(name = "busy")]
    Busy,
    #[component(name = "hardware-failure")]
    HardwareFailure,
}

type Signed = Result<Vec<u8>, SignError>;

/// A device with one key, and a host that lends it.
struct Plant {
    bench: Bench,
    devices: TestPki,
    lines: Arc<Mutex<Vec<String>>>,
}

impl Plant {
    fn new(algorithm: Algorithm) -> Self {
        Self {
            bench: Bench::new(),
            devices: TestPki::builder()
                .profile(Profile::GuestData)
                .algorithm(algorithm)
                .device_type("gateway-x2")
                .build(),
            lines: Arc::default(),
        }
    }

    /// Starts to describe the device. Its records are kept.
    fn builder(&self) -> DeviceBuilder {
        let lines = Arc::clone(&self.lines);
        let identity = DeviceIdentity::parse("test-device").unwrap();
        Device::builder(
            identity,
            BootId::new([7; 16]),
            move |record: &SigningRecord| {
                let line = record.line(UnixTime::from_secs(1_800_000_000));
                lines.lock().unwrap().push(line);
                Ok(())
            },
        )
    }

    fn lent(&self) -> LentKey {
        LentKey::new(self.devices.device_key(), self.devices.chain().to_vec())
    }

    fn device(&self) -> Device {
        self.builder()
            .key(KEY, self.lent())
            .unwrap()
            .build()
            .unwrap()
    }

    /// Loads the guest as a component of this name that asks for these keys in the context of the tests.
    fn load(
        &self,
        name: &str,
        keys: &[&str],
        ceiling: &Ceiling,
    ) -> Result<ReadyGuest<GuestContext>, LoadError> {
        let mut manifest = self.bench.pki.manifest(name);
        manifest.grants.keys = keys
            .iter()
            .map(|key| KeyGrant {
                name: (*key).to_owned(),
                contexts: vec![CONTEXT.to_owned()],
                per_minute: None,
            })
            .collect();
        let signed = self.bench.pki.sign(&binary(SIGNER), &manifest);
        let verified = self
            .bench
            .runtime
            .verify(signed, &self.bench.now(), &self.bench.pki.state())
            .unwrap();
        let linker = Linker::<GuestContext>::new(self.bench.runtime.engine());
        self.bench.runtime.load(verified, ceiling, &linker)
    }

    /// A running guest that may use the device's key as often as it wants.
    async fn guest(&self, name: &str, device: &Device) -> Guest {
        let ready = self.load(name, &[KEY], &ceiling(device, PLENTY)).unwrap();
        Guest(self.bench.start(ready).await.unwrap())
    }

    fn judge(&self, bytes: &[u8]) -> Result<VerifiedGuestData, Rejection> {
        self.devices
            .anchors()
            .verify_guest_data(bytes, &self.devices.now(), &self.devices.state())
    }

    fn records(&self) -> Vec<Value> {
        let lines = self.lines.lock().unwrap();
        lines
            .iter()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    fn events(&self) -> Vec<String> {
        self.records()
            .iter()
            .map(|record| record["event"].as_str().unwrap().to_owned())
            .collect()
    }
}

fn ceiling(device: &Device, per_minute: u32) -> Ceiling {
    Ceiling::new()
        .device(device.clone())
        .key(KEY, KeyCeiling::default().per_minute(per_minute))
}

/// A guest that does what its host says.
struct Guest(RunningGuest<GuestContext>);

impl Guest {
    async fn call<P, R>(&mut self, function: &str, params: P) -> Result<R, RunError>
    where
        P: wasmtime::component::ComponentNamedList
            + wasmtime::component::Lower
            + Send
            + Sync
            + 'static,
        R: Lift + ComponentType + Send + Sync + 'static,
    {
        let (result,) = self
            .0
            .call_export::<P, (R,)>(None, function, params)
            .await?;
        Ok(result)
    }

    async fn sign_with(&mut self, key: &str, context: &str, message: &[u8]) -> Signed {
        let params = (key.to_owned(), context.to_owned(), message.to_vec());
        self.call("sign", params).await.unwrap()
    }

    async fn sign(&mut self, message: &[u8]) -> Signed {
        self.sign_with(KEY, CONTEXT, message).await
    }

    /// Signs the message, written so many times, by its digest.
    async fn digest(&mut self, context: &str, message: &[u8], times: u32) -> Signed {
        let params = (KEY.to_owned(), context.to_owned(), message.to_vec(), times);
        self.call("digest", params).await.unwrap()
    }

    async fn flood(&mut self, times: u32) -> u32 {
        let params = (KEY.to_owned(), CONTEXT.to_owned(), times);
        self.call("flood", params).await.unwrap()
    }
}

#[tokio::test]
async fn what_a_guest_gets_signed_tells_who_it_was() {
    for algorithm in [Algorithm::Esp256, Algorithm::Ed25519] {
        let plant = Plant::new(algorithm);
        let device = plant.device();
        assert_eq!(device.device_type(), Some("gateway-x2"));
        let mut guest = plant.guest("test:telemetry", &device).await;
        let verified = plant.judge(&guest.sign(b"21.5 C").await.unwrap()).unwrap();
        assert_eq!(
            *verified.payload(),
            GuestPayload::Message(b"21.5 C".to_vec())
        );
        let claims = verified.claims();
        assert_eq!(claims.device().as_str(), "test-device");
        assert_eq!(claims.component().as_str(), "test:telemetry");
        assert_eq!(claims.component_digest(), Digest::of(&binary(SIGNER)));
        let vendor = plant.bench.pki.device_key().public_key().spki_sha256();
        assert_eq!(claims.signers(), [vendor]);
        assert_eq!(claims.context(), CONTEXT);
        assert_eq!(claims.boot(), BootId::new([7; 16]));
        assert_eq!(claims.sequence(), 1);
        let boot: Vec<u8> = guest.call("boot", ()).await.unwrap();
        assert_eq!(boot, [7; 16]);

        let record = &plant.records()[0];
        assert_eq!(record["event"], "signed");
        assert_eq!(record["component"], "test:telemetry");
        assert_eq!(
            (&record["key"], &record["context"]),
            (&Value::from(KEY), &Value::from(CONTEXT))
        );
        assert_eq!(record["sequence"], 1);
        // By these it is found again from the signature.
        assert_eq!(record["boot"], "07".repeat(16));
        assert_eq!(record["payload_sha256"], Digest::of(b"21.5 C").to_string());
        guest.digest(CONTEXT, b"21.5 C", 2).await.unwrap();
        let whole = Digest::of(b"21.5 C21.5 C").to_string();
        assert_eq!(plant.records()[1]["payload_sha256"], whole);
    }
}

#[tokio::test]
async fn a_long_message_is_signed_by_its_digest() {
    let plant = Plant::new(Algorithm::Esp256);
    let mut guest = plant.guest("test:telemetry", &plant.device()).await;
    let part = vec![b'x'; 65_536];
    let verified = plant
        .judge(&guest.digest(CONTEXT, &part, 40).await.unwrap())
        .unwrap();
    let whole = Digest::of(&vec![b'x'; 40 * 65_536]);
    assert_eq!(*verified.payload(), GuestPayload::Digest(whole));
    let empty = plant
        .judge(&guest.digest(CONTEXT, b"", 0).await.unwrap())
        .unwrap();
    assert_eq!(*empty.payload(), GuestPayload::Digest(Digest::of(b"")));
}

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

#[tokio::test]
async fn te25_contexts_are_granted_one_by_one() {
    let plant = Plant::new(Algorithm::Esp256);
    let mut guest = plant.guest("test:telemetry", &plant.device()).await;
    let long = "x".repeat(65);
    for bad in ["", "\0", "reading/v1\0", " reading/v1", "\u{e9}", &long] {
        assert_eq!(
            guest.sign_with(KEY, bad, b"m").await,
            Err(SignError::ContextInvalid),
            "{bad:?}"
        );
        assert_eq!(
            guest.digest(bad, b"m", 1).await,
            Err(SignError::ContextInvalid),
            "{bad:?}"
        );
    }
    for other in ["reading", "reading/v2", "READING/v1", "reading/v1/x"] {
        assert_eq!(
            guest.sign_with(KEY, other, b"m").await,
            Err(SignError::NotGranted),
            "{other:?}"
        );
        assert_eq!(
            guest.digest(other, b"m", 1).await,
            Err(SignError::NotGranted)
        );
    }
    assert_eq!(plant.events(), vec!["signing-denied"; 8]);
    guest.sign(b"m").await.unwrap();
}

#[tokio::test]
async fn te25_the_operator_may_allow_fewer_contexts() {
    let plant = Plant::new(Algorithm::Esp256);
    let ceiling = Ceiling::new()
        .device(plant.device())
        .key(KEY, KeyCeiling::default().contexts(["alarm/v1"]));
    let ready = plant.load("test:telemetry", &[KEY], &ceiling).unwrap();
    let mut guest = Guest(plant.bench.start(ready).await.unwrap());
    assert_eq!(guest.sign(b"m").await, Err(SignError::NotGranted));
    // What only the operator wants is not given either.
    assert_eq!(
        guest.sign_with(KEY, "alarm/v1", b"m").await,
        Err(SignError::NotGranted)
    );
}

#[tokio::test]
async fn te26_a_key_that_was_granted_to_another_component() {
    let plant = Plant::new(Algorithm::Esp256);
    let device = plant
        .builder()
        .key(KEY, plant.lent())
        .unwrap()
        .key("billing", plant.lent())
        .unwrap()
        .build()
        .unwrap();
    // Both keys are lent on this host; each component's own statement decides.
    let ceiling = ceiling(&device, PLENTY).key("billing", KeyCeiling::default());
    let ready = plant.load("test:billing", &["billing"], &ceiling).unwrap();
    assert_eq!(
        ready.granted().withheld(),
        [format!(
            "key {KEY}: this host allows it, the component does not ask for it"
        )]
    );
    let mut billing = Guest(plant.bench.start(ready).await.unwrap());
    assert_eq!(billing.sign(b"m").await, Err(SignError::NotGranted));
    billing.sign_with("billing", CONTEXT, b"m").await.unwrap();
    let records = plant.records();
    assert_eq!(records[0]["event"], "signing-denied");
    assert_eq!(records[0]["component"], "test:billing");
    assert_eq!(records[0]["key"], KEY);
    assert_eq!(records[1]["event"], "signed");
    // A name that nobody has is told the same.
    assert_eq!(
        billing.sign_with("root", CONTEXT, b"m").await,
        Err(SignError::NotGranted)
    );
}

#[tokio::test]
async fn te26_a_name_that_both_sides_want_and_the_device_does_not_have() {
    let plant = Plant::new(Algorithm::Esp256);
    let ceiling = ceiling(&plant.device(), 1).key("spare", KeyCeiling::default());
    let ready = plant.load("test:telemetry", &["spare"], &ceiling).unwrap();
    let mut guest = Guest(plant.bench.start(ready).await.unwrap());
    assert_eq!(
        guest.sign_with("spare", CONTEXT, b"m").await,
        Err(SignError::UnknownKey)
    );
}

#[test]
fn te17_the_device_needs_a_key_that_both_sides_want() {
    let plant = Plant::new(Algorithm::Esp256);
    let device = plant.device();
    let denied = |keys: &[&str], ceiling: &Ceiling| {
        let error = plant.load("test:telemetry", keys, ceiling).unwrap_err();
        assert!(matches!(error, LoadError::ImportDenied { .. }), "{error}");
        assert!(error.to_string().contains("countersign:device/"), "{error}");
    };
    denied(&[], &ceiling(&device, PLENTY));
    denied(&["other"], &ceiling(&device, PLENTY));
    denied(&[KEY], &Ceiling::new().device(device.clone()));
    denied(&[KEY], &Ceiling::new().key(KEY, KeyCeiling::default()));
    // Not even the operator's word for a host's own interface of that name.
    denied(
        &[],
        &Ceiling::new()
            .device(device)
            .interface("countersign:device/signing")
            .interface("countersign:device/identity"),
    );
}

#[test]
fn te17_other_versions_of_the_device_are_not_here() {
    let plant = Plant::new(Algorithm::Esp256);
    let grants = || {
        let mut grants = Grants::default();
        grants.keys.push(KeyGrant {
            name: KEY.to_owned(),
            contexts: vec![CONTEXT.to_owned()],
            per_minute: None,
        });
        grants
    };
    for name in [
        "countersign:device/signing@0.2.0",
        "countersign:device/signing@1.0.0",
        "countersign:device/signing",
        "countersign:device/secrets@0.1.0",
    ] {
        let wat = format!(r#"(component (import "{name}" (instance (export "open" (func)))))"#);
        let verified = plant.bench.verified(&wat, grants(), GuestLimits::default());
        let linker = Linker::<GuestContext>::new(plant.bench.runtime.engine());
        let error = plant
            .bench
            .runtime
            .load(verified, &ceiling(&plant.device(), PLENTY), &linker)
            .unwrap_err();
        assert!(
            matches!(error, LoadError::ImportDenied { .. }),
            "{name}: {error}"
        );
    }
}

#[tokio::test]
async fn te27_a_million_calls_in_a_loop_are_a_minutes_worth() {
    let plant = Plant::new(Algorithm::Esp256);
    let device = plant.device();
    let greedy = |per_minute| {
        plant
            .load("test:greedy", &[KEY], &ceiling(&device, per_minute))
            .unwrap()
    };
    let started = Instant::now();
    let mut guest = Guest(plant.bench.start(greedy(30)).await.unwrap());
    let signed = guest.flood(1_000_000).await;
    // Half a signature comes in each second.
    let refilled = u32::try_from(started.elapsed().as_secs()).unwrap() / 2 + 1;
    assert!((30..=30 + refilled).contains(&signed), "{signed}");
    let Err(SignError::QuotaExceeded(wait)) = guest.sign(b"m").await else {
        panic!("it had all its signatures");
    };
    assert!((1..=2_001).contains(&wait), "{wait} ms");

    // The quota is the component's: neither another store, nor another start, nor another instance brings new ones.
    let mut again = Guest(plant.bench.start(greedy(30)).await.unwrap());
    assert!(again.flood(1_000).await <= 2);
    // Another component has its own.
    let mut modest = plant.guest("test:modest", &device).await;
    modest.sign(b"m").await.unwrap();
    // A million refusals leave one record for each signature that came between.
    let events = plant.events();
    let count = |event: &str| events.iter().filter(|other| *other == event).count();
    assert!(count("signing-quota") <= count("signed") + 1, "{events:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn te27_each_component_has_its_turn_and_every_number_is_given_once() {
    let plant = Plant::new(Algorithm::Ed25519);
    let device = plant.device();
    let mut tasks = Vec::new();
    for number in 0..8 {
        let mut guest = plant.guest(&format!("test:guest{number}"), &device).await;
        tasks.push(tokio::spawn(async move {
            let mut sequences = Vec::new();
            for _ in 0..25 {
                let signed = guest.sign(b"m").await.unwrap();
                let data = countersign_format::GuestData::decode(&signed).unwrap();
                sequences.push(data.claims().sequence());
            }
            sequences
        }));
    }
    let mut all = BTreeSet::new();
    for task in tasks {
        let sequences = task.await.unwrap();
        assert!(sequences.is_sorted_by(|one, next| one < next));
        all.extend(sequences);
    }
    // Each once, none left out.
    assert_eq!(all, (1..=200).collect());
    // In the log, too.
    let logged: BTreeSet<u64> = plant
        .records()
        .iter()
        .map(|record| record["sequence"].as_u64().unwrap())
        .collect();
    assert_eq!(logged, all);
}

#[tokio::test]
async fn te28_te29_what_a_guest_asks_for_does_not_forge_or_fill_the_log() {
    let plant = Plant::new(Algorithm::Esp256);
    let mut guest = plant.guest("test:telemetry", &plant.device()).await;
    let forged = "\u{1b}[2J\n{\"event\":\"signed\"}\u{202e}";
    assert_eq!(
        guest.sign_with(forged, CONTEXT, b"m").await,
        Err(SignError::NotGranted)
    );
    {
        let lines = plant.lines.lock().unwrap();
        assert!(lines[0].is_ascii());
        assert_eq!(lines[0].matches('\n').count(), 1);
        let record: Value = serde_json::from_str(&lines[0]).unwrap();
        assert_eq!(record["event"], "signing-denied");
        assert_eq!(record["key"], forged);
    }
    // A name of a megabyte, and a hundred thousand names.
    let long = "x".repeat(1 << 20);
    assert_eq!(
        guest.sign_with(&long, CONTEXT, b"m").await,
        Err(SignError::NotGranted)
    );
    guest
        .0
        .call_export::<(String, u32), ()>(None, "ask-again", ("x".to_owned(), 100_000))
        .await
        .unwrap();
    let lines = plant.lines.lock().unwrap();
    assert!(lines.len() < 200, "{} records", lines.len());
    assert!(lines.iter().all(|line| line.len() < 2_000));
    assert!(
        lines.iter().any(|line| line.contains("again and again")),
        "the operator is told that records are left out"
    );
}

#[tokio::test]
async fn te07_a_message_longer_than_64_kib_and_longer_than_memory() {
    let plant = Plant::new(Algorithm::Esp256);
    let device = plant.device();
    let mut guest = plant.guest("test:telemetry", &device).await;
    let message = vec![0; 65_537];
    guest.sign(&message[1..]).await.unwrap();
    assert_eq!(guest.sign(&message).await, Err(SignError::MessageTooLarge));
    assert_eq!(
        guest.digest(CONTEXT, &message, 1).await,
        Err(SignError::MessageTooLarge)
    );
    for length in [2 << 30, u32::MAX] {
        let mut guest = plant.guest("test:telemetry", &device).await;
        let params = (KEY.to_owned(), CONTEXT.to_owned(), length);
        let ended = guest
            .call::<_, Signed>("unbounded", params)
            .await
            .unwrap_err();
        assert!(
            matches!(ended.code(), Code::LimitOutput | Code::Trapped),
            "{ended:?}"
        );
    }
}

#[tokio::test]
async fn te05_keys_are_handles_and_count_as_such() {
    let plant = Plant::new(Algorithm::Esp256);
    let mut limits = Limits::default();
    limits.handles = 100;
    let ceiling = ceiling(&plant.device(), PLENTY).limits(limits);
    let ready = plant.load("test:telemetry", &[KEY], &ceiling).unwrap();
    let mut guest = Guest(plant.bench.start(ready).await.unwrap());
    let ended = guest
        .0
        .call_export::<(String, u32), ()>(None, "ask-again", (KEY.to_owned(), 101))
        .await
        .unwrap_err();
    assert!(
        matches!(
            ended,
            RunError::Limit {
                kind: LimitKind::Handles,
                ..
            }
        ),
        "{ended:?}"
    );
}

/// A key of a store that can be told to misbehave.
struct Moody {
    key: SigningKey,
    mood: Arc<Mood>,
}

#[derive(Default)]
struct Mood {
    panics: AtomicBool,
    fails: AtomicBool,
    hangs: Mutex<bool>,
    goes_on: Condvar,
    calls: AtomicUsize,
    milliseconds: AtomicU64,
}

impl Mood {
    fn hang(&self, hangs: bool) {
        *self.hangs.lock().unwrap() = hangs;
        self.goes_on.notify_all();
    }
}

impl Signer for Moody {
    fn public_key(&self) -> &PublicKey {
        self.key.public_key()
    }

    fn sign_unchecked(&self, message: &[u8]) -> Result<[u8; 64], Error> {
        self.mood.calls.fetch_add(1, Ordering::Relaxed);
        if self.mood.panics.swap(false, Ordering::Relaxed) {
            panic!("the driver has a bug");
        }
        if self.mood.fails.swap(false, Ordering::Relaxed) {
            let told = "/dev/tpmrm0 answered 0x0000018b at handle 0x81010001";
            return Err(Error::new(ErrorKind::Device, told.to_owned()));
        }
        let hangs = self.mood.hangs.lock().unwrap();
        drop(self.mood.goes_on.wait_while(hangs, |hangs| *hangs).unwrap());
        let takes = self.mood.milliseconds.load(Ordering::Relaxed);
        std::thread::sleep(Duration::from_millis(takes));
        Ok(*self.key.sign(message)?.as_bytes())
    }
}

impl Plant {
    /// The device with a moody key in a store of its own and a good one in another.
    fn moody(&self) -> (Arc<Mood>, DeviceBuilder) {
        let mood = Arc::new(Mood::default());
        let key = SigningKey::new(Moody {
            key: self.devices.device_key(),
            mood: Arc::clone(&mood),
        });
        let lent = LentKey::new(key, self.devices.chain().to_vec()).in_store("tpm");
        let builder = self.builder().key(KEY, lent).unwrap();
        let builder = builder.key("good", self.lent().in_store("file")).unwrap();
        (mood, builder)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn te27_a_component_has_one_turn_however_many_instances_it_has() {
    const INSTANCES: usize = 24;
    let plant = Plant::new(Algorithm::Ed25519);
    let (mood, builder) = plant.moody();
    mood.milliseconds.store(5, Ordering::Relaxed);
    let device = builder.build().unwrap();
    let done = Arc::new(AtomicBool::new(false));
    let mut greedy = Vec::new();
    for _ in 0..INSTANCES {
        let mut guest = plant.guest("test:greedy", &device).await;
        let done = Arc::clone(&done);
        greedy.push(tokio::spawn(async move {
            while !done.load(Ordering::Relaxed) {
                guest.sign(b"m").await.unwrap();
            }
        }));
    }
    let mut modest = plant.guest("test:modest", &device).await;
    let mut sequences = Vec::new();
    for _ in 0..41 {
        let signed = modest.sign(b"m").await.unwrap();
        let data = countersign_format::GuestData::decode(&signed).unwrap();
        sequences.push(data.claims().sequence());
    }
    done.store(true, Ordering::Relaxed);
    for task in greedy {
        task.await.unwrap();
    }
    // How many others got a signature between two of its own: in turns two or three, first come first served all of them.
    let mut between: Vec<_> = sequences.windows(2).map(|pair| pair[1] - pair[0]).collect();
    between.sort_unstable();
    assert!(between[between.len() / 2] <= 8, "{between:?}");
}

/// A key that notes on which threads it is used.
struct Followed {
    key: SigningKey,
    computed: bool,
    threads: Arc<Mutex<Vec<std::thread::ThreadId>>>,
}

impl Signer for Followed {
    fn public_key(&self) -> &PublicKey {
        self.key.public_key()
    }

    fn sign_unchecked(&self, message: &[u8]) -> Result<[u8; 64], Error> {
        self.threads
            .lock()
            .unwrap()
            .push(std::thread::current().id());
        Ok(*self.key.sign(message)?.as_bytes())
    }

    fn is_computed_here(&self) -> bool {
        self.computed
    }
}

#[tokio::test]
async fn te27_what_only_computes_interrupts_nobody_but_who_asks() {
    let plant = Plant::new(Algorithm::Esp256);
    assert!(plant.devices.device_key().is_computed_here());
    for computed in [true, false] {
        let threads = Arc::default();
        let key = SigningKey::new(Followed {
            key: plant.devices.device_key(),
            computed,
            threads: Arc::clone(&threads),
        });
        let lent = LentKey::new(key, plant.devices.chain().to_vec());
        let device = plant.builder().key(KEY, lent).unwrap().build().unwrap();
        let mut guest = plant.guest("test:telemetry", &device).await;
        plant.judge(&guest.sign(b"m").await.unwrap()).unwrap();
        // The guest runs on this one.
        let here = threads.lock().unwrap()[..] == [std::thread::current().id()];
        assert_eq!(here, computed);
    }
}

#[tokio::test]
async fn te34_a_back_end_that_panics_fails_one_call_and_no_host() {
    let plant = Plant::new(Algorithm::Esp256);
    let (mood, builder) = plant.moody();
    let device = builder.build().unwrap();
    let mut guest = plant.guest("test:telemetry", &device).await;
    mood.panics.store(true, Ordering::Relaxed);
    assert_eq!(guest.sign(b"m").await, Err(SignError::HardwareFailure));
    plant.judge(&guest.sign(b"m").await.unwrap()).unwrap();
    assert_eq!(plant.events(), ["signing-failed", "signed"]);
    // The number of the signature that was not made is not used again.
    assert_eq!(plant.records()[1]["sequence"], 2);
}

#[tokio::test]
async fn te34_a_guest_is_not_told_what_the_hardware_said() {
    let plant = Plant::new(Algorithm::Esp256);
    let (mood, builder) = plant.moody();
    let mut guest = plant
        .guest("test:telemetry", &builder.build().unwrap())
        .await;
    mood.fails.store(true, Ordering::Relaxed);
    assert_eq!(guest.sign(b"m").await, Err(SignError::HardwareFailure));
    let records = plant.records();
    let reason = records[0]["reason"].as_str().unwrap();
    assert!(reason.contains("0x0000018b"), "{reason}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn te33_a_store_that_hangs_ends_by_the_deadline_and_others_go_on() {
    let plant = Plant::new(Algorithm::Esp256);
    let (mood, builder) = plant.moody();
    let device = builder
        .deadline(Duration::from_millis(200))
        .build()
        .unwrap();
    let mut guest = plant.guest("test:telemetry", &device).await;
    let both = ceiling(&device, PLENTY).key("good", KeyCeiling::default());
    let other = plant.load("test:other", &["good"], &both).unwrap();
    let mut other = Guest(plant.bench.start(other).await.unwrap());

    mood.hang(true);
    let started = Instant::now();
    // It holds up whoever uses the same store, and is given up on.
    assert_eq!(guest.sign(b"m").await, Err(SignError::Busy));
    assert!(started.elapsed() < Duration::from_secs(20));
    // Another store's keys sign meanwhile.
    plant
        .judge(&other.sign_with("good", CONTEXT, b"m").await.unwrap())
        .unwrap();
    // What waited and was given up on is not signed when the store comes back: two threads of the store are in it.
    for _ in 0..3 {
        assert_eq!(guest.sign(b"m").await, Err(SignError::Busy));
    }
    assert_eq!(mood.calls.load(Ordering::Relaxed), 2);
    mood.hang(false);
    guest.sign(b"m").await.unwrap();
    assert_eq!(mood.calls.load(Ordering::Relaxed), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn te33_the_guests_own_deadline_holds_while_it_waits_for_a_signature() {
    let plant = Plant::new(Algorithm::Esp256);
    let (mood, builder) = plant.moody();
    let device = builder.build().unwrap();
    let mut limits = Limits::default();
    limits.run = Duration::from_millis(200);
    let ceiling = ceiling(&device, PLENTY).limits(limits);
    let ready = plant.load("test:telemetry", &[KEY], &ceiling).unwrap();
    let mut guest = Guest(plant.bench.start(ready).await.unwrap());
    mood.hang(true);
    let params = (KEY.to_owned(), CONTEXT.to_owned(), b"m".to_vec());
    let ended = guest.call::<_, Signed>("sign", params).await.unwrap_err();
    assert_eq!(ended.code(), Code::LimitTime);
    mood.hang(false);
    // The device serves the next.
    let mut next = plant.guest("test:next", &device).await;
    next.sign(b"m").await.unwrap();
}

/// A log on a disk that does not answer: the thread that the guest runs on is not the one that waits.
#[tokio::test]
async fn te33_the_guests_own_deadline_holds_while_its_record_is_waited_for() {
    let plant = Plant::new(Algorithm::Esp256);
    let (ended, has_ended) = std::sync::mpsc::channel::<()>();
    let (tell, told) = std::sync::mpsc::channel();
    let has_ended = Mutex::new(has_ended);
    let sink = move |_: &SigningRecord| {
        let waited = has_ended
            .lock()
            .unwrap()
            .recv_timeout(Duration::from_secs(30));
        tell.send(waited.is_ok()).map_err(std::io::Error::other)
    };
    let identity = DeviceIdentity::parse("test-device").unwrap();
    let device = Device::builder(identity, BootId::new([7; 16]), sink)
        .key(KEY, plant.lent())
        .unwrap()
        .build()
        .unwrap();
    let mut limits = Limits::default();
    limits.run = Duration::from_millis(200);
    let ceiling = ceiling(&device, PLENTY).limits(limits);
    let ready = plant.load("test:telemetry", &[KEY], &ceiling).unwrap();
    let mut guest = Guest(plant.bench.start(ready).await.unwrap());
    let params = (KEY.to_owned(), CONTEXT.to_owned(), b"m".to_vec());
    let stopped = guest.call::<_, Signed>("sign", params).await.unwrap_err();
    assert_eq!(stopped.code(), Code::LimitTime);
    ended.send(()).unwrap();
    let was_first = told.recv_timeout(Duration::from_secs(60)).unwrap();
    assert!(was_first, "the guest waited for its record");
}

#[tokio::test]
async fn te29_there_is_no_signature_without_its_record() {
    let plant = Plant::new(Algorithm::Esp256);
    let full = Arc::new(AtomicBool::new(false));
    let sink = Arc::clone(&full);
    let identity = DeviceIdentity::parse("test-device").unwrap();
    let sink = move |_: &SigningRecord| match sink.load(Ordering::Relaxed) {
        true => Err(std::io::ErrorKind::StorageFull.into()),
        false => Ok(()),
    };
    let device = Device::builder(identity, BootId::new([7; 16]), sink)
        .key(KEY, plant.lent())
        .unwrap()
        .build()
        .unwrap();
    let mut guest = plant.guest("test:telemetry", &device).await;
    guest.sign(b"m").await.unwrap();
    full.store(true, Ordering::Relaxed);
    assert_eq!(guest.sign(b"m").await, Err(SignError::HardwareFailure));
    full.store(false, Ordering::Relaxed);
    guest.sign(b"m").await.unwrap();
}

#[test]
fn tf08_a_key_is_lent_with_the_certificate_that_is_its_own() {
    let plant = Plant::new(Algorithm::Esp256);
    let chain = || plant.devices.chain().to_vec();
    let refused = |lent: LentKey| plant.builder().key(KEY, lent).unwrap_err();
    let stranger = countersign_testing::throwaway_key(Algorithm::Esp256);
    assert!(matches!(
        refused(LentKey::new(stranger, chain())),
        DeviceError::KeyMismatch { .. }
    ));
    let key = || plant.devices.device_key();
    assert!(matches!(
        refused(LentKey::new(key(), Vec::new())),
        DeviceError::NoCertificate { .. }
    ));
    let other = TestPki::builder()
        .profile(Profile::GuestData)
        .device_id("other-device")
        .build();
    assert!(matches!(
        refused(LentKey::new(other.device_key(), other.chain().to_vec())),
        DeviceError::DeviceMismatch { .. }
    ));
    // A certificate for another purpose.
    for profile in [Profile::ComponentSigner, Profile::Tls, Profile::Attestation] {
        let other = TestPki::builder().profile(profile).build();
        let error = refused(LentKey::new(other.device_key(), other.chain().to_vec()));
        assert!(matches!(error, DeviceError::Certificate { .. }), "{error}");
    }
    let twice = plant.builder().key(KEY, plant.lent()).unwrap();
    assert!(matches!(
        twice.key(KEY, plant.lent()),
        Err(DeviceError::NameTwice { .. })
    ));
}
