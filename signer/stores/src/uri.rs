//! How a whole store is named, in the same words as a key in it.

use countersign_keys::{Atecc608Key, Error, ErrorKind, KeyUri, Pkcs11Token, Tcti};
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// The name of a store: a key URI without what selects the key.
///
/// | URI | store |
/// |---|---|
/// | `file:FOLDER`, or a path alone | the key files in a folder |
/// | `tpm:`, `tpm:?tcti=…` | the machine's TPM, or another |
/// | `atecc608:/dev/i2c-1?address=0x60` | a secure element |
/// | `pkcs11:token=…` | a token |
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StoreUri {
    /// Key files in a folder.
    Files(PathBuf),
    /// The TPM that is reached like this; the machine's own if nothing is said.
    Tpm(Option<Tcti>),
    /// A secure element.
    Atecc608 {
        /// Its bus, such as /dev/i2c-1.
        bus: PathBuf,
        /// Its address on the bus.
        address: u8,
    },
    /// A PKCS#11 token.
    Token(Pkcs11Token),
}

impl FromStr for StoreUri {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let invalid = |why: String| Error::new(ErrorKind::Malformed, why);
        match text.split_once(':') {
            Some(("tpm", "")) => Ok(Self::Tpm(None)),
            Some(("tpm", rest)) => match rest.strip_prefix("?tcti=") {
                Some(tcti) => tcti
                    .parse::<Tcti>()
                    .map(|tcti| Self::Tpm(Some(tcti)))
                    .map_err(|error| invalid(error.to_string())),
                None => Err(invalid(format!(
                    "\"{text}\" names a key; the TPM as a whole is tpm:, or tpm:?tcti=…"
                ))),
            },
            Some(("pkcs11", rest)) => rest
                .parse::<Pkcs11Token>()
                .map(Self::Token)
                .map_err(|error| invalid(error.to_string())),
            Some(("atecc608", rest)) => {
                if rest.contains("slot=") {
                    return Err(invalid(format!(
                        "\"{text}\" names a key; leave out slot= to name the chip"
                    )));
                }
                let chip = rest
                    .parse::<Atecc608Key>()
                    .map_err(|error| invalid(error.to_string()))?;
                Ok(Self::Atecc608 {
                    bus: chip.bus().to_owned(),
                    address: chip.address(),
                })
            }
            _ => match text.parse::<KeyUri>() {
                Ok(KeyUri::File(folder)) => Ok(Self::Files(folder)),
                Ok(other) => Err(invalid(format!(
                    "{}: is no store of several keys; name tpm:, pkcs11:token=…, atecc608:/dev/i2c-…, or a folder",
                    other.scheme()
                ))),
                Err(error) => Err(invalid(error.to_string())),
            },
        }
    }
}

impl fmt::Display for StoreUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Files(folder) => write!(f, "file:{}", folder.display()),
            Self::Tpm(None) => f.write_str("tpm:"),
            Self::Tpm(Some(tcti)) => write!(f, "tpm:?tcti={tcti}"),
            Self::Atecc608 { bus, address } => {
                write!(f, "atecc608:{}?address={address:#04x}", bus.display())
            }
            Self::Token(token) => write!(f, "pkcs11:{token}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_store_has_one_spelling_that_survives_a_round_trip() {
        for text in [
            "file:keys",
            "file:/etc/countersign",
            "tpm:",
            "tpm:?tcti=swtpm:host=127.0.0.1,port=2321",
            "atecc608:/dev/i2c-1?address=0x60",
            "pkcs11:token=build?module-path=/m.so",
            "pkcs11:",
        ] {
            let store: StoreUri = text.parse().expect(text);
            assert_eq!(store.to_string(), text);
        }
        assert_eq!(
            ".".parse::<StoreUri>().ok(),
            Some(StoreUri::Files(".".into()))
        );
    }

    #[test]
    fn a_key_is_not_taken_for_its_store() {
        for text in [
            "",
            "tpm:door",
            "tpm:0x81010001",
            "atecc608:/dev/i2c-1?slot=2",
            "pkcs11:token=build;object=signing",
            "exec:/bin/true",
            "usb:1",
        ] {
            let error = text.parse::<StoreUri>().expect_err(text);
            assert_eq!(error.kind(), ErrorKind::Malformed, "{text}");
        }
    }
}
