//! The interface as an OpenAPI document, and as a page that needs no other server.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::Html;
use maud::{DOCTYPE, PreEscaped, html};
use serde_json::{Map, Value, json};
use utoipa::OpenApi as _;

use super::{App, attest, devices, est, health, lists, metrics, privacy, provision, revoke};
use crate::problem::Code;

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
        metrics::show,
        provision::provision,
        devices::list,
        devices::show,
        devices::approve,
        devices::challenge,
        devices::authenticate,
        attest::attest,
        lists::expiring,
        lists::crl,
        revoke::revoke,
        privacy::validate,
        est::cacerts,
        est::simpleenroll,
        est::simplereenroll,
    )
)]
struct Document;

/// The only operation whose 401 is its own answer: it asks for no credential.
const AUTHENTICATE: &str = "/api/v1/authenticate";

/// The names of the credentials.
const CREDENTIALS: [&str; 3] = ["bearer", "basic", "certificate"];

/// What is derived is completed: problems have a media type, any request may be refused for reasons that no operation
/// names, and who must say who it is does so in one of three ways. Of privacy tokens it speaks where they are served.
fn described(has_privacy: bool) -> Value {
    let mut document = serde_json::to_value(Document::openapi()).unwrap_or(Value::Null);
    if let Some(components) = object(&mut document, "/components") {
        components.insert(
            "securitySchemes".to_owned(),
            json!({
                "bearer": { "type": "http", "scheme": "bearer" },
                "basic": { "type": "http", "scheme": "basic" },
                "certificate": { "type": "mutualTLS" },
            }),
        );
    }
    if !has_privacy && let Some(paths) = object(&mut document, "/paths") {
        paths.remove(privacy::VALIDATE);
    }
    for (path, operations) in object(&mut document, "/paths").into_iter().flatten() {
        for operation in operations.as_object_mut().into_iter().flatten() {
            complete(path, operation.1);
        }
    }
    document
}

fn complete(path: &str, operation: &mut Value) {
    let has_body = operation.get("requestBody").is_some();
    let is_closed = path != AUTHENTICATE && operation.pointer("/responses/401").is_some();
    if is_closed && let Some(operation) = operation.as_object_mut() {
        let any: Vec<Value> = CREDENTIALS
            .iter()
            .map(|name| json!({ *name: [] }))
            .collect();
        operation.insert("security".to_owned(), Value::Array(any));
    }
    let Some(answers) = object(operation, "/responses") else {
        return;
    };
    let mut statuses = vec![408, 429, 431, 503];
    if is_closed {
        statuses.extend([401, 403]);
    }
    if has_body {
        statuses.extend([400, 413, 415]);
    }
    for status in statuses {
        answers.entry(status.to_string()).or_insert_with(|| {
            let body = json!({ "$ref": "#/components/schemas/ProblemBody" });
            json!({ "description": "", "content": { "application/json": { "schema": body } } })
        });
    }
    for (status, answer) in answers {
        let is_problem = answer
            .pointer("/content/application~1json/schema/$ref")
            .is_some_and(|body| body == "#/components/schemas/ProblemBody");
        if !is_problem {
            continue;
        }
        if let Some(content) = object(answer, "/content")
            && let Some(body) = content.remove("application/json")
        {
            content.insert("application/problem+json".to_owned(), body);
        }
        if let Some(answer) = answer.as_object_mut() {
            answer.insert("description".to_owned(), meaning(status).into());
        }
    }
}

/// What the codes of a status mean.
fn meaning(status: &str) -> String {
    let meanings: Vec<&str> = Code::ALL
        .iter()
        .filter(|code| code.status().as_str() == status)
        .map(|code| code.title())
        .collect();
    meanings.join("; or ")
}

fn object<'a>(value: &'a mut Value, place: &str) -> Option<&'a mut Map<String, Value>> {
    value.pointer_mut(place).and_then(Value::as_object_mut)
}

/// The document.
pub(super) async fn document(State(app): State<Arc<App>>) -> Json<Value> {
    Json(described(app.privacy.is_some()))
}

/// The document for people.
pub(super) async fn page(State(app): State<Arc<App>>) -> Html<String> {
    let document = described(app.privacy.is_some());
    let empty = Map::new();
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
        let document = described(true);
        for path in [
            "/",
            "/health",
            "/stats",
            "/metrics",
            "/api/v1/devices/provision",
            "/api/v1/devices/{serial}",
            "/api/v1/devices",
            "/api/v1/validate/nuc",
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
        assert!(described(false)["paths"][privacy::VALIDATE].is_null());
    }
}
