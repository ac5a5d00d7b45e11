//! A signer's certificates, and the check that they belong to the signer's key.
//!
//! A chain is looked at here only as far as a mistake at the desk would show: order, sizes, key. Whether it leads to
//! a root, is valid and allows to sign is the trust store's to say.

use crate::SignError;
use countersign_format::limits;
use countersign_keys::{PublicKey, SigningKey};
use x509_cert::Certificate;
use x509_cert::der::{Decode, Encode, pem};

/// The certificates of one signer: leaf first, then intermediates, without the root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chain {
    certificates: Vec<Vec<u8>>,
    public_key: PublicKey,
}

impl Chain {
    /// Takes 1 to 3 DER certificates of at most 8 KiB each.
    ///
    /// # Errors
    /// [`SignError::Chain`] for another number or size, bytes that are no certificate, certificates that do not
    /// follow each other, a root among them, or a leaf key that cannot sign components.
    pub fn from_der(certificates: Vec<Vec<u8>>) -> Result<Self, SignError> {
        let refuse = |why: String| Err(SignError::Chain { why });
        let count = certificates.len();
        if count == 0 {
            return refuse(
                "it is empty; give the signer's certificate and those between it and the root"
                    .into(),
            );
        }
        if u64::try_from(count).unwrap_or(u64::MAX) > limits::MAX_CHAIN_CERTIFICATES {
            return refuse(format!(
                "it has {count} certificates, and at most {} are sent; leave the root out",
                limits::MAX_CHAIN_CERTIFICATES
            ));
        }
        let mut parsed = Vec::with_capacity(count);
        for (number, der) in (1u8..).zip(&certificates) {
            if u64::try_from(der.len()).unwrap_or(u64::MAX) > limits::MAX_CERTIFICATE_BYTES {
                return refuse(format!(
                    "certificate {number} has {} bytes; at most {} are sent",
                    der.len(),
                    limits::MAX_CERTIFICATE_BYTES
                ));
            }
            match Certificate::from_der(der) {
                Ok(certificate) => parsed.push(certificate),
                Err(error) => {
                    return refuse(format!("certificate {number} cannot be read: {error}"));
                }
            }
        }
        for (number, certificate) in (1u8..).zip(&parsed) {
            let tbs = certificate.tbs_certificate();
            if tbs.issuer() == tbs.subject() {
                return refuse(format!(
                    "certificate {number} ({}) is a root, issued by itself; hosts have their roots built in, so leave it out",
                    tbs.subject()
                ));
            }
        }
        for (number, (below, above)) in (1u8..).zip(parsed.iter().zip(parsed.iter().skip(1))) {
            let (issuer, subject) = (
                below.tbs_certificate().issuer(),
                above.tbs_certificate().subject(),
            );
            if issuer != subject {
                return refuse(format!(
                    "certificate {number} was issued by {issuer}, but {subject} comes next; order them leaf first"
                ));
            }
        }
        let leaf = match parsed
            .first()
            .map(|leaf| leaf.tbs_certificate().subject_public_key_info().to_der())
        {
            Some(Ok(spki)) => spki,
            _ => return refuse("the leaf's public key cannot be read".into()),
        };
        match PublicKey::from_spki_der(&leaf) {
            Ok(public_key) => Ok(Self {
                certificates,
                public_key,
            }),
            Err(error) => refuse(format!("the leaf's key cannot sign components: {error}")),
        }
    }

    /// Reads the certificates of a PEM text, in its order; text around the blocks is skipped.
    ///
    /// # Errors
    /// [`SignError::Chain`] for a text without certificates or with other blocks, and as [`Self::from_der`].
    pub fn from_pem(text: &[u8]) -> Result<Self, SignError> {
        let refuse = |why: String| SignError::Chain { why };
        let text = std::str::from_utf8(text).map_err(|_| refuse("it is not PEM text".into()))?;
        let mut certificates = Vec::new();
        let mut rest = text;
        while let Some((_, block)) = rest.split_once("-----BEGIN ") {
            let (label, after) = block
                .split_once("-----")
                .ok_or_else(|| refuse("a PEM block has no end to its first line".into()))?;
            if label != "CERTIFICATE" {
                return Err(refuse(format!(
                    "it holds a block \"{label}\"; only CERTIFICATE blocks belong into it"
                )));
            }
            let (body, after) = after
                .split_once("-----END CERTIFICATE-----")
                .ok_or_else(|| refuse("a CERTIFICATE block has no end".into()))?;
            let block = format!("-----BEGIN CERTIFICATE-----{body}-----END CERTIFICATE-----\n");
            let (_, der) = pem::decode_vec(block.as_bytes())
                .map_err(|error| refuse(format!("a CERTIFICATE block cannot be read: {error}")))?;
            certificates.push(der);
            rest = after;
        }
        if certificates.is_empty() {
            return Err(refuse("it has no -----BEGIN CERTIFICATE----- block".into()));
        }
        Self::from_der(certificates)
    }

    /// The DER certificates, leaf first.
    #[must_use]
    pub fn certificates(&self) -> &[Vec<u8>] {
        &self.certificates
    }

    /// The leaf's public key.
    #[must_use]
    pub fn public_key(&self) -> &PublicKey {
        &self.public_key
    }
}

/// A key with the chain that certifies it: one who can sign.
#[derive(Debug)]
pub struct CertifiedKey {
    key: SigningKey,
    chain: Chain,
}

impl CertifiedKey {
    /// Joins a key and its chain.
    ///
    /// # Errors
    /// [`SignError::Chain`] if the leaf certifies another key.
    pub fn new(key: SigningKey, chain: Chain) -> Result<Self, SignError> {
        if key.public_key() != chain.public_key() {
            return Err(SignError::Chain {
                why: format!(
                    "its first certificate is of the key {}, but the signing key is {}",
                    chain.public_key(),
                    key.public_key()
                ),
            });
        }
        Ok(Self { key, chain })
    }

    /// The private key.
    #[must_use]
    pub fn key(&self) -> &SigningKey {
        &self.key
    }

    /// Its certificates.
    #[must_use]
    pub fn chain(&self) -> &Chain {
        &self.chain
    }
}
