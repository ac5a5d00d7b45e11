//! All tables, opened, and the answer to a token.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use rand_core::TryCryptoRng;
use subtle::Choice;

use crate::{
    Assignment, DeviceTables, Error, HardwareHash, KeyEncryptionKey, MasterKey, TableId,
    TableStore, TableUsage, Token, WrappedTable, random,
};

/// The answer to a token. It is all that who asks learns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Verdict {
    /// A registered device made the token.
    Pass,
    /// Anything else, whatever it is.
    Fail,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pass => "PASS",
            Self::Fail => "FAIL",
        })
    }
}

/// The tables with their master keys, in memory. `Debug` shows how many there are.
pub struct KeyRing {
    tables: BTreeMap<TableId, Table>,
    /// Stands in for a table that is not there.
    stranger: Table,
    /// Looked up instead of what an unopened token holds; drawn anew at each start, so no device has it.
    nobody: HardwareHash,
}

struct Table {
    master: MasterKey,
    count: AtomicU64,
}

impl Table {
    fn new(master: MasterKey) -> Self {
        Self {
            master,
            count: AtomicU64::new(0),
        }
    }
}

impl KeyRing {
    /// Opens the tables.
    ///
    /// # Errors
    /// [`Error::Unwrap`] for the first that does not open, since a service with some of its tables would refuse good devices;
    /// [`Error::DuplicateTable`]; [`Error::Random`].
    pub fn open(
        kek: &KeyEncryptionKey,
        tables: &[WrappedTable],
        random: &mut impl TryCryptoRng,
    ) -> Result<Self, Error> {
        let mut opened = BTreeMap::new();
        for table in tables {
            let master = table.unwrap(kek)?;
            if opened.insert(table.id(), Table::new(master)).is_some() {
                return Err(Error::DuplicateTable { table: table.id() });
            }
        }
        Ok(Self {
            tables: opened,
            stranger: Table::new(MasterKey::generate(random)?),
            nobody: HardwareHash::new(*random::key(random)?),
        })
    }

    /// Three of the tables for a new device.
    ///
    /// # Errors
    /// As [`Assignment::draw`].
    pub fn assign(&self, random: &mut impl TryCryptoRng) -> Result<Assignment, Error> {
        let tables: Vec<TableId> = self.tables.keys().copied().collect();
        Assignment::draw(&tables, random)
    }

    /// What the device with this assignment is given.
    ///
    /// # Errors
    /// [`Error::UnknownTable`] if one of its tables is not here.
    pub fn device_tables(&self, assignment: &Assignment) -> Result<DeviceTables, Error> {
        let master = |table: TableId| match self.tables.get(&table) {
            Some(found) => Ok((table, found.master.clone())),
            None => Err(Error::UnknownTable { table }),
        };
        let [first, second, third] = *assignment.tables();
        DeviceTables::new([master(first)?, master(second)?, master(third)?])
    }

    /// Whether a registered device made the token under a key of one of its tables.
    ///
    /// A table or an index that does not exist and a tag that is wrong go the same way as a good token: one key is derived,
    /// one block is decrypted, one hash is looked up. Of the token nothing is kept; one count goes up by one.
    ///
    /// # Errors
    /// The store's, if it could not look up. That is no verdict.
    pub async fn validate<S: TableStore>(
        &self,
        token: &Token,
        store: &S,
    ) -> Result<Verdict, S::Error> {
        let (table, is_table) = match self.tables.get(&token.table()) {
            Some(table) => (table, Choice::from(1)),
            None => (&self.stranger, Choice::from(0)),
        };
        table.count.fetch_add(1, Ordering::Relaxed);
        let (index, is_index) = token.index();
        let (hash, is_opened) = match table.master.derive(index) {
            Ok(key) => token.open(&key, &self.nobody),
            // No input brings this about.
            Err(_) => (self.nobody.clone(), Choice::from(0)),
        };
        let is_assigned = match store.assignment(&hash).await? {
            Some(assignment) => {
                Choice::from(u8::from(assignment.tables().contains(&token.table())))
            }
            None => Choice::from(0),
        };
        let passes = is_table & is_index & is_opened & is_assigned;
        Ok(if bool::from(passes) {
            Verdict::Pass
        } else {
            Verdict::Fail
        })
    }

    /// Hands what was counted since the last time to the store. What it does not take is counted on.
    ///
    /// Call it at fixed times, not after each validation, or the times at which counts change tell of requests.
    ///
    /// # Errors
    /// The store's.
    pub async fn record_usage<S: TableStore>(&self, store: &S) -> Result<(), S::Error> {
        let mut usage = Vec::new();
        for (table, state) in &self.tables {
            let count = state.count.swap(0, Ordering::Relaxed);
            if count > 0 {
                usage.push(TableUsage {
                    table: *table,
                    count,
                });
            }
        }
        let recorded = store.add_usage(&usage).await;
        if recorded.is_err() {
            for TableUsage { table, count } in usage {
                if let Some(state) = self.tables.get(&table) {
                    state.count.fetch_add(count, Ordering::Relaxed);
                }
            }
        }
        recorded
    }
}

impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyRing({} tables, ..)", self.tables.len())
    }
}
