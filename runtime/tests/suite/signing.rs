//! What guests get of the device: signatures, within grants and quotas.

mod foreign;
mod hardware;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use countersign_format::{
    Algorithm, BootId, DeviceIdentity, Digest, Grants, GuestLimits, GuestPayload, KeyGrant,
};
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
    // One may have come in since.
    let emptied = Instant::now();
    let mut refused = None;
    for _ in 0..10 {
        if let Err(SignError::QuotaExceeded(wait)) = guest.sign(b"m").await {
            refused = Some(wait);
            break;
        }
    }
    let wait = refused.expect("it had all its signatures");
    assert!((1..=2_001).contains(&wait), "{wait} ms");

    // The quota is the component's: neither another store, nor another start, nor another instance brings new ones.
    let mut again = Guest(plant.bench.start(greedy(30)).await.unwrap());
    let signed = again.flood(1_000).await;
    let refilled = u32::try_from(emptied.elapsed().as_secs()).unwrap() / 2 + 1;
    assert!(signed <= refilled, "{signed}");
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
