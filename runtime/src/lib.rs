//! Runs verified WebAssembly components, and nothing else.
//!
//! A component gets from bytes to a running guest by four types, each of which takes the one before:
//!
//! ```text
//! bytes ─ Runtime::verify ─> VerifiedComponent ─ Runtime::load ─> ReadyGuest ─ start ─> RunningGuest
//! ```
//!
//! - [`Runtime::verify`] checks the signature and its chain up to a root that the host brings;
//! - [`Runtime::load`] holds the component's imports against its signed statement and the operator's [`Ceiling`],
//!   compiles the very buffer that was verified, and links it;
//! - [`ReadyGuest::start`] and [`ReadyGuest::run_command`] run it under its [`Limits`].
//!
//! There is no way around a step, and no option that skips one. A host brings its own `Linker<T>` and `Store<T>`; the
//! data `T` of the store holds a [`GuestContext`]. Wasmtime is re-exported as [`wasmtime`], so that a host uses the
//! version that this library was built with.
//!
//! `docs/embedding.md` leads through it step by step. Examples to start from are in `examples/`: a command, the plug-ins of
//! a desktop program, a server with an interface of its own, refused components.
//!
//! # What a guest has without any grant
//!
//! `wasi:io`, `wasi:random`, exit, an empty environment, streams that are closed or discard, a clock for durations, a
//! date that stands at 1970-01-01, and a file system without a single directory. An import beyond that is refused by
//! name before anything is compiled.
//!
//! # What a host that adds functions of its own must see to
//!
//! A guest's own stack is bounded, and ends in a trap. Calls in a circle are not: where a host function calls a guest that
//! calls the host again, each round takes a piece of the host's stack, and Wasmtime counts no rounds. Such a function must
//! count them itself and refuse the next in time (`runtime/tests/suite/host.rs` shows how). A host function that waits must
//! be async: then the guest's deadline ends the wait.

pub mod audit;
mod code;
mod command;
mod context;
mod deadline;
mod engine;
mod error;
mod grants;
mod guest;
pub mod host;
pub mod http;
mod imports;
mod limits;
mod load;
mod lookup;
pub mod messaging;
mod nesting;
mod resident;
mod runtime;
mod usage;
mod wasi;

pub use countersign_format as format;
pub use countersign_trust_store as trust_store;
pub use wasmtime;

pub use code::{
    CacheError, CodeAhead, CodeCache, CodeOrigin, CodeSupply, CodeTarget, Compilation,
    CompileLimits, GivenUp, build_id, compile_for_parent,
};
pub use context::{GuestContext, HasGuestContext};
pub use error::{CompileLimit, LoadError, RunError};
pub use grants::{Access, Captured, Ceiling, Granted, Input, LineSink, Output};
pub use guest::{CallFuture, ReadyGuest, RunningGuest};
pub use imports::ImportKind;
pub use limits::{LimitKind, Limits};
pub use resident::{Program, keep_little_of_what_is_freed};
pub use runtime::{AuditSink, BuildError, Builder, Runtime};
pub use usage::Usage;
