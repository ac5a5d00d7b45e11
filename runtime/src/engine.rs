//! The one Wasmtime configuration under which verified components run.
//!
//! Decides which WebAssembly proposals exist for a guest, how memory is laid out and how a guest can be stopped.
//! What a single guest may use is decided in `limits`.

use std::sync::Arc;

use wasmparser::WasmFeatures;
use wasmtime::{
    Config, Engine, InstanceAllocationStrategy, ModuleVersionStrategy, PoolingAllocationConfig,
};

use crate::code::pages::Executable;
use crate::code::{CodeMemory, CodeTarget, build_id, target};

/// The proposals a guest may use: WebAssembly 2.0 with SIMD, extended constants and the component model of WASI 0.2.
///
/// Everything else is off, because code that is not reachable cannot be broken: most of Wasmtime's advisories concern
/// garbage collection, exceptions, threads, 64-bit memories, stack switching and asynchronous components. This is a
/// list of what is on, so that a proposal which a later version knows starts as off.
pub(crate) const ALLOWED_FEATURES: WasmFeatures = WasmFeatures::MUTABLE_GLOBAL
    .union(WasmFeatures::SATURATING_FLOAT_TO_INT)
    .union(WasmFeatures::SIGN_EXTENSION)
    .union(WasmFeatures::REFERENCE_TYPES)
    .union(WasmFeatures::CALL_INDIRECT_OVERLONG)
    .union(WasmFeatures::MULTI_VALUE)
    .union(WasmFeatures::BULK_MEMORY)
    .union(WasmFeatures::BULK_MEMORY_OPT)
    .union(WasmFeatures::SIMD)
    .union(WasmFeatures::FLOATS)
    .union(WasmFeatures::EXTENDED_CONST)
    .union(WasmFeatures::COMPONENT_MODEL);

/// The proposals that are on in the engine: the guest's, and several memories in one module.
///
/// Wasmtime itself writes modules of two memories, to carry values from one component inside another to the next; without
/// this it panics. A guest's own modules are held against [`ALLOWED_FEATURES`] before they get to the engine.
const ENGINE_FEATURES: WasmFeatures = ALLOWED_FEATURES.union(WasmFeatures::MULTI_MEMORY);

/// Address space reserved for each linear memory, in bytes.
///
/// It is what a guest may have if nobody says otherwise, 256 MiB, and 64 MiB where addresses have 32 bits. A memory that grows beyond
/// that is moved, in one step that nothing interrupts, and copying 256 MiB takes longer than a guest may live on after its deadline;
/// that of a guest for one request is not moved, and so cannot grow further. More would be too much for many guests where addresses
/// have 39 bits, as on many a small gateway.
const MEMORY_RESERVATION: u64 = if cfg!(target_pointer_width = "32") {
    64 << 20
} else {
    256 << 20
};

/// The same for code of processors whose addresses always have 47 bits: all that a memory can address. It is never moved, and whether
/// an access is in bounds is left to the processor, so that code is smaller, faster and sooner compiled.
const WHOLE_RESERVATION: u64 = 4 << 30;

/// Most memory of a guest whose memory is laid out in advance, in bytes (64 MiB).
const SERVING_MEMORY: usize = 64 << 20;

/// Most elements of one table of a guest for one request. Interpreters of scripts have some 20,000.
const SERVING_TABLE: usize = 65_536;

/// What is laid out for each guest that is served at the same time, and the most that one may have of it. Most components have
/// few; those that were composed, or bring a language's runtime, have more, and take the places of several.
const MEMORIES_EACH: u32 = 2;
const MEMORIES_MOST: u32 = 8;
const TABLES_EACH: u32 = 4;
const TABLES_MOST: u32 = 32;

/// Core instances of one guest. They are counted, and nothing is laid out for them.
const INSTANCES_MOST: u32 = 128;

/// The most places that one guest takes.
pub(crate) const PLACES_MOST: u32 = {
    let (of_memories, of_tables) = (MEMORIES_MOST / MEMORIES_EACH, TABLES_MOST / TABLES_EACH);
    if of_memories > of_tables {
        of_memories
    } else {
        of_tables
    }
};

/// How many places a guest with so many memories and tables takes.
pub(crate) fn places(memories: u32, tables: u32) -> u32 {
    let of_memories = memories.div_ceil(MEMORIES_EACH);
    let of_tables = tables.div_ceil(TABLES_EACH);
    of_memories.max(of_tables).max(1)
}

/// Bytes of a memory, and of a table, that are cleared instead of given back (64 KiB).
const SERVING_RESIDENT: usize = 64 << 10;

