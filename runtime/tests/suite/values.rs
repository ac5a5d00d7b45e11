//! Values that are none: strings, handles to memory and cases that a guest's type does not have, handed to the host or
//! from one component inside another to the next.

use std::sync::{Arc, Mutex};

use crate::support::Bench;
use countersign_runtime::trust_store::Code;
use countersign_runtime::wasmtime::component::{Linker, Val};
use countersign_runtime::{Ceiling, GuestContext, RunError};

/// The host's interface: it takes a value and keeps it.
const VALVES: &str = "acme:plant/valves";

/// A component that calls `act` of [`VALVES`], whose parameter has the type `ty`, lowered with `options`. `data` lies at
/// address 8 of its memory of one page; `call` is the core call.
fn handing(ty: &str, core_params: &str, options: &str, data: &str, call: &str) -> String {
    format!(
        r#"(component
            (import "{VALVES}" (instance $h
                (type $t {ty})
                (export "t" (type $u (eq $t)))
                (export "act" (func (param "x" $u)))))
            (core module $libc (memory (export "memory") 1) (data (i32.const 8) "{data}"))
            (core instance $libc (instantiate $libc))
            (core func $act (canon lower (func $h "act") (memory $libc "memory") {options}))
            (core module $m (import "h" "act" (func $act (param {core_params})))
                (func (export "run") {call}))
            (core instance $i (instantiate $m (with "h" (instance (export "act" (func $act))))))
            (func (export "run") (canon lift (core func $i "run"))))"#
    )
}

/// Runs it, and gives what the host was handed.
async fn handed(wat: &str) -> Result<Vec<Val>, RunError> {
    let bench = Bench::new();
    let kept = Arc::new(Mutex::new(Vec::new()));
    let mut linker = Linker::<GuestContext>::new(bench.runtime.engine());
    let keeping = Arc::clone(&kept);
    linker
        .instance(VALVES)
        .unwrap()
        .func_new("act", move |_, _, params, _| {
            keeping.lock().unwrap().extend_from_slice(params);
            Ok(())
        })
        .unwrap();
    let ceiling = Ceiling::new().interface(VALVES);
    let ready = bench.load(wat, &ceiling, &linker).expect(wat);
    let mut guest = bench.start(ready).await.expect("it starts");
    guest.call_export::<(), ()>(None, "run", ()).await?;
    let kept = kept.lock().unwrap().clone();
    Ok(kept)
}

async fn is_trapped(wat: &str) {
    match handed(wat).await {
        Err(ended) => assert_eq!(ended.code(), Code::Trapped, "{wat}: {ended}"),
        Ok(kept) => panic!("{wat}: the host was handed {kept:?}"),
    }
}

fn string(encoding: &str, data: &str, address: i64, length: i64) -> String {
    let call = format!("(call $act (i32.const {address}) (i32.const {length}))");
    let options = format!("string-encoding={encoding}");
    handing("string", "i32 i32", &options, data, &call)
}

#[tokio::test]
async fn te08_strings_that_are_none() {
    const UTF16_TAG: i64 = 1 << 31;
    for (encoding, data, address, length, expected) in [
        ("utf8", "valve", 8, 5, "valve"),
        ("utf16", "v\\00a\\00", 8, 2, "va"),
        ("utf16", "\\3d\\d8\\00\\de", 8, 2, "\u{1f600}"),
        ("latin1+utf16", "v\\e4", 8, 2, "vä"),
        ("latin1+utf16", "v\\00a\\00", 8, UTF16_TAG | 2, "va"),
        ("utf8", "", 65_536, 0, ""),
    ] {
        let kept = handed(&string(encoding, data, address, length))
            .await
            .expect(encoding);
        assert_eq!(
            kept,
            [Val::String(expected.to_owned())],
            "{encoding} {data}"
        );
    }
    for (encoding, data, address, length) in [
        // Not UTF-8: no first byte, cut off, longer than needed, half a surrogate pair, above the last.
        ("utf8", "\\ff", 8, 1),
        ("utf8", "\\e2\\82", 8, 2),
        ("utf8", "\\c0\\80", 8, 2),
        ("utf8", "\\ed\\a0\\80", 8, 3),
        ("utf8", "\\f4\\90\\80\\80", 8, 4),
        // Half surrogate pairs, and one the wrong way round.
        ("utf16", "\\00\\d8", 8, 1),
        ("utf16", "\\00\\dc", 8, 1),
        ("utf16", "\\00\\de\\3d\\d8", 8, 2),
        ("latin1+utf16", "\\00\\d8", 8, UTF16_TAG | 1),
        // Out of line.
        ("utf16", "v\\00a\\00", 9, 1),
        ("latin1+utf16", "v\\00a\\00", 9, UTF16_TAG | 1),
        ("latin1+utf16", "va", 9, 1),
        // Beyond the memory: by one, by its size, by an overflow.
        ("utf8", "", 65_536, 1),
        ("utf8", "", 65_535, 2),
        ("utf16", "", 65_534, 2),
        ("utf8", "", -1, 1),
        ("utf8", "", -2, 2),
    ] {
        is_trapped(&string(encoding, data, address, length)).await;
    }
}

