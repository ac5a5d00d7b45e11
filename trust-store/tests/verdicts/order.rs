//! The checks are made in one order, each is told of once for what it concerns, and the first refusal is the last step.

use countersign_testing::{EMPTY_COMPONENT, Role, TestPki};
use countersign_trust_store::{Check, Outcome, Policy, Step, UnverifiedComponent};

use crate::harness::signed;

fn steps(pki: &TestPki, bytes: Vec<u8>) -> Vec<Step> {
    let mut steps = Vec::new();
    let _verdict = UnverifiedComponent::parse_explained(bytes, &mut |step| steps.push(step))
        .and_then(|c| {
            pki.anchors().verify_explained(
                c,
                &Policy::default(),
                &pki.now(),
                &pki.state(),
                &mut |step| steps.push(step),
            )
        });
    steps
}

#[test]
fn an_accepted_component_passed_every_check_in_order() {
    let pki = TestPki::new();
    let steps = steps(&pki, signed(&pki));
    let checks: Vec<_> = steps.iter().map(|step| step.check).collect();
    assert_eq!(checks, Check::ALL);
    assert!(steps.iter().all(|step| step.outcome == Outcome::Passed));
    assert!(steps.iter().all(|step| !step.detail.is_empty()));
}

#[test]
fn a_refused_component_ends_with_its_refusal() {
    let pki = TestPki::builder().revoke(Role::Leaf).build();
    let mut damaged = signed(&pki);
    let last = damaged.len() - 1;
    for (bytes, check) in [
        (EMPTY_COMPONENT.to_vec(), Check::Framing),
        (b"(component)".to_vec(), Check::Framing),
        (signed(&pki), Check::Revocation),
        (
            {
                damaged.truncate(last);
                damaged
            },
            Check::Framing,
        ),
    ] {
        let steps = steps(&pki, bytes);
        let (last, before) = steps.split_last().unwrap();
        assert_eq!(last.check, check);
        assert!(matches!(last.outcome, Outcome::Refused(_)));
        assert!(before.iter().all(|step| step.outcome == Outcome::Passed));
        assert!(before.iter().all(|step| step.check < check));
    }
}
