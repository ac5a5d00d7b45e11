//! What others' drivers make of the emulated chip, so that it does not merely agree with ours.

mod crate_of_others;
mod vendor;

use p256::ecdsa::signature::hazmat::PrehashVerifier as _;

/// Whether a raw signature is the key's, by the library alone.
fn verifies(public: &[u8], digest: &[u8; 32], signature: &[u8]) -> bool {
    let point = [&[4], public].concat();
    let key = p256::ecdsa::VerifyingKey::from_sec1_bytes(&point).expect("a point of the curve");
    p256::ecdsa::Signature::from_slice(signature)
        .is_ok_and(|signature| key.verify_prehash(digest, &signature).is_ok())
}
