//! What a broker does not take or does not grant, and why.

use rumqttc::v5::mqttbytes::v5::{DisconnectReasonCode, PubAckReason, SubAck, SubscribeReasonCode};
use rumqttc::v5::{ConnectionError, StateError};

use super::super::Numbers;
use crate::failures::Paced;
use crate::say::say;

/// Why a broker refuses a message that is larger than it said it takes.
pub(super) const TOO_LARGE: &str = "it takes none that is so large";

/// Messages that the broker does not take, for those who look.
pub(super) struct Refusals {
    name: String,
    numbers: Numbers,
    told: Paced,
}

impl Refusals {
    pub(super) fn new(name: &str, numbers: Numbers) -> Self {
        Self {
            name: name.to_owned(),
            numbers,
            told: Paced::new(),
        }
    }

    pub(super) fn note(&self, why: &str) {
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

/// Whether the broker ended the connection because of a message that it was sent.
pub(super) const fn is_for_a_message(error: &ConnectionError) -> bool {
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
pub(super) const fn not_taken(reason: PubAckReason) -> Option<&'static str> {
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
pub(super) fn refused(filters: &[String], answer: &SubAck) -> Option<String> {
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
