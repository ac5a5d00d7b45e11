//! What is seen of a running gateway from outside, by whoever asks over the socket or looks at its page.
//!
//! It can be looked at while the gateway is busy with something else: a reload compiles for seconds. Nothing in it changes
//! anything, and nothing in it is secret.

mod receipt;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use countersign_format::Digest;
use countersign_runtime::audit::RECORD_VERSION;
use countersign_trust_store::{Crl, TimeBasis};
use serde::Serialize;
use tokio::sync::watch;

use crate::admission::{Host, Refusal};
use crate::confine::Confinement;
use crate::service::{self, Doing, Status};
use crate::state::State;

/// The form of the answers.
const VERSION: u32 = 1;

/// What a gateway is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Phase {
    /// It admits and starts what its configuration names.
    Starting,
    /// It looks after its services.
    Running,
    /// It reads its configuration again.
    Reloading,
    /// It was told to stop.
    Stopping,
}

/// What is seen of a gateway as a whole.
#[derive(Debug, Serialize)]
pub(crate) struct Overview {
    /// The form of this answer.
    version: u32,
    pub(crate) phase: Phase,
    /// This machine's time, as components are judged by it.
    pub(crate) now: String,
    /// A time that has certainly passed.
    pub(crate) floor: String,
    /// How often what it remembers was written.
    pub(crate) generation: u64,
    /// How many signatures wait for the hardware of the device's keys.
    #[serde(skip)]
    pub(crate) signatures_waiting: usize,
    /// What it has taken from itself.
    pub(crate) confinement: Confinement,
    pub(crate) services: Vec<Status>,
}

/// What a gateway trusts, and what it remembers.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Trust {
    version: u32,
    pub(crate) roots: Vec<Root>,
    pub(crate) lists: Vec<List>,
    pub(crate) clock: Time,
    pub(crate) remembered: Remembered,
    /// The form of the records in its audit log.
    records: u32,
}

/// A root that is compiled in.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Root {
    pub(crate) subject: String,
    /// SHA-256 of its SubjectPublicKeyInfo.
    pub(crate) spki_sha256: String,
    pub(crate) valid_from: String,
    pub(crate) valid_until: String,
}

/// A revocation list that the operator gave. Whether it is believed is seen when a component needs it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct List {
    pub(crate) issuer: String,
    pub(crate) number: String,
    pub(crate) made: String,
    /// Then a newer one should be there.
    pub(crate) valid_until: String,
}

/// The time by which components are judged.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Time {
    pub(crate) now: String,
    /// Whether that is the wall clock's, or only the floor because the clock is behind it.
    pub(crate) from: &'static str,
    pub(crate) floor: String,
}

/// What must not fall.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Remembered {
    generation: u64,
    /// The highest number of each issuer's lists that were consulted.
    pub(crate) lists: Vec<SeenList>,
    /// The version of each component that proved healthy.
    pub(crate) versions: Vec<SeenVersion>,
}

/// The highest number of an issuer's lists.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct SeenList {
    /// SHA-256 of the issuer's SubjectPublicKeyInfo.
    pub(crate) issuer_spki_sha256: String,
    pub(crate) number: String,
}

/// The highest version of a component under a root.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct SeenVersion {
    pub(crate) root_spki_sha256: String,
    pub(crate) component: String,
    pub(crate) security_version: u64,
}

/// A service, where whoever looks finds it.
pub(crate) struct Shown {
    pub(crate) name: String,
    /// What it does, if a component of it was started.
    pub(crate) running: Option<watch::Receiver<Status>>,
    /// Why its file does not run.
    pub(crate) refused: Option<Refusal>,
}

/// What is shared with whoever looks.
pub(crate) struct View {
    host: Arc<Host>,
    state: Arc<State>,
    confinement: Confinement,
    shown: Mutex<(Phase, Vec<Shown>)>,
    /// The folder of the parts of the bundle whose configuration counts.
    bundle: Mutex<Option<PathBuf>>,
}

impl View {
    pub(crate) fn new(host: Arc<Host>, state: Arc<State>, confinement: Confinement) -> Self {
        Self {
            host,
            state,
            confinement,
            shown: Mutex::new((Phase::Starting, Vec::new())),
            bundle: Mutex::default(),
        }
    }

