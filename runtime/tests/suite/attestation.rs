//! What guests get of the device's attestation: evidence that names them, in answer to a nonce, within grants and quotas.

use std::sync::{Arc, Mutex};

use countersign_format::{
    AttestationHardware, BootId, DeviceIdentity, Digest, EvidenceDocument, EvidenceNonce, KeyGrant,
    RuntimeClaim,
};
use countersign_keys::{
    Capabilities, Challenge, Error, ErrorKind, Evidence, KeyInfo, KeyProvider, KeyTemplate, KeyUri,
    LockConsent, SigningKey, TpmQuoteEvidence,
};
use countersign_runtime::host::{
    Device, DeviceBuilder, DeviceError, KeyCeiling, LentAttestation, SigningRecord,
};
use countersign_runtime::trust_store::{
    AttestedHardware, Code, EvidencePolicy, Rejection, UnixTime, VerifiedEvidence,
};
use countersign_runtime::wasmtime::component::{ComponentType, Lift, Linker};
use countersign_runtime::{Ceiling, GuestContext, LoadError, RunningGuest};
use countersign_testing::{Profile, TestPki};
use serde_json::Value;

use crate::support::{Bench, binary};

const ATTESTER: &str = include_str!("../guests/attester.wat");
/// The name under which tests lend the device's attestation.
const NAME: &str = "state";
const NONCE: &[u8] = b"asked just now";

/// The error of the interface, as a guest sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ComponentType, Lift)]
#[component(variant)]
enum EvidenceError {
    #[component(name = "not-granted")]
    NotGranted,
    #[component(name = "nonce-invalid")]
    NonceInvalid,
    #[component(name = "quota-exceeded")]
    QuotaExceeded(u64),
    #[component(name = "busy")]
    Busy,
    #[component(name = "hardware-failure")]
    HardwareFailure,
}

type Answer = Result<Vec<u8>, EvidenceError>;

/// A TPM as far as a quote is concerned: its structure, signed by a key of a test's device. Real TPMs are quoted by the
/// store's own tests.
struct Quoting {
    key: SigningKey,
    asked: Arc<Mutex<Vec<[u8; 32]>>>,
}

fn no<T>() -> Result<T, Error> {
    Err(Error::new(ErrorKind::Unsupported, "it only quotes"))
}

impl KeyProvider for Quoting {
    fn describe(&self) -> Result<String, Error> {
        no()
    }
    fn capabilities(&self) -> Capabilities {
        Capabilities::none()
    }
    fn generate(&self, _: &KeyUri, _: &KeyTemplate) -> Result<KeyInfo, Error> {
        no()
    }
    fn open(&self, _: &KeyUri) -> Result<SigningKey, Error> {
        no()
    }
    fn show(&self, _: &KeyUri) -> Result<KeyInfo, Error> {
        no()
    }
    fn list(&self) -> Result<Vec<KeyInfo>, Error> {
        no()
    }
    fn delete(&self, _: &KeyUri) -> Result<(), Error> {
        no()
    }
    fn attest(&self, _: &KeyUri, _: &Challenge) -> Result<Evidence, Error> {
        no()
    }
    fn lock(&self, _: &KeyUri, _: &LockConsent) -> Result<(), Error> {
        no()
    }

    fn state(
        &self,
        _: &KeyUri,
        registers: &[u8],
        challenge: &Challenge,
    ) -> Result<Evidence, Error> {
        self.asked.lock().unwrap().push(*challenge.as_bytes());
        assert_eq!(registers, [7]);
        let attest = [
            &b"\xffTCG\x80\x18\x00\x22\x00\x0b"[..],
            &[5; 32],
            b"\x00\x20",
            challenge.as_bytes(),
            &[0; 25],
            b"\0\0\0\x01\x00\x0b\x03\x80\x00\x00\x00\x20",
            Digest::of(&[2; 32]).as_bytes(),
        ]
        .concat();
        Ok(Evidence::TpmQuote(TpmQuoteEvidence {
            signature: *self.key.sign(&attest)?.as_bytes(),
            attest,
            registers: vec![(7, [2; 32])],
            attestation_key: self.key.public_key().clone(),
        }))
    }
}

/// A device that lends its attestation, and a host.
struct Plant {
    bench: Bench,
    devices: TestPki,
    lines: Arc<Mutex<Vec<String>>>,
    asked: Arc<Mutex<Vec<[u8; 32]>>>,
}

impl Plant {
    fn new() -> Self {
        Self {
            bench: Bench::new(),
            devices: TestPki::builder()
                .profile(Profile::Attestation)
                .hardware(AttestationHardware::Tpm)
                .build(),
            lines: Arc::default(),
            asked: Arc::default(),
        }
    }

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

    fn quoting(&self, key: SigningKey) -> LentAttestation {
        let provider = Box::new(Quoting {
            key,
            asked: Arc::clone(&self.asked),
        });
        let runtime = RuntimeClaim::new("test-host", "1.0.0", None).unwrap();
        let uri = "tpm:attestation".parse().unwrap();
        let chain = self.devices.chain().to_vec();
        LentAttestation::of_boot(provider, uri, vec![7], chain, runtime)
    }

