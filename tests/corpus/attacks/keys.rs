//! Public keys that are none: points that do not exist, curves of one's own, keys of other kinds.

use countersign_trust_store::Code;

use crate::attack::{Attack, attack};
use crate::der::{self, BIT_STRING, INTEGER, OCTET_STRING, oid, sequence, tlv};
use crate::good::{Good, LEAF, LOWER};

const EC_PUBLIC_KEY: &str = "1.2.840.10045.2.1";
const P256: &str = "1.2.840.10045.3.1.7";
const ED25519: &str = "1.3.101.112";

/// A point of Ed25519 of order 8.
pub(super) const ORDER_8: [u8; 32] = [
    0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67, 0x0f,
    0x2a, 0x20, 0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac, 0x03, 0x7a,
];

/// A point of Ed25519 of eight times the prime order.
pub(super) const MIXED_ORDER: [u8; 32] = [
    0xcd, 0xb2, 0x67, 0xce, 0x40, 0xc5, 0xcd, 0x45, 0x30, 0x6f, 0xa5, 0xd2, 0xf2, 0x97, 0x31, 0x45,
    0x93, 0x87, 0xdb, 0xf9, 0xeb, 0x93, 0x3b, 0x7b, 0xd5, 0xae, 0xd9, 0xa7, 0x65, 0xb8, 0x8d, 0x4d,
];

pub(super) fn attacks() -> Vec<Attack> {
    let mut all = Vec::new();
    all.extend(points());
    all.extend(parameters());
    all.extend(ed25519());
    all.extend(other_kinds());
    all
}

/// Points on P-256 that are none, or are written in another form.
fn points() -> Vec<Attack> {
    let forms: [(&str, &str, der::Rewrite); 11] = [
        ("infinity", "the point at infinity", |_| vec![0]),
        (
            "off_the_curve",
            "a point that is not on the curve",
            |point| {
                let mut point = point.to_vec();
                *point.last_mut().expect("a point") ^= 1;
                point
            },
        ),
        ("compressed", "the compressed form", |point| {
            [&[0x02 | (point[64] & 1)], &point[1..33]].concat()
        }),
        ("hybrid", "the hybrid form", |point| {
            [&[0x06 | (point[64] & 1)], &point[1..]].concat()
        }),
        ("a_byte_less", "a byte less than it needs", |point| {
            point[..64].to_vec()
        }),
        ("a_byte_more", "a byte more than it needs", |point| {
            [point, &[0]].concat()
        }),
        ("no_bytes", "no bytes", |_| Vec::new()),
        ("only_x", "no second coordinate", |point| {
            point[..33].to_vec()
        }),
        ("zero", "both coordinates 0", |_| {
            [&[4][..], &[0; 64]].concat()
        }),
        ("all_ones", "coordinates that are not below p", |_| {
            [&[4][..], &[0xff; 64]].concat()
        }),
        ("x_is_p", "the prime p for its first coordinate", |point| {
            const P: [u8; 32] = [
                0xff, 0xff, 0xff, 0xff, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff,
                0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
            ];
            [&[4], &P[..], &point[33..]].concat()
        }),
    ];
    let mut all = Vec::new();
    for (word, what, form) in forms {
        for (whose, place) in [("a_device", LEAF), ("an_authority", LOWER)] {
            all.push(attack(
                format!("tb05_{word}_as_the_key_of_{whose}"),
                format!(
                    "The key in the certificate of {} has {what}.",
                    whose.replace('_', " ")
                ),
                Code::KeyInvalid,
                move |good| with_key(good, place, |good| p256(&form(&point(good, place)))),
            ));
        }
    }
    all
}

/// Keys that bring their own curve.
fn parameters() -> Vec<Attack> {
    [
        (
            "a_curve_of_its_own",
            "the curve's parameters and a generator of its own",
            explicit(),
        ),
        (
            "a_null_for_a_curve",
            "NULL in place of the curve's name",
            der::NULL.to_vec(),
        ),
        ("no_curve", "no curve", Vec::new()),
        (
            "a_number_for_a_curve",
            "a number in place of the curve's name",
            tlv(INTEGER, &[1]),
        ),
    ]
    .into_iter()
    .map(|(word, what, parameters)| {
        attack(
            format!("tb06_{word}"),
            format!("The key in the device's certificate has {what}."),
            Code::KeyInvalid,
            move |good| {
                let parameters = parameters.clone();
                with_key(good, LEAF, |good| {
                    let algorithm = sequence(&[&oid(EC_PUBLIC_KEY), &parameters]);
                    spki(&algorithm, &point(good, LEAF))
                })
            },
        )
    })
    .collect()
}

fn ed25519() -> Vec<Attack> {
    let mut one = [0; 32];
    one[0] = 1;
    let mut minus_one = [0xff; 32];
    (minus_one[0], minus_one[31]) = (0xec, 0x7f);
    let mut p = [0xff; 32];
    (p[0], p[31]) = (0xed, 0x7f);
    let mut p_and_one = p;
    p_and_one[0] = 0xee;
    let mut negative_zero = one;
    negative_zero[31] = 0x80;
    [
        ("of_order_1", "the neutral element", one),
        ("of_order_2", "a point of order 2", minus_one),
        ("of_order_4", "a point of order 4", [0; 32]),
        ("of_order_8", "a point of order 8", ORDER_8),
        (
            "of_mixed_order",
            "a point of eight times the prime order",
            MIXED_ORDER,
        ),
        ("that_is_not_reduced", "a point whose y is p", p),
        (
            "that_is_not_reduced_and_neutral",
            "the neutral element with y = p + 1",
            p_and_one,
        ),
        (
            "with_a_negative_zero",
            "the neutral element with the sign of a zero set",
            negative_zero,
        ),
        ("off_the_curve", "no point at all", [2; 32]),
    ]
    .into_iter()
    .map(|(word, what, key)| {
        attack(
            format!("tb13_a_key_{word}"),
            format!("The Ed25519 key in the device's certificate is {what}."),
            Code::KeyInvalid,
            move |good| with_key(good, LEAF, |_| spki(&sequence(&[&oid(ED25519)]), &key)),
        )
    })
    .collect()
}

