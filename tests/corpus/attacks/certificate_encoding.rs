//! Certificates in another form than the one that DER has for them, and things that are none.

use countersign_trust_store::Code;
use der::asn1::BitString;
use der::pem::LineEnding;

use crate::attack::{Attack, attack, control};
use crate::der::{
    self as hand, BIT_STRING, INTEGER, OBJECT_IDENTIFIER, Rewrite, SEQUENCE, SET, UTF8_STRING,
    children, content, indefinite_tlv, long_tlv, sequence, tlv,
};
use crate::good::{Good, LEAF, LOWER};

/// The name of a change, what it does, and how.
type Form = (&'static str, &'static str, Rewrite);

pub(super) fn attacks() -> Vec<Attack> {
    let mut all = outer_forms();
    all.extend(inner_forms());
    all.extend(versions());
    all
}

/// The certificate as a whole; its signature stays good.
fn outer_forms() -> Vec<Attack> {
    const FORMS: [Form; 12] = [
        (
            "tc21_an_indefinite_length",
            "The outermost length is indefinite.",
            |c| indefinite_tlv(SEQUENCE, &content(c)),
        ),
        (
            "tc21_a_longer_length",
            "The outermost length is longer than it needs.",
            |c| long_tlv(SEQUENCE, &content(c)),
        ),
        (
            "tc21_a_signature_with_unused_bits",
            "The signature's bit string has unused bits.",
            |c| {
                let parts = children(c);
                let mut bits = content(&parts[2]);
                (bits[0], *bits.last_mut().expect("not empty")) = (1, bits[bits.len() - 1] & 0xfe);
                sequence(&[&parts[0], &parts[1], &tlv(BIT_STRING, &bits)])
            },
        ),
        (
            "tc21_a_signature_in_pieces",
            "The signature's bit string is made of pieces, as BER has it.",
            |c| {
                let parts = children(c);
                sequence(&[&parts[0], &parts[1], &tlv(BIT_STRING | 0x20, &parts[2])])
            },
        ),
        (
            "tc22_a_byte_behind",
            "A byte stands behind the certificate.",
            |c| [c, &[0]].concat(),
        ),
        (
            "tc22_a_certificate_behind",
            "A second certificate stands behind the certificate.",
            |c| [c, c].concat(),
        ),
        (
            "tc22_a_fourth_part",
            "The certificate has a fourth part.",
            |c| tlv(SEQUENCE, &[&content(c), hand::NULL].concat()),
        ),
        (
            "tc22_a_cut_end",
            "The certificate's last byte is cut off.",
            |c| c[..c.len() - 1].to_vec(),
        ),
        ("tc22_pem", "The certificate is in PEM.", |c| {
            der::pem::encode_string("CERTIFICATE", LineEnding::LF, c)
                .expect("PEM")
                .into_bytes()
        }),
        ("tc22_base64", "The certificate is in base64.", |c| {
            let pem = der::pem::encode_string("CERTIFICATE", LineEnding::LF, c).expect("PEM");
            pem.lines()
                .filter(|line| !line.starts_with('-'))
                .collect::<String>()
                .into_bytes()
        }),
        (
            "tc22_a_list_of_certificates",
            "The certificate is a list with one certificate in it.",
            |c| sequence(&[c]),
        ),
        ("tc22_a_null", "The certificate is NULL.", |_| {
            hand::NULL.to_vec()
        }),
    ];
    both_places(&FORMS, |good, place, change| {
        good.replaced(place, change(&good.device().chain[place]))
    })
}

/// The part that is signed, in another form and signed so.
fn inner_forms() -> Vec<Attack> {
    const FORMS: [Form; 10] = [
        (
            "tc21_an_indefinite_length_inside",
            "The signed part has an indefinite length.",
            |tbs| indefinite_tlv(SEQUENCE, &content(tbs)),
        ),
        (
            "tc21_a_longer_length_inside",
            "The signed part's length is longer than it needs.",
            |tbs| long_tlv(SEQUENCE, &content(tbs)),
        ),
        (
            "tc21_a_longer_length_of_the_subject",
            "The subject's length is longer than it needs.",
            |tbs| field(tbs, 5, |subject| long_tlv(SEQUENCE, &content(subject))),
        ),
        (
            "tc21_a_default_written_out",
            "An extension says that it is not critical, which DER leaves out.",
            |tbs| {
                first_extension(tbs, |parts| {
                    sequence(&[
                        &parts[0],
                        &tlv(hand::BOOLEAN, &[0]),
                        parts.last().expect("a value"),
                    ])
                })
            },
        ),
        (
            "tc21_a_true_that_is_1",
            "An extension is critical with a TRUE that is not 0xff.",
            |tbs| {
                first_extension(tbs, |parts| {
                    sequence(&[
                        &parts[0],
                        &tlv(hand::BOOLEAN, &[1]),
                        parts.last().expect("a value"),
                    ])
                })
            },
        ),
        (
            "tc21_a_padded_identifier",
            "The identifier of an extension has a padded arc.",
            |tbs| {
                first_extension(tbs, |parts| {
                    let id = content(&parts[0]);
                    let (start, last) = id.split_at(id.len() - 1);
                    let padded = tlv(OBJECT_IDENTIFIER, &[start, &[0x80], last].concat());
                    sequence(&[&padded, &parts[1..].concat()])
                })
            },
        ),
        (
            "tc21_an_unsorted_set",
            "A set in the subject is not sorted.",
            |tbs| {
                field(tbs, 5, |_| {
                    let attribute =
                        |text: &[u8]| sequence(&[&hand::oid("2.5.4.3"), &tlv(UTF8_STRING, text)]);
                    sequence(&[&tlv(SET, &[attribute(b"b"), attribute(b"a")].concat())])
                })
            },
        ),
        (
            "tc30_an_identifier_of_4000_octets",
            "The identifier of an extension has 4,000 octets.",
            |tbs| {
                first_extension(tbs, |parts| {
                    let id = tlv(
                        OBJECT_IDENTIFIER,
                        &[&[0x2a][..], &[0x81; 4000], &[1]].concat(),
                    );
                    sequence(&[&id, &parts[1..].concat()])
                })
            },
        ),
        (
            "tc31_an_empty_list_of_extensions",
            "The list of extensions is there, and empty.",
            |tbs| field(tbs, 7, |_| tlv(0xa3, &sequence(&[]))),
        ),
        (
            "tc22_an_unknown_field",
            "The signed part has a field that there is not.",
            |tbs| tlv(SEQUENCE, &[content(tbs), tlv(0xa4, hand::NULL)].concat()),
        ),
    ];
    both_places(&FORMS, |good, place, change| {
        let parts = children(&good.device().chain[place]);
        let certificate = hand::signed(&change(&parts[0]), &parts[1], &good.issuer_key(place));
        good.replaced(place, certificate)
    })
}

