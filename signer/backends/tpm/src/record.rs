//! What a TPM keeps of a key beside the key itself: its name, and the registers that it is bound to.
//!
//! One NV index for each key that has either, at the place that the key's handle gives: the handle 0x8102abcd has the
//! index 0x0182abcd. It holds the key's own TPM name (the hash of its public area), so it speaks for this one key and no
//! other that may come to the same handle, and it counts for nothing without the key. So the two cannot drift apart. That the
//! key is the right one it does not prove: the owner may write any record. Both go when the owner hierarchy is cleared,
//! as a file beside the TPM would not.
//!
//! The owner writes it; everybody who may use the TPM may read it. Nothing secret is in it.

use crate::device::Device;
use crate::failure::Failure;
use crate::policy::Registers;
use countersign_keys::TpmKeyName;
use tss_esapi::attributes::NvIndexAttributesBuilder;
use tss_esapi::handles::{NvIndexHandle, NvIndexTpmHandle, TpmHandle};
use tss_esapi::interface_types::algorithm::HashingAlgorithm;
use tss_esapi::interface_types::resource_handles::{NvAuth, Provision};
use tss_esapi::structures::{MaxNvBuffer, NvPublicBuilder};

/// Where keys with a name are kept. The TCG's registry gives 0x81000000 to storage keys and 0x81010000 to endorsement
/// keys; these lie behind both.
pub(crate) const FIRST_NAMED: u32 = 0x8102_0000;

/// The last of them.
pub(crate) const LAST_NAMED: u32 = 0x8102_ffff;

/// The first words of a record, with its version.
const MAGIC: &[u8; 4] = b"CSK1";

/// The longest record, in bytes: magic, key name, registers with eight bytes of each value, name.
const MAX_BYTES: usize = 4 + 34 + 3 + 24 * 8 + 1 + 64;

/// What is kept of one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    /// The TPM name of the key: 34 bytes.
    pub(crate) key: Vec<u8>,
    /// The registers that it is bound to, with the beginnings of the values that they had.
    pub(crate) registers: Registers,
    /// Its name for people; empty if it has none.
    pub(crate) name: String,
}

/// The index of the record of this handle, for handles of the owner hierarchy's first half.
pub(crate) fn index_of(handle: u32) -> Option<u32> {
    (0x8100_0000..=0x813f_ffff)
        .contains(&handle)
        .then_some(0x0180_0000 | handle & 0x003f_ffff)
}

