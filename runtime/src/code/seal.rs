//! The seal on compiled code: keyed BLAKE3 over what the code belongs to, what its component imports, and the code.
//!
//! ```text
//! head ‖ MAC (32) ‖ length of the imports (4, little-endian) ‖ imports ‖ code
//! imports: for each, length of its name (4, little-endian) ‖ name ‖ kind (1)
//! ```
//!
//! What the code belongs to is not in the file: whoever opens it says what it must be.

use std::io::{self, Read, Write as _};

use super::binding::Binding;
use super::{Code, Held, memory};
use crate::imports::{Import, ImportKind, MAX_IMPORTS};

/// What a sealed piece of code begins with: its kind and its form.
const HEAD: &[u8] = b"countersign compiled code 1\n";

/// BLAKE3's length, in bytes.
const MAC: usize = 32;

/// How much code is read at once, in bytes (128 KiB): it is still near the processor when it is written.
const PIECE: usize = 128 << 10;

/// A key for seals and names.
#[derive(Clone)]
pub(super) struct Key([u8; 32]);

impl Key {
    pub(super) const BYTES: usize = 32;

    pub(super) const fn new(bytes: [u8; Self::BYTES]) -> Self {
        Self(bytes)
    }

    /// A hash for one use. No two uses of a key are the same function.
    pub(super) fn hasher(&self, usage: Usage) -> blake3::Hasher {
        let mut hasher = blake3::Hasher::new_keyed(&self.0);
        hasher.update(&[match usage {
            Usage::Fingerprint => 1,
            Usage::Name => 2,
            Usage::Seal => 3,
            Usage::Answer => 4,
        }]);
        hasher
    }
}

/// What a key is used for.
#[derive(Clone, Copy)]
pub(super) enum Usage {
    /// What a child answers.
    Answer,
    /// Recognising a file.
    Fingerprint,
    /// The name of an entry.
    Name,
    /// The seal.
    Seal,
}

/// What stands before the code in a sealed file.
pub(super) fn header(key: &Key, binding: &Binding, imports: &[Import], code: &[u8]) -> Vec<u8> {
    let imports = encode(imports);
    let mac = mac(key, binding, &imports, code);
    [HEAD, mac.as_bytes(), &imports].concat()
}

/// The code in a sealed file of so many bytes, if it is sealed by this key for what is expected.
///
/// Each piece is read once, goes into the seal and to where it will be loaded from, which nobody can write to any more by the
/// time the seal is compared. In between only a process of the same user could, which has the key as well.
///
/// # Errors
/// What is wrong with it, for an operator.
pub(super) fn read(
    key: &Key,
    binding: &Binding,
    file: &mut impl Read,
    size: u64,
) -> Result<Code, String> {
    const HEADER: usize = HEAD.len() + MAC + 4;
    let unread = |error: io::Error| match error.kind() {
        io::ErrorKind::UnexpectedEof => "it is shorter than its own form".to_owned(),
        _ => format!("it cannot be read: {error}"),
    };
    let mut header = [0; HEADER];
    file.read_exact(&mut header).map_err(unread)?;
    let (head, rest) = header.split_at(HEAD.len());
    if head != HEAD {
        return Err("it is no compiled code, or of another version's form".to_owned());
    }
    let (sealed, length) = rest.split_at(MAC);
    let rest = size.saturating_sub(u64::try_from(HEADER).unwrap_or(u64::MAX));
    let said: [u8; 4] = length.try_into().unwrap_or_default();
    let imports = u64::from(u32::from_le_bytes(said));
    let Some(code) = rest.checked_sub(imports) else {
        return Err(unread(io::ErrorKind::UnexpectedEof.into()));
    };
    let mut imports = length.to_vec();
    let expected = rest - code + 4;
    (&mut *file)
        .take(rest - code)
        .read_to_end(&mut imports)
        .map_err(unread)?;
    if u64::try_from(imports.len()).ok() != Some(expected) {
        return Err(unread(io::ErrorKind::UnexpectedEof.into()));
    }

    let mut seal = seal_of(key, binding, &imports);
    let mut memory = memory::Open::new("countersign-code").map_err(unread)?;
    let mut piece = vec![0; PIECE];
    let mut left = code;
    while left > 0 {
        let length = usize::try_from(left).map_or(PIECE, |left| left.min(PIECE));
        let piece = piece.get_mut(..length).unwrap_or_default();
        file.read_exact(piece).map_err(unread)?;
        seal.update(piece);
        memory.write_all(piece).map_err(unread)?;
        left = left.saturating_sub(u64::try_from(length).unwrap_or(u64::MAX));
    }
    let memory = memory.seal().map_err(unread)?;
    // Compared in constant time by `blake3::Hash`. Nothing but lengths was believed before.
    let sealed: [u8; MAC] = sealed.try_into().unwrap_or_default();
    if seal.finalize() != sealed {
        return Err("its seal is not one that this device made for this component, build, processor and roots".to_owned());
    }
    Ok(Code {
        imports: decode(&imports).ok_or("its imports cannot be read")?,
        held: Held::Sealed(memory),
    })
}