    fn device(&self) -> Device {
        let lent = self.quoting(self.devices.device_key());
        let builder = self.builder().attestation(NAME, lent).unwrap();
        builder.build().unwrap()
    }

    async fn guest(
        &self,
        device: &Device,
        name: &str,
        context: &str,
        ceiling: KeyCeiling,
    ) -> Result<Guest, LoadError> {
        let mut manifest = self.bench.pki.manifest("test:telemetry");
        manifest.grants.keys = vec![KeyGrant {
            name: name.to_owned(),
            contexts: vec![context.to_owned()],
            per_minute: None,
        }];
        let signed = self.bench.pki.sign(&binary(ATTESTER), &manifest);
        let verified = self
            .bench
            .runtime
            .verify(signed, &self.bench.now(), &self.bench.pki.state())
            .unwrap();
        let linker = Linker::<GuestContext>::new(self.bench.runtime.engine());
        let ceiling = Ceiling::new().device(device.clone()).key(name, ceiling);
        let ready = self.bench.runtime.load(verified, &ceiling, &linker)?;
        Ok(Guest(self.bench.start(ready).await.unwrap()))
    }

    /// A guest that was granted evidence.
    async fn granted(&self, device: &Device) -> Guest {
        let ceiling = KeyCeiling::default().per_minute(1_000);
        self.guest(device, NAME, "evidence", ceiling).await.unwrap()
    }

    fn judge(&self, bytes: &[u8], nonce: &[u8]) -> Result<VerifiedEvidence, Rejection> {
        let policy = EvidencePolicy::answering(EvidenceNonce::new(nonce).unwrap())
            .expecting_register(7, [2; 32])
            .expecting_component(Digest::of(&binary(ATTESTER)));
        self.devices.anchors().verify_evidence(
            bytes,
            &policy,
            &self.devices.now(),
            &self.devices.state(),
        )
    }

    fn records(&self) -> Vec<Value> {
        let lines = self.lines.lock().unwrap();
        lines
            .iter()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }
}

struct Guest(RunningGuest<GuestContext>);

impl Guest {
    async fn evidence(&mut self, nonce: &[u8]) -> Answer {
        let (answer,) = self
            .0
            .call_export::<_, (Answer,)>(None, "evidence", (nonce.to_vec(),))
            .await
            .unwrap();
        answer
    }
}

#[tokio::test]
async fn evidence_names_who_asked_and_answers_the_nonce() {
    let plant = Plant::new();
    let mut guest = plant.granted(&plant.device()).await;
    let bytes = guest.evidence(NONCE).await.unwrap();
    let verified = plant.judge(&bytes, NONCE).unwrap();
    let claims = verified.claims();
    assert_eq!(claims.device().as_str(), "test-device");
    assert_eq!(claims.boot(), BootId::new([7; 16]));
    assert_eq!(claims.runtime().name(), "test-host");
    let component = claims.component().unwrap();
    assert_eq!(component.name().as_str(), "test:telemetry");
    assert_eq!(component.signers().len(), 1);
    assert!(
        matches!(verified.hardware(), AttestedHardware::TpmBoot { registers, .. } if registers[..] == [(7, [2; 32])])
    );
    let refused = plant.judge(&bytes, b"asked another time").unwrap_err();
    assert_eq!(refused.code(), Code::EvidenceNonce);
    let record = &plant.records()[0];
    assert_eq!(record["key"], NAME);
    assert_eq!(record["context"], "evidence");
    assert_eq!(record["sequence"], 1);
    assert_eq!(record["event"], "attested");
    assert_eq!(record["boot"], "07".repeat(16));
    let challenge = countersign_format::evidence_challenge(claims);
    assert_eq!(record["payload_sha256"], challenge.to_string());
}

#[tokio::test]
async fn te22_hardware_is_never_asked_with_a_guests_nonce() {
    let plant = Plant::new();
    let mut guest = plant.granted(&plant.device()).await;
    let nonce = [0x5a; 32];
    let bytes = guest.evidence(&nonce).await.unwrap();
    let document = EvidenceDocument::decode(&bytes).unwrap();
    let challenge = countersign_format::evidence_challenge(document.claims());
    assert_eq!(*plant.asked.lock().unwrap(), [*challenge.as_bytes()]);
    assert_ne!(challenge.as_bytes(), &nonce);
}

#[tokio::test]
async fn a_nonce_has_8_to_64_bytes() {
    let plant = Plant::new();
    let mut guest = plant.granted(&plant.device()).await;
    for (length, good) in [(0, false), (7, false), (8, true), (64, true), (65, false)] {
        let answer = guest.evidence(&vec![1; length]).await;
        assert_eq!(answer.is_ok(), good, "{length}");
        if !good {
            assert_eq!(answer, Err(EvidenceError::NonceInvalid));
        }
    }
}

