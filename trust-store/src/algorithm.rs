//! The algorithms that certificates and revocation lists may use, and the count of signature checks.
//!
//! Allow-list: ECDSA P-256 with SHA-256 and Ed25519 everywhere, ECDSA P-384 with SHA-384 for CAs. Which pairs of key
//! and signature belong together is fixed here and nowhere else.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{
        Mutex,
        atomic::{AtomicU32, Ordering},
    },
};

use const_oid::ObjectIdentifier;
use countersign_format::Digest;
use countersign_keys::{PublicKey, PublicKeyInvalid};
use der::Decode;
use p384::ecdsa::signature::Verifier;
use pki_types::{AlgorithmIdentifier, InvalidSignature, SignatureVerificationAlgorithm, alg_id};
use x509_cert::spki::{AlgorithmIdentifierOwned, SubjectPublicKeyInfoRef};

use crate::fault::Fault;

const EC_PUBLIC_KEY: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const SECP256R1: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
const SECP384R1: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.34");
const ECDSA_WITH_SHA256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.2");
const ECDSA_WITH_SHA384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.3");
const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");

/// The kind of a certificate's key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeyKind {
    /// Ed25519 (RFC 8410).
    Ed25519,
    /// ECDSA on P-256 (RFC 5480, secp256r1).
    P256,
    /// ECDSA on P-384 (RFC 5480, secp384r1): CAs only.
    P384,
}

impl KeyKind {
    /// The kind of the key in a SubjectPublicKeyInfo, which is checked to be a sound key of that kind.
    pub(crate) fn of(spki: &[u8]) -> Result<Self, Fault> {
        let info = SubjectPublicKeyInfoRef::from_der(spki).map_err(|_| Fault::NotDer)?;
        let key_error = |reason: &str| Fault::Key {
            reason: reason.to_owned(),
        };
        let kind = match info.algorithm.oid {
            EC_PUBLIC_KEY => {
                // RFC 5480 §2.1.1: a named curve, so that nobody brings a generator of his own.
                let curve = info
                    .algorithm
                    .parameters
                    .and_then(|parameters| parameters.decode_as::<ObjectIdentifier>().ok())
                    .ok_or_else(|| key_error("its curve is not given by name"))?;
                match curve {
                    SECP256R1 => Self::P256,
                    SECP384R1 => Self::P384,
                    other => {
                        return Err(Fault::Algorithm {
                            what: format!("the curve {other}"),
                        });
                    }
                }
            }
            ED25519 => Self::Ed25519,
            other => {
                return Err(Fault::Algorithm {
                    what: format!("a key of the kind {other}"),
                });
            }
        };
        match kind {
            Self::P384 => {
                let point = info.subject_public_key.as_bytes().unwrap_or_default();
                // RFC 5480 §2.2, stricter: only the uncompressed form.
                if point.len() != 97 || point.first() != Some(&0x04) {
                    return Err(key_error("its point is not in uncompressed form"));
                }
                p384::ecdsa::VerifyingKey::from_sec1_bytes(point)
                    .map_err(|_| key_error("its point is not on the curve P-384"))?;
            }
            Self::Ed25519 | Self::P256 => {
                PublicKey::from_spki_der(spki).map_err(|error| key_error(&error.to_string()))?;
            }
        }
        Ok(kind)
    }

    /// The name for people.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ed25519 => "Ed25519",
            Self::P256 => "P-256",
            Self::P384 => "P-384",
        }
    }
}

/// RFC 5758 §3.2, RFC 8410 §3: these algorithms have no parameters, not even NULL.
pub(crate) fn check_signature_algorithm(algorithm: &AlgorithmIdentifierOwned) -> Result<(), Fault> {
    let known = [ECDSA_WITH_SHA256, ECDSA_WITH_SHA384, ED25519].contains(&algorithm.oid);
    if !known || algorithm.parameters.is_some() {
        return Err(Fault::Algorithm {
            what: format!("the signature algorithm {}", algorithm.oid),
        });
    }
    Ok(())
}

