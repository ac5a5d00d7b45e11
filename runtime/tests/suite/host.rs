//! Functions of the host's own: their deadline, their panics, their errors, and what they are handed.

use std::time::{Duration, Instant};

use crate::support::{Bench, core};
use countersign_runtime::trust_store::Code;
use countersign_runtime::wasmtime::component::{Linker, TypedFunc};
use countersign_runtime::wasmtime::{self, Store};
use countersign_runtime::{Ceiling, GuestContext, HasGuestContext, LimitKind, Limits, RunError};

/// Calls the host's `act` from its `run`.
const ACTOR: &str = r#"(component
    (import "act" (func $act))
    (core func $act (canon lower (func $act)))
    (core module $m (import "h" "act" (func $act)) (func (export "run") (call $act)))
    (core instance $i (instantiate $m (with "h" (instance (export "act" (func $act))))))
    (func (export "run") (canon lift (core func $i "run"))))"#;

fn ceiling(change: impl FnOnce(&mut Limits)) -> Ceiling {
    let mut limits = Limits::default();
    change(&mut limits);
    Ceiling::new().interface("act").limits(limits)
}

async fn run(
    ceiling: Ceiling,
    define: impl FnOnce(&mut Linker<GuestContext>),
) -> Result<(), RunError> {
    let bench = Bench::new();
    let mut linker = Linker::new(bench.runtime.engine());
    define(&mut linker);
    let ready = bench.load(ACTOR, &ceiling, &linker).expect("it loads");
    let mut guest = bench.start(ready).await.expect("it starts");
    let ended = guest.call_export::<(), ()>(None, "run", ()).await;
    assert_eq!(guest.is_stopped(), ended.is_err());
    ended
}

#[tokio::test]
async fn te33_a_host_call_that_waits_has_the_guests_deadline() {
    let started = Instant::now();
    let ended = run(
        ceiling(|limits| limits.run = Duration::from_millis(100)),
        |linker| {
            linker
                .root()
                .func_wrap_async("act", |_, (): ()| {
                    Box::new(async { std::future::pending::<wasmtime::Result<()>>().await })
                })
                .unwrap();
        },
    )
    .await
    .unwrap_err();
    assert_eq!(ended.code(), Code::LimitTime, "{ended}");
    // Less than it has where nobody says.
    assert!(
        started.elapsed() < Duration::from_secs(25),
        "{:?}",
        started.elapsed()
    );
}

#[tokio::test]
async fn waiting_costs_no_processor_time() {
    let limits = ceiling(|limits| limits.cpu = Duration::from_millis(150));
    run(limits, |linker| {
        linker
            .root()
            .func_wrap_async("act", |_, (): ()| {
                Box::new(async {
                    tokio::time::sleep(Duration::from_millis(400)).await;
                    Ok(())
                })
            })
            .unwrap();
    })
    .await
    .expect("it slept");
}

#[tokio::test]
async fn te34_a_host_function_that_panics_ends_its_guest_only() {
    let ended = run(ceiling(|_| {}), |linker| {
        linker
            .root()
            .func_wrap("act", |_, (): ()| -> wasmtime::Result<()> {
                panic!("no valve {}", 7)
            })
            .unwrap();
    })
    .await
    .unwrap_err();
    assert_eq!(ended.code(), Code::HostFailure);
    assert!(
        matches!(&ended, RunError::HostPanicked { message } if message == "no valve 7"),
        "{ended:?}"
    );

    run(ceiling(|_| {}), |linker| {
        linker.root().func_wrap("act", |_, (): ()| Ok(())).unwrap();
    })
    .await
    .expect("the next guest runs");
}

#[derive(Debug, thiserror::Error)]
#[error("the valve is stuck")]
struct Stuck;

#[tokio::test]
async fn an_error_of_the_hosts_own_is_found_again_by_type() {
    let ended = run(ceiling(|_| {}), |linker| {
        linker
            .root()
            .func_wrap("act", |_, (): ()| -> wasmtime::Result<()> {
                Err(Stuck.into())
            })
            .unwrap();
    })
    .await
    .unwrap_err();
    let RunError::Trapped { reason, cause, .. } = ended else {
        panic!("{ended:?}")
    };
    assert_eq!(reason, "the valve is stuck");
    assert!(cause.downcast_ref::<Stuck>().is_some());
}

#[tokio::test]
async fn te07_what_a_host_call_carries_has_a_limit() {
    let wat = r#"(component
        (import "act" (func $act (param "message" (list u8))))
        (core module $libc (memory (export "memory") 512))
        (core instance $libc (instantiate $libc))
        (core func $act (canon lower (func $act) (memory $libc "memory")))
        (core module $m (import "h" "act" (func $act (param i32 i32)))
            (func (export "run") (param i32) (call $act (i32.const 0) (local.get 0))))
        (core instance $i (instantiate $m (with "h" (instance (export "act" (func $act))))))
        (func (export "run") (param "length" u32) (canon lift (core func $i "run"))))"#;
    let bench = Bench::new();
    let mut linker = Linker::<GuestContext>::new(bench.runtime.engine());
    linker
        .root()
        .func_wrap("act", |_, (_message,): (Vec<u8>,)| Ok(()))
        .unwrap();
    let most = u32::try_from(Limits::default().hostcall_bytes).expect("not more");
    let ceiling = ceiling(|_| ());
    let ready = bench.load(wat, &ceiling, &linker).expect("it loads");

    let mut guest = bench.start(ready.clone()).await.expect("it starts");
    guest
        .call_export::<(u32,), ()>(None, "run", (most,))
        .await
        .expect("so much is allowed");
    let ended = guest
        .call_export::<(u32,), ()>(None, "run", (most + 1,))
        .await
        .unwrap_err();
    assert!(
        matches!(
            ended,
            RunError::Limit {
                kind: LimitKind::HostcallBytes,
                ..
            }
        ),
        "{ended:?}"
    );

    // Pointer and length that reach beyond the guest's memory.
    let mut guest = bench.start(ready).await.expect("it starts");
    let ended = guest
        .call_export::<(u32,), ()>(None, "run", (u32::MAX,))
        .await
        .unwrap_err();
    assert!(
        matches!(ended.code(), Code::Trapped | Code::LimitOutput),
        "{ended:?}"
    );
}

