//! Keys that sign certificates and lists: those of devices, and P-384, which only authorities may have.

use std::sync::Arc;

use countersign_backend_file::FileKey;
use countersign_keys::{Algorithm, SigningKey};
use der::asn1::{Any, ObjectIdentifier};
use der::{Decode, Encode, Tag};
use p384::ecdsa::signature::Signer as _;
use spki::EncodePublicKey as _;

use crate::pki::Holder;

const ECDSA_WITH_SHA256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.2");
const ECDSA_WITH_SHA384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.3");
const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");

/// A key that signs certificates and lists. Copies share it.
#[derive(Clone, Debug)]
pub struct IssuerKey(Kind);

#[derive(Clone, Debug)]
enum Kind {
    Ours(Holder),
    P384(Arc<p384::ecdsa::SigningKey>),
}

impl IssuerKey {
    pub(crate) fn ours(holder: &Holder) -> Self {
        Self(Kind::Ours(holder.clone()))
    }

    /// The P-256 or Ed25519 key of this seed.
    ///
    /// # Panics
    /// When the seed is no key.
    #[must_use]
    pub fn from_seed(algorithm: Algorithm, seed: &[u8; 32]) -> Self {
        let key = FileKey::from_seed(algorithm, seed).expect("the seed is a key");
        Self(Kind::Ours(Holder::new(key)))
    }

    /// The P-384 key with this number, big-endian, repeated to its 48 octets' length.
    ///
    /// # Panics
    /// When the seed is no key.
    #[must_use]
    pub fn p384(seed: &[u8; 32]) -> Self {
        // Below the order of the group, which begins with 24 octets of ones.
        let mut scalar = [0; 48];
        for (octet, seed) in scalar.iter_mut().skip(16).zip(seed) {
            *octet = *seed;
        }
        let key = p384::ecdsa::SigningKey::from_slice(&scalar).expect("the seed is a key");
        Self(Kind::P384(Arc::new(key)))
    }

    /// The public half, SubjectPublicKeyInfo.
    ///
    /// # Panics
    /// Never: such a key encodes.
    #[must_use]
    pub fn spki(&self) -> Any {
        let der = match &self.0 {
            Kind::Ours(key) => key.signing_key().public_key().to_spki_der(),
            Kind::P384(key) => key
                .verifying_key()
                .to_public_key_der()
                .expect("a point encodes")
                .into_vec(),
        };
        Any::from_der(&der).expect("what was encoded decodes")
    }

    /// The AlgorithmIdentifier of its signatures.
    ///
    /// # Panics
    /// Never: an object identifier encodes.
    #[must_use]
    pub fn algorithm(&self) -> Any {
        let id = match &self.0 {
            Kind::Ours(key) => match key.signing_key().algorithm() {
                Algorithm::Ed25519 => ED25519,
                _ => ECDSA_WITH_SHA256,
            },
            Kind::P384(_) => ECDSA_WITH_SHA384,
        };
        Any::new(Tag::Sequence, id.to_der().expect("it encodes")).expect("it fits")
    }

    /// Signs in the form that X.509 carries: DER for ECDSA. Deterministic (RFC 6979, RFC 8032).
    ///
    /// # Panics
    /// When the key fails.
    #[must_use]
    pub fn sign(&self, message: &[u8]) -> Vec<u8> {
        match &self.0 {
            Kind::Ours(key) => sign(&key.signing_key(), message),
            Kind::P384(key) => {
                let signature: p384::ecdsa::DerSignature =
                    key.try_sign(message).expect("a key in memory signs");
                signature.as_bytes().to_vec()
            }
        }
    }
}

/// A signature in the form that X.509 carries.
pub(crate) fn sign(key: &SigningKey, message: &[u8]) -> Vec<u8> {
    key.sign(message).expect("a key in memory signs").to_x509()
}
