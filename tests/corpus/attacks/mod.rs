//! The attacks, by what they change.

mod algorithms;
mod audience;
mod body;
mod certificate_encoding;
mod chain;
mod envelope;
mod extensions;
mod framing;
mod keys;
mod limits;
mod lists;
mod names;
mod peers;
mod purpose;
mod revocation;
mod scope;
mod section;
mod signature_values;
mod signers;
mod statement;
mod threshold;
mod time;
mod usage;

use std::collections::BTreeSet;

use crate::attack::Attack;

/// Every attack.
///
/// # Panics
/// When two have one name, or one has a name that is no folder's.
pub(crate) fn all() -> Vec<Attack> {
    let all: Vec<Attack> = [
        framing::attacks(),
        section::attacks(),
        body::attacks(),
        envelope::attacks(),
        purpose::attacks(),
        statement::attacks(),
        limits::attacks(),
        signers::attacks(),
        threshold::attacks(),
        audience::attacks(),
        signature_values::attacks(),
        keys::attacks(),
        algorithms::attacks(),
        chain::attacks(),
        usage::attacks(),
        extensions::attacks(),
        names::attacks(),
        certificate_encoding::attacks(),
        scope::attacks(),
        time::attacks(),
        revocation::attacks(),
        lists::attacks(),
        peers::attacks(),
    ]
    .into_iter()
    .flatten()
    .collect();
    let mut names = BTreeSet::new();
    for Attack { name, what, .. } in &all {
        assert!(names.insert(name.clone()), "{name} is there twice");
        let word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        assert!(name.chars().all(word), "{name} is no name");
        assert!(what.ends_with('.'), "{name} lacks its sentence");
    }
    all
}
