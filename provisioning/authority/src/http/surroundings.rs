//! What surrounds every request.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use tracing::field::Empty;
use tracing::{Instrument as _, Span};

use crate::http::App;
use crate::http::privacy;
use crate::http::server::Peer;
use crate::problem::{Code, Problem};
use crate::telemetry;

/// The most header fields of a request.
const MAX_FIELDS: usize = 64;

/// The most bytes of a request's address and header fields together.
const MAX_FIELD_BYTES: usize = 12 * 1024;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Gives the request a number, counts it, bounds its time, and logs how it went. No body, token or query is logged, and of
/// questions about privacy tokens nothing at all: who asked when is nobody's to know.
pub(super) async fn surround(
    State((app, time)): State<(Arc<App>, Duration)>,
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
    let mut answer = match admitted.and_then(|()| bounded(&request)) {
        Err(problem) => problem.into_response(),
        Ok(()) => {
            match tokio::time::timeout(time, next.run(request).instrument(span.clone())).await {
                Ok(answer) => plain_into_problem(answer),
                Err(_) => Problem::new(Code::Timeout).into_response(),
            }
        }
    };

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
