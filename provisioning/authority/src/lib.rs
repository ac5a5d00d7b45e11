//! The provisioning authority: issues devices' certificates over HTTPS and remembers them.
//!
//! Decided here: who may have which certificate (a client certificate or a token, and its scope), what is answered, and
//! how much any client may ask for. What a certificate holds is decided by `countersign-provisioning`, what is recorded
//! and taken once by `countersign-registry`, whether a client's certificate is to be believed by
//! `countersign-trust-store`.
//!
//! - [`http`]: addresses, what surrounds requests, TLS; [`est`]: EST's bodies; [`page`]: the operator's page.
//! - [`tokens`]: scopes and secrets; [`clients`]: certificates that clients show.
//! - [`desk`]: the one way from a request to the registry and to [`issuer`].
//! - [`attestation`]: what a device's attestation must show.
//! - [`audit`]: verifying the audit log, for whoever has its public key.
//! - [`carry`]: a registry's records, for another one.
//! - [`catch_up`]: a registry that was put back from an old copy learns from the audit log.
//! - [`revoke`]: many certificates at once, from a list.
//! - [`provision`]: devices in the fixtures of a station, without HTTP.
//! - [`privacy`]: tokens that show a device to be registered, and not which.
//! - [`telemetry`]: logs and traces.
//! - [`config`], [`keys`], [`setup`], [`serve`]: from a folder to a running server.
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

pub mod attestation;
pub mod audit;
pub mod carry;
pub mod catch_up;
pub mod clients;
pub mod config;
pub mod desk;
pub mod est;
pub mod factory;
pub mod http;
pub mod issuer;
pub mod keys;
pub mod page;
pub mod pem;
pub mod privacy;
pub mod problem;
pub mod provision;
pub mod revoke;
pub mod serve;
pub mod setup;
pub mod telemetry;
mod time_servers;
pub mod tokens;
