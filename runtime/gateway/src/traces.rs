//! `[traces]`: what the gateway does, as spans for a collector of OpenTelemetry.
//!
//! Decides what of it is told: names, versions, digests, verdicts and times; no request's, message's or signature's content, no
//! topic, path or key. Without a collector nothing is made, and nothing is paid.

use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::Context as _;
use countersign_telemetry::Spans;
use tracing::Span;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::admission::{Facts, Refusal};
use crate::say::warn;

/// The name under which spans are shown.
const NAME: &str = "countersign-gateway";

/// Requests and messages that are told of in a second, at most: what is more is not, so that the queue has room for the rest.
const A_SECOND: u64 = 10;

/// Spans that are sent, until they end.
pub(crate) struct Traces(Option<Spans>);

impl Traces {
    /// Begins to send spans, if a collector is named.
    ///
    /// # Errors
    /// If that cannot begin.
    pub(crate) fn begin(collector: Option<&str>) -> anyhow::Result<Self> {
        let Some(collector) = collector else {
            return Ok(Self(None));
        };
        let spans = Spans::to(collector, NAME).context("[traces] endpoint")?;
        tracing_subscriber::registry()
            .with(spans.layer())
            .try_init()
            .context("the spans could not begin")?;
        Ok(Self(Some(spans)))
    }

    /// Sends what is left.
    pub(crate) fn end(self) {
        if let Some(error) = self.0.and_then(Spans::stop) {
            warn("", &format!("the last spans were not sent: {error}"));
        }
    }
}

/// Notes in a span which component it is about, and what became of it.
pub(crate) fn judged(span: &Span, judged: Result<&Facts, &Refusal>) {
    match judged {
        Ok(facts) => {
            of(span, facts);
            span.record("verdict", "accepted");
        }
        Err(refusal) => {
            span.record("verdict", refusal.code.unwrap_or("cannot be used"));
        }
    }
}

/// Notes in a span which component it is about.
pub(crate) fn of(span: &Span, facts: &Facts) {
    span.record("component", &facts.component);
    span.record("version", &facts.version);
    span.record("digest", &facts.file_sha256);
}

/// Whether one of many is told of: the first ones of each second.
pub(crate) fn is_sampled() -> bool {
    static SECOND: AtomicU64 = AtomicU64::new(0);
    static COUNT: AtomicU64 = AtomicU64::new(0);
    if !tracing::span_enabled!(tracing::Level::INFO) {
        return false;
    }
    let now = countersign_roots::system_time().as_secs();
    if SECOND.swap(now, Ordering::Relaxed) != now {
        COUNT.store(0, Ordering::Relaxed);
    }
    COUNT.fetch_add(1, Ordering::Relaxed) < A_SECOND
}
