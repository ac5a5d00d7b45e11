//! WebAssembly proposals that are turned off, and files that are no components.

use crate::support::{Bench, binary, core};
use countersign_runtime::trust_store::{Code, TrustState};
use countersign_runtime::wasmtime::component::Linker;
use countersign_runtime::{Ceiling, GuestContext, LoadError};
use wasmparser::{Validator, WasmFeatures};

/// For each proposal that is off, something that nothing but it allows: fields of a module, or a whole component.
const SAMPLES: &[(&str, &str)] = &[
    (
        "CM64",
        r#"(component
        (core module $m (memory (export "m") i64 1)) (core instance $i (instantiate $m))
        (import "f" (func $f (param "a" string))) (core func (canon lower (func $f) (memory $i "m"))))"#,
    ),
    ("CM_ASYNC", "(component (type (stream u8)))"),
    ("CM_ASYNC", "(component (type (future u8)))"),
    ("CM_ASYNC", "(component (core func (canon task.cancel)))"),
    (
        "CM_ASYNC_STACKFUL",
        r#"(component
        (core module $m (func (export "f"))) (core instance $i (instantiate $m))
        (func (export "f") async (canon lift (core func $i "f") async)))"#,
    ),
    (
        "CM_CANON_NAMES",
        r#"(component (import "a:b/c@1" (versionsuffix ".2.3") (instance)))"#,
    ),
    ("CM_ERROR_CONTEXT", "(component (type error-context))"),
    ("CM_FIXED_LENGTH_LISTS", "(component (type (list u8 4)))"),
    (
        "CM_GC",
        r#"(component
        (core module $m (func (export "f"))) (core instance $i (instantiate $m))
        (func (export "f") (canon lift (core func $i "f") gc)))"#,
    ),
    (
        "CM_IMPLEMENTS",
        r#"(component (import "a" (implements "a:b/c") (instance)))"#,
    ),
    ("CM_MAP", "(component (type (map string u32)))"),
    (
        "CM_MORE_ASYNC_BUILTINS",
        "(component (core func (canon subtask.cancel async)))",
    ),
    (
        "CM_NESTED_NAMES",
        r#"(component (import "a:b:c/d" (instance)))"#,
    ),
    (
        "CM_THREADING",
        "(component (core func (canon thread.index)))",
    ),
    (
        "CM_VALUES",
        r#"(component (import "v" (value $v string)) (export "w" (value $v)))"#,
    ),
    (
        "COMPACT_IMPORTS",
        r#"(component (core module (import "a" (item "b" (func)) (item "c" (func)))))"#,
    ),
    (
        "CUSTOM_DESCRIPTORS",
        "(rec (type $a (descriptor $b) (struct)) (type $b (describes $a) (struct)))",
    ),
    ("CUSTOM_PAGE_SIZES", "(memory 1 (pagesize 1))"),
    ("EXCEPTIONS", "(tag)"),
    (
        "FUNCTION_REFERENCES",
        "(type $f (func)) (func (param (ref $f)))",
    ),
    ("GC", "(type (struct (field i32)))"),
    ("GC", "(table 1 externref) (func (param anyref))"),
    ("GC_TYPES", "(func (param externref))"),
    ("LEGACY_EXCEPTIONS", "(tag $t) (func try catch $t end)"),
    ("MEMORY64", "(memory i64 1)"),
    (
        "MEMORY_CONTROL",
        "(memory 1) (func (memory.discard (i32.const 0) (i32.const 0)))",
    ),
    ("MULTI_MEMORY", "(memory 1) (memory 1)"),
    (
        "RELAXED_SIMD",
        "(func (drop (i8x16.relaxed_swizzle (v128.const i32x4 0 0 0 0) (v128.const i32x4 0 0 0 0))))",
    ),
    (
        "SHARED_EVERYTHING_THREADS",
        "(global (shared i32) (i32.const 0))",
    ),
    ("STACK_SWITCHING", "(type $f (func)) (type $c (cont $f))"),
    ("TAIL_CALL", "(func $f (return_call $f))"),
    ("THREADS", "(memory 1 1 shared)"),
    (
        "WIDE_ARITHMETIC",
        "(func i64.const 1 i64.const 1 i64.mul_wide_s drop drop)",
    ),
];

