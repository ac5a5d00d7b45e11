//! Where a PKI's keys and serial numbers come from: the system, or a number, so that the same PKI can be made again.

use countersign_backend_file::SystemRandom;
use countersign_backend_file::rand_core::{TryCryptoRng, TryRng};
use countersign_format::Digest;

/// A source of random octets.
#[derive(Clone, Debug)]
pub(crate) enum Random {
    /// The operating system's.
    System,
    /// SHA-256 of a seed and a counter: random to look at, and always the same.
    Seeded {
        /// What was asked for.
        seed: u64,
        /// How many blocks were taken.
        counter: u64,
    },
}

impl TryRng for Random {
    type Error = <SystemRandom as TryRng>::Error;

    fn try_next_u32(&mut self) -> Result<u32, Self::Error> {
        let mut octets = [0; 4];
        self.try_fill_bytes(&mut octets)?;
        Ok(u32::from_be_bytes(octets))
    }

    fn try_next_u64(&mut self) -> Result<u64, Self::Error> {
        let mut octets = [0; 8];
        self.try_fill_bytes(&mut octets)?;
        Ok(u64::from_be_bytes(octets))
    }

    fn try_fill_bytes(&mut self, octets: &mut [u8]) -> Result<(), Self::Error> {
        let Self::Seeded { seed, counter } = self else {
            return SystemRandom.try_fill_bytes(octets);
        };
        for part in octets.chunks_mut(32) {
            let input = [seed.to_be_bytes(), counter.to_be_bytes()].concat();
            *counter = counter.wrapping_add(1);
            let block = Digest::of(&input);
            for (octet, random) in part.iter_mut().zip(block.as_bytes()) {
                *octet = *random;
            }
        }
        Ok(())
    }
}

impl TryCryptoRng for Random {}
