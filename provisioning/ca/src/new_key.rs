//! The key of a new authority: a file in its folder, or a key in a store of its own, such as a token or a TPM.

use anyhow::Context as _;
use countersign_backend_file::FileKey;
use countersign_backend_file::rand_core::TryCryptoRng;
use countersign_keys::{
    Algorithm, ErrorKind, KeyProvider, KeyTemplate, KeyUri, Secret, SigningKey,
};

use crate::arguments::NewKeyArguments;
use crate::passphrase;

/// What key an authority shall have. Its secrets are known and its store was reached, so that what can fail has failed
/// before anything is made.
pub(crate) enum KeyPlan {
    /// A new key in the authority's folder, encrypted if there is a passphrase.
    InFolder {
        algorithm: Algorithm,
        secret: Option<Secret>,
    },
    /// A key in a store: one that is there, or else a new one.
    InStore {
        uri: KeyUri,
        store: Box<dyn KeyProvider>,
        algorithm: Algorithm,
        found: Option<SigningKey>,
    },
}

/// A key that was made or found.
pub(crate) enum NewKey {
    InFolder {
        key: FileKey,
        secret: Option<Secret>,
    },
    InStore {
        uri: KeyUri,
        key: SigningKey,
    },
}

impl KeyPlan {
    /// What the arguments ask for.
    pub(crate) fn new(
        arguments: &NewKeyArguments,
        passphrase: &passphrase::Source,
    ) -> anyhow::Result<Self> {
        let algorithm = arguments.algorithm.into();
        let Some(uri) = &arguments.key else {
            return Ok(Self::InFolder {
                algorithm,
                secret: passphrase.for_new_key(arguments.unencrypted)?,
            });
        };
        // Written down, and used from other folders.
        let uri = match uri {
            KeyUri::File(path) => KeyUri::File(
                std::path::absolute(path)
                    .with_context(|| format!("{} has no whole path", path.display()))?,
            ),
            other => other.clone(),
        };
        let store = passphrase.stores().of_key(&uri)?;
        let found = match store.open(&uri) {
            Ok(key) => Some(key),
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => return Err(error.into()),
        };
        if let Some(key) = &found {
            anyhow::ensure!(
                key.algorithm() == algorithm,
                "the key {uri} is for {}: say so with --algorithm, or name another key",
                key.algorithm().name()
            );
        }
        Ok(Self::InStore {
            uri,
            store,
            algorithm,
            found,
        })
    }

    /// Makes the key, unless it is there.
    pub(crate) fn make(self, rng: &mut impl TryCryptoRng) -> anyhow::Result<NewKey> {
        match self {
            Self::InFolder { algorithm, secret } => Ok(NewKey::InFolder {
                key: FileKey::generate(algorithm, rng)?,
                secret,
            }),
            Self::InStore {
                uri,
                store,
                algorithm,
                found,
            } => {
                let key = match found {
                    Some(key) => key,
                    None => {
                        store.generate(&uri, &KeyTemplate::signing(algorithm))?;
                        store.open(&uri)?
                    }
                };
                Ok(NewKey::InStore { uri, key })
            }
        }
    }

    /// What must be said of keys that lie about: nothing, unless a file is not encrypted.
    pub(crate) fn is_unencrypted(&self) -> bool {
        matches!(self, Self::InFolder { secret: None, .. })
    }

    /// For the report: whether the file is encrypted; nothing where there is none.
    pub(crate) fn encrypted(&self) -> Option<bool> {
        match self {
            Self::InFolder { secret, .. } => Some(secret.is_some()),
            Self::InStore { .. } => None,
        }
    }
}