/// Keys of other kinds, and bits of one kind under the name of another.
fn other_kinds() -> Vec<Attack> {
    const RSA: &str = "1.2.840.113549.1.1.1";
    const X25519: &str = "1.3.101.110";
    const ED448: &str = "1.3.101.113";
    const SECP256K1: &str = "1.3.132.0.10";
    const P384: &str = "1.3.132.0.34";
    const P521: &str = "1.3.132.0.35";
    let ec = |curve: &str| sequence(&[&oid(EC_PUBLIC_KEY), &oid(curve)]);
    let rsa = sequence(&[&oid(RSA), der::NULL]);
    let rsa_key = sequence(&[
        &tlv(INTEGER, &[&[0], &[0xb5; 256][..]].concat()),
        &tlv(INTEGER, &[3]),
    ]);
    [
        (
            "tb10_an_rsa_key",
            "an RSA key of 2048 bits",
            rsa,
            Some(rsa_key),
            Code::AlgorithmForbidden,
        ),
        (
            "tb07_a_key_for_x25519",
            "a key for key agreement",
            sequence(&[&oid(X25519)]),
            Some(vec![9; 32]),
            Code::AlgorithmForbidden,
        ),
        (
            "tb07_a_key_for_ed448",
            "a key for Ed448",
            sequence(&[&oid(ED448)]),
            Some(vec![9; 57]),
            Code::AlgorithmForbidden,
        ),
        (
            "tb07_a_key_on_secp256k1",
            "a key on another curve of 256 bits",
            ec(SECP256K1),
            None,
            Code::AlgorithmForbidden,
        ),
        (
            "tb07_a_key_on_p521",
            "a key on P-521",
            ec(P521),
            None,
            Code::AlgorithmForbidden,
        ),
        (
            "tb07_a_p256_point_on_p384",
            "a point of P-256 under the name of P-384",
            ec(P384),
            None,
            Code::KeyInvalid,
        ),
        (
            "tb07_a_p256_point_for_ed25519",
            "a point of P-256 under the name of Ed25519",
            sequence(&[&oid(ED25519)]),
            None,
            Code::KeyInvalid,
        ),
        (
            "tb07_an_ed25519_key_on_p256",
            "32 bytes of an Ed25519 key under the name of P-256",
            ec(P256),
            Some(vec![9; 32]),
            Code::KeyInvalid,
        ),
        (
            "tb07_ed25519_with_parameters",
            "an Ed25519 key with parameters",
            sequence(&[&oid(ED25519), der::NULL]),
            Some(vec![9; 32]),
            Code::KeyInvalid,
        ),
    ]
    .into_iter()
    .map(|(name, what, algorithm, key, code)| {
        attack(
            name,
            format!("The key in the device's certificate is {what}."),
            code,
            move |good| {
                with_key(good, LEAF, |good| {
                    spki(
                        &algorithm,
                        &key.clone().unwrap_or_else(|| point(good, LEAF)),
                    )
                })
            },
        )
    })
    .collect()
}

/// The good file, another key in the certificate at this place.
fn with_key(good: &Good, place: usize, spki: impl Fn(&Good) -> Vec<u8>) -> Vec<u8> {
    let spki = spki(good);
    good.sign(&good.bent(place, |parts| {
        parts.subject_public_key_info = der::any(&spki);
    }))
}

/// The point of the good certificate at this place.
fn point(good: &Good, place: usize) -> Vec<u8> {
    let parts = countersign_testing::CertificateParts::of(&good.device().chain[place]);
    let spki = ::der::Encode::to_der(&parts.subject_public_key_info).expect("it encodes");
    let bits = der::content(&der::children(&spki)[1]);
    bits[1..].to_vec()
}

fn p256(point: &[u8]) -> Vec<u8> {
    spki(&sequence(&[&oid(EC_PUBLIC_KEY), &oid(P256)]), point)
}

fn spki(algorithm: &[u8], key: &[u8]) -> Vec<u8> {
    sequence(&[algorithm, &tlv(BIT_STRING, &[&[0], key].concat())])
}

/// ECParameters (RFC 3279 §2.3.5) of P-256 with a generator of its own, as in CVE-2020-0601.
fn explicit() -> Vec<u8> {
    const PRIME_FIELD: &str = "1.2.840.10045.1.1";
    let field = sequence(&[
        &oid(PRIME_FIELD),
        &tlv(INTEGER, &[&[0], &[0xff; 32][..]].concat()),
    ]);
    let curve = sequence(&[
        &tlv(OCTET_STRING, &[0xfc; 32]),
        &tlv(OCTET_STRING, &[0x4b; 32]),
    ]);
    let generator = tlv(OCTET_STRING, &[&[4], &[7; 64][..]].concat());
    let order = tlv(INTEGER, &[&[0], &[0xff; 32][..]].concat());
    sequence(&[&tlv(INTEGER, &[1]), &field, &curve, &generator, &order])
}
