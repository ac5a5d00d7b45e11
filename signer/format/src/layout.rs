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
    Preamble { bytes: [u8; 8], have: usize },
    SectionId,
    SectionSize { id: u8, start: u64, size: Leb128 },
    NameLength { start: u64, section: u64, length: Leb128 },
    Name { start: u64, section: u64, compared: usize },
    Skip { bytes: u64 },
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
            state: State::Preamble { bytes: [0; 8], have: 0 },
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
        let most = limits::MAX_COMPONENT_BYTES.saturating_add(limits::MAX_SIGNATURE_BYTES).saturating_add(26);
        within("file", most, total)?;
        Ok(Self { total: Some(total), ..Self::new() })
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
            (Some(signature), Some(next)) => {
                Err(FormatError::SignaturePosition { signature: signature.start, next })
            }
            (Some(signature), None) => {
                Ok(Layout { component_size: signature.start, signature: Some(signature) })
            }
            (None, _) => Ok(Layout { component_size: self.offset, signature: None }),
        }
    }

    fn scan(&mut self, mut bytes: &[u8]) -> Result<(), FormatError> {
        loop {
            // Whatever is skipped is skipped at once; headers go byte by byte.
            if let State::Skip { bytes: left } = self.state {
                let count = length(bytes.len()).min(left);
                bytes = usize::try_from(count).ok().and_then(|count| bytes.get(count..)).unwrap_or_default();
                self.offset = self.offset.saturating_add(count);
                self.state = match left.saturating_sub(count) {
                    0 => State::SectionId,
                    bytes => State::Skip { bytes },
                };
            }
            let Some((&byte, rest)) = bytes.split_first() else { return Ok(()) };
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
            State::SectionSize { id, start, mut size } => match self.leb(&mut size, byte)? {
                None => Ok(State::SectionSize { id, start, size }),
                Some(size) => self.section_size(id, start, size),
            },
            State::NameLength { start, section, mut length } => {
                let left = section
                    .checked_sub(1)
                    .ok_or_else(|| self.malformed("the name of a custom section reaches past the section's end"))?;
                match self.leb(&mut length, byte)? {
                    None => Ok(State::NameLength { start, section: left, length }),
                    Some(name) => self.section_name(start, left, name),
                }
            }
            State::Name { start, section, compared } => self.name_byte(start, section, compared, byte),
            // `scan` leaves this state before it takes a byte, unless there is nothing to skip.
            State::Skip { .. } => Err(self.malformed("a section of no length")),
        }
    }

    fn section(&mut self, id: u8) -> Result<State, FormatError> {
        if id > LAST_SECTION_ID {
            return Err(self.malformed("a section with an unknown number, or bytes that are no section"));
        }
        self.sections = self.sections.saturating_add(1);
        within("number of sections", limits::MAX_SECTIONS, self.sections)?;
        Ok(State::SectionSize { id, start: self.offset, size: Leb128::default() })
    }

    fn section_size(&mut self, id: u8, start: u64, size: u64) -> Result<State, FormatError> {
        let end = self.offset.saturating_add(1).saturating_add(size);
        if self.total.is_some_and(|total| end > total) {
            return Err(self.malformed("a section claims to reach past the end of the file"));
        }
        if id == 0 {
            return Ok(State::NameLength { start, section: size, length: Leb128::default() });
        }
        self.ordinary(start, size, end)
    }

    fn section_name(&mut self, start: u64, left: u64, name: u64) -> Result<State, FormatError> {
        if name > left {
            return Err(self.malformed("the name of a custom section reaches past the section's end"));
        }
        if name == length(SECTION_NAME.len()) {
            return Ok(State::Name { start, section: left, compared: 0 });
        }
        self.ordinary(start, left, self.offset.saturating_add(1).saturating_add(left))
    }

    /// A byte of a name that is as long as ours.
    fn name_byte(&mut self, start: u64, left: u64, compared: usize, byte: u8) -> Result<State, FormatError> {
        let left = left.saturating_sub(1);
        let end = self.offset.saturating_add(1).saturating_add(left);
        if SECTION_NAME.as_bytes().get(compared) != Some(&byte) {
            return self.ordinary(start, left, end);
        }
        let compared = compared.saturating_add(1);
        if compared < SECTION_NAME.len() {
            return Ok(State::Name { start, section: left, compared });
        }
        if let Some(first) = self.signature {
            return Err(FormatError::SignatureDuplicate { first: first.start, second: start });
        }
        within("signature section", limits::MAX_SIGNATURE_BYTES, left)?;
        self.signature = Some(SignatureRange { start, payload_start: self.offset.saturating_add(1), end });
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
        FormatError::Malformed { what, offset: self.offset }
    }

    /// Remembers an error. Behind a complete S, what is wrong is that there is anything at all.
    fn fail(&mut self, error: FormatError) -> FormatError {
        let error = match (self.signature, self.after_signature, error) {
            (Some(_), _, error @ FormatError::SignatureDuplicate { .. }) => error,
            // A whole section follows, so it is not just bytes.
            (Some(signature), Some(next), _) if !matches!(self.state, State::Skip { .. }) => {
                FormatError::SignaturePosition { signature: signature.start, next }
            }
            (Some(signature), _, _) if self.offset >= signature.end => {
                FormatError::TrailingBytes { offset: signature.end }
            }
            (_, _, error) => error,
        };
        self.failed = Some(error.clone());
        error
    }
}

