//! Every bit of a token, and of a table at rest, counts.

use countersign_privacy_tokens::{
    Error, KeyEncryptionKey, KeyRing, TableId, Token, Verdict, WrappedTable,
};
use getrandom::SysRng;
use proptest::prelude::*;

use crate::support::Service;

#[test]
fn no_bit_of_a_token_can_be_changed() {
    let service = Service::new();
    let good = service.token().to_bytes();
    for bit in 0..Token::BYTES * 8 {
        let mut bytes = good;
        bytes[bit / 8] ^= 1 << (bit % 8);
        match Token::from_bytes(&bytes) {
            Ok(token) => assert_eq!(service.verdict(&token), Verdict::Fail, "bit {bit}"),
            Err(Error::MalformedToken { length: 65 }) => assert!(bit < 8, "bit {bit}"),
            Err(other) => panic!("bit {bit}: {other}"),
        }
    }
    assert_eq!(
        service.verdict(&Token::from_bytes(&good).unwrap()),
        Verdict::Pass
    );
}

#[test]
fn no_bit_of_a_table_at_rest_can_be_changed() {
    let kek = KeyEncryptionKey::new(&[3; 32]).unwrap();
    let id = TableId::new(5);
    let wrapped = WrappedTable::generate(id, &kek, &mut SysRng).unwrap();
    for bit in 0..wrapped.as_bytes().len() * 8 {
        let mut bytes = wrapped.as_bytes().to_vec();
        bytes[bit / 8] ^= 1 << (bit % 8);
        let opened = WrappedTable::from_bytes(id, &bytes)
            .and_then(|table| KeyRing::open(&kek, &[table], &mut SysRng));
        assert!(opened.is_err(), "bit {bit}");
    }
    for length in [0, 1, 60, 62] {
        let mut bytes = wrapped.as_bytes().to_vec();
        bytes.resize(length, 0);
        assert!(matches!(
            WrappedTable::from_bytes(id, &bytes),
            Err(Error::MalformedWrapping { table }) if table == id
        ));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn any_bytes_are_read_as_themselves_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..140)) {
        match Token::from_bytes(&bytes) {
            Ok(token) => prop_assert_eq!(token.to_bytes().to_vec(), bytes),
            Err(error) => {
                let is_malformed = matches!(error, Error::MalformedToken { length } if length == bytes.len());
                prop_assert!(is_malformed);
                prop_assert!(bytes.len() != Token::BYTES || bytes[0] != 1);
            }
        }
    }

    #[test]
    fn no_bytes_pass_by_chance(tail in proptest::collection::vec(any::<u8>(), 64), table in 0_u16..12, index in 0_u16..1002) {
        let service = Service::new();
        let mut bytes = vec![1];
        bytes.extend(tail);
        bytes[1..3].copy_from_slice(&table.to_be_bytes());
        bytes[3..5].copy_from_slice(&index.to_be_bytes());
        prop_assert_eq!(service.verdict(&Token::from_bytes(&bytes).unwrap()), Verdict::Fail);
    }
}
