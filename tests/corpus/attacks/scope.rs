//! What a device may sign.

use countersign_format::{Audience, NamePattern, Scope, oid as ours};
use countersign_trust_store::Code;

use super::extensions::extended;
use crate::attack::{Attack, attack, control};
use crate::der::{UTF8_STRING, sequence, tlv};
use crate::good::{COMPONENT, Good, LEAF, LOWER, UPPER};

pub(super) fn attacks() -> Vec<Attack> {
    let mut all = vec![
        attack(
            "tc39_no_scope_anywhere",
            "No certificate of the chain says what the device may sign.",
            Code::SignerNotAuthorised,
            |good| {
                good.sign(&good.bent(LEAF, |parts| parts.remove_extension(ours::COMPONENT_SCOPE)))
            },
        ),
        control(
            "control_a_scope_of_the_authority_alone",
            "Only an authority's certificate says what the device may sign.",
            |good| {
                let mut chain = good.device().chain;
                chain[LEAF] = good
                    .bent(LEAF, |parts| parts.remove_extension(ours::COMPONENT_SCOPE))
                    .chain
                    .swap_remove(LEAF);
                chain[LOWER] = scoped(good, LOWER, &["test:*"]).chain.swap_remove(LOWER);
                good.sign(&good.device_with(chain))
            },
        ),
        control(
            "control_a_scope_of_exactly_this_component",
            "The device may sign this component and no other.",
            |good| good.sign(&scoped(good, LEAF, &[COMPONENT])),
        ),
        attack(
            "tc39_a_scope_for_certain_devices",
            "The device may sign for certain devices, and the component is for any.",
            Code::SignerNotAuthorised,
            |good| {
                let audience = Audience {
                    devices: Vec::new(),
                    types: vec!["pump".to_owned()],
                };
                let value = encoded(&["test:*"], audience);
                extended(good, LEAF, ours::COMPONENT_SCOPE, false, &value)
            },
        ),
    ];
    for (word, pattern) in [
        ("of_another_namespace", "other:*"),
        ("of_a_longer_namespace", "test-evil:*"),
        ("of_a_shorter_namespace", "tes:*"),
        ("of_a_shorter_name", "test:hell"),
        ("of_a_longer_name", "test:hello-two"),
        ("of_the_name_in_another_namespace", "other:hello"),
    ] {
        for (whose, place) in [
            ("the_device", LEAF),
            ("the_lower_authority", LOWER),
            ("the_upper_authority", UPPER),
        ] {
            all.push(attack(
                format!("tc39_a_scope_{word}_of_{whose}"),
                "A certificate of the chain allows another name than the component's.",
                Code::SignerNotAuthorised,
                move |good| good.sign(&scoped(good, place, &[pattern])),
            ));
        }
    }
    for (word, texts) in [
        ("of_everything", &["*"][..]),
        ("of_every_namespace", &["*:*"]),
        ("of_an_empty_prefix", &[""]),
        ("of_an_empty_namespace", &[":*"]),
        ("of_half_a_name", &["test:hel*"]),
        ("in_capital_letters", &["TEST:*"]),
        ("with_a_cyrillic_letter", &["t\u{0435}st:*"]),
        ("with_a_zero", &["test:hello\0"]),
        ("without_a_name", &[]),
        ("twice_the_same", &["test:*", "test:*"]),
        ("out_of_order", &["test:*", "other:*"]),
    ] {
        all.push(attack(
            format!("tc39_a_scope_{word}"),
            "The scope in the device's certificate is none.",
            Code::CertificateExtension,
            move |good| {
                let texts: Vec<u8> = texts
                    .iter()
                    .flat_map(|text| tlv(UTF8_STRING, text.as_bytes()))
                    .collect();
                let value = sequence(&[&sequence(&[&texts])]);
                extended(good, LEAF, ours::COMPONENT_SCOPE, false, &value)
            },
        ));
    }
    for (word, value) in [
        ("of_no_bytes", Vec::new()),
        ("that_is_empty", sequence(&[])),
        ("that_is_a_text", tlv(UTF8_STRING, b"test:*")),
    ] {
        all.push(attack(
            format!("tc39_a_scope_{word}"),
            "The scope in the device's certificate cannot be read.",
            Code::CertificateExtension,
            move |good| extended(good, LEAF, ours::COMPONENT_SCOPE, false, &value),
        ));
    }
    all.push(attack(
        "tc39_a_device_wider_than_its_authority",
        "The device's scope holds the component, and reaches beyond its authority's, which holds it too.",
        Code::SignerNotAuthorised,
        |good| good.sign(&scoped(good, LOWER, &[COMPONENT])),
    ));
    all.push(attack(
        "tc39_an_authority_wider_than_the_one_above_it",
        "The lower authority's scope reaches beyond the upper one's.",
        Code::SignerNotAuthorised,
        |good| {
            let mut chain = scoped(good, LEAF, &[COMPONENT]).chain;
            chain[LOWER] = scoped(good, LOWER, &["other:*", "test:*"])
                .chain
                .swap_remove(LOWER);
            chain[UPPER] = scoped(good, UPPER, &["test:*"]).chain.swap_remove(UPPER);
            good.sign(&good.device_with(chain))
        },
    ));
    all
}

/// The good device, a certificate of its chain with this scope.
fn scoped(good: &Good, place: usize, patterns: &[&str]) -> crate::good::Device {
    let value = encoded(patterns, Audience::default());
    good.bent(place, |parts| {
        parts.set_extension(ours::COMPONENT_SCOPE, false, &value)
    })
}

fn encoded(patterns: &[&str], audience: Audience) -> Vec<u8> {
    let patterns = patterns
        .iter()
        .map(|pattern| NamePattern::parse(pattern).expect("a pattern"));
    Scope::new(patterns.collect(), audience)
        .and_then(|scope| scope.to_der())
        .expect("a scope")
}
