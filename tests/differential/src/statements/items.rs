//! Changes to encoded CBOR: to single octets, and to whole items with their heads.

use crate::random::Random;

/// Changes an encoding in a few places, or, rarely, in none.
pub(super) fn mutate(mut bytes: Vec<u8>, other: &[u8], random: &mut Random) -> Vec<u8> {
    for _ in 0..*random.of(&[0, 1, 1, 1, 1, 2, 3]) {
        if bytes.is_empty() {
            break;
        }
        let items = heads(&bytes);
        let at = *random.of(&items);
        match random.below(14) {
            0..=2 => {
                let at = random.below(bytes.len());
                bytes[at] ^= 1 << random.below(8);
            }
            3 => {
                let at = random.below(bytes.len());
                bytes[at] = random.octet();
            }
            4 => bytes.truncate(random.below(bytes.len())),
            5 => bytes.push(random.octet()),
            6 | 7 => longer_head(&mut bytes, at, random),
            8 => indefinite(&mut bytes, at),
            9 => {
                // An item again, or out.
                let end = after(&bytes, at);
                let item = bytes[at..end].to_vec();
                if random.one_in(2) {
                    bytes.splice(end..end, item);
                } else {
                    bytes.drain(at..end);
                }
            }
            10 => {
                // An item of another encoding in its place.
                let foreign = heads(other);
                let from = *random.of(&foreign);
                let item = other[from..after(other, from)].to_vec();
                let end = after(&bytes, at);
                bytes.splice(at..end, item);
            }
            11 => {
                // Two neighbours exchanged.
                let middle = after(&bytes, at);
                let end = after(&bytes, middle.min(bytes.len() - 1)).max(middle);
                bytes[at..end].rotate_left(middle - at);
            }
            12 => {
                let end = after(&bytes, at);
                let item = *random.of(STRANGE);
                bytes.splice(at..end, item.iter().copied());
            }
            _ => {
                let item = match random.below(3) {
                    0 => vec![0xd9, 0xd9, 0xf7],
                    1 => vec![0xd8, 0x62],
                    _ => vec![0xc0 | random.octet() & 0x17],
                };
                bytes.splice(at..at, item);
            }
        }
    }
    bytes
}

/// Values that mean to some what others mean, or nothing here.
const STRANGE: &[&[u8]] = &[
    &[0xf4],
    &[0xf5],
    &[0xf6],
    &[0xf7],
    &[0xf8, 0x20],
    &[0xf9, 0x3c, 0x00],
    &[0xfa, 0x3f, 0x80, 0, 0],
    &[0xc2, 0x41, 1],
    &[0xc2, 0x49, 1, 0, 0, 0, 0, 0, 0, 0, 0],
    &[0xd8, 0x62, 0x80],
    &[0x80],
    &[0xa0],
    &[0x40],
    &[0x60],
];

/// Where items begin, as far as the bytes are read.
fn heads(bytes: &[u8]) -> Vec<usize> {
    let mut found = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        found.push(at);
        let Some((head, argument)) = head(bytes, at) else {
            break;
        };
        // Into lists, maps and tags, and past strings; every third string is entered, for it may hold an item.
        at += match bytes[at] >> 5 {
            2 if argument > 1 && argument < 0x1_0000 && at % 3 == 0 => head,
            2 | 3 => head.saturating_add(usize::try_from(argument).unwrap_or(usize::MAX / 2)),
            _ => head,
        };
    }
    found
}

/// The length of the head, and its argument.
fn head(bytes: &[u8], at: usize) -> Option<(usize, u64)> {
    let info = bytes.get(at)? & 0x1f;
    let more = match info {
        0..=23 => return Some((1, info.into())),
        24 => 1,
        25 => 2,
        26 => 4,
        27 => 8,
        _ => return Some((1, 0)),
    };
    let octets = bytes.get(at + 1..at + 1 + more)?;
    let argument = octets
        .iter()
        .fold(0_u64, |number, octet| number << 8 | u64::from(*octet));
    Some((1 + more, argument))
}

/// Where the item that begins here ends.
fn after(bytes: &[u8], at: usize) -> usize {
    end(bytes, at, 0).unwrap_or(bytes.len()).min(bytes.len())
}

fn end(bytes: &[u8], at: usize, depth: usize) -> Option<usize> {
    let (length, argument) = head(bytes, at)?;
    let mut next = at + length;
    let argument = usize::try_from(argument).ok()?;
    let children = match bytes[at] >> 5 {
        2 | 3 => return next.checked_add(argument),
        4 => argument,
        5 => argument.checked_mul(2)?,
        6 => 1,
        _ => 0,
    };
    if depth > 32 || children > bytes.len() {
        return None;
    }
    for _ in 0..children {
        next = end(bytes, next, depth + 1)?;
    }
    Some(next)
}

/// The same argument in more octets than it needs.
fn longer_head(bytes: &mut Vec<u8>, at: usize, random: &mut Random) {
    let Some((length, argument)) = head(bytes, at) else {
        return;
    };
    let major = bytes[at] & 0xe0;
    let octets = argument.to_be_bytes();
    let (info, width) = *random.of(&[(24, 1), (25, 2), (26, 4), (27, 8)]);
    if width < length - 1 {
        return;
    }
    let longer: Vec<u8> = [&[major | info], &octets[8 - width..]].concat();
    bytes.splice(at..at + length, longer);
}

/// The same list, map or string without a length and with an end.
fn indefinite(bytes: &mut Vec<u8>, at: usize) {
    let Some((length, _)) = head(bytes, at) else {
        return;
    };
    let major = bytes[at] & 0xe0;
    let end = after(bytes, at);
    match major >> 5 {
        4 | 5 => {
            bytes.insert(end, 0xff);
            bytes.splice(at..at + length, [major | 0x1f]);
        }
        2 | 3 => {
            bytes.insert(end, 0xff);
            bytes.insert(at, major | 0x1f);
        }
        _ => {}
    }
}
