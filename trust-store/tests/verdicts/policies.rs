//! Certificate policies, which nobody here asks for, and which must be what they say all the same.

use countersign_testing::{Role, TestPki};
use countersign_trust_store::{Code, oid};

use crate::harness::{accepted, code};

#[test]
fn tc33_policies_that_are_no_policies() {
    let any_policy = [0x30, 6, 6, 4, 0x55, 0x1d, 0x20, 0];
    let one = [&[0x30, 8], &any_policy[..]].concat();
    let twice = [&[0x30, 16], &any_policy[..], &any_policy].concat();
    for role in [Role::Leaf, Role::Intermediate] {
        let with = |value: &[u8]| {
            TestPki::builder().with_extension(role, oid::CERTIFICATE_POLICIES, false, value)
        };
        accepted(with(&one));
        for value in [
            &[][..],
            &[0xff; 9],
            &[5, 0],
            &[0x30, 0],
            &[0x30, 2, 0x30, 0],
            &twice,
        ] {
            assert_eq!(
                code(with(value)),
                Code::CertificateExtension,
                "{value:02x?}"
            );
        }
        let critical =
            TestPki::builder().with_extension(role, oid::CERTIFICATE_POLICIES, true, &one);
        assert_eq!(code(critical), Code::CertificateExtension);
    }
}
