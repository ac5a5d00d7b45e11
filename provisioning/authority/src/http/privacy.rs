//! Privacy tokens over HTTP: a stranger's question about one, and what a device is given at its provisioning.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use base64ct::{Base64, Encoding as _};
use countersign_format::DeviceIdentity;
use countersign_privacy_tokens::Token;

use super::views::{PrivacyView, TableView, ValidateAnswer, ValidateRequest};
use crate::http::App;
use crate::problem::{Code, Problem, ProblemBody};

/// Where it is asked. Of requests here there is no line in the log and no span, whatever their answer.
pub(super) const VALIDATE: &str = "/api/v1/validate/nuc";

/// Whether a registered device made a privacy token: PASS or FAIL, and no more is said or kept. Anybody may ask. What has
/// not the form of a token is refused, by its form alone.
#[utoipa::path(post, path = "/api/v1/validate/nuc", request_body = ValidateRequest,
    responses((status = 200, body = ValidateAnswer), (status = 400, body = ProblemBody), (status = 429, body = ProblemBody), (status = 503, body = ProblemBody)))]
pub(super) async fn validate(
    State(app): State<Arc<App>>,
    Json(body): Json<ValidateRequest>,
) -> Result<Json<ValidateAnswer>, Problem> {
    let privacy = app
        .privacy
        .as_ref()
        .ok_or_else(|| Problem::new(Code::NotFound))?;
    let malformed = || {
        Problem::new(Code::BadRequest)
            .detail("the token is not 65 bytes in base64, of which the first is 1")
    };
    let bytes = Base64::decode_vec(&body.token).map_err(|_| malformed())?;
    let token = Token::from_bytes(&bytes).map_err(|_| malformed())?;
    let verdict = privacy.validate(&token).await?;
    Ok(Json(ValidateAnswer {
        result: verdict.to_string(),
    }))
}

/// What a device that just got a certificate is given: nothing without privacy tokens, or where its hardware has no hash.
/// The certificate is on record by now, so a fault is said here and takes nothing from it.
pub(super) async fn given(app: &App, device: &DeviceIdentity) -> Option<PrivacyView> {
    let privacy = app.privacy.as_ref()?;
    let unavailable = |hardware_hash| PrivacyView {
        state: "unavailable",
        hardware_hash,
        tables: Vec::new(),
    };
    let Ok(found) = app.desk.device(device).await else {
        return Some(unavailable(None));
    };
    let hash = found?.hardware_hash?;
    let hardware_hash = Some(hex::encode(hash));
    Some(match privacy.give(hash).await {
        Err(_) => unavailable(hardware_hash),
        Ok(None) => PrivacyView {
            state: "given-before",
            hardware_hash,
            tables: Vec::new(),
        },
        Ok(Some(tables)) => PrivacyView {
            state: "given",
            hardware_hash,
            tables: tables
                .iter()
                .map(|(table, key)| TableView {
                    table: *table,
                    master_key: key.as_str().to_owned(),
                })
                .collect(),
        },
    })
}
