//! Messages that were signed for something else, in the place of a component's signature.

use countersign_trust_store::Code;

use crate::attack::{Attack, attack};
use crate::cbor;
use crate::good::encode;
use crate::handmade::{Cose, body_header, changed};

pub(super) fn attacks() -> Vec<Attack> {
    let mut all = vec![
        attack(
            "ta22_no_content_type",
            "A COSE_Sign that does not say what it is about.",
            Code::Purpose,
            |good| changed(good, |cose| cose.body = Vec::new()),
        ),
        attack(
            "ta22_the_number_of_a_content_type",
            "A COSE_Sign whose content type is a number of CoAP's.",
            Code::Purpose,
            |good| changed(good, |cose| cose.body = body_header(cbor::unsigned(60))),
        ),
        attack(
            "ta22_the_content_type_in_capital_letters",
            "A COSE_Sign whose content type differs in case.",
            Code::Purpose,
            |good| {
                let capitals = crate::handmade::CONTENT_TYPE.to_uppercase();
                changed(good, |cose| cose.body = body_header(cbor::text(&capitals)))
            },
        ),
        attack(
            "ta22_a_certificate_request",
            "A certificate request in DER.",
            Code::Malformed,
            |good| {
                let key = crate::der::any(&good.device().key.public_key().to_spki_der());
                let key = der::Encode::to_der(&key).expect("it encodes");
                good.enclose(&crate::der::sequence(&[&[2, 1, 0], &[0x30, 0], &key]))
            },
        ),
        attack(
            "ta22_a_dsse_envelope",
            "An envelope of another signing format, in JSON.",
            Code::Malformed,
            |good| {
                good.enclose(
                    br#"{"payloadType":"application/vnd.in-toto+json","payload":"e30=","signatures":[]}"#,
                )
            },
        ),
        attack(
            "ta22_a_signature_section_of_the_tool_conventions",
            "The payload of the section `signature` that core modules have.",
            Code::Malformed,
            |good| good.enclose(&[&[1, 1, 1, 1, 1][..], &[7; 32], &[1, 0, 64], &[7; 64]].concat()),
        ),
    ];
    for (word, content_type) in [
        ("an_attestation", "application/eat+cwt"),
        ("an_update_index", "application/vnd.countersign.index+cbor"),
        ("guest_data", "application/vnd.countersign.guest-data+cbor"),
        ("nothing", ""),
        ("a_line_end", "application/vnd.countersign.statement+cbor\n"),
        (
            "a_parameter",
            "application/vnd.countersign.statement+cbor;v=2",
        ),
    ] {
        all.push(attack(
            format!("ta22_the_content_type_of_{word}"),
            "A genuine COSE_Sign of this device over this statement, made for another purpose.",
            Code::Purpose,
            move |good| {
                changed(good, |cose| {
                    cose.body = body_header(cbor::text(content_type))
                })
            },
        ));
    }
    for (word, tag) in [
        ("cose_encrypt0", 16),
        ("cose_mac0", 17),
        ("cose_sign1", 18),
        ("a_web_token", 61),
        ("cose_encrypt", 96),
        ("cose_mac", 97),
    ] {
        all.push(attack(
            format!("ta22_{word}"),
            "A message of another kind than COSE_Sign.",
            Code::Purpose,
            move |good| {
                let device = good.device();
                let mut cose = Cose::of(&device, encode(good.fields(&device)));
                cose.tag = cbor::head(6, tag);
                good.enclose(&cose.encode(&device.key))
            },
        ));
    }
    all
}
