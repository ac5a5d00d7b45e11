//! Why something was not made or not read. That a token does not pass is no error: it is [`Verdict::Fail`](crate::Verdict).

use crate::TableId;

/// Why something could not be made or read. No variant holds key material.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Tables of a device that are not three different ones.
    #[error("a device has three different tables; give three different numbers")]
    Assignment,
    /// The cipher did not do its work, which no input can bring about.
    #[error(
        "AES-256-GCM failed; nothing was kept, so try again, and check this machine's memory if it happens twice"
    )]
    Cipher,
    /// One number, two tables.
    #[error("table {table} is there twice; restore the tables from one copy, not from two")]
    DuplicateTable {
        /// The table.
        table: TableId,
    },
    /// Too few tables to choose from.
    #[error("there are {have} tables, and each device gets three; make more tables first")]
    FewTables {
        /// How many there are.
        have: usize,
    },
    /// A key index that no table has.
    #[error("a table has the keys 0 to 999, and none of number {index}")]
    KeyIndex {
        /// The number given.
        index: u32,
    },
    /// A key of another length.
    #[error("the key has {length} bytes; give one of 32")]
    KeyLength {
        /// Its length.
        length: usize,
    },
    /// Bytes that are no token, told by their length and first byte alone.
    #[error("these {length} bytes are no token; a token has 65, of which the first is 1")]
    MalformedToken {
        /// How many bytes there were.
        length: usize,
    },
    /// Bytes that are no wrapped master key, told by their length and first byte alone.
    #[error("what is kept of table {table} is no wrapped master key; restore it from a backup")]
    MalformedWrapping {
        /// The table.
        table: TableId,
    },
    /// The random source failed or repeats itself.
    #[error(
        "the random source of this machine fails or repeats itself; nothing was made, so find out why before going on"
    )]
    Random,
    /// A table that is not there.
    #[error("there is no table {table}; load the tables that the device was given")]
    UnknownTable {
        /// The table.
        table: TableId,
    },
    /// A master key that does not come out of its wrapping.
    #[error(
        "the master key of table {table} does not open: it was changed, is another table's, or is wrapped under another key; give the right key-encryption key, or restore the table from a backup"
    )]
    Unwrap {
        /// The table.
        table: TableId,
    },
}
