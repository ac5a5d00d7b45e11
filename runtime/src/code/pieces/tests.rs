use wasm_encoder::Function;
use wasmtime::{Engine, Instance, Memory, Store, Trap, TypedFunc, UpdateDeadline};

use super::*;
use crate::code::CodeMemory::WhileUsed;
use crate::engine;
use crate::load::core_module;

/// The most bytes and elements that one operation covers.
const PIECE: u32 = super::long::BYTES.cast_unsigned();
const ROW: u32 = super::long::ELEMENTS.cast_unsigned();

/// Pages of the memory, and its bytes.
const PAGES: u32 = 96;
const BYTES: u32 = PAGES << 16;

/// Elements of each table.
const SLOTS: u32 = 4 * ROW + 9;

/// What the segments hold: one that is longer than two pieces, one that is not, and one that is gone after the start.
const SEGMENT: u32 = 2 * PIECE + 100;
const SHORT: u32 = 100;

/// A module with all three, which do what their arguments say.
fn module() -> Vec<u8> {
    let (long, short) = (pattern(SEGMENT, 7), pattern(SHORT, 9));
    let escaped = |data: &[u8]| {
        data.iter()
            .map(|byte| format!("\\{byte:02x}"))
            .collect::<String>()
    };
    let [long, short] = [long, short].map(|data| escaped(&data));
    wat::parse_str(format!(
        r#"(module
            (import "host" "seen" (func $seen (param i32)))
            (type $three (func (param i32 i32 i32)))
            (memory (export "memory") {PAGES})
            (table $one 1 funcref)
            (elem (i32.const 0) $fill)
            (data $long "{long}")
            (data $short "{short}")
            (data $gone (i32.const 0) "{long}")
            (func $fill (export "fill") (type $three)
                (memory.fill (local.get 0) (local.get 1) (local.get 2)))
            (func (export "copy") (type $three)
                (memory.copy (local.get 0) (local.get 1) (local.get 2)))
            (func (export "init") (type $three)
                (memory.init $long (local.get 0) (local.get 1) (local.get 2)))
            (func (export "short") (type $three)
                (memory.init $short (local.get 0) (local.get 1) (local.get 2)))
            (func (export "gone") (type $three)
                (memory.init $gone (local.get 0) (local.get 1) (local.get 2)))
            (func (export "drop") (type $three) (data.drop $long))
            (func (export "several") (type $three)
                (local $before i32)
                (call $seen (i32.const -4))
                (memory.fill (local.get 0) (i32.const 1) (local.get 2))
                (memory.fill (i32.const 8) (i32.const 2) (i32.const 16))
                (memory.copy (local.get 1) (local.get 0) (local.get 2))
                (call_indirect (type $three) (local.get 0) (i32.const 3) (i32.const 8) (i32.const 0))))"#
    ))
    .expect("a module")
}

/// Bytes of which no two neighbourhoods are alike.
fn pattern(bytes: u32, seed: u32) -> Vec<u8> {
    (0..bytes)
        .map(|at| {
            (at.wrapping_mul(2_654_435_761) >> 13)
                .wrapping_add(seed)
                .to_le_bytes()[0]
        })
        .collect()
}

struct Running {
    store: Store<u32>,
    instance: Instance,
    memory: Memory,
}

impl Running {
    fn start(engine: &Engine, module: &[u8]) -> Self {
        let module = core_module(engine, module);
        let mut store = Store::new(engine, 0);
        // Each look is counted.
        store.epoch_deadline_callback(|mut store| {
            *store.data_mut() += 1;
            Ok(UpdateDeadline::Continue(0))
        });
        let seen = wasmtime::Func::wrap(&mut store, |_: i32| {});
        let instance = Instance::new(&mut store, &module, &[seen.into()]).expect("it starts");
        let memory = instance.get_memory(&mut store, "memory").expect("exported");
        memory
            .data_mut(&mut store)
            .copy_from_slice(&pattern(BYTES, 0));
        Self {
            store,
            instance,
            memory,
        }
    }

    fn call(&mut self, name: &str, arguments: (u32, u32, u32)) -> Result<(), Trap> {
        let function: TypedFunc<(u32, u32, u32), ()> = self
            .instance
            .get_typed_func(&mut self.store, name)
            .expect("exported");
        let called = function.call(&mut self.store, arguments);
        called.map_err(|error| *error.downcast_ref::<Trap>().expect("a trap"))
    }
}