#[tokio::test]
async fn te26_evidence_needs_its_name_and_its_context() {
    let plant = Plant::new();
    let device = plant.device();
    let plenty = KeyCeiling::default;
    // Another name; the name with another context; the context taken away by the operator.
    for (name, context, ceiling) in [
        ("other", "evidence", plenty()),
        (NAME, "reading/v1", plenty()),
        (NAME, "evidence", plenty().contexts(["reading/v1"])),
    ] {
        let mut guest = plant.guest(&device, name, context, ceiling).await.unwrap();
        assert_eq!(
            guest.evidence(NONCE).await,
            Err(EvidenceError::NotGranted),
            "{name} {context}"
        );
    }
    assert!(plant.asked.lock().unwrap().is_empty());
    let denied: Vec<_> = plant.records();
    assert_eq!(denied.len(), 3);
    assert!(denied.iter().all(|record| record["context"] == "evidence"));
}

#[tokio::test]
async fn te27_evidence_has_the_quota_of_its_name() {
    let plant = Plant::new();
    let device = plant.device();
    let ceiling = KeyCeiling::default().per_minute(2);
    let mut guest = plant
        .guest(&device, NAME, "evidence", ceiling)
        .await
        .unwrap();
    let mut answers = Vec::new();
    for _ in 0..5 {
        answers.push(guest.evidence(NONCE).await);
    }
    assert!(answers[0].is_ok());
    assert!(
        answers.iter().any(
            |answer| matches!(answer, Err(EvidenceError::QuotaExceeded(millis)) if *millis > 0)
        ),
        "{answers:?}"
    );
}

#[tokio::test]
async fn tf08_another_key_than_the_certified_one_gives_no_evidence() {
    let plant = Plant::new();
    let other = TestPki::builder().build().device_key();
    let builder = plant.builder().attestation(NAME, plant.quoting(other));
    let mut guest = plant.granted(&builder.unwrap().build().unwrap()).await;
    assert_eq!(
        guest.evidence(NONCE).await,
        Err(EvidenceError::HardwareFailure)
    );
    let record = plant.records().pop().unwrap();
    assert!(
        record.to_string().contains("provision this device again"),
        "{record}"
    );
}

#[test]
fn tf11_hardware_that_is_not_the_certified_kind_is_not_lent() {
    use AttestationHardware::{Atecc608, Tpm};
    let plant = Plant::new();
    let lends = |certified: Option<AttestationHardware>, source: &str| {
        let builder = TestPki::builder().profile(Profile::Attestation);
        let pki = match certified {
            Some(hardware) => builder.hardware(hardware).build(),
            None => builder.build(),
        };
        let (key, chain) = (pki.device_key(), pki.chain().to_vec());
        let runtime = RuntimeClaim::new("test-host", "1.0.0", None).unwrap();
        let lent = match source {
            "software" => LentAttestation::in_software(key, chain, runtime),
            _ => {
                let provider = Box::new(Quoting {
                    key,
                    asked: Arc::clone(&plant.asked),
                });
                let uri = "tpm:attestation".parse().unwrap();
                LentAttestation::of_boot(provider, uri, vec![7], chain, runtime)
            }
        };
        match plant.builder().attestation(NAME, lent) {
            Ok(_) => true,
            Err(DeviceError::HardwareMismatch { .. }) => false,
            Err(other) => panic!("{other}"),
        }
    };
    assert!(lends(None, "software") && lends(Some(Tpm), "tpm"));
    for (certified, source) in [
        (Some(Tpm), "software"),
        (Some(Atecc608), "software"),
        (None, "tpm"),
        (Some(Atecc608), "tpm"),
    ] {
        assert!(!lends(certified, source), "{source} as {certified:?}");
    }
}

#[test]
fn tc13_a_certificate_for_another_purpose_or_device_attests_nothing() {
    let plant = Plant::new();
    let runtime = || RuntimeClaim::new("test-host", "1.0.0", None).unwrap();
    for profile in [Profile::GuestData, Profile::Tls] {
        let pki = TestPki::builder().profile(profile).build();
        let lent = LentAttestation::in_software(pki.device_key(), pki.chain().to_vec(), runtime());
        let refused = plant.builder().attestation(NAME, lent).unwrap_err();
        assert!(
            matches!(refused, DeviceError::Certificate { .. }),
            "{refused}"
        );
    }
    let pki = TestPki::builder()
        .profile(Profile::Attestation)
        .device_id("other-device")
        .build();
    let lent = LentAttestation::in_software(pki.device_key(), pki.chain().to_vec(), runtime());
    let refused = plant.builder().attestation(NAME, lent).unwrap_err();
    assert!(matches!(refused, DeviceError::DeviceMismatch { .. }));
    // One attestation a device, under one name.
    let lent = || plant.quoting(plant.devices.device_key());
    let builder = plant.builder().attestation(NAME, lent()).unwrap();
    let refused = builder.attestation("again", lent()).unwrap_err();
    assert!(matches!(refused, DeviceError::NameTwice { .. }));
}
