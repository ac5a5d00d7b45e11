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
use super::{Code, CodeMemory, Held, memory, pages};

/// How much code is a part, in bytes (128 KiB): it is still near the processor when it is written.
pub(super) const PART: usize = 128 << 10;

/// What the system calls memory for code.
pub(super) const NAME: &str = "countersign-code";

/// A sealed file that is being read.
pub(super) struct Reading {
    file: File,
    header: Header,
    memory: Memory,
    /// What of each part goes into the seal.
    parts: Vec<OnceLock<blake3::Hash>>,
    failed: OnceLock<String>,
}

/// Where the code goes that is read.
enum Memory {
    /// Which is given back when the code is used no more.
    Sealed {
        open: memory::Open,
        /// The next part that nobody reads yet.
        next: AtomicUsize,
    },
    /// Which is this process's for good.
    Own(pages::Open),
}

impl Reading {
    /// Reads what stands before the code in a sealed file of so many bytes. The code goes into such memory.
    ///
    /// # Errors
    /// What is wrong with it, for an operator.
    pub(super) fn begin(file: File, size: u64, memory: CodeMemory) -> Result<Self, String> {
        let header = Header::read(&file, size)?;
        // Not more than the file has, which the cache bounds.
        let code_size = usize::try_from(header.code_size).unwrap_or(usize::MAX);
        let parts = code_size.div_ceil(PART);
        // Less than a large page is in small ones either way.
        let own = match memory {
            CodeMemory::ForGood if code_size >= pages::LARGE => {
                pages::Open::new(code_size, PART).ok()
            }
            CodeMemory::ForGood | CodeMemory::WhileUsed => None,
        };
        let memory = match own {
            Some(open) => Memory::Own(open),
            None => Memory::Sealed {
                open: memory::Open::new(NAME).map_err(|error| unread(&error))?,
                next: AtomicUsize::new(0),
            },
        };
        Ok(Self {
            file,
            header,
            memory,
            parts: (0..parts).map(|_| OnceLock::new()).collect(),
            failed: OnceLock::new(),
        })
    }

    pub(super) const fn header(&self) -> &Header {
        &self.header
    }

    /// Reads parts that nobody else reads, until there are no more.
    pub(super) fn help(&self, key: &Key) {
        let mut buffer = match self.memory {
            Memory::Sealed { .. } => vec![0; PART],
            Memory::Own(_) => Vec::new(),
        };
        while self.failed.get().is_none() {
            let Some((number, hash)) = self.part(key, &mut buffer) else {
                return;
            };
            match (hash, self.parts.get(number)) {
                // Nobody else has this number.
                (Ok(hash), Some(place)) => _ = place.set(hash),
                (Ok(_), None) => {}
                (Err(error), _) => _ = self.failed.set(unread(&error)),
            }
        }
    }

    /// Reads a part that nobody else reads: its number, and what goes into the seal.
    fn part(&self, key: &Key, buffer: &mut [u8]) -> Option<(usize, io::Result<blake3::Hash>)> {
        match &self.memory {
            Memory::Own(open) => {
                let (number, part) = open.next()?;
                Some((number, self.read(key, number, part)))
            }
            Memory::Sealed { open, next } => {
                let number = next.fetch_add(1, Ordering::Relaxed);
                self.parts.get(number)?;
                let start = self.start(number);
                let left = self.header.code_size.saturating_sub(start);
                let length = usize::try_from(left).map_or(PART, |left| left.min(PART));
                let part = buffer.get_mut(..length).unwrap_or_default();
                let hash = self.read(key, number, part).and_then(|hash| {
                    open.write_at(part, start)?;
                    Ok(hash)
                });
                Some((number, hash))
            }
        }
    }

    /// Where this part begins in the code.
    fn start(&self, number: usize) -> u64 {
        u64::try_from(number.saturating_mul(PART)).unwrap_or(u64::MAX)
    }

    fn read(&self, key: &Key, number: usize, part: &mut [u8]) -> io::Result<blake3::Hash> {
        let place = self.header.code_start.saturating_add(self.start(number));
        self.file.read_exact_at(part, place)?;
        Ok(seal::part(key, part))
    }

    /// The code, if it is sealed by this key for what is expected. Nobody helps any more.
    ///
    /// # Errors
    /// What is wrong with it, for an operator.
    pub(super) fn finish(self, key: &Key, binding: &Binding) -> Result<Code, String> {
        if let Some(failed) = self.failed.into_inner() {
            return Err(failed);
        }
        let held = match self.memory {
            Memory::Sealed { open, .. } => open.seal().map(Held::Sealed),
            Memory::Own(open) => open.close().map(Held::Own),
        };
        let held = held.map_err(|error| unread(&error))?;
        let parts: Option<Vec<_>> = self.parts.into_iter().map(OnceLock::into_inner).collect();
        let parts = parts.ok_or("not all of it was read")?;
        // Nothing but lengths was believed before.
        let imports = self.header.open(key, binding, &parts)?;
        Ok(Code { imports, held })
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
impl Code {
    /// What a cache that was given these bytes has of them.
    pub(crate) fn read_back(bytes: &[u8], memory: CodeMemory) -> Self {
        let (key, binding) = (Key::new([7; Key::BYTES]), Binding::of(&[b"this"]));
        let note = countersign_trust_store::DigestNote::from_bytes([9; 32]);
        let header = seal::header(&key, &binding, note, &[], bytes);
        let sealed = [&header, bytes].concat();
        tests::read(&key, &binding, &sealed, memory).expect("its own seal")
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use countersign_trust_store::DigestNote;

    use super::*;

    /// Has two threads read a file, as a start does.
    pub(super) fn read(
        key: &Key,
        binding: &Binding,
        content: &[u8],
        memory: CodeMemory,
    ) -> Result<Code, String> {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(content).unwrap();
        let reading = Reading::begin(file, content.len() as u64, memory)?;
        std::thread::scope(|scope| {
            scope.spawn(|| reading.help(key));
            reading.help(key);
        });
        reading.finish(key, binding)
    }

    #[test]
    fn te15_parts_of_code_are_sealed_in_their_order_and_number() {
        for memory in [CodeMemory::WhileUsed, CodeMemory::ForGood] {
            are_sealed_in_their_order_and_number(memory);
        }
    }

    fn are_sealed_in_their_order_and_number(memory: CodeMemory) {
        let read = |key: &Key, binding: &Binding, content: &[u8]| {
            super::tests::read(key, binding, content, memory)
        };
        let key = Key::new([7; Key::BYTES]);
        let binding = Binding::of(&[b"this"]);
        // Parts and something, more than a large page, each unlike the others.
        let last = pages::LARGE / PART;
        let code: Vec<u8> = (0..last * PART + 100).map(|at| (at / 251) as u8).collect();
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
            ("the last is cut off", code[..last * PART].to_vec()),
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
