//! The reasons for which we may accept what another validator refuses.

use std::fmt;

use countersign_testing::{CertificateParts, Sealed};
use countersign_trust_store::{Certificate, Crl, UnixTime, oid};
use serde::Deserialize;

use super::covered::covered;

/// One reviewed reason of `reasons.toml`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Reason {
    /// Who refuses: `openssl` or `webpki`.
    who: String,
    /// What it says.
    says: String,
    /// What must be so for the reason to count.
    when: When,
    /// Why we accept all the same.
    because: String,
}

/// Something about a chain that can be looked up. Where lists are what the other validator finds fault with, each
/// certificate must also be [`covered`] by lists that OpenSSL verifies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum When {
    /// The leaf says noRevAvail; the certificates above it are covered.
    NoRevAvail,
    /// Some certificate ends in this very second, and none has ended before.
    CertificateEndsNow,
    /// Some list's nextUpdate is this very second.
    ListEndsNow,
    /// Two lists of one issuer are there, one of them genuine.
    SeveralLists,
    /// Two authorities of the path have one name.
    AuthoritiesOfOneName,
    /// A list of the root's has an entry for the root, and no list has one for a certificate below it.
    RootListsItself,
}

/// What is so about a chain that we accepted.
#[derive(Debug, Default)]
pub(super) struct Facts(Vec<When>);

impl Facts {
    pub(super) fn of(sealed: &Sealed, now: UnixTime) -> Self {
        let certificates: Vec<_> = sealed
            .chain
            .iter()
            .chain([&sealed.root])
            .filter_map(|der| Certificate::parse(der).ok())
            .collect();
        let lists: Vec<_> = sealed
            .crls
            .iter()
            .filter_map(|der| Crl::parse(der).ok())
            .collect();
        let no_rev_avail = sealed.chain.first().is_some_and(|leaf| {
            let extensions = CertificateParts::of(leaf).extensions;
            extensions
                .iter()
                .flatten()
                .any(|extension| extension.extn_id == oid::NO_REV_AVAIL)
        });
        let several = lists.iter().enumerate().any(|(at, list)| {
            let others = lists.iter().skip(at + 1);
            others
                .into_iter()
                .any(|other| other.issuer() == list.issuer())
        });
        let one_name = certificates.iter().enumerate().any(|(at, one)| {
            let above = certificates.iter().skip(at + 1);
            above
                .into_iter()
                .any(|other| other.subject() == one.subject())
        });
        let root_lists_itself = lists_root_only(sealed, &lists);
        let ends: Vec<_> = certificates.iter().map(Certificate::not_after).collect();
        let ends_now = ends.contains(&now) && ends.iter().all(|end| *end >= now);
        let covered = covered(sealed, now, no_rev_avail);
        let list_ends_now = lists.iter().any(|list| list.next_update() == now);
        let facts = [
            (When::NoRevAvail, covered && no_rev_avail),
            (When::CertificateEndsNow, ends_now),
            (When::ListEndsNow, covered && list_ends_now),
            (When::SeveralLists, covered && several),
            (When::AuthoritiesOfOneName, covered && one_name),
            (When::RootListsItself, covered && root_lists_itself),
        ];
        Self(
            facts
                .into_iter()
                .filter_map(|(when, is_so)| is_so.then_some(when))
                .collect(),
        )
    }
}

/// Whether the root's serial number is on a list of its own, and on each list of the chain's issuers none of the
/// certificates that this issuer issued.
fn lists_root_only(sealed: &Sealed, lists: &[Crl]) -> bool {
    let listed = |der: &[u8]| {
        let parts = CertificateParts::of(der);
        let Ok(certificate) = Certificate::parse(der) else {
            return true;
        };
        let mut own = lists
            .iter()
            .filter(|list| list.issuer() == certificate.issuer());
        own.any(|list| list.lists(parts.serial_number.value()))
    };
    listed(&sealed.root) && !sealed.chain.iter().any(|der| listed(der))
}

impl Reason {
    pub(super) fn all() -> Vec<Self> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct File {
            reason: Vec<Reason>,
        }
        let file: File = toml::from_str(include_str!("../../reasons.toml"))
            .unwrap_or_else(|error| panic!("reasons.toml: {error}"));
        file.reason
    }

    /// Whether this is the reason for what was said.
    pub(super) fn fits(&self, who: &str, said: &str, facts: &Facts) -> bool {
        self.who == who && said.starts_with(&self.says) && facts.0.contains(&self.when)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} ({})", self.who, self.says, self.because)
    }
}
