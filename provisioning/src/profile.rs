//! What each kind of end entity certificate is for, as a table.

use std::fmt;
use std::str::FromStr;

use countersign_trust_store::profile;
use der::asn1::ObjectIdentifier;

use crate::extensions::{ATTESTATION, CLIENT_AUTH, CODE_SIGNING, DOCUMENT_SIGNING, SERVER_AUTH};

/// A kind of end entity certificate. A key has one purpose, so a device has a certificate of each kind it needs, over
/// different keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Profile {
    /// Signs components: codeSigning, and the names it may sign.
    ComponentSigner,
    /// Speaks TLS, as client and as server.
    Tls,
    /// Signs data for guests: documentSigning (RFC 9336).
    GuestData,
    /// Signs attestation evidence: tcg-kp-AIKCertificate.
    Attestation,
    /// Says who the device is, from the factory to the scrapyard: no extended key usage, no expiry (IEEE 802.1AR).
    IDevId,
}

/// One row: everything in which the kinds differ.
pub(crate) struct Rules {
    /// Spelling on command lines and in records.
    pub(crate) name: &'static str,
    /// What a host checks of a certificate of this kind.
    pub(crate) kind: &'static profile::Profile,
    /// Extended key usages, in order; empty for none.
    pub(crate) extended_key_usage: &'static [ObjectIdentifier],
    /// Whether the component-scope extension belongs in it.
    pub(crate) scoped: bool,
    /// Whether it may carry dNSNames.
    pub(crate) dns_names: bool,
    /// Days it may live at most; `None` is 99991231235959Z.
    pub(crate) max_days: Option<u64>,
}

impl Profile {
    /// Every kind.
    pub const ALL: [Self; 5] = [
        Self::ComponentSigner,
        Self::Tls,
        Self::GuestData,
        Self::Attestation,
        Self::IDevId,
    ];

    /// The spelling on command lines and in records, such as `component-signer`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.rules().name
    }

    /// Whether certificates of this kind carry a component scope.
    #[must_use]
    pub fn is_scoped(self) -> bool {
        self.rules().scoped
    }

    /// Whether certificates of this kind never expire.
    #[must_use]
    pub fn is_without_expiry(self) -> bool {
        self.rules().max_days.is_none()
    }

    /// Three years is what the code signing world allows at most; a device's other certificates follow it.
    pub(crate) fn rules(self) -> Rules {
        let common = Rules {
            name: "",
            kind: &profile::IDEVID,
            extended_key_usage: &[],
            scoped: false,
            dns_names: false,
            max_days: Some(3 * 366),
        };
        match self {
            Self::ComponentSigner => Rules {
                name: "component-signer",
                kind: &profile::COMPONENT_SIGNER,
                extended_key_usage: &[CODE_SIGNING],
                scoped: true,
                ..common
            },
            Self::Tls => Rules {
                name: "tls",
                kind: &profile::TLS,
                extended_key_usage: &[CLIENT_AUTH, SERVER_AUTH],
                dns_names: true,
                ..common
            },
            Self::GuestData => Rules {
                name: "guest-data",
                kind: &profile::GUEST_DATA,
                extended_key_usage: &[DOCUMENT_SIGNING],
                ..common
            },
            Self::Attestation => Rules {
                name: "attestation",
                kind: &profile::ATTESTATION,
                extended_key_usage: &[ATTESTATION],
                ..common
            },
            Self::IDevId => Rules {
                name: "idevid",
                max_days: None,
                ..common
            },
        }
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Profile {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|profile| profile.as_str() == text)
            .ok_or_else(|| {
                let names: Vec<_> = Self::ALL.iter().map(|profile| profile.as_str()).collect();
                format!("{text:?} is not a profile; there are {}", names.join(", "))
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_distinct_and_read_back() {
        for profile in Profile::ALL {
            assert_eq!(profile.as_str().parse::<Profile>(), Ok(profile));
        }
        assert!("root".parse::<Profile>().is_err());
    }

    #[test]
    fn tc13_no_two_profiles_share_a_purpose() {
        let mut seen = Vec::new();
        for profile in Profile::ALL {
            for oid in profile.rules().extended_key_usage {
                assert!(!seen.contains(oid), "{oid} twice");
                seen.push(*oid);
            }
        }
    }
}
