//! The COSE message around the statement: headers, signatures, and the forms of CBOR.

use countersign_trust_store::Code;

use crate::attack::{Attack, attack, control};
use crate::cbor;
use crate::good::{Good, encode};
use crate::handmade::{
    ALGORITHM, CONTENT_TYPE, CONTENT_TYPE_LABEL, COSE_SIGN, Cose, ESP256, X5CHAIN, body_header,
    changed, signer_header, x5chain,
};

pub(super) fn attacks() -> Vec<Attack> {
    let mut all = vec![
        control(
            "control_an_envelope_made_by_hand",
            "The good file, its envelope put together by hand.",
            |good| changed(good, |_| ()),
        ),
        attack(
            "ta15_a_body_header_that_must_be_understood",
            "The envelope's header has `crit` and a label that it names.",
            Code::Malformed,
            |good| {
                changed(good, |cose| {
                    cose.body = cbor::map(&[
                        (cbor::unsigned(2), cbor::array(&[cbor::unsigned(99)])),
                        (cbor::unsigned(CONTENT_TYPE_LABEL), cbor::text(CONTENT_TYPE)),
                        (cbor::unsigned(99), cbor::unsigned(1)),
                    ]);
                })
            },
        ),
        attack(
            "ta15_an_unknown_body_header",
            "The envelope's header has a label that the format does not have.",
            Code::Malformed,
            |good| {
                changed(good, |cose| {
                    cose.body = cbor::map(&[
                        (cbor::unsigned(CONTENT_TYPE_LABEL), cbor::text(CONTENT_TYPE)),
                        (cbor::unsigned(4), cbor::bytes(b"key")),
                    ]);
                })
            },
        ),
        attack(
            "ta15_an_unknown_signer_header",
            "A signer's header has a label that the format does not have.",
            Code::Malformed,
            |good| {
                let chain = good.device().chain;
                changed(good, |cose| {
                    cose.signer = cbor::map(&[
                        (cbor::unsigned(ALGORITHM), cbor::integer(ESP256)),
                        (cbor::unsigned(4), cbor::bytes(b"key")),
                        (cbor::unsigned(X5CHAIN), x5chain(&chain)),
                    ]);
                })
            },
        ),
        attack(
            "ta15_a_reserved_form_of_the_tag",
            "The tag is written in a form of CBOR that is reserved.",
            Code::Malformed,
            |good| changed(good, |cose| cose.tag = vec![0xdc]),
        ),
        attack(
            "ta15_no_tag",
            "The envelope lacks the tag that says what it is.",
            Code::Malformed,
            |good| changed(good, |cose| cose.tag = Vec::new()),
        ),
        attack(
            "ta15_an_envelope_of_five_parts",
            "The envelope has a part more than COSE_Sign.",
            Code::Malformed,
            |good| {
                let mut payload = super::section::payload(good);
                payload[2] = 0x85;
                payload.push(0xf6);
                good.enclose(&payload)
            },
        ),
        attack(
            "ta24_a_longer_form_of_the_tag",
            "The envelope's tag is written longer than it needs.",
            Code::Noncanonical,
            |good| changed(good, |cose| cose.tag = cbor::long_head(6, COSE_SIGN)),
        ),
        attack(
            "ta24_a_header_of_no_definite_length",
            "A signer's header is a map of indefinite length.",
            Code::Noncanonical,
            |good| changed(good, |cose| cose.signer = indefinite(&cose.signer)),
        ),
        attack(
            "ta24_header_labels_out_of_order",
            "A signer's header has its certificates before its algorithm.",
            Code::Noncanonical,
            |good| {
                let chain = good.device().chain;
                changed(good, |cose| {
                    cose.signer = cbor::map(&[
                        (cbor::unsigned(X5CHAIN), x5chain(&chain)),
                        (cbor::unsigned(ALGORITHM), cbor::integer(ESP256)),
                    ]);
                })
            },
        ),
        attack(
            "ta24_a_header_label_twice",
            "A signer's header names its algorithm twice.",
            Code::Noncanonical,
            |good| {
                let chain = good.device().chain;
                changed(good, |cose| {
                    cose.signer = cbor::map(&[
                        (cbor::unsigned(ALGORITHM), cbor::integer(ESP256)),
                        (cbor::unsigned(ALGORITHM), cbor::integer(ESP256)),
                        (cbor::unsigned(X5CHAIN), x5chain(&chain)),
                    ]);
                })
            },
        ),
        attack(
            "ta24_bytes_behind_a_header",
            "A byte stands behind the map inside a signer's header.",
            Code::Noncanonical,
            |good| changed(good, |cose| cose.signer.push(0xf6)),
        ),
        attack(
            "ta24_bytes_behind_the_envelope",
            "A byte stands behind the envelope inside the signature section.",
            Code::Noncanonical,
            |good| good.enclose(&[super::section::payload(good), vec![0xf6]].concat()),
        ),
        attack(
            "ta24_an_algorithm_in_a_longer_form",
            "A signer's algorithm is an integer that is longer than it needs.",
            Code::Noncanonical,
            |good| {
                let chain = good.device().chain;
                changed(good, |cose| {
                    cose.signer = signer_header(vec![0x38, 0x08], x5chain(&chain));
                })
            },
        ),
        attack(
            "ta24_a_single_certificate_in_a_list",
            "A chain of one certificate is written as a list.",
            Code::Noncanonical,
            |good| {
                let leaf = good.device().chain.swap_remove(0);
                changed(good, |cose| {
                    cose.signer = signer_header(cbor::integer(ESP256), x5chain(&[leaf]));
                })
            },
        ),
        attack(
            "ta27_no_signature",
            "The list of signatures is empty.",
            Code::Malformed,
            |good| {
                let device = good.device();
                let cose = Cose::of(&device, encode(good.fields(&device)));
                good.enclose(&cose.encode_signers(&cbor::array(&[])))
            },
        ),
        attack(
            "ta27_no_certificate",
            "The list of certificates is empty.",
            Code::Noncanonical,
            |good| {
                changed(good, |cose| {
                    cose.signer = signer_header(cbor::integer(ESP256), x5chain(&[]));
                })
            },
        ),
        attack(
            "ta27_a_certificate_of_no_bytes",
            "The signer's certificate has no bytes.",
            Code::Malformed,
            |good| {
                changed(good, |cose| {
                    cose.signer = signer_header(cbor::integer(ESP256), cbor::bytes(b""));
                })
            },
        ),
        attack(
            "ta27_no_certificates_named",
            "The signer's header has an algorithm only.",
            Code::Malformed,
            |good| {
                changed(good, |cose| {
                    cose.signer = cbor::map(&[(cbor::unsigned(ALGORITHM), cbor::integer(ESP256))]);
                })
            },
        ),
        attack(
            "ta27_an_empty_signer_header",
            "The signer's header is a byte string of no bytes.",
            Code::Malformed,
            |good| changed(good, |cose| cose.signer = Vec::new()),
        ),
        attack(
            "ta27_an_empty_signature_section",
            "The signature section holds nothing but its name.",
            Code::Malformed,
            |good| good.enclose(b""),
        ),
        attack(
            "ta27_a_signature_of_no_bytes",
            "The signature has no bytes.",
            Code::Malformed,
            |good| with_signature(good, |_| cbor::bytes(b"")),
        ),
        attack(
            "ta27_no_statement",
            "The statement has no bytes.",
            Code::Malformed,
            |good| changed(good, |cose| cose.statement = Vec::new()),
        ),
        attack(
            "ta27_a_null_in_place_of_the_statement",
            "The statement is detached, as COSE allows.",
            Code::Malformed,
            |good| {
                let payload = super::section::payload(good);
                let device = good.device();
                let statement = cbor::bytes(&encode(good.fields(&device)));
                let at = payload
                    .windows(statement.len())
                    .position(|window| window == statement)
                    .expect("it is there");
                let (before, after) = (&payload[..at], &payload[at + statement.len()..]);
                good.enclose(&[before, &[0xf6], after].concat())
            },
        ),
        attack(
            "ta36_a_body_header_that_nobody_signs",
            "The envelope's unprotected header holds a key identifier.",
            Code::Noncanonical,
            |good| changed(good, |cose| cose.body_unprotected = key_identifier()),
        ),
        attack(
            "ta36_a_signer_header_that_nobody_signs",
            "A signer's unprotected header holds a key identifier.",
            Code::Noncanonical,
            |good| changed(good, |cose| cose.signer_unprotected = key_identifier()),
        ),
        attack(
            "ta36_certificates_that_nobody_signs",
            "A signer's unprotected header holds another chain.",
            Code::Noncanonical,
            |good| {
                let chain = crate::good::stranger().chain().to_vec();
                changed(good, |cose| {
                    cose.signer_unprotected =
                        cbor::map(&[(cbor::unsigned(X5CHAIN), x5chain(&chain))]);
                })
            },
        ),
        attack(
            "ta36_an_algorithm_that_nobody_signs",
            "A signer's algorithm stands in its unprotected header.",
            Code::Noncanonical,
            |good| {
                changed(good, |cose| {
                    cose.signer_unprotected =
                        cbor::map(&[(cbor::unsigned(ALGORITHM), cbor::integer(ESP256))]);
                })
            },
        ),
        attack(
            "ta36_an_unprotected_header_that_is_no_map",
            "The envelope's unprotected header is null.",
            Code::Malformed,
            |good| changed(good, |cose| cose.body_unprotected = vec![0xf6]),
        ),
        attack(
            "ta36_an_unprotected_header_of_no_definite_length",
            "The envelope's unprotected header is empty, and of indefinite length.",
            Code::Noncanonical,
            |good| changed(good, |cose| cose.body_unprotected = vec![0xbf, 0xff]),
        ),
        attack(
            "ta24_a_body_header_in_an_empty_map",
            "The envelope's header is an empty map.",
            Code::Purpose,
            |good| changed(good, |cose| cose.body = cbor::map(&[])),
        ),
        attack(
            "ta24_a_content_type_in_pieces",
            "The content type is a text of indefinite length.",
            Code::Noncanonical,
            |good| {
                let pieces = [&[0x7f], cbor::text(CONTENT_TYPE).as_slice(), &[0xff]].concat();
                changed(good, |cose| cose.body = body_header(pieces))
            },
        ),
    ];
    for bytes in [1, 63, 65, 71] {
        all.push(attack(
            format!("ta27_a_signature_of_{bytes}_bytes"),
            "The signature is not 64 bytes long.",
            Code::Malformed,
            move |good| {
                with_signature(good, |true_one| {
                    let mut signature = true_one.to_vec();
                    signature.resize(bytes, 0);
                    cbor::bytes(&signature)
                })
            },
        ));
    }
    all
}

/// The good file with this item in place of its signature.
pub(super) fn with_signature(good: &Good, change: impl Fn(&[u8]) -> Vec<u8>) -> Vec<u8> {
    let device = good.device();
    let cose = Cose::of(&device, encode(good.fields(&device)));
    let item = change(&cose.signature(&device.key));
    good.enclose(&cose.encode_with(&item))
}

fn key_identifier() -> Vec<u8> {
    cbor::map(&[(cbor::unsigned(4), cbor::bytes(b"key"))])
}

/// A map with less than 24 entries in the form of indefinite length.
fn indefinite(map: &[u8]) -> Vec<u8> {
    [&[0xbf], &map[1..], &[0xff]].concat()
}
