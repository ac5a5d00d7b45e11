//! What has lost its place and finishes what it has under way.
//!
//! Decides that it does so for no longer than it may run: a list that names one of its signers' certificates, or a bundle that
//! withdraws its version, ends it at once, as it ends what runs.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use countersign_trust_store::Link;
use tokio::sync::Notify;

use crate::admission::Facts;

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
    /// Lets `end` have its time, unless it is ended before; `is_forbidden` says whether it must not run any more. Dropped, nothing of it
    /// goes on.
    pub(super) async fn see_off(
        &self,
        facts: &Facts,
        links: &Arc<[Link]>,
        is_forbidden: impl Fn() -> bool,
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
        // After it is there: whoever exchanges the lists, or withdraws a version, looks there afterwards, so that one of the two sees
        // the other's.
        if is_forbidden() {
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
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::time::Duration;

    use countersign_testing::TestPki;
    use countersign_trust_store::{Crl, PathProfile};

    use super::*;
    use crate::lists::{Given, Lists};

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
            judged_at_floor: None,
            vouched: None,
        }
    }

    /// Says when it is dropped.
    struct Requests(Arc<AtomicBool>);

    impl Drop for Requests {
        fn drop(&mut self) {
            self.0.store(true, Ordering::SeqCst);
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
        let revoke = || {
            let list = Crl::parse(&pki.crl_against_device(1_000)).expect("a list");
            lists.exchange(Given::brought(vec![list]));
        };
        let (old, new) = (facts(1), facts(2));
        // Its requests never end.
        let under_way = || {
            let gone = Arc::new(AtomicBool::new(false));
            let requests = Requests(Arc::clone(&gone));
            let end = async move {
                std::future::pending::<()>().await;
                drop(requests);
            };
            (gone, end)
        };
        let is_gone = |gone: &Arc<AtomicBool>| gone.load(Ordering::SeqCst);
        let soon = Duration::from_secs(20);
        let ((old_gone, old_end), (new_gone, new_end)) = (under_way(), under_way());
        let withdrawn = leaving.see_off(&old, &links, || false, old_end);
        let stays = leaving.see_off(&new, &links, || lists.names(&links), new_end);
        let both = async { tokio::join!(withdrawn, stays) };
        let watched = async {
            tokio::task::yield_now().await;
            leaving.end(|one| one.facts.security_version < 2);
            tokio::task::yield_now().await;
            assert!(is_gone(&old_gone) && !is_gone(&new_gone));
            // A list that names nobody ends nobody.
            leaving.end(|one| lists.names(&one.links));
            tokio::task::yield_now().await;
            assert!(!is_gone(&new_gone));
            revoke();
            leaving.end(|one| lists.names(&one.links));
        };
        let both = tokio::time::timeout(soon, async { tokio::join!(both, watched) });
        both.await.expect("both ended");
        assert!(is_gone(&old_gone) && is_gone(&new_gone));
        // What is forbidden before it loses its place has no time at all.
        let (late_gone, late_end) = under_way();
        let late = leaving.see_off(&new, &links, || lists.names(&links), late_end);
        tokio::time::timeout(soon, late).await.expect("ended");
        assert!(is_gone(&late_gone));
        // And what is not has all that it needs.
        let answered = Arc::new(AtomicBool::new(false));
        let end = async {
            tokio::time::sleep(Duration::from_millis(50)).await;
            answered.store(true, Ordering::SeqCst);
        };
        leaving.see_off(&new, &links, || false, end).await;
        assert!(answered.load(Ordering::SeqCst));
    }

    #[tokio::test]
    async fn td15_what_is_forbidden_after_the_look_and_before_the_wait_ends_as_well() {
        let leaving = Leaving::default();
        let links: Arc<[Link]> = Arc::new([]);
        // Whoever withdraws comes between the two.
        let look = || {
            leaving.end(|_| true);
            false
        };
        let one = facts(1);
        let seen_off = leaving.see_off(&one, &links, look, std::future::pending());
        let seen_off = tokio::time::timeout(Duration::from_secs(1), seen_off).await;
        seen_off.expect("ended");
    }
}
