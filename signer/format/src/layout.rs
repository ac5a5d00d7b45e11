//! The layout of a file: where P ends, where S lies, and that nothing else is there.
//!
//! [`LayoutScanner`] is fed a file in pieces of any size and remembers a few numbers, so that signing streams; a
//! whole buffer is scanned by the same code. It demands the shortest LEB128 in the header of every top-level section
//! and in the name of every top-level custom section: elsewhere in P the digest covers every byte, but here a
//! second spelling could hide a section. It does not look into sections, so a nested signature section counts for
//! nothing. Whether P is a valid component is left to Wasmtime, whether the signature is good to the trust store.

use crate::cbor::{length, within};
use crate::section::SECTION_NAME;
use crate::{FormatError, Found, limits};

/// The first eight bytes of every component: magic, version 13, layer 1.
pub(crate) const PREAMBLE: [u8; 8] = [0, b'a', b's', b'm', 0x0d, 0, 1, 0];

/// The highest section id of the component model's binary format (12, values).
const LAST_SECTION_ID: u8 = 12;

/// Where things lie in a file that was scanned to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    component_size: u64,
    signature: Option<SignatureRange>,
}

impl Layout {
    /// The size of P in bytes: the whole file, or what comes before S.
    #[must_use]
    pub fn component_size(&self) -> u64 {
        self.component_size
    }

    /// Where S lies, if the file has one. It is then the last section and ends with the file.
    #[must_use]
    pub fn signature(&self) -> Option<SignatureRange> {
        self.signature
    }
}

/// Where S lies, in bytes from the start of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SignatureRange {
    start: u64,
    payload_start: u64,
    end: u64,
}

impl SignatureRange {
    /// The first byte of S; P ends before it.
    #[must_use]
    pub fn start(&self) -> u64 {
        self.start
    }

    /// The payload of S, which is the encoded envelope.
    #[must_use]
    pub fn payload(&self) -> core::ops::Range<u64> {
        self.payload_start..self.end
    }
}

/// Scans a file as its bytes arrive.
#[derive(Clone, Debug)]
pub struct LayoutScanner {
    state: State,
    /// Bytes consumed.
    offset: u64,
    /// The size of the whole file, where it is known.
    total: Option<u64>,
    sections: u64,
    signature: Option<SignatureRange>,
    /// The first section after S.
    after_signature: Option<u64>,
    failed: Option<FormatError>,
}

/// What the next byte is. Sizes inside are what remains.
#[derive(Clone, Debug)]
enum State {
    Preamble {
        bytes: [u8; 8],
        have: usize,
    },
    SectionId,
    SectionSize {
        id: u8,
        start: u64,
        size: Leb128,
    },
    NameLength {
        start: u64,
        section: u64,
        length: Leb128,
    },
    Name {
        start: u64,
        section: u64,
        compared: usize,
    },
    Skip {
        bytes: u64,
    },
}

impl Default for LayoutScanner {
    fn default() -> Self {
        Self::new()
    }
}

impl LayoutScanner {
    /// A scanner at the start of a file of unknown size. Prefer [`Self::with_total`] where the size is known: it
    /// refuses sooner, and tells a claim past the end of the file from one past the limits.
    #[must_use]
    pub fn new() -> Self {
        Self {
            state: State::Preamble {
                bytes: [0; 8],
                have: 0,
            },
            offset: 0,
            total: None,
            sections: 0,
            signature: None,
            after_signature: None,
            failed: None,
        }
    }

    /// A scanner at the start of a file of `total` bytes: a section that claims to reach past its end is refused
    /// at its header.
    ///
    /// # Errors
    /// [`FormatError::LimitExceeded`] if no signed file can be that large.
    pub fn with_total(total: u64) -> Result<Self, FormatError> {
        // The header of S is at most 1 + 5 + 1 + 19 bytes.
        let most = limits::MAX_COMPONENT_BYTES
            .saturating_add(limits::MAX_SIGNATURE_BYTES)
            .saturating_add(26);
        within("file", most, total)?;
        Ok(Self {
            total: Some(total),
            ..Self::new()
        })
    }

