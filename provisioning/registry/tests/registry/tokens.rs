//! Privacy tokens with a registry under them.

use countersign_privacy_tokens::{
    Assignment, HardwareHash, KeyEncryptionKey, KeyRing, TableId, TableStore, TableUsage, Verdict,
    WrappedTable,
};
use countersign_registry::{Device, DeviceState, Registry, TokenStoreError};
use countersign_testing::SystemRandom;

use crate::database::{Database, NOW, id};

const KEK: [u8; 32] = [9; 32];

fn kek() -> KeyEncryptionKey {
    KeyEncryptionKey::new(&KEK).expect("32 bytes")
}

/// Devices of these names, the hash of whose hardware is their number.
async fn hardware(registry: &Registry, devices: &[(&str, u8)]) {
    let order = registry.order("all", None, 1_000).await.expect("made");
    let devices: Vec<Device> = devices
        .iter()
        .map(|(name, number)| Device {
            hardware_hash: Some([*number; 32]),
            ..Device::approved(id(name), &order)
        })
        .collect();
    registry.register(&devices, NOW).await.expect("registered");
}

/// Ten tables, kept.
async fn ten(registry: &Registry) -> Vec<WrappedTable> {
    let tables: Vec<WrappedTable> = (0..10)
        .map(|number| {
            WrappedTable::generate(TableId::new(number), &kek(), &mut SystemRandom).expect("made")
        })
        .collect();
    registry.add_tables(&tables).await.expect("added");
    tables
}

pub(crate) async fn a_token_passes_as_long_as_its_device_is_one(database: Database) {
    let hash = |number| HardwareHash::new([number; 32]);
    let registry = database.open().await;
    hardware(&registry, &[("a", 1), ("b", 2)]).await;
    ten(&registry).await;
    let random = &mut SystemRandom;
    let ring =
        KeyRing::open(&kek(), &registry.tables().await.expect("kept"), random).expect("opens");
    let assignment = ring.assign(random).expect("drawn");
    registry
        .assign(&hash(1), &assignment)
        .await
        .expect("assigned");
    let device = ring.device_tables(&assignment).expect("its tables");
    registry.close().await;
    drop(registry);

    // After a restart, from what is on the disk.
    let registry = database.open().await;
    let ring =
        KeyRing::open(&kek(), &registry.tables().await.expect("kept"), random).expect("opens");
    let mut seal = |number| device.seal(&hash(number), random).expect("a token");
    let verdict = async |token| ring.validate(&token, &registry).await.expect("answers");
    assert_eq!(verdict(seal(1)).await, Verdict::Pass);
    // A device without tables, and one that is not there.
    assert_eq!(verdict(seal(2)).await, Verdict::Fail);
    assert_eq!(verdict(seal(3)).await, Verdict::Fail);
    registry
        .set_device(&id("a"), DeviceState::Retired, None)
        .await
        .expect("set");
    assert_eq!(verdict(seal(1)).await, Verdict::Fail);
}

pub(crate) async fn tables_and_devices_tables_are_kept_once_and_all_or_none(database: Database) {
    let registry = database.open().await;
    hardware(&registry, &[("a", 1)]).await;
    let mut tables = ten(&registry).await;
    assert_eq!(registry.tables().await.expect("kept"), tables);
    let more: Vec<WrappedTable> = [11, 3]
        .into_iter()
        .map(|number| {
            WrappedTable::generate(TableId::new(number), &kek(), &mut SystemRandom).expect("made")
        })
        .collect();
    let error = registry.add_tables(&more).await.expect_err("3 is taken");
    assert!(
        matches!(error, TokenStoreError::TableTaken { table } if table.get() == 3),
        "{error}"
    );
    assert_eq!(registry.tables().await.expect("kept"), tables);
    registry.add_tables(&more[..1]).await.expect("added");
    tables.extend_from_slice(&more[..1]);
    assert_eq!(registry.tables().await.expect("kept"), tables);

    let assignment = |numbers: [u16; 3]| Assignment::new(numbers.map(TableId::new)).expect("three");
    let (hash, stranger) = (HardwareHash::new([1; 32]), HardwareHash::new([5; 32]));
    let first = assignment([0, 4, 9]);
    registry.assign(&hash, &first).await.expect("assigned");
    for (hash, numbers) in [(&hash, [1, 2, 3]), (&stranger, [1, 2, 3])] {
        let error = registry.assign(hash, &assignment(numbers)).await;
        let error = error.expect_err("no second time, and for no stranger");
        assert!(matches!(error, TokenStoreError::Device), "{error}");
    }
    assert_eq!(
        registry.assignment(&hash).await.expect("answers"),
        Some(first)
    );
    assert_eq!(registry.assignment(&stranger).await.expect("answers"), None);
}

pub(crate) async fn tg31_no_master_key_lies_open_and_no_validation_is_kept(database: Database) {
    let registry = database.open().await;
    hardware(&registry, &[("a", 1)]).await;
    let random = &mut SystemRandom;
    let master = countersign_privacy_tokens::MasterKey::new(&[0xA5; 32]).expect("32 bytes");
    let known = WrappedTable::wrap(TableId::new(0), &master, &kek(), random).expect("wrapped");
    registry.add_tables(&[known]).await.expect("added");
    let kept = registry.tables().await.expect("kept");
    assert!(
        !kept[0]
            .as_bytes()
            .windows(8)
            .any(|bytes| bytes == [0xA5; 8])
    );
    assert!(
        KeyRing::open(
            &KeyEncryptionKey::new(&[8; 32]).expect("32 bytes"),
            &kept,
            random
        )
        .is_err()
    );

    let others: Vec<WrappedTable> = (1..3)
        .map(|number| WrappedTable::generate(TableId::new(number), &kek(), random).expect("made"))
        .collect();
    registry.add_tables(&others).await.expect("added");
    let ring =
        KeyRing::open(&kek(), &registry.tables().await.expect("kept"), random).expect("opens");
    let assignment = ring.assign(random).expect("drawn");
    let device = ring.device_tables(&assignment).expect("its tables");
    let hash = HardwareHash::new([1; 32]);
    registry.assign(&hash, &assignment).await.expect("assigned");
    for _ in 0..30 {
        let token = device.seal(&hash, random).expect("a token");
        assert_eq!(
            ring.validate(&token, &registry).await.expect("answers"),
            Verdict::Pass
        );
    }
    // Asking writes nothing; what is counted is written when it is time, and only how often.
    assert_eq!(registry.usage().await.expect("answers"), []);
    ring.record_usage(&registry).await.expect("recorded");
    ring.record_usage(&registry).await.expect("nothing is new");
    let counted = |usage: &[TableUsage]| usage.iter().map(|usage| usage.count).sum::<u64>();
    assert_eq!(counted(&registry.usage().await.expect("answers")), 30);
    let more = TableUsage {
        table: TableId::new(0),
        count: 12,
    };
    registry.add_usage(&[more]).await.expect("recorded");
    assert_eq!(counted(&registry.usage().await.expect("answers")), 42);
}
