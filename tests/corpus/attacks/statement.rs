//! The statement: what is in it, how it is written, and changed after it was signed. The signatures over those of the
//! wrong form are good.

use countersign_format::{Digest, DirectoryGrant, Document, Statement, StatementFields};
use countersign_trust_store::Code;

use crate::attack::{Attack, attack, control};
use crate::cbor::{self, array, bytes, integer, text, unsigned};
use crate::good::{Good, encode, seal};
use crate::handmade::{Entries, entries, stating, stating_instead};

/// Keys of the statement's parts.
const VERSION: u64 = 1;
const DIGEST_ALGORITHM: u64 = 2;
const DIGEST: u64 = 3;
const SIZE: u64 = 4;
const NAME: u64 = 5;
const SEMANTIC_VERSION: u64 = 6;
const SIGNERS: u64 = 8;
const AUDIENCE: u64 = 9;
const DOCUMENTS: u64 = 12;

pub(super) fn attacks() -> Vec<Attack> {
    let mut all = vec![control(
        "control_a_statement_made_by_hand",
        "The good file, its statement put together by hand.",
        |good| stating(good, &entries(good)),
    )];
    all.extend(versions());
    all.extend(unreadable());
    all.extend(other_forms());
    all.extend(digests());
    all.extend(texts());
    all.extend(changed_after_signing());
    all
}

fn versions() -> Vec<Attack> {
    let mut all = vec![
        attack(
            "ta15_a_version_that_is_no_number",
            "The statement's version is a text.",
            Code::Malformed,
            |good| stating_instead(good, VERSION, text("1")),
        ),
        attack(
            "ta15_a_negative_version",
            "The statement's version is -2.",
            Code::Malformed,
            |good| stating_instead(good, VERSION, integer(-2)),
        ),
        attack(
            "ta16_the_version_left_out",
            "The statement does not say its version, so that a reader could take it for an older one.",
            Code::Malformed,
            |good| {
                let mut entries = entries(good);
                entries.remove(0);
                stating(good, &entries)
            },
        ),
    ];
    for (word, version) in [("0", 0), ("2", 2), ("of_64_bits", u64::MAX)] {
        all.push(attack(
            format!("ta15_version_{word}"),
            "The statement is of a version that does not exist yet.",
            Code::FormatVersion,
            move |good| stating_instead(good, VERSION, unsigned(version)),
        ));
    }
    for key in [0, 14, 255, u64::MAX] {
        all.push(attack(
            format!("ta15_an_unknown_part_{key}"),
            "The statement has a part that the format does not have.",
            Code::Malformed,
            move |good| {
                let mut entries = entries(good);
                let place = if key == 0 { 0 } else { entries.len() };
                entries.insert(place, (unsigned(key), unsigned(1)));
                stating(good, &entries)
            },
        ));
    }
    all.push(attack(
        "ta21_a_list_of_ranges",
        "The statement has a list of the ranges that its digest covers.",
        Code::Malformed,
        |good| {
            let range = array(&[unsigned(0), unsigned(8)]);
            stating_instead(good, 14, array(&[range]))
        },
    ));
    all
}

