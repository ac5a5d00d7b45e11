//! Packets and answers: `count ‖ opcode ‖ p1 ‖ p2 ‖ data ‖ crc` and `count ‖ data ‖ crc`.

/// The longest packet: the largest input buffer of the family, 4 × 36 + 7 bytes.
const PACKET_BYTES: usize = 151;
/// The longest answer: 72 bytes and frame.
const ANSWER_BYTES: usize = 75;
/// Count and checksum.
const FRAME_BYTES: usize = 3;

/// CRC-16 of the family: polynomial 0x8005, starting from 0, each byte lowest bit first, the register not reflected.
pub(crate) fn checksum(bytes: &[u8]) -> [u8; 2] {
    let mut register: u16 = 0;
    for byte in bytes {
        let mut bits = *byte;
        for _ in 0..8 {
            let turned = (bits & 1 == 1) != (register & 0x8000 != 0);
            bits >>= 1;
            register <<= 1;
            if turned {
                register ^= 0x8005;
            }
        }
    }
    register.to_le_bytes()
}

/// A packet as it goes over the bus, with the word address in front.
pub(crate) struct Packet {
    bytes: [u8; 1 + PACKET_BYTES],
    length: usize,
}

impl Packet {
    /// Nothing if `data` does not fit.
    pub(crate) fn new(opcode: u8, p1: u8, p2: u16, data: &[&[u8]]) -> Option<Self> {
        let mut packet = Self {
            bytes: [0; 1 + PACKET_BYTES],
            length: 0,
        };
        let [low, high] = p2.to_le_bytes();
        packet.push(&[0x03, 0, opcode, p1, low, high])?;
        for part in data {
            packet.push(part)?;
        }
        let count = u8::try_from(packet.length.checked_add(1)?).ok()?;
        *packet.bytes.get_mut(1)? = count;
        let sum = checksum(packet.bytes.get(1..packet.length)?);
        packet.push(&sum)?;
        Some(packet)
    }

    fn push(&mut self, part: &[u8]) -> Option<()> {
        let end = self.length.checked_add(part.len())?;
        self.bytes.get_mut(self.length..end)?.copy_from_slice(part);
        self.length = end;
        Some(())
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or(&[])
    }
}

/// An answer whose checksum is right.
#[derive(Clone, Copy)]
pub(crate) struct Answer {
    bytes: [u8; ANSWER_BYTES],
    length: usize,
}

impl Answer {
    /// Room for an answer of so many bytes in all; nothing if that is more than any answer has.
    pub(crate) fn with_count(count: u8) -> Option<Self> {
        let length = usize::from(count);
        if !(FRAME_BYTES..=ANSWER_BYTES).contains(&length) {
            return None;
        }
        let mut bytes = [0; ANSWER_BYTES];
        *bytes.first_mut()? = count;
        Some(Self { bytes, length })
    }

    /// Where what follows the count is read to.
    pub(crate) fn rest(&mut self) -> &mut [u8] {
        self.bytes.get_mut(1..self.length).unwrap_or(&mut [])
    }

    pub(crate) fn is_sound(&self) -> bool {
        self.bytes
            .get(..self.length)
            .and_then(|all| all.split_last_chunk::<2>())
            .is_some_and(|(body, sum)| checksum(body) == *sum)
    }

    pub(crate) fn payload(&self) -> &[u8] {
        self.length
            .checked_sub(2)
            .and_then(|end| self.bytes.get(1..end))
            .unwrap_or(&[])
    }

    /// The payload, if it is of exactly this size.
    pub(crate) fn payload_of<const N: usize>(&self) -> Option<[u8; N]> {
        self.payload().try_into().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Packets that the vendor's library put on a bus.
    #[test]
    fn packets_are_those_that_were_seen_on_a_bus() {
        for (opcode, p1, p2, bytes) in [
            (0x30, 0x00, 0, "0730000000035d"),
            (0x02, 0x80, 0, "070280000009ad"),
            (0x1b, 0x00, 0, "071b00000024cd"),
            (0x40, 0x04, 0, "07400400008387"),
            (0x40, 0x00, 0, "07400000000005"),
            (0x41, 0xa0, 0, "0741a000007b85"),
        ] {
            let packet = Packet::new(opcode, p1, p2, &[]).expect("it fits");
            assert_eq!(hex::encode(&packet.as_bytes()[1..]), bytes);
            assert_eq!(packet.as_bytes()[0], 0x03);
        }
        assert!(Packet::new(0x12, 0, 0, &[&[0; 144]]).is_some());
        assert!(Packet::new(0x12, 0, 0, &[&[0; 145]]).is_none());
    }

    #[test]
    fn an_answer_with_any_bit_turned_is_not_sound() {
        let good = [0x04, 0x00, 0x03, 0x40];
        let read = |bytes: [u8; 4]| {
            let mut answer = Answer::with_count(bytes[0])?;
            if answer.rest().len() != 3 {
                return None;
            }
            answer.rest().copy_from_slice(&bytes[1..]);
            answer.is_sound().then_some(answer)
        };
        assert_eq!(read(good).and_then(|a| a.payload_of()), Some([0x00]));
        for bit in 0..32 {
            let mut bytes = good;
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(read(bytes).is_none(), "bit {bit}");
        }
    }
}
