//! `countersign:device/identity`: what the device is called.

use wasmtime::component::{HasData, Linker};

use super::bindings::countersign::device::identity as wit;
use super::session::Session;

/// What the interface needs of a host's data.
pub struct IdentityView<'a> {
    /// What this guest has of the device. Without it every call traps: there is no device to tell of.
    pub session: Option<&'a Session>,
}

/// Selects [`IdentityView`] of a host's data.
pub struct HasIdentity;

impl HasData for HasIdentity {
    type Data<'a> = IdentityView<'a>;
}

/// Adds `countersign:device/identity@0.1.0` to a linker.
///
/// # Errors
/// What Wasmtime says if the linker has it already.
pub fn add_to_linker<T: Send + 'static>(
    linker: &mut Linker<T>,
    view: fn(&mut T) -> IdentityView<'_>,
) -> wasmtime::Result<()> {
    wit::add_to_linker::<T, HasIdentity>(linker, view)
}

impl IdentityView<'_> {
    fn session(&self) -> wasmtime::Result<&Session> {
        self.session
            .ok_or_else(|| wasmtime::Error::msg("no device is lent to this component"))
    }
}

impl wit::Host for IdentityView<'_> {
    fn device(&mut self) -> wasmtime::Result<String> {
        Ok(self.session()?.device().identity().to_string())
    }

    fn device_type(&mut self) -> wasmtime::Result<Option<String>> {
        Ok(self
            .session()?
            .device()
            .device_type()
            .map(ToOwned::to_owned))
    }

    fn boot(&mut self) -> wasmtime::Result<Vec<u8>> {
        Ok(self.session()?.device().boot().as_bytes().to_vec())
    }
}
