//! One connection: protected if its address is, its requests one after the other, and none that takes for ever to arrive. It
//! ends with its address, and with the rules under which it came.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use countersign_runtime::http::{Request, Scheme, StatusCode};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use super::answer;
use super::listener::Scope;
use super::paced::Paced;
use super::tls::{self, Met, Protection};

/// Most bytes of a request's head, and most headers in it.
const HEAD_BYTES: usize = 32 << 10;
const HEADERS: usize = 128;

/// How long the last answer may take on a connection whose address or protection is gone.
const LAST_ANSWER: Duration = Duration::from_secs(60);

/// Serves a connection until it ends, or until its address closes or is protected otherwise and it has its answer.
pub(super) async fn serve(
    stream: TcpStream,
    scope: Arc<Scope>,
    mut closing: watch::Receiver<Option<Instant>>,
) {
    let _ = stream.set_nodelay(true);
    let stream = Paced::new(stream, scope.settings.pause);
    let mut rules = scope.protection();
    let protection = rules.borrow_and_update().clone();
    match protection.met {
        Met::Nothing => {}
        Met::Plain => requests(stream, Scheme::Http, scope, closing, rules).await,
        Met::Tls(config) => {
            let by = Instant::now() + scope.settings.head;
            let accepted = tokio::select! {
                accepted = tls::accept(config, stream, by) => accepted,
                // Nothing was asked yet.
                _ = closing.changed() => None,
            };
            if let Some(stream) = accepted {
                requests(stream, Scheme::Https, scope, closing, rules).await;
            }
        }
    }
}

async fn requests<S>(
    stream: S,
    scheme: Scheme,
    scope: Arc<Scope>,
    mut closing: watch::Receiver<Option<Instant>>,
    mut rules: watch::Receiver<Protection>,
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
        _ = connection.as_mut() => return,
        _ = closing.changed() => {}
        _ = rules.changed() => {}
    }
    connection.as_mut().graceful_shutdown();
    // What ends it early is the other side's fault or its address's end.
    let _ = timeout(LAST_ANSWER, connection).await;
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;
    use crate::config::HttpServer;

    #[tokio::test]
    async fn what_came_under_other_rules_goes_when_it_has_its_answer() {
        let before = Protection::in_words("a revoked authority");
        let settings = HttpServer {
            requests: 1,
            connections: 1,
            connections_per_address: 1,
            head: Duration::from_secs(60),
            pause: Duration::from_secs(60),
        };
        let scope = Arc::new(Scope::new(settings, before.clone()));
        let (mut client, server) = tokio::io::duplex(1 << 16);
        let (_open, closing) = watch::channel(None);
        let rules = scope.protection();
        let served = requests(server, Scheme::Https, Arc::clone(&scope), closing, rules);
        let served = tokio::spawn(served);
        let ask = async |client: &mut tokio::io::DuplexStream| {
            let request = b"GET / HTTP/1.1\r\nHost: plant\r\n\r\n";
            client.write_all(request).await.expect("open");
            let mut answer = [0; 12];
            client.read_exact(&mut answer).await.expect("an answer");
            assert_eq!(&answer, b"HTTP/1.1 404");
            let mut rest = [0; 4_096];
            let _ = timeout(Duration::from_millis(50), client.read(&mut rest)).await;
        };
        ask(&mut client).await;
        // The same rules with a key that was opened anew end nothing.
        scope.protect(before);
        ask(&mut client).await;
        scope.protect(Protection::in_words("another authority"));
        timeout(Duration::from_secs(10), served)
            .await
            .expect("it ends")
            .expect("well");
        let mut rest = Vec::new();
        client.read_to_end(&mut rest).await.expect("its end");
        assert_eq!(rest, b"");
    }
}
