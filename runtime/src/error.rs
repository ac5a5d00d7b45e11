//! How loading and running can end badly: one enum for each question, and the stable [`Code`] of every answer.

use countersign_trust_store::{Code, Rejection};

use crate::imports::ImportKind;
use crate::limits::LimitKind;

/// Why a component does not get to run.
///
/// Facts are fields; [`code`](Self::code) is stable; [`Code::next_step`] says what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// Code that is vouched for was compiled for another host.
    #[error(
        "the code that came with the component is for the {what} {wanted}, and here it is {ours}"
    )]
    CodeForAnother {
        /// What differs.
        what: &'static str,
        /// What the code is for.
        wanted: String,
        /// What is here.
        ours: String,
    },
    /// The process that compiles could not be used: a fault of this machine or program, not of the component.
    #[error("the component was not compiled: {reason}")]
    CompilerFailed {
        /// What could not be done.
        reason: String,
        /// What the system said, where it was asked: a machine that lacks memory or descriptors may have some later.
        system: Option<std::io::Error>,
    },
    /// Compiling took more than it may, and was stopped.
    #[error("compiling the component was stopped: {reason}")]
    CompilerStopped {
        /// Which limit, or what ended the compiler, in words.
        reason: String,
        /// The same, for whoever remembers it.
        by: CompileLimit,
    },
    /// The bytes are not sound WebAssembly, or not for the compiler.
    #[error("the component cannot be compiled: {reason}")]
    ComponentInvalid {
        /// What the parser or compiler says.
        reason: String,
    },
    /// The component does not export what its host would call.
    #[error("the component does not export what this host calls: {reason}")]
    ExportMissing {
        /// What Wasmtime says; it names the export.
        reason: String,
    },
    /// The component needs a WebAssembly proposal that is turned off here.
    #[error("the component uses a WebAssembly feature that is turned off here: {reason}")]
    FeatureForbidden {
        /// What the parser says, with the byte offset.
        reason: String,
    },
    /// Nobody waited for the compiler any more. That says nothing of the component.
    #[error("compiling the component was given up")]
    GivenUp,
    /// A directory or another thing that the operator grants does not exist or cannot be opened.
    #[error("the grant {grant} cannot be given: {reason}")]
    GrantInvalid {
        /// Which grant, e.g. `/data`.
        grant: String,
        /// Why not.
        reason: String,
    },
    /// The component is to serve HTTP, and did not ask for that or was not granted it.
    #[error(
        "the component may not serve HTTP; ask for `http-incoming` under [grants] in component.toml, sign again, and allow it \
         on this host"
    )]
    HttpDenied,
    /// The component imports something that it did not ask for, or that was not granted.
    #[error("the component imports the {kind} {name}, which is denied: {reason}")]
    ImportDenied {
        /// The import, as the component spells it. Guest text: escape it before it reaches a terminal.
        name: String,
        /// Its kind.
        kind: ImportKind,
        /// Who did not agree, and what would have to change.
        reason: &'static str,
    },
    /// Everything was granted, but neither this library nor the host's linker defines it in this form.
    #[error("this host does not offer what the component imports: {reason}")]
    ImportMissing {
        /// What the linker says; it names the import.
        reason: String,
    },
    /// The host's linker already defines an interface that this library defines itself.
    #[error(
        "the host's linker defines an interface that countersign-runtime defines itself: {reason}; \
         leave WASI and countersign:device out of the linker"
    )]
    LinkerConflict {
        /// What the linker says; it names the interface.
        reason: String,
    },
    /// The host's linker belongs to another engine.
    #[error("the linker was made for another engine; make it with `Linker::new(runtime.engine())`")]
    LinkerEngine,
    /// This host was built without a compiler, and nothing that it can load came with the component.
    #[error(
        "this host has no compiler, and no code that was compiled for it came with the component; \
         run the component on a host with a compiler"
    )]
    NoCompiler,
    /// The component was recognised and not read, and its bytes are needed. That says nothing of it: read it whole.
    #[error("the component was recognised, and its bytes are needed; read and verify it whole")]
    Recognised,
    /// The signature or its trust was refused.
    #[error(transparent)]
    Rejected(#[from] Rejection),
}