fn mac(key: &Key, binding: &Binding, imports: &[u8], code: &[u8]) -> blake3::Hash {
    let mut hasher = seal_of(key, binding, imports);
    hasher.update(code);
    hasher.finalize()
}

/// The seal as far as the code, which comes last. The binding has a fixed length, and the imports begin with theirs.
fn seal_of(key: &Key, binding: &Binding, imports: &[u8]) -> blake3::Hasher {
    let mut hasher = key.hasher(Usage::Seal);
    hasher.update(binding.as_bytes());
    hasher.update(imports);
    hasher
}

/// The imports, with the length of all before them.
pub(super) fn encode(imports: &[Import]) -> Vec<u8> {
    let mut body = Vec::new();
    for import in imports {
        // The parser takes names of 100,000 bytes at most.
        let length = u32::try_from(import.name.len()).unwrap_or(u32::MAX);
        body.extend_from_slice(&length.to_le_bytes());
        body.extend_from_slice(import.name.as_bytes());
        body.push(kind_byte(import.kind));
    }
    let length = u32::try_from(body.len()).unwrap_or(u32::MAX);
    [&length.to_le_bytes(), &*body].concat()
}

/// The imports that [`encode`] wrote.
pub(super) fn decode(bytes: &[u8]) -> Option<Vec<Import>> {
    let (_, mut rest) = bytes.split_first_chunk::<4>()?;
    let mut imports = Vec::new();
    while !rest.is_empty() {
        let (length, after) = rest.split_first_chunk::<4>()?;
        let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
        let (name, after) = after.split_at_checked(length)?;
        let (kind, after) = after.split_first()?;
        imports.push(Import {
            name: String::from_utf8(name.to_vec()).ok()?,
            kind: *KINDS.get(usize::from(*kind))?,
        });
        if imports.len() > MAX_IMPORTS {
            return None;
        }
        rest = after;
    }
    Some(imports)
}

/// In the order of their bytes.
const KINDS: [ImportKind; 6] = [
    ImportKind::Component,
    ImportKind::Function,
    ImportKind::Interface,
    ImportKind::Module,
    ImportKind::Types,
    ImportKind::Value,
];

fn kind_byte(kind: ImportKind) -> u8 {
    let place = KINDS.iter().position(|known| *known == kind);
    place
        .and_then(|place| u8::try_from(place).ok())
        .unwrap_or(u8::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn imports_come_back_as_they_were() {
        let imports: Vec<_> = KINDS
            .into_iter()
            .map(|kind| Import {
                name: format!("acme:{kind}/é"),
                kind,
            })
            .collect();
        assert_eq!(decode(&encode(&imports)), Some(imports.clone()));
        let encoded = encode(&imports);
        assert_eq!(decode(&encoded[..encoded.len() - 1]), None);
        assert_eq!(decode(&encode(&[])), Some(Vec::new()));
    }
}
