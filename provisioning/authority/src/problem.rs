//! The one form in which a request is refused: RFC 9457's problem details, with a stable code and what to do next.
//!
//! A refusal says nothing about devices that the asker may not see: a device that is not there and one that is
//! somebody else's are answered alike.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

/// Why a request was refused. One for each question that a person would ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Code {
    /// This device has a certificate of this profile already.
    AlreadyIssued,
    /// The device's attestation is not accepted.
    Attestation,
    /// The body is larger than is read.
    BodyTooLarge,
    /// Something in the request cannot be read.
    BadRequest,
    /// The device's identity is not one.
    DeviceId,
    /// The credential does not reach that far.
    Forbidden,
    /// The request's line and headers are more than is read.
    HeadersTooLarge,
    /// The same idempotency key came with another request.
    IdempotencyConflict,
    /// A fault of this program or its machine.
    Internal,
    /// The key belongs to another device, or to another purpose.
    KeyKnown,
    /// The address has other methods.
    MethodNotAllowed,
    /// There is no such thing, or none that the asker may see.
    NotFound,
    /// The device is not expected here.
    NotApproved,
    /// The certificate request is not signed by the key that it carries.
    ProofOfPossession,
    /// The profile does not allow what was asked for.
    Refused,
    /// The token was used up by another request.
    TokenUsed,
    /// The client asks too often.
    TooManyRequests,
    /// The request took too long.
    Timeout,
    /// No credential, or one that is not accepted.
    Unauthenticated,
    /// The registry or the authority's key cannot be used now.
    Unavailable,
    /// The body is of another type than is read here.
    UnsupportedMediaType,
}

impl Code {
    /// Every code.
    pub const ALL: [Self; 21] = [
        Self::AlreadyIssued,
        Self::Attestation,
        Self::BodyTooLarge,
        Self::BadRequest,
        Self::DeviceId,
        Self::Forbidden,
        Self::HeadersTooLarge,
        Self::IdempotencyConflict,
        Self::Internal,
        Self::KeyKnown,
        Self::MethodNotAllowed,
        Self::NotFound,
        Self::NotApproved,
        Self::ProofOfPossession,
        Self::Refused,
        Self::TokenUsed,
        Self::TooManyRequests,
        Self::Timeout,
        Self::Unauthenticated,
        Self::Unavailable,
        Self::UnsupportedMediaType,
    ];

    /// The word that programs compare. It never changes.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        self.row().0
    }

    /// The status of the answer.
    #[must_use]
    pub const fn status(self) -> StatusCode {
        self.row().1
    }

    /// What it means.
    #[must_use]
    pub const fn title(self) -> &'static str {
        self.row().2
    }

    /// One row: word, status, what it means, what to do.
    const fn row(self) -> (&'static str, StatusCode, &'static str, &'static str) {
        match self {
            Self::AlreadyIssued => (
                "already-issued",
                StatusCode::CONFLICT,
                "the device has a certificate of this profile already",
                "renew it with simplereenroll, or have an operator revoke it first",
            ),
            Self::Attestation => (
                "attestation",
                StatusCode::FORBIDDEN,
                "what the device says of itself is not accepted",
                "ask it again with a new challenge; what its detail says is explained in docs/codes.md",
            ),
            Self::BodyTooLarge => (
                "body-too-large",
                StatusCode::PAYLOAD_TOO_LARGE,
                "the body is larger than is read here",
                "send the certificate request alone",
            ),
            Self::BadRequest => (
                "bad-request",
                StatusCode::BAD_REQUEST,
                "the request cannot be read",
                "compare it with /openapi.json",
            ),
            Self::DeviceId => (
                "device-id",
                StatusCode::BAD_REQUEST,
                "the device's identity is not accepted",
                "use 1 to 64 letters, digits and . _ : - and start with a letter or digit",
            ),
            Self::Forbidden => (
                "forbidden",
                StatusCode::FORBIDDEN,
                "the credential does not allow this",
                "use a credential whose scope has this device, profile and order",
            ),
            Self::HeadersTooLarge => (
                "headers-too-large",
                StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
                "the request has more headers, or larger ones, than are read here",
                "send the headers that the interface names, and no others",
            ),
            Self::IdempotencyConflict => (
                "idempotency-conflict",
                StatusCode::CONFLICT,
                "this idempotency key came with another request before",
                "use a new key for a new request",
            ),
            Self::Internal => (
                "internal",
                StatusCode::INTERNAL_SERVER_ERROR,
                "the authority failed",
                "tell its operator the request's id",
            ),
            Self::KeyKnown => (
                "key-known",
                StatusCode::CONFLICT,
                "the public key has a certificate already, of another device or purpose",
                "make a new key: a key belongs to one device and has one purpose",
            ),
            Self::MethodNotAllowed => (
                "method-not-allowed",
                StatusCode::METHOD_NOT_ALLOWED,
                "this address has other methods",
                "use one that Allow names",
            ),
            Self::NotFound => (
                "not-found",
                StatusCode::NOT_FOUND,
                "there is no such thing, or none that this credential may see",
                "check the address, or use another credential",
            ),
            Self::NotApproved => (
                "not-approved",
                StatusCode::FORBIDDEN,
                "the device is not expected",
                "have an operator approve its serial number first",
            ),
            Self::ProofOfPossession => (
                "proof-of-possession",
                StatusCode::BAD_REQUEST,
                "the certificate request's signature does not verify under the key that it carries",
                "sign the request with the key that the certificate is for",
            ),
            Self::Refused => (
                "refused",
                StatusCode::UNPROCESSABLE_ENTITY,
                "the profile does not allow what was asked for",
                "change the request as the detail says",
            ),
            Self::TokenUsed => (
                "token-used",
                StatusCode::CONFLICT,
                "the token was used up by another request",
                "ask for another token; the request that used this one up gets its certificate again",
            ),
            Self::TooManyRequests => (
                "too-many-requests",
                StatusCode::TOO_MANY_REQUESTS,
                "too many requests",
                "wait as long as Retry-After says",
            ),
            Self::Timeout => (
                "timeout",
                StatusCode::REQUEST_TIMEOUT,
                "the request took too long",
                "send it again",
            ),
            Self::Unauthenticated => (
                "unauthenticated",
                StatusCode::UNAUTHORIZED,
                "no credential, or one that is not accepted",
                "present a client certificate of this authority, or a token that is neither used nor expired",
            ),
            Self::Unavailable => (
                "unavailable",
                StatusCode::SERVICE_UNAVAILABLE,
                "the registry or the authority's key cannot be used now, and nothing was signed",
                "send the same request again later, with the same idempotency key",
            ),
            Self::UnsupportedMediaType => (
                "unsupported-media-type",
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "the body is of another type than is read here",
                "set Content-Type as /openapi.json says",
            ),
        }
    }
}

