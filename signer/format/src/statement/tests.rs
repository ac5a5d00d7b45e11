//! The statement: everything it may not say, and every other way to say the same.

use super::*;
use crate::samples::{least, most};

/// A statement given as its encoded entries, in the order given.
fn map(entries: &[(u64, Vec<u8>)]) -> Vec<u8> {
    let mut writer = Writer::default();
    writer.map(entries.len());
    for (key, value) in entries {
        writer.unsigned(*key);
        writer.encoded(value);
    }
    writer.finish()
}

fn value(write: impl FnOnce(&mut Writer)) -> Vec<u8> {
    let mut writer = Writer::default();
    write(&mut writer);
    writer.finish()
}

/// The entries of the least statement.
fn entries() -> Vec<(u64, Vec<u8>)> {
    let signer = value(|writer| {
        writer.array(1);
        writer.array(3);
        writer.integer(-9);
        writer.bytes(Digest::of(b"key").as_bytes());
        writer.bytes(Digest::of(b"leaf").as_bytes());
    });
    vec![
        (1, value(|writer| writer.unsigned(1))),
        (2, value(|writer| writer.integer(-16))),
        (
            3,
            value(|writer| writer.bytes(Digest::of(b"component").as_bytes())),
        ),
        (4, value(|writer| writer.unsigned(9))),
        (5, value(|writer| writer.text("acme:pump"))),
        (6, value(|writer| writer.text("1.2.3"))),
        (7, value(|writer| writer.unsigned(4))),
        (8, signer),
    ]
}

/// The least statement with one entry replaced or added.
fn with(key: u64, replacement: Vec<u8>) -> Result<Statement, FormatError> {
    let mut entries = entries();
    entries.retain(|(other, _)| *other != key);
    entries.push((key, replacement));
    entries.sort();
    Statement::decode(&map(&entries))
}

fn noncanonical(result: Result<Statement, FormatError>) -> bool {
    matches!(result, Err(FormatError::Noncanonical { .. }))
}

fn malformed(result: Result<Statement, FormatError>) -> bool {
    matches!(result, Err(FormatError::Malformed { .. }))
}

fn text(result: Result<Statement, FormatError>) -> bool {
    matches!(result, Err(FormatError::Text { .. }))
}

#[test]
fn decode_undoes_encode() {
    for fields in [least(), most()] {
        let statement = Statement::new(fields).unwrap();
        assert_eq!(Statement::decode(&statement.encode()).unwrap(), statement);
    }
    let least = Statement::new(least()).unwrap();
    assert_eq!(least.encode(), map(&entries()));
}

#[test]
fn what_is_read_is_what_was_said() {
    let said = most();
    let bytes = Statement::new(said.clone()).unwrap().encode();
    let read = Statement::decode(&bytes).unwrap();
    assert_eq!(
        read.fields(),
        Statement::new(said.clone()).unwrap().fields()
    );
    assert_eq!(read.component_digest(), &said.component_digest);
    assert_eq!(read.component_size(), said.component_size);
    assert_eq!(read.name(), &said.name);
    assert_eq!(read.version(), &said.version);
    assert_eq!(read.security_version(), said.security_version);
    assert_eq!(read.signers(), read.fields().signers);
    assert_eq!(read.signers().len(), 2);
    assert_eq!(read.audience(), &said.audience);
    assert_eq!(read.grants(), &said.grants);
    assert_eq!(read.limits(), &said.limits);
    assert_eq!(read.documents(), said.documents);
    assert_eq!(read.issued_at(), said.issued_at);
}

#[test]
fn ta24_the_first_byte_out_of_order_is_named() {
    let sorted = Statement::new(most()).unwrap().encode();
    let at = sorted
        .windows(7)
        .position(|part| part == b"LANG\x62TZ")
        .unwrap();
    let mut unsorted = sorted;
    // "LANG", "TZ" with their heads, the other way round.
    unsorted[at - 1..at + 7].copy_from_slice(b"\x62TZ\x64LANG");
    assert_eq!(
        Statement::decode(&unsorted),
        Err(FormatError::Noncanonical {
            what: "a list that is not sorted",
            offset: u64::try_from(at - 1).unwrap()
        })
    );
}

