//! Commands: which there are, how long they take, and the short ones.

use sha2::{Digest as _, Sha256};

use super::memory::COUNTER_MAX;
use super::packet::Packet;
use super::{Chip, TempKey};

/// Status codes of an answer.
pub(super) const MISCOMPARE: u8 = 0x01;
pub(super) const PARSE_ERROR: u8 = 0x03;
pub(super) const ECC_FAULT: u8 = 0x05;
pub(super) const EXECUTION_ERROR: u8 = 0x0f;

pub(super) type Outcome = Result<Vec<u8>, u8>;

/// How long a command takes, in microseconds: typical values seen over I²C, clock divider M0.
pub(super) fn micros(opcode: u8) -> u64 {
    match opcode {
        0x02 => 800,
        0x12 => 8_000,
        0x16 => 7_000,
        0x17 => 19_500,
        0x1b => 15_000,
        0x20 => 6_000,
        0x24 => 12_000,
        0x40 => 59_000,
        0x41 => 62_000,
        0x45 => 75_000,
        0x47 => 12_000,
        _ => 500,
    }
}

impl Chip {
    pub(super) fn execute(&mut self, packet: &Packet<'_>) -> Outcome {
        match packet.opcode {
            0x02 => self.read_zone(packet),
            0x12 => self.write_zone(packet),
            0x16 => self.nonce(packet),
            0x17 => self.lock(packet),
            0x1b => self.random(packet),
            0x20 => self.update_extra(packet),
            0x24 => self.counter(packet),
            0x30 => self.info(packet),
            0x40 => self.gen_key(packet),
            0x41 => self.sign(packet),
            0x45 => self.verify(packet),
            0x47 => self.sha(packet),
            _ => Err(PARSE_ERROR),
        }
    }

    fn info(&self, packet: &Packet<'_>) -> Outcome {
        match packet.p1 {
            0x00 => Ok(self.memory.config[4..8].to_vec()),
            0x02 => Ok(vec![u8::from(self.temp_key.valid) << 7, 0, 0, 0]),
            _ => Err(PARSE_ERROR),
        }
    }

    fn random(&mut self, packet: &Packet<'_>) -> Outcome {
        if packet.p1 > 1 || packet.p2 != 0 {
            return Err(PARSE_ERROR);
        }
        Ok(self.random_bytes().to_vec())
    }

    /// Until the configuration is locked there are no random numbers, but a pattern.
    fn random_bytes(&mut self) -> [u8; 32] {
        if self.memory.config_locked() {
            self.random.block()
        } else {
            let mut pattern = [0; 32];
            for part in pattern.chunks_mut(4) {
                part.copy_from_slice(&[0xff, 0xff, 0x00, 0x00]);
            }
            pattern
        }
    }

    fn nonce(&mut self, packet: &Packet<'_>) -> Outcome {
        match (packet.p1 & 0x03, packet.data.len()) {
            (0x00 | 0x01, 20) if packet.p1 & 0xfc == 0 => {
                let random = self.random_bytes();
                let value = Sha256::new()
                    .chain_update(random)
                    .chain_update(packet.data)
                    .chain_update([0x16, packet.p1, 0x00])
                    .finalize()
                    .into();
                self.temp_key = TempKey {
                    valid: true,
                    value,
                    ..TempKey::default()
                };
                Ok(random.to_vec())
            }
            (0x03, 32) => {
                let value: [u8; 32] = packet.data.try_into().map_err(|_| PARSE_ERROR)?;
                match packet.p1 & 0xe0 {
                    0x00 => {
                        self.temp_key = TempKey {
                            valid: true,
                            value,
                            from_outside: true,
                            ..TempKey::default()
                        };
                    }
                    0x40 => self.digest = Some(value),
                    // The alternate key buffer is used by nothing that is modelled.
                    0x80 => {}
                    _ => return Err(PARSE_ERROR),
                }
                Ok(vec![0])
            }
            _ => Err(PARSE_ERROR),
        }
    }

    fn counter(&mut self, packet: &Packet<'_>) -> Outcome {
        let counter = self
            .memory
            .counters
            .get_mut(usize::from(packet.p2))
            .ok_or(PARSE_ERROR)?;
        match packet.p1 {
            0x00 => {}
            0x01 if *counter < COUNTER_MAX => *counter += 1,
            0x01 => return Err(EXECUTION_ERROR),
            _ => return Err(PARSE_ERROR),
        }
        Ok(counter.to_le_bytes().to_vec())
    }

    /// Digests in TempKey: 64 bytes at a time, then the rest. Only what the vendor's library needs.
    fn sha(&mut self, packet: &Packet<'_>) -> Outcome {
        match packet.p1 & 0x07 {
            0x00 => {
                self.sha_input = Some(Vec::new());
                Ok(vec![0])
            }
            0x01 if packet.data.len() == 64 => {
                let input = self.sha_input.as_mut().ok_or(EXECUTION_ERROR)?;
                input.extend_from_slice(packet.data);
                Ok(vec![0])
            }
            0x02 if packet.data.len() < 64 => {
                let mut input = self.sha_input.take().ok_or(EXECUTION_ERROR)?;
                input.extend_from_slice(packet.data);
                let digest: [u8; 32] = Sha256::digest(&input).into();
                match packet.p1 & 0xc0 {
                    0x00 => {
                        self.temp_key = TempKey {
                            valid: true,
                            value: digest,
                            from_outside: true,
                            ..TempKey::default()
                        };
                    }
                    0x40 => self.digest = Some(digest),
                    _ => {}
                }
                Ok(digest.to_vec())
            }
            _ => Err(PARSE_ERROR),
        }
    }
}
