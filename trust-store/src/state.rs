//! What a machine remembers between components: revocation lists and their numbers, the versions that ran, and what was
//! admitted.
//!
//! A value. Whoever keeps it on disk authenticates it there; this crate neither reads nor writes files.

use std::collections::BTreeMap;

use countersign_format::{ComponentName, Digest};

use crate::{Admission, Crl, CrlNumber, Rejection};

/// A security version rises by at most this much in one step, so that one signed mistake cannot use up the numbers.
pub const MAX_VERSION_STEP: u64 = 1_024;

/// What a machine remembers.
#[derive(Clone, Debug, Default)]
pub struct TrustState {
    crls: Vec<Crl>,
    /// Lists that strangers have brought.
    brought: Vec<Crl>,
    crl_numbers: BTreeMap<Digest, CrlNumber>,
    versions: Option<BTreeMap<(Digest, ComponentName), u64>>,
    minimums: BTreeMap<ComponentName, u64>,
    admissions: BTreeMap<Digest, Admission>,
}

impl TrustState {
    /// The state of a machine that remembers nothing: no rollback is noticed.
    #[must_use]
    pub fn stateless() -> Self {
        Self::default()
    }

    /// The state of a machine that remembers versions, and has seen none yet.
    #[must_use]
    pub fn remembering() -> Self {
        Self {
            versions: Some(BTreeMap::new()),
            ..Self::default()
        }
    }

    /// Adds a revocation list, DER. Its signature is verified when it is used.
    ///
    /// # Errors
    /// [`Rejection::CrlInvalid`].
    pub fn add_crl(&mut self, der: &[u8]) -> Result<(), Rejection> {
        self.crls.push(Crl::parse(der)?);
        Ok(())
    }

    /// Adds a revocation list that was parsed. What is found out about it once, copies share.
    pub fn add_parsed_crl(&mut self, crl: Crl) {
        self.crls.push(crl);
    }

    /// Adds a revocation list that somebody has brought who does not answer for its issuer. It counts as any other once its
    /// signature verified under its issuer's key; until then it takes nothing from those that were given, and forged ones cost
    /// none of the signature checks of a chain.
    pub fn add_brought_crl(&mut self, crl: Crl) {
        self.brought.push(crl);
    }

    /// Records that a list with this number was seen from the issuer whose key's SPKI has this SHA-256.
    pub fn note_crl_number(&mut self, issuer_spki_sha256: Digest, number: CrlNumber) {
        let seen = self.crl_numbers.entry(issuer_spki_sha256).or_insert(number);
        *seen = number.max(*seen);
    }

    /// Records that a version proved healthy under a root. Does nothing on a machine that remembers no versions.
    pub fn note_version(
        &mut self,
        root_spki_sha256: Digest,
        name: ComponentName,
        security_version: u64,
    ) {
        if let Some(versions) = &mut self.versions {
            let seen = versions
                .entry((root_spki_sha256, name))
                .or_insert(security_version);
            *seen = security_version.max(*seen);
        }
    }

    /// Records that a component was admitted here: from now on it is judged as of then where its dates have passed.
    pub fn note_admission(&mut self, admission: Admission) {
        self.admissions.insert(admission.signatures(), admission);
    }

    pub(crate) fn admission(&self, signatures: &Digest) -> Option<&Admission> {
        self.admissions.get(signatures)
    }

    /// Records that no older version of a component is to run, under whichever root.
    pub fn note_minimum(&mut self, name: ComponentName, security_version: u64) {
        let least = self.minimums.entry(name).or_insert(security_version);
        *least = security_version.max(*least);
    }

    /// Judges a least version that is about to be recorded against what is known of the component: so that one signed mistake
    /// does not make a component impossible for good.
    ///
    /// # Errors
    /// [`Rejection::VersionLeap`].
    pub fn check_minimum(
        &self,
        name: &ComponentName,
        security_version: u64,
    ) -> Result<(), Rejection> {
        let ran = self.versions.iter().flatten();
        let seen = ran
            .filter(|((_, ran), _)| ran == name)
            .map(|(_, version)| *version)
            .chain(self.minimums.get(name).copied())
            .max()
            .unwrap_or(0);
        if security_version.saturating_sub(seen) > MAX_VERSION_STEP {
            return Err(Rejection::VersionLeap {
                name: name.clone(),
                version: security_version,
                seen,
                limit: MAX_VERSION_STEP,
            });
        }
        Ok(())
    }

    /// Whether versions are remembered.
    #[must_use]
    pub const fn remembers_versions(&self) -> bool {
        self.versions.is_some()
    }

