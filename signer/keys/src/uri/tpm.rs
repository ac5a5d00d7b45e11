//! `tpm:HANDLE` and `tpm:NAME`, with the way to the TPM behind a question mark.

use super::KeyUriInvalid;
use std::fmt;
use std::str::FromStr;

/// Which key of which TPM.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TpmKey {
    name: TpmKeyName,
    tcti: Option<Tcti>,
}

impl TpmKey {
    /// A key of the TPM that `tcti` leads to; of the TPM at hand if none is given.
    #[must_use]
    pub fn new(name: TpmKeyName, tcti: Option<Tcti>) -> Self {
        Self { name, tcti }
    }

    /// Which key.
    #[must_use]
    pub fn name(&self) -> &TpmKeyName {
        &self.name
    }

    /// The way to the TPM, if the URI names one.
    #[must_use]
    pub fn tcti(&self) -> Option<&Tcti> {
        self.tcti.as_ref()
    }
}

impl FromStr for TpmKey {
    type Err = KeyUriInvalid;

    fn from_str(text: &str) -> Result<Self, KeyUriInvalid> {
        let (name, query) = match text.split_once('?') {
            Some((name, query)) => (name, Some(query)),
            None => (text, None),
        };
        let tcti = match query {
            None => None,
            Some(query) => match query.strip_prefix("tcti=") {
                Some(tcti) => Some(tcti.parse()?),
                None => {
                    return Err(KeyUriInvalid::TpmOption {
                        option: query.to_owned(),
                    });
                }
            },
        };
        Ok(Self {
            name: name.parse()?,
            tcti,
        })
    }
}

impl fmt::Display for TpmKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.tcti {
            None => write!(f, "{}", self.name),
            Some(tcti) => write!(f, "{}?tcti={tcti}", self.name),
        }
    }
}

/// Which key of a TPM.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TpmKeyName {
    /// A persistent handle, 0x81000000 to 0x81FFFFFF (TPM 2.0 part 2, §7.5).
    Handle(u32),
    /// A name that the TPM back end keeps: 1 to 64 letters, digits, `-`, `_`, `.`, not starting with a dot or dash.
    Name(String),
}

impl FromStr for TpmKeyName {
    type Err = KeyUriInvalid;

    fn from_str(text: &str) -> Result<Self, KeyUriInvalid> {
        if let Some(digits) = text.strip_prefix("0x") {
            return match u32::from_str_radix(digits, 16) {
                Ok(handle)
                    if digits.len() == 8 && (0x8100_0000..=0x81ff_ffff).contains(&handle) =>
                {
                    Ok(Self::Handle(handle))
                }
                _ => Err(KeyUriInvalid::TpmHandle),
            };
        }
        let name = (1..=64).contains(&text.len())
            && text.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_')
            && text
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'));
        if name {
            Ok(Self::Name(text.to_owned()))
        } else {
            Err(KeyUriInvalid::TpmName)
        }
    }
}

impl fmt::Display for TpmKeyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Handle(handle) => write!(f, "0x{handle:08x}"),
            Self::Name(name) => f.write_str(name),
        }
    }
}

/// The way to a TPM, in the words of the TSS (TCTI): `device:/dev/tpmrm0`, which is meant where nothing else is said,
/// `swtpm:host=127.0.0.1,port=2321`, `mssim:…` or `tabrmd:…`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Tcti(String);

impl Tcti {
    /// The words, as the TSS reads them.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The device file, if it is one.
    #[must_use]
    pub fn device(&self) -> Option<&str> {
        self.0.strip_prefix("device:")
    }
}

impl Default for Tcti {
    fn default() -> Self {
        Self("device:/dev/tpmrm0".to_owned())
    }
}

impl FromStr for Tcti {
    type Err = KeyUriInvalid;

    /// The first word decides which library is loaded, so only these four are taken.
    fn from_str(text: &str) -> Result<Self, KeyUriInvalid> {
        let plain = text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || ":/=,._-[]".contains(c));
        let known = match text.split_once(':') {
            Some(("device", path)) => path.starts_with('/'),
            Some(("swtpm" | "mssim", way)) => {
                way.split(',').all(|part| match part.split_once('=') {
                    Some(("host", host)) => !host.is_empty(),
                    Some(("port", port)) => port.parse::<u16>().is_ok_and(|port| port > 0),
                    _ => false,
                })
            }
            Some(("tabrmd", way)) => way.split(',').all(|part| {
                matches!(part.split_once('='), Some(("bus_name" | "bus_type", value)) if !value.is_empty())
            }),
            _ => false,
        };
        if plain && known {
            Ok(Self(text.to_owned()))
        } else {
            Err(KeyUriInvalid::Tcti {
                tcti: text.to_owned(),
            })
        }
    }
}

impl fmt::Display for Tcti {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
