//! Sizes and times as people write them.

use std::time::Duration;

/// A time of at least a millisecond: `500ms`, `10s`, `5m`.
///
/// # Errors
/// What is wrong with the text, and how to write it.
pub fn time(text: &str) -> Result<Duration, String> {
    let duration = humantime::parse_duration(text)
        .map_err(|error| format!("{error}; write a number with its unit: 500ms, 10s, 5m"))?;
    if duration < Duration::from_millis(1) {
        return Err("the shortest time is 1ms".to_owned());
    }
    Ok(duration)
}

/// A size in bytes of at least one: `65536`, `512KiB`, `64MiB`, `1GiB`.
///
/// # Errors
/// What is wrong with the text, and how to write it.
pub fn size(text: &str) -> Result<u64, String> {
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let factor = match unit.trim_start() {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return Err("write a number of bytes, or one with KiB, MiB or GiB".to_owned()),
    };
    let number: u64 = number
        .parse()
        .map_err(|_| "write a number of bytes, or one with KiB, MiB or GiB".to_owned())?;
    match number.checked_mul(factor) {
        Some(0) => Err(
            "a guest needs some memory; leave the option out to use the statement's limit"
                .to_owned(),
        ),
        Some(bytes) => Ok(bytes),
        None => Err("that is more than any machine has".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_times_carry_their_units() {
        assert_eq!(size("65536"), Ok(65536));
        assert_eq!(size("64MiB"), Ok(64 << 20));
        assert_eq!(size("2GiB"), Ok(2 << 30));
        for bad in [
            "",
            "MiB",
            "0",
            "-1",
            "1.5MiB",
            "64MB",
            "99999999999GiB",
            "18446744073709551616",
        ] {
            assert!(size(bad).is_err(), "{bad}");
        }
        assert_eq!(time("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(time("5m"), Ok(Duration::from_secs(300)));
        for bad in ["", "10", "0s", "10us", "-1s", "soon"] {
            assert!(time(bad).is_err(), "{bad}");
        }
    }
}