    /// The lists that claim to come from this issuer, the highest number first; and whether each was brought.
    pub(crate) fn crls_of<'a>(
        &'a self,
        also: &'a [Crl],
        name: &[u8],
        key_identifier: &[u8],
    ) -> Vec<(&'a Crl, bool)> {
        let given = self.crls.iter().chain(also).map(|crl| (crl, false));
        let brought = self.brought.iter().map(|crl| (crl, true));
        let mut crls: Vec<_> = given
            .chain(brought)
            .filter(|(crl, _)| crl.claimed_issuer() == (name, key_identifier))
            .collect();
        crls.sort_by_key(|(crl, _)| std::cmp::Reverse((crl.number(), crl.this_update())));
        crls
    }

    pub(crate) fn seen_crl_number(&self, issuer_spki_sha256: &Digest) -> Option<CrlNumber> {
        self.crl_numbers.get(issuer_spki_sha256).copied()
    }

    /// Judges a version against what ran here under this root.
    pub(crate) fn check_version(
        &self,
        root: Digest,
        name: &ComponentName,
        version: u64,
    ) -> Result<(), Rejection> {
        let Some(versions) = &self.versions else {
            return Ok(());
        };
        let least = self.minimums.get(name).copied().unwrap_or(0);
        if version < least {
            return Err(Rejection::Withdrawn {
                name: name.clone(),
                version,
                least,
            });
        }
        let seen = versions.get(&(root, name.clone())).copied().unwrap_or(0);
        if version < seen {
            return Err(Rejection::Rollback {
                name: name.clone(),
                version,
                seen,
            });
        }
        let seen = seen.max(least);
        if version.saturating_sub(seen) > MAX_VERSION_STEP {
            return Err(Rejection::VersionLeap {
                name: name.clone(),
                version,
                seen,
                limit: MAX_VERSION_STEP,
            });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> ComponentName {
        ComponentName::parse(text).unwrap()
    }

    #[test]
    fn td07_a_version_never_falls_under_its_root() {
        let root = Digest::of(b"root");
        let mut state = TrustState::remembering();
        state.note_version(root, name("acme:pump"), 7);
        state.note_version(root, name("acme:pump"), 5);
        let rollback = Rejection::Rollback {
            name: name("acme:pump"),
            version: 6,
            seen: 7,
        };
        assert_eq!(
            state.check_version(root, &name("acme:pump"), 6),
            Err(rollback)
        );
        assert_eq!(state.check_version(root, &name("acme:pump"), 7), Ok(()));
        assert_eq!(state.check_version(root, &name("acme:door"), 1), Ok(()));
        assert_eq!(
            state.check_version(Digest::of(b"other"), &name("acme:pump"), 1),
            Ok(())
        );
    }

    #[test]
    fn td18_what_was_withdrawn_is_refused_under_every_root_and_by_small_steps_only() {
        let pump = name("acme:pump");
        let (one, other) = (Digest::of(b"one"), Digest::of(b"other"));
        let mut state = TrustState::remembering();
        state.note_version(one, pump.clone(), 7);
        state.note_minimum(pump.clone(), 9);
        state.note_minimum(pump.clone(), 8);
        for root in [one, other] {
            assert!(matches!(
                state.check_version(root, &pump, 8),
                Err(Rejection::Withdrawn { least: 9, .. })
            ));
            assert_eq!(state.check_version(root, &pump, 9), Ok(()));
            // A step is counted from what must not be undercut.
            assert_eq!(
                state.check_version(root, &pump, 9 + MAX_VERSION_STEP),
                Ok(())
            );
        }
        assert_eq!(state.check_version(one, &name("acme:door"), 1), Ok(()));
        assert_eq!(state.check_minimum(&pump, 9 + MAX_VERSION_STEP), Ok(()));
        for leap in [10 + MAX_VERSION_STEP, u64::MAX] {
            assert!(matches!(
                state.check_minimum(&pump, leap),
                Err(Rejection::VersionLeap { seen: 9, .. })
            ));
        }
        assert!(
            state
                .check_minimum(&name("acme:door"), MAX_VERSION_STEP + 1)
                .is_err()
        );
    }

    #[test]
    fn td09_a_version_does_not_leap() {
        let state = TrustState::remembering();
        let root = Digest::of(b"root");
        assert_eq!(
            state.check_version(root, &name("acme:pump"), MAX_VERSION_STEP),
            Ok(())
        );
        for version in [MAX_VERSION_STEP + 1, u64::MAX] {
            assert!(matches!(
                state.check_version(root, &name("acme:pump"), version),
                Err(Rejection::VersionLeap { .. })
            ));
        }
        assert_eq!(
            TrustState::stateless().check_version(root, &name("acme:pump"), u64::MAX),
            Ok(())
        );
    }
}
