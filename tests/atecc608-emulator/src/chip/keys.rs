//! GenKey, Sign and Verify, with real P-256.

use p256::ecdsa::VerifyingKey;
use p256::ecdsa::signature::hazmat::PrehashVerifier as _;
use p256::elliptic_curve::ops::Reduce as _;
use p256::elliptic_curve::point::AffineCoordinates as _;
use p256::elliptic_curve::sec1::ToSec1Point as _;
use p256::{ProjectivePoint, Scalar, SecretKey};
use sha2::{Digest as _, Sha256};

use super::Chip;
use super::commands::{ECC_FAULT, EXECUTION_ERROR, MISCOMPARE, Outcome, PARSE_ERROR};
use super::packet::Packet;
use crate::fault::{Fault, flip};

impl Chip {
    pub(super) fn gen_key(&mut self, packet: &Packet<'_>) -> Outcome {
        let slot = slot_of(packet.p2)?;
        let (create, digest) = (packet.p1 & 0x04 != 0, packet.p1 & 0x08 != 0);
        if packet.p1 & !0x1c != 0 {
            return Err(PARSE_ERROR);
        }
        if packet.p1 & 0x10 != 0 {
            return self.digest_of_stored_key(packet, slot);
        }
        if !self.memory.config_locked() || !self.memory.is_private(slot) {
            return Err(EXECUTION_ERROR);
        }
        if create {
            let may = !self.memory.data_locked() || self.memory.slot_config(slot) & 0x2000 != 0;
            if !may || self.memory.slot_locked(slot) {
                return Err(EXECUTION_ERROR);
            }
            self.memory.keys[slot] = Some(self.new_scalar());
        } else if self.memory.key_config(slot) & 0x02 == 0 {
            return Err(EXECUTION_ERROR);
        }
        if self
            .faults
            .strikes(Fault::KeyReplaced, Some(packet.opcode))
            .is_some()
        {
            self.memory.keys[slot] = Some(self.new_scalar());
        }
        let public = self.public_key(slot)?;
        if digest {
            self.digest_public_key(packet, &public, [0x40, packet.p1])?;
        }
        Ok(public)
    }

    fn digest_of_stored_key(&mut self, packet: &Packet<'_>, slot: usize) -> Outcome {
        if packet.data.len() != 3 || SLOT_FOR_PUBLIC > slot {
            return Err(PARSE_ERROR);
        }
        // A stored public key: 4 bytes, X, 4 bytes, Y.
        let stored = self.memory.slots[slot].clone();
        let public = [&stored[4..36], &stored[40..72]].concat();
        self.digest_public_key(packet, &public, [0x40, packet.p1])?;
        Ok(vec![0])
    }

    /// TempKey becomes the digest of the public key and of what was there.
    fn digest_public_key(
        &mut self,
        packet: &Packet<'_>,
        public: &[u8],
        head: [u8; 2],
    ) -> Result<(), u8> {
        if !self.temp_key.valid {
            return Err(EXECUTION_ERROR);
        }
        let other = if packet.data.len() == 3 {
            packet.data.to_vec()
        } else {
            vec![
                head[1],
                packet.p2.to_le_bytes()[0],
                packet.p2.to_le_bytes()[1],
            ]
        };
        let config = &self.memory.config;
        self.temp_key.value = Sha256::new()
            .chain_update(self.temp_key.value)
            .chain_update([head[0]])
            .chain_update(&other)
            .chain_update([config[12]])
            .chain_update(&config[0..2])
            .chain_update([0; 25])
            .chain_update(public)
            .finalize()
            .into();
        self.temp_key.gen_key = true;
        self.temp_key.gen_dig = false;
        self.temp_key.key_id = packet.p2.to_le_bytes()[0];
        Ok(())
    }

    pub(super) fn sign(&mut self, packet: &Packet<'_>) -> Outcome {
        let slot = slot_of(packet.p2)?;
        if packet.p1 & !0xe1 != 0 {
            return Err(PARSE_ERROR);
        }
        let memory = &self.memory;
        if !memory.config_locked() || !memory.data_locked() || !memory.is_private(slot) {
            return Err(EXECUTION_ERROR);
        }
        let external = packet.p1 & 0x80 != 0;
        let allowed = memory.slot_config(slot) & if external { 0x01 } else { 0x02 };
        if allowed == 0 {
            return Err(EXECUTION_ERROR);
        }
        if self
            .faults
            .strikes(Fault::KeyReplaced, Some(packet.opcode))
            .is_some()
        {
            self.memory.keys[slot] = Some(self.new_scalar());
        }
        let mut digest = if external {
            self.external_digest(packet.p1)?
        } else {
            self.internal_digest(packet)?
        };
        self.temp_key.valid = false;
        self.digest = None;
        if let Some(bit) = self.faults.strikes(Fault::DigestBit, Some(packet.opcode)) {
            flip(&mut digest, bit);
        }
        self.signature(slot, &digest)
    }