#[test]
fn new_sorts_what_has_no_order() {
    let mut fields = most();
    fields.signers.reverse();
    fields.audience.devices.reverse();
    fields.grants.env.reverse();
    fields.grants.directories.reverse();
    assert_eq!(
        Statement::new(fields).unwrap(),
        Statement::new(most()).unwrap()
    );
}

#[test]
fn ta11_every_truncation_and_ta24_anything_left_over() {
    let bytes = Statement::new(most()).unwrap().encode();
    for end in 0..bytes.len() {
        assert!(Statement::decode(&bytes[..end]).is_err(), "at {end}");
    }
    assert!(noncanonical(Statement::decode(&[bytes, vec![0]].concat())));
}

#[test]
fn ta15_versions_and_parts_that_are_unknown() {
    assert_eq!(
        with(1, value(|writer| writer.unsigned(2))),
        Err(FormatError::VersionUnknown {
            found: 2,
            supported: 1
        })
    );
    // A later version may change everything behind its number.
    let later = map(&[(1, vec![2]), (99, vec![0xf6])]);
    assert!(matches!(
        Statement::decode(&later),
        Err(FormatError::VersionUnknown { found: 2, .. })
    ));
    assert!(malformed(with(14, vec![0])));
    assert!(malformed(with(0, vec![0])));
    assert!(malformed(with(u64::MAX, vec![0])));
    assert!(malformed(with(9, map(&[(3, vec![0])]))));
    assert!(malformed(with(10, map(&[(10, vec![0xf5])]))));
    assert!(malformed(with(11, map(&[(8, vec![1])]))));
}

#[test]
fn every_required_part_is_required() {
    for key in 1..=8 {
        let mut entries = entries();
        entries.retain(|(other, _)| *other != key);
        assert!(Statement::decode(&map(&entries)).is_err(), "without {key}");
        assert!(Statement::decode(&map(&entries[..0])).is_err());
        assert!(malformed(with(key, vec![0xf6])), "null in {key}");
    }
}

#[test]
fn ta24_other_spellings_of_a_statement() {
    let mut swapped = entries();
    swapped.swap(6, 7);
    assert!(Statement::decode(&map(&swapped)).is_err());
    let mut twice = entries();
    twice.push(twice[7].clone());
    assert!(noncanonical(Statement::decode(&map(&twice))));
    assert!(noncanonical(with(7, vec![0x18, 4])));
    assert!(noncanonical(with(
        5,
        [&[0x78, 9][..], b"acme:pump"].concat()
    )));
    let mut indefinite = map(&entries());
    indefinite[0] = 0xbf;
    indefinite.push(0xff);
    assert!(noncanonical(Statement::decode(&indefinite)));
    // Optional parts that say nothing.
    assert!(noncanonical(with(9, map(&[]))));
    assert!(noncanonical(with(9, map(&[(1, vec![0x80])]))));
    assert!(noncanonical(with(10, map(&[]))));
    assert!(noncanonical(with(10, map(&[(1, vec![0xf4])]))));
    assert!(noncanonical(with(10, map(&[(2, vec![0x80])]))));
    assert!(noncanonical(with(11, map(&[]))));
    assert!(noncanonical(with(12, vec![0x80])));
    // Lists in another order.
    let list = |texts: &[&str]| {
        value(|writer| {
            writer.array(texts.len());
            texts.iter().for_each(|text| writer.text(text));
        })
    };
    assert!(with(9, map(&[(1, list(&["SN-1", "SN-2"]))])).is_ok());
    assert!(noncanonical(with(9, map(&[(1, list(&["SN-2", "SN-1"]))]))));
    assert!(text(with(9, map(&[(1, list(&["SN-1", "SN-1"]))]))));
    assert!(noncanonical(with(10, map(&[(3, vec![0x82, 2, 1])]))));
    assert!(noncanonical(with(10, map(&[(3, vec![0x82, 1, 1])]))));
    assert!(malformed(with(10, map(&[(3, vec![0x81, 3])]))));
}

