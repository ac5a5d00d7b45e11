//! Which public keys are acceptable, and when a signature is good.
//!
//! Decided here, and nowhere else: the two algorithms, the one encoding of each key, and the strict forms of their
//! signatures. A [`PublicKey`] is proof that the key lies on its curve, in the subgroup of prime order.
//!
//! Left to others: whose key it is.

use crate::{Algorithm, Digest};
use curve25519_dalek::edwards::CompressedEdwardsY;
use ring::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
use std::fmt;

/// Bytes of a raw signature of either algorithm.
pub(crate) const SIGNATURE_BYTES: usize = 64;

/// The largest SubjectPublicKeyInfo that is looked at for an explanation; either of ours is below 100 bytes.
const MAX_SPKI_BYTES: usize = 4096;

/// SubjectPublicKeyInfo up to the point: `SEQUENCE { SEQUENCE { id-ecPublicKey, secp256r1 }, BIT STRING (65 bytes,
/// no unused bits)`. DER has one encoding for a value, so a key with the named curve and an uncompressed point starts
/// with exactly these bytes (RFC 5480 §2). Explicit parameters are therefore not expressible (CVE-2020-0601).
const P256_PREFIX: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a,
    0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];

/// The same for id-Ed25519, whose parameters must be absent (RFC 8410 §3).
const ED25519_PREFIX: [u8; 12] = [
    0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00,
];

/// A public key that may verify: P-256 with a named curve and an uncompressed point on it, or Ed25519 in canonical
/// form and in the subgroup of prime order. There is no other way to make one than the checks.
#[derive(Clone, PartialEq, Eq)]
pub struct PublicKey(Inner);

#[derive(Clone, PartialEq, Eq)]
enum Inner {
    P256(p256::ecdsa::VerifyingKey),
    Ed25519(ed25519_compact::PublicKey),
}

impl PublicKey {
    /// Reads a DER SubjectPublicKeyInfo (RFC 5280 §4.1.2.7).
    ///
    /// # Errors
    /// [`PublicKeyInvalid`] for another algorithm or curve, explicit curve parameters, a compressed, hybrid or
    /// infinite point, a point off its curve, an Ed25519 key that is not canonical or not of prime order, and any
    /// byte too few or too many.
    pub fn from_spki_der(spki: &[u8]) -> Result<Self, PublicKeyInvalid> {
        if let Some(point) = spki.strip_prefix(&P256_PREFIX) {
            return Self::from_p256_point(point);
        }
        if let Some(key) = spki.strip_prefix(&ED25519_PREFIX) {
            return Self::from_ed25519_bytes(key);
        }
        Err(explain(spki))
    }

    /// Reads the 65 bytes `04 ‖ X ‖ Y` of SEC 1 §2.3.3.
    ///
    /// # Errors
    /// [`PublicKeyInvalid`] for any other form, and for a point that is not on P-256.
    pub fn from_p256_point(point: &[u8]) -> Result<Self, PublicKeyInvalid> {
        // The library also reads compressed points, which have a second name for the same key.
        match point.first() {
            Some(0x04) if point.len() == 65 => {}
            _ => return Err(PublicKeyInvalid::PointForm),
        }
        // Refuses coordinates that are not below p, and points that do not satisfy the curve's equation.
        let key = p256::ecdsa::VerifyingKey::from_sec1_bytes(point)
            .map_err(|_| PublicKeyInvalid::NotOnCurve)?;
        Ok(Self(Inner::P256(key)))
    }

    /// Reads the 32 bytes of RFC 8032 §5.1.2.
    ///
    /// # Errors
    /// [`PublicKeyInvalid`] for any other length, a non-canonical form, and a point of small or mixed order.
    pub fn from_ed25519_bytes(key: &[u8]) -> Result<Self, PublicKeyInvalid> {
        let bytes: [u8; 32] = key.try_into().map_err(|_| PublicKeyInvalid::PointForm)?;
        prime_order_point(bytes)?;
        Ok(Self(Inner::Ed25519(ed25519_compact::PublicKey::new(bytes))))
    }

    /// The DER SubjectPublicKeyInfo: 91 bytes for P-256, 44 for Ed25519.
    #[must_use]
    pub fn to_spki_der(&self) -> Vec<u8> {
        match &self.0 {
            Inner::P256(key) => {
                [P256_PREFIX.as_slice(), key.to_sec1_point(false).as_bytes()].concat()
            }
            Inner::Ed25519(key) => [ED25519_PREFIX.as_slice(), key.as_slice()].concat(),
        }
    }

