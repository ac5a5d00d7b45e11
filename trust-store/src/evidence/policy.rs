//! What an asker expects of an attestation, as data.

use std::collections::BTreeMap;

use countersign_format::{DeviceIdentity, Digest, EvidenceClaims, EvidenceNonce};
use countersign_keys::PublicKey;

use super::AttestedHardware;
use super::firmware::{self, BROKEN, BrokenFirmware, TpmMaker};
use crate::Rejection;

/// What an attestation must answer and show. Without more than a nonce: any device of these roots, vouched for by hardware.
#[derive(Clone, Debug)]
pub struct EvidencePolicy {
    /// Nothing answers without one.
    nonce: Option<EvidenceNonce>,
    software_allowed: bool,
    device: Option<DeviceIdentity>,
    registers: BTreeMap<u8, Vec<[u8; 32]>>,
    runtimes: Vec<Digest>,
    components: Vec<Digest>,
    /// SHA-256 of its SubjectPublicKeyInfo.
    key: Option<Digest>,
    serial: Option<[u8; 9]>,
    unchangeable: bool,
    maker: Option<TpmMaker>,
    /// Instead of [`BROKEN`].
    broken: Option<Vec<BrokenFirmware>>,
}

impl EvidencePolicy {
    /// It must answer this nonce, which must be fresh, and be vouched for by hardware.
    #[must_use]
    pub fn answering(nonce: EvidenceNonce) -> Self {
        Self {
            nonce: Some(nonce),
            ..Self::unasked()
        }
    }

    /// The same without a nonce, for what is to be asked with one that is not known yet.
    pub(crate) const fn unasked() -> Self {
        Self {
            nonce: None,
            software_allowed: false,
            device: None,
            registers: BTreeMap::new(),
            runtimes: Vec::new(),
            components: Vec::new(),
            key: None,
            serial: None,
            unchangeable: false,
            maker: None,
            broken: None,
        }
    }

    /// It must answer this nonce.
    pub(crate) fn asked_with(mut self, nonce: EvidenceNonce) -> Self {
        self.nonce = Some(nonce);
        self
    }

    /// Accepts also what no hardware vouches for: whoever copied the key's file can say the same.
    #[must_use]
    pub const fn allowing_keys_in_software(mut self) -> Self {
        self.software_allowed = true;
        self
    }

    /// It must be of this device.
    #[must_use]
    pub fn of_device(mut self, device: DeviceIdentity) -> Self {
        self.device = Some(device);
        self
    }

    /// A TPM must have quoted this register (SHA-256 bank) with this value, or with another one that is given for it.
    #[must_use]
    pub fn expecting_register(mut self, number: u8, value: [u8; 32]) -> Self {
        self.registers.entry(number).or_default().push(value);
        self
    }

    /// The host must say that it is the program with this digest, or with another one that is given. It says so itself.
    #[must_use]
    pub fn expecting_runtime(mut self, digest: Digest) -> Self {
        self.runtimes.push(digest);
        self
    }

    /// A component must have asked, and the host must say that it is the one with this digest, or with another one that is
    /// given.
    #[must_use]
    pub fn expecting_component(mut self, digest: Digest) -> Self {
        self.components.push(digest);
        self
    }

    /// The hardware must vouch for this key.
    #[must_use]
    pub fn for_key(self, key: &PublicKey) -> Self {
        self.for_key_with(key.spki_sha256())
    }

    /// As [`Self::for_key`], by the SHA-256 of the key's SubjectPublicKeyInfo.
    #[must_use]
    pub const fn for_key_with(mut self, spki_sha256: Digest) -> Self {
        self.key = Some(spki_sha256);
        self
    }

    /// It must be of the ATECC608 with this serial number.
    #[must_use]
    pub const fn of_chip(mut self, serial: [u8; 9]) -> Self {
        self.serial = Some(serial);
        self
    }

    /// It must be of an ATECC608's slot in which no new key can be made any more.
    #[must_use]
    pub const fn unchangeable(mut self) -> Self {
        self.unchangeable = true;
        self
    }

    /// The TPM is this maker's, as was recorded when it was provisioned; so the version of its firmware is held against the
    /// known defects. Of use where the attestation key is in the endorsement hierarchy: elsewhere TPMs obfuscate it.
    #[must_use]
    pub const fn of_tpm_by(mut self, maker: TpmMaker) -> Self {
        self.maker = Some(maker);
        self
    }

