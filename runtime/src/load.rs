//! From a verified component to one that is ready to start. The only file that calls Wasmtime's compiler, and the only one
//! that loads compiled code.
//!
//! The order is fixed: read the imports, hold them against the grants, compile the very buffer that was verified,
//! link. Nothing is compiled for a component that is refused for its imports. Where compiled code comes from, and what makes
//! it believed, is decided in `code`.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::NonNull;
use std::sync::Arc;

use countersign_trust_store::{VerifiedComponent, VerifiedPrecompiled};
use wasmtime::Engine;
use wasmtime::component::{Component, Linker};

use crate::audit::{Record, Vouched};
use crate::code::{self, Code, CodeAhead, CodeOrigin, CodeSupply, Compilation, Permit, Source};
use crate::context::HasGuestContext;
use crate::deadline::{Ticker, panic_message};
use crate::error::LoadError;
use crate::grants::{Ceiling, Granted};
use crate::guest::ReadyGuest;
use crate::host::{self, Session};
use crate::imports::{self, Import, ReadError};
use crate::wasi;

/// Loads `verified` under `ceiling` with the interfaces of `linker`; its code is compiled, or comes from where `source`
/// says.
#[expect(
    clippy::too_many_arguments,
    reason = "the runtime's own parts, what is loaded, and what is allowed"
)]
pub(crate) fn load<T: HasGuestContext>(
    engine: &Engine,
    ticker: &Arc<Ticker>,
    source: &Source,
    verified: &VerifiedComponent,
    supply: Option<CodeSupply>,
    compilation: &Compilation,
    ceiling: &Ceiling,
    linker: &Linker<T>,
) -> Result<ReadyGuest<T>, LoadError> {
    if !Engine::same(linker.engine(), engine) {
        return Err(LoadError::LinkerEngine);
    }
    let granted = Granted::new(verified.statement(), ceiling);
    let permit = |imports: &[Import]| granted.check_imports(imports, ceiling);
    let (ahead, precompiled) = match supply {
        None => (None, None),
        Some(CodeSupply::Ahead(ahead)) => (Some(ahead), None),
        Some(CodeSupply::Precompiled(precompiled)) => (None, Some(*precompiled)),
    };
    let by = precompiled.as_ref().map(Vouched::of);
    let (component, origin) = match precompiled {
        Some(precompiled) => vouched(engine, verified, precompiled, &permit)?,
        None => component(engine, source, verified, ahead, &permit, compilation)?,
    };

    let session = Session::new(verified, ceiling);
    let mut linker = linker.clone();
    wasi::link(&mut linker, &granted)
        .and_then(|()| match session {
            Some(_) => host::link(&mut linker),
            None => Ok(()),
        })
        .map_err(|error| LoadError::LinkerConflict {
            reason: format!("{error:#}"),
        })?;
    let pre = linker
        .instantiate_pre(&component)
        .map_err(|error| LoadError::ImportMissing {
            reason: format!("{error:#}"),
        })?;
    Ok(ReadyGuest::new(
        pre,
        Arc::new(granted),
        session,
        Arc::clone(ticker),
        Record::accepted(verified, &origin, by),
        origin,
    ))
}

/// A component's code, loaded, and where it came from. A cache's entry that cannot be used costs time and nothing else.
fn component(
    engine: &Engine,
    source: &Source,
    verified: &VerifiedComponent,
    ahead: Option<CodeAhead>,
    permit: &Permit<'_>,
    compilation: &Compilation,
) -> Result<(Component, CodeOrigin), LoadError> {
    let mut origin = CodeOrigin::Compiled;
    match source.cached(engine, verified, ahead) {
        Ok(None) => {}
        Ok(Some(code)) => {
            permit(code.imports())?;
            match instate(engine, code) {
                Ok(component) => return Ok((component, CodeOrigin::Cached)),
                Err(error) => {
                    let why = format!("Wasmtime does not take it: {error:#}");
                    origin = CodeOrigin::Recompiled { why };
                }
            }
        }
        Err(why) => origin = CodeOrigin::Recompiled { why },
    }
    let (code, unkept) = source.compiled(engine, verified, permit, compilation)?;
    if let Some(unkept) = unkept {
        origin = match origin {
            CodeOrigin::Recompiled { why } => CodeOrigin::Recompiled {
                why: format!("{why}; and not kept: {unkept}"),
            },
            _ => CodeOrigin::NotKept { why: unkept },
        };
    }
    let component = instate(engine, code).map_err(|error| LoadError::ComponentInvalid {
        reason: format!("{error:#}"),
    })?;
    Ok((component, origin))
}

/// A component whose code came with it.
fn vouched(
    engine: &Engine,
    verified: &VerifiedComponent,
    precompiled: VerifiedPrecompiled,
    permit: &Permit<'_>,
) -> Result<(Component, CodeOrigin), LoadError> {
    let imports = imports_of(verified.component().ok_or(LoadError::Recognised)?)?;
    permit(&imports)?;
    let code = code::take(engine, verified, precompiled, imports)?;
    let component = instate(engine, code).map_err(|error| LoadError::ComponentInvalid {
        reason: format!("the code that came with it cannot be loaded: {error:#}"),
    })?;
    Ok((component, CodeOrigin::Precompiled))
}