/// Those that are refused without being told apart from what is no WebAssembly at all: instructions, which are left to the
/// compiler, and what the parser does not even read.
const NOT_NAMED: &[&str] = &[
    "COMPACT_IMPORTS",
    "MEMORY_CONTROL",
    "RELAXED_SIMD",
    "TAIL_CALL",
    "WIDE_ARITHMETIC",
];

/// The proposals that a guest may use, as they are listed where the engine is built.
const ON: &[&str] = &[
    "BULK_MEMORY",
    "BULK_MEMORY_OPT",
    "CALL_INDIRECT_OVERLONG",
    "COMPONENT_MODEL",
    "EXTENDED_CONST",
    "FLOATS",
    "MULTI_VALUE",
    "MUTABLE_GLOBAL",
    "REFERENCE_TYPES",
    "SATURATING_FLOAT_TO_INT",
    "SIGN_EXTENSION",
    "SIMD",
];

#[test]
fn te18_every_proposal_that_is_off_is_refused() {
    let bench = Bench::new();
    let linker = Linker::<GuestContext>::new(bench.runtime.engine());
    for (proposal, sample) in SAMPLES {
        let wat = if sample.starts_with("(component") {
            (*sample).to_owned()
        } else {
            core(&format!("{sample} (func (export \"run\"))"))
        };
        let error = bench
            .load(&wat, &Ceiling::new(), &linker)
            .expect_err(proposal);
        assert_eq!(error.code(), Code::ComponentInvalid, "{proposal}: {error}");
        let is_named = matches!(error, LoadError::FeatureForbidden { .. });
        assert_eq!(
            is_named,
            !NOT_NAMED.contains(proposal),
            "{proposal}: {error}"
        );
    }
}

#[test]
fn te18_every_proposal_that_the_parser_knows_is_on_or_has_a_sample() {
    for (proposal, _) in WasmFeatures::all().iter_names() {
        let is_off = SAMPLES.iter().any(|(name, _)| *name == proposal);
        assert_ne!(is_off, ON.contains(&proposal), "{proposal}");
    }
    // And each sample is one: something that no other proposal stands in the way of.
    for (proposal, sample) in SAMPLES {
        let wat = if sample.starts_with("(component") {
            (*sample).to_owned()
        } else {
            format!("(module {sample})")
        };
        let own = WasmFeatures::from_name(proposal).expect(proposal);
        let judge = |features| {
            Validator::new_with_features(features)
                .validate_all(&binary(&wat))
                .map(drop)
        };
        judge(WasmFeatures::all()).expect(proposal);
        // References to functions come with garbage collection, too.
        let without = match *proposal {
            "FUNCTION_REFERENCES" => own.union(WasmFeatures::GC),
            _ => own,
        };
        judge(WasmFeatures::all().difference(without)).expect_err(proposal);
    }
}

#[test]
fn an_ordinary_toolchain_needs_no_more_than_what_is_on() {
    let bench = Bench::new();
    let linker = Linker::<GuestContext>::new(bench.runtime.engine());
    let wat = core(
        r#"(memory 1) (table 2 funcref) (global (mut i32) (i32.const 0))
        (func (export "run")
            (memory.fill (i32.const 0) (i32.const 0) (i32.const 8))
            (drop (i32.trunc_sat_f32_s (f32.const 1)))
            (drop (i32.extend8_s (i32.const 1)))
            (drop (i8x16.splat (i32.const 1))))"#,
    );
    bench
        .load(&wat, &Ceiling::new(), &linker)
        .expect("it loads");
}

