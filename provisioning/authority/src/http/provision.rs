//! A certificate for a device, by JSON.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use countersign_format::DeviceIdentity;
use countersign_provisioning::{CertificateRequest, Profile};

use super::privacy;
use super::views::{ProvisionAnswer, ProvisionRequest, time};
use crate::desk::Wish;
use crate::est::base64;
use crate::http::App;
use crate::http::access::Asker;
use crate::pem;
use crate::problem::{Code, Problem, ProblemBody};

/// The longest idempotency key.
const MAX_IDEMPOTENCY_KEY: usize = 128;

/// Has a certificate issued to a device. The same Idempotency-Key with the same request gets the same certificate, and so
/// does the same token. With another request, either is a conflict and no lack of credentials: 409, `idempotency-conflict`
/// or `token-used`.
#[utoipa::path(post, path = "/api/v1/devices/provision", request_body = ProvisionRequest,
    params(("Idempotency-Key" = Option<String>, Header, description = "A name for this request, 1 to 128 printable characters")),
    responses(
        (status = 201, body = ProvisionAnswer),
        (status = 400, body = ProblemBody), (status = 401, body = ProblemBody), (status = 403, body = ProblemBody),
        (status = 409, body = ProblemBody), (status = 413, body = ProblemBody), (status = 415, body = ProblemBody),
        (status = 422, body = ProblemBody), (status = 429, body = ProblemBody), (status = 503, body = ProblemBody),
    ))]
pub(super) async fn provision(
    State(app): State<Arc<App>>,
    asker: Asker,
    headers: HeaderMap,
    Json(body): Json<ProvisionRequest>,
) -> Result<(StatusCode, Json<ProvisionAnswer>), Problem> {
    let csr = base64::request(body.csr.as_bytes())?;
    let profile = body
        .profile
        .as_deref()
        .map(|name| {
            name.parse::<Profile>()
                .map_err(|reason| Problem::new(Code::Refused).detail(reason))
        })
        .transpose()?;
    let given = body.device_id.as_deref().map(identity).transpose()?;
    let wish = wish(
        &asker,
        &csr,
        given.as_ref(),
        profile,
        idempotency(&headers)?,
    )?;
    let public_key = wish.public_key.clone();
    let issued = app.desk.issue(wish).await?;
    let der = issued
        .der
        .clone()
        .ok_or_else(|| Problem::new(Code::Internal))?;
    let answer = ProvisionAnswer {
        device_id: issued.device.to_string(),
        profile: issued.profile.to_string(),
        serial: issued.serial.to_string(),
        certificate: pem::certificates(&[der]),
        chain: pem::certificates(app.desk.chain()),
        public_key: pem::public_key(&public_key),
        not_before: time(issued.not_before),
        not_after: time(issued.not_after),
        privacy_tokens: privacy::given(&app, &issued.device).await,
    };
    Ok((StatusCode::CREATED, Json(answer)))
}

/// A device's identity as somebody wrote it.
pub(super) fn identity(text: &str) -> Result<DeviceIdentity, Problem> {
    // What was written is not repeated: it may be 10 KB of anything.
    DeviceIdentity::parse(text).map_err(|_| Problem::new(Code::DeviceId))
}

/// The name that the client gave its request.
fn idempotency(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let Some(value) = headers.get("idempotency-key") else {
        return Ok(None);
    };
    value
        .to_str()
        .ok()
        .filter(|key| !key.is_empty() && key.len() <= MAX_IDEMPOTENCY_KEY)
        .map(|key| Some(key.to_owned()))
        .ok_or_else(|| {
            Problem::new(Code::BadRequest)
                .detail("Idempotency-Key is not 1 to 128 printable characters")
        })
}

/// A request's name among those of all askers. Identities and keys may have colons, so the length says where one ends.
fn named(asker: &str, key: &str) -> String {
    format!("{}:{asker}:{key}", asker.len())
}

/// What is to be issued, when the asker may have it. Possession of the key is proven here, and nothing is looked up.
pub(super) fn wish(
    asker: &Asker,
    csr: &[u8],
    given: Option<&DeviceIdentity>,
    profile: Option<Profile>,
    idempotency: Option<String>,
) -> Result<Wish, Problem> {
    let request = CertificateRequest::verify(csr)?;
    let device = request.identity(given)?;
    let profile = profile
        .or_else(|| asker.only_profile())
        .unwrap_or(Profile::Tls);
    let right = asker.enrol(&device, profile)?;
    let request_key = match (&right.token, idempotency) {
        // A token is used up by the one request that it is the name of.
        (Some(token), _) => Some(format!("token:{}", hex::encode(token.0))),
        (None, Some(key)) => Some(named(&right.by, &key)),
        (None, None) => None,
    };
    Ok(Wish {
        public_key: request.public_key().clone(),
        device,
        profile,
        renews: None,
        order: right.order,
        dns_names: Vec::new(),
        request: request_key,
        one_time: right.token.is_some(),
        requester: right.by,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tg17_no_two_askers_give_a_request_the_same_name() {
        assert_ne!(named("client a", "b:c"), named("client a:b", "c"));
        assert_ne!(named("client a", "1:c"), named("client a:1", "c"));
        assert_eq!(named("client a", "b"), "8:client a:b");
    }
}
