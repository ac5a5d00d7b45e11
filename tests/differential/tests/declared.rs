//! The cases of `tests/pki`, judged by all three.

use countersign_differential::judges::Bench;
use countersign_testing::cases::Case;

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
    assert!(
        case.openssl.admits(verdicts.openssl.is_ok()),
        "OpenSSL: {verdicts:?}"
    );
    assert!(
        case.webpki.admits(verdicts.webpki.is_ok()),
        "webpki: {verdicts:?}"
    );
}
