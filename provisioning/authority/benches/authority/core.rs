//! The core by itself: no TLS, no HTTP, nobody's rights.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use countersign_backend_file::{FileKey, SystemRandom};
use countersign_issuing::{Ask, Authority, Clock, Contents, Issuing, Proof, Step, Steps};
use countersign_keys::{Algorithm, SigningKey};
use countersign_provisioning::{CaName, Issuer, Profile, Root, Validity};
use countersign_registry::{Device, Registry};
use countersign_trust_store::UnixTime;

use crate::bench::now;
use crate::{AT_ONCE, Measured, SUSTAINED, due, name, ninety_five};

/// Measures it on this database, or on SQLite.
pub(crate) async fn measure(url: Option<String>, requests: &[Vec<u8>]) -> Measured {
    let folder = tempfile::tempdir().expect("a folder");
    let url = url.unwrap_or_else(|| format!("sqlite:{}", folder.path().join("core.db").display()));
    let registry = Registry::open(&url).await.expect("opens");
    let order = registry.order("all", None, 1 << 40).await.expect("made");
    let devices: Vec<Device> = (0..requests.len())
        .map(|number| Device::approved(name(number).parse().expect("an identity"), &order))
        .collect();
    registry
        .register(&devices, now())
        .await
        .expect("registered");
    let times = Arc::new(Mutex::new(Vec::new()));
    let steps = {
        let (times, begun) = (Arc::clone(&times), Mutex::new([None, None]));
        Steps::to(move |step| {
            let (place, is_end) = match step {
                Step::Reserving => (0, false),
                Step::Reserved => (0, true),
                Step::Committing => (1, false),
                Step::Committed => (1, true),
                _ => return,
            };
            let mut begun = begun.lock().expect("sound");
            if !is_end {
                begun[place] = Some(Instant::now());
            } else if let Some(began) = begun[place].take() {
                times.lock().expect("sound").push(began.elapsed());
            }
        })
    };
    let issuing = Issuing::start_with(registry.clone(), authority(), Clock::system(0), steps)
        .await
        .expect("starts");
    let (sustained, half) = requests.split_at(SUSTAINED);
    let began = Instant::now();
    run(&issuing, sustained, None).await;
    let rate = SUSTAINED as f64 / began.elapsed().as_secs_f64();
    times.lock().expect("sound").clear();
    let answers = run(&issuing, half, Some(rate / 2.0)).await;
    registry.close().await;
    let transactions = std::mem::take(&mut *times.lock().expect("sound"));
    Measured {
        rate,
        answers: ninety_five(answers),
        transactions: ninety_five(transactions),
    }
}

/// Has all of them issued, as fast as it goes or when each is due.
async fn run(issuing: &Issuing, requests: &[Vec<u8>], rate: Option<f64>) -> Vec<Duration> {
    let requests: Arc<[Vec<u8>]> = requests.into();
    let (next, began) = (Arc::new(AtomicUsize::new(0)), Instant::now());
    let askers: Vec<_> = (0..AT_ONCE)
        .map(|_| {
            let (issuing, next, requests) =
                (issuing.clone(), Arc::clone(&next), Arc::clone(&requests));
            tokio::spawn(async move {
                let mut answers = Vec::new();
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    let Some(request) = requests.get(number) else {
                        return answers;
                    };
                    let mut from = Instant::now();
                    if let Some(rate) = rate {
                        from = began + due(number, rate);
                        tokio::time::sleep_until(from.into()).await;
                    }
                    let ask = Ask {
                        proof: Proof::Request(request.clone()),
                        device: None,
                        profile: Profile::Tls,
                        contents: Contents::default(),
                        renews: None,
                        request: None,
                        manufacturer: None,
                    };
                    issuing.issue(ask).await.expect("issued");
                    answers.push(from.elapsed());
                }
            })
        })
        .collect();
    let mut answers = Vec::new();
    for asker in askers {
        answers.extend(asker.await.expect("ends"));
    }
    answers
}

fn authority() -> Authority {
    let key = FileKey::generate(Algorithm::Esp256, &mut SystemRandom).expect("a key");
    let key = countersign_provisioning::quick_key(key).expect("a key");
    let root = Root {
        name: CaName::new("Bench Issuing", "Bench", None).expect("a name"),
        validity: Validity::days(UnixTime::from_secs(now() - 86_400), 3650).expect("days"),
        path_length: 0,
        development: false,
    };
    let certificate = Issuer::root(&key, &root, &mut SystemRandom)
        .expect("a root")
        .certificate;
    let key: Arc<SigningKey> = Arc::new(key);
    Authority { key, certificate }
}
