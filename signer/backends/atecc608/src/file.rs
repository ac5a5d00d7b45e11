//! The file that describes a chip: which it is, where it is, what its slots are for, and what shall be locked.
//!
//! ```toml
//! type = "ATECC608"
//! bus = "/dev/i2c-1"
//! address = 0x60
//! keys = [0, 2]
//! attestation-key = 1
//!
//! [certificate]
//! slot = 10
//!
//! [ca-certificate]
//! slot = 12
//! public-key-slot = 11
//!
//! [lock]
//! configuration = true
//! data = true
//! slots = [0]
//! ```
//!
//! Decided here: what may stand there. What follows from it for a chip is decided in [`Plan`](crate::Plan).

use crate::config::Slot;
use serde::Deserialize;
use std::collections::BTreeSet;
use std::format;
use std::path::{Path, PathBuf};
use std::string::{String, ToString as _};
use std::vec::Vec;

/// The longest file that is read.
const MOST_BYTES: usize = 16 * 1024;

/// Which chip is expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize)]
#[non_exhaustive]
pub enum Model {
    /// Any ATECC608.
    #[serde(rename = "ATECC608")]
    Any,
    /// ATECC608A only.
    #[serde(rename = "ATECC608A")]
    A,
    /// ATECC608B, or a later one that tells the same of itself.
    #[serde(rename = "ATECC608B")]
    B,
}

/// A chip as its file describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ChipFile {
    /// Which chip it is.
    pub model: Model,
    /// The bus, such as `/dev/i2c-1`.
    pub bus: PathBuf,
    /// The 7-bit address that the chip has, or shall get.
    pub address: u8,
    /// The slots of keys that sign messages; at least one.
    pub keys: Vec<Slot>,
    /// The slot of the key that signs what the chip states.
    pub attestation_key: Option<Slot>,
    /// The slot of the device's certificate.
    pub certificate: Option<Slot>,
    /// The slots of the certificate of who issued it, and of that one's public key.
    pub ca_certificate: Option<(Slot, Slot)>,
    /// What shall be locked for ever.
    pub lock: LockFlags,
}

/// What shall be locked. Nothing, unless the file says so.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct LockFlags {
    /// The configuration zone.
    pub configuration: bool,
    /// The data and one-time zones.
    pub data: bool,
    /// These slots.
    pub slots: Vec<Slot>,
}

/// Why a file does not describe a chip.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the chip's file is not usable: {0}; correct it there")]
pub struct ChipFileInvalid(String);

impl ChipFile {
    /// Reads the file's text.
    ///
    /// # Errors
    /// [`ChipFileInvalid`], which says where and why.
    pub fn parse(text: &str) -> Result<Self, ChipFileInvalid> {
        if text.len() > MOST_BYTES {
            return Err(invalid("it is longer than 16 KiB"));
        }
        let file: File = toml::from_str(text).map_err(|error| invalid(error.to_string().trim()))?;
        file.checked()
    }

    /// The slots that hold private keys.
    pub(crate) fn private(&self) -> impl Iterator<Item = Slot> {
        self.keys.iter().copied().chain(self.attestation_key)
    }

