//! What was to be sent and the broker has not acknowledged, from one connection to the next.
//!
//! Decides in which order it is sent again, that no more of it goes out at once than the broker takes, and that one message that
//! a broker ends connections for is given up: the library would send all of it, and has room for one message whose number is
//! still in use.

use std::collections::VecDeque;

use rumqttc::Outgoing;
use rumqttc::v5::mqttbytes::v5::{Packet, Publish};
use rumqttc::v5::{Event, EventLoop, MqttState, Request};

/// After so many connections that ended because of the same message it is given up.
const MOST_BLAMED: u8 = 3;

/// What a broker takes in one connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Takes {
    /// Messages that it has not acknowledged.
    pub(super) messages: u16,
    /// Bytes of a packet.
    pub(super) bytes: u32,
}

impl Takes {
    /// Whether a message fits into a packet: beside itself and its topic that has at most ten bytes (MQTT 5.0, 3.3).
    pub(super) fn fits(self, topic: &[u8], payload: &[u8]) -> bool {
        let bytes = topic.len().saturating_add(payload.len()).saturating_add(10);
        u32::try_from(bytes).is_ok_and(|bytes| bytes <= self.bytes)
    }
}

/// How far it got.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum HandedOver {
    /// All of it, and what had a number from before is acknowledged.
    All,
    /// As much as may be for now.
    Some,
    /// One that this broker cannot be sent was left out.
    TooLarge,
}

#[derive(Default)]
pub(super) struct Unsent {
    /// The numbers of what is in flight, in the order in which it was sent.
    order: Vec<u16>,
    left: VecDeque<Publish>,
    /// Whether something may be in flight that has its number from before. Until that is acknowledged no other gets a number.
    has_old_numbers: bool,
    /// How many connections have ended because of the first that is in flight. While there are any, it goes alone.
    blamed: u8,
    /// Whether the last ended because of a message.
    is_blamed: bool,
}

/// What the connection before left, beside what is to be sent.
pub(super) struct Left {
    /// Whether a message was given up.
    pub(super) gives_up: bool,
    /// What was read and not said.
    pub(super) unsaid: Vec<Packet>,
}

impl Unsent {
    /// Notes what was sent and what was acknowledged.
    pub(super) fn note(&mut self, event: &Event) {
        match event {
            Event::Outgoing(Outgoing::Publish(number)) => self.order.push(*number),
            Event::Incoming(Packet::PubAck(answer)) => {
                self.order.retain(|number| *number != answer.pkid);
                self.blamed = 0;
            }
            _ => {}
        }
    }

    /// Notes that the broker ended a connection because of a message: the first that it has not acknowledged.
    pub(super) fn blame(&mut self) {
        self.is_blamed = true;
    }

    /// Takes along what the connection before left, and leaves the library as at its beginning: what that read and did not say yet
    /// belongs to an end that nobody waits for.
    pub(super) fn take_along(&mut self, events: &mut EventLoop, most: u16) -> Left {
        // What waited for room in the library's channel moves up only then.
        events.clean();
        events.clean();
        let state = std::mem::replace(&mut events.state, MqttState::new(most, true));
        for event in &state.events {
            self.note(event);
        }
        let mut left = Vec::new();
        // It has the number of another that is in flight.
        left.extend(
            state
                .collision
                .map(|publish| Publish { pkid: 0, ..publish }),
        );
        for request in std::mem::take(&mut events.pending) {
            if let Request::Publish(publish) = request {
                left.push(publish);
            }
        }
        left.extend(std::mem::take(&mut self.left));
        // First what was sent before, which keeps its number (MQTT 5.0, 4.4 and 4.6).
        let order = std::mem::take(&mut self.order);
        let place = |publish: &Publish| match publish.pkid {
            0 => usize::MAX,
            number => order
                .iter()
                .position(|sent| *sent == number)
                .unwrap_or(order.len()),
        };
        left.sort_by_key(place);
        for publish in &mut left {
            publish.dup = publish.pkid != 0;
        }
        self.left = left.into();
        self.has_old_numbers = false;
        // It may have ended because of something else, where none was in flight.
        let is_blamed = std::mem::take(&mut self.is_blamed) && !order.is_empty();
        self.blamed = self.blamed.saturating_add(is_blamed.into());
        let gives_up = self.blamed >= MOST_BLAMED;
        if gives_up {
            self.blamed = 0;
            self.left.pop_front();
        }
        let unsaid = state.events.into_iter().filter_map(|event| match event {
            Event::Incoming(packet) => Some(packet),
            Event::Outgoing(_) => None,
        });
        Left {
            gives_up,
            unsaid: unsaid.collect(),
        }
    }

