//! The embedder's entry point: anchors and policy on one side, an engine of ours on the other.

use std::fmt;
use std::sync::Arc;

use countersign_format::Digest;
use countersign_trust_store::{
    Anchors, ClaimedComponent, Now, Policy, Refused, Rejection, TrustState, UnverifiedComponent,
    VerifiedComponent, VerifiedPrecompiled, VerifiedVoucher,
};
use wasmtime::component::Linker;
use wasmtime::{Config, Engine};

use crate::audit::Record;
use crate::code::{
    self, CodeAhead, CodeCache, CodeMemory, CodeSupply, CodeTarget, Compilation, CompileLimits,
    Roots, Source, pages,
};
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
    source: Source,
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
            cache: None,
            apart: None,
            interpreted: false,
            code_memory: CodeMemory::WhileUsed,
            serving: None,
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

    /// The policy that components are verified by.
    #[must_use]
    pub fn policy(&self) -> &Policy {
        &self.policy
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
        self.verify_by(&self.policy, bytes, now, state)
    }

    /// As [`verify`](Self::verify), by another policy than the runtime's own: for a host that learns who it is, or what its operator
    /// demands, after the runtime was built.
    ///
    /// # Errors
    /// As [`verify`](Self::verify).
    pub fn verify_by(
        &self,
        policy: &Policy,
        bytes: Vec<u8>,
        now: &Now,
        state: &TrustState,
    ) -> Result<VerifiedComponent, Rejection> {
        self.anchors
            .verify_bytes(bytes, policy, now, state)
            .map_err(|Refused { rejection, bytes }| {
                self.record(|| {
                    Record::rejected(
                        Digest::of(&bytes),
                        rejection.code(),
                        &rejection.to_string(),
                        &self.anchors,
                    )
                });
                rejection
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
        self.load_with(verified, None, &Compilation::default(), ceiling, linker)
    }

    /// The target of code that this runtime loads, as it stands in the signature on precompiled code.
    #[must_use]
    pub fn code_target(&self) -> &'static str {
        code::target_of(&self.engine)
    }

    /// Verifies a file of code that was compiled for a verified component, and that it is for this host.
    ///
    /// # Errors
    /// [`LoadError::Rejected`] if who vouches for it is not trusted with that; [`LoadError::CodeForAnother`] if it is for
    /// another build, target or processor.
    pub fn verify_precompiled(
        &self,
        bytes: Vec<u8>,
        component: &VerifiedComponent,
        now: &Now,
        state: &TrustState,
    ) -> Result<VerifiedPrecompiled, LoadError> {
        let voucher = self.verify_voucher(&bytes, component, now, state)?;
        Ok(voucher.hold_against(bytes)?)
    }

    /// As [`verify_precompiled`](Self::verify_precompiled), of the first bytes of the file, before the code is read.
    ///
    /// # Errors
    /// The same, but for the code itself.
    pub fn verify_voucher(
        &self,
        bytes: &[u8],
        component: &VerifiedComponent,
        now: &Now,
        state: &TrustState,
    ) -> Result<VerifiedVoucher, LoadError> {
        let voucher = (self.anchors).verify_voucher(bytes, component, now, state)?;
        code::fits(&self.engine, voucher.statement())?;
        Ok(voucher)
    }

    /// As [`load`](Self::load), with code that came with the component: nothing is compiled.
    ///
    /// # Errors
    /// [`LoadError`], of which an audit record has been made.
    pub fn load_precompiled<T: HasGuestContext>(
        &self,
        verified: VerifiedComponent,
        code: VerifiedPrecompiled,
        ceiling: &Ceiling,
        linker: &Linker<T>,
    ) -> Result<ReadyGuest<T>, LoadError> {
        self.load_with(
            verified,
            Some(code.into()),
            &Compilation::default(),
            ceiling,
            linker,
        )
    }

    /// Compiles a verified component for other hosts of this build: the file that `countersign sign-code` takes.
    ///
    /// # Errors
    /// [`LoadError`] if it cannot be compiled for that target.
    pub fn precompile(
        &self,
        verified: &VerifiedComponent,
        target: CodeTarget,
    ) -> Result<Vec<u8>, LoadError> {
        code::make(verified, target)
    }

    /// Begins to read what the code cache holds for a signed file, in a thread of its own, so that it is there when the file has
    /// been verified. Which entry that is, the file says itself; it is used for no other component than one that verifies and
    /// is that one.
    ///
    /// `None` where there is no cache, or the cache has nothing for it.
    #[must_use]
    pub fn read_ahead(&self, claimed: &ClaimedComponent) -> Option<CodeAhead> {
        self.source.ahead(&self.engine, claimed)
    }

    /// Verifies a component that was recognised ([`CodeAhead::recogniser`]): chain, revocation, signatures, scope, audience,
    /// version. `None` where anything is against it, of which no record is made: who reads and verifies it whole learns what.
    #[must_use]
    pub fn verify_recognised(
        &self,
        component: UnverifiedComponent,
        now: &Now,
        state: &TrustState,
    ) -> Option<VerifiedComponent> {
        let verdict = self.anchors.verify(component, &self.policy, now, state);
        verdict.ok()
    }

    /// As [`load`](Self::load), with code that the caller brings along, and otherwise so compiled that the caller can give it up.
    ///
    /// # Errors
    /// [`LoadError`], of which an audit record has been made; of [`LoadError::GivenUp`] and [`LoadError::Recognised`] none.
    pub fn load_with<T: HasGuestContext>(
        &self,
        verified: VerifiedComponent,
        supply: Option<CodeSupply>,
        compilation: &Compilation,
        ceiling: &Ceiling,
        linker: &Linker<T>,
    ) -> Result<ReadyGuest<T>, LoadError> {
        let loaded = load::load(
            &self.engine,
            &self.ticker,
            &self.source,
            &verified,
            supply,
            compilation,
            ceiling,
            linker,
        );
        match &loaded {
            Ok(ready) => self.record(|| ready.record().clone()),
            Err(LoadError::GivenUp | LoadError::Recognised) => {}
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
    cache: Option<Arc<CodeCache>>,
    apart: Option<CompileLimits>,
    interpreted: bool,
    code_memory: CodeMemory,
    serving: Option<u32>,
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

    /// Keeps compiled code in `cache`, and takes it from there when the same component is loaded again.
    ///
    /// What the cache holds is believed if this device sealed it for this component, build, processor, settings and roots;
    /// otherwise the component is compiled again, from the bytes that were verified. Several runtimes may have the same.
    #[must_use]
    pub fn code_cache(mut self, cache: impl Into<Arc<CodeCache>>) -> Self {
        self.cache = Some(cache.into());
        self
    }

    /// Has code of 2 MiB or more that comes from the cache stay in memory until this process ends, also when its component is gone or is
    /// refused for what cannot be linked: for hosts that run one component and end, whose starts take less time so. Data that a component's
    /// memories begin with is copied once more at its first start. Only on Linux on x86-64 and beside
    /// [`code_cache`](Self::code_cache); elsewhere, and beside [`interpreted`](Self::interpreted), nothing changes.
    ///
    /// Wasmtime then asks this library to make code executable ([`wasmtime::CustomCodeMemory`]), whatever
    /// [`config`](Self::config) says of that, and its debugging of guests (`guest_debug`) does not work with such code.
    #[must_use]
    pub fn code_for_good(mut self) -> Self {
        self.code_memory = CodeMemory::ForGood;
        self
    }

    /// Compiles in a process of its own, so that a component which keeps the compiler busy ends nothing but its own loading.
    ///
    /// That process is this program, started with [`CompileLimits::arguments`]; started so, it must call
    /// [`compile_for_parent`](crate::compile_for_parent) before anything else. It compiles with this library's own
    /// configuration, so that [`config`](Self::config) cannot be used beside it.
    #[must_use]
    pub fn compile_apart(mut self, limits: CompileLimits) -> Self {
        self.apart = Some(limits);
        self
    }

    /// Runs components in Wasmtime's interpreter: several times as slow, and no memory is written and then executed. For
    /// systems that forbid that (systemd's `MemoryDenyWriteExecute`).
    #[must_use]
    pub fn interpreted(mut self) -> Self {
        self.interpreted = true;
        self
    }

    /// Lays out memory for `guests` that run at the same time, each for one request, instead of anew for each: for a host that
    /// serves many. One with many memories or tables takes the places of several
    /// ([`HttpHandler::places`](crate::http::HttpHandler::places)). A memory of such a guest has at most 64 MiB. What [`config`](Self::config) set does not count then.
    #[must_use]
    pub fn for_serving(mut self, guests: u32) -> Self {
        self.serving = Some(guests);
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
        if self.apart.is_some() && self.config.is_some() {
            return Err(BuildError::ConfigApart);
        }
        let can_stay = self.cache.is_some() && !self.interpreted && pages::USABLE;
        let memory = match self.code_memory {
            CodeMemory::ForGood if can_stay => CodeMemory::ForGood,
            CodeMemory::ForGood | CodeMemory::WhileUsed => CodeMemory::WhileUsed,
        };
        let source = Source {
            roots: Roots::of(&self.anchors),
            cache: self.cache,
            apart: self.apart,
            interpreted: self.interpreted,
            memory,
        };
        let engine = engine::build(self.config, self.interpreted, self.serving, memory)
            .map_err(BuildError::Engine)?;
        let ticker = Ticker::start(&engine).map_err(BuildError::Thread)?;
        Ok(Runtime {
            anchors: self.anchors,
            policy: self.policy,
            engine,
            ticker: Arc::new(ticker),
            source,
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
    /// A configuration of the embedder's, and a process of its own that compiles, which does not know it.
    #[error(
        "a process of its own compiles with this library's configuration; leave out either `config` or `compile_apart`"
    )]
    ConfigApart,
    /// Wasmtime refuses the configuration.
    #[error("Wasmtime refuses the configuration")]
    Engine(#[source] wasmtime::Error),
    /// The thread that interrupts guests does not start.
    #[error("the thread that interrupts guests could not be started")]
    Thread(#[source] std::io::Error),
}
