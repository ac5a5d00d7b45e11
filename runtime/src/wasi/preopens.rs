//! Granted directories, handed to a guest by descriptor.
//!
//! `WasiCtxBuilder::preopened_dir` takes a path and opens it again, so whoever renames a folder between grant and
//! start decides what the guest gets. Here the directory that was opened at the grant is the one that is handed over.

use wasmtime::component::{HasData, Resource, ResourceTable};
use wasmtime_wasi::filesystem::{Descriptor, Dir};
use wasmtime_wasi::p2::bindings::filesystem::preopens::Host;
use wasmtime_wasi::{FsPerms, OpenMode};

use super::files::Quotas;
use super::quota::Quota;
use crate::context::{GuestContext, HasGuestContext};
use crate::error::LoadError;
use crate::grants::{Access, Directory};

/// A directory with its path in the guest.
pub(crate) struct Preopen {
    dir: Dir,
    guest: String,
    quota: Option<Quota>,
}

impl Preopen {
    /// Duplicates the descriptor of a granted directory for one guest.
    pub(crate) fn new(directory: &Directory) -> Result<Self, LoadError> {
        let dir = directory
            .dir
            .try_clone()
            .map_err(|error| LoadError::GrantInvalid {
                grant: directory.guest.clone(),
                reason: format!("its descriptor cannot be duplicated: {error}"),
            })?;
        let (perms, mode) = match directory.access {
            Access::Read => (FsPerms::ReadOnly, OpenMode::READ),
            Access::ReadWrite => (FsPerms::ReadWrite, OpenMode::READ | OpenMode::WRITE),
        };
        // `false`: file operations leave the executor's thread, so that a deadline can end them.
        let dir = Dir::new(dir.into_std_file(), perms, mode, false);
        Ok(Self {
            dir,
            guest: directory.guest.clone(),
            quota: match directory.access {
                Access::Read => None,
                Access::ReadWrite => directory.quota.clone(),
            },
        })
    }
}

/// Selects what `wasi:filesystem/preopens` needs of a host's state.
pub(super) struct Preopens;

impl HasData for Preopens {
    type Data<'a> = View<'a>;
}

pub(super) struct View<'a> {
    preopens: &'a [Preopen],
    table: &'a mut ResourceTable,
    quotas: &'a mut Quotas,
}

pub(super) fn view<T: HasGuestContext>(host: &mut T) -> View<'_> {
    let GuestContext {
        preopens,
        table,
        quotas,
        ..
    } = host.guest_context();
    View {
        preopens,
        table,
        quotas,
    }
}

impl Host for View<'_> {
    fn get_directories(&mut self) -> wasmtime::Result<Vec<(Resource<Descriptor>, String)>> {
        self.preopens
            .iter()
            .map(|preopen| {
                let descriptor = self.table.push(Descriptor::Dir(preopen.dir.clone()))?;
                if let Some(quota) = &preopen.quota {
                    self.quotas.insert(&descriptor, quota.clone());
                }
                Ok((descriptor, preopen.guest.clone()))
            })
            .collect()
    }
}
