//! Packets: `count opcode p1 p2 data crc`, and answers: `count data crc`.

use crc::{Algorithm, Crc};

/// The family's CRC-16: polynomial 0x8005, bits of each byte fed lowest first, register not reflected.
const CRC: Crc<u16> = Crc::<u16>::new(&Algorithm {
    width: 16,
    poly: 0x8005,
    init: 0,
    refin: true,
    refout: false,
    xorout: 0,
    check: 0,
    residue: 0,
});

/// A command whose count and checksum are right.
pub(super) struct Packet<'a> {
    pub(super) opcode: u8,
    pub(super) p1: u8,
    pub(super) p2: u16,
    pub(super) data: &'a [u8],
}

impl<'a> Packet<'a> {
    pub(super) fn parse(bytes: &'a [u8]) -> Result<Self, ()> {
        let count = usize::from(*bytes.first().ok_or(())?);
        if count < 7 || count > bytes.len() {
            return Err(());
        }
        let (body, sum) = bytes[..count].split_at(count - 2);
        if checksum(body) != [sum[0], sum[1]] {
            return Err(());
        }
        Ok(Self {
            opcode: body[1],
            p1: body[2],
            p2: u16::from_le_bytes([body[3], body[4]]),
            data: &body[5..],
        })
    }
}

pub(super) fn checksum(bytes: &[u8]) -> [u8; 2] {
    CRC.checksum(bytes).to_le_bytes()
}

pub(super) fn answer(payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![u8::try_from(payload.len() + 3).expect("answers are short")];
    bytes.extend_from_slice(payload);
    let sum = checksum(&bytes);
    bytes.extend_from_slice(&sum);
    bytes
}

pub(super) fn status(code: u8) -> Vec<u8> {
    answer(&[code])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Packets that the vendor's library put on a bus.
    #[test]
    fn checksums_are_those_that_were_seen_on_a_bus() {
        for packet in [
            "0730000000035d",
            "070280000009ad",
            "071b00000024cd",
            "07400400008387",
            "07400000000005",
            "0741a000007b85",
        ] {
            assert!(
                Packet::parse(&hex::decode(packet).unwrap()).is_ok(),
                "{packet}"
            );
        }
        assert_eq!(hex::encode(status(0x00)), "04000340");
        assert_eq!(hex::encode(status(0x11)), "04113343");
    }
}
