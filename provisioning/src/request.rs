//! PKCS#10 certification requests (RFC 2986): who asks, for which key, and the proof that he holds it.
//!
//! A request is read for its key and its identity. Whatever else it asks for (to be a CA, other key usages, names,
//! a hundred years) has no way into a certificate: the profile decides. It is listed, so that an operator sees it.

use countersign_format::DeviceIdentity;
use countersign_keys::PublicKey;
use der::asn1::{AnyRef, BitStringRef, PrintableStringRef, Utf8StringRef};
use der::{Decode, Encode, Sequence};
use spki::AlgorithmIdentifierOwned;
use x509_cert::name::Name;
use x509_cert::request::CertReqInfo;

use crate::Error;
use crate::name::SERIAL_NUMBER;
use crate::sign::algorithm_identifier;

/// The largest request that is read, in bytes. One with a P-256 key, every name and extension is about 1,000.
const MAX_BYTES: usize = 16 * 1024;

/// A request whose signature was verified under the key it carries.
#[derive(Clone, Debug)]
pub struct CertificateRequest {
    public_key: PublicKey,
    subject: String,
    identity: Option<String>,
    ignored: Vec<String>,
}

/// RFC 2986 §4 with the signed part left as it is, because the signature is over those bytes.
#[derive(Sequence)]
struct Outer<'a> {
    info: AnyRef<'a>,
    algorithm: AlgorithmIdentifierOwned,
    signature: BitStringRef<'a>,
}

impl CertificateRequest {
    /// Reads a request and verifies proof of possession: its signature under its own key.
    ///
    /// # Errors
    ///
    /// - [`Error::RequestInvalid`]: larger than 16 KiB, not DER, or signed with an algorithm that does not fit its key;
    /// - [`Error::KeyUnsupported`]: a key that is neither P-256 nor Ed25519;
    /// - [`Error::ProofOfPossession`]: the signature does not verify.
    pub fn verify(request: &[u8]) -> Result<Self, Error> {
        if request.len() > MAX_BYTES {
            return Err(invalid(format!(
                "it is {} bytes, and at most {MAX_BYTES} are read",
                request.len()
            )));
        }
        let not_der =
            |error: der::Error| invalid(format!("it is not a DER PKCS#10 request ({error})"));
        let outer = Outer::from_der(request).map_err(not_der)?;
        let signed = outer.info.to_der().map_err(not_der)?;
        let info = CertReqInfo::from_der(&signed).map_err(not_der)?;

        let spki = info.public_key.to_der().map_err(not_der)?;
        let public_key =
            PublicKey::from_spki_der(&spki).map_err(|error| Error::KeyUnsupported {
                reason: error.to_string(),
            })?;
        let wanted = algorithm_identifier(public_key.algorithm())?;
        if outer.algorithm != wanted {
            return Err(invalid(format!(
                "it is signed with algorithm {}, and a {} key signs requests with {}",
                outer.algorithm.oid,
                public_key.algorithm().name(),
                wanted.oid,
            )));
        }
        let signature = outer.signature.as_bytes().ok_or(Error::ProofOfPossession)?;
        public_key
            .verify_x509(&signed, signature)
            .map_err(|_| Error::ProofOfPossession)?;

        Ok(Self {
            public_key,
            subject: info.subject.to_string(),
            identity: serial_number(&info.subject)?,
            ignored: attributes(&info),
        })
    }

    /// The key whose possession was proven.
    #[must_use]
    pub fn public_key(&self) -> &PublicKey {
        &self.public_key
    }

    /// The name it asks for, for people; it is not taken over.
    #[must_use]
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// What it asks for that has no effect, one line each.
    #[must_use]
    pub fn ignored(&self) -> &[String] {
        &self.ignored
    }

    /// The device this request is for: what the operator says, what the request says in its serialNumber, and an error
    /// when both speak and differ, or neither does.
    ///
    /// # Errors
    ///
    /// [`Error::IdentityMismatch`], or [`Error::RequestInvalid`] when there is no acceptable identity.
    pub fn identity(&self, given: Option<&DeviceIdentity>) -> Result<DeviceIdentity, Error> {
        match (given, &self.identity) {
            (Some(given), Some(requested)) if given.as_str() != requested => {
                Err(Error::IdentityMismatch {
                    requested: requested.clone(),
                    given: given.clone(),
                })
            }
            (Some(given), _) => Ok(given.clone()),
            (None, Some(requested)) => requested.parse().map_err(|error| {
                invalid(format!(
                    "its serialNumber is not a device identity: {error}"
                ))
            }),
            (None, None) => Err(invalid(
                "its subject has no serialNumber to name the device: give the device id yourself"
                    .to_owned(),
            )),
        }
    }
}

fn serial_number(subject: &Name) -> Result<Option<String>, Error> {
    let mut values = subject
        .iter()
        .filter(|attribute| attribute.oid == SERIAL_NUMBER);
    let Some(attribute) = values.next() else {
        return Ok(None);
    };
    // Two identities would let two readers see two devices.
    if values.next().is_some() {
        return Err(invalid(
            "its subject has more than one serialNumber".to_owned(),
        ));
    }
    let printable =
        PrintableStringRef::try_from(&attribute.value).map(|text| text.as_str().to_owned());
    printable
        .or_else(|_| Utf8StringRef::try_from(&attribute.value).map(|text| text.as_str().to_owned()))
        .map(Some)
        .map_err(|_| invalid("the serialNumber of its subject is not text".to_owned()))
}

fn attributes(info: &CertReqInfo) -> Vec<String> {
    info.attributes
        .iter()
        .map(|attribute| match attribute.oid.to_string().as_str() {
            "1.2.840.113549.1.9.14" => "requested extensions (1.2.840.113549.1.9.14)".to_owned(),
            "1.2.840.113549.1.9.7" => "a challenge password (1.2.840.113549.1.9.7)".to_owned(),
            other => format!("attribute {other}"),
        })
        .collect()
}

fn invalid(reason: String) -> Error {
    Error::RequestInvalid { reason }
}
