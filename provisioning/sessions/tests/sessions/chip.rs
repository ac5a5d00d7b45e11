//! One chip: what a session makes of it, and what it refuses.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use countersign_atecc608_emulator::{Emulator, Factory, Fault};
use countersign_keys::{
    Capabilities, Challenge, Error as KeyError, Evidence, KeyInfo, KeyProvider, KeyTemplate,
    KeyUri, LockConsent, SigningKey,
};
use countersign_provisioning::Reason;
use countersign_sessions::{Attested, Device, Error, Failed, Hardware, Memory, Step};
use countersign_trust_store::Certificate;

use crate::bench::{Bench, chip, issued, job, now, on_runtime, provision, uri};

fn emulator(seed: u64) -> Emulator {
    Emulator::new(Factory::provisioned(seed))
}

#[test]
fn tc38_a_device_leaves_with_a_certificate_of_its_own_key_and_on_record() {
    on_runtime(async {
        let bench = Bench::new();
        let station = bench.station().await;
        let emulator = emulator(1);
        let done = provision(
            &station,
            &job("press-1", &uri(1)),
            Arc::new(chip(&emulator, 1)),
        )
        .await
        .expect("provisioned");
        assert_eq!(done.attested.as_str(), "atecc608");
        assert!(!done.is_locked);
        let certificate = Certificate::parse(&done.chain[0]).expect("a certificate");
        let key = chip(&emulator, 1)
            .keys()
            .show(&uri(1).parse().expect("a URI"))
            .expect("a key")
            .public;
        assert_eq!(certificate.public_key().expect("a key"), key);
        let device = certificate.device().expect("read").expect("a device");
        assert_eq!(device.identity().as_str(), "press-1");
        assert_eq!(
            certificate.device_type().expect("read").as_deref(),
            Some("press")
        );
        // In the chip, as it is on the disk and in the registry.
        let slots = [8, 9, 10, 11, 12, 13, 14, 15]
            .map(|slot| emulator.slot(slot))
            .concat();
        let length = usize::from(u16::from_be_bytes([slots[0], slots[1]]));
        assert_eq!(&slots[2..2 + length], done.chain[0]);
        let folder = bench.path("devices/press-1");
        let chain = std::fs::read(folder.join("chain.pem")).expect("there");
        assert_eq!(
            countersign_trust_store::pem::certificates(&chain).expect("PEM"),
            done.chain
        );
        let summary = std::fs::read_to_string(folder.join("device.json")).expect("there");
        for word in [
            "press-1",
            "\"tables\":[]",
            "BEGIN PUBLIC KEY",
            "\"hardware\":\"",
        ] {
            assert!(summary.contains(word), "{word}: {summary}");
        }
        let registry = station.issuing.registry();
        assert_eq!(issued(registry, "press-1").await, 1);
        let recorded = registry
            .device(&"press-1".parse().expect("an id"))
            .await
            .expect("found")
            .expect("there");
        assert_eq!(
            recorded.hardware_hash.as_ref(),
            done.hardware.as_ref().map(Hardware::hash)
        );
        assert_eq!(recorded.firmware, "1.2.0");
        // Once more changes nothing.
        let again = provision(
            &station,
            &job("press-1", &uri(1)),
            Arc::new(chip(&emulator, 1)),
        )
        .await
        .expect("provisioned");
        assert_eq!(again.certificate.serial, done.certificate.serial);
        assert_eq!(issued(registry, "press-1").await, 1);
    });
}

