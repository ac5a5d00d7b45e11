//! The identity of a device and what is said about it.
//!
//! One text of at most 64 safe characters, whatever it was made from, so that it is the same in a certificate, a
//! statement, a file name and a log. Where it stands in a certificate is left to the profiles of the trust store.

use core::fmt;
use core::str::FromStr;

use crate::FormatError;
use crate::text::{check_label, check_safe, sort_unique};

/// A device's identity: 1 to 64 characters of `A-Z a-z 0-9 . _ : -`, the first a letter or digit. Compared byte
/// for byte.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeviceIdentity(String);

impl DeviceIdentity {
    /// An identity of the company's own making, such as a serial number.
    ///
    /// # Errors
    /// [`FormatError::Text`] for other characters, [`FormatError::LimitExceeded`] over 64 of them.
    pub fn parse(text: &str) -> Result<Self, FormatError> {
        check_safe(
            "device identity",
            text,
            b"._:-",
            "use 1 to 64 letters, digits and . _ : - and start with a letter or digit",
        )?;
        Ok(Self(text.to_owned()))
    }

    /// The identity made from an IEEE 802 address (EUI-48): `00:1b:21:0a:0b:0c`.
    ///
    /// # Errors
    /// [`FormatError::Text`] for an address of a group (all ones among them) and for all zeros: no device has it.
    pub fn from_mac(address: [u8; 6]) -> Result<Self, FormatError> {
        let text = hex_groups(&address, &[1, 1, 1, 1, 1, 1], ':');
        let [first, ..] = address;
        // IEEE 802 §8.2.2: the lowest bit of the first octet marks a group.
        if first & 1 == 1 || address == [0; 6] {
            return Err(FormatError::text(
                "MAC address",
                &text,
                "a group address or all zeros names no device",
            ));
        }
        Self::parse(&text)
    }

    /// Reads an IEEE 802 address as people write it: six pairs of hexadecimal digits joined by `:` or `-`, or
    /// twelve digits.
    ///
    /// # Errors
    /// [`FormatError::Text`] for anything else, and as [`Self::from_mac`].
    pub fn from_mac_text(text: &str) -> Result<Self, FormatError> {
        let refuse = || {
            FormatError::text(
                "MAC address",
                text,
                "write six pairs of hexadecimal digits, as in 00:1b:21:0a:0b:0c",
            )
        };
        let separator = if text.contains('-') { '-' } else { ':' };
        let address = from_hex_groups(text, &[1; 6], separator)
            .or_else(|| from_hex_groups(text, &[6], separator))
            .ok_or_else(refuse)?;
        Self::from_mac(address)
    }

    /// The identity made from a UUID (RFC 9562): `f81d4fae-7dec-11d0-a765-00a0c91e6bf6`.
    ///
    /// # Errors
    /// [`FormatError::Text`] for the nil and the max UUID: no device has them.
    pub fn from_uuid(uuid: [u8; 16]) -> Result<Self, FormatError> {
        let text = hex_groups(&uuid, &[4, 2, 2, 2, 6], '-');
        if uuid == [0; 16] || uuid == [0xff; 16] {
            return Err(FormatError::text(
                "UUID",
                &text,
                "the nil and the max UUID name no device",
            ));
        }
        Self::parse(&text)
    }

    /// Reads a UUID as people write it, in either case, with or without `urn:uuid:`.
    ///
    /// # Errors
    /// [`FormatError::Text`] for anything else, and as [`Self::from_uuid`].
    pub fn from_uuid_text(text: &str) -> Result<Self, FormatError> {
        let refuse = || {
            FormatError::text(
                "UUID",
                text,
                "write a UUID as in f81d4fae-7dec-11d0-a765-00a0c91e6bf6",
            )
        };
        let digits = text.strip_prefix("urn:uuid:").unwrap_or(text);
        Self::from_uuid(from_hex_groups(digits, &[4, 2, 2, 2, 6], '-').ok_or_else(refuse)?)
    }

    /// The identity.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for DeviceIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for DeviceIdentity {
    type Err = FormatError;