#[test]
fn an_empty_list_of_hosts_or_sockets_is_a_grant() {
    let statement = with(10, map(&[(5, vec![0x80]), (7, vec![0x80])])).unwrap();
    assert_eq!(statement.grants().http_outgoing, Some(Vec::new()));
    assert_eq!(statement.grants().sockets, Some(Vec::new()));
    assert_eq!(
        with(10, map(&[(1, vec![0xf5])])).unwrap().grants().sockets,
        None
    );
}

#[test]
fn ta33_tb11_digests_of_another_kind() {
    for found in [-15, -14, -17, -43, -44, 0] {
        assert_eq!(
            with(2, value(|writer| writer.integer(found))),
            Err(FormatError::AlgorithmForbidden {
                what: "digest algorithm",
                found
            })
        );
    }
    for length in [0, 20, 31, 33, 64] {
        assert!(
            malformed(with(3, value(|writer| writer.bytes(&vec![0; length])))),
            "{length}"
        );
    }
}

#[test]
fn ta35_the_list_of_signers() {
    let signers =
        |list: &[(i64, &[u8])]| with(8, signer_list(list, |_, writer| writer.bytes(&[7; 32])));
    assert!(signers(&[(-19, b"a"), (-9, b"b")]).is_ok());
    assert!(noncanonical(signers(&[(-9, b"b"), (-19, b"a")])));
    assert!(text(signers(&[(-9, b"a"), (-9, b"a")])));
    assert!(noncanonical(signers(&[])));
    assert!(matches!(
        signers(&[(-7, b"a")]),
        Err(FormatError::AlgorithmForbidden { found: -7, .. })
    ));
    assert!(matches!(
        signers(&[(-9, &b"a"[..]); 5]),
        Err(FormatError::LimitExceeded {
            limit: 4,
            actual: 5,
            ..
        })
    ));
    assert!(malformed(Statement::new(StatementFields {
        signers: Vec::new(),
        ..least()
    })));
}

/// The list of signers with these algorithms and keys, and whatever `chain` writes for each index.
fn signer_list(list: &[(i64, &[u8])], chain: impl Fn(usize, &mut Writer)) -> Vec<u8> {
    value(|writer| {
        writer.array(list.len());
        for (index, (algorithm, key)) in list.iter().enumerate() {
            writer.array(3);
            writer.integer(*algorithm);
            writer.bytes(Digest::of(key).as_bytes());
            chain(index, writer);
        }
    })
}

#[test]
fn ta35_tb17_a_key_is_listed_once_whatever_its_chains() {
    let digest = |index: usize| [u8::try_from(index).unwrap(); 32];
    let signers = |list: &[(i64, &[u8])]| {
        with(
            8,
            signer_list(list, |index, writer| writer.bytes(&digest(index))),
        )
    };
    assert!(text(signers(&[(-9, b"a"), (-9, b"a")])));
    assert!(text(signers(&[(-19, b"a"), (-9, b"a")])));
    // The two entries of one key need not stand side by side.
    assert!(text(signers(&[(-19, b"b"), (-19, b"a"), (-9, b"b")])));
    let twice = |second| {
        let key = Digest::of(b"key");
        let mut fields = least();
        fields
            .signers
            .push(SignerId::of(second, key, &[b"cut".to_vec()]));
        assert_eq!(fields.signers[0].spki_sha256, key);
        Statement::new(fields)
    };
    assert!(text(twice(Algorithm::Esp256)));
    assert!(text(twice(Algorithm::Ed25519)));
}

#[test]
fn ta35_every_signer_names_its_chain_by_one_digest() {
    let chain =
        |write: fn(&mut Writer)| with(8, signer_list(&[(-9, b"a")], |_, writer| write(writer)));
    assert!(chain(|writer| writer.bytes(&[0; 32])).is_ok());
    assert!(malformed(chain(|writer| writer.bytes(&[0; 31]))));
    assert!(malformed(chain(|writer| writer.text("chain"))));
    let mut short = signer_list(&[(-9, b"a")], |_, _| ());
    assert_eq!(short[1], 0x83);
    short[1] = 0x82;
    assert!(malformed(with(8, short)));
}