/// What the specification says of these: what is in memory then, or that it traps and nothing is written.
fn expected(
    name: &str,
    memory: &mut [u8],
    (to, from, length): (u32, u32, u32),
) -> Result<(), Trap> {
    let range = |at: u32, within: usize| {
        let (at, length) = (at as usize, length as usize);
        let end = at + length;
        (end <= within)
            .then_some(at..end)
            .ok_or(Trap::MemoryOutOfBounds)
    };
    let to = range(to, memory.len());
    match name {
        "fill" => memory[to?].fill(from.to_le_bytes()[0]),
        "copy" => {
            let from = range(from, memory.len())?;
            memory.copy_within(from, to?.start);
        }
        _ => {
            let data = match name {
                "init" => pattern(SEGMENT, 7),
                "short" => pattern(SHORT, 9),
                _ => Vec::new(),
            };
            let from = range(from, data.len())?;
            memory[to?].copy_from_slice(&data[from]);
        }
    }
    Ok(())
}

fn engine_of_ours() -> Engine {
    engine::build(None, false, None, WhileUsed).expect("ours")
}

#[test]
fn te01_operations_in_pieces_do_what_whole_ones_do() {
    let changed = in_module(&module())
        .expect("readable")
        .expect("it has some");
    let engine = engine_of_ours();
    let mut running = Running::start(&engine, &changed);
    let places = [
        0,
        1,
        PIECE - 1,
        PIECE + 3,
        2 * PIECE,
        BYTES - PIECE,
        BYTES - 1,
        BYTES,
        u32::MAX,
    ];
    let lengths = [
        0,
        1,
        PIECE,
        PIECE + 1,
        2 * PIECE,
        2 * PIECE + 99,
        4 * PIECE + 5,
        BYTES,
        u32::MAX,
    ];
    let mut memory = Vec::new();
    let (mut did, mut trapped) = (0, 0);
    for name in ["fill", "copy", "init", "short", "gone"] {
        for to in places {
            // What was filled or copied may be alike everywhere.
            memory = pattern(BYTES, to);
            let store = &mut running.store;
            running.memory.data_mut(store).copy_from_slice(&memory);
            for from in places {
                for length in lengths {
                    let arguments = (to, from, length);
                    let before = running.store.data().to_owned();
                    let called = running.call(name, arguments);
                    let wanted = expected(name, &mut memory, arguments);
                    assert_eq!(called, wanted, "{name} {arguments:?}");
                    // Comparing takes longest. What trapped early has changed nothing, which the next comparison shows.
                    if called.is_ok() && length > 0 {
                        assert!(
                            running.memory.data(&running.store) == memory,
                            "{name} {arguments:?}"
                        );
                        let looks = running.store.data() - before;
                        assert!(looks >= length / PIECE, "{name} {arguments:?}: {looks}");
                    }
                    match called {
                        Ok(()) => did += 1,
                        Err(_) => trapped += 1,
                    }
                }
            }
            assert!(running.memory.data(&running.store) == memory, "{name} {to}");
        }
    }
    assert!(did > 500 && trapped > 1_000, "{did}, {trapped}");
    // Of what was dropped nothing is copied.
    running.call("drop", (0, 0, 0)).expect("it may");
    assert!(running.call("init", (0, 0, 2 * PIECE)).is_err());
    assert!(running.memory.data(&running.store) == memory);
}

/// How many of a segment's elements there are.
const ITEMS: u32 = 2 * ROW + 100;

/// A module with two tables, and what becomes of them: for each a number that depends on which function is where.
fn tables() -> Vec<u8> {
    let items: String = (0..ITEMS).map(|at| format!(" $f{}", item(at))).collect();
    let sum = |table: &str| {
        format!(
            r#"(func (export "sum {table}") (result i32)
                (local $at i32) (local $sum i32)
                (loop $on
                    (local.set $sum (i32.mul (local.get $sum) (i32.const 31)))
                    (if (i32.eqz (ref.is_null (table.get ${table} (local.get $at))))
                        (then (local.set $sum (i32.add (local.get $sum)
                            (call_indirect ${table} (result i32) (local.get $at))))))
                    (local.set $at (i32.add (local.get $at) (i32.const 1)))
                    (br_if $on (i32.lt_u (local.get $at) (i32.const {SLOTS}))))
                (local.get $sum))"#
        )
    };
    wat::parse_str(format!(
        r#"(module
            (import "host" "seen" (func $seen (param i32)))
            (type $three (func (param i32 i32 i32)))
            (memory (export "memory") {PAGES})
            (table $row {SLOTS} funcref)
            (table $other {SLOTS} funcref)
            (func $f1 (result i32) (i32.const 1))
            (func $f2 (result i32) (i32.const 2))
            (func $f3 (result i32) (i32.const 3))
            (elem $items func {items})
            (func (export "init") (type $three)
                (table.init $row $items (local.get 0) (local.get 1) (local.get 2)))
            (func (export "copy") (type $three)
                (table.copy $row $row (local.get 0) (local.get 1) (local.get 2)))
            (func (export "across") (type $three)
                (table.copy $other $row (local.get 0) (local.get 1) (local.get 2)))
            (func (export "drop") (type $three) (elem.drop $items))
            {} {})"#,
        sum("row"),
        sum("other")
    ))
    .expect("a module")
}