/// A component whose inner giver hands a string to its inner taker, each with a memory and an encoding of its own.
fn composed(giver: &str, taker: &str) -> String {
    format!(
        r#"(component
        (component $taker
            (core module $m (memory (export "memory") 1) (global $p (mut i32) (i32.const 64))
                (func (export "realloc") (param i32 i32 i32 i32) (result i32)
                    (local $at i32) (local.set $at (global.get $p))
                    (global.set $p (i32.add (global.get $p) (i32.const 256))) (local.get $at))
                (func (export "take") (param i32 i32) (result i32) (i32.load8_u (local.get 0))))
            (core instance $i (instantiate $m))
            (func (export "take") (param "text" string) (result u32)
                (canon lift (core func $i "take") {taker}
                    (memory $i "memory") (realloc (func $i "realloc")))))
        (component $giver
            (import "take" (func $take (param "text" string) (result u32)))
            (core module $libc (memory (export "memory") 1) (data (i32.const 8) "A\00B\00"))
            (core instance $libc (instantiate $libc))
            (core func $take (canon lower (func $take) {giver} (memory $libc "memory")))
            (core module $m (import "h" "take" (func $take (param i32 i32) (result i32)))
                (func (export "run") (result i32) (call $take (i32.const 8) (i32.const 2))))
            (core instance $i (instantiate $m (with "h" (instance (export "take" (func $take))))))
            (func (export "run") (result u32) (canon lift (core func $i "run"))))
        (instance $t (instantiate $taker))
        (instance $g (instantiate $giver (with "take" (func $t "take"))))
        (export "run" (func $g "run")))"#
    )
}

/// Between components with memories of their own Wasmtime writes code that uses two memories; that it may.
#[tokio::test]
async fn components_inside_hand_each_other_strings() {
    let bench = Bench::new();
    let linker = Linker::<GuestContext>::new(bench.runtime.engine());
    let encodings = [
        "string-encoding=utf8",
        "string-encoding=utf16",
        "string-encoding=latin1+utf16",
    ];
    for giver in encodings {
        for taker in encodings {
            let ready = bench
                .load(&composed(giver, taker), &Ceiling::new(), &linker)
                .expect(giver);
            let mut guest = bench.start(ready).await.expect("it starts");
            let (first,) = guest
                .call_export::<(), (u32,)>(None, "run", ())
                .await
                .expect("it runs");
            assert_eq!(first, u32::from(b'A'), "{giver} to {taker}");
        }
    }
}

#[test]
fn a_signed_component_that_is_not_sound_is_refused_as_invalid() {
    let bench = Bench::new();
    let linker = Linker::<GuestContext>::new(bench.runtime.engine());
    // The type section (7) holds garbage; framing and signature are in order.
    let mut bytes = binary("(component)");
    bytes.extend([7, 2, 1, 0xff]);
    let verified = bench.verified_bytes(&bytes, Default::default(), Default::default());
    let error = bench
        .runtime
        .load(verified, &Ceiling::new(), &linker)
        .unwrap_err();
    assert!(
        matches!(error, LoadError::ComponentInvalid { .. }),
        "{error:?}"
    );
}

#[track_caller]
fn not_a_component(bytes: Vec<u8>) {
    let bench = Bench::new();
    let rejection = bench
        .runtime
        .verify(bytes, &bench.now(), &TrustState::default())
        .unwrap_err();
    assert_eq!(rejection.code(), Code::NotAComponent, "{rejection}");
}

#[test]
fn ta17_a_core_module() {
    not_a_component(binary("(module)"));
    // Version and layer the other way round.
    not_a_component(b"\0asm\x01\0\x0d\0".to_vec());
}

#[test]
fn ta18_text() {
    not_a_component(b"(component)".to_vec());
    not_a_component(include_bytes!("../guests/hello.wat").to_vec());
}

#[test]
fn ta19_precompiled_code() {
    // What Wasmtime writes is an ELF file with an operating system of its own (200), for x86-64 or aarch64.
    for machine in [0x3e, 0xb7] {
        let mut precompiled = b"\x7fELF\x02\x01\x01\xc8\0\0\0\0\0\0\0\0\x01\0".to_vec();
        precompiled.extend([machine, 0, 1, 0, 0, 0]);
        precompiled.resize(4096, 0);
        not_a_component(precompiled);
    }
}

