//! The log on disk: what is written, what a crash leaves, what tampering is called, and what others make of it.

mod crash;
mod kept;
mod kill;
mod proofs;
mod python;
mod support;
mod tamper;
mod writer;
