//! Strings that one component hands to another inside the same file: how long they may be, and that nothing else changes by it.

use crate::support::Bench;
use countersign_runtime::trust_store::Code;
use countersign_runtime::wasmtime::WasmBacktrace;
use countersign_runtime::wasmtime::component::Linker;
use countersign_runtime::{Ceiling, GuestContext, Limits, RunError, RunningGuest};

/// The most room that such a string may need, in bytes; half of that where not all strings are UTF-8.
const MOST: u32 = 1 << 20;

const ENCODINGS: [&str; 3] = ["utf8", "utf16", "latin1+utf16"];

/// The bit of a length that says which encoding of `latin1+utf16` it is (Canonical ABI, `UTF16_TAG`).
const UTF16_TAG: u32 = 1 << 31;

/// A component whose `hand` gives a string of so many units from one component inside it to the other, and whose `fetch` has it given.
/// Memories are full of `a`: that in UTF-8 and Latin-1, 慡 in UTF-16.
fn of_two(outer: &str, inner: &str) -> String {
    const MEMORY: &str = r#"
        (memory (export "memory") 100)
        (func $full (memory.fill (i32.const 16) (i32.const 97) (i32.const 6553584)))
        (start $full)
        (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 16))"#;
    format!(
        r#"(component
            (component $inner
                (core module $m {MEMORY}
                    (func (export "take") (param i32 i32) (result i32) (local.get 1))
                    (func (export "give") (param i32) (result i32)
                        (i32.store (i32.const 0) (i32.const 16))
                        (i32.store (i32.const 4) (local.get 0))
                        (i32.const 0)))
                (core instance $i (instantiate $m))
                (func (export "take") (param "text" string) (result u32) (canon lift (core func $i "take")
                    (memory $i "memory") (realloc (func $i "realloc")) string-encoding={inner}))
                (func (export "give") (param "length" u32) (result string) (canon lift (core func $i "give")
                    (memory $i "memory") string-encoding={inner})))
            (component $outer
                (import "take" (func $take (param "text" string) (result u32)))
                (import "give" (func $give (param "length" u32) (result string)))
                (core module $libc {MEMORY})
                (core instance $libc (instantiate $libc))
                (core func $take (canon lower (func $take) (memory $libc "memory") string-encoding={outer}))
                (core func $give (canon lower (func $give) (memory $libc "memory") (realloc (func $libc "realloc"))
                    string-encoding={outer}))
                (core module $m
                    (import "" "memory" (memory 1))
                    (import "" "take" (func $take (param i32 i32) (result i32)))
                    (import "" "give" (func $give (param i32 i32)))
                    (func (export "hand") (param i32) (result i32) (call $take (i32.const 16) (local.get 0)))
                    (func (export "fetch") (param i32) (result i32)
                        (call $give (local.get 0) (i32.const 0))
                        (i32.load (i32.const 4))))
                (core instance $i (instantiate $m (with "" (instance
                    (export "memory" (memory $libc "memory")) (export "take" (func $take)) (export "give" (func $give))))))
                (func (export "hand") (param "length" u32) (result u32) (canon lift (core func $i "hand")))
                (func (export "fetch") (param "length" u32) (result u32) (canon lift (core func $i "fetch"))))
            (instance $inner (instantiate $inner))
            (instance $outer (instantiate $outer
                (with "take" (func $inner "take")) (with "give" (func $inner "give"))))
            (export "hand" (func $outer "hand"))
            (export "fetch" (func $outer "fetch")))"#
    )
}

async fn started(bench: &Bench, wat: &str) -> RunningGuest<GuestContext> {
    let mut limits = Limits::default();
    limits.memory_bytes = 128 << 20;
    let linker = Linker::<GuestContext>::new(bench.runtime.engine());
    let ceiling = Ceiling::new().limits(limits);
    let ready = bench.load(wat, &ceiling, &linker).expect("it loads");
    bench.start(ready).await.expect("it starts")
}

/// How many bytes there must be room for, for a unit that is handed from one to the other.
fn room(from: &str, to: &str) -> u32 {
    match (from, to) {
        // Three bytes of UTF-8 each.
        ("utf16", "utf8") => 3,
        ("utf16", _) | (_, "utf16") => 2,
        _ => 1,
    }
}

