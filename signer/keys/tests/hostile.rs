//! Keys and signatures as an attacker would write them, and a store that computes wrongly.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that meets something unexpected should panic"
)]

use countersign_keys::{
    Error, ErrorKind, PublicKey, PublicKeyInvalid, Signature, SignatureInvalid, Signer, SigningKey,
};
use p256::ecdsa::signature::Signer as _;

const MESSAGE: &[u8] = b"open the valve";
/// The order n of P-256.
const N: [u8; 32] = [
    0xff, 0xff, 0xff, 0xff, 0x00, 0x00, 0x00, 0x00, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
    0xbc, 0xe6, 0xfa, 0xad, 0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
];

fn p256_key() -> (p256::ecdsa::SigningKey, PublicKey) {
    let key = p256::ecdsa::SigningKey::from_slice(&[7; 32]).unwrap();
    let public =
        PublicKey::from_p256_point(key.verifying_key().to_sec1_point(false).as_bytes()).unwrap();
    (key, public)
}

fn ed25519_key() -> (ed25519_compact::KeyPair, PublicKey) {
    let pair = ed25519_compact::KeyPair::from_seed([7; 32].into());
    let public = PublicKey::from_ed25519_bytes(pair.pk.as_slice()).unwrap();
    (pair, public)
}

fn low_s(key: &p256::ecdsa::SigningKey) -> [u8; 64] {
    let signature: p256::ecdsa::Signature = key.sign(MESSAGE);
    signature.normalize_s().to_bytes().into()
}

/// a - b of big-endian numbers, a >= b.
fn subtract(a: [u8; 32], b: [u8; 32]) -> [u8; 32] {
    let mut out = [0u8; 32];
    let mut borrow = 0i16;
    for i in (0..32).rev() {
        let digit = i16::from(a[i]) - i16::from(b[i]) - borrow;
        borrow = i16::from(digit < 0);
        out[i] = u8::try_from(digit.rem_euclid(256)).unwrap();
    }
    out
}

#[test]
fn a_good_signature_is_good_and_any_changed_bit_is_not() {
    let (p256, p256_public) = p256_key();
    let (pair, ed25519_public) = ed25519_key();
    for (public, signature) in [
        (p256_public, low_s(&p256)),
        (ed25519_public, *pair.sk.sign(MESSAGE, None)),
    ] {
        assert_eq!(public.verify(MESSAGE, &signature), Ok(()));
        assert_eq!(
            public.verify(b"close the valve", &signature),
            Err(SignatureInvalid::Mismatch)
        );
        for bit in 0..512 {
            let mut changed = signature;
            changed[bit / 8] ^= 1 << (bit % 8);
            assert!(public.verify(MESSAGE, &changed).is_err(), "bit {bit}");
        }
        for length in [0, 1, 63, 65, 128] {
            let mut other = signature.to_vec();
            other.resize(length, 0);
            assert_eq!(
                public.verify(MESSAGE, &other),
                Err(SignatureInvalid::Encoding)
            );
        }
    }
}

#[test]
fn tb01_zero_signature() {
    let (_, public) = p256_key();
    assert_eq!(
        public.verify(MESSAGE, &[0; 64]),
        Err(SignatureInvalid::Encoding)
    );
    let (_, public) = ed25519_key();
    assert!(public.verify(MESSAGE, &[0; 64]).is_err());
}

#[test]
fn tb02_numbers_out_of_range() {
    let (key, public) = p256_key();
    let good = low_s(&key);
    for bad in [[0; 32], N, [0xff; 32]] {
        for half in [0..32, 32..64] {
            let mut signature = good;
            signature[half].copy_from_slice(&bad);
            assert_eq!(
                public.verify(MESSAGE, &signature),
                Err(SignatureInvalid::Encoding)
            );
        }
    }
}

#[test]
fn tb03_the_other_s() {
    let (key, public) = p256_key();
    let mut signature = low_s(&key);
    let s: [u8; 32] = signature[32..].try_into().unwrap();
    signature[32..].copy_from_slice(&subtract(N, s));
    assert_eq!(
        public.verify(MESSAGE, &signature),
        Err(SignatureInvalid::HighS)
    );
    // In X.509, where others sign, both are good.
    let der = p256::ecdsa::Signature::from_slice(&signature)
        .unwrap()
        .to_der();
    assert_eq!(public.verify_x509(MESSAGE, der.as_bytes()), Ok(()));
}

