//! The numbers in signatures, and how they are written: of components, certificates and revocation lists.

use countersign_keys::Algorithm;
use countersign_testing::throwaway_key;
use countersign_trust_store::Code;

use super::envelope::with_signature;
use super::lists::sealed_list;
use crate::attack::{Attack, attack, control};
use crate::cbor;
use crate::der::{self, INTEGER, SEQUENCE, tlv};
use crate::good::{Device, Good, LEAF, LOWER, encode, seal};

/// The order n of P-256.
const N: [u8; 32] = [
    0xff, 0xff, 0xff, 0xff, 0x00, 0x00, 0x00, 0x00, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
    0xbc, 0xe6, 0xfa, 0xad, 0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
];

/// The order L of Ed25519, little-endian.
const L: [u8; 32] = [
    0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
];

pub(super) fn attacks() -> Vec<Attack> {
    let mut all = component_signatures();
    all.extend(ed25519());
    all.extend(encodings());
    all
}

type Change = fn(&mut [u8]);

fn component_signatures() -> Vec<Attack> {
    let changes: [(&str, &str, Change); 14] = [
        (
            "tb01_both_numbers_zero",
            "Both numbers of the signature are 0.",
            |s| s.fill(0),
        ),
        ("tb01_r_zero_and_s_one", "r is 0 and s is 1.", |s| {
            s.fill(0);
            s[63] = 1;
        }),
        ("tb01_r_one_and_s_zero", "r is 1 and s is 0.", |s| {
            s.fill(0);
            s[31] = 1;
        }),
        (
            "tb01_both_numbers_one",
            "Both numbers of the signature are 1.",
            |s| {
                s.fill(0);
                (s[31], s[63]) = (1, 1);
            },
        ),
        ("tb02_r_zero", "r is 0.", |s| s[..32].fill(0)),
        ("tb02_s_zero", "s is 0.", |s| s[32..].fill(0)),
        ("tb02_r_the_order", "r is the order n.", |s| {
            s[..32].copy_from_slice(&N)
        }),
        ("tb02_s_the_order", "s is the order n.", |s| {
            s[32..].copy_from_slice(&N)
        }),
        ("tb02_r_the_order_and_one", "r is n + 1.", |s| {
            s[..32].copy_from_slice(&N);
            s[31] += 1;
        }),
        ("tb02_s_the_order_and_one", "s is n + 1.", |s| {
            s[32..].copy_from_slice(&N);
            s[63] += 1;
        }),
        ("tb02_r_all_ones", "r is 2^256 - 1.", |s| s[..32].fill(0xff)),
        ("tb02_s_all_ones", "s is 2^256 - 1.", |s| s[32..].fill(0xff)),
        (
            "ta27_a_signature_of_zeros",
            "The signature is 64 zeros.",
            |s| s.fill(0),
        ),
        (
            "tb03_the_other_s",
            "s is n - s, which mathematics accepts too.",
            |s| {
                let negated = subtract(N, s[32..].try_into().expect("32 bytes"));
                s[32..].copy_from_slice(&negated);
            },
        ),
    ];
    changes
        .into_iter()
        .map(|(name, what, change)| {
            attack(name, what, Code::SignatureInvalid, move |good| {
                with_signature(good, |signature| {
                    let mut signature = signature.to_vec();
                    change(&mut signature);
                    cbor::bytes(&signature)
                })
            })
        })
        .collect()
}

fn ed25519() -> Vec<Attack> {
    let with = |good: &Good, change: Change| {
        let device = ed25519_device(good);
        let statement = encode(good.fields(&device));
        let entry = device.entry(&statement);
        let mut signature: [u8; 64] = entry.signature().try_into().expect("64 bytes");
        change(&mut signature);
        let entry =
            countersign_format::SignerEntry::new(entry.algorithm(), device.chain, signature);
        good.enclose(&seal(&statement, vec![entry.expect("an entry")]))
    };
    let changes: [(&str, &str, Change); 7] = [
        (
            "tb12_s_and_the_order",
            "S is S + L, which is the same number and another signature.",
            |s| add(&mut s[32..], L),
        ),
        ("tb12_s_the_order", "S is L.", |s| {
            s[32..].copy_from_slice(&L)
        }),
        ("tb12_s_all_ones", "S is 2^256 - 1.", |s| s[32..].fill(0xff)),
        ("tb13_r_of_order_one", "R is the neutral element.", |s| {
            s[..32].fill(0);
            s[0] = 1;
        }),
        ("tb13_r_of_order_eight", "R is a point of order 8.", |s| {
            s[..32].copy_from_slice(&super::keys::ORDER_8)
        }),
        (
            "tb13_r_of_mixed_order",
            "R is a point of mixed order.",
            |s| s[..32].copy_from_slice(&super::keys::MIXED_ORDER),
        ),
        (
            "tb13_all_zero",
            "The signature of a key for Ed25519 is 64 zeros.",
            |s| s.fill(0),
        ),
    ];
    let mut all = vec![control(
        "control_a_device_with_an_ed25519_key",
        "A file signed with Ed25519.",
        move |good| with(good, |_| ()),
    )];
    all.extend(changes.into_iter().map(|(name, what, change)| {
        attack(name, what, Code::SignatureInvalid, move |good| {
            with(good, change)
        })
    }));
    all
}