/// A refusal, as it is answered.
#[derive(Clone, Debug)]
pub struct Problem {
    code: Code,
    detail: Option<String>,
    retry_after: Option<u64>,
}

impl Problem {
    /// A refusal with its code's own sentence.
    #[must_use]
    pub const fn new(code: Code) -> Self {
        Self {
            code,
            detail: None,
            retry_after: None,
        }
    }

    /// The same, saying more. What is said goes to whoever asked.
    #[must_use]
    pub fn detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    /// The same, with the seconds after which to ask again.
    #[must_use]
    pub const fn retry_after(mut self, seconds: u64) -> Self {
        self.retry_after = Some(seconds);
        self
    }

    /// Its code.
    #[must_use]
    pub const fn code(&self) -> Code {
        self.code
    }
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (_, _, title, remedy) = self.code.row();
        match &self.detail {
            Some(detail) => write!(f, "{detail}; {remedy}"),
            None => write!(f, "{title}; {remedy}"),
        }
    }
}

/// The body of an answer that refuses (RFC 9457 §3).
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct ProblemBody {
    /// Always `about:blank`: the code below tells problems apart.
    #[serde(rename = "type")]
    kind: &'static str,
    /// What happened, the same for every problem of this code.
    title: &'static str,
    /// The HTTP status.
    status: u16,
    /// A word for programs, which never changes.
    code: &'static str,
    /// What happened this time.
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
    /// What to do.
    remedy: &'static str,
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let (code, status, title, remedy) = self.code.row();
        let body = ProblemBody {
            kind: "about:blank",
            title,
            status: status.as_u16(),
            code,
            detail: self.detail,
            remedy,
        };
        let mut answer = (status, axum::Json(body)).into_response();
        let headers = answer.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if status == StatusCode::UNAUTHORIZED {
            // RFC 9110 §11.6.1: a 401 names a scheme.
            headers.insert(
                header::WWW_AUTHENTICATE,
                HeaderValue::from_static(
                    "Bearer realm=\"countersign\", Basic realm=\"countersign\"",
                ),
            );
        }
        let retry_after = match self.code {
            Code::Unavailable => Some(self.retry_after.unwrap_or(5)),
            _ => self.retry_after,
        };
        if let Some(seconds) = retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        // For the log and the metrics, which see answers only.
        answer.extensions_mut().insert(self.code);
        answer
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn codes_are_distinct_and_say_what_to_do() {
        let words: BTreeSet<_> = Code::ALL.iter().map(|code| code.as_str()).collect();
        assert_eq!(words.len(), Code::ALL.len());
        for code in Code::ALL {
            let (word, status, title, remedy) = code.row();
            assert!(
                status.is_client_error() || status.is_server_error(),
                "{word}"
            );
            assert!(!title.is_empty() && !remedy.is_empty(), "{word}");
        }
    }
}