#[test]
fn tb04_ber_instead_of_der() {
    let (key, public) = p256_key();
    let der = p256::ecdsa::Signature::from_slice(&low_s(&key))
        .unwrap()
        .to_der()
        .as_bytes()
        .to_vec();
    assert_eq!(public.verify_x509(MESSAGE, &der), Ok(()));
    let body = &der[2..];
    let mut variants = vec![
        [&[0x30, 0x81, der[1]], body].concat(),  // long-form length
        [&[0x30, 0x80], body, &[0, 0]].concat(), // indefinite length
        [der.as_slice(), &[0]].concat(),         // a byte behind
        [&[0x30, der[1] + 2], body, &[5, 0]].concat(), // a NULL inside
        der[..der.len() - 1].to_vec(),
        low_s(&key).to_vec(), // the COSE form
    ];
    // A leading zero that the number does not need.
    let r_length = usize::from(der[3]);
    let mut padded = vec![0x30, der[1] + 1, 0x02, der[3] + 1, 0x00];
    padded.extend_from_slice(&der[4..4 + r_length]);
    padded.extend_from_slice(&der[4 + r_length..]);
    variants.push(padded);
    for variant in variants {
        assert_eq!(
            public.verify_x509(MESSAGE, &variant),
            Err(SignatureInvalid::Encoding),
            "{variant:02x?}"
        );
    }
}

#[test]
fn tb05_points_in_other_forms_or_off_the_curve() {
    let (_, public) = p256_key();
    let spki = public.to_spki_der();
    assert_eq!(PublicKey::from_spki_der(&spki), Ok(public.clone()));
    let point = &spki[26..];

    let mut off = spki.clone();
    off[90] ^= 1;
    assert_eq!(
        PublicKey::from_spki_der(&off),
        Err(PublicKeyInvalid::NotOnCurve)
    );
    let mut hybrid = spki.clone();
    hybrid[26] = 0x06 | (spki[90] & 1);
    assert_eq!(
        PublicKey::from_spki_der(&hybrid),
        Err(PublicKeyInvalid::PointForm)
    );
    // x = p: not reduced.
    let mut unreduced = spki.clone();
    unreduced[27..59].copy_from_slice(
        &hex::decode("ffffffff00000001000000000000000000000000ffffffffffffffffffffffff").unwrap(),
    );
    assert_eq!(
        PublicKey::from_spki_der(&unreduced),
        Err(PublicKeyInvalid::NotOnCurve)
    );

    let spki_of = |point: &[u8]| {
        let mut spki = hex::decode("3000301306072a8648ce3d020106082a8648ce3d030107").unwrap();
        spki.extend_from_slice(&[0x03, u8::try_from(point.len() + 1).unwrap(), 0]);
        spki.extend_from_slice(point);
        spki[1] = u8::try_from(spki.len() - 2).unwrap();
        spki
    };
    assert_eq!(spki_of(point), spki);
    let compressed = [&[0x02 | (spki[90] & 1)], &point[1..33]].concat();
    assert_eq!(
        PublicKey::from_spki_der(&spki_of(&compressed)),
        Err(PublicKeyInvalid::PointForm)
    );
    assert_eq!(
        PublicKey::from_spki_der(&spki_of(&[0x00])),
        Err(PublicKeyInvalid::PointForm),
        "infinity"
    );
    assert_eq!(
        PublicKey::from_spki_der(&spki_of(&point[..64])),
        Err(PublicKeyInvalid::PointForm)
    );

    for cut in 0..spki.len() {
        assert!(PublicKey::from_spki_der(&spki[..cut]).is_err());
    }
    assert!(PublicKey::from_spki_der(&[spki.as_slice(), &[0]].concat()).is_err());
}

