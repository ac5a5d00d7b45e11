//! The chip's random numbers: SHA-256 of a seed and a counter, so that a test can be repeated.

use sha2::{Digest as _, Sha256};

#[derive(Debug)]
pub(super) struct Drbg {
    seed: [u8; 32],
    counter: u64,
    stuck: bool,
}

impl Drbg {
    pub(super) fn new(seed: Option<u64>) -> Self {
        let seed = match seed {
            Some(seed) => Sha256::digest(seed.to_be_bytes()).into(),
            None => {
                let mut seed = [0; 32];
                getrandom::fill(&mut seed).expect("the system has random numbers");
                seed
            }
        };
        Self {
            seed,
            counter: 0,
            stuck: false,
        }
    }

    pub(super) fn block(&mut self) -> [u8; 32] {
        if !self.stuck {
            self.counter += 1;
        }
        Sha256::new()
            .chain_update(self.seed)
            .chain_update(self.counter.to_be_bytes())
            .finalize()
            .into()
    }

    /// Bytes that another master made up.
    pub(super) fn foreign(&mut self, length: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        while bytes.len() < length {
            bytes.extend_from_slice(&Sha256::digest(self.block()));
        }
        bytes.truncate(length);
        bytes
    }

    pub(super) fn stick(&mut self) {
        self.stuck = true;
    }

    pub(super) fn release(&mut self) {
        self.stuck = false;
    }
}