/// ECDSA-Sig-Value in other forms than DER, in certificates and lists. A certificate whose signature does not verify
/// under its issuer's key is no link of a chain.
fn encodings() -> Vec<Attack> {
    let forms: [(&str, &str, der::Rewrite); 10] = [
        (
            "a_longer_length",
            "a length that is longer than it needs",
            |der| [&[0x30, 0x81, der[1]], &der[2..]].concat(),
        ),
        ("no_definite_length", "an indefinite length", |der| {
            der::indefinite_tlv(SEQUENCE, &der[2..])
        }),
        ("a_byte_behind", "a byte behind it", |der| {
            [der, &[0]].concat()
        }),
        ("a_null_inside", "a third element", |der| {
            tlv(SEQUENCE, &[&der[2..], der::NULL].concat())
        }),
        (
            "a_leading_zero",
            "a leading zero more than it needs",
            |der| {
                let [r, s] = numbers(der);
                pair(&[&[0], r.as_slice()].concat(), &s)
            },
        ),
        (
            "a_negative_number",
            "numbers without their sign octet",
            |der| {
                let [r, s] = numbers(der);
                let mut negative = r[r.len() - 32.min(r.len())..].to_vec();
                negative[0] |= 0x80;
                pair(&negative, &s)
            },
        ),
        ("a_cut_end", "its last byte cut off", |der| {
            der[..der.len() - 1].to_vec()
        }),
        ("the_raw_form", "the form that COSE has", |der| {
            let fixed = |number: &[u8]| {
                let significant = number.strip_prefix(&[0]).unwrap_or(number);
                [vec![0; 32 - significant.len()], significant.to_vec()].concat()
            };
            let [r, s] = numbers(der);
            [fixed(&r), fixed(&s)].concat()
        }),
        ("zeros", "both numbers 0", |_| pair(&[0], &[0])),
        ("nothing", "no bytes", |_| Vec::new()),
    ];
    let mut all = vec![control(
        "control_tb03_the_other_s_in_a_certificate",
        "s in the certificate's signature is n - s, as authorities of others may write it.",
        |good| {
            let certificate = resigned(&good.device().chain[LEAF], |der| {
                let [r, s] = numbers(der);
                let mut fixed = [0; 32];
                let significant = s.strip_prefix(&[0]).unwrap_or(&s);
                fixed[32 - significant.len()..].copy_from_slice(significant);
                let other = subtract(N, fixed);
                pair(&r, &unsigned_integer(&other))
            });
            good.sign(&good.replaced(LEAF, certificate))
        },
    )];
    for (word, what, change) in forms {
        all.push(attack(
            format!("tb04_{word}_in_the_signature_of_a_certificate"),
            format!("The signature of the device's certificate has {what}."),
            Code::ChainOrder,
            move |good| {
                let certificate = resigned(&good.device().chain[LEAF], change);
                good.sign(&good.replaced(LEAF, certificate))
            },
        ));
        all.push(attack(
            format!("tb04_{word}_in_the_signature_of_a_list"),
            format!("The signature of a revocation list has {what}."),
            Code::CrlInvalid,
            move |good| sealed_list(good, change),
        ));
    }
    all.push(attack(
        "tb04_a_bad_signature_of_an_authority",
        "One bit of the signature of an authority's certificate is another one.",
        Code::ChainOrder,
        |good| {
            let certificate = resigned(&good.device().chain[LOWER], |der| {
                let mut der = der.to_vec();
                *der.last_mut().expect("not empty") ^= 1;
                der
            });
            good.sign(&good.replaced(LOWER, certificate))
        },
    ));
    all
}

/// A certificate with its signature written in another way.
fn resigned(certificate: &[u8], change: impl Fn(&[u8]) -> Vec<u8>) -> Vec<u8> {
    let parts = der::children(certificate);
    let signature = der::content(&parts[2]);
    der::sealed(&parts[0], &parts[1], &change(&signature[1..]))
}

/// A good device whose key is for Ed25519, certified by the same authorities.
pub(super) fn ed25519_device(good: &Good) -> Device {
    good.device_with_key(throwaway_key(Algorithm::Ed25519))
}

/// The contents of the two integers of an ECDSA-Sig-Value.
fn numbers(signature: &[u8]) -> [Vec<u8>; 2] {
    let numbers: Vec<Vec<u8>> = der::children(signature)
        .iter()
        .map(|number| der::content(number))
        .collect();
    numbers.try_into().expect("two numbers")
}

fn pair(r: &[u8], s: &[u8]) -> Vec<u8> {
    der::sequence(&[&tlv(INTEGER, r), &tlv(INTEGER, s)])
}

/// The content of a positive INTEGER.
fn unsigned_integer(number: &[u8]) -> Vec<u8> {
    let start = number
        .iter()
        .position(|octet| *octet != 0)
        .unwrap_or(number.len() - 1);
    let significant = &number[start..];
    let sign: &[u8] = if significant[0] & 0x80 == 0 {
        &[]
    } else {
        &[0]
    };
    [sign, significant].concat()
}

/// a - b of big-endian numbers, a not below b.
fn subtract(a: [u8; 32], b: [u8; 32]) -> [u8; 32] {
    let mut difference = [0; 32];
    let mut borrow = 0;
    for index in (0..32).rev() {
        let digit = i16::from(a[index]) - i16::from(b[index]) - borrow;
        borrow = i16::from(digit < 0);
        difference[index] = u8::try_from(digit.rem_euclid(256)).expect("a byte");
    }
    difference
}

/// a := a + b of little-endian numbers.
fn add(a: &mut [u8], b: [u8; 32]) {
    let mut carry = 0;
    for (a, b) in a.iter_mut().zip(b) {
        let digit = u16::from(*a) + u16::from(b) + carry;
        carry = digit >> 8;
        *a = u8::try_from(digit & 0xff).expect("a byte");
    }
}
