//! Where tables, assignments and counts are kept.

use std::future::Future;

use crate::{Assignment, HardwareHash, TableId, WrappedTable};

/// How often a table was asked about, and nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TableUsage {
    /// The table.
    pub table: TableId,
    /// How many tokens named it, whatever the answer was.
    pub count: u64,
}

/// Who keeps tables, assignments and counts.
///
/// An implementation keeps no word of what is asked of [`Self::assignment`]: neither in a log of queries nor in its errors.
pub trait TableStore: Sync {
    /// Why it could not be done: a fault, never an answer.
    type Error: std::error::Error + Send + Sync + 'static;

    /// Adds new tables, all or none; a number that is taken is an error.
    ///
    /// # Errors
    /// The store's own.
    fn add_tables(
        &self,
        tables: &[WrappedTable],
    ) -> impl Future<Output = Result<(), Self::Error>> + Send;

    /// Every table.
    ///
    /// # Errors
    /// The store's own.
    fn tables(&self) -> impl Future<Output = Result<Vec<WrappedTable>, Self::Error>> + Send;

    /// Records the tables of the device with this hash; a hash that has some is an error.
    ///
    /// # Errors
    /// The store's own.
    fn assign(
        &self,
        hash: &HardwareHash,
        assignment: &Assignment,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send;

    /// The tables of the device with this hash; `None` if there is no such device, or if it is one no longer.
    ///
    /// # Errors
    /// The store's own.
    fn assignment(
        &self,
        hash: &HardwareHash,
    ) -> impl Future<Output = Result<Option<Assignment>, Self::Error>> + Send;

    /// Adds to the counts, all or none.
    ///
    /// # Errors
    /// The store's own.
    fn add_usage(
        &self,
        usage: &[TableUsage],
    ) -> impl Future<Output = Result<(), Self::Error>> + Send;

    /// The counts, of each table that was ever asked about.
    ///
    /// # Errors
    /// The store's own.
    fn usage(&self) -> impl Future<Output = Result<Vec<TableUsage>, Self::Error>> + Send;
}
