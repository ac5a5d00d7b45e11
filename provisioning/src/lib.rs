//! The issuing core of a private certification authority.
//!
//! It decides what a certificate or a revocation list contains: each kind has one profile, and nothing a
//! requester writes changes it. Keys are borrowed ([`SigningKey`](countersign_keys::SigningKey)), time and
//! randomness are passed in, and nothing is stored: whoever calls records the serial before the certificate leaves
//! the house.
//!
//! - [`Issuer::root`] makes a self-signed root, [`Issuer::intermediate`] an authority below it,
//!   [`Issuer::end_entity`] a device's certificate by [`Profile`], [`Issuer::crl`] a revocation list.
//! - What an authority is about to sign is signed first with a key that is thrown away, and judged by a host's code; what
//!   that refuses is not signed ([`Error::Refused`]).
//! - [`ForeignChain`] says what hosts would refuse of another PKI's chain, and what to ask its owner for.
//! - [`CertificateRequest`] reads a PKCS#10 request and demands proof of possession.
//!
//! What a certificate is worth to a host is judged elsewhere, in `countersign-trust-store`.
#![forbid(unsafe_code)]

mod authority_request;
mod crl;
mod draft;
mod error;
mod extensions;
mod fields;
mod host_name;
mod issuer;
mod lint;
mod name;
mod profile;
mod quick;
mod rehearsal;
mod request;
mod serial;
mod sign;
mod validity;

pub use authority_request::authority_request;
pub use crl::{Reason, Revocation, RevocationList, says};
pub use error::Error;
pub use extensions::{ATTESTATION, CODE_SIGNING, DOCUMENT_SIGNING, NO_REV_AVAIL};
pub use issuer::{EndEntity, Intermediate, Issued, Issuer, Root};
pub use lint::{Described, Finding, ForeignChain, Linted};
pub use name::{CaName, DeviceName};
pub use profile::Profile;
pub use quick::quick_key;
pub use request::CertificateRequest;
pub use serial::Serial;
pub use validity::{DEVELOPMENT_ROOT_DAYS, SECONDS_PER_DAY, Validity};
