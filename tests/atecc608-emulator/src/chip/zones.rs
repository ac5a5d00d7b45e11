//! Read, Write, Lock and UpdateExtra: what the configuration and the locks allow.

use super::Chip;
use super::commands::{EXECUTION_ERROR, Outcome, PARSE_ERROR};
use super::memory::{Memory, SLOT_BYTES};
use super::packet::{Packet, checksum};

/// A place in a zone that a Read or Write names.
struct Place {
    zone: u8,
    slot: usize,
    start: usize,
    length: usize,
}

impl Place {
    fn of(packet: &Packet<'_>) -> Result<Self, u8> {
        let (zone, length) = (packet.p1 & 0x03, if packet.p1 & 0x80 == 0 { 4 } else { 32 });
        let word = usize::from(packet.p2 & 0x07);
        let (slot, block) = match zone {
            0 | 1 => (0, usize::from(packet.p2 >> 3)),
            2 => (
                usize::from((packet.p2 >> 3) & 0x0f),
                usize::from(packet.p2 >> 8),
            ),
            _ => return Err(PARSE_ERROR),
        };
        let size = match zone {
            0 => 128,
            1 => 64,
            _ => SLOT_BYTES[slot],
        };
        // Blocks of 32 ignore the word, and may reach over the end of a slot.
        let start = block * 32 + if length == 4 { word * 4 } else { 0 };
        if start >= size {
            return Err(PARSE_ERROR);
        }
        Ok(Self {
            zone,
            slot,
            start,
            length,
        })
    }
}

impl Chip {
    pub(super) fn read_zone(&self, packet: &Packet<'_>) -> Outcome {
        let place = Place::of(packet)?;
        let memory = &self.memory;
        let bytes: &[u8] = match place.zone {
            0 => &memory.config,
            1 if memory.data_locked() => &memory.otp,
            2 if memory.data_locked() && memory.is_readable(place.slot) => {
                &memory.slots[place.slot]
            }
            _ => return Err(EXECUTION_ERROR),
        };
        let mut answer = vec![0; place.length];
        for (at, byte) in answer.iter_mut().enumerate() {
            *byte = bytes.get(place.start + at).copied().unwrap_or(0);
        }
        if place.zone == 0 {
            memory.show_counters(place.start, &mut answer);
        }
        Ok(answer)
    }

    pub(super) fn write_zone(&mut self, packet: &Packet<'_>) -> Outcome {
        let place = Place::of(packet)?;
        if packet.p1 & 0x40 != 0 || packet.data.len() != place.length {
            // Encrypted writes are not modelled.
            return Err(PARSE_ERROR);
        }
        let memory = &mut self.memory;
        if !memory.is_writable(&place) {
            return Err(EXECUTION_ERROR);
        }
        let target: &mut [u8] = match place.zone {
            0 => &mut memory.config,
            1 => &mut memory.otp,
            _ => &mut memory.slots[place.slot],
        };
        for (at, byte) in packet.data.iter().enumerate() {
            if let Some(target) = target.get_mut(place.start + at) {
                *target = *byte;
            }
        }
        Ok(vec![0])
    }

    pub(super) fn update_extra(&mut self, packet: &Packet<'_>) -> Outcome {
        let at = match packet.p1 {
            0x00 => 84,
            0x01 => 85,
            _ => return Err(PARSE_ERROR),
        };
        // Once the configuration is locked, a byte that is not zero stays.
        if self.memory.config_locked() && self.memory.config[at] != 0 {
            return Err(EXECUTION_ERROR);
        }
        self.memory.config[at] = packet.p2.to_le_bytes()[0];
        Ok(vec![0])
    }

    pub(super) fn lock(&mut self, packet: &Packet<'_>) -> Outcome {
        let unchecked = packet.p1 & 0x80 != 0;
        let sum_fits = |bytes: &[u8]| unchecked || checksum(bytes) == packet.p2.to_le_bytes();
        let memory = &mut self.memory;
        match packet.p1 & 0x03 {
            0x00 => {
                if memory.config_locked() || !sum_fits(&memory.config) {
                    return Err(EXECUTION_ERROR);
                }
                memory.config[87] = 0x00;
            }
            0x01 => {
                let content = [memory.slots.concat(), memory.otp.to_vec()].concat();
                if !memory.config_locked() || memory.data_locked() || !sum_fits(&content) {
                    return Err(EXECUTION_ERROR);
                }
                memory.config[86] = 0x00;
            }
            0x02 => {
                let slot = usize::from((packet.p1 >> 2) & 0x0f);
                let lockable = memory.key_config(slot) & 0x20 != 0;
                if !memory.config_locked() || !lockable || memory.slot_locked(slot) {
                    return Err(EXECUTION_ERROR);
                }
                memory.config[88 + slot / 8] &= !(1 << (slot % 8));
            }
            _ => return Err(PARSE_ERROR),
        }
        Ok(vec![0])
    }
}

impl Memory {
    /// In the clear. Private keys never; other slots unless IsSecret or EncryptRead.
    fn is_readable(&self, slot: usize) -> bool {
        self.key_config(slot) & 1 == 0 && self.slot_config(slot) & 0x00c0 == 0
    }

    fn is_writable(&self, place: &Place) -> bool {
        match place.zone {
            0 => {
                let last = place.start + place.length;
                let fixed = |from, to| place.start < to && from < last;
                // Identity, and the bytes that UpdateExtra and Lock change.
                !self.config_locked() && !fixed(0, 16) && !fixed(84, 88)
            }
            _ if !self.config_locked() => false,
            1 => !self.data_locked() && place.length == 32,
            _ if self.slot_locked(place.slot) || self.key_config(place.slot) & 1 == 1 => false,
            _ if !self.data_locked() => place.length == 32,
            // WriteConfig 0: always, in the clear. The others need encryption, or forbid it.
            _ => self.slot_config(place.slot) >> 12 == 0,
        }
    }

    /// Counters are part of the configuration zone in a form of the chip's own; here they stand as plain numbers.
    fn show_counters(&self, start: usize, answer: &mut [u8]) {
        for (at, byte) in answer.iter_mut().enumerate() {
            let (counter, offset) = match start + at {
                place @ 52..60 => (self.counters[0], place - 52),
                place @ 60..68 => (self.counters[1], place - 60),
                _ => continue,
            };
            if counter > 0 {
                *byte = counter.to_le_bytes().get(offset).copied().unwrap_or(0);
            }
        }
    }
}
