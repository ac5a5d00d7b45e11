//! Certificate revocation lists: version 2, full, direct, numbered (RFC 5280 §5).

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use const_oid::AssociatedOid;
use countersign_keys::SigningKey;
use countersign_trust_store::UnixTime;
use der::asn1::OctetString;
use der::{Decode, Encode};
use x509_cert::certificate::{Rfc5280, Version};
use x509_cert::crl::{CertificateList, RevokedCert, TbsCertList};
use x509_cert::ext::pkix::CrlReason;
use x509_cert::name::Name;

use crate::profile::{CRL, ListField};
use crate::sign::{algorithm_identifier, sign};
use crate::validity::{SECONDS_PER_DAY, Validity, x509_time};
use crate::{Error, Serial, extensions};

/// Why a certificate was revoked (RFC 5280 §5.3.1).
///
/// `certificateHold` and `removeFromCRL` are left out: a revocation that can be taken back needs a reader that is sure
/// to see the next list, and a host without a network is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Reason {
    /// Not said.
    Unspecified,
    /// The private key may be in other hands.
    KeyCompromise,
    /// The authority's private key may be in other hands.
    CaCompromise,
    /// The device changed its owner or its name.
    AffiliationChanged,
    /// Another certificate took its place.
    Superseded,
    /// The device is out of service.
    CessationOfOperation,
    /// The holder may no longer do what the certificate allows.
    PrivilegeWithdrawn,
}

impl Reason {
    /// Every reason.
    pub const ALL: [Self; 7] = [
        Self::Unspecified,
        Self::KeyCompromise,
        Self::CaCompromise,
        Self::AffiliationChanged,
        Self::Superseded,
        Self::CessationOfOperation,
        Self::PrivilegeWithdrawn,
    ];

    /// The spelling on command lines and in records, such as `key-compromise`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unspecified => "unspecified",
            Self::KeyCompromise => "key-compromise",
            Self::CaCompromise => "ca-compromise",
            Self::AffiliationChanged => "affiliation-changed",
            Self::Superseded => "superseded",
            Self::CessationOfOperation => "cessation-of-operation",
            Self::PrivilegeWithdrawn => "privilege-withdrawn",
        }
    }

    /// Whether the certificate's key is lost with it: it gets no certificate any more, and none over it stays valid. Who has the
    /// authority's key may have had this certificate made over a key of their own.
    #[must_use]
    pub fn loses_the_key(self) -> bool {
        matches!(self, Self::KeyCompromise | Self::CaCompromise)
    }

    /// Whether it takes the place of `recorded`, for which the same certificate was revoked before. Nothing that is learned later
    /// makes a certificate valid again or its revocation younger, but that its key is lost must not go unsaid.
    #[must_use]
    pub fn outweighs(self, recorded: Self) -> bool {
        self.loses_the_key() && !recorded.loses_the_key()
    }

    /// RFC 5280 §5.3.1: "unspecified" is said by leaving the extension out.
    fn to_x509(self) -> Option<CrlReason> {
        match self {
            Self::Unspecified => None,
            Self::KeyCompromise => Some(CrlReason::KeyCompromise),
            Self::CaCompromise => Some(CrlReason::CaCompromise),
            Self::AffiliationChanged => Some(CrlReason::AffiliationChanged),
            Self::Superseded => Some(CrlReason::Superseded),
            Self::CessationOfOperation => Some(CrlReason::CessationOfOperation),
            Self::PrivilegeWithdrawn => Some(CrlReason::PrivilegeWithdrawn),
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Reason {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|reason| reason.as_str() == text)
            .ok_or_else(|| {
                let names: Vec<_> = Self::ALL.iter().map(|reason| reason.as_str()).collect();
                format!("{text:?} is not a reason; there are {}", names.join(", "))
            })
    }
}

/// One revoked certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revocation {
    /// Its serial.
    pub serial: Serial,
    /// Since when it is revoked.
    pub at: UnixTime,
    /// Why.
    pub reason: Reason,
}

