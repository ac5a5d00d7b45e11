//! What every test here needs: a throw-away PKI, a runtime that trusts it, and components from text.

use countersign_format::{Grants, GuestLimits};
use countersign_runtime::trust_store::{Now, VerifiedComponent};
use countersign_runtime::wasmtime::Store;
use countersign_runtime::wasmtime::component::Linker;
use countersign_runtime::{
    Ceiling, GuestContext, HasGuestContext, LoadError, ReadyGuest, RunError, RunningGuest, Runtime,
};
use countersign_testing::TestPki;

/// A component with one core module, whose export `run` is the component's.
pub(crate) fn core(fields: &str) -> String {
    format!(
        r#"(component
            (core module $m {fields})
            (core instance $i (instantiate $m))
            (func (export "run") (canon lift (core func $i "run"))))"#
    )
}

/// The bytes of a component given as text.
pub(crate) fn binary(wat: &str) -> Vec<u8> {
    wat::parse_str(wat).unwrap_or_else(|error| panic!("{error}"))
}

/// A PKI and a runtime that trusts its root.
pub(crate) struct Bench {
    pub(crate) pki: TestPki,
    pub(crate) runtime: Runtime,
}

impl Bench {
    pub(crate) fn new() -> Self {
        let pki = TestPki::new();
        let runtime = Runtime::builder(pki.anchors())
            .build()
            .expect("our configuration is sound");
        Self { pki, runtime }
    }

    pub(crate) fn now(&self) -> Now {
        self.pki.now()
    }

    /// A signed file of `component` whose statement asks for these grants and limits.
    pub(crate) fn signed(&self, component: &[u8], grants: Grants, limits: GuestLimits) -> Vec<u8> {
        let mut manifest = self.pki.manifest("test:guest");
        manifest.grants = grants;
        manifest.limits = limits;
        self.pki.sign(component, &manifest)
    }

    pub(crate) fn verified_bytes(
        &self,
        component: &[u8],
        grants: Grants,
        limits: GuestLimits,
    ) -> VerifiedComponent {
        let signed = self.signed(component, grants, limits);
        self.runtime
            .verify(signed, &self.now(), &self.pki.state())
            .expect("its own root is trusted")
    }

    pub(crate) fn verified(
        &self,
        wat: &str,
        grants: Grants,
        limits: GuestLimits,
    ) -> VerifiedComponent {
        self.verified_bytes(&binary(wat), grants, limits)
    }

    /// Loads a component that asks for nothing.
    pub(crate) fn load<T: HasGuestContext>(
        &self,
        wat: &str,
        ceiling: &Ceiling,
        linker: &Linker<T>,
    ) -> Result<ReadyGuest<T>, LoadError> {
        let verified = self.verified(wat, Grants::default(), GuestLimits::default());
        self.runtime.load(verified, ceiling, linker)
    }

    pub(crate) async fn start(
        &self,
        ready: ReadyGuest<GuestContext>,
    ) -> Result<RunningGuest<GuestContext>, RunError> {
        let context = ready.context().expect("descriptors can be duplicated");
        let store = Store::new(self.runtime.engine(), context);
        ready.start(store).await
    }
}