/// Good signatures over what is no statement.
fn unreadable() -> Vec<Attack> {
    let mut all = vec![attack(
        "ta23_half_a_statement",
        "The statement ends in the middle.",
        Code::Malformed,
        |good| {
            let statement = cbor::map(&entries(good));
            good.sign_statement(&[&good.device()], &statement[..statement.len() / 2])
        },
    )];
    for (word, statement) in [
        ("a_byte", &b"\0"[..]),
        ("json", br#"{"name":"test:hello"}"#),
        ("a_word", b"statement"),
        ("null", b"\xf6"),
        ("an_array", b"\x81\x01"),
        ("an_empty_map", b"\xa0"),
        ("a_tagged_map", b"\xd8\x62\xa0"),
        ("a_break", b"\xff"),
    ] {
        all.push(attack(
            format!("ta23_{word}"),
            "What is signed is no statement; the signature over it is good.",
            Code::Malformed,
            move |good| good.sign_statement(&[&good.device()], statement),
        ));
    }
    all
}

/// The same statement in another encoding.
fn other_forms() -> Vec<Attack> {
    let form = |name: &str, what: &str, change: fn(&mut Entries)| {
        attack(name, what, Code::Noncanonical, move |good: &Good| {
            let mut entries = entries(good);
            change(&mut entries);
            stating(good, &entries)
        })
    };
    vec![
        form(
            "ta24_a_key_twice",
            "The statement's last part is there twice.",
            |entries| entries.push(entries[entries.len() - 1].clone()),
        ),
        form(
            "ta24_keys_out_of_order",
            "Two optional parts of the statement are in the wrong order.",
            |entries| entries.push((unsigned(AUDIENCE), audience())),
        ),
        form(
            "ta24_a_key_in_a_longer_form",
            "A key of the statement is longer than it needs.",
            |entries| entries[0].0 = vec![0x18, 0x01],
        ),
        form(
            "ta24_an_integer_in_a_longer_form",
            "The size of the component is longer than it needs.",
            |entries| {
                let size: u64 = minicbor::decode(&entries[3].1).expect("a number");
                entries[3].1 = [&[0x1b], &size.to_be_bytes()[..]].concat();
            },
        ),
        form(
            "ta24_a_length_in_a_longer_form",
            "The length of the digest is longer than it needs.",
            |entries| entries[2].1 = [&[0x59, 0, 32], &entries[2].1[2..]].concat(),
        ),
        form(
            "ta24_a_text_in_pieces",
            "The component's name is a text of indefinite length.",
            |entries| entries[4].1 = [&[0x7f], entries[4].1.as_slice(), &[0xff]].concat(),
        ),
        form(
            "ta24_a_list_of_no_definite_length",
            "The list of signers is of indefinite length.",
            |entries| entries[7].1 = [&[0x9f], &entries[7].1[1..], &[0xff]].concat(),
        ),
        form(
            "ta24_an_empty_audience",
            "An audience that says nothing is there all the same.",
            |entries| entries.insert(8, (unsigned(AUDIENCE), cbor::map(&[]))),
        ),
        form(
            "ta24_an_empty_list",
            "A list of documents that is empty is there all the same.",
            |entries| entries.push((unsigned(DOCUMENTS), array(&[]))),
        ),
        form(
            "ta24_a_list_out_of_order",
            "The devices of the audience are not sorted.",
            |entries| {
                let devices = array(&[text("pump-2"), text("pump-1")]);
                let audience = cbor::map(&[(unsigned(1), devices)]);
                entries.insert(8, (unsigned(AUDIENCE), audience));
            },
        ),
        attack(
            "ta24_a_statement_of_no_definite_length",
            "The statement is a map of indefinite length.",
            Code::Noncanonical,
            |good| {
                let map = cbor::map(&entries(good));
                let statement = [&[0xbf], &map[1..], &[0xff]].concat();
                good.sign_statement(&[&good.device()], &statement)
            },
        ),
        attack(
            "ta24_a_byte_behind_the_statement",
            "A byte stands behind the statement and is signed with it.",
            Code::Noncanonical,
            |good| {
                let statement = [cbor::map(&entries(good)), vec![0xf6]].concat();
                good.sign_statement(&[&good.device()], &statement)
            },
        ),
        attack(
            "ta24_a_float_for_a_number",
            "The statement's version is the float 1.0.",
            Code::Malformed,
            |good| stating_instead(good, VERSION, vec![0xf9, 0x3c, 0x00]),
        ),
        attack(
            "ta24_a_big_number",
            "The size of the component is a big number of CBOR's.",
            Code::Malformed,
            |good| stating_instead(good, SIZE, vec![0xc2, 0x41, 0x01]),
        ),
        attack(
            "ta24_a_key_that_is_a_text",
            "A key of the statement is a text.",
            Code::Malformed,
            |good| {
                let mut entries = entries(good);
                entries.push((text("x"), unsigned(1)));
                stating(good, &entries)
            },
        ),
    ]
}

/// Digests of another length or algorithm.
fn digests() -> Vec<Attack> {
    let mut all = vec![
        attack(
            "tb11_a_digest_of_31_bytes",
            "The component's digest lacks its last byte.",
            Code::Malformed,
            |good| stating_instead(good, DIGEST, bytes(&digest(good)[..31])),
        ),
        attack(
            "tb11_a_digest_of_33_bytes",
            "The component's digest has a byte more.",
            Code::Malformed,
            |good| stating_instead(good, DIGEST, bytes(&[digest(good), vec![0]].concat())),
        ),
        attack(
            "tb11_a_digest_of_no_bytes",
            "The component's digest has no bytes.",
            Code::Malformed,
            |good| stating_instead(good, DIGEST, bytes(b"")),
        ),
        attack(
            "tb11_a_digest_in_hexadecimal",
            "The component's digest is a text.",
            Code::Malformed,
            |good| stating_instead(good, DIGEST, text(&"00".repeat(32))),
        ),
    ];
    for (word, number) in [
        ("sha_1", -14),
        ("sha_256_of_64_bits", -15),
        ("sha_512_of_256_bits", -17),
        ("sha_384", -43),
        ("sha_512", -44),
        ("an_unknown_one", -65_000),
        ("none", 0),
    ] {
        all.push(attack(
            format!("ta33_{word}"),
            "The digest is said to be of another algorithm than SHA-256.",
            Code::AlgorithmForbidden,
            move |good| stating_instead(good, DIGEST_ALGORITHM, integer(number)),
        ));
    }
    for (word, number, length) in [
        ("sha_1", -14, 20),
        ("sha_256_of_64_bits", -15, 8),
        ("sha_512", -44, 64),
    ] {
        all.push(attack(
            format!("tb11_{word}_with_its_own_length"),
            "The digest is of another algorithm, and as long as that one's are.",
            Code::AlgorithmForbidden,
            move |good| {
                let mut entries = entries(good);
                entries[1].1 = integer(number);
                entries[2].1 = bytes(&vec![7; length]);
                stating(good, &entries)
            },
        ));
        all.push(attack(
            format!("tb11_sha_256_with_the_length_of_{word}"),
            "The digest is said to be SHA-256, and as long as another one's.",
            Code::Malformed,
            move |good| stating_instead(good, DIGEST, bytes(&vec![7; length])),
        ));
    }
    all
}

/// Texts that their fields may not hold.
fn texts() -> Vec<Attack> {
    let mut all = Vec::new();
    for (word, name) in [
        ("in_capital_letters", "Test:Hello"),
        ("without_a_namespace", "hello"),
        ("with_an_empty_namespace", ":hello"),
        ("with_an_empty_part", "test:"),
        ("with_a_second_colon", "test:hello:more"),
        ("with_a_star", "test:*"),
        ("with_a_cyrillic_letter", "test:hell\u{043e}"),
        ("with_a_line_end", "test:hello\n"),
        ("with_a_zero", "test:hello\0"),
        ("with_a_path", "test:../hello"),
        ("with_a_terminal_command", "test:\u{1b}[2Jhello"),
    ] {
        all.push(attack(
            format!("tc39_a_name_{word}"),
            "The component's name is none, and almost one within the signer's scope.",
            Code::Malformed,
            move |good| stating_instead(good, NAME, text(name)),
        ));
    }
    for (word, version) in [
        ("with_a_leading_zero", "01.0.0"),
        ("of_two_parts", "1.0"),
        ("of_words", "latest"),
    ] {
        all.push(attack(
            format!("ta24_a_semantic_version_{word}"),
            "The component's version is not in the one form that versions have.",
            Code::Malformed,
            move |good| stating_instead(good, SEMANTIC_VERSION, text(version)),
        ));
    }
    all.push(attack(
        "ta24_a_name_that_is_no_text",
        "The component's name has bytes that are no UTF-8.",
        Code::Malformed,
        |good| stating_instead(good, NAME, b"\x6atest:hell\xff".to_vec()),
    ));
    all.push(attack(
        "ta27_no_signer_in_the_statement",
        "The statement's list of signers is empty.",
        Code::Noncanonical,
        |good| stating_instead(good, SIGNERS, array(&[])),
    ));
    all
}

/// One part is another one, under the signature that was made before.
fn changed_after_signing() -> Vec<Attack> {
    let part = |word: &str, change: fn(&mut StatementFields)| {
        attack(
            format!("ta29_another_{word}"),
            "One part of the statement is another one than was signed.",
            Code::SignatureInvalid,
            move |good: &Good| {
                let device = good.device();
                let mut fields = good.fields(&device);
                let entry = device.entry(&encode(fields.clone()));
                let before = Statement::new(fields.clone()).expect("a statement");
                change(&mut fields);
                let after = Statement::new(fields).expect("a statement");
                assert_ne!(before, after, "the change changes something");
                good.enclose(&seal(&after.encode(), vec![entry]))
            },
        )
    };
    vec![
        part("name", |fields| {
            fields.name = "test:hullo".parse().expect("a name")
        }),
        part("version", |fields| fields.version.major += 1),
        part("security_version", |fields| fields.security_version += 1),
        part("grant_of_output", |fields| {
            fields.grants.stdio.stderr = true
        }),
        part("grant_of_a_directory", |fields| {
            fields.grants.directories.push(DirectoryGrant {
                guest: "/etc".to_owned(),
                writable: true,
            });
        }),
        part("grant_of_a_variable", |fields| {
            fields.grants.env.push("SECRET".to_owned());
        }),
        part("grant_of_a_socket", |fields| {
            fields.grants.sockets = Some(vec!["tcp:192.0.2.7:502".to_owned()]);
        }),
        part("grant_of_the_clock", |fields| {
            fields.grants.wall_clock = true
        }),
        part("limit_of_memory", |fields| {
            fields.limits.memory_bytes = Some(1 << 30)
        }),
        part("audience", |fields| {
            fields.audience.types.push("pump".to_owned())
        }),
        part("document", |fields| {
            fields.documents.push(Document {
                media_type: "application/vnd.cyclonedx+json".to_owned(),
                digest: Digest::of(b"a document"),
            });
        }),
        part("time", |fields| fields.issued_at = Some(1)),
    ]
}

fn audience() -> Vec<u8> {
    cbor::map(&[(unsigned(1), array(&[text("pump-1")]))])
}

fn digest(good: &Good) -> Vec<u8> {
    Digest::of(&good.component()).as_bytes().to_vec()
}
