//! How often a client may ask: a bucket for each, by its device where it showed a certificate, else by its address.

use std::net::IpAddr;
use std::num::NonZeroU32;

use governor::clock::{Clock as _, DefaultClock};
use governor::state::keyed::HashMapStateStore;
use governor::{Quota, RateLimiter};

use crate::http::server::Peer;
use crate::problem::{Code, Problem};

/// How many clients are remembered before those are forgotten whose bucket is full again.
const MAX_CLIENTS: usize = 50_000;

/// Who is counted.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Key {
    Device(String),
    V4([u8; 4]),
    /// The first 64 bits: one household or machine has all addresses below them.
    V6([u8; 8]),
}

/// The buckets.
pub struct RateLimit {
    buckets: RateLimiter<Key, HashMapStateStore<Key>, DefaultClock>,
    clock: DefaultClock,
}

impl RateLimit {
    /// As many requests in a minute, and a tenth of them at once.
    #[must_use]
    pub fn new(per_minute: u32) -> Self {
        let per_minute = NonZeroU32::new(per_minute).unwrap_or(NonZeroU32::MIN);
        let burst = NonZeroU32::new(per_minute.get() / 10).unwrap_or(NonZeroU32::MIN);
        Self {
            buckets: RateLimiter::hashmap(Quota::per_minute(per_minute).allow_burst(burst)),
            clock: DefaultClock::default(),
        }
    }

    /// Counts one request.
    ///
    /// # Errors
    /// [`Code::TooManyRequests`] with the seconds to wait; the same when more clients ask than can be remembered.
    pub fn take(&self, peer: &Peer) -> Result<(), Problem> {
        if self.buckets.len() > MAX_CLIENTS {
            self.buckets.retain_recent();
            if self.buckets.len() > MAX_CLIENTS {
                return Err(Problem::new(Code::TooManyRequests).retry_after(60));
            }
        }
        self.buckets.check_key(&key(peer)).map_err(|until| {
            let wait = until.wait_time_from(self.clock.now());
            Problem::new(Code::TooManyRequests).retry_after(wait.as_secs().saturating_add(1))
        })
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

        let v6 = peer("[2001:db8::1]:1");
        assert!(limit.take(&v6).is_ok() && limit.take(&v6).is_ok());
        assert!(limit.take(&peer("[2001:db8::ffff:2]:1")).is_err());
        assert!(limit.take(&peer("[2001:db8:0:1::1]:1")).is_ok());
    }
}
