//! The seal on what is remembered: HMAC-SHA256 (RFC 2104) under a key that this folder alone has.
//!
//! It shows that the bytes are some that this gateway wrote; that they are the newest it cannot show.

use anyhow::{Context as _, bail};
use ring::hmac;

use super::memory::Memory;

/// What the file begins with: its kind and its form.
const HEAD: &[u8] = b"countersign-gateway memory 1\n";

/// SHA-256's length, in bytes.
const MAC: usize = 32;

/// A new key, for [`Seal::new`].
///
/// # Errors
/// If the system gives no random numbers.
pub(super) fn new_key() -> Result<Vec<u8>, getrandom::Error> {
    let mut key = vec![0; MAC];
    getrandom::fill(&mut key)?;
    Ok(key)
}

pub(super) struct Seal(hmac::Key);

impl Seal {
    pub(super) fn new(key: &[u8]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, key))
    }

    /// Head, seal, memory as JSON.
    pub(super) fn seal(&self, memory: &Memory) -> anyhow::Result<Vec<u8>> {
        let body = serde_json::to_vec(memory).context("a memory that cannot be written")?;
        let mut file = HEAD.to_vec();
        file.extend_from_slice(self.mac(&body).as_ref());
        file.extend_from_slice(&body);
        Ok(file)
    }

    pub(super) fn open(&self, file: &[u8]) -> anyhow::Result<Memory> {
        let Some((mac, body)) = file
            .strip_prefix(HEAD)
            .and_then(|rest| rest.split_at_checked(MAC))
        else {
            bail!("it is no memory of a gateway, or one of another version");
        };
        let sealed = [HEAD, body].concat();
        if hmac::verify(&self.0, &sealed, mac).is_err() {
            bail!("it was changed, or another gateway wrote it");
        }
        serde_json::from_slice(body).context("its form is not one that this program writes")
    }

    fn mac(&self, body: &[u8]) -> hmac::Tag {
        hmac::sign(&self.0, &[HEAD, body].concat())
    }
}