    /// The broker has forgotten what was sent before: all of it is new.
    pub(super) fn forget_numbers(&mut self) {
        for publish in &mut self.left {
            publish.pkid = 0;
            publish.dup = false;
        }
    }

    /// Hands over the next of what is left, where the broker takes more now.
    pub(super) fn hand_over(&mut self, events: &mut EventLoop, takes: Takes) -> HandedOver {
        let is_free = events.pending.is_empty() && events.state.collision.is_none();
        let in_flight = events.state.inflight();
        self.has_old_numbers &= !is_free || in_flight > 0;
        let Some(next) = self.left.pop_front() else {
            return match self.has_old_numbers {
                true => HandedOver::Some,
                false => HandedOver::All,
            };
        };
        let is_old = next.pkid != 0;
        let most = match self.blamed {
            0 => takes.messages,
            _ => 1,
        };
        if !is_free || in_flight >= most || (self.has_old_numbers && !is_old) {
            self.left.push_front(next);
            return HandedOver::Some;
        }
        if !takes.fits(&next.topic, &next.payload) {
            return HandedOver::TooLarge;
        }
        self.has_old_numbers |= is_old;
        events.pending.push_back(Request::Publish(next));
        HandedOver::Some
    }
}

/// Sends what waited for the number of a message that the broker refused: the library goes on waiting.
pub(super) fn release(events: &mut EventLoop, number: u16) {
    if let Some(waits) = events.state.collision.take_if(|it| it.pkid == number) {
        events.state.collision_ping_count = 0;
        events.pending.push_front(Request::Publish(waits));
    }
}

#[cfg(test)]
mod tests {
    use rumqttc::v5::MqttOptions;
    use rumqttc::v5::mqttbytes::QoS;
    use rumqttc::v5::mqttbytes::v5::{PubAck, PubAckReason};

    use super::*;

    const TAKES: Takes = Takes {
        messages: 4,
        bytes: 64,
    };

    fn events() -> EventLoop {
        EventLoop::new(MqttOptions::new("gateway-7", "127.0.0.1", 1883), 4)
    }

    fn publish(byte: u8) -> Publish {
        Publish::new("a", QoS::AtLeastOnce, vec![byte], None)
    }

    /// Sends what was handed over, as the library does.
    fn send(events: &mut EventLoop, unsent: &mut Unsent) {
        while let Some(request) = events.pending.pop_front() {
            events
                .state
                .handle_outgoing_packet(request)
                .expect("it is sent");
            while let Some(event) = events.state.events.pop_front() {
                unsent.note(&event);
            }
        }
    }

    fn bytes(unsent: &Unsent) -> Vec<u8> {
        unsent.left.iter().map(|one| one.payload[0]).collect()
    }

    /// One that has sent this and left it.
    fn left(of: &[u8]) -> (EventLoop, Unsent) {
        let (mut events, mut unsent) = (events(), Unsent::default());
        unsent.take_along(&mut events, 16);
        for byte in of {
            events.pending.push_back(Request::Publish(publish(*byte)));
        }
        send(&mut events, &mut unsent);
        unsent.take_along(&mut events, 16);
        (events, unsent)
    }

    #[test]
    fn what_had_a_number_keeps_it_while_the_broker_knows_it() {
        let (_, mut unsent) = left(&[1, 2, 3]);
        let numbers = |unsent: &Unsent| -> Vec<_> {
            let left = unsent.left.iter();
            left.map(|one| (one.pkid, one.dup)).collect()
        };
        assert_eq!(numbers(&unsent), [(1, true), (2, true), (3, true)]);
        unsent.forget_numbers();
        assert_eq!(numbers(&unsent), [(0, false); 3]);
        assert_eq!(bytes(&unsent), [1, 2, 3]);
    }

