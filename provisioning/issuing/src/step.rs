//! The steps of issuing, for who counts them, measures them, or stops at one.

use std::fmt;
use std::sync::Arc;

/// A point on the way from a request to its certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Step {
    /// A request came in.
    Asked,
    /// Its proof of possession was verified.
    Verified,
    /// Reservations are about to be written.
    Reserving,
    /// They are on the disk.
    Reserved,
    /// A certificate is about to be signed.
    Signing,
    /// It is signed, and nobody has it.
    Signed,
    /// Certificates and leaves are about to be written.
    Committing,
    /// They are on the disk.
    Committed,
    /// A certificate is handed to who asked.
    Released,
}

impl Step {
    /// Every step, in order.
    pub const ALL: [Self; 9] = [
        Self::Asked,
        Self::Verified,
        Self::Reserving,
        Self::Reserved,
        Self::Signing,
        Self::Signed,
        Self::Committing,
        Self::Committed,
        Self::Released,
    ];
}

/// Who is told of each step, on the thread where it happens.
#[derive(Clone)]
pub struct Steps(Arc<dyn Fn(Step) + Send + Sync>);

impl Steps {
    /// Tells `listener`.
    pub fn to(listener: impl Fn(Step) + Send + Sync + 'static) -> Self {
        Self(Arc::new(listener))
    }

    pub(crate) fn at(&self, step: Step) {
        (self.0)(step);
    }
}

impl Default for Steps {
    /// Tells nobody.
    fn default() -> Self {
        Self::to(|_| {})
    }
}

impl fmt::Debug for Steps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Steps")
    }
}
