//! What is recorded, and the words for its states.

use std::fmt;

use countersign_format::DeviceIdentity;
use countersign_provisioning::{Profile, Reason, Serial};

/// An enum of words as they stand in the database.
macro_rules! words {
    ($(#[$about:meta])* $name:ident { $($(#[$line:meta])* $variant:ident = $word:literal,)* }) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[non_exhaustive]
        pub enum $name { $($(#[$line])* $variant,)* }

        impl $name {
            /// The word for it, as it is recorded.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)* }
            }

            /// The state that a word stands for.
            #[must_use]
            pub fn from_word(word: &str) -> Option<Self> {
                match word { $($word => Some(Self::$variant),)* _ => None }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

/// An order at a contract manufacturer: for how many devices it may have certificates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// Its name.
    pub id: String,
    /// Who makes the devices; none for one's own factory.
    pub manufacturer: Option<String>,
    /// The devices that may get certificates.
    pub quota: u64,
    /// Those that have had one.
    pub used: u64,
}

/// A device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// Who it is.
    pub id: DeviceIdentity,
    /// SHA-256 of what identifies its hardware.
    pub hardware_hash: Option<[u8; 32]>,
    /// Its type.
    pub device_type: String,
    /// Its family, by which devices are listed.
    pub family: String,
    /// Revision of the hardware.
    pub revision: String,
    /// Version of the firmware.
    pub firmware: String,
    /// Whether it may have certificates.
    pub state: DeviceState,
    /// The order that it belongs to.
    pub order: Option<String>,
    /// When it was recorded, in seconds since 1970.
    pub recorded_at: u64,
}

impl Device {
    /// A device that may have certificates, on an order. What else is known of it goes into the fields.
    #[must_use]
    pub fn approved(id: DeviceIdentity, order: &Order) -> Self {
        Self {
            id,
            hardware_hash: None,
            device_type: String::new(),
            family: String::new(),
            revision: String::new(),
            firmware: String::new(),
            state: DeviceState::Approved,
            order: Some(order.id.clone()),
            recorded_at: 0,
        }
    }
}

words! {
    /// Whether a device may have certificates.
    DeviceState {
        /// Known, and nothing more.
        Registered = "registered",
        /// It may have certificates.
        Approved = "approved",
        /// Out of service: it gets none.
        Retired = "retired",
    }
}

words! {
    /// What became of a certificate.
    CertificateState {
        /// The serial is taken; the certificate is being made.
        Reserved = "reserved",
        /// The device's current one.
        Issued = "issued",
        /// A later one took its place; it is valid to its end.
        Superseded = "superseded",
        /// It was never handed out; its serial stays taken.
        Abandoned = "abandoned",
        /// It is on the list.
        Revoked = "revoked",
    }
}

/// A name by which a client asks for the same thing again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestKey {
    /// The client and its key, as one text that no other client can produce.
    pub key: String,
    /// SHA-256 of what was asked for.
    pub digest: [u8; 32],
}

/// A certificate that shall be made.
#[derive(Clone, Debug)]
pub struct Reservation {
    /// Its serial number.
    pub serial: Serial,
    /// Whose it is.
    pub device: DeviceIdentity,
    /// Its kind.
    pub profile: Profile,
    /// SHA-256 of the issuing key's SubjectPublicKeyInfo.
    pub issuer: [u8; 32],
    /// SHA-256 of the device's SubjectPublicKeyInfo.
    pub key: [u8; 32],
    /// First second of its validity.
    pub not_before: u64,
    /// Last second of its validity.
    pub not_after: u64,
    /// The current certificate, when this one is to take its place.
    pub renews: Option<Serial>,
    /// The client's name for this request.
    pub request: Option<RequestKey>,
    /// Who asks: a contract manufacturer has devices of its own orders only. None may have all.
    pub manufacturer: Option<String>,
}

/// What a reservation came to.
#[derive(Clone, Debug)]
pub enum Reserved {
    /// The serial and the place are taken: make the certificate.
    New,
    /// The same request was answered before: this is the answer.
    Answered(Box<Certificate>),
}

/// A certificate as it is recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// Its serial number.
    pub serial: Serial,
    /// Whose it is.
    pub device: DeviceIdentity,
    /// Its kind.
    pub profile: Profile,
    /// SHA-256 of the issuing key's SubjectPublicKeyInfo.
    pub issuer: [u8; 32],
    /// SHA-256 of the device's SubjectPublicKeyInfo.
    pub key: [u8; 32],
    /// First second of its validity.
    pub not_before: u64,
    /// Last second of its validity.
    pub not_after: u64,
    /// What became of it.
    pub state: CertificateState,
    /// Since when it is revoked, and why.
    pub revoked: Option<(u64, Reason)>,
    /// The certificate, DER; none while it is being made, or when it never was.
    pub der: Option<Vec<u8>>,
    /// When its serial was taken.
    pub reserved_at: u64,
}
