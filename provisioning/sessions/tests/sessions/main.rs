//! Sessions and batches on emulated chips and software TPMs, under an authority with an empty registry.

mod batch;
mod bench;
mod chip;
mod killed;
mod maker;
#[cfg(feature = "tpm")]
mod tpm;