/// Which function is at this place of the segment.
fn item(at: u32) -> u32 {
    u32::from(pattern(at + 1, 5)[at as usize] % 3) + 1
}

#[test]
fn te01_tables_in_pieces_are_what_whole_ones_are() {
    let changed = in_module(&tables())
        .expect("readable")
        .expect("it has some");
    let mut running = Running::start(&engine_of_ours(), &changed);
    let items: Vec<u32> = pattern(ITEMS, 5)
        .iter()
        .map(|byte| u32::from(byte % 3) + 1)
        .collect();
    assert_eq!(items[7], item(7));
    // None is 0.
    let slots = SLOTS as usize;
    let (mut row, mut other) = (vec![0; slots], vec![0; slots]);
    let sum = |table: &[u32]| {
        table.iter().fold(0_u32, |sum, which| {
            sum.wrapping_mul(31).wrapping_add(*which)
        })
    };
    let places = [
        0,
        1,
        ROW - 1,
        ROW + 3,
        2 * ROW,
        SLOTS - ROW,
        SLOTS,
        u32::MAX,
    ];
    let lengths = [0, 1, ROW, ROW + 1, 2 * ROW + 50, SLOTS, u32::MAX];
    let (mut did, mut trapped) = (0, 0);
    for to in places {
        for from in places {
            for length in lengths {
                for name in ["init", "copy", "across"] {
                    let range = |at: u32, within: usize| {
                        let (at, length) = (at as usize, length as usize);
                        (at + length <= within).then_some(at..at + length)
                    };
                    let source = if name == "init" {
                        ITEMS as usize
                    } else {
                        slots
                    };
                    let before = *running.store.data();
                    let called = running.call(name, (to, from, length));
                    let (Some(to), Some(source)) = (range(to, slots), range(from, source)) else {
                        assert_eq!(
                            called,
                            Err(Trap::TableOutOfBounds),
                            "{name} {to} {from} {length}"
                        );
                        trapped += 1;
                        continue;
                    };
                    assert_eq!(called, Ok(()), "{name} {to:?} {source:?}");
                    assert!(*running.store.data() - before >= length / ROW);
                    match name {
                        "init" => row[to].copy_from_slice(&items[source]),
                        "copy" => row.copy_within(source, to.start),
                        _ => other[to].copy_from_slice(&row[source]),
                    }
                    did += 1;
                }
            }
        }
        for (table, expected) in [("sum row", &row), ("sum other", &other)] {
            let sums: TypedFunc<(), u32> = running
                .instance
                .get_typed_func(&mut running.store, table)
                .expect("exported");
            let found = sums.call(&mut running.store, ()).expect("it does not trap");
            assert_eq!(found, sum(expected), "{table} {to}");
        }
    }
    assert!(did > 200 && trapped > 200, "{did}, {trapped}");
    running.call("drop", (0, 0, 0)).expect("it may");
    assert_eq!(
        running.call("init", (0, 0, ROW + 1)),
        Err(Trap::TableOutOfBounds)
    );
}

