//! How verification grows with the chain, the signers and the entries of the revocation lists.

use std::process::ExitCode;

use countersign_benches::{
    Bound, PeakAlloc, PeakBytes as _, Report, Table, compare, mib, micros, time,
};
use countersign_testing::{EMPTY_COMPONENT, Role, TestPki};
use countersign_trust_store::{Anchors, Crl, Policy, UnverifiedComponent, VerifiedComponent};
use der::{Decode, asn1::Any};

#[global_allocator]
static HEAP: PeakAlloc = PeakAlloc;

fn main() -> ExitCode {
    let mut report = Report::default();
    chains_and_signers(&mut report);
    revocation(&mut report);
    report.finish()
}

fn verify(anchors: &Anchors, pki: &TestPki, bytes: Vec<u8>) -> VerifiedComponent {
    UnverifiedComponent::parse(bytes)
        .and_then(|component| {
            anchors.verify(component, &Policy::default(), &pki.now(), &pki.state())
        })
        .expect("the component is good")
}

fn chains_and_signers(report: &mut Report) {
    let mut table = Table::new(&[
        "signers and certificates",
        "verify",
        "one signer, two certificates",
        "ratio",
        "at most",
    ]);
    let plain = TestPki::new();
    let baseline = plain.sign(EMPTY_COMPONENT, &plain.manifest("test:component"));
    let plain_anchors = plain.anchors();
    for (signers, extra) in [(1, 0), (1, 1), (2, 0), (3, 0), (4, 0), (4, 1)] {
        let pkis: Vec<TestPki> = (0..signers)
            .map(|_| TestPki::builder().extra_intermediates(extra).build())
            .collect();
        let (first, others) = pkis.split_first().expect("a signer");
        let others: Vec<&TestPki> = others.iter().collect();
        let signed =
            first.sign_together(&others, EMPTY_COMPONENT, &first.manifest("test:component"));
        let anchors =
            Anchors::new(pkis.iter().map(TestPki::anchor_source).collect()).expect("roots");
        let costs = compare(
            51,
            (|| signed.clone(), |bytes| verify(&anchors, first, bytes)),
            (
                || baseline.clone(),
                |bytes| verify(&plain_anchors, &plain, bytes),
            ),
        );
        let what = format!("{signers} with {} each", extra + 2);
        table.ratio(&what, costs, Bound::None, &[]);
    }
    report.print(
        "Verification by chains and signers, an empty component:",
        table,
    );
}

fn revocation(report: &mut Report) {
    let mut table = Table::new(&[
        "entries",
        "verify, list loaded",
        "verify, list of one entry",
        "ratio",
        "at most",
        "read the list",
        "index it",
        "memory",
        "one look-up",
    ]);
    let small = with_entries(1);
    let small_anchors = small.anchors();
    let signed_small = small.sign(EMPTY_COMPONENT, &small.manifest("test:component"));
    for entries in [10, 1_000, 100_000, 1_000_000] {
        let pki = with_entries(entries);
        let signed = pki.sign(EMPTY_COMPONENT, &pki.manifest("test:component"));
        let list = pki.crls().last().expect("the intermediate's list");
        let runs = if entries > 10_000 { 5 } else { 51 };
        let read = time(runs, || (), |()| Crl::parse(list).expect("a list"));
        // A fresh list for each run, since one that was used has its index.
        let indexed = time(
            runs,
            || Crl::parse(list).expect("a list"),
            |list| list.lists(&serial(0)),
        );
        let memory = HEAP.peak_bytes(|| {
            let anchors = pki.anchors();
            verify(&anchors, &pki, signed.clone());
            anchors
        });

        let anchors = pki.anchors();
        let costs = compare(
            51,
            (|| signed.clone(), |bytes| verify(&anchors, &pki, bytes)),
            (
                || signed_small.clone(),
                |bytes| verify(&small_anchors, &small, bytes),
            ),
        );
        let look_up = look_up(&Crl::parse(list).expect("a list"), entries);
        if entries <= 100_000 {
            report.check(
                &format!("a look-up among {entries}, µs"),
                look_up * 1e6,
                1.0,
            );
        }
        table.ratio(
            &entries.to_string(),
            costs,
            Bound::None,
            &[
                micros(read),
                micros(indexed),
                mib(memory),
                format!("{:.0} ns", look_up * 1e9),
            ],
        );
    }
    report.print(
        "Revocation: the device's issuer revoked this many others. Look-ups are in no order, half of them hits.",
        table,
    );
}

/// A PKI whose intermediate revoked `entries` other certificates.
fn with_entries(entries: u64) -> TestPki {
    TestPki::builder()
        .bend_crl(Role::Intermediate, move |list| {
            list.revoked_certificates = Some((0..entries).map(entry).collect());
        })
        .build()
}

/// SEQUENCE { serial, revocationDate } (RFC 5280 §5.1.2.6).
fn entry(number: u64) -> Any {
    let mut der = vec![0x30, 33, 0x02, 16];
    der.extend(serial(number));
    der.extend(*b"\x17\x0d260101000000Z");
    Any::from_der(&der).expect("an entry")
}

/// Sixteen octets that do not come in order.
fn serial(number: u64) -> [u8; 16] {
    let mut serial = [0x11; 16];
    let mixed = number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    serial[8..].copy_from_slice(&mixed.to_be_bytes());
    serial
}

/// Seconds for one look-up.
fn look_up(list: &Crl, entries: u64) -> f64 {
    const LOOK_UPS: u64 = 200_000;
    let took = time(
        5,
        || (),
        |()| {
            (0..LOOK_UPS)
                .filter(|number| {
                    // The second half of twice as many serial numbers is in no list.
                    let wanted = serial(number.wrapping_mul(7919) % (entries * 2));
                    list.lists(&wanted)
                })
                .count()
        },
    );
    took.as_secs_f64() / LOOK_UPS as f64
}
