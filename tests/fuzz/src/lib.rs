//! What the fuzz targets do with their input, and what they hold the answers against.
//!
//! A target that only asks for "no panic" finds little in a program that has none. So each one asserts what must be
//! true of every answer: one encoding for one value, the same layout in whatever pieces a file arrives, and nothing
//! accepted that an independent check would not accept too.
//!
//! Random bytes do not get past the first signature. Where that matters the input is not the file but a list of
//! changes to a good one ([`bytes`], [`tree`]), some of them signed again with the right key, so that what follows the
//! signature check is reached as well. The PKI is made from a fixed seed ([`world`]), so inputs keep their meaning.
//!
//! - [`framing`], [`envelope_and_statement`], [`certificate_and_chain`], [`crl`], [`bundle`], [`whole_verification`],
//!   [`component_toml`], [`key_uris`]: one module for each target; `check` takes one input.
//! - [`oracle`]: the independent checks: DER by a reader of its own, paths by webpki with other implementations' signatures.
//! - [`seeds`]: the inputs to start from. [`tally`]: which verdicts they reach.
#![forbid(unsafe_code)]

pub mod bundle;
pub mod bytes;
pub mod certificate_and_chain;
pub mod component_toml;
pub mod crl;
pub mod cursor;
pub mod der;
pub mod envelope_and_statement;
pub mod framing;
pub mod key_uris;
pub mod oracle;
pub mod seeds;
pub mod tally;
pub mod tree;
pub mod whole_verification;
pub mod world;
