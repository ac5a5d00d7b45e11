//! WebAssembly proposals that are turned off, and files that are no components.

use crate::support::{Bench, binary, core};
use countersign_runtime::trust_store::{Code, TrustState};
use countersign_runtime::wasmtime::component::Linker;
use countersign_runtime::{Ceiling, GuestContext, LoadError};

#[track_caller]
fn forbidden(wat: &str) {
    let bench = Bench::new();
    let linker = Linker::<GuestContext>::new(bench.runtime.engine());
    match bench.load(wat, &Ceiling::new(), &linker) {
        Err(error @ LoadError::FeatureForbidden { .. }) => {
            assert_eq!(error.code(), Code::ComponentInvalid)
        }
        other => panic!("{wat}: {other:?}"),
    }
}

#[test]
fn te18_proposals_that_are_off() {
    for fields in [
        "(memory i64 1)",
        "(memory 1 1 shared)",
        "(memory 1) (memory 1)",
        "(memory 1 (pagesize 1))",
        "(tag)",
        "(type (struct (field i32)))",
        "(type $f (func)) (func (param (ref $f)))",
        "(table 1 externref) (func (param anyref))",
        "(type $f (func)) (type $c (cont $f))",
    ] {
        forbidden(&core(&format!("{fields} (func (export \"run\"))")));
    }
}

#[test]
fn te18_asynchronous_components_are_off() {
    forbidden(r#"(component (type (stream u8)))"#);
    forbidden(r#"(component (type (future u8)))"#);
    forbidden(r#"(component (core func (canon task.cancel)))"#);
}

#[test]
fn te18_instructions_that_are_off() {
    // Function bodies are left to the compiler, which refuses them too.
    for body in [
        "(return_call 0)",
        "(drop (i8x16.relaxed_swizzle (v128.const i32x4 0 0 0 0) (v128.const i32x4 0 0 0 0)))",
    ] {
        let bench = Bench::new();
        let linker = Linker::<GuestContext>::new(bench.runtime.engine());
        let wat = core(&format!("(func (export \"run\") {body})"));
        let error = bench.load(&wat, &Ceiling::new(), &linker).expect_err(body);
        assert_eq!(error.code(), Code::ComponentInvalid, "{error}");
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