    #[test]
    fn no_number_is_given_while_old_ones_are_in_flight() {
        let (mut events, mut unsent) = left(&[1, 2]);
        unsent.left.push_back(publish(3));
        for _ in 0..3 {
            assert_eq!(unsent.hand_over(&mut events, TAKES), HandedOver::Some);
            send(&mut events, &mut unsent);
        }
        assert_eq!(bytes(&unsent), [3]);
        for number in [1, 2] {
            let answer = Packet::PubAck(PubAck::new(number, None));
            events
                .state
                .handle_incoming_packet(answer)
                .expect("it was sent");
        }
        assert_eq!(unsent.hand_over(&mut events, TAKES), HandedOver::Some);
        send(&mut events, &mut unsent);
        assert_eq!(unsent.hand_over(&mut events, TAKES), HandedOver::All);
    }

    #[test]
    fn what_a_broker_cannot_take_keeps_nothing_else_from_going() {
        let (mut events, mut unsent) = (events(), Unsent::default());
        let large = Publish::new("a", QoS::AtLeastOnce, vec![0; 54], None);
        unsent.left.extend([large, publish(1)]);
        assert_eq!(unsent.hand_over(&mut events, TAKES), HandedOver::TooLarge);
        assert_eq!(bytes(&unsent), [1]);
        // Exactly as large as it takes.
        let fits = Publish::new("a", QoS::AtLeastOnce, vec![0; 53], None);
        unsent.left.push_front(fits);
        assert_eq!(unsent.hand_over(&mut events, TAKES), HandedOver::Some);
        assert_eq!(bytes(&unsent), [1]);
    }

    #[test]
    fn a_message_that_ends_connections_is_given_up_and_no_other_is() {
        let (mut events, mut unsent) = left(&[1, 2]);
        let mut events_of_none = self::events();
        let mut connection = |unsent: &mut Unsent, is_blamed: bool| {
            unsent.hand_over(&mut events, TAKES);
            send(&mut events, unsent);
            if is_blamed {
                unsent.blame();
            }
            unsent.take_along(&mut events, 16).gives_up
        };
        // A line that only breaks gives nothing up.
        for is_blamed in [false, true, true, false, false] {
            assert!(!connection(&mut unsent, is_blamed));
        }
        // Nor one that ends because of something else, while nothing is in flight.
        unsent.blame();
        assert!(!unsent.take_along(&mut events_of_none, 16).gives_up);
        assert!(connection(&mut unsent, true));
        assert_eq!(bytes(&unsent), [2]);
        assert!(!connection(&mut unsent, true), "another, to blame once");
    }

    #[test]
    fn after_a_message_was_to_blame_the_first_goes_alone_until_it_is_acknowledged() {
        let (mut events, mut unsent) = left(&[1, 2, 3]);
        unsent.hand_over(&mut events, TAKES);
        send(&mut events, &mut unsent);
        unsent.blame();
        unsent.take_along(&mut events, 16);
        for _ in 0..3 {
            assert_eq!(unsent.hand_over(&mut events, TAKES), HandedOver::Some);
            send(&mut events, &mut unsent);
            assert_eq!(events.state.inflight(), 1);
        }
        let answer = Packet::PubAck(PubAck::new(1, None));
        events
            .state
            .handle_incoming_packet(answer.clone())
            .expect("it was sent");
        unsent.note(&Event::Incoming(answer));
        events.state.events.clear();
        for _ in 0..3 {
            unsent.hand_over(&mut events, TAKES);
            send(&mut events, &mut unsent);
        }
        assert_eq!(events.state.inflight(), 2, "both others");
    }

    #[test]
    fn what_waits_for_the_number_of_a_refused_message_goes_on() {
        let (mut events, mut unsent) = (events(), Unsent::default());
        unsent.take_along(&mut events, 2);
        for byte in 1..=3 {
            events.pending.push_back(Request::Publish(publish(byte)));
        }
        send(&mut events, &mut unsent);
        let waits = events.state.collision.as_ref().expect("no third number");
        assert_eq!((waits.payload[0], waits.pkid), (3, 1));
        let mut refused = PubAck::new(1, None);
        refused.reason = PubAckReason::NotAuthorized;
        let refused = Packet::PubAck(refused);
        events
            .state
            .handle_incoming_packet(refused)
            .expect("it was sent");
        release(&mut events, 2);
        assert!(events.pending.is_empty());
        release(&mut events, 1);
        send(&mut events, &mut unsent);
        assert!(events.state.collision.is_none());
        assert_eq!(events.state.inflight(), 2);
    }
}
