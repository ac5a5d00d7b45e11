//! That a component was admitted on this machine, and when: what lets it start again after its certificates have ended.
//!
//! Validity in time is judged once, when a component is admitted. At every later start everything else is verified again:
//! every byte, every signature, path, scope, audience, revocation and version. Only the dates of certificates and of lists
//! count as they stood at the admission. An expired certificate must not stop a plant; it admits nothing new.

use countersign_format::Digest;

use crate::{Now, UnixTime, VerifiedChain};

/// A component was admitted on this machine.
///
/// It names the file by its signatures, whose statement binds every other byte; so it is good for that file alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admission {
    signatures: Digest,
    anchors: Vec<Digest>,
    now: Now,
}

impl Admission {
    pub(crate) const fn new(signatures: Digest, anchors: Vec<Digest>, now: Now) -> Self {
        Self {
            signatures,
            anchors,
            now,
        }
    }

    /// The admission of what has just verified with these signers' chains; the one before, where that still holds.
    pub(crate) fn of<'a>(
        signatures: Digest,
        chains: impl IntoIterator<Item = &'a VerifiedChain>,
        now: &Now,
        before: Option<&Self>,
    ) -> Self {
        let (mut anchors, mut recalled) = (Vec::new(), false);
        for chain in chains {
            anchors.push(chain.anchor_spki_sha256());
            recalled |= chain.admitted_at().is_some();
        }
        match before {
            Some(before) if before.anchors == anchors || recalled => before.clone(),
            _ => Self::new(signatures, anchors, *now),
        }
    }

    /// The admission that was put down earlier. Whoever calls this has shown that this machine wrote it: by its seal, and
    /// that it is not another's.
    ///
    /// `floor` and `clock` are those of the [`Now`] of then.
    #[must_use]
    pub fn recalled(
        signatures: Digest,
        anchors: Vec<Digest>,
        floor: UnixTime,
        clock: Option<UnixTime>,
    ) -> Self {
        Self::new(signatures, anchors, Now::new(floor, clock))
    }

    /// SHA-256 of the file's signature section, and of a file of code of all before the code: its name.
    #[must_use]
    pub const fn signatures(&self) -> Digest {
        self.signatures
    }

    /// SHA-256 of the public keys of the roots to which its signers led, in the order of the signers.
    #[must_use]
    pub fn anchors(&self) -> &[Digest] {
        &self.anchors
    }

    /// The present of then.
    #[must_use]
    pub const fn now(&self) -> &Now {
        &self.now
    }

    /// The present of then, for a chain that leads to this root; none if no signer led there.
    pub(crate) fn for_anchor(&self, spki_sha256: &Digest) -> Option<&Now> {
        self.anchors.contains(spki_sha256).then_some(&self.now)
    }
}
