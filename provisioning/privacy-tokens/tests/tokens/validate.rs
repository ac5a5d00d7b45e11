//! What passes, what fails, and what remains of having asked.

use countersign_privacy_tokens::{
    DeviceTables, Error, HardwareHash, KeyEncryptionKey, KeyIndex, KeyRing, MasterKey, TableId,
    TableStore, Token, Verdict, WrappedTable,
};
use getrandom::SysRng;

use crate::support::{Service, now};

#[test]
fn a_registered_devices_tokens_pass_under_each_of_its_tables() {
    let service = Service::new();
    let mut used = Vec::new();
    for _ in 0..200 {
        let token = service.token();
        assert_eq!(service.verdict(&token), Verdict::Pass);
        let bytes = token.to_bytes();
        let again = Token::from_bytes(&bytes).unwrap();
        assert_eq!(service.verdict(&again), Verdict::Pass);
        used.push(TableId::new(u16::from_be_bytes([bytes[1], bytes[2]])));
    }
    used.sort_unstable();
    used.dedup();
    assert_eq!(used, service.assignment.tables());
}

#[test]
fn two_tokens_of_one_device_have_nothing_in_common_but_their_form() {
    let service = Service::new();
    let (one, other) = (service.token().to_bytes(), service.token().to_bytes());
    assert_ne!(one[5..17], other[5..17], "the nonce");
    assert_ne!(one[17..], other[17..], "what is encrypted");
}

#[test]
fn a_device_that_is_not_registered_fails() {
    let service = Service::new();
    let stranger = HardwareHash::new([0xA6; 32]);
    let token = service.device.seal(&stranger, &mut SysRng).unwrap();
    assert_eq!(service.verdict(&token), Verdict::Fail);
}

#[test]
fn a_table_that_is_not_the_devices_own_fails() {
    let service = Service::new();
    let others = |id: &u16| !service.assignment.tables().contains(&TableId::new(*id));
    let tables = (0..10).filter(others).take(3).map(TableId::new);
    let tables: Vec<TableId> = tables.collect();
    let assignment = countersign_privacy_tokens::Assignment::new([tables[0], tables[1], tables[2]]);
    let device = service.ring.device_tables(&assignment.unwrap()).unwrap();
    for _ in 0..20 {
        let token = device.seal(&service.hash, &mut SysRng).unwrap();
        assert_eq!(service.verdict(&token), Verdict::Fail);
    }
}

#[test]
fn tb22_an_unknown_table_a_wrong_index_and_a_wrong_tag_go_the_same_way_as_a_good_token() {
    let service = Service::new();
    let (own, master) = &service.device.expose()[0];
    let index = KeyIndex::new(999).unwrap();
    let key = master.derive(index).unwrap();
    let sealed = |table| Token::seal(table, index, &key, &service.hash, &mut SysRng).unwrap();
    let good = sealed(*own);
    let unknown_table = sealed(TableId::new(999));
    let mut bytes = good.to_bytes();
    bytes[3..5].copy_from_slice(&1000_u16.to_be_bytes());
    let wrong_index = Token::from_bytes(&bytes).unwrap();
    let mut bytes = good.to_bytes();
    bytes[64] ^= 1;
    let wrong_tag = Token::from_bytes(&bytes).unwrap();

    service.store.asked.lock().unwrap().clear();
    assert_eq!(service.verdict(&good), Verdict::Pass);
    for (number, bad) in (2..).zip([unknown_table, wrong_index, wrong_tag]) {
        assert_eq!(service.verdict(&bad), Verdict::Fail);
        let asked = service.store.asked.lock().unwrap();
        // One look-up each, as long as the good one's, and of somebody whom no device is.
        assert_eq!(asked.len(), number);
        assert_eq!(asked[0], *service.hash.expose());
        assert!(asked[1..].iter().all(|hash| *hash == asked[1]));
        assert_ne!(asked[1], *service.hash.expose());
        assert_ne!(asked[1], [0; 32]);
    }
}