#[test]
fn te01_much_data_is_laid_out_before_or_refused() {
    let long = "d".repeat((16 << 20) + 1);
    let start = |memory: &str, data: &str| {
        let component = format!(
            r#"(component (core module
                (import "a" "place" (global $place i32)) {memory} {data}))"#
        );
        let component = wat::parse_str(component.replace("LONG", &long)).expect("a component");
        in_pieces(&component).map(|component| component.len())
    };
    let (own, imported) = ("(memory 1024)", r#"(import "a" "m" (memory 1024))"#);
    for (memory, data) in [
        (own, r#"(data (i32.const 0) "LONG")"#),
        // Small, wherever it is put.
        (
            imported,
            r#"(data (i32.const 0) "short") (data (global.get $place) "short")"#,
        ),
        // Nowhere.
        (imported, r#"(data "LONG")"#),
    ] {
        start(memory, data).expect("it is laid out before");
    }
    for (memory, data) in [
        (imported, r#"(data (i32.const 0) "LONG")"#),
        (own, r#"(data (global.get $place) "LONG")"#),
        // One that is not laid out keeps the others from it.
        (
            own,
            r#"(data (i32.const 0) "LONG") (data (global.get $place) "d")"#,
        ),
        // So does one that is far away, or beyond the memory.
        (
            own,
            r#"(data (i32.const 0) "LONG") (data (i32.const 0x3ffffff) "d")"#,
        ),
        (
            own,
            r#"(data (i32.const 0) "LONG") (data (i32.const 0x4000000) "d")"#,
        ),
    ] {
        let refused = start(memory, data);
        assert!(
            matches!(refused, Err(PiecesError::LongData(16_777_217))),
            "{memory} {data}: {refused:?}"
        );
    }
}

#[test]
fn te04_what_tables_are_filled_from_has_a_bound() {
    let with = |elements: u32| {
        let items = "$f ".repeat(elements as usize);
        let text =
            format!("(component (core module (func $f) (elem func {items}) (elem func $f)))");
        in_pieces(&wat::parse_str(text).expect("a component")).map(|_| ())
    };
    assert!(with(MOST_ELEMENTS - 1).is_ok());
    assert!(matches!(
        with(MOST_ELEMENTS),
        Err(PiecesError::ManyElements)
    ));
}

#[test]
fn te01_a_whole_operation_does_not_look_in_between() {
    // What the pieces are for: if this fails, they are not needed any more.
    let engine = engine_of_ours();
    let mut running = Running::start(&engine, &module());
    let mut looks = |length| {
        let before = *running.store.data();
        running.call("fill", (0, 0, length)).expect("in bounds");
        running.store.data() - before
    };
    assert_eq!(looks(5 * PIECE), looks(1));
}

#[test]
fn the_rest_of_a_module_is_as_it_was() {
    let engine = engine_of_ours();
    let changed = in_module(&module())
        .expect("readable")
        .expect("it has some");
    let arguments = (3, 3 * PIECE, PIECE + 50);
    let [before, after] = [module(), changed].map(|module| {
        let mut running = Running::start(&engine, &module);
        running.call("several", arguments).expect("in bounds");
        running.memory.data(&running.store).to_vec()
    });
    assert!(before == after);
    assert_eq!(
        (&before[3..11], &before[11..24]),
        (&[3; 8][..], &[2; 13][..])
    );
}

#[test]
fn what_has_nothing_long_is_left_alone() {
    let component = |body: &str| {
        let module = format!(
            r#"(component
                (core module
                    (memory 1)
                    (data $short "abc")
                    (@custom "producers" "x")
                    (func (param i32 i32 i32) {body}))
                (component (core module (func))))"#
        );
        wat::parse_str(module).expect("a component")
    };
    let left = [
        "",
        // A length that is known, and no more than a piece.
        "(memory.fill (local.get 0) (i32.const 0) (i32.const 1048576))",
        "(memory.copy (local.get 0) (local.get 1) (i32.const 100))",
        // A segment that is no longer.
        "(memory.init $short (local.get 0) (local.get 1) (local.get 2))",
        // Bytes that look like it.
        "(drop (i64.const 0x57c))",
    ];
    for body in left {
        let component = component(body);
        assert!(
            matches!(in_pieces(&component), Ok(Cow::Borrowed(_))),
            "{body}"
        );
    }
    let long = [
        "(memory.fill (local.get 0) (i32.const 0) (i32.const 1048577))",
        "(memory.fill (local.get 0) (i32.const 0) (i32.const -1))",
        // The constant is another operand.
        "(memory.copy (i32.const 1) (i32.const 2) (local.get 2))",
        "(memory.copy (i32.const 1) (i32.const 2) (block (result i32) (i32.const 2)))",
    ];
    for body in long {
        assert!(
            matches!(in_pieces(&component(body)), Ok(Cow::Owned(_))),
            "{body}"
        );
    }
}

#[test]
fn te01_an_operation_is_found_however_it_is_spelled() {
    // The number of `memory.fill` in five bytes, of which four say nothing.
    let spelled = [0xfc, 0x8b, 0x80, 0x80, 0x80, 0x00, 0x00];
    let mut function = Function::new([]);
    function
        .instructions()
        .local_get(0)
        .local_get(1)
        .local_get(2);
    function.raw(spelled);
    function.instructions().end();
    let mut module = wat::parse_str("(module)").expect("a module");
    put(&mut module, TYPES, &[&[1][..], &TYPE].concat());
    put(&mut module, FUNCTIONS, &[1, 0]);
    put(&mut module, 5, &[1, 0, 96]);
    let mut code = vec![1];
    function.encode(&mut code);
    put(&mut module, CODE, &code);
    let changed = in_module(&module).expect("readable").expect("it has one");
    assert!(!changed.windows(spelled.len()).any(|bytes| bytes == spelled));
    core_module(&engine_of_ours(), &changed);
}

#[test]
fn components_in_components_are_changed_and_no_deeper_than_the_bound() {
    let nested = |depth: usize| {
        let module = r#"(core module (memory 1)
            (func (param i32) (memory.fill (i32.const 0) (i32.const 0) (local.get 0))))"#;
        let text = (0..depth).fold(module.to_owned(), |inner, _| {
            format!("(component {inner} (core module))")
        });
        wat::parse_str(format!("(component {text} (core module))")).expect("a component")
    };
    for depth in [0, 1, 5] {
        let component = nested(depth);
        let changed = in_pieces(&component).expect("readable");
        assert!(matches!(changed, Cow::Owned(_)));
        wasmparser::Validator::new()
            .validate_all(&changed)
            .expect("it is sound");
    }
    in_pieces(&nested(DEEPEST)).expect("as deep as they may");
    let deep = nested(DEEPEST + 1);
    assert!(matches!(in_pieces(&deep), Err(PiecesError::TooDeep)));
}

#[test]
fn te01_what_is_cut_or_changed_is_no_panic() {
    let text = r#"(component (core module (memory 1) (data $d "abc")
        (func (export "run") (param i32)
            (memory.init $d (i32.const 0) (i32.const 0) (local.get 0))
            (memory.fill (i32.const 0) (i32.const 0) (local.get 0)))))"#;
    let component = wat::parse_str(text).expect("a component");
    for end in 0..component.len() {
        let _ = in_pieces(&component[..end]);
        for byte in 0..=u8::MAX {
            let mut changed = component.clone();
            changed[end] = byte;
            let _ = in_pieces(&changed);
        }
    }
}

