//! What has lost its place and finishes what it has under way.
//!
//! Decides that it does so for no longer than it may run: a list that names one of its signers' certificates, or a bundle that
//! withdraws its version, ends it at once, as it ends what runs.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use countersign_trust_store::Link;
use tokio::sync::Notify;

use crate::admission::{Admitted, Facts};
use crate::lists::Lists;

/// All that is on its way out.
#[derive(Debug, Default)]
pub(crate) struct Leaving(Mutex<Vec<Weak<One>>>);

/// One component on its way out.
#[derive(Debug)]
pub(crate) struct One {
    pub(crate) facts: Facts,
    pub(crate) links: Arc<[Link]>,
    ended: Notify,
}

impl Leaving {
    /// Lets `end` have its time, unless it is ended before. Dropped, nothing of it goes on.
    pub(super) async fn see_off(
        &self,
        admitted: &Admitted,
        lists: &Lists,
        end: impl Future<Output = ()>,
    ) {
        self.see_off_as(&admitted.facts, &admitted.links, lists, end)
            .await;
    }

    async fn see_off_as(
        &self,
        facts: &Facts,
        links: &Arc<[Link]>,
        lists: &Lists,
        end: impl Future<Output = ()>,
    ) {
        let one = Arc::new(One {
            facts: facts.clone(),
            links: Arc::clone(links),
            ended: Notify::new(),
        });
        {
            let mut all = self.lock();
            all.retain(|one| one.strong_count() > 0);
            all.push(Arc::downgrade(&one));
        }
        // After it is there: whoever exchanges the lists looks there afterwards, so that one of the two sees the other's.
        if lists.names(&one.links) {
            return;
        }
        tokio::select! {
            () = one.ended.notified() => {}
            () = end => {}
        }
    }

    /// Ends those at once.
    pub(crate) fn end(&self, those: impl Fn(&One) -> bool) {
        let all: Vec<_> = self.lock().iter().filter_map(Weak::upgrade).collect();
        for one in all.iter().filter(|one| those(one)) {
            one.ended.notify_one();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Weak<One>>> {
        // It is whole between any two statements.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use countersign_testing::TestPki;
    use countersign_trust_store::{Crl, PathProfile};

    use super::*;
    use crate::lists::Given;

    fn facts(security_version: u64) -> Facts {
        Facts {
            component: "test:pump".to_owned(),
            version: String::new(),
            security_version,
            file_sha256: String::new(),
            component_sha256: String::new(),
            keys: Vec::new(),
            signers: Vec::new(),
            valid_until: String::new(),
            admitted_at: None,
            vouched: None,
        }
    }

    #[tokio::test]
    async fn td15_what_is_revoked_or_withdrawn_does_not_finish_what_it_has_under_way() {
        let pki = TestPki::new();
        let components = PathProfile::COMPONENTS;
        let chain = pki
            .anchors()
            .verify_chain(pki.chain(), &components, &pki.now(), &pki.state());
        let links: Arc<[Link]> = chain.expect("good").links().into();
        let (leaving, lists) = (Leaving::default(), Lists::default());
        let revoked = || {
            let list = Crl::parse(&pki.crl_against_device(1_000)).expect("a list");
            lists.exchange(Given::brought(vec![list]));
        };
        let soon = Duration::from_secs(20);
        let (old, new) = (facts(1), facts(2));
        let see_off = |facts| leaving.see_off_as(facts, &links, &lists, std::future::pending());
        let withdrawn = tokio::time::timeout(soon, see_off(&old));
        let stays = tokio::time::timeout(soon, see_off(&new));
        let watched = async {
            tokio::task::yield_now().await;
            leaving.end(|one| one.facts.security_version < 2);
            tokio::task::yield_now().await;
            assert_eq!(
                leaving
                    .lock()
                    .iter()
                    .filter(|one| one.strong_count() > 0)
                    .count(),
                1
            );
            revoked();
            leaving.end(|one| lists.names(&one.links));
        };
        let (withdrawn, stays, ()) = tokio::join!(withdrawn, stays, watched);
        withdrawn.expect("ended");
        stays.expect("ended");
        // What was revoked before it lost its place has no time at all.
        let late = tokio::time::timeout(soon, see_off(&new)).await;
        late.expect("ended");
    }
}