    /// SHA-256 of [`Self::to_spki_der`]: how a statement names its signers.
    #[must_use]
    pub fn spki_sha256(&self) -> Digest {
        Digest::of(&self.to_spki_der())
    }

    /// The bits of subjectPublicKey: the point `04 ‖ X ‖ Y`, or the 32 bytes of an Ed25519 key.
    #[must_use]
    pub fn to_raw_bytes(&self) -> Vec<u8> {
        match &self.0 {
            Inner::P256(key) => key.to_sec1_point(false).as_bytes().to_vec(),
            Inner::Ed25519(key) => key.to_vec(),
        }
    }

    /// The algorithm this key signs with; a key has exactly one.
    #[must_use]
    pub fn algorithm(&self) -> Algorithm {
        match &self.0 {
            Inner::P256(_) => Algorithm::Esp256,
            Inner::Ed25519(_) => Algorithm::Ed25519,
        }
    }

    /// Verifies a signature in the COSE form, 64 bytes: `r ‖ s` with the low one of the two possible `s`
    /// (RFC 9053 §2.1; low-S is ours, so that a signature has one form), or Ed25519 with `S` below the group order and
    /// `R` of prime order.
    ///
    /// A verdict that nobody looks at is a warning, and so an error in whatever denies warnings:
    ///
    /// ```compile_fail
    /// #![deny(unused_must_use)]
    /// # fn tb21_a_verdict_that_nobody_looks_at(key: &countersign_keys::PublicKey) {
    /// key.verify(b"open the valve", &[0; 64]);
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`SignatureInvalid`] says which of these the signature breaks.
    pub fn verify(&self, message: &[u8], signature: &[u8]) -> Result<(), SignatureInvalid> {
        match &self.0 {
            Inner::P256(key) => {
                let signature = p256_signature(signature)?;
                if signature.normalize_s() != signature {
                    return Err(SignatureInvalid::HighS);
                }
                verify_p256(key, message, &signature)
            }
            Inner::Ed25519(key) => verify_ed25519(key, message, signature),
        }
    }

    /// Verifies a signature in the X.509 form: DER `ECDSA-Sig-Value` (RFC 3279 §2.2.3) or the 64 bytes of RFC 8410
    /// §6. Certificates and requests of others may carry either `s`, so both are accepted here and only here.
    ///
    /// # Errors
    /// [`SignatureInvalid`], also for BER that is not DER.
    pub fn verify_x509(&self, message: &[u8], signature: &[u8]) -> Result<(), SignatureInvalid> {
        match &self.0 {
            Inner::P256(key) => {
                let signature = p256::ecdsa::Signature::from_der(signature)
                    .map_err(|_| SignatureInvalid::Encoding)?;
                verify_p256(key, message, &signature)
            }
            Inner::Ed25519(key) => verify_ed25519(key, message, signature),
        }
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({self})")
    }
}

/// `ESP256 1f2e…`: the algorithm and the SHA-256 of the SubjectPublicKeyInfo.
impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.algorithm().name(), self.spki_sha256())
    }
}

/// Why a public key is not acceptable.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PublicKeyInvalid {
    /// The key is of an algorithm that is not in use here.
    #[error("the key's algorithm {oid} is not accepted; use P-256 or Ed25519")]
    Algorithm {
        /// The object identifier found.
        oid: String,
    },
    /// An elliptic curve key that is not on P-256.
    #[error("the key's curve {oid} is not accepted; use P-256")]
    Curve {
        /// The object identifier of the curve found.
        oid: String,
    },
    /// The key describes its own curve, or has parameters where there must be none.
    #[error("the key carries curve parameters of its own; only the named curve P-256 is accepted")]
    ExplicitParameters,
    /// The bytes are not a DER SubjectPublicKeyInfo.
    #[error("the bytes are not a DER SubjectPublicKeyInfo")]
    Malformed,
    /// The coordinates do not satisfy the curve's equation, or are not reduced.
    #[error("the key is not a point on its curve, in its one canonical form")]
    NotOnCurve,
    /// Compressed, hybrid, infinite, or of the wrong length.
    #[error("the key is not an uncompressed point (P-256, 65 bytes) or 32 bytes (Ed25519)")]
    PointForm,
    /// An Ed25519 key of small or mixed order, for which one signature can fit several messages or keys.
    #[error("the Ed25519 key is not in the subgroup of prime order")]
    SmallOrder,
}

/// Why a signature is not good.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SignatureInvalid {
    /// Wrong length, not DER, or a number outside its range (zero, or not below the group order).
    #[error(
        "the signature is not in its one valid form (length, encoding or range of its numbers)"
    )]
    Encoding,
    /// The larger of the two `s` that fit: accepted nowhere but in X.509, so that a signature has one form.
    #[error("the signature has the high form of s; signers must use the low one")]
    HighS,
    /// The signature is well formed, and not of this key over this message.
    #[error("the signature is not of this key over these bytes")]
    Mismatch,
}