fn imports_of(component: &[u8]) -> Result<Vec<Import>, LoadError> {
    unharmed(|| imports::read(component))?.map_err(|error| match error {
        ReadError::Feature(reason) => LoadError::FeatureForbidden {
            reason: reason.to_string(),
        },
        other => LoadError::ComponentInvalid {
            reason: other.to_string(),
        },
    })
}

/// Reads the imports of a component and, if they are permitted, compiles it for this engine.
///
/// The bytes are those that this process verified, or that the process which started this one verified and handed over.
#[cfg_attr(
    feature = "compiler",
    expect(
        clippy::disallowed_methods,
        reason = "the one place that compiles: what it is given is made of the buffer that was verified, never text or a file"
    )
)]
pub(crate) fn compile(
    engine: &Engine,
    component: &[u8],
    permit: &Permit<'_>,
) -> Result<(Vec<Import>, Vec<u8>), LoadError> {
    let imports = imports_of(component)?;
    permit(&imports)?;
    #[cfg(feature = "compiler")]
    {
        let invalid = |reason: String| LoadError::ComponentInvalid { reason };
        let component =
            unharmed(|| code::in_pieces(component))?.map_err(|error| invalid(error.to_string()))?;
        // Its first bytes were read as a component's, so that this is no text.
        let code = unharmed(|| engine.precompile_component(&component))?
            .map_err(|error| invalid(format!("{error:#}")))?;
        Ok((imports, code))
    }
    #[cfg(not(feature = "compiler"))]
    {
        let _ = engine;
        Err(LoadError::NoCompiler)
    }
}

#[expect(
    clippy::disallowed_methods,
    unsafe_code,
    reason = "the one place that loads compiled code, of a type that only authenticated code has"
)]
fn instate(engine: &Engine, mut code: Code) -> wasmtime::Result<Component> {
    // SAFETY: the bytes are what Wasmtime's compiler wrote: there is no other way to a `Code` than the compiler of this
    // process, that of a child which is this very program and sealed its answer with a key that it alone was given, an entry
    // whose seal was made with this device's key over these very bytes, and code that is signed, for this build and target,
    // by somebody whom this host was built to trust like itself. Nothing else can change the bytes: they are this process's
    // own memory, or a file of the kernel's without a name, which was sealed against every change. What is loaded where it lies stays
    // there until the process ends. Wasmtime itself compares version, target, processor and settings.
    unsafe {
        let mut failed = None;
        if let Some(bytes) = code.in_place() {
            match Component::deserialize_raw(engine, NonNull::from(bytes)) {
                Ok(component) => {
                    code.stay();
                    return Ok(component);
                }
                // A system where no memory of a process's own may be executed, if there is nothing else against it.
                Err(error) => failed = Some(error),
            }
            code = match code.elsewhere() {
                Ok(code) => code,
                Err(error) => return Err(failed.unwrap_or(error.into())),
            };
        }
        if let Some(file) = code.file()
            && let Ok(component) = Component::deserialize_file(engine, file)
        {
            return Ok(component);
        }
        // A system without /proc, or one where no file of that kind may be executed.
        Component::deserialize(engine, code.bytes()?).map_err(|error| failed.unwrap_or(error))
    }
}

/// A module as it was made for a component, to be looked at by itself.
#[cfg(test)]
#[expect(
    clippy::disallowed_methods,
    reason = "tests of what is made of a module"
)]
pub(crate) fn core_module(engine: &Engine, module: &[u8]) -> wasmtime::Module {
    wasmtime::Module::from_binary(engine, module).expect("a module")
}

