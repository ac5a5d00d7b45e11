//! What a request gets that no component answers: its status in words. Why is the operator's to know.

use bytes::Bytes;
use countersign_runtime::http::{BodyError, Response, ResponseBody, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full};
use hyper::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER};

/// The body of every answer.
pub(super) type Body = UnsyncBoxBody<Bytes, BodyError>;

/// An answer of the component's own.
pub(super) fn whole(response: Response<ResponseBody>) -> Response<Body> {
    response.map(|body| body.boxed_unsync())
}

/// An answer without one.
pub(super) fn without(status: StatusCode) -> Response<Body> {
    let text = status.canonical_reason().unwrap_or("no answer");
    let body = Full::from(format!("{text}\n")).map_err(|never| match never {});
    let mut response = Response::new(body.boxed_unsync());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    if status == StatusCode::SERVICE_UNAVAILABLE {
        headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
    }
    response
}
