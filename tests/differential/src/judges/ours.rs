//! Our verifier, as a host uses it.

use std::collections::HashMap;

use countersign_testing::Sealed;
use countersign_trust_store::{AnchorSource, Anchors, Now, PathProfile, TrustState, UnixTime};

use super::Verdict;

/// Our verifier, with the roots that it has met.
#[derive(Debug, Default)]
pub struct Ours {
    roots: HashMap<Vec<u8>, Result<Anchors, String>>,
}

impl Ours {
    /// Our verdict. A list that cannot be read refuses the whole, as it does in a host.
    ///
    /// # Errors
    /// The code and the reason.
    pub fn judge(&mut self, sealed: &Sealed, now: UnixTime) -> Verdict {
        if self.roots.len() > 1_000 {
            self.roots.clear();
        }
        let anchors = self.roots.entry(sealed.root.clone()).or_insert_with(|| {
            Anchors::new(vec![AnchorSource::new(sealed.root.clone())])
                .map_err(|error| format!("root-unusable: {error}"))
        });
        let anchors = anchors.as_ref().map_err(Clone::clone)?;
        let said = |rejection: countersign_trust_store::Rejection| {
            format!("{}: {rejection}", rejection.code())
        };
        let mut state = TrustState::stateless();
        for crl in &sealed.crls {
            state.add_crl(crl).map_err(said)?;
        }
        anchors
            .verify_chain(
                &sealed.chain,
                &PathProfile::COMPONENTS,
                &Now::at(now),
                &state,
            )
            .map(drop)
            .map_err(said)
    }
}
