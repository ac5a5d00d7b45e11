//! Which imports a component may have: what it asked for, what the operator allows, and what the host offers.

use crate::support::Bench;
use countersign_format::Grants;
use countersign_runtime::http::HttpLimits;
use countersign_runtime::trust_store::Code;
use countersign_runtime::wasmtime::Engine;
use countersign_runtime::wasmtime::component::Linker;
use countersign_runtime::{Ceiling, GuestContext, ImportKind, LoadError, ReadyGuest};

fn load(
    wat: &str,
    grants: Grants,
    ceiling: &Ceiling,
) -> Result<ReadyGuest<GuestContext>, LoadError> {
    load_with(wat, grants, ceiling, |_| {})
}

fn load_with(
    wat: &str,
    grants: Grants,
    ceiling: &Ceiling,
    define: impl FnOnce(&mut Linker<GuestContext>),
) -> Result<ReadyGuest<GuestContext>, LoadError> {
    let bench = Bench::new();
    let mut linker = Linker::new(bench.runtime.engine());
    define(&mut linker);
    let verified = bench.verified(wat, grants, Default::default());
    bench.runtime.load(verified, ceiling, &linker)
}

#[track_caller]
fn denied(loaded: Result<ReadyGuest<GuestContext>, LoadError>, expected: &str) {
    match loaded {
        Err(error @ LoadError::ImportDenied { .. }) => {
            assert_eq!(error.code(), Code::ImportDenied);
            assert!(error.to_string().contains(expected), "{error}");
        }
        other => panic!("{other:?}"),
    }
}

const VALVES: &str =
    r#"(component (import "acme:plant/valves@1.2.0" (instance (export "open" (func)))))"#;

fn valves(linker: &mut Linker<GuestContext>) {
    linker
        .instance("acme:plant/valves@1.2.0")
        .unwrap()
        .func_wrap("open", |_, (): ()| Ok(()))
        .unwrap();
}

#[test]
fn te17_an_import_that_nobody_allowed_is_named() {
    denied(
        load(VALVES, Grants::default(), &Ceiling::new()),
        "acme:plant/valves@1.2.0",
    );
    let function = r#"(component (import "log" (func (param "text" string))))"#;
    denied(
        load(function, Grants::default(), &Ceiling::new()),
        "the function log",
    );
}

#[test]
fn te17_what_the_linker_defines_is_not_yet_allowed() {
    denied(
        load_with(VALVES, Grants::default(), &Ceiling::new(), valves),
        "acme:plant/valves",
    );
}

#[test]
fn te17_what_the_ceiling_allows_must_exist() {
    let ceiling = Ceiling::new().interface("acme:plant/valves");
    let error = load(VALVES, Grants::default(), &ceiling).unwrap_err();
    assert!(
        matches!(error, LoadError::ImportMissing { .. }),
        "{error:?}"
    );
    assert_eq!(error.code(), Code::ImportDenied);
    assert!(
        error.to_string().contains("acme:plant/valves@1.2.0"),
        "{error}"
    );
}

#[test]
fn an_interface_of_the_hosts_own() {
    for name in ["acme:plant/valves", "acme:plant/valves@1.2.0"] {
        let ceiling = Ceiling::new().interface(name);
        load_with(VALVES, Grants::default(), &ceiling, valves).expect(name);
    }
}

#[test]
fn te17_neither_wildcards_nor_other_versions_are_understood() {
    for name in [
        "acme:plant/*",
        "acme:*",
        "*",
        "",
        "acme:plant",
        "acme:plant/valves@1.2.1",
        "acme:plant/valves@1",
    ] {
        let ceiling = Ceiling::new().interface(name);
        denied(
            load_with(VALVES, Grants::default(), &ceiling, valves),
            "acme:plant/valves",
        );
    }
}

#[test]
fn te17_the_type_must_be_the_hosts() {
    let ceiling = Ceiling::new().interface("acme:plant/valves");
    let wat = r#"(component (import "acme:plant/valves@1.2.0" (instance (export "open" (func (param "all" bool))))))"#;
    let error = load_with(wat, Grants::default(), &ceiling, valves).unwrap_err();
    assert!(
        matches!(error, LoadError::ImportMissing { .. }),
        "{error:?}"
    );
}

const SOCKETS: &str = r#"(component
    (import "wasi:sockets/network@0.2.0" (instance (export "network" (type (sub resource))))))"#;

fn sockets(peers: &[&str]) -> Grants {
    let peers = peers.iter().map(ToString::to_string).collect();
    Grants {
        sockets: Some(peers),
        ..Grants::default()
    }
}

#[test]
fn te17_sockets_need_both_sides() {
    denied(load(SOCKETS, Grants::default(), &Ceiling::new()), "sockets");
    denied(load(SOCKETS, sockets(&[]), &Ceiling::new()), "sockets");
    denied(
        load(SOCKETS, Grants::default(), &Ceiling::new().sockets([""; 0])),
        "sockets",
    );
    load(SOCKETS, sockets(&[]), &Ceiling::new().sockets([""; 0]))
        .expect("both agree on the empty grant");
}

#[test]
fn te17_wasi_is_not_opened_by_naming_its_interface() {
    // The ceiling's interfaces are the host's own; grants cannot be gone around with them.
    let ceiling = Ceiling::new().interface("wasi:sockets/network");
    denied(load(SOCKETS, Grants::default(), &ceiling), "sockets");
}