#[tokio::test]
async fn te09_cases_that_a_type_does_not_have() {
    let call = |values: &str| format!("(call $act {values})");
    let of = |ty: &str, params: &str, values: &str| handing(ty, params, "", "", &call(values));
    let one = |ty: &str, value: i64| of(ty, "i32", &format!("(i32.const {value})"));
    let two = |ty: &str, case: i64| of(ty, "i32 i32", &format!("(i32.const {case}) (i32.const 7)"));
    const ENUM: &str = r#"(enum "open" "shut")"#;
    const FLAGS: &str = r#"(flags "open" "hot")"#;
    const VARIANT: &str = r#"(variant (case "at" u32) (case "shut"))"#;

    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    for (wat, expected) in [
        (one(ENUM, 1), Val::Enum("shut".to_owned())),
        (one(FLAGS, 3), Val::Flags(names(&["open", "hot"]))),
        // Bits that nobody named are dropped, and what is not 0 is true.
        (one(FLAGS, 0xff_fe), Val::Flags(names(&["hot"]))),
        (one("bool", 2), Val::Bool(true)),
        (one("u8", 0x1ff), Val::U8(0xff)),
        (
            two("(option u32)", 1),
            Val::Option(Some(Box::new(Val::U32(7)))),
        ),
    ] {
        assert_eq!(handed(&wat).await.expect(&wat), [expected], "{wat}");
    }
    for wat in [
        one(ENUM, 2),
        one(ENUM, -1),
        one("char", 0xd800),
        one("char", 0x11_0000),
        one("char", -1),
        two(VARIANT, 2),
        two(VARIANT, -1),
        two("(option u32)", 2),
        two("(result u32 (error u32))", 2),
    ] {
        is_trapped(&wat).await;
    }
    // In memory, where a case has one byte.
    for (ty, data) in [
        ("(list (option u8))", "\\02\\00"),
        ("(list char)", "\\00\\d8\\00\\00"),
    ] {
        let call = call("(i32.const 8) (i32.const 1)");
        is_trapped(&handing(ty, "i32 i32", "", data, &call)).await;
    }
}

/// A component whose `take` gets a list of numbers through this realloc.
fn taking(realloc: &str) -> String {
    format!(
        r#"(component
            (import "{VALVES}" (instance $h
                (type $t u32) (export "t" (type $u (eq $t))) (export "act" (func (param "x" $u)))))
            (core func $act (canon lower (func $h "act")))
            (core module $m
                (import "h" "act" (func $act (param i32)))
                (memory (export "memory") 1)
                (func (export "realloc") (param i32 i32 i32 i32) (result i32) {realloc})
                (func (export "take") (param i32 i32)))
            (core instance $i (instantiate $m (with "h" (instance (export "act" (func $act))))))
            (func (export "take") (param "numbers" (list u32))
                (canon lift (core func $i "take") (memory $i "memory") (realloc (func $i "realloc")))))"#
    )
}

#[tokio::test]
async fn te10_a_realloc_that_answers_with_a_bad_pointer() {
    let take = async |realloc: &str| {
        let bench = Bench::new();
        let mut linker = Linker::<GuestContext>::new(bench.runtime.engine());
        linker
            .instance(VALVES)
            .unwrap()
            .func_wrap("act", |_, (_,): (u32,)| Ok(()))
            .unwrap();
        let ceiling = Ceiling::new().interface(VALVES);
        let ready = bench
            .load(&taking(realloc), &ceiling, &linker)
            .expect(realloc);
        let mut guest = bench.start(ready).await.expect("it starts");
        let ended = guest
            .call_export::<(Vec<u32>,), ()>(None, "take", (vec![1, 2, 3],))
            .await;
        assert_eq!(guest.is_stopped(), ended.is_err());
        ended
    };
    take("(i32.const 16)").await.expect("it may");
    for realloc in [
        // Out of line; beyond the memory, by one and by an overflow; none at all.
        "(i32.const 17)",
        "(i32.const 65536)",
        "(i32.const 65528)",
        "(i32.const -4)",
        "(i32.const -1)",
        "unreachable",
        // From within it, nothing may be called.
        "(call $act (i32.const 7)) (i32.const 16)",
    ] {
        let ended = take(realloc).await.expect_err(realloc);
        assert_eq!(ended.code(), Code::Trapped, "{realloc}: {ended}");
    }
}
