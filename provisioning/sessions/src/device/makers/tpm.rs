//! Whose a TPM is: the certificate of its endorsement key, judged under the roots of makers that the operator names.
//!
//! Decided here: that the certificate is over this very key, for an endorsement key, says which TPM it is, and leads to one of
//! those roots in time. Which makers are to be trusted is the operator's word: a folder of their certificates. Their keys and
//! signatures may be RSA, which is believed nowhere else here, since makers use it and nobody can choose otherwise.
//!
//! Left to others: whether a device's keys live in the TPM of that key (`TPM2_ActivateCredential`), and revocation, for which
//! makers have no lists that a station without a network could get.

use std::path::Path;

use der::Decode as _;
use der::oid::ObjectIdentifier;
use pki_types::{CertificateDer, TrustAnchor, UnixTime as At};
use webpki::{ALL_VERIFICATION_ALGS, EndEntityCert, KeyUsage, anchor_from_trusted_cert};
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::ext::pkix::{ExtendedKeyUsage, SubjectAltName};
use x509_cert::{Certificate, TbsCertificate};

use countersign_trust_store::UnixTime;

use super::{MakerFolder, not_a_makers};
use crate::Error;

/// What an endorsement key's certificate is for: tcg-kp-EKCertificate, 2.23.133.8.1 (TCG EK Credential Profile §3.2.16).
const EK_CERTIFICATE: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.23.133.8.1");

/// What its subjectAltName has of a TPM: manufacturer, model and version (§3.2.9), 2.23.133.2.1 to 3.
const NAMES: [ObjectIdentifier; 3] = [
    ObjectIdentifier::new_unwrap("2.23.133.2.1"),
    ObjectIdentifier::new_unwrap("2.23.133.2.2"),
    ObjectIdentifier::new_unwrap("2.23.133.2.3"),
];

/// `TPM_ALG_RSA` and `TPM_ALG_ECC` (TPM 2.0 part 2, §6.3).
const RSA: [u8; 2] = [0x00, 0x01];
const ECC: [u8; 2] = [0x00, 0x23];

/// What stands before the point of a P-256 key in a SubjectPublicKeyInfo, and before and after the modulus of an RSA key of
/// 2,048 bits with the exponent 65,537.
const P256_HEAD: &[u8] = &[
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a,
    0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00, 0x04,
];
const RSA_HEAD: &[u8] = &[
    0x30, 0x82, 0x01, 0x22, 0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01,
    0x01, 0x05, 0x00, 0x03, 0x82, 0x01, 0x0f, 0x00, 0x30, 0x82, 0x01, 0x0a, 0x02, 0x82, 0x01, 0x01,
    0x00,
];
const RSA_TAIL: &[u8] = &[0x02, 0x03, 0x01, 0x00, 0x01];

/// The makers whose TPMs are taken.
#[derive(Debug)]
pub struct TpmMakers {
    roots: Vec<TrustAnchor<'static>>,
    /// What may stand between a root and a TPM; nobody trusts it for itself.
    between: Vec<CertificateDer<'static>>,
    now: UnixTime,
}

impl TpmMakers {
    /// The certificates in the files of a folder, PEM: those that name themselves as their issuer are roots, the others stand
    /// below them. They are judged as of `now`.
    ///
    /// # Errors
    /// [`Error::Refused`] for a folder or file that others may write to, for what is no certificate, and without a root.
    pub fn read(folder: &Path, now: UnixTime) -> Result<Self, Error> {
        let found = MakerFolder::read(folder)?;
        let roots = found.roots.iter().map(|root| {
            anchor_from_trusted_cert(&CertificateDer::from(root.as_slice()))
                .map(|root| root.to_owned())
                .map_err(|error| not_a_makers(folder, &error))
        });
        Ok(Self {
            roots: roots.collect::<Result<_, _>>()?,
            between: found.below.into_iter().map(CertificateDer::from).collect(),
            now,
        })
    }

