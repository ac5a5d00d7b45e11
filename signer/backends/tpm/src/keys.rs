//! Finding, making and removing keys, by handle or by name.

use crate::device::{Device, Loaded};
use crate::failure::Failure;
use crate::policy::{self, Registers};
use crate::record::{self, Record};
use crate::sign::{self, KeyRef};
use crate::template;
use countersign_keys::{Error, ErrorKind, KeyTemplate, KeyUsage, PublicKey, Signature, TpmKeyName};
use sha2::{Digest as _, Sha256};
use tss_esapi::handles::KeyHandle;

/// The last handle that the owner hierarchy may use (TPM 2.0 part 3, §28.5).
const LAST_OF_OWNER: u32 = 0x817f_ffff;

/// What a new key signs before it counts.
const TRIAL: &[u8] = b"countersign: first signature of a new key";

/// A key that is there.
#[derive(Clone)]
pub(crate) struct Found {
    pub(crate) handle: u32,
    pub(crate) loaded: Loaded,
    pub(crate) public: PublicKey,
    /// What is kept of this very key.
    pub(crate) record: Option<Record>,
}

impl Found {
    /// Its name, or its handle if it has none. Names are looked for behind [`record::FIRST_NAMED`] only, so they count
    /// nowhere else.
    pub(crate) fn name(&self) -> TpmKeyName {
        let may_have_one = (record::FIRST_NAMED..=record::LAST_NAMED).contains(&self.handle);
        match &self.record {
            Some(record) if may_have_one && !record.name.is_empty() => {
                TpmKeyName::Name(record.name.clone())
            }
            _ => TpmKeyName::Handle(self.handle),
        }
    }

    pub(crate) fn registers(&self) -> Registers {
        self.record
            .as_ref()
            .map(|record| record.registers.clone())
            .unwrap_or_default()
    }
}

/// The key, or nothing if there is none of this name. A name that several keys have is an error: whoever may write to the
/// TPM's NV memory can give it to a key of his own, so the first is no better than the last.
pub(crate) fn find(device: &mut Device, name: &TpmKeyName) -> Result<Option<Found>, Failure> {
    let found = match name {
        TpmKeyName::Handle(handle) => at(device, *handle)?,
        TpmKeyName::Name(name) => {
            let mut found: Option<Found> = None;
            for (handle, record) in Record::of_names(device)? {
                if record.name != *name {
                    continue;
                }
                // A record of a key that is gone counts for nothing.
                if let Some(key) = at(device, handle)?
                    && key.loaded.name == record.key
                {
                    if let Some(first) = &found {
                        return Err(Error::new(
                            ErrorKind::Ambiguous,
                            format!(
                                "two keys of the TPM at {} go by the name of {name}, at {:#010x} and at {handle:#010x}; compare both with the certificate, and delete by its handle the one that is not yours",
                                device.tcti(),
                                first.handle
                            ),
                        )
                        .into());
                    }
                    found = Some(key);
                }
            }
            found
        }
        _ => None,
    };
    if found.is_none() {
        // Was it never there, or is the whole TPM another one?
        device.check_root()?;
    }
    Ok(found)
}

fn at(device: &mut Device, handle: u32) -> Result<Option<Found>, Failure> {
    let Some(loaded) = device.key_anew(handle)? else {
        return Ok(None);
    };
    let Some(public) = loaded.p256() else {
        return Err(Error::new(
            ErrorKind::Malformed,
            format!(
                "what is kept at {handle:#010x} of the TPM at {} is no P-256 key that signs; name another handle",
                device.tcti()
            ),
        )
        .into());
    };
    let record = Record::of(device, handle)?.filter(|record| record.key == loaded.name);
    Ok(Some(Found {
        handle,
        loaded,
        public,
        record,
    }))
}

/// All keys that sign. Those that share a name go by their handles.
pub(crate) fn list(device: &mut Device) -> Result<Vec<Found>, Failure> {
    let mut keys = Vec::new();
    for handle in device.persistent_handles()? {
        if handle > LAST_OF_OWNER || handle == template::ROOT {
            continue;
        }
        let Some(loaded) = device.key_anew(handle)? else {
            continue;
        };
        if loaded.p256().is_some()
            && let Some(found) = at(device, handle)?
        {
            keys.push(found);
        }
    }
    let names: Vec<TpmKeyName> = keys.iter().map(Found::name).collect();
    for key in &mut keys {
        let name = key.name();
        if names.iter().filter(|other| **other == name).count() > 1
            && let Some(record) = &mut key.record
        {
            record.name.clear();
        }
    }
    keys.sort_by_key(|key| key.name().to_string());
    Ok(keys)
}

