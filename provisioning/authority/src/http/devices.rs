//! Devices: shown, listed, approved, and asked to prove who they are.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use base64ct::{Base64, Encoding as _};
use countersign_keys::PublicKey;
use countersign_registry::{Device, DeviceState};

use super::challenge::{LABEL, LIFE_SECONDS};
use super::provision::identity;
use super::views::{
    ApproveRequest, AuthenticateAnswer, AuthenticateRequest, CertificateView, ChallengeAnswer,
    DevicePage, DeviceQuery, DeviceView,
};
use crate::http::App;
use crate::http::access::Asker;
use crate::pem;
use crate::problem::{Code, Problem, ProblemBody};
use crate::tokens::Action;

/// How many devices a part of the list has unless said.
const PAGE: u32 = 100;

/// The most that a part of the list has.
const MAX_PAGE: u32 = 1000;

/// The longest text about a device.
const MAX_TEXT: usize = 64;

/// One device and its certificates. What the asker may not see is answered like what is not there.
#[utoipa::path(get, path = "/api/v1/devices/{serial}", params(("serial" = String, Path, description = "The device's identity", pattern = "^[A-Za-z0-9][A-Za-z0-9._:-]{0,63}$")),
    responses((status = 200, body = DeviceView), (status = 400, body = ProblemBody), (status = 401, body = ProblemBody), (status = 404, body = ProblemBody)))]
pub(super) async fn show(
    State(app): State<Arc<App>>,
    asker: Asker,
    Path(serial): Path<String>,
) -> Result<Json<DeviceView>, Problem> {
    let device = identity(&serial)?;
    let found = app.desk.device(&device).await?;
    let order = found.as_ref().and_then(|found| found.order.as_deref());
    asker.may_read(&device, order)?;
    let found = found.ok_or_else(|| Problem::new(Code::NotFound))?;
    let certificates = app.desk.certificates(&device).await?;
    let mut view = DeviceView::from(&found);
    view.certificates = Some(certificates.iter().map(CertificateView::from).collect());
    Ok(Json(view))
}

/// Devices by identity.
#[utoipa::path(get, path = "/api/v1/devices", params(DeviceQuery),
    responses((status = 200, body = DevicePage), (status = 400, body = ProblemBody), (status = 401, body = ProblemBody), (status = 403, body = ProblemBody)))]
pub(super) async fn list(
    State(app): State<Arc<App>>,
    asker: Asker,
    Query(query): Query<DeviceQuery>,
) -> Result<Json<DevicePage>, Problem> {
    asker.may_everywhere(Action::Read)?;
    // An identity orders the list; anything else would be one too, but is a mistake.
    let after = query.after.as_deref().map(identity).transpose()?;
    let limit = query.limit.unwrap_or(PAGE);
    if !(1..=MAX_PAGE).contains(&limit) {
        return Err(Problem::new(Code::BadRequest).detail("limit is a number from 1 to 1000"));
    }
    let page = app
        .desk
        .devices(
            query.family.as_deref(),
            after.as_ref().map(|device| device.as_str()),
            limit.into(),
        )
        .await?;
    Ok(Json(DevicePage {
        devices: page.items.iter().map(DeviceView::from).collect(),
        next: page.next,
    }))
}

/// Says that a device may have certificates. A device that is known already keeps what is recorded of it.
#[utoipa::path(put, path = "/api/v1/devices/{serial}", params(("serial" = String, Path, description = "The device's identity", pattern = "^[A-Za-z0-9][A-Za-z0-9._:-]{0,63}$")),
    request_body = ApproveRequest,
    responses((status = 204), (status = 400, body = ProblemBody), (status = 401, body = ProblemBody), (status = 403, body = ProblemBody),
        (status = 422, body = ProblemBody)))]
pub(super) async fn approve(
    State(app): State<Arc<App>>,
    asker: Asker,
    Path(serial): Path<String>,
    Json(body): Json<ApproveRequest>,
) -> Result<StatusCode, Problem> {
    let id = identity(&serial)?;
    let by = asker.may_approve(&id, body.order.as_deref())?;
    for text in [
        &body.device_type,
        &body.family,
        &body.hardware_revision,
        &body.firmware_version,
    ] {
        if text.chars().count() > MAX_TEXT || text.chars().any(char::is_control) {
            return Err(Problem::new(Code::BadRequest).detail(
                "type, family, revision and version have at most 64 characters, none of them a control character",
            ));
        }
    }
    let device = Device {
        id,
        hardware_hash: None,
        device_type: body.device_type,
        family: body.family,
        revision: body.hardware_revision,
        firmware: body.firmware_version,
        state: DeviceState::Approved,
        order: body.order,
        recorded_at: 0,
    };
    app.desk.approve(device, &by).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// A challenge for a device. Anybody may ask for one.
#[utoipa::path(post, path = "/api/v1/challenge", responses((status = 200, body = ChallengeAnswer), (status = 429, body = ProblemBody)))]
pub(super) async fn challenge(
    State(app): State<Arc<App>>,
) -> Result<Json<ChallengeAnswer>, Problem> {
    let challenge = app.challenges.make((app.clock)())?;
    Ok(Json(ChallengeAnswer {
        challenge: Base64::encode_string(&challenge),
        label: Base64::encode_string(LABEL),
        seconds: LIFE_SECONDS,
    }))
}

/// Who a device is: its chain, that it is not revoked, that it holds the key, and what is known of it.
#[utoipa::path(post, path = "/api/v1/authenticate", request_body = AuthenticateRequest,
    responses((status = 200, body = AuthenticateAnswer), (status = 400, body = ProblemBody), (status = 401, body = ProblemBody), (status = 503, body = ProblemBody)))]
pub(super) async fn authenticate(
    State(app): State<Arc<App>>,
    Json(body): Json<AuthenticateRequest>,
) -> Result<Json<AuthenticateAnswer>, Problem> {
    // Every way to fail is answered alike: this route asks for no credential but what it checks.
    let refused = || Problem::new(Code::Unauthenticated);
    let now = (app.clock)();
    let challenge = Base64::decode_vec(&body.challenge).map_err(|_| refused())?;
    let signature = Base64::decode_vec(&body.signature).map_err(|_| refused())?;
    if !app.challenges.is_open(&challenge, now) {
        return Err(refused());
    }
    let chain = pem::read_certificates(&body.chain).ok_or_else(refused)?;
    let clients = Arc::clone(&app.clients);
    let client = clients.judge(&chain).map_err(|_| refused())?;
    let key = PublicKey::from_spki_der(&client.spki).map_err(|_| refused())?;
    let signed = [LABEL, &challenge].concat();
    key.verify_x509(&signed, &signature)
        .map_err(|_| refused())?;
    if !app.desk.stands(&client).await? {
        return Err(refused());
    }
    let device = app.desk.device(&client.device).await?.ok_or_else(refused)?;
    if device.state == DeviceState::Retired || !app.challenges.answer(&challenge, now) {
        return Err(refused());
    }
    Ok(Json(AuthenticateAnswer {
        authenticated: true,
        device_id: device.id.to_string(),
        serial: client.serial,
        device_type: device.device_type,
        family: device.family,
        firmware_version: device.firmware,
    }))
}