    /// Judges the certificate that a TPM has for this endorsement key, given by its public area (`TPMT_PUBLIC`).
    ///
    /// # Errors
    /// [`Error::Attestation`] for a TPM that none of these makers vouches for.
    pub fn judge(&self, area: &[u8], certificate: Option<&[u8]>) -> Result<(), Error> {
        let refused = |reason: &str| {
            Err(Error::attestation(format!(
                "no known maker vouches for the TPM: {reason}; set it aside, or add its maker's certificates to the folder"
            )))
        };
        let Some(der) = certificate else {
            return refused("it has no certificate for its endorsement key");
        };
        let certificate = CertificateDer::from(der);
        let parsed = match EndEntityCert::try_from(&certificate) {
            Ok(parsed) => parsed,
            Err(error) => return refused(&format!("its certificate cannot be read ({error})")),
        };
        if Some(parsed.subject_public_key_info().as_ref()) != key_of(area).as_deref() {
            return refused("its certificate is for another endorsement key");
        }
        let verified = parsed.verify_for_usage(
            ALL_VERIFICATION_ALGS,
            &self.roots,
            &self.between,
            At::since_unix_epoch(std::time::Duration::from_secs(self.now.as_secs())),
            KeyUsage::required_if_present(EK_CERTIFICATE.as_bytes()),
            None,
            None,
        );
        if let Err(error) = verified {
            return refused(&format!("its certificate does not hold ({error})"));
        }
        let Ok(parsed) = Certificate::from_der(der) else {
            return refused("its certificate cannot be read");
        };
        let parsed = parsed.tbs_certificate();
        // Authorities above may leave the purpose open; the certificate itself must name it.
        if !is_for_an_endorsement_key(parsed) {
            return refused("its certificate is not for an endorsement key");
        }
        if !says_which_tpm(parsed) {
            return refused("its certificate does not say which TPM it is for");
        }
        Ok(())
    }
}

/// A public area's key as a SubjectPublicKeyInfo; none for a kind that endorsement keys of ours have not. The key stands at the
/// end of the area, in fields with their lengths before them.
fn key_of(area: &[u8]) -> Option<Vec<u8>> {
    if area.starts_with(&ECC) {
        let (_, point) = area.split_last_chunk::<68>()?;
        let (x, y) = point.split_at(34);
        let coordinate = |field: &[u8]| field.strip_prefix(&[0x00, 0x20]).map(<[u8]>::to_vec);
        return Some([P256_HEAD, &coordinate(x)?, &coordinate(y)?].concat());
    }
    if area.starts_with(&RSA) {
        let (_, modulus) = area.split_last_chunk::<258>()?;
        let modulus = modulus.strip_prefix(&[0x01, 0x00])?;
        return Some([RSA_HEAD, modulus, RSA_TAIL].concat());
    }
    None
}

/// Whether this stands among the certificate's purposes.
fn is_for_an_endorsement_key(certificate: &TbsCertificate) -> bool {
    let Ok(Some((_, ExtendedKeyUsage(purposes)))) = certificate.get_extension() else {
        return false;
    };
    purposes.contains(&EK_CERTIFICATE)
}

/// Whether the certificate's subjectAltName has manufacturer, model and version of a TPM.
fn says_which_tpm(certificate: &TbsCertificate) -> bool {
    let Ok(Some((_, SubjectAltName(names)))) = certificate.get_extension() else {
        return false;
    };
    let told: Vec<ObjectIdentifier> = names
        .iter()
        .filter_map(|name| match name {
            GeneralName::DirectoryName(name) => Some(name),
            _ => None,
        })
        .flat_map(|name| name.iter().map(|part| part.oid))
        .collect();
    NAMES.iter().all(|wanted| told.contains(wanted))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tf12_a_key_is_read_from_its_area_and_nothing_else_is_taken_for_one() {
        let area = [
            &ECC[..],
            &[7; 30],
            &[0x00, 0x20],
            &[1; 32],
            &[0x00, 0x20],
            &[2; 32],
        ]
        .concat();
        let key = key_of(&area).expect("a key");
        assert_eq!(key.len(), 91);
        assert!(key.ends_with(&[[1; 32], [2; 32]].concat()));
        let rsa = [&RSA[..], &[7; 30], &[0x01, 0x00], &[3; 256]].concat();
        assert_eq!(key_of(&rsa).map(|key| key.len()), Some(294));
        let mut short = area.clone();
        let end = short.len() - 34;
        short[end] = 0x01;
        for bad in [&short[..], &area[2..], &ECC, &RSA, &[]] {
            assert_eq!(key_of(bad), None);
        }
    }
}
