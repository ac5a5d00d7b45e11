//! A log that shows when it was changed: entries are the leaves of a Merkle tree, and a signed checkpoint names its root.
//!
//! Decided here: how entries are hashed (RFC 9162 §2.1), how the tree lies in files (C2SP tlog-tiles), what a
//! checkpoint is and who signed it (C2SP tlog-checkpoint, signed-note), when a proof holds (RFC 9162 §2.1.3, §2.1.4),
//! when an entry counts as kept ([`LogDirectory::append`]), and which entry is the first that is not what it was
//! ([`verify()`]).
//!
//! Left to others: what an entry says, when a batch is full, where the log's key lives, and who keeps checkpoints out of
//! reach of whoever holds that key.
//!
//! - [`Appender`]: entries in, the files that they change and the new root out. It knows no disk.
//! - [`LogDirectory`]: the same on disk, for one writer; [`LogFolder`] reads it.
//! - [`verify()`], [`InclusionProof`], [`ConsistencyProof`]: for whoever has the public key, offline.
//!
//! ```
//! # use countersign_backend_file::{FileKey, SystemRandom};
//! use countersign_audit_log::{InclusionProof, LogDirectory, LogFolder, LogKey, Origin, verify};
//! use countersign_keys::{Algorithm, SigningKey};
//!
//! # let folder = tempfile::tempdir()?;
//! # let path = folder.path().join("log");
//! # let key = SigningKey::new(FileKey::generate(Algorithm::Ed25519, &mut SystemRandom)?);
//! let key = LogKey::new(Origin::new("factory.example/audit")?, key)?;
//! let verifier = key.verifier().clone();
//!
//! let mut log = LogDirectory::create(&path, key)?;
//! log.append(&["the first certificate", "the second"])?; // on disk and signed when this returns
//!
//! // Elsewhere, with a copy of the folder and the public key:
//! let copy = LogFolder::new(&path);
//! let checkpoint = verifier.open(&copy.checkpoint()?)?;
//! verify(&copy, &checkpoint, &[])?;
//!
//! let proof = InclusionProof::make(&copy, &checkpoint, 1)?.to_text();
//! InclusionProof::parse(&proof, &verifier)?.check(b"the second")?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

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

mod appender;
mod bundle;
mod checkpoint;
mod directory;
mod finding;
mod folder;
mod key;
mod merkle;
mod note;
mod proof;
mod resource;
mod tree;
mod verify;

pub use appender::{Appender, EntryRefused, Growth};
pub use bundle::MAX_ENTRY_BYTES;
pub use checkpoint::{Checkpoint, CheckpointInvalid, MAX_ENTRIES, MAX_NOTE_BYTES, TreeHead};
pub use countersign_format::Digest;
pub use directory::{Error, LogDirectory, LogView, MAX_BATCH_BYTES, Recovery, lock_in_time};
pub use finding::{Finding, VerifyError};
pub use folder::LogFolder;
pub use key::{LogKey, LogVerifier, Origin, OriginInvalid, VerifierKeyInvalid};
pub use merkle::leaf_hash;
pub use proof::{ConsistencyProof, InclusionProof, ProofInvalid};
pub use resource::{Found, Resource, Source};
pub use verify::{verify, verify_consistency};
