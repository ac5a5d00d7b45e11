//! A component that is ready to start, and one that runs.
//!
//! Decides that every start and every call is under its limits, and what the end of a guest is called. A guest that
//! trapped, was stopped or met a failing host function loses its store and is never entered again.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use wasmtime::component::{
    ComponentNamedList, Instance, InstancePre, Lift, Lower, ResourceTableError, TypedFunc,
};
use wasmtime::{Engine, PoolConcurrencyLimitError, Store, StoreContextMut, Trap, WasmBacktrace};
use wasmtime_wasi::I32Exit;

use crate::audit::Record;
use crate::code::CodeOrigin;
use crate::context::{GuestContext, HasGuestContext};
use crate::deadline::{Budget, Stop, Ticker, bounded};
use crate::error::{LoadError, RunError};
use crate::grants::Granted;
use crate::host::Session;
use crate::limits::{LimitKind, Limits};
use crate::wasi::LogBytesExhausted;

/// Most names of a backtrace that are kept, and most characters of guest text in one of them.
const MAX_FRAMES: usize = 16;
const MAX_TEXT: usize = 200;

/// From how much memory on a guest's is given back by another thread, in bytes (16 MiB): the system takes some milliseconds for it.
const MUCH: u64 = 16 << 20;

/// The most that is left to other threads before more is given back at once, in bytes (512 MiB).
const MOST_ON_ITS_WAY: u64 = 512 << 20;

/// What a closure for [`RunningGuest::call`] returns: `Box::pin(async move { … })`.
pub type CallFuture<'a, R> = Pin<Box<dyn Future<Output = wasmtime::Result<R>> + Send + 'a>>;

/// A component that was verified, compiled and linked, and whose imports are all granted.
///
/// It can only come from [`Runtime::load`](crate::Runtime::load), which takes nothing but a verified component:
///
/// ```compile_fail,E0451
/// # use countersign_runtime::{GuestContext, ReadyGuest, wasmtime::component::InstancePre};
/// # fn forge(pre: InstancePre<GuestContext>, other: ReadyGuest<GuestContext>) {
/// let forged = ReadyGuest { pre, ..other }; // private fields
/// # }
/// ```
///
/// and what it holds does not leak, so that nothing starts without its limits:
///
/// ```compile_fail,E0616
/// # use countersign_runtime::{GuestContext, ReadyGuest};
/// # fn leak(ready: ReadyGuest<GuestContext>) {
/// let pre = ready.pre; // private field
/// # }
/// ```
///
/// A clone shares the compiled code, for a host that starts a component more than once.
pub struct ReadyGuest<T: 'static> {
    pre: InstancePre<T>,
    shared: Arc<Shared>,
}

/// What all starts of a component share.
struct Shared {
    granted: Arc<Granted>,
    session: Option<Session>,
    ticker: Arc<Ticker>,
    record: Record,
    origin: CodeOrigin,
}

impl<T: 'static> Clone for ReadyGuest<T> {
    fn clone(&self) -> Self {
        Self {
            pre: self.pre.clone(),
            shared: Arc::clone(&self.shared),
        }
    }
}

impl<T: 'static> std::fmt::Debug for ReadyGuest<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ReadyGuest")
            .field("granted", &self.shared.granted)
            .finish_non_exhaustive()
    }
}

impl<T: HasGuestContext> ReadyGuest<T> {
    pub(crate) fn new(
        pre: InstancePre<T>,
        granted: Arc<Granted>,
        session: Option<Session>,
        ticker: Arc<Ticker>,
        record: Record,
        origin: CodeOrigin,
    ) -> Self {
        let shared = Arc::new(Shared {
            granted,
            session,
            ticker,
            record,
            origin,
        });
        Self { pre, shared }
    }

    /// The record of its acceptance, of which those of its ends are made.
    #[must_use]
    pub fn record(&self) -> &Record {
        &self.shared.record
    }

    /// Where its code came from.
    #[must_use]
    pub fn code_origin(&self) -> &CodeOrigin {
        &self.shared.origin
    }

    /// What the component was granted.
    #[must_use]
    pub fn granted(&self) -> &Granted {
        &self.shared.granted
    }

