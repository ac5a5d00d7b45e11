//! Whether what came back is this device's certificate. Nothing else than what passes here may be written anywhere.

use std::time::Duration;

use countersign_format::DeviceIdentity;
use countersign_keys::PublicKey;
use pki_types::{CertificateDer, UnixTime};
use webpki::{EndEntityCert, KeyUsage, anchor_from_trusted_cert};
use x509_cert::der::asn1::ObjectIdentifier;

use crate::{CertificateUnreadable, Own, Roots};

/// The purposes of devices' certificates: TLS (both sides), components, guests' data, attestation, bundles, configuration.
const PURPOSES: &[ObjectIdentifier] = &[
    ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.2"),
    ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.1"),
    ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.3"),
    ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.36"),
    ObjectIdentifier::new_unwrap("2.23.133.8.3"),
    ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.41"),
    ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.42"),
];

/// Certificates of authorities between the device's own and the root: as many as a host of ours takes.
const MOST_INTERMEDIATES: usize = 2;

/// So much may an authority's clock be ahead of the device's.
pub(crate) const MOST_SKEW: Duration = Duration::from_secs(300);

/// Why what came back is not this device's certificate. All of them have one code: the device was given something that was made
/// for another, by a mistake of the authority or by somebody between it and the device.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Mismatch {
    /// The authority is none of the roots'. That is known before anything is asked of it.
    #[error(
        "the authority does not belong to a root that is given here ({why}); no certificate was asked for, so check that these are its roots and that this machine's clock is right"
    )]
    Authorities {
        /// What is wrong with the certificates that it shows.
        why: &'static str,
    },
    /// None of the certificates is for the key.
    #[error(
        "the authority sent no certificate for the key that asked; nothing was written, so ask its operator what it issued"
    )]
    Key,
    /// It names another device.
    #[error(
        "the certificate is for {}, and {wanted} asked; nothing was written, so ask the authority's operator what it issued",
        .found.as_ref().map_or_else(|| "no device that it names".to_owned(), |found| format!("the device {found:?}"))
    )]
    Device {
        /// The device that asked.
        wanted: DeviceIdentity,
        /// The device that the certificate names.
        found: Option<String>,
    },
    /// It leads to none of the roots.
    #[error(
        "the certificate does not lead to a root that is given here ({why}); check that these are the authority's roots and that this machine's clock is right"
    )]
    Root {
        /// What path validation says.
        why: String,
    },
    /// It is for another purpose than the one before.
    #[error(
        "the certificate is for another purpose than the one that it is to replace; nothing was written, so ask the authority's operator which profile it used"
    )]
    Purpose,
    /// It ends no later than the one before.
    #[error(
        "the certificate ends no later than the one that it is to replace; nothing was written, so ask the authority's operator which one it sent"
    )]
    NotNewer,
}

/// What a device expects of a certificate.
#[derive(Clone, Debug)]
pub struct Expected<'a> {
    /// The key that asked.
    pub key: &'a PublicKey,
    /// The device that asked.
    pub device: &'a DeviceIdentity,
    /// The roots, of which one must have led to it.
    pub roots: &'a Roots,
    /// The certificate that it is to replace, if there is one.
    pub replaces: Option<&'a Own>,
}

/// A chain that is this device's: its certificate first, the root not among them. There is no other way to have one than
/// [`Expected::judge`].
///
/// ```compile_fail,E0451
/// # fn forge(own: countersign_enrolment::Own) {
/// let chain = countersign_enrolment::IssuedChain { chain: Vec::new(), own };
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct IssuedChain {
    chain: Vec<Vec<u8>>,
    own: Own,
}

impl IssuedChain {
    /// The certificates, DER.
    #[must_use]
    pub fn certificates(&self) -> &[Vec<u8>] {
        &self.chain
    }

    /// The device's certificate.
    #[must_use]
    pub fn own(&self) -> &Own {
        &self.own
    }
}