#[test]
fn tg31_what_is_handed_over_holds_no_private_key() {
    on_runtime(async {
        let bench = Bench::new();
        let station = bench.station().await;
        let emulator = emulator(2);
        provision(
            &station,
            &job("press-1", &uri(1)),
            Arc::new(chip(&emulator, 1)),
        )
        .await
        .expect("provisioned");
        let secret = emulator.private_key(0).expect("a key");
        let digits: String = secret.iter().map(|byte| format!("{byte:02x}")).collect();
        let mut files = 0;
        for entry in std::fs::read_dir(bench.path("devices/press-1")).expect("there") {
            let bytes = std::fs::read(entry.expect("an entry").path()).expect("read");
            let text = String::from_utf8_lossy(&bytes).to_ascii_lowercase();
            assert!(!bytes.windows(32).any(|window| window == secret));
            assert!(
                !text.contains(&digits) && !text.contains("private"),
                "{text}"
            );
            files += 1;
        }
        assert_eq!(files, 4);
    });
}

/// A device that behaves as the chip in it, but where it is told otherwise.
struct Liar {
    honest: Box<dyn Device>,
    /// Another device's, whose keys are shown from this call of `show` on.
    other: Option<(Box<dyn Device>, u32)>,
    shown: AtomicU32,
    /// Flips a bit of what is read back.
    forgets: bool,
    /// Says that it locked and did not.
    stays_open: bool,
}

impl Liar {
    fn of(honest: impl Device + 'static) -> Self {
        Self {
            honest: Box::new(honest),
            other: None,
            shown: AtomicU32::new(0),
            forgets: false,
            stays_open: false,
        }
    }
}

impl Device for Liar {
    fn keys(&self) -> &dyn KeyProvider {
        self
    }

    fn hardware(&self) -> Result<Option<Hardware>, Error> {
        self.honest.hardware()
    }

    fn attest(&self, key: &KeyInfo, challenge: &Challenge) -> Result<Attested, Error> {
        self.honest.attest(key, challenge)
    }

    fn memory(&self) -> Option<&dyn Memory> {
        if self.forgets {
            Some(self)
        } else {
            self.honest.memory()
        }
    }

    fn lock_serial(&self, key: &KeyUri) -> Result<Option<String>, Error> {
        self.honest.lock_serial(key)
    }
}

impl Memory for Liar {
    fn place(&self) -> String {
        "a memory that forgets".to_owned()
    }

    fn room(&self) -> usize {
        self.honest.memory().expect("memory").room()
    }

    fn write(&self, bytes: &[u8]) -> Result<(), Error> {
        self.honest.memory().expect("memory").write(bytes)
    }

    fn read(&self) -> Result<Vec<u8>, Error> {
        let mut bytes = self.honest.memory().expect("memory").read()?;
        bytes[200] ^= 1;
        Ok(bytes)
    }
}

impl KeyProvider for Liar {
    fn describe(&self) -> Result<String, KeyError> {
        self.honest.keys().describe()
    }

    fn capabilities(&self) -> Capabilities {
        self.honest.keys().capabilities()
    }

    fn generate(&self, key: &KeyUri, template: &KeyTemplate) -> Result<KeyInfo, KeyError> {
        self.honest.keys().generate(key, template)
    }

    fn open(&self, key: &KeyUri) -> Result<SigningKey, KeyError> {
        self.honest.keys().open(key)
    }

    fn show(&self, key: &KeyUri) -> Result<KeyInfo, KeyError> {
        let count = self.shown.fetch_add(1, Ordering::SeqCst) + 1;
        match &self.other {
            Some((other, from)) if count >= *from => other.keys().show(key),
            _ => self.honest.keys().show(key),
        }
    }

    fn list(&self) -> Result<Vec<KeyInfo>, KeyError> {
        self.honest.keys().list()
    }

    fn delete(&self, key: &KeyUri) -> Result<(), KeyError> {
        self.honest.keys().delete(key)
    }

    fn attest(&self, key: &KeyUri, challenge: &Challenge) -> Result<Evidence, KeyError> {
        self.honest.keys().attest(key, challenge)
    }

    fn lock(&self, key: &KeyUri, consent: &LockConsent) -> Result<(), KeyError> {
        if self.stays_open {
            return Ok(());
        }
        self.honest.keys().lock(key, consent)
    }
}

