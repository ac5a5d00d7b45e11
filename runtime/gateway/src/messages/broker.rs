//! A connection to a broker: MQTT 5.0 (OASIS Standard), over TLS with the device's key, or plain to this machine alone.
//!
//! Decides that no broker is believed that the operator's roots do not vouch for, that it is tried again for as long as the
//! component is at work, longer after each failure, that each connection is made with the key and the certificates as they
//! are then, and that none counts as made before the broker has granted all that the component is to be handed.

mod refusals;
mod room;
mod transport;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::anyhow;
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::{Filter, Packet, PubAck, Publish, Subscribe};
use rumqttc::v5::{AsyncClient, Event, EventLoop, MqttOptions, Request};
use tokio::sync::{OwnedSemaphorePermit, mpsc, watch};
use tokio::time::sleep;

use self::refusals::{Refusals, TOO_LARGE, is_for_a_message, not_taken, refused};
use self::room::Room;
use self::transport::transport;
use super::outbox::Outbox;
use super::unsent::{self, HandedOver, Takes, Unsent};
use super::{Numbers, as_many};
use crate::config::Key;
use crate::say::say;

/// Messages that a broker may have sent before the first of them is acknowledged; fewer where they may be large.
const RECEIVE_MAXIMUM: u16 = 16;

/// Messages that wait for the component: those, and what a broker sends that asks for no acknowledgement.
const MAX_WAITING: usize = 64;

/// Messages that were sent and not acknowledged by the broker; fewer where they may be large.
const SEND_MAXIMUM: u16 = 16;

/// What a packet has beside its message, in bytes: a topic, and properties.
const BESIDE: u64 = 8 << 10;

/// How long a broker keeps what arrives while nobody is connected (a day).
const SESSION: Duration = Duration::from_secs(86_400);

/// How often something is said on a connection at least.
const KEEP_ALIVE: Duration = Duration::from_secs(30);

/// How long it may take to connect, with the signature of a slow chip.
const CONNECTING: Duration = Duration::from_secs(30);

/// The first and the longest wait after a connection failed.
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(300);

/// After a connection that lasted so long the next wait is the first again. One that is refused at once, after a handshake that
/// cost a signature, is not made every second.
const STEADY: Duration = Duration::from_secs(60);

/// A broker, as the operator names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Broker {
    pub(crate) host: String,
    pub(crate) port: u16,
    /// What the broker knows the gateway's connections by; each service adds its name.
    pub(crate) client: String,
    /// None for a broker on this machine.
    pub(crate) tls: Option<BrokerTls>,
}

/// How the gateway and a broker know each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BrokerTls {
    /// The gateway's own.
    pub(crate) key: Key,
    /// The file with the roots that broker's certificates lead to.
    pub(crate) roots: PathBuf,
    /// Files with revocation lists for those.
    pub(crate) lists: Vec<PathBuf>,
}

/// A message that arrived.
pub(super) struct Arrived {
    pub(super) publish: Publish,
    /// How many connections had ended. What arrived in an earlier one must not be acknowledged in a later.
    pub(super) connection: u64,
    /// What of the room for its kind it takes until it was handled.
    _room: OwnedSemaphorePermit,
}

/// A connection that is kept up until this is dropped.
pub(super) struct Connected {
    pub(super) arrived: mpsc::Receiver<Arrived>,
    client: AsyncClient,
    connection: watch::Receiver<u64>,
    open: watch::Receiver<Option<Takes>>,
    refusals: Arc<Refusals>,
    _until: watch::Sender<()>,
}

impl Connected {
    /// Keeps up a connection for the service `name`, on a thread of its own: hardware that signs a handshake blocks.
    pub(super) fn keep_up(
        name: &str,
        broker: &Broker,
        filters: &[super::Filter],
        max_bytes: u64,
        numbers: Numbers,
    ) -> Self {
        let packet = max_bytes.saturating_add(BESIDE);
        let (receive, send) = (
            as_many(RECEIVE_MAXIMUM, packet),
            as_many(SEND_MAXIMUM, packet),
        );
        let mut options = MqttOptions::new(
            format!("{}-{name}", broker.client),
            broker.host.clone(),
            broker.port,
        );
        options
            .set_keep_alive(KEEP_ALIVE)
            .set_clean_start(false)
            .set_session_expiry_interval(u32::try_from(SESSION.as_secs()).ok())
            .set_receive_maximum(Some(receive))
            .set_max_packet_size(u32::try_from(packet).ok())
            .set_connection_timeout(CONNECTING.as_secs())
            .set_outgoing_inflight_upper_limit(send)
            .set_manual_acks(true);
        let (client, events) = AsyncClient::new(options, usize::from(send));
        let (until, stopped) = watch::channel(());
        let (number, connection) = watch::channel(0);
        let (opens, open) = watch::channel(None);
        let (sender, arrived) = mpsc::channel(MAX_WAITING);
        let filters = filters.iter().map(|filter| filter.as_str().to_owned());
        let refusals = Arc::new(Refusals::new(name, numbers.clone()));
        let polling = Polling {
            name: name.to_owned(),
            broker: broker.clone(),
            filters: filters.collect(),
            events,
            send,
            unsent: Unsent::default(),
            number,
            opens,
            refusals: Arc::clone(&refusals),
            sender,
            room: Room::new(packet, receive),
            numbers,
        };
        let tokio = tokio::runtime::Handle::current();
        tokio::task::spawn_blocking(move || tokio.block_on(polling.run(stopped)));
        Self {
            arrived,
            client,
            connection,
            open,
            refusals,
            _until: until,
        }
    }