    /// The engine that the component was compiled for; stores for it are made with it.
    #[must_use]
    pub fn engine(&self) -> &Engine {
        self.pre.engine()
    }

    /// Makes the guest's part of a store's data: a fresh one for every start.
    ///
    /// # Errors
    /// [`LoadError::GrantInvalid`] if the descriptor of a granted directory cannot be duplicated.
    pub fn context(&self) -> Result<GuestContext, LoadError> {
        GuestContext::new(&self.shared.granted, self.shared.session.clone())
    }

    /// Starts the component in `store`, under its limits; replaces a limiter and an epoch deadline that the store had.
    ///
    /// Needs a Tokio runtime with its timer (`enable_all`).
    ///
    /// # Errors
    /// [`RunError::WrongContext`] if the store was made with another engine, or for another component;
    /// otherwise whatever ended the guest while it was starting.
    pub async fn start(self, store: Store<T>) -> Result<RunningGuest<T>, RunError> {
        let mut budget = self.budget();
        self.start_within(store, &mut budget).await
    }

    /// The whole time that its limits give, from now on.
    pub(crate) fn budget(&self) -> Budget {
        Budget::new(self.granted().limits(), &self.granted().usage)
    }

    pub(crate) async fn start_within(
        self,
        mut store: Store<T>,
        budget: &mut Budget,
    ) -> Result<RunningGuest<T>, RunError> {
        let limits = self.prepare(&mut store)?;
        let needed = self.pre.component().resources_required();
        let memories = needed.map(|needed| needed.num_memories);
        let limiter = &mut store.data_mut().guest_context().limiter;
        if !limiter.take_memories(memories) {
            return Err(RunError::NoRoom);
        }
        let ticker = &self.shared.ticker;
        let started = bounded(ticker, budget, self.pre.instantiate_async(&mut store)).await;
        match flatten(started) {
            Ok(instance) => {
                let store = Some(store);
                Ok(RunningGuest {
                    store,
                    instance,
                    limits,
                    shared: self.shared,
                })
            }
            Err(ended) => {
                let ended = ended.explain(&limits, &mut store);
                let_go(store);
                Err(ended)
            }
        }
    }

    /// Puts a store under the component's limits.
    pub(crate) fn prepare(&self, store: &mut Store<T>) -> Result<Limits, RunError> {
        let ours = Arc::ptr_eq(
            &store.data_mut().guest_context().granted,
            &self.shared.granted,
        );
        if !ours || !Engine::same(store.engine(), self.pre.engine()) {
            return Err(RunError::WrongContext);
        }
        let limits = *self.granted().limits();
        store.limiter(|data| &mut data.guest_context().limiter);
        store.set_hostcall_fuel(usize::try_from(limits.hostcall_bytes).unwrap_or(usize::MAX));
        store.set_max_component_handles(usize::try_from(limits.handles).unwrap_or(usize::MAX));
        store.epoch_deadline_async_yield_and_update(1);
        // Otherwise it would yield before its first instruction.
        store.set_epoch_deadline(1);
        Ok(limits)
    }

    pub(crate) fn pre(&self) -> &InstancePre<T> {
        &self.pre
    }

    pub(crate) fn ticker(&self) -> &Arc<Ticker> {
        &self.shared.ticker
    }
}

/// A component that runs: instantiated, limited, and callable until it ends.
pub struct RunningGuest<T: 'static> {
    /// Gone once the guest was stopped.
    store: Option<Store<T>>,
    instance: Instance,
    limits: Limits,
    shared: Arc<Shared>,
}

impl<T: HasGuestContext> RunningGuest<T> {
    /// The store's data; `None` once the guest was stopped.
    pub fn data_mut(&mut self) -> Option<&mut T> {
        self.store.as_mut().map(Store::data_mut)
    }