/// Makes a key, tries it, and keeps it.
pub(crate) fn make(
    device: &mut Device,
    name: &TpmKeyName,
    template: &KeyTemplate,
) -> Result<Found, Failure> {
    device.root_or_new()?;
    let handle = free_handle(device, name)?;
    let values = policy::read(device, &template.boot_state)?;
    let policy = (!values.is_empty()).then(|| policy::policy_of(&values));
    let root = device.root()?;
    let public = template::signing_key(template.usage, policy.as_ref())?;
    let made = device
        .run_guarded(|context| context.create(root, public.clone(), None, None, None, None))?;
    let object = device.run_guarded(|context| {
        context.load(root, made.out_private.clone(), made.out_public.clone())
    })?;
    let kept = keep(device, object, handle, name, template, &values);
    let key = device.flush_after(object.into(), kept)?;
    let found = at(device, handle)?.ok_or(Failure::Wrong("no key where it has just kept one"))?;
    if found.loaded.name != key {
        return Err(Failure::Wrong("another key than the one that it made"));
    }
    Ok(found)
}

/// Tries the new key and keeps it. Its TPM name.
fn keep(
    device: &mut Device,
    object: KeyHandle,
    handle: u32,
    name: &TpmKeyName,
    template: &KeyTemplate,
    values: &[(u8, [u8; 32])],
) -> Result<Vec<u8>, Failure> {
    let (public, key, _) = device.run_guarded(|context| context.read_public(object))?;
    let public = template::p256_of(&public).ok_or(Failure::Wrong("a key of another kind"))?;
    let registers = Registers::of(values);
    if template.usage == KeyUsage::Signing {
        let digest = Sha256::digest(TRIAL).into();
        let raw = sign::command(device, object, &registers.numbers(), &digest)?;
        Signature::checked(&public, TRIAL, &raw)?;
    }
    device.commit()?;
    let record = Record {
        key: key.value().to_vec(),
        registers,
        name: match name {
            TpmKeyName::Name(name) => name.clone(),
            _ => String::new(),
        },
    };
    let has_record = !record.name.is_empty() || !record.registers.is_empty();
    if has_record {
        record.write(device, handle)?;
    }
    let session = device.session()?;
    if let Err(failure) = device.keep((Some(session), None), object.into(), handle) {
        if has_record {
            let _ = Record::remove(device, handle);
        }
        return Err(failure);
    }
    Ok(record.key)
}

/// Where a key of this name goes; an error if there is one already.
fn free_handle(device: &mut Device, name: &TpmKeyName) -> Result<u32, Failure> {
    let exists = |device: &Device| {
        Failure::from(Error::new(
            ErrorKind::Exists,
            format!(
                "the TPM at {} keeps something under {name} already, and a key is never replaced in silence; delete it, or give another name",
                device.tcti()
            ),
        ))
    };
    let taken = device.persistent_handles()?;
    match name {
        TpmKeyName::Handle(handle) => {
            if taken.contains(handle) {
                return Err(exists(device));
            }
            if *handle == template::ROOT || *handle > LAST_OF_OWNER {
                return Err(Error::new(
                    ErrorKind::Unsupported,
                    format!(
                        "no key can be made at {name}, which is for the storage root key or for the platform; name a handle between 0x81010000 and {LAST_OF_OWNER:#010x}, or give a name"
                    ),
                )
                .into());
            }
            Record::remove(device, *handle)?;
            Ok(*handle)
        }
        TpmKeyName::Name(wanted) => {
            for (handle, record) in Record::of_names(device)? {
                if record.name != *wanted {
                    continue;
                }
                if let Some(key) = device.key_anew(handle)?
                    && key.name == record.key
                {
                    return Err(exists(device));
                }
                // The record of a key that is gone, or was never kept because the power went.
                device.commit()?;
                Record::remove(device, handle)?;
            }
            for handle in record::FIRST_NAMED..=record::LAST_NAMED {
                if taken.contains(&handle) {
                    continue;
                }
                let Some(index) = record::index_of(handle) else {
                    continue;
                };
                if device.nv_indices_from(index)?.first() == Some(&index) {
                    // Somebody else's, or a record without a key.
                    continue;
                }
                return Ok(handle);
            }
            Err(Error::new(
                ErrorKind::Full,
                format!(
                    "the TPM at {} has no free handle for one more key with a name; delete keys that nobody needs",
                    device.tcti()
                ),
            )
            .into())
        }
        _ => Err(Failure::Wrong("no place for a name of this kind")),
    }
}

/// Removes a key and what is kept of it.
pub(crate) fn remove(device: &mut Device, found: &Found) -> Result<(), Failure> {
    device.commit()?;
    device.remove(&found.loaded, found.handle)?;
    if found.record.is_some() {
        Record::remove(device, found.handle)?;
    }
    Ok(())
}

/// What is needed to sign with a key.
pub(crate) fn reference(found: &Found) -> KeyRef {
    KeyRef {
        handle: found.handle,
        name: found.loaded.name.clone(),
        registers: found.registers(),
    }
}
