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
use super::lingering::{Unread, linger};
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
    mut stream: S,
    scheme: Scheme,
    scope: Arc<Scope>,
    mut closing: watch::Receiver<Option<Instant>>,
    mut rules: watch::Receiver<Protection>,
) where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let head = scope.settings.head;
    let unread = Unread::default();
    let service = service_fn(|request: Request<Incoming>| {
        let request = request.map(|body| unread.watch(body));
        let serving = scope.routes.find(request.uri(), request.headers());
        async move {
            Ok::<_, Infallible>(match serving {
                Some(serving) => serving.answer(scheme, request).await,
                None => answer::without(StatusCode::NOT_FOUND),
            })
        }
    });
    let is_cut = {
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(head)
            .max_headers(HEADERS)
            .max_buf_size(HEAD_BYTES)
            .serve_connection(TokioIo::new(&mut stream), service);
        let mut connection = std::pin::pin!(connection);
        let ended = tokio::select! {
            ended = connection.as_mut() => Some(ended),
            _ = closing.changed() => None,
            _ = rules.changed() => None,
        };
        let ended = match ended {
            Some(ended) => Ok(ended),
            None => {
                connection.as_mut().graceful_shutdown();
                // What ends it early is the other side's fault or its address's end.
                timeout(LAST_ANSWER, connection).await
            }
        };
        match ended {
            Ok(Ok(())) => unread.is_some(),
            // hyper has answered a head that it could not read, of which more may come. Any other error has cut an answer, which
            // must not look as if it had ended.
            Ok(Err(error)) => error.is_parse(),
            Err(_) => false,
        }
    };
    // An address that closes waits for nobody who does not take his answer.
    if is_cut && closing.borrow().is_none() {
        tokio::select! {
            () = linger(stream) => {}
            _ = closing.changed() => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;
    use tokio::time::sleep;

    use super::*;
    use crate::config::HttpServer;

    fn settings() -> HttpServer {
        HttpServer {
            requests: 1,
            connections: 1,
            connections_per_address: 1,
            head: Duration::from_secs(60),
            pause: Duration::from_secs(60),
        }
    }

    #[tokio::test]
    async fn who_is_refused_while_sending_has_the_answer_and_its_end() {
        let address = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let to = address.local_addr().expect("it is bound");
        let scope = Arc::new(Scope::new(settings(), Protection::in_words("nothing")));
        let (_open, closing) = watch::channel(None);
        // A body that nobody reads, and a head that is too long.
        let much = "x".repeat(300_000);
        for (head, status) in [
            (format!("Content-Length: {}\r\n\r\n", much.len()), "404"),
            ("Long: ".to_owned(), "431"),
        ] {
            let asked = async {
                let mut client = TcpStream::connect(to).await.expect("it listens");
                let request = format!("POST / HTTP/1.1\r\nHost: plant\r\n{head}{much}");
                client.write_all(request.as_bytes()).await.expect("taken");
                let mut answer = String::new();
                let ended = client.read_to_string(&mut answer).await;
                ended.expect("its end, and no reset");
                assert!(
                    answer.starts_with(&format!("HTTP/1.1 {status}")),
                    "{answer}"
                );
                // Whoever goes on sending meanwhile is not reset for it.
                for _ in 0..20 {
                    client.write_all(&[b'x'; 1_000]).await.expect("taken");
                    sleep(Duration::from_millis(5)).await;
                }
            };
            let served = async {
                let (stream, _) = address.accept().await.expect("a connection");
                let (scope, rules) = (Arc::clone(&scope), scope.protection());
                requests(stream, Scheme::Http, scope, closing.clone(), rules).await;
            };
            tokio::join!(asked, served);
        }
    }

    #[tokio::test]
    async fn what_came_under_other_rules_goes_when_it_has_its_answer() {
        let before = Protection::in_words("a revoked authority");
        let scope = Arc::new(Scope::new(settings(), before.clone()));
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
