//! Requests that a component serves: each in a store of its own, under the component's limits.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Body;
use hyper::header::CONTENT_LENGTH;
use hyper::{HeaderMap, Method, Request, Response, StatusCode};
use tokio::sync::oneshot;
use tokio::task::{AbortHandle, JoinSet};
use wasmtime::Store;
use wasmtime_wasi_http::Error;
use wasmtime_wasi_http::p2::bindings::ProxyPre;
use wasmtime_wasi_http::p2::bindings::http::types;
use wasmtime_wasi_http::p2::body::HyperOutgoingBody;

use super::body::{Bounded, ResponseBody};
use super::view;
use crate::context::{GuestContext, HasGuestContext};
use crate::deadline::{Budget, bounded};
use crate::engine::{PLACES_MOST, places};
use crate::error::{LoadError, RunError};
use crate::guest::{ReadyGuest, flatten};
use crate::limits::LimitKind;

/// What a request may bring, beside the limits of the component that serves it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct HttpLimits {
    /// Bytes of a request's body. Default 16 MiB.
    pub request_bytes: u64,
    /// How long a body may bring nothing, in either direction. Default 10 s.
    pub pause: Duration,
}

impl Default for HttpLimits {
    fn default() -> Self {
        Self {
            request_bytes: 16 << 20,
            pause: Duration::from_secs(10),
        }
    }
}

/// By which scheme a request came, as its guest is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// Without TLS.
    Http,
    /// Over TLS.
    Https,
}

/// Why a request has no answer of the component's.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// The guest was stopped, or trapped, before it answered.
    #[error(transparent)]
    Ended(#[from] RunError),
    /// The guest says that it cannot answer.
    #[error("the guest answered with an error: {reason}")]
    Failed {
        /// The error of `wasi:http`.
        reason: String,
    },
    /// The request cannot be put to a guest.
    #[error("the request cannot be put to a guest: {reason}; HTTP/1.1 asks for a host")]
    Request {
        /// Why not.
        reason: String,
    },
    /// The request says that its body is larger than it may be.
    #[error("the request's body is larger than {limit} bytes")]
    TooLarge {
        /// Most bytes that are taken.
        limit: u64,
    },
    /// The guest ended without an answer.
    #[error("the guest ended without an answer")]
    Unanswered,
}

impl ServeError {
    /// What whoever asked is told. Why is told to the operator alone.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Ended(RunError::Limit {
                kind: LimitKind::Cpu | LimitKind::Time,
                ..
            }) => StatusCode::GATEWAY_TIMEOUT,
            Self::Ended(RunError::Limit { .. } | RunError::NoRoom) => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            Self::Ended(_) | Self::Unanswered => StatusCode::INTERNAL_SERVER_ERROR,
            Self::Failed { .. } => StatusCode::BAD_GATEWAY,
            Self::Request { .. } => StatusCode::BAD_REQUEST,
            Self::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
        }
    }
}

/// A component that is ready to serve. A clone shares the compiled code; with the last one, the guests that still answer end.
///
/// ```no_run
/// # use countersign_runtime::http::{HttpLimits, Request, Scheme};
/// # use countersign_runtime::{GuestContext, ReadyGuest};
/// # async fn example(ready: ReadyGuest<GuestContext>) -> Result<(), Box<dyn std::error::Error>> {
/// let handler = ready.http_handler(HttpLimits::default())?;
/// let request = Request::get("http://plant.example/valves").body(String::new())?;
/// let response = handler
///     .serve(Scheme::Http, request, |ended| println!("it ended: {ended:?}"))
///     .await?;
/// # Ok(()) }
/// ```
pub struct HttpHandler<T: 'static> {
    ready: ReadyGuest<T>,
    proxy: ProxyPre<T>,
    limits: HttpLimits,
    /// None once all were ended.
    guests: Arc<Mutex<Option<JoinSet<()>>>>,
}

