//! The desk tool `countersign`, driven as a person or a build script drives it: arguments in, files, output and exit
//! status out.

mod attest;
pub(crate) mod bench;
mod bundle;
mod chip;
mod key;
mod pki;
mod sign;
mod signing_input;
mod tokens;
mod tpm;
mod two_step;
mod verify;
mod words;
