//! The revocation lists that count: in the operator's files, and what bundles have brought.
//!
//! Decides that a list that is missing is missed. Whose a list is shows when a chain under its issuer is judged, or a certificate
//! looked up that was.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context as _;
use countersign_hosting::read_lists;
use countersign_trust_store::{Crl, Link, LinkStatus, TrustState};

use crate::bundle::{self, Places};
use crate::config::Config;

/// Revocation lists, none of whose signatures counts before it was verified.
#[derive(Clone, Debug, Default)]
pub(crate) struct Given {
    /// Those of the operator's files first.
    all: Vec<Crl>,
    /// How many those are.
    in_files: usize,
}

impl Given {
    /// Those of a configuration: in its files, and what bundles have brought.
    ///
    /// # Errors
    /// If one of them cannot be read: what it would have revoked must not run because it is missing.
    pub(crate) fn by(config: &Config) -> anyhow::Result<Self> {
        let files = Self::in_files(&config.lists)?;
        Ok(match config.carried {
            Some(digest) => {
                let brought = bundle::carried(&Places::in_state(&config.state), digest)?;
                let brought = brought.into_iter().map(|there| there.list);
                files.and(Self::brought(brought.collect()))
            }
            None => files,
        })
    }

    /// Those in these files of the operator's.
    ///
    /// # Errors
    /// As [`Self::by`].
    pub(crate) fn in_files<'a>(
        paths: impl IntoIterator<Item = &'a PathBuf>,
    ) -> anyhow::Result<Self> {
        let mut all = Vec::new();
        for path in paths {
            for list in read_lists(path)? {
                let list = Crl::parse(&list);
                all.push(list.with_context(|| format!("{} cannot be used", path.display()))?);
            }
        }
        Ok(Self {
            in_files: all.len(),
            all,
        })
    }

    /// These, which bundles have brought.
    pub(crate) const fn brought(lists: Vec<Crl>) -> Self {
        Self {
            all: lists,
            in_files: 0,
        }
    }

    /// Both, and what is in both once.
    pub(crate) fn and(self, other: Self) -> Self {
        let (mut files, brought) = self.split();
        let (other_files, other_brought) = other.split();
        add(&mut files, other_files);
        let in_files = files.len();
        add(&mut files, brought);
        add(&mut files, other_brought);
        Self {
            all: files,
            in_files,
        }
    }

    /// All of them.
    pub(crate) fn all(&self) -> &[Crl] {
        &self.all
    }

    /// Of each issuer that they name, those that an operator wants to know of: what its key has signed, where that is known, and of these
    /// the newest.
    pub(crate) fn newest(&self) -> impl Iterator<Item = &Crl> {
        let weight = |list: &Crl| (list.verified_under().is_some(), list.number());
        self.all.iter().filter(move |list| {
            let others = self.all.iter().filter(|other| other.has_issuer_of(list));
            others.map(weight).max() == Some(weight(list))
        })
    }

    fn split(mut self) -> (Vec<Crl>, Vec<Crl>) {
        let brought = self.all.split_off(self.in_files.min(self.all.len()));
        (self.all, brought)
    }
}

fn add(lists: &mut Vec<Crl>, others: Vec<Crl>) {
    for other in others {
        if lists.iter().all(|list| list.der() != other.der()) {
            lists.push(other);
        }
    }
}

/// The lists that count, which a reload exchanges.
#[derive(Default)]
pub(crate) struct Lists(Mutex<Arc<Given>>);

impl Lists {
    pub(crate) fn exchange(&self, lists: Given) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(lists);
    }

    /// Has a judge of chains know them.
    pub(crate) fn tell(&self, state: &mut TrustState) {
        let given = self.now();
        for (place, list) in given.all.iter().enumerate() {
            match place < given.in_files {
                true => state.add_parsed_crl(list.clone()),
                false => state.add_brought_crl(list.clone()),
            }
        }
    }

    /// What they say of these certificates, where they say anything.
    pub(crate) fn status(&self, links: &[Link]) -> Vec<LinkStatus> {
        let lists = self.now();
        links
            .iter()
            .filter_map(|link| link.status(lists.all()))
            .collect()
    }

    /// Whether one of these certificates was revoked.
    pub(crate) fn names(&self, links: &[Link]) -> bool {
        self.status(links).iter().any(|status| status.revoked)
    }

    /// Them all.
    pub(crate) fn now(&self) -> Arc<Given> {
        Arc::clone(&self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
