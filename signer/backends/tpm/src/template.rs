//! The public areas of the keys that are made here, and what of other keys' public areas fits.

use crate::failure::Failure;
use countersign_keys::{KeyUsage, Origin, PublicKey};
use tss_esapi::attributes::{ObjectAttributes, ObjectAttributesBuilder};
use tss_esapi::interface_types::algorithm::{HashingAlgorithm, PublicAlgorithm};
use tss_esapi::interface_types::ecc::EccCurve;
use tss_esapi::structures::{
    Digest, EccParameter, EccPoint, EccScheme, HashScheme, KeyDerivationFunctionScheme, Public,
    PublicBuilder, PublicEccParametersBuilder, Signature, SymmetricDefinitionObject,
};

/// Where the storage root key is kept (TCG TPM v2.0 Provisioning Guidance, §7.8.1).
pub(crate) const ROOT: u32 = 0x8100_0001;

/// The storage root key: TCG EK Credential Profile's sibling for storage, P-256 with AES-128.
pub(crate) fn root() -> Result<Public, tss_esapi::Error> {
    let attributes = ObjectAttributesBuilder::new()
        .with_fixed_tpm(true)
        .with_fixed_parent(true)
        .with_sensitive_data_origin(true)
        .with_user_with_auth(true)
        // Else whoever may not use it could lock out those who may.
        .with_no_da(true)
        .with_restricted(true)
        .with_decrypt(true)
        .build()?;
    let parameters = PublicEccParametersBuilder::new_restricted_decryption_key(
        SymmetricDefinitionObject::AES_128_CFB,
        EccCurve::NistP256,
    )
    .build()?;
    PublicBuilder::new()
        .with_public_algorithm(PublicAlgorithm::Ecc)
        .with_name_hashing_algorithm(HashingAlgorithm::Sha256)
        .with_object_attributes(attributes)
        .with_ecc_parameters(parameters)
        .with_ecc_unique_identifier(EccPoint::default())
        .build()
}

/// Whether a key that somebody else keeps at [`ROOT`] can be the parent of ours: a storage key that is fixed to this TPM.
pub(crate) fn is_root(public: &Public) -> bool {
    let attributes = public.object_attributes();
    attributes.restricted()
        && attributes.decrypt()
        && attributes.fixed_tpm()
        && attributes.fixed_parent()
        && attributes.user_with_auth()
}

/// A key that signs, made inside, never to leave. With a policy, nothing but the policy allows a signature.
pub(crate) fn signing_key(
    usage: KeyUsage,
    policy: Option<&[u8; 32]>,
) -> Result<Public, tss_esapi::Error> {
    let restricted = usage == KeyUsage::Attestation;
    let attributes = ObjectAttributesBuilder::new()
        .with_fixed_tpm(true)
        .with_fixed_parent(true)
        .with_sensitive_data_origin(true)
        .with_user_with_auth(policy.is_none())
        .with_no_da(true)
        .with_restricted(restricted)
        .with_sign_encrypt(true)
        .build()?;
    let parameters = PublicEccParametersBuilder::new()
        .with_ecc_scheme(EccScheme::EcDsa(HashScheme::new(HashingAlgorithm::Sha256)))
        .with_curve(EccCurve::NistP256)
        .with_key_derivation_function_scheme(KeyDerivationFunctionScheme::Null)
        .with_is_signing_key(true)
        .with_restricted(restricted)
        .build()?;
    let mut builder = PublicBuilder::new()
        .with_public_algorithm(PublicAlgorithm::Ecc)
        .with_name_hashing_algorithm(HashingAlgorithm::Sha256)
        .with_object_attributes(attributes)
        .with_ecc_parameters(parameters)
        .with_ecc_unique_identifier(EccPoint::default());
    if let Some(policy) = policy {
        builder = builder.with_auth_policy(Digest::try_from(policy.as_slice())?);
    }
    builder.build()
}

/// The key, if it is one that this store can use: P-256 for ECDSA with SHA-256.
pub(crate) fn p256_of(public: &Public) -> Option<PublicKey> {
    let Public::Ecc {
        object_attributes,
        parameters,
        unique,
        ..
    } = public
    else {
        return None;
    };
    let fits = object_attributes.sign_encrypt()
        && !object_attributes.decrypt()
        && parameters.ecc_curve() == EccCurve::NistP256
        && match parameters.ecc_scheme() {
            EccScheme::EcDsa(scheme) => scheme.hashing_algorithm() == HashingAlgorithm::Sha256,
            // A key without a scheme takes that of each command (part 2, §12.2.3.6).
            EccScheme::Null => !object_attributes.restricted(),
            _ => false,
        };
    if !fits {
        return None;
    }
    let mut sec1 = vec![0x04];
    sec1.extend_from_slice(&padded(unique.x())?);
    sec1.extend_from_slice(&padded(unique.y())?);
    PublicKey::from_p256_point(&sec1).ok()
}

pub(crate) fn usage_of(attributes: ObjectAttributes) -> KeyUsage {
    if attributes.restricted() {
        KeyUsage::Attestation
    } else {
        KeyUsage::Signing
    }
}

/// Whether a key was made inside this TPM and can never be elsewhere: not put in from outside, not to be duplicated, itself
/// or with a parent (part 1, §25.3; part 2, §8.3.3).
pub(crate) fn never_elsewhere(attributes: ObjectAttributes) -> bool {
    attributes.fixed_tpm() && attributes.fixed_parent() && attributes.sensitive_data_origin()
}

pub(crate) fn origin_of(attributes: ObjectAttributes) -> Origin {
    if !attributes.sensitive_data_origin() {
        Origin::Imported
    } else if never_elsewhere(attributes) {
        Origin::Device
    } else {
        Origin::Unknown
    }
}

/// `r ‖ s` of a signature.
pub(crate) fn raw_signature(signature: &Signature) -> Result<[u8; 64], Failure> {
    let Signature::EcDsa(signature) = signature else {
        return Err(Failure::Wrong("a signature of another kind"));
    };
    let mut raw = [0; 64];
    let (r, s) = raw.split_at_mut(32);
    for (half, number) in [(r, signature.signature_r()), (s, signature.signature_s())] {
        let number = padded(number).ok_or(Failure::Wrong("a signature that is too long"))?;
        half.copy_from_slice(&number);
    }
    Ok(raw)
}

/// A number as 32 bytes: a TPM may leave out leading zeros.
fn padded(number: &EccParameter) -> Option<[u8; 32]> {
    let bytes = number.value();
    let mut padded = [0; 32];
    let start = padded.len().checked_sub(bytes.len())?;
    padded.get_mut(start..)?.copy_from_slice(bytes);
    Some(padded)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_filled_up_on_the_left() {
        let number = |bytes: &[u8]| padded(&EccParameter::try_from(bytes).unwrap());
        assert_eq!(number(&[1, 2]).unwrap()[29..], [0, 1, 2]);
        assert_eq!(number(&[7; 32]), Some([7; 32]));
        assert_eq!(number(&[7; 33]), None);
    }
}
