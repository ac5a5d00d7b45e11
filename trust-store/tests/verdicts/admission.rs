//! What was admitted starts again after its certificates have ended; nothing else does.

use countersign_format::Digest;
use countersign_testing::{Role, TestPki};
use countersign_trust_store::{
    Admission, Code, Crl, Link, Now, Policy, Rejection, TrustState, UnixTime, VerifiedComponent,
};

use crate::harness::{judge_with, signed};

const YEAR: u64 = 365 * 86_400;

fn judged(pki: &TestPki, now: &Now, state: &TrustState) -> Result<VerifiedComponent, Rejection> {
    judge_with(pki, signed(pki), &Policy::default(), now, state)
}

/// Admitted in time, and remembered.
fn admitted(pki: &TestPki) -> (Admission, TrustState) {
    let component = judged(pki, &pki.now(), &pki.state()).expect("valid now");
    assert_eq!(component.admitted_at(), None);
    let admission = component.admission().clone();
    let mut state = pki.state();
    state.note_admission(admission.clone());
    (admission, state)
}

fn later(pki: &TestPki, years: u64) -> Now {
    Now::at(UnixTime::from_secs(pki.time().as_secs() + years * YEAR))
}

fn code(verdict: Result<VerifiedComponent, Rejection>) -> Code {
    verdict.expect_err("refused").code()
}

#[test]
fn td01_td05_what_was_admitted_starts_again_after_leaf_root_and_lists_have_ended() {
    for pki in [
        TestPki::builder().valid(Role::Leaf, -100, 100).build(),
        TestPki::builder().valid(Role::Root, -100, 100).build(),
        TestPki::new(),
    ] {
        let (admission, state) = admitted(&pki);
        let now = later(&pki, 100);
        let never = code(judged(&pki, &now, &pki.state()));
        assert!(matches!(never, Code::Expired | Code::CrlStale), "{never}");
        let again = judged(&pki, &now, &state).expect("admitted");
        assert_eq!(again.admitted_at(), Some(pki.time()));
        // The admission that is remembered stays the first: it does not get younger.
        assert_eq!(*again.admission(), admission);
        // While all is valid, nothing rests on it.
        let today = judged(&pki, &pki.now(), &state).expect("valid");
        assert_eq!(today.admitted_at(), None);
        // A clock that is set back to before the certificates were there.
        let before = Now::new(UnixTime::from_secs(1), Some(UnixTime::from_secs(1_000)));
        assert_eq!(code(judged(&pki, &before, &pki.state())), Code::NotYetValid);
        judged(&pki, &before, &state).expect("admitted");
    }
}

#[test]
fn td14_td12_an_admission_does_not_stand_against_a_list_or_a_version() {
    let pki = TestPki::builder().valid(Role::Leaf, -100, 100).build();
    let (_, state) = admitted(&pki);
    let now = later(&pki, 5);
    let mut revoked = state.clone();
    let list = pki.crl_against_device(7);
    revoked.add_crl(&list).expect("a list");
    assert_eq!(code(judged(&pki, &now, &revoked)), Code::Revoked);
    // And as the chain's links tell that were put down: the file is not needed for it.
    let again = judged(&pki, &now, &state).expect("admitted");
    let list = Crl::parse(&list).expect("a list");
    let revoked: Vec<_> = again.signers()[0]
        .chain()
        .links()
        .iter()
        .map(|link| {
            let recalled: Link = link.to_string().parse().expect("written so");
            assert_eq!(recalled, *link);
            let status = recalled.status(std::slice::from_ref(&list));
            status.map(|status| status.revoked)
        })
        .collect();
    assert_eq!(revoked, [Some(true), None]);
    for bad in [
        "",
        "00",
        "00.11.22",
        "00.11.22.33.44",
        "0.11.22.33",
        "00.11.22.zz",
        "00.11.22.é",
    ] {
        bad.parse::<Link>().expect_err(bad);
    }
    // A list as new was seen here, and those that are left are older.
    let mut seen = state.clone();
    let again = judged(&pki, &now, &state).expect("admitted");
    let issuer = again.signers()[0].chain().revocation()[0].0;
    let mut number = [0; 20];
    number[19] = 9;
    seen.note_crl_number(
        issuer,
        countersign_trust_store::CrlNumber::from_be_bytes(number),
    );
    assert_eq!(code(judged(&pki, &now, &seen)), Code::CrlRollback);
    let mut risen = TrustState::remembering();
    risen.note_admission(again.admission().clone());
    risen.note_version(
        again.admission().anchors()[0],
        again.statement().name().clone(),
        9,
    );
    assert_eq!(code(judged(&pki, &now, &risen)), Code::Rollback);
}

#[test]
fn an_admission_is_good_for_its_file_and_its_roots_alone() {
    let pki = TestPki::builder().valid(Role::Leaf, -100, 100).build();
    let (admission, _) = admitted(&pki);
    let now = later(&pki, 5);
    let with = |admission: Admission| {
        let mut state = pki.state();
        state.note_admission(admission);
        code(judged(&pki, &now, &state))
    };
    let time = Some(pki.time());
    let floor = UnixTime::from_secs(0);
    let anchors = admission.anchors().to_vec();
    let of_another_file = Admission::recalled(Digest::of(b"x"), anchors.clone(), floor, time);
    assert_eq!(with(of_another_file), Code::Expired);
    let file = admission.signatures();
    let of_another_root = Admission::recalled(file, vec![Digest::of(b"x")], floor, time);
    assert_eq!(with(of_another_root), Code::Expired);
    // As of a time at which it was not valid either.
    let ended = Some(UnixTime::from_secs(pki.time().as_secs() + 101));
    let too_late = Admission::recalled(file, anchors.clone(), floor, ended);
    assert_eq!(with(too_late), Code::Expired);
    // Put down and recalled as it was.
    let mut state = pki.state();
    state.note_admission(Admission::recalled(file, anchors, floor, time));
    judged(&pki, &now, &state).expect("admitted");
}
