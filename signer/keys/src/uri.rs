//! How a key is named on a command line, in a configuration file and in a log.
//!
//! One spelling for each store; parsing opens nothing. A URI never holds a PIN or passphrase, so it may be logged.

mod pkcs11;
mod tpm;

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

pub use pkcs11::{Pkcs11Invalid, Pkcs11Key, Pkcs11Token};
pub use tpm::{Tcti, TpmKey, TpmKeyName};

/// The longest URI that is read, in bytes: a path of 4,096 and a scheme.
const MAX_URI_BYTES: usize = 4200;

/// The name of a private key: which store, and which key in it.
///
/// | URI | store |
/// |---|---|
/// | `file:PATH`, or a path alone | a PKCS#8 file |
/// | `tpm:0x81010001`, `tpm:NAME` | a TPM 2.0: persistent handle, or a name; `?tcti=…` names another TPM than the machine's |
/// | `atecc608:/dev/i2c-1?address=0x60&slot=0` | a secure element on an I²C bus |
/// | `pkcs11:token=…;object=…` | a PKCS#11 token (RFC 7512) |
/// | `exec:COMMAND` | a program of one's own that signs, run without a shell |
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum KeyUri {
    /// A PKCS#8 file.
    File(PathBuf),
    /// A key in a TPM 2.0.
    Tpm(TpmKey),
    /// A key in an ATECC608.
    Atecc608(Atecc608Key),
    /// A key in a PKCS#11 token.
    Pkcs11(Pkcs11Key),
    /// A program that signs, with its arguments, separated by blanks.
    Exec(String),
}

impl KeyUri {
    /// The part before the colon: `file`, `tpm`, `atecc608`, `pkcs11` or `exec`.
    #[must_use]
    pub fn scheme(&self) -> &'static str {
        match self {
            Self::File(_) => "file",
            Self::Tpm(_) => "tpm",
            Self::Atecc608(_) => "atecc608",
            Self::Pkcs11(_) => "pkcs11",
            Self::Exec(_) => "exec",
        }
    }
}

impl FromStr for KeyUri {
    type Err = KeyUriInvalid;

    fn from_str(text: &str) -> Result<Self, KeyUriInvalid> {
        if text.is_empty() || text.len() > MAX_URI_BYTES || text.contains('\0') {
            return Err(KeyUriInvalid::Text);
        }
        let Some((scheme, rest)) = split_scheme(text) else {
            return Ok(Self::File(PathBuf::from(text)));
        };
        match scheme.to_ascii_lowercase().as_str() {
            "file" => file(rest),
            "tpm" => rest.parse().map(Self::Tpm),
            "atecc608" => rest.parse().map(Self::Atecc608),
            "pkcs11" => Ok(Self::Pkcs11(Pkcs11Key::parse(rest)?)),
            "exec" if rest.split_ascii_whitespace().next().is_some() => {
                Ok(Self::Exec(rest.trim_ascii().to_owned()))
            }
            "exec" => Err(KeyUriInvalid::Empty { scheme: "exec" }),
            _ => Err(KeyUriInvalid::Scheme {
                scheme: scheme.to_owned(),
            }),
        }
    }
}

impl fmt::Display for KeyUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // Two slashes would be read as an empty host's: RFC 8089 §2 then writes them before the path once more.
            Self::File(path) if path.as_os_str().as_encoded_bytes().starts_with(b"//") => {
                write!(f, "file://{}", path.display())
            }
            Self::File(path) => write!(f, "file:{}", path.display()),
            Self::Tpm(key) => write!(f, "tpm:{key}"),
            Self::Atecc608(key) => write!(f, "atecc608:{key}"),
            Self::Pkcs11(key) => write!(f, "pkcs11:{key}"),
            Self::Exec(command) => write!(f, "exec:{command}"),
        }
    }
}

/// A scheme as in RFC 3986 §3.1, of at least two letters. `./a:b` is a path, because a scheme has no slash.
fn split_scheme(text: &str) -> Option<(&str, &str)> {
    let (scheme, rest) = text.split_once(':')?;
    let mut letters = scheme.chars();
    let first = letters.next()?;
    let valid = first.is_ascii_alphabetic()
        && scheme.len() > 1
        && letters.all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'));
    valid.then_some((scheme, rest))
}

