//! Answers messages: what arrives on `…/ask/NAME` goes out on `…/answer/NAME`, turned round.
//!
//! It has no socket, and knows neither the broker nor the key with which its host is known there. Messages of one word show
//! what becomes of others: `refuse` is given back, `trap` traps, `elsewhere` is published where it may not, and `flood` is
//! published until that is refused.

use bindings::countersign::messaging::producer::{self, Error};
use bindings::exports::countersign::messaging::handler::Guest;

mod bindings {
    #![allow(
        missing_docs,
        reason = "generated; the documentation is in wit/messaging/messaging.wit"
    )]
    wit_bindgen::generate!({
        path: "../../wit/messaging",
        world: "countersign:messaging/subscriber",
    });
}

struct Relay;

bindings::export!(Relay with_types_in bindings);

impl Guest for Relay {
    fn on_message(topic: String, payload: Vec<u8>) -> Result<(), String> {
        let answers = topic.replace("/ask/", "/answer/");
        match payload.as_slice() {
            b"refuse" => Err("it is not to be handled".to_owned()),
            b"trap" => std::process::abort(),
            b"elsewhere" => {
                let said = producer::publish("elsewhere", &payload).map_err(variant);
                answer(&answers, said.expect_err("it may not").as_bytes())
            }
            b"flood" => {
                let refused = (0..).find_map(|_| producer::publish(&answers, b"flood").err());
                refused.map_or(Ok(()), |error| Err(variant(error)))
            }
            words => {
                let turned: Vec<u8> = words.iter().rev().copied().collect();
                answer(&answers, &turned)
            }
        }
    }
}

fn answer(topic: &str, payload: &[u8]) -> Result<(), String> {
    producer::publish(topic, payload).map_err(variant)
}

/// The error's name as the interface spells it.
fn variant(error: Error) -> String {
    match error {
        Error::NotGranted => "not-granted",
        Error::TopicInvalid => "topic-invalid",
        Error::MessageTooLarge => "message-too-large",
        Error::QuotaExceeded(_) => "quota-exceeded",
        Error::Busy => "busy",
    }
    .to_owned()
}
