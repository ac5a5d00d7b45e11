//! The revocation list, and what ends soon.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Query, State};
use axum::response::Response;

use super::surroundings::typed;
use super::views::{CertificateView, ExpiringAnswer, ExpiringQuery};
use crate::http::App;
use crate::http::access::Asker;
use crate::problem::{Code, Problem, ProblemBody};
use crate::tokens::Action;

const SECONDS_PER_DAY: u64 = 86_400;

/// A hundred years.
const MAX_DAYS: u32 = 36_500;

/// The issuer's newest revocation list (RFC 2585 §4.2). It is public.
#[utoipa::path(get, path = "/crl",
    responses((status = 200, content_type = "application/pkix-crl", body = Vec<u8>), (status = 404, body = ProblemBody)))]
pub(super) async fn crl(State(app): State<Arc<App>>) -> Result<Response, Problem> {
    let list = app
        .desk
        .crl()
        .await?
        .ok_or_else(|| Problem::new(Code::NotFound))?;
    Ok(typed("application/pkix-crl", list.der))
}

/// Certificates that end soon.
#[utoipa::path(get, path = "/api/v1/certificates/expiring", params(ExpiringQuery),
    responses((status = 200, body = ExpiringAnswer), (status = 400, body = ProblemBody), (status = 401, body = ProblemBody), (status = 403, body = ProblemBody)))]
pub(super) async fn expiring(
    State(app): State<Arc<App>>,
    asker: Asker,
    Query(query): Query<ExpiringQuery>,
) -> Result<Json<ExpiringAnswer>, Problem> {
    asker.may_everywhere(Action::Read)?;
    let days = query.days.unwrap_or(30);
    if days > MAX_DAYS {
        return Err(Problem::new(Code::BadRequest).detail("days is a number from 0 to 36500"));
    }
    let until = (app.clock)()
        .as_secs()
        .saturating_add(u64::from(days).saturating_mul(SECONDS_PER_DAY));
    let found = app.desk.expiring(until).await?;
    Ok(Json(ExpiringAnswer {
        certificates: found.iter().map(CertificateView::from).collect(),
    }))
}
