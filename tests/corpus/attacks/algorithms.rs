//! Algorithms that are not permitted, that are not the key's, or that nobody names.

use countersign_format::Algorithm;
use countersign_trust_store::Code;

use super::envelope::with_signature;
use super::lists::list_signed_as;
use super::signature_values::ed25519_device;
use crate::attack::{Attack, attack, unusable_list};
use crate::cbor;
use crate::der::{self, oid, sequence};
use crate::good::{Good, LEAF, LOWER, encode};
use crate::handmade::{Cose, X5CHAIN, changed, signer_header, x5chain};

const ECDSA_WITH_SHA256: &str = "1.2.840.10045.4.3.2";

/// Signature algorithms of certificates that are not permitted.
const FORBIDDEN: [(&str, &str); 8] = [
    ("tb09_ecdsa_with_sha1", "1.2.840.10045.4.1"),
    ("tb09_ecdsa_with_sha224", "1.2.840.10045.4.3.1"),
    ("tb09_ecdsa_with_sha512", "1.2.840.10045.4.3.4"),
    ("tb09_rsa_with_md5", "1.2.840.113549.1.1.4"),
    ("tb09_rsa_with_sha1", "1.2.840.113549.1.1.5"),
    ("tb10_rsa_with_sha256", "1.2.840.113549.1.1.11"),
    ("tb10_rsa_pss", "1.2.840.113549.1.1.10"),
    ("tb09_an_unknown_algorithm", "1.2.3.4.5"),
];

pub(super) fn attacks() -> Vec<Attack> {
    let mut all = vec![
        attack(
            "tb07_ed25519_stated_for_a_p256_key",
            "A signer states another algorithm than its key's, in header and statement.",
            Code::AlgorithmForbidden,
            |good| stating_algorithm(good, &good.device(), Algorithm::Ed25519),
        ),
        attack(
            "tb07_esp256_stated_for_an_ed25519_key",
            "A signer states another algorithm than its key's, in header and statement.",
            Code::AlgorithmForbidden,
            |good| stating_algorithm(good, &ed25519_device(good), Algorithm::Esp256),
        ),
        attack(
            "tb07_ed25519_stated_in_the_header_only",
            "A signer's header states another algorithm than the statement.",
            Code::SignersMismatch,
            |good| {
                let chain = good.device().chain;
                changed(good, |cose| {
                    cose.signer =
                        signer_header(cbor::integer(Algorithm::Ed25519.cose_id()), x5chain(&chain));
                })
            },
        ),
        attack(
            "tb08_no_algorithm",
            "A signer's header has certificates only.",
            Code::Malformed,
            |good| {
                let chain = x5chain(&good.device().chain);
                changed(good, |cose| {
                    cose.signer = cbor::map(&[(cbor::unsigned(X5CHAIN), chain)]);
                })
            },
        ),
        attack(
            "tb08_a_null_for_an_algorithm",
            "A signer's algorithm is null.",
            Code::Malformed,
            |good| with_algorithm(good, vec![0xf6]),
        ),
        attack(
            "tb08_the_word_none_for_an_algorithm",
            "A signer's algorithm is the text `none`.",
            Code::Malformed,
            |good| with_algorithm(good, cbor::text("none")),
        ),
        attack(
            "tb07_a_mac_with_the_public_key",
            "The algorithm is HMAC, and what stands for a signature needs no private key.",
            Code::AlgorithmForbidden,
            |good| {
                let device = good.device();
                let mut cose = Cose::of(&device, encode(good.fields(&device)));
                cose.signer = signer_header(cbor::unsigned(5), x5chain(&device.chain));
                let key = device.key.public_key().to_spki_der();
                let tag = countersign_format::Digest::of(&[key, cose.statement.clone()].concat());
                good.enclose(&cose.encode_with(&cbor::bytes(&tag.as_bytes().repeat(2))))
            },
        ),
        attack(
            "tb08_the_signature_is_a_digest",
            "The signature is a digest of what it should sign.",
            Code::SignatureInvalid,
            |good| {
                let statement = encode(good.fields(&good.device()));
                with_signature(good, |_| {
                    let digest = countersign_format::Digest::of(&statement);
                    cbor::bytes(&digest.as_bytes().repeat(2))
                })
            },
        ),
        attack(
            "tb07_a_certificate_said_to_be_signed_with_ed25519",
            "The device's certificate names Ed25519, and its issuer's key is for P-256.",
            Code::ChainOrder,
            |good| named(good, LEAF, &sequence(&[&oid("1.3.101.112")])),
        ),
        attack(
            "tb07_a_certificate_said_to_be_signed_with_p384",
            "The device's certificate names ECDSA with SHA-384, and its issuer's key is for P-256.",
            Code::ChainOrder,
            |good| named(good, LEAF, &sequence(&[&oid("1.2.840.10045.4.3.3")])),
        ),
        attack(
            "tb08_a_null_beside_an_algorithm",
            "The algorithm of the device's certificate has parameters, which it must not have.",
            Code::AlgorithmForbidden,
            |good| named(good, LEAF, &sequence(&[&oid(ECDSA_WITH_SHA256), der::NULL])),
        ),
        attack(
            "tc23_another_algorithm_outside",
            "The algorithm outside the signed part of the device's certificate is another permitted one.",
            Code::AlgorithmForbidden,
            |good| two_algorithms(good, ECDSA_WITH_SHA256, "1.2.840.10045.4.3.3"),
        ),
        attack(
            "tc23_another_algorithm_inside",
            "The algorithm inside the signed part of the device's certificate is another permitted one.",
            Code::AlgorithmForbidden,
            |good| two_algorithms(good, "1.2.840.10045.4.3.3", ECDSA_WITH_SHA256),
        ),
        attack(
            "tc23_sha1_outside",
            "The algorithm outside the signed part of the device's certificate has SHA-1.",
            Code::AlgorithmForbidden,
            |good| two_algorithms(good, ECDSA_WITH_SHA256, "1.2.840.10045.4.1"),
        ),
    ];
    for (word, number) in [
        ("none", 0_i64),
        ("eddsa", -8),
        ("es256", -7),
        ("es384", -35),
        ("es512", -36),
        ("ps256", -37),
        ("rs1", -65_535),
        ("hmac", 5),
        ("the_least", i64::MIN),
    ] {
        all.push(attack(
            format!("tb08_the_algorithm_{word}"),
            "A signer states an algorithm that is not permitted.",
            Code::AlgorithmForbidden,
            move |good| with_algorithm(good, cbor::integer(number)),
        ));
    }
    for (name, id) in FORBIDDEN {
        for (whose, place) in [("a_device", LEAF), ("an_authority", LOWER)] {
            all.push(attack(
                format!("{name}_in_the_certificate_of_{whose}"),
                "A certificate names an algorithm that is not permitted.",
                Code::AlgorithmForbidden,
                move |good| named(good, place, &sequence(&[&oid(id)])),
            ));
        }
        all.push(unusable_list(
            format!("{name}_in_a_list"),
            "A revocation list names an algorithm that is not permitted.",
            move |good| list_signed_as(good, &sequence(&[&oid(id)])),
        ));
    }
    all
}