/// Address space kept free behind each linear memory, in bytes (64 KiB).
const MEMORY_GUARD: u64 = 64 << 10;

/// The same where the processor looks after bounds (32 MiB): as far as compiled code adds to an address without a look.
const WHOLE_GUARD: u64 = 32 << 20;

/// Below this a memory's image is made however little data is in it, in bytes (16 MiB).
pub(crate) const SMALL_IMAGE: u64 = 16 << 20;

/// Stack that a guest may use, in bytes (512 KiB). A guest that recurses further traps.
pub(crate) const GUEST_STACK: usize = 512 << 10;

/// Stack on which guest and host calls run together, in bytes (2 MiB).
const ASYNC_STACK: usize = 2 << 20;

/// The machine that Wasmtime's interpreter is.
pub(crate) const PULLEY: &str = if cfg!(target_pointer_width = "32") {
    "pulley32"
} else {
    "pulley64"
};

/// Our configuration with Wasmtime's defaults for the rest.
pub(crate) fn config() -> Config {
    let mut config = Config::new();
    let (reservation, guard) = if cfg!(target_arch = "x86_64") {
        (WHOLE_RESERVATION, WHOLE_GUARD)
    } else {
        (MEMORY_RESERVATION, MEMORY_GUARD)
    };
    config.memory_reservation(reservation);
    config.memory_reservation_for_growth(MEMORY_RESERVATION);
    config.memory_guard_size(guard);
    config.max_wasm_stack(GUEST_STACK);
    config.async_stack_size(ASYNC_STACK);
    // A trap names functions, which none of these is needed for: a map of addresses back to WebAssembly, what other programs'
    // stack walkers read, and names for profilers. Without them code is smaller, and what is loaded and authenticated with it.
    config.generate_address_map(false);
    config.native_unwind_info(false);
    config.debug_symbols(false);
    harden(config)
}

/// Our configuration for hosts that start a component for each request: memories, tables and stacks are laid out once, for
/// `guests` that run at the same time, and used again. What one left in them is gone before the next gets it. Code is the same
/// as under the other one.
fn serving(guests: u32) -> Config {
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(guests);
    pool.max_core_instances_per_component(INSTANCES_MOST);
    pool.total_core_instances(guests.saturating_mul(INSTANCES_MOST));
    pool.max_memories_per_component(MEMORIES_MOST);
    pool.total_memories(guests.saturating_mul(MEMORIES_EACH));
    pool.max_tables_per_component(TABLES_MOST);
    pool.total_tables(guests.saturating_mul(TABLES_EACH));
    pool.total_stacks(guests);
    pool.table_elements(SERVING_TABLE);
    pool.max_memory_size(SERVING_MEMORY);
    // What small guests touch is cleared in place, which costs less than giving it back and faulting it in again.
    pool.linear_memory_keep_resident(SERVING_RESIDENT);
    pool.table_keep_resident(SERVING_RESIDENT);
    let mut config = config();
    config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
    config
}

/// Takes an embedder's configuration and sets again everything that safety rests on.
///
/// The embedder keeps what only costs time or memory: allocation strategy, reservations, optimisation level, target.
pub(crate) fn harden(mut config: Config) -> Config {
    config.wasm_features(WasmFeatures::all(), false);
    config.wasm_features(ENGINE_FEATURES, true);
    config.concurrency_support(false);
    config.shared_memory(false);
    // Stopping a guest: see `deadline`.
    config.epoch_interruption(true);
    // Frame names help whoever reads a trap; files named inside the component are not opened for it.
    config.wasm_backtrace_details(wasmtime::WasmBacktraceDetails::Disable);
    // Bounds checks rest on these.
    config.signals_based_traps(true);
    // What is laid out of a module's data before it starts is copied by nobody then: `code::pieces` goes by it.
    config.memory_init_cow(true);
    config.memory_guaranteed_dense_image_size(SMALL_IMAGE);
    config
}

/// Builds the engine, from our configuration or from an embedder's after `harden`; for so many guests at the same time, each for
/// one request, if it is for serving, and with code in such memory.
///
/// # Errors
/// If Wasmtime refuses an embedder's configuration, or the system does not give what is laid out in advance.
pub(crate) fn build(
    own: Option<Config>,
    interpreted: bool,
    for_serving: Option<u32>,
    code: CodeMemory,
) -> wasmtime::Result<Engine> {
    let mut config = match for_serving {
        Some(guests) => serving(guests),
        None => own.map_or_else(config, harden),
    };
    if interpreted {
        for_interpreter(&mut config)?;
    }
    if code == CodeMemory::ForGood {
        config.with_custom_code_memory(Some(Arc::new(Executable)));
    }
    named(config)
}

