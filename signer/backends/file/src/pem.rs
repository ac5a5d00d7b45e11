//! PKCS#8 in PEM: `PRIVATE KEY` (RFC 5958) and `ENCRYPTED PRIVATE KEY` (RFC 8018 PBES2).

use crate::{FileKey, Private};
use countersign_keys::{Algorithm, Error, ErrorKind, Secret};
use p256::pkcs8::EncodePrivateKey;
use pkcs8::der::asn1::OctetStringRef;
use pkcs8::der::pem::LineEnding;
use pkcs8::der::{Decode, Encode};
use pkcs8::pkcs5::pbes2;
use pkcs8::{EncryptedPrivateKeyInfoRef, PrivateKeyInfoRef, SecretDocument};
use rand_core::TryCryptoRng;
use zeroize::Zeroizing;

/// id-Ed25519, RFC 8410 §3.
const ED25519: pkcs8::ObjectIdentifier = pkcs8::ObjectIdentifier::new_unwrap("1.3.101.112");
/// id-ecPublicKey, RFC 5480 §2.1.1.
const EC_PUBLIC_KEY: pkcs8::ObjectIdentifier =
    pkcs8::ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");

/// The most rounds of PBKDF2 that are computed for a file: about ten seconds, against a file made to hang us.
const MAX_PBKDF2_ROUNDS: u32 = 10_000_000;
/// The most memory that scrypt may take for a file, in bytes.
const MAX_SCRYPT_BYTES: u64 = 256 * 1024 * 1024;

/// Reads a PEM block; `name` is for the error messages.
pub(crate) fn decode(
    pem: &[u8],
    name: &str,
    passphrase: impl FnOnce() -> Result<Secret, Error>,
) -> Result<FileKey, Error> {
    let malformed = |why: String| Error::new(ErrorKind::Malformed, format!("{name}: {why}"));
    let text = std::str::from_utf8(pem).map_err(|_| malformed(NOT_PEM.into()))?;
    if !text.contains("-----BEGIN ") {
        return Err(malformed(NOT_PEM.into()));
    }
    let (label, document) = SecretDocument::from_pem(text)
        .map_err(|error| malformed(format!("the PEM block cannot be read: {error}")))?;
    match label {
        "PRIVATE KEY" => private_key(document.as_bytes()).map_err(malformed),
        "ENCRYPTED PRIVATE KEY" => {
            let encrypted = EncryptedPrivateKeyInfoRef::from_der(document.as_bytes()).map_err(|error| {
                malformed(format!(
                    "the encryption cannot be read ({error}); PBES2 with AES and PBKDF2-HMAC-SHA-256 or scrypt is \
                     supported; convert with: openssl pkcs8 -in OLD | openssl pkcs8 -topk8 -v2 aes-256-cbc -out NEW"
                ))
            })?;
            bounded(&encrypted).map_err(malformed)?;
            let decrypted = encrypted.decrypt(passphrase()?.expose()).map_err(|source| {
                Error::with_source(ErrorKind::Passphrase, format!("{name}: the passphrase does not fit"), source)
            })?;
            private_key(decrypted.as_bytes()).map_err(malformed)
        }
        "EC PRIVATE KEY" | "EC PARAMETERS" => Err(malformed(
            "this is the older EC form, not PKCS#8; convert with: openssl pkcs8 -topk8 -in OLD -out NEW".into(),
        )),
        "CERTIFICATE" | "PUBLIC KEY" | "CERTIFICATE REQUEST" => {
            Err(malformed(format!("this is a {}, not a private key", label.to_lowercase())))
        }
        other => Err(malformed(format!("\"{other}\" is not PKCS#8; PRIVATE KEY or ENCRYPTED PRIVATE KEY is needed"))),
    }
}

/// Whether this is the text of a key file, encrypted or not.
pub(crate) fn holds_private_key(text: &[u8]) -> bool {
    let begins = |label: &[u8]| text.windows(label.len()).any(|part| part == label);
    begins(b"-----BEGIN PRIVATE KEY-----") || begins(b"-----BEGIN ENCRYPTED PRIVATE KEY-----")
}

const NOT_PEM: &str = "this is not PEM text; a line -----BEGIN PRIVATE KEY----- is expected";

/// Writes a PEM block, encrypted when there is a passphrase.
pub(crate) fn encode(
    key: &FileKey,
    passphrase: Option<&Secret>,
    random: &mut impl TryCryptoRng,
) -> Result<Zeroizing<String>, Error> {
    let failed = |source: pkcs8::Error| {
        Error::with_source(
            ErrorKind::Malformed,
            "the key could not be encoded as PKCS#8",
            source,
        )
    };
    let document = document(key).map_err(failed)?;
    let Some(passphrase) = passphrase else {
        return document
            .to_pem("PRIVATE KEY", LineEnding::LF)
            .map_err(|error| failed(error.into()));
    };
    if passphrase.is_empty() {
        return Err(Error::new(
            ErrorKind::Passphrase,
            "an empty passphrase protects nothing; give a longer one",
        ));
    }
    // PBKDF2 with HMAC-SHA-256, 600,000 rounds, and AES-256-CBC: what every tool that reads PKCS#8 can read.
    let parameters = pbes2::Parameters::generate_pbkdf2(random).map_err(|source| {
        Error::with_source(
            ErrorKind::Random,
            "the random source failed, and the key was not encrypted",
            source,
        )
    })?;
    PrivateKeyInfoRef::from_der(document.as_bytes())
        .map_err(pkcs8::Error::from)
        .and_then(|info| info.encrypt_with_params(parameters, passphrase.expose()))
        .and_then(|encrypted| Ok(encrypted.to_pem("ENCRYPTED PRIVATE KEY", LineEnding::LF)?))
        .map_err(failed)
}

