//! Whether a certificate is this key's, and one for TLS.

use const_oid::ObjectIdentifier;
use der::{Decode as _, Encode as _};
use x509_cert::Certificate;
use x509_cert::ext::pkix::{BasicConstraints, ExtendedKeyUsage, KeyUsage};

/// RFC 5280 §4.2.1.12.
const CLIENT_AUTH: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.2");
/// RFC 5280 §4.2.1.12.
const SERVER_AUTH: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.1");
/// As many as a host of ours takes: the device's own and two authorities.
const MOST_CERTIFICATES: usize = 3;

/// On which side of a connection a certificate may be shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Client,
    Server,
}

/// Why a key and a chain are no identity for TLS.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TlsIdentityRefused {
    /// The certificate is an authority's.
    #[error(
        "the first certificate is an authority's; give the device's own first, and the authorities' after it"
    )]
    Authority,
    /// There is no certificate, or there are more than any host takes.
    #[error(
        "{count} certificates are given; give the device's own and at most two authorities', without the root"
    )]
    Count {
        /// How many there are.
        count: usize,
    },
    /// A certificate is not DER.
    #[error("certificate {number} of the chain cannot be read; give X.509 certificates in DER")]
    Malformed {
        /// Which one, counted from 1.
        number: usize,
    },
    /// The certificate is of another key.
    #[error(
        "the first certificate is another key's; give the chain that was issued for this key, or name the key that the chain is for"
    )]
    OtherKey,
    /// The certificate is for something else, or for TLS and something else: a key has one purpose.
    #[error(
        "the first certificate is not one for TLS alone; issue one for this key with the profile `tls`, or name the key that has one"
    )]
    Purpose,
}

/// For which sides the chain's first certificate is good.
///
/// # Errors
/// The first rule that is broken.
pub(crate) fn inspect(chain: &[Vec<u8>], public: &[u8]) -> Result<Vec<Side>, TlsIdentityRefused> {
    if !(1..=MOST_CERTIFICATES).contains(&chain.len()) {
        return Err(TlsIdentityRefused::Count { count: chain.len() });
    }
    let mut certificates = Vec::new();
    for (number, der) in (1..).zip(chain) {
        let certificate =
            Certificate::from_der(der).map_err(|_| TlsIdentityRefused::Malformed { number })?;
        certificates.push(certificate);
    }
    let Some(own) = certificates.first().map(Certificate::tbs_certificate) else {
        return Err(TlsIdentityRefused::Count { count: 0 });
    };
    let malformed = |_| TlsIdentityRefused::Malformed { number: 1 };
    let key = own.subject_public_key_info().to_der().map_err(malformed)?;
    if key != public {
        return Err(TlsIdentityRefused::OtherKey);
    }
    if let Some((_, constraints)) = own.get_extension::<BasicConstraints>().map_err(malformed)?
        && constraints.ca
    {
        return Err(TlsIdentityRefused::Authority);
    }
    // RFC 5280 §4.2.1.3: what signs handshakes must say digitalSignature, if it says anything.
    if let Some((_, usage)) = own.get_extension::<KeyUsage>().map_err(malformed)?
        && !usage.digital_signature()
    {
        return Err(TlsIdentityRefused::Purpose);
    }
    // RFC 5280 §4.2.1.12 lets a certificate without this extension serve any purpose. Here that is none.
    let Some((_, ExtendedKeyUsage(usages))) =
        own.get_extension::<ExtendedKeyUsage>().map_err(malformed)?
    else {
        return Err(TlsIdentityRefused::Purpose);
    };
    let mut sides = Vec::new();
    for usage in usages {
        sides.push(match usage {
            CLIENT_AUTH => Side::Client,
            SERVER_AUTH => Side::Server,
            _ => return Err(TlsIdentityRefused::Purpose),
        });
    }
    if sides.is_empty() {
        return Err(TlsIdentityRefused::Purpose);
    }
    Ok(sides)
}