    /// The slots that hold what everybody may read.
    pub(crate) fn public(&self) -> impl Iterator<Item = Slot> {
        let authority = self.ca_certificate.map(|(slot, _)| slot);
        self.certificate.into_iter().chain(authority)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct File {
    r#type: Model,
    bus: PathBuf,
    #[serde(default = "blank_address")]
    address: u8,
    keys: Vec<u8>,
    attestation_key: Option<u8>,
    certificate: Option<Certificate>,
    ca_certificate: Option<CaCertificate>,
    #[serde(default)]
    lock: Lock,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Certificate {
    slot: u8,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct CaCertificate {
    slot: u8,
    public_key_slot: u8,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Lock {
    #[serde(default)]
    configuration: bool,
    #[serde(default)]
    data: bool,
    #[serde(default)]
    slots: Vec<u8>,
}

/// What chips have before anybody configured them.
const fn blank_address() -> u8 {
    0x60
}

fn invalid(why: &str) -> ChipFileInvalid {
    ChipFileInvalid(why.to_string())
}

impl File {
    fn checked(self) -> Result<ChipFile, ChipFileInvalid> {
        if !self.bus.starts_with(Path::new("/dev")) {
            return Err(invalid("`bus` is a file below /dev, such as /dev/i2c-1"));
        }
        // The others are reserved (I2C specification, table 3).
        if !(0x08..=0x77).contains(&self.address) {
            return Err(invalid("`address` is 0x08 to 0x77"));
        }
        if self.keys.is_empty() {
            return Err(invalid("`keys` names no slot"));
        }
        let mut named = BTreeSet::new();
        let mut take = |name: &str, number: u8, from: u8| {
            let slot = Slot::new(number).filter(|slot| slot.number() >= from);
            let slot =
                slot.ok_or_else(|| invalid(&format!("`{name}` is a slot of {from} to 15")))?;
            if named.insert(slot) {
                Ok(slot)
            } else {
                Err(invalid(&format!("slot {slot} is named twice")))
            }
        };
        let keys = self.keys.iter().map(|number| take("keys", *number, 0));
        let keys = keys.collect::<Result<Vec<Slot>, _>>()?;
        let attestation_key = self.attestation_key;
        let attestation_key = attestation_key
            .map(|number| take("attestation-key", number, 0))
            .transpose()?;
        // Slots 0 to 7 have 36 bytes; what has 72 begins at 8.
        let certificate = self.certificate;
        let certificate = certificate
            .map(|part| take("certificate.slot", part.slot, 8))
            .transpose()?;
        let mut ca_certificate = None;
        if let Some(part) = self.ca_certificate {
            let slot = take("ca-certificate.slot", part.slot, 8)?;
            let key = take("ca-certificate.public-key-slot", part.public_key_slot, 8)?;
            ca_certificate = Some((slot, key));
        }
        let mut slots = Vec::new();
        for number in self.lock.slots {
            let slot = Slot::new(number).filter(|slot| named.contains(slot));
            slots.push(slot.ok_or_else(|| {
                invalid(&format!(
                    "`lock.slots` names {number}, which is for nothing in this file"
                ))
            })?);
        }
        Ok(ChipFile {
            model: self.r#type,
            bus: self.bus,
            address: self.address,
            keys,
            attestation_key,
            certificate,
            ca_certificate,
            lock: LockFlags {
                configuration: self.lock.configuration,
                data: self.lock.data,
                slots,
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: &str = r#"
        type = "ATECC608"
        bus = "/dev/i2c-1"
        address = 0x35
        keys = [0, 2]
        attestation-key = 1
        [certificate]
        slot = 10
        [ca-certificate]
        slot = 12
        public-key-slot = 11
        [lock]
        configuration = true
        data = true
        slots = [0]
    "#;

    #[test]
    fn a_whole_file_is_read() {
        let slot = |number| Slot::new(number).expect("a slot");
        let file = ChipFile::parse(WHOLE).expect("a file");
        assert_eq!((file.model, file.address), (Model::Any, 0x35));
        assert_eq!(file.keys, [slot(0), slot(2)]);
        assert_eq!(file.attestation_key, Some(slot(1)));
        assert_eq!(file.certificate, Some(slot(10)));
        assert_eq!(file.ca_certificate, Some((slot(12), slot(11))));
        assert!(file.lock.configuration && file.lock.data);
        assert_eq!(file.lock.slots, [slot(0)]);
    }

    #[test]
    fn nothing_is_locked_that_the_file_does_not_name() {
        let file = "type = \"ATECC608A\"\nbus = \"/dev/i2c-1\"\nkeys = [0]";
        let file = ChipFile::parse(file).expect("a file");
        assert_eq!(file.lock, LockFlags::default());
        assert_eq!(file.address, 0x60);
    }

    #[test]
    fn what_cannot_be_is_refused_with_its_reason() {
        for (from, to, reason) in [
            ("\"ATECC608\"", "\"ATECC508A\"", "unknown variant"),
            ("/dev/i2c-1", "i2c-1", "below /dev"),
            ("0x35", "0x78", "0x08 to 0x77"),
            ("0x35", "300", "invalid value"),
            ("[0, 2]", "[]", "names no slot"),
            ("[0, 2]", "[0, 0]", "named twice"),
            ("[0, 2]", "[0, 1]", "named twice"),
            ("[0, 2]", "[16]", "a slot of 0 to 15"),
            ("slot = 10", "slot = 5", "a slot of 8 to 15"),
            ("slots = [0]", "slots = [3]", "is for nothing"),
            ("data = true", "data = 1", "invalid type"),
            ("data = true", "date = true", "unknown field"),
        ] {
            let text = WHOLE.replacen(from, to, 1);
            assert_ne!(text, WHOLE, "{from}");
            let error = ChipFile::parse(&text).expect_err(to);
            assert!(error.to_string().contains(reason), "{to}: {error}");
        }
        let long = format!("{WHOLE}#{}", "x".repeat(MOST_BYTES));
        ChipFile::parse(&long).expect_err("too long");
    }
}
