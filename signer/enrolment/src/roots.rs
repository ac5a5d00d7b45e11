//! Roots that are given here: which certificates may be one, and whether what an authority shows of itself leads to one.
//!
//! Left to others: the path of a device's own certificate ([`Expected::judge`](crate::Expected::judge)).

use std::time::Duration;

use der::{Decode as _, Encode as _};
use pki_types::CertificateDer;
use webpki::EndEntityCert;
use x509_cert::Certificate;
use x509_cert::ext::pkix::{BasicConstraints, KeyUsage};

use crate::EnrolError;
use crate::judge::{MOST_SKEW, Mismatch};

/// Certificates that may be roots, DER: an authority's, signed by themselves, not past their end. There is no other way to have them
/// than [`Roots::new`].
///
/// ```compile_fail,E0423
/// let roots = countersign_enrolment::Roots(Vec::new());
/// ```
#[derive(Clone, Debug)]
pub struct Roots(Vec<Vec<u8>>);

/// What keeps a certificate from being a root.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RootFault {
    /// It is not an authority's.
    #[error("it is no authority's certificate (basicConstraints says no CA)")]
    Authority,
    /// Its end has passed.
    #[error(
        "its end has passed; ask for the root that took its place, and check this machine's clock"
    )]
    Expired,
    /// It cannot be read.
    #[error("it cannot be read as an X.509 certificate")]
    Form,
    /// Its key may not sign certificates.
    #[error("its key may not sign certificates (keyUsage)")]
    KeyUsage,
    /// Another one issued it.
    #[error("another authority issued it, so that it is no root but what stands below one")]
    NotSelfIssued,
    /// Its signature is not its own.
    #[error("its own key did not sign it, or by an algorithm that is not known here")]
    SelfSignature,
}

impl Roots {
    /// Takes these certificates, DER, for roots, all or none. `floor` is a time since 1970 that has surely passed: what ended before
    /// it is no root any more. One that has not begun yet is one, since a device's clock may be behind.
    ///
    /// # Errors
    /// [`EnrolError::Root`] for the first that may not be one; [`EnrolError::Unusable`] if there is none.
    pub fn new(certificates: Vec<Vec<u8>>, floor: Duration) -> Result<Self, EnrolError> {
        if certificates.is_empty() {
            return Err(EnrolError::Unusable {
                what: "the roots",
                why: "there is none; give the one that the certificate leads to".to_owned(),
            });
        }
        for (index, der) in certificates.iter().enumerate() {
            check(der, floor).map_err(|(subject, fault)| EnrolError::Root {
                number: index.saturating_add(1),
                subject,
                fault,
            })?;
        }
        Ok(Self(certificates))
    }

    /// The certificates.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &[u8]> {
        self.0.iter().map(Vec::as_slice)
    }

    /// Whether an authority that shows these certificates (RFC 7030 §4.1.3: its roots, and all that is needed from them to its own) is
    /// one of these roots', at `now`.
    ///
    /// # Errors
    /// [`Mismatch::Authorities`].
    pub(crate) fn judge_authorities(
        &self,
        shown: &[Vec<u8>],
        now: Duration,
    ) -> Result<(), Mismatch> {
        let refuse = |why: &'static str| Err(Mismatch::Authorities { why });
        let read: Vec<Certificate> = shown
            .iter()
            .filter_map(|der| Certificate::from_der(der).ok())
            .filter(is_authority)
            .collect();
        let mut below = read.iter().filter(|one| !is_self_issued(one)).peekable();
        if below.peek().is_none() {
            // An authority that issues with its root's key.
            let same = |der: &&Vec<u8>| self.iter().any(|root| root == der.as_slice());
            return match shown
                .iter()
                .find(same)
                .map(|der| Certificate::from_der(der))
            {
                Some(Ok(root)) if is_valid(&root, now) => Ok(()),
                Some(_) => refuse("its root is not valid now"),
                None => refuse("its root is none of them"),
            };
        }
        let mut is_ours = false;
        for one in below {
            if self.iter().any(|root| signed(root, one)) {
                is_ours = true;
                if is_valid(one, now) {
                    return Ok(());
                }
            }
        }
        if is_ours {
            refuse("none of its certificates is valid now")
        } else {
            refuse("none of its certificates was issued by one of them")
        }
    }
}

fn check(der: &[u8], floor: Duration) -> Result<(), (String, RootFault)> {
    let root = Certificate::from_der(der).map_err(|_| (String::new(), RootFault::Form))?;
    let fault = if !is_self_issued(&root) {
        RootFault::NotSelfIssued
    } else if !has_basic_constraints(&root) {
        RootFault::Authority
    } else if !may_sign(&root) {
        RootFault::KeyUsage
    } else if root
        .tbs_certificate()
        .validity()
        .not_after
        .to_unix_duration()
        < floor
    {
        RootFault::Expired
    } else if !signed(der, &root) {
        RootFault::SelfSignature
    } else {
        return Ok(());
    };
    Err((root.tbs_certificate().subject().to_string(), fault))
}

fn is_authority(certificate: &Certificate) -> bool {
    has_basic_constraints(certificate) && may_sign(certificate)
}

/// RFC 5280 §4.2.1.9.
fn has_basic_constraints(certificate: &Certificate) -> bool {
    let found = certificate.tbs_certificate().get_extension();
    matches!(found, Ok(Some((_, BasicConstraints { ca: true, .. }))))
}

/// RFC 5280 §4.2.1.3: without the extension, a key may do anything.
fn may_sign(certificate: &Certificate) -> bool {
    match certificate.tbs_certificate().get_extension::<KeyUsage>() {
        Ok(Some((_, usage))) => usage.key_cert_sign(),
        Ok(None) => true,
        Err(_) => false,
    }
}

fn is_self_issued(certificate: &Certificate) -> bool {
    let tbs = certificate.tbs_certificate();
    tbs.issuer() == tbs.subject()
}

fn is_valid(certificate: &Certificate, now: Duration) -> bool {
    let validity = certificate.tbs_certificate().validity();
    let begins = validity.not_before.to_unix_duration();
    begins <= now.saturating_add(MOST_SKEW) && now <= validity.not_after.to_unix_duration()
}

/// Whether the root (DER) issued the certificate: by its name, and by its key.
fn signed(root: &[u8], certificate: &Certificate) -> bool {
    let Ok(above) = Certificate::from_der(root) else {
        return false;
    };
    if above.tbs_certificate().subject() != certificate.tbs_certificate().issuer() {
        return false;
    }
    let root = CertificateDer::from(root);
    // webpki's name for any certificate whose key verifies something.
    let (Ok(key), Ok(message), Some(signature)) = (
        EndEntityCert::try_from(&root),
        certificate.tbs_certificate().to_der(),
        certificate.signature().as_bytes(),
    ) else {
        return false;
    };
    // An algorithm that does not fit the key or the signature verifies nothing.
    let known = rustls::crypto::ring::default_provider().signature_verification_algorithms;
    let identifier = certificate
        .signature_algorithm()
        .to_der()
        .unwrap_or_default();
    known
        .all
        .iter()
        .filter(|algorithm| identifier.ends_with(algorithm.signature_alg_id().as_ref()))
        .any(|algorithm| {
            key.verify_signature(*algorithm, &message, signature)
                .is_ok()
        })
}