#[test]
fn tb06_explicit_curve_parameters() {
    // id-ecPublicKey with a SEQUENCE, with NULL, and with nothing where the name of the curve belongs.
    for parameters in ["3003020101", "0500", ""] {
        let parameters = hex::decode(parameters).unwrap();
        let algorithm = [hex::decode("06072a8648ce3d0201").unwrap(), parameters].concat();
        let mut spki = vec![0x30, 0, 0x30, u8::try_from(algorithm.len()).unwrap()];
        spki.extend_from_slice(&algorithm);
        spki.extend_from_slice(&[0x03, 0x42, 0]);
        spki.extend_from_slice(&p256_key().1.to_raw_bytes());
        spki[1] = u8::try_from(spki.len() - 2).unwrap();
        assert_eq!(
            PublicKey::from_spki_der(&spki),
            Err(PublicKeyInvalid::ExplicitParameters)
        );
    }
}

#[test]
fn tb07_tb10_keys_of_other_kinds_are_named() {
    // X25519, and a P-384 name over a P-256 point.
    let mut x25519 = ed25519_key().1.to_spki_der();
    x25519[8] = 0x6e;
    assert_eq!(
        PublicKey::from_spki_der(&x25519),
        Err(PublicKeyInvalid::Algorithm {
            oid: "1.3.101.110".into()
        })
    );
    let mut secp256k1 = hex::decode("3056301006072a8648ce3d020106052b8104000a034200").unwrap();
    secp256k1.extend_from_slice(&p256_key().1.to_raw_bytes());
    assert_eq!(
        PublicKey::from_spki_der(&secp256k1),
        Err(PublicKeyInvalid::Curve {
            oid: "1.3.132.0.10".into()
        })
    );
    let rsa = hex::decode("301a300d06092a864886f70d01010105000309003006020103020103").unwrap();
    assert_eq!(
        PublicKey::from_spki_der(&rsa),
        Err(PublicKeyInvalid::Algorithm {
            oid: "1.2.840.113549.1.1.1".into()
        })
    );
}

#[test]
fn tb12_s_above_the_order() {
    // L, little-endian.
    let l =
        hex::decode("edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010").unwrap();
    let (pair, public) = ed25519_key();
    let mut signature: [u8; 64] = *pair.sk.sign(MESSAGE, None);
    let mut carry = 0u16;
    for i in 0..32 {
        let sum = u16::from(signature[32 + i]) + u16::from(l[i]) + carry;
        signature[32 + i] = u8::try_from(sum & 0xff).unwrap();
        carry = sum >> 8;
    }
    assert_eq!(
        public.verify(MESSAGE, &signature),
        Err(SignatureInvalid::Encoding)
    );
}

#[test]
fn tb13_keys_of_small_or_mixed_order_and_other_names() {
    use curve25519_dalek::constants::{ED25519_BASEPOINT_POINT as B, EIGHT_TORSION};
    for torsion in EIGHT_TORSION {
        let small = torsion.compress().to_bytes();
        assert_eq!(
            PublicKey::from_ed25519_bytes(&small),
            Err(PublicKeyInvalid::SmallOrder)
        );
    }
    for torsion in &EIGHT_TORSION[1..] {
        let mixed = (B + torsion).compress().to_bytes();
        assert_eq!(
            PublicKey::from_ed25519_bytes(&mixed),
            Err(PublicKeyInvalid::SmallOrder)
        );
    }
    assert!(PublicKey::from_ed25519_bytes(&B.compress().to_bytes()).is_ok());
    // y = p + 3 and y = 2^255 - 1: not reduced; "negative zero": y = 1 with the sign bit.
    let mut unreduced = [0xff; 32];
    unreduced[0] = 0xf0;
    unreduced[31] = 0x7f;
    let mut negative_zero = [0; 32];
    negative_zero[0] = 1;
    negative_zero[31] = 0x80;
    for bytes in [unreduced, negative_zero, [0xff; 32]] {
        assert_eq!(
            PublicKey::from_ed25519_bytes(&bytes),
            Err(PublicKeyInvalid::NotOnCurve)
        );
    }
}

