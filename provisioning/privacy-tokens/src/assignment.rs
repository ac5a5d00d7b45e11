//! Which tables a device gets.

use rand_core::TryCryptoRng;

use crate::{Error, TableId, random};

/// How many tables each device gets.
pub const TABLES_OF_A_DEVICE: usize = 3;

/// A device's three tables, in ascending order, so that not even the order says how they were drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Assignment([TableId; TABLES_OF_A_DEVICE]);

impl Assignment {
    /// Three of `tables`, each three with the same chance.
    ///
    /// # Errors
    /// [`Error::FewTables`] if there are not three different ones; [`Error::Random`].
    pub fn draw(tables: &[TableId], random: &mut impl TryCryptoRng) -> Result<Self, Error> {
        let mut pool = tables.to_vec();
        pool.sort_unstable();
        pool.dedup();
        let have = pool.len();
        let mut drawn = [TableId::new(0); TABLES_OF_A_DEVICE];
        for place in &mut drawn {
            // There are 65,536 numbers of tables; who has all of them chooses from one less.
            let left = u16::try_from(pool.len()).unwrap_or(u16::MAX);
            if left == 0 {
                return Err(Error::FewTables { have });
            }
            *place = pool.swap_remove(usize::from(random::below(left, random)?));
        }
        Self::new(drawn)
    }

    /// An assignment as it was kept.
    ///
    /// # Errors
    /// [`Error::Assignment`] unless they are three different ones.
    pub fn new(mut tables: [TableId; TABLES_OF_A_DEVICE]) -> Result<Self, Error> {
        tables.sort_unstable();
        let [first, second, third] = tables;
        if first == second || second == third {
            return Err(Error::Assignment);
        }
        Ok(Self(tables))
    }

    /// The tables, in ascending order.
    #[must_use]
    pub fn tables(&self) -> &[TableId; TABLES_OF_A_DEVICE] {
        &self.0
    }
}
