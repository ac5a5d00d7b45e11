//! The first schema, as it lies in databases, with what it let pass.

use countersign_provisioning::Profile;
use countersign_registry::{Refusal, Reservation};

use crate::database::{Database, NOW, asking, reserve};

pub(crate) async fn tg32_a_schema_of_before_is_brought_up_to_date(database: Database) {
    let is_sqlite = database.folder.is_some();
    let [big, bytes, identity] = if is_sqlite {
        ["INTEGER", "BLOB", "INTEGER PRIMARY KEY AUTOINCREMENT"]
    } else {
        [
            "BIGINT",
            "BYTEA",
            "BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY",
        ]
    };
    let schema: Vec<&str> = include_str!("../../src/schema/1.sql")
        .lines()
        .filter(|line| !line.starts_with("--"))
        .collect();
    let schema = schema
        .join("\n")
        .replace("BIG_INT", big)
        .replace("BYTE_S", bytes)
        .replace("IDENTITY_KEY", identity);
    let octets = |octet: u8, count: usize| {
        let text = format!("{octet:02x}").repeat(count);
        if is_sqlite {
            format!("x'{text}'")
        } else {
            format!("decode('{text}', 'hex')")
        }
    };
    let mut statements: Vec<String> = schema
        .split(';')
        .map(|text| text.trim().to_owned())
        .collect();
    statements.push(format!(
        "CREATE TABLE schema_version (version {big} NOT NULL)"
    ));
    statements.push("INSERT INTO schema_version (version) VALUES (1)".to_owned());
    statements.push("INSERT INTO orders (id, quota, used) VALUES ('all', 10, 2)".to_owned());
    for (device, key) in [("a", 1), ("b", 2)] {
        let key = octets(key, 32);
        statements.push(format!(
            "INSERT INTO devices (device, device_type, family, revision, firmware, state, order_id, counted_at, \
             recorded_at) VALUES ('{device}', '', '', '', '', 'approved', 'all', 1, 1)"
        ));
        statements.push(format!(
            "INSERT INTO device_keys (key_hash, device) VALUES ({key}, '{device}')"
        ));
    }
    for (number, device, key, profile, at, state, reason) in [
        (0x41, "a", 1, "tls", 5, "issued", "NULL"),
        (0x40, "a", 1, "guest-data", 6, "issued", "NULL"),
        (0x42, "b", 2, "tls", 7, "revoked", "'key-compromise'"),
    ] {
        let (serial, issuer, key) = (octets(number, 16), octets(7, 32), octets(key, 32));
        statements.push(format!(
            "INSERT INTO certificates (serial, device, profile, issuer, key_hash, not_before, not_after, state, owner, \
             reserved_at, revoked_at, reason) VALUES ({serial}, '{device}', '{profile}', {issuer}, {key}, 1, \
             2000000000, '{state}', 0, {at}, 8, {reason})"
        ));
    }
    for statement in statements.iter().filter(|statement| !statement.is_empty()) {
        database.past(statement).await;
    }

    let registry = database.open().await;
    // The key keeps the purpose that it had first.
    let other = Reservation {
        profile: Profile::Attestation,
        ..asking("a", 1)
    };
    let outcome = reserve(&registry, &other, NOW).await;
    let is_known = matches!(
        outcome,
        Err(Refusal::KeyKnown {
            serves: Some(Profile::Tls),
            ..
        })
    );
    assert!(is_known, "{outcome:?}");
    let outcome = reserve(&registry, &asking("b", 2), NOW).await;
    let is_lost = matches!(outcome, Err(Refusal::KeyRevoked { .. }));
    assert!(is_lost, "{outcome:?}");
    let counts = registry.statistics().await.expect("counted");
    assert_eq!(
        counts.certificates,
        [("issued".to_owned(), 2), ("revoked".to_owned(), 1)]
    );
}