impl<T: 'static> Clone for HttpHandler<T> {
    fn clone(&self) -> Self {
        Self {
            ready: self.ready.clone(),
            proxy: self.proxy.clone(),
            limits: self.limits,
            guests: Arc::clone(&self.guests),
        }
    }
}

impl<T: 'static> fmt::Debug for HttpHandler<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpHandler")
            .field("ready", &self.ready)
            .finish_non_exhaustive()
    }
}

impl<T: HasGuestContext> ReadyGuest<T> {
    /// The component as one that serves HTTP.
    ///
    /// # Errors
    /// [`LoadError::HttpDenied`] if it was not granted to serve; [`LoadError::ExportMissing`] if it exports no
    /// `wasi:http/incoming-handler` of WASI 0.2.
    pub fn http_handler(&self, limits: HttpLimits) -> Result<HttpHandler<T>, LoadError> {
        if !self.granted().http_incoming() {
            return Err(LoadError::HttpDenied);
        }
        let proxy =
            ProxyPre::new(self.pre().clone()).map_err(|error| LoadError::ExportMissing {
                reason: format!("{error:#}"),
            })?;
        Ok(HttpHandler {
            ready: self.clone(),
            proxy,
            limits,
            guests: Arc::new(Mutex::new(Some(JoinSet::new()))),
        })
    }
}

impl<T: HasGuestContext> HttpHandler<T> {
    /// The component.
    #[must_use]
    pub fn ready(&self) -> &ReadyGuest<T> {
        &self.ready
    }

    /// How many of the guests that are laid out for serving ([`Builder::for_serving`](crate::Builder::for_serving)) it is in the
    /// place of while it answers one request: one, unless it has many memories or tables. [`MAX_PLACES`](super::MAX_PLACES) at most.
    #[must_use]
    pub fn places(&self) -> u32 {
        let needed = self.ready.pre().component().resources_required();
        let places = needed.map(|needed| places(needed.num_memories, needed.num_tables));
        places.unwrap_or(PLACES_MOST).min(PLACES_MOST)
    }

    /// Ends every guest that still answers, and lets none begin any more: a request that comes after, or waited for its turn, fails
    /// with [`RunError::Stopped`].
    pub fn end_all(&self) {
        let mut guests = self.guests.lock().unwrap_or_else(PoisonError::into_inner);
        // What is dropped is aborted.
        drop(guests.take());
    }