/// The machine that is the same on every kind of processor, and so has the same layout of memory everywhere.
fn for_interpreter(config: &mut Config) -> wasmtime::Result<&mut Config> {
    config.memory_reservation(MEMORY_RESERVATION);
    config.memory_guard_size(MEMORY_GUARD);
    config.target(PULLEY)
}

/// An engine that compiles for other hosts.
///
/// # Errors
/// If Wasmtime cannot compile for the target.
pub(crate) fn build_for(wanted: CodeTarget) -> wasmtime::Result<Engine> {
    let mut config = config();
    match wanted {
        CodeTarget::Baseline => config.target(target())?,
        CodeTarget::Interpreter => for_interpreter(&mut config)?,
        CodeTarget::Native => &mut config,
    };
    named(config)
}

fn named(mut config: Config) -> wasmtime::Result<Engine> {
    // Compiled code names its build. By itself Wasmtime compares its major version, and code of a version with a
    // miscompilation would be loaded by the one that mends it.
    config.module_version(ModuleVersionStrategy::Custom(build_id().to_owned()))?;
    Engine::new(&config)
}

#[cfg(test)]
mod tests {
    use CodeMemory::{ForGood, WhileUsed};

    use super::*;

    /// The proposals that are on in `config`, as its `Debug` form shows them.
    fn features(config: &Config) -> Vec<String> {
        let shown = format!("{config:?}");
        let fields = shown
            .split([' ', '{', ','])
            .filter(|word| !word.is_empty())
            .collect::<Vec<_>>();
        let on = fields
            .windows(2)
            .filter(|pair| pair[0].starts_with("wasm_") && pair[1] == "true");
        on.map(|pair| pair[0].trim_end_matches(':').to_owned())
            .collect()
    }

    #[test]
    fn th14_who_has_more_than_one_place_takes_several() {
        assert_eq!([places(0, 0), places(1, 1), places(2, 4)], [1; 3]);
        assert_eq!([places(3, 1), places(1, 5)], [2; 2]);
        assert_eq!(places(MEMORIES_MOST, 0), 4);
        assert_eq!(places(0, TABLES_MOST), PLACES_MOST);
    }

    const LISTED: &[&str] = &[
        "wasm_mutable_global",
        "wasm_saturating_float_to_int",
        "wasm_sign_extension",
        "wasm_reference_types",
        "wasm_multi_value",
        "wasm_bulk_memory",
        "wasm_simd",
        "wasm_floats",
        "wasm_multi_memory",
        "wasm_extended_const",
        "wasm_component_model",
        "wasm_call_indirect_overlong",
        "wasm_bulk_memory_opt",
    ];

    #[test]
    fn te18_an_embedders_configuration_cannot_turn_proposals_on() {
        let mut own = Config::new();
        own.wasm_features(WasmFeatures::MEMORY64 | WasmFeatures::TAIL_CALL, true);
        assert!(features(&own).contains(&"wasm_memory64".to_owned()));
        assert_eq!(features(&harden(own)), LISTED);
        assert!(build(Some(Config::new()), false, None, WhileUsed).is_ok());
    }

    /// What code is for.
    fn hash(engine: &Engine) -> u64 {
        use std::hash::{DefaultHasher, Hash as _, Hasher as _};
        let mut hasher = DefaultHasher::new();
        engine.precompile_compatibility_hash().hash(&mut hasher);
        hasher.finish()
    }

    #[test]
    fn code_for_the_one_engine_is_code_for_the_one_that_serves() {
        let of = |serving, code| hash(&build(None, false, serving, code).expect("ours"));
        assert_eq!(of(None, WhileUsed), of(Some(4), WhileUsed));
        // And wherever it lies.
        assert_eq!(of(None, WhileUsed), of(None, ForGood));
    }

    #[test]
    #[cfg(target_pointer_width = "64")]
    fn te15_code_for_the_interpreter_is_the_same_whatever_compiles_it() {
        let mut elsewhere = config();
        elsewhere.memory_reservation(256 << 20);
        elsewhere.memory_guard_size(64 << 10);
        elsewhere.target(PULLEY).expect("known");
        let expected = hash(&named(elsewhere).expect("ours"));
        for serving in [None, Some(4)] {
            assert_eq!(
                hash(&build(None, true, serving, WhileUsed).expect("ours")),
                expected
            );
        }
        let made = build_for(CodeTarget::Interpreter).expect("ours");
        assert_eq!(hash(&made), expected);
    }

    #[test]
    fn te18_our_own_configuration_has_the_listed_proposals_only() {
        assert_eq!(features(&config()), LISTED);
        assert!(build(None, false, None, WhileUsed).is_ok());
    }
}
