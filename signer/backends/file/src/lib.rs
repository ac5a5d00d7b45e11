//! Signing keys in PKCS#8 files.
//!
//! Decided here: how a software key is made, how it lies on disk (PEM, mode 0600, encrypted when a passphrase is
//! given), and that a file which others may read is refused. Signatures are deterministic (RFC 6979, RFC 8032), so a
//! weak random source cannot give a key away when it signs.
//!
//! Left to others: where a passphrase comes from, and whether the key is trusted.
//!
//! ```
//! use countersign_backend_file::{FileKey, Overwrite, SystemRandom};
//! use countersign_keys::{Algorithm, Secret};
//!
//! let folder = tempfile::tempdir()?;
//! let path = folder.path().join("signing.pem");
//! let passphrase = Secret::new("correct horse battery staple".to_owned());
//!
//! let key = FileKey::generate(Algorithm::Esp256, &mut SystemRandom)?;
//! key.save(&path, Some(&passphrase), Overwrite::Refuse)?;
//!
//! let key = FileKey::open(&path, || Ok(passphrase))?;
//! let signature = key.sign(b"message")?;
//! key.public_key().verify(b"message", signature.as_bytes())?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![forbid(unsafe_code)]
#![deny(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::as_conversions
)]

mod disk;
mod pem;
mod provider;

/// What to do when there is something at a key file's path.
pub use countersign_durable::Existing as Overwrite;
/// The operating system's source of random numbers; its failure is an error, not a panic.
pub use getrandom::SysRng as SystemRandom;
pub use provider::{FileProvider, PassphraseFor};
pub use rand_core;

use countersign_keys::{Algorithm, Error, ErrorKind, PublicKey, Secret, Signer, SigningKey};
use p256::ecdsa::signature::Signer as _;
use rand_core::TryCryptoRng;
use std::fmt;
use std::path::Path;
use zeroize::Zeroizing;

/// A private key in memory, from a file or on its way to one. Overwritten when dropped; `Debug` shows the public
/// half only; not `Clone`.
pub struct FileKey {
    public: PublicKey,
    secret: Private,
}

/// Both library types overwrite themselves when dropped.
enum Private {
    P256(p256::ecdsa::SigningKey),
    Ed25519(ed25519_compact::SecretKey),
}

impl FileKey {
    /// Makes a new key from `random`.
    ///
    /// # Errors
    /// [`ErrorKind::Random`] if the source fails, returns only zeros, or returns the same bytes twice.
    pub fn generate(algorithm: Algorithm, random: &mut impl TryCryptoRng) -> Result<Self, Error> {
        // A seed is out of range for P-256 once in 2^32 draws; four in a row mean a broken source.
        for _ in 0..4 {
            let seed = draw(random)?;
            if let Ok(key) = Self::from_seed(algorithm, &seed) {
                return Ok(key);
            }
        }
        Err(Error::new(
            ErrorKind::Random,
            "the random source is broken: none of its output made a key",
        ))
    }

    /// The key for a P-256 scalar (big-endian) or an Ed25519 seed of 32 bytes.
    ///
    /// # Errors
    /// [`ErrorKind::Malformed`] if the scalar is zero or not below the group order, or the seed is all zeros.
    pub fn from_seed(algorithm: Algorithm, seed: &[u8; 32]) -> Result<Self, Error> {
        let unfit = || Error::new(ErrorKind::Malformed, "the private key is out of range");
        match algorithm {
            Algorithm::Esp256 => {
                let key = p256::ecdsa::SigningKey::from_slice(seed).map_err(|_| unfit())?;
                let public =
                    PublicKey::from_p256_point(key.verifying_key().to_sec1_point(false).as_bytes());
                Ok(Self {
                    public: public.map_err(|_| unfit())?,
                    secret: Private::P256(key),
                })
            }
            Algorithm::Ed25519 => {
                let mut library_seed = ed25519_compact::Seed::new(*seed);
                let pair = ed25519_compact::KeyPair::try_from_seed(library_seed);
                library_seed.wipe_mut();
                let pair = pair.map_err(|_| unfit())?;
                let public =
                    PublicKey::from_ed25519_bytes(pair.pk.as_slice()).map_err(|_| unfit())?;
                Ok(Self {
                    public,
                    secret: Private::Ed25519(pair.sk),
                })
            }
            other => Err(Error::new(
                ErrorKind::Unsupported,
                format!(
                    "key files hold P-256 and Ed25519 keys, not {}",
                    other.name()
                ),
            )),
        }
    }

