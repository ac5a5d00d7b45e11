//! Recognising a component that this device has verified before, without its SHA-256.
//!
//! A note is a MAC under a key that the device alone has, over a digest and the bytes it is of. It says that this device has
//! computed the one from the other, and nothing else: not that a signature verified, not that somebody was trusted. Both are
//! judged anew whenever a component is recognised, from the signature section, which is read. So a note does not grow old: no
//! root, list, clock or version is in it.

use core::fmt;

use countersign_format::{Digest, Envelope, Statement, signature_at_end, signature_section};

use crate::component::{UnverifiedComponent, VerifiedComponent};

/// A key for notes. Who has it can make a note for anything.
#[derive(Clone)]
pub struct DigestKey([u8; 32]);

impl DigestKey {
    /// The key with this value: random, of this device, and of no other use.
    #[must_use]
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Notes which digest a verified component has; none for one that was itself recognised, whose bytes are not there.
    #[must_use]
    pub fn note(&self, component: &VerifiedComponent) -> Option<DigestNote> {
        let mut mac = self.mac();
        mac.update(component.component()?);
        Some(DigestNote(*of(mac, &component.digest()).as_bytes()))
    }

    /// Begins to look whether a component is the one that `note` was made for.
    #[must_use]
    pub fn recognise(&self, claimed: ClaimedComponent, note: DigestNote) -> Recogniser {
        Recogniser {
            mac: self.mac(),
            left: claimed.statement.component_size(),
            too_long: false,
            claimed,
            note,
        }
    }

    fn mac(&self) -> blake3::Hasher {
        blake3::Hasher::new_keyed(&self.0)
    }
}

/// Of the bytes that were seen and this digest. It has a fixed length, so that no two pairs are the same input, and comes last: bytes
/// that begin where a part of the hash begins are hashed several parts at once.
fn of(mut mac: blake3::Hasher, digest: &Digest) -> blake3::Hash {
    mac.update(digest.as_bytes());
    mac.finalize()
}

impl fmt::Debug for DigestKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DigestKey(..)")
    }
}

/// What a device has noted of a component.
#[derive(Clone, Copy, Debug)]
pub struct DigestNote([u8; 32]);

impl DigestNote {
    /// The note with this value, as read from somewhere.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Its value.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// What the last bytes of a file say of it, unverified.
#[derive(Debug)]
pub struct ClaimedComponent {
    section: Vec<u8>,
    envelope: Envelope,
    statement: Statement,
}

impl ClaimedComponent {
    /// Reads the signature section of a file of `size` bytes from its last ones. `None` where they are none of a signed
    /// file, or too few: the file is read whole then, which tells what is wrong with it.
    #[must_use]
    pub fn at_end_of(end: &[u8], size: u64) -> Option<Self> {
        let payload = signature_at_end(end)?;
        let envelope = Envelope::decode(payload).ok()?;
        let statement = Statement::decode(envelope.statement_bytes()).ok()?;
        // Between the component and the end there is this section in its one form, and nothing else.
        let section = signature_section(payload).ok()?;
        let length = size.checked_sub(statement.component_size())?;
        if u64::try_from(section.len()).ok() != Some(length) || !end.ends_with(&section) {
            return None;
        }
        Some(Self {
            section,
            envelope,
            statement,
        })
    }

    /// What the file claims. Not verified.
    #[must_use]
    pub const fn statement(&self) -> &Statement {
        &self.statement
    }
}

/// Sees the bytes of a component, from its first to its last.
#[derive(Debug)]
pub struct Recogniser {
    mac: blake3::Hasher,
    left: u64,
    too_long: bool,
    claimed: ClaimedComponent,
    note: DigestNote,
}

impl Recogniser {
    /// Sees the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.mac.update(bytes);
        match u64::try_from(bytes.len()).map(|seen| self.left.checked_sub(seen)) {
            Ok(Some(left)) => self.left = left,
            _ => self.too_long = true,
        }
    }

    /// The component, to be verified, if it is the one that was noted.
    #[must_use]
    pub fn finish(self) -> Option<UnverifiedComponent> {
        let seen = of(self.mac, self.claimed.statement.component_digest());
        // Compared in constant time by `blake3::Hash`.
        if self.too_long || self.left != 0 || seen != self.note.0 {
            return None;
        }
        let ClaimedComponent {
            section,
            envelope,
            statement,
        } = self.claimed;
        Some(UnverifiedComponent::recognised(
            section, envelope, statement,
        ))
    }
}
