//! What reports and refusals say: the words from which somebody in front of a machine must find the fault.

use std::collections::BTreeSet;

use countersign_testing::{Role, TestPki};
use countersign_trust_store::{
    Certificate, Check, CrlNumber, KeyKind, MAX_SIGNATURE_CHECKS, Now, Policy, Purpose, Rejection,
    Step, TimeBasis, TrustState, UnixTime, UnverifiedComponent,
};

use crate::harness::{judge, signed};

/// What a report says of a check.
fn detail(pki: &TestPki, now: &Now, check: Check) -> String {
    let mut steps: Vec<Step> = Vec::new();
    let component = UnverifiedComponent::parse(signed(pki)).unwrap();
    let _verdict = pki.anchors().verify_explained(
        component,
        &Policy::default(),
        now,
        &pki.state(),
        &mut |step| steps.push(step),
    );
    let of_check = steps.into_iter().find(|step| step.check == check);
    of_check.unwrap().detail
}

#[test]
fn each_check_has_a_word_and_a_question_of_its_own() {
    let words: BTreeSet<_> = Check::ALL.iter().map(|check| check.as_str()).collect();
    assert_eq!(words.len(), Check::ALL.len());
    assert!(words.contains("revocation"));
    let questions: BTreeSet<_> = Check::ALL.iter().map(|check| check.question()).collect();
    assert_eq!(questions.len(), Check::ALL.len());
    assert!(questions.iter().all(|question| question.ends_with('?')));
    assert_ne!(
        Purpose::Components.as_str(),
        Purpose::PrecompiledCode.as_str()
    );
}

#[test]
fn a_report_says_by_which_time_a_chain_was_judged() {
    let pki = TestPki::builder().valid(Role::Leaf, -100, 100).build();
    let (now, end) = (pki.time(), UnixTime::from_secs(pki.time().as_secs() + 100));
    let said = |now: &Now| detail(&pki, now, Check::Time);
    assert_eq!(
        said(&Now::at(now)),
        format!("judged as of {now}; all are valid until {end}")
    );
    let floor = UnixTime::from_secs(1);
    assert_eq!(
        said(&Now::new(floor, Some(now))),
        format!("judged at {now} by the clock; all are valid until {end}")
    );
    let without = said(&Now::new(floor, None));
    assert!(
        without.contains("(it shows a time before 1970-01-01T00:00:01Z)"),
        "{without}"
    );
}

#[test]
fn a_verified_chain_says_where_it_leads_and_until_when() {
    let pki = TestPki::builder().valid(Role::Leaf, -100, 100).build();
    let verified = judge(&pki, signed(&pki)).unwrap();
    let [signer] = verified.signers() else {
        panic!("one signer")
    };
    let root = Certificate::parse(pki.root()).unwrap();
    assert_eq!(signer.chain().anchor_subject(), root.subject());
    assert_eq!(signer.chain().anchor_spki_sha256(), root.spki_sha256());
    let end = UnixTime::from_secs(pki.time().as_secs() + 100);
    assert_eq!(signer.chain().valid_until(), end);
}

#[test]
fn a_report_says_which_lists_were_consulted() {
    let pki = TestPki::new();
    let said = detail(&pki, &pki.now(), Check::Revocation);
    let [leaf, intermediate] = said.split("; ").collect::<Vec<_>>()[..] else {
        panic!("{said}")
    };
    assert!(
        leaf.starts_with("list 1 of ") && leaf.contains("intermediate"),
        "{leaf}"
    );
    assert!(intermediate.contains("CN=Test root"), "{intermediate}");
}

#[test]
fn a_refusal_says_where_its_time_comes_from() {
    let said = |basis| {
        Rejection::Expired {
            subject: "CN=pump".to_owned(),
            not_after: UnixTime::from_secs(1),
            now: UnixTime::from_secs(2),
            basis,
        }
        .to_string()
    };
    assert!(said(TimeBasis::Clock).ends_with("1970-01-01T00:00:02Z by this machine's clock"));
    assert!(said(TimeBasis::Floor).ends_with("1970-01-01T00:00:02Z or later"));
    assert!(said(TimeBasis::Given).ends_with("1970-01-01T00:00:02Z, the time asked about"));
}

#[test]
fn a_refusal_counts_signers_from_one_and_names_those_that_do_not_count() {
    let invalid = |signer| {
        Rejection::SignatureInvalid {
            signer,
            subject: "CN=pump".to_owned(),
        }
        .to_string()
    };
    assert_eq!(
        invalid(0),
        "the signature of signer 1 (CN=pump) does not verify"
    );
    assert!(invalid(2).contains("signer 3"));
    let few = Rejection::SignersTooFew {
        needed: 3,
        counted: 1,
        uncounted: vec!["one is foreign".to_owned(), "one is the same".to_owned()],
    };
    assert_eq!(
        few.to_string(),
        "1 of the signers count, and 3 are required; one is foreign; one is the same"
    );
}

#[test]
fn a_refusal_names_a_key_that_no_signer_may_have() {
    let kinds = [KeyKind::Ed25519, KeyKind::P256, KeyKind::P384];
    assert_eq!(kinds.map(KeyKind::name), ["Ed25519", "P-256", "P-384"]);
}

#[test]
fn the_budget_of_a_signer_is_what_is_promised() {
    assert_eq!(MAX_SIGNATURE_CHECKS, 8);
}

#[test]
fn a_machine_says_whether_it_remembers() {
    assert!(TrustState::remembering().remembers_versions());
    assert!(!TrustState::stateless().remembers_versions());
}

#[test]
fn the_number_of_a_list_is_kept_as_it_was_seen() {
    let octets = std::array::from_fn(|place| u8::try_from(place).unwrap() + 1);
    assert_eq!(CrlNumber::from_be_bytes(octets).to_be_bytes(), octets);
}
