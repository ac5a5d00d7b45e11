//! Room for the messages of a broker that wait for the component.

use std::sync::Arc;

use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::Publish;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::super::MAX_WAITING_BYTES;

/// Bytes of messages that wait: of those that the broker counts, as many as it was told, and of those that it only sends.
pub(super) struct Room {
    asking: Arc<Semaphore>,
    others: Arc<Semaphore>,
}

impl Room {
    /// For packets of so many bytes at most, of which so many may be sent before one is acknowledged.
    pub(super) fn new(packet: u64, receive: u16) -> Self {
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
    pub(super) fn take(&self, publish: &Publish) -> Option<OwnedSemaphorePermit> {
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

#[cfg(test)]
mod tests {
    use super::super::super::as_many;
    use super::super::{BESIDE, RECEIVE_MAXIMUM};
    use super::*;

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