    /// Opens a key file for signing. `passphrase` is asked only if the file is encrypted.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub fn open(
        path: &Path,
        passphrase: impl FnOnce() -> Result<Secret, Error>,
    ) -> Result<SigningKey, Error> {
        Self::load(path, passphrase).map(SigningKey::new)
    }

    /// Reads a key file: PKCS#8 in PEM, plain (RFC 5958) or encrypted with PBES2 (RFC 8018), as OpenSSL writes it.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`], [`ErrorKind::Io`]; [`ErrorKind::Permissions`] if group or others may read or write
    /// the file; [`ErrorKind::Malformed`] for other formats and other kinds of keys; [`ErrorKind::Passphrase`] if the
    /// passphrase does not fit; or what `passphrase` reports.
    pub fn load(
        path: &Path,
        passphrase: impl FnOnce() -> Result<Secret, Error>,
    ) -> Result<Self, Error> {
        pem::decode(&disk::read(path)?, &path.display().to_string(), passphrase)
    }

    /// Writes the key to `path` with mode 0600: whole or not at all, and never through a symbolic link. With a
    /// passphrase it is encrypted (PBES2: PBKDF2 with HMAC-SHA-256 and 600,000 rounds, AES-256-CBC), which OpenSSL
    /// reads.
    ///
    /// # Errors
    /// [`ErrorKind::Exists`] if there is something at `path` and `overwrite` does not allow to replace it;
    /// [`ErrorKind::Passphrase`] if the passphrase is empty; [`ErrorKind::Random`], [`ErrorKind::Io`].
    pub fn save(
        &self,
        path: &Path,
        passphrase: Option<&Secret>,
        overwrite: Overwrite,
    ) -> Result<(), Error> {
        let pem = pem::encode(self, passphrase, &mut SystemRandom)?;
        disk::write(path, pem.as_bytes(), overwrite)
    }

    /// The public half.
    #[must_use]
    pub fn public_key(&self) -> &PublicKey {
        &self.public
    }

    /// The number of a P-256 key, 32 bytes big-endian, for another implementation in the same process; none for an Ed25519
    /// key. Whoever has it has the key: it is overwritten when dropped, and goes into no log, message or file.
    #[must_use]
    pub fn into_p256_scalar(self) -> Option<Zeroizing<[u8; 32]>> {
        match &self.secret {
            Private::P256(key) => Some(Zeroizing::new(key.to_bytes().into())),
            Private::Ed25519(_) => None,
        }
    }
}

impl Signer for FileKey {
    fn public_key(&self) -> &PublicKey {
        &self.public
    }

    fn sign_unchecked(&self, message: &[u8]) -> Result<[u8; 64], Error> {
        match &self.secret {
            Private::P256(key) => {
                let signature: p256::ecdsa::Signature =
                    key.try_sign(message).map_err(|source| {
                        Error::with_source(
                            ErrorKind::Device,
                            "the message could not be signed",
                            source,
                        )
                    })?;
                Ok(signature.to_bytes().into())
            }
            // Without noise: RFC 8032 as it stands.
            Private::Ed25519(key) => Ok(*key.sign(message, None)),
        }
    }

    fn is_computed_here(&self) -> bool {
        true
    }
}

impl From<FileKey> for SigningKey {
    fn from(key: FileKey) -> Self {
        Self::new(key)
    }
}

impl fmt::Debug for FileKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FileKey({})", self.public)
    }
}