    /// Another list of known defects than [`BROKEN`].
    #[must_use]
    pub fn with_known_defects(mut self, broken: Vec<BrokenFirmware>) -> Self {
        self.broken = Some(broken);
        self
    }

    /// Whether it answers our nonce.
    pub(super) fn check_nonce(&self, claims: &EvidenceClaims) -> Result<(), Rejection> {
        if self.nonce.as_ref() == Some(claims.nonce()) {
            Ok(())
        } else {
            Err(Rejection::EvidenceNonce)
        }
    }

    /// Whether it is what is expected.
    pub(super) fn check(
        &self,
        claims: &EvidenceClaims,
        hardware: &AttestedHardware,
    ) -> Result<(), Rejection> {
        if let Some(device) = &self.device
            && device != claims.device()
        {
            return Err(refuse(format!(
                "it is of the device {}, not of {device}",
                claims.device()
            )));
        }
        self.check_hardware(hardware)?;
        self.check_registers(hardware)?;
        if !self.runtimes.is_empty()
            && !claims
                .runtime()
                .digest()
                .is_some_and(|digest| self.runtimes.contains(&digest))
        {
            return Err(refuse(
                "the host is not one of the expected programs, or does not say which it is",
            ));
        }
        let component = claims.component();
        if !self.components.is_empty()
            && !component.is_some_and(|asked| self.components.contains(&asked.digest()))
        {
            return Err(refuse("no expected component asked for it"));
        }
        Ok(())
    }

    fn check_hardware(&self, hardware: &AttestedHardware) -> Result<(), Rejection> {
        let (mut key, mut serial) = (None, None);
        match hardware {
            AttestedHardware::Software if !self.software_allowed => {
                return Err(refuse("no hardware vouches for it"));
            }
            AttestedHardware::Software => {}
            AttestedHardware::TpmBoot { firmware, .. } => self.check_firmware(*firmware)?,
            AttestedHardware::TpmKey {
                key: vouched,
                firmware,
                ..
            } => {
                self.check_firmware(*firmware)?;
                key = Some(vouched);
            }
            AttestedHardware::Atecc608Key {
                serial: chip,
                key: vouched,
                replaceable,
                ..
            } => {
                if self.unchangeable && *replaceable {
                    return Err(refuse("a new key can still be made in the chip's slot"));
                }
                key = Some(vouched);
                serial = Some(*chip);
            }
        }
        self.check_applies(hardware)?;
        if self.key.is_some() && key.map(PublicKey::spki_sha256) != self.key {
            return Err(refuse("the hardware does not vouch for the expected key"));
        }
        if self.serial.is_some() && serial != self.serial {
            return Err(refuse("it is not of the expected chip"));
        }
        Ok(())
    }

    /// A demand that the hardware at hand cannot meet is not met.
    fn check_applies(&self, hardware: &AttestedHardware) -> Result<(), Rejection> {
        let (tpm, chip) = match hardware {
            AttestedHardware::Software => (false, false),
            AttestedHardware::TpmBoot { .. } | AttestedHardware::TpmKey { .. } => (true, false),
            AttestedHardware::Atecc608Key { .. } => (false, true),
        };
        if self.maker.is_some() && !tpm {
            return Err(refuse("it is not of a TPM of the expected maker"));
        }
        if self.unchangeable && !chip {
            return Err(refuse(
                "it is not of a slot of an ATECC608 in which no new key can be made",
            ));
        }
        Ok(())
    }

    fn check_firmware(&self, version: u64) -> Result<(), Rejection> {
        match self.maker {
            Some(maker) => {
                firmware::inspect(maker, version, self.broken.as_deref().unwrap_or(BROKEN))
            }
            None => Ok(()),
        }
    }

    fn check_registers(&self, hardware: &AttestedHardware) -> Result<(), Rejection> {
        let quoted: &[(u8, [u8; 32])] = match hardware {
            AttestedHardware::TpmBoot { registers, .. } => registers,
            _ => &[],
        };
        for (number, expected) in &self.registers {
            let found = quoted.iter().find(|(quoted, _)| quoted == number);
            let Some((_, value)) = found else {
                return Err(refuse(format!("register {number} was not quoted")));
            };
            if !expected.contains(value) {
                return Err(refuse(format!(
                    "register {number} holds {}, which is not expected: the device started something else",
                    Digest::from_bytes(*value)
                )));
            }
        }
        Ok(())
    }
}

fn refuse(reason: impl Into<String>) -> Rejection {
    Rejection::EvidencePolicy {
        reason: reason.into(),
    }
}
