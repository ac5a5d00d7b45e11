//! What a device's attestation must show here, by its identity.
//!
//! Decided here: which of the configuration's expectations are for which device. Whether an attestation holds is the trust store's
//! verdict; that hardware vouches for it is demanded of every device for which nothing else is written.

use anyhow::Context as _;
use countersign_format::{DeviceIdentity, Digest, EvidenceNonce, limits};
use countersign_trust_store::EvidencePolicy;

use crate::clients::Client;
use crate::tokens::{Action, Scope};
use crate::{config, factory};

/// The expectations of the configuration.
#[derive(Clone, Debug, Default)]
pub struct Expectations(Vec<Expected>);

#[derive(Clone, Debug)]
struct Expected {
    devices: Scope,
    registers: Vec<(u8, [u8; 32])>,
    software: bool,
    issuers: Vec<Digest>,
}

impl Expectations {
    /// What the configuration says.
    ///
    /// # Errors
    /// Which word of it cannot be.
    pub fn new(said: &[config::Attestation]) -> anyhow::Result<Self> {
        said.iter()
            .map(|said| read(said).context("[[attestation]]"))
            .collect::<anyhow::Result<_>>()
            .map(Self)
    }

    /// What an answer to this nonce must show if it is of this device: the first entry that names the device counts.
    #[must_use]
    pub fn of(&self, device: &DeviceIdentity, nonce: EvidenceNonce) -> EvidencePolicy {
        let mut policy = EvidencePolicy::answering(nonce).of_device(device.clone());
        if let Some(expected) = self.find(device) {
            for (register, value) in &expected.registers {
                policy = policy.expecting_register(*register, *value);
            }
            if expected.software {
                policy = policy.allowing_keys_in_software();
            }
        }
        policy
    }

    /// Whether the attestation key of this device counts though another authority below the root certified it, which may name any
    /// device.
    #[must_use]
    pub fn believes(&self, client: &Client) -> bool {
        self.find(&client.device)
            .is_some_and(|expected| expected.issuers.contains(&client.issuer))
    }

    fn find(&self, device: &DeviceIdentity) -> Option<&Expected> {
        self.0
            .iter()
            .find(|expected| expected.devices.allows(Action::Read, device))
    }
}

fn read(said: &config::Attestation) -> anyhow::Result<Expected> {
    let devices = Scope {
        actions: [Action::Read].into(),
        devices: said.devices.clone(),
        profiles: ["tls".to_owned()].into(),
        order: None,
    }
    .check()?;
    anyhow::ensure!(
        !devices.devices.is_empty(),
        "devices is empty: name those that this is for, such as \"press-*\""
    );
    let mut registers = Vec::new();
    for (register, values) in &said.registers {
        let number = register.parse::<u8>().ok();
        let number = number
            .filter(|number| u64::from(*number) < limits::MAX_REGISTERS)
            .with_context(|| format!("{register:?} is no register: write a number from 0 to 23"))?;
        anyhow::ensure!(
            !values.is_empty(),
            "register {register} has no value: write those that are right, or leave it out"
        );
        for value in values {
            let value = hex::decode(value)
                .ok()
                .and_then(|value| value.try_into().ok())
                .with_context(|| {
                    format!(
                        "{value:?} is no value of register {register}: write 64 hexadecimal digits"
                    )
                })?;
            registers.push((number, value));
        }
    }
    anyhow::ensure!(
        registers.is_empty() || !said.software,
        "software and registers exclude each other: software shows nothing of that kind"
    );
    Ok(Expected {
        devices,
        registers,
        software: said.software,
        issuers: said
            .issuers
            .iter()
            .map(|issuer| factory::issuer(issuer))
            .collect::<anyhow::Result<_>>()?,
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn said(register: &str, value: &str, software: bool) -> config::Attestation {
        config::Attestation {
            devices: vec!["press-*".to_owned()],
            registers: BTreeMap::from([(register.to_owned(), vec![value.to_owned()])]),
            software,
            issuers: Vec::new(),
        }
    }

    #[test]
    fn tg07_an_expectation_that_cannot_be_met_is_refused() {
        let value = "0f".repeat(32);
        Expectations::new(&[said("7", &value, false)]).expect("accepted");
        for (register, value, software) in [
            ("24", value.as_str(), false),
            ("x", &value, false),
            ("7", "0f", false),
            ("7", &value, true),
        ] {
            Expectations::new(&[said(register, value, software)]).expect_err(register);
        }
        let nothing = config::Attestation {
            devices: Vec::new(),
            ..said("7", &value, false)
        };
        Expectations::new(&[nothing]).expect_err("for no device");
    }
}