fn document(key: &FileKey) -> pkcs8::Result<SecretDocument> {
    match &key.secret {
        Private::P256(secret) => p256::SecretKey::from(secret).to_pkcs8_der(),
        Private::Ed25519(secret) => {
            // RFC 8410 §7: an OCTET STRING with the seed, inside the privateKey OCTET STRING.
            let seed = Zeroizing::new(
                secret
                    .first_chunk::<32>()
                    .copied()
                    .ok_or(pkcs8::KeyError::Invalid)?,
            );
            let inner = Zeroizing::new(OctetStringRef::new(seed.as_slice())?.to_der()?);
            let algorithm = pkcs8::AlgorithmIdentifierRef {
                oid: ED25519,
                parameters: None,
            };
            SecretDocument::try_from(PrivateKeyInfoRef::new(
                algorithm,
                OctetStringRef::new(&inner)?,
            ))
        }
    }
}

fn private_key(der: &[u8]) -> Result<FileKey, String> {
    let unreadable =
        |error: &dyn std::fmt::Display| format!("the private key cannot be read: {error}");
    let info = PrivateKeyInfoRef::from_der(der).map_err(|error| unreadable(&error))?;
    let given_public = info.public_key.map(|public| public.raw_bytes().to_vec());
    let key = match info.algorithm.oid {
        EC_PUBLIC_KEY => {
            let secret = p256::SecretKey::try_from(info).map_err(|error| {
                format!("the elliptic curve key cannot be used: {error}; only the named curve P-256 is accepted")
            })?;
            let scalar: Zeroizing<[u8; 32]> = Zeroizing::new(secret.to_bytes().into());
            FileKey::from_seed(Algorithm::Esp256, &scalar)
        }
        ED25519 => {
            if info.algorithm.parameters.is_some() {
                return Err("the Ed25519 key has parameters, which RFC 8410 forbids".into());
            }
            let inner = <&OctetStringRef>::from_der(info.private_key.as_bytes())
                .map_err(|error| unreadable(&error))?;
            let seed: &[u8; 32] = inner
                .as_bytes()
                .try_into()
                .map_err(|_| "the Ed25519 key does not have 32 bytes".to_owned())?;
            FileKey::from_seed(Algorithm::Ed25519, seed)
        }
        other => {
            return Err(format!(
                "the key's algorithm {other} is not accepted; use P-256 or Ed25519"
            ));
        }
    };
    let key = key.map_err(|error| error.to_string())?;
    match given_public {
        // A file whose halves do not belong together would sign for a key it does not have.
        Some(public) if public != key.public_key().to_raw_bytes() => {
            Err("the public key in the file does not belong to its private key".into())
        }
        _ => Ok(key),
    }
}

/// A key file may ask for as much work as it likes; we do not follow without end.
fn bounded(encrypted: &EncryptedPrivateKeyInfoRef<'_>) -> Result<(), String> {
    let Some(parameters) = encrypted.encryption_algorithm.pbes2() else {
        return Err("the encryption is not PBES2".into());
    };
    if let Some(pbkdf2) = parameters.kdf.pbkdf2()
        && pbkdf2.iteration_count > MAX_PBKDF2_ROUNDS
    {
        return Err(format!(
            "it asks for {} rounds of PBKDF2; at most {MAX_PBKDF2_ROUNDS} are computed",
            pbkdf2.iteration_count
        ));
    }
    if let Some(scrypt) = parameters.kdf.scrypt() {
        // RFC 7914 §2: 128 · r · N bytes.
        let bytes = scrypt
            .cost_parameter
            .saturating_mul(u64::from(scrypt.block_size))
            .saturating_mul(128);
        if bytes > MAX_SCRYPT_BYTES || scrypt.parallelization > 16 {
            return Err(format!(
                "it asks for {bytes} bytes of memory; at most {MAX_SCRYPT_BYTES} are used"
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use pbes2::{EncryptionScheme, Kdf, Parameters, Pbkdf2Params, ScryptParams};

    fn file(kdf: Kdf) -> Vec<u8> {
        let parameters = Parameters {
            kdf,
            encryption: EncryptionScheme::Aes256Cbc { iv: [0; 16] },
        };
        let info = pkcs8::EncryptedPrivateKeyInfo {
            encryption_algorithm: parameters.into(),
            encrypted_data: OctetStringRef::new(&[0; 64]).unwrap(),
        };
        let document = SecretDocument::try_from(&info).unwrap();
        document
            .to_pem("ENCRYPTED PRIVATE KEY", LineEnding::LF)
            .unwrap()
            .as_bytes()
            .to_vec()
    }

    #[test]
    fn a_key_file_cannot_ask_for_endless_work() {
        let salt = [0u8; 16].as_slice();
        let scrypt = |cost_parameter, parallelization| ScryptParams {
            salt: salt.try_into().unwrap(),
            cost_parameter,
            block_size: 8,
            parallelization,
            key_length: None,
        };
        for (kdf, words) in [
            (
                Kdf::from(Pbkdf2Params::hmac_sha256(10_000_001, salt).unwrap()),
                "10000001 rounds",
            ),
            (Kdf::from(scrypt(1 << 22, 1)), "bytes of memory"),
            (Kdf::from(scrypt(1 << 14, 17)), "bytes of memory"),
        ] {
            let error = decode(&file(kdf), "key.pem", || {
                panic!("the passphrase was asked for")
            })
            .unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Malformed);
            assert!(error.to_string().contains(words), "{error}");
        }
    }
}