/// The good file with this item for a signer's algorithm.
fn with_algorithm(good: &Good, algorithm: Vec<u8>) -> Vec<u8> {
    let chain = x5chain(&good.device().chain);
    changed(good, |cose| cose.signer = signer_header(algorithm, chain))
}

/// The file of a device whose algorithm is said to be another one, consistently.
fn stating_algorithm(good: &Good, device: &crate::good::Device, stated: Algorithm) -> Vec<u8> {
    let mut fields = good.fields(device);
    fields.signers[0].algorithm = stated;
    let mut cose = Cose::of(device, encode(fields));
    cose.signer = signer_header(cbor::integer(stated.cose_id()), x5chain(&device.chain));
    good.enclose(&cose.encode(&device.key))
}

/// The good file, a certificate of its chain naming this algorithm inside and outside.
fn named(good: &Good, place: usize, algorithm: &[u8]) -> Vec<u8> {
    good.sign(&good.bent(place, |parts| parts.signature = der::any(algorithm)))
}

/// The good file, the device's certificate naming one algorithm in its signed part and another outside.
fn two_algorithms(good: &Good, inside: &str, outside: &str) -> Vec<u8> {
    let bent = good.bent(LEAF, |parts| {
        parts.signature = der::any(&sequence(&[&oid(inside)]));
    });
    let to_be_signed = der::children(&bent.chain[LEAF]).swap_remove(0);
    let certificate = der::signed(
        &to_be_signed,
        &sequence(&[&oid(outside)]),
        &good.issuer_key(LEAF),
    );
    good.sign(&good.replaced(LEAF, certificate))
}
