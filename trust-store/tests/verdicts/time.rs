//! Validity at its bounds, and machines with a wrong clock or none.

use countersign_testing::{Role, TestPki};
use countersign_trust_store::{Code, Now, Policy, UnixTime};

use crate::harness::{judge_with, signed};

const DAY: u64 = 86_400;

fn at(pki: &TestPki, now: &Now) -> Result<(), Code> {
    judge_with(pki, signed(pki), &Policy::default(), now, &pki.state())
        .map(drop)
        .map_err(|rejection| rejection.code())
}

#[test]
fn td03_without_a_plausible_clock_not_before_is_not_held_against_a_chain() {
    let pki = TestPki::new();
    let long_ago = UnixTime::from_secs(1_000_000_000);
    // No clock, and a clock at 1970: both below the floor.
    for clock in [None, Some(UnixTime::from_secs(0))] {
        assert_eq!(at(&pki, &Now::new(long_ago, clock)), Ok(()));
    }
    // A plausible clock before notBefore is believed.
    let believed = Now::new(long_ago, Some(UnixTime::from_secs(1_000_000_001)));
    assert_eq!(at(&pki, &believed), Err(Code::NotYetValid));
}

#[test]
fn td04_what_expired_before_the_floor_never_revives() {
    let pki = TestPki::builder().valid(Role::Leaf, -100, 100).build();
    let floor = UnixTime::from_secs(pki.time().as_secs() + 101);
    for clock in [None, Some(UnixTime::from_secs(0)), Some(pki.time())] {
        assert_eq!(at(&pki, &Now::new(floor, clock)), Err(Code::Expired));
    }
}

#[test]
fn td05_a_clock_far_ahead_admits_nothing_and_is_not_remembered() {
    let pki = TestPki::new();
    let floor = UnixTime::from_secs(pki.time().as_secs() - DAY);
    let ahead = Now::new(
        floor,
        Some(UnixTime::from_secs(pki.time().as_secs() + 3_650 * DAY)),
    );
    assert_eq!(at(&pki, &ahead), Err(Code::Expired));
    assert_eq!(at(&pki, &Now::new(floor, Some(pki.time()))), Ok(()));
}

#[test]
fn without_a_clock_the_list_of_an_issuer_shows_what_has_expired_below_it() {
    // The intermediate's list was made after the leaf had ended; no other certificate is judged by it.
    let pki = TestPki::builder()
        .valid(Role::Leaf, -100, -50)
        .crl_valid(Role::Intermediate, -40, 1_000)
        .build();
    let no_clock = Now::new(UnixTime::from_secs(1), None);
    assert_eq!(at(&pki, &no_clock), Err(Code::Expired));
    let root_only = TestPki::builder()
        .valid(Role::Leaf, -100, -50)
        .crl_valid(Role::Intermediate, -60, 1_000)
        .crl_valid(Role::Root, -40, 1_000)
        .build();
    assert_eq!(at(&root_only, &no_clock), Ok(()));
    // Made in the last second in which the leaf was valid, it shows nothing; nor is it asked where there is a clock.
    let last_second = TestPki::builder()
        .valid(Role::Leaf, -100, -50)
        .crl_valid(Role::Intermediate, -50, 1_000)
        .build();
    assert_eq!(at(&last_second, &no_clock), Ok(()));
}

#[test]
fn a_list_made_in_this_second_is_not_from_the_future() {
    let pki = |from: i64| {
        let builder = TestPki::builder().crl_valid(Role::Intermediate, from, 1_000);
        builder.build()
    };
    let by_clock = |pki: &TestPki| Now::new(UnixTime::from_secs(1), Some(pki.time()));
    let made_now = pki(0);
    assert_eq!(at(&made_now, &by_clock(&made_now)), Ok(()));
    let made_later = pki(1);
    assert_eq!(at(&made_later, &by_clock(&made_later)), Err(Code::CrlStale));
}

#[test]
fn td19_the_time_in_a_statement_is_no_evidence() {
    let pki = TestPki::builder().revoke(Role::Leaf).build();
    let mut fields = pki.statement(
        countersign_testing::EMPTY_COMPONENT,
        &pki.manifest("test:guest"),
    );
    fields.issued_at = Some(0);
    let signed = pki.forge(countersign_testing::EMPTY_COMPONENT, fields);
    let refused = crate::harness::judge(&pki, signed).unwrap_err();
    assert_eq!(refused.code(), Code::Revoked);
}
