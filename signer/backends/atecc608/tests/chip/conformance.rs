//! The suite that every store of keys passes.

use countersign_atecc608_emulator::Factory;
use countersign_keys::{Algorithm, Evidence, KeyProvider as _, KeyTemplate};
use countersign_testing::conformance::Conformance;

use crate::bench::{Bench, uri};

#[test]
fn chips_pass_the_suite_of_all_stores() {
    let bench = Bench::new(Factory::provisioned(1));
    let store = bench.provider();
    store
        .generate(&uri(1), &KeyTemplate::attestation(Algorithm::Esp256))
        .expect("an attestation key");
    // Slots 0, 2 and 3 are for signing keys.
    Conformance::new(&store, |number| uri([0, 2, 3][number as usize]))
        .reopened_by(|| Box::new(bench.provider()))
        .evidence_judged_by(|evidence, key, challenge| {
            let Evidence::Atecc608(evidence) = evidence else {
                return Err("another kind".to_owned());
            };
            if evidence.public != *key {
                return Err("another key".to_owned());
            }
            evidence
                .check_signature(challenge)
                .map(drop)
                .map_err(|error| error.to_string())
        })
        .run();
}
