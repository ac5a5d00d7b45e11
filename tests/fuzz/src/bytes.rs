//! Changes to plain bytes: damage, and what a program that knows nothing of a format would try.

use crate::cursor::Cursor;

/// At most this many changes to one thing.
const MAX_CHANGES: u8 = 8;

/// Makes the changes that the input asks for.
pub fn change(bytes: &mut Vec<u8>, input: &mut Cursor<'_>) {
    for _ in 0..input.byte() % MAX_CHANGES {
        change_once(bytes, input);
    }
}

fn change_once(bytes: &mut Vec<u8>, input: &mut Cursor<'_>) {
    let kind = input.byte() % 10;
    let at = input.place(bytes.len().saturating_add(1));
    let end = |length: usize| at.saturating_add(length).min(bytes.len());
    match kind {
        0 => {
            let value = input.byte();
            if let Some(byte) = bytes.get_mut(at) {
                *byte = value;
            }
        }
        1 => {
            let bit = input.byte() % 8;
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= 1 << bit;
            }
        }
        2 => drop(bytes.drain(at..end(input.byte().into()))),
        3 => drop(bytes.splice(at..at, input.text().iter().copied())),
        4 => {
            let again = bytes[at..end(input.byte().into())].to_vec();
            bytes.splice(at..at, again);
        }
        5 => bytes.truncate(at),
        6 => {
            let new = input.text();
            bytes.splice(at..end(new.len()), new.iter().copied());
        }
        // A count or a kind beside the right one.
        7 | 8 => {
            if let Some(byte) = bytes.get_mut(at) {
                *byte = byte.wrapping_add(if kind == 7 { 1 } else { 0xff });
            }
        }
        _ => {
            let other = input.place(bytes.len());
            if at < bytes.len() {
                bytes.swap(at, other);
            }
        }
    }
}
