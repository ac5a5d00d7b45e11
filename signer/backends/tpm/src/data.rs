//! Public data that goes with a device, such as the chain of its certificates: ordinary NV indices of the owner.
//!
//! The owner writes it; everybody who may use the TPM may read it. It proves nothing: what is read is judged like a file.

use crate::device::Device;
use crate::failure::Failure;
use crate::provider::TpmProvider;
use crate::record;
use countersign_keys::{Error, ErrorKind};
use std::fmt;
use tss_esapi::attributes::{NvIndexAttributes, NvIndexAttributesBuilder};
use tss_esapi::constants::NvIndexType;
use tss_esapi::handles::{NvIndexHandle, NvIndexTpmHandle};
use tss_esapi::interface_types::algorithm::HashingAlgorithm;
use tss_esapi::interface_types::resource_handles::{NvAuth, Provision};
use tss_esapi::structures::{MaxNvBuffer, NvPublicBuilder};

/// How much is read or written at once: every TPM takes that much.
const CHUNK: u16 = 512;

/// Where data lies: an NV index of the owner, and none of counters or of keys' names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct DataIndex(u32);

impl DataIndex {
    /// The most bytes that an index takes in every TPM (TCG PC Client Platform TPM Profile, TPM_PT_NV_INDEX_MAX).
    pub const MAX_BYTES: usize = 2_048;

    /// An index between 0x01830000 and 0x0183ffff; nothing for others.
    #[must_use]
    pub const fn new(index: u32) -> Option<Self> {
        if index >= 0x0183_0000 && index <= 0x0183_ffff {
            Some(Self(index))
        } else {
            None
        }
    }
}

impl fmt::Display for DataIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#010x}", self.0)
    }
}

impl TpmProvider {
    /// Keeps data at an index. What was kept there like this before is replaced; anything else stays.
    ///
    /// # Errors
    /// [`ErrorKind::Full`] if there is no room, or for more than [`DataIndex::MAX_BYTES`]; [`ErrorKind::Exists`] if
    /// something of another kind is there; [`ErrorKind::Permissions`] if the owner hierarchy has a password that was not
    /// given.
    pub fn write_data(&self, index: DataIndex, bytes: &[u8]) -> Result<(), Error> {
        let size = u16::try_from(bytes.len())
            .ok()
            .filter(|size| (1..=DataIndex::MAX_BYTES).contains(&usize::from(*size)));
        let Some(size) = size else {
            return Err(Error::new(
                ErrorKind::Full,
                format!(
                    "an index of a TPM takes 1 to {} bytes, and there are {}; keep less there",
                    DataIndex::MAX_BYTES,
                    bytes.len()
                ),
            ));
        };
        let bytes = bytes.to_vec();
        self.worker()
            .call(&format!("nothing was kept at {index}"), move |device| {
                device.root_or_new()?;
                let handle = match find(device, index)? {
                    Some((handle, there)) if there == size => handle,
                    Some((handle, _)) => {
                        device.commit()?;
                        device.run_guarded(|context| {
                            context.nv_undefine_space(Provision::Owner, handle)
                        })?;
                        define(device, index, size)?
                    }
                    None => define(device, index, size)?,
                };
                device.commit()?;
                let mut offset = 0_u16;
                for part in bytes.chunks(usize::from(CHUNK)) {
                    let part = MaxNvBuffer::try_from(part)?;
                    device.run_guarded(|context| {
                        context.nv_write(NvAuth::Owner, handle, part.clone(), offset)
                    })?;
                    offset = offset.saturating_add(CHUNK);
                }
                Ok(())
            })
    }

    /// What is kept at an index, as [`Self::write_data`] keeps it.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] if nothing is there; [`ErrorKind::Exists`] if it is something of another kind.
    pub fn read_data(&self, index: DataIndex) -> Result<Vec<u8>, Error> {
        self.worker()
            .call(&format!("what is kept at {index} was not read"), move |device| {
                device.check_root()?;
                let Some((handle, size)) = find(device, index)? else {
                    return Err(Error::new(
                        ErrorKind::NotFound,
                        format!(
                            "the TPM at {} keeps nothing at {index}; provision the device, or name another index",
                            device.tcti()
                        ),
                    )
                    .into());
                };
                let mut bytes = Vec::new();
                let mut offset = 0;
                while offset < size {
                    let length = CHUNK.min(size.saturating_sub(offset));
                    let part = device.run_guarded(|context| {
                        context.nv_read(NvAuth::NvIndex(handle), handle, length, offset)
                    })?;
                    if part.value().len() != usize::from(length) {
                        return Err(Failure::Wrong("less of an index than it was asked for"));
                    }
                    bytes.extend_from_slice(part.value());
                    offset = offset.saturating_add(length);
                }
                Ok(bytes)
            })
    }
}

/// The index with the size of its data, if it is there; an error if it is not of this kind.
fn find(device: &mut Device, index: DataIndex) -> Result<Option<(NvIndexHandle, u16)>, Failure> {
    if device.nv_indices_from(index.0)?.first() != Some(&index.0) {
        return Ok(None);
    }
    let handle = record::open_index(device, index.0)?;
    let (public, _) = device.run_guarded(|context| context.nv_read_public(handle))?;
    let there = public.attributes();
    let ours = there.index_type() == Ok(NvIndexType::Ordinary)
        && there.owner_write()
        && there.auth_read()
        && !there.auth_write()
        && !there.policy_write();
    let size = u16::try_from(public.data_size()).unwrap_or(u16::MAX);
    if ours && usize::from(size) <= DataIndex::MAX_BYTES {
        return Ok(Some((handle, size)));
    }
    Err(Error::new(
        ErrorKind::Exists,
        format!(
            "something else is kept at {index} of the TPM at {}; name another index",
            device.tcti()
        ),
    )
    .into())
}

fn define(device: &mut Device, index: DataIndex, size: u16) -> Result<NvIndexHandle, Failure> {
    let public = NvPublicBuilder::new()
        .with_nv_index(NvIndexTpmHandle::new(index.0)?)
        .with_index_name_algorithm(HashingAlgorithm::Sha256)
        .with_index_attributes(attributes()?)
        .with_data_area_size(usize::from(size))
        .build()?;
    device.commit()?;
    device.run_guarded(|context| context.nv_define_space(Provision::Owner, None, public.clone()))
}

fn attributes() -> Result<NvIndexAttributes, Failure> {
    Ok(NvIndexAttributesBuilder::new()
        .with_owner_write(true)
        .with_auth_read(true)
        .with_no_da(true)
        .build()?)
}
