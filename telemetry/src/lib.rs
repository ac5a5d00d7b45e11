//! Spans to a collector of OpenTelemetry, for the programs that have one named.
//!
//! Decides how a collector is spoken to and that it keeps nobody waiting: spans wait in a bounded queue, are sent by a thread of
//! their own, and are lost where the collector does not take them. What a span says is decided where it is made; only our own
//! are sent.

#![forbid(unsafe_code)]

use std::time::Duration;

use async_trait::async_trait;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing::{Metadata, Subscriber};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::{Layer, filter};

/// How long the collector has to take what is sent.
const TAKES: Duration = Duration::from_secs(5);

/// The longest answer of the collector that is read, in bytes.
const MAX_ANSWER: u64 = 64 * 1024;

/// Whether a collector may have this address.
///
/// # Errors
/// [`NoCollector`] says what it must be.
pub fn check(collector: &str) -> Result<(), NoCollector> {
    match collector.starts_with("http://") {
        true => Ok(()),
        false => Err(NoCollector {
            address: collector.to_owned(),
        }),
    }
}

/// An address that no collector has.
#[derive(Debug, thiserror::Error)]
#[error(
    "{address:?} is no address of a collector: write http://HOST:PORT; a collector elsewhere is reached by one on this machine"
)]
pub struct NoCollector {
    /// The address.
    address: String,
}

/// Spans that go to a collector, until [`Self::stop`].
#[derive(Debug)]
pub struct Spans {
    /// Under which they are shown.
    program: &'static str,
    provider: SdkTracerProvider,
}

impl Spans {
    /// Sends spans to a collector that takes OTLP as JSON, such as `http://127.0.0.1:4318`. Starts a thread.
    ///
    /// # Errors
    /// [`NoCollector`] for an address that is none.
    pub fn to(collector: &str, program: &'static str) -> Result<Self, NoCollector> {
        check(collector)?;
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
            .with_endpoint(format!("{}/v1/traces", collector.trim_end_matches('/')))
            .with_timeout(TAKES)
            .build()
            .map_err(|_| NoCollector {
                address: collector.to_owned(),
            })?;
        let resource = Resource::builder_empty().with_service_name(program).build();
        Ok(Self {
            program,
            provider: SdkTracerProvider::builder()
                .with_batch_exporter(exporter)
                .with_resource(resource)
                .build(),
        })
    }

    /// What hands over the spans of the program, beside where its events go.
    pub fn layer<S>(&self) -> impl Layer<S> + use<S>
    where
        S: Subscriber + for<'a> LookupSpan<'a>,
    {
        tracing_opentelemetry::layer()
            .with_tracer(self.provider.tracer(self.program))
            .with_location(false)
            .with_threads(false)
            .with_target(false)
            .with_level(false)
            .with_tracked_inactivity(false)
            .with_filter(filter::filter_fn(is_ours))
    }

    /// Sends what is left; says why, where that does not work.
    #[must_use]
    pub fn stop(self) -> Option<String> {
        self.provider
            .shutdown()
            .err()
            .map(|error| error.to_string())
    }
}

/// Spans of our programs. Events are for logs.
fn is_ours(metadata: &Metadata<'_>) -> bool {
    metadata.is_span() && metadata.target().starts_with("countersign_")
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
