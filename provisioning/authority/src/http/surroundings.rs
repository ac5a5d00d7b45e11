//! What surrounds every request.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::{Body, HttpBody as _};
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use http_body_util::BodyExt as _;
use tracing::field::Empty;
use tracing::{Instrument as _, Span};

use crate::config::Limits;
use crate::http::App;
use crate::http::server::Peer;
use crate::http::{attest, privacy};
use crate::problem::{Code, Problem};
use crate::telemetry;

/// How long and how large a request may be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    time: Duration,
    body_bytes: u64,
}

impl Bounds {
    pub(super) fn of(limits: &Limits) -> Self {
        Self {
            time: Duration::from_secs(limits.request_seconds),
            body_bytes: u64::try_from(limits.body_bytes).unwrap_or(u64::MAX),
        }
    }

    /// Bytes of a body of this route.
    fn body_bytes(&self, route: &str) -> u64 {
        match route {
            attest::ROUTE => self.body_bytes.max(attest::MAX_BODY_BYTES),
            _ => self.body_bytes,
        }
    }
}

/// The most header fields of a request.
const MAX_FIELDS: usize = 64;

/// The most bytes of a request's address and header fields together.
const MAX_FIELD_BYTES: usize = 12 * 1024;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Gives the request a number, counts it, bounds its time, and logs how it went. No body, token or query is logged, and of
/// questions about privacy tokens nothing at all: who asked when is nobody's to know.
pub(super) async fn surround(
    State((app, bounds)): State<(Arc<App>, Bounds)>,
    request: Request,
    next: Next,
) -> Response {
    let began = Instant::now();
    let id = request_id();
    let method = request.method().clone();
    let route = request
        .extensions()
        .get::<MatchedPath>()
        .map_or("none", MatchedPath::as_str)
        .to_owned();
    let peer = request.extensions().get::<Peer>().cloned();
    let is_told = route != privacy::VALIDATE;
    let span = if is_told {
        tracing::info_span!(
            "request",
            otel.name = format!("{method} {route}"),
            otel.kind = "server",
            request = id,
            trace = Empty,
            http.request.method = %method,
            http.route = route,
            http.response.status_code = Empty,
        )
    } else {
        Span::none()
    };
    let trace = telemetry::trace(&span, &telemetry::parent(request.headers()), &id);
    span.record("trace", &trace);

    let admitted = match &peer {
        // Health is asked by machines that restart this one: it must answer when all others are refused.
        Some(_) if route == "/health" => Ok(()),
        Some(peer) => app.rate.take(peer),
        None => Err(Problem::new(Code::Internal)),
    };
    let has_body = !request.body().is_end_stream();
    let handled = async {
        admitted.and_then(|()| bounded(&request))?;
        let request = whole(request, bounds.body_bytes(&route)).await?;
        Ok(plain_into_problem(next.run(request).await))
    };
    let (mut answer, is_read) =
        match tokio::time::timeout(bounds.time, handled.instrument(span.clone())).await {
            Ok(Ok(answer)) => (answer, true),
            Ok(Err(problem)) => (Problem::into_response(problem), false),
            Err(_) => (Problem::new(Code::Timeout).into_response(), false),
        };
    // What is left of the body stands where the next request would begin: there is none.
    if has_body && !is_read {
        let close = HeaderValue::from_static("close");
        answer.headers_mut().insert(header::CONNECTION, close);
    }

    let took = began.elapsed();
    let status = answer.status();
    let code = answer
        .extensions()
        .get::<Code>()
        .map_or("", |code| code.as_str());
    app.metrics.request(&route, status, took);
    span.record("http.response.status_code", status.as_u16());
    if is_told {
        tracing::info!(
            request = id,
            trace,
            client = peer.as_ref().map_or_else(String::new, |peer| peer.address.ip().to_string()),
            device = peer
                .as_ref()
                .and_then(|peer| peer.client.as_ref())
                .map_or("", |client| client.device.as_str()),
            %method,
            route,
            status = status.as_u16(),
            code,
            micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX),
            "request"
        );
    }
    let headers = answer.headers_mut();
    if let Ok(value) = HeaderValue::from_str(&id) {
        headers.insert(REQUEST_ID, value);
    }
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    answer
}

/// Demands that address and headers are no larger than anything that is asked for here.
fn bounded(request: &Request) -> Result<(), Problem> {
    let headers = request.headers();
    let bytes = headers
        .iter()
        .map(|(name, value)| name.as_str().len().saturating_add(value.len()))
        .fold(request.uri().to_string().len(), usize::saturating_add);
    if headers.len() > MAX_FIELDS || bytes > MAX_FIELD_BYTES {
        return Err(Problem::new(Code::HeadersTooLarge));
    }
    Ok(())
}

/// Takes the body whole, before anybody answers. An answer that overtakes it ends the connection, and who goes on writing, or asks
/// the next thing meanwhile, learns of that as a fault of the network.
async fn whole(request: Request, most: u64) -> Result<Request, Problem> {
    let too_large = || Problem::new(Code::BodyTooLarge);
    let (parts, mut body) = request.into_parts();
    // What is announced is refused without leave to send it (RFC 9110, 10.1.1).
    if body.size_hint().lower() > most {
        return Err(too_large());
    }
    // Copied together: a body may come octet by octet, and what holds each is larger than it.
    let (mut whole, mut left) = (Vec::new(), most);
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| Problem::new(Code::BadRequest))?;
        let Some(bytes) = frame.data_ref() else {
            continue;
        };
        let more = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        left = left.checked_sub(more).ok_or_else(too_large)?;
        whole.extend_from_slice(bytes);
    }
    Ok(Request::from_parts(parts, Body::from(whole)))
}

/// The framework's own refusals (an unreadable body, a missing header) in our form.
fn plain_into_problem(answer: Response) -> Response {
    let status = answer.status();
    if !(status.is_client_error() || status.is_server_error())
        || answer.extensions().get::<Code>().is_some()
    {
        return answer;
    }
    let code = match status {
        StatusCode::PAYLOAD_TOO_LARGE => Code::BodyTooLarge,
        StatusCode::UNSUPPORTED_MEDIA_TYPE => Code::UnsupportedMediaType,
        status if status.is_server_error() => Code::Internal,
        _ => Code::BadRequest,
    };
    // What the framework says of a body may quote it: it stays here.
    Problem::new(code).into_response()
}

/// 16 random bytes in hexadecimal; zeros when the system has none, which is no reason to refuse.
fn request_id() -> String {
    let mut bytes = [0_u8; 16];
    if getrandom::fill(&mut bytes).is_err() {
        bytes = [0; 16];
    }
    hex::encode(bytes)
}

/// No route.
pub(super) async fn nothing_here() -> Problem {
    Problem::new(Code::NotFound)
}

/// A route, and another method.
pub(super) async fn wrong_method() -> Problem {
    Problem::new(Code::MethodNotAllowed)
}

/// A body of this type.
pub(super) fn typed(content_type: &'static str, body: impl Into<Body>) -> Response {
    let mut answer = Response::new(body.into());
    answer
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    answer
}
