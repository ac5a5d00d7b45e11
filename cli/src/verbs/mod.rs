//! One module for each verb: its arguments, its help, and what it does.

pub(crate) mod attach;
pub(crate) mod attest;
pub(crate) mod bundle;
pub(crate) mod codes;
pub(crate) mod completions;
pub(crate) mod detach;
pub(crate) mod device;
pub(crate) mod dispatch;
pub(crate) mod inspect;
pub(crate) mod key;
pub(crate) mod receipt;
pub(crate) mod sign;
pub(crate) mod sign_code;
pub(crate) mod strip;
pub(crate) mod verify;
