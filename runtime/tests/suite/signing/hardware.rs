//! Hardware that is slow, hangs, fails or panics, and logs that do: whom that holds up, and whom not.

use std::sync::Condvar;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use countersign_keys::{Error, ErrorKind, PublicKey, Signer, SigningKey};

use super::*;

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
    let device = builder.deadline(Duration::from_secs(1)).build().unwrap();
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
