//! Issuing: a request goes in, a certificate comes out that is on record.
//!
//! Decided here: the order of steps, that nothing is handed out before its row and its leaf of the audit log are on the
//! disk, and that many requests share one wait for the disk. What a certificate says is decided by
//! `countersign-provisioning`, who may have one by `countersign-registry`, who may ask by whoever calls.
//!
//! ```text
//! request ─► verified ─► reserved ─► signed ─► committed ─► released
//!            (threads)   (one        (threads)  (one
//!                         transaction            transaction for all that is signed)
//!                         for all that waits)
//! ```
//!
//! - [`Issuing`]: certificates, revocations, lists. [`Ask`] is what it takes.
//! - [`Sequencer`]: brings the leaves into the audit log, in one order for all replicas.
//! - [`catch_up()`]: what a registry that was put back from an old copy learns from the log.
//! - [`Clock`]: the time, and when it is not believed.
#![forbid(unsafe_code)]

mod ask;
mod catch_up;
mod clock;
mod error;
mod lists;
mod record;
mod sequencer;
mod service;
mod stages;
mod step;
mod stop;
mod threads;

pub use ask::{Ask, Contents, Proof};
pub use catch_up::{CatchUpError, catch_up, go_on_without_the_log};
pub use clock::{Beside, Clock};
pub use error::Error;
pub use record::revoked;
pub use sequencer::{Sequencer, SequencerError};
pub use service::{Authority, Issuing, revoke, revoke_unrecorded};
pub use step::{Step, Steps};
