//! What this is, whether it works, and how much it has.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};

use super::views::{HealthAnswer, RootAnswer, StatsAnswer};
use crate::http::App;
use crate::http::access::Asker;
use crate::problem::{Code, Problem};
use crate::tokens::Action;

/// What this is.
#[utoipa::path(get, path = "/", responses((status = 200, body = RootAnswer)))]
pub(super) async fn root() -> Json<RootAnswer> {
    Json(RootAnswer {
        name: "countersign-authority",
        version: env!("CARGO_PKG_VERSION"),
        docs: "/docs",
        est: "/.well-known/est",
    })
}

/// Whether it works: 503 when it cannot issue.
#[utoipa::path(get, path = "/health", responses((status = 200, body = HealthAnswer), (status = 503, body = HealthAnswer)))]
pub(super) async fn health(State(app): State<Arc<App>>) -> Response {
    let registry = app.desk.registry_answers().await;
    let key = app.desk.key_is_open();
    let wrong = app.desk.trouble();
    let (status, word) = if registry && key && wrong.is_none() {
        (StatusCode::OK, "ok")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "degraded")
    };
    let answer = HealthAnswer {
        status: word,
        registry,
        key,
        wrong,
    };
    let mut answer = (status, Json(answer)).into_response();
    if status != StatusCode::OK {
        // What it says is the answer, and no problem's form takes its place.
        answer.extensions_mut().insert(Code::Unavailable);
    }
    answer
}

/// Counts of devices and certificates.
#[utoipa::path(get, path = "/stats", responses((status = 200, body = StatsAnswer), (status = 401, body = crate::problem::ProblemBody)))]
pub(super) async fn stats(
    State(app): State<Arc<App>>,
    asker: Asker,
) -> Result<Json<StatsAnswer>, Problem> {
    asker.may_everywhere(Action::Read)?;
    let statistics = app.desk.statistics().await?;
    Ok(Json(StatsAnswer {
        devices: statistics.devices.into_iter().collect(),
        certificates: statistics.certificates.into_iter().collect(),
        audit_leaves: statistics.leaves_placed,
        audit_waiting: statistics.leaves_waiting,
    }))
}
