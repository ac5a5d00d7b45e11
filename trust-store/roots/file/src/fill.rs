//! Finds the section for roots in a finished binary, and fills or reads it.

use std::ops::Range;

use countersign_trust_store::{AnchorSource, decode_sources, encode_sources};

use crate::error::RootsFileError;
use crate::section::{self, CAPACITY, DIGEST, HEADER, MAGIC, SectionError, VERSION};

/// What a tool looks for. It stands here and in no host but at the head of its section.
const SECTION_MAGIC: [u8; MAGIC] = *b"\x8dCountersign compiled-in roots\r\n";

/// Writes `sources` into the section of a finished host binary, in place of what was there.
///
/// The binary's size does not change. Whether the roots may serve as trust anchors is not asked here; a host asks at
/// every start, and [`build`](crate::build()) asks before.
///
/// # Errors
/// [`RootsFileError::Section`] unless there is exactly one section, [`RootsFileError::Damaged`] if it is not intact,
/// [`RootsFileError::TooLarge`]. On an error nothing was changed.
pub fn fill(binary: &mut [u8], sources: &[AnchorSource]) -> Result<(), RootsFileError> {
    let place = find(binary)?;
    let sealed = seal(sources)?;
    let section = binary
        .get_mut(place)
        .ok_or(RootsFileError::Section { found: 0 })?;
    section::open(section)?;
    section.copy_from_slice(&sealed);
    Ok(())
}

/// The roots in a finished host binary; empty if it has none yet.
///
/// # Errors
/// As [`fill`].
pub fn read(binary: &[u8]) -> Result<Vec<AnchorSource>, RootsFileError> {
    let place = find(binary)?;
    let section = binary
        .get(place)
        .ok_or(RootsFileError::Section { found: 0 })?;
    match section::open(section)? {
        [] => Ok(Vec::new()),
        content => decode_sources(content).map_err(RootsFileError::Content),
    }
}

/// The whole section with these roots in it; with none, the empty section of a host that refuses everything.
pub(crate) fn seal(sources: &[AnchorSource]) -> Result<Vec<u8>, RootsFileError> {
    let content = if sources.is_empty() {
        Vec::new()
    } else {
        encode_sources(sources).map_err(RootsFileError::Content)?
    };
    let room = CAPACITY - HEADER;
    let too_large = RootsFileError::TooLarge {
        bytes: content.len(),
        room,
    };
    let Some(length) = u32::try_from(content.len())
        .ok()
        .filter(|_| content.len() <= room)
    else {
        return Err(too_large);
    };
    let mut section = Vec::with_capacity(CAPACITY);
    section.extend(SECTION_MAGIC);
    section.extend(VERSION.to_le_bytes());
    section.extend(u32::try_from(CAPACITY).unwrap_or(u32::MAX).to_le_bytes());
    section.extend(length.to_le_bytes());
    section.extend([0; DIGEST.end - DIGEST.start]);
    section.extend(content);
    section.resize(CAPACITY, 0);
    let digest = section::digest(&section)?;
    let place = section.get_mut(DIGEST).ok_or(SectionError::Damaged)?;
    place.copy_from_slice(&digest);
    Ok(section)
}

fn find(binary: &[u8]) -> Result<Range<usize>, RootsFileError> {
    let [first, ..] = SECTION_MAGIC;
    let starts: Vec<usize> = binary
        .iter()
        .enumerate()
        .filter(|(at, byte)| {
            **byte == first
                && binary
                    .get(*at..)
                    .is_some_and(|rest| rest.starts_with(&SECTION_MAGIC))
        })
        .map(|(at, _)| at)
        .collect();
    match *starts {
        [start] => start
            .checked_add(CAPACITY)
            .filter(|end| *end <= binary.len())
            .map(|end| start..end)
            // The magic at the very end of a cut-off file.
            .ok_or(RootsFileError::Section { found: 0 }),
        _ => Err(RootsFileError::Section {
            found: starts.len(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use countersign_trust_store::Purpose;

    use super::*;

    fn source(bytes: usize) -> AnchorSource {
        AnchorSource {
            certificate: vec![0x30; bytes],
            purpose: Purpose::Components,
            scope: None,
            crl_grace: Duration::from_secs(7),
            crls: vec![vec![0x30, 1]],
        }
    }

    fn binary() -> Vec<u8> {
        let mut binary = b"\x7fELF\x8dCountersign".to_vec();
        binary.extend(seal(&[]).expect("an empty section can be made"));
        binary.extend(*b"more code");
        binary
    }

    #[test]
    fn what_was_filled_is_read_and_may_be_replaced() {
        let mut binary = binary();
        let size = binary.len();
        assert!(read(&binary).expect("intact").is_empty());
        fill(&mut binary, &[source(300), source(200)]).expect("fits");
        fill(&mut binary, &[source(100)]).expect("fits");
        let found = read(&binary).expect("intact");
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].certificate, vec![0x30; 100]);
        assert_eq!(found[0].crls, vec![vec![0x30, 1]]);
        assert_eq!(found[0].crl_grace, Duration::from_secs(7));
        assert_eq!(binary.len(), size);
        assert!(binary.ends_with(b"more code") && binary.starts_with(b"\x7fELF\x8dCountersign"));
    }

    #[test]
    fn no_section_two_sections_and_half_a_section_are_refused_and_nothing_is_changed() {
        let mut two = binary();
        two.extend(binary());
        let mut half = binary();
        half.truncate(CAPACITY);
        for (mut bytes, expected) in [
            (b"\x7fELF".to_vec(), 0),
            (two, 2),
            (half, 0),
            (Vec::new(), 0),
        ] {
            let before = bytes.clone();
            let error = fill(&mut bytes, &[source(100)]).expect_err("must be refused");
            assert!(
                matches!(error, RootsFileError::Section { found } if found == expected),
                "{error}"
            );
            assert_eq!(bytes, before);
        }
    }

    #[test]
    fn a_damaged_section_is_neither_read_nor_filled() {
        for at in [
            MAGIC,
            MAGIC + 4,
            MAGIC + 8,
            DIGEST.start,
            HEADER,
            CAPACITY - 1,
        ] {
            let mut bytes = binary();
            bytes[16 + at] ^= 0x40;
            let before = bytes.clone();
            assert!(
                matches!(
                    fill(&mut bytes, &[source(100)]),
                    Err(RootsFileError::Damaged(_))
                ),
                "byte {at}"
            );
            assert!(
                matches!(read(&bytes), Err(RootsFileError::Damaged(_))),
                "byte {at}"
            );
            assert_eq!(bytes, before);
        }
    }

    #[test]
    fn more_than_fits_is_refused_with_both_numbers() {
        let mut binary = binary();
        let before = binary.clone();
        let error = fill(&mut binary, &[source(CAPACITY)]).expect_err("must be refused");
        assert!(
            matches!(error, RootsFileError::TooLarge { bytes, room } if bytes > CAPACITY && room == CAPACITY - HEADER)
        );
        assert_eq!(binary, before);
    }
}