/// A chip with a key of its own.
fn keyed(seed: u64) -> (Emulator, KeyUri) {
    let emulator = emulator(seed);
    let key: KeyUri = uri(1).parse().expect("a URI");
    chip(&emulator, 1)
        .keys()
        .generate(
            &key,
            &KeyTemplate::signing(countersign_keys::Algorithm::Esp256),
        )
        .expect("a key");
    (emulator, key)
}

#[test]
fn tg29_a_device_that_answers_with_another_key_is_refused_at_every_step() {
    on_runtime(async {
        let bench = Bench::new();
        let station = bench.station().await;
        // Shown from the start: the chip vouches for its own key, and the other is not that.
        let (honest, _) = keyed(3);
        let (other, _) = keyed(4);
        let liar = |from| {
            let mut liar = Liar::of(chip(&honest, 1));
            liar.other = Some((Box::new(chip(&other, 1)), from));
            Arc::new(liar)
        };
        let job = job("press-1", &uri(1));
        let Failed { step, error } = provision(&station, &job, liar(1))
            .await
            .expect_err("refused");
        assert_eq!(step, Step::Attest, "{error}");
        assert!(matches!(error, Error::Attestation { .. }), "{error}");
        assert_eq!(issued(station.issuing.registry(), "press-1").await, 0);
        // Exchanged after its certificate was issued.
        let Failed { step, error } = provision(&station, &job, liar(2))
            .await
            .expect_err("refused");
        assert_eq!(step, Step::Compare, "{error}");
        assert!(matches!(error, Error::OtherKey { .. }), "{error}");
        // The certificate is the honest key's, and the honest device gets it.
        provision(&station, &job, Arc::new(chip(&honest, 1)))
            .await
            .expect("provisioned");
        assert_eq!(issued(station.issuing.registry(), "press-1").await, 1);
        // Another device in its place gets none, and no one else's key gets its name.
        let Failed { step, error } = provision(&station, &job, Arc::new(chip(&other, 1)))
            .await
            .expect_err("refused");
        assert_eq!(step, Step::Register, "{error}");
        let second = crate::bench::job("press-2", &uri(1));
        let Failed { step, error } = provision(&station, &second, Arc::new(chip(&honest, 1)))
            .await
            .expect_err("refused");
        assert_eq!(step, Step::Register, "{error}");
        assert!(error.to_string().contains("press-1"), "{error}");
        assert_eq!(issued(station.issuing.registry(), "press-2").await, 0);
        // Another key in the same chip gets no second certificate.
        honest.inject(Fault::KeyReplaced.once());
        let Failed { step, error } = provision(&station, &job, Arc::new(chip(&honest, 1)))
            .await
            .expect_err("refused");
        assert_eq!(step, Step::Issue, "{error}");
        assert!(matches!(error, Error::HasAnother { .. }), "{error}");
        assert_eq!(issued(station.issuing.registry(), "press-1").await, 1);
        // A key that is another one when the device is tested: the third signature, after evidence and possession.
        let (late, _) = keyed(16);
        late.inject(Fault::KeyReplaced.once().on(0x41).after(2));
        let third = crate::bench::job("press-3", &uri(1));
        let Failed { step, error } = provision(&station, &third, Arc::new(chip(&late, 1)))
            .await
            .expect_err("refused");
        assert_eq!(step, Step::Test, "{error}");
    });
}

#[test]
fn a_chain_that_reads_back_otherwise_is_an_error() {
    on_runtime(async {
        let bench = Bench::new();
        let station = bench.station().await;
        let emulator = emulator(5);
        let mut liar = Liar::of(chip(&emulator, 1));
        liar.forgets = true;
        let Failed { step, error } = provision(&station, &job("press-1", &uri(1)), Arc::new(liar))
            .await
            .expect_err("refused");
        assert_eq!(step, Step::ReadBack, "{error}");
        assert!(matches!(error, Error::ReadBack { .. }), "{error}");
        // Its certificate is not lost: the same device, mended, gets the same one.
        provision(
            &station,
            &job("press-1", &uri(1)),
            Arc::new(chip(&emulator, 1)),
        )
        .await
        .expect("provisioned");
        assert_eq!(issued(station.issuing.registry(), "press-1").await, 1);
    });
}

