//! Real components, signed, and then every bit of the file flipped and the file cut off at every byte: the verifier is
//! called in this process, so that hundreds of thousands of files take seconds.
//!
//! Nothing may be accepted, nothing may panic, and every refusal has one of a closed set of codes. The tests that are
//! ignored take minutes and are run by `cargo xtask soak tamper`.

#[path = "../shared/components.rs"]
mod components;
mod sweep;
mod victim;

use countersign_trust_store::Code;

use crate::components::{guest, target};
use crate::sweep::{Change, Sweep};
use crate::victim::Victim;

/// What the smallest change of a signed file can look like. A verifier that answers with another code has begun to judge
/// something before it knew that the file is the one that was signed.
const FLIPPED: &[Code] = &[
    Code::AlgorithmForbidden,
    Code::CertificateExtension,
    Code::CertificateMalformed,
    Code::CertificateSerial,
    Code::DigestMismatch,
    Code::FormatVersion,
    Code::KeyInvalid,
    Code::LimitExceeded,
    Code::Malformed,
    Code::Noncanonical,
    Code::NotAComponent,
    Code::Purpose,
    Code::SignatureInvalid,
    Code::SignatureMissing,
    Code::SignaturePosition,
    Code::SignersMismatch,
    Code::TrailingBytes,
    Code::ValidityPeriod,
];

/// What a file looks like that breaks off.
const CUT: &[Code] = &[Code::Malformed, Code::NotAComponent, Code::SignatureMissing];

/// The components that are changed exhaustively, the smallest first; all are below 64 KB.
const COMPONENTS: [&str; 3] = ["endless-loop", "hello", "transform"];

/// Flips of the large component.
const RANDOM_FLIPS: u64 = 100_000;

#[test]
fn ta10_every_bit_of_a_signed_component() {
    every_bit(COMPONENTS[0]);
}

#[test]
fn ta11_every_truncation_of_a_signed_component() {
    for name in COMPONENTS {
        every_truncation(name);
    }
}

#[test]
fn ta32_every_two_sections_exchanged() {
    let victim = Victim::new("transform", guest("transform"));
    let count = victim.sections().len();
    let pairs: Vec<Change> = (0..count)
        .flat_map(|one| (one + 1..count).map(move |other| Change::Exchange(one, other)))
        .collect();
    assert!(pairs.len() > 100, "{} pairs", pairs.len());
    let seen = Sweep::of(&victim).run(pairs.len(), |index| pairs[index]);
    // A section may stand behind the signature, or the component is not the one that was signed.
    seen.are(&[Code::DigestMismatch, Code::SignaturePosition]);
}

#[test]
#[ignore = "takes minutes; run by `cargo xtask soak tamper`"]
fn ta10_every_bit_of_three_signed_components() {
    for name in COMPONENTS {
        every_bit(name);
    }
}

#[test]
#[ignore = "takes minutes; run by `cargo xtask soak tamper`, which makes the component"]
fn ta10_random_bits_of_a_large_signed_component() {
    let path = target().join("soak/resvg/resvg.wasm");
    let component = std::fs::read(&path).unwrap_or_else(|error| {
        panic!(
            "{}: {error}; `cargo xtask soak tamper` makes it",
            path.display()
        )
    });
    let victim = Victim::new("resvg", component);
    let bits = victim.bits();
    let count = usize::try_from(RANDOM_FLIPS).expect("a count");
    let seen = Sweep::of(&victim).run(count, |index| Change::Flip(sweep::random(index, bits)));
    seen.are(FLIPPED);
}

fn every_bit(name: &str) {
    let victim = Victim::new(name, guest(name));
    Sweep::of(&victim)
        .run(victim.bits(), Change::Flip)
        .are(FLIPPED);
}

fn every_truncation(name: &str) {
    let victim = Victim::new(name, guest(name));
    Sweep::of(&victim).run(victim.len(), Change::Cut).are(CUT);
}
