//! What the pages show.

use std::sync::Arc;

use axum::extract::{Path, Query, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY};
use axum::response::{Html, IntoResponse as _, Response};
use countersign_format::DeviceIdentity;
use countersign_registry::Certificate;
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
            h2 { "Issued and refused, by hour of the last day, by this process" }
            (chart(&hours))
            h2 { "Certificates that end within " (EXPIRING_DAYS) " days" }
            @if expiring.is_empty() { p { "None." } } @else { (certificates(&expiring, true)) }
            h2 { "Audit log" }
            pre { (head) }
            p { (statistics.leaves_placed) " leaves, " (statistics.leaves_waiting) " waiting." }
        },
    );
    Ok(answer(page))
}

#[derive(Debug, Deserialize)]
pub(super) struct Filter {
    #[serde(default)]
    family: String,
    #[serde(default)]
    from: String,
}

/// The list of devices.
pub(super) async fn devices(
    _visitor: Visitor,
    State(app): State<Arc<App>>,
    Query(filter): Query<Filter>,
) -> Result<Response, Problem> {
    let family = Some(filter.family.trim()).filter(|family| !family.is_empty());
    let from = Some(filter.from.trim()).filter(|from| !from.is_empty());
    // The one that is looked for comes first, though the list begins after what is given.
    let exact = match from.map(DeviceIdentity::parse) {
        Some(Ok(id)) => app.desk.device(&id).await?,
        _ => None,
    };
    let exact = exact.filter(|device| family.is_none_or(|family| family == device.family));
    let list = app.desk.devices(family, from, ROWS).await?;
    let page = frame(
        "Devices",
        true,
        &html! {
            form method="get" action="/page/devices" {
                label { "From identity " input name="from" value=(filter.from) maxlength="64"; }
                " "
                label { "Family " input name="family" value=(filter.family) maxlength="64"; }
                " " button { "Show" }
            }
            div class="wide" {
                table {
                    tr { th { "Device" } th { "Family" } th { "Type" } th { "State" } th { "Order" } }
                    @for device in exact.iter().chain(&list.items) {
                        tr {
                            td { a href={ "/page/devices/" (device.id) } { (device.id) } }
                            td { (device.family) }
                            td { (device.device_type) }
                            td { (device.state) }
                            td { (device.order.as_deref().unwrap_or("")) }
                        }
                    }
                }
            }
            @if let Some(next) = &list.next {
                form method="get" action="/page/devices" {
                    input type="hidden" name="from" value=(next);
                    input type="hidden" name="family" value=(filter.family);
                    button { "More" }
                }
            }
        },
    );
    Ok(answer(page))
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
    let page = frame(
        device.id.as_str(),
        true,
        &html! {
            table {
                tr { th { "State" } td { (device.state) } }
                tr { th { "Family" } td { (device.family) } }
                tr { th { "Type" } td { (device.device_type) } }
                tr { th { "Hardware revision" } td { (device.revision) } }
                tr { th { "Firmware version" } td { (device.firmware) } }
                tr { th { "Order" } td { (device.order.as_deref().unwrap_or("none")) } }
            }
            h2 { "Certificates" }
            (certificates(&held, false))
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
                main {
                    @if inside {
                        nav {
                            a href="/page" { "Overview" }
                            a href="/page/devices" { "Devices" }
                            a href="/docs" { "Interface" }
                            a href="/page/logout" { "Log out" }
                        }
                    }
                    h1 { (title) }
                    (body)
                }
            }
        }
    };
    Html(page.into_string())
}

fn answer(page: Html<String>) -> Response {
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
        table { @for (state, count) in counts { tr { th { (state) } td { (count) } } } }
    }
}

fn certificates(list: &[Certificate], named: bool) -> Markup {
    html! {
        div class="wide" {
            table {
                tr {
                    @if named { th { "Device" } }
                    th { "Serial" } th { "Profile" } th { "State" } th { "Ends" }
                }
                @for certificate in list {
                    tr {
                        @if named {
                            td { a href={ "/page/devices/" (certificate.device) } { (certificate.device) } }
                        }
                        td { code { (certificate.serial) } }
                        td { (certificate.profile) }
                        td {
                            (certificate.state)
                            @if let Some((_, reason)) = certificate.revoked { " (" (reason) ")" }
                        }
                        td { (crate::http::time(certificate.not_after)) }
                    }
                }
            }
        }
    }
}

/// Bars as SVG: issued above, refused below.
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
    html! {
        p { (issued) " issued, " (refused) " refused; at most " (most) " in an hour." }
        svg viewBox="0 0 240 102" width="100%" role="img" aria-label="issued and refused by hour" {
            @for (place, hour) in (0_u64..).zip(hours) {
                rect class="bar" x=(place * 10) width="8" y=(50 - height(hour.issued)) height=(height(hour.issued)) {}
                rect class="bad" x=(place * 10) width="8" y="52" height=(height(hour.refused)) {}
            }
        }
    }
}
