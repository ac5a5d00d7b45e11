//! A table's master key, and the 1,000 keys that come from it.

use std::fmt;

use rand_core::TryCryptoRng;
use ring::hkdf::{self, HKDF_SHA256, KeyType, Salt};
use zeroize::Zeroizing;

use crate::{Error, random};

/// How many keys a table has.
pub const KEYS_OF_A_TABLE: u16 = 1000;

/// What separates these keys from any others that come from the same master key. It is the end of HKDF's `info`.
const CONTEXT: &[u8] = b"Birthmark";

/// The number of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TableId(u16);

impl TableId {
    /// The table of this number.
    #[must_use]
    pub const fn new(number: u16) -> Self {
        Self(number)
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> u16 {
        self.0
    }
}

impl fmt::Display for TableId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The number of a key in its table, 0 to 999.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyIndex(u16);

impl KeyIndex {
    /// The first.
    pub(crate) const ZERO: Self = Self(0);

    /// The key of this number.
    ///
    /// # Errors
    /// [`Error::KeyIndex`] above 999.
    pub fn new(index: u32) -> Result<Self, Error> {
        match u16::try_from(index) {
            Ok(number) if number < KEYS_OF_A_TABLE => Ok(Self(number)),
            _ => Err(Error::KeyIndex { index }),
        }
    }

    /// One of the 1,000, each with the same chance.
    ///
    /// # Errors
    /// [`Error::Random`].
    pub fn draw(random: &mut impl TryCryptoRng) -> Result<Self, Error> {
        random::below(KEYS_OF_A_TABLE, random).map(Self)
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> u16 {
        self.0
    }
}

/// The 32 bytes that a table's keys come from. Overwritten when dropped; `Debug` does not show them.
#[derive(Clone)]
pub struct MasterKey(Zeroizing<[u8; 32]>);

impl MasterKey {
    /// The key of these bytes.
    ///
    /// # Errors
    /// [`Error::KeyLength`] unless they are 32.
    pub fn new(bytes: &[u8]) -> Result<Self, Error> {
        take(bytes).map(Self)
    }

    /// A new one.
    ///
    /// # Errors
    /// [`Error::Random`].
    pub fn generate(random: &mut impl TryCryptoRng) -> Result<Self, Error> {
        random::key(random).map(Self)
    }

    /// The bytes, for the one device that is given this table.
    #[must_use]
    pub fn expose(&self) -> &[u8; 32] {
        &self.0
    }

    /// The key of this number: HKDF-SHA256 (RFC 5869) without a salt, which stands for 32 zero bytes; the input keying
    /// material is the master key; the info is the number in 4 bytes, big-endian, and `Birthmark`.
    ///
    /// # Errors
    /// [`Error::Cipher`], which no input brings about.
    pub fn derive(&self, index: KeyIndex) -> Result<TableKey, Error> {
        let number = u32::from(index.0).to_be_bytes();
        let mut key = Zeroizing::new([0; 32]);
        Salt::new(HKDF_SHA256, &[])
            .extract(self.0.as_slice())
            .expand(&[&number, CONTEXT], Length)
            .and_then(|okm: hkdf::Okm<'_, Length>| okm.fill(key.as_mut_slice()))
            .map_err(|_| Error::Cipher)?;
        Ok(TableKey(key))
    }
}

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MasterKey(..)")
    }
}

/// One of a table's keys, for AES-256-GCM. Overwritten when dropped; `Debug` does not show it.
pub struct TableKey(Zeroizing<[u8; 32]>);

impl TableKey {
    /// The bytes, for other implementations to compare with.
    #[must_use]
    pub fn expose(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for TableKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TableKey(..)")
    }
}

/// 32 bytes are taken from HKDF.
struct Length;

impl KeyType for Length {
    fn len(&self) -> usize {
        32
    }
}

/// A copy of 32 bytes that is overwritten when dropped.
pub(crate) fn take(bytes: &[u8]) -> Result<Zeroizing<[u8; 32]>, Error> {
    let wrong = |_| Error::KeyLength {
        length: bytes.len(),
    };
    Ok(Zeroizing::new(<[u8; 32]>::try_from(bytes).map_err(wrong)?))
}