/// Two components inside one, of which one hands `ty` to the other.
fn handing(ty: &str) -> Vec<u8> {
    let text = format!(
        r#"(component
            (component $inner
                (core module $m
                    (memory (export "memory") 1)
                    (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 64))
                    (func (export "take") (param i32 i32)))
                (core instance $i (instantiate $m))
                (type $t {ty})
                (func (param "x" $t)
                    (canon lift (core func $i "take") (memory $i "memory") (realloc (func $i "realloc")))))
            (instance $inner (instantiate $inner)))"#
    );
    wat::parse_str(text).expect("a component")
}

#[test]
fn te01_a_string_is_found_wherever_it_is_in_a_type() {
    let has_guard = |ty: &str| {
        let component = handing(ty);
        let changed = in_pieces(&component).expect("readable");
        wasmparser::Validator::new()
            .validate_all(&changed)
            .expect("it is sound");
        changed != component
    };
    for ty in [
        "string",
        "(list string)",
        "(list (list (tuple u8 string)))",
        r#"(list (record (field "n" u8) (field "name" string)))"#,
        r#"(list (variant (case "none") (case "name" string)))"#,
        "(list (option string))",
        "(list (result string))",
        "(list (result (error string)))",
    ] {
        assert!(has_guard(ty), "{ty}");
    }
    for ty in [
        "(list u8)",
        r#"(list (record (field "n" u8) (field "m" (list char))))"#,
        r#"(list (variant (case "none") (case "some" u64)))"#,
        r#"(list (flags "open" "hot"))"#,
        r#"(list (enum "open" "shut"))"#,
        "(list (result u8 (error u16)))",
        "(list (option (tuple u8 s64)))",
    ] {
        assert!(!has_guard(ty), "{ty}");
    }
    // Types that name each other often are looked at once each.
    let deep: String = (0..12)
        .map(|n| format!("(type $t{} (tuple $t{n} $t{n}))", n + 1))
        .collect();
    let text = format!(
        r#"(component (component
            (core module $m (memory (export "memory") 1)
                (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 64))
                (func (export "take") (param i32 i32)))
            (core instance $i (instantiate $m))
            (type $t0 u8)
            {deep}
            (type $list (list $t12))
            (func (param "x" $list)
                (canon lift (core func $i "take") (memory $i "memory") (realloc (func $i "realloc"))))))"#
    );
    let component = wat::parse_str(text).expect("a component");
    assert!(in_pieces(&component).expect("readable") == component);
}

#[test]
fn te01_a_cut_or_changed_component_in_components_is_no_panic() {
    let component = handing("string");
    for end in 0..component.len() {
        let _ = in_pieces(&component[..end]);
        for bit in 0..8 {
            let mut changed = component.clone();
            changed[end] ^= 1 << bit;
            let _ = in_pieces(&changed);
        }
    }
}