/// Verifies `signature` of a certificate or CRL over `message`, made with the key in `spki`.
///
/// The pair of key and algorithm must be one of the three in the allow-list.
pub(crate) fn verify_x509(
    checks: &Checks,
    spki: &[u8],
    algorithm: &AlgorithmIdentifierOwned,
    message: &[u8],
    signature: &[u8],
) -> Result<(), VerifyError> {
    let (kind, algorithm) = match (
        KeyKind::of(spki).map_err(|_| VerifyError::Invalid)?,
        algorithm.oid,
    ) {
        (KeyKind::P256, ECDSA_WITH_SHA256) => (Primitive::P256, algorithm),
        (KeyKind::P384, ECDSA_WITH_SHA384) => (Primitive::P384, algorithm),
        (KeyKind::Ed25519, ED25519) => (Primitive::Ed25519, algorithm),
        _ => return Err(VerifyError::Invalid),
    };
    if algorithm.parameters.is_some() {
        return Err(VerifyError::Invalid);
    }
    let info = SubjectPublicKeyInfoRef::from_der(spki).map_err(|_| VerifyError::Invalid)?;
    let key = info
        .subject_public_key
        .as_bytes()
        .ok_or(VerifyError::Invalid)?;
    checks.verify(kind, key, message, signature)
}

/// Why a signature was not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum VerifyError {
    /// It does not verify.
    Invalid,
    /// No more checks are allowed for this chain.
    BudgetSpent,
}

/// A budget of signature checks for one chain: a stranger must not decide how much work we do.
///
/// Remembers what verified and what did not, so that the same signature is never computed twice: our own walk along
/// the chain pays for webpki's.
pub(crate) struct Checks {
    left: AtomicU32,
    judged: Mutex<BTreeMap<Digest, bool>>,
}

impl Checks {
    /// A budget of `limit` checks.
    pub(crate) fn new(limit: u32) -> Self {
        Self {
            left: AtomicU32::new(limit),
            judged: Mutex::new(BTreeMap::new()),
        }
    }

    /// Takes one check from the budget.
    pub(crate) fn consume(&self) -> Result<(), VerifyError> {
        self.left
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
                left.checked_sub(1)
            })
            .map(drop)
            .map_err(|_| VerifyError::BudgetSpent)
    }

    /// Whether no check is left.
    pub(crate) fn is_spent(&self) -> bool {
        self.left.load(Ordering::Relaxed) == 0
    }

    fn verify(
        &self,
        primitive: Primitive,
        key: &[u8],
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), VerifyError> {
        let memo = memo(primitive, key, message, signature);
        let judged = self
            .judged
            .lock()
            .ok()
            .and_then(|judged| judged.get(&memo).copied());
        let valid = match judged {
            Some(valid) => valid,
            None => {
                self.consume()?;
                let valid = primitive.verify(key, message, signature).is_ok();
                if let Ok(mut judged) = self.judged.lock() {
                    judged.insert(memo, valid);
                }
                valid
            }
        };
        if valid {
            Ok(())
        } else {
            Err(VerifyError::Invalid)
        }
    }
}

/// One digest over all that a check depends on. Each part is hashed by itself, so that no two inputs run together.
fn memo(primitive: Primitive, key: &[u8], message: &[u8], signature: &[u8]) -> Digest {
    let parts = [primitive.name().as_bytes(), key, message, signature].map(Digest::of);
    Digest::of(&parts.map(|digest| *digest.as_bytes()).concat())
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Primitive {
    Ed25519,
    P256,
    P384,
}

impl Primitive {
    const ALL: [Self; 3] = [Self::P256, Self::Ed25519, Self::P384];

    const fn name(self) -> &'static str {
        match self {
            Self::Ed25519 => "Ed25519",
            Self::P256 => "ECDSA P-256 SHA-256",
            Self::P384 => "ECDSA P-384 SHA-384",
        }
    }

    /// X.509 form: ECDSA signatures are DER (RFC 3279 §2.2.3), and other CAs' need not be low-S.
    fn verify(self, key: &[u8], message: &[u8], signature: &[u8]) -> Result<(), InvalidSignature> {
        match self {
            Self::Ed25519 => verify(PublicKey::from_ed25519_bytes(key), message, signature),
            Self::P256 => verify(PublicKey::from_p256_point(key), message, signature),
            Self::P384 => {
                let key = p384::ecdsa::VerifyingKey::from_sec1_bytes(key)
                    .map_err(|_| InvalidSignature)?;
                let signature = p384::ecdsa::DerSignature::from_bytes(signature)
                    .map_err(|_| InvalidSignature)?;
                key.verify(message, &signature)
                    .map_err(|_| InvalidSignature)
            }
        }
    }
}