/// A component that is one section.
fn of_section(id: u8, content: &[u8]) -> Vec<u8> {
    let mut component = b"\0asm\x0d\0\x01\0".to_vec();
    component.push(id);
    let mut length = content.len();
    while length > 0x7f {
        component.push(0x80 | u8::try_from(length & 0x7f).unwrap());
        length >>= 7;
    }
    component.push(u8::try_from(length).unwrap());
    component.extend(content);
    component
}

/// A component with a type within a type, so deep.
fn nested(kind: u8, depth: usize) -> Vec<u8> {
    // Each declares one more, but for the last.
    let types = [&[1][..], &[kind, 1, 1].repeat(depth - 1), &[kind, 0]].concat();
    of_section(7, &types)
}

#[test]
fn te14_types_in_types_without_end_are_refused_before_a_stack_is_full() {
    const COMPONENT: u8 = 0x41;
    const INSTANCE: u8 = 0x42;
    let bench = Bench::new();
    let linker = Linker::<GuestContext>::new(bench.runtime.engine());
    let load = |component: &[u8]| {
        let verified = bench.verified_bytes(component, Default::default(), Default::default());
        bench.runtime.load(verified, &Ceiling::new(), &linker)
    };
    for kind in [COMPONENT, INSTANCE] {
        let fits = load(&nested(kind, 100));
        assert!(fits.is_ok(), "{fits:?}");
        let deep = [101, 1_000, 1_000_000].map(|depth| nested(kind, depth));
        let inside = of_section(4, &deep[2]);
        for component in deep.iter().chain([&inside]) {
            match load(component) {
                Err(LoadError::ComponentInvalid { reason }) => {
                    assert!(reason.contains("100 deep"), "{reason}");
                }
                other => panic!("{}: {other:?}", component.len()),
            }
        }
    }
}

/// A component of so many links, each holding the one before.
fn chained(first: &str, link: &str, links: usize) -> Vec<u8> {
    let mut text = format!("(component {}", first.replace("$new", "$n1"));
    for number in 2..=links {
        text += &link
            .replace("$new", &format!("$n{number}"))
            .replace("$old", &format!("$n{}", number - 1));
    }
    wat::parse_str(text + ")").unwrap()
}

