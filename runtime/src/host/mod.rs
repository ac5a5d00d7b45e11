//! What a device lends to its guests, `countersign:device@0.1.0`: one file for each interface, each with an
//! `add_to_linker`, a view of the host's data and a `HasData`, as Wasmtime's own interfaces have them.
//!
//! [`Device`] is made once for a process, and lent to components by [`Ceiling::device`](crate::Ceiling::device) and
//! [`Ceiling::key`](crate::Ceiling::key); what a component gets of it is the intersection with its signed statement.
//! [`Runtime::load`](crate::Runtime::load) links the interfaces for a component that has a key. A host that runs guests
//! without this library's loader adds them to its own linker.

pub mod attestation;
mod bindings;
mod device;
pub mod identity;
mod queue;
mod quota;
mod record;
mod session;
pub mod signing;

pub use attestation::{EvidenceError, LentAttestation};
pub use device::{Device, DeviceBuilder, DeviceError, LentKey};
pub use record::{SigningOutcome, SigningRecord};
pub use session::{KeyCeiling, Session};

pub(crate) use session::GrantedKey;

use wasmtime::component::Linker;

use crate::context::{GuestContext, HasGuestContext};

/// The package, as imports spell it without an interface.
pub(crate) const PACKAGE: &str = "countersign:device";
/// Its interfaces in the version that this library has.
pub(crate) const INTERFACES: [&str; 3] = [
    "countersign:device/attestation@0.1.0",
    "countersign:device/identity@0.1.0",
    "countersign:device/signing@0.1.0",
];

/// Adds the interfaces for a guest that was granted a key.
pub(crate) fn link<T: HasGuestContext>(linker: &mut Linker<T>) -> wasmtime::Result<()> {
    signing::add_to_linker(linker, |host: &mut T| {
        let GuestContext { session, table, .. } = host.guest_context();
        signing::SigningView {
            session: session.as_ref(),
            table,
        }
    })?;
    attestation::add_to_linker(linker, |host: &mut T| attestation::AttestationView {
        session: host.guest_context().session.as_ref(),
    })?;
    identity::add_to_linker(linker, |host: &mut T| identity::IdentityView {
        session: host.guest_context().session.as_ref(),
    })
}
