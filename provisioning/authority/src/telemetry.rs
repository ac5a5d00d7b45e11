//! Logs and traces: one JSON object for each line of the log, and spans to a collector of OpenTelemetry where one is named.
//!
//! Decided here: what of a request is told. A span has its name, its times, the request's number, method, route and
//! status, and nothing else: no body, header, token, key or device. What the log says is decided where it is written.

use anyhow::Context as _;
use axum::http::HeaderMap;
use countersign_telemetry::Spans;
use opentelemetry::Context;
use opentelemetry::propagation::TextMapPropagator as _;
use opentelemetry::trace::TraceContextExt as _;
use opentelemetry_http::HeaderExtractor;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _};

use crate::config::Config;

/// The name under which spans are shown.
const NAME: &str = "countersign-authority";

/// What must be told to stop, so that the last spans are sent.
pub struct Telemetry(Option<Spans>);

impl Telemetry {
    /// Begins to log on standard error, where `RUST_LOG` says what, and to send spans if a collector is named. A collector
    /// that does not answer keeps nobody waiting: its spans are lost. Where there are privacy tokens, statements to the registry are
    /// not logged whatever `RUST_LOG` says: how many rows one found is the answer to a token.
    ///
    /// # Errors
    /// For an address that is none.
    pub fn start(config: &Config) -> anyhow::Result<Self> {
        let spans = match &config.telemetry {
            Some(telemetry) => Some(Spans::to(&telemetry.otlp, NAME).context("telemetry.otlp")?),
            None => None,
        };
        let mut filter =
            EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
        if config.privacy_tokens.is_some() {
            filter = filter.add_directive("sqlx::query=off".parse()?);
        }
        let log = tracing_subscriber::fmt::layer()
            .json()
            .flatten_event(true)
            .with_span_list(false)
            .with_writer(std::io::stderr)
            .with_filter(filter);
        tracing_subscriber::registry()
            .with(log)
            .with(spans.as_ref().map(Spans::layer))
            .try_init()
            .context("the log could not begin")?;
        Ok(Self(spans))
    }

    /// Sends what is left.
    pub fn stop(self) {
        if let Some(error) = self.0.and_then(Spans::stop) {
            tracing::warn!(error, "the last spans were not sent");
        }
    }
}

/// What a client says of the trace that its request belongs to (W3C Trace Context, `traceparent`).
pub(crate) fn parent(headers: &HeaderMap) -> Context {
    TraceContextPropagator::new().extract_with_context(&Context::new(), &HeaderExtractor(headers))
}

/// Puts the span under `parent`; the number of its trace, which is the client's, the collector's or else `own`.
pub(crate) fn trace(span: &Span, parent: &Context, own: &str) -> String {
    // Without a collector there is nobody to tell, which is no fault.
    let _ = span.set_parent(parent.clone());
    for context in [&span.context(), parent] {
        let found = context.span().span_context().clone();
        if found.is_valid() {
            return found.trace_id().to_string();
        }
    }
    own.to_owned()
}