#[test]
fn te14_things_that_name_each_other_without_end_are_refused_before_a_parser_panics() {
    let bench = Bench::new();
    let linker = Linker::<GuestContext>::new(bench.runtime.engine());
    let load = |component: &[u8]| {
        let verified = bench.verified_bytes(component, Default::default(), Default::default());
        bench.runtime.load(verified, &Ceiling::new(), &linker)
    };
    let chains = [
        (
            "(type $new (instance))",
            r#"(type $new (instance (export "a" (instance (type $old)))))"#,
        ),
        (
            "(type $new (component))",
            r#"(type $new (component (import "a" (component (type $old)))))"#,
        ),
        (
            "(type $new (func))",
            r#"(type $new (instance (type $o (instance)) (export "a" (instance (type $o)))))"#,
        ),
        (
            "(instance $new)",
            r#"(instance $new (export "a" (instance $old)))"#,
        ),
        (
            "(component $new)",
            r#"(component $new (export "a" (component $old)))"#,
        ),
        (
            "(component $new)",
            r#"(component $new (instance $i (instantiate $old)) (export "a" (instance $i)))"#,
        ),
        ("(type $new u8)", "(type $new (list $old))"),
    ];
    for (first, link) in chains {
        let fits = load(&chained(first, link, 100));
        assert!(fits.is_ok(), "{link}: {fits:?}");
        // Not one inside the other, but beside it.
        let endless = !link.contains("$old");
        for links in [101, 126, 127, 128, 1_000] {
            match load(&chained(first, link, links)) {
                Ok(_) if endless => {}
                Err(LoadError::ComponentInvalid { reason }) if !endless => {
                    assert!(reason.contains("100 deep"), "{links} {link}: {reason}");
                }
                other => panic!("{links} {link}: {other:?}"),
            }
        }
    }
    // The last link is of another kind: a function's type around types of values, an alias, an import.
    let list = (2..=100).map(|number| format!("(type $n{number} (list $n{}))", number - 1));
    let lists = list.collect::<String>();
    for (last, fits) in [
        ("(type (tuple $n99))", true),
        ("(type (func (param \"a\" $n99)))", true),
        ("(type (func (param \"a\" $n100)))", false),
        ("(type (func (result $n100)))", false),
        ("(type (variant (case \"a\") (case \"b\" $n100)))", false),
        ("(type (result (error $n100)))", false),
        ("(type (instance (export \"a\" (type (eq $n99)))))", true),
        ("(type (instance (export \"a\" (type (eq $n100)))))", false),
        ("(export \"a\" (type $n100))", false),
        (
            "(instance $i (export \"a\" (type $n99))) (alias export $i \"a\" (type $t)) (type (list $t))",
            true,
        ),
        (
            "(instance $i (export \"a\" (type $n99))) (instance (export \"a\" (instance $i)))",
            false,
        ),
        (
            "(component (type $t (list $n99)) (export \"a\" (type $t)))",
            false,
        ),
    ] {
        let text = format!("(component (type $n1 u8) {lists} {last})");
        match load(&wat::parse_str(&text).unwrap()) {
            Ok(_) => assert!(fits, "{last}"),
            Err(LoadError::ComponentInvalid { reason }) => {
                assert!(!fits && reason.contains("100 deep"), "{last}: {reason}");
            }
            Err(other) => panic!("{last}: {other:?}"),
        }
    }
}

#[test]
fn te14_components_in_components_without_end_are_refused() {
    let bench = Bench::new();
    let linker = Linker::<GuestContext>::new(bench.runtime.engine());
    let within = |levels: usize| {
        let empty = b"\0asm\x0d\0\x01\0".to_vec();
        let component = (1..levels).fold(empty, |inner, _| of_section(4, &inner));
        let verified = bench.verified_bytes(&component, Default::default(), Default::default());
        bench.runtime.load(verified, &Ceiling::new(), &linker)
    };
    assert!(within(60).is_ok());
    for levels in [101, 5_000] {
        match within(levels) {
            Err(LoadError::ComponentInvalid { reason }) => {
                assert!(reason.contains("100 deep"), "{reason}");
            }
            other => panic!("{levels}: {other:?}"),
        }
    }
}

#[test]
fn types_that_are_used_along_a_chain_of_interfaces_are_as_deep_as_they_are() {
    let bench = Bench::new();
    let linker = Linker::<GuestContext>::new(bench.runtime.engine());
    // Each uses one from the interface before, and has another that holds it much deeper.
    let mut text = r#"(component (instance $i0 (export "e" (type $e)))"#.replace("$e", "0");
    text = text.replacen("(instance", "(type (enum \"a\")) (instance", 1);
    for number in 1..200 {
        let before = number - 1;
        text += &format!(
            r#"(alias export $i{before} "e" (type $e{number}))
               (type $r{number} (list $e{number})) (type $s{number} (option $r{number}))
               (instance $i{number} (export "e" (type $e{number})) (export "s" (type $s{number})))"#
        );
    }
    let component = wat::parse_str(text + ")").unwrap();
    let verified = bench.verified_bytes(&component, Default::default(), Default::default());
    let loaded = bench.runtime.load(verified, &Ceiling::new(), &linker);
    assert!(loaded.is_ok(), "{loaded:?}");
}

