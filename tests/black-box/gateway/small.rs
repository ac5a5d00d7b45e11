//! Components of a few hundred bytes, from text: one that waits and costs nothing meanwhile, and one that traps.

/// Waits for ever, on the host's clock.
pub(super) fn waits() -> Vec<u8> {
    parsed(
        r#"(component
            (import "wasi:io/poll@0.2.0" (instance $poll
                (export "pollable" (type $pollable (sub resource)))
                (export "[method]pollable.block" (func (param "self" (borrow $pollable))))))
            (alias export $poll "pollable" (type $pollable))
            (import "wasi:clocks/monotonic-clock@0.2.0" (instance $clock
                (alias outer 1 $pollable (type $outer))
                (export "subscribe-duration" (func (param "when" u64) (result (own $outer))))))
            (core func $block (canon lower (func $poll "[method]pollable.block")))
            (core func $subscribe (canon lower (func $clock "subscribe-duration")))
            (core module $m
                (import "host" "block" (func $block (param i32)))
                (import "host" "subscribe" (func $subscribe (param i64) (result i32)))
                (func (export "run") (result i32)
                    (call $block (call $subscribe (i64.const 0x7fffffffffffffff)))
                    (i32.const 0)))
            (core instance $i (instantiate $m (with "host" (instance
                (export "block" (func $block))
                (export "subscribe" (func $subscribe))))))
            (func $run (result (result)) (canon lift (core func $i "run")))
            (instance $exported (export "run" (func $run)))
            (export "wasi:cli/run@0.2.0" (instance $exported)))"#,
    )
}

/// Traps at once.
pub(super) fn traps() -> Vec<u8> {
    parsed(
        r#"(component
            (core module $m (func (export "run") (result i32) unreachable))
            (core instance $i (instantiate $m))
            (func $run (result (result)) (canon lift (core func $i "run")))
            (instance $exported (export "run" (func $run)))
            (export "wasi:cli/run@0.2.0" (instance $exported)))"#,
    )
}

fn parsed(text: &str) -> Vec<u8> {
    wat::parse_str(text).expect("the text is a component")
}