/// What a revocation list says. [`Issuer::crl`](crate::Issuer::crl) signs it.
#[derive(Clone, Debug)]
pub struct RevocationList<'a> {
    /// The list's number; each list of an issuer has a higher one than all before it.
    pub number: u64,
    /// thisUpdate and nextUpdate.
    pub validity: Validity,
    /// Every certificate of this issuer that is revoked, in any order.
    pub revoked: &'a [Revocation],
}

/// Whether a list (DER) has each of these certificates, with the reason that is said here; false for what is no list.
#[must_use]
pub fn says(list: &[u8], revoked: &[Revocation]) -> bool {
    let Ok(list) = CertificateList::<Rfc5280>::from_der(list) else {
        return false;
    };
    let entries = list.tbs_cert_list.revoked_certificates.unwrap_or_default();
    let reasons: BTreeMap<&[u8], Option<CrlReason>> = entries
        .iter()
        .map(|entry| (unsigned(entry.serial_number.as_bytes()), reason(entry)))
        .collect();
    revoked.iter().all(|revocation| {
        reasons.get(unsigned(revocation.serial.as_bytes())) == Some(&revocation.reason.to_x509())
    })
}

fn reason(entry: &RevokedCert) -> Option<CrlReason> {
    let extensions = entry.crl_entry_extensions.as_ref()?;
    let said = extensions
        .iter()
        .find(|extension| extension.extn_id == CrlReason::OID)?;
    CrlReason::from_der(said.extn_value.as_bytes()).ok()
}

/// A serial number without the octets that only say that it is not negative.
fn unsigned(serial: &[u8]) -> &[u8] {
    let zeros = serial.iter().take_while(|octet| **octet == 0).count();
    serial.get(zeros..).unwrap_or_default()
}

/// Assembles and signs. x509-cert's own builder is not used: it names the authority by its *issuer's* key identifier,
/// and writes an empty list of certificates where RFC 5280 §5.1.2.6 wants none.
pub(crate) fn build(
    list: &RevocationList<'_>,
    issuer: &Name,
    key_id: &OctetString,
    key: &SigningKey,
) -> Result<Vec<u8>, Error> {
    let encoding = || Error::encoding("a revocation list");
    if list.validity.seconds() > CRL.max_days.saturating_mul(SECONDS_PER_DAY) {
        return Err(Error::ValidityTooLong {
            what: "a revocation list",
            limit_days: CRL.max_days,
        });
    }
    let written = CRL
        .extensions
        .iter()
        .map(|field| match field {
            ListField::AuthorityKeyIdentifier => extensions::authority_key_identifier(key_id),
            ListField::CrlNumber => extensions::crl_number(list.number),
        })
        .collect::<Result<Vec<_>, _>>()?;
    let mut revoked: Vec<&Revocation> = list.revoked.iter().collect();
    revoked.sort_by(|a, b| a.serial.cmp(&b.serial));
    revoked.dedup_by(|a, b| a.serial == b.serial);
    let entries = revoked
        .into_iter()
        .map(entry)
        .collect::<Result<Vec<_>, _>>()?;

    let algorithm = algorithm_identifier(key.public_key().algorithm())?;
    let tbs_cert_list: TbsCertList = TbsCertList {
        version: Version::V2,
        signature: algorithm.clone(),
        issuer: issuer.clone(),
        this_update: x509_time(list.validity.not_before())?,
        next_update: Some(x509_time(list.validity.not_after())?),
        revoked_certificates: (!entries.is_empty()).then_some(entries),
        crl_extensions: Some(written),
    };
    let signature = sign(key, &tbs_cert_list.to_der().map_err(encoding())?)?;
    CertificateList {
        tbs_cert_list,
        signature_algorithm: algorithm,
        signature,
    }
    .to_der()
    .map_err(encoding())
}

fn entry(revocation: &Revocation) -> Result<RevokedCert, Error> {
    let reason = revocation
        .reason
        .to_x509()
        .map(extensions::crl_reason)
        .transpose()?;
    Ok(RevokedCert {
        serial_number: revocation.serial.to_x509()?,
        revocation_date: x509_time(revocation.at)?,
        crl_entry_extensions: reason.map(|reason| vec![reason]),
    })
}
