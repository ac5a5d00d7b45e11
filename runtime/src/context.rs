//! The part of a store's data that belongs to the guest: WASI, its handles, its limits.

use std::sync::Arc;

use wasmtime::component::ResourceTable;

use crate::error::LoadError;
use crate::grants::Granted;
use crate::host::Session;
use crate::http::{Http, Outgoing};
use crate::limits::Limiter;
use crate::wasi::{self, Outputs, Preopen, Quotas, Wasi};

/// What one start of one component needs in its store.
///
/// Made by [`ReadyGuest::context`](crate::ReadyGuest::context) only, and good for that component only.
pub struct GuestContext {
    pub(crate) wasi: Wasi,
    pub(crate) table: ResourceTable,
    pub(crate) http: Http,
    pub(crate) preopens: Vec<Preopen>,
    pub(crate) quotas: Quotas,
    pub(crate) outputs: Outputs,
    pub(crate) limiter: Limiter,
    pub(crate) session: Option<Session>,
    pub(crate) granted: Arc<Granted>,
}

impl GuestContext {
    pub(crate) fn new(granted: &Arc<Granted>, session: Option<Session>) -> Result<Self, LoadError> {
        let mut table = ResourceTable::new();
        table.set_max_capacity(usize::try_from(granted.limits().handles).unwrap_or(usize::MAX));
        Ok(Self {
            wasi: Wasi::default(),
            outputs: wasi::outputs(granted),
            table,
            http: Http::new(Outgoing::new(granted)),
            preopens: granted
                .directories
                .iter()
                .map(Preopen::new)
                .collect::<Result<_, _>>()?,
            quotas: Quotas::default(),
            limiter: Limiter::new(granted.limits(), &granted.usage),
            session,
            granted: Arc::clone(granted),
        })
    }

    /// The table of host resources, for the host's own interfaces: what is pushed here counts against the guest's
    /// handles.
    pub fn table(&mut self) -> &mut ResourceTable {
        &mut self.table
    }

    /// What this guest was granted.
    #[must_use]
    pub fn granted(&self) -> &Granted {
        &self.granted
    }
}

impl std::fmt::Debug for GuestContext {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GuestContext")
            .field("granted", &self.granted)
            .finish_non_exhaustive()
    }
}

/// A store's data, as far as this library needs to know it: it holds a [`GuestContext`].
///
/// ```
/// use countersign_runtime::{GuestContext, HasGuestContext};
///
/// struct Plant {
///     guest: GuestContext,
///     valves_open: u32,
/// }
///
/// impl HasGuestContext for Plant {
///     fn guest_context(&mut self) -> &mut GuestContext {
///         &mut self.guest
///     }
/// }
/// ```
pub trait HasGuestContext: Send + 'static {
    /// The guest's part.
    fn guest_context(&mut self) -> &mut GuestContext;
}

impl HasGuestContext for GuestContext {
    fn guest_context(&mut self) -> &mut GuestContext {
        self
    }
}
