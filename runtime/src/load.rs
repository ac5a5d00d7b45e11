//! From a verified component to one that is ready to start. The only file that calls Wasmtime's compiler.
//!
//! The order is fixed: read the imports, hold them against the grants, compile the very buffer that was verified,
//! link. Nothing is compiled for a component that is refused for its imports.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use countersign_trust_store::VerifiedComponent;
use wasmtime::Engine;
use wasmtime::component::{Component, Linker};

use crate::audit::Record;
use crate::context::HasGuestContext;
use crate::deadline::{Ticker, panic_message};
use crate::error::LoadError;
use crate::grants::{Ceiling, Granted};
use crate::guest::ReadyGuest;
use crate::host::{self, Session};
use crate::imports::{self, ReadError};
use crate::wasi;

/// Loads `verified` under `ceiling` with the interfaces of `linker`.
pub(crate) fn load<T: HasGuestContext>(
    engine: &Engine,
    ticker: &Arc<Ticker>,
    verified: &VerifiedComponent,
    ceiling: &Ceiling,
    linker: &Linker<T>,
) -> Result<ReadyGuest<T>, LoadError> {
    if !Engine::same(linker.engine(), engine) {
        return Err(LoadError::LinkerEngine);
    }
    let granted = Granted::new(verified.statement(), ceiling);
    let imports =
        unharmed(|| imports::read(verified.component()))?.map_err(|error| match error {
            ReadError::Feature(reason) => LoadError::FeatureForbidden {
                reason: reason.to_string(),
            },
            other => LoadError::ComponentInvalid {
                reason: other.to_string(),
            },
        })?;
    granted.check_imports(&imports, ceiling)?;

    let component = compile(engine, verified)?;

    let session = Session::new(verified, ceiling);
    let mut linker = linker.clone();
    wasi::link(&mut linker, &granted)
        .and_then(|()| match session {
            Some(_) => host::link(&mut linker),
            None => Ok(()),
        })
        .map_err(|error| LoadError::LinkerConflict {
            reason: format!("{error:#}"),
        })?;
    let pre = linker
        .instantiate_pre(&component)
        .map_err(|error| LoadError::ImportMissing {
            reason: format!("{error:#}"),
        })?;
    Ok(ReadyGuest::new(
        pre,
        Arc::new(granted),
        session,
        Arc::clone(ticker),
        Record::accepted(verified),
    ))
}

#[expect(
    clippy::disallowed_methods,
    reason = "the one place that compiles: the argument is the buffer that was verified, never text or a file"
)]
fn compile(engine: &Engine, verified: &VerifiedComponent) -> Result<Component, LoadError> {
    unharmed(|| Component::from_binary(engine, verified.component()))?.map_err(|error| {
        LoadError::ComponentInvalid {
            reason: format!("{error:#}"),
        }
    })
}

/// Does what reads a component's code. Whoever may sign can still hold a component that a parser or the compiler stumbles
/// over; that ends nothing but its loading.
fn unharmed<T>(read: impl FnOnce() -> T) -> Result<T, LoadError> {
    catch_unwind(AssertUnwindSafe(read)).map_err(|panic| LoadError::ComponentInvalid {
        reason: format!("reading it panicked: {}", panic_message(panic.as_ref())),
    })
}
