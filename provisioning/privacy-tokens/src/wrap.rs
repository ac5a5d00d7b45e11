//! Master keys at rest: encrypted under a key that is kept elsewhere.

use std::fmt;

use rand_core::TryCryptoRng;
use zeroize::Zeroizing;

use crate::{Error, MasterKey, TableId, cipher, key, random};

/// The first byte of what is kept.
const VERSION: u8 = 1;

/// What the tag covers before the table.
const LABEL: &[u8; 28] = b"countersign/wrapped-table/v1";

/// Version, nonce, master key, tag.
const BYTES: usize = 61;

/// The key that master keys are encrypted under: 32 bytes from where the operator keeps it, which is not where the tables
/// are. Overwritten when dropped; `Debug` does not show it.
pub struct KeyEncryptionKey(Zeroizing<[u8; 32]>);

impl KeyEncryptionKey {
    /// The key of these bytes.
    ///
    /// # Errors
    /// [`Error::KeyLength`] unless they are 32.
    pub fn new(bytes: &[u8]) -> Result<Self, Error> {
        key::take(bytes).map(Self)
    }
}

impl fmt::Debug for KeyEncryptionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyEncryptionKey(..)")
    }
}

/// A table as it is kept: its number, and its master key encrypted.
///
/// ```text
/// 1 byte    version, 1
/// 12 bytes  nonce
/// 32 bytes  the master key, encrypted with AES-256-GCM
/// 16 bytes  tag, over "countersign/wrapped-table/v1", a zero byte and the table's number in 2 bytes, too
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct WrappedTable {
    id: TableId,
    bytes: [u8; BYTES],
}

impl WrappedTable {
    /// A new table with a new master key.
    ///
    /// # Errors
    /// [`Error::Random`]; [`Error::Cipher`].
    pub fn generate(
        id: TableId,
        kek: &KeyEncryptionKey,
        random: &mut impl TryCryptoRng,
    ) -> Result<Self, Error> {
        Self::wrap(id, &MasterKey::generate(random)?, kek, random)
    }

    /// A table whose master key exists.
    ///
    /// # Errors
    /// [`Error::Random`]; [`Error::Cipher`].
    pub fn wrap(
        id: TableId,
        master: &MasterKey,
        kek: &KeyEncryptionKey,
        random: &mut impl TryCryptoRng,
    ) -> Result<Self, Error> {
        let nonce = random::nonce(random)?;
        let mut block = *master.expose();
        let tag = cipher::seal(&kek.0, nonce, &associated(id), &mut block)?;
        let mut bytes = [0; BYTES];
        let parts = [VERSION].into_iter().chain(nonce).chain(block).chain(tag);
        for (place, byte) in bytes.iter_mut().zip(parts) {
            *place = byte;
        }
        Ok(Self { id, bytes })
    }

    /// A table as it was kept.
    ///
    /// # Errors
    /// [`Error::MalformedWrapping`] for another length or version.
    pub fn from_bytes(id: TableId, bytes: &[u8]) -> Result<Self, Error> {
        match <[u8; BYTES]>::try_from(bytes) {
            Ok(bytes) if bytes.first() == Some(&VERSION) => Ok(Self { id, bytes }),
            _ => Err(Error::MalformedWrapping { table: id }),
        }
    }

    /// The same master key under another key: for when the old one is replaced.
    ///
    /// # Errors
    /// [`Error::Unwrap`] if `from` is not the key that it lies under; [`Error::Random`].
    pub fn rewrap(
        &self,
        from: &KeyEncryptionKey,
        to: &KeyEncryptionKey,
        random: &mut impl TryCryptoRng,
    ) -> Result<Self, Error> {
        Self::wrap(self.id, &self.unwrap(from)?, to, random)
    }

    /// Which table it is.
    #[must_use]
    pub fn id(&self) -> TableId {
        self.id
    }

    /// What is to be kept beside the number.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The master key.
    pub(crate) fn unwrap(&self, kek: &KeyEncryptionKey) -> Result<MasterKey, Error> {
        let malformed = Error::MalformedWrapping { table: self.id };
        let parts = self.bytes.split_first().and_then(|(_, rest)| {
            let (nonce, rest) = rest.split_first_chunk()?;
            let (block, tag) = rest.split_first_chunk()?;
            Some((*nonce, *block, *tag.first_chunk()?))
        });
        let Some((nonce, block, tag)) = parts else {
            return Err(malformed);
        };
        let mut block = Zeroizing::new(block);
        let opened = cipher::open(&kek.0, nonce, &associated(self.id), &mut block, &tag);
        if !bool::from(opened) {
            return Err(Error::Unwrap { table: self.id });
        }
        MasterKey::new(block.as_slice())
    }
}

impl fmt::Debug for WrappedTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WrappedTable({}, ..)", self.id)
    }
}

/// The label, a zero byte, the table.
fn associated(id: TableId) -> [u8; 31] {
    let mut bytes = [0; 31];
    let parts = LABEL
        .iter()
        .copied()
        .chain([0])
        .chain(id.get().to_be_bytes());
    for (place, byte) in bytes.iter_mut().zip(parts) {
        *place = byte;
    }
    bytes
}
