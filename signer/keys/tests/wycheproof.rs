//! Project Wycheproof's vectors for both algorithms. Where we differ we are stricter, and the reason is named.

use countersign_keys::{PublicKey, SignatureInvalid};
use p256::ecdsa::signature::Verifier as _;
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
fn tb15_another_implementation_says_the_same_of_every_vector_and_of_changed_ones() {
    let set = ecdsa::TestSet::load(ecdsa::TestName::EcdsaSecp256r1Sha256P1363).unwrap();
    let (mut good, mut bad) = (0, 0);
    let mut agree = |key: &PublicKey, message: &[u8], signature: &p256::ecdsa::Signature| {
        let theirs = p256::ecdsa::VerifyingKey::from_sec1_bytes(&key.to_raw_bytes()).unwrap();
        let theirs = theirs.verify(message, signature).is_ok();
        let ours = key.verify_x509(message, signature.to_der().as_bytes());
        assert_eq!(ours.is_ok(), theirs, "{message:?} {signature}");
        *if theirs { &mut good } else { &mut bad } += 1;
    };
    for (number, group) in set.test_groups.iter().enumerate() {
        let key = PublicKey::from_spki_der(&group.der).unwrap();
        for test in &group.tests {
            let Ok(signature) = p256::ecdsa::Signature::from_slice(&test.sig) else {
                continue;
            };
            agree(&key, &test.msg, &signature);
            // Another bit for each, so that all of them get their turn.
            let bit = (number * 31 + test.tc_id) % 512;
            let mut changed = signature.to_bytes();
            changed[bit / 8] ^= 1 << (bit % 8);
            if let Ok(changed) = p256::ecdsa::Signature::from_slice(&changed) {
                agree(&key, &test.msg, &changed);
            }
            let mut message = test.msg.to_vec();
            message.push(0);
            agree(&key, &message, &signature);
        }
    }
    assert!(good > 100 && bad > 300, "{good} good, {bad} bad");
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