    fn from_str(text: &str) -> Result<Self, FormatError> {
        Self::parse(text)
    }
}

/// What a device certificate says about its device besides the identity. Each text is 1 to 64 characters of
/// `A-Z a-z 0-9 . _ : + / -`. `Default` says nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeviceMetadata {
    device_type: Option<String>,
    hardware_revision: Option<String>,
    firmware_version: Option<String>,
    capabilities: Vec<String>,
}

impl DeviceMetadata {
    /// Sets the type of the device, which an audience may name.
    ///
    /// # Errors
    /// [`FormatError::Text`] for other characters, [`FormatError::LimitExceeded`] over 64 of them.
    pub fn with_device_type(mut self, text: &str) -> Result<Self, FormatError> {
        check_label("device type", text)?;
        self.device_type = Some(text.to_owned());
        Ok(self)
    }

    /// Sets the revision of the hardware.
    ///
    /// # Errors
    /// As [`Self::with_device_type`].
    pub fn with_hardware_revision(mut self, text: &str) -> Result<Self, FormatError> {
        check_label("hardware revision", text)?;
        self.hardware_revision = Some(text.to_owned());
        Ok(self)
    }

    /// Sets the version of the firmware.
    ///
    /// # Errors
    /// As [`Self::with_device_type`].
    pub fn with_firmware_version(mut self, text: &str) -> Result<Self, FormatError> {
        check_label("firmware version", text)?;
        self.firmware_version = Some(text.to_owned());
        Ok(self)
    }

    /// Sets the capabilities; they are sorted.
    ///
    /// # Errors
    /// As [`Self::with_device_type`]; also for a capability given twice and for more than 64.
    pub fn with_capabilities(
        mut self,
        capabilities: &[impl AsRef<str>],
    ) -> Result<Self, FormatError> {
        let mut list: Vec<String> = capabilities
            .iter()
            .map(|text| text.as_ref().to_owned())
            .collect();
        list.iter()
            .try_for_each(|capability| check_label("capability", capability))?;
        sort_unique("capabilities", &mut list)?;
        self.capabilities = list;
        Ok(self)
    }

    /// The type of the device.
    #[must_use]
    pub fn device_type(&self) -> Option<&str> {
        self.device_type.as_deref()
    }

    /// The revision of the hardware.
    #[must_use]
    pub fn hardware_revision(&self) -> Option<&str> {
        self.hardware_revision.as_deref()
    }

    /// The version of the firmware.
    #[must_use]
    pub fn firmware_version(&self) -> Option<&str> {
        self.firmware_version.as_deref()
    }

    /// The capabilities, sorted.
    #[must_use]
    pub fn capabilities(&self) -> &[String] {
        &self.capabilities
    }
}

/// Lower-case hexadecimal digits in groups of so many bytes.
fn hex_groups(bytes: &[u8], groups: &[usize], separator: char) -> String {
    let mut text = String::new();
    let mut bytes = bytes.iter();
    for (index, group) in groups.iter().enumerate() {
        if index != 0 {
            text.push(separator);
        }
        bytes
            .by_ref()
            .take(*group)
            .for_each(|byte| text.push_str(&format!("{byte:02x}")));
    }
    text
}

