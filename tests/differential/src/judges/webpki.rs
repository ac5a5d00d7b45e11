//! rustls-webpki by itself, as anybody would use it: with every permitted algorithm, computed by OpenSSL, and a current
//! list demanded for every certificate.

use std::time::Duration;

use countersign_testing::Sealed;
use countersign_trust_store::{UnixTime, oid};
use openssl::bn::BigNumContext;
use openssl::ec::{EcGroup, EcKey, EcPoint};
use openssl::error::ErrorStack;
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{Id, PKey, Public};
use openssl::sign::Verifier;
use pki_types::{
    AlgorithmIdentifier, CertificateDer, InvalidSignature, SignatureVerificationAlgorithm, alg_id,
};
use webpki::{
    BorrowedCertRevocationList, CertRevocationList, EndEntityCert, ExpirationPolicy, KeyUsage,
    RevocationCheckDepth, RevocationOptionsBuilder, UnknownStatusPolicy,
};

use super::Verdict;

/// rustls-webpki.
#[derive(Clone, Copy, Debug)]
pub struct Webpki;

impl Webpki {
    /// Its verdict.
    ///
    /// # Errors
    /// Its own words.
    pub fn judge(self, sealed: &Sealed, now: UnixTime) -> Verdict {
        let said = |error: webpki::Error| format!("{error:?}");
        let root = CertificateDer::from(sealed.root.as_slice());
        let anchors = [webpki::anchor_from_trusted_cert(&root).map_err(said)?];
        let mut lists = Vec::new();
        for crl in &sealed.crls {
            let list = BorrowedCertRevocationList::from_der(crl).map_err(said)?;
            lists.push(CertRevocationList::Borrowed(list));
        }
        let lists: Vec<&CertRevocationList<'_>> = lists.iter().collect();
        let revocation = RevocationOptionsBuilder::new(&lists)
            .map_err(|_| "there is no list".to_owned())?
            .with_depth(RevocationCheckDepth::Chain)
            .with_status_policy(UnknownStatusPolicy::Deny)
            .with_expiration_policy(ExpirationPolicy::Enforce)
            .build();
        let chain: Vec<_> = sealed
            .chain
            .iter()
            .map(|der| CertificateDer::from(der.as_slice()))
            .collect();
        let (leaf, above) = chain.split_first().ok_or("there is no certificate")?;
        let leaf = EndEntityCert::try_from(leaf).map_err(said)?;
        leaf.verify_for_usage(
            &ALGORITHMS.each_ref().map(|one| {
                let one: &dyn SignatureVerificationAlgorithm = one;
                one
            }),
            &anchors,
            above,
            pki_types::UnixTime::since_unix_epoch(Duration::from_secs(now.as_secs())),
            KeyUsage::required_if_present(oid::CODE_SIGNING.as_bytes()),
            Some(revocation),
            None,
        )
        .map(drop)
        .map_err(said)
    }
}

/// Every pair of key and hash that webpki has with its usual providers.
const ALGORITHMS: [Algorithm; 5] = [
    Algorithm::P256Sha256,
    Algorithm::P256Sha384,
    Algorithm::P384Sha256,
    Algorithm::P384Sha384,
    Algorithm::Ed25519,
];

#[derive(Clone, Copy, Debug)]
enum Algorithm {
    P256Sha256,
    P256Sha384,
    P384Sha256,
    P384Sha384,
    Ed25519,
}

impl Algorithm {
    fn key(self, octets: &[u8]) -> Result<PKey<Public>, ErrorStack> {
        let curve = match self {
            Self::P256Sha256 | Self::P256Sha384 => Nid::X9_62_PRIME256V1,
            Self::P384Sha256 | Self::P384Sha384 => Nid::SECP384R1,
            Self::Ed25519 => return PKey::public_key_from_raw_bytes(octets, Id::ED25519),
        };
        let group = EcGroup::from_curve_name(curve)?;
        let mut context = BigNumContext::new()?;
        let point = EcPoint::from_bytes(&group, octets, &mut context)?;
        PKey::from_ec_key(EcKey::from_public_key(&group, &point)?)
    }

    fn verify(self, key: &[u8], message: &[u8], signature: &[u8]) -> Result<bool, ErrorStack> {
        let key = self.key(key)?;
        let mut verifier = match self {
            Self::P256Sha256 | Self::P384Sha256 => Verifier::new(MessageDigest::sha256(), &key)?,
            Self::P256Sha384 | Self::P384Sha384 => Verifier::new(MessageDigest::sha384(), &key)?,
            Self::Ed25519 => Verifier::new_without_digest(&key)?,
        };
        verifier.verify_oneshot(signature, message)
    }
}

impl SignatureVerificationAlgorithm for Algorithm {
    fn verify_signature(
        &self,
        key: &[u8],
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), InvalidSignature> {
        match self.verify(key, message, signature) {
            Ok(true) => Ok(()),
            Ok(false) | Err(_) => Err(InvalidSignature),
        }
    }

    fn public_key_alg_id(&self) -> AlgorithmIdentifier {
        match self {
            Self::P256Sha256 | Self::P256Sha384 => alg_id::ECDSA_P256,
            Self::P384Sha256 | Self::P384Sha384 => alg_id::ECDSA_P384,
            Self::Ed25519 => alg_id::ED25519,
        }
    }

    fn signature_alg_id(&self) -> AlgorithmIdentifier {
        match self {
            Self::P256Sha256 | Self::P384Sha256 => alg_id::ECDSA_SHA256,
            Self::P256Sha384 | Self::P384Sha384 => alg_id::ECDSA_SHA384,
            Self::Ed25519 => alg_id::ED25519,
        }
    }
}
