//! What several verbs share.

pub(crate) mod authority;
pub(crate) mod certificates;
pub(crate) mod confirm;
pub(crate) mod failure;
pub(crate) mod files;
pub(crate) mod output;
pub(crate) mod passphrase;
pub(crate) mod secrets;
