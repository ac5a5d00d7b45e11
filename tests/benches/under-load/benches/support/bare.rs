//! The counterpart of what runs verified components: Wasmtime without us.

use countersign_runtime::wasmtime::Engine;
use countersign_runtime::wasmtime::component::Component;

/// A component as Wasmtime compiles it.
#[expect(clippy::disallowed_methods, reason = "what Wasmtime does without us")]
pub(crate) fn compile(engine: &Engine, bytes: &[u8]) -> Component {
    Component::from_binary(engine, bytes).expect("Wasmtime compiles it")
}
