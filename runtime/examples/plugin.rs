//! A plug-in with a host function of the host's own: `cargo run -p countersign-runtime --example plugin`.
//!
//! The interface is in `plugin.wit`; `bindgen!` makes typed bindings of it on the host's side. Three things let the
//! plug-in call the host: the linker defines the interface, the ceiling names it, and the plug-in's signature leads to a
//! root of this host.

use std::error::Error;
use std::time::Duration;

use countersign_runtime::wasmtime::Store;
use countersign_runtime::wasmtime::component::{HasSelf, Linker};
use countersign_runtime::{Ceiling, GuestContext, HasGuestContext, Limits, Runtime};
use countersign_testing::TestPki;

mod bindings {
    #![allow(
        missing_docs,
        unreachable_pub,
        unnameable_types,
        reason = "generated from the WIT file"
    )]
    countersign_runtime::wasmtime::component::bindgen!({
        path: "examples/plugin.wit",
        wasmtime_crate: countersign_runtime::wasmtime,
        exports: { default: async },
    });
}

use bindings::Regulator;
use bindings::acme::plant::valves;

/// The store's data: the guest's part, and the host's own.
struct Plant {
    guest: GuestContext,
    main_valve: u8,
}

impl HasGuestContext for Plant {
    fn guest_context(&mut self) -> &mut GuestContext {
        &mut self.guest
    }
}

impl valves::Host for Plant {
    fn open(&mut self, valve: String, percent: u8) -> u8 {
        self.main_valve = self.main_valve.saturating_add(percent).min(100);
        println!("host: valve {valve:?} is now open by {} %", self.main_valve);
        self.main_valve
    }
}

/// Opens the valve "main" by 10 % where it is warmer than 60 °C.
const REGULATOR: &str = r#"(component
    (import "acme:plant/valves@0.1.0" (instance $valves
        (export "open" (func (param "valve" string) (param "percent" u8) (result u8)))))
    (core module $memory (memory (export "memory") 1) (data (i32.const 0) "main"))
    (core instance $memory (instantiate $memory))
    (core func $open (canon lower (func $valves "open") (memory $memory "memory")))
    (core module $m
        (import "valves" "open" (func $open (param i32 i32 i32) (result i32)))
        (func (export "regulate") (param $temperature i32) (result i32)
            (call $open (i32.const 0) (i32.const 4)
                (select (i32.const 10) (i32.const 0) (i32.gt_s (local.get $temperature) (i32.const 60))))))
    (core instance $i (instantiate $m (with "valves" (instance (export "open" (func $open))))))
    (func (export "regulate") (param "temperature" s32) (result u8) (canon lift (core func $i "regulate"))))"#;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let pki = TestPki::new();
    let signed = pki.sign(&wat::parse_str(REGULATOR)?, &pki.manifest("test:regulator"));

    let runtime = Runtime::builder(pki.anchors()).build()?;
    let verified = runtime.verify(signed, &pki.now(), &pki.state())?;

    // Lent to plug-ins, and only to those that are loaded under a ceiling that names it.
    let mut linker = Linker::<Plant>::new(runtime.engine());
    valves::add_to_linker::<Plant, HasSelf<Plant>>(&mut linker, |plant| plant)?;
    let mut limits = Limits::default();
    limits.run = Duration::from_millis(100);
    let ceiling = Ceiling::new().interface("acme:plant/valves").limits(limits);

    let ready = runtime.load(verified, &ceiling, &linker)?;
    let guest = ready.context()?;
    let plant = Plant {
        guest,
        main_valve: 0,
    };
    let mut running = ready.start(Store::new(runtime.engine(), plant)).await?;
    for temperature in [55, 70, 80] {
        let open = running
            .call(move |mut store, instance| {
                Box::pin(async move {
                    let regulator = Regulator::new(&mut store, &instance)?;
                    regulator.call_regulate(store, temperature).await
                })
            })
            .await?;
        println!("host: at {temperature} °C the plug-in leaves the valve at {open} %");
    }
    Ok(())
}
