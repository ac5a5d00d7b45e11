//! Entry bundles of C2SP tlog-tiles: entries side by side, each after its length in two bytes, big-endian.

/// The longest entry, in bytes: its length is written in 16 bits.
pub const MAX_ENTRY_BYTES: usize = 65_535;

/// The largest bundle: 256 entries of that length.
pub(crate) const MAX_BUNDLE_BYTES: usize = 256 * (MAX_ENTRY_BYTES + 2);

/// Appends an entry to a bundle; `None`, and nothing appended, if it is too long.
pub(crate) fn push(bundle: &mut Vec<u8>, entry: &[u8]) -> Option<()> {
    let length = u16::try_from(entry.len()).ok()?;
    bundle.extend_from_slice(&length.to_be_bytes());
    bundle.extend_from_slice(entry);
    Some(())
}

/// The entries of a bundle, as far as they are whole, and whether anything is left behind them.
pub(crate) fn entries(mut bytes: &[u8]) -> (Vec<&[u8]>, Rest) {
    let mut entries = Vec::new();
    while !bytes.is_empty() {
        let Some((entry, rest)) = first(bytes) else {
            return (entries, Rest::Broken);
        };
        entries.push(entry);
        bytes = rest;
    }
    (entries, Rest::Nothing)
}

/// What is left of a bundle behind its entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rest {
    /// Nothing.
    Nothing,
    /// Bytes that are no entry.
    Broken,
}

fn first(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<2>()?;
    rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn lengths_are_big_endian_and_end_at_65535() {
        let mut bundle = Vec::new();
        push(&mut bundle, b"").unwrap();
        push(&mut bundle, b"ab").unwrap();
        assert_eq!(bundle, b"\0\0\0\x02ab");
        assert!(push(&mut bundle, &[0; MAX_ENTRY_BYTES + 1]).is_none());
        assert_eq!(bundle.len(), 6);
        push(&mut bundle, &[7; MAX_ENTRY_BYTES]).unwrap();
        assert_eq!(entries(&bundle).0[2].len(), MAX_ENTRY_BYTES);
    }

    #[test]
    fn what_is_cut_off_is_broken() {
        assert_eq!(entries(b"\0"), (vec![], Rest::Broken));
        assert_eq!(entries(b"\0\x01a\0\x02b"), (vec![&b"a"[..]], Rest::Broken));
    }

    proptest! {
        #[test]
        fn entries_come_back(all: Vec<Vec<u8>>) {
            let mut bundle = Vec::new();
            for entry in &all {
                push(&mut bundle, entry).unwrap();
            }
            let (back, rest) = entries(&bundle);
            prop_assert_eq!(rest, Rest::Nothing);
            prop_assert_eq!(back, all.iter().map(Vec::as_slice).collect::<Vec<_>>());
        }

        #[test]
        fn any_bytes_are_entries_and_a_rest(bytes: Vec<u8>) {
            let (all, rest) = entries(&bytes);
            let used: usize = all.iter().map(|entry| entry.len() + 2).sum();
            prop_assert_eq!(used == bytes.len(), rest == Rest::Nothing);
        }
    }
}