    /// What is to be seen from now on.
    pub(crate) fn show(&self, services: Vec<Shown>, bundle: Option<PathBuf>) {
        self.lock().1 = services;
        *self.bundle.lock().unwrap_or_else(PoisonError::into_inner) = bundle;
    }

    /// Whether the configuration that counts is the one with this bundle.
    fn runs_bundle(&self, index: Digest) -> bool {
        let bundle = self.bundle.lock().unwrap_or_else(PoisonError::into_inner);
        let folder = bundle.as_deref().and_then(Path::parent);
        // It is named by the digest.
        let name = folder.and_then(Path::file_name);
        name.is_some_and(|name| *name == *index.to_string())
    }

    /// What the gateway is about from now on.
    pub(crate) fn enter(&self, phase: Phase) {
        self.lock().0 = phase;
    }

    /// What it runs, and what was refused.
    pub(crate) fn overview(&self) -> Overview {
        let (phase, services) = {
            let shown = self.lock();
            (shown.0, shown.1.iter().map(Shown::status).collect())
        };
        let time = self.time();
        Overview {
            version: VERSION,
            phase,
            now: time.now,
            floor: time.floor,
            generation: self.state.memory().generation(),
            signatures_waiting: self.host.keys.waiting(),
            confinement: self.confinement.clone(),
            services,
        }
    }

    /// What it trusts.
    pub(crate) fn trust(&self) -> Trust {
        let memory = self.state.memory();
        let roots = self.host.runtime.anchors().iter().map(|anchor| Root {
            subject: anchor.subject(),
            spki_sha256: anchor.spki_sha256().to_string(),
            valid_from: anchor.not_before().to_string(),
            valid_until: anchor.not_after().to_string(),
        });
        Trust {
            version: VERSION,
            roots: roots.collect(),
            lists: self.host.lists.now().newest().map(List::of).collect(),
            clock: self.time(),
            remembered: Remembered {
                generation: memory.generation(),
                lists: memory
                    .lists()
                    .map(|(issuer, number)| SeenList {
                        issuer_spki_sha256: issuer.to_owned(),
                        number,
                    })
                    .collect(),
                versions: memory
                    .versions()
                    .map(|(root, component, security_version)| SeenVersion {
                        root_spki_sha256: root.to_owned(),
                        component: component.to_owned(),
                        security_version,
                    })
                    .collect(),
            },
            records: RECORD_VERSION,
        }
    }

    /// Why it does not do all that its configuration asks for; nothing if it does.
    pub(crate) fn not_ready(&self) -> Vec<String> {
        let overview = self.overview();
        let mut why = Vec::new();
        if matches!(overview.phase, Phase::Starting | Phase::Stopping) {
            why.push("the gateway is starting or stopping".to_owned());
        }
        let refused = |status: &&Status| matches!(status.doing, Doing::Refused(_));
        for status in overview.services.iter().filter(refused) {
            why.push(format!("{} was refused", status.name));
        }
        why
    }

    fn time(&self) -> Time {
        let now = self.host.clock.now();
        Time {
            now: now.clock().unwrap_or(now.floor()).to_string(),
            from: match now.basis() {
                TimeBasis::Clock => "clock",
                _ => "floor",
            },
            floor: now.floor().to_string(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, (Phase, Vec<Shown>)> {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl List {
    pub(crate) fn of(list: &Crl) -> Self {
        Self {
            issuer: list.issuer().to_owned(),
            number: list.number().to_string(),
            made: list.this_update().to_string(),
            valid_until: list.next_update().to_string(),
        }
    }
}

impl Shown {
    fn status(&self) -> Status {
        match (&self.running, &self.refused) {
            (Some(running), None) => running.borrow().clone(),
            (Some(running), Some(refusal)) => Status {
                newer: Some(refusal.why.clone()),
                ..running.borrow().clone()
            },
            (None, refused) => {
                let refusal = refused.clone().unwrap_or_else(Refusal::not_tried);
                service::refused(&self.name, refusal)
            }
        }
    }
}