#[test]
fn ta35_the_digest_of_a_chain_covers_all_of_it_in_its_order() {
    let of = |chain: &[&[u8]]| {
        let chain: Vec<_> = chain
            .iter()
            .map(|certificate| certificate.to_vec())
            .collect();
        SignerId::of(Algorithm::Esp256, Digest::of(b"key"), &chain).chain_sha256
    };
    assert_eq!(
        of(&[b"leaf", b"intermediate"]),
        Digest::of(b"leafintermediate")
    );
    assert_ne!(of(&[b"leaf"]), of(&[b"leaf", b"intermediate"]));
    assert_ne!(
        of(&[b"intermediate", b"leaf"]),
        of(&[b"leaf", b"intermediate"])
    );
}

#[test]
fn texts_hold_what_their_field_may_hold() {
    let string = |text: &str| value(|writer| writer.text(text));
    for name in ["acme", "Acme:pump", "acme:pump\0", "acme:*", ""] {
        assert!(text(with(5, string(name))), "{name:?}");
    }
    for version in [
        "",
        "1",
        "1.2",
        "01.2.3",
        "1.2.3 ",
        "v1.2.3",
        "1.2.3-",
        "1.2.3\0",
        "1.2.99999999999999999999",
    ] {
        assert!(text(with(6, string(version))), "{version:?}");
    }
    assert!(with(6, string("1.2.3-rc.1+build.05")).is_ok());
    assert!(malformed(with(5, vec![0x62, 0xff, 0xfe])));
    let document = |media_type: &str| {
        with(
            12,
            value(|writer| {
                writer.array(1);
                writer.array(3);
                writer.text(media_type);
                writer.integer(-16);
                writer.bytes(&[0; 32]);
            }),
        )
    };
    assert!(document("application/spdx+json").is_ok());
    assert!(text(document("Application/SPDX")));
}

#[test]
fn numbers_are_limited() {
    let limited = |result| matches!(result, Err(FormatError::LimitExceeded { .. }));
    let number = |number: u64| value(|writer| writer.unsigned(number));
    assert!(with(4, number(limits::MAX_COMPONENT_BYTES)).is_ok());
    assert!(limited(with(4, number(limits::MAX_COMPONENT_BYTES + 1))));
    assert!(with(7, number(u64::MAX)).is_ok());
    assert!(with(13, number(limits::MAX_UNIX_SECONDS)).is_ok());
    assert!(limited(with(13, number(limits::MAX_UNIX_SECONDS + 1))));
    assert!(limited(Statement::decode(&vec![0; 16 * 1024 + 1])));
    // 64 paths of 255 bytes each are within their own limits, and together too much.
    let mut fields = least();
    fields.grants.directories = (0..64)
        .map(|index| crate::DirectoryGrant {
            guest: format!("/{index:0>254}"),
            writable: false,
        })
        .collect();
    assert!(limited(Statement::new(fields)));
}

#[test]
fn ta34_audiences() {
    let audience = |devices: &[&str], types: &[&str]| Audience {
        devices: devices.iter().map(ToString::to_string).collect(),
        types: types.iter().map(ToString::to_string).collect(),
    };
    assert!(audience(&[], &[]).admits(None, None));
    assert!(audience(&["a", "b"], &[]).admits(Some("b"), None));
    assert!(!audience(&["a", "b"], &[]).admits(Some("c"), Some("a")));
    assert!(!audience(&["a"], &[]).admits(None, None));
    assert!(!audience(&[], &["x"]).admits(Some("a"), None));
    assert!(audience(&["a"], &["x"]).admits(Some("a"), Some("x")));
    assert!(!audience(&["a"], &["x"]).admits(Some("a"), Some("y")));
    assert!(!audience(&["a"], &["x"]).admits(Some("b"), Some("x")));

    assert!(audience(&["a"], &[]).is_within(&audience(&[], &[])));
    assert!(audience(&["a"], &["x"]).is_within(&audience(&["a", "b"], &[])));
    assert!(!audience(&[], &[]).is_within(&audience(&["a"], &[])));
    assert!(!audience(&["a", "c"], &[]).is_within(&audience(&["a", "b"], &[])));
    assert!(!audience(&["a"], &[]).is_within(&audience(&["a"], &["x"])));
}