    /// Puts a request to the component, in a store whose context was made for it.
    ///
    /// The answer is there as soon as its head is; the guest goes on, within its limits, while its body is read. Whoever drops
    /// the future, or the answer's body before its end, ends the guest. `ended` is called when the guest ended otherwise.
    ///
    /// Needs a Tokio runtime with its timer (`enable_all`).
    ///
    /// # Errors
    /// [`ServeError`]; the guest, if it began, is gone.
    pub async fn serve_in<B>(
        &self,
        mut store: Store<T>,
        scheme: Scheme,
        request: Request<B>,
        ended: impl FnOnce(&Result<(), RunError>) + Send + 'static,
    ) -> Result<Response<ResponseBody>, ServeError>
    where
        B: Body<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Into<Error>,
    {
        let limits = self.ready.prepare(&mut store)?;
        let most = self.limits.request_bytes;
        if request.body().size_hint().lower() > most {
            return Err(ServeError::TooLarge { limit: most });
        }
        let bodiless = request.method() == Method::HEAD;
        let pause = self.limits.pause;
        let request = request.map(|body| {
            if body.is_end_stream() {
                return Empty::new().map_err(|never| match never {}).boxed_unsync();
            }
            let too_large = || Error::HttpRequestBodySize(None);
            Bounded::new(body, most, pause, too_large).boxed_unsync()
        });
        let scheme = match scheme {
            Scheme::Http => types::Scheme::Http,
            Scheme::Https => types::Scheme::Https,
        };
        let refused = |error: wasmtime::Error| ServeError::Request {
            reason: error.to_string(),
        };
        let (answer, answered) = oneshot::channel();
        let mut http = view(store.data_mut());
        let request = http
            .new_incoming_request(scheme, request)
            .map_err(refused)?;
        let outparam = http.new_response_outparam(answer).map_err(refused)?;

        let failed = Arc::new(AtomicBool::new(false));
        let (tell, told) = oneshot::channel();
        let (proxy, ticker) = (self.proxy.clone(), Arc::clone(self.ready.ticker()));
        let usage = Arc::clone(&self.ready.granted().usage);
        let fails = Arc::clone(&failed);
        let guest = async move {
            // Gone before the store, and its answer's end with that.
            let mut whole = Whole::not_yet(fails);
            let mut budget = Budget::new(&limits, &usage);
            let called = bounded(&ticker, &mut budget, async {
                let outputs = store.data_mut().guest_context().outputs.clone();
                let proxy = proxy.instantiate_async(&mut store).await?;
                let handler = proxy.wasi_http_incoming_handler();
                let called = handler.call_handle(&mut store, request, outparam).await;
                outputs.drain().await;
                called
            })
            .await;
            let outcome = flatten(called).map_err(|ended| ended.explain(&limits, &mut store));
            whole.is(outcome.is_ok());
            drop(whole);
            drop(store);
            ended(&outcome);
            // Nobody waits for it if there is an answer.
            let _ = tell.send(outcome);
        };
        let guest = {
            let mut guests = self.guests.lock().unwrap_or_else(PoisonError::into_inner);
            let Some(guests) = guests.as_mut() else {
                return Err(ServeError::Ended(RunError::Stopped));
            };
            // Those that ended since.
            while guests.try_join_next().is_some() {}
            Ends(Some(guests.spawn(guest)))
        };
        let response = match answered.await {
            Ok(Ok(response)) => response,
            Ok(Err(code)) => {
                // It said what it had to say, and may clear up.
                guest.goes_on();
                return Err(ServeError::Failed {
                    reason: format!("{code:?}"),
                });
            }
            Err(_) => {
                return Err(match told.await {
                    Ok(Err(error)) => ServeError::Ended(error),
                    Ok(Ok(())) => ServeError::Unanswered,
                    Err(_) => ServeError::Ended(RunError::Stopped),
                });
            }
        };
        let guest = guest.goes_on();
        let owed = if bodiless {
            Some(0)
        } else {
            content_length(response.headers())
        };
        Ok(response.map(|body: HyperOutgoingBody| ResponseBody::new(body, owed, failed, guest)))
    }
}

impl HttpHandler<GuestContext> {
    /// Puts a request to the component in a store of its own, for a host that adds no interfaces.
    ///
    /// # Errors
    /// As [`serve_in`](Self::serve_in).
    pub async fn serve<B>(
        &self,
        scheme: Scheme,
        request: Request<B>,
        ended: impl FnOnce(&Result<(), RunError>) + Send + 'static,
    ) -> Result<Response<ResponseBody>, ServeError>
    where
        B: Body<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Into<Error>,
    {
        let context = self
            .ready
            .context()
            .map_err(|error| RunError::Context(Box::new(error)))?;
        let store = Store::new(self.ready.engine(), context);
        self.serve_in(store, scheme, request, ended).await
    }
}

fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// Says of an answer that it is not whole, unless its guest ended well.
struct Whole {
    failed: Arc<AtomicBool>,
    is: bool,
}

impl Whole {
    fn not_yet(failed: Arc<AtomicBool>) -> Self {
        Self { failed, is: false }
    }

    fn is(&mut self, well: bool) {
        self.is = well;
    }
}

impl Drop for Whole {
    fn drop(&mut self) {
        self.failed.store(!self.is, Ordering::Release);
    }
}

/// Ends a guest that nobody waits for any more.
struct Ends(Option<AbortHandle>);

impl Ends {
    fn goes_on(mut self) -> AbortHandle {
        self.0.take().expect("taken once, by value")
    }
}

impl Drop for Ends {
    fn drop(&mut self) {
        if let Some(guest) = &self.0 {
            guest.abort();
        }
    }
}
