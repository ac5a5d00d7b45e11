//! A connection to a broker: MQTT 5.0 (OASIS Standard), over TLS with the device's key, or plain to this machine alone.
//!
//! Decides that no broker is believed that the operator's roots do not vouch for, that it is tried again for as long as the
//! component is at work, longer after each failure, that each connection is made with the key and the certificates as they
//! are then, and that none counts as made before the broker has granted all that the component is to be handed.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow};
use countersign_hosting::{Read, read, read_lists};
use countersign_tls::TlsIdentity;
use countersign_trust_store::pem;
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::{
    DisconnectReasonCode, Filter, Packet, PubAck, PubAckReason, Publish, SubAck, Subscribe,
    SubscribeReasonCode,
};
use rumqttc::v5::{
    AsyncClient, ConnectionError, Event, EventLoop, MqttOptions, Request, StateError,
};
use rumqttc::{TlsConfiguration, Transport};
use rustls::client::WebPkiServerVerifier;
use rustls::{ClientConfig, RootCertStore};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::time::sleep;

use super::outbox::Outbox;
use super::unsent::{self, HandedOver, Takes, Unsent};
use super::{MAX_WAITING_BYTES, Numbers, as_many};
use crate::config::Key;
use crate::failures::Paced;
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

/// The longest file of roots, in bytes.
const MAX_ROOTS_BYTES: u64 = 1 << 20;

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
        let refusals = Arc::new(Refusals {
            name: name.to_owned(),
            numbers: numbers.clone(),
            told: Paced::new(),
        });
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

/// Why a broker refuses a message that is larger than it said it takes.
const TOO_LARGE: &str = "it takes none that is so large";

/// Messages that the broker does not take, for those who look.
struct Refusals {
    name: String,
    numbers: Numbers,
    told: Paced,
}

