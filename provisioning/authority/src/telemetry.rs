//! Logs and traces: one JSON object for each line of the log, and spans to a collector of OpenTelemetry where one is named.
//!
//! Decided here: what of a request is told. A span has its name, its times, the request's number, method, route and
//! status, and nothing else: no body, header, token, key or device. What the log says is decided where it is written.

use std::time::Duration;

use anyhow::Context as _;
use async_trait::async_trait;
use axum::http::HeaderMap;
use opentelemetry::Context;
use opentelemetry::propagation::TextMapPropagator as _;
use opentelemetry::trace::{TraceContextExt as _, TracerProvider as _};
use opentelemetry_http::{Bytes, HeaderExtractor, HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing::{Metadata, Span};
use tracing_opentelemetry::OpenTelemetrySpanExt as _;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _, filter};

use crate::config::{Config, Telemetry as Section};

/// The name under which spans are shown.
const NAME: &str = "countersign-authority";

/// How long the collector has to take what is sent.
const TAKES: Duration = Duration::from_secs(5);

/// The longest answer of the collector that is read, in bytes.
const MAX_ANSWER: u64 = 64 * 1024;

/// What must be told to stop, so that the last spans are sent.
pub struct Telemetry(Option<SdkTracerProvider>);

impl Telemetry {
    /// Begins to log on standard error, where `RUST_LOG` says what, and to send spans if a collector is named. A collector
    /// that does not answer keeps nobody waiting: its spans are lost. Where there are privacy tokens, statements to the registry are
    /// not logged whatever `RUST_LOG` says: how many rows one found is the answer to a token.
    ///
    /// # Errors
    /// For an address that is none.
    pub fn start(config: &Config) -> anyhow::Result<Self> {
        let provider = config.telemetry.as_ref().map(provider).transpose()?;
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
        let traces = provider.as_ref().map(|provider| {
            tracing_opentelemetry::layer()
                .with_tracer(provider.tracer(NAME))
                .with_location(false)
                .with_threads(false)
                .with_target(false)
                .with_level(false)
                .with_tracked_inactivity(false)
                .with_filter(filter::filter_fn(is_ours))
        });
        tracing_subscriber::registry()
            .with(log)
            .with(traces)
            .try_init()
            .context("the log could not begin")?;
        Ok(Self(provider))
    }

    /// Sends what is left.
    pub fn stop(self) {
        if let Some(provider) = self.0
            && let Err(error) = provider.shutdown()
        {
            tracing::warn!(%error, "the last spans were not sent");
        }
    }
}

/// Spans of this authority. Events are for the log.
fn is_ours(metadata: &Metadata<'_>) -> bool {
    metadata.is_span() && metadata.target().starts_with("countersign_")
}

fn provider(config: &Section) -> anyhow::Result<SdkTracerProvider> {
    let agent = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .proxy(None)
        .timeout_global(Some(TAKES))
        .build();
    let exporter = SpanExporter::builder()
        .with_http()
        .with_http_client(Client(agent.into()))
        .with_protocol(Protocol::HttpJson)
        .with_endpoint(format!("{}/v1/traces", config.otlp.trim_end_matches('/')))
        .with_timeout(TAKES)
        .build()
        .with_context(|| format!("telemetry.otlp: {:?} is no address", config.otlp))?;
    let resource = Resource::builder_empty().with_service_name(NAME).build();
    Ok(SdkTracerProvider::builder()
        .with_batch_exporter(exporter)
        .with_resource(resource)
        .build())
}

/// Sends what the exporter gives it. It blocks, on the thread that the exporter has for itself.
#[derive(Debug)]
struct Client(ureq::Agent);

#[async_trait]
impl HttpClient for Client {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let answer = self.0.run(request.map(|body| body.to_vec()))?;
        let (parts, mut body) = answer.into_parts();
        let body = body.with_config().limit(MAX_ANSWER).read_to_vec()?;
        Ok(Response::from_parts(parts, body.into()))
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
