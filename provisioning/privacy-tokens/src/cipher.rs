//! AES-256-GCM over one block of 32 bytes (NIST SP 800-38D).

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use subtle::Choice;

use crate::Error;

/// Bytes of a tag.
pub(crate) const TAG: usize = 16;

/// Encrypts the block where it stands and returns the tag.
pub(crate) fn seal(
    key: &[u8; 32],
    nonce: [u8; 12],
    associated: &[u8],
    block: &mut [u8; 32],
) -> Result<[u8; TAG], Error> {
    let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key).map_err(|_| Error::Cipher)?);
    let tag = key
        .seal_in_place_separate_tag(
            Nonce::assume_unique_for_key(nonce),
            Aad::from(associated),
            block,
        )
        .map_err(|_| Error::Cipher)?;
    <[u8; TAG]>::try_from(tag.as_ref()).map_err(|_| Error::Cipher)
}

/// Decrypts the block where it stands, and says whether the tag is its. If it is not, the block's content means nothing.
pub(crate) fn open(
    key: &[u8; 32],
    nonce: [u8; 12],
    associated: &[u8],
    block: &mut [u8; 32],
    tag: &[u8; TAG],
) -> Choice {
    let Ok(key) = UnboundKey::new(&AES_256_GCM, key) else {
        return Choice::from(0);
    };
    // ring compares tags in constant time.
    let opened = LessSafeKey::new(key).open_in_place_separate_tag(
        Nonce::assume_unique_for_key(nonce),
        Aad::from(associated),
        ring::aead::Tag::from(*tag),
        block,
        0..,
    );
    Choice::from(u8::from(opened.is_ok()))
}
