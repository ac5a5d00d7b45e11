//! A key of any store as rustls uses one.

use std::sync::Arc;

use countersign_keys::{Algorithm, SigningKey};
use pki_types::SubjectPublicKeyInfoDer;
use rustls::sign::{Signer, SigningKey as RustlsSigningKey};
use rustls::{Error, OtherError, SignatureAlgorithm, SignatureScheme};

/// A key without its certificates. Most programs want [`TlsIdentity`](crate::TlsIdentity), which refuses certificates that
/// are not this key's.
#[derive(Clone, Debug)]
pub struct TlsKey {
    key: Arc<SigningKey>,
    public: Vec<u8>,
}

impl TlsKey {
    /// The key of some store.
    #[must_use]
    pub fn new(key: Arc<SigningKey>) -> Self {
        let public = key.public_key().to_spki_der();
        Self { key, public }
    }

    /// SubjectPublicKeyInfo, DER.
    pub(crate) fn public(&self) -> &[u8] {
        &self.public
    }

    /// One key has one scheme: in TLS 1.3 both name the curve, in TLS 1.2 they are what P-256 and Ed25519 are used with.
    fn scheme(&self) -> Option<SignatureScheme> {
        match self.key.algorithm() {
            Algorithm::Ed25519 => Some(SignatureScheme::ED25519),
            Algorithm::Esp256 => Some(SignatureScheme::ECDSA_NISTP256_SHA256),
            _ => None,
        }
    }
}

impl RustlsSigningKey for TlsKey {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        let scheme = self.scheme()?;
        offered.contains(&scheme).then(|| {
            let signer: Box<dyn Signer> = Box::new(TlsSigner {
                key: Arc::clone(&self.key),
                scheme,
            });
            signer
        })
    }

    /// With it, rustls itself can compare key and certificate (`keys_match`).
    fn public_key(&self) -> Option<SubjectPublicKeyInfoDer<'_>> {
        Some(SubjectPublicKeyInfoDer::from(self.public.as_slice()))
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        match self.key.algorithm() {
            Algorithm::Ed25519 => SignatureAlgorithm::ED25519,
            _ => SignatureAlgorithm::ECDSA,
        }
    }
}

#[derive(Debug)]
struct TlsSigner {
    key: Arc<SigningKey>,
    scheme: SignatureScheme,
}

impl Signer for TlsSigner {
    /// The message as it is: the store hashes it if it must. RFC 8446 §4.2.3: ECDSA signatures are DER.
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
        match self.key.sign(message) {
            Ok(signature) => Ok(signature.to_x509()),
            Err(error) => Err(Error::Other(OtherError(Arc::new(error)))),
        }
    }

    fn scheme(&self) -> SignatureScheme {
        self.scheme
    }
}
