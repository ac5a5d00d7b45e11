//! Where the tables of privacy tokens, the tables of each device, and the counts are kept.
//!
//! Master keys come here encrypted, under a key that the database never sees. Of a validation nothing is kept: no statement
//! writes, and what is looked up is bound to the statement, never part of its text, so that no log of statements has it.

use countersign_privacy_tokens::{
    Assignment, HardwareHash, TableId, TableStore, TableUsage, WrappedTable,
};
use sqlx::Row;

use crate::sql::{int, uint};
use crate::{Error, Registry};

/// Why tables were not added, or not assigned. The first two are the caller's to put right.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TokenStoreError {
    /// The device has tables, or there is no device of this hardware.
    #[error(
        "no tables were assigned: no device of this hardware is registered and approved, or it has its tables already; approve it \
         with its hardware's hash, or leave it as it is"
    )]
    Device,
    /// The registry did not answer.
    #[error(transparent)]
    Registry(#[from] Error),
    /// A number that is taken.
    #[error("table {table} exists already, and no table was added; take other numbers")]
    TableTaken {
        /// The table.
        table: TableId,
    },
}

impl From<sqlx::Error> for TokenStoreError {
    fn from(error: sqlx::Error) -> Self {
        Self::Registry(error.into())
    }
}

impl TableStore for Registry {
    type Error = TokenStoreError;

    async fn add_tables(&self, tables: &[WrappedTable]) -> Result<(), TokenStoreError> {
        let mut transaction = self.write().await?;
        for table in tables {
            let added = sqlx::query(
                "INSERT INTO token_tables (table_id, wrapped) VALUES ($1, $2) ON CONFLICT DO NOTHING",
            )
            .bind(i64::from(table.id().get()))
            .bind(table.as_bytes())
            .execute(&mut *transaction)
            .await?;
            if added.rows_affected() == 0 {
                transaction.roll_back().await?;
                return Err(TokenStoreError::TableTaken { table: table.id() });
            }
        }
        Ok(transaction.commit().await?)
    }

    async fn tables(&self) -> Result<Vec<WrappedTable>, TokenStoreError> {
        let rows = sqlx::query("SELECT table_id, wrapped FROM token_tables ORDER BY table_id")
            .fetch_all(&mut *self.reader().await?)
            .await?;
        let mut tables = Vec::new();
        for row in &rows {
            let table = WrappedTable::from_bytes(
                table_id(row.try_get(0)?)?,
                &row.try_get::<Vec<u8>, _>(1)?,
            );
            tables.push(
                table
                    .ok()
                    .ok_or_else(Error::corrupt("a table of privacy tokens"))?,
            );
        }
        Ok(tables)
    }

    /// Only a device that is approved gets tables.
    async fn assign(
        &self,
        hash: &HardwareHash,
        assignment: &Assignment,
    ) -> Result<(), TokenStoreError> {
        let [first, second, third] = assignment.tables().map(|table| i64::from(table.get()));
        let mut transaction = self.write().await?;
        let recorded = sqlx::query(
            "INSERT INTO token_assignments (hardware_hash, table_1, table_2, table_3) \
             SELECT hardware_hash, $2, $3, $4 FROM devices WHERE hardware_hash = $1 AND state = 'approved' \
             ON CONFLICT DO NOTHING",
        )
        .bind(hash.expose().as_slice())
        .bind(first)
        .bind(second)
        .bind(third)
        .execute(&mut *transaction)
        .await?;
        if recorded.rows_affected() == 0 {
            transaction.roll_back().await?;
            return Err(TokenStoreError::Device);
        }
        Ok(transaction.commit().await?)
    }

    /// Of a device that was retired there is none any more.
    async fn assignment(&self, hash: &HardwareHash) -> Result<Option<Assignment>, TokenStoreError> {
        let row = sqlx::query(
            "SELECT table_1, table_2, table_3 FROM token_assignments AS tables \
             JOIN devices ON devices.hardware_hash = tables.hardware_hash \
             WHERE tables.hardware_hash = $1 AND devices.state = 'approved'",
        )
        .bind(hash.expose().as_slice())
        .fetch_optional(&mut *self.reader().await?)
        .await?;
        let Some(row) = row else {
            return Ok(None);
        };
        let tables = [
            table_id(row.try_get(0)?)?,
            table_id(row.try_get(1)?)?,
            table_id(row.try_get(2)?)?,
        ];
        let assignment = Assignment::new(tables).ok();
        Ok(Some(
            assignment.ok_or_else(Error::corrupt("a device's tables"))?,
        ))
    }

    async fn add_usage(&self, usage: &[TableUsage]) -> Result<(), TokenStoreError> {
        let mut transaction = self.write().await?;
        // In one order, so that two processes that count do not wait for each other.
        let mut usage = usage.to_vec();
        usage.sort_unstable_by_key(|usage| usage.table);
        for TableUsage { table, count } in usage {
            sqlx::query(
                "INSERT INTO token_usage (table_id, asked) VALUES ($1, $2) \
                 ON CONFLICT (table_id) DO UPDATE SET asked = token_usage.asked + excluded.asked",
            )
            .bind(i64::from(table.get()))
            .bind(int(count))
            .execute(&mut *transaction)
            .await?;
        }
        Ok(transaction.commit().await?)
    }

    async fn usage(&self) -> Result<Vec<TableUsage>, TokenStoreError> {
        let rows = sqlx::query("SELECT table_id, asked FROM token_usage ORDER BY table_id")
            .fetch_all(&mut *self.reader().await?)
            .await?;
        let mut usage = Vec::new();
        for row in &rows {
            usage.push(TableUsage {
                table: table_id(row.try_get(0)?)?,
                count: uint(row.try_get(1)?),
            });
        }
        Ok(usage)
    }
}

fn table_id(number: i64) -> Result<TableId, Error> {
    let number = u16::try_from(number).ok();
    number
        .map(TableId::new)
        .ok_or_else(Error::corrupt("the number of a table of privacy tokens"))
}
