//! The public half of a key as PKCS#11 carries it: curve parameters and a point, each in more than one form.

use countersign_keys::{Algorithm, PublicKey};
use cryptoki::object::KeyType;

/// The object identifier of P-256, DER (RFC 5480 §2.1.1.1).
const P256_CURVE: &[u8] = &[0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];

/// id-Ed25519, DER (RFC 8410 §3), and the name that PKCS#11 3.0 §2.3.5 also allows, a PrintableString.
const ED25519_CURVES: [&[u8]; 2] = [&[0x06, 0x03, 0x2b, 0x65, 0x70], b"\x13\x0cedwards25519"];

/// The CKA_EC_PARAMS that a new key of this algorithm may be asked for, the usual form first.
pub(crate) fn parameters(algorithm: Algorithm) -> &'static [&'static [u8]] {
    match algorithm {
        Algorithm::Esp256 => &[P256_CURVE],
        Algorithm::Ed25519 => &ED25519_CURVES,
        _ => &[],
    }
}

/// The algorithm that a key of this type on this curve signs with; nothing if it is none of ours.
pub(crate) fn algorithm(kind: KeyType, curve: &[u8]) -> Option<Algorithm> {
    if kind == KeyType::EC && curve == P256_CURVE {
        Some(Algorithm::Esp256)
    } else if kind == KeyType::EC_EDWARDS && ED25519_CURVES.contains(&curve) {
        Some(Algorithm::Ed25519)
    } else {
        None
    }
}

/// Reads CKA_EC_POINT: a DER OCTET STRING around the point (PKCS#11 2.40 §2.3.3), or the point alone, as some modules give
/// it.
pub(crate) fn public_key(algorithm: Algorithm, point: &[u8]) -> Option<PublicKey> {
    let read = |octets: &[u8]| match algorithm {
        Algorithm::Esp256 => PublicKey::from_p256_point(octets).ok(),
        Algorithm::Ed25519 => PublicKey::from_ed25519_bytes(octets).ok(),
        _ => None,
    };
    // The lengths of the two forms differ, so that no point can be read in both ways.
    match point {
        [0x04, 0x41, octets @ ..] if octets.len() == 65 => read(octets),
        [0x04, 0x20, octets @ ..] if octets.len() == 32 => read(octets),
        octets => read(octets),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The base points of the two curves.
    const P256: &str = "046b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c2964fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5";
    const ED25519: &str = "5866666666666666666666666666666666666666666666666666666666666666";

    #[test]
    fn points_are_read_with_and_without_their_octet_string() {
        for (algorithm, header, point) in [
            (Algorithm::Esp256, "0441", P256),
            (Algorithm::Ed25519, "0420", ED25519),
        ] {
            let bare = hex::decode(point).expect("hexadecimal");
            let wrapped = hex::decode(format!("{header}{point}")).expect("hexadecimal");
            let key = public_key(algorithm, &bare).expect("a point");
            assert_eq!(key.to_raw_bytes(), bare);
            assert_eq!(public_key(algorithm, &wrapped), Some(key));
            for wrong in [
                &wrapped[..wrapped.len() - 1],
                &wrapped[1..],
                &bare[1..],
                &[bare.as_slice(), &[0]].concat(),
                &[],
            ] {
                assert_eq!(public_key(algorithm, wrong), None, "{wrong:02x?}");
            }
        }
    }

    #[test]
    fn a_curve_counts_only_with_its_own_type_of_key() {
        let curve = |algorithm| parameters(algorithm)[0];
        let (p256, ed25519) = (curve(Algorithm::Esp256), curve(Algorithm::Ed25519));
        assert_eq!(algorithm(KeyType::EC, p256), Some(Algorithm::Esp256));
        assert_eq!(
            algorithm(KeyType::EC_EDWARDS, ed25519),
            Some(Algorithm::Ed25519)
        );
        assert_eq!(
            algorithm(KeyType::EC_EDWARDS, b"\x13\x0cedwards25519"),
            Some(Algorithm::Ed25519)
        );
        assert_eq!(algorithm(KeyType::EC, ed25519), None);
        assert_eq!(algorithm(KeyType::EC_EDWARDS, p256), None);
        // P-384.
        assert_eq!(
            algorithm(KeyType::EC, &[0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x22]),
            None
        );
        assert_eq!(algorithm(KeyType::RSA, p256), None);
    }
}
