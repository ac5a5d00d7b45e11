//! A bundle as it is read: once, from front to end, in bounded memory.
//!
//! Decides that a part has exactly the bytes that the index names, and that nothing follows the last. Where the bytes come
//! from, and what becomes of those that were not checked to their end yet, is the caller's matter.

use std::io::{self, Read};

use countersign_format::{BUNDLE_PREAMBLE_BYTES, BundlePart, FormatError, read_bundle_preamble};

use crate::{PartCheck, Rejection, UnverifiedBundle};

/// Bytes read at once. The whole memory that a part of any size takes.
const PIECE: usize = 64 * 1024;

/// Why a bundle was not read to its end.
#[derive(Debug, thiserror::Error)]
pub enum BundleReadError {
    /// Reading it, or writing a part of it, failed: no verdict.
    #[error("the bundle cannot be read, or what is in it cannot be written")]
    Io(#[from] io::Error),
    /// What was read is refused.
    #[error(transparent)]
    Refused(#[from] Rejection),
}

/// A bundle of which the envelope has been read, and then part after part.
#[derive(Debug)]
pub struct BundleReader<R> {
    input: R,
    bundle: UnverifiedBundle,
    next: usize,
    offset: u64,
}

impl<R: Read> BundleReader<R> {
    /// Reads preamble and envelope.
    ///
    /// # Errors
    /// [`BundleReadError`].
    pub fn open(mut input: R) -> Result<Self, BundleReadError> {
        let mut preamble = [0; BUNDLE_PREAMBLE_BYTES];
        fill(&mut input, &mut preamble)?.ok_or(Rejection::Format(FormatError::NotABundle))?;
        let length = read_bundle_preamble(&preamble).map_err(Rejection::from)?;
        let mut envelope = vec![0; usize::try_from(length).unwrap_or(0)];
        fill(&mut input, &mut envelope)?.ok_or(Rejection::Format(FormatError::Malformed {
            what: "the bundle breaks off in its envelope",
            offset: 0,
        }))?;
        let bundle = UnverifiedBundle::parse(&envelope)?;
        let before = u64::try_from(BUNDLE_PREAMBLE_BYTES).unwrap_or(u64::MAX);
        Ok(Self {
            input,
            bundle,
            next: 0,
            offset: before.saturating_add(length),
        })
    }

    /// What the envelope says. Not verified.
    #[must_use]
    pub const fn bundle(&self) -> &UnverifiedBundle {
        &self.bundle
    }

    /// Reads the next part, hands its bytes to `sink` piece by piece, and says which it was: only then are they those that the
    /// index names. After the last it demands that the bundle ends, and says that there is none.
    ///
    /// # Errors
    /// [`BundleReadError`]; what `sink` says ends it too.
    pub fn next_part(
        &mut self,
        sink: &mut dyn FnMut(&[u8]) -> io::Result<()>,
    ) -> Result<Option<BundlePart>, BundleReadError> {
        let mut buffer = vec![0; PIECE];
        let parts = &self.bundle.claimed_index().fields().parts;
        let Some(part) = parts.get(self.next) else {
            return match read(&mut self.input, &mut buffer)? {
                0 => Ok(None),
                _ => Err(Rejection::Format(FormatError::TrailingBytes {
                    offset: self.offset,
                })
                .into()),
            };
        };
        let mut check = PartCheck::new(part);
        while check.left() > 0 {
            let most = usize::try_from(check.left()).unwrap_or(PIECE).min(PIECE);
            let room = buffer.get_mut(..most).unwrap_or_default();
            let count = read(&mut self.input, room)?;
            if count == 0 {
                break;
            }
            let piece = buffer.get(..count).unwrap_or_default();
            check.update(piece);
            sink(piece)?;
        }
        check.finish()?;
        let part = part.clone();
        self.next = self.next.saturating_add(1);
        self.offset = self.offset.saturating_add(part.size);
        Ok(Some(part))
    }
}

/// Fills the buffer, or nothing if the input ends before.
fn fill(input: &mut impl Read, buffer: &mut [u8]) -> io::Result<Option<()>> {
    match input.read_exact(buffer) {
        Ok(()) => Ok(Some(())),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        Err(error) => Err(error),
    }
}

fn read(input: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        match input.read(buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}
