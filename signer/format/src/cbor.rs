//! Deterministic CBOR (RFC 8949 §4.2.1), read strictly and written in its one form.
//!
//! The reader takes tokens from minicbor and refuses what minicbor lets through: integers and lengths that are
//! not in their shortest form, indefinite lengths, map keys that repeat or are out of order, and bytes left over.
//! It is driven by what the caller expects next, so it cannot recurse, and it borrows: it never allocates.
//! What the fields mean is left to the callers.

use core::cmp::Ordering;

use minicbor::Decoder;

use crate::FormatError;

/// Reads one deterministic CBOR item after another.
pub(crate) struct Reader<'b> {
    decoder: Decoder<'b>,
    /// Where `decoder`'s input starts in what the user gave, for the offsets in errors.
    base: u64,
}

impl<'b> Reader<'b> {
    pub(crate) fn new(input: &'b [u8]) -> Self {
        Self::at(0, input)
    }

    /// A reader of bytes that start at `base` in what the user gave.
    pub(crate) fn at(base: u64, input: &'b [u8]) -> Self {
        Self {
            decoder: Decoder::new(input),
            base,
        }
    }

    pub(crate) fn offset(&self) -> u64 {
        self.base.saturating_add(length(self.decoder.position()))
    }

    pub(crate) fn malformed(&self, what: &'static str) -> FormatError {
        FormatError::Malformed {
            what,
            offset: self.offset(),
        }
    }

    pub(crate) fn noncanonical(&self, what: &'static str) -> FormatError {
        FormatError::Noncanonical {
            what,
            offset: self.offset(),
        }
    }

    /// RFC 8949 §3.1: the major type of the next item, 0 to 7, if there is one.
    pub(crate) fn major(&self) -> Option<u8> {
        self.next().map(|byte| byte >> 5)
    }

    pub(crate) fn unsigned(&mut self, what: &'static str) -> Result<u64, FormatError> {
        self.item(what, |decoder| decoder.u64().map(|value| (value, value, 0)))
    }

    pub(crate) fn integer(&mut self, what: &'static str) -> Result<i64, FormatError> {
        self.item(what, |decoder| {
            // RFC 8949 §3.1: the argument of a negative integer n is -1 - n, which is !n in two's complement.
            decoder.i64().map(|value| {
                let argument = if value.is_negative() { !value } else { value };
                (value, argument.unsigned_abs(), 0)
            })
        })
    }

    pub(crate) fn boolean(&mut self, what: &'static str) -> Result<bool, FormatError> {
        let offset = self.offset();
        self.decoder
            .bool()
            .map_err(|_| FormatError::Malformed { what, offset })
    }

