//! What the makers of the plug-ins do: compile a filter, and sign it with a device's key.
//!
//! The filters are written as text, to have no compiler in an example; the PKI is thrown away with the process. A real
//! maker compiles any language to a component and calls `countersign sign`.

use countersign_runtime::trust_store::{Anchors, Now};
use countersign_testing::TestPki;

/// Each pixel brighter by the strength.
pub(crate) const BRIGHTEN: &str = "
    (i32.add (local.get $pixel) (call $strength))
    (i32.const 255)
    (i32.lt_u (i32.add (local.get $pixel) (call $strength)) (i32.const 255))
    (select)";

/// Bright becomes dark.
pub(crate) const INVERT: &str = "(i32.sub (i32.const 255) (local.get $pixel))";

/// Does not come back.
pub(crate) const ENDLESS: &str = "(loop $for-ever (br $for-ever)) (local.get $pixel)";

/// Who makes and signs plug-ins.
pub(crate) struct Maker {
    pki: TestPki,
}

impl Maker {
    pub(crate) fn new() -> Self {
        let pki = TestPki::builder().scope(&["photos:*"]).build();
        Self { pki }
    }

    /// The root under which this maker's device signs, with its revocation lists.
    pub(crate) fn anchors(&self) -> Anchors {
        self.pki.anchors()
    }

    pub(crate) fn now(&self) -> Now {
        self.pki.now()
    }

    /// The signed file of a filter, `photos:NAME` in this version.
    pub(crate) fn sign(&self, name: &str, pixel: &str, version: u64) -> Vec<u8> {
        let mut manifest = self.pki.manifest(&format!("photos:{name}"));
        manifest.security_version = version;
        let component = wat::parse_str(component(pixel)).unwrap_or_else(|error| panic!("{error}"));
        self.pki.sign(&component, &manifest)
    }
}

/// A filter that puts, for each `$pixel`, what the instructions leave in its place.
fn component(pixel: &str) -> String {
    format!(
        r#"(component
    (import "acme:photos/settings@0.1.0" (instance $settings (export "strength" (func (result u8)))))
    (core func $strength (canon lower (func $settings "strength")))
    (core module $filter
        (import "settings" "strength" (func $strength (result i32)))
        (memory (export "memory") 2)
        (func (export "realloc") (param $old i32) (param $from i32) (param $align i32) (param $to i32) (result i32)
            (if (i32.gt_u (local.get $to) (i32.const 65536)) (then (unreachable)))
            (i32.const 65536))
        (func $pixel (param $pixel i32) (result i32) {pixel})
        (func (export "apply") (param $at i32) (param $length i32) (result i32)
            (local $end i32)
            ;; The answer: where the row is, and how long it is.
            (i32.store (i32.const 0) (local.get $at))
            (i32.store (i32.const 4) (local.get $length))
            (local.set $end (i32.add (local.get $at) (local.get $length)))
            (block $done
                (loop $next
                    (br_if $done (i32.eq (local.get $at) (local.get $end)))
                    (i32.store8 (local.get $at) (call $pixel (i32.load8_u (local.get $at))))
                    (local.set $at (i32.add (local.get $at) (i32.const 1)))
                    (br $next)))
            (i32.const 0)))
    (core instance $i (instantiate $filter (with "settings" (instance (export "strength" (func $strength))))))
    (func (export "apply") (param "pixels" (list u8)) (result (list u8))
        (canon lift (core func $i "apply") (memory $i "memory") (realloc (func $i "realloc")))))"#
    )
}
