//! A component that answers requests: not more at the same time than it may, and to the end of those under way when it is
//! exchanged or stopped.

use std::sync::Arc;
use std::time::Duration;

use countersign_runtime::http::{
    HttpHandler, HttpLimits, Request, Response, Scheme, ServeError, StatusCode,
};
use countersign_runtime::{GuestContext, LoadError, ReadyGuest, RunError};
use http_body_util::Empty;
use hyper::body::{Body as HttpBody, Bytes};
use hyper::header::HOST;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};
use tracing::field;
use tracing::{Instrument as _, info_span};

use super::answer::{self, Body};
use super::figures::Figures;
use super::listener::Listener;
use super::{Server, lock};
use crate::config::Http;
use crate::failures::Failures;
use crate::traces;

/// How long a request waits for its turn.
const TURN: Duration = Duration::from_secs(1);

/// How long the answer about its health may take.
const HEALTH: Duration = Duration::from_secs(5);

/// A component that answers requests.
pub(crate) struct Serving {
    name: String,
    http: Http,
    handler: HttpHandler<GuestContext>,
    /// Requests of this component at the same time.
    turns: Arc<Semaphore>,
    /// What is laid out for requests of all components, of which each takes as many as the component has places.
    room: Arc<Semaphore>,
    places: u32,
    /// The same for questions about health, which no request takes from them.
    probing: Arc<Semaphore>,
    failures: Arc<Failures>,
    figures: Figures,
}

