//! Every store of keys that this build has, behind key URIs.
//!
//! Decided here: which store a URI names, what is said where this build has none, and which of its secrets is asked for.
//! A store that is missing is an error that says so; nothing is ever done in another one instead.
//!
//! Left to others: each store's own rules (its back end), where passphrases and PINs come from (whoever makes
//! [`Stores`]), and whether a key is trusted.
//!
//! Files, PKCS#11 modules, ATECC608 chips and programs of one's own ([`exec`]) are in every build. TPMs are there with the
//! feature `tpm`, which links a library of the system.
//!
//! ```
//! use countersign_keys::{Algorithm, KeyTemplate, KeyUri};
//! use countersign_stores::Stores;
//!
//! let folder = tempfile::tempdir()?;
//! let uri: KeyUri = format!("file:{}/signing.pem", folder.path().display()).parse()?;
//!
//! let stores = Stores::without_secrets();
//! stores.of_key(&uri)?.generate(&uri, &KeyTemplate::signing(Algorithm::Esp256))?;
//! let signature = stores.open(&uri)?.sign(b"message")?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![forbid(unsafe_code)]
#![deny(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::as_conversions
)]

mod counter;
mod detect;
pub mod exec;
mod programs;
mod tpm;
mod uri;

/// Chips as their files describe them: configuring and locking, which no other store has.
pub use countersign_backend_atecc608 as atecc608;
pub use countersign_backend_pkcs11::Tries;
pub use detect::{Kind, detect};
pub use programs::programs_of;
pub use uri::StoreUri;

use countersign_backend_file::{FileProvider, PassphraseFor};
use countersign_backend_pkcs11::Pkcs11Provider;
use countersign_keys::{
    CounterUri, Error, KeyProvider, KeyUri, MonotonicCounter, Pkcs11Token, Secret, SigningKey,
};
use exec::ExecProvider;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

/// Which secret is asked for.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum SecretFor<'a> {
    /// The passphrase of a key that lies encrypted in this file.
    File(&'a Path),
    /// The passphrase of a new key, which is about to be written to this file. `None` writes it unencrypted.
    NewFile(&'a Path),
    /// The PIN of the token with this label.
    Pin {
        /// The token's label.
        token: &'a str,
        /// How many wrong PINs it still takes. What no person has just typed must not be given unless
        /// [`Tries::allow_stored`] says so.
        tries: Tries,
    },
}

type Ask = dyn Fn(SecretFor<'_>) -> Result<Option<Secret>, Error> + Send + Sync;

/// The stores, and whoever is asked for their secrets.
#[derive(Clone)]
pub struct Stores {
    ask: Arc<Ask>,
}

impl Stores {
    /// The stores, whose secrets come from `ask`: only what turns out to be needed is asked for. `None` means that nobody
    /// knows it.
    #[must_use]
    pub fn new(
        ask: impl Fn(SecretFor<'_>) -> Result<Option<Secret>, Error> + Send + Sync + 'static,
    ) -> Self {
        Self { ask: Arc::new(ask) }
    }

    /// The stores without anybody to ask: key files that are not encrypted, tokens whose PIN lies in the file that the
    /// URI names.
    #[must_use]
    pub fn without_secrets() -> Self {
        Self::new(|_| Ok(None))
    }

    /// Opens a key for signing.
    ///
    /// # Errors
    /// As [`Self::of_key`] and [`KeyProvider::open`].
    pub fn open(&self, key: &KeyUri) -> Result<SigningKey, Error> {
        self.of_key(key)?.open(key)
    }

    /// The store that a key is in.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`](countersign_keys::ErrorKind::Unsupported) if this build has no such store;
    /// [`ErrorKind::NotFound`](countersign_keys::ErrorKind::NotFound) if the machine has no such device; else what the
    /// store reports.
    pub fn of_key(&self, key: &KeyUri) -> Result<Box<dyn KeyProvider>, Error> {
        match key {
            KeyUri::File(_) => Ok(Box::new(self.files())),
            KeyUri::Pkcs11(key) => self.token(&key.token()),
            KeyUri::Atecc608(key) => atecc608(key.bus(), key.address()),
            KeyUri::Tpm(key) => tpm::store(key.tcti()),
            KeyUri::Exec(command) => Ok(Box::new(ExecProvider::new(command))),
            other => Err(Error::new(
                countersign_keys::ErrorKind::Unsupported,
                format!(
                    "this build has no store for {}: keys; use another build, or another store",
                    other.scheme()
                ),
            )),
        }
    }

    /// The store of this name, for what concerns all its keys.
    ///
    /// # Errors
    /// As [`Self::of_key`].
    pub fn of_name(&self, store: &StoreUri) -> Result<Box<dyn KeyProvider>, Error> {
        match store {
            StoreUri::Files(folder) => Ok(Box::new(self.files().in_folder(folder))),
            StoreUri::Token(token) => self.token(token),
            StoreUri::Atecc608 { bus, address } => atecc608(bus, *address),
            StoreUri::Tpm(tcti) => tpm::store(tcti.as_ref()),
        }
    }

    /// A counter in hardware, which is looked for when it is used.
    ///
    /// # Errors
    /// As [`Self::of_key`].
    pub fn counter(&self, counter: &CounterUri) -> Result<Box<dyn MonotonicCounter>, Error> {
        counter::open(counter)
    }

    /// Makes a counter where there is none, and opens it. Those of an ATECC608 are there from the beginning.
    ///
    /// # Errors
    /// As [`Self::of_key`], and if there is no room for it.
    pub fn new_counter(&self, counter: &CounterUri) -> Result<Box<dyn MonotonicCounter>, Error> {
        counter::make(counter)
    }

    fn files(&self) -> FileProvider {
        let ask = Arc::clone(&self.ask);
        FileProvider::new(move |wanted| {
            ask(match wanted {
                PassphraseFor::New(path) => SecretFor::NewFile(path),
                PassphraseFor::Existing(path) => SecretFor::File(path),
                // A key is made or opened; there is no third.
                _ => return Ok(None),
            })
        })
    }

    fn token(&self, token: &Pkcs11Token) -> Result<Box<dyn KeyProvider>, Error> {
        let ask = Arc::clone(&self.ask);
        let store = Pkcs11Provider::new(token, move |wanted| {
            ask(SecretFor::Pin {
                token: wanted.token,
                tries: wanted.tries,
            })
        })?;
        Ok(Box::new(store))
    }
}

impl fmt::Debug for Stores {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Stores(..)")
    }
}

#[cfg(target_os = "linux")]
fn atecc608(bus: &Path, address: u8) -> Result<Box<dyn KeyProvider>, Error> {
    use countersign_backend_atecc608::Atecc608Provider;
    Ok(Box::new(Atecc608Provider::open_bus(bus, address)?))
}

#[cfg(not(target_os = "linux"))]
fn atecc608(bus: &Path, _: u8) -> Result<Box<dyn KeyProvider>, Error> {
    Err(Error::new(
        countersign_keys::ErrorKind::Unsupported,
        format!(
            "the secure element on {} is reached through Linux's I2C, and this is another system; use it on Linux",
            bus.display()
        ),
    ))
}
