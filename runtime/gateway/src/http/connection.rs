//! One connection: protected if its address is, its requests one after the other, and none that takes for ever to arrive.

use std::convert::Infallible;
use std::sync::Arc;

use countersign_runtime::http::{Request, Scheme, StatusCode};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::Instant;

use super::answer;
use super::listener::Scope;
use super::paced::Paced;
use super::tls;

/// Most bytes of a request's head, and most headers in it.
const HEAD_BYTES: usize = 32 << 10;
const HEADERS: usize = 128;

/// Serves a connection until it ends, or until its address closes and it has its answer.
pub(super) async fn serve(
    stream: TcpStream,
    scope: Arc<Scope>,
    mut closing: watch::Receiver<Option<Instant>>,
) {
    let _ = stream.set_nodelay(true);
    let stream = Paced::new(stream, scope.settings.pause);
    match scope.tls() {
        None => requests(stream, Scheme::Http, scope, closing).await,
        Some(config) => {
            let by = Instant::now() + scope.settings.head;
            let accepted = tokio::select! {
                accepted = tls::accept(config, stream, by) => accepted,
                // Nothing was asked yet.
                _ = closing.changed() => None,
            };
            if let Some(stream) = accepted {
                requests(stream, Scheme::Https, scope, closing).await;
            }
        }
    }
}

async fn requests<S>(
    stream: S,
    scheme: Scheme,
    scope: Arc<Scope>,
    mut closing: watch::Receiver<Option<Instant>>,
) where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let head = scope.settings.head;
    let service = service_fn(|request: Request<Incoming>| {
        let serving = scope.routes.find(request.uri(), request.headers());
        async move {
            Ok::<_, Infallible>(match serving {
                Some(serving) => serving.answer(scheme, request).await,
                None => answer::without(StatusCode::NOT_FOUND),
            })
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(head)
        .max_headers(HEADERS)
        .max_buf_size(HEAD_BYTES)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    tokio::select! {
        _ = connection.as_mut() => {}
        _ = closing.changed() => {
            connection.as_mut().graceful_shutdown();
            // What ends it early is the other side's fault or its address's end.
            let _ = connection.await;
        }
    }
}