    /// What is needed to send and to acknowledge, beside receiving.
    pub(super) fn sender(&self) -> Sender {
        Sender {
            client: self.client.clone(),
            connection: self.connection.clone(),
            open: self.open.clone(),
            refusals: Arc::clone(&self.refusals),
        }
    }
}

/// The other direction of a connection.
#[derive(Clone)]
pub(super) struct Sender {
    client: AsyncClient,
    /// How many connections have ended.
    connection: watch::Receiver<u64>,
    /// What the broker takes, once it has granted all that this is for and nothing is left of the connection before.
    open: watch::Receiver<Option<Takes>>,
    refusals: Arc<Refusals>,
}

impl Sender {
    /// Whether a message will arrive again: its connection has ended before it was acknowledged.
    pub(super) fn sees_again(&self, arrived: &Arrived) -> bool {
        arrived.publish.qos != QoS::AtMostOnce && *self.connection.borrow() != arrived.connection
    }

    /// Tells the broker that a message is done with, if the connection in which it arrived still stands.
    pub(super) async fn acknowledge(&self, arrived: &Arrived) {
        let mut connection = self.connection.clone();
        let ended = connection.wait_for(|number| *number != arrived.connection);
        if arrived.publish.qos != QoS::AtMostOnce {
            tokio::select! {
                biased;
                _ = ended => {}
                // It fails when the connection's thread has ended; then the message arrives again.
                _ = self.client.ack(&arrived.publish) => {}
            }
        }
    }

    /// Sends what the component publishes, for ever. While it cannot be sent it stays in the outbox, where it has bounds.
    pub(super) async fn send(mut self, outbox: &Outbox, numbers: &Numbers) {
        loop {
            let open = self.open.wait_for(Option::is_some).await.map(|open| *open);
            let Ok(Some(takes)) = open else {
                return;
            };
            tokio::select! {
                biased;
                changed = self.open.changed() => if changed.is_err() {
                    return;
                },
                message = outbox.next() => {
                    if !takes.fits(message.topic.as_bytes(), &message.payload) {
                        self.refusals.note(TOO_LARGE);
                    } else if self
                        .client
                        .publish(message.topic, QoS::AtLeastOnce, false, message.payload)
                        .await
                        .is_err()
                    {
                        return;
                    }
                    numbers.change(|numbers| numbers.published = numbers.published.saturating_add(1));
                }
            }
        }
    }
}

/// What the connection's thread has.
struct Polling {
    name: String,
    broker: Broker,
    /// What is subscribed to in each connection.
    filters: Vec<String>,
    events: EventLoop,
    /// How many messages may be sent that are not acknowledged.
    send: u16,
    unsent: Unsent,
    /// How many connections have ended.
    number: watch::Sender<u64>,
    opens: watch::Sender<Option<Takes>>,
    sender: mpsc::Sender<Arrived>,
    room: Room,
    numbers: Numbers,
    refusals: Arc<Refusals>,
}

impl Polling {
    async fn run(mut self, mut stopped: watch::Receiver<()>) {
        let mut wait = FIRST_WAIT;
        loop {
            let began = Instant::now();
            let ended = tokio::select! {
                ended = self.connection() => ended,
                _ = stopped.changed() => return,
            };
            self.opens.send_replace(None);
            self.number
                .send_modify(|number| *number = number.saturating_add(1));
            let why = format!("{ended:#}");
            self.numbers.disconnected(&why);
            if began.elapsed() >= STEADY {
                wait = FIRST_WAIT;
            }
            say(
                &self.name,
                &format!(
                    "the broker {}:{}: {why}; it is tried again in {} seconds",
                    self.broker.host,
                    self.broker.port,
                    wait.as_secs()
                ),
            );
            tokio::select! {
                () = sleep(wait) => {}
                _ = stopped.changed() => return,
            }
            wait = wait.saturating_mul(2).min(LONGEST_WAIT);
        }
    }

    /// Says that the connection is there, with all that it is for.
    fn connected(&self) {
        self.numbers.connected();
        say(
            &self.name,
            &format!("connected to {}:{}", self.broker.host, self.broker.port),
        );
    }

