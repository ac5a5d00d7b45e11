//! Enrolment over Secure Transport (RFC 7030, RFC 8951): the three operations that every client knows.
//!
//! Who enrols has a token, as Bearer or as the password of HTTP Basic, or a factory identity; who re-enrols shows the
//! certificate that is to be renewed. The label in the path, where there is one, is the name of the profile.

use std::collections::HashMap;
use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, HeaderValue};
use axum::response::Response;
use countersign_provisioning::{CertificateRequest, Profile};

use super::provision::wish;
use super::surroundings::typed;
use crate::desk::Wish;
use crate::est::{base64, pkcs7};
use crate::http::App;
use crate::http::access::{Asker, of_client};
use crate::problem::{Code, Problem, ProblemBody};

/// The authorities' certificates, from the issuer to the root. They are public.
#[utoipa::path(get, path = "/.well-known/est/cacerts",
    responses((status = 200, description = "certs-only PKCS#7 in base64", content_type = "application/pkcs7-mime", body = String)))]
pub(super) async fn cacerts(State(app): State<Arc<App>>) -> Response {
    answer(app.desk.chain(), "application/pkcs7-mime")
}

/// A first certificate. The same request with the same token gets the same one; another request with it is refused by 409,
/// `token-used`.
#[utoipa::path(post, path = "/.well-known/est/simpleenroll",
    request_body(content = String, content_type = "application/pkcs10", description = "PKCS#10 in base64"),
    responses(
        (status = 200, description = "certs-only PKCS#7 in base64", content_type = "application/pkcs7-mime", body = String),
        (status = 400, body = ProblemBody), (status = 401, body = ProblemBody), (status = 403, body = ProblemBody),
        (status = 409, body = ProblemBody), (status = 415, body = ProblemBody), (status = 422, body = ProblemBody),
        (status = 503, body = ProblemBody),
    ))]
pub(super) async fn simpleenroll(
    State(app): State<Arc<App>>,
    Path(path): Path<HashMap<String, String>>,
    asker: Asker,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    let csr = request(&headers, &body)?;
    let wish = wish(&asker, &csr, None, labelled(&path)?, None)?;
    issue(&app, wish).await
}

/// Another certificate in place of the one that the client shows, over the same key or a new one.
#[utoipa::path(post, path = "/.well-known/est/simplereenroll",
    request_body(content = String, content_type = "application/pkcs10", description = "PKCS#10 in base64"),
    responses(
        (status = 200, description = "certs-only PKCS#7 in base64", content_type = "application/pkcs7-mime", body = String),
        (status = 400, body = ProblemBody), (status = 401, body = ProblemBody), (status = 403, body = ProblemBody),
        (status = 409, body = ProblemBody), (status = 415, body = ProblemBody), (status = 503, body = ProblemBody),
    ))]
pub(super) async fn simplereenroll(
    State(app): State<Arc<App>>,
    Path(path): Path<HashMap<String, String>>,
    asker: Asker,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    let csr = request(&headers, &body)?;
    let client = asker
        .client()
        .filter(|client| !client.factory)
        .ok_or_else(|| {
            Problem::new(Code::Forbidden)
                .detail("renewing needs the certificate that is to be renewed, in TLS")
        })?;
    // RFC 7030 §4.2.2: what the client shows is what is renewed, and clients show TLS certificates.
    if labelled(&path)?.is_some_and(|profile| profile != Profile::Tls) {
        return Err(Problem::new(Code::Forbidden));
    }
    let request = CertificateRequest::verify(&csr)?;
    let device = request.identity(None)?;
    if device != client.device {
        return Err(Problem::new(Code::Forbidden));
    }
    let serial = client
        .serial
        .parse()
        .map_err(|_| Problem::new(Code::Internal))?;
    let wish = Wish {
        public_key: request.public_key().clone(),
        dns_names: Vec::new(),
        // Who asks again with the certificate that was renewed, because the answer was lost, gets the same answer.
        request: Some(format!("renewal:{}", client.serial)),
        device,
        profile: Profile::Tls,
        renews: Some(serial),
        order: None,
        one_time: false,
        requester: of_client(client),
    };
    issue(&app, wish).await
}

async fn issue(app: &App, wish: Wish) -> Result<Response, Problem> {
    let issued = app.desk.issue(wish).await?;
    let der = issued.der.ok_or_else(|| Problem::new(Code::Internal))?;
    Ok(answer(
        &[der],
        "application/pkcs7-mime; smime-type=certs-only",
    ))
}

/// RFC 7030 §4.1.3, §4.2.3. The header that RFC 8951 §3.1 retires is sent still, because older clients decode base64
/// only where it stands; newer ones ignore it.
fn answer(certificates: &[Vec<u8>], content_type: &'static str) -> Response {
    let der = pkcs7::certs_only(certificates);
    let mut answer = typed(content_type, base64::body(&der));
    answer.headers_mut().insert(
        "content-transfer-encoding",
        HeaderValue::from_static("base64"),
    );
    answer
}

/// The request in a body of its type (RFC 7030 §4.2.1).
fn request(headers: &HeaderMap, body: &[u8]) -> Result<Vec<u8>, Problem> {
    let is_pkcs10 = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split(';').next())
        .is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/pkcs10"));
    if !is_pkcs10 {
        return Err(Problem::new(Code::UnsupportedMediaType));
    }
    base64::request(body)
}

/// The profile that the path names.
fn labelled(path: &HashMap<String, String>) -> Result<Option<Profile>, Problem> {
    path.get("label")
        .map(|label| label.parse().map_err(|_| Problem::new(Code::NotFound)))
        .transpose()
}
