//! Decides whether a signed component may be trusted.
//!
//! ```text
//! bytes --parse--> UnverifiedComponent --Anchors::verify--> VerifiedComponent
//! ```
//!
//! No files, no clock, no network, no async, no runtime: bytes, times and state come in as values, and a verdict comes
//! out, either a [`VerifiedComponent`], which cannot be made in any other way, or a [`Rejection`] with a stable
//! [`Code`]. The same code serves the host, the desk tool and the build that compiles roots in.
//!
//! - [`Anchors`]: the roots, checked.
//! - [`profile`]: what each kind of certificate must contain, as tables.
//! - [`Anchors::verify_chain`]: a chain to a [`VerifiedChain`]; path validation by rustls-webpki, the rest here.
//! - [`Anchors::verify`]: a component, every check in the order of [`Check::ALL`].
//! - [`Recogniser`]: the digest of a component that this device has computed before.
//! - [`BundleAnchors::verify`]: a bundle for a gateway, under anchors of its own.
//! - [`Anchors::verify_receipt`]: what a gateway says of its state, for who cannot ask it.
//! - [`TrustState`], [`Policy`], [`Now`]: what the machine remembers, demands and takes for the present.

#![forbid(unsafe_code)]
#![deny(
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::panic
)]
#![cfg_attr(
    test,
    allow(
        clippy::arithmetic_side_effects,
        clippy::as_conversions,
        clippy::indexing_slicing,
        clippy::unwrap_used,
        clippy::panic,
        reason = "a test may stop by panicking"
    )
)]

mod admission;
mod algorithm;
mod anchor;
mod anchor_encoding;
mod authorisation;
mod bundle;
mod certificate;
mod chain;
mod code;
mod component;
mod crl;
mod evidence;
mod explain;
mod fault;
mod guest_data;
pub mod oid;
pub mod pem;
mod policy;
mod precompiled;
pub mod profile;
mod receipt;
mod recognise;
mod rejection;
mod signature;
mod state;
mod strict_der;
mod time;

pub use admission::Admission;
pub use algorithm::KeyKind;
pub use anchor::{
    Anchor, AnchorError, AnchorSource, Anchors, MAX_ANCHORS, MAX_DEVELOPMENT_VALIDITY, Purpose,
};
pub use anchor_encoding::{decode_sources, encode_sources};
pub use bundle::{
    BundleAnchors, BundleReadError, BundleReader, Expectation, MAX_NUMBER_STEP, PartCheck,
    UnverifiedBundle, VerifiedBundle,
};
pub use certificate::{Certificate, CertifiedDevice};
pub use chain::{
    Issuer, Link, LinkFormatError, LinkStatus, MAX_SIGNATURE_CHECKS, PathProfile, VerifiedChain,
};
pub use code::Code;
pub use component::{Refused, UnverifiedComponent, VerifiedComponent, VerifiedSigner};
pub use crl::{Crl, CrlNumber, MAX_CRL_BYTES};
pub use evidence::{
    AttestedHardware, EvidencePolicy, TpmClock, TpmKeyArea, VerifiedEvidence, firmware,
};
pub use explain::{Check, Outcome, Step};
pub use fault::Fault;
pub use guest_data::VerifiedGuestData;
pub use policy::{Policy, PolicyError, SignerRule};
pub use precompiled::{VerifiedPrecompiled, VerifiedVoucher};
pub use receipt::{GATEWAY, ReceiptPolicy, VerifiedReceipt};
pub use recognise::{ClaimedComponent, DigestKey, DigestNote, Recogniser};
pub use rejection::Rejection;
pub use state::{MAX_VERSION_STEP, TrustState};
pub use time::{Now, TimeBasis, TimeFormatError, UnixTime};
