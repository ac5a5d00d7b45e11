//! Messages over MQTT for components that have no connection of their own.
//!
//! Decides that a message is handled by one fresh instance after the other, that the broker is told so only afterwards, and
//! that one which cannot be handled is dropped after some tries, recorded, and keeps no other waiting for ever.

mod broker;
mod outbox;
mod topics;
mod unsent;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use countersign_hosting::AuditLog;
use countersign_runtime::messaging::Publisher;
use countersign_runtime::{GuestContext, ReadyGuest, RunError};
use countersign_trust_store::Code;
use serde::{Serialize, Serializer};
use tokio::time::sleep;
use tracing::field::Empty;
use tracing::{Instrument as _, Span, info_span};

use crate::failures::{Failures, Paced};
use crate::say::say;
use crate::traces;
use broker::{Arrived, Connected, Sender};
pub(crate) use broker::{Broker, BrokerTls};
pub(crate) use outbox::{Bounds, Outbox};
pub(crate) use topics::Filter;

/// The first and the longest wait before a message is handed over again.
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// Most bytes of messages that wait in either direction (4 MiB), but for one that is larger.
const MAX_WAITING_BYTES: u64 = 4 << 20;

/// How many messages of this size may wait, of `most`: one at least.
fn as_many(most: u16, bytes: u64) -> u16 {
    let fit = MAX_WAITING_BYTES.checked_div(bytes).unwrap_or(u64::MAX);
    u16::try_from(fit).unwrap_or(most).clamp(1, most)
}

/// What of a component's own words about a message is logged, in characters.
const MAX_TEXT: usize = 200;

/// What a component has to do with messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Messages {
    pub(crate) broker: Broker,
    /// What it is handed.
    pub(crate) topics: Vec<Filter>,
    /// What it may publish.
    pub(crate) publish: Bounds,
    /// The largest message that arrives, in bytes.
    pub(crate) max_bytes: u64,
    /// How often a message is handed over at most.
    pub(crate) tries: u32,
}

impl Messages {
    /// The files that are read for it.
    pub(crate) fn files(&self) -> Vec<PathBuf> {
        let tls = self.broker.tls.iter();
        tls.flat_map(|tls| tls.lists.iter().chain([&tls.roots]).cloned())
            .collect()
    }
}

/// What a service has done with messages, for those who look. Copies are the same.
#[derive(Clone, Debug, Default)]
pub(crate) struct Numbers(Arc<Mutex<Counts>>);

/// What was counted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Counts {
    pub(crate) connected: bool,
    /// Why it is not.
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<String>,
    pub(crate) handled: u64,
    /// Tries that failed.
    pub(crate) failed: u64,
    /// Messages that nobody handled.
    pub(crate) dropped: u64,
    pub(crate) published: u64,
    /// Of those, what the broker did not take.
    pub(crate) refused: u64,
}

impl Numbers {
    fn change(&self, change: impl FnOnce(&mut Counts)) {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }

    fn connected(&self) {
        self.change(|counts| {
            counts.connected = true;
            counts.why = None;
        });
    }

    /// Notes that a connection ended or was not made.
    fn disconnected(&self, why: &str) {
        self.change(|counts| {
            counts.connected = false;
            counts.why = Some(why.to_owned());
        });
    }