impl Refusals {
    fn note(&self, why: &str) {
        self.numbers
            .change(|numbers| numbers.refused = numbers.refused.saturating_add(1));
        let what = format!(
            "the broker refused a message ({why}): allow it in the broker's rules, or correct what [[on-message]] may publish"
        );
        if let Some(what) = self.told.tell(&what) {
            say(&self.name, &what);
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

/// Bytes of messages that wait: of those that the broker counts, as many as it was told, and of those that it only sends.
struct Room {
    asking: Arc<Semaphore>,
    others: Arc<Semaphore>,
}

impl Room {
    /// For packets of so many bytes at most, of which so many may be sent before one is acknowledged.
    fn new(packet: u64, receive: u16) -> Self {
        let of = |bytes: u64| {
            let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
            Arc::new(Semaphore::new(bytes.min(Semaphore::MAX_PERMITS)))
        };
        Self {
            asking: of(packet.saturating_mul(u64::from(receive))),
            others: of(packet.max(MAX_WAITING_BYTES)),
        }
    }

    /// That of a message, if there is so much.
    fn take(&self, publish: &Publish) -> Option<OwnedSemaphorePermit> {
        let of = match publish.qos {
            QoS::AtMostOnce => &self.others,
            QoS::AtLeastOnce | QoS::ExactlyOnce => &self.asking,
        };
        let bytes = publish.payload.len().saturating_add(publish.topic.len());
        Arc::clone(of)
            .try_acquire_many_owned(u32::try_from(bytes).ok()?)
            .ok()
    }
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

/// Whether the broker ended the connection because of a message that it was sent.
const fn is_for_a_message(error: &ConnectionError) -> bool {
    matches!(
        error,
        ConnectionError::MqttState(StateError::ServerDisconnect {
            reason_code: DisconnectReasonCode::NotAuthorized
                | DisconnectReasonCode::TopicNameInvalid
                | DisconnectReasonCode::PacketTooLarge
                | DisconnectReasonCode::PayloadFormatInvalid,
            ..
        })
    )
}

/// Why a broker has not taken a message, if it has not.
const fn not_taken(reason: PubAckReason) -> Option<&'static str> {
    Some(match reason {
        PubAckReason::Success | PubAckReason::NoMatchingSubscribers => return None,
        PubAckReason::NotAuthorized => "not authorized",
        PubAckReason::TopicNameInvalid => "it has no such topic",
        PubAckReason::QuotaExceeded => "too many messages",
        PubAckReason::PayloadFormatInvalid => "it takes no such messages",
        _ => "it does not say why",
    })
}

/// What of this a broker refused, and why; nothing where it granted all.
fn refused(filters: &[String], answer: &SubAck) -> Option<String> {
    let answers = answer.return_codes.len();
    if answers != filters.len() {
        return Some(format!(
            "what it was asked for (it answers for {answers} topics of {})",
            filters.len()
        ));
    }
    let one = |(filter, code): (&String, &SubscribeReasonCode)| {
        let why = match code {
            SubscribeReasonCode::Success(_) => return None,
            SubscribeReasonCode::NotAuthorized => "not authorized",
            SubscribeReasonCode::TopicFilterInvalid => "it has no such topics",
            SubscribeReasonCode::QuotaExceeded => "too many subscriptions",
            SubscribeReasonCode::WildcardSubscriptionsNotSupported => "it knows no wildcards",
            _ => "it does not say why",
        };
        Some(format!("{filter} ({why})"))
    };
    let refused: Vec<_> = filters
        .iter()
        .zip(&answer.return_codes)
        .filter_map(one)
        .collect();
    (!refused.is_empty()).then(|| refused.join(", "))
}

/// How the next connection is made.
fn transport(broker: &Broker) -> anyhow::Result<Transport> {
    let Some(tls) = &broker.tls else {
        return Ok(Transport::Tcp);
    };
    let key = tls
        .key
        .source
        .open()
        .map_err(|reason| anyhow!("{reason}"))?;
    let identity = TlsIdentity::new(Arc::new(key), &tls.key.source.certificates()?)?;
    let mut roots = RootCertStore::empty();
    for root in certificates(&tls.roots)? {
        roots
            .add(root.into())
            .with_context(|| format!("a root in {} cannot be used", tls.roots.display()))?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut verifier =
        WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
    if !tls.lists.is_empty() {
        let mut lists = Vec::new();
        for path in &tls.lists {
            lists.extend(read_lists(path)?.into_iter().map(Into::into));
        }
        verifier = verifier.with_crls(lists);
    }
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_webpki_verifier(verifier.build()?)
        .with_client_cert_resolver(Arc::new(identity));
    Ok(Transport::tls_with_config(TlsConfiguration::Rustls(
        Arc::new(config),
    )))
}

fn certificates(path: &Path) -> anyhow::Result<Vec<Vec<u8>>> {
    match read(path, MAX_ROOTS_BYTES)? {
        Read::Whole(bytes) => pem::certificates(&bytes)
            .with_context(|| format!("{} holds no certificates in PEM", path.display())),
        Read::TooLarge { size } => Err(anyhow!(
            "{} has {size} bytes, too many for roots",
            path.display()
        )),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use countersign_runtime::messaging::Publisher as _;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::{TcpListener, TcpStream};
    use tokio::time::timeout;

    use super::super::outbox::Bounds;
    use super::*;

    /// Far longer than anything takes here: what is not done by then, hangs.
    const PATIENCE: Duration = Duration::from_secs(60);

    /// The next packet, which is short: its kind and what is in it.
    async fn packet(stream: &mut TcpStream) -> (u8, Vec<u8>) {
        let next = timeout(PATIENCE, any_packet(stream)).await;
        match next.expect("in time") {
            // It asks whether somebody is there.
            (0xc0, _) => Box::pin(packet(stream)).await,
            other => other,
        }
    }

    async fn any_packet(stream: &mut TcpStream) -> (u8, Vec<u8>) {
        let mut head = [0; 2];
        stream.read_exact(&mut head).await.expect("a packet");
        assert!(head[1] < 128, "short packets");
        let mut body = vec![0; usize::from(head[1])];
        stream.read_exact(&mut body).await.expect("the rest of it");
        (head[0], body)
    }

    /// Accepts a connection as a broker does: what it subscribes to is not answered yet, and has this number.
    async fn subscribed(listener: &TcpListener) -> (TcpStream, [u8; 2]) {
        let accepted = timeout(PATIENCE, listener.accept()).await;
        let (mut stream, _) = accepted.expect("in time").expect("a connection");
        assert_eq!(packet(&mut stream).await.0, 0x10, "CONNECT");
        let accept = [0x20, 3, 0, 0, 0];
        stream.write_all(&accept).await.expect("it reads");
        let (kind, body) = packet(&mut stream).await;
        assert_eq!(kind, 0x82, "SUBSCRIBE");
        (stream, [body[0], body[1]])
    }

    /// Answers each of two subscriptions with a code.
    async fn answer(stream: &mut TcpStream, number: [u8; 2], codes: [u8; 2]) {
        let answer = [0x90, 5, number[0], number[1], 0, codes[0], codes[1]];
        stream.write_all(&answer).await.expect("it reads");
    }

    async fn until(numbers: &Numbers, is: impl Fn(&super::super::Counts) -> bool) {
        let seen = async {
            while !is(&numbers.now()) {
                sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(PATIENCE, seen).await.expect("in time");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_connection_is_there_once_the_broker_has_granted_all_that_it_is_for() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let broker = Broker {
            host: "127.0.0.1".to_owned(),
            port: listener.local_addr().expect("bound").port(),
            client: "gateway-7".to_owned(),
            tls: None,
        };
        let filters =
            ["ask/#", "tell"].map(|filter| super::super::Filter::parse(filter).expect("one"));
        let numbers = Numbers::default();
        let connected = Connected::keep_up("relay", &broker, &filters, 1 << 10, numbers.clone());
        let (sender, sent) = (connected.sender(), numbers.clone());
        let sending = tokio::spawn(async move {
            let outbox = Outbox::new(&Bounds {
                topics: Vec::new(),
                bytes: 0,
                per_minute: 0,
            });
            sender.send(&outbox, &sent).await;
        });
        let (mut stream, number) = subscribed(&listener).await;
        sleep(Duration::from_millis(200)).await;
        assert!(!numbers.now().connected, "nothing was granted yet");
        // Granted one, refused the other.
        answer(&mut stream, number, [1, 0x87]).await;
        until(&numbers, |counts| counts.why.is_some()).await;
        let counts = numbers.now();
        let why = counts.why.expect("it was said");
        assert!(
            why.contains("tell (not authorized)") && why.contains("[[on-message]]"),
            "{why}"
        );
        assert!(!why.contains("ask/#") && !counts.connected, "{why}");
        // That connection has ended, and the next one asks again.
        let ended = timeout(PATIENCE, stream.read_to_end(&mut Vec::new())).await;
        assert!(ended.is_ok(), "it is still there");
        let (mut stream, number) = subscribed(&listener).await;
        answer(&mut stream, number, [1, 1]).await;
        until(&numbers, |counts| counts.connected).await;
        assert!(numbers.now().why.is_none());
        drop(connected);
        timeout(PATIENCE, sending)
            .await
            .expect("in time")
            .expect("no panic");
    }

    /// The next message: whether it was sent before, its number, and its only byte.
    async fn message(stream: &mut TcpStream) -> (bool, u16, u8) {
        let (kind, body) = packet(stream).await;
        assert_eq!(
            kind & 0xf7,
            0x32,
            "PUBLISH that asks for an acknowledgement"
        );
        let [0, 1, b'a', high, low, 0, byte] = body[..] else {
            panic!("{body:?}");
        };
        (kind & 8 != 0, u16::from_be_bytes([high, low]), byte)
    }

    async fn acknowledge(stream: &mut TcpStream, number: u16, reason: u8) {
        let [high, low] = number.to_be_bytes();
        let answer = [0x40, 4, high, low, reason, 0];
        stream.write_all(&answer).await.expect("it reads");
    }

    /// Whether it sends something within this time.
    async fn sends(stream: &TcpStream, within: Duration) -> bool {
        timeout(within, stream.peek(&mut [0])).await.is_ok()
    }

    /// Asserts that it sends nothing for now.
    async fn is_silent(stream: &TcpStream) {
        let sent = sends(stream, Duration::from_millis(300)).await;
        assert!(!sent, "it sent something");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_a_connection_left_is_sent_again_in_its_order_and_nothing_is_lost() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let broker = Broker {
            host: "127.0.0.1".to_owned(),
            port: listener.local_addr().expect("bound").port(),
            client: "gateway-7".to_owned(),
            tls: None,
        };
        let topic = super::super::Filter::parse("a").expect("one");
        let filters = [topic.clone(), topic.clone()];
        let numbers = Numbers::default();
        let connected = Connected::keep_up("relay", &broker, &filters, 1 << 10, numbers.clone());
        let (sender, counted) = (connected.sender(), numbers.clone());
        let outbox = Arc::new(Outbox::new(&Bounds {
            topics: vec![topic],
            bytes: 16,
            per_minute: 1_000,
        }));
        for byte in 1..=40 {
            outbox.publish("a", vec![byte]).expect("room");
        }
        let waiting = Arc::clone(&outbox);
        let sending = tokio::spawn(async move { sender.send(&waiting, &counted).await });

        let (mut stream, number) = subscribed(&listener).await;
        is_silent(&stream).await;
        answer(&mut stream, number, [1, 1]).await;
        let most = u8::try_from(SEND_MAXIMUM).expect("few");
        let mut numbers_of = Vec::new();
        for expected in 1..=most {
            let (again, number, byte) = message(&mut stream).await;
            assert!(!again && byte == expected, "{byte}");
            numbers_of.push(number);
        }
        is_silent(&stream).await;
        for done in [0, 2, 14] {
            acknowledge(&mut stream, numbers_of[done], 0).await;
        }
        // The next has the number of the first; the one after it would have that of the second.
        let mut sent = Vec::new();
        let (_, number, byte) = message(&mut stream).await;
        sent.push((number, byte));
        is_silent(&stream).await;
        drop(stream);

        // The broker takes four at once now. First what it was sent before, in that order and under the same numbers.
        let accepted = timeout(PATIENCE, listener.accept()).await;
        let (mut stream, _) = accepted.expect("in time").expect("a connection");
        assert_eq!(packet(&mut stream).await.0, 0x10, "CONNECT");
        let accept = [0x20, 6, 1, 0, 3, 0x21, 0, 4];
        stream.write_all(&accept).await.expect("it reads");
        let (kind, body) = packet(&mut stream).await;
        assert_eq!(kind, 0x82, "SUBSCRIBE before anything else");
        is_silent(&stream).await;
        answer(&mut stream, [body[0], body[1]], [1, 1]).await;
        let mut before: Vec<_> = numbers_of.iter().copied().zip(1..).collect();
        before.retain(|(_, byte)| ![1, 3, 15].contains(byte));
        before.extend(sent);
        let mut seen = Vec::new();
        let mut open = VecDeque::new();
        while seen.len() < 37 {
            if sends(&stream, Duration::from_millis(100)).await {
                let (again, number, byte) = message(&mut stream).await;
                match before.get(seen.len()) {
                    Some(expected) => assert_eq!((true, *expected), (again, (number, byte))),
                    None => assert!(!again, "{byte}"),
                }
                assert!(!open.contains(&number), "a number of two");
                seen.push(byte);
                open.push_back(number);
                assert!(open.len() <= 4, "{open:?}");
            } else if let Some(number) = open.pop_front() {
                // It may refuse what it was sent.
                acknowledge(&mut stream, number, if number == 4 { 0x87 } else { 0 }).await;
            }
        }
        let all: Vec<_> = (1..=40).filter(|byte| ![1, 3, 15].contains(byte)).collect();
        assert_eq!(seen, all);
        until(&numbers, |counts| {
            counts.published == 40 && counts.refused > 0
        })
        .await;
        drop(connected);
        timeout(PATIENCE, sending)
            .await
            .expect("in time")
            .expect("no panic");
    }

    #[test]
    fn te29_what_a_broker_sends_waits_in_bytes_and_not_only_in_number() {
        let packet = (16 << 20) + BESIDE;
        let receive = as_many(RECEIVE_MAXIMUM, packet);
        assert_eq!(
            [receive, as_many(RECEIVE_MAXIMUM, 1 << 10)],
            [1, RECEIVE_MAXIMUM]
        );
        let room = Room::new(packet, receive);
        let message = |qos, bytes: usize| Publish::new("a", qos, vec![0; bytes], None);
        // Those that it counts: as many as it was told.
        let one = room
            .take(&message(QoS::AtLeastOnce, 16 << 20))
            .expect("room");
        assert!(room.take(&message(QoS::AtLeastOnce, 16 << 20)).is_none());
        // Those that it does not count take none of that, and have an end too.
        let others: Vec<_> = (0..64)
            .map_while(|_| room.take(&message(QoS::AtMostOnce, 1 << 20)))
            .collect();
        assert!((4..=16).contains(&others.len()), "{}", others.len());
        drop(one);
        assert!(room.take(&message(QoS::AtLeastOnce, 16 << 20)).is_some());
    }
}
