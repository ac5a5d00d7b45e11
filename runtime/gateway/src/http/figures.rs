//! How many requests a component answered, how, and how long they took until the answer began.

use std::sync::LazyLock;
use std::time::Duration;

use countersign_runtime::http::StatusCode;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

/// Classes of statuses, by their first digit.
const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

/// Where the times are divided, in seconds.
const SECONDS: [f64; 8] = [0.001, 0.005, 0.025, 0.1, 0.5, 2.5, 10.0, 30.0];

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Answered {
    service: String,
    class: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Took {
    service: String,
}

type Times = Family<Took, Histogram, fn() -> Histogram>;

fn histogram() -> Histogram {
    Histogram::new(SECONDS)
}

/// Since the start, whichever component of a service it was. Services are few, and named by the operator.
static ANSWERED: LazyLock<Family<Answered, Counter>> = LazyLock::new(Family::default);
static TOOK: LazyLock<Times> = LazyLock::new(|| Times::new_with_constructor(histogram));

/// Those of one service.
pub(super) struct Figures {
    answered: [Counter; CLASSES.len()],
    took: Histogram,
}

impl Figures {
    pub(super) fn of(service: &str) -> Self {
        Self {
            answered: CLASSES.map(|class| {
                let service = service.to_owned();
                ANSWERED.get_or_create_owned(&Answered { service, class })
            }),
            took: TOOK.get_or_create_owned(&Took {
                service: service.to_owned(),
            }),
        }
    }

    /// Counts a request that was answered so.
    pub(super) fn note(&self, status: StatusCode, took: Duration) {
        let class = usize::from(status.as_u16() / 100).saturating_sub(1);
        if let Some(counter) = self.answered.get(class) {
            counter.inc();
        }
        self.took.observe(took.as_secs_f64());
    }
}

/// Has them shown.
pub(crate) fn register(registry: &mut Registry) {
    registry.register(
        "http_requests",
        "Requests that a service's component answered, by the class of the status",
        ANSWERED.clone(),
    );
    registry.register_with_unit(
        "http_request_duration",
        "Until the answer to a request began",
        Unit::Seconds,
        TOOK.clone(),
    );
}
