//! HTTP for guests: the requests that a component serves, and those that it sends, each under its grants and limits.
//!
//! WASI 0.2's `wasi:http`, HTTP/1.1. A component that exports `wasi:http/incoming-handler` and may serve is given each request
//! in a store of its own by [`HttpHandler`]; nothing of one request is there in the next. Where requests come from (addresses,
//! connections, TLS) is the host's matter. What a component sends goes to the hosts that both its statement and the operator
//! name, and to an address that was checked after the name was resolved.

mod address;
mod body;
mod handler;
mod outgoing;

use wasmtime::component::Linker;
use wasmtime_wasi_http::p2::bindings::LinkOptions;
use wasmtime_wasi_http::p2::bindings::http;
use wasmtime_wasi_http::{WasiHttp, WasiHttpCtx, WasiHttpCtxView};

use crate::context::{GuestContext, HasGuestContext};
use crate::grants::Granted;

pub use body::ResponseBody;
pub use handler::{HttpHandler, HttpLimits, Scheme, ServeError};
pub use hyper::{Request, Response, StatusCode};
pub(crate) use outgoing::Outgoing;
pub use outgoing::{Connected, Secure, SecureFuture};
/// What ends a body before its end.
pub use wasmtime_wasi_http::Error as BodyError;

/// The most of the guests laid out for serving that one is in the place of: [`HttpHandler::places`].
pub const MAX_PLACES: u32 = crate::engine::PLACES_MOST;

/// Most bytes of a set of headers that a guest makes, with what they take in memory (64 KiB).
const HEADER_BYTES: usize = 64 << 10;

/// The part of a guest's context that HTTP needs.
pub(crate) struct Http {
    context: WasiHttpCtx,
    outgoing: Outgoing,
}

impl Http {
    pub(crate) fn new(outgoing: Outgoing) -> Self {
        let mut context = WasiHttpCtx::new();
        context.set_field_size_limit(HEADER_BYTES);
        Self { context, outgoing }
    }
}

/// Adds to `linker` what of HTTP a guest with these grants has.
pub(crate) fn link<T: HasGuestContext>(
    linker: &mut Linker<T>,
    granted: &Granted,
) -> wasmtime::Result<()> {
    let outgoing = granted.http_outgoing().is_some();
    if outgoing || granted.http_incoming() {
        let options = LinkOptions::default();
        http::types::add_to_linker::<T, WasiHttp>(linker, &(&options).into(), view)?;
    }
    if outgoing {
        http::outgoing_handler::add_to_linker::<T, WasiHttp>(linker, view)?;
    }
    Ok(())
}

fn view<T: HasGuestContext>(host: &mut T) -> WasiHttpCtxView<'_> {
    let GuestContext { http, table, .. } = host.guest_context();
    WasiHttpCtxView {
        hooks: &mut http.outgoing,
        table,
        ctx: &mut http.context,
    }
}
