//! Revocation lists, signed by one process for all.

use countersign_provisioning::{RevocationList, Validity};
use countersign_registry::{Lead, StoredCrl};
use countersign_trust_store::UnixTime;
use tokio::sync::oneshot;

use crate::threads::guarded;
use crate::{Error, Issuing, record};

impl Issuing {
    /// Signs a list of everything that is revoked, valid for `days`, with a number above all before it, and keeps it.
    /// None when another process does it for all: the newest list is in the registry.
    ///
    /// # Errors
    /// [`Error::Clock`], [`Error::Key`], [`Error::Request`] for a list that would outlive what it may, and
    /// [`Error::Unavailable`]; the list before stays.
    pub async fn sign_list(&self, days: u64) -> Result<Option<StoredCrl>, Error> {
        let (registry, stop) = (self.registry(), &self.inner.stop);
        stop.check_disk()?;
        if !stop.heed(registry.leads(Lead::RevocationLists).await)? {
            return Ok(None);
        }
        let (now, issuer) = (self.clock().now()?, *self.issuer());
        // The number first: a list of a higher number then never lacks what a lower one has.
        let number = stop.heed(registry.next_crl_number(&issuer, now).await)?;
        let revoked = stop.heed(registry.revocations(&issuer, now).await)?;
        let validity = Validity::days(UnixTime::from_secs(now), days)?;
        let entries = revoked.len();
        let (reply, answer) = oneshot::channel();
        self.inner.threads.run(move |authority| {
            let list = RevocationList {
                number: number.get(),
                validity,
                revoked: &revoked,
            };
            let _ = reply.send(guarded(|| Ok(authority.crl(&list)?)));
        });
        let der = answer.await.map_err(|_| Error::Stopped)??;
        let next_update = validity.not_after().as_secs();
        let leaf = record::list(now, &issuer, number.get(), &der, entries, next_update);
        let kept = registry
            .keep_crl(&issuer, number, &der, next_update, &leaf)
            .await;
        stop.heed(kept)?;
        stop.heed(registry.crl(&issuer).await)
    }
}
