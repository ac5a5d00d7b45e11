//! A chip on the bench: the emulator with a driver, or a store of keys, on its bus.

use std::path::Path;

use countersign_atecc608_emulator::{EmulatedBus, EmulatedDelay, Emulator, Factory};
use countersign_backend_atecc608::{Atecc608, Atecc608Provider, DEADLINE_MICROS};
use countersign_keys::{Algorithm, KeyProvider as _, KeyTemplate, KeyUri};

pub(crate) type Device = Atecc608<EmulatedBus, EmulatedDelay>;
pub(crate) type Provider = Atecc608Provider<EmulatedBus, EmulatedDelay>;

pub(crate) struct Bench {
    pub(crate) emulator: Emulator,
}

impl Bench {
    pub(crate) fn new(factory: Factory) -> Self {
        Self {
            emulator: Emulator::new(factory),
        }
    }

    pub(crate) fn device(&self) -> Device {
        Atecc608::new(self.emulator.bus(), self.emulator.delay(), 0x60)
    }

    pub(crate) fn provider(&self) -> Provider {
        Atecc608Provider::new(self.device(), Path::new("/dev/i2c-1"), 0x60)
    }

    /// A store with a signing key in slot 0 and an attestation key in slot 1.
    pub(crate) fn with_keys(factory: Factory) -> (Self, Provider) {
        let bench = Self::new(factory);
        let provider = bench.provider();
        provider
            .generate(&uri(0), &KeyTemplate::signing(Algorithm::Esp256))
            .expect("a signing key");
        provider
            .generate(&uri(1), &KeyTemplate::attestation(Algorithm::Esp256))
            .expect("an attestation key");
        (bench, provider)
    }

    /// Does the work, and looks that it ended by the deadline of so many calls.
    pub(crate) fn in_time<T>(&self, calls: u64, work: impl FnOnce() -> T) -> T {
        let start = self.emulator.clock().micros();
        let result = work();
        let took = self.emulator.clock().micros() - start;
        // The last command may have begun just before the deadline.
        assert!(
            took <= calls * (DEADLINE_MICROS + 1_000_000),
            "{calls} calls took {took} µs"
        );
        result
    }
}

pub(crate) fn uri(slot: u8) -> KeyUri {
    format!("atecc608:/dev/i2c-1?address=0x60&slot={slot}")
        .parse()
        .expect("a key URI")
}

/// What became of signatures with a fault in each.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// Left, and verify by the library alone.
    pub(crate) good: u32,
    /// Did not leave.
    pub(crate) refused: u32,
    /// Left, and do not verify.
    pub(crate) bad: u32,
}

/// Signs so many times; each time one bit is turned at a place that a seed chooses.
pub(crate) fn flipped_signatures(count: u32, seed: u64) -> Tally {
    use countersign_atecc608_emulator::Fault;
    use p256::ecdsa::signature::Verifier as _;
    const FAULTS: [Fault; 5] = [
        Fault::RequestBit,
        Fault::AnswerBit,
        Fault::DigestBit,
        Fault::ScalarBit,
        Fault::SignatureBit,
    ];
    const OPCODES: [u8; 3] = [0x16, 0x1b, 0x41];
    let (bench, provider) = Bench::with_keys(Factory::provisioned(seed));
    let key = provider.open(&uri(0)).expect("a key");
    let point = key.public_key().to_raw_bytes();
    let library = p256::ecdsa::VerifyingKey::from_sec1_bytes(&point).expect("a point");
    let mut random = seed;
    // SplitMix64.
    let mut next = move |below: usize| {
        random = random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) >> 33).expect("31 bits") % below
    };
    let mut tally = Tally::default();
    for n in 0..count {
        let fault = FAULTS[next(FAULTS.len())];
        let mut planned = fault
            .once()
            .bit(next(67 * 8))
            .after(u32::from(next(2) == 1));
        if matches!(fault, Fault::RequestBit | Fault::AnswerBit) {
            planned = planned.on(OPCODES[next(OPCODES.len())]);
            if next(2) == 1 {
                planned = planned.times(u32::MAX);
            }
        } else {
            planned = planned.after(0);
        }
        bench.emulator.inject(planned);
        let message = n.to_be_bytes();
        match key.sign(&message) {
            Err(_) => tally.refused += 1,
            Ok(signature) => {
                let raw = p256::ecdsa::Signature::from_slice(signature.as_bytes());
                if raw.is_ok_and(|raw| library.verify(&message, &raw).is_ok()) {
                    tally.good += 1;
                } else {
                    tally.bad += 1;
                }
            }
        }
        bench.emulator.heal();
    }
    tally
}
