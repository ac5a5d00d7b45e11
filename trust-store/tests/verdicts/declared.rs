//! The cases of `tests/pki`: one test each, by their names; and the PKI that they bend.

use std::collections::BTreeSet;

use countersign_format::Algorithm;
use countersign_testing::TestPki;
use countersign_testing::cases::Case;

use crate::harness::accepted;

macro_rules! test_each {
    ($($name:ident)*) => {
        const NAMES: &[&str] = &[$(stringify!($name)),*];
        $(
            #[test]
            fn $name() {
                judge(stringify!($name));
            }
        )*
    };
}

countersign_testing::foreach_case!(test_each);

fn judge(name: &str) {
    let case = Case::named(name);
    assert_eq!(case.present().judge(), case.we());
}

#[test]
fn every_case_has_its_test() {
    let cases = Case::all();
    let declared: BTreeSet<&str> = cases.iter().map(|case| case.name.as_str()).collect();
    let tested: BTreeSet<&str> = NAMES.iter().copied().collect();
    assert_eq!(declared, tested);
}

#[test]
fn every_case_says_why_we_and_others_differ_and_no_other_does() {
    let complaints: Vec<String> = Case::all().iter().filter_map(Case::complaint).collect();
    assert_eq!(complaints, Vec::<String>::new());
}

#[test]
fn what_is_right_is_accepted() {
    for algorithm in [Algorithm::Esp256, Algorithm::Ed25519] {
        let verified = accepted(TestPki::builder().algorithm(algorithm));
        let [signer] = verified.signers() else {
            panic!("one signer")
        };
        assert_eq!(
            signer.chain().device().unwrap().identity().as_str(),
            "test-device"
        );
        assert_eq!(signer.chain().device_type(), Some("test"));
        assert!(!verified.uses_development_root());
    }
    accepted(TestPki::builder().extra_intermediates(1));
    assert!(accepted(TestPki::builder().development()).uses_development_root());
}
