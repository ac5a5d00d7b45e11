//! The authority over HTTP: which address does what, and what surrounds every request.
//!
//! Around each: a number for the log, a bound on its body and its time, the client's share of requests, a line in the
//! log, a count. Whatever goes wrong is answered in one form, [`Problem`](crate::problem::Problem).

pub mod access;
mod addresses;
mod attest;
pub mod challenge;
mod devices;
mod est;
mod health;
pub mod limit;
mod lingering;
mod lists;
mod metrics;
mod openapi;
mod privacy;
mod provision;
mod revoke;
pub mod server;
mod surroundings;
mod views;

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::{HeaderName, HeaderValue, Method, header};
use axum::middleware::from_fn_with_state;
use axum::routing::{get, post};
use countersign_trust_store::UnixTime;
use tower_http::cors::{AllowOrigin, CorsLayer};

use crate::attestation::Expectations;
use crate::clients::Clients;
use crate::config::{Limits, Operator};
use crate::desk::Desk;
use crate::page::{self, Login};
use crate::privacy::PrivacyTokens;
use challenge::Challenges;
use limit::RateLimit;
pub use metrics::Metrics;
use surroundings::Bounds;
pub(crate) use views::time;

/// What every handler may use.
pub struct App {
    /// Registry, issuing and tokens.
    pub desk: Desk,
    /// Who judges certificates.
    pub clients: Arc<Clients>,
    /// Devices whose certificates may do more.
    pub operators: Vec<Operator>,
    /// How often each client may ask.
    pub rate: RateLimit,
    /// Challenges that devices answer.
    pub challenges: Challenges,
    /// What attestations must show.
    pub expectations: Expectations,
    /// Counts.
    pub metrics: Arc<Metrics>,
    /// Who may see the page; there is none without it.
    pub login: Option<Login>,
    /// Privacy tokens; there are none without it.
    pub privacy: Option<Arc<PrivacyTokens>>,
    /// The present.
    pub clock: fn() -> UnixTime,
}

/// Every route.
///
/// # Errors
/// An origin that is none.
pub fn router(app: Arc<App>, limits: &Limits, cors_origins: &[String]) -> anyhow::Result<Router> {
    let mut routes = Router::new()
        .route("/", get(health::root))
        .route("/health", get(health::health))
        .route("/stats", get(health::stats))
        .route("/metrics", get(metrics::show))
        .route("/openapi.json", get(openapi::document))
        .route("/docs", get(openapi::page))
        .route("/crl", get(lists::crl))
        .route("/api/v1/devices", get(devices::list))
        .route("/api/v1/devices/provision", post(provision::provision))
        .route(
            "/api/v1/devices/{serial}",
            get(devices::show).put(devices::approve),
        )
        .route("/api/v1/certificates/expiring", get(lists::expiring))
        .route("/api/v1/certificates/{serial}/revoke", post(revoke::revoke))
        .route("/api/v1/challenge", post(devices::challenge))
        .route("/api/v1/authenticate", post(devices::authenticate))
        .route(attest::ROUTE, post(attest::attest))
        .route("/.well-known/est/cacerts", get(est::cacerts))
        .route("/.well-known/est/simpleenroll", post(est::simpleenroll))
        .route("/.well-known/est/simplereenroll", post(est::simplereenroll))
        .route("/.well-known/est/{label}/cacerts", get(est::cacerts))
        .route(
            "/.well-known/est/{label}/simpleenroll",
            post(est::simpleenroll),
        )
        .route(
            "/.well-known/est/{label}/simplereenroll",
            post(est::simplereenroll),
        );
    if app.login.is_some() {
        routes = routes.merge(page::routes());
    }
    if app.privacy.is_some() {
        routes = routes.route(privacy::VALIDATE, post(privacy::validate));
    }
    let mut router = routes
        .fallback(surroundings::nothing_here)
        .method_not_allowed_fallback(surroundings::wrong_method)
        // The body is here, and not too large, before a handler is.
        .layer(DefaultBodyLimit::disable())
        .layer(from_fn_with_state(
            (Arc::clone(&app), Bounds::of(limits)),
            surroundings::surround,
        ))
        .with_state(app);
    if !cors_origins.is_empty() {
        let origins = cors_origins
            .iter()
            .map(|origin| origin.parse::<HeaderValue>())
            .collect::<Result<Vec<_>, _>>()
            .map_err(|_| {
                anyhow::anyhow!("cors_origins has an origin that is none: write https://HOST")
            })?;
        router = router.layer(
            CorsLayer::new()
                .allow_origin(AllowOrigin::list(origins))
                .allow_methods([Method::GET, Method::POST])
                .allow_headers([
                    header::AUTHORIZATION,
                    header::CONTENT_TYPE,
                    HeaderName::from_static("idempotency-key"),
                ]),
        );
    }
    Ok(router)
}
