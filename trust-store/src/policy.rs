//! What a host demands besides a valid chain.

use std::num::NonZeroU8;

use countersign_format::{DeviceIdentity, limits};

/// How many devices must sign, and who this machine can prove to be.
#[derive(Clone, Debug)]
pub struct Policy {
    min_signers: NonZeroU8,
    device: Option<(DeviceIdentity, Option<String>)>,
}

/// The required number of signers is not between 1 and [`limits::MAX_SIGNERS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the number of signers required must be between 1 and {}",
    limits::MAX_SIGNERS
)]
pub struct PolicyError;

impl Default for Policy {
    /// One signer, and a machine that can prove nothing of itself.
    fn default() -> Self {
        Self {
            min_signers: NonZeroU8::MIN,
            device: None,
        }
    }
}

impl Policy {
    /// Demands that at least `signers` different devices signed.
    ///
    /// # Errors
    /// [`PolicyError`] if that is 0 or more than a file can have.
    pub fn with_min_signers(mut self, signers: u8) -> Result<Self, PolicyError> {
        if u64::from(signers) > limits::MAX_SIGNERS {
            return Err(PolicyError);
        }
        self.min_signers = NonZeroU8::new(signers).ok_or(PolicyError)?;
        Ok(self)
    }

    /// States who this machine is. The caller vouches for it: a host takes it from its own verified certificate.
    #[must_use]
    pub fn with_device(mut self, identity: DeviceIdentity, device_type: Option<String>) -> Self {
        self.device = Some((identity, device_type));
        self
    }

    /// How many different devices must sign.
    #[must_use]
    pub const fn min_signers(&self) -> u8 {
        self.min_signers.get()
    }

    pub(crate) fn device(&self) -> Option<(&DeviceIdentity, Option<&str>)> {
        self.device
            .as_ref()
            .map(|(identity, device_type)| (identity, device_type.as_deref()))
    }
}
