//! The cases of `tests/pki`, judged by all three.

use countersign_differential::judges::{Bench, Verdict};
use countersign_testing::cases::{Case, Judgement};

macro_rules! test_each {
    ($($name:ident)*) => {
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
    let presented = case.present();
    let verdicts = Bench::default().judge(&presented.sealed(), presented.pki().time());
    let said = |verdict: &Verdict| match verdict {
        Ok(()) => Judgement::Accepts,
        Err(_) => Judgement::Refuses,
    };
    assert_eq!(
        (said(&verdicts.openssl), said(&verdicts.webpki)),
        (case.openssl, case.webpki),
        "OpenSSL and webpki: {verdicts:?}"
    );
}
