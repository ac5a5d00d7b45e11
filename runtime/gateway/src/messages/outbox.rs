//! What a component publishes, on its way to the broker.
//!
//! Decides which of it is taken: topics that the operator named, in the size, rate and number that he allows. What was taken
//! is kept here while the broker is away.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use countersign_runtime::messaging::{PublishError, Publisher};
use tokio::sync::Notify;

use super::MAX_WAITING_BYTES;
use super::topics::{Filter, is_topic};

/// Most messages that wait for the broker.
const MAX_WAITING: usize = 64;

/// What a component may publish at most.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Bounds {
    pub(crate) topics: Vec<Filter>,
    /// The largest message, in bytes.
    pub(crate) bytes: u64,
    pub(crate) per_minute: u32,
}

/// A message on its way.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Outgoing {
    pub(super) topic: String,
    pub(super) payload: Vec<u8>,
}

/// What waits to be sent, and the component's tokens.
pub(crate) struct Outbox {
    bounds: Bounds,
    state: Mutex<State>,
    arrived: Notify,
}

struct State {
    waiting: VecDeque<Outgoing>,
    /// Of what waits.
    bytes: u64,
    tokens: f64,
    filled: Instant,
}

impl State {
    fn next(&mut self) -> Option<Outgoing> {
        let message = self.waiting.pop_front()?;
        let bytes = u64::try_from(message.payload.len()).unwrap_or(u64::MAX);
        self.bytes = self.bytes.saturating_sub(bytes);
        Some(message)
    }
}

impl Outbox {
    pub(crate) fn new(bounds: &Bounds) -> Self {
        Self {
            bounds: bounds.clone(),
            state: Mutex::new(State {
                waiting: VecDeque::new(),
                bytes: 0,
                tokens: f64::from(bounds.per_minute),
                filled: Instant::now(),
            }),
            arrived: Notify::new(),
        }
    }

    /// The next message, once there is one. Whoever drops this future loses none.
    pub(super) async fn next(&self) -> Outgoing {
        loop {
            let arrived = self.arrived.notified();
            if let Some(message) = self.lock().next() {
                return message;
            }
            arrived.await;
        }
    }

    fn take(&self, topic: &str, payload: Vec<u8>, now: Instant) -> Result<(), PublishError> {
        if !is_topic(topic) {
            return Err(PublishError::TopicInvalid);
        }
        if !self
            .bounds
            .topics
            .iter()
            .any(|filter| filter.matches(topic))
        {
            return Err(PublishError::NotGranted);
        }
        if u64::try_from(payload.len()).map_or(true, |size| size > self.bounds.bytes) {
            return Err(PublishError::MessageTooLarge);
        }
        let mut state = self.lock();
        let bytes = u64::try_from(payload.len()).unwrap_or(u64::MAX);
        let waiting = state.bytes.saturating_add(bytes);
        let fits = waiting <= MAX_WAITING_BYTES || state.waiting.is_empty();
        if state.waiting.len() >= MAX_WAITING || !fits {
            return Err(PublishError::Busy);
        }
        let most = f64::from(self.bounds.per_minute);
        let rate = most / 60.0;
        let since = now.saturating_duration_since(state.filled);
        state.tokens = (state.tokens + since.as_secs_f64() * rate).min(most);
        state.filled = now;
        if state.tokens < 1.0 {
            let wait = if rate > 0.0 {
                Duration::from_secs_f64((1.0 - state.tokens) / rate)
            } else {
                Duration::MAX
            };
            return Err(PublishError::QuotaExceeded(wait));
        }
        state.tokens -= 1.0;
        state.bytes = waiting;
        state.waiting.push_back(Outgoing {
            topic: topic.to_owned(),
            payload,
        });
        drop(state);
        self.arrived.notify_one();
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Publisher for Outbox {
    fn publish(&self, topic: &str, payload: Vec<u8>) -> Result<(), PublishError> {
        self.take(topic, payload, Instant::now())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outbox(per_minute: u32) -> Outbox {
        sized(per_minute, 8)
    }

    fn sized(per_minute: u32, bytes: u64) -> Outbox {
        Outbox::new(&Bounds {
            topics: vec![Filter::parse("devices/gateway-7/#").expect("a filter")],
            bytes,
            per_minute,
        })
    }

    #[tokio::test]
    async fn te27_what_waits_is_bounded_in_bytes() {
        let outbox = sized(1_000, 16 << 20);
        let publish = |bytes: usize| outbox.publish("devices/gateway-7/a", vec![0; bytes]);
        let taken = (0..64).filter(|_| publish(1 << 20).is_ok()).count();
        assert_eq!(taken, 4);
        assert_eq!(publish(1), Err(PublishError::Busy));
        assert_eq!(outbox.next().await.payload.len(), 1 << 20);
        assert_eq!(publish(1), Ok(()));
        // The largest that is allowed goes alone.
        let outbox = sized(1_000, 16 << 20);
        let publish = |bytes: usize| outbox.publish("devices/gateway-7/a", vec![0; bytes]);
        assert_eq!(publish(16 << 20), Ok(()));
        assert_eq!(publish(1), Err(PublishError::Busy));
        outbox.next().await;
        assert_eq!(publish(16 << 20), Ok(()));
    }

    #[test]
    fn te26_a_component_publishes_where_the_operator_lets_it() {
        let outbox = outbox(60);
        let publish = |topic: &str, size: usize| outbox.publish(topic, vec![0; size]);
        assert_eq!(publish("devices/gateway-7/readings", 8), Ok(()));
        for (topic, size, why) in [
            ("devices/gateway-8/readings", 1, PublishError::NotGranted),
            (
                "devices/gateway-7/readings",
                9,
                PublishError::MessageTooLarge,
            ),
            ("devices/gateway-7/#", 1, PublishError::TopicInvalid),
            ("", 1, PublishError::TopicInvalid),
        ] {
            assert_eq!(publish(topic, size), Err(why), "{topic}");
        }
    }

    #[test]
    fn te27_a_flood_of_messages_has_a_rate_and_an_end() {
        let few = outbox(3);
        let start = Instant::now();
        let take = |outbox: &Outbox, seconds: u64| {
            let now = start + Duration::from_secs(seconds);
            outbox.take("devices/gateway-7/a", Vec::new(), now)
        };
        (0..3).for_each(|_| take(&few, 0).expect("a minute's worth"));
        let Err(PublishError::QuotaExceeded(wait)) = take(&few, 0) else {
            panic!("a fourth")
        };
        assert!(wait <= Duration::from_secs(20), "{wait:?}");
        assert_eq!(take(&few, 21), Ok(()));
        let none = outbox(0);
        assert_eq!(
            take(&none, 0),
            Err(PublishError::QuotaExceeded(Duration::MAX))
        );
        // Nobody sends: what waits is bounded, whatever the rate.
        let many = outbox(1_000);
        let taken = (0..1_000).filter(|_| take(&many, 0).is_ok()).count();
        assert_eq!(taken, MAX_WAITING);
        assert_eq!(take(&many, 0), Err(PublishError::Busy));
    }
}
