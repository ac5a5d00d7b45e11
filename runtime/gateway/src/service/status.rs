//! What a service is doing, for those who look.

use std::sync::Arc;

use countersign_runtime::Usage;
use countersign_trust_store::Link;
use serde::Serialize;

use crate::admission::{Facts, Refusal};
use crate::config::Work;
use crate::messages::Numbers;

/// What a service is doing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub(crate) enum Doing {
    /// Its component is asked whether it is healthy, where it is configured to be asked, and waits for its address: nobody reaches it
    /// there yet.
    Starting,
    /// Its component runs.
    Running {
        /// Since when, by this machine's clock.
        since: String,
        /// Whether it proved healthy.
        healthy: bool,
    },
    /// Its component ended, and is started again in so many milliseconds.
    Waiting {
        milliseconds: u64,
        /// How the last run ended.
        ended: String,
        /// Whether nothing ran, because this machine lacks its address, or the key for that.
        #[serde(skip)]
        has_no_address: bool,
    },
    /// Its component ended, and is not started again.
    Ended {
        /// How.
        ended: String,
    },
    /// Its component runs when it is due.
    Scheduled {
        /// When that is next; not known without a date.
        due: Option<String>,
        /// In so many milliseconds.
        milliseconds: u64,
        /// How the last run ended, and how long it took.
        #[serde(skip_serializing_if = "Option::is_none")]
        ended: Option<String>,
        /// How often due times passed without a run.
        missed: u64,
    },
    /// Its component was refused; nothing of it runs.
    Refused(Refusal),
}

/// A service, to those who look.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Status {
    pub(crate) name: String,
    #[serde(flatten)]
    pub(crate) doing: Doing,
    /// How often a component was started.
    pub(crate) starts: u64,
    /// The component that runs, or ran last.
    #[serde(flatten)]
    pub(crate) facts: Option<Facts>,
    /// The certificates of the signers of what runs, as later lists name them.
    #[serde(skip)]
    pub(crate) links: Arc<[Link]>,
    /// Why a newer component is not the one that runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) newer: Option<String>,
    /// Whether the component that runs, or ran last, proved healthy.
    #[serde(skip)]
    pub(crate) proved: bool,
    /// What it has done with messages, if it has to do with them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) messages: Option<Numbers>,
    /// What its component has used.
    #[serde(skip)]
    pub(crate) used: Used,
}

/// What a component has used since it was loaded, for those who look. Copies are the same.
#[derive(Clone, Debug, Default)]
pub(crate) struct Used(pub(crate) Arc<Usage>);

impl PartialEq for Used {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Used {}

/// For a component that is about to begin. One without an address does so at once.
pub(super) fn about_to_run(work: &Work, healthy: bool) -> Doing {
    match work {
        Work::Http(_) => Doing::Starting,
        Work::Command | Work::Schedule(_) | Work::Messages(_) => running(healthy),
    }
}

pub(super) fn running(healthy: bool) -> Doing {
    Doing::Running {
        since: countersign_roots::system_time().to_string(),
        healthy,
    }
}

/// For a service whose component was refused before anything of it ran.
pub(crate) fn refused(name: &str, refusal: Refusal) -> Status {
    Status {
        name: name.to_owned(),
        doing: Doing::Refused(refusal),
        starts: 0,
        facts: None,
        links: Arc::new([]),
        newer: None,
        proved: false,
        messages: None,
        used: Used::default(),
    }
}
