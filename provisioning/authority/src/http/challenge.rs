//! Challenges: how a device shows that it holds the key of its certificate, over any way that carries bytes.
//!
//! A challenge is sealed rather than remembered, so that asking for many costs the authority nothing: what it says of
//! its age is believed because of an HMAC. Remembered is which were answered, until they expire; only a device with a
//! valid certificate can add to that.

use std::collections::BTreeMap;
use std::sync::Mutex;

use countersign_trust_store::UnixTime;
use ring::hmac;

use crate::problem::{Code, Problem};

/// Seconds in which a challenge is answered.
pub const LIFE_SECONDS: u64 = 120;

/// What stands before the challenge in the bytes that the device signs. No protocol that the same key is for signs
/// anything that begins like this: TLS 1.3 begins with 64 spaces (RFC 8446 §4.4.3).
pub const LABEL: &[u8] = b"countersign device authentication v1\0";

/// Random bytes of a challenge.
const RANDOM_BYTES: usize = 16;

/// Bytes of a challenge: random, expiry, seal.
const BYTES: usize = RANDOM_BYTES + 8 + 32;

/// The most answered challenges that are remembered at the same time.
const MAX_ANSWERED: usize = 100_000;

/// The challenges of this process.
pub struct Challenges {
    key: hmac::Key,
    answered: Mutex<BTreeMap<[u8; RANDOM_BYTES], u64>>,
}

impl Challenges {
    /// With a key that lives as long as this process.
    ///
    /// # Errors
    /// When the system has no randomness.
    pub fn new() -> anyhow::Result<Self> {
        let mut key = zeroize::Zeroizing::new([0_u8; 32]);
        getrandom::fill(key.as_mut())
            .map_err(|error| anyhow::anyhow!("the system gives no random numbers: {error}"))?;
        Ok(Self {
            key: hmac::Key::new(hmac::HMAC_SHA256, key.as_ref()),
            answered: Mutex::default(),
        })
    }

    /// A new challenge.
    ///
    /// # Errors
    /// [`Code::Internal`] when the system has no randomness.
    pub fn make(&self, now: UnixTime) -> Result<Vec<u8>, Problem> {
        let mut random = [0_u8; RANDOM_BYTES];
        getrandom::fill(&mut random).map_err(|_| Problem::new(Code::Internal))?;
        let expiry = now.as_secs().saturating_add(LIFE_SECONDS);
        let mut challenge = Vec::with_capacity(BYTES);
        challenge.extend(random);
        challenge.extend(expiry.to_be_bytes());
        let seal = hmac::sign(&self.key, &challenge);
        challenge.extend(seal.as_ref());
        Ok(challenge)
    }

    /// Whether this is a challenge of this process that has not expired.
    #[must_use]
    pub fn is_open(&self, challenge: &[u8], now: UnixTime) -> bool {
        self.parse(challenge)
            .is_some_and(|(_, expiry)| now.as_secs() <= expiry)
    }

    /// Uses a challenge up. `false` if it was used before, is not one, or has expired.
    #[must_use]
    pub fn answer(&self, challenge: &[u8], now: UnixTime) -> bool {
        let Some((random, expiry)) = self.parse(challenge) else {
            return false;
        };
        if now.as_secs() > expiry {
            return false;
        }
        let mut answered = self
            .answered
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        answered.retain(|_, expiry| *expiry >= now.as_secs());
        answered.len() < MAX_ANSWERED && answered.insert(random, expiry).is_none()
    }

    fn parse(&self, challenge: &[u8]) -> Option<([u8; RANDOM_BYTES], u64)> {
        let (body, seal) = challenge.split_at_checked(RANDOM_BYTES + 8)?;
        hmac::verify(&self.key, body, seal).ok()?;
        let (random, expiry) = body.split_at_checked(RANDOM_BYTES)?;
        Some((
            random.try_into().ok()?,
            u64::from_be_bytes(expiry.try_into().ok()?),
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_challenge_is_answered_once_in_time_and_by_its_own_process() {
        let challenges = Challenges::new().expect("randomness");
        let now = UnixTime::from_secs(1_000);
        let challenge = challenges.make(now).expect("made");
        assert!(challenges.is_open(&challenge, now));
        assert!(
            !Challenges::new()
                .expect("randomness")
                .is_open(&challenge, now)
        );
        let late = UnixTime::from_secs(1_001 + LIFE_SECONDS);
        assert!(!challenges.is_open(&challenge, late) && !challenges.answer(&challenge, late));
        for place in 0..challenge.len() {
            let mut bent = challenge.clone();
            bent[place] ^= 1;
            assert!(!challenges.answer(&bent, now), "byte {place}");
        }
        assert!(challenges.answer(&challenge, now));
        assert!(!challenges.answer(&challenge, now), "twice");
        assert!(!challenges.answer(b"", now));
    }
}
