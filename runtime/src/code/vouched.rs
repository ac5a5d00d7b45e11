//! Code that came with a component, and that somebody vouches for: whether it is for this host, and making it.
//!
//! Whether who vouches for it is trusted is decided in the trust store. Here it is held against this build, its target and
//! this processor; Wasmtime compares its own settings besides.

use countersign_format::PrecompiledStatement;
use countersign_trust_store::{VerifiedComponent, VerifiedPrecompiled};
use wasmtime::Engine;

use super::binding::{build_id, target};
use super::{Code, Held, processor};
use crate::engine::{self, PULLEY};
use crate::error::LoadError;
use crate::imports::Import;
use crate::load;

/// What code is compiled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CodeTarget {
    /// Any processor of this machine's kind.
    Baseline,
    /// None: Wasmtime's interpreter, on every kind of machine. For systems that let nothing become code which was written.
    Interpreter,
    /// Processors with at least the features of this one.
    Native,
}

/// The target of code that an engine loads.
pub(crate) fn target_of(engine: &Engine) -> &'static str {
    if engine.is_pulley() { PULLEY } else { target() }
}

/// Whether code that is vouched for is for this host.
///
/// # Errors
/// [`LoadError::CodeForAnother`]: for which it is.
pub(crate) fn fits(engine: &Engine, statement: &PrecompiledStatement) -> Result<(), LoadError> {
    let another = |what: &'static str, wanted: &str, ours: &str| {
        Err(LoadError::CodeForAnother {
            what,
            wanted: wanted.to_owned(),
            ours: ours.to_owned(),
        })
    };
    if statement.build() != build_id() {
        return another("build", statement.build(), build_id());
    }
    let ours = target_of(engine);
    if statement.target() != ours {
        return another("target", statement.target(), ours);
    }
    let has = processor::features();
    let lacks = |feature: &&String| !has.contains(&feature.as_str());
    match statement.cpu().iter().find(lacks) {
        Some(feature) => another("processor feature", feature, &has.join(" ")),
        None => Ok(()),
    }
}

/// Code that is vouched for, to be loaded for the component that it was compiled from. `imports` are that component's.
pub(crate) fn take(
    engine: &Engine,
    verified: &VerifiedComponent,
    precompiled: VerifiedPrecompiled,
    imports: Vec<Import>,
) -> Result<Code, LoadError> {
    fits(engine, precompiled.statement())?;
    // Verified for this very component; compared again, because nothing else ties the two values together.
    if *precompiled.statement().component_digest() != verified.digest() {
        return Err(LoadError::CodeForAnother {
            what: "component",
            wanted: precompiled.statement().component_digest().to_string(),
            ours: verified.digest().to_string(),
        });
    }
    let (bytes, start) = precompiled.into_code();
    Ok(Code {
        imports,
        held: Held::Bytes { bytes, start },
    })
}

/// Compiles a verified component for other hosts of this build: the file that a signer is given.
///
/// # Errors
/// As [`load::compile`].
pub(crate) fn make(verified: &VerifiedComponent, wanted: CodeTarget) -> Result<Vec<u8>, LoadError> {
    let failed = |reason: String| LoadError::CompilerFailed {
        reason,
        system: None,
    };
    let engine = engine::build_for(wanted).map_err(|error| failed(format!("{error:#}")))?;
    let component = verified.component().ok_or(LoadError::Recognised)?;
    let (_, code) = load::compile(&engine, component, &|_| Ok(()))?;
    let (target, cpu) = match wanted {
        CodeTarget::Baseline => (target(), Vec::new()),
        CodeTarget::Interpreter => (PULLEY, Vec::new()),
        CodeTarget::Native => (target(), processor::features()),
    };
    let cpu = cpu.into_iter().map(ToOwned::to_owned).collect();
    let build = build_id().to_owned();
    PrecompiledStatement::new(verified.digest(), &code, build, target.to_owned(), cpu)
        .map(|statement| statement.write_unsigned(&code))
        .map_err(|error| failed(error.to_string()))
}