#[tokio::test]
async fn te01_a_string_between_components_is_as_long_as_it_may_be() {
    let bench = Bench::new();
    for (outer, inner) in ENCODINGS
        .iter()
        .flat_map(|outer| ENCODINGS.map(|inner| (*outer, inner)))
    {
        let wat = of_two(outer, inner);
        let room_there = match (outer, inner) {
            ("utf8", "utf8") => MOST,
            _ => MOST / 2,
        };
        for (function, from, to) in [("hand", outer, inner), ("fetch", inner, outer)] {
            let most = room_there / room(from, to);
            let mut guest = started(&bench, &wat).await;
            let (length,) = guest
                .call_export::<(u32,), (u32,)>(None, function, (most,))
                .await
                .unwrap_or_else(|ended| panic!("{function} {from} {to}: {ended}"));
            let units = length & !UTF16_TAG;
            let expected = if (from, to) == ("utf16", "utf8") {
                most * 3
            } else {
                most
            };
            assert_eq!(units, expected, "{function} {from} {to}");

            let ended = guest
                .call_export::<(u32,), (u32,)>(None, function, (most + 1,))
                .await
                .expect_err("it is too long");
            assert_eq!(
                ended.code(),
                Code::Trapped,
                "{function} {from} {to}: {ended}"
            );
            let RunError::Trapped { cause, .. } = &ended else {
                panic!("{function} {from} {to}: {ended:?}")
            };
            let trace = cause.downcast_ref::<WasmBacktrace>().expect("frames");
            let where_it_was = trace.frames().first().and_then(|frame| frame.func_name());
            assert_eq!(
                where_it_was,
                Some(
                    "too much room for a string, or for a list of bytes beside strings, in a component inside another"
                ),
                "{function} {from} {to}"
            );
        }
    }
}

/// A component inside another with everything that has a number, before guards, between them and behind them.
const NUMBERED: &str = r#"(component
    (component $inner
        (core module $libc
            (memory (export "memory") 1)
            (global $dropped (mut i32) (i32.const 0))
            (global $returned (mut i32) (i32.const 0))
            (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 1000))
            (func (export "roomy") (param i32 i32 i32 i32) (result i32) (i32.const 2000))
            (func (export "at") (param i32 i32) (result i32) (local.get 0))
            (func (export "one") (result i32) (i32.const 1))
            (func (export "two") (result i32) (i32.const 2))
            (func (export "drop") (param i32) (global.set $dropped (i32.add (global.get $dropped) (local.get 0))))
            (func (export "dropped") (result i32) (global.get $dropped))
            (func (export "after") (param i32) (global.set $returned (i32.add (global.get $returned) (local.get 0))))
            (func (export "returned") (result i32) (global.get $returned)))
        (core instance $libc (instantiate $libc))
        (alias core export $libc "one" (core func $one))
        (core module $ten (func (export "ten") (result i32) (i32.const 10)))
        ;; The first guard, of realloc.
        (func $first (param "text" string) (result u32)
            (canon lift (core func $libc "at") (memory $libc "memory") (realloc (func $libc "realloc"))))
        (alias core export $libc "two" (core func $two))
        (core module $sum
            (import "ours" "one" (func $one (result i32)))
            (import "ours" "two" (func $two (result i32)))
            (import "theirs" "ten" (func $ten (result i32)))
            (func (export "sum") (result i32)
                (i32.add (i32.mul (call $one) (i32.const 100)) (i32.add (call $two) (call $ten)))))
        (core instance $ten (instantiate $ten))
        (core instance $ours (export "one" (func $one)) (export "two" (func $two)))
        (core instance $sum (instantiate $sum (with "ours" (instance $ours)) (with "theirs" (instance $ten))))
        ;; The second, of another function; and the first one again.
        (func $second (param "text" string) (result u32)
            (canon lift (core func $libc "at") (memory $libc "memory") (realloc (func $libc "roomy"))))
        (func $again (param "text" string) (result u32)
            (canon lift (core func $libc "at") (memory $libc "memory") (realloc (func $libc "realloc"))))
        ;; Without strings there is none.
        (func $list (param "items" (list u8)) (result u32)
            (canon lift (core func $libc "at") (memory $libc "memory") (realloc (func $libc "roomy"))
                (post-return (func $libc "after"))))
        (alias core export $libc "drop" (core func $drop))
        (type $r (resource (rep i32) (dtor (func $drop))))
        (core func $new (canon resource.new $r))
        (core func $end (canon resource.drop $r))
        (core module $resources
            (import "" "new" (func $new (param i32) (result i32)))
            (import "" "end" (func $end (param i32)))
            (func (export "through") (param i32) (call $end (call $new (local.get 0)))))
        (core instance $resources (instantiate $resources (with "" (instance
            (export "new" (func $new)) (export "end" (func $end))))))
        ;; Modules are known by number from further inside, too.
        (component $deep
            (alias outer $inner $sum (core module $sum))
            (alias outer $inner $ten (core module $ten))
            (core instance $ten (instantiate $ten))
            (core module $hundreds (func (export "one") (result i32) (i32.const 3)) (func (export "two") (result i32) (i32.const 4)))
            (core instance $hundreds (instantiate $hundreds))
            (core instance $sum (instantiate $sum (with "ours" (instance $hundreds)) (with "theirs" (instance $ten))))
            (func (export "sum") (result u32) (canon lift (core func $sum "sum"))))
        (instance $deep (instantiate $deep))
        (component $given
            (core module $libc
                (memory (export "memory") 1)
                (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 3000))
                (func (export "at") (param i32 i32) (result i32) (local.get 0)))
            (core instance $libc (instantiate $libc))
            (func (export "third") (param "text" string) (result u32)
                (canon lift (core func $libc "at") (memory $libc "memory") (realloc (func $libc "realloc"))))
            ;; The guards' own module stands before these two.
            (import "module" (core module $ten (export "ten" (func (result i32)))))
            (core module $eleven (func (export "ten") (result i32) (i32.const 11)))
            (core instance $ten (instantiate $ten))
            (core instance $eleven (instantiate $eleven))
            (export "both" (core module $eleven))
            (core module $twelve (func (export "ten") (result i32) (i32.const 12)))
            (core instance $twelve (instantiate $twelve))
            (func (export "ten") (result u32) (canon lift (core func $ten "ten")))
            (func (export "eleven") (result u32) (canon lift (core func $eleven "ten")))
            (func (export "twelve") (result u32) (canon lift (core func $twelve "ten"))))
        (instance $given (instantiate $given (with "module" (core module $ten))))
        (alias export $given "both" (core module $both))
        (core instance $both (instantiate $both))
        ;; Each string of a list has a room of its own, and so has the list.
        (func $names (param "names" (list string)) (result u32)
            (canon lift (core func $libc "at") (memory $libc "memory") (realloc (func $libc "realloc"))))
        (export "first" (func $first))
        (export "second" (func $second))
        (export "again" (func $again))
        (export "list" (func $list))
        (func (export "sum") (result u32) (canon lift (core func $sum "sum")))
        (export "deep" (func $deep "sum"))
        (export "third" (func $given "third"))
        (export "given" (func $given "ten"))
        (export "eleven" (func $given "eleven"))
        (export "twelve" (func $given "twelve"))
        (func (export "both") (result u32) (canon lift (core func $both "ten")))
        (export "names" (func $names))
        (func (export "through") (param "it" u32) (canon lift (core func $resources "through")))
        (func (export "dropped") (result u32) (canon lift (core func $libc "dropped")))
        (func (export "returned") (result u32) (canon lift (core func $libc "returned"))))
    (instance $i (instantiate $inner))
    (export "first" (func $i "first"))
    (export "second" (func $i "second"))
    (export "again" (func $i "again"))
    (export "list" (func $i "list"))
    (export "sum" (func $i "sum"))
    (export "deep" (func $i "deep"))
    (export "third" (func $i "third"))
    (export "given" (func $i "given"))
    (export "eleven" (func $i "eleven"))
    (export "twelve" (func $i "twelve"))
    (export "both" (func $i "both"))
    (export "names" (func $i "names"))
    (export "through" (func $i "through"))
    (export "dropped" (func $i "dropped"))
    (export "returned" (func $i "returned")))"#;

