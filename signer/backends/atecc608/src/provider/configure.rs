//! Configuring a chip by its file.

use super::Atecc608Provider;
use crate::device::Atecc608;
use crate::file::ChipFile;
use crate::plan::{Plan, PlanError};
use countersign_keys::{Error, ErrorKind};
use embedded_hal::delay::DelayNs;
use embedded_hal::i2c::I2c;
use std::string::ToString as _;

#[cfg(target_os = "linux")]
impl Atecc608Provider<crate::LinuxBus, crate::LinuxDelay> {
    /// The chip that a file describes: at the file's address, or, as it has that one only after it was configured, at one
    /// of those that chips leave the maker with.
    ///
    /// # Errors
    /// As [`Self::open_bus`].
    pub fn of_file(file: &ChipFile) -> Result<Self, Error> {
        let there = Self::open_bus(&file.bus, file.address);
        let Err(error) = &there else {
            return there;
        };
        if error.kind() != ErrorKind::NotFound {
            return there;
        }
        super::detect::ADDRESSES
            .into_iter()
            .filter(|address| *address != file.address)
            .find_map(|address| Self::open_bus(&file.bus, address).ok())
            .map_or(there, Ok)
    }
}

impl<I, D> Atecc608Provider<I, D>
where
    I: I2c + Send,
    D: DelayNs + Send,
{
    /// What must be done to the chip so that it is as the file says. Nothing is changed.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`] if it cannot become so; what the chip reports.
    pub fn plan(&self, file: &ChipFile) -> Result<Plan, Error> {
        self.with_device(|chip| Plan::make(chip, file))
            .map_err(|error| self.not_planned(error))
    }

    /// Does what a plan says. **What it locks is locked for ever.** `serial` is what somebody typed who saw the plan.
    ///
    /// # Errors
    /// [`ErrorKind::Permissions`] if that is not the chip's serial number, or the chip is not as the plan was made for;
    /// what the chip reports.
    pub fn carry_out(&self, plan: &Plan, serial: &str) -> Result<(), Error> {
        let work = |chip: &mut Atecc608<I, D>| plan.carry_out(chip, &plan.consent(serial)?);
        self.with_device(work)
            .map_err(|error| self.not_planned(error))
    }

    fn not_planned(&self, error: PlanError) -> Error {
        let kind = match error {
            PlanError::Chip(error) => return self.place.failed(error),
            PlanError::Consent { .. } | PlanError::Changed => ErrorKind::Permissions,
            PlanError::LockedOtherwise { .. }
            | PlanError::Order
            | PlanError::OtherAddress { .. }
            | PlanError::OtherModel { .. } => ErrorKind::Unsupported,
        };
        Error::new(kind, error.to_string())
    }
}