impl Serving {
    /// Has a component answer requests, as far as anybody asks it.
    ///
    /// # Errors
    /// If it is none that can.
    pub(crate) fn new(
        name: &str,
        http: &Http,
        ready: &ReadyGuest<GuestContext>,
        server: &Server,
    ) -> Result<Arc<Self>, LoadError> {
        let mut limits = HttpLimits::default();
        limits.request_bytes = http.body;
        limits.pause = server.settings.pause;
        let turns = usize::try_from(http.concurrent).unwrap_or(usize::MAX);
        let handler = ready.http_handler(limits)?;
        Ok(Arc::new(Self {
            name: name.to_owned(),
            http: http.clone(),
            places: handler.places().min(server.settings.requests),
            probing: Arc::clone(&server.probing),
            handler,
            turns: Arc::new(Semaphore::new(turns)),
            room: Arc::clone(&server.room),
            failures: Arc::new(Failures::new(name, ready.record(), &server.records)),
            figures: Figures::of(name),
        }))
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn http(&self) -> &Http {
        &self.http
    }

    /// Whether it is healthy, as it says itself where it is configured to be asked.
    ///
    /// # Errors
    /// What it said instead.
    pub(crate) async fn probe(&self) -> Result<(), String> {
        let Some(path) = &self.http.health else {
            return Ok(());
        };
        let host = self.http.hosts.first().cloned();
        let host = host.unwrap_or_else(|| self.http.listen.to_string());
        let request = Request::get(path.as_str())
            .header(HOST, host)
            .body(Empty::<Bytes>::new())
            .map_err(|error| error.to_string())?;
        // It waits for none but others who are asked, and none of those takes longer than this.
        let place = Arc::clone(&self.probing).acquire_many_owned(self.handler.places());
        let place = place.await.map_err(|error| error.to_string())?;
        let ended = move |_: &Result<(), RunError>| drop(place);
        let by = Instant::now() + HEALTH;
        let answered = timeout_at(by, self.handler.serve(Scheme::Http, request, ended)).await;
        match answered {
            Ok(Ok(response)) if response.status().is_success() => Ok(()),
            Ok(Ok(response)) => Err(format!("{path} answered {}", response.status())),
            Ok(Err(error)) => Err(format!("{path} was not answered: {error}")),
            Err(_) => Err(format!("{path} was not answered within {HEALTH:?}")),
        }
    }

    /// Its answer to a request, or what is said in its place.
    pub(super) async fn answer<B>(&self, scheme: Scheme, request: Request<B>) -> Response<Body>
    where
        B: HttpBody<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Into<countersign_runtime::http::BodyError>,
    {
        let began = Instant::now();
        let response = self.traced(scheme, request).await;
        self.figures.note(response.status(), began.elapsed());
        response
    }

    async fn traced<B>(&self, scheme: Scheme, request: Request<B>) -> Response<Body>
    where
        B: HttpBody<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Into<countersign_runtime::http::BodyError>,
    {
        if !traces::is_sampled() {
            return self.answered(scheme, request).await;
        }
        let span = info_span!(
            "request",
            otel.kind = "server",
            service = self.name,
            http.request.method = %request.method(),
            http.response.status_code = field::Empty
        );
        let response = self
            .answered(scheme, request)
            .instrument(span.clone())
            .await;
        span.record("http.response.status_code", response.status().as_u16());
        response
    }

    async fn answered<B>(&self, scheme: Scheme, request: Request<B>) -> Response<Body>
    where
        B: HttpBody<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Into<countersign_runtime::http::BodyError>,
    {
        let by = Instant::now() + TURN;
        let (Some(turn), Some(room)) = (
            take(&self.turns, 1, by).await,
            take(&self.room, self.places, by).await,
        ) else {
            return answer::without(StatusCode::SERVICE_UNAVAILABLE);
        };
        let failures = Arc::clone(&self.failures);
        let ended = move |ended: &Result<(), RunError>| {
            if let Err(error) = ended {
                note(&failures, error);
            }
            // Until then, answer or not, it is one of those under way.
            drop((turn, room));
        };
        match self.handler.serve(scheme, request, ended).await {
            Ok(response) => answer::whole(response),
            Err(error) => {
                if let ServeError::Ended(RunError::Context(_) | RunError::WrongContext) = &error {
                    // Nothing of it ran, and so nothing of it ended.
                    if let ServeError::Ended(error) = &error {
                        note(&self.failures, error);
                    }
                }
                answer::without(error.status())
            }
        }
    }

    /// Waits until no request is under way any more, until `by` at most.
    async fn idle(&self, by: Instant) {
        let _ = timeout_at(by, self.turns.acquire_many(self.http.concurrent)).await;
    }
}

fn note(failures: &Failures, error: &RunError) {
    failures.note(Some(error.code()), &format!("a request: {error}"));
}

async fn take(of: &Arc<Semaphore>, many: u32, by: Instant) -> Option<OwnedSemaphorePermit> {
    if let Ok(taken) = Arc::clone(of).try_acquire_many_owned(many) {
        return Some(taken);
    }
    timeout_at(by, Arc::clone(of).acquire_many_owned(many))
        .await
        .ok()?
        .ok()
}

/// A component in its place. Dropped, it is gone with its requests.
pub(crate) struct Placed {
    server: Arc<Server>,
    serving: Arc<Serving>,
}

impl Server {
    /// Gives a component its place on its address, which is opened if it is not yet; of the one that had the place, no request
    /// begins any more.
    ///
    /// # Errors
    /// A sentence, if the address cannot be opened.
    pub(crate) async fn place(self: &Arc<Self>, serving: Arc<Serving>) -> anyhow::Result<Placed> {
        let listen = serving.http.listen;
        loop {
            self.protection(listen).await?;
            let mut open = lock(&self.open);
            // One that was renewed meanwhile did not find this address open; and where another is wanted by now, none was made.
            let Some(protection) = self.newest(listen) else {
                continue;
            };
            match open.get(&listen) {
                Some(listener) => {
                    listener.protect(protection);
                    listener.routes().put(&serving);
                }
                None => {
                    let listener = Listener::open(listen, protection, self.settings)?;
                    listener.routes().put(&serving);
                    open.insert(listen, listener);
                }
            }
            break;
        }
        Ok(Placed {
            server: Arc::clone(self),
            serving,
        })
    }

    /// The address on which this component is the only one, which closes with it.
    fn last(&self, serving: &Arc<Serving>) -> Option<Listener> {
        let listen = serving.http.listen;
        let mut open = lock(&self.open);
        let alone = open.get(&listen)?.routes().is_alone(serving);
        if alone { open.remove(&listen) } else { None }
    }

    fn remove(&self, serving: &Arc<Serving>) {
        if let Some(listener) = lock(&self.open).get(&serving.http.listen) {
            listener.routes().remove(serving);
        }
    }
}

impl Placed {
    /// Takes it out of its place, and waits for the requests under way, as long as they may take.
    pub(crate) async fn drain(self) {
        let by = Instant::now() + self.serving.http.drain;
        if let Some(listener) = self.server.last(&self.serving) {
            // It answers what is on its connections already.
            listener.close(by).await;
        } else {
            self.server.remove(&self.serving);
        }
        self.serving.idle(by).await;
    }
}

impl Drop for Placed {
    fn drop(&mut self) {
        // A listener that is dropped closes.
        drop(self.server.last(&self.serving));
        self.server.remove(&self.serving);
        // Whoever waits for his turn gets none: what ends makes room, and nothing new is to begin there.
        self.serving.turns.close();
        self.serving.handler.end_all();
    }
}
