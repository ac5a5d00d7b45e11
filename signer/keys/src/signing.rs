//! Signing, with one meaning for every algorithm and store: message in, verified signature out.

use crate::public_key::{SIGNATURE_BYTES, p256_signature};
use crate::{Algorithm, Error, ErrorKind, PublicKey};
use std::fmt;

/// What a key store implements for one opened key.
///
/// Callers do not use this trait; they use [`SigningKey`], which checks what the store returns. There is no call that
/// takes a public key from its caller (RUSTSEC-2022-0093): the store says which key it holds.
pub trait Signer: Send + Sync {
    /// The public half, as the store knows it.
    fn public_key(&self) -> &PublicKey;

    /// Signs the message, hashing it where the store needs a digest. 64 bytes: `r ‖ s` big-endian with either `s`,
    /// or the Ed25519 signature.
    ///
    /// # Errors
    /// What the store reports, as [`Error`].
    fn sign_unchecked(&self, message: &[u8]) -> Result<[u8; 64], Error>;

    /// Whether this process computes the signature itself, and waits for nothing: no hardware, program or network.
    fn is_computed_here(&self) -> bool {
        false
    }
}

/// A private key in some store, ready to sign.
///
/// `Debug` shows the public half only.
pub struct SigningKey(Box<dyn Signer>);

impl SigningKey {
    /// Wraps an opened key of some store.
    pub fn new(signer: impl Signer + 'static) -> Self {
        Self(Box::new(signer))
    }

    /// The public half.
    #[must_use]
    pub fn public_key(&self) -> &PublicKey {
        self.0.public_key()
    }

    /// The algorithm of [`Self::public_key`].
    #[must_use]
    pub fn algorithm(&self) -> Algorithm {
        self.public_key().algorithm()
    }

    /// Whether signing is computing, and waits for nothing.
    #[must_use]
    pub fn is_computed_here(&self) -> bool {
        self.0.is_computed_here()
    }

    /// Signs `message` and verifies the result before returning it: a store that computes wrongly, by a fault or by
    /// an attack, would otherwise publish what can reveal its key.
    ///
    /// ```
    /// # use countersign_keys::{Error, PublicKey, SigningKey};
    /// # fn tb14_the_message_is_all_that_a_caller_gives(key: &SigningKey, other: &PublicKey) -> Result<(), Error> {
    /// let signature = key.sign(b"open the valve")?;
    /// # Ok(()) }
    /// ```
    ///
    /// ```compile_fail,E0061
    /// # use countersign_keys::{Error, PublicKey, SigningKey};
    /// # fn tb14_no_public_key_from_a_caller(key: &SigningKey, other: &PublicKey) -> Result<(), Error> {
    /// let signature = key.sign(b"open the valve", other)?; // the store knows which key it holds
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::BadSignature`] if the result does not verify under [`Self::public_key`]; else what the store
    /// reports.
    pub fn sign(&self, message: &[u8]) -> Result<Signature, Error> {
        let raw = self.0.sign_unchecked(message)?;
        Signature::checked(self.public_key(), message, &raw)
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({})", self.public_key())
    }
}

/// A signature that has been verified under its key, in the form that COSE carries (low-S for ESP256).
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Signature {
    algorithm: Algorithm,
    bytes: [u8; SIGNATURE_BYTES],
}

impl Signature {
    /// Takes a raw signature made elsewhere (a signing service, a ceremony), brings it into the low-S form, and
    /// verifies it.
    ///
    /// # Errors
    /// [`ErrorKind::BadSignature`] if it is not a signature of `key` over `message`.
    pub fn checked(key: &PublicKey, message: &[u8], raw: &[u8]) -> Result<Self, Error> {
        let bad = |source| {
            Error::with_source(
                ErrorKind::BadSignature,
                format!("the signer of key {key} returned a wrong signature; nothing was signed"),
                source,
            )
        };
        let mut bytes: [u8; SIGNATURE_BYTES] = raw
            .try_into()
            .map_err(|_| bad(crate::SignatureInvalid::Encoding))?;
        if key.algorithm() == Algorithm::Esp256 {
            bytes = p256_signature(&bytes)
                .map_err(bad)?
                .normalize_s()
                .to_bytes()
                .into();
        }
        key.verify(message, &bytes).map_err(bad)?;
        Ok(Self {
            algorithm: key.algorithm(),
            bytes,
        })
    }

    /// The same for the DER form of ECDSA (`ECDSA-Sig-Value`), as `openssl dgst -sign` writes it. For Ed25519 the raw
    /// 64 bytes are that form.
    ///
    /// # Errors
    /// [`ErrorKind::BadSignature`], also if the bytes are not DER.
    pub fn checked_x509(key: &PublicKey, message: &[u8], signature: &[u8]) -> Result<Self, Error> {
        if key.algorithm() != Algorithm::Esp256 {
            return Self::checked(key, message, signature);
        }
        let raw = p256::ecdsa::Signature::from_der(signature).map_err(|_| {
            Error::new(
                ErrorKind::BadSignature,
                format!("the signature for key {key} is not a DER ECDSA-Sig-Value"),
            )
        })?;
        Self::checked(key, message, &raw.to_bytes())
    }

    /// The 64 bytes that COSE carries: `r ‖ s`, or the Ed25519 signature.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 64] {
        &self.bytes
    }

    /// The form that X.509 carries: DER `ECDSA-Sig-Value` (at most 72 bytes), or the 64 bytes of Ed25519.
    #[must_use]
    pub fn to_x509(&self) -> Vec<u8> {
        match (self.algorithm, p256_signature(&self.bytes)) {
            (Algorithm::Esp256, Ok(signature)) => signature.to_der().as_bytes().to_vec(),
            // An ESP256 signature parsed when it was made, so this arm is Ed25519's.
            _ => self.bytes.to_vec(),
        }
    }
}

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signature({}, ", self.algorithm.name())?;
        for byte in self.bytes {
            write!(f, "{byte:02x}")?;
        }
        f.write_str(")")
    }
}
