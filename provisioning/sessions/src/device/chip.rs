//! An ATECC608 in the fixture.
//!
//! Decided here: which of its slots vouches for the others, that its configuration is locked and makes the key one that
//! cannot leave, and how a chain lies in its slots of clear data; and, where the station was given makers' roots, that one of
//! these vouches for the chip.
//!
//! A chain lies there whole, not compressed: the compressed form holds only certificates whose serial number follows from
//! the key, and the registry's are random.

use std::sync::Arc;

use countersign_backend_atecc608::{
    Atecc608Provider, Configuration, Error as ChipError, KeyConfig, Purpose, Slot, SlotConfig,
    inspect_locks, inspect_purpose, inspect_slot,
};
use countersign_format::AttestationHardware;
use countersign_keys::{
    Algorithm, Challenge, ErrorKind, Evidence, KeyInfo, KeyProvider, KeyTemplate, KeyUri,
};
use embedded_hal::delay::DelayNs;
use embedded_hal::i2c::I2c;

use super::makers::chip::ChipMakers;
use super::{Attested, Device, Hardware, Memory};
use crate::Error;

/// A chip, with room for a chain in these of its slots.
pub struct Chip<I, D> {
    memory: ChipMemory<I, D>,
    makers: Option<Arc<ChipMakers>>,
}

/// Slots of clear data, taken together.
pub struct ChipMemory<I, D> {
    keys: Atecc608Provider<I, D>,
    slots: Vec<Slot>,
}

