//! Compiled code: where it comes from, and what must be shown before it may run.
//!
//! Nothing checks native code once it is loaded, so that it is as trusted as the host itself. [`Code`] is the one type for
//! code that may be loaded, and there are these ways to it: the compiler, in this process or in one of its own ([`child`]);
//! an entry of a cache whose seal this device's key made ([`cache`]); and code that came with the component, signed by
//! somebody whom this host trusts with it ([`vouched`]). Each is given a component that was verified, and binds the code to
//! it, to this build and its settings ([`binding`]).

mod ahead;
mod answer;
mod binding;
mod cache;
mod child;
mod memory;
pub(crate) mod pages;
#[cfg(feature = "compiler")]
mod pieces;
mod processor;
mod reading;
mod seal;
mod turns;
mod vouched;

use std::borrow::Cow;
use std::path::PathBuf;
use std::sync::Arc;

use countersign_trust_store::{ClaimedComponent, VerifiedComponent, VerifiedPrecompiled};
use wasmtime::Engine;

use crate::error::{CompileLimit, LoadError};
use crate::imports::Import;
use crate::load;

pub use ahead::CodeAhead;
pub use answer::compile_for_parent;
use binding::Binding;
pub use binding::build_id;
pub(crate) use binding::{Roots, target};
pub use cache::{CacheError, CodeCache};
pub use child::{CompileLimits, GivenUp};
#[cfg(feature = "compiler")]
pub(crate) use pieces::in_pieces;
pub use vouched::CodeTarget;
pub(crate) use vouched::{fits, make, take, target_of};

/// Compiled code that may be loaded, and what its component imports.
pub(crate) struct Code {
    /// What its component imports, as it was read when it was compiled.
    imports: Vec<Import>,
    held: Held,
}

/// Where code lies that was authenticated.
enum Held {
    /// In this process's own memory, from here on.
    Bytes { bytes: Vec<u8>, start: usize },
    /// In memory that cannot be changed, all of it.
    Sealed(memory::Sealed),
    /// In this process's own memory, all of it, which nobody writes to any more.
    Own(pages::Closed),
}

impl Code {
    /// What the compiler of this process, or of a child, has just made.
    fn made(imports: Vec<Import>, bytes: Vec<u8>) -> Self {
        let held = Held::Bytes { bytes, start: 0 };
        Self { imports, held }
    }

    pub(crate) fn imports(&self) -> &[Import] {
        &self.imports
    }

    /// The very bytes that were authenticated.
    ///
    /// # Errors
    /// If memory cannot be read back.
    pub(crate) fn bytes(&self) -> std::io::Result<Cow<'_, [u8]>> {
        match &self.held {
            Held::Bytes { bytes, start } => Ok(bytes.get(*start..).unwrap_or_default().into()),
            Held::Sealed(sealed) => sealed.read().map(Into::into),
            Held::Own(closed) => Ok(closed.bytes().into()),
        }
    }

    /// The file of this process's that holds the same, if one does, and will not change.
    pub(crate) fn file(&self) -> Option<PathBuf> {
        match &self.held {
            Held::Bytes { .. } | Held::Own(_) => None,
            Held::Sealed(sealed) => Some(sealed.path()),
        }
    }

    /// The very bytes that were authenticated, where they lie so that they can be loaded from there.
    pub(crate) fn in_place(&self) -> Option<&[u8]> {
        match &self.held {
            Held::Bytes { .. } | Held::Sealed(_) => None,
            Held::Own(closed) => Some(closed.bytes()),
        }
    }

    /// Leaves what lies [in place](Self::in_place) there until this process ends.
    pub(crate) fn stay(self) {
        if let Held::Own(closed) = self.held {
            closed.stay();
        }
    }

    /// The same, but not in this process's own memory.
    ///
    /// # Errors
    /// If the system has no memory for it.
    pub(crate) fn elsewhere(self) -> std::io::Result<Self> {
        let held = match self.held {
            Held::Own(closed) => {
                let open = memory::Open::new(reading::NAME)?;
                open.write_at(closed.bytes(), 0)?;
                Held::Sealed(open.seal()?)
            }
            held => held,
        };
        Ok(Self { held, ..self })
    }
}

/// What a cache has for a component: its code, nothing, or an entry that is not used, and why.
type Cached = Result<Option<Code>, String>;

/// Code that a host brings along, instead of looking for it.
#[derive(Debug)]
#[non_exhaustive]
pub enum CodeSupply {
    /// Being read from the cache since before the component was verified.
    Ahead(CodeAhead),
    /// Came with the component, and somebody vouches for it.
    Precompiled(Box<VerifiedPrecompiled>),
}