/// 32 bytes, and a second draw to see that the source is not stuck.
fn draw(random: &mut impl TryCryptoRng) -> Result<Zeroizing<[u8; 32]>, Error> {
    let mut seed = Zeroizing::new([0u8; 32]);
    let mut second = Zeroizing::new([0u8; 32]);
    for block in [&mut seed, &mut second] {
        random
            .try_fill_bytes(block.as_mut_slice())
            .map_err(|error| {
                // The error's type is the source's own and need not be Send, so its words are kept.
                Error::new(
                    ErrorKind::Random,
                    format!("the random source failed, and no key was made: {error}"),
                )
            })?;
    }
    if *seed == *second || seed.iter().all(|byte| *byte == 0) {
        return Err(Error::new(
            ErrorKind::Random,
            "the random source is stuck, and no key was made",
        ));
    }
    Ok(seed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::convert::Infallible;

    /// A source that repeats one byte for ever.
    struct Stuck(u8);

    impl rand_core::TryRng for Stuck {
        type Error = Infallible;
        fn try_next_u32(&mut self) -> Result<u32, Infallible> {
            Ok(u32::from_ne_bytes([self.0; 4]))
        }
        fn try_next_u64(&mut self) -> Result<u64, Infallible> {
            Ok(u64::from_ne_bytes([self.0; 8]))
        }
        fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
            bytes.fill(self.0);
            Ok(())
        }
    }
    impl TryCryptoRng for Stuck {}

    /// A source that fails after `left` calls.
    struct Failing {
        left: u8,
    }

    impl rand_core::TryRng for Failing {
        type Error = std::io::Error;
        fn try_next_u32(&mut self) -> Result<u32, Self::Error> {
            Err(std::io::Error::other("no entropy"))
        }
        fn try_next_u64(&mut self) -> Result<u64, Self::Error> {
            Err(std::io::Error::other("no entropy"))
        }
        fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Self::Error> {
            self.left = self
                .left
                .checked_sub(1)
                .ok_or_else(|| std::io::Error::other("no entropy"))?;
            bytes.fill(self.left);
            Ok(())
        }
    }
    impl TryCryptoRng for Failing {}

    #[test]
    fn tb18_a_failing_random_source_makes_no_key() {
        for algorithm in [Algorithm::Esp256, Algorithm::Ed25519] {
            for left in [0, 1] {
                let error = FileKey::generate(algorithm, &mut Failing { left }).unwrap_err();
                assert_eq!(error.kind(), ErrorKind::Random);
                assert!(error.to_string().contains("no entropy"), "{error}");
            }
        }
    }

    #[test]
    fn tb18_a_stuck_random_source_makes_no_key() {
        for byte in [0x00, 0x5a, 0xff] {
            let error = FileKey::generate(Algorithm::Esp256, &mut Stuck(byte)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Random);
        }
    }

    #[test]
    fn tb18_a_failing_random_source_encrypts_no_key() {
        let key = FileKey::generate(Algorithm::Esp256, &mut SystemRandom).unwrap();
        let secret = Secret::new("passphrase".to_owned());
        let error = pem::encode(&key, Some(&secret), &mut Failing { left: 0 }).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Random);
    }

    fn unhex(text: &str) -> Vec<u8> {
        hex::decode(text).unwrap()
    }

    #[test]
    fn tb19_p256_signatures_are_those_of_rfc_6979() {
        // RFC 6979 A.2.5, SHA-256.
        let x = unhex("c9afa9d845ba75166b5c215767b1d6934e50c3db36e89b127b8a622b120f6721");
        let key = FileKey::from_seed(Algorithm::Esp256, &x.try_into().unwrap()).unwrap();
        for (message, signature) in [
            (
                "sample",
                "efd48b2aacb6a8fd1140dd9cd45e81d69d2c877b56aaf991c34d0ea84eaf3716\
                 f7cb1c942d657c41d436c7a1b6e29f65f3e900dbb9aff4064dc4ab2f843acda8",
            ),
            (
                "test",
                "f1abb023518351cd71d881567b1ea663ed3efcf6c5132b354f28d3b0b7d38367\
                 019f4113742a2b14bd25926b49c649155f267e60d3814b4c0cc84250e46f0083",
            ),
        ] {
            assert_eq!(
                key.sign_unchecked(message.as_bytes()).unwrap().to_vec(),
                unhex(signature)
            );
        }
        // The first has a high s: what leaves the process has the low one, n - s.
        let signed = SigningKey::from(key).sign(b"sample").unwrap();
        assert_eq!(
            signed.as_bytes()[32..].to_vec(),
            unhex("0834e36ad29a83bf2bc9385e491d6099c8fdf9d1ed67aa7ea5f51f93782857a9")
        );
    }

    /// As many values of r as there are messages.
    fn no_nonce_is_used_twice(messages: u32) {
        let key = FileKey::generate(Algorithm::Esp256, &mut SystemRandom).unwrap();
        let mut seen = std::collections::HashSet::new();
        for message in 0..messages {
            let signature = key.sign_unchecked(&message.to_be_bytes()).unwrap();
            let r: [u8; 32] = signature[..32].try_into().unwrap();
            assert!(seen.insert(r), "{message}");
        }
    }

    #[test]
    fn tb19_no_nonce_is_used_twice() {
        no_nonce_is_used_twice(20_000);
    }

    #[test]
    #[ignore = "takes half a minute: cargo test -p countersign-backend-file -- --ignored"]
    fn tb19_no_nonce_is_used_twice_in_a_hundred_thousand() {
        no_nonce_is_used_twice(100_000);
    }

    #[test]
    fn ed25519_signatures_are_those_of_rfc_8032() {
        // RFC 8032 §7.1, test 3.
        let seed = unhex("c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7");
        let key = FileKey::from_seed(Algorithm::Ed25519, &seed.try_into().unwrap()).unwrap();
        assert_eq!(
            key.public_key().to_raw_bytes(),
            unhex("fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025")
        );
        assert_eq!(
            SigningKey::from(key)
                .sign(&[0xaf, 0x82])
                .unwrap()
                .as_bytes()
                .to_vec(),
            unhex(
                "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac\
                 18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a"
            )
        );
    }

    #[test]
    fn debug_shows_no_secret() {
        for algorithm in [Algorithm::Esp256, Algorithm::Ed25519] {
            let seed = *b"0123456789abcdefghijklmnopqrstuv";
            let key = FileKey::from_seed(algorithm, &seed).unwrap();
            let fingerprint = key.public_key().spki_sha256().to_string();
            for shown in [
                format!("{key:?}"),
                format!("{key:#?}"),
                format!("{:?}", SigningKey::from(key)),
            ] {
                assert!(shown.contains(&fingerprint));
                for secret in [
                    hex::encode(seed),
                    format!("{seed:?}"),
                    hex::encode_upper(seed),
                ] {
                    assert!(!shown.contains(&secret));
                    assert!(!shown.contains(&secret[1..17]));
                }
            }
        }
    }

    #[test]
    fn keys_out_of_range_are_refused() {
        assert!(FileKey::from_seed(Algorithm::Esp256, &[0; 32]).is_err());
        assert!(FileKey::from_seed(Algorithm::Esp256, &[0xff; 32]).is_err());
        assert!(FileKey::from_seed(Algorithm::Ed25519, &[0; 32]).is_err());
    }
}