#[test]
fn te17_other_versions_of_wasi_are_not_here() {
    for version in ["0.3.0", "0.2.0-rc-2023-11-10", "1.0.0"] {
        let wat = format!(
            r#"(component (import "wasi:cli/exit@{version}" (instance (export "exit" (func)))))"#
        );
        denied(load(&wat, Grants::default(), &Ceiling::new()), "WASI 0.2");
    }
}

#[test]
fn te17_http_needs_the_grant_of_both_sides() {
    let wat = r#"(component
        (import "wasi:http/types@0.2.0" (instance (export "outgoing-request" (type (sub resource))))))"#;
    let grants = Grants {
        http_outgoing: Some(Vec::new()),
        ..Grants::default()
    };
    denied(
        load(
            wat,
            Grants::default(),
            &Ceiling::new().http_outgoing(["example.com"]),
        ),
        "http-outgoing",
    );
    denied(load(wat, grants.clone(), &Ceiling::new()), "http-outgoing");
    load(wat, grants, &Ceiling::new().http_outgoing([""; 0])).expect("both agree");

    // Serving brings the types, and nobody to send to.
    let serves = Grants {
        http_incoming: true,
        ..Grants::default()
    };
    let ceiling = Ceiling::new().http_incoming();
    denied(load(wat, Grants::default(), &ceiling), "http-incoming");
    let ready = load(wat, serves.clone(), &ceiling).expect("both agree");
    let error = ready.http_handler(HttpLimits::default()).unwrap_err();
    assert!(
        matches!(error, LoadError::ExportMissing { .. }),
        "{error:?}"
    );
    let sends = r#"(component (import "wasi:http/outgoing-handler@0.2.0" (instance
        (export "none" (func)))))"#;
    denied(load(sends, serves, &ceiling), "http-outgoing");
    let silent = load("(component)", Grants::default(), &ceiling).expect("nothing is asked");
    let error = silent.http_handler(HttpLimits::default()).unwrap_err();
    assert!(matches!(error, LoadError::HttpDenied), "{error:?}");
}

#[test]
fn te17_code_from_outside_the_signed_file() {
    // Naming it in the ceiling does not help, and so what a linker's `module` defines is never reached.
    let ceiling = Ceiling::new()
        .interface("plug")
        .interface("acme:plant/valves");

    let bare = r#"(component (import "plug" (core module)))"#;
    denied(
        load(bare, Grants::default(), &ceiling),
        "the core module plug",
    );

    let hidden = r#"(component (import "acme:plant/valves" (instance
        (export "open" (func)) (export "plug" (core module)))))"#;
    denied(load(hidden, Grants::default(), &ceiling), "core module");

    let nested = r#"(component (import "acme:plant/valves" (instance
        (export "inner" (instance (export "plug" (core module)))))))"#;
    denied(load(nested, Grants::default(), &ceiling), "core module");

    let component = r#"(component (import "plug" (component)))"#;
    denied(
        load(component, Grants::default(), &ceiling),
        "the component plug",
    );
}

#[test]
fn te17_types_alone_are_no_authority() {
    let wat = r#"(component
        (import "acme:plant/shapes@0.1.0" (instance
            (type $r (record (field "x" u32)))
            (export "point" (type (eq $r))))))"#;
    load(wat, Grants::default(), &Ceiling::new()).expect("there is nothing to call");
}

#[test]
fn te17_a_resource_known_from_elsewhere_is_no_new_authority() {
    let wat = r#"(component
        (import "wasi:io/streams@0.2.0" (instance $s (export "output-stream" (type (sub resource)))))
        (alias export $s "output-stream" (type $stream))
        (import "acme:plant/shapes@0.1.0" (instance
            (alias outer 1 $stream (type $t))
            (export "output-stream" (type (eq $t))))))"#;
    load(wat, Grants::default(), &Ceiling::new()).expect("the stream is the one of wasi:io");
    let own = r#"(component
        (import "acme:plant/shapes@0.1.0" (instance (export "valve" (type (sub resource))))))"#;
    denied(
        load(own, Grants::default(), &Ceiling::new()),
        "acme:plant/shapes",
    );
}

#[test]
fn te17_an_import_inside_a_nested_component_is_its_parents_matter() {
    let wat = r#"(component
        (component $child (import "wasi:sockets/network@0.2.0" (instance))))"#;
    load(wat, Grants::default(), &Ceiling::new()).expect("nothing is imported from the host");
}

#[test]
fn a_linker_of_another_engine_is_refused() {
    let bench = Bench::new();
    let verified = bench.verified("(component)", Grants::default(), Default::default());
    let linker = Linker::<GuestContext>::new(&Engine::default());
    let error = bench
        .runtime
        .load(verified, &Ceiling::new(), &linker)
        .unwrap_err();
    assert!(matches!(error, LoadError::LinkerEngine), "{error:?}");
}

#[test]
fn a_linker_that_brings_its_own_wasi_is_refused() {
    let loaded = load_with(
        "(component)",
        Grants::default(),
        &Ceiling::new(),
        |linker| {
            let mut environment = linker.instance("wasi:cli/environment@0.2.12").unwrap();
            environment
                .func_wrap("get-arguments", |_, (): ()| Ok((vec!["host".to_owned()],)))
                .unwrap();
        },
    );
    assert!(
        matches!(loaded, Err(LoadError::LinkerConflict { .. })),
        "{loaded:?}"
    );
}

#[test]
fn kinds_have_names() {
    assert_eq!(ImportKind::Module.to_string(), "core module");
}
