//! A server whose answers come from a verified component: `cargo run -p countersign-runtime --example server`.
//!
//! The component is `guest-examples/valves-http`, built by `cargo xtask guests valves-http`. It exports WASI's handler of
//! requests, and imports an interface of the host's own, which is in `plant.wit`. Addresses, connections and TLS are the
//! host's matter: here those of hyper.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::error::Error;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use countersign_runtime::http::{
    HttpHandler, HttpLimits, Request, Response, ResponseBody, Scheme, ServeError,
};
use countersign_runtime::wasmtime::Store;
use countersign_runtime::wasmtime::component::{HasSelf, Linker};
use countersign_runtime::{Ceiling, GuestContext, HasGuestContext, Limits, RunError, Runtime};
use countersign_testing::TestPki;
use http_body_util::{Either, Full};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

mod bindings {
    #![allow(
        missing_docs,
        unreachable_pub,
        unnameable_types,
        reason = "generated from the WIT file"
    )]
    countersign_runtime::wasmtime::component::bindgen!({
        path: "examples/server/plant.wit",
        wasmtime_crate: countersign_runtime::wasmtime,
    });
}

use bindings::acme::plant::valves;

/// How far each valve is open, for all requests together.
type Valves = Arc<Mutex<BTreeMap<String, u8>>>;

/// The store's data of one request: the guest's part, and what the host lends to it.
struct Visit {
    guest: GuestContext,
    valves: Valves,
}

impl HasGuestContext for Visit {
    fn guest_context(&mut self) -> &mut GuestContext {
        &mut self.guest
    }
}

impl valves::Host for Visit {
    fn read(&mut self, name: String) -> Option<u8> {
        let valves = self.valves.lock().unwrap_or_else(PoisonError::into_inner);
        valves.get(&name).copied()
    }

    fn open(&mut self, name: String, percent: u8) -> Option<u8> {
        let mut valves = self.valves.lock().unwrap_or_else(PoisonError::into_inner);
        let open = valves.get_mut(&name)?;
        *open = open.saturating_add(percent).min(100);
        Some(*open)
    }
}

/// A component in its place, and what it shows.
struct Server {
    handler: HttpHandler<Visit>,
    valves: Valves,
}

impl Server {
    /// Each request has a store of its own: nothing of one is there in the next.
    async fn answer(
        &self,
        request: Request<Incoming>,
    ) -> Result<Response<ResponseBody>, ServeError> {
        let ready = self.handler.ready();
        let guest = ready
            .context()
            .map_err(|error| RunError::Context(Box::new(error)))?;
        let valves = Arc::clone(&self.valves);
        let store = Store::new(ready.engine(), Visit { guest, valves });
        let ended = |ended: &Result<(), RunError>| {
            if let Err(error) = ended {
                eprintln!("server: a guest was stopped: {error}");
            }
        };
        self.handler
            .serve_in(store, Scheme::Http, request, ended)
            .await
    }

    /// Whoever asked learns a status where the component has no answer; why is the operator's to know.
    async fn answer_or_status(
        &self,
        request: Request<Incoming>,
    ) -> Result<Response<Either<ResponseBody, Full<Bytes>>>, Infallible> {
        Ok(match self.answer(request).await {
            Ok(response) => response.map(Either::Left),
            Err(error) => {
                eprintln!("server: no answer: {error}");
                let mut response = Response::new(Either::Right(Full::default()));
                *response.status_mut() = error.status();
                response
            }
        })
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let pki = TestPki::builder().scope(&["plant:*"]).build();
    let mut manifest = pki.manifest("plant:valves");
    manifest.grants.http_incoming = true;
    let signed = pki.sign(&std::fs::read(component())?, &manifest);

    // A real program has `Anchors::new(roots!("roots.pem")?)?` here.
    let runtime = Runtime::builder(pki.anchors()).build()?;
    let verified = runtime.verify(signed, &pki.now(), &pki.state())?;
    let mut linker = Linker::<Visit>::new(runtime.engine());
    valves::add_to_linker::<Visit, HasSelf<Visit>>(&mut linker, |visit| visit)?;
    let mut limits = Limits::default();
    limits.memory_bytes = 16 << 20;
    limits.run = Duration::from_secs(1);
    let ceiling = Ceiling::new()
        .http_incoming()
        .interface("acme:plant/valves")
        .limits(limits);
    let handler = runtime
        .load(verified, &ceiling, &linker)?
        .http_handler(HttpLimits::default())?;

    let valves = BTreeMap::from([("main".to_owned(), 40), ("drain".to_owned(), 0)]);
    let server = Arc::new(Server {
        handler,
        valves: Arc::new(Mutex::new(valves)),
    });
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    println!("server: http://{address}/main");
    tokio::spawn(listen(listener, server));

    // A browser's part.
    let (status, text) = ask(address, "GET", "/main").await?;
    assert_eq!((status, text.as_str()), (200, "main is open by 40 %\n"));
    let (status, text) = ask(address, "POST", "/main").await?;
    assert_eq!((status, text.as_str()), (200, "main is open by 50 %\n"));
    // The next guest has a memory of its own, and the plant is the same.
    let (status, text) = ask(address, "GET", "/main").await?;
    assert_eq!((status, text.as_str()), (200, "main is open by 50 %\n"));
    let (status, _) = ask(address, "GET", "/roof").await?;
    assert_eq!(status, 404);
    // This path does not end, and its guest is stopped.
    let (status, _) = ask(address, "GET", "/spin").await?;
    assert_eq!(status, 504);
    let (status, _) = ask(address, "GET", "/drain").await?;
    assert_eq!(status, 200);
    Ok(())
}

async fn listen(listener: TcpListener, server: Arc<Server>) {
    // A real program bounds how many connections there are.
    while let Ok((stream, _)) = listener.accept().await {
        let server = Arc::clone(&server);
        tokio::spawn(async move {
            let service = service_fn(|request| server.answer_or_status(request));
            let served = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(Duration::from_secs(5))
                .serve_connection(TokioIo::new(stream), service)
                .await;
            if let Err(error) = served {
                eprintln!("server: a connection ended: {error}");
            }
        });
    }
}

/// Asks and returns the status and the body.
async fn ask(
    address: SocketAddr,
    method: &str,
    path: &str,
) -> Result<(u16, String), Box<dyn Error>> {
    let mut stream = TcpStream::connect(address).await?;
    let request = format!(
        "{method} {path} HTTP/1.1\r\nhost: {address}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await?;
    let mut text = String::new();
    stream.read_to_string(&mut text).await?;
    println!(
        "server: {method} {path}: {}",
        text.lines().next().unwrap_or_default()
    );
    let status = text.split(' ').nth(1).ok_or("no status")?.parse()?;
    // The guest says nothing of the length, so that the body comes in pieces, each below its own.
    let body = text.split_once("\r\n\r\n").ok_or("no body")?.1;
    let line = body.split("\r\n").nth(1).unwrap_or_default();
    Ok((status, line.to_owned()))
}

/// The component as it was built: in the folder above that of this program's profile.
fn component() -> PathBuf {
    let myself = std::env::current_exe().unwrap_or_default();
    let target = myself.ancestors().nth(3).unwrap_or(&myself);
    target.join("guests/valves-http.wasm")
}