    fn external_digest(&self, mode: u8) -> Result<[u8; 32], u8> {
        if mode & 0x20 != 0 {
            self.digest.ok_or(EXECUTION_ERROR)
        } else if self.temp_key.valid {
            Ok(self.temp_key.value)
        } else {
            Err(EXECUTION_ERROR)
        }
    }

    /// The digest of the 55 bytes by which the chip states something of itself.
    fn internal_digest(&self, packet: &Packet<'_>) -> Result<[u8; 32], u8> {
        let key = self.temp_key;
        if !key.valid || !(key.gen_key || key.gen_dig) {
            return Err(EXECUTION_ERROR);
        }
        let about = usize::from(key.key_id & 0x0f);
        let config = &self.memory.config;
        let with_serial = packet.p1 & 0x40 != 0;
        let flags = (key.key_id & 0x0f)
            | u8::from(key.from_outside) << 4
            | u8::from(key.gen_dig) << 5
            | u8::from(key.gen_key) << 6;
        let mut message = Vec::with_capacity(55);
        message.extend_from_slice(&key.value);
        message.extend_from_slice(&[0x41, packet.p1]);
        message.extend_from_slice(&packet.p2.to_le_bytes());
        message.extend_from_slice(&self.memory.slot_config(about).to_le_bytes());
        message.extend_from_slice(&self.memory.key_config(about).to_le_bytes());
        message.extend_from_slice(&[flags, 0, 0]);
        message.push(config[12]);
        message.extend(
            config[8..12]
                .iter()
                .map(|b| if with_serial { *b } else { 0 }),
        );
        message.extend_from_slice(&config[0..2]);
        message.extend(
            config[2..4]
                .iter()
                .map(|b| if with_serial { *b } else { 0 }),
        );
        message.push(u8::from(!self.memory.slot_locked(about)));
        message.extend_from_slice(&[0, 0]);
        assert_eq!(message.len(), 55, "the message has 55 bytes");
        Ok(Sha256::digest(&message).into())
    }

    fn signature(&mut self, slot: usize, digest: &[u8; 32]) -> Outcome {
        let mut scalar = self.memory.keys[slot].ok_or(ECC_FAULT)?;
        if let Some(bit) = self.faults.strikes(Fault::ScalarBit, Some(0x41)) {
            flip(&mut scalar, bit);
        }
        let private = SecretKey::from_slice(&scalar).map_err(|_| ECC_FAULT)?;
        // The random generator makes k, so that a stuck one shows.
        let k = SecretKey::from_slice(&self.new_scalar()).map_err(|_| ECC_FAULT)?;
        // SEC 1 §4.1.3, with a k of one's own.
        let k = *k.to_nonzero_scalar();
        let r = Scalar::reduce(&(ProjectivePoint::GENERATOR * k).to_affine().x());
        let inverse = Option::<Scalar>::from(k.invert()).ok_or(ECC_FAULT)?;
        let z = Scalar::reduce(&p256::FieldBytes::from(*digest));
        let s = inverse * (z + r * *private.to_nonzero_scalar());
        let mut bytes = [r.to_bytes(), s.to_bytes()].concat();
        if let Some(bit) = self.faults.strikes(Fault::SignatureBit, Some(0x41)) {
            flip(&mut bytes, bit);
        }
        Ok(bytes)
    }

    /// External, P-256: the key comes with the command.
    pub(super) fn verify(&mut self, packet: &Packet<'_>) -> Outcome {
        if packet.p1 & !0x20 != 0x02 || packet.p2 != 0x0004 || packet.data.len() != 128 {
            return Err(PARSE_ERROR);
        }
        let digest = self.external_digest(packet.p1)?;
        let (signature, point) = packet.data.split_at(64);
        let key =
            VerifyingKey::from_sec1_bytes(&[&[0x04], point].concat()).map_err(|_| ECC_FAULT)?;
        let signature = p256::ecdsa::Signature::from_slice(signature).map_err(|_| ECC_FAULT)?;
        self.temp_key.valid = false;
        key.verify_prehash(&digest, &signature)
            .map(|()| vec![0])
            .map_err(|_| MISCOMPARE)
    }

    fn public_key(&self, slot: usize) -> Outcome {
        let scalar = self.memory.keys[slot].ok_or(ECC_FAULT)?;
        let private = SecretKey::from_slice(&scalar).map_err(|_| ECC_FAULT)?;
        Ok(private.public_key().to_sec1_point(false).as_bytes()[1..].to_vec())
    }

    fn new_scalar(&mut self) -> [u8; 32] {
        loop {
            let block = self.random.block();
            if SecretKey::from_slice(&block).is_ok() {
                return block;
            }
        }
    }
}

/// The first slot that is large enough for a public key.
const SLOT_FOR_PUBLIC: usize = 8;

fn slot_of(p2: u16) -> Result<usize, u8> {
    if p2 < 16 {
        Ok(usize::from(p2))
    } else {
        Err(PARSE_ERROR)
    }
}
