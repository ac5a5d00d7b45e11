//! A token, byte by byte.

use std::fmt;

use rand_core::TryCryptoRng;
use subtle::{Choice, ConditionallySelectable as _};
use zeroize::Zeroizing;

use crate::{Error, HardwareHash, KeyIndex, TableId, TableKey, cipher, random};

/// The first byte of a token.
const VERSION: u8 = 1;

/// What the tag covers before table and index. It ends with a zero byte, and what follows has one length.
const LABEL: &[u8; 29] = b"countersign/privacy-token/v1\0";

/// A device's hash, encrypted under one key of one of its tables.
///
/// ```text
/// 1 byte    version, 1
/// 2 bytes   table, big-endian
/// 2 bytes   index of the key, big-endian
/// 12 bytes  nonce
/// 32 bytes  the hash, encrypted
/// 16 bytes  tag
/// ```
#[derive(Clone)]
pub struct Token {
    table: TableId,
    /// As it came: whether there is such a key is no question of form, so that asking tells nothing.
    index: u16,
    nonce: [u8; 12],
    block: [u8; 32],
    tag: [u8; cipher::TAG],
}

impl Token {
    /// How many bytes a token has.
    pub const BYTES: usize = 65;

    /// Encrypts `hash` under `key`, which is the key `index` of `table`.
    ///
    /// # Errors
    /// [`Error::Random`]; [`Error::Cipher`].
    pub fn seal(
        table: TableId,
        index: KeyIndex,
        key: &TableKey,
        hash: &HardwareHash,
        random: &mut impl TryCryptoRng,
    ) -> Result<Self, Error> {
        let nonce = random::nonce(random)?;
        let mut block = *hash.expose();
        let associated = associated(table, index.get());
        let tag = cipher::seal(key.expose(), nonce, &associated, &mut block)?;
        Ok(Self {
            table,
            index: index.get(),
            nonce,
            block,
            tag,
        })
    }

    /// Reads a token.
    ///
    /// # Errors
    /// [`Error::MalformedToken`] for another length or version. Everything else is found out by validating.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Error> {
        let malformed = Error::MalformedToken {
            length: bytes.len(),
        };
        if bytes.len() != Self::BYTES {
            return Err(malformed);
        }
        let (Some((&[VERSION], rest)), Some(tag)) = (bytes.split_first_chunk(), bytes.last_chunk())
        else {
            return Err(malformed);
        };
        let parts = rest.split_first_chunk().and_then(|(table, rest)| {
            let (index, rest) = rest.split_first_chunk()?;
            let (nonce, rest) = rest.split_first_chunk()?;
            Some((*table, *index, *nonce, *rest.first_chunk()?))
        });
        let Some((table, index, nonce, block)) = parts else {
            return Err(malformed);
        };
        Ok(Self {
            table: TableId::new(u16::from_be_bytes(table)),
            index: u16::from_be_bytes(index),
            nonce,
            block,
            tag: *tag,
        })
    }

    /// The bytes of the token.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        let parts = [VERSION]
            .into_iter()
            .chain(self.table.get().to_be_bytes())
            .chain(self.index.to_be_bytes())
            .chain(self.nonce)
            .chain(self.block)
            .chain(self.tag);
        for (place, byte) in bytes.iter_mut().zip(parts) {
            *place = byte;
        }
        bytes
    }

    /// Which table it says it is of.
    pub(crate) fn table(&self) -> TableId {
        self.table
    }

    /// Which key it says it is under, and whether there is one of that number; if there is none, another stands in for it.
    pub(crate) fn index(&self) -> (KeyIndex, Choice) {
        match KeyIndex::new(u32::from(self.index)) {
            Ok(index) => (index, Choice::from(1)),
            Err(_) => (KeyIndex::ZERO, Choice::from(0)),
        }
    }

    /// What was encrypted if the token is one of `key`, and `otherwise` if it is not.
    pub(crate) fn open(&self, key: &TableKey, otherwise: &HardwareHash) -> (HardwareHash, Choice) {
        let mut block = Zeroizing::new(self.block);
        let associated = associated(self.table, self.index);
        let opened = cipher::open(key.expose(), self.nonce, &associated, &mut block, &self.tag);
        let mut hash = *otherwise.expose();
        for (byte, decrypted) in hash.iter_mut().zip(block.iter()) {
            byte.conditional_assign(decrypted, opened);
        }
        (HardwareHash::new(hash), opened)
    }
}

/// Two tokens of one device must not be linked by what a program prints.
impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}

/// What the tag covers besides the hash.
fn associated(table: TableId, index: u16) -> [u8; 33] {
    let mut bytes = [0; 33];
    let parts = LABEL
        .iter()
        .copied()
        .chain(table.get().to_be_bytes())
        .chain(index.to_be_bytes());
    for (place, byte) in bytes.iter_mut().zip(parts) {
        *place = byte;
    }
    bytes
}
