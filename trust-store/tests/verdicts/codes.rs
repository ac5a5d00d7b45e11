//! Each fault of a file's form has a code of its own, so that whoever reads only codes is told what it is.

use countersign_format::{FormatError, Found};
use countersign_trust_store::{Check, Code, Rejection};

#[test]
fn faults_of_form_have_codes_of_their_own() {
    let what = "a test";
    for (error, code) in [
        (
            FormatError::AlgorithmForbidden { what, found: -7 },
            Code::AlgorithmForbidden,
        ),
        (
            FormatError::LimitExceeded {
                what,
                limit: 1,
                actual: 2,
            },
            Code::LimitExceeded,
        ),
        (FormatError::Malformed { what, offset: 0 }, Code::Malformed),
        (
            FormatError::Noncanonical { what, offset: 0 },
            Code::Noncanonical,
        ),
        (
            FormatError::NotAComponent {
                found: Found::CoreModule,
            },
            Code::NotAComponent,
        ),
        (
            FormatError::Purpose {
                found: what.to_owned(),
                expected: what,
            },
            Code::Purpose,
        ),
        (
            FormatError::SignatureDuplicate {
                first: 8,
                second: 9,
            },
            Code::SignatureDuplicate,
        ),
        (FormatError::SignatureMissing, Code::SignatureMissing),
        (
            FormatError::SignaturePosition {
                signature: 8,
                next: 9,
            },
            Code::SignaturePosition,
        ),
        (
            FormatError::Text {
                what,
                text: String::new(),
                why: what,
            },
            Code::Malformed,
        ),
        (
            FormatError::TrailingBytes { offset: 8 },
            Code::TrailingBytes,
        ),
        (
            FormatError::VersionUnknown {
                found: 2,
                supported: 1,
            },
            Code::FormatVersion,
        ),
    ] {
        let rejection = Rejection::from(error);
        assert_eq!(rejection.code(), code, "{rejection}");
        assert_eq!(rejection.check(), Check::Framing, "{rejection}");
    }
}