#[test]
fn a_slot_locks_where_it_is_asked_for_and_one_that_does_not_is_an_error() {
    on_runtime(async {
        let bench = Bench::new();
        let mut station = bench.station().await;
        let open = emulator(6);
        provision(&station, &job("press-0", &uri(1)), Arc::new(chip(&open, 1)))
            .await
            .expect("provisioned");
        assert_eq!(open.configuration()[88] & 1, 1, "nobody asked");
        station.lock_for_ever = true;
        let emulator = emulator(7);
        let mut liar = Liar::of(chip(&emulator, 1));
        liar.stays_open = true;
        let Failed { step, error } = provision(&station, &job("press-1", &uri(1)), Arc::new(liar))
            .await
            .expect_err("refused");
        assert_eq!(step, Step::Lock, "{error}");
        assert!(matches!(error, Error::NotLocked { .. }), "{error}");
        let done = provision(
            &station,
            &job("press-1", &uri(1)),
            Arc::new(chip(&emulator, 1)),
        )
        .await
        .expect("provisioned");
        assert!(done.is_locked);
        assert_eq!(emulator.configuration()[88] & 1, 0, "slot 0 is locked");
        // What is locked can be done once more.
        provision(
            &station,
            &job("press-1", &uri(1)),
            Arc::new(chip(&emulator, 1)),
        )
        .await
        .expect("provisioned");
        // A chip whose slot cannot be locked on its own (KeyConfig, Lockable).
        let fixed = Emulator::new(Factory::provisioned(8).slot(0, 0x2083, 0x0013));
        let Failed { step, error } = provision(
            &station,
            &job("press-2", &uri(1)),
            Arc::new(chip(&fixed, 1)),
        )
        .await
        .expect_err("refused");
        assert_eq!(step, Step::Lock, "{error}");
    });
}

#[test]
fn tf12_tf20_a_chip_whose_key_could_leave_or_that_nothing_vouches_for_is_not_provisioned() {
    on_runtime(async {
        let bench = Bench::new();
        let station = bench.station().await;
        let refused = |factory: Factory, step: Step, word: &'static str| {
            let station = station.clone();
            async move {
                let emulator = Emulator::new(factory);
                let failed = provision(
                    &station,
                    &job("press-1", &uri(1)),
                    Arc::new(chip(&emulator, 1)),
                )
                .await
                .expect_err(word);
                assert_eq!(failed.step, step, "{failed}");
                assert!(failed.error.to_string().contains(word), "{failed}");
                assert_eq!(issued(station.issuing.registry(), "press-1").await, 0);
            }
        };
        // A blank chip, whose configuration can still be changed.
        refused(Factory::blank(9), Step::Key, "configuration").await;
        // A slot that takes keys from outside (PrivWrite).
        let importable = Factory::provisioned(10).slot(0, 0x6083, 0x0033);
        refused(importable, Step::Key, "PrivWrite").await;
        // No slot for a key that vouches for the others.
        let mute = Factory::provisioned(11).slot(1, 0x2083, 0x0033);
        refused(mute, Step::Attest, "vouches").await;
        // One that signs messages from outside too can be made to say anything.
        let talkative = Factory::provisioned(12).slot(1, 0x2087, 0x0033);
        refused(talkative, Step::Attest, "vouches").await;
    });
}

