//! The signature algorithms that a statement may be signed with, and their COSE numbers.
//!
//! What a key of each algorithm must look like, and how it signs, is left to `countersign-keys`.

use core::fmt;

use crate::FormatError;

/// A signature algorithm. Fully specified (RFC 9864): curve and hash are part of it, so nothing can be confused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Algorithm {
    /// Ed25519 (RFC 8032), COSE algorithm -19.
    Ed25519,
    /// ECDSA on P-256 with SHA-256, COSE algorithm ESP256, -9: what TPMs and secure elements have in common.
    Esp256,
}

impl Algorithm {
    /// The number in the IANA registry "COSE Algorithms" (RFC 9864).
    #[must_use]
    pub const fn cose_id(self) -> i64 {
        match self {
            Self::Ed25519 => -19,
            Self::Esp256 => -9,
        }
    }

    /// The algorithm with this COSE number, if it is one of ours. The polymorphic EdDSA (-8) and ES256 (-7) are
    /// not: they leave the curve to the key.
    #[must_use]
    pub const fn from_cose_id(id: i64) -> Option<Self> {
        match id {
            -19 => Some(Self::Ed25519),
            -9 => Some(Self::Esp256),
            _ => None,
        }
    }

    /// The name people use: `Ed25519` or `ESP256`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ed25519 => "Ed25519",
            Self::Esp256 => "ESP256",
        }
    }

    /// Like [`Self::from_cose_id`], with the refusal.
    pub(crate) fn require(id: i64) -> Result<Self, FormatError> {
        Self::from_cose_id(id).ok_or(FormatError::AlgorithmForbidden {
            what: "signature algorithm",
            found: id,
        })
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_that_people_use() {
        assert_eq!(Algorithm::Ed25519.to_string(), "Ed25519");
        assert_eq!(Algorithm::Esp256.to_string(), "ESP256");
    }

    #[test]
    fn numbers_round_trip() {
        for algorithm in [Algorithm::Ed25519, Algorithm::Esp256] {
            assert_eq!(
                Algorithm::from_cose_id(algorithm.cose_id()),
                Some(algorithm)
            );
        }
    }

    #[test]
    fn tb08_tb09_other_algorithms_are_forbidden() {
        // none/absent, EdDSA, ES256, ES384, ES512, PS256, RS1 (SHA-1), HMAC 256/256.
        for id in [0, -8, -7, -35, -36, -37, -65535, 5, i64::MIN, i64::MAX] {
            assert_eq!(
                Algorithm::require(id),
                Err(FormatError::AlgorithmForbidden {
                    what: "signature algorithm",
                    found: id
                })
            );
        }
    }
}