impl<I, D> Chip<I, D>
where
    I: I2c + Send + 'static,
    D: DelayNs + Send + 'static,
{
    /// The chip with these keys. Its chain goes into `slots`, one after the other; none puts it beside the chip only. What
    /// was in them is gone then.
    #[must_use]
    pub fn new(keys: Atecc608Provider<I, D>, slots: Vec<Slot>) -> Self {
        Self {
            memory: ChipMemory { keys, slots },
            makers: None,
        }
    }

    /// Takes the chip only if one of these makers vouches for it.
    #[must_use]
    pub fn of_makers(mut self, makers: Arc<ChipMakers>) -> Self {
        self.makers = Some(makers);
        self
    }

    fn provider(&self) -> &Atecc608Provider<I, D> {
        &self.memory.keys
    }

    fn configuration(&self) -> Result<Configuration, Error> {
        self.provider()
            .with_device(|chip| chip.configuration())
            .map_err(failed)
    }

    /// Makes the key that vouches for the others, in the first slot that is configured for one.
    fn make_attestation_key(&self, key: &KeyUri) -> Result<(), Error> {
        let configuration = self.configuration()?;
        let slot = Slot::all()
            .find(|slot| inspect_purpose(&configuration, *slot, Purpose::Attestation).is_ok())
            .ok_or_else(|| {
                Error::attestation(
                    "no slot of the chip is configured for a key that vouches for the others; configure one before the chip is locked, as docs/devices/atecc608.md describes",
                )
            })?;
        let uri = slot_uri(key, slot)?;
        let template = KeyTemplate::attestation(Algorithm::Esp256);
        match self.provider().generate(&uri, &template) {
            Ok(_) => Ok(()),
            Err(error) if error.kind() == ErrorKind::Exists => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

impl<I, D> Device for Chip<I, D>
where
    I: I2c + Send + 'static,
    D: DelayNs + Send + 'static,
{
    fn keys(&self) -> &dyn KeyProvider {
        self.provider()
    }

    fn hardware(&self) -> Result<Option<Hardware>, Error> {
        let serial = self.configuration()?.serial();
        Ok(Some(Hardware::new(
            "atecc608",
            &serial.0,
            serial.to_string(),
        )))
    }

    fn attest(&self, key: &KeyInfo, challenge: &Challenge) -> Result<Attested, Error> {
        let configuration = self.configuration()?;
        inspect_locks(&configuration).map_err(Error::attestation)?;
        if let Some(makers) = &self.makers {
            self.provider()
                .with_device(|chip| makers.judge(chip, challenge))?;
        }
        let evidence = match self.provider().attest(&key.uri, challenge) {
            Err(error) if error.kind() == ErrorKind::Unsupported => {
                self.make_attestation_key(&key.uri)?;
                self.provider().attest(&key.uri, challenge)?
            }
            evidence => evidence?,
        };
        let Evidence::Atecc608(evidence) = evidence else {
            return Err(Error::attestation(
                "the chip vouches in another way than chips do; set it aside",
            ));
        };
        evidence.check_signature(challenge)?;
        // The rule of those who judge such evidence later.
        inspect_slot(
            SlotConfig(evidence.slot_config),
            KeyConfig(evidence.key_config),
        )
        .map_err(Error::attestation)?;
        if evidence.slot == evidence.attestation_slot {
            return Err(Error::attestation(
                "a key of the chip vouches for itself; use another slot",
            ));
        }
        if evidence.public != key.public {
            return Err(Error::attestation(
                "the chip vouches for another key than it shows; set it aside",
            ));
        }
        if evidence.serial != configuration.serial().0 {
            return Err(Error::attestation(
                "another chip vouches for the key; set it aside",
            ));
        }
        // What the evidence says, and what the chip says when asked, must be one.
        for (slot, purpose) in [
            (evidence.slot, Purpose::Signing),
            (evidence.attestation_slot, Purpose::Attestation),
        ] {
            let slot =
                Slot::new(slot).ok_or_else(|| Error::attestation("there is no such slot"))?;
            inspect_purpose(&configuration, slot, purpose).map_err(Error::attestation)?;
        }
        Ok(Attested {
            by: Some(AttestationHardware::Atecc608),
        })
    }

    fn memory(&self) -> Option<&dyn Memory> {
        if self.memory.slots.is_empty() {
            None
        } else {
            Some(&self.memory)
        }
    }

    fn lock_serial(&self, _: &KeyUri) -> Result<Option<String>, Error> {
        Ok(Some(self.configuration()?.serial().to_string()))
    }
}

impl<I, D> Memory for ChipMemory<I, D>
where
    I: I2c + Send,
    D: DelayNs + Send,
{
    fn place(&self) -> String {
        let slots: Vec<String> = self.slots.iter().map(ToString::to_string).collect();
        format!("the chip's slots {}", slots.join(", "))
    }

    fn room(&self) -> usize {
        self.slots
            .iter()
            .fold(0, |room: usize, slot| room.saturating_add(slot.size()))
            .saturating_sub(LENGTH)
    }

    fn write(&self, bytes: &[u8]) -> Result<(), Error> {
        let length = u16::try_from(bytes.len())
            .ok()
            .filter(|_| bytes.len() <= self.room())
            .ok_or_else(|| no_room(&self.place(), bytes.len(), self.room()))?;
        let mut all = length.to_be_bytes().to_vec();
        all.extend_from_slice(bytes);
        let mut rest = all.as_slice();
        self.keys.with_device(|chip| {
            for slot in &self.slots {
                let (part, others) = rest.split_at_checked(slot.size()).unwrap_or((rest, &[]));
                if part.is_empty() {
                    break;
                }
                chip.write_slot(*slot, part).map_err(failed)?;
                rest = others;
            }
            Ok(())
        })
    }

    fn read(&self) -> Result<Vec<u8>, Error> {
        let mut bytes = Vec::new();
        self.keys.with_device(|chip| {
            for slot in &self.slots {
                let mut part = vec![0; slot.size()];
                chip.read_slot(*slot, &mut part).map_err(failed)?;
                bytes.extend_from_slice(&part);
                if let Some(whole) = whole(&bytes) {
                    return Ok(whole.to_vec());
                }
            }
            Ok(Vec::new())
        })
    }
}

/// How many bytes tell the length.
const LENGTH: usize = 2;

/// What follows the length, if all of it is there.
fn whole(bytes: &[u8]) -> Option<&[u8]> {
    let (length, rest) = bytes.split_first_chunk::<LENGTH>()?;
    rest.get(..usize::from(u16::from_be_bytes(*length)))
}

pub(super) fn no_room(place: &str, needed: usize, room: usize) -> Error {
    Error::refused(format!(
        "{place} has room for {room} bytes, and {needed} are needed: name more room, or keep the chain beside the device"
    ))
}

pub(super) fn failed(error: ChipError) -> Error {
    Error::Keys(countersign_keys::Error::with_source(
        ErrorKind::Device,
        "the chip did not do what it was asked; look at its wiring, then try again",
        error,
    ))
}

/// The same chip's key in another slot.
fn slot_uri(key: &KeyUri, slot: Slot) -> Result<KeyUri, Error> {
    let KeyUri::Atecc608(named) = key else {
        return Err(Error::refused(format!("{key} is no key of an ATECC608")));
    };
    let text = format!(
        "atecc608:{}?address={:#04x}&slot={slot}",
        named.bus().display(),
        named.address()
    );
    text.parse()
        .map_err(|error: countersign_keys::KeyUriInvalid| Error::refused(error.to_string()))
}
