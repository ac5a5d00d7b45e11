//! Counters that only go up: NV indices of the type TPM_NT_COUNTER (TPM 2.0 part 2, §13.4).
//!
//! Whoever may use the TPM may count on, and nobody can count back. A counter that is removed and created again goes on
//! above every value that any counter of this TPM ever had (part 1, §37.2.6).

use crate::device::Device;
use crate::failure::Failure;
use crate::provider::TpmProvider;
use crate::record;
use countersign_keys::{Error, ErrorKind, MonotonicCounter};
use std::fmt;
use tss_esapi::attributes::NvIndexAttributesBuilder;
use tss_esapi::constants::NvIndexType;
use tss_esapi::handles::{NvIndexHandle, NvIndexTpmHandle};
use tss_esapi::interface_types::algorithm::HashingAlgorithm;
use tss_esapi::interface_types::resource_handles::{NvAuth, Provision};
use tss_esapi::structures::NvPublicBuilder;

/// How many bytes a counter has.
const BYTES: u16 = 8;

/// Where a counter lies: an NV index of the owner, and none that belongs to a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CounterIndex(u32);

impl CounterIndex {
    /// An index between 0x01800000 and 0x0180ffff; nothing for others. (Behind these lie the records of keys.)
    #[must_use]
    pub const fn new(index: u32) -> Option<Self> {
        if index >= 0x0180_0000 && index <= 0x0180_ffff {
            Some(Self(index))
        } else {
            None
        }
    }
}

impl fmt::Display for CounterIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#010x}", self.0)
    }
}

/// One counter of a TPM.
pub struct TpmCounter {
    tpm: TpmProvider,
    index: CounterIndex,
}

impl MonotonicCounter for TpmCounter {
    fn read(&self) -> Result<u64, Error> {
        self.tpm.read_counter(self.index)
    }

    fn increment(&self) -> Result<u64, Error> {
        self.tpm.increment_counter(self.index)
    }

    fn end(&self) -> u64 {
        u64::MAX
    }
}

impl TpmProvider {
    /// The counter at this index, which is looked for when it is used.
    #[must_use]
    pub const fn counter(self, index: CounterIndex) -> TpmCounter {
        TpmCounter { tpm: self, index }
    }

    /// Creates a counter and counts once, because one that never counted has no value. What it stands at.
    ///
    /// # Errors
    /// [`ErrorKind::Exists`] if there is something at this index; [`ErrorKind::Full`] if the TPM has no room for it;
    /// [`ErrorKind::Permissions`] if the owner hierarchy has a password that was not given.
    pub fn create_counter(&self, index: CounterIndex) -> Result<u64, Error> {
        self.worker().call(
            &format!("the counter {index} was not created"),
            move |device| {
                device.root_or_new()?;
                let attributes = NvIndexAttributesBuilder::new()
                    .with_nv_index_type(NvIndexType::Counter)
                    .with_auth_write(true)
                    .with_auth_read(true)
                    .with_owner_read(true)
                    .with_no_da(true)
                    .build()?;
                let public = NvPublicBuilder::new()
                    .with_nv_index(NvIndexTpmHandle::new(index.0)?)
                    .with_index_name_algorithm(HashingAlgorithm::Sha256)
                    .with_index_attributes(attributes)
                    .with_data_area_size(usize::from(BYTES))
                    .build()?;
                device.commit()?;
                let counter = device.run_guarded(|context| {
                    context.nv_define_space(Provision::Owner, None, public.clone())
                })?;
                count(device, counter)?;
                read(device, counter)
            },
        )
    }

    /// What a counter stands at.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] if there is none; [`ErrorKind::Malformed`] if something else is there.
    pub fn read_counter(&self, index: CounterIndex) -> Result<u64, Error> {
        self.worker().call(
            &format!("the counter {index} was not read"),
            move |device| {
                let counter = find(device, index)?;
                read(device, counter)
            },
        )
    }

    /// Counts on by one. What it stands at then. After [`ErrorKind::Timeout`] or [`ErrorKind::Device`] it may have
    /// counted or not: read it.
    ///
    /// # Errors
    /// As [`Self::read_counter`]; [`ErrorKind::Permissions`] if the counter is locked; [`ErrorKind::Busy`] if the TPM
    /// spares its memory and lets nobody write at present.
    pub fn increment_counter(&self, index: CounterIndex) -> Result<u64, Error> {
        self.worker().call(
            &format!("the counter {index} did not count"),
            move |device| {
                let counter = find(device, index)?;
                device.commit()?;
                count(device, counter)?;
                read(device, counter)
            },
        )
    }
}

fn find(device: &mut Device, index: CounterIndex) -> Result<NvIndexHandle, Failure> {
    if device.nv_indices_from(index.0)?.first() != Some(&index.0) {
        device.check_root()?;
        return Err(Error::new(
            ErrorKind::NotFound,
            format!(
                "the TPM at {} has no counter {index}; create it when the device is provisioned",
                device.tcti()
            ),
        )
        .into());
    }
    let handle = record::open_index(device, index.0)?;
    let (public, _) = device.run_guarded(|context| context.nv_read_public(handle))?;
    // Only a counter cannot go back.
    if public.attributes().index_type() != Ok(NvIndexType::Counter) {
        return Err(Error::new(
            ErrorKind::Malformed,
            format!(
                "what is kept at {index} of the TPM at {} is no counter; name another index",
                device.tcti()
            ),
        )
        .into());
    }
    Ok(handle)
}

fn count(device: &mut Device, counter: NvIndexHandle) -> Result<(), Failure> {
    device.run_guarded(|context| context.nv_increment(NvAuth::NvIndex(counter), counter))
}

fn read(device: &mut Device, counter: NvIndexHandle) -> Result<u64, Failure> {
    let value = device
        .run_guarded(|context| context.nv_read(NvAuth::NvIndex(counter), counter, BYTES, 0))?;
    let bytes = <[u8; 8]>::try_from(value.value())
        .map_err(|_| Failure::Wrong("a counter of another length"))?;
    Ok(u64::from_be_bytes(bytes))
}
