//! Deterministic CBOR: what is refused, token by token.

use super::*;

fn shortest<T: core::fmt::Debug>(result: Result<T, FormatError>) -> bool {
    matches!(result, Err(FormatError::Noncanonical { what, .. }) if what.contains("shortest"))
}

#[test]
fn written_heads_read_back_at_every_width() {
    for value in [
        0,
        23,
        24,
        255,
        256,
        65_535,
        65_536,
        0xffff_ffff,
        0x1_0000_0000,
        u64::MAX,
    ] {
        let mut writer = Writer::default();
        writer.unsigned(value);
        let bytes = writer.finish();
        assert_eq!(length(bytes.len()), head_length(value));
        assert_eq!(Reader::new(&bytes).unsigned("value"), Ok(value));
    }
    for value in [
        0,
        -1,
        -24,
        -25,
        -256,
        -257,
        -65_536,
        -65_537,
        i64::MIN,
        i64::MAX,
        -9,
        -16,
        -19,
    ] {
        let mut writer = Writer::default();
        writer.integer(value);
        assert_eq!(Reader::new(&writer.finish()).integer("value"), Ok(value));
    }
}

#[test]
fn ta24_longer_heads_are_noncanonical() {
    assert!(shortest(Reader::new(&[0x18, 0x17]).unsigned("")));
    assert!(shortest(Reader::new(&[0x19, 0, 0xff]).unsigned("")));
    assert!(shortest(
        Reader::new(&[0x1a, 0, 0, 0xff, 0xff]).unsigned("")
    ));
    assert!(shortest(
        Reader::new(&[0x1b, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff]).unsigned("")
    ));
    assert!(shortest(Reader::new(&[0x38, 0x08]).integer("")));
    assert!(shortest(Reader::new(&[0x58, 1, 7]).bytes("", 9)));
    assert!(shortest(Reader::new(&[0x78, 1, b'a']).text("", 9)));
    assert!(shortest(Reader::new(&[0x98, 1, 7]).array("", 9)));
    assert!(shortest(
        Reader::new(&[0xb8, 1, 7, 7]).map("", 9).map(|_| ())
    ));
    assert!(shortest(Reader::new(&[0xd9, 0, 98, 7]).tag("")));
}

#[test]
fn ta24_indefinite_lengths_are_noncanonical() {
    let indefinite = |error| matches!(error, FormatError::Noncanonical { what, .. } if what.contains("indefinite"));
    assert!(indefinite(
        Reader::new(&[0x5f, 0x41, 7, 0xff])
            .bytes("", 9)
            .unwrap_err()
    ));
    assert!(indefinite(
        Reader::new(&[0x7f, 0x61, b'a', 0xff])
            .text("", 9)
            .unwrap_err()
    ));
    assert!(indefinite(
        Reader::new(&[0x9f, 7, 0xff]).array("", 9).unwrap_err()
    ));
    assert!(indefinite(
        Reader::new(&[0xbf, 7, 7, 0xff])
            .map("", 9)
            .map(|_| ())
            .unwrap_err()
    ));
}

#[test]
fn ta25_claimed_lengths_are_limited_before_they_are_read() {
    assert_eq!(
        Reader::new(&[0x9b, 0, 0, 0, 1, 0, 0, 0, 0]).array("list", 64),
        Err(FormatError::LimitExceeded {
            what: "list",
            limit: 64,
            actual: 1 << 32
        })
    );
    assert!(matches!(
        Reader::new(&[0xbb, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff])
            .map("map", 8)
            .map(|_| ()),
        Err(FormatError::LimitExceeded {
            actual: u64::MAX,
            ..
        })
    ));
    assert!(
        Reader::new(&[0x5b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff])
            .bytes("", 8)
            .is_err()
    );
}

#[test]
fn refusals_say_where() {
    // One byte was read, of bytes that start at 100.
    let mut reader = Reader::at(100, &[0, 0x18, 0x17]);
    assert_eq!(reader.unsigned("value"), Ok(0));
    assert!(matches!(
        reader.unsigned("value"),
        Err(FormatError::Noncanonical { offset: 101, .. })
    ));
    let mut reader = Reader::at(100, &[0, 0xf6]);
    assert_eq!(reader.unsigned("value"), Ok(0));
    assert_eq!(
        reader.unsigned("value"),
        Err(FormatError::Malformed {
            what: "value",
            offset: 101
        })
    );
}

#[test]
fn ta24_keys_must_rise() {
    let mut reader = Reader::new(&[0xa2, 1, 1]);
    let mut keys = reader.map("map", 8).unwrap();
    assert_eq!(keys.next(&mut reader), Ok(Some(1)));
    assert!(matches!(
        keys.next(&mut reader),
        Err(FormatError::Noncanonical {
            what: "a map key that appears twice",
            ..
        })
    ));
    let mut reader = Reader::new(&[0xa2, 2, 1]);
    let mut keys = reader.map("map", 8).unwrap();
    assert_eq!(keys.next(&mut reader), Ok(Some(2)));
    assert!(matches!(
        keys.next(&mut reader),
        Err(FormatError::Noncanonical {
            what: "map keys that are not sorted",
            ..
        })
    ));
}

#[test]
fn wrong_types_and_ends_are_malformed() {
    let malformed = |error| matches!(error, FormatError::Malformed { what: "field", .. });
    assert!(malformed(Reader::new(&[]).unsigned("field").unwrap_err()));
    assert!(malformed(
        Reader::new(&[0x20]).unsigned("field").unwrap_err()
    ));
    assert!(malformed(
        Reader::new(&[0x19, 1]).unsigned("field").unwrap_err()
    ));
    assert!(malformed(
        Reader::new(&[0x42, 1]).bytes("field", 9).unwrap_err()
    ));
    assert!(malformed(
        Reader::new(&[0x61, 0xff]).text("field", 9).unwrap_err()
    ));
    assert!(malformed(
        Reader::new(&[0xf6]).boolean("field").unwrap_err()
    ));
    assert!(malformed(
        Reader::new(&[0x1c]).unsigned("field").unwrap_err()
    ));
    assert!(malformed(
        Reader::new(&[0x3b, 0x80, 0, 0, 0, 0, 0, 0, 0])
            .integer("field")
            .unwrap_err()
    ));
}
