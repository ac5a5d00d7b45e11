//! CBOR (RFC 8949) written by hand, so that it can be wrong.

/// The head of an item: major type and argument, in the shortest form.
pub(crate) fn head(major: u8, argument: u64) -> Vec<u8> {
    let major = major << 5;
    match argument {
        0..24 => vec![major | u8::try_from(argument).expect("below 24")],
        24..0x100 => [&[major | 24], &argument.to_be_bytes()[7..]].concat(),
        0x100..0x1_0000 => [&[major | 25], &argument.to_be_bytes()[6..]].concat(),
        0x1_0000..0x1_0000_0000 => long_head(major >> 5, argument),
        _ => [&[major | 27], &argument.to_be_bytes()[..]].concat(),
    }
}

/// A head whose argument takes four bytes, whatever it is.
pub(crate) fn long_head(major: u8, argument: u64) -> Vec<u8> {
    [&[(major << 5) | 26], &argument.to_be_bytes()[4..]].concat()
}

pub(crate) fn unsigned(value: u64) -> Vec<u8> {
    head(0, value)
}

/// A negative integer: -1 - `value`.
pub(crate) fn negative(value: u64) -> Vec<u8> {
    head(1, value)
}

/// An integer, such as the number of an algorithm.
pub(crate) fn integer(value: i64) -> Vec<u8> {
    match value {
        0.. => unsigned(value.unsigned_abs()),
        _ => negative((!value).unsigned_abs()),
    }
}

pub(crate) fn bytes(value: &[u8]) -> Vec<u8> {
    [head(2, length(value)), value.to_vec()].concat()
}

pub(crate) fn text(value: &str) -> Vec<u8> {
    [head(3, length(value.as_bytes())), value.into()].concat()
}

/// An array of encoded items.
pub(crate) fn array(items: &[Vec<u8>]) -> Vec<u8> {
    [head(4, length(items)), items.concat()].concat()
}

/// A map of encoded keys and values, in the order given.
pub(crate) fn map(entries: &[(Vec<u8>, Vec<u8>)]) -> Vec<u8> {
    let entries_: Vec<u8> = entries
        .iter()
        .flat_map(|(key, value)| [key.as_slice(), value].concat())
        .collect();
    [head(5, length(entries)), entries_].concat()
}

fn length<T>(of: &[T]) -> u64 {
    u64::try_from(of.len()).expect("a length of a test")
}
