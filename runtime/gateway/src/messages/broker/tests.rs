//! With a broker that is played by hand, packet by packet.

use std::collections::VecDeque;

use countersign_runtime::messaging::Publisher as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use super::super::outbox::Bounds;
use super::super::{Counts, Filter as Topics};
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

/// A broker that listens there.
fn broker_at(listener: &TcpListener) -> Broker {
    Broker {
        host: "127.0.0.1".to_owned(),
        port: listener.local_addr().expect("bound").port(),
        client: "gateway-7".to_owned(),
        tls: None,
    }
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

async fn until(numbers: &Numbers, is: impl Fn(&Counts) -> bool) {
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
    let broker = broker_at(&listener);
    let filters = ["ask/#", "tell"].map(|filter| Topics::parse(filter).expect("one"));
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

/// Asserts that it sends nothing within a third of a second.
async fn is_silent(stream: &TcpStream) {
    let sent = sends(stream, Duration::from_millis(300)).await;
    assert!(!sent, "it sent something");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_connection_left_is_sent_again_in_its_order_and_nothing_is_lost() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let broker = broker_at(&listener);
    let topic = Topics::parse("a").expect("one");
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