impl Record {
    fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend_from_slice(&self.key);
        bytes.extend_from_slice(&self.registers.mask());
        for (_, beginning) in self.registers.iter() {
            bytes.extend_from_slice(beginning);
        }
        bytes.push(u8::try_from(self.name.len()).unwrap_or(u8::MAX));
        bytes.extend_from_slice(self.name.as_bytes());
        bytes
    }

    /// Reads what some index holds; others' indices are nothing.
    fn parse(bytes: &[u8]) -> Option<Self> {
        let bytes = bytes.strip_prefix(MAGIC)?;
        let (key, bytes) = bytes.split_at_checked(34)?;
        let (mask, mut bytes) = bytes.split_first_chunk::<3>()?;
        let mut registers = Registers::default();
        for number in Registers::numbers_of(*mask) {
            let (beginning, rest) = bytes.split_first_chunk::<8>()?;
            registers.insert(number, *beginning);
            bytes = rest;
        }
        let (length, name) = bytes.split_first()?;
        let name = std::str::from_utf8(name).ok()?;
        // A name that no key URI can say, or that reads as a handle, would pass for another key's in a list.
        let sayable = name.is_empty() || matches!(name.parse(), Ok(TpmKeyName::Name(_)));
        (sayable && name.len() == usize::from(*length)).then(|| Self {
            key: key.to_vec(),
            registers,
            name: name.to_owned(),
        })
    }

    /// The record of the key at this handle, whatever key it speaks for.
    pub(crate) fn of(device: &mut Device, handle: u32) -> Result<Option<Self>, Failure> {
        let Some(index) = index_of(handle) else {
            return Ok(None);
        };
        if device.nv_indices_from(index)?.first() != Some(&index) {
            return Ok(None);
        }
        Self::read(device, index)
    }

    /// The records of keys with names, with the handles of their keys, ascending.
    pub(crate) fn of_names(device: &mut Device) -> Result<Vec<(u32, Self)>, Failure> {
        let (Some(first), Some(last)) = (index_of(FIRST_NAMED), index_of(LAST_NAMED)) else {
            return Ok(Vec::new());
        };
        let mut records = Vec::new();
        for index in device.nv_indices_from(first)? {
            if index > last {
                break;
            }
            if let Some(record) = Self::read(device, index)? {
                records.push((FIRST_NAMED | index & 0xffff, record));
            }
        }
        Ok(records)
    }

    fn read(device: &mut Device, index: u32) -> Result<Option<Self>, Failure> {
        let handle = open_index(device, index)?;
        let (public, _) = device.run_guarded(|context| context.nv_read_public(handle))?;
        let size = u16::try_from(public.data_size()).unwrap_or(u16::MAX);
        let attributes = public.attributes();
        if usize::from(size) > MAX_BYTES || !attributes.written() || !attributes.auth_read() {
            return Ok(None);
        }
        let bytes = device
            .run_guarded(|context| context.nv_read(NvAuth::NvIndex(handle), handle, size, 0))?;
        Ok(Self::parse(bytes.value()))
    }

    /// Writes the record of the key at this handle; there must be none.
    pub(crate) fn write(&self, device: &mut Device, handle: u32) -> Result<(), Failure> {
        let Some(index) = index_of(handle) else {
            return Err(Failure::Wrong("a handle that can have no record"));
        };
        let bytes = self.to_bytes();
        let attributes = NvIndexAttributesBuilder::new()
            .with_owner_write(true)
            .with_auth_read(true)
            .with_no_da(true)
            .build()?;
        let public = NvPublicBuilder::new()
            .with_nv_index(NvIndexTpmHandle::new(index)?)
            .with_index_name_algorithm(HashingAlgorithm::Sha256)
            .with_index_attributes(attributes)
            .with_data_area_size(bytes.len())
            .build()?;
        device.commit()?;
        let defined = device.run_guarded(|context| {
            context.nv_define_space(Provision::Owner, None, public.clone())
        })?;
        let bytes = MaxNvBuffer::try_from(bytes)?;
        device.run_guarded(|context| context.nv_write(NvAuth::Owner, defined, bytes.clone(), 0))
    }

    /// Removes the record of this handle, if there is one. Others' indices stay.
    pub(crate) fn remove(device: &mut Device, handle: u32) -> Result<(), Failure> {
        if Self::of(device, handle)?.is_none() {
            return Ok(());
        }
        let Some(index) = index_of(handle) else {
            return Ok(());
        };
        let index = open_index(device, index)?;
        device.run_guarded(|context| context.nv_undefine_space(Provision::Owner, index))
    }
}

/// An index, for commands.
pub(crate) fn open_index(device: &mut Device, index: u32) -> Result<NvIndexHandle, Failure> {
    let place = TpmHandle::NvIndex(NvIndexTpmHandle::new(index)?);
    device
        .run_guarded(|context| context.tr_from_tpm_public(place))
        .map(NvIndexHandle::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_says_the_same_when_read_again_and_nothing_when_cut_or_foreign() {
        let mut registers = Registers::default();
        registers.insert(7, [7; 8]);
        registers.insert(23, [1; 8]);
        let record = Record {
            key: vec![9; 34],
            registers,
            name: "n".repeat(64),
        };
        let bytes = record.to_bytes();
        assert_eq!(Record::parse(&bytes), Some(record));
        for length in 0..bytes.len() {
            assert_eq!(Record::parse(&bytes[..length]), None, "{length}");
        }
        let mut longer = bytes.clone();
        longer.push(b'x');
        assert_eq!(Record::parse(&longer), None);
        assert_eq!(Record::parse(b"another's data"), None);
        let named = |name: &str| {
            let record = Record {
                key: vec![9; 34],
                registers: Registers::default(),
                name: name.to_owned(),
            };
            Record::parse(&record.to_bytes()).is_some()
        };
        assert!(named("") && named("door"));
        for name in ["0x81010001", "0x", "a b", "\u{1b}[2J", "?tcti=x"] {
            assert!(!named(name), "{name:?}");
        }
        assert!(bytes.len() <= MAX_BYTES);
    }

    #[test]
    fn each_handle_has_an_index_of_its_own() {
        assert_eq!(index_of(0x8102_abcd), Some(0x0182_abcd));
        assert_eq!(index_of(0x8101_0001), Some(0x0181_0001));
        assert_eq!(index_of(0x8140_0000), None);
    }
}
