//! What is found when this machine is looked at: good, doubtful, or so that a gateway had better not run here.

use serde::Serialize;

/// How much a finding weighs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Weight {
    /// As it should be.
    Ok,
    /// It works, and somebody should look at it.
    Warn,
    /// It does not work, or what is trusted can be changed by others.
    Refuse,
}

/// Something that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Finding {
    pub(crate) weight: Weight,
    /// What was looked at.
    pub(crate) what: String,
    /// How it is.
    pub(crate) said: String,
    /// What to do, unless it is as it should be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) next: Option<String>,
}

impl Finding {
    pub(crate) fn ok(what: &str, said: impl Into<String>) -> Self {
        Self {
            weight: Weight::Ok,
            what: what.to_owned(),
            said: said.into(),
            next: None,
        }
    }

    pub(crate) fn warn(what: &str, said: impl Into<String>, next: impl Into<String>) -> Self {
        Self {
            weight: Weight::Warn,
            next: Some(next.into()),
            ..Self::ok(what, said)
        }
    }

    /// Of a gateway that runs as root.
    pub(crate) fn root(what: &str) -> Self {
        Self::warn(
            what,
            "it runs as root, whose mistakes nobody stops",
            "Give it a user of its own, as the unit of its package does.",
        )
    }

    pub(crate) fn refuse(what: &str, said: impl Into<String>, next: impl Into<String>) -> Self {
        Self {
            weight: Weight::Refuse,
            ..Self::warn(what, said, next)
        }
    }
}