#[test]
fn a_key_in_a_file_is_taken_where_the_station_was_told_to_and_nowhere_else() {
    on_runtime(async {
        let bench = Bench::new();
        let mut station = bench.station().await;
        let key = format!("file:{}", bench.path("press-1.key").display());
        let job = job("press-1", &key);
        let files = || -> Arc<dyn Device> {
            let store = countersign_backend_file::FileProvider::unencrypted();
            Arc::new(countersign_sessions::Plain::new(Box::new(store)))
        };
        let Failed { step, error } = provision(&station, &job, files())
            .await
            .expect_err("refused");
        assert_eq!(step, Step::Key, "{error}");
        assert!(!bench.path("press-1.key").exists(), "nothing is made");
        station.software = true;
        let done = provision(&station, &job, files())
            .await
            .expect("provisioned");
        assert_eq!(done.attested.as_str(), "none");
        assert_eq!(done.place, None);
        // Nothing of a file can be locked.
        station.lock_for_ever = true;
        let Failed { step, error } = provision(&station, &job, files())
            .await
            .expect_err("refused");
        assert_eq!(step, Step::Lock, "{error}");
    });
}

#[test]
fn hardware_that_was_exchanged_is_refused_though_the_device_was_approved_by_name_alone() {
    on_runtime(async {
        let bench = Bench::new();
        let station = bench.station().await;
        let registry = station.issuing.registry();
        let order = station.order.clone().expect("an order");
        let id: countersign_format::DeviceIdentity = "press-1".parse().expect("an id");
        let approved = countersign_registry::Device::approved(id.clone(), &order);
        registry
            .register(&[approved], now())
            .await
            .expect("registered");
        let (first, second) = (emulator(16), emulator(17));
        let job = job("press-1", &uri(1));
        let done = provision(&station, &job, Arc::new(chip(&first, 1)))
            .await
            .expect("provisioned");
        let recorded = registry.device(&id).await.expect("asked").expect("there");
        let hardware = done.hardware.expect("a chip");
        assert_eq!(recorded.hardware_hash.as_ref(), Some(hardware.hash()));
        // Even when its certificate counts no more.
        station
            .issuing
            .revoke(&done.certificate.serial, Reason::Superseded, "a test")
            .await
            .expect("revoked");
        let Failed { step, error } = provision(&station, &job, Arc::new(chip(&second, 1)))
            .await
            .expect_err("refused");
        assert_eq!(step, Step::Register, "{error}");
    });
}

#[test]
fn tg23_a_key_whose_certificate_was_revoked_gets_no_other() {
    on_runtime(async {
        let bench = Bench::new();
        let station = bench.station().await;
        let emulator = emulator(13);
        let job = job("press-1", &uri(1));
        let done = provision(&station, &job, Arc::new(chip(&emulator, 1)))
            .await
            .expect("provisioned");
        station
            .issuing
            .revoke(&done.certificate.serial, Reason::KeyCompromise, "a test")
            .await
            .expect("revoked");
        let Failed { step, error } = provision(&station, &job, Arc::new(chip(&emulator, 1)))
            .await
            .expect_err("refused");
        assert_eq!(step, Step::Issue, "{error}");
        assert_eq!(issued(station.issuing.registry(), "press-1").await, 0);
    });
}

#[test]
fn tg05_tg26_a_device_that_nobody_approved_or_of_other_hardware_gets_no_certificate() {
    on_runtime(async {
        let bench = Bench::new();
        let mut station = bench.station().await;
        let order = station.order.take();
        let (first, second) = (emulator(14), emulator(15));
        let mut job = job("press-1", &uri(1));
        let Failed { step, error } = provision(&station, &job, Arc::new(chip(&first, 1)))
            .await
            .expect_err("refused");
        assert_eq!(step, Step::Register, "{error}");
        assert!(error.to_string().contains("approve"), "{error}");
        // The list says which hardware it must be.
        station.order = order;
        let hash = |emulator: &Emulator| {
            let hardware = chip(emulator, 1).hardware().expect("read").expect("a chip");
            *hardware.hash()
        };
        job.hardware = Some(hash(&second));
        let Failed { step, error } = provision(&station, &job, Arc::new(chip(&first, 1)))
            .await
            .expect_err("refused");
        assert_eq!(step, Step::Register, "{error}");
        job.hardware = Some(hash(&first));
        provision(&station, &job, Arc::new(chip(&first, 1)))
            .await
            .expect("provisioned");
    });
}
