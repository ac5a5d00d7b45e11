//! A throw-away PKI, for the tests of this workspace and of programs that embed its runtime.
//!
//! [`TestPki`] holds a root, an intermediate, a device that may sign components, and their revocation lists, all in
//! memory and all made by the real issuing core. [`TestPkiBuilder`] makes one that is wrong in exactly one thing, so that
//! a test can name the refusal it expects. Nothing here is for anything but tests: keys are thrown away and functions
//! panic instead of returning errors.
//!
//! ```
//! use countersign_testing::{EMPTY_COMPONENT, TestPki};
//! use countersign_trust_store::{Code, Policy, UnverifiedComponent};
//!
//! let pki = TestPki::new();
//! let signed = pki.sign(EMPTY_COMPONENT, &pki.manifest("test:guest"));
//! let verify = |pki: &TestPki| {
//!     let component = UnverifiedComponent::parse(signed.clone())?;
//!     pki.anchors().verify(component, &Policy::default(), &pki.now(), &pki.state())
//! };
//! assert_eq!(verify(&pki).expect("its own root is trusted").component(), Some(EMPTY_COMPONENT));
//!
//! let other = TestPki::new();
//! assert_eq!(verify(&other).expect_err("another root").code(), Code::UntrustedRoot);
//! ```
#![forbid(unsafe_code)]

mod builder;
pub mod cases;
mod collector;
pub mod conformance;
mod executable;
mod files;
mod issuer_key;
pub mod memory;
mod open;
mod parts;
mod pki;
mod ports;
pub mod postgres;
mod random;
pub mod swtpm;
pub mod tokens;

pub use builder::{Role, TestPkiBuilder};
pub use collector::{collector, spans};
pub use countersign_backend_file::SystemRandom;
pub use countersign_provisioning::Profile;
pub use executable::write_program;
pub use files::Files;
pub use issuer_key::IssuerKey;
pub use open::{OpenCertificate, OpenList, OpenPki, Sealed};
pub use parts::{CertificateParts, CrlParts, TimeField};
pub use pki::{TestPki, throwaway_key};
pub use ports::free_port;

include!(concat!(env!("OUT_DIR"), "/cases.rs"));

/// The smallest component: a preamble and no section. It can be signed and verified, and does nothing when run.
pub const EMPTY_COMPONENT: &[u8] = b"\0asm\x0d\0\x01\0";
