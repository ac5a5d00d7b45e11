//! What must be done to a chip so that it is as its file says: shown first, then done with consent.
//!
//! A plan is made of a file and of what the chip says of itself. It shows each step, those that cannot be undone by that
//! name; it is carried out on the same chip in the same state only, and with the serial number of that chip typed by
//! somebody who saw the plan.
//!
//! Slots are locked when they hold what they are for. So there are two plans in a chip's life: configure and lock the
//! zones; then, with keys made and certificates stored, lock the slots.

use crate::config::{Configuration, Serial, Slot};
use crate::device::Atecc608;
use crate::error::{Error, Status};
use crate::file::{ChipFile, Model};
use crate::lock::Consent;
use crate::rules::{Purpose, inspect_purpose};
use core::fmt;
use countersign_atecc608_rules::Unfit;
use embedded_hal::delay::DelayNs;
use embedded_hal::i2c::I2c;
use std::string::ToString as _;
use std::vec::Vec;

/// SlotConfig and KeyConfig of a key that signs messages: secret, made in the chip, can be made again until it is locked.
const SIGNING: (u16, u16) = (0x2083, 0x0033);
/// The same for a key that signs what the chip states, and nothing from outside.
const ATTESTATION: (u16, u16) = (0x2082, 0x0033);
/// Bytes that everybody may read and, until the slot is locked, write.
const CLEAR: (u16, u16) = (0x0000, 0x003c);
/// The same for a public key.
const PUBLIC_KEY: (u16, u16) = (0x0000, 0x0030);

/// One thing that is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Configure,
    LockConfiguration,
    LockData,
    LockSlot(Slot),
}

/// What is to be done to one chip, and to no other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    present: Configuration,
    wanted: Configuration,
    steps: Vec<Step>,
    /// Slots that shall be locked and hold nothing yet.
    later: Vec<Slot>,
}

/// Why there is no plan, or why it was not carried out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PlanError {
    /// Somebody changed the chip after the plan was made.
    #[error("the chip is no longer as it was when the plan was made; make it again and look at it")]
    Changed,
    /// The chip or the bus failed. What was done until then is done; a new plan says what remains.
    #[error("the chip failed: {0}; make the plan again, it says what remains")]
    Chip(#[from] Error),
    /// The serial number that was typed is not the chip's.
    #[error(
        "the serial number is not this chip's, which is {serial}; type the one of the chip that shall be locked"
    )]
    Consent {
        /// The chip's.
        serial: Serial,
    },
    /// The configuration is locked and is not what the file needs.
    #[error(
        "the configuration is locked for ever and does not fit the file at slot {slot}: {unfit}; use another slot or chip"
    )]
    LockedOtherwise {
        /// Where.
        slot: Slot,
        /// Why.
        unfit: Unfit,
    },
    /// Data cannot be locked before the configuration.
    #[error(
        "the data zone cannot be locked before the configuration; set `lock.configuration` too"
    )]
    Order,
    /// The chip is at another address for ever.
    #[error("the chip is locked to address {address:#04x}; name that one in the file")]
    OtherAddress {
        /// Where it is.
        address: u8,
    },
    /// It is another chip than the file says.
    #[error(
        "the chip is an {found}, which is not the type in the file; name its type, or connect the right chip"
    )]
    OtherModel {
        /// What it is.
        found: &'static str,
    },
}

impl Plan {
    /// Looks at the chip and says what is to be done. Nothing is changed.
    ///
    /// # Errors
    /// [`PlanError`].
    pub fn make<I: I2c, D: DelayNs>(
        chip: &mut Atecc608<I, D>,
        file: &ChipFile,
    ) -> Result<Self, PlanError> {
        let found = chip.revision()?;
        let fits = match file.model {
            Model::Any => found.is_608(),
            Model::A => found.name() == "ATECC608A",
            Model::B => found.name() == "ATECC608B",
        };
        if !fits {
            return Err(PlanError::OtherModel {
                found: found.name(),
            });
        }
        let present = chip.configuration()?;
        let mut plan = Self {
            present,
            wanted: wanted(&present, file),
            steps: Vec::new(),
            later: Vec::new(),
        };
        let is_locked = present.config_locked();
        if is_locked {
            inspect_locked(&present, file)?;
            plan.wanted = present;
        } else if plan.wanted != present {
            plan.steps.push(Step::Configure);
        }
        if file.lock.configuration && !is_locked {
            plan.steps.push(Step::LockConfiguration);
        }
        if file.lock.data && !present.data_locked() {
            if !is_locked && !file.lock.configuration {
                return Err(PlanError::Order);
            }
            plan.steps.push(Step::LockData);
        }
        for slot in &file.lock.slots {
            if present.slot_locked(*slot) {
                continue;
            }
            // Nobody locks an empty slot on purpose.
            if is_locked && present.data_locked() && holds_something(chip, *slot, file)? {
                plan.steps.push(Step::LockSlot(*slot));
            } else {
                plan.later.push(*slot);
            }
        }
        Ok(plan)
    }

    /// The chip's serial number.
    #[must_use]
    pub fn serial(&self) -> Serial {
        self.present.serial()
    }

