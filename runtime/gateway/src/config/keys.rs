//! The device's keys, as the configuration names them, and what a service may do with them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use countersign_format::Digest;
use countersign_hosting::lending::{KeySource, SecretSource};
use countersign_keys::KeyUri;
use countersign_runtime::host::KeyCeiling;
use toml::Spanned;

use super::file::{KeyGrantPart, KeyPart, Purpose};
use super::text::Wrong;

/// Most keys of one device.
const MAX_KEYS: usize = 64;

/// The longest name of a key, in characters, as in a component's statement.
const MAX_NAME: usize = 64;

/// Registers of a TPM: 0 to 23.
const MAX_REGISTER: u8 = 23;

/// A key of this device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Key {
    pub(crate) source: KeySource,
    pub(crate) purpose: Purpose,
    /// The registers that a TPM's attestation key quotes.
    pub(crate) registers: Vec<u8>,
}

impl Key {
    /// The files that are read for it. What a PKCS#11 module reads is known to it alone.
    pub(crate) fn files(&self) -> Vec<PathBuf> {
        let mut files = vec![self.source.chain.clone()];
        if let SecretSource::File(path) = &self.source.secret {
            files.push(path.clone());
        }
        match &self.source.uri {
            KeyUri::File(path) => files.push(path.clone()),
            KeyUri::Exec(_) => files.extend(self.source.programs()),
            _ => {}
        }
        files
    }
}

/// What a service may do with a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct KeyGrant {
    pub(crate) key: Key,
    /// SHA-256 of the certificates with which it is lent; known once it is.
    pub(crate) certificates: Option<Digest>,
    contexts: Option<Vec<String>>,
    per_minute: Option<u32>,
}

impl KeyGrant {
    pub(crate) fn name(&self) -> &str {
        &self.key.source.name
    }

    /// In the runtime's terms.
    pub(super) fn bounds(&self) -> KeyCeiling {
        let mut bounds = KeyCeiling::default();
        if let Some(rate) = self.per_minute {
            bounds = bounds.per_minute(rate);
        }
        if let Some(contexts) = &self.contexts {
            bounds = bounds.contexts(contexts.iter().cloned());
        }
        bounds
    }
}

/// The keys, by their names.
pub(super) fn keys(parts: Vec<KeyPart>, folder: &Path) -> Result<BTreeMap<String, Key>, Wrong> {
    if parts.len() > MAX_KEYS {
        return Err(Wrong {
            place: None,
            message: format!("it has more than {MAX_KEYS} keys"),
        });
    }
    let mut keys = BTreeMap::new();
    for part in parts {
        let span = part.name.span();
        let key = key(part, folder)?;
        let name = key.source.name.clone();
        let attests = |key: &Key| key.purpose == Purpose::Attestation;
        if attests(&key) && keys.values().any(attests) {
            let message = "two keys attest; a device answers with one".to_owned();
            return Err(Wrong::at(span, message));
        }
        if keys.insert(name.clone(), key).is_some() {
            return Err(Wrong::at(span, format!("two keys are called {name:?}")));
        }
    }
    Ok(keys)
}

fn key(part: KeyPart, folder: &Path) -> Result<Key, Wrong> {
    let (span, name) = (part.name.span(), part.name.into_inner());
    let plain = |c: char| c.is_ascii_alphanumeric() || "._:+/-".contains(c);
    if name.is_empty() || name.len() > MAX_NAME || !name.chars().all(plain) {
        return Err(Wrong::at(
            span,
            format!("{name:?} is no key's name: use 1 to {MAX_NAME} of A-Z a-z 0-9 . _ : + / -"),
        ));
    }
    let uri = match part.uri.get_ref().parse() {
        // Relative to the configuration, as every path in it.
        Ok(KeyUri::File(path)) => KeyUri::File(folder.join(path)),
        Ok(uri) => uri,
        Err(error) => return Err(Wrong::at(part.uri.span(), format!("uri: {error}"))),
    };
    let registers = part.registers.get_ref();
    if registers.iter().any(|register| *register > MAX_REGISTER) {
        let message = format!("a TPM has the registers 0 to {MAX_REGISTER}");
        return Err(Wrong::at(part.registers.span(), message));
    }
    if !registers.is_empty() && part.purpose != Purpose::Attestation {
        let message = "registers are for a key whose purpose is attestation".to_owned();
        return Err(Wrong::at(part.registers.span(), message));
    }
    Ok(Key {
        source: KeySource {
            chain: folder.join(part.chain),
            secret: match part.secret {
                Some(file) => SecretSource::File(folder.join(file)),
                None => SecretSource::Unnamed {
                    how: format!("secret = \"FILE\" in the [[key]] {name}"),
                },
            },
            name,
            uri,
        },
        purpose: part.purpose,
        registers: part.registers.into_inner(),
    })
}

/// What a service may do with which of the keys.
pub(super) fn grants(
    parts: Vec<Spanned<KeyGrantPart>>,
    keys: &BTreeMap<String, Key>,
) -> Result<Vec<KeyGrant>, Wrong> {
    let mut grants: Vec<KeyGrant> = Vec::with_capacity(parts.len());
    for entry in parts {
        let span = entry.span();
        let part = entry.into_inner();
        let name = &part.name;
        let Some(key) = keys.get(name) else {
            let message = format!("there is no [[key]] called {name:?}");
            return Err(Wrong::at(span, message));
        };
        if key.purpose == Purpose::Tls {
            let message = format!("the key {name:?} is for TLS, and is not lent to components");
            return Err(Wrong::at(span, message));
        }
        if grants.iter().any(|grant| grant.name() == name) {
            return Err(Wrong::at(span, format!("the key {name:?} is given twice")));
        }
        grants.push(KeyGrant {
            key: key.clone(),
            certificates: None,
            contexts: part.contexts,
            per_minute: part.per_minute,
        });
    }
    Ok(grants)
}
