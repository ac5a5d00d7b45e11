//! What the pages show.

use std::sync::Arc;

use axum::extract::{Path, Query, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY};
use axum::response::{Html, IntoResponse as _, Response};
use countersign_format::DeviceIdentity;
use countersign_registry::{Certificate, Device};
use maud::{DOCTYPE, Markup, PreEscaped, html};
use serde::Deserialize;

use super::STYLE;
use super::login::Visitor;
use crate::desk::Hour;
use crate::http::App;
use crate::problem::{Code, Problem};

/// Days ahead in which ends are shown.
const EXPIRING_DAYS: u64 = 30;

/// The most rows of a table.
const ROWS: u64 = 100;

/// No script, no other server, no frame.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// The first page.
pub(super) async fn overview(
    _visitor: Visitor,
    State(app): State<Arc<App>>,
) -> Result<Response, Problem> {
    let statistics = app.desk.statistics().await?;
    let now = (app.clock)().as_secs();
    let expiring = app
        .desk
        .expiring(now.saturating_add(EXPIRING_DAYS * 86_400))
        .await?;
    let head = app.desk.audit_head();
    let hours = app.desk.hours(now);
    let page = frame(
        "Overview",
        true,
        &html! {
            h2 { "Devices" }
            (counts(&statistics.devices))
            h2 { "Certificates" }
            (counts(&statistics.certificates))
            h2 { "Certificates that end within " (EXPIRING_DAYS) " days" }
            @if expiring.is_empty() { p { "None." } } @else { (certificates(&expiring, true, now)) }
            h2 { "The last 24 hours" }
            (chart(&hours))
            h2 { "Audit log" }
            pre { (head) }
            p { (statistics.leaves_placed) " leaves, " (statistics.leaves_waiting) " waiting." }
        },
    );
    Ok(answer(page))
}

#[derive(Debug, Deserialize)]
pub(super) struct Filter {
    /// How identities begin.
    #[serde(default)]
    search: String,
    #[serde(default)]
    family: String,
    /// The last of the part before.
    #[serde(default)]
    after: String,
}

/// The list of devices.
pub(super) async fn devices(
    _visitor: Visitor,
    State(app): State<Arc<App>>,
    Query(filter): Query<Filter>,
) -> Result<Response, Problem> {
    let family = Some(filter.family.trim()).filter(|family| !family.is_empty());
    let search = filter.search.trim();
    let begins = DeviceIdentity::parse(search).ok();
    let after = DeviceIdentity::parse(filter.after.trim()).ok();
    let mut devices = Vec::new();
    let mut next = None;
    // What no identity begins with is not looked for.
    if search.is_empty() || begins.is_some() {
        if let (Some(id), None) = (&begins, &after) {
            // The list begins after what is given.
            let exact = app.desk.device(id).await?;
            devices
                .extend(exact.filter(|device| family.is_none_or(|family| family == device.family)));
        }
        let from = after.as_ref().or(begins.as_ref());
        let list = app
            .desk
            .devices(family, from.map(DeviceIdentity::as_str), ROWS)
            .await?;
        next = list.next.filter(|next| next.starts_with(search));
        let found = list.items.into_iter();
        devices.extend(found.filter(|device| device.id.as_str().starts_with(search)));
    }
    let page = frame(
        "Devices",
        true,
        &html! {
            form class="filter" method="get" action="/page/devices" role="search" {
                label { "Identity begins with" input name="search" value=(filter.search) maxlength="64"; }
                label { "Family" input name="family" value=(filter.family) maxlength="64"; }
                button { "Search" }
            }
            @if devices.is_empty() { p { "No device." } } @else { (device_table(&devices)) }
            @if let Some(next) = &next {
                form method="get" action="/page/devices" {
                    input type="hidden" name="search" value=(filter.search);
                    input type="hidden" name="family" value=(filter.family);
                    input type="hidden" name="after" value=(next);
                    button { "More" }
                }
            }
        },
    );
    Ok(answer(page))
}

fn device_table(devices: &[Device]) -> Markup {
    html! {
        div class="wide" {
            table {
                thead {
                    tr {
                        th scope="col" { "Device" }
                        th scope="col" { "Family" }
                        th scope="col" { "Type" }
                        th scope="col" { "State" }
                        th scope="col" { "Order" }
                    }
                }
                tbody {
                    @for device in devices {
                        tr {
                            td { a href={ "/page/devices/" (device.id) } { (device.id) } }
                            td data-label="Family" { (device.family) }
                            td data-label="Type" { (device.device_type) }
                            td data-label="State" { (state(device.state.as_str())) }
                            td data-label="Order" { (device.order.as_deref().unwrap_or("")) }
                        }
                    }
                }
            }
        }
    }
}

/// One device.
pub(super) async fn device(
    _visitor: Visitor,
    State(app): State<Arc<App>>,
    Path(serial): Path<String>,
) -> Result<Response, Problem> {
    let not_found = || Problem::new(Code::NotFound);
    let id = DeviceIdentity::parse(&serial).map_err(|_| not_found())?;
    let device = app.desk.device(&id).await?.ok_or_else(not_found)?;
    let held = app.desk.certificates(&id).await?;
    let now = (app.clock)().as_secs();
    let page = frame(
        device.id.as_str(),
        true,
        &html! {
            table class="facts" {
                @for (name, value) in [
                    ("Family", device.family.as_str()),
                    ("Type", &device.device_type),
                    ("Hardware revision", &device.revision),
                    ("Firmware version", &device.firmware),
                    ("Order", device.order.as_deref().unwrap_or("none")),
                ] {
                    tr { th scope="row" { (name) } td { (value) } }
                }
                tr { th scope="row" { "State" } td { (state(device.state.as_str())) } }
            }
            h2 { "Certificates" }
            @if held.is_empty() { p { "None." } } @else { (certificates(&held, false, now)) }
        },
    );
    Ok(answer(page))
}

