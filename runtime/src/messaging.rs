//! `countersign:messaging@0.1.0`: messages for components that have no connection of their own.
//!
//! Decides how a message is handed to a component, and how one is taken from it. Which topics, how often and to whom is
//! decided by the host, which holds the connection and is a [`Publisher`].

use std::sync::Arc;
use std::time::Duration;

use wasmtime::Store;
use wasmtime::component::{ComponentType, Lift, Linker, Lower};

use crate::context::{GuestContext, HasGuestContext};
use crate::error::RunError;
use crate::guest::ReadyGuest;

/// What a component imports that publishes. A host names it in [`Ceiling::interface`](crate::Ceiling::interface).
pub const PRODUCER: &str = "countersign:messaging/producer@0.1.0";

/// What a component exports that is handed messages.
const HANDLER: &str = "countersign:messaging/handler@0.1.0";

/// Takes the messages that a component publishes, and does not wait.
pub trait Publisher: Send + Sync + 'static {
    /// Takes a message to be sent.
    ///
    /// # Errors
    /// Why it is not taken.
    fn publish(&self, topic: &str, payload: Vec<u8>) -> Result<(), PublishError>;
}

/// Why a message is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PublishError {
    /// Too many messages wait to be sent.
    Busy,
    /// The message is larger than the operator allows.
    MessageTooLarge,
    /// The operator did not name this topic.
    NotGranted,
    /// The component has published enough for now, and may again after this time.
    QuotaExceeded(Duration),
    /// The topic is none to publish to.
    TopicInvalid,
}

/// The same as the interface has it.
#[derive(ComponentType, Lift, Lower)]
#[component(variant)]
enum Told {
    #[component(name = "not-granted")]
    NotGranted,
    #[component(name = "topic-invalid")]
    TopicInvalid,
    #[component(name = "message-too-large")]
    MessageTooLarge,
    #[component(name = "quota-exceeded")]
    QuotaExceeded(u64),
    #[component(name = "busy")]
    Busy,
}

impl From<PublishError> for Told {
    fn from(error: PublishError) -> Self {
        match error {
            PublishError::Busy => Self::Busy,
            PublishError::MessageTooLarge => Self::MessageTooLarge,
            PublishError::NotGranted => Self::NotGranted,
            PublishError::QuotaExceeded(retry_after) => {
                // Up, so that who waits this long may publish.
                let millis = retry_after.as_millis().saturating_add(1);
                Self::QuotaExceeded(u64::try_from(millis).unwrap_or(u64::MAX))
            }
            PublishError::TopicInvalid => Self::TopicInvalid,
        }
    }
}

/// Adds `countersign:messaging/producer@0.1.0` to a linker, for one component: what it publishes is `publisher`'s.
///
/// # Errors
/// What Wasmtime says if the linker has it already.
pub fn add_to_linker<T: Send + 'static>(
    linker: &mut Linker<T>,
    publisher: Arc<dyn Publisher>,
) -> wasmtime::Result<()> {
    linker.instance(PRODUCER)?.func_wrap(
        "publish",
        move |_, (topic, payload): (String, Vec<u8>)| {
            let taken = publisher.publish(&topic, payload);
            Ok((taken.map_err(Told::from),))
        },
    )
}

impl<T: HasGuestContext> ReadyGuest<T> {
    /// Starts the component in `store` and hands it a message; start and call share one deadline. Returns what it says: that
    /// it is done with it, or why not, in guest text.
    ///
    /// # Errors
    /// As [`start`](Self::start), and whatever ended the guest.
    pub async fn handle_message_in(
        self,
        store: Store<T>,
        topic: String,
        payload: Vec<u8>,
    ) -> Result<Result<(), String>, RunError> {
        let mut budget = self.budget();
        let mut guest = self.start_within(store, &mut budget).await?;
        let handle = guest
            .export::<(String, Vec<u8>), (Result<(), String>,)>(Some(HANDLER), "on-message")?;
        let (handled,) = guest
            .call_within(&mut budget, move |mut store, _| {
                Box::pin(async move {
                    let outputs = store.data_mut().guest_context().outputs.clone();
                    let handled = handle.call_async(store, (topic, payload)).await;
                    outputs.drain().await;
                    handled
                })
            })
            .await?;
        Ok(handled)
    }
}

impl ReadyGuest<GuestContext> {
    /// Hands the component a message in a store of its own, for a host that adds no data.
    ///
    /// # Errors
    /// As [`handle_message_in`](Self::handle_message_in).
    pub async fn handle_message(
        self,
        topic: String,
        payload: Vec<u8>,
    ) -> Result<Result<(), String>, RunError> {
        let context = self
            .context()
            .map_err(|error| RunError::Context(Box::new(error)))?;
        let store = Store::new(self.engine(), context);
        self.handle_message_in(store, topic, payload).await
    }
}
