//! Figures in the text form that Prometheus reads: what is seen of the gateway, as numbers.
//!
//! Ends are told as times, seconds since 1970: whoever reads them knows how long before one they want to be woken.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicU64;
use std::sync::{Mutex, PoisonError};

use countersign_trust_store::UnixTime;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::registry::{Registry, Unit};

use crate::admission::Refusal;
use crate::http::figures;
use crate::service::{Doing, Status};
use crate::view::{Overview, Trust};

/// What the text is.
pub(crate) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Refusals since the start, by code.
static REFUSALS: Mutex<BTreeMap<&'static str, u64>> = Mutex::new(BTreeMap::new());

/// Counts a refusal.
pub(crate) fn refused(refusal: &Refusal) {
    let mut counts = REFUSALS.lock().unwrap_or_else(PoisonError::into_inner);
    let count = counts.entry(refusal.code.unwrap_or("none")).or_default();
    *count = count.saturating_add(1);
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfState {
    state: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfService {
    service: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfMessages {
    service: String,
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfCode {
    code: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfIssuer {
    issuer: String,
}

type Gauges<Labels> = Family<Labels, Gauge>;

/// All figures.
pub(crate) fn text(overview: &Overview, trust: &Trust) -> String {
    let mut registry = Registry::with_prefix("countersign_gateway");
    services(&mut registry, overview);
    used(&mut registry, overview);
    messages(&mut registry, overview);
    figures::register(&mut registry);
    let waiting = i64::try_from(overview.signatures_waiting).unwrap_or(i64::MAX);
    registry.register(
        "signatures_waiting",
        "Signatures that wait for the hardware of the device's keys",
        ConstGauge::new(waiting),
    );
    ends(&mut registry, overview, trust);
    let refusals = Family::<OfCode, Counter>::default();
    for (code, count) in REFUSALS
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .iter()
    {
        refusals.get_or_create(&OfCode { code }).inc_by(*count);
    }
    registry.register("refusals", "Refusals since the start, by code", refusals);
    registry.register(
        "state_writes",
        "How often what it remembers was written",
        ConstCounter::new(overview.generation),
    );
    process(registry.sub_registry_with_prefix("process"));
    let mut text = String::new();
    // Writing to a text fails only where a label does, and ours do not.
    if encode(&mut text, &registry).is_err() {
        text.clear();
    }
    text
}

fn services(registry: &mut Registry, overview: &Overview) {
    let states = Gauges::<OfState>::default();
    for state in [
        "starting",
        "running",
        "waiting",
        "ended",
        "scheduled",
        "refused",
    ] {
        states.get_or_create(&OfState { state }).set(0);
    }
    let (healthy, starts) = (
        Gauges::<OfService>::default(),
        Family::<OfService, Counter>::default(),
    );
    for service in &overview.services {
        let state = match service.doing {
            Doing::Starting => "starting",
            Doing::Running { .. } => "running",
            Doing::Waiting { .. } => "waiting",
            Doing::Ended { .. } => "ended",
            Doing::Scheduled { .. } => "scheduled",
            Doing::Refused(_) => "refused",
        };
        states.get_or_create(&OfState { state }).inc();
        let is_healthy = matches!(service.doing, Doing::Running { healthy: true, .. });
        healthy
            .get_or_create(&label(service))
            .set(is_healthy.into());
        starts.get_or_create(&label(service)).inc_by(service.starts);
    }
    registry.register("services", "Services, by what they do", states);
    registry.register(
        "service_healthy",
        "1 for a service that runs and proved healthy",
        healthy,
    );
    registry.register("service_starts", "Starts of a service's component", starts);
}

/// What components use. The figures of a service begin anew with each component that is loaded for it.
fn used(registry: &mut Registry, overview: &Overview) {
    let (time, memory) = (
        Family::<OfService, Counter<f64, AtomicU64>>::default(),
        Gauges::<OfService>::default(),
    );
    for service in &overview.services {
        let used = &service.used.0;
        time.get_or_create(&label(service))
            .inc_by(used.cpu().as_secs_f64());
        let bytes = i64::try_from(used.memory_bytes()).unwrap_or(i64::MAX);
        memory.get_or_create(&label(service)).set(bytes);
    }
    registry.register_with_unit(
        "service_cpu",
        "Processor time of a service's component since it was loaded",
        Unit::Seconds,
        time,
    );
    registry.register_with_unit(
        "service_memory",
        "Linear memory of a service's instances",
        Unit::Bytes,
        memory,
    );
}

fn messages(registry: &mut Registry, overview: &Overview) {
    let all = Family::<OfMessages, Counter>::default();
    let connected = Gauges::<OfService>::default();
    for service in &overview.services {
        let Some(numbers) = &service.messages else {
            continue;
        };
        let counts = numbers.now();
        for (outcome, count) in [
            ("handled", counts.handled),
            ("failed", counts.failed),
            ("dropped", counts.dropped),
            ("published", counts.published),
            ("refused", counts.refused),
        ] {
            let service = service.name.clone();
            all.get_or_create(&OfMessages { service, outcome })
                .inc_by(count);
        }
        connected
            .get_or_create(&label(service))
            .set(counts.connected.into());
    }
    registry.register(
        "messages",
        "Messages of a service since its component was loaded, by what became of them",
        all,
    );
    registry.register(
        "broker_connected",
        "1 for a service that is connected with its broker",
        connected,
    );
}

fn ends(registry: &mut Registry, overview: &Overview, trust: &Trust) {
    let signatures = Gauges::<OfService>::default();
    for service in &overview.services {
        if let Some(facts) = &service.facts {
            set(
                &signatures.get_or_create(&label(service)),
                &facts.valid_until,
            );
        }
    }
    registry.register_with_unit(
        "signature_end_timestamp",
        "When the first certificate of a service's signers ends, since 1970",
        Unit::Seconds,
        signatures,
    );
    let lists = Gauges::<OfIssuer>::default();
    for list in &trust.lists {
        let issuer = list.issuer.clone();
        set(
            &lists.get_or_create(&OfIssuer { issuer }),
            &list.valid_until,
        );
    }
    registry.register_with_unit(
        "revocation_list_end_timestamp",
        "When a newer revocation list of an issuer should be there, since 1970",
        Unit::Seconds,
        lists,
    );
    let roots = Gauges::<OfIssuer>::default();
    for root in &trust.roots {
        let issuer = root.subject.clone();
        set(
            &roots.get_or_create(&OfIssuer { issuer }),
            &root.valid_until,
        );
    }
    registry.register_with_unit(
        "root_end_timestamp",
        "When a root ends, since 1970",
        Unit::Seconds,
        roots,
    );
}

/// What this process holds, as Linux tells it.
fn process(registry: &mut Registry) {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let resident = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB"));
    if let Some(kib) = resident.and_then(|kib| kib.trim().parse::<i64>().ok()) {
        let bytes = ConstGauge::new(kib.saturating_mul(1_024));
        registry.register_with_unit(
            "resident_memory",
            "Memory that is resident",
            Unit::Bytes,
            bytes,
        );
    }
    if let Ok(open) = std::fs::read_dir("/proc/self/fd") {
        let open = i64::try_from(open.count()).unwrap_or(i64::MAX);
        registry.register(
            "open_descriptors",
            "Open descriptors",
            ConstGauge::new(open),
        );
    }
}

fn label(service: &Status) -> OfService {
    OfService {
        service: service.name.clone(),
    }
}

fn set(gauge: &Gauge, time: &str) {
    if let Ok(time) = time.parse::<UnixTime>() {
        gauge.set(i64::try_from(time.as_secs()).unwrap_or(i64::MAX));
    }
}
