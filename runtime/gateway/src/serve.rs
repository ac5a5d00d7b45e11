//! The address at which a browser, Prometheus and whoever watches over the machine look at the gateway.
//!
//! Decides who is answered there, how much they may ask and how long that may take. It changes nothing, and shows nothing that
//! `status` and `trust` do not.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use axum::Router;
use axum::extract::{Request, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HOST};
use axum::http::{HeaderName, HeaderValue, StatusCode, uri::Authority};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{Html, IntoResponse as _, Response};
use axum::routing::get;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use crate::config::StatusPage;
use crate::view::View;
use crate::{metrics, page};

/// Most connections at once.
const CONNECTIONS: usize = 16;

/// How long a request's head may take to arrive, and a connection may last altogether.
const HEAD: Duration = Duration::from_secs(5);
const WHOLE: Duration = Duration::from_secs(15);

/// The longest head of a request, in bytes.
const MAX_HEAD: usize = 16 << 10;

/// Of every answer: nothing is kept, nothing is guessed, no script, no other server, no frame.
const SAFE: [(HeaderName, &str); 3] = [
    (CACHE_CONTROL, "no-store"),
    (HeaderName::from_static("x-content-type-options"), "nosniff"),
    (
        CONTENT_SECURITY_POLICY,
        "default-src 'none'; style-src 'unsafe-inline'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'",
    ),
];

/// The server; it ends when this is dropped.
pub(crate) struct Pages(JoinHandle<()>);

impl Drop for Pages {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Pages {
    /// Listens where the configuration says.
    ///
    /// # Errors
    /// If nobody may listen there.
    pub(crate) async fn open(page: StatusPage, view: Arc<View>) -> anyhow::Result<Self> {
        let listener = TcpListener::bind(page.listen).await.with_context(|| {
            format!(
                "[status]: {} cannot be listened on; is another program there?",
                page.listen
            )
        })?;
        Ok(Self(tokio::spawn(listen(listener, routes(page, view)))))
    }
}

fn routes(page: StatusPage, view: Arc<View>) -> Router {
    Router::new()
        .route("/", get(overview))
        .route("/livez", get(live))
        .route("/readyz", get(ready))
        .route("/metrics", get(figures))
        .layer(from_fn_with_state(page, surround))
        .with_state(view)
}

async fn listen(listener: TcpListener, routes: Router) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else {
            return;
        };
        let Ok((stream, _)) = listener.accept().await else {
            // Out of descriptors: the next try is not at once.
            sleep(Duration::from_millis(100)).await;
            continue;
        };
        let service = TowerToHyperService::new(routes.clone());
        tokio::spawn(async move {
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEAD)
                .keep_alive(false)
                .max_buf_size(MAX_HEAD)
                .serve_connection(TokioIo::new(stream), service);
            // What goes wrong with one who looks is theirs.
            let _ = timeout(WHOLE, connection).await;
            drop(place);
        });
    }
}

async fn surround(State(page): State<StatusPage>, request: Request, next: Next) -> Response {
    let mut answer = if page.open_to_others || names_this_machine(&request) {
        next.run(request).await
    } else {
        let why = "Look at this page by the address on which it is served, or as localhost.\n";
        (StatusCode::MISDIRECTED_REQUEST, why).into_response()
    };
    for (name, value) in SAFE {
        answer
            .headers_mut()
            .insert(name, HeaderValue::from_static(value));
    }
    answer
}

/// Whether the asker called this machine by an address or as localhost. A page elsewhere whose name was made to mean 127.0.0.1
/// would otherwise read this one through the operator's browser.
fn names_this_machine(request: &Request) -> bool {
    let named = request
        .headers()
        .get(HOST)
        .and_then(|host| host.to_str().ok());
    let Some(named) = named.and_then(|host| host.parse::<Authority>().ok()) else {
        return false;
    };
    let host = named.host().trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost") || host.parse::<IpAddr>().is_ok()
}

async fn overview(State(view): State<Arc<View>>) -> Html<String> {
    Html(page::page(&view.overview(), &view.trust()).into_string())
}

/// That it answers is all that it says.
async fn live() -> &'static str {
    "alive\n"
}

async fn ready(State(view): State<Arc<View>>) -> Response {
    let missing = view.not_ready();
    if missing.is_empty() {
        return "ready\n".into_response();
    }
    (
        StatusCode::SERVICE_UNAVAILABLE,
        format!("{}\n", missing.join("\n")),
    )
        .into_response()
}

async fn figures(State(view): State<Arc<View>>) -> Response {
    (
        [(CONTENT_TYPE, metrics::CONTENT_TYPE)],
        metrics::text(&view.overview(), &view.trust()),
    )
        .into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_of_another_machine_is_not_answered() {
        let asked = |host: &str| {
            let request = Request::builder().header(HOST, host);
            names_this_machine(&request.body(axum::body::Body::empty()).expect("a request"))
        };
        for host in [
            "127.0.0.1:9464",
            "localhost:9464",
            "LOCALHOST",
            "[::1]:9464",
        ] {
            assert!(asked(host), "{host}");
        }
        for host in [
            "rebound.example",
            "127.0.0.1.rebound.example:9464",
            "",
            "a b",
        ] {
            assert!(!asked(host), "{host}");
        }
    }
}