/// Does what reads a component's code. Whoever may sign can still hold a component that a parser or the compiler stumbles
/// over; that ends nothing but its loading.
fn unharmed<T>(read: impl FnOnce() -> T) -> Result<T, LoadError> {
    catch_unwind(AssertUnwindSafe(read)).map_err(|panic| LoadError::ComponentInvalid {
        reason: format!("reading it panicked: {}", panic_message(panic.as_ref())),
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::ops::Range;

    use wasmtime::Store;

    use super::*;
    use crate::code::CodeMemory::{ForGood, WhileUsed};
    use crate::code::pages::Executable;
    use crate::engine;

    /// A component that gives the last byte of so much data.
    fn gives_its_last(bytes: usize) -> Vec<u8> {
        let data = "a".repeat(bytes - 1) + "z";
        let last = bytes - 1;
        wat::parse_str(format!(
            r#"(component
                (core module $m
                    (memory 64)
                    (data (i32.const 0) "{data}")
                    (func (export "run") (result i32) (i32.load8_u (i32.const {last}))))
                (core instance $i (instantiate $m))
                (func (export "run") (result u32) (canon lift (core func $i "run"))))"#
        ))
        .expect("a component")
    }

    fn given(engine: &Engine, component: &Component) -> u32 {
        let mut store = Store::new(engine, ());
        store.set_epoch_deadline(1);
        let linker = Linker::new(engine);
        let instance = linker
            .instantiate(&mut store, component)
            .expect("it is whole");
        let run = instance.get_typed_func::<(), (u32,)>(&mut store, "run");
        let (given,) = run
            .expect("it has it")
            .call(&mut store, ())
            .expect("it ends");
        given
    }

    /// A system on which nothing becomes executable that is not of a file.
    struct Refuses;

    impl wasmtime::CustomCodeMemory for Refuses {
        fn required_alignment(&self) -> usize {
            Executable.required_alignment()
        }

        fn publish_executable(&self, code: *const u8, bytes: usize) -> wasmtime::Result<()> {
            let range = code..code.wrapping_add(bytes);
            match mapped(&range).iter().any(|(_, file)| file.is_empty()) {
                true => wasmtime::bail!("execmem"),
                false => Executable.publish_executable(code, bytes),
            }
        }

        fn unpublish_executable(&self, code: *const u8, bytes: usize) -> wasmtime::Result<()> {
            Executable.unpublish_executable(code, bytes)
        }
    }

    /// How what lies in this range may be accessed, and of which file it is.
    fn mapped(range: &Range<*const u8>) -> BTreeSet<(String, String)> {
        let maps = std::fs::read_to_string("/proc/self/maps").expect("it is there");
        let lines = maps.lines().map(|line| line.split_whitespace());
        let within = lines.filter_map(|mut words| {
            let (from, to) = words.next()?.split_once('-')?;
            let number = |text| usize::from_str_radix(text, 16).ok();
            let (from, to) = (number(from)?, number(to)?);
            let is_within = from < range.end as usize && to > range.start as usize;
            let access = words.next()?.to_owned();
            is_within.then(|| (access, words.nth(3).unwrap_or_default().to_owned()))
        });
        within.collect()
    }

    #[test]
    #[cfg_attr(
        not(all(target_os = "linux", target_arch = "x86_64")),
        ignore = "nowhere else"
    )]
    fn te15_code_that_stays_is_loaded_where_it_was_authenticated_or_not_at_all() {
        let small = gives_its_last(1 << 10);
        let large = gives_its_last(3 << 20);
        let any = |_: &[Import]| Ok(());
        let engine = engine::build(None, false, None, ForGood).expect("ours");
        let (_, code) = compile(&engine, &large, &any).expect("it is one");
        let own = || Code::read_back(&code, ForGood);
        let ways = |ways: &[(&str, &str)]| {
            let ways = ways.iter();
            ways.map(|(access, file)| ((*access).to_owned(), (*file).to_owned()))
                .collect::<BTreeSet<_>>()
        };

        let read = own();
        let at = read.in_place().expect("it is large").as_ptr_range();
        let component = instate(&engine, read).expect("it fits");
        assert_eq!(component.image_range(), at);
        let closed = ways(&[("r--p", ""), ("r-xp", "")]);
        assert_eq!(mapped(&at), closed);
        assert_eq!(given(&engine, &component), u32::from(b'z'));
        // It stays when nobody has it any more, but is no code then.
        drop(component);
        let access = mapped(&at);
        assert!(
            access.iter().all(|(access, _)| !access.contains('x')),
            "{access:?}"
        );
        assert!(!access.is_empty());

        // What another kind of engine cannot load where it lies, and what is too small to lie in such memory, is loaded from memory that
        // cannot be changed.
        let sealed = |access: &str| (access.to_owned(), "/memfd:countersign-code".to_owned());
        let sealed = BTreeSet::from([sealed("r--p"), sealed("r-xp")]);
        let other = engine::build(None, false, None, WhileUsed).expect("ours");
        let component = instate(&other, own()).expect("it fits");
        assert_eq!(mapped(&component.image_range()), sealed);
        assert_eq!(given(&other, &component), u32::from(b'z'));
        let (_, code) = compile(&engine, &small, &any).expect("it is one");
        let read = Code::read_back(&code, ForGood);
        assert!(read.in_place().is_none());
        let component = instate(&engine, read).expect("it fits");
        assert_eq!(mapped(&component.image_range()), sealed);
        assert_eq!(given(&engine, &component), u32::from(b'z'));

        // Nor where the system executes no memory of a process's own.
        let refuses = Some(Arc::new(Refuses) as Arc<_>);
        let mut config = engine::config();
        config.with_custom_code_memory(refuses);
        let denied = engine::build(Some(config), false, None, WhileUsed).expect("ours");
        let component = instate(&denied, own()).expect("it fits");
        assert_eq!(mapped(&component.image_range()), sealed);
        assert_eq!(given(&denied, &component), u32::from(b'z'));
        // What fits nowhere is told of as what it is.
        let elsewhere = engine::build_for(crate::CodeTarget::Interpreter).expect("ours");
        let error = instate(&elsewhere, own())
            .map(|_| ())
            .expect_err("another target");
        assert!(format!("{error:#}").contains("compiled for"), "{error:#}");
    }
}
