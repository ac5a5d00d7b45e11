//! P-256 signatures by ring, for an authority that signs thousands of certificates a second: on one core three times as many
//! as the implementation behind key files. Ed25519 keys, and keys in hardware, go the usual way.

use countersign_backend_file::FileKey;
use countersign_keys::{Algorithm, Error as KeyError, ErrorKind, PublicKey, Signer, SigningKey};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};

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

    use super::*;

    #[test]
    fn tb19_a_quick_key_is_the_same_key_and_uses_no_nonce_twice() {
        for algorithm in [Algorithm::Esp256, Algorithm::Ed25519] {
            let key = FileKey::generate(algorithm, &mut SystemRandom).expect("a key");
            let public = key.public_key().clone();
            let quick = quick_key(key).expect("taken");
            assert_eq!(quick.public_key(), &public);
            let mut seen = std::collections::BTreeSet::new();
            for number in 0_u32..1000 {
                let message = (number / 2).to_be_bytes();
                let signature = quick.sign(&message).expect("signed");
                public.verify(&message, signature.as_bytes()).expect("good");
                if algorithm == Algorithm::Esp256 {
                    assert!(seen.insert(signature.as_bytes()[..32].to_vec()));
                }
            }
        }
    }
}
