//! The test vectors of docs/privacy-tokens.md.

use std::collections::BTreeMap;

use countersign_privacy_tokens::{
    Error, HardwareHash, KeyEncryptionKey, KeyIndex, KeyRing, MasterKey, TableId, Token,
    WrappedTable, rand_core,
};
use getrandom::SysRng;

pub(crate) const DOCUMENT: &str = include_str!("../../../../docs/privacy-tokens.md");

/// A source that gives one nonce.
struct Nonce(Vec<u8>);

impl rand_core::TryRng for Nonce {
    type Error = std::convert::Infallible;
    fn try_next_u32(&mut self) -> Result<u32, Self::Error> {
        unreachable!("only bytes are drawn")
    }
    fn try_next_u64(&mut self) -> Result<u64, Self::Error> {
        unreachable!("only bytes are drawn")
    }
    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Self::Error> {
        bytes.copy_from_slice(&self.0);
        Ok(())
    }
}
impl rand_core::TryCryptoRng for Nonce {}

#[test]
fn the_published_vectors_hold() {
    let mut seen = BTreeMap::new();
    for block in DOCUMENT.split("\n\n") {
        let fields: BTreeMap<&str, &str> = block
            .lines()
            .filter_map(|line| line.split_once(" = "))
            .collect();
        let Some(kind) = fields.get("vector") else {
            continue;
        };
        *seen.entry(*kind).or_insert(0) += 1;
        let bytes = |name: &str| hex::decode(fields[name]).unwrap();
        let number = |name: &str| fields[name].parse::<u16>().unwrap();
        let master = MasterKey::new(&bytes("master")).unwrap();
        match *kind {
            "key" => {
                let key = master
                    .derive(KeyIndex::new(number("index").into()).unwrap())
                    .unwrap();
                assert_eq!(key.expose().as_slice(), bytes("key"), "{block}");
            }
            "token" => {
                let (table, index) = (TableId::new(number("table")), number("index"));
                let index = KeyIndex::new(index.into()).unwrap();
                let hash = HardwareHash::new(bytes("hash").try_into().unwrap());
                let key = master.derive(index).unwrap();
                let mut nonce = Nonce(bytes("nonce"));
                let token = Token::seal(table, index, &key, &hash, &mut nonce).unwrap();
                assert_eq!(token.to_bytes().as_slice(), bytes("token"), "{block}");
            }
            "wrapped table" => {
                let kek = KeyEncryptionKey::new(&bytes("kek")).unwrap();
                let table = TableId::new(number("table"));
                let mut nonce = Nonce(bytes("nonce"));
                let wrapped = WrappedTable::wrap(table, &master, &kek, &mut nonce).unwrap();
                assert_eq!(wrapped.as_bytes(), bytes("wrapped"), "{block}");
                assert!(KeyRing::open(&kek, &[wrapped], &mut SysRng).is_ok());
            }
            other => panic!("{other}"),
        }
    }
    assert_eq!(seen["key"], 6);
    assert_eq!(seen["token"], 2);
    assert_eq!(seen["wrapped table"], 1);
}

#[test]
fn a_tables_thousand_keys_differ_and_come_out_the_same_again() {
    let master = MasterKey::new(&[0x5A; 32]).unwrap();
    let other = MasterKey::new(&[0x5B; 32]).unwrap();
    let all = |master: &MasterKey| -> Vec<[u8; 32]> {
        (0..1000)
            .map(|index| {
                *master
                    .derive(KeyIndex::new(index).unwrap())
                    .unwrap()
                    .expose()
            })
            .collect()
    };
    let mut keys = all(&master);
    assert_eq!(keys, all(&master));
    keys.extend(all(&other));
    keys.sort_unstable();
    keys.dedup();
    assert_eq!(keys.len(), 2000);
    assert!(matches!(
        KeyIndex::new(1000),
        Err(Error::KeyIndex { index: 1000 })
    ));
}