impl Expected<'_> {
    /// Looks among the certificates of an answer, which come in any order, for the one that is meant, and builds its chain with
    /// the others and with `more`, which the server says are its authorities'. `now` is the time since 1970 at which the answer came;
    /// a certificate that begins up to five minutes later is judged at its beginning, since authorities' clocks and devices' differ.
    ///
    /// # Errors
    /// The first [`Mismatch`].
    pub fn judge(
        &self,
        sent: &[Vec<u8>],
        more: &[Vec<u8>],
        now: Duration,
    ) -> Result<IssuedChain, Mismatch> {
        let spki = self.key.to_spki_der();
        // Certificates that cannot be read are nobody's; with one that can, what remains is judged.
        let found = sent
            .iter()
            .filter_map(|der| Some((der, Own::parse(der).ok()?)))
            .find(|(_, own)| own.spki() == spki);
        let Some((der, own)) = found else {
            return Err(Mismatch::Key);
        };
        if own.device() != Some(self.device.as_str()) {
            return Err(Mismatch::Device {
                wanted: self.device.clone(),
                found: own.device().map(Into::into),
            });
        }
        let begins = Duration::from_secs(own.not_before());
        let at = if begins.saturating_sub(now) <= MOST_SKEW {
            now.max(begins)
        } else {
            now
        };
        let chain = self.path(der, &own, (sent, more), at)?;
        if let Some(old) = self.replaces {
            let sorted = |own: &Own| {
                let mut purposes = own.purposes().to_vec();
                purposes.sort_unstable();
                purposes
            };
            if sorted(old) != sorted(&own) {
                return Err(Mismatch::Purpose);
            }
            if own.not_after() <= old.not_after() {
                return Err(Mismatch::NotNewer);
            }
        }
        Ok(IssuedChain { chain, own })
    }

    /// The path from the certificate to one of the roots, by webpki.
    fn path(
        &self,
        own_der: &[u8],
        own: &Own,
        (sent, more): (&[Vec<u8>], &[Vec<u8>]),
        at: Duration,
    ) -> Result<Vec<Vec<u8>>, Mismatch> {
        let refuse = |why: String| Mismatch::Root { why };
        let roots: Vec<CertificateDer<'_>> = self.roots.iter().map(CertificateDer::from).collect();
        let mut anchors = Vec::new();
        for root in &roots {
            let anchor = anchor_from_trusted_cert(root);
            anchors
                .push(anchor.map_err(|error| refuse(format!("a root cannot be used: {error}")))?);
        }
        let intermediates: Vec<CertificateDer<'_>> = sent
            .iter()
            .chain(more)
            .filter(|der| der.as_slice() != own_der)
            .map(|der| CertificateDer::from(der.as_slice()))
            .collect();
        let purpose = match own.purposes() {
            // RFC 5280 §4.2.1.12: without the extension, a certificate is for any purpose.
            [] => PURPOSES.first(),
            purposes => PURPOSES.iter().find(|known| purposes.contains(known)),
        };
        let Some(purpose) = purpose else {
            return Err(refuse(
                "it is for no purpose that devices have keys for".to_owned(),
            ));
        };
        let leaf = CertificateDer::from(own_der);
        let leaf = EndEntityCert::try_from(&leaf).map_err(|error| refuse(error.to_string()))?;
        let algorithms = rustls::crypto::ring::default_provider().signature_verification_algorithms;
        let path = leaf
            .verify_for_usage(
                algorithms.all,
                &anchors,
                &intermediates,
                UnixTime::since_unix_epoch(at),
                KeyUsage::required_if_present(purpose.as_bytes()),
                // Whether it is revoked is asked by those who rely on it, with lists that they have.
                None,
                None,
            )
            .map_err(|error| refuse(error.to_string()))?;
        let mut chain = vec![own_der.to_vec()];
        chain.extend(
            path.intermediate_certificates()
                .map(|above| above.der().to_vec()),
        );
        if chain.len() > MOST_INTERMEDIATES.saturating_add(1) {
            return Err(refuse(format!(
                "{} authorities stand between it and the root; hosts take {MOST_INTERMEDIATES}",
                chain.len().saturating_sub(1)
            )));
        }
        Ok(chain)
    }
}

impl From<CertificateUnreadable> for Mismatch {
    fn from(error: CertificateUnreadable) -> Self {
        Self::Root {
            why: error.to_string(),
        }
    }
}
