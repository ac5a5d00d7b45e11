//! Registers (PCRs), and the policy that binds a key to their values.

use crate::device::Device;
use crate::failure::Failure;
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use tss_esapi::constants::SessionType;
use tss_esapi::interface_types::algorithm::HashingAlgorithm;
use tss_esapi::interface_types::session_handles::{AuthSession, PolicySession};
use tss_esapi::structures::{
    Digest, PcrSelectSize, PcrSelectionList, PcrSelectionListBuilder, PcrSlot,
};

/// How many registers a PC has (TCG PC Client Platform TPM Profile, §4.6).
pub(crate) const REGISTERS: u8 = 24;

/// TPM_CC_PolicyPCR (TPM 2.0 part 2, §6.5.2).
const POLICY_PCR: u32 = 0x0000_017f;

/// TPM_ALG_SHA256.
const SHA256: u16 = 0x000b;

/// Numbers of registers with the first eight bytes of the values that they had: enough to say which one changed. What
/// counts is the policy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Registers(BTreeMap<u8, [u8; 8]>);

impl Registers {
    pub(crate) fn insert(&mut self, number: u8, beginning: [u8; 8]) {
        self.0.insert(number, beginning);
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (u8, &[u8; 8])> {
        self.0
            .iter()
            .map(|(number, beginning)| (*number, beginning))
    }

    pub(crate) fn numbers(&self) -> Vec<u8> {
        self.0.keys().copied().collect()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// One bit for each register, as TPMS_PCR_SELECT has them (part 2, §10.6.1).
    pub(crate) fn mask(&self) -> [u8; 3] {
        mask(&self.numbers())
    }

    /// The numbers of such bits.
    pub(crate) fn numbers_of(mask: [u8; 3]) -> Vec<u8> {
        let bits = u32::from_le_bytes([mask[0], mask[1], mask[2], 0]);
        (0..REGISTERS)
            .filter(|number| bits >> number & 1 == 1)
            .collect()
    }

    pub(crate) fn of(values: &[(u8, [u8; 32])]) -> Self {
        let mut registers = Self::default();
        for (number, value) in values {
            if let Some(beginning) = value.first_chunk() {
                registers.insert(*number, *beginning);
            }
        }
        registers
    }
}

fn mask(numbers: &[u8]) -> [u8; 3] {
    let mut bits = 0u32;
    for number in numbers.iter().filter(|number| **number < REGISTERS) {
        bits |= 1 << number;
    }
    let [low, middle, high, _] = bits.to_le_bytes();
    [low, middle, high]
}

/// These registers, of the SHA-256 bank.
pub(crate) fn selection(numbers: &[u8]) -> Result<PcrSelectionList, Failure> {
    let mut slots = Vec::new();
    for number in numbers {
        let bit = 1u32
            .checked_shl(u32::from(*number))
            .ok_or(Failure::Wrong("a register that does not exist"))?;
        slots.push(PcrSlot::try_from(bit)?);
    }
    Ok(PcrSelectionListBuilder::new()
        .with_size_of_select(PcrSelectSize::ThreeOctets)
        .with_selection(HashingAlgorithm::Sha256, &slots)
        .build()?)
}

/// The present values. Nothing protects them on their way: who uses them checks them against what the TPM signs.
pub(crate) fn read(device: &mut Device, numbers: &[u8]) -> Result<Vec<(u8, [u8; 32])>, Failure> {
    let mut values = Vec::new();
    // One at a time: a TPM gives as many at once as it likes.
    for number in numbers {
        let wanted = selection(&[*number])?;
        let (_, _, digests) = device.run(|context| context.pcr_read(wanted.clone()))?;
        let [digest] = digests.value() else {
            return Err(Failure::Wrong(
                "no value of a register, so its SHA-256 bank is off",
            ));
        };
        let value = <[u8; 32]>::try_from(digest.value())
            .map_err(|_| Failure::Wrong("a register of another length"))?;
        values.push((*number, value));
    }
    Ok(values)
}

/// The digest of values, in the order of their registers, as quotes and policies carry it (part 3, §18.4.1).
pub(crate) fn digest_of(values: &[(u8, [u8; 32])]) -> [u8; 32] {
    let mut hash = Sha256::new();
    for (_, value) in values {
        hash.update(value);
    }
    hash.finalize().into()
}

/// The policy that is satisfied while the registers have these values (part 3, §23.7).
pub(crate) fn policy_of(values: &[(u8, [u8; 32])]) -> [u8; 32] {
    let numbers: Vec<u8> = values.iter().map(|(number, _)| *number).collect();
    let mut hash = Sha256::new();
    hash.update([0; 32]);
    hash.update(POLICY_PCR.to_be_bytes());
    // TPML_PCR_SELECTION of one bank with three octets.
    hash.update(1u32.to_be_bytes());
    hash.update(SHA256.to_be_bytes());
    hash.update([3]);
    hash.update(mask(&numbers));
    hash.update(digest_of(values));
    hash.finalize().into()
}

/// Works under a session that satisfies the policy, if the registers allow it. It is flushed in any case.
pub(crate) fn under_policy<T>(
    device: &mut Device,
    numbers: &[u8],
    work: impl FnOnce(&mut Device, AuthSession) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let session = device.start_session(SessionType::Policy)?;
    let result = satisfy(device, session, numbers).and_then(|()| work(device, session));
    let flushed = device.flush_session(session);
    let value = result?;
    flushed.map(|()| value)
}

fn satisfy(device: &mut Device, session: AuthSession, numbers: &[u8]) -> Result<(), Failure> {
    let policy = PolicySession::try_from(session)?;
    let registers = selection(numbers)?;
    device.run(|context| context.policy_pcr(policy, Digest::default(), registers.clone()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_of_registers_are_those_of_the_specification() {
        let mut registers = Registers::default();
        for number in [0, 7, 8, 23] {
            registers.insert(number, [0; 8]);
        }
        assert_eq!(registers.mask(), [0x81, 0x01, 0x80]);
        assert_eq!(Registers::numbers_of([0x81, 0x01, 0x80]), [0, 7, 8, 23]);
    }

    /// `tpm2_createpolicy --policy-pcr -l sha256:0,7` on a TPM whose registers are zero.
    #[test]
    fn the_policy_is_that_of_other_tools() {
        let values = [(0, [0; 32]), (7, [0; 32])];
        assert_eq!(
            hex::encode(policy_of(&values)),
            "02e3642b3e29eeccfffd8031c00a6f0a0febe5ceea2f6ef6b0322fe81598cf31"
        );
    }
}