    /// What was counted so far.
    pub(crate) fn now(&self) -> Counts {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

impl PartialEq for Numbers {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Numbers {}

impl Serialize for Numbers {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        self.now().serialize(to)
    }
}

/// A component's post: what it sends, and what is counted of it. Made when it is admitted.
#[derive(Clone)]
pub(crate) struct Post {
    pub(crate) outbox: Arc<Outbox>,
    pub(crate) numbers: Numbers,
}

impl Post {
    pub(crate) fn new(messages: &Messages) -> Self {
        Self {
            outbox: Arc::new(Outbox::new(&messages.publish)),
            numbers: Numbers::default(),
        }
    }

    pub(crate) fn publisher(&self) -> Arc<dyn Publisher> {
        Arc::clone(&self.outbox) as Arc<dyn Publisher>
    }
}

/// Hands a component its messages, until it cannot go on.
pub(crate) struct Worker {
    pub(crate) name: String,
    pub(crate) messages: Messages,
    pub(crate) ready: ReadyGuest<GuestContext>,
    pub(crate) post: Post,
    pub(crate) records: Arc<AuditLog>,
}

/// What is told of messages that a component does not handle: a stranger may send as many as he likes.
struct Told {
    tries: Paced,
    dropped: Failures,
}

impl Worker {
    /// Goes on until the component turns out to be none for messages, which is returned.
    pub(crate) async fn run(self) -> RunError {
        let mut connected = Connected::keep_up(
            &self.name,
            &self.messages.broker,
            &self.messages.topics,
            self.messages.max_bytes,
            self.post.numbers.clone(),
        );
        let told = Told {
            tries: Paced::new(),
            dropped: Failures::new(&self.name, self.ready.record(), &self.records),
        };
        let sender = connected.sender();
        let sending = connected.sender();
        let receiving = async {
            while let Some(arrived) = connected.arrived.recv().await {
                let span = match traces::is_sampled() {
                    true => info_span!("message", service = self.name, verdict = Empty),
                    false => Span::none(),
                };
                let delivered = self.deliver(&sender, &arrived, &told).instrument(span);
                if let Err(error) = delivered.await {
                    return error;
                }
            }
            RunError::HostPanicked {
                message: "the connection's thread ended".to_owned(),
            }
        };
        let sending = async {
            sending.send(&self.post.outbox, &self.post.numbers).await;
            // The thread of the connection has ended; the other side says so.
            std::future::pending().await
        };
        tokio::select! {
            error = receiving => error,
            () = sending => RunError::Stopped,
        }
    }

    /// Hands over one message until it is handled or given up.
    async fn deliver(
        &self,
        sender: &Sender,
        arrived: &Arrived,
        told: &Told,
    ) -> Result<(), RunError> {
        let topic = String::from_utf8_lossy(&arrived.publish.topic).into_owned();
        // What was asked for earlier, under this name, a broker may go on sending.
        if !self
            .messages
            .topics
            .iter()
            .any(|filter| filter.matches(&topic))
        {
            self.post.numbers.change(|counts| {
                counts.dropped = counts.dropped.saturating_add(1);
            });
            sender.acknowledge(arrived).await;
            return Ok(());
        }
        let mut wait = FIRST_WAIT;
        let mut last = String::new();
        for tried in 1..=self.messages.tries {
            if sender.sees_again(arrived) {
                return Ok(());
            }
            let payload = arrived.publish.payload.to_vec();
            let handled = self.ready.clone().handle_message(topic.clone(), payload);
            let (code, why) = match handled.await {
                Ok(Ok(())) => {
                    self.post.numbers.change(|counts| {
                        counts.handled = counts.handled.saturating_add(1);
                    });
                    Span::current().record("verdict", "handled");
                    sender.acknowledge(arrived).await;
                    return Ok(());
                }
                Ok(Err(text)) => (None, text.chars().take(MAX_TEXT).collect()),
                Err(error @ RunError::NoExport { .. }) => return Err(error),
                Err(error) => (Some(error.code()), error.to_string()),
            };
            self.post.numbers.change(|counts| {
                counts.failed = counts.failed.saturating_add(1);
            });
            last = describe(code, &why);
            let what = format!("a message on {topic} was not handled, try {tried}: {last}");
            if let Some(what) = told.tries.tell(&what) {
                say(&self.name, &what);
            }
            if tried < self.messages.tries {
                sleep(wait).await;
                wait = wait.saturating_mul(2).min(LONGEST_WAIT);
            }
        }
        let why = format!(
            "a message on {topic} of {} bytes was dropped after {} tries: {last}",
            arrived.publish.payload.len(),
            self.messages.tries
        );
        told.dropped.note(None, &why);
        Span::current().record("verdict", "dropped");
        self.post.numbers.change(|counts| {
            counts.dropped = counts.dropped.saturating_add(1);
        });
        sender.acknowledge(arrived).await;
        Ok(())
    }
}

fn describe(code: Option<Code>, why: &str) -> String {
    match code {
        Some(code) => format!("{code}: {why}"),
        None => format!("it says {why:?}"),
    }
}