    /// Whether an earlier error has stopped the guest.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.store.is_none()
    }

    /// Calls an exported function: `interface` is its interface's name, or `None` for a function of the world itself.
    ///
    /// The call has [`Limits::run`] and [`Limits::cpu`] for itself.
    ///
    /// # Errors
    /// [`RunError::NoExport`] if there is no such function of these types, which leaves the guest as it was;
    /// otherwise whatever ended the guest.
    pub async fn call_export<P, R>(
        &mut self,
        interface: Option<&str>,
        function: &str,
        params: P,
    ) -> Result<R, RunError>
    where
        P: ComponentNamedList + Lower + Send + Sync + 'static,
        R: ComponentNamedList + Lift + Send + Sync + 'static,
    {
        let function = self.export::<P, R>(interface, function)?;
        self.call(move |store, _| Box::pin(async move { function.call_async(store, params).await }))
            .await
    }

    /// Runs `call` with the store and the instance, for typed bindings made by `bindgen!`.
    ///
    /// # Errors
    /// Whatever ended the guest. An error that the closure itself returns ends it, too.
    pub async fn call<R, F>(&mut self, call: F) -> Result<R, RunError>
    where
        F: for<'a> FnOnce(StoreContextMut<'a, T>, Instance) -> CallFuture<'a, R>,
    {
        let mut budget = Budget::new(&self.limits, &self.shared.granted.usage);
        self.call_within(&mut budget, call).await
    }

    pub(crate) async fn call_within<R, F>(
        &mut self,
        budget: &mut Budget,
        call: F,
    ) -> Result<R, RunError>
    where
        F: for<'a> FnOnce(StoreContextMut<'a, T>, Instance) -> CallFuture<'a, R>,
    {
        use wasmtime::AsContextMut;

        // Taken out, so that it is gone too if the caller drops this future.
        let mut store = self.store.take().ok_or(RunError::Stopped)?;
        let called = bounded(
            &self.shared.ticker,
            budget,
            call(store.as_context_mut(), self.instance),
        )
        .await;
        match flatten(called) {
            Ok(result) => {
                self.store = Some(store);
                Ok(result)
            }
            Err(ended) => {
                let ended = ended.explain(&self.limits, &mut store);
                let_go(store);
                Err(ended)
            }
        }
    }

    pub(crate) fn export<P, R>(
        &mut self,
        interface: Option<&str>,
        function: &str,
    ) -> Result<TypedFunc<P, R>, RunError>
    where
        P: ComponentNamedList + Lower,
        R: ComponentNamedList + Lift,
    {
        let store = self.store.as_mut().ok_or(RunError::Stopped)?;
        let name = interface.map_or_else(
            || function.to_owned(),
            |interface| format!("{interface}#{function}"),
        );
        let parent = match interface {
            None => None,
            Some(interface) => match self.instance.get_export_index(&mut *store, None, interface) {
                Some(index) => Some(index),
                None => return Err(RunError::NoExport { name, source: None }),
            },
        };
        let Some(index) = self
            .instance
            .get_export_index(&mut *store, parent.as_ref(), function)
        else {
            return Err(RunError::NoExport { name, source: None });
        };
        self.instance
            .get_typed_func(store, index)
            .map_err(|source| RunError::NoExport {
                name,
                source: Some(source),
            })
    }
}

impl<T: 'static> std::fmt::Debug for RunningGuest<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RunningGuest")
            .field("stopped", &self.store.is_none())
            .finish_non_exhaustive()
    }
}