/// What surrounds every page.
pub(super) fn frame(title: &str, inside: bool, body: &Markup) -> Html<String> {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { (title) " - Countersign authority" }
                style { (PreEscaped(STYLE)) }
            }
            body {
                header {
                    strong { "Countersign authority" }
                    @if inside {
                        nav aria-label="Pages" {
                            a href="/page" { "Overview" }
                            a href="/page/devices" { "Devices" }
                            a href="/docs" { "Interface" }
                            a href="/page/logout" { "Log out" }
                        }
                    }
                }
                main {
                    h1 { (title) }
                    (body)
                }
            }
        }
    };
    Html(page.into_string())
}

/// With what a browser is told of every page.
pub(super) fn answer(page: Html<String>) -> Response {
    (
        [
            (CACHE_CONTROL, "no-store"),
            (CONTENT_SECURITY_POLICY, POLICY),
        ],
        page,
    )
        .into_response()
}

fn counts(counts: &[(String, u64)]) -> Markup {
    html! {
        @if counts.is_empty() { p { "None." } }
        ul class="counts" { @for (state, count) in counts { li { strong { (count) } " " (state) } } }
    }
}

/// A state as a word in a box. It is told by the word; the colour only helps.
fn state(word: &str) -> Markup {
    html! { span class={ "state " (word) } { (word) } }
}

fn certificates(list: &[Certificate], named: bool, now: u64) -> Markup {
    html! {
        div class="wide" {
            table {
                thead {
                    tr {
                        @if named { th scope="col" { "Device" } }
                        th scope="col" { "Serial number" }
                        th scope="col" { "Profile" }
                        th scope="col" { "State" }
                        th scope="col" { "Ends" }
                    }
                }
                tbody {
                    @for certificate in list {
                        tr {
                            @if named {
                                td { a href={ "/page/devices/" (certificate.device) } { (certificate.device) } }
                            }
                            td data-label="Serial number" { code { (certificate.serial) } }
                            td data-label="Profile" { (certificate.profile) }
                            td data-label="State" {
                                (state(certificate.state.as_str()))
                                @if let Some((_, reason)) = certificate.revoked { " (" (reason) ")" }
                            }
                            td data-label="Ends" { (crate::http::time(certificate.not_after)) ", " (left(certificate.not_after, now)) }
                        }
                    }
                }
            }
        }
    }
}

/// How long until then.
fn left(end: u64, now: u64) -> String {
    match end.checked_sub(now).map(|seconds| seconds / 86_400) {
        None => "ended".to_owned(),
        Some(0) => "within a day".to_owned(),
        Some(1) => "in 1 day".to_owned(),
        Some(days) => format!("in {days} days"),
    }
}

/// Bars as SVG, issued upwards and refused downwards, and the same as a table.
fn chart(hours: &[Hour]) -> Markup {
    let most = hours
        .iter()
        .map(|hour| hour.issued.max(hour.refused))
        .max()
        .unwrap_or(0)
        .max(1);
    let height = |count: u64| count.saturating_mul(50).checked_div(most).unwrap_or(0);
    let issued: u64 = hours.iter().map(|hour| hour.issued).sum();
    let refused: u64 = hours.iter().map(|hour| hour.refused).sum();
    let told =
        format!("{issued} issued and {refused} refused by this process; at most {most} in an hour");
    html! {
        figure {
            figcaption {
                span class="key issued" {} " issued, " span class="key refused" {} " refused: " (told) "."
            }
            svg viewBox="0 0 240 104" role="img" aria-label=(told) {
                line x1="0" x2="240" y1="51" y2="51" {}
                @for (place, hour) in (0_u64..).zip(hours) {
                    g {
                        title { (ago(place)) ": " (hour.issued) " issued, " (hour.refused) " refused" }
                        rect class="issued" x=(place * 10) width="8" y=(50 - height(hour.issued)) height=(height(hour.issued)) {}
                        rect class="refused" x=(place * 10) width="8" y="52" height=(height(hour.refused)) {}
                    }
                }
            }
            div class="axis" { span { "24 hours ago" } span { "now" } }
        }
        details {
            summary { "As a table" }
            table {
                thead { tr { th scope="col" { "Hour" } th scope="col" { "Issued" } th scope="col" { "Refused" } } }
                tbody {
                    @for (place, hour) in (0_u64..).zip(hours) {
                        tr { td { (ago(place)) } td { (hour.issued) } td { (hour.refused) } }
                    }
                }
            }
        }
    }
}

/// Which hour a bar is.
fn ago(place: u64) -> String {
    match 23_u64.saturating_sub(place) {
        0 => "this hour".to_owned(),
        1 => "1 hour ago".to_owned(),
        hours => format!("{hours} hours ago"),
    }
}