#[test]
fn an_index_beyond_the_last_fails_even_under_a_key_that_would_be_its() {
    // Who has the master key could derive a key 1000; there is none.
    let service = Service::new();
    assert!(matches!(
        KeyIndex::new(1000),
        Err(Error::KeyIndex { index: 1000 })
    ));
    assert!(KeyIndex::new(65_536).is_err());
    for index in [1000_u16, 1001, 32_768, 65_535] {
        let mut bytes = service.token().to_bytes();
        bytes[3..5].copy_from_slice(&index.to_be_bytes());
        let token = Token::from_bytes(&bytes).unwrap();
        assert_eq!(service.verdict(&token), Verdict::Fail);
    }
}

#[test]
fn only_a_count_for_each_table_remains() {
    let service = Service::new();
    let before = service.store.assignments.lock().unwrap().clone();
    for _ in 0..50 {
        assert_eq!(service.verdict(&service.token()), Verdict::Pass);
    }
    let mut unknown = service.token().to_bytes();
    unknown[1..3].copy_from_slice(&77_u16.to_be_bytes());
    assert_eq!(
        service.verdict(&Token::from_bytes(&unknown).unwrap()),
        Verdict::Fail
    );
    assert_eq!(
        now(service.store.usage()).unwrap(),
        [],
        "nothing is kept while answering"
    );

    // A store that is down loses no count, and counts nothing twice.
    *service.store.is_down.lock().unwrap() = true;
    assert!(now(service.ring.record_usage(&service.store)).is_err());
    *service.store.is_down.lock().unwrap() = false;
    now(service.ring.record_usage(&service.store)).unwrap();
    now(service.ring.record_usage(&service.store)).unwrap();
    let usage = now(service.store.usage()).unwrap();
    assert_eq!(usage.iter().map(|usage| usage.count).sum::<u64>(), 50);
    assert!(
        usage
            .iter()
            .all(|usage| service.assignment.tables().contains(&usage.table))
    );
    assert_eq!(*service.store.assignments.lock().unwrap(), before);
}

#[test]
fn a_store_that_fails_is_no_verdict() {
    let service = Service::new();
    *service.store.is_down.lock().unwrap() = true;
    assert!(now(service.ring.validate(&service.token(), &service.store)).is_err());
}

#[test]
fn tables_open_under_their_own_key_and_number_only() {
    let [kek, other] = [1, 2].map(|byte| KeyEncryptionKey::new(&[byte; 32]).unwrap());
    let [one, two] = [1, 2].map(TableId::new);
    let master = MasterKey::new(&[9; 32]).unwrap();
    let wrapped = WrappedTable::wrap(one, &master, &kek, &mut SysRng).unwrap();
    let open = |kek: &KeyEncryptionKey, table: &WrappedTable| {
        KeyRing::open(kek, std::slice::from_ref(table), &mut SysRng)
    };
    assert!(open(&kek, &wrapped).is_ok());
    assert!(matches!(open(&other, &wrapped), Err(Error::Unwrap { table }) if table == one));
    let moved = WrappedTable::from_bytes(two, wrapped.as_bytes()).unwrap();
    assert!(matches!(open(&kek, &moved), Err(Error::Unwrap { table }) if table == two));

    let rewrapped = wrapped.rewrap(&kek, &other, &mut SysRng).unwrap();
    assert!(open(&other, &rewrapped).is_ok());
    assert!(open(&kek, &rewrapped).is_err());
    assert!(wrapped.rewrap(&other, &kek, &mut SysRng).is_err());

    let twice = [wrapped.clone(), wrapped];
    assert!(matches!(
        KeyRing::open(&kek, &twice, &mut SysRng),
        Err(Error::DuplicateTable { table }) if table == one
    ));
    for length in [0, 31, 33] {
        assert!(KeyEncryptionKey::new(&vec![0; length]).is_err());
        assert!(MasterKey::new(&vec![0; length]).is_err());
    }
    let same = || (one, master.clone());
    assert!(matches!(
        DeviceTables::new([same(), same(), same()]),
        Err(Error::Assignment)
    ));
}