#[tokio::test]
async fn te01_what_stands_behind_a_guard_is_what_it_was() {
    let bench = Bench::new();
    let mut guest = started(&bench, NUMBERED).await;
    for (function, at) in [
        ("first", 1000),
        ("second", 2000),
        ("again", 1000),
        ("third", 3000),
    ] {
        let text = "text".to_owned();
        let (given,) = guest
            .call_export::<(String,), (u32,)>(None, function, (text,))
            .await
            .expect(function);
        assert_eq!(given, at, "{function}");
    }
    let (given,) = guest
        .call_export::<(Vec<u8>,), (u32,)>(None, "list", (vec![1, 2, 3],))
        .await
        .expect("list");
    assert_eq!(given, 2000);
    let names = vec!["text".to_owned(); 3];
    let (given,) = guest
        .call_export::<(Vec<String>,), (u32,)>(None, "names", (names,))
        .await
        .expect("names");
    assert_eq!(given, 1000);
    guest
        .call_export::<(u32,), ()>(None, "through", (7,))
        .await
        .expect("through");
    for (function, expected) in [
        ("sum", 112),
        ("deep", 314),
        ("given", 10),
        ("eleven", 11),
        ("twelve", 12),
        ("both", 11),
        ("dropped", 7),
        ("returned", 2000),
    ] {
        let (given,) = guest
            .call_export::<(), (u32,)>(None, function, ())
            .await
            .expect(function);
        assert_eq!(given, expected, "{function}");
    }
}

#[tokio::test]
async fn te01_lists_without_strings_may_be_longer() {
    let bench = Bench::new();
    let mut guest = started(
        &bench,
        &NUMBERED.replace(
            "(memory (export \"memory\") 1)",
            "(memory (export \"memory\") 100)",
        ),
    )
    .await;
    let long = vec![7; MOST as usize + 1];
    let (given,) = guest
        .call_export::<(Vec<u8>,), (u32,)>(None, "list", (long,))
        .await
        .expect("list");
    assert_eq!(given, 2000);
    let long = "a".repeat(MOST as usize + 1);
    let ended = guest
        .call_export::<(String,), (u32,)>(None, "second", (long,))
        .await
        .expect_err("it is too long");
    assert_eq!(ended.code(), Code::Trapped, "{ended}");
}