fn file(rest: &str) -> Result<KeyUri, KeyUriInvalid> {
    // RFC 8089 §2 also writes an empty host before an absolute path: file:///etc/key.pem.
    let path = match rest.strip_prefix("//") {
        Some(absolute) if absolute.starts_with('/') => absolute,
        Some(_) => return Err(KeyUriInvalid::FileHost),
        None => rest,
    };
    if path.is_empty() {
        return Err(KeyUriInvalid::Empty { scheme: "file" });
    }
    Ok(KeyUri::File(PathBuf::from(path)))
}

/// Which slot of which ATECC608.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Atecc608Key {
    bus: PathBuf,
    address: u8,
    slot: u8,
}

impl Atecc608Key {
    /// The device file of the bus, such as `/dev/i2c-1`.
    #[must_use]
    pub fn bus(&self) -> &Path {
        &self.bus
    }

    /// The 7-bit address on the bus, 0x08 to 0x77; 0x60 unless named.
    #[must_use]
    pub fn address(&self) -> u8 {
        self.address
    }

    /// The key slot, 0 to 15; 0 unless named.
    #[must_use]
    pub fn slot(&self) -> u8 {
        self.slot
    }
}

impl FromStr for Atecc608Key {
    type Err = KeyUriInvalid;

    fn from_str(text: &str) -> Result<Self, KeyUriInvalid> {
        let (bus, query) = text.split_once('?').unwrap_or((text, ""));
        if !bus.starts_with('/') {
            return Err(KeyUriInvalid::Atecc608Bus);
        }
        let (mut address, mut slot) = (None, None);
        for part in query.split('&').filter(|part| !part.is_empty()) {
            let (target, in_range, value): (_, fn(u8) -> bool, _) = match part.split_once('=') {
                Some(("address", value)) => (&mut address, |n| (0x08..=0x77).contains(&n), value),
                Some(("slot", value)) => (&mut slot, |n| n <= 15, value),
                _ => {
                    return Err(KeyUriInvalid::Atecc608Option {
                        option: part.to_owned(),
                    });
                }
            };
            let number = match value.strip_prefix("0x") {
                Some(digits) => u8::from_str_radix(digits, 16),
                None => value.parse(),
            };
            match number {
                Ok(number) if in_range(number) && target.is_none() => *target = Some(number),
                _ => {
                    return Err(KeyUriInvalid::Atecc608Option {
                        option: part.to_owned(),
                    });
                }
            }
        }
        Ok(Self {
            bus: PathBuf::from(bus),
            address: address.unwrap_or(0x60),
            slot: slot.unwrap_or(0),
        })
    }
}

impl fmt::Display for Atecc608Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}?address={:#04x}&slot={}",
            self.bus.display(),
            self.address,
            self.slot
        )
    }
}