    pub(crate) fn bytes(
        &mut self,
        what: &'static str,
        limit: u64,
    ) -> Result<&'b [u8], FormatError> {
        let bytes = self.item(what, |decoder| {
            decoder
                .bytes()
                .map(|bytes| (bytes, length(bytes.len()), length(bytes.len())))
        })?;
        within(what, limit, length(bytes.len()))?;
        Ok(bytes)
    }

    /// A byte string of exactly `N` bytes.
    pub(crate) fn array_of<const N: usize>(
        &mut self,
        what: &'static str,
    ) -> Result<[u8; N], FormatError> {
        let error = self.malformed(what);
        self.bytes(what, u64::MAX)?.try_into().map_err(|_| error)
    }

    pub(crate) fn text(&mut self, what: &'static str, limit: u64) -> Result<&'b str, FormatError> {
        let text = self.item(what, |decoder| {
            decoder
                .str()
                .map(|text| (text, length(text.len()), length(text.len())))
        })?;
        within(what, limit, length(text.len()))?;
        Ok(text)
    }

    /// The head of an array of at most `limit` items: their number.
    pub(crate) fn array(&mut self, what: &'static str, limit: u64) -> Result<u64, FormatError> {
        let count = self.item(what, |decoder| {
            decoder.array().map(|count| (count, count.unwrap_or(0), 0))
        })?;
        let count = count.ok_or_else(|| self.malformed(what))?;
        within(what, limit, count)?;
        Ok(count)
    }

    /// The head of an array of exactly `count` items.
    pub(crate) fn tuple(&mut self, what: &'static str, count: u64) -> Result<(), FormatError> {
        let error = self.malformed(what);
        if self.array(what, u64::MAX)? == count {
            Ok(())
        } else {
            Err(error)
        }
    }

    /// A list of at most `limit` items. An empty one is refused unless `may_be_empty`: what is empty is left out.
    pub(crate) fn list<T>(
        &mut self,
        what: &'static str,
        limit: u64,
        may_be_empty: bool,
        mut item: impl FnMut(&mut Self) -> Result<T, FormatError>,
    ) -> Result<Vec<T>, FormatError> {
        let error = self.noncanonical("an empty list, which must be left out");
        let count = self.array(what, limit)?;
        if count == 0 && !may_be_empty {
            return Err(error);
        }
        (0..count).map(|_| item(self)).collect()
    }

    /// The head of a map with unsigned integer keys; read its entries with [`Keys::next`].
    pub(crate) fn map(&mut self, what: &'static str, limit: u64) -> Result<Keys, FormatError> {
        let count = self.item(what, |decoder| {
            decoder.map().map(|count| (count, count.unwrap_or(0), 0))
        })?;
        let left = count.ok_or_else(|| self.malformed(what))?;
        within(what, limit, left)?;
        Ok(Keys {
            what,
            left,
            last: None,
        })
    }

    /// The head of a map of exactly `count` entries, of which the caller knows every key.
    pub(crate) fn record(&mut self, what: &'static str, count: u64) -> Result<(), FormatError> {
        let error = self.malformed(what);
        let keys = self.map(what, u64::MAX)?;
        if keys.left == count {
            Ok(())
        } else {
            Err(error)
        }
    }

    pub(crate) fn tag(&mut self, what: &'static str) -> Result<u64, FormatError> {
        self.item(what, |decoder| {
            decoder.tag().map(|tag| (tag.as_u64(), tag.as_u64(), 0))
        })
    }

    /// Nothing may be left over.
    pub(crate) fn finish(self, what: &'static str) -> Result<(), FormatError> {
        if self.next().is_none() {
            Ok(())
        } else {
            Err(self.noncanonical(what))
        }
    }

    fn next(&self) -> Option<u8> {
        self.decoder.input().get(self.decoder.position()).copied()
    }

    /// Reads one item with minicbor, then holds its head against the shortest form. `read` returns the value, the
    /// argument of the head, and the bytes of content that follow the head.
    fn item<T>(
        &mut self,
        what: &'static str,
        read: impl FnOnce(&mut Decoder<'b>) -> Result<(T, u64, u64), minicbor::decode::Error>,
    ) -> Result<T, FormatError> {
        let start = self.decoder.position();
        let offset = self.offset();
        // RFC 8949 §4.2.1: no indefinite lengths (additional information 31 of major types 2 to 5).
        if self
            .next()
            .is_some_and(|byte| (0x40..0xc0).contains(&byte) && byte & 0x1f == 31)
        {
            return Err(self.noncanonical("a string, array or map of indefinite length"));
        }
        let (value, argument, content) =
            read(&mut self.decoder).map_err(|_| FormatError::Malformed { what, offset })?;
        let head = length(self.decoder.position()).checked_sub(length(start));
        let head = head.and_then(|read| read.checked_sub(content));
        // RFC 8949 §4.2.1: integers and lengths as short as possible.
        if head != Some(head_length(argument)) {
            return Err(FormatError::Noncanonical {
                what: "an integer or length that is not in its shortest form",
                offset,
            });
        }
        Ok(value)
    }
}

/// The keys of a map, which must rise: sorted, none twice.
pub(crate) struct Keys {
    what: &'static str,
    left: u64,
    /// RFC 8949 §4.2.1 sorts encoded keys: those from 0 up first, then the negative ones by their argument.
    last: Option<(bool, u64)>,
}

impl Keys {
    /// Whether there are no keys, or none left.
    pub(crate) fn is_empty(&self) -> bool {
        self.left == 0
    }

    /// The next key, or `None` at the end of the map. The caller reads its value.
    pub(crate) fn next(&mut self, reader: &mut Reader<'_>) -> Result<Option<u64>, FormatError> {
        self.rise(reader, |reader, what| {
            reader.unsigned(what).map(|key| (key, (false, key)))
        })
    }

    /// The same for a map whose keys may be negative.
    pub(crate) fn next_label(
        &mut self,
        reader: &mut Reader<'_>,
    ) -> Result<Option<i64>, FormatError> {
        self.rise(reader, |reader, what| {
            let key = reader.integer(what)?;
            // RFC 8949 §3.1: the argument of a negative integer n is -1 - n, which rises as its size does.
            Ok((key, (key.is_negative(), key.unsigned_abs())))
        })
    }

    fn rise<K>(
        &mut self,
        reader: &mut Reader<'_>,
        read: impl FnOnce(&mut Reader<'_>, &'static str) -> Result<(K, (bool, u64)), FormatError>,
    ) -> Result<Option<K>, FormatError> {
        let Some(left) = self.left.checked_sub(1) else {
            return Ok(None);
        };
        self.left = left;
        let offset = reader.offset();
        let (key, place) = read(reader, self.what)?;
        match self.last.replace(place).map(|last| place.cmp(&last)) {
            Some(Ordering::Equal) => Err(FormatError::Noncanonical {
                what: "a map key that appears twice",
                offset,
            }),
            Some(Ordering::Less) => Err(FormatError::Noncanonical {
                what: "map keys that are not sorted",
                offset,
            }),
            Some(Ordering::Greater) | None => Ok(Some(key)),
        }
    }
}

/// Writes deterministic CBOR.
#[derive(Default)]
pub(crate) struct Writer(Vec<u8>);

impl Writer {
    pub(crate) fn unsigned(&mut self, value: u64) {
        self.head(0x00, value);
    }

    pub(crate) fn integer(&mut self, value: i64) {
        if value < 0 {
            self.head(0x20, (!value).unsigned_abs())
        } else {
            self.head(0x00, value.unsigned_abs())
        }
    }

    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        self.head(0x40, length(bytes.len()));
        self.0.extend_from_slice(bytes);
    }

    pub(crate) fn text(&mut self, text: &str) {
        self.head(0x60, length(text.len()));
        self.0.extend_from_slice(text.as_bytes());
    }

    pub(crate) fn array(&mut self, count: usize) {
        self.head(0x80, length(count));
    }

    /// The head of a map of `count` entries; the caller writes keys and values, sorted.
    pub(crate) fn map(&mut self, count: usize) {
        self.head(0xa0, length(count));
    }

    pub(crate) fn tag(&mut self, tag: u64) {
        self.head(0xc0, tag);
    }

    pub(crate) fn boolean(&mut self, value: bool) {
        self.0.push(if value { 0xf5 } else { 0xf4 });
    }

    /// Bytes that are an encoded item already.
    pub(crate) fn encoded(&mut self, item: &[u8]) {
        self.0.extend_from_slice(item);
    }

    pub(crate) fn finish(self) -> Vec<u8> {
        self.0
    }

    fn head(&mut self, major: u8, argument: u64) {
        if let Ok(byte) = u8::try_from(argument) {
            if byte < 24 {
                self.0.push(major | byte);
            } else {
                self.0.extend_from_slice(&[major | 24, byte]);
            }
        } else if let Ok(short) = u16::try_from(argument) {
            self.0.push(major | 25);
            self.0.extend_from_slice(&short.to_be_bytes());
        } else if let Ok(word) = u32::try_from(argument) {
            self.0.push(major | 26);
            self.0.extend_from_slice(&word.to_be_bytes());
        } else {
            self.0.push(major | 27);
            self.0.extend_from_slice(&argument.to_be_bytes());
        }
    }
}