/// Parses `r ‖ s`; both must be in 1..n (RFC 9053 §2.1, FIPS 186-5 §6.4.2).
pub(crate) fn p256_signature(signature: &[u8]) -> Result<p256::ecdsa::Signature, SignatureInvalid> {
    if signature.len() != SIGNATURE_BYTES {
        return Err(SignatureInvalid::Encoding);
    }
    p256::ecdsa::Signature::from_slice(signature).map_err(|_| SignatureInvalid::Encoding)
}

/// The arithmetic of FIPS 186-5 §6.4.2. Which keys and which signatures are acceptable has been decided by others before.
fn verify_p256(
    key: &p256::ecdsa::VerifyingKey,
    message: &[u8],
    signature: &p256::ecdsa::Signature,
) -> Result<(), SignatureInvalid> {
    UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, key.to_sec1_point(false))
        .verify(message, &signature.to_bytes())
        .map_err(|_| SignatureInvalid::Mismatch)
}

fn verify_ed25519(
    key: &ed25519_compact::PublicKey,
    message: &[u8],
    signature: &[u8],
) -> Result<(), SignatureInvalid> {
    let parsed = ed25519_compact::Signature::from_slice(signature)
        .map_err(|_| SignatureInvalid::Encoding)?;
    // With A and R in the subgroup of prime order the equations with and without the cofactor agree, so no two
    // verifiers can differ over a signature that passes here. The library alone refuses small order, not mixed.
    let r = signature
        .first_chunk::<32>()
        .ok_or(SignatureInvalid::Encoding)?;
    prime_order_point(*r).map_err(|_| SignatureInvalid::Encoding)?;
    // RFC 8032 §5.1.7: S must be below the group order, or the signature could be changed without the key.
    key.verify(message, &parsed).map_err(|error| match error {
        ed25519_compact::Error::SignatureMismatch => SignatureInvalid::Mismatch,
        _ => SignatureInvalid::Encoding,
    })
}

/// The encoding is canonical, the point has the prime order, and is not the neutral element.
fn prime_order_point(bytes: [u8; 32]) -> Result<(), PublicKeyInvalid> {
    let compressed = CompressedEdwardsY(bytes);
    let point = compressed
        .decompress()
        .ok_or(PublicKeyInvalid::NotOnCurve)?;
    if point.compress() != compressed {
        // y not below p, or "negative zero" for x: a second name for the same point.
        return Err(PublicKeyInvalid::NotOnCurve);
    }
    if point.is_small_order() || !point.is_torsion_free() {
        return Err(PublicKeyInvalid::SmallOrder);
    }
    Ok(())
}

/// Finds words for a SubjectPublicKeyInfo that is neither of the two accepted. Never returns a key.
fn explain(spki: &[u8]) -> PublicKeyInvalid {
    use spki::der::{Decode, Tagged, asn1::AnyRef, asn1::BitStringRef};
    const EC_PUBLIC_KEY: &str = "1.2.840.10045.2.1";
    const P256: &str = "1.2.840.10045.3.1.7";
    const ED25519: &str = "1.3.101.112";

    if spki.len() > MAX_SPKI_BYTES {
        return PublicKeyInvalid::Malformed;
    }
    let Ok(info) = spki::SubjectPublicKeyInfo::<AnyRef<'_>, BitStringRef<'_>>::from_der(spki)
    else {
        return PublicKeyInvalid::Malformed;
    };
    let algorithm = info.algorithm.oid.to_string();
    match algorithm.as_str() {
        EC_PUBLIC_KEY => match info.algorithm.parameters {
            Some(parameters) if parameters.tag() == spki::der::Tag::ObjectIdentifier => {
                match parameters.decode_as::<spki::ObjectIdentifier>() {
                    Ok(curve) if curve.to_string() == P256 => PublicKeyInvalid::PointForm,
                    Ok(curve) => PublicKeyInvalid::Curve {
                        oid: curve.to_string(),
                    },
                    Err(_) => PublicKeyInvalid::Malformed,
                }
            }
            _ => PublicKeyInvalid::ExplicitParameters,
        },
        ED25519 if info.algorithm.parameters.is_some() => PublicKeyInvalid::ExplicitParameters,
        ED25519 => PublicKeyInvalid::PointForm,
        _ => PublicKeyInvalid::Algorithm { oid: algorithm },
    }
}
