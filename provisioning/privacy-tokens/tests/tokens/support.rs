//! Ten tables, a device, and a store in memory that remembers what was asked of it.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::pin;
use std::sync::Mutex;
use std::task::{Context, Poll, Waker};

use countersign_privacy_tokens::{
    Assignment, DeviceTables, HardwareHash, KeyEncryptionKey, KeyRing, TableId, TableStore,
    TableUsage, Token, Verdict, WrappedTable,
};
use getrandom::SysRng;

/// Waits for what never waits.
pub(crate) fn now<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    match future
        .as_mut()
        .poll(&mut Context::from_waker(Waker::noop()))
    {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("nothing here waits"),
    }
}

#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Refused(&'static str);

#[derive(Default)]
pub(crate) struct Memory {
    pub(crate) tables: Mutex<Vec<WrappedTable>>,
    pub(crate) assignments: Mutex<BTreeMap<[u8; 32], Assignment>>,
    pub(crate) usage: Mutex<BTreeMap<TableId, u64>>,
    /// Hashes that were looked up.
    pub(crate) asked: Mutex<Vec<[u8; 32]>>,
    pub(crate) is_down: Mutex<bool>,
}

impl Memory {
    fn up(&self) -> Result<(), Refused> {
        if *self.is_down.lock().unwrap() {
            return Err(Refused("the store is down"));
        }
        Ok(())
    }
}

impl TableStore for Memory {
    type Error = Refused;

    async fn add_tables(&self, tables: &[WrappedTable]) -> Result<(), Refused> {
        self.up()?;
        let mut kept = self.tables.lock().unwrap();
        if tables
            .iter()
            .any(|new| kept.iter().any(|old| old.id() == new.id()))
        {
            return Err(Refused("that table exists"));
        }
        kept.extend_from_slice(tables);
        Ok(())
    }

    async fn tables(&self) -> Result<Vec<WrappedTable>, Refused> {
        self.up()?;
        Ok(self.tables.lock().unwrap().clone())
    }

    async fn assign(&self, hash: &HardwareHash, assignment: &Assignment) -> Result<(), Refused> {
        self.up()?;
        let mut kept = self.assignments.lock().unwrap();
        if kept.contains_key(hash.expose()) {
            return Err(Refused("that device has its tables"));
        }
        kept.insert(*hash.expose(), *assignment);
        Ok(())
    }

    async fn assignment(&self, hash: &HardwareHash) -> Result<Option<Assignment>, Refused> {
        self.asked.lock().unwrap().push(*hash.expose());
        self.up()?;
        Ok(self.assignments.lock().unwrap().get(hash.expose()).copied())
    }

    async fn add_usage(&self, usage: &[TableUsage]) -> Result<(), Refused> {
        self.up()?;
        let mut kept = self.usage.lock().unwrap();
        for TableUsage { table, count } in usage {
            *kept.entry(*table).or_default() += count;
        }
        Ok(())
    }

    async fn usage(&self) -> Result<Vec<TableUsage>, Refused> {
        self.up()?;
        let kept = self.usage.lock().unwrap();
        Ok(kept
            .iter()
            .map(|(table, count)| TableUsage {
                table: *table,
                count: *count,
            })
            .collect())
    }
}

/// A service with ten tables and one device.
pub(crate) struct Service {
    pub(crate) store: Memory,
    pub(crate) ring: KeyRing,
    pub(crate) hash: HardwareHash,
    pub(crate) assignment: Assignment,
    pub(crate) device: DeviceTables,
}

impl Service {
    pub(crate) fn new() -> Self {
        let kek = KeyEncryptionKey::new(&[0x4B; 32]).unwrap();
        let tables: Vec<WrappedTable> = (0..10)
            .map(|id| WrappedTable::generate(TableId::new(id), &kek, &mut SysRng).unwrap())
            .collect();
        let store = Memory::default();
        now(store.add_tables(&tables)).unwrap();
        let ring = KeyRing::open(&kek, &now(store.tables()).unwrap(), &mut SysRng).unwrap();
        let assignment = ring.assign(&mut SysRng).unwrap();
        let hash = HardwareHash::new([0xA5; 32]);
        now(store.assign(&hash, &assignment)).unwrap();
        let device = ring.device_tables(&assignment).unwrap();
        Self {
            store,
            ring,
            hash,
            assignment,
            device,
        }
    }

    pub(crate) fn token(&self) -> Token {
        self.device.seal(&self.hash, &mut SysRng).unwrap()
    }

    pub(crate) fn verdict(&self, token: &Token) -> Verdict {
        now(self.ring.validate(token, &self.store)).unwrap()
    }
}