struct Plant {
    guest: GuestContext,
    opened: u32,
}

impl HasGuestContext for Plant {
    fn guest_context(&mut self) -> &mut GuestContext {
        &mut self.guest
    }
}

#[tokio::test]
async fn a_host_keeps_its_own_state_in_the_store() {
    let bench = Bench::new();
    let mut linker = Linker::<Plant>::new(bench.runtime.engine());
    linker
        .root()
        .func_wrap(
            "act",
            |mut store: wasmtime::StoreContextMut<'_, Plant>, (): ()| {
                store.data_mut().opened += 1;
                Ok(())
            },
        )
        .unwrap();
    let ready = bench
        .load(ACTOR, &ceiling(|_| {}), &linker)
        .expect("it loads");
    let guest = ready.context().unwrap();
    let store = Store::new(bench.runtime.engine(), Plant { guest, opened: 0 });
    let mut running = ready.start(store).await.expect("it starts");
    for _ in 0..3 {
        running
            .call_export::<(), ()>(None, "run", ())
            .await
            .expect("it runs");
    }
    assert_eq!(running.data_mut().unwrap().opened, 3);
}

#[tokio::test]
async fn a_context_of_another_component_is_refused() {
    let bench = Bench::new();
    let linker = Linker::<GuestContext>::new(bench.runtime.engine());
    let load = || {
        bench
            .load(&core("(func (export \"run\"))"), &Ceiling::new(), &linker)
            .expect("it loads")
    };
    let (one, other) = (load(), load());
    let store = Store::new(bench.runtime.engine(), one.context().unwrap());
    let error = other.start(store).await.unwrap_err();
    assert!(matches!(error, RunError::WrongContext), "{error:?}");
    let foreign = Store::new(&wasmtime::Engine::default(), one.context().unwrap());
    let error = one.start(foreign).await.unwrap_err();
    assert!(matches!(error, RunError::WrongContext), "{error:?}");
}

/// A host whose function calls the guest again, some times and not for ever: each call has a stack of its own, and
/// Wasmtime sets no limit to how many there are.
struct Circle {
    guest: GuestContext,
    run: Option<TypedFunc<(), ()>>,
    depth: u32,
}

/// How deep the host lets itself be called.
const DEPTH: u32 = 100;

impl HasGuestContext for Circle {
    fn guest_context(&mut self) -> &mut GuestContext {
        &mut self.guest
    }
}

#[tokio::test]
async fn te02_a_guest_that_is_called_in_a_circle_ends_where_the_host_says_so() {
    let bench = Bench::new();
    let mut linker = Linker::<Circle>::new(bench.runtime.engine());
    linker
        .root()
        .func_wrap_async(
            "act",
            |mut store: wasmtime::StoreContextMut<'_, Circle>, (): ()| {
                Box::new(async move {
                    let run = store.data().run.expect("it was called");
                    store.data_mut().depth += 1;
                    if store.data().depth > DEPTH {
                        return Err(wasmtime::Error::msg("called in a circle"));
                    }
                    run.call_async(&mut store, ()).await
                })
            },
        )
        .unwrap();
    let ready = bench
        .load(ACTOR, &ceiling(|_| {}), &linker)
        .expect("it loads");
    for _ in 0..2 {
        let guest = ready.context().unwrap();
        let store = Store::new(
            bench.runtime.engine(),
            Circle {
                guest,
                run: None,
                depth: 0,
            },
        );
        let mut running = ready.clone().start(store).await.expect("it starts");
        let ended = running
            .call(|mut store, instance| {
                Box::pin(async move {
                    let run = instance.get_typed_func::<(), ()>(&mut store, "run")?;
                    store.data_mut().run = Some(run);
                    run.call_async(store, ()).await
                })
            })
            .await
            .unwrap_err();
        assert_eq!(ended.code(), Code::Trapped, "{ended}");
        assert!(running.is_stopped());
    }
}

#[tokio::test]
async fn guests_can_run_on_other_threads() {
    fn is_send<T: Send>(value: T) -> T {
        value
    }
    let bench = Bench::new();
    let linker = Linker::<GuestContext>::new(bench.runtime.engine());
    let ready = bench
        .load(&core("(func (export \"run\"))"), &Ceiling::new(), &linker)
        .expect("it loads");
    let store = Store::new(bench.runtime.engine(), ready.context().unwrap());
    let mut guest = is_send(ready.start(store)).await.expect("it starts");
    is_send(guest.call_export::<(), ()>(None, "run", ()))
        .await
        .expect("it runs");
}
