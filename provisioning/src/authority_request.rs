//! The request of an authority whose certificate another company's authority is to issue (RFC 2986).

use countersign_format::Scope;
use countersign_keys::SigningKey;
use der::Encode;
use x509_cert::attr::{Attribute, Attributes};
use x509_cert::request::{CertReq, CertReqInfo, ExtensionReq, Version};

use crate::fields::{self, Given};
use crate::{CaName, Error, extensions, profile, sign};

/// Makes a PKCS#10 request for an authority, DER: its name, its key with proof of possession, and the extensions that its
/// certificate should have, but for authorityKeyIdentifier, which its issuer knows.
///
/// # Errors
///
/// [`Error::Sign`], [`Error::Encoding`].
pub fn authority_request(
    key: &SigningKey,
    name: &CaName,
    path_length: u8,
    scope: Option<&Scope>,
) -> Result<Vec<u8>, Error> {
    let encoding = || Error::encoding("a certification request");
    let key_id = extensions::key_id(key.public_key())?;
    let given = Given {
        path_length: Some(path_length),
        scope,
        ..Given::new(key.public_key(), &key_id)
    };
    let mut wanted = fields::extensions(&profile::INTERMEDIATE, &given)?;
    wanted.retain(|extension| extension.extn_id != extensions::AUTHORITY_KEY_IDENTIFIER);
    let attribute = Attribute::try_from(ExtensionReq(wanted)).map_err(encoding())?;
    let info = CertReqInfo {
        version: Version::V1,
        subject: name.to_x509()?,
        public_key: sign::spki(key.public_key())?,
        attributes: Attributes::try_from(vec![attribute]).map_err(encoding())?,
    };
    let signature = sign::sign(key, &info.to_der().map_err(encoding())?)?;
    CertReq {
        info,
        algorithm: sign::algorithm_identifier(key.public_key().algorithm())?,
        signature,
    }
    .to_der()
    .map_err(encoding())
}