/// Reads what [`hex_groups`] writes, in either case.
fn from_hex_groups<const N: usize>(
    text: &str,
    groups: &[usize],
    separator: char,
) -> Option<[u8; N]> {
    let mut bytes = Vec::with_capacity(N);
    let mut parts = text.split(separator);
    for group in groups {
        let part = parts.next()?.as_bytes();
        let (pairs, rest) = part.as_chunks::<2>();
        if pairs.len() != *group || !rest.is_empty() {
            return None;
        }
        for pair in pairs {
            let digit = |digit: u8| {
                char::from(digit)
                    .to_digit(16)
                    .and_then(|digit| u8::try_from(digit).ok())
            };
            let [high, low] = *pair;
            bytes.push((digit(high)? << 4) | digit(low)?);
        }
    }
    if parts.next().is_some() {
        None
    } else {
        bytes.try_into().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_text<T>(result: Result<T, FormatError>) -> bool {
        matches!(result, Err(FormatError::Text { .. }))
    }

    #[test]
    fn identities_of_ones_own() {
        for text in ["A", "SN-0001", "gw.plant-3_line:4", &"a".repeat(64)] {
            let identity = DeviceIdentity::parse(text).unwrap();
            assert_eq!(identity.as_str(), text);
            assert_eq!(identity.to_string(), text);
        }
    }

    #[test]
    fn tc19_unsafe_identities_are_refused() {
        for text in [
            "",
            "-a",
            ".a",
            "a b",
            "a\0",
            "a\n",
            "a/b",
            "gëräte",
            "a\u{202e}b",
            "ＡＢ",
            "a=b",
            "a,b",
            "a+b",
        ] {
            assert!(is_text(DeviceIdentity::parse(text)), "{text:?}");
        }
        assert!(matches!(
            DeviceIdentity::parse(&"a".repeat(65)),
            Err(FormatError::LimitExceeded {
                limit: 64,
                actual: 65,
                ..
            })
        ));
    }

    #[test]
    fn mac_addresses_have_one_form() {
        let identity = DeviceIdentity::from_mac([0, 0x1b, 0x21, 0x0a, 0x0b, 0x0c]).unwrap();
        assert_eq!(identity.as_str(), "00:1b:21:0a:0b:0c");
        for text in ["00:1b:21:0a:0b:0c", "00-1B-21-0A-0B-0C", "001b210A0b0c"] {
            assert_eq!(
                DeviceIdentity::from_mac_text(text).unwrap(),
                identity,
                "{text}"
            );
        }
        for text in [
            "",
            "00:1b:21:0a:0b",
            "00:1b:21:0a:0b:0c:0d",
            "00:1b-21:0a:0b:0c",
            "0:1b:21:0a:0b:0c",
            "00:1b:21:0a:0b:0g",
            "+0:1b:21:0a:0b:0c",
            "01:1b:21:0a:0b:0c",
            "ff:ff:ff:ff:ff:ff",
            "00:00:00:00:00:00",
        ] {
            assert!(is_text(DeviceIdentity::from_mac_text(text)), "{text:?}");
        }
    }

    #[test]
    fn uuids_have_one_form() {
        let text = "f81d4fae-7dec-11d0-a765-00a0c91e6bf6";
        let identity = DeviceIdentity::from_uuid_text(text).unwrap();
        assert_eq!(identity.as_str(), text);
        assert_eq!(
            DeviceIdentity::from_uuid_text(&text.to_uppercase()).unwrap(),
            identity
        );
        assert_eq!(
            DeviceIdentity::from_uuid_text(&format!("urn:uuid:{text}")).unwrap(),
            identity
        );
        for wrong in [
            "",
            "f81d4fae7dec11d0a76500a0c91e6bf6",
            &text[1..],
            &format!("{text}0"),
            &format!("{{{text}}}"),
            "00000000-0000-0000-0000-000000000000",
            "ffffffff-ffff-ffff-ffff-ffffffffffff",
        ] {
            assert!(is_text(DeviceIdentity::from_uuid_text(wrong)), "{wrong:?}");
        }
    }

    #[test]
    fn metadata_is_safe_text() {
        let metadata = DeviceMetadata::default()
            .with_device_type("gateway-x2")
            .unwrap()
            .with_hardware_revision("B.3")
            .unwrap()
            .with_firmware_version("1.4.0+build7")
            .unwrap()
            .with_capabilities(&["relay", "modbus"])
            .unwrap();
        assert_eq!(metadata.device_type(), Some("gateway-x2"));
        assert_eq!(metadata.hardware_revision(), Some("B.3"));
        assert_eq!(metadata.firmware_version(), Some("1.4.0+build7"));
        assert_eq!(metadata.capabilities(), ["modbus", "relay"]);
        assert!(is_text(DeviceMetadata::default().with_device_type("a b")));
        assert!(is_text(
            DeviceMetadata::default().with_capabilities(&["a", "a"])
        ));
    }
}
