//! Reading sealed code into memory that nobody can change, by as many threads as come to help.
//!
//! Code is read in parts. Each is read once, goes into the seal and to where it will be loaded from, which nobody can write to
//! any more by the time the seal is compared. In between only a process of the same user could, which has the key as well.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::binding::Binding;
use super::seal::{self, Header, Key};
use super::{Code, Held, memory};

/// How much code is a part, in bytes (128 KiB): it is still near the processor when it is written.
pub(super) const PART: usize = 128 << 10;

/// A sealed file that is being read.
pub(super) struct Reading {
    file: File,
    header: Header,
    memory: memory::Open,
    /// The next part that nobody reads yet.
    next: AtomicUsize,
    /// What of each part goes into the seal.
    parts: Vec<OnceLock<blake3::Hash>>,
    failed: OnceLock<String>,
}

impl Reading {
    /// Reads what stands before the code in a sealed file of so many bytes.
    ///
    /// # Errors
    /// What is wrong with it, for an operator.
    pub(super) fn begin(file: File, size: u64) -> Result<Self, String> {
        let header = Header::read(&file, size)?;
        let memory = memory::Open::new("countersign-code").map_err(|error| unread(&error))?;
        // Not more than the file has, which the cache bounds.
        let parts = usize::try_from(header.code_size)
            .unwrap_or(usize::MAX)
            .div_ceil(PART);
        Ok(Self {
            file,
            header,
            memory,
            next: AtomicUsize::new(0),
            parts: (0..parts).map(|_| OnceLock::new()).collect(),
            failed: OnceLock::new(),
        })
    }

    pub(super) const fn header(&self) -> &Header {
        &self.header
    }

    /// Reads parts that nobody else reads, until there are no more.
    pub(super) fn help(&self, key: &Key) {
        let mut buffer = vec![0; PART];
        while self.failed.get().is_none() {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            let Some(place) = self.parts.get(number) else {
                return;
            };
            match self.part(key, number, &mut buffer) {
                // Nobody else has this number.
                Ok(hash) => _ = place.set(hash),
                Err(error) => _ = self.failed.set(unread(&error)),
            }
        }
    }

    fn part(&self, key: &Key, number: usize, buffer: &mut [u8]) -> io::Result<blake3::Hash> {
        let start = u64::try_from(number.saturating_mul(PART)).map_err(io::Error::other)?;
        let left = self.header.code_size.saturating_sub(start);
        let length = usize::try_from(left).map_or(PART, |left| left.min(PART));
        let part = buffer.get_mut(..length).unwrap_or_default();
        let place = self.header.code_start.saturating_add(start);
        self.file.read_exact_at(part, place)?;
        let hash = seal::part(key, part);
        self.memory.write_at(part, start)?;
        Ok(hash)
    }

    /// The code, if it is sealed by this key for what is expected. Nobody helps any more.
    ///
    /// # Errors
    /// What is wrong with it, for an operator.
    pub(super) fn finish(self, key: &Key, binding: &Binding) -> Result<Code, String> {
        if let Some(failed) = self.failed.into_inner() {
            return Err(failed);
        }
        let memory = self.memory.seal().map_err(|error| unread(&error))?;
        let parts: Option<Vec<_>> = self.parts.into_iter().map(OnceLock::into_inner).collect();
        let parts = parts.ok_or("not all of it was read")?;
        // Nothing but lengths was believed before.
        let imports = self.header.open(key, binding, &parts)?;
        Ok(Code {
            imports,
            held: Held::Sealed(memory),
        })
    }
}

/// Why a sealed file was not read.
pub(super) fn unread(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => "it is shorter than its own form".to_owned(),
        _ => format!("it cannot be read: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use countersign_trust_store::DigestNote;

    use super::*;

    /// Has two threads read a file, as a start does.
    fn read(key: &Key, binding: &Binding, content: &[u8]) -> Result<Code, String> {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(content).unwrap();
        let reading = Reading::begin(file, content.len() as u64)?;
        std::thread::scope(|scope| {
            scope.spawn(|| reading.help(key));
            reading.help(key);
        });
        reading.finish(key, binding)
    }

    #[test]
    fn te15_parts_of_code_are_sealed_in_their_order_and_number() {
        let key = Key::new([7; Key::BYTES]);
        let binding = Binding::of(&[b"this"]);
        // Three parts and something, each unlike the others.
        let code: Vec<u8> = (0..3 * PART + 100).map(|at| (at / 251) as u8).collect();
        let note = DigestNote::from_bytes([9; 32]);
        let header = seal::header(&key, &binding, note, &[], &code);
        let sealed = |code: &[u8]| [&header[..], code].concat();
        let whole = read(&key, &binding, &sealed(&code)).unwrap();
        assert_eq!(whole.bytes().unwrap(), code);

        let at = |number: usize| number * PART..(number + 1) * PART;
        let mut exchanged = code.clone();
        let (first, rest) = exchanged.split_at_mut(PART);
        first.swap_with_slice(&mut rest[..PART]);
        let mut repeated = code.clone();
        repeated.copy_within(at(0), PART);
        let mut turned = code.clone();
        turned.rotate_left(PART);
        for (what, changed) in [
            ("exchanged", exchanged),
            ("repeated", repeated),
            ("turned", turned),
            (
                "one is left out",
                [&code[at(0)], &code[2 * PART..]].concat(),
            ),
            ("the last is cut off", code[..3 * PART].to_vec()),
            ("one more", [&code[at(0)], &code[..]].concat()),
        ] {
            assert_ne!(changed, code);
            read(&key, &binding, &sealed(&changed))
                .map(|_| ())
                .expect_err(what);
        }
        let others = Binding::of(&[b"that"]);
        read(&key, &others, &sealed(&code))
            .map(|_| ())
            .expect_err("of another component");
        let other = Key::new([8; Key::BYTES]);
        read(&other, &binding, &sealed(&code))
            .map(|_| ())
            .expect_err("of another device");
    }
}