impl LoadError {
    /// The stable code of this refusal.
    #[must_use]
    pub fn code(&self) -> Code {
        match self {
            Self::CodeForAnother { .. } => Code::CodeForAnother,
            Self::NoCompiler => Code::NoCompiler,
            Self::ComponentInvalid { .. }
            | Self::CompilerStopped { .. }
            | Self::ExportMissing { .. }
            | Self::FeatureForbidden { .. } => Code::ComponentInvalid,
            Self::GrantInvalid { .. } => Code::GrantInvalid,
            Self::HttpDenied | Self::ImportDenied { .. } | Self::ImportMissing { .. } => {
                Code::ImportDenied
            }
            Self::CompilerFailed { .. }
            | Self::GivenUp
            | Self::LinkerConflict { .. }
            | Self::LinkerEngine
            | Self::Recognised => Code::HostFailure,
            Self::Rejected(rejection) => rejection.code(),
        }
    }
}

/// What stopped a compiler.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CompileLimit {
    /// Nothing now: it was not tried, because it was stopped before.
    Before,
    /// Its processor time.
    Cpu,
    /// Its address space.
    Memory,
    /// The system, for a reason of its own.
    System,
    /// The time on the clock, which goes on while others compute.
    Time,
}

/// How a run or a call ended, if not as the guest wanted.
///
/// After any of these the guest's store is gone: a stopped guest is never entered again.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// The guest's context could not be made.
    #[error(transparent)]
    Context(Box<LoadError>),
    /// The guest asked to exit, in a call where it may not.
    #[error("the guest asked to exit with status {status}")]
    Exited {
        /// The guest's own status.
        status: i32,
    },
    /// A host function panicked. The panic ended this guest only.
    #[error("a host function panicked: {message}")]
    HostPanicked {
        /// The panic's message, if it is text.
        message: String,
    },
    /// A limit was hit.
    #[error("the guest was stopped at its limit of {kind}: {limit}")]
    Limit {
        /// Which.
        kind: LimitKind,
        /// The limit with its unit.
        limit: String,
    },
    /// The component has no such export, or one of another type.
    #[error("the component does not export {name} as this host needs it")]
    NoExport {
        /// The export that was looked for.
        name: String,
        /// What Wasmtime says.
        #[source]
        source: Option<wasmtime::Error>,
    },
    /// As many guests run as the host has room for.
    #[error("this host has no room for another instance now; fewer at the same time, or more room")]
    NoRoom,
    /// The guest has already been stopped by an earlier error.
    #[error("the guest was stopped by an earlier error; load a fresh one")]
    Stopped,
    /// The guest trapped, or a host function that it called returned an error.
    #[error("the guest trapped: {reason}")]
    Trapped {
        /// Why: Wasmtime's word for the trap, or the error of the host function that ended it.
        reason: String,
        /// Function names, innermost first, as far as the component carries them. Guest text.
        backtrace: Vec<String>,
        /// The whole error, in which an embedder finds the error of its own host function by type.
        #[source]
        cause: wasmtime::Error,
    },
    /// The store holds a context that was made for another component or another grant.
    #[error(
        "the store's context was not made by this component's `ReadyGuest::context`; make one for every start"
    )]
    WrongContext,
}

impl RunError {
    /// The stable code of this end.
    #[must_use]
    pub fn code(&self) -> Code {
        match self {
            Self::Limit { kind, .. } => match kind {
                LimitKind::Cpu | LimitKind::Time => Code::LimitTime,
                LimitKind::Handles | LimitKind::Instances => Code::LimitHandles,
                LimitKind::HostcallBytes | LimitKind::LogBytes => Code::LimitOutput,
                LimitKind::Memory => Code::LimitMemory,
                LimitKind::Stack => Code::LimitStack,
                LimitKind::Tables => Code::LimitTable,
            },
            Self::Context(error) => error.code(),
            Self::Exited { .. } | Self::Trapped { .. } => Code::Trapped,
            Self::NoExport { .. } => Code::ComponentInvalid,
            Self::HostPanicked { .. } | Self::NoRoom | Self::Stopped | Self::WrongContext => {
                Code::HostFailure
            }
        }
    }
}
