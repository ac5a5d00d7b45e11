//! How often a client may ask: a bucket for each, by its device where it showed a certificate, else by its address.
//!
//! When more addresses ask than are remembered, each is counted with its neighbourhood: a crowd of strangers takes from its own
//! kind, and nothing from who shows a certificate.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use governor::clock::{Clock as _, DefaultClock};
use governor::state::keyed::HashMapStateStore;
use governor::{Quota, RateLimiter};

use crate::http::server::Peer;
use crate::problem::{Code, Problem};

/// How many clients are remembered before those are forgotten whose bucket is full again.
const MAX_CLIENTS: usize = 50_000;

/// How often it is looked for those, which takes a millisecond.
const FORGET_EVERY: Duration = Duration::from_secs(1);

/// Who is counted.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Key {
    Device(String),
    V4([u8; 4]),
    /// The first 64 bits: one household or machine has all addresses below them.
    V6([u8; 8]),
    /// The first eight bits of IPv4 addresses: 256 at most.
    NearV4(u8),
    /// The first 16 of IPv6: as many as there are registries' blocks.
    NearV6([u8; 2]),
}

/// The buckets.
pub struct RateLimit {
    buckets: RateLimiter<Key, HashMapStateStore<Key>, DefaultClock>,
    clock: DefaultClock,
    /// How many clients are remembered.
    most: usize,
    forgot: Mutex<Instant>,
}

impl RateLimit {
    /// As many requests in a minute, and a tenth of them at once.
    #[must_use]
    pub fn new(per_minute: u32) -> Self {
        Self::remembering(per_minute, MAX_CLIENTS)
    }

    fn remembering(per_minute: u32, most: usize) -> Self {
        let per_minute = NonZeroU32::new(per_minute).unwrap_or(NonZeroU32::MIN);
        let burst = NonZeroU32::new(per_minute.get() / 10).unwrap_or(NonZeroU32::MIN);
        Self {
            buckets: RateLimiter::hashmap(Quota::per_minute(per_minute).allow_burst(burst)),
            clock: DefaultClock::default(),
            most,
            forgot: Mutex::new(Instant::now()),
        }
    }

    /// Counts one request.
    ///
    /// # Errors
    /// [`Code::TooManyRequests`] with the seconds to wait.
    pub fn take(&self, peer: &Peer) -> Result<(), Problem> {
        let mut key = key(peer);
        if self.is_crowded() {
            key = key.neighbourhood();
        }
        self.buckets.check_key(&key).map_err(|until| {
            let wait = until.wait_time_from(self.clock.now());
            Problem::new(Code::TooManyRequests).retry_after(wait.as_secs().saturating_add(1))
        })
    }

    /// Whether more clients are remembered than may be, after those were forgotten who asked long ago.
    fn is_crowded(&self) -> bool {
        if self.buckets.len() < self.most {
            return false;
        }
        let mut forgot = self.forgot.lock().unwrap_or_else(PoisonError::into_inner);
        if forgot.elapsed() >= FORGET_EVERY {
            self.buckets.retain_recent();
            *forgot = Instant::now();
        }
        self.buckets.len() >= self.most
    }
}

impl Key {
    /// What it is counted with in a crowd. Devices are as many as have certificates, and stay who they are.
    fn neighbourhood(self) -> Self {
        match self {
            Self::V4([first, ..]) => Self::NearV4(first),
            Self::V6([first, second, ..]) => Self::NearV6([first, second]),
            known => known,
        }
    }
}

fn key(peer: &Peer) -> Key {
    if let Some(client) = &peer.client {
        return Key::Device(client.device.as_str().to_owned());
    }
    match peer.address.ip().to_canonical() {
        IpAddr::V4(address) => Key::V4(address.octets()),
        IpAddr::V6(address) => {
            let [a, b, c, d, e, f, g, h, ..] = address.octets();
            Key::V6([a, b, c, d, e, f, g, h])
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(address: &str) -> Peer {
        Peer {
            address: address.parse().expect("an address"),
            client: None,
        }
    }

    #[test]
    fn tg27_each_client_has_a_bucket_of_its_own() {
        let limit = RateLimit::new(20);
        let one = peer("192.0.2.1:1000");
        assert!(limit.take(&one).is_ok() && limit.take(&one).is_ok());
        let refused = limit
            .take(&peer("192.0.2.1:2000"))
            .expect_err("the same client");
        assert_eq!(refused.code(), Code::TooManyRequests);
        assert!(limit.take(&peer("192.0.2.2:1000")).is_ok());

        // A device is counted by its certificate, wherever it asks from.
        let device = |name: &str, address: &str| Peer {
            client: Some(std::sync::Arc::new(crate::clients::Client {
                device: name.parse().expect("an identity"),
                serial: "01".to_owned(),
                spki: Vec::new(),
                factory: false,
                issuer: countersign_format::Digest::of(b""),
                valid_until: countersign_trust_store::UnixTime::from_secs(0),
            })),
            ..peer(address)
        };
        let press = |address| device("press-1", address);
        assert!(limit.take(&press("192.0.2.1:1")).is_ok());
        assert!(limit.take(&press("192.0.2.9:1")).is_ok());
        assert!(limit.take(&press("192.0.2.10:1")).is_err());
        assert!(limit.take(&device("press-2", "192.0.2.10:1")).is_ok());

        // In a crowd, strangers are counted together with those near to them, and devices as always.
        let limit = RateLimit::remembering(20, 2);
        assert!(limit.take(&peer("192.0.2.1:1")).is_ok());
        assert!(limit.take(&peer("192.0.2.2:1")).is_ok());
        assert!(limit.take(&peer("192.0.2.3:1")).is_ok());
        assert!(limit.take(&peer("192.0.2.4:1")).is_ok());
        assert!(limit.take(&peer("192.0.2.5:1")).is_err());
        assert!(limit.take(&peer("198.51.100.1:1")).is_ok());
        assert!(limit.take(&press("192.0.2.1:1")).is_ok());
        let before = limit.buckets.len();
        for host in 0..200 {
            let _ = limit.take(&peer(&format!("192.0.2.{host}:1")));
        }
        assert_eq!(limit.buckets.len(), before);

        let limit = RateLimit::new(20);
        let v6 = peer("[2001:db8::1]:1");
        assert!(limit.take(&v6).is_ok() && limit.take(&v6).is_ok());
        assert!(limit.take(&peer("[2001:db8::ffff:2]:1")).is_err());
        assert!(limit.take(&peer("[2001:db8:0:1::1]:1")).is_ok());
    }
}
