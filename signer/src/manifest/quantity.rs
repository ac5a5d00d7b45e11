//! Sizes and times as people write them: `64MiB`, `10s`.

use serde::Deserialize;
use serde::de::{Deserializer, Error, Visitor};
use std::fmt;

/// A number of bytes: an integer, or a text with `KiB`, `MiB` or `GiB`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bytes(pub(super) u64);

/// A time in milliseconds: a text with `ms`, `s`, `m` or `h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Milliseconds(pub(super) u64);

const BYTE_UNITS: &[(&str, u64)] = &[
    ("KiB", 1024),
    ("MiB", 1024 * 1024),
    ("GiB", 1024 * 1024 * 1024),
];
const TIME_UNITS: &[(&str, u64)] = &[("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000)];

/// `number unit`, with or without a blank between them, not zero.
fn parse(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at_checked(digits)?;
    let (_, factor) = units
        .iter()
        .find(|(name, _)| *name == unit.trim_start_matches(' '))?;
    number
        .parse::<u64>()
        .ok()?
        .checked_mul(*factor)
        .filter(|value| *value > 0)
}

struct Quantity {
    units: &'static [(&'static str, u64)],
    integers: bool,
    expected: &'static str,
}

impl Visitor<'_> for Quantity {
    type Value = u64;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.expected)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<u64, E> {
        parse(text, self.units)
            .ok_or_else(|| E::custom(format!("{text:?} is not {}", self.expected)))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<u64, E> {
        u64::try_from(number)
            .ok()
            .filter(|number| self.integers && *number > 0)
            .ok_or_else(|| E::custom(format!("{number} is not {}", self.expected)))
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let expected =
            "a size: bytes as a number above zero, or a text such as \"64MiB\" (KiB, MiB, GiB)";
        deserializer
            .deserialize_any(Quantity {
                units: BYTE_UNITS,
                integers: true,
                expected,
            })
            .map(Self)
    }
}

impl<'de> Deserialize<'de> for Milliseconds {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let expected = "a time above zero with its unit, such as \"10s\" (ms, s, m, h)";
        deserializer
            .deserialize_any(Quantity {
                units: TIME_UNITS,
                integers: false,
                expected,
            })
            .map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units() {
        assert_eq!(parse("64MiB", BYTE_UNITS), Some(67_108_864));
        assert_eq!(parse("1 GiB", BYTE_UNITS), Some(1_073_741_824));
        assert_eq!(parse("250ms", TIME_UNITS), Some(250));
        assert_eq!(parse("2m", TIME_UNITS), Some(120_000));
        assert_eq!(parse("1h", TIME_UNITS), Some(3_600_000));
        for wrong in [
            "",
            "64",
            "MiB",
            "64MB",
            "64mib",
            "-1s",
            "1.5s",
            "0s",
            "99999999999999999999s",
            "18446744073709551615h",
        ] {
            assert_eq!(
                parse(wrong, BYTE_UNITS).or(parse(wrong, TIME_UNITS)),
                None,
                "{wrong}"
            );
        }
    }
}