#[test]
fn te14_two_instances_of_one_type_are_refused_where_a_parser_would_panic() {
    let bench = Bench::new();
    let linker = Linker::<GuestContext>::new(bench.runtime.engine());
    let load = |text: &str| {
        let component = wat::parse_str(text).unwrap();
        let verified = bench.verified_bytes(&component, Default::default(), Default::default());
        bench.runtime.load(verified, &Ceiling::new(), &linker)
    };
    let of = |types: &str, imports: &str, instance: &str| {
        format!(
            r#"(component (type $r (record (field "x" u32))) (component $c {types} {imports})
                (instance $i {instance})
                (instance (instantiate $c (with "a" (instance $i)) (with "b" (instance $i)))))"#
        )
    };
    let with_type =
        r#"(type $T (instance (type $q (record (field "x" u32))) (export "t" (type (eq $q)))))"#;
    let twice = r#"(import "a" (instance (type $T))) (import "b" (instance (type $T)))"#;
    let gives_type = r#"(export "t" (type $r))"#;
    let inside = format!(r#"{with_type} (type $U (instance (export "t" (instance (type $T)))))"#);
    let inner = r#"(component (type $r (record (field "x" u32))) (instance $j (export "t" (type $r)))
        (component $c INSIDE (import "a" (instance (type $U))) (import "b" (instance (type $T))))
        (instance $i (export "t" (instance $j)))
        (instance (instantiate $c (with "a" (instance $i)) (with "b" (instance $j)))))"#;
    for text in [
        of(with_type, twice, gives_type),
        inner.replace("INSIDE", &inside),
        // Two types of a function, said to be the same.
        r#"(component (type $f (func)) (component $c (type $f (func))
            (import "a" (type (eq $f))) (import "b" (type (eq $f))))
            (instance (instantiate $c (with "a" (type $f)) (with "b" (type $f)))))"#
            .to_owned(),
        // Two types of instances that become one.
        r#"(component (type $A (instance (type $q (list u8)) (export "t" (type (eq $q)))))
            (component $c
                (type $A1 (instance (type $q (list u8)) (export "t" (type (eq $q)))))
                (type $A2 (instance (type $q (list u8)) (export "t" (type (eq $q)))))
                (import "p" (type $P (eq $A1))) (import "q" (type $Q (eq $A2)))
                (component $k (import "x" (instance (type $P))) (import "y" (instance (type $Q))))
                (export "k" (component $k)))
            (instance $i (instantiate $c (with "p" (type $A)) (with "q" (type $A))))
            (type $l (list u8)) (instance $j (export "t" (type $l))) (alias export $i "k" (component $k))
            (instance (instantiate $k (with "x" (instance $j)) (with "y" (instance $j)))))"#
            .to_owned(),
        // What a component that is taken has to give.
        r#"(component
            (component $c
                (import "k" (component
                    (type $T (instance (type $q (list u8)) (export "t" (type (eq $q)))))
                    (export "a" (instance (type $T))) (export "b" (instance (type $T))))))
            (component $k (type $l (list u8)) (instance $j (export "t" (type $l)))
                (export "a" (instance $j)) (export "b" (instance $j)))
            (instance (instantiate $c (with "k" (component $k)))))"#
            .to_owned(),
    ] {
        match load(&text) {
            Err(LoadError::ComponentInvalid { reason }) => {
                assert!(reason.contains("two instances of one type"), "{reason}");
            }
            other => panic!("{text}: {other:?}"),
        }
    }
    let apart = r#"(type $S (instance (type $q (record (field "x" u32))) (export "t" (type (eq $q)))))
        (import "a" (instance (type $T))) (import "b" (instance (type $S)))"#;
    let resource = r#"(type $T (instance (export "t" (type (sub resource)))))"#;
    for text in [
        // A type each, no types, a resource each, and what nobody inside gives.
        of(with_type, apart, gives_type),
        of("(type $T (instance))", twice, ""),
        of(resource, twice, r#"(export "t" (type $r))"#)
            .replace(r#"(record (field "x" u32))"#, "(resource (rep i32))"),
        format!("(component {with_type} {twice})"),
    ] {
        let loaded = load(&text);
        assert!(loaded.is_ok(), "{text}: {loaded:?}");
    }
}
