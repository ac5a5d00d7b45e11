//! The store of keys in PKCS#11 tokens, on two modules that have nothing in common: SoftHSM and Kryoptic.

mod bench;
mod errors;
mod lost;
mod store;
