//! What a credential is good for: which devices, which profiles, whose order, and what may be done.

use std::collections::BTreeSet;

use countersign_format::DeviceIdentity;
use countersign_provisioning::Profile;
use serde::{Deserialize, Serialize};

/// Something that a credential may allow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// Say which devices may have certificates.
    Approve,
    /// Have certificates issued.
    Enrol,
    /// Read devices, certificates and figures.
    Read,
    /// Revoke certificates.
    Revoke,
}

/// The reach of a credential. What is not written there is not allowed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scope {
    /// What may be done.
    pub actions: BTreeSet<Action>,
    /// Which devices: identities, or beginnings of them that end with `*`.
    pub devices: Vec<String>,
    /// Which profiles, by name.
    pub profiles: BTreeSet<String>,
    /// The order or factory that the devices belong to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order: Option<String>,
}

/// Why a scope is not one.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct ScopeInvalid(String);

impl Scope {
    /// Checks what was written.
    ///
    /// # Errors
    /// [`ScopeInvalid`] for a pattern, a profile or an order that cannot be.
    pub fn check(self) -> Result<Self, ScopeInvalid> {
        for pattern in &self.devices {
            let fixed = pattern.strip_suffix('*').unwrap_or(pattern);
            let is_pattern =
                (fixed.is_empty() && pattern == "*") || DeviceIdentity::parse(fixed).is_ok();
            if !is_pattern {
                return Err(ScopeInvalid(format!(
                    "{pattern:?} names no devices; write an identity, or the beginning of one and *"
                )));
            }
        }
        for profile in &self.profiles {
            profile.parse::<Profile>().map_err(ScopeInvalid)?;
        }
        if let Some(order) = &self.order
            && DeviceIdentity::parse(order).is_err()
        {
            return Err(ScopeInvalid(format!(
                "{order:?} is not an order; use 1 to 64 letters, digits and . _ : -"
            )));
        }
        Ok(self)
    }

    /// Whether this action on this device is allowed.
    #[must_use]
    pub fn allows(&self, action: Action, device: &DeviceIdentity) -> bool {
        self.actions.contains(&action)
            && self
                .devices
                .iter()
                .any(|pattern| match pattern.strip_suffix('*') {
                    Some(beginning) => device.as_str().starts_with(beginning),
                    None => device.as_str() == pattern,
                })
    }

    /// Whether a certificate of this profile may be had.
    #[must_use]
    pub fn allows_profile(&self, profile: Profile) -> bool {
        self.profiles.contains(profile.as_str())
    }

    /// The one profile, where there is one.
    #[must_use]
    pub fn only_profile(&self) -> Option<Profile> {
        match self.profiles.iter().collect::<Vec<_>>().as_slice() {
            [only] => only.parse().ok(),
            _ => None,
        }
    }

    /// Whether the action is allowed for every device of every order.
    #[must_use]
    pub fn allows_everywhere(&self, action: Action) -> bool {
        self.order.is_none()
            && self.actions.contains(&action)
            && self.devices.iter().any(|pattern| pattern == "*")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope(devices: &[&str]) -> Scope {
        Scope {
            actions: [Action::Enrol].into(),
            devices: devices.iter().map(|&pattern| pattern.to_owned()).collect(),
            profiles: ["tls".to_owned()].into(),
            order: None,
        }
    }

    fn device(text: &str) -> DeviceIdentity {
        text.parse().expect("an identity")
    }

    #[test]
    fn tg26_a_scope_reaches_its_own_devices_and_no_other() {
        let scope = scope(&["a-*", "spare"]).check().expect("a scope");
        assert!(scope.allows(Action::Enrol, &device("a-1")));
        assert!(scope.allows(Action::Enrol, &device("spare")));
        for other in ["b-1", "a", "A-1", "spare2", "xa-1"] {
            assert!(!scope.allows(Action::Enrol, &device(other)), "{other}");
        }
        assert!(!scope.allows(Action::Revoke, &device("a-1")));
        assert!(scope.allows_profile(Profile::Tls));
        assert!(!scope.allows_profile(Profile::ComponentSigner));
    }

    #[test]
    fn what_is_not_a_pattern_is_refused() {
        for bad in ["", "**", "a*b", "*a", "../*", "a b"] {
            assert!(scope(&[bad]).check().is_err(), "{bad:?}");
        }
        assert!(!scope(&[]).allows(Action::Enrol, &device("a")));
        let mut unknown = scope(&["*"]);
        unknown.profiles.insert("root".to_owned());
        assert!(unknown.check().is_err());
    }
}