fn skip(bytes: u64) -> State {
    if bytes == 0 { State::SectionId } else { State::Skip { bytes } }
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
        let bits = u64::from(byte & 0x7f).checked_shl(self.bytes.saturating_mul(7)).unwrap_or(0);
        self.value |= bits;
        if byte & 0x80 != 0 {
            self.bytes = self.bytes.saturating_add(1);
            return Ok(None);
        }
        // Stricter than the specification: a last byte of zero adds nothing.
        if byte == 0 && self.bytes != 0 { Err(LebError::NotShortest) } else { Ok(Some(self.value)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::{component, section};
    use crate::{SignedFile, signature_section};

    /// Scans in pieces of `step` bytes, without telling the size.
    fn pieces(file: &[u8], step: usize) -> Result<Layout, FormatError> {
        let mut scanner = LayoutScanner::new();
        for piece in file.chunks(step) {
            scanner.feed(piece)?;
        }
        scanner.finish()
    }

    /// Scans a buffer, and in pieces of every kind: the answer must not depend on it.
    fn scan(file: &[u8]) -> Result<Layout, FormatError> {
        let mut scanner = LayoutScanner::with_total(length(file.len()))?;
        let whole = scanner.feed(file).and_then(|()| scanner.finish());
        for step in [1, 2, 3, 7, 4096] {
            let pieces = pieces(file, step);
            match (&whole, &pieces) {
                // Only the offset may differ: with the size known, a claim past the end is seen at its header.
                (Err(FormatError::Malformed { .. }), Err(FormatError::Malformed { .. }))
                | (Err(FormatError::Malformed { .. }), Err(FormatError::LimitExceeded { .. })) => {}
                _ => assert_eq!(whole, pieces, "in pieces of {step}"),
            }
        }
        whole
    }

    fn signed() -> Vec<u8> {
        let mut file = component();
        file.extend(signature_section(b"payload").unwrap());
        file
    }

    fn with(mut file: Vec<u8>, more: &[u8]) -> Vec<u8> {
        file.extend_from_slice(more);
        file
    }

    #[test]
    fn a_signed_file_is_component_and_signature() {
        let file = signed();
        let layout = scan(&file).unwrap();
        let size = length(component().len());
        assert_eq!(layout.component_size(), size);
        let signature = layout.signature().unwrap();
        assert_eq!(signature.start(), size);
        assert_eq!(signature.payload(), length(file.len()) - 7..length(file.len()));
        let parsed = SignedFile::parse(&file).unwrap();
        assert_eq!(parsed.component(), component());
        assert_eq!(parsed.signature(), b"payload");
    }

    #[test]
    fn ta01_no_signature_section() {
        let layout = scan(&component()).unwrap();
        assert_eq!((layout.component_size(), layout.signature()), (length(component().len()), None));
        assert_eq!(SignedFile::parse(&component()).unwrap_err(), FormatError::SignatureMissing);
        assert_eq!(SignedFile::parse(&PREAMBLE).unwrap_err(), FormatError::SignatureMissing);
    }

    #[test]
    fn ta02_ta03_two_signature_sections() {
        let first = length(component().len());
        let second = length(signed().len());
        let error = FormatError::SignatureDuplicate { first, second };
        assert_eq!(scan(&with(signed(), &signature_section(b"other").unwrap())), Err(error));
        // With a section between them too: two signatures are the worse news.
        let file = with(with(signed(), &section(0, b"\x01x")), &signature_section(b"other").unwrap());
        assert!(matches!(scan(&file), Err(FormatError::SignatureDuplicate { .. })));
    }

    #[test]
    fn ta04_a_section_after_the_signature() {
        for more in [section(0, b"\x01x"), section(7, &[0]), section(1, &[]), section(4, &PREAMBLE)] {
            let error =
                FormatError::SignaturePosition { signature: length(component().len()), next: length(signed().len()) };
            assert_eq!(scan(&with(signed(), &more)), Err(error.clone()));
            // What follows that section does not make it better.
            assert_eq!(scan(&with(with(signed(), &more), &[0xff])), Err(error));
        }
    }

    #[test]
    fn ta05_trailing_bytes() {
        let error = Err(FormatError::TrailingBytes { offset: length(signed().len()) });
        for more in [&[0][..], &[1], &[0xff], b"\n", &[0; 1 << 20], &[0, 0x80], &[1, 0x80, 0], &signed(), &[1, 9, 0]] {
            assert_eq!(scan(&with(signed(), more)), error, "{:?}", more.get(..8));
        }
    }

    #[test]
    fn ta06_ta17_ta18_ta19_other_files() {
        for (file, found) in [
            (&b""[..], Found::Empty),
            (b"\0asm\x01\0\0\0", Found::CoreModule),
            (b"\0asm\x0d\0\0\0", Found::OtherWasm),
            (b"\0asm\x01\0\x01\0", Found::OtherWasm),
            (b"\0asm\x0e\0\x01\0", Found::OtherWasm),
            (b"\x7fELF\x02\x01\x01\0rest", Found::Precompiled),
            (b"(component)", Found::Text),
            (b"\n  \t(component)", Found::Text),
            (b";; text\n", Found::Text),
            (b"PK\x03\x04\0\0\0\0", Found::Other),
            (b"dex\n035\0", Found::Other),
            (b"\xef\xbb\xbf(comp", Found::Other),
            (b"-----BEGIN", Found::Other),
            (b"x", Found::Other),
        ] {
            assert_eq!(scan(file), Err(FormatError::NotAComponent { found }), "{file:?}");
        }
        // A polyglot: whatever stands before the magic makes it something else.
        assert_eq!(
            scan(&with(b"PK\x03\x04".to_vec(), &signed())),
            Err(FormatError::NotAComponent { found: Found::Other })
        );
    }

    #[test]
    fn ta07_ta08_nested_signatures_do_not_count() {
        for id in [1, 4] {
            let file = with(PREAMBLE.to_vec(), &section(id, &signed()));
            assert_eq!(SignedFile::parse(&file).unwrap_err(), FormatError::SignatureMissing);
        }
        // Nor in the content of another custom section.
        let file = with(PREAMBLE.to_vec(), &section(0, &with(vec![1, b'x'], &signature_section(b"y").unwrap())));
        assert_eq!(SignedFile::parse(&file).unwrap_err(), FormatError::SignatureMissing);
    }

    #[test]
    fn ta11_every_truncation() {
        let file = signed();
        for end in 0..file.len() {
            let error = SignedFile::parse(&file[..end]).unwrap_err();
            if [PREAMBLE.len(), component().len()].contains(&end) || (end > 8 && scan(&file[..end]).is_ok()) {
                assert_eq!(error, FormatError::SignatureMissing, "at {end}");
            } else if end == 0 {
                assert_eq!(error, FormatError::NotAComponent { found: Found::Empty });
            } else {
                assert!(matches!(error, FormatError::Malformed { .. }), "at {end}: {error:?}");
            }
        }
    }

    #[test]
    fn ta12_lengths_not_in_shortest_form() {
        let longer = |file: &[u8]| matches!(scan(file), Err(FormatError::Noncanonical { .. }));
        assert!(longer(&with(PREAMBLE.to_vec(), &[1, 0x81, 0x00, 0x00])));
        assert!(longer(&with(PREAMBLE.to_vec(), &[1, 0x80, 0x80, 0x80, 0x80, 0x00])));
        assert!(longer(&with(PREAMBLE.to_vec(), &[0, 3, 0x81, 0x00, b'x'])));
        // The header and the name of S itself.
        let section = signature_section(b"payload").unwrap();
        let mut size = vec![section[0], section[1] | 0x80, 0];
        size.extend_from_slice(&section[2..]);
        assert!(longer(&with(component(), &size)));
        let mut name = vec![section[0], section[1] + 1, section[2] | 0x80, 0];
        name.extend_from_slice(&section[3..]);
        assert!(longer(&with(component(), &name)));
    }

    #[test]
    fn ta13_lengths_that_are_no_lengths() {
        let malformed = |more: &[u8]| {
            let error = scan(&with(PREAMBLE.to_vec(), more)).unwrap_err();
            assert!(matches!(error, FormatError::Malformed { .. }), "{more:?}: {error:?}");
        };
        malformed(&[1, 0x80, 0x80, 0x80, 0x80, 0x80, 0x00]);
        malformed(&[1, 0xff, 0xff, 0xff, 0xff, 0x1f]);
        malformed(&[1, 0xff, 0xff, 0xff, 0xff, 0x0f]);
        malformed(&[1, 2, 0]);
        malformed(&[0, 0]);
        malformed(&[0, 1, 0x80]);
        malformed(&[0, 2, 2, b'x']);
        malformed(&[0, 5, 0xff, 0xff, 0xff, 0xff, 0x0f]);
        malformed(&[13, 0]);
        malformed(&[0xff, 0]);
        // A length past the limits, where the size of the file is not known.
        let mut scanner = LayoutScanner::new();
        assert!(matches!(
            scanner.feed(&with(PREAMBLE.to_vec(), &[1, 0xff, 0xff, 0xff, 0xff, 0x0f])),
            Err(FormatError::LimitExceeded { what: "component", .. })
        ));
    }

    #[test]
    fn ta14_look_alike_names_are_not_ours() {
        for name in [
            "Component-signature", "component-Signature", "component_signature", "component-signaturё",
            "component-signatur\0", "component-signature\0", "\u{feff}component-signature", "component-signature ",
            "сomponent-signature", "signature",
        ] {
            let mut content = vec![u8::try_from(name.len()).unwrap()];
            content.extend_from_slice(name.as_bytes());
            content.extend_from_slice(b"payload");
            let file = with(component(), &section(0, &content));
            assert_eq!(SignedFile::parse(&file).unwrap_err(), FormatError::SignatureMissing, "{name:?}");
        }
        let mut invalid = vec![19];
        invalid.extend_from_slice(b"component-signatur\xff");
        assert_eq!(
            SignedFile::parse(&with(component(), &section(0, &invalid))).unwrap_err(),
            FormatError::SignatureMissing
        );
    }

    #[test]
    fn ta26_sizes_are_limited_at_their_headers() {
        // 64 MiB of signature, of which not one byte was read.
        let mut header = vec![0];
        header.extend(section(0, &[0; 64 << 20])[1..5].to_vec());
        header.push(19);
        header.extend_from_slice(SECTION_NAME.as_bytes());
        let mut scanner = LayoutScanner::new();
        assert_eq!(
            scanner.feed(&with(component(), &header)),
            Err(FormatError::LimitExceeded {
                what: "signature section",
                limit: limits::MAX_SIGNATURE_BYTES,
                actual: (64 << 20) - 20,
            })
        );
        // A file of 4 GiB is refused before it is read.
        assert!(matches!(LayoutScanner::with_total(4 << 30), Err(FormatError::LimitExceeded { what: "file", .. })));
        assert!(signature_section(&vec![0; 128 * 1024 + 1]).is_err());
        let largest = with(component(), &signature_section(&vec![0; 128 * 1024]).unwrap());
        assert!(scan(&largest).is_ok());
    }

    #[test]
    fn sections_are_counted() {
        let many = |count: usize| [&PREAMBLE[..], &[1, 0].repeat(count)].concat();
        assert!(scan(&many(65_536)).is_ok());
        assert!(matches!(
            scan(&many(65_537)),
            Err(FormatError::LimitExceeded { what: "number of sections", limit: 65_536, actual: 65_537 })
        ));
    }

    #[test]
    fn an_error_stays() {
        let mut scanner = LayoutScanner::new();
        let error = scanner.feed(b"not wasm").unwrap_err();
        assert_eq!(scanner.feed(&signed()), Err(error.clone()));
        assert_eq!(scanner.finish(), Err(error));
    }

    #[test]
    fn ta10_every_flipped_bit_of_a_header_changes_the_layout_or_is_refused() {
        let file = signed();
        let good = scan(&file).unwrap();
        let signature = component().len();
        // Header, name length and name of S: 1 + 1 + 1 + 19 bytes.
        for byte in signature..signature + 22 {
            for bit in 0..8 {
                let mut flipped = file.clone();
                flipped[byte] ^= 1 << bit;
                assert_ne!(scan(&flipped).ok(), Some(good.clone()), "byte {byte}, bit {bit}");
            }
        }
    }
}
