//! A component copied to its output while it is hashed and its layout is scanned: one pass, 64 KiB at a time.

use crate::{Overwrite, SignError};
use countersign_durable::{Access, Unfinished};
use countersign_format::{Digest, DigestWriter, Layout, LayoutScanner, SignatureRange};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;

/// Bytes read at once. The whole memory that a component of any size takes.
const PIECE: usize = 64 * 1024;

/// P, alone, in an output that is not in its place yet.
pub(crate) struct Staged {
    pub(crate) output: Unfinished,
    pub(crate) digest: Digest,
    pub(crate) size: u64,
}

/// What to do with a signature that the input carries already.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum OldSignature {
    Refuse,
    Drop,
}

impl Staged {
    /// Copies P from `input` (named `name` in errors) to an output at `path`.
    pub(crate) fn copy(
        input: &mut dyn Read,
        name: &Path,
        path: &Path,
        overwrite: Overwrite,
        old: OldSignature,
    ) -> Result<Self, SignError> {
        let mut output = Unfinished::create(path, Access::Umask, overwrite)?;
        let (scanned, digest) = {
            let file = output.file();
            scan(input, name, |piece| {
                file.write_all(piece).map_err(SignError::write(path))
            })?
        };
        let size = scanned.component_size();
        if scanned.signature().is_none() {
            return Ok(Self {
                output,
                digest,
                size,
            });
        }
        if old == OldSignature::Refuse {
            return Err(SignError::AlreadySigned);
        }
        // P is what was copied up to the old signature; its digest has to be taken of that alone.
        output
            .file()
            .set_len(size)
            .map_err(SignError::write(path))?;
        output
            .file()
            .seek(SeekFrom::Start(0))
            .map_err(SignError::write(path))?;
        let (_, digest) = scan(output.file(), path, |_| Ok(()))?;
        output
            .file()
            .seek(SeekFrom::Start(size))
            .map_err(SignError::write(path))?;
        Ok(Self {
            output,
            digest,
            size,
        })
    }

    /// Appends S with this payload, reads the whole file back, and puts it in its place.
    pub(crate) fn finish(mut self, payload: &[u8]) -> Result<(), SignError> {
        let path = self.output.path().to_owned();
        let section =
            countersign_format::signature_section(payload).map_err(SignError::Statement)?;
        self.output
            .file()
            .write_all(&section)
            .map_err(SignError::write(&path))?;

        self.output
            .file()
            .seek(SeekFrom::Start(0))
            .map_err(SignError::write(&path))?;
        let (scanned, _) = scan(self.output.file(), &path, |_| Ok(()))?;
        let range = scanned.signature().ok_or(SignError::SelfCheck {
            what: "the signature is not there",
        })?;
        let (digest, written) = reread(self.output.file(), range, &path)?;
        if scanned.component_size() != self.size || digest != self.digest {
            return Err(SignError::SelfCheck {
                what: "the component's digest",
            });
        }
        if written != payload {
            return Err(SignError::SelfCheck {
                what: "the signature",
            });
        }
        Ok(self.output.place()?)
    }

    /// Puts P alone in its place.
    pub(crate) fn finish_unsigned(self) -> Result<(), SignError> {
        Ok(self.output.place()?)
    }
}

/// Reads `input` to its end, hands every piece to `each`, and returns the layout and the digest of all of it. The
/// scanner stops at the format's limits, so an endless input ends.
pub(crate) fn scan(
    input: &mut dyn Read,
    name: &Path,
    mut each: impl FnMut(&[u8]) -> Result<(), SignError>,
) -> Result<(Layout, Digest), SignError> {
    let mut scanner = LayoutScanner::new();
    let mut digest = DigestWriter::new();
    let mut buffer = vec![0u8; PIECE];
    loop {
        let count = match input.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(SignError::read(name)(error)),
        };
        let piece = buffer.get(..count).unwrap_or_default();
        scanner.feed(piece).map_err(SignError::Component)?;
        digest.update(piece);
        each(piece)?;
    }
    let layout = scanner.finish().map_err(SignError::Component)?;
    Ok((layout, digest.finish()))
}

/// Reads a signed file's two parts once more: the digest of P, and the payload of S.
pub(crate) fn reread(
    file: &mut (impl Read + Seek),
    range: SignatureRange,
    name: &Path,
) -> Result<(Digest, Vec<u8>), SignError> {
    let mut digest = DigestWriter::new();
    let mut buffer = vec![0u8; PIECE];
    file.seek(SeekFrom::Start(0))
        .map_err(SignError::read(name))?;
    let mut component = file.by_ref().take(range.start());
    loop {
        match component.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => digest.update(buffer.get(..count).unwrap_or_default()),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(SignError::read(name)(error)),
        }
    }
    let payload = range.payload();
    file.seek(SeekFrom::Start(payload.start))
        .map_err(SignError::read(name))?;
    let mut bytes = Vec::new();
    let length = payload.end.saturating_sub(payload.start);
    file.by_ref()
        .take(length)
        .read_to_end(&mut bytes)
        .map_err(SignError::read(name))?;
    Ok((digest.finish(), bytes))
}