/// Drops what a guest leaves that did not end well. Where that is much, it takes the system longer than a guest may be late, and who waits
/// for its end, or shares its thread, does not wait for that; unless much is on its way already, or memories are laid out in advance, of
/// which the next guest may need this one.
fn let_go<T: HasGuestContext>(mut store: Store<T>) {
    /// What is on its way, in bytes.
    static ON_ITS_WAY: AtomicU64 = AtomicU64::new(0);

    let context = store.data_mut().guest_context();
    // What it said belongs before its end.
    context.outputs.end_lines();
    let bytes = context.limiter.memory();
    let is_pooled = store.engine().pooling_allocator_metrics().is_some();
    if bytes <= MUCH || is_pooled {
        return;
    }
    if ON_ITS_WAY.fetch_add(bytes, Ordering::Relaxed) > MOST_ON_ITS_WAY {
        ON_ITS_WAY.fetch_sub(bytes, Ordering::Relaxed);
        return;
    }
    let back = std::thread::Builder::new().name("countersign-gives-back".to_owned());
    let spawned = back.spawn(move || {
        drop(store);
        ON_ITS_WAY.fetch_sub(bytes, Ordering::Relaxed);
    });
    if spawned.is_err() {
        // Then it was dropped here.
        ON_ITS_WAY.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// How a call ended, before it is known why.
pub(crate) enum Ended {
    Stopped(Stop),
    Failed(wasmtime::Error),
}

pub(crate) fn flatten<R>(outcome: Result<wasmtime::Result<R>, Stop>) -> Result<R, Ended> {
    outcome.map_err(Ended::Stopped)?.map_err(Ended::Failed)
}

impl Ended {
    pub(crate) fn explain<T: HasGuestContext>(
        self,
        limits: &Limits,
        store: &mut Store<T>,
    ) -> RunError {
        match self {
            Self::Stopped(Stop::Cpu) => limit(LimitKind::Cpu, limits),
            Self::Stopped(Stop::Time) => limit(LimitKind::Time, limits),
            Self::Stopped(Stop::Panic(message)) => RunError::HostPanicked { message },
            Self::Failed(error) => {
                let refused = store.data_mut().guest_context().limiter.refused();
                failed(error, refused, limits)
            }
        }
    }
}

fn failed(error: wasmtime::Error, refused: Option<LimitKind>, limits: &Limits) -> RunError {
    if let Some(I32Exit(status)) = error.downcast_ref() {
        return RunError::Exited { status: *status };
    }
    if error.downcast_ref::<PoolConcurrencyLimitError>().is_some() {
        return RunError::NoRoom;
    }
    if let Some(kind) = limit_behind(&error, refused) {
        return limit(kind, limits);
    }
    let backtrace = error
        .downcast_ref::<WasmBacktrace>()
        .map(|backtrace| {
            backtrace
                .frames()
                .iter()
                .take(MAX_FRAMES)
                .map(frame)
                .collect()
        })
        .unwrap_or_default();
    RunError::Trapped {
        reason: printable(&error.root_cause().to_string()),
        backtrace,
        cause: error,
    }
}

/// The limit that made the guest fail, if one did.
fn limit_behind(error: &wasmtime::Error, refused: Option<LimitKind>) -> Option<LimitKind> {
    if error.downcast_ref::<LogBytesExhausted>().is_some() {
        return Some(LimitKind::LogBytes);
    }
    if matches!(error.downcast_ref(), Some(ResourceTableError::Full)) {
        return Some(LimitKind::Handles);
    }
    match error.downcast_ref::<Trap>() {
        Some(Trap::StackOverflow) => Some(LimitKind::Stack),
        // What a guest does that was refused memory: it gives up, or uses what it did not get.
        Some(
            Trap::UnreachableCodeReached
            | Trap::AllocationTooLarge
            | Trap::MemoryOutOfBounds
            | Trap::TableOutOfBounds,
        ) => refused,
        Some(_) => None,
        None => limit_in_words(error).or(refused),
    }
}

/// Wasmtime has no types for these; the tests of this crate hold its words fast.
fn limit_in_words(error: &wasmtime::Error) -> Option<LimitKind> {
    let text = error.root_cause().to_string();
    [
        ("handle limit exceeded", LimitKind::Handles),
        (
            "fuel allocated for hostcalls has been exhausted",
            LimitKind::HostcallBytes,
        ),
        ("resource limit exceeded", LimitKind::Instances),
    ]
    .into_iter()
    .find_map(|(words, kind)| text.contains(words).then_some(kind))
}

fn limit(kind: LimitKind, limits: &Limits) -> RunError {
    RunError::Limit {
        kind,
        limit: limits.describe(kind),
    }
}

fn frame(frame: &wasmtime::FrameInfo) -> String {
    frame
        .func_name()
        .map_or_else(|| format!("function {}", frame.func_index()), printable)
}

/// Guest text in one line, without anything that a terminal would obey.
fn printable(text: &str) -> String {
    text.chars()
        .take(MAX_TEXT)
        .flat_map(|c| {
            if c == '\'' || c == '"' {
                vec![c]
            } else {
                c.escape_debug().collect()
            }
        })
        .collect()
}