impl From<CodeAhead> for CodeSupply {
    fn from(ahead: CodeAhead) -> Self {
        Self::Ahead(ahead)
    }
}

impl From<VerifiedPrecompiled> for CodeSupply {
    fn from(precompiled: VerifiedPrecompiled) -> Self {
        Self::Precompiled(Box::new(precompiled))
    }
}

/// Where the code of a component came from.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CodeOrigin {
    /// The compiler.
    Compiled,
    /// A cache, in which this device had sealed it.
    Cached,
    /// Somebody whom this host trusts with precompiled code.
    Precompiled,
    /// The compiler, although a cache has an entry: it was not believed, or could not be used.
    Recompiled {
        /// What was wrong with the entry.
        why: String,
    },
    /// The compiler, and a cache did not take the code: the next start compiles again.
    NotKept {
        /// What the system said.
        why: String,
    },
}

impl CodeOrigin {
    /// One word for a record.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Compiled | Self::NotKept { .. } => "compiled",
            Self::Cached => "cached",
            Self::Precompiled => "precompiled",
            Self::Recompiled { .. } => "recompiled",
        }
    }
}

/// Holds a component's imports against what it was granted, before anything of it is compiled or loaded.
pub(crate) type Permit<'a> = dyn Fn(&[Import]) -> Result<(), LoadError> + 'a;

/// Whether a component may be compiled, and for how long somebody waits for it.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Compilation {
    /// Kills the process that compiles.
    pub given_up: GivenUp,
    /// What stopped it the last time, if it is not to be tried again: code is taken from the cache then, or not at all.
    pub stopped_before: Option<String>,
}

/// How a runtime comes to code.
pub(crate) struct Source {
    pub(crate) roots: Roots,
    pub(crate) cache: Option<Arc<CodeCache>>,
    /// Compiles in a process of its own, under these limits; without, in this one.
    pub(crate) apart: Option<CompileLimits>,
    /// Whether the code is for the interpreter.
    pub(crate) interpreted: bool,
    /// In which memory code from the cache lies.
    pub(crate) memory: CodeMemory,
}

/// How long memory holds code that comes from the cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CodeMemory {
    /// Until the code is used no more.
    WhileUsed,
    /// Until this process ends.
    ForGood,
}

impl Source {
    /// Begins to read what the cache holds for what a file claims to be.
    pub(crate) fn ahead(&self, engine: &Engine, claimed: &ClaimedComponent) -> Option<CodeAhead> {
        CodeAhead::begin(self.cache.as_ref()?, engine, self, claimed)
    }

    /// The code that the cache holds of a component, if it is this device's own, and otherwise why it is not used; `ahead` may
    /// have read it.
    pub(crate) fn cached(
        &self,
        engine: &Engine,
        verified: &VerifiedComponent,
        ahead: Option<CodeAhead>,
    ) -> Cached {
        let Some(cache) = &self.cache else {
            return Ok(None);
        };
        let binding = self.binding(engine, verified);
        match ahead.and_then(|ahead| ahead.take(&binding)) {
            Some(read) => read,
            None => cache.get(&binding, self.memory),
        }
    }

    /// Compiles a component, and has the cache keep the code.
    ///
    /// # Errors
    /// What refuses the component. That the cache does not take it is none, and said beside the code.
    pub(crate) fn compiled(
        &self,
        engine: &Engine,
        verified: &VerifiedComponent,
        permit: &Permit<'_>,
        compilation: &Compilation,
    ) -> Result<(Code, Option<String>), LoadError> {
        if let Some(reason) = &compilation.stopped_before {
            return Err(LoadError::CompilerStopped {
                reason: reason.clone(),
                by: CompileLimit::Before,
            });
        }
        let component = verified.component().ok_or(LoadError::Recognised)?;
        let code = match &self.apart {
            // Without a compiler, a process of its own would have none either: it is said here.
            Some(limits) if cfg!(feature = "compiler") => {
                let given_up = &compilation.given_up;
                let _turn = limits.turns.take(given_up).ok_or(LoadError::GivenUp)?;
                child::compile(limits, self.interpreted, component, permit, given_up)?
            }
            Some(_) | None => {
                let (imports, bytes) = load::compile(engine, component, permit)?;
                Code::made(imports, bytes)
            }
        };
        let unkept = self.cache.as_ref().and_then(|cache| {
            let kept = cache.put(&self.binding(engine, verified), verified, &code);
            kept.err().map(|error| error.to_string())
        });
        Ok((code, unkept))
    }

    fn binding(&self, engine: &Engine, verified: &VerifiedComponent) -> Binding {
        Binding::new(engine, verified.digest(), &self.roots)
    }
}