fn verify(
    key: Result<PublicKey, PublicKeyInvalid>,
    message: &[u8],
    signature: &[u8],
) -> Result<(), InvalidSignature> {
    key.map_err(|_| InvalidSignature)?
        .verify_x509(message, signature)
        .map_err(|_| InvalidSignature)
}

/// The three algorithms in the form that webpki takes, all drawing on one budget.
pub(crate) struct Algorithms<'a>([Counted<'a>; 3]);

impl<'a> Algorithms<'a> {
    pub(crate) fn new(checks: &'a Checks) -> Self {
        Self(Primitive::ALL.map(|primitive| Counted { primitive, checks }))
    }

    pub(crate) fn as_dyn(&self) -> [&dyn SignatureVerificationAlgorithm; 3] {
        let [first, second, third] = &self.0;
        [first, second, third]
    }
}

struct Counted<'a> {
    primitive: Primitive,
    checks: &'a Checks,
}

impl fmt::Debug for Counted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.primitive.name())
    }
}

impl SignatureVerificationAlgorithm for Counted<'_> {
    fn verify_signature(
        &self,
        public_key: &[u8],
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), InvalidSignature> {
        self.checks
            .verify(self.primitive, public_key, message, signature)
            .map_err(|_| InvalidSignature)
    }

    fn public_key_alg_id(&self) -> AlgorithmIdentifier {
        match self.primitive {
            Primitive::Ed25519 => alg_id::ED25519,
            Primitive::P256 => alg_id::ECDSA_P256,
            Primitive::P384 => alg_id::ECDSA_P384,
        }
    }

    fn signature_alg_id(&self) -> AlgorithmIdentifier {
        match self.primitive {
            Primitive::Ed25519 => alg_id::ED25519,
            Primitive::P256 => alg_id::ECDSA_SHA256,
            Primitive::P384 => alg_id::ECDSA_SHA384,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tc27_a_budget_ends_and_says_so() {
        let checks = Checks::new(2);
        assert_eq!(checks.consume(), Ok(()));
        assert!(!checks.is_spent());
        assert_eq!(checks.consume(), Ok(()));
        assert_eq!(checks.consume(), Err(VerifyError::BudgetSpent));
        assert!(checks.is_spent());
    }

    #[test]
    fn the_memo_tells_all_its_inputs_apart() {
        let base = memo(Primitive::P256, b"key", b"message", b"signature");
        assert_ne!(
            base,
            memo(Primitive::P384, b"key", b"message", b"signature")
        );
        assert_ne!(
            base,
            memo(Primitive::P256, b"keym", b"essage", b"signature")
        );
        assert_ne!(
            base,
            memo(Primitive::P256, b"key", b"messages", b"ignature")
        );
    }

    #[test]
    fn tb04_a_p384_point_has_one_form() {
        // A SubjectPublicKeyInfo of P-384 around these octets of a point.
        let spki = |point: &[u8]| {
            let bits = [&[0x03, point.len() as u8 + 1, 0], point].concat();
            let algorithm = [
                &[0x30, 0x10][..],
                &[0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01],
                &[0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x22],
            ]
            .concat();
            let length = (algorithm.len() + bits.len()) as u8;
            [&[0x30, length][..], &algorithm, &bits].concat()
        };
        let refused = |point: &[u8]| KeyKind::of(&spki(point)).unwrap_err().to_string();
        // Hybrid, compressed, and cut short.
        for point in [
            [&[0x06][..], &[7; 96]].concat(),
            [&[0x02][..], &[7; 48]].concat(),
            [&[0x04][..], &[7; 95]].concat(),
        ] {
            assert!(refused(&point).contains("uncompressed"), "{point:?}");
        }
        let astray = [&[0x04][..], &[7; 96]].concat();
        assert!(refused(&astray).contains("not on the curve"));
    }

    #[test]
    fn tb01_what_webpki_is_given_verifies_too() {
        let checks = Checks::new(3);
        for algorithm in Algorithms::new(&checks).as_dyn() {
            let verdict = algorithm.verify_signature(b"key", b"message", b"signature");
            assert!(verdict.is_err(), "{algorithm:?}");
        }
    }
}
