//! The record of an admission: what lets a component start again after its signers' certificates have ended.
//!
//! It stands in the sealed memory, so it is this gateway's and nobody can put an older one back alone. It names a file by its
//! signatures, or the code for one by what vouches for it, and holds nothing that the file says itself: all of that is verified again at every start.

use anyhow::Context as _;
use countersign_trust_store::{
    Admission, Crl, Link, LinkStatus, UnixTime, VerifiedChain, VerifiedComponent,
    VerifiedPrecompiled,
};
use serde::{Deserialize, Serialize};

/// That a component was admitted, and when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Admitted {
    /// Its name in its statement.
    pub(super) component: String,
    security_version: u64,
    /// SHA-256 of the roots' public keys, in the order of the signers.
    anchors: Vec<String>,
    /// The present of then: what had certainly passed, and the clock if it was plausible. Seconds since 1970.
    floor: u64,
    clock: Option<u64>,
    /// The certificates of its signers, as later lists name them.
    links: Vec<String>,
    /// Whether it proved healthy.
    pub(super) proved: bool,
    /// How often it failed before it proved healthy, and another took its place.
    #[serde(default)]
    pub(super) failed: u32,
    /// Whether it is the code of a component that was admitted.
    #[serde(default)]
    pub(super) code: bool,
    /// Which writing of the memory it came or proved healthy with: the order of admissions.
    pub(super) order: u64,
}

impl Admitted {
    /// Of a component that has verified.
    pub(crate) fn of(component: &VerifiedComponent) -> Self {
        let chains = component.signers().iter().map(|signer| signer.chain());
        Self::new(component, component.admission(), chains)
    }

    /// Of code for a component, both of which have verified.
    pub(crate) fn of_code(component: &VerifiedComponent, code: &VerifiedPrecompiled) -> Self {
        Self {
            code: true,
            ..Self::new(component, code.admission(), [code.chain()])
        }
    }

    fn new<'a>(
        component: &VerifiedComponent,
        admission: &Admission,
        chains: impl IntoIterator<Item = &'a VerifiedChain>,
    ) -> Self {
        let now = admission.now();
        Self {
            component: component.statement().name().to_string(),
            security_version: component.statement().security_version(),
            anchors: admission
                .anchors()
                .iter()
                .map(ToString::to_string)
                .collect(),
            floor: now.floor().as_secs(),
            clock: now.clock().map(UnixTime::as_secs),
            links: chains
                .into_iter()
                .flat_map(|chain| chain.links())
                .map(ToString::to_string)
                .collect(),
            proved: false,
            failed: 0,
            code: false,
            order: 0,
        }
    }

    /// Whether it says the same of a file as another, whatever became of the two.
    pub(super) fn says_the_same_as(&self, other: &Self) -> bool {
        (&self.anchors, self.floor, self.clock) == (&other.anchors, other.floor, other.clock)
    }

    /// For the judge of components. `signatures` is SHA-256 of the file's signatures.
    pub(super) fn admission(&self, signatures: &str) -> anyhow::Result<Admission> {
        let foreign = || "what this gateway remembers holds an admission of another form";
        let anchors = self.anchors.iter().map(|anchor| anchor.parse().ok());
        Ok(Admission::recalled(
            signatures.parse().ok().with_context(foreign)?,
            anchors.collect::<Option<_>>().with_context(foreign)?,
            UnixTime::from_secs(self.floor),
            self.clock.map(UnixTime::from_secs),
        ))
    }

    /// What lists say of its signers' certificates, where they say anything.
    pub(super) fn statuses<'a>(
        &'a self,
        lists: &'a [Crl],
    ) -> impl Iterator<Item = LinkStatus> + 'a {
        self.links().filter_map(|link| link.status(lists))
    }

    /// The certificates of its signers.
    pub(super) fn links(&self) -> impl Iterator<Item = Link> {
        // The memory is sealed: all of them were written by this program.
        self.links.iter().filter_map(|link| link.parse().ok())
    }
}
