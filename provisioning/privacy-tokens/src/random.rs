//! Random bytes and numbers from a source that the caller gives.

use rand_core::TryCryptoRng;
use zeroize::Zeroizing;

use crate::Error;

/// So many draws in a row fall outside a range with a chance below 2^-64, whatever the range.
const MOST_DRAWS: u32 = 64;

/// 32 bytes.
pub(crate) fn key(random: &mut impl TryCryptoRng) -> Result<Zeroizing<[u8; 32]>, Error> {
    let mut bytes = Zeroizing::new([0; 32]);
    fill(random, bytes.as_mut_slice())?;
    Ok(bytes)
}

/// 12 bytes, the nonce of AES-GCM (RFC 5116 §5.2).
pub(crate) fn nonce(random: &mut impl TryCryptoRng) -> Result<[u8; 12], Error> {
    let mut bytes = [0; 12];
    fill(random, &mut bytes)?;
    Ok(bytes)
}

/// A number from 0 to `end` - 1, each with the same chance: what would make some likelier than others is drawn again.
pub(crate) fn below(end: u16, random: &mut impl TryCryptoRng) -> Result<u16, Error> {
    // The largest multiple of `end` that two bytes hold, less one; `None` only for 0, below which there is nothing.
    let excess = (0x1_0000_u32)
        .checked_rem(u32::from(end))
        .ok_or(Error::Random)?;
    let last = 0xFFFF_u32.saturating_sub(excess);
    for _ in 0..MOST_DRAWS {
        let mut bytes = [0; 2];
        fill(random, &mut bytes)?;
        let number = u16::from_be_bytes(bytes);
        if u32::from(number) <= last {
            return number.checked_rem(end).ok_or(Error::Random);
        }
    }
    Err(Error::Random)
}

fn fill(random: &mut impl TryCryptoRng, bytes: &mut [u8]) -> Result<(), Error> {
    random.try_fill_bytes(bytes).map_err(|_| Error::Random)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::convert::Infallible;

    /// Gives the numbers of a list, two bytes each, and the last one for ever.
    struct Listed(Vec<u16>);

    impl rand_core::TryRng for Listed {
        type Error = Infallible;
        fn try_next_u32(&mut self) -> Result<u32, Infallible> {
            unreachable!("only bytes are drawn")
        }
        fn try_next_u64(&mut self) -> Result<u64, Infallible> {
            unreachable!("only bytes are drawn")
        }
        fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
            let number = if self.0.len() > 1 {
                self.0.remove(0)
            } else {
                self.0[0]
            };
            bytes.copy_from_slice(&number.to_be_bytes());
            Ok(())
        }
    }
    impl TryCryptoRng for Listed {}

    #[test]
    fn every_number_stands_for_as_many_draws_as_every_other() {
        for end in [1, 2, 3, 10, 999, 1000, 2500, 32_768, 65_535] {
            let mut counts = vec![0_u32; usize::from(end)];
            for draw in 0..=u16::MAX {
                // A draw that does not count is followed by one that does, and is told by it.
                let mut source = Listed(vec![draw, 0, 1]);
                let number = below(end, &mut source).unwrap();
                if source.0.len() == 2 {
                    counts[usize::from(number)] += 1;
                }
            }
            let least = counts.iter().min().unwrap();
            assert!(counts.iter().all(|count| count == least), "{end}");
            assert!(*least >= 1);
        }
    }

    #[test]
    fn a_source_that_stands_still_ends_in_an_error() {
        assert!(matches!(
            below(2500, &mut Listed(vec![65_535])),
            Err(Error::Random)
        ));
        assert!(matches!(below(0, &mut Listed(vec![1])), Err(Error::Random)));
    }
}