    /// Scans the next piece of the file. After an error every call returns that error.
    ///
    /// # Errors
    /// See [`FormatError`]: the first thing wrong with the layout.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<(), FormatError> {
        match &self.failed {
            Some(error) => Err(error.clone()),
            None => self.scan(bytes).map_err(|error| self.fail(error)),
        }
    }

    /// The layout, now that the file has ended. Without a signature section the whole file is P.
    ///
    /// # Errors
    /// See [`FormatError`]: the file ends inside a section, or something follows S.
    pub fn finish(mut self) -> Result<Layout, FormatError> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        match self.state {
            State::SectionId => {}
            State::Preamble { bytes, have } => {
                let bytes = bytes.get(..have).unwrap_or_default();
                return Err(if have != 0 && PREAMBLE.starts_with(bytes) {
                    self.malformed("the file ends inside the preamble")
                } else {
                    not_a_component(bytes)
                });
            }
            _ => {
                let error = self.malformed("the file ends inside a section");
                return Err(self.fail(error));
            }
        }
        match (self.signature, self.after_signature) {
            (Some(signature), Some(next)) => Err(FormatError::SignaturePosition {
                signature: signature.start,
                next,
            }),
            (Some(signature), None) => Ok(Layout {
                component_size: signature.start,
                signature: Some(signature),
            }),
            (None, _) => Ok(Layout {
                component_size: self.offset,
                signature: None,
            }),
        }
    }

    fn scan(&mut self, mut bytes: &[u8]) -> Result<(), FormatError> {
        loop {
            // Whatever is skipped is skipped at once; headers go byte by byte.
            if let State::Skip { bytes: left } = self.state {
                let count = length(bytes.len()).min(left);
                bytes = usize::try_from(count)
                    .ok()
                    .and_then(|count| bytes.get(count..))
                    .unwrap_or_default();
                self.offset = self.offset.saturating_add(count);
                self.state = match left.saturating_sub(count) {
                    0 => State::SectionId,
                    bytes => State::Skip { bytes },
                };
            }
            let Some((&byte, rest)) = bytes.split_first() else {
                return Ok(());
            };
            self.state = self.step(byte)?;
            self.offset = self.offset.saturating_add(1);
            bytes = rest;
        }
    }

    /// What follows `byte`, which lies at `self.offset`.
    fn step(&mut self, byte: u8) -> Result<State, FormatError> {
        match self.state.clone() {
            State::Preamble { mut bytes, have } => {
                if let Some(slot) = bytes.get_mut(have) {
                    *slot = byte;
                }
                match have.saturating_add(1) {
                    have if have < PREAMBLE.len() => Ok(State::Preamble { bytes, have }),
                    _ if bytes == PREAMBLE => Ok(State::SectionId),
                    _ => Err(not_a_component(&bytes)),
                }
            }
            State::SectionId => self.section(byte),
            State::SectionSize {
                id,
                start,
                mut size,
            } => match self.leb(&mut size, byte)? {
                None => Ok(State::SectionSize { id, start, size }),
                Some(size) => self.section_size(id, start, size),
            },
            State::NameLength {
                start,
                section,
                mut length,
            } => {
                let left = section.checked_sub(1).ok_or_else(|| {
                    self.malformed("the name of a custom section reaches past the section's end")
                })?;
                match self.leb(&mut length, byte)? {
                    None => Ok(State::NameLength {
                        start,
                        section: left,
                        length,
                    }),
                    Some(name) => self.section_name(start, left, name),
                }
            }
            State::Name {
                start,
                section,
                compared,
            } => self.name_byte(start, section, compared, byte),
            // `scan` leaves this state before it takes a byte, unless there is nothing to skip.
            State::Skip { .. } => Err(self.malformed("a section of no length")),
        }
    }

    fn section(&mut self, id: u8) -> Result<State, FormatError> {
        if id > LAST_SECTION_ID {
            return Err(
                self.malformed("a section with an unknown number, or bytes that are no section")
            );
        }
        self.sections = self.sections.saturating_add(1);
        within("number of sections", limits::MAX_SECTIONS, self.sections)?;
        Ok(State::SectionSize {
            id,
            start: self.offset,
            size: Leb128::default(),
        })
    }

    fn section_size(&mut self, id: u8, start: u64, size: u64) -> Result<State, FormatError> {
        let end = self.offset.saturating_add(1).saturating_add(size);
        if self.total.is_some_and(|total| end > total) {
            return Err(self.malformed("a section claims to reach past the end of the file"));
        }
        if id == 0 {
            return Ok(State::NameLength {
                start,
                section: size,
                length: Leb128::default(),
            });
        }
        self.ordinary(start, size, end)
    }

    fn section_name(&mut self, start: u64, left: u64, name: u64) -> Result<State, FormatError> {
        if name > left {
            return Err(
                self.malformed("the name of a custom section reaches past the section's end")
            );
        }
        if name == length(SECTION_NAME.len()) {
            return Ok(State::Name {
                start,
                section: left,
                compared: 0,
            });
        }
        self.ordinary(
            start,
            left,
            self.offset.saturating_add(1).saturating_add(left),
        )
    }

    /// A byte of a name that is as long as ours.
    fn name_byte(
        &mut self,
        start: u64,
        left: u64,
        compared: usize,
        byte: u8,
    ) -> Result<State, FormatError> {
        let left = left.saturating_sub(1);
        let end = self.offset.saturating_add(1).saturating_add(left);
        if SECTION_NAME.as_bytes().get(compared) != Some(&byte) {
            return self.ordinary(start, left, end);
        }
        let compared = compared.saturating_add(1);
        if compared < SECTION_NAME.len() {
            return Ok(State::Name {
                start,
                section: left,
                compared,
            });
        }
        if let Some(first) = self.signature {
            return Err(FormatError::SignatureDuplicate {
                first: first.start,
                second: start,
            });
        }
        within("signature section", limits::MAX_SIGNATURE_BYTES, left)?;
        self.signature = Some(SignatureRange {
            start,
            payload_start: self.offset.saturating_add(1),
            end,
        });
        Ok(skip(left))
    }

    /// Any section but S: it belongs to P, or stands after S where nothing may stand.
    fn ordinary(&mut self, start: u64, left: u64, end: u64) -> Result<State, FormatError> {
        within("component", limits::MAX_COMPONENT_BYTES, end)?;
        if self.signature.is_some() && self.after_signature.is_none() {
            self.after_signature = Some(start);
        }
        Ok(skip(left))
    }

    fn leb(&self, leb: &mut Leb128, byte: u8) -> Result<Option<u64>, FormatError> {
        leb.push(byte).map_err(|error| match error {
            LebError::TooLong => self.malformed("a length of more than 32 bits"),
            LebError::NotShortest => FormatError::Noncanonical {
                what: "a LEB128 length that is not in its shortest form",
                offset: self.offset,
            },
        })
    }

    fn malformed(&self, what: &'static str) -> FormatError {
        FormatError::Malformed {
            what,
            offset: self.offset,
        }
    }

    /// Remembers an error. Behind a complete S, what is wrong is that there is anything at all.
    fn fail(&mut self, error: FormatError) -> FormatError {
        let error = match (self.signature, self.after_signature, error) {
            (Some(_), _, error @ FormatError::SignatureDuplicate { .. }) => error,
            // A whole section follows, so it is not just bytes.
            (Some(signature), Some(next), _) if !matches!(self.state, State::Skip { .. }) => {
                FormatError::SignaturePosition {
                    signature: signature.start,
                    next,
                }
            }
            (Some(signature), _, _) if self.offset >= signature.end => FormatError::TrailingBytes {
                offset: signature.end,
            },
            (_, _, error) => error,
        };
        self.failed = Some(error.clone());
        error
    }
}

