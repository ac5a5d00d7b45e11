//! The steps of a session, for messages and for tests that stop at one.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// A step that begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Step {
    /// The row of the list is read.
    Row,
    /// The device is reached.
    Open,
    /// Its key is looked for, or made.
    Key,
    /// Its hardware vouches for the key.
    Attest,
    /// The device signs a random message with it.
    Possess,
    /// The device is put on record.
    Register,
    /// The certificate is asked for.
    Issue,
    /// The certificate is compared with the device.
    Compare,
    /// The chain goes into the device, or beside it.
    Inject,
    /// It is read back.
    ReadBack,
    /// The key's slot is locked.
    Lock,
    /// The device signs, and the certificate's key verifies.
    Test,
    /// That it is done goes into the audit log.
    Record,
    /// Nothing is left to do.
    End,
}

impl Step {
    /// Each step, in order.
    pub const ALL: [Self; 14] = [
        Self::Row,
        Self::Open,
        Self::Key,
        Self::Attest,
        Self::Possess,
        Self::Register,
        Self::Issue,
        Self::Compare,
        Self::Inject,
        Self::ReadBack,
        Self::Lock,
        Self::Test,
        Self::Record,
        Self::End,
    ];

    /// A stable word for reports, such as `read-back`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Row => "row",
            Self::Open => "open",
            Self::Key => "key",
            Self::Attest => "attest",
            Self::Possess => "possess",
            Self::Register => "register",
            Self::Issue => "issue",
            Self::Compare => "compare",
            Self::Inject => "inject",
            Self::ReadBack => "read-back",
            Self::Lock => "lock",
            Self::Test => "test",
            Self::Record => "record",
            Self::End => "end",
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Whoever is told of each step as it begins. By default nobody.
#[derive(Clone, Default)]
pub struct Steps(Option<Arc<dyn Fn(Step) + Send + Sync>>);

impl Steps {
    /// Tells `listener`, on the thread that works.
    pub fn to(listener: impl Fn(Step) + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(listener)))
    }

    pub(crate) fn at(&self, step: Step) {
        if let Some(listener) = &self.0 {
            listener(step);
        }
    }
}

impl fmt::Debug for Steps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Steps(..)")
    }
}
