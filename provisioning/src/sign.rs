//! Our signing keys behind the traits that x509-cert's builder asks for.
//!
//! The builder assembles the bytes; the signature itself is made by [`SigningKey::sign`], which verifies it before it
//! is returned. The builder's own `build` would hide the key's error, so its two halves are called instead.

use countersign_keys::{Algorithm, PublicKey, SigningKey};
use countersign_trust_store::Certificate;
use der::asn1::{AnyRef, BitString};
use der::{Decode, Document, Encode, Sequence};
use p256::ecdsa::signature::Keypair;
use spki::{
    AlgorithmIdentifierOwned, DynSignatureAlgorithmIdentifier, EncodePublicKey, ObjectIdentifier,
    SubjectPublicKeyInfoOwned,
};
use x509_cert::builder::Builder;

use crate::Error;
use crate::profile::Rules;

/// ecdsa-with-SHA256 (RFC 5758 §3.2); parameters absent.
const ECDSA_WITH_SHA256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.2");

/// id-Ed25519 (RFC 8410 §3); parameters absent.
const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");

/// The longest signature: an ECDSA-Sig-Value of P-256, two integers of 33 octets with their headers.
const MAX_SIGNATURE_BYTES: usize = 72;

/// Finishes `builder` with a signature by `key`, if what would be signed passes as a certificate of the kind `rules`.
///
/// The check comes before the signature: what was once signed cannot be taken back.
pub(crate) fn build<B: Builder>(
    mut builder: B,
    key: &SigningKey,
    rules: &Rules,
) -> Result<B::Output, Error> {
    let identity = Identity(key.public_key().clone());
    let to_be_signed = builder.finalize(&identity).map_err(builder_error)?;
    lint(&to_be_signed, key.public_key().algorithm(), rules)?;
    let signature = sign(key, &to_be_signed)?;
    builder
        .assemble(signature, &identity)
        .map_err(builder_error)
}

/// Reads the unsigned certificate as a host will, with a signature of zeros in the place of the real one.
fn lint(to_be_signed: &[u8], algorithm: Algorithm, rules: &Rules) -> Result<(), Error> {
    let encoding = || Error::encoding("a certificate");
    let certificate = Unsigned {
        to_be_signed: AnyRef::from_der(to_be_signed).map_err(encoding())?,
        algorithm: algorithm_identifier(algorithm)?,
        signature: BitString::from_bytes(&[0; MAX_SIGNATURE_BYTES]).map_err(encoding())?,
    };
    let der = certificate.to_der().map_err(encoding())?;
    if der.len() > rules.max_bytes {
        return Err(Error::TooLarge {
            actual: der.len(),
            limit: rules.max_bytes,
        });
    }
    let certificate = Certificate::parse(&der).map_err(|source| Error::Lint { source })?;
    rules
        .kind
        .inspect(&certificate, None)
        .map_err(|source| Error::Lint { source })
}

/// Certificate (RFC 5280 §4.1) before it is signed.
#[derive(Sequence)]
struct Unsigned<'a> {
    to_be_signed: AnyRef<'a>,
    algorithm: AlgorithmIdentifierOwned,
    signature: BitString,
}

/// The X.509 form of the signature over `message`.
pub(crate) fn sign(key: &SigningKey, message: &[u8]) -> Result<BitString, Error> {
    let signature = key.sign(message).map_err(|source| Error::Sign { source })?;
    BitString::from_bytes(&signature.to_x509()).map_err(Error::encoding("a signature"))
}

/// How a certificate names the algorithm that `algorithm` signs with.
pub(crate) fn algorithm_identifier(
    algorithm: Algorithm,
) -> Result<AlgorithmIdentifierOwned, Error> {
    let oid = match algorithm {
        Algorithm::Esp256 => ECDSA_WITH_SHA256,
        Algorithm::Ed25519 => ED25519,
        other => {
            return Err(Error::KeyUnsupported {
                reason: format!("it is for {}", other.name()),
            });
        }
    };
    Ok(AlgorithmIdentifierOwned {
        oid,
        parameters: None,
    })
}

/// The key as x509-cert carries it.
pub(crate) fn spki(key: &PublicKey) -> Result<SubjectPublicKeyInfoOwned, Error> {
    SubjectPublicKeyInfoOwned::from_der(&key.to_spki_der()).map_err(Error::encoding("a public key"))
}

fn builder_error(error: x509_cert::builder::Error) -> Error {
    use x509_cert::builder::Error as Builder;
    let source = match error {
        Builder::Asn1(source) | Builder::PublicKey(spki::Error::Asn1(source)) => source,
        // Raised by the library's own naming profiles only, which are not used here.
        _ => der::ErrorKind::Failed.into(),
    };
    Error::Encoding {
        what: "a certificate",
        source,
    }
}

/// Who signs, without the ability to sign.
struct Identity(PublicKey);

#[derive(Clone)]
struct Verifying(PublicKey);

impl Keypair for Identity {
    type VerifyingKey = Verifying;

    fn verifying_key(&self) -> Verifying {
        Verifying(self.0.clone())
    }
}

impl EncodePublicKey for Verifying {
    fn to_public_key_der(&self) -> spki::Result<Document> {
        Ok(Document::try_from(self.0.to_spki_der())?)
    }
}

impl DynSignatureAlgorithmIdentifier for Identity {
    fn signature_algorithm_identifier(&self) -> spki::Result<AlgorithmIdentifierOwned> {
        algorithm_identifier(self.0.algorithm()).map_err(|_| spki::Error::KeyMalformed)
    }
}

#[cfg(test)]
pub(crate) mod testing {
    //! Predictable randomness, so that tests repeat.

    use std::convert::Infallible;

    use rand_core::{TryCryptoRng, TryRng};

    /// Counts upwards from its seed.
    pub(crate) struct Counting(pub(crate) u8);

    impl TryRng for Counting {
        type Error = Infallible;

        fn try_next_u32(&mut self) -> Result<u32, Infallible> {
            let mut octets = [0; 4];
            self.try_fill_bytes(&mut octets)?;
            Ok(u32::from_le_bytes(octets))
        }

        fn try_next_u64(&mut self) -> Result<u64, Infallible> {
            let mut octets = [0; 8];
            self.try_fill_bytes(&mut octets)?;
            Ok(u64::from_le_bytes(octets))
        }

        fn try_fill_bytes(&mut self, destination: &mut [u8]) -> Result<(), Infallible> {
            for octet in destination {
                *octet = self.0;
                self.0 = self.0.wrapping_add(1);
            }
            Ok(())
        }
    }

    impl TryCryptoRng for Counting {}
}