#[test]
fn tb13_r_of_small_or_mixed_order() {
    use curve25519_dalek::constants::{ED25519_BASEPOINT_POINT as B, EIGHT_TORSION};
    let (pair, public) = ed25519_key();
    let good: [u8; 64] = *pair.sk.sign(MESSAGE, None);
    for torsion in EIGHT_TORSION {
        for point in [torsion, B + torsion] {
            let mut signature = good;
            signature[..32].copy_from_slice(&point.compress().to_bytes());
            let expected = if point == B {
                SignatureInvalid::Mismatch
            } else {
                SignatureInvalid::Encoding
            };
            assert_eq!(public.verify(MESSAGE, &signature), Err(expected));
        }
    }
}

#[test]
fn tb13_a_signature_that_only_cofactored_verifiers_accept() {
    // R' = R + T with T of order 2, and S computed for the challenge over R': the equation holds after
    // multiplication by 8, and not before. Made with the scalar, as only the key's holder can.
    use curve25519_dalek::constants::{ED25519_BASEPOINT_POINT as B, EIGHT_TORSION};
    use curve25519_dalek::scalar::Scalar;
    let a = Scalar::from(123_456_789u64);
    let r = Scalar::from(987_654_321u64);
    let public_bytes = (B * a).compress().to_bytes();
    let r_bytes = (B * r + EIGHT_TORSION[4]).compress().to_bytes();
    let k = Scalar::from_bytes_mod_order_wide(&sha512(&[&r_bytes, &public_bytes, MESSAGE]));
    let s = r + k * a;
    let mut signature = [0u8; 64];
    signature[..32].copy_from_slice(&r_bytes);
    signature[32..].copy_from_slice(&s.to_bytes());

    let library = ed25519_compact::PublicKey::new(public_bytes);
    library
        .verify(MESSAGE, &ed25519_compact::Signature::new(signature))
        .expect("the library alone accepts it");
    let public = PublicKey::from_ed25519_bytes(&public_bytes).unwrap();
    assert_eq!(
        public.verify(MESSAGE, &signature),
        Err(SignatureInvalid::Encoding)
    );
}

fn sha512(parts: &[&[u8]]) -> [u8; 64] {
    use sha2::Digest;
    parts
        .iter()
        .fold(sha2::Sha512::new(), |hash, part| hash.chain_update(part))
        .finalize()
        .into()
}

/// A store whose signatures come out as the test wants them.
struct Store {
    public: PublicKey,
    signature: [u8; 64],
}

impl Signer for Store {
    fn public_key(&self) -> &PublicKey {
        &self.public
    }
    fn sign_unchecked(&self, _: &[u8]) -> Result<[u8; 64], Error> {
        Ok(self.signature)
    }
}

#[test]
fn tb20_a_flipped_bit_from_the_store_never_leaves() {
    let (key, p256_public) = p256_key();
    let (pair, ed25519_public) = ed25519_key();
    for (public, good) in [
        (p256_public, low_s(&key)),
        (ed25519_public, *pair.sk.sign(MESSAGE, None)),
    ] {
        let sign = |signature| {
            SigningKey::new(Store {
                public: public.clone(),
                signature,
            })
            .sign(MESSAGE)
        };
        assert_eq!(sign(good).unwrap().as_bytes(), &good);
        for bit in [0, 7, 255, 256, 300, 511] {
            let mut signature = good;
            signature[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(
                sign(signature).unwrap_err().kind(),
                ErrorKind::BadSignature,
                "bit {bit}"
            );
        }
    }
}

#[test]
fn a_store_may_return_either_s_and_the_low_one_leaves() {
    let (key, public) = p256_key();
    let low = low_s(&key);
    let mut high = low;
    let s: [u8; 32] = low[32..].try_into().unwrap();
    high[32..].copy_from_slice(&subtract(N, s));
    let signed = SigningKey::new(Store {
        public: public.clone(),
        signature: high,
    })
    .sign(MESSAGE)
    .unwrap();
    assert_eq!(signed.as_bytes(), &low);
    assert_eq!(public.verify_x509(MESSAGE, &signed.to_x509()), Ok(()));
    // And the DER of a foreign signer comes back to the same 64 bytes.
    let der = p256::ecdsa::Signature::from_slice(&high).unwrap().to_der();
    assert_eq!(
        Signature::checked_x509(&public, MESSAGE, der.as_bytes())
            .unwrap()
            .as_bytes(),
        &low
    );
}