fn versions() -> Vec<Attack> {
    let version = |number: u8| tlv(INTEGER, &[number]);
    let mut all = Vec::new();
    for (word, what, version) in [
        (
            "version_1_with_extensions",
            "A certificate of version 1 has extensions.",
            None,
        ),
        (
            "version_1_written_out",
            "A certificate says that it is of version 1, which DER leaves out.",
            Some(version(0)),
        ),
        (
            "version_2",
            "A certificate is of version 2.",
            Some(version(1)),
        ),
        (
            "version_4",
            "A certificate is of version 4, which there is not.",
            Some(version(3)),
        ),
        (
            "version_minus_1",
            "A certificate is of a negative version.",
            Some(version(0xff)),
        ),
    ] {
        for (whose, place) in [("a_device", LEAF), ("an_authority", LOWER)] {
            let version = version.clone();
            all.push(attack(
                format!("tc31_{word}_of_{whose}"),
                what,
                Code::CertificateMalformed,
                move |good| {
                    good.sign(&good.bent(place, |parts| {
                        parts.version = version.as_deref().map(hand::any)
                    }))
                },
            ));
        }
    }
    all.push(attack(
        "tc31_version_1_as_an_authority",
        "An authority's certificate is of version 1, which has no extensions to say what it is.",
        Code::CertificateMalformed,
        |good| {
            good.sign(&good.bent(LOWER, |parts| {
                (parts.version, parts.extensions) = (None, None)
            }))
        },
    ));
    all.push(attack(
        "tc31_a_subject_unique_identifier",
        "The device's certificate has a unique identifier.",
        Code::CertificateMalformed,
        |good| {
            good.sign(&good.bent(LEAF, |parts| {
                parts.subject_unique_id = Some(BitString::from_bytes(&[1]).expect("bits"));
            }))
        },
    ));
    all.push(attack(
        "tc31_an_issuer_unique_identifier",
        "The device's certificate has a unique identifier of its issuer.",
        Code::CertificateMalformed,
        |good| {
            good.sign(&good.bent(LEAF, |parts| {
                parts.issuer_unique_id = Some(BitString::from_bytes(&[1]).expect("bits"));
            }))
        },
    ));
    all.push(control(
        "control_a_certificate_taken_apart_and_signed_again",
        "The device's certificate, its signed part unchanged and signed again.",
        |good| {
            let parts = children(&good.device().chain[LEAF]);
            good.sign(&good.replaced(
                LEAF,
                hand::signed(&parts[0], &parts[1], &good.issuer_key(LEAF)),
            ))
        },
    ));
    all
}

/// Each form in the certificate of the device and of an authority.
fn both_places(
    forms: &'static [Form],
    apply: fn(&Good, usize, Rewrite) -> crate::good::Device,
) -> Vec<Attack> {
    let mut all = Vec::new();
    for (name, what, change) in forms {
        for (whose, place) in [("a_device", LEAF), ("an_authority", LOWER)] {
            all.push(attack(
                format!("{name}_in_the_certificate_of_{whose}"),
                format!("In the certificate of {}: {what}", whose.replace('_', " ")),
                Code::CertificateMalformed,
                move |good| good.sign(&apply(good, place, *change)),
            ));
        }
    }
    all
}

/// A signed part with one of its fields changed.
fn field(tbs: &[u8], index: usize, change: impl Fn(&[u8]) -> Vec<u8>) -> Vec<u8> {
    let mut fields = children(tbs);
    fields[index] = change(&fields[index]);
    sequence(&[&fields.concat()])
}

/// A signed part with its first extension changed, which is not critical.
fn first_extension(tbs: &[u8], change: impl Fn(&[Vec<u8>]) -> Vec<u8>) -> Vec<u8> {
    field(tbs, 7, |tagged| {
        let list = content(tagged);
        let mut extensions = children(&list);
        let plain = |extension: &Vec<u8>| children(extension).len() == 2;
        let index = extensions
            .iter()
            .position(plain)
            .expect("one that is not critical");
        extensions[index] = change(&children(&extensions[index]));
        tlv(0xa3, &sequence(&[&extensions.concat()]))
    })
}