/// A map under construction: entries in the order of their keys, counted, absent ones left out.
#[derive(Default)]
pub(crate) struct MapWriter {
    count: usize,
    entries: Writer,
}

impl MapWriter {
    /// Adds an entry; keys must be given in rising order.
    pub(crate) fn entry(&mut self, key: u64, value: impl FnOnce(&mut Writer)) {
        self.count = self.count.saturating_add(1);
        self.entries.unsigned(key);
        value(&mut self.entries);
    }

    /// Adds an entry whose key may be negative; the negative ones come last, -1 before -2.
    pub(crate) fn label(&mut self, key: i64, value: impl FnOnce(&mut Writer)) {
        self.count = self.count.saturating_add(1);
        self.entries.integer(key);
        value(&mut self.entries);
    }

    /// Adds an entry if there is something to say.
    pub(crate) fn optional<T>(
        &mut self,
        key: u64,
        value: Option<T>,
        write: impl FnOnce(&mut Writer, T),
    ) {
        if let Some(value) = value {
            self.entry(key, |writer| write(writer, value));
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.count == 0
    }

    pub(crate) fn write_to(self, writer: &mut Writer) {
        writer.map(self.count);
        writer.encoded(&self.entries.0);
    }

    pub(crate) fn finish(self) -> Vec<u8> {
        let mut writer = Writer::default();
        self.write_to(&mut writer);
        writer.finish()
    }
}

/// Refuses what exceeds a limit.
pub(crate) fn within(what: &'static str, limit: u64, actual: u64) -> Result<(), FormatError> {
    if actual <= limit {
        Ok(())
    } else {
        Err(FormatError::LimitExceeded {
            what,
            limit,
            actual,
        })
    }
}

/// A length in memory as the number that formats and limits count in.
pub(crate) fn length(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}

/// The bytes of the shortest head with this argument.
fn head_length(argument: u64) -> u64 {
    match argument {
        0..24 => 1,
        24..0x100 => 2,
        0x100..0x1_0000 => 3,
        0x1_0000..0x1_0000_0000 => 5,
        _ => 9,
    }
}

#[cfg(test)]
mod tests;