    /// One connection, from its beginning to its end: why it ended.
    async fn connection(&mut self) -> anyhow::Error {
        match transport(&self.broker) {
            Ok(transport) => self.events.options.set_transport(transport),
            Err(error) => return error,
        };
        // A broker may have asked for another in the connection before.
        self.events.options.set_keep_alive(KEEP_ALIVE);
        let left = self.unsent.take_along(&mut self.events, self.send);
        if left.gives_up {
            self.refusals.note("it ends each connection for it");
        }
        for packet in left.unsaid {
            match packet {
                Packet::Publish(publish) if publish.qos == QoS::AtMostOnce => {
                    self.arrived(publish);
                }
                Packet::PubAck(answer) => self.answered(&answer),
                _ => {}
            }
        }
        let mut takes = Takes {
            messages: self.send,
            bytes: u32::MAX,
        };
        let mut is_granted = false;
        let mut deadline = None;
        loop {
            let event = match until(deadline, self.events.poll()).await {
                Some(Ok(event)) => event,
                Some(Err(error)) => {
                    if is_for_a_message(&error) {
                        self.unsent.blame();
                    }
                    return anyhow!(error);
                }
                None => {
                    self.events.clean();
                    return anyhow!(
                        "it does not answer to what it was asked to hand over within {} seconds",
                        CONNECTING.as_secs()
                    );
                }
            };
            self.unsent.note(&event);
            match event {
                Event::Incoming(Packet::ConnAck(answer)) => {
                    if !answer.session_present {
                        self.unsent.forget_numbers();
                    }
                    let said = answer.properties.as_ref();
                    let messages = said.and_then(|said| said.receive_max);
                    let bytes = said.and_then(|said| said.max_packet_size);
                    takes = Takes {
                        messages: messages.unwrap_or(u16::MAX).min(self.send),
                        bytes: bytes.unwrap_or(u32::MAX),
                    };
                    if takes.messages == 0 {
                        self.events.clean();
                        return anyhow!("it says that it takes no messages, which no broker may");
                    }
                    // Never, in the protocol; always, in the library.
                    if said.and_then(|said| said.server_keep_alive) == Some(0) {
                        self.events.options.set_keep_alive(KEEP_ALIVE);
                    }
                    is_granted = self.filters.is_empty();
                    if is_granted {
                        self.connected();
                    } else {
                        let filters = self.filters.iter();
                        let filters = filters.map(|filter| Filter::new(filter, QoS::AtLeastOnce));
                        let subscribe = Subscribe::new_many(filters, None);
                        self.events.pending.push_back(Request::Subscribe(subscribe));
                        deadline = Some(tokio::time::Instant::now() + CONNECTING);
                    }
                }
                Event::Incoming(Packet::SubAck(answer)) => {
                    if let Some(refused) = refused(&self.filters, &answer) {
                        // It is this connection that ends, and not only its use.
                        self.events.clean();
                        return anyhow!(
                            "it refuses to hand over {refused}: allow that in its rules, or correct the topics of [[on-message]]"
                        );
                    }
                    deadline = None;
                    if !std::mem::replace(&mut is_granted, true) {
                        self.connected();
                    }
                }
                Event::Incoming(Packet::Publish(publish)) => {
                    if !self.arrived(publish) {
                        self.events.clean();
                        return anyhow!("it sends more than it was told to");
                    }
                }
                Event::Incoming(Packet::PubAck(answer)) => {
                    self.answered(&answer);
                    if not_taken(answer.reason).is_some() {
                        unsent::release(&mut self.events, answer.pkid);
                    }
                }
                Event::Incoming(_) | Event::Outgoing(_) => {}
            }
            if is_granted {
                self.hand_over(takes);
            }
        }
    }

    /// Has a message wait for the component. Whether the broker may go on: it was told how much it may send that is to be acknowledged.
    fn arrived(&self, publish: Publish) -> bool {
        let asks = publish.qos != QoS::AtMostOnce;
        let connection = *self.number.borrow();
        let room = self.room.take(&publish);
        let arrived = room.map(|room| Arrived {
            publish,
            connection,
            _room: room,
        });
        let is_taken = arrived.is_some_and(|one| self.sender.try_send(one).is_ok());
        if !is_taken && !asks {
            self.numbers.change(|numbers| {
                numbers.dropped = numbers.dropped.saturating_add(1);
            });
        }
        is_taken || !asks
    }

    /// The broker has answered to a message.
    fn answered(&self, answer: &PubAck) {
        if let Some(why) = not_taken(answer.reason) {
            self.refusals.note(why);
        }
    }

    /// Hands over what is left, as far as that goes; after all of it whatever comes.
    fn hand_over(&mut self, takes: Takes) {
        let so_far = loop {
            match self.unsent.hand_over(&mut self.events, takes) {
                HandedOver::TooLarge => self.refusals.note(TOO_LARGE),
                so_far => break so_far,
            }
        };
        if so_far == HandedOver::All {
            self.opens
                .send_if_modified(|open| open.replace(takes).is_none());
        }
    }
}

/// What becomes of this until then; for ever, if nothing is said.
async fn until<T>(
    deadline: Option<tokio::time::Instant>,
    work: impl Future<Output = T>,
) -> Option<T> {
    match deadline {
        Some(deadline) => tokio::time::timeout_at(deadline, work).await.ok(),
        None => Some(work.await),
    }
}

#[cfg(test)]
mod tests;
