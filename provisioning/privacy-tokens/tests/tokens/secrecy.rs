//! Nothing secret is printed, whatever is printed.

use countersign_privacy_tokens::{
    HardwareHash, KeyEncryptionKey, KeyIndex, KeyRing, MasterKey, TableId, Token, WrappedTable,
};
use getrandom::SysRng;

use crate::support::Service;

#[test]
fn tg31_neither_debug_nor_errors_show_key_material() {
    let secret = [0xC7; 32];
    let kek = KeyEncryptionKey::new(&secret).unwrap();
    let master = MasterKey::new(&secret).unwrap();
    let key = master.derive(KeyIndex::new(1).unwrap()).unwrap();
    let hash = HardwareHash::new(secret);
    let table = WrappedTable::wrap(TableId::new(1), &master, &kek, &mut SysRng).unwrap();
    let ring = KeyRing::open(&kek, std::slice::from_ref(&table), &mut SysRng).unwrap();
    let token = Token::seal(
        TableId::new(1),
        KeyIndex::new(1).unwrap(),
        &key,
        &hash,
        &mut SysRng,
    )
    .unwrap();
    let service = Service::new();
    let other = KeyEncryptionKey::new(&[1; 32]).unwrap();
    let error = KeyRing::open(&other, std::slice::from_ref(&table), &mut SysRng).unwrap_err();
    let shown = format!(
        "{kek:?} {master:?} {key:?} {hash:?} {table:?} {ring:?} {token:?} {:?} {error:?} {error} {:?}",
        service.device,
        MasterKey::new(&secret[..31]).unwrap_err(),
    );
    let lower = shown.to_lowercase();
    for bytes in [
        &secret[..],
        key.expose(),
        table.as_bytes(),
        &token.to_bytes(),
    ] {
        for window in bytes.windows(3) {
            assert!(!lower.contains(&hex::encode(window)), "{shown}");
            let list = format!("{}, {}, {}", window[0], window[1], window[2]);
            assert!(!shown.contains(&list), "{shown}");
        }
    }
    assert!(!shown.contains("199"), "{shown}");
}
