//! A device's certificates from its authority: the first one, and each that follows, by EST (RFC 7030).
//!
//! Decided here: how the server is spoken to ([`Client`]: HTTP over TLS 1.3 and 1.2, with the device's key or a token),
//! what is read of an answer and how much of it, when to ask again ([`Patience`]), whether what came back is this device's
//! certificate ([`Expected::judge`]), what is kept of it until its chain is written ([`Received`]), when it is time for the next one ([`Standing`]), and that a chain on disk is the old one
//! or the new one, never half of either ([`keep()`]).
//!
//! Left to others: where the key lives (any [`SigningKey`](countersign_keys::SigningKey)), what the request says
//! (`countersign-signer`), which roots are given, and whether anybody else trusts the certificate.
//!
//! The server is believed for nothing. It may send any certificates: used is only what is for the key that asked, names the device
//! that asked, and leads to a root that was given here.
#![forbid(unsafe_code)]
#![deny(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::as_conversions
)]
#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects,
        reason = "a test may stop by panicking"
    )
)]

mod certificate;
mod certs_only;
mod client;
mod connector;
mod error;
mod judge;
mod keep;
mod obtain;
mod received;
mod retry_after;
mod roots;
mod server;
mod standing;

pub use certificate::{CertificateUnreadable, Own};
pub use certs_only::{CertsOnlyInvalid, MAX_CERTIFICATES, parse as parse_certs_only};
pub use client::{Answer, Client, Credential, MAX_ANSWER_BYTES};
pub use error::EnrolError;
pub use judge::{Expected, IssuedChain, Mismatch};
pub use keep::{Kept, keep};
pub use obtain::{Ask, Occasion, Patience, Wait, obtain};
pub use received::Received;
pub use roots::{RootFault, Roots};
pub use server::{Server, ServerInvalid};
pub use standing::{Phase, Standing};