/// Why a text is not a key URI.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyUriInvalid {
    /// The ATECC608's bus is not an absolute path.
    #[error("atecc608: needs the bus first, as in atecc608:/dev/i2c-1?address=0x60&slot=0")]
    Atecc608Bus,
    /// An option of an ATECC608 URI is unknown, given twice, or out of range.
    #[error(
        "atecc608: does not take \"{option}\"; the options are address=0x08..0x77 and slot=0..15, each once"
    )]
    Atecc608Option {
        /// The option as it was given.
        option: String,
    },
    /// Nothing after the scheme.
    #[error("{scheme}: names nothing; a path or command must follow it")]
    Empty {
        /// The scheme that was given.
        scheme: &'static str,
    },
    /// A `file://` URI with a host.
    #[error("file: takes a path of this machine, as in file:/etc/key.pem; it takes no host")]
    FileHost,
    /// A `pkcs11:` URI that breaks RFC 7512.
    #[error(transparent)]
    Pkcs11(#[from] Pkcs11Invalid),
    /// A scheme that names no key store.
    #[error(
        "\"{scheme}:\" names no key store; use file:, tpm:, atecc608:, pkcs11: or exec: (a file whose name holds a colon: file:NAME)"
    )]
    Scheme {
        /// The scheme that was given.
        scheme: String,
    },
    /// Not a way to a TPM.
    #[error(
        "\"{tcti}\" leads to no TPM; use device:/dev/tpmrm0, swtpm:host=HOST,port=PORT, mssim:host=HOST,port=PORT or tabrmd:bus_name=NAME"
    )]
    Tcti {
        /// The text as it was given.
        tcti: String,
    },
    /// Empty, too long, or with a zero byte.
    #[error("a key URI has 1 to 4200 bytes and no zero byte")]
    Text,
    /// Not a persistent handle.
    #[error("tpm: takes a persistent handle of eight digits, 0x81000000 to 0x81ffffff, or a name")]
    TpmHandle,
    /// Not a name the TPM back end may use.
    #[error(
        "a key name for tpm: has 1 to 64 letters, digits, '-', '_' and '.', and starts with a letter or digit"
    )]
    TpmName,
    /// Something else than the way to the TPM behind the question mark.
    #[error(
        "tpm: does not take \"{option}\"; the only option is tcti=, as in tpm:NAME?tcti=device:/dev/tpmrm0"
    )]
    TpmOption {
        /// The option as it was given.
        option: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<KeyUri, KeyUriInvalid> {
        text.parse()
    }

    #[test]
    fn each_store_has_one_spelling_that_survives_a_round_trip() {
        for text in [
            "file:/etc/countersign/key.pem",
            "file:keys/a:b.pem",
            "tpm:0x81010001",
            "tpm:signing-2026",
            "tpm:signing-2026?tcti=swtpm:host=127.0.0.1,port=2321",
            "tpm:0x81010001?tcti=device:/dev/tpm0",
            "atecc608:/dev/i2c-1?address=0x60&slot=0",
            "pkcs11:token=Build;object=component%20signing;type=private",
            "exec:/usr/lib/sign-it --profile components",
        ] {
            let uri = parse(text).unwrap();
            assert_eq!(uri.to_string(), text);
            assert_eq!(parse(&uri.to_string()).unwrap(), uri);
        }
    }

    #[test]
    fn a_path_alone_is_a_file() {
        assert_eq!(parse("key.pem").unwrap(), KeyUri::File("key.pem".into()));
        assert_eq!(parse("./tpm:x").unwrap(), KeyUri::File("./tpm:x".into()));
        assert_eq!(
            parse("file:///k.pem").unwrap(),
            KeyUri::File("/k.pem".into())
        );
    }

    #[test]
    fn a_path_with_two_slashes_in_front_survives_a_round_trip() {
        for text in ["//host/key.pem", "///key.pem", "//", "file:////key.pem"] {
            let uri = parse(text).unwrap();
            let again = parse(&uri.to_string()).unwrap();
            // As texts: paths compare without their slashes.
            assert_eq!(again.to_string(), uri.to_string(), "{text}");
        }
        for (text, path) in [
            ("///key.pem", "///key.pem"),
            ("file:////key.pem", "//key.pem"),
        ] {
            let KeyUri::File(read) = parse(&parse(text).unwrap().to_string()).unwrap() else {
                panic!("not a file")
            };
            assert_eq!(read.as_os_str(), path);
        }
    }

    #[test]
    fn defaults_of_the_secure_element() {
        let KeyUri::Atecc608(key) = parse("atecc608:/dev/i2c-7").unwrap() else {
            panic!("not an ATECC608")
        };
        assert_eq!(
            (key.bus(), key.address(), key.slot()),
            (Path::new("/dev/i2c-7"), 0x60, 0)
        );
    }

    #[test]
    fn a_misspelt_scheme_is_not_taken_for_a_file() {
        let error = parse("tmp:0x81010001").unwrap_err();
        assert_eq!(
            error,
            KeyUriInvalid::Scheme {
                scheme: "tmp".into()
            }
        );
        assert!(error.to_string().contains("tpm:"));
    }

    #[test]
    fn wrong_uris_are_refused() {
        for text in [
            "",
            "a\0b",
            "file:",
            "file://host/key",
            "tpm:",
            "tpm:0x01010001",
            "tpm:0x8101",
            "tpm:0x+8101001",
            "tpm:../key",
            "tpm:.hidden",
            "tpm:key?",
            "tpm:key?pin=1",
            "tpm:key?tcti=",
            "tpm:key?tcti=/dev/tpmrm0",
            "tpm:key?tcti=device:tpmrm0",
            "tpm:key?tcti=cmd:rm -rf",
            "tpm:key?tcti=swtpm:port=0",
            "tpm:key?tcti=swtpm:path=/tmp/socket",
            "tpm:key?tcti=swtpm:port=1&tcti=swtpm:port=2",
            "atecc608:i2c-1",
            "atecc608:/dev/i2c-1?slot=16",
            "atecc608:/dev/i2c-1?address=0x80",
            "atecc608:/dev/i2c-1?slot=1&slot=2",
            "atecc608:/dev/i2c-1?pin=1",
            "exec:",
            "exec:   ",
        ] {
            assert!(parse(text).is_err(), "{text:?} was accepted");
        }
        assert!(parse(&"x".repeat(4201)).is_err());
    }
}
