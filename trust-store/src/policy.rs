//! What a host demands besides a valid chain.

use std::fmt;
use std::num::NonZeroU8;

use countersign_format::{ComponentName, DeviceIdentity, Digest, NamePattern, limits};

use crate::{Link, VerifiedChain};

/// How many devices must sign, which may, and who this machine can prove to be.
#[derive(Clone, Debug)]
pub struct Policy {
    min_signers: NonZeroU8,
    rules: Vec<SignerRule>,
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
    /// One signer, any whose certificates let it, and a machine that can prove nothing of itself.
    fn default() -> Self {
        Self {
            min_signers: NonZeroU8::MIN,
            rules: Vec::new(),
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

    /// Lets only those devices sign that these rules name: each rule about a component's name must be met, and a name that no
    /// rule is about may be signed by nobody. Without a rule, certificates alone decide. Rules add to what the signers'
    /// certificates demand, and take nothing of it away.
    #[must_use]
    pub fn with_rules(mut self, rules: Vec<SignerRule>) -> Self {
        self.rules = rules;
        self
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

    /// Which devices may sign what.
    #[must_use]
    pub fn rules(&self) -> &[SignerRule] {
        &self.rules
    }

    pub(crate) fn device(&self) -> Option<(&DeviceIdentity, Option<&str>)> {
        self.device
            .as_ref()
            .map(|(identity, device_type)| (identity, device_type.as_deref()))
    }
}

/// Which devices must sign components of some names, as the operator of a machine wants it.
///
/// A signer is named by a rule if it is one of its devices, and of one of its types, and certified by one of its issuers; what
/// a rule does not say, it does not ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignerRule {
    components: Vec<NamePattern>,
    devices: Vec<String>,
    types: Vec<String>,
    issuers: Vec<Digest>,
    at_least: NonZeroU8,
}

impl SignerRule {
    /// A rule about the components of these names: one device, whichever, must sign.
    #[must_use]
    pub const fn new(components: Vec<NamePattern>) -> Self {
        Self {
            components,
            devices: Vec::new(),
            types: Vec::new(),
            issuers: Vec::new(),
            at_least: NonZeroU8::MIN,
        }
    }

    /// Devices of these identities alone; of every identity if there is none.
    #[must_use]
    pub fn devices(mut self, devices: Vec<String>) -> Self {
        self.devices = devices;
        self
    }

    /// Devices whose certificates state one of these types alone; of every type if there is none.
    #[must_use]
    pub fn types(mut self, types: Vec<String>) -> Self {
        self.types = types;
        self
    }

    /// Devices whose chains lead through one of these issuers alone, by the SHA-256 of an issuer's SubjectPublicKeyInfo, a
    /// root's or an intermediate's; through every one if there is none.
    #[must_use]
    pub fn issuers(mut self, issuers: Vec<Digest>) -> Self {
        self.issuers = issuers;
        self
    }

    /// At least so many different devices of these.
    ///
    /// # Errors
    /// [`PolicyError`] if that is 0 or more than a file can have.
    pub fn at_least(mut self, signers: u8) -> Result<Self, PolicyError> {
        if u64::from(signers) > limits::MAX_SIGNERS {
            return Err(PolicyError);
        }
        self.at_least = NonZeroU8::new(signers).ok_or(PolicyError)?;
        Ok(self)
    }

    /// How many different devices must sign.
    #[must_use]
    pub const fn needed(&self) -> u8 {
        self.at_least.get()
    }

    /// Whether the rule is about this name.
    #[must_use]
    pub fn is_about(&self, name: &ComponentName) -> bool {
        self.components.iter().any(|pattern| pattern.matches(name))
    }

    pub(crate) fn names(&self, chain: &VerifiedChain) -> bool {
        let device = chain.device().map(|device| device.identity().as_str());
        let one_of = |names: &[String], own: Option<&str>| {
            names.is_empty() || own.is_some_and(|own| names.iter().any(|name| name == own))
        };
        let mut issuers = chain.links().iter().map(Link::issuer_spki_sha256);
        one_of(&self.devices, device)
            && one_of(&self.types, chain.device_type())
            && (self.issuers.is_empty() || issuers.any(|issuer| self.issuers.contains(&issuer)))
    }
}

impl fmt::Display for SignerRule {
    /// Who must sign, in words.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.at_least.get() {
            1 => f.write_str("a device")?,
            more => write!(f, "{more} different devices")?,
        }
        if !self.devices.is_empty() {
            write!(f, " of {}", self.devices.join(", "))?;
        }
        if !self.types.is_empty() {
            write!(f, " of the type {}", self.types.join(" or "))?;
        }
        if !self.issuers.is_empty() {
            let issuers: Vec<_> = self.issuers.iter().map(ToString::to_string).collect();
            write!(f, " certified under {}", issuers.join(" or "))?;
        }
        Ok(())
    }
}
