//! What the worst input of at most 1 MiB costs before it is refused, beside one P-256 verification by the crate p256, which
//! takes some four times as long as one of the verifier's.
//!
//! A chain may cost eight signature checks, and a file has at most four chains: 32.

use std::process::ExitCode;

use countersign_benches::{Bound, PeakAlloc, PeakBytes as _, Report, Table, compare, mib};
use countersign_format::{Envelope, SignerEntry, Statement, signature_section};
use countersign_testing::{EMPTY_COMPONENT, Role, TestPki, cases};
use countersign_trust_store::{
    Anchors, Code, MAX_SIGNATURE_CHECKS, Policy, Rejection, UnverifiedComponent,
};
use der::asn1::ObjectIdentifier;
use p256::ecdsa::signature::{Signer, Verifier};

#[global_allocator]
static HEAP: PeakAlloc = PeakAlloc;

mod components;

/// A verification costs no more than its signature checks and this much parsing, in signature checks.
const PARSING: f64 = 4.0;

fn main() -> ExitCode {
    let key = p256::ecdsa::SigningKey::from_slice(&[7; 32]).expect("a key");
    let message = [1; 700];
    let signature: p256::ecdsa::Signature = key.sign(&message);
    let one_check = |()| key.verifying_key().verify(&message, &signature).is_ok();

    let mut table = Table::new(&[
        "input",
        "refused in",
        "one verification by p256",
        "ratio",
        "at most",
        "memory",
        "code",
    ]);
    let mut report = Report::default();
    for Case { what, bytes, pkis } in worst() {
        let anchors =
            Anchors::new(pkis.iter().map(TestPki::anchor_source).collect()).expect("roots");
        let (now, state) = (pkis[0].now(), pkis[0].state());
        let refuse = |bytes: Vec<u8>| -> Rejection {
            UnverifiedComponent::parse(bytes)
                .and_then(|component| anchors.verify(component, &Policy::default(), &now, &state))
                .expect_err("nothing of this is accepted")
        };
        assert!(bytes.len() <= 1 << 20, "{what}: {} bytes", bytes.len());
        let code: Code = refuse(bytes.clone()).code();
        let costs = compare(31, (|| bytes.clone(), &refuse), (|| (), one_check));
        let buffer = bytes.clone();
        let memory = HEAP.peak_bytes(|| refuse(buffer));
        report.check(
            &format!("{what}, MiB"),
            memory as f64 / f64::from(1 << 20),
            16.0,
        );
        let at_most = f64::from(4 * MAX_SIGNATURE_CHECKS) + PARSING;
        table.ratio(
            what,
            costs,
            Bound::Ratio(at_most),
            &[mib(memory), code.to_string()],
        );
    }
    report.print("Refusing, each input the worst of its kind:", table);
    report.finish()
}

struct Case {
    what: &'static str,
    bytes: Vec<u8>,
    /// Whose roots the host has.
    pkis: Vec<TestPki>,
}

fn worst() -> Vec<Case> {
    let deep = || TestPki::builder().extra_intermediates(1).build();
    let ours = || vec![TestPki::new()];
    let case = |what, bytes, pkis| Case { what, bytes, pkis };

    let mut sections = EMPTY_COMPONENT.to_vec();
    (0..(1_usize << 16)).for_each(|_| sections.extend([0, 1, 0]));

    let four: Vec<TestPki> = (0..4).map(|_| deep()).collect();
    let last_wrong = together(&four, EMPTY_COMPONENT, true);
    let strangers: Vec<TestPki> = (0..4).map(|_| deep()).collect();
    let foreign = together(&strangers, EMPTY_COMPONENT, false);
    let large = components::of_size((1 << 20) - (64 << 10));
    let large_foreign = together(&strangers, &large, false);

    let slow = cases::Case::named("tb04_every_authority_of_three_on_p384").present();
    let slow = vec![slow.pki().clone()];
    let slow_file = together(&slow, EMPTY_COMPONENT, true);

    let full: Vec<TestPki> = (0..4).map(stuffed).collect();
    let full_file = together(&full, EMPTY_COMPONENT, true);

    vec![
        case("65,536 sections, no signature", sections, ours()),
        case("1 MiB of zeros", vec![0; 1 << 20], ours()),
        case(
            "four known chains of three, the last signature wrong",
            last_wrong,
            four,
        ),
        case("four unknown chains of three", foreign, ours()),
        case(
            "the same behind a component of 960 KiB",
            large_foreign,
            ours(),
        ),
        case(
            "one known chain of three below P-384 keys, its signature wrong",
            slow_file,
            slow,
        ),
        case(
            "four known chains, every certificate 8 KB of extensions",
            full_file,
            full,
        ),
    ]
}

/// A file that these devices signed; the last one's signature may be wrong.
fn together(signers: &[TestPki], component: &[u8], last_is_wrong: bool) -> Vec<u8> {
    let mut sorted: Vec<&TestPki> = signers.iter().collect();
    sorted.sort_by_key(|pki| pki.signer_id());
    let first = sorted.first().expect("a signer");
    let mut fields = first.statement(component, &first.manifest("test:component"));
    fields.signers = sorted.iter().map(|pki| pki.signer_id()).collect();
    let statement = Statement::new(fields)
        .expect("the parts are well formed")
        .encode();
    let mut entries: Vec<SignerEntry> = sorted
        .iter()
        .map(|pki| pki.forge_entry(&statement))
        .collect();
    if last_is_wrong && let Some(last) = entries.pop() {
        let mut signature: [u8; 64] = last.signature().try_into().expect("64 octets");
        signature[40] ^= 1;
        entries.push(
            SignerEntry::new(last.algorithm(), last.chain().to_vec(), signature).expect("an entry"),
        );
    }
    let payload = Envelope::new(statement, entries)
        .expect("an envelope")
        .encode();
    let mut file = component.to_vec();
    file.extend(signature_section(&payload).expect("the section fits"));
    file
}

/// A PKI whose leaf and intermediates are full of extensions that nobody knows.
fn stuffed(number: u32) -> TestPki {
    let stuff = |builder: countersign_testing::TestPkiBuilder, role| {
        builder.bend(role, move |parts| {
            for arc in 0..360 {
                let id = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.99999")
                    .push_arc(number)
                    .and_then(|id| id.push_arc(arc))
                    .expect("an identifier");
                parts.push_extension(id, false, &[]);
            }
        })
    };
    stuff(stuff(TestPki::builder(), Role::Leaf), Role::Intermediate).build()
}
