//! A revocation list of a million entries. A program of its own, so that its memory can be measured.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "a test may stop by panicking"
)]

use std::fs;
use std::time::{Duration, Instant};

use countersign_testing::{CertificateParts, CrlParts, EMPTY_COMPONENT, TestPki};
use countersign_trust_store::{
    AnchorSource, Anchors, Code, MAX_CRL_BYTES, Policy, Rejection, TrustState, UnverifiedComponent,
};
use der::asn1::{Any, BitString};
use der::{Decode, Encode, Reader, SliceReader, Tag};

const ENTRIES: u32 = 1_000_000;

#[test]
fn td16_a_list_of_a_million_entries() {
    let pki = TestPki::new();
    let list = large(&pki, None);
    assert!(list.len() > 35_000_000 && list.len() <= MAX_CRL_BYTES);

    let before = memory("VmRSS");
    forget_peak();
    let started = Instant::now();
    let mut state = TrustState::stateless();
    state.add_crl(&pki.crls()[0]).unwrap();
    state.add_crl(&list).unwrap();
    let loaded = started.elapsed();
    // The first use checks its signature and makes its index.
    verdict(&pki, &state).unwrap();
    let first = started.elapsed();
    let grown = memory("VmHWM") - before;
    let found = Instant::now();
    verdict(&pki, &state).unwrap();
    let found = found.elapsed();
    println!(
        "{} bytes: loaded in {loaded:?}, first used after {first:?}, used again in {found:?}, {grown} bytes of memory",
        list.len()
    );
    // Bounds for a busy machine and for code that is hardly optimised; what has no bound misses them by far.
    assert!(first < Duration::from_secs(60), "{first:?}");
    assert!(found < Duration::from_secs(2), "{found:?}");
    assert!(grown < 2 * list.len(), "{grown}");

    // The one entry that matters, among the others.
    let mut state = TrustState::stateless();
    state.add_crl(&pki.crls()[0]).unwrap();
    state.add_crl(&large(&pki, Some(&pki.chain()[0]))).unwrap();
    assert_eq!(verdict(&pki, &state).unwrap_err().code(), Code::Revoked);
}

/// The verdict on a component of this PKI's device by a host whose lists are in `state`.
fn verdict(pki: &TestPki, state: &TrustState) -> Result<(), Rejection> {
    let manifest = pki.manifest("test:guest");
    let signed = pki.forge(EMPTY_COMPONENT, pki.statement(EMPTY_COMPONENT, &manifest));
    Anchors::new(vec![AnchorSource::new(pki.root().to_vec())])
        .unwrap()
        .verify(
            UnverifiedComponent::parse(signed)?,
            &Policy::default(),
            &pki.now(),
            state,
        )
        .map(drop)
}

/// The intermediate's list with a million entries, in the middle of which stands this certificate.
fn large(pki: &TestPki, revoked: Option<&Vec<u8>>) -> Vec<u8> {
    let mut entries = Vec::new();
    let mut push = |serial: &[u8]| {
        let length = u8::try_from(serial.len()).unwrap();
        entries.extend([0x30, length + 17, 0x02, length]);
        entries.extend(serial);
        entries.extend(b"\x17\x0d200101000000Z");
    };
    for number in 0..ENTRIES {
        if let (true, Some(certificate)) = (number == ENTRIES / 2, revoked) {
            push(CertificateParts::of(certificate).serial_number.value());
        }
        // Sixteen octets, as ours have, in no order.
        let mut serial = [0x40; 16];
        serial[4..8].copy_from_slice(&number.wrapping_mul(0x9e37_79b1).to_be_bytes());
        push(&serial);
    }
    let entries = sequence(entries);

    // Built as octets, and put between nextUpdate and the extensions: a million values would be the larger list.
    let small = CrlParts::of(&pki.crls()[1]);
    assert!(small.revoked_certificates.is_none());
    let small = small.to_der().unwrap();
    let content = Any::from_der(&small).unwrap().value().to_vec();
    let mut reader = SliceReader::new(&content).unwrap();
    for _field in ["version", "signature", "issuer", "thisUpdate", "nextUpdate"] {
        reader.tlv_bytes().unwrap();
    }
    let (before, after) = content.split_at(usize::try_from(reader.position()).unwrap());
    let list = sequence([before, &entries, after].concat());

    let algorithm = CrlParts::of(&pki.crls()[1]).signature.to_der().unwrap();
    let signature = pki.authority_keys()[1].sign(&list).unwrap().to_x509();
    let signature = BitString::from_bytes(&signature).unwrap().to_der().unwrap();
    sequence([list, algorithm, signature].concat())
}

fn sequence(content: Vec<u8>) -> Vec<u8> {
    Any::new(Tag::Sequence, content).unwrap().to_der().unwrap()
}

/// A line of /proc/self/status, in bytes.
fn memory(line: &str) -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find(|found| found.starts_with(line))
        .unwrap();
    let kibibytes = line.split_whitespace().nth(1).unwrap();
    kibibytes.parse::<usize>().unwrap() * 1024
}

/// Sets the process's peak to what it has now.
fn forget_peak() {
    fs::write("/proc/self/clear_refs", "5").unwrap();
}
