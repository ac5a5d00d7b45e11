//! Revoking: at once in the registry, and in the next list.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use countersign_provisioning::{Reason, Serial};

use super::views::{RevokeRequest, RevokedView};
use crate::http::App;
use crate::http::access::Asker;
use crate::problem::{Code, Problem, ProblemBody};

/// Revokes a certificate. A second time changes nothing, unless only now the key is said to be lost. What another authority issued is
/// revoked here, and not believed here any more; only that authority's list tells hosts.
#[utoipa::path(post, path = "/api/v1/certificates/{serial}/revoke", params(("serial" = String, Path, description = "The certificate's serial number, hexadecimal", pattern = "^[0-9A-Fa-f]{2,40}$")),
    request_body = RevokeRequest,
    responses((status = 200, description = "Revoked; the next list has it", body = RevokedView),
        (status = 202, description = "Revoked here; what is named in `elsewhere` was issued by others, and is revoked for hosts only when they revoke it", body = RevokedView), (status = 400, body = ProblemBody), (status = 401, body = ProblemBody), (status = 404, body = ProblemBody)))]
pub(super) async fn revoke(
    State(app): State<Arc<App>>,
    asker: Asker,
    Path(serial): Path<String>,
    Json(body): Json<RevokeRequest>,
) -> Result<(StatusCode, Json<RevokedView>), Problem> {
    let serial: Serial = serial.parse().map_err(|_| {
        Problem::new(Code::BadRequest).detail("a serial number is written as hexadecimal digits")
    })?;
    let reason: Reason = body
        .reason
        .parse()
        .map_err(|reason: String| Problem::new(Code::BadRequest).detail(reason))?;
    let not_found = || Problem::new(Code::NotFound);
    let found = app.desk.certificate(&serial).await?.ok_or_else(not_found)?;
    let device = app.desk.device(&found.device).await?;
    let order = device.as_ref().and_then(|device| device.order.as_deref());
    let by = asker.may_revoke(&found.device, order)?;
    let revoked = app
        .desk
        .revoke(&serial, reason, &by)
        .await?
        .ok_or_else(not_found)?;
    let elsewhere = app.desk.revoked_of_others(&revoked).await?;
    let status = match elsewhere.as_slice() {
        [] => StatusCode::OK,
        _ => StatusCode::ACCEPTED,
    };
    Ok((status, Json(RevokedView::new(&revoked, &elsewhere))))
}
