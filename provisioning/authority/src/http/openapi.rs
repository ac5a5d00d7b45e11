//! The interface as an OpenAPI document, and as a page that needs no other server.

use axum::Json;
use axum::response::Html;
use maud::{DOCTYPE, PreEscaped, html};
use serde_json::Value;
use utoipa::OpenApi as _;
use utoipa::openapi::OpenApi;

use super::{devices, est, health, lists, provision, revoke};

/// Everything that is served, but for the operator's page.
#[derive(utoipa::OpenApi)]
#[openapi(
    info(
        title = "Countersign authority",
        description = "Issues devices' certificates and remembers them. Requests are \
        made with a client certificate or a token, `Authorization: Bearer TOKEN` or the password of HTTP Basic."
    ),
    paths(
        health::root,
        health::health,
        health::stats,
        provision::provision,
        devices::list,
        devices::show,
        devices::approve,
        devices::challenge,
        devices::authenticate,
        lists::expiring,
        lists::crl,
        revoke::revoke,
        est::cacerts,
        est::simpleenroll,
        est::simplereenroll,
    )
)]
struct Document;

fn described() -> OpenApi {
    Document::openapi()
}

/// The document.
pub(super) async fn document() -> Json<OpenApi> {
    Json(described())
}

/// The document for people.
pub(super) async fn page() -> Html<String> {
    let document = serde_json::to_value(described()).unwrap_or(Value::Null);
    let empty = serde_json::Map::new();
    let object = |place| document.pointer(place).and_then(Value::as_object);
    let (paths, schemas) = (object("/paths"), object("/components/schemas"));
    let description = document
        .pointer("/info/description")
        .and_then(Value::as_str);
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { "Countersign authority: the interface" }
                style { (PreEscaped(crate::page::STYLE)) }
            }
            body {
                main {
                    h1 { "Countersign authority" }
                    p { (description.unwrap_or_default()) }
                    p { "For programs: " a href="/openapi.json" { "/openapi.json" } "." }
                    @for (path, operations) in paths.unwrap_or(&empty) {
                        @for (method, operation) in operations.as_object().unwrap_or(&empty) {
                            section {
                                h2 { code { (method.to_uppercase()) " " (path) } }
                                p { (operation["summary"].as_str().unwrap_or_default()) }
                                @if let Some(description) = operation["description"].as_str() { p { (description) } }
                                @if let Some(parameters) = operation["parameters"].as_array() {
                                    ul {
                                        @for parameter in parameters {
                                            li {
                                                code { (parameter["name"].as_str().unwrap_or_default()) }
                                                " (" (parameter["in"].as_str().unwrap_or_default()) "): "
                                                (parameter["description"].as_str().unwrap_or_default())
                                            }
                                        }
                                    }
                                }
                                @if let Some(answers) = operation["responses"].as_object() {
                                    p { "Answers: " @for status in answers.keys() { code { (status) } " " } }
                                }
                            }
                        }
                    }
                    h2 { "Types" }
                    @for (name, schema) in schemas.unwrap_or(&empty) {
                        details {
                            summary { code { (name) } }
                            pre { (serde_json::to_string_pretty(schema).unwrap_or_default()) }
                        }
                    }
                }
            }
        }
    };
    Html(page.into_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_has_every_route_that_programs_use() {
        let document = serde_json::to_value(described()).expect("JSON");
        for path in [
            "/",
            "/health",
            "/stats",
            "/api/v1/devices/provision",
            "/api/v1/devices/{serial}",
            "/api/v1/devices",
            "/.well-known/est/cacerts",
            "/.well-known/est/simpleenroll",
            "/.well-known/est/simplereenroll",
        ] {
            assert!(
                document["paths"][path].is_object(),
                "{path} is not described"
            );
        }
        assert!(document["components"]["schemas"]["ProblemBody"].is_object());
    }
}
