//! From a row of the table of profiles and what was given to the extensions of a certificate.

use countersign_format::{AttestationHardware, DeviceIdentity, DeviceMetadata, Scope};
use countersign_keys::PublicKey;
use der::asn1::OctetString;
use der::flagset::FlagSet;
use x509_cert::ext::Extension;

use crate::profile::{Field, Rules};
use crate::{Error, extensions};

/// What a certificate may be given besides what its profile says.
pub(crate) struct Given<'a> {
    /// The key to certify.
    pub(crate) public_key: &'a PublicKey,
    /// The issuer's subjectKeyIdentifier; a root's is its own.
    pub(crate) issuer_key_id: &'a OctetString,
    /// The subjectKeyIdentifier, if it is not to be the key's own: a stand-in has that of whom it stands in for.
    pub(crate) key_id: Option<&'a OctetString>,
    /// For authorities.
    pub(crate) path_length: Option<u8>,
    /// For devices.
    pub(crate) identity: Option<&'a DeviceIdentity>,
    pub(crate) dns_names: &'a [String],
    pub(crate) metadata: Option<&'a DeviceMetadata>,
    pub(crate) scope: Option<&'a Scope>,
    pub(crate) hardware: Option<AttestationHardware>,
    pub(crate) development: bool,
    pub(crate) no_rev_avail: bool,
}

impl<'a> Given<'a> {
    /// Nothing but the key and whose key signs.
    pub(crate) fn new(public_key: &'a PublicKey, issuer_key_id: &'a OctetString) -> Self {
        Self {
            public_key,
            issuer_key_id,
            key_id: None,
            path_length: None,
            identity: None,
            dns_names: &[],
            metadata: None,
            scope: None,
            hardware: None,
            development: false,
            no_rev_avail: false,
        }
    }
}

/// The extensions of a certificate of the kind `rules`, in the order of the table.
pub(crate) fn extensions(rules: &Rules, given: &Given<'_>) -> Result<Vec<Extension>, Error> {
    let mut written = Vec::new();
    for field in rules.always {
        let before = written.len();
        written.extend(write(*field, rules, given)?);
        // Nothing was given for what must be there: a fault of whoever called, not of the operator.
        if written.len() == before {
            return Err(Error::Encoding {
                what: "a certificate's extensions",
                source: der::ErrorKind::Incomplete {
                    expected_len: der::Length::ONE,
                    actual_len: der::Length::ZERO,
                }
                .into(),
            });
        }
    }
    for field in rules.if_given {
        written.extend(write(*field, rules, given)?);
    }
    Ok(written)
}

/// The extensions of one field; none where nothing was given for it.
fn write(field: Field, rules: &Rules, given: &Given<'_>) -> Result<Vec<Extension>, Error> {
    let one = match field {
        Field::BasicConstraints => given
            .path_length
            .map(extensions::basic_constraints)
            .transpose()?,
        Field::KeyUsage => {
            let usages = rules.key_usage.iter().copied();
            let usages = usages.fold(FlagSet::default(), |set, usage| set | usage);
            Some(extensions::key_usage(usages)?)
        }
        Field::SubjectKeyIdentifier => {
            let own = || extensions::key_id(given.public_key);
            let id = given.key_id.cloned().map_or_else(own, Ok)?;
            Some(extensions::subject_key_identifier(id)?)
        }
        Field::AuthorityKeyIdentifier => {
            Some(extensions::authority_key_identifier(given.issuer_key_id)?)
        }
        Field::SubjectAltName => given
            .identity
            .map(|identity| extensions::subject_alt_name(identity, given.dns_names))
            .transpose()?,
        Field::ExtendedKeyUsage => Some(extensions::extended_key_usage(rules.extended_key_usage)?),
        Field::ComponentScope => given.scope.map(extensions::component_scope).transpose()?,
        Field::AttestedBy => given.hardware.map(extensions::attested_by).transpose()?,
        Field::DevelopmentRoot => given
            .development
            .then(extensions::development_root)
            .transpose()?,
        Field::Metadata => {
            return given
                .metadata
                .map_or_else(|| Ok(Vec::new()), extensions::metadata);
        }
        Field::NoRevAvail => given
            .no_rev_avail
            .then(extensions::no_rev_avail)
            .transpose()?,
    };
    Ok(one.into_iter().collect())
}

#[cfg(test)]
impl Field {
    /// Whether this field is written as the extension `id`.
    pub(crate) fn writes(self, id: der::asn1::ObjectIdentifier) -> bool {
        use countersign_trust_store::oid;

        let ids: &[_] = match self {
            Self::BasicConstraints => &[oid::BASIC_CONSTRAINTS],
            Self::KeyUsage => &[oid::KEY_USAGE],
            Self::SubjectKeyIdentifier => &[oid::SUBJECT_KEY_IDENTIFIER],
            Self::AuthorityKeyIdentifier => &[oid::AUTHORITY_KEY_IDENTIFIER],
            Self::SubjectAltName => &[oid::SUBJECT_ALT_NAME],
            Self::ExtendedKeyUsage => &[oid::EXTENDED_KEY_USAGE],
            Self::ComponentScope => &[oid::COMPONENT_SCOPE],
            Self::AttestedBy => &[oid::ATTESTED_BY],
            Self::DevelopmentRoot => &[oid::DEVELOPMENT_ROOT],
            Self::Metadata => &[
                oid::DEVICE_TYPE,
                oid::HARDWARE_REVISION,
                oid::FIRMWARE_VERSION,
                oid::CAPABILITIES,
            ],
            Self::NoRevAvail => &[oid::NO_REV_AVAIL],
        };
        ids.contains(&id)
    }
}
