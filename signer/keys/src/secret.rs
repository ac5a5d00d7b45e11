//! A passphrase or PIN on its way from a person to a key store.

use std::fmt;
use zeroize::Zeroizing;

/// Secret bytes, overwritten when dropped and never shown by `Debug`.
///
/// ```
/// use countersign_keys::Secret;
///
/// let secret = Secret::new("correct horse".to_owned());
/// assert_eq!(secret.expose(), b"correct horse");
/// assert!(!format!("{secret:?}").contains("horse"));
/// ```
pub struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    /// Takes the bytes over; the given buffer becomes the secret's own, so no copy stays behind.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Self {
        Self(Zeroizing::new(bytes.into()))
    }

    /// The bytes, for the one call that needs them.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// Whether there is nothing in it. An empty passphrase protects nothing and is refused where one is set.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not even the length: it narrows a search.
        f.write_str("Secret(..)")
    }
}

impl Clone for Secret {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}
