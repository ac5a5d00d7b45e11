//! Counts, in the text form that Prometheus reads.

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use countersign_format::DeviceIdentity;
use countersign_issuing::{Step, Steps};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

use super::surroundings::typed;
use crate::http::App;
use crate::http::access::Asker;
use crate::problem::{Code, Problem, ProblemBody};
use crate::tokens::Action;

/// By which requests are told apart. Routes, not paths: a stranger chooses paths, and each would be counted for ever.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    route: String,
    status: u32,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct IssueLabels {
    profile: String,
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct AttestationLabels {
    verdict: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct UnusualLabels {
    what: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DatabaseLabels {
    work: &'static str,
}

/// The counts of this process.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    requests: Family<RequestLabels, Counter>,
    seconds: Histogram,
    issued: Family<IssueLabels, Counter>,
    issue_seconds: Histogram,
    attestations: Family<AttestationLabels, Counter>,
    unusual: Family<UnusualLabels, Counter>,
    database_seconds: Family<DatabaseLabels, Histogram>,
    waiting: Gauge<i64, std::sync::atomic::AtomicI64>,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("countersign_authority");
        let requests = Family::<RequestLabels, Counter>::default();
        let seconds = Histogram::new(exponential_buckets(0.001, 2.0, 14));
        let issued = Family::<IssueLabels, Counter<u64, AtomicU64>>::default();
        let issue_seconds = Histogram::new(exponential_buckets(0.001, 2.0, 14));
        let database_seconds = Family::<DatabaseLabels, Histogram>::new_with_constructor(|| {
            Histogram::new(exponential_buckets(0.001, 1.5, 24))
        });
        let attestations = Family::<AttestationLabels, Counter>::default();
        let unusual = Family::<UnusualLabels, Counter>::default();
        let waiting = Gauge::default();
        registry.register("requests", "Requests by route and status", requests.clone());
        registry.register("request_seconds", "Time of a request", seconds.clone());
        registry.register(
            "issue",
            "Certificates asked for, by profile and what came of it",
            issued.clone(),
        );
        registry.register(
            "issue_seconds",
            "Time of an issuance",
            issue_seconds.clone(),
        );
        registry.register(
            "attestations",
            "Attestations of devices, by the verdict",
            attestations.clone(),
        );
        registry.register(
            "unusual",
            "What known devices did that they do not do unless something is wrong, by what it was",
            unusual.clone(),
        );
        registry.register(
            "database_seconds",
            "Time of a transaction that reserves or commits what was asked for together",
            database_seconds.clone(),
        );
        registry.register(
            "issue_waiting",
            "Issuances that are under way",
            waiting.clone(),
        );
        Self {
            registry,
            requests,
            seconds,
            issued,
            issue_seconds,
            attestations,
            unusual,
            database_seconds,
            waiting,
        }
    }
}

impl Metrics {
    /// Counts a request.
    pub fn request(&self, route: &str, status: StatusCode, took: Duration) {
        let labels = RequestLabels {
            route: route.to_owned(),
            status: status.as_u16().into(),
        };
        self.requests.get_or_create(&labels).inc();
        self.seconds.observe(took.as_secs_f64());
    }

    /// Counts an issuance, with the code of its refusal if it was refused.
    pub fn issued(&self, profile: &str, refused: Option<Code>, took: Duration) {
        let labels = IssueLabels {
            profile: profile.to_owned(),
            outcome: refused.map_or("issued", Code::as_str),
        };
        self.issued.get_or_create(&labels).inc();
        self.issue_seconds.observe(took.as_secs_f64());
    }

    /// Counts an attestation, by the code of the verdict.
    pub fn attested(&self, verdict: &'static str) {
        let labels = AttestationLabels { verdict };
        self.attestations.get_or_create(&labels).inc();
    }

    /// Notices that a device that is known did what it does not do unless something is wrong: it was copied, or is in other hands.
    pub fn unusual(&self, what: &'static str, device: &DeviceIdentity) {
        tracing::warn!(device = device.as_str(), what, "a device behaves unusually");
        self.unusual.get_or_create(&UnusualLabels { what }).inc();
    }

    /// Has the transactions of issuing timed that come to their end. Each of the two kinds is one at a time.
    #[must_use]
    pub fn steps(&self) -> Steps {
        let timed = |work| {
            let seconds = self
                .database_seconds
                .get_or_create_owned(&DatabaseLabels { work });
            (Mutex::new(None), seconds)
        };
        let (reserve, commit) = (timed("reserve"), timed("commit"));
        Steps::to(move |step| match step {
            Step::Reserving => begin(&reserve.0),
            Step::Reserved => end(&reserve),
            Step::Committing => begin(&commit.0),
            Step::Committed => end(&commit),
            _ => {}
        })
    }

    /// How many issuances are under way.
    pub fn set_waiting(&self, count: usize) {
        self.waiting.set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    /// Certificates issued and refused since the start.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a text fails only where a label does, and ours do not.
        if encode(&mut text, &self.registry).is_err() {
            text.clear();
        }
        text
    }
}

fn begin(began: &Mutex<Option<Instant>>) {
    *began.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
}

fn end((began, seconds): &(Mutex<Option<Instant>>, Histogram)) {
    let began = began.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some(began) = began {
        seconds.observe(began.elapsed().as_secs_f64());
    }
}

/// Counts of requests and issuances since the start, as Prometheus reads them.
#[utoipa::path(get, path = "/metrics",
    responses((status = 200, content_type = "application/openmetrics-text", body = String), (status = 401, body = ProblemBody)))]
pub(super) async fn show(State(app): State<Arc<App>>, asker: Asker) -> Result<Response, Problem> {
    asker.may_everywhere(Action::Read)?;
    app.metrics.set_waiting(app.desk.waiting());
    Ok(typed(
        "application/openmetrics-text; version=1.0.0; charset=utf-8",
        app.metrics.text(),
    ))
}