fn skip(bytes: u64) -> State {
    if bytes == 0 {
        State::SectionId
    } else {
        State::Skip { bytes }
    }
}

fn not_a_component(start: &[u8]) -> FormatError {
    let text = start.trim_ascii_start();
    let found = match start {
        [] => Found::Empty,
        [0, b'a', b's', b'm', 1, 0, 0, 0] => Found::CoreModule,
        [0, b'a', b's', b'm', ..] => Found::OtherWasm,
        [0x7f, b'E', b'L', b'F', ..] => Found::Precompiled,
        _ if text.is_empty() || text.starts_with(b"(") || text.starts_with(b";;") => Found::Text,
        _ => Found::Other,
    };
    FormatError::NotAComponent { found }
}

/// An unsigned LEB128 of at most 32 bits under construction.
#[derive(Clone, Copy, Debug, Default)]
struct Leb128 {
    value: u64,
    bytes: u32,
}

enum LebError {
    NotShortest,
    TooLong,
}

impl Leb128 {
    /// Adds a byte; the value, when it was the last.
    fn push(&mut self, byte: u8) -> Result<Option<u64>, LebError> {
        // WebAssembly core specification §5.2.2: u32 takes at most 5 bytes, the fifth at most 4 bits.
        if self.bytes == 4 && byte > 0x0f {
            return Err(LebError::TooLong);
        }
        let bits = u64::from(byte & 0x7f)
            .checked_shl(self.bytes.saturating_mul(7))
            .unwrap_or(0);
        self.value |= bits;
        if byte & 0x80 != 0 {
            self.bytes = self.bytes.saturating_add(1);
            return Ok(None);
        }
        // Stricter than the specification: a last byte of zero adds nothing.
        if byte == 0 && self.bytes != 0 {
            Err(LebError::NotShortest)
        } else {
            Ok(Some(self.value))
        }
    }
}

#[cfg(test)]
mod tests;
