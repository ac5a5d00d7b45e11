//! What can be wrong with a root file, or with the binary to be filled.

use std::path::PathBuf;

use countersign_trust_store::{AnchorError, pem::PemError};

use crate::section::SectionError;

/// Why a root file was refused, or a binary was not filled.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RootsFileError {
    /// A certificate may not be a trust anchor.
    #[error("{}: {reason}", path.display())]
    Anchor {
        /// The root file.
        path: PathBuf,
        /// What the trust store says against it.
        reason: AnchorError,
    },
    /// The list of roots cannot be written into a section, or read from one.
    #[error("the list of compiled-in roots: {0}")]
    Content(AnchorError),
    /// The binary's section is damaged.
    #[error(transparent)]
    Damaged(#[from] SectionError),
    /// The same certificate stands in the file twice.
    #[error("{}: the same certificate is listed twice ({first} and {second}, counted from 1); remove one", path.display())]
    Duplicate {
        /// The root file.
        path: PathBuf,
        /// The first one's place.
        first: usize,
        /// The second one's place.
        second: usize,
    },
    /// The build's environment is unusable.
    #[error("{variable} {reason}")]
    Environment {
        /// The variable.
        variable: &'static str,
        /// What is wrong with it, and what to write instead.
        reason: String,
    },
    /// A PEM file holds several certificates where one is meant.
    #[error("{}: holds {found} certificates; each [[root]] names a file with one, so that its settings belong to it", path.display())]
    NotOne {
        /// The file.
        path: PathBuf,
        /// How many there are.
        found: usize,
    },
    /// A file is not what its place wants.
    #[error("{}: {reason}", path.display())]
    Pem {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: PemError,
    },
    /// A file cannot be read.
    #[error("{}: {reason}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
    /// The binary has no section for roots, or more than one.
    #[error("{}", if *.found == 0 {
        "this file holds no section for roots; give a countersign-run or countersign-gateway of this version".to_owned()
    } else {
        format!("this file holds {found} places that look like the section for roots, so none of them is filled; give a single host binary, as it was built")
    })]
    Section {
        /// How many places carry the magic.
        found: usize,
    },
    /// `roots.toml` does not parse, or says something impossible.
    #[error("{}:{line}:{column}: {reason}", path.display())]
    Toml {
        /// The file.
        path: PathBuf,
        /// Line, from 1.
        line: usize,
        /// Column in characters, from 1.
        column: usize,
        /// What is wrong there.
        reason: String,
    },
    /// More than fits into the section.
    #[error(
        "these roots take {bytes} bytes with their CRLs, and the section holds {room}; list fewer CRLs, and give the others with --crl"
    )]
    TooLarge {
        /// What they take.
        bytes: usize,
        /// What there is.
        room: usize,
    },
}
