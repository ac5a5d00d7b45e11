//! The embedder's entry point: anchors and policy on one side, an engine of ours on the other.

use std::fmt;
use std::sync::Arc;

use countersign_format::Digest;
use countersign_trust_store::{
    Anchors, Now, Policy, Rejection, TrustState, UnverifiedComponent, VerifiedComponent,
};
use wasmtime::component::Linker;
use wasmtime::{Config, Engine};

use crate::audit::Record;
use crate::context::HasGuestContext;
use crate::deadline::Ticker;
use crate::engine;
use crate::error::LoadError;
use crate::grants::Ceiling;
use crate::guest::ReadyGuest;
use crate::load;

/// Called with one record for every acceptance and refusal.
pub type AuditSink = dyn Fn(&Record) + Send + Sync;

/// Verifies, loads and runs components, and nothing that was not verified.
///
/// ```no_run
/// # use countersign_runtime::{Ceiling, GuestContext, Output, Runtime, trust_store};
/// # use countersign_runtime::wasmtime::component::Linker;
/// # async fn example(
/// #     anchors: trust_store::Anchors, now: trust_store::Now,
/// # ) -> Result<(), Box<dyn std::error::Error>> {
/// let runtime = Runtime::builder(anchors).build()?;
/// let verified = runtime.verify(std::fs::read("app.signed.wasm")?, &now, &Default::default())?;
/// let ceiling = Ceiling::new().stdout(Output::Stdout);
/// let linker = Linker::<GuestContext>::new(runtime.engine());
/// let status = runtime.load(verified, &ceiling, &linker)?.run_command().await?;
/// # Ok(()) }
/// ```
///
/// What was not verified does not load:
///
/// ```compile_fail,E0308
/// # use countersign_runtime::{Ceiling, GuestContext, Runtime};
/// # use countersign_runtime::wasmtime::component::Linker;
/// # fn example(runtime: Runtime, linker: Linker<GuestContext>) {
/// let bytes: Vec<u8> = std::fs::read("app.wasm").unwrap();
/// let ready = runtime.load(bytes, &Ceiling::new(), &linker); // expected `VerifiedComponent`
/// # }
/// ```
pub struct Runtime {
    anchors: Anchors,
    policy: Policy,
    engine: Engine,
    ticker: Arc<Ticker>,
    audit: Option<Box<AuditSink>>,
}

impl Runtime {
    /// Starts to build a runtime that trusts `anchors`.
    #[must_use]
    pub fn builder(anchors: Anchors) -> Builder {
        Builder {
            anchors,
            policy: Policy::default(),
            config: None,
            audit: None,
        }
    }

    /// The engine, for the host's own `Linker` and `Store`.
    #[must_use]
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// The roots that this runtime trusts.
    #[must_use]
    pub fn anchors(&self) -> &Anchors {
        &self.anchors
    }

    /// Verifies the bytes of a signed file: framing, digest, chain, signatures, scope, audience.
    ///
    /// # Errors
    /// The [`Rejection`], of which an audit record has been made.
    pub fn verify(
        &self,
        bytes: Vec<u8>,
        now: &Now,
        state: &TrustState,
    ) -> Result<VerifiedComponent, Rejection> {
        let file = self.audit.as_ref().map(|_| Digest::of(&bytes));
        UnverifiedComponent::parse(bytes)
            .and_then(|unverified| self.anchors.verify(unverified, &self.policy, now, state))
            .inspect_err(|rejection| {
                if let Some(file) = file {
                    self.record(|| {
                        Record::rejected(
                            file,
                            rejection.code(),
                            &rejection.to_string(),
                            &self.anchors,
                        )
                    });
                }
            })
    }

    /// Loads a verified component: holds its imports against its statement and `ceiling`, compiles it, and links it
    /// with WASI 0.2 and with what `linker` defines beside it.
    ///
    /// Compiling takes a while (about a second for 4 MB) and blocks: an asynchronous host calls this from
    /// `spawn_blocking`.
    ///
    /// # Errors
    /// [`LoadError`], of which an audit record has been made.
    pub fn load<T: HasGuestContext>(
        &self,
        verified: VerifiedComponent,
        ceiling: &Ceiling,
        linker: &Linker<T>,
    ) -> Result<ReadyGuest<T>, LoadError> {
        let loaded = load::load(&self.engine, &self.ticker, &verified, ceiling, linker);
        match &loaded {
            Ok(ready) => self.record(|| ready.record().clone()),
            Err(error) => {
                self.record(|| Record::refused(&verified, error.code(), &error.to_string()))
            }
        }
        loaded
    }

    fn record(&self, record: impl FnOnce() -> Record) {
        if let Some(audit) = &self.audit {
            audit(&record());
        }
    }
}

impl fmt::Debug for Runtime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Runtime").finish_non_exhaustive()
    }
}

/// Builds a [`Runtime`].
pub struct Builder {
    anchors: Anchors,
    policy: Policy,
    config: Option<Config>,
    audit: Option<Box<AuditSink>>,
}

impl Builder {
    /// Sets the policy: how many signers must count, and this device's own identity.
    #[must_use]
    pub fn policy(mut self, policy: Policy) -> Self {
        self.policy = policy;
        self
    }

    /// Uses an embedder's own Wasmtime configuration, for its allocation strategy, reservations and optimisation.
    ///
    /// What safety rests on is set again: the WebAssembly proposals, interruption, traps. Do not set
    /// `Config::cache`: nothing authenticates what is found there.
    #[must_use]
    pub fn config(mut self, config: Config) -> Self {
        self.config = Some(config);
        self
    }

    /// Calls `sink` with a record of every acceptance and refusal.
    #[must_use]
    pub fn audit(mut self, sink: impl Fn(&Record) + Send + Sync + 'static) -> Self {
        self.audit = Some(Box::new(sink));
        self
    }

    /// Builds the engine and starts the thread that interrupts guests.
    ///
    /// # Errors
    /// [`BuildError`] if Wasmtime refuses the configuration or the thread does not start.
    pub fn build(self) -> Result<Runtime, BuildError> {
        let engine = engine::build(self.config).map_err(BuildError::Engine)?;
        let ticker = Ticker::start(&engine).map_err(BuildError::Thread)?;
        Ok(Runtime {
            anchors: self.anchors,
            policy: self.policy,
            engine,
            ticker: Arc::new(ticker),
            audit: self.audit,
        })
    }
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder").finish_non_exhaustive()
    }
}

/// Why a runtime could not be built. These are the host's faults and no refusals.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// Wasmtime refuses the configuration.
    #[error("Wasmtime refuses the configuration")]
    Engine(#[source] wasmtime::Error),
    /// The thread that interrupts guests does not start.
    #[error("the thread that interrupts guests could not be started")]
    Thread(#[source] std::io::Error),
}
