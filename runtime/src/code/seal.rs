//! The seal on compiled code: keyed BLAKE3 over what the code belongs to, what its component imports, and the code.
//!
//! ```text
//! head ‖ MAC (32) ‖ note (32) ‖ length of the imports (4, little-endian) ‖ imports ‖ code
//! imports: for each, length of its name (4, little-endian) ‖ name ‖ kind (1)
//! MAC: of binding (32) ‖ note ‖ length of the imports ‖ imports ‖ length of the code (8, little-endian) ‖ for each part of the
//!      code, its own MAC (32) under a key for that alone
//! ```
//!
//! What the code belongs to is not in the file: whoever opens it says what it must be. The note, by which the component is
//! recognised, is a seal of its own ([`DigestNote`]), and is used before this one was verified.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

use countersign_trust_store::{DigestKey, DigestNote};

use super::binding::Binding;
use super::reading::{PART, unread};
use crate::imports::{Import, ImportKind, MAX_IMPORTS};

/// What a sealed piece of code begins with: its kind and its form.
const HEAD: &[u8] = b"countersign compiled code 4\n";

/// BLAKE3's length, in bytes.
const MAC: usize = 32;

/// All that stands before the imports.
const FRONT: usize = HEAD.len() + MAC + MAC + 4;

/// A key for seals and names.
#[derive(Clone)]
pub(super) struct Key {
    own: [u8; Self::BYTES],
    /// For parts of code alone: no byte stands before them, so that the hash takes them as its own parts, some at once.
    parts: [u8; Self::BYTES],
}

impl Key {
    pub(super) const BYTES: usize = 32;

    pub(super) fn new(own: [u8; Self::BYTES]) -> Self {
        let parts = hasher(&own, Usage::Parts).finalize().into();
        Self { own, parts }
    }

    /// A hash for one use. No two uses of a key are the same function.
    pub(super) fn hasher(&self, usage: Usage) -> blake3::Hasher {
        hasher(&self.own, usage)
    }

    /// The key for notes of digests.
    pub(super) fn digests(&self) -> DigestKey {
        DigestKey::new(*self.hasher(Usage::Digests).finalize().as_bytes())
    }
}

fn hasher(key: &[u8; Key::BYTES], usage: Usage) -> blake3::Hasher {
    let mut hasher = blake3::Hasher::new_keyed(key);
    hasher.update(&[match usage {
        Usage::Name => 2,
        Usage::Seal => 3,
        Usage::Answer => 4,
        // 1 was a fingerprint that anybody could ask for, 5 stood before each part of the code, and under 6 a note began with the digest.
        Usage::Parts => 7,
        Usage::Digests => 8,
    }]);
    hasher
}

/// What a key is used for.
#[derive(Clone, Copy)]
pub(super) enum Usage {
    /// What a child answers.
    Answer,
    /// The key for notes of digests.
    Digests,
    /// The name of an entry.
    Name,
    /// The key for parts of the code.
    Parts,
    /// The seal.
    Seal,
}

/// What stands before the code in a sealed file.
pub(super) fn header(
    key: &Key,
    binding: &Binding,
    note: DigestNote,
    imports: &[Import],
    code: &[u8],
) -> Vec<u8> {
    let imports = encode(imports);
    let parts: Vec<_> = code.chunks(PART).map(|code| part(key, code)).collect();
    let size = u64::try_from(code.len()).unwrap_or(u64::MAX);
    let mac = seal(key, binding, note, &imports, size, &parts);
    [HEAD, mac.as_bytes(), note.as_bytes(), &imports].concat()
}

/// What stands before the code in a sealed file, as it was read: not believed.
pub(super) struct Header {
    sealed: [u8; MAC],
    note: DigestNote,
    /// With their length before them.
    imports: Vec<u8>,
    /// Where the code begins, and how long it is, in bytes.
    pub(super) code_start: u64,
    pub(super) code_size: u64,
}

impl Header {
    /// Reads it from a file of so many bytes.
    ///
    /// # Errors
    /// What is wrong with it, for an operator.
    pub(super) fn read(file: &File, size: u64) -> Result<Self, String> {
        let mut front = [0; FRONT];
        let short = || unread(&io::ErrorKind::UnexpectedEof.into());
        file.read_exact_at(&mut front, 0)
            .map_err(|error| unread(&error))?;
        let (head, rest) = front.split_at(HEAD.len());
        if head != HEAD {
            return Err("it is no compiled code, or of another version's form".to_owned());
        }
        let (sealed, rest) = rest.split_at(MAC);
        let (note, length) = rest.split_at(MAC);
        let [a, b, c, d] = *length else {
            return Err(short());
        };
        let length = u64::from(u32::from_le_bytes([a, b, c, d]));
        let front = u64::try_from(FRONT).unwrap_or(u64::MAX);
        let code_start = front.saturating_add(length);
        let code_size = size.checked_sub(code_start).ok_or_else(short)?;
        // No more than the file has, which the cache bounds.
        let mut imports = vec![0; usize::try_from(length.saturating_add(4)).unwrap_or(0)];
        file.read_exact_at(&mut imports, front.saturating_sub(4))
            .map_err(|error| unread(&error))?;
        Ok(Self {
            sealed: sealed.try_into().unwrap_or_default(),
            note: DigestNote::from_bytes(note.try_into().unwrap_or_default()),
            imports,
            code_start,
            code_size,
        })
    }

    pub(super) const fn note(&self) -> DigestNote {
        self.note
    }

    /// The imports, if all of the file is sealed by this key for what is expected; `parts` are those of the code.
    ///
    /// # Errors
    /// What is wrong with it, for an operator.
    pub(super) fn open(
        &self,
        key: &Key,
        binding: &Binding,
        parts: &[blake3::Hash],
    ) -> Result<Vec<Import>, String> {
        let Self {
            sealed,
            note,
            imports,
            code_size,
            ..
        } = self;
        // Compared in constant time by `blake3::Hash`.
        if seal(key, binding, *note, imports, *code_size, parts) != *sealed {
            return Err("its seal is not one that this device made for this component, build, processor and roots".to_owned());
        }
        decode(imports).ok_or_else(|| "its imports cannot be read".to_owned())
    }
}

/// What of a part of the code goes into the seal.
pub(super) fn part(key: &Key, code: &[u8]) -> blake3::Hash {
    blake3::keyed_hash(&key.parts, code)
}

/// Binding and note have fixed lengths, and the imports begin with theirs.
fn seal(
    key: &Key,
    binding: &Binding,
    note: DigestNote,
    imports: &[u8],
    code_size: u64,
    parts: &[blake3::Hash],
) -> blake3::Hash {
    let mut hasher = key.hasher(Usage::Seal);
    hasher.update(binding.as_bytes());
    hasher.update(note.as_bytes());
    hasher.update(imports);
    hasher.update(&code_size.to_le_bytes());
    for part in parts {
        hasher.update(part.as_bytes());
    }
    hasher.finalize()
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
