//! Bundles: how a file from a stick or a download becomes what a gateway runs, or a reason why not.
//!
//! Decides that of a bundle either all is applied or nothing; where its parts lie; and that whatever was not verified lies
//! where nothing is run from. Whether an index is true is decided in `countersign-trust-store`, whether a component runs in
//! `admission`, and what a gateway does while a bundle is on trial in `gateway`.

mod applied;
mod apply;
mod carried;
mod download;
mod hold;
mod logins;
mod oci;
mod places;
mod record;
mod stage;
mod stick;
mod unproved;

pub(crate) use applied::{Applied, configured, remembered, with_lists};
pub(crate) use apply::apply;
pub(crate) use carried::{Carried, Known, NotKept, carried, carry};
pub(crate) use hold::{Hold, OnTrial};
pub(crate) use places::Places;
pub(crate) use record::{applied, refused};
pub(crate) use stage::{Staged, stage};
pub(crate) use unproved::few;
