//! A token's secret: 32 random bytes, written once where it is made, kept as a hash.
//!
//! The hash is plain SHA-256: nobody guesses 256 random bits, however fast the hash.

use base64ct::{Base64UrlUnpadded, Encoding as _};
use countersign_format::Digest;
use countersign_keys::Error as KeyError;
use zeroize::Zeroizing;

/// How a token begins, so that whoever scans for leaked secrets finds it.
const PREFIX: &str = "cst1_";

/// Bytes of a secret.
const SECRET_BYTES: usize = 32;

/// The longest text that is hashed as a token.
const MAX_CHARACTERS: usize = 64;

/// A new token: what its holder is given, and what is kept of it.
pub struct NewToken {
    /// For its holder; it is not kept.
    pub text: Zeroizing<String>,
    /// For the registry.
    pub hash: TokenHash,
}

/// What is kept of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TokenHash(pub [u8; 32]);

impl TokenHash {
    /// Its first 8 bytes in hexadecimal: enough to tell tokens apart in a log, and of no use to anybody.
    #[must_use]
    pub fn short(&self) -> String {
        self.0
            .iter()
            .take(8)
            .map(|byte| format!("{byte:02x}"))
            .collect()
    }
}

/// Makes a token.
///
/// # Errors
/// When the system has no randomness.
pub fn generate() -> Result<NewToken, KeyError> {
    let mut secret = Zeroizing::new([0_u8; SECRET_BYTES]);
    getrandom::fill(secret.as_mut()).map_err(|error| {
        KeyError::new(
            countersign_keys::ErrorKind::Random,
            format!("the system gives no random numbers: {error}"),
        )
    })?;
    let text = Zeroizing::new(format!(
        "{PREFIX}{}",
        Base64UrlUnpadded::encode_string(secret.as_ref())
    ));
    let hash = hash(&text).unwrap_or(TokenHash([0; 32]));
    Ok(NewToken { text, hash })
}

/// The hash of what somebody presented, if it has the form of a token.
#[must_use]
pub fn hash(text: &str) -> Option<TokenHash> {
    let secret = text.strip_prefix(PREFIX)?;
    if text.len() > MAX_CHARACTERS {
        return None;
    }
    let mut bytes = Zeroizing::new([0_u8; SECRET_BYTES]);
    let decoded = Base64UrlUnpadded::decode(secret, bytes.as_mut()).ok()?;
    (decoded.len() == SECRET_BYTES).then(|| TokenHash(*Digest::of(text.as_bytes()).as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tg01_only_what_was_made_here_has_the_form_of_a_token() {
        let token = generate().expect("randomness");
        assert_eq!(hash(&token.text), Some(token.hash));
        let other = generate().expect("randomness");
        assert_ne!(token.hash, other.hash);
        for bad in [
            "",
            "cst1_",
            "cst1_AAAA",
            "Bearer",
            &token.text[1..],
            &format!("{}A", *token.text),
        ] {
            assert_eq!(hash(bad), None, "{bad:?}");
        }
    }
}