    /// Whether there is nothing to do.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// Whether something of it cannot be undone.
    #[must_use]
    pub fn is_for_ever(&self) -> bool {
        self.steps.iter().any(|step| *step != Step::Configure)
    }

    /// The consent of somebody who saw the plan and typed the chip's serial number.
    ///
    /// # Errors
    /// [`PlanError::Consent`].
    pub fn consent(&self, typed: &str) -> Result<Consent, PlanError> {
        let serial = self.serial();
        if typed.trim().eq_ignore_ascii_case(&serial.to_string()) {
            Ok(Consent::to_lock_for_ever(serial))
        } else {
            Err(PlanError::Consent { serial })
        }
    }

    /// Does it. **What it locks is locked for ever.**
    ///
    /// # Errors
    /// [`PlanError::Changed`] before anything is done; [`PlanError::Chip`].
    pub fn carry_out<I: I2c, D: DelayNs>(
        &self,
        chip: &mut Atecc608<I, D>,
        consent: &Consent,
    ) -> Result<(), PlanError> {
        if chip.configuration()? != self.present {
            return Err(PlanError::Changed);
        }
        for step in &self.steps {
            match step {
                Step::Configure => chip.write_configuration(&self.wanted)?,
                Step::LockConfiguration => chip.lock_configuration(consent, &self.wanted)?,
                Step::LockData => chip.lock_data(consent)?,
                Step::LockSlot(slot) => chip.lock_slot(consent, *slot)?,
            }
        }
        Ok(())
    }

    fn write(&self, step: Step, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match step {
            Step::Configure => {
                writeln!(f, "- write the configuration:")?;
                if self.present.address() != self.wanted.address() {
                    let (old, new) = (self.present.address(), self.wanted.address());
                    writeln!(f, "    address {old:#04x} becomes {new:#04x}")?;
                }
                for slot in Slot::all() {
                    let old = (self.present.slot(slot).0, self.present.key(slot).0);
                    let new = (self.wanted.slot(slot).0, self.wanted.key(slot).0);
                    if old != new {
                        let ((a, b), (c, d)) = (old, new);
                        writeln!(
                            f,
                            "    slot {slot}: SlotConfig {a:04x} becomes {c:04x}, KeyConfig {b:04x} becomes {d:04x}"
                        )?;
                    }
                }
                Ok(())
            }
            Step::LockConfiguration => writeln!(
                f,
                "- lock the configuration FOR EVER: what each slot is for, and the address, can never be changed again"
            ),
            Step::LockData => writeln!(
                f,
                "- lock the data and one-time zones FOR EVER: from then on the configuration rules every slot, and the one-time bytes stay as they are"
            ),
            Step::LockSlot(slot) => writeln!(
                f,
                "- lock slot {slot} FOR EVER: what is in it can never be replaced; if its key must go, the chip must"
            ),
        }
    }
}

impl fmt::Display for Plan {
    /// What is done and what is lost by it, a line for each.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "chip {}:", self.serial())?;
        if self.steps.is_empty() {
            writeln!(f, "- nothing is to be done")?;
        }
        for step in &self.steps {
            self.write(*step, f)?;
        }
        for slot in &self.later {
            writeln!(
                f,
                "- not now: slot {slot} is locked by a later plan, when both zones are locked and it holds something"
            )?;
        }
        Ok(())
    }
}

/// The zone as the file wants it. What the file does not name stays.
fn wanted(present: &Configuration, file: &ChipFile) -> Configuration {
    let mut wanted = present.with_address(file.address);
    for slot in &file.keys {
        wanted = wanted.with_slot(*slot, SIGNING);
    }
    if let Some(slot) = file.attestation_key {
        wanted = wanted.with_slot(slot, ATTESTATION);
    }
    for slot in file.public() {
        wanted = wanted.with_slot(slot, CLEAR);
    }
    if let Some((_, slot)) = file.ca_certificate {
        wanted = wanted.with_slot(slot, PUBLIC_KEY);
    }
    wanted
}

/// Whether a locked configuration serves the file's purposes. It need not be the one that we would write.
fn inspect_locked(present: &Configuration, file: &ChipFile) -> Result<(), PlanError> {
    if present.address() != file.address {
        return Err(PlanError::OtherAddress {
            address: present.address(),
        });
    }
    for slot in file.private() {
        let purpose = if file.attestation_key == Some(slot) {
            Purpose::Attestation
        } else {
            Purpose::Signing
        };
        inspect_purpose(present, slot, purpose)
            .map_err(|unfit| PlanError::LockedOtherwise { slot, unfit })?;
    }
    Ok(())
}

/// Whether there is a key in a slot for keys, or anything but zeros in another.
fn holds_something<I: I2c, D: DelayNs>(
    chip: &mut Atecc608<I, D>,
    slot: Slot,
    file: &ChipFile,
) -> Result<bool, PlanError> {
    if file.private().any(|private| private == slot) {
        return match chip.public_key(slot) {
            Ok(_) => Ok(true),
            Err(Error::Refused {
                status: Status::Ecc | Status::Execution,
                ..
            }) => Ok(false),
            Err(error) => Err(error.into()),
        };
    }
    let mut bytes = [0; 72];
    chip.read_slot(slot, &mut bytes)?;
    Ok(bytes.iter().any(|byte| *byte != 0))
}
