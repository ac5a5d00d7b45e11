//! What compiled code belongs to: a component, a build of this program, its settings, a processor, and the roots of a host.
//!
//! Code that was made for another of any of these is as good as changed code: its seal is not that of what is expected.

use countersign_format::Digest;
use countersign_trust_store::Anchors;
use wasmtime::Engine;

/// Names this build: its version, Wasmtime's, digests of the lock file and of this package's sources, the compiler that built it.
///
/// Two builds of the same sources by the same compiler have the same name, with a compiler for components or without.
#[must_use]
pub const fn build_id() -> &'static str {
    env!("COUNTERSIGN_RUNTIME_BUILD")
}

/// The machine that this build is for, as Rust names it.
pub(crate) const fn target() -> &'static str {
    env!("COUNTERSIGN_RUNTIME_TARGET")
}

/// A digest of all roots of a host, with what each is trusted for.
pub(crate) struct Roots([u8; 32]);

impl Roots {
    pub(crate) fn of(anchors: &Anchors) -> Self {
        let mut hasher = blake3::Hasher::new();
        let mut roots: Vec<_> = anchors
            .iter()
            .map(|anchor| (anchor.purpose(), anchor.spki_sha256()))
            .collect();
        roots.sort_unstable();
        for (purpose, key) in roots {
            field(&mut hasher, purpose.as_str().as_bytes());
            field(&mut hasher, key.as_bytes());
        }
        Self(*hasher.finalize().as_bytes())
    }
}

/// What a piece of code must have been compiled for, as one value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Binding([u8; 32]);

impl Binding {
    pub(crate) fn new(engine: &Engine, component: Digest, roots: &Roots) -> Self {
        Self::of(&[
            component.as_bytes(),
            build_id().as_bytes(),
            target().as_bytes(),
            &settings(engine),
            &roots.0,
        ])
    }

    pub(super) fn of(parts: &[&[u8]]) -> Self {
        let mut hasher = blake3::Hasher::new();
        for part in parts {
            field(&mut hasher, part);
        }
        Self(*hasher.finalize().as_bytes())
    }

    pub(super) const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// Each field with its length before it, so that no two lists of fields are the same bytes.
fn field(hasher: &mut blake3::Hasher, bytes: &[u8]) {
    hasher.update(&u64::try_from(bytes.len()).unwrap_or(u64::MAX).to_le_bytes());
    hasher.update(bytes);
}

/// A digest of what Wasmtime compiles by: the target, the features of this processor, proposals, memory layout,
/// interruption, and this build's name.
#[cfg(feature = "compiler")]
fn settings(engine: &Engine) -> [u8; 32] {
    use std::hash::{Hash as _, Hasher};

    /// Takes what is hashed, all of it, where the standard library's hashers keep 64 bits.
    struct Wide(blake3::Hasher);

    impl Hasher for Wide {
        fn write(&mut self, bytes: &[u8]) {
            self.0.update(bytes);
        }

        fn finish(&self) -> u64 {
            let [a, b, c, d, e, f, g, h, ..] = *self.0.finalize().as_bytes();
            u64::from_le_bytes([a, b, c, d, e, f, g, h])
        }
    }

    let mut wide = Wide(blake3::Hasher::new());
    engine.precompile_compatibility_hash().hash(&mut wide);
    *wide.0.finalize().as_bytes()
}

/// A build that compiles nothing has nothing to keep.
#[cfg(not(feature = "compiler"))]
fn settings(_engine: &Engine) -> [u8; 32] {
    [0; 32]
}

#[cfg(test)]
mod tests {
    use wasmtime::Config;

    use super::*;
    use crate::code::CodeMemory::WhileUsed;
    use crate::engine;

    #[test]
    fn te15_code_belongs_to_its_component_settings_and_roots() {
        let roots = Roots([1; 32]);
        let engine = engine::build(None, false, None, WhileUsed).unwrap();
        let ours = Binding::new(&engine, Digest::of(b"one"), &roots);
        assert_eq!(ours, Binding::new(&engine, Digest::of(b"one"), &roots));
        let again = engine::build(None, false, None, WhileUsed).unwrap();
        assert_eq!(ours, Binding::new(&again, Digest::of(b"one"), &roots));
        assert_ne!(ours, Binding::new(&engine, Digest::of(b"two"), &roots));
        assert_ne!(
            ours,
            Binding::new(&engine, Digest::of(b"one"), &Roots([2; 32]))
        );
        for change in [
            |config: &mut Config| {
                config.memory_reservation(32 << 20);
            },
            |config: &mut Config| {
                config.cranelift_nan_canonicalization(true);
            },
            |config: &mut Config| {
                config.target("pulley64").unwrap();
            },
        ] {
            let mut config = engine::config();
            change(&mut config);
            let other = engine::build(Some(config), false, None, WhileUsed).unwrap();
            assert_ne!(ours, Binding::new(&other, Digest::of(b"one"), &roots));
        }
    }

    #[test]
    fn fields_do_not_run_into_each_other() {
        assert_ne!(Binding::of(&[b"ab", b"c"]), Binding::of(&[b"a", b"bc"]));
    }

    #[test]
    fn this_build_names_wasmtime_by_its_whole_version() {
        let id = build_id();
        assert!(id.contains("wasmtime 48.0.8; libraries "), "{id}");
        assert!(!id.contains("unknown") && id.len() <= 255, "{id}");
    }
}
