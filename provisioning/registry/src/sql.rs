//! Statements over many rows. Their lengths come in a few sizes, so that databases keep each one prepared.

use countersign_provisioning::{Reason, Serial};
use sqlx::Row;
use sqlx::any::AnyRow;

use crate::Error;
use crate::model::{Certificate, CertificateState};

/// Rows in one statement, the largest first. With ten values each they stay below both databases' limits on parameters.
const SIZES: [usize; 4] = [128, 32, 8, 1];

/// Every column of a certificate that [`certificate`] reads, in its order.
pub(crate) const CERTIFICATE: &str = "serial, device, profile, issuer, key_hash, not_before, not_after, state, revoked_at, reason, der, reserved_at";

/// Cuts `items` into pieces of [`SIZES`].
pub(crate) fn pieces<T>(mut items: &[T]) -> Vec<&[T]> {
    let mut pieces = Vec::new();
    for size in SIZES {
        while let Some((piece, rest)) = items.split_at_checked(size) {
            pieces.push(piece);
            items = rest;
        }
    }
    pieces
}

/// `($1, $2), ($3, $4)`: so many rows of so many values, after `before` other parameters.
pub(crate) fn rows(before: usize, rows: usize, columns: usize) -> String {
    let mut text = String::new();
    let mut number = before;
    for row in 0..rows {
        text.push_str(if row == 0 { "(" } else { ", (" });
        for column in 0..columns {
            number = number.saturating_add(1);
            if column > 0 {
                text.push_str(", ");
            }
            text.push('$');
            text.push_str(&number.to_string());
        }
        text.push(')');
    }
    text
}

/// `($1, $2, $3)`, for IN.
pub(crate) fn list(before: usize, count: usize) -> String {
    rows(before, 1, count)
}

/// A time or a count for the database; none of ours is that large.
pub(crate) fn int(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// And back.
pub(crate) fn uint(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}

/// Thirty-two bytes of a column.
pub(crate) fn hash(bytes: &[u8], what: &'static str) -> Result<[u8; 32], Error> {
    bytes.try_into().ok().ok_or_else(Error::corrupt(what))
}

/// A serial number of a column.
pub(crate) fn serial(bytes: &[u8]) -> Result<Serial, Error> {
    let text: String = bytes.iter().map(|octet| format!("{octet:02x}")).collect();
    text.parse()
        .ok()
        .ok_or_else(Error::corrupt("a serial number"))
}

/// Why something was revoked, of a column.
pub(crate) fn reason(row: &AnyRow, column: usize) -> Result<Reason, Error> {
    let reason: String = row.try_get(column)?;
    reason.parse().ok().ok_or_else(Error::corrupt("a reason"))
}

/// Reads a row of [`CERTIFICATE`].
pub(crate) fn certificate(row: &AnyRow) -> Result<Certificate, Error> {
    let corrupt = || Error::corrupt("a certificate's record");
    let text = |column: usize| row.try_get::<String, _>(column);
    let bytes = |column: usize| row.try_get::<Vec<u8>, _>(column);
    let time = |column: usize| row.try_get::<i64, _>(column).map(uint);
    let revoked_at: Option<i64> = row.try_get(8)?;
    let reason: Option<String> = row.try_get(9)?;
    let revoked = match (revoked_at, reason) {
        (Some(at), Some(reason)) => Some((uint(at), reason.parse().ok().ok_or_else(corrupt())?)),
        _ => None,
    };
    Ok(Certificate {
        serial: serial(&bytes(0)?)?,
        device: text(1)?.parse().ok().ok_or_else(corrupt())?,
        profile: text(2)?.parse().ok().ok_or_else(corrupt())?,
        issuer: hash(&bytes(3)?, "an issuer")?,
        key: hash(&bytes(4)?, "a key")?,
        not_before: time(5)?,
        not_after: time(6)?,
        state: CertificateState::from_word(&text(7)?).ok_or_else(corrupt())?,
        revoked,
        der: row.try_get(10)?,
        reserved_at: time(11)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_cover_everything_in_order() {
        for count in [0, 1, 7, 8, 9, 39, 128, 300] {
            let items: Vec<usize> = (0..count).collect();
            assert_eq!(pieces(&items).concat(), items);
        }
    }

    #[test]
    fn parameters_are_numbered_on() {
        assert_eq!(rows(1, 2, 2), "($2, $3), ($4, $5)");
        assert_eq!(list(0, 2), "($1, $2)");
    }
}
