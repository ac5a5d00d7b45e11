//! What each kind of certificate must, may and must not contain: one table a kind.
//!
//! A profile is a value. The tables below are ours; a test may state another and drive the same code. Extensions that
//! no row names follow RFC 5280 §4.2: refused if critical, ignored if not.

use const_oid::ObjectIdentifier;
use x509_cert::ext::pkix::KeyUsages;

use crate::{Certificate, UnixTime, algorithm::KeyKind, fault::Fault, oid};

/// Whether an extension stands in a certificate of a kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// May be there.
    Allowed,
    /// Must not be there, critical or not.
    Forbidden,
    /// Must be there.
    Required,
}

/// Whether an extension is marked critical.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Criticality {
    /// Must be critical.
    Critical,
    /// Either.
    Either,
    /// Must not be critical.
    NonCritical,
}

/// One row of a profile.
#[derive(Clone, Copy, Debug)]
pub struct ExtensionRule {
    /// The extension.
    pub extension: ObjectIdentifier,
    /// Whether it stands there.
    pub presence: Presence,
    /// Whether it is critical where it stands.
    pub criticality: Criticality,
}

/// The rule for extendedKeyUsage.
#[derive(Clone, Copy, Debug)]
pub enum ExtendedKeyUsageRule {
    /// Absent, or containing the purpose of the path: for CAs, whose extendedKeyUsage narrows what is below them.
    AbsentOrPathPurpose,
    /// Exactly these, in any order: keys have one purpose.
    Exactly(&'static [ObjectIdentifier]),
    /// At least one of these, and no other.
    SomeOf(&'static [ObjectIdentifier]),
}

/// Where in a path a kind of certificate stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Position {
    /// The last one: signs data.
    EndEntity,
    /// Between root and end entity: signs certificates.
    Intermediate,
    /// The trust anchor.
    Root,
}

/// The rules for one kind of certificate.
#[derive(Clone, Copy, Debug)]
pub struct Profile {
    /// The kind's name in messages.
    pub name: &'static str,
    /// Where it stands in a path.
    pub position: Position,
    /// The kinds of key that it may have.
    pub keys: &'static [KeyKind],
    /// The rows for its extensions.
    pub extensions: &'static [ExtensionRule],
    /// Key usage bits that must be set.
    pub key_usage_required: &'static [KeyUsages],
    /// Key usage bits that may be set besides.
    pub key_usage_allowed: &'static [KeyUsages],
    /// The rule for extendedKeyUsage.
    pub extended_key_usage: ExtendedKeyUsageRule,
    /// Whether 99991231235959Z ("no expiry") is a permitted end.
    pub may_never_expire: bool,
}

const fn rule(
    extension: ObjectIdentifier,
    presence: Presence,
    criticality: Criticality,
) -> ExtensionRule {
    ExtensionRule {
        extension,
        presence,
        criticality,
    }
}

use Criticality::{Critical, Either, NonCritical};
use Presence::{Allowed, Forbidden, Required};

/// Rows that all kinds share end the tables: what webpki and we do not process must not be there, lest it be ignored.
macro_rules! table {
    ($($row:expr),* $(,)?) => {
        &[
            $($row,)*
            rule(oid::CERTIFICATE_POLICIES, Allowed, NonCritical),
            rule(oid::CRL_DISTRIBUTION_POINTS, Allowed, NonCritical),
            rule(oid::AUTHORITY_INFO_ACCESS, Allowed, NonCritical),
            rule(oid::NAME_CONSTRAINTS, Forbidden, Either),
            rule(oid::POLICY_CONSTRAINTS, Forbidden, Either),
            rule(oid::POLICY_MAPPINGS, Forbidden, Either),
            rule(oid::INHIBIT_ANY_POLICY, Forbidden, Either),
        ]
    };
}

/// Extensions of an end entity that names a device.
macro_rules! end_entity_table {
    ($($row:expr),* $(,)?) => {
        table![
            rule(oid::AUTHORITY_KEY_IDENTIFIER, Required, NonCritical),
            rule(oid::SUBJECT_KEY_IDENTIFIER, Allowed, NonCritical),
            rule(oid::BASIC_CONSTRAINTS, Allowed, Either),
            rule(oid::KEY_USAGE, Required, Critical),
            rule(oid::SUBJECT_ALT_NAME, Allowed, Either),
            rule(oid::NO_REV_AVAIL, Allowed, NonCritical),
            rule(oid::DEVICE_TYPE, Allowed, NonCritical),
            rule(oid::HARDWARE_REVISION, Allowed, NonCritical),
            rule(oid::FIRMWARE_VERSION, Allowed, NonCritical),
            rule(oid::CAPABILITIES, Allowed, NonCritical),
            rule(oid::DEVELOPMENT_ROOT, Forbidden, Either),
            $($row,)*
        ]
    };
}

/// Extensions of a CA, root or intermediate.
macro_rules! ca_table {
    ($($row:expr),* $(,)?) => {
        table![
            rule(oid::SUBJECT_KEY_IDENTIFIER, Required, NonCritical),
            rule(oid::BASIC_CONSTRAINTS, Required, Critical),
            rule(oid::KEY_USAGE, Required, Critical),
            rule(oid::SUBJECT_ALT_NAME, Allowed, NonCritical),
            rule(oid::COMPONENT_SCOPE, Allowed, NonCritical),
            // RFC 9608 §2: only end entities may say that there is no revocation information.
            rule(oid::NO_REV_AVAIL, Forbidden, Either),
            rule(oid::DEVICE_TYPE, Forbidden, Either),
            rule(oid::ATTESTED_BY, Forbidden, Either),
            $($row,)*
        ]
    };
}

/// 9999-01-01T00:00:00Z: who ends in that year means never, whatever the second.
const NEVER: UnixTime = UnixTime::from_secs(253_370_764_800);

const CA_KEYS: &[KeyKind] = &[KeyKind::P256, KeyKind::Ed25519, KeyKind::P384];
const SIGNER_KEYS: &[KeyKind] = &[KeyKind::P256, KeyKind::Ed25519];

/// A trust anchor: self-signed, compiled in.
pub const ROOT: Profile = Profile {
    name: "root certificate",
    position: Position::Root,
    keys: CA_KEYS,
    extensions: ca_table![
        rule(oid::AUTHORITY_KEY_IDENTIFIER, Allowed, NonCritical),
        rule(oid::EXTENDED_KEY_USAGE, Allowed, Either),
        rule(oid::DEVELOPMENT_ROOT, Allowed, NonCritical),
    ],
    key_usage_required: &[KeyUsages::KeyCertSign, KeyUsages::CRLSign],
    key_usage_allowed: &[KeyUsages::DigitalSignature],
    extended_key_usage: ExtendedKeyUsageRule::AbsentOrPathPurpose,
    may_never_expire: false,
};

/// A CA between the root and the end entities.
pub const INTERMEDIATE: Profile = Profile {
    name: "CA certificate",
    position: Position::Intermediate,
    keys: CA_KEYS,
    extensions: ca_table![
        rule(oid::AUTHORITY_KEY_IDENTIFIER, Required, NonCritical),
        rule(oid::EXTENDED_KEY_USAGE, Allowed, Either),
        rule(oid::DEVELOPMENT_ROOT, Forbidden, Either),
    ],
    key_usage_required: &[KeyUsages::KeyCertSign],
    key_usage_allowed: &[KeyUsages::CRLSign, KeyUsages::DigitalSignature],
    extended_key_usage: ExtendedKeyUsageRule::AbsentOrPathPurpose,
    may_never_expire: false,
};

/// A device that signs components.
pub const COMPONENT_SIGNER: Profile = Profile {
    name: "component signer's certificate",
    position: Position::EndEntity,
    keys: SIGNER_KEYS,
    extensions: end_entity_table![
        rule(oid::EXTENDED_KEY_USAGE, Required, Either),
        rule(oid::COMPONENT_SCOPE, Allowed, NonCritical),
        rule(oid::ATTESTED_BY, Forbidden, Either),
    ],
    key_usage_required: &[KeyUsages::DigitalSignature],
    key_usage_allowed: &[KeyUsages::NonRepudiation],
    extended_key_usage: ExtendedKeyUsageRule::Exactly(&[oid::CODE_SIGNING]),
    may_never_expire: false,
};

/// A device's certificate for TLS.
pub const TLS: Profile = Profile {
    name: "TLS certificate",
    position: Position::EndEntity,
    keys: SIGNER_KEYS,
    extensions: end_entity_table![
        rule(oid::EXTENDED_KEY_USAGE, Required, Either),
        rule(oid::COMPONENT_SCOPE, Forbidden, Either),
        rule(oid::ATTESTED_BY, Forbidden, Either),
    ],
    key_usage_required: &[KeyUsages::DigitalSignature],
    key_usage_allowed: &[],
    extended_key_usage: ExtendedKeyUsageRule::SomeOf(&[oid::CLIENT_AUTH, oid::SERVER_AUTH]),
    may_never_expire: false,
};

/// A device's certificate for the data that its guests have signed.
pub const GUEST_DATA: Profile = Profile {
    name: "guest data certificate",
    position: Position::EndEntity,
    keys: SIGNER_KEYS,
    extensions: end_entity_table![
        rule(oid::EXTENDED_KEY_USAGE, Required, Either),
        rule(oid::COMPONENT_SCOPE, Forbidden, Either),
        rule(oid::ATTESTED_BY, Forbidden, Either),
    ],
    key_usage_required: &[KeyUsages::DigitalSignature],
    key_usage_allowed: &[KeyUsages::NonRepudiation],
    extended_key_usage: ExtendedKeyUsageRule::Exactly(&[oid::DOCUMENT_SIGNING]),
    may_never_expire: false,
};

/// A device's certificate for its attestation key.
pub const ATTESTATION: Profile = Profile {
    name: "attestation certificate",
    position: Position::EndEntity,
    keys: SIGNER_KEYS,
    extensions: end_entity_table![
        rule(oid::EXTENDED_KEY_USAGE, Required, Either),
        rule(oid::COMPONENT_SCOPE, Forbidden, Either),
        rule(oid::ATTESTED_BY, Allowed, NonCritical),
    ],
    key_usage_required: &[KeyUsages::DigitalSignature],
    key_usage_allowed: &[],
    extended_key_usage: ExtendedKeyUsageRule::Exactly(&[oid::ATTESTATION_KEY]),
    may_never_expire: false,
};

/// Who signs bundles: their configuration, the rest of them, or both.
pub const BUNDLE_SIGNER: Profile = Profile {
    name: "bundle signer's certificate",
    position: Position::EndEntity,
    keys: SIGNER_KEYS,
    extensions: end_entity_table![
        rule(oid::EXTENDED_KEY_USAGE, Required, Either),
        rule(oid::COMPONENT_SCOPE, Forbidden, Either),
        rule(oid::ATTESTED_BY, Forbidden, Either),
    ],
    key_usage_required: &[KeyUsages::DigitalSignature],
    key_usage_allowed: &[KeyUsages::NonRepudiation],
    extended_key_usage: ExtendedKeyUsageRule::SomeOf(&[
        oid::UPDATE_PACKAGE_SIGNING,
        oid::CONFIG_SIGNING,
    ]),
    may_never_expire: false,
};

/// A device's initial identity (IEEE 802.1AR IDevID), which has no purpose but that and need not expire.
pub const IDEVID: Profile = Profile {
    name: "initial device identity certificate",
    position: Position::EndEntity,
    keys: SIGNER_KEYS,
    extensions: end_entity_table![
        rule(oid::EXTENDED_KEY_USAGE, Forbidden, Either),
        rule(oid::COMPONENT_SCOPE, Forbidden, Either),
        rule(oid::ATTESTED_BY, Forbidden, Either),
    ],
    key_usage_required: &[KeyUsages::DigitalSignature],
    key_usage_allowed: &[],
    extended_key_usage: ExtendedKeyUsageRule::AbsentOrPathPurpose,
    may_never_expire: true,
};

/// One check of a certificate by itself; the identifier is that of the path's purpose.
type Inspection = fn(&Profile, &Certificate, Option<ObjectIdentifier>) -> Result<(), Fault>;

impl Profile {
    /// Inspects one certificate by itself against this profile.
    ///
    /// `purpose` is the extended key usage that the path is for, which a CA's own must include if it has one.
    ///
    /// # Errors
    /// The first [`Fault`], in the order: key, constraints, extensions, key usage, extended key usage, key identifiers,
    /// policies, validity, device.
    pub fn inspect(
        &self,
        certificate: &Certificate,
        purpose: Option<ObjectIdentifier>,
    ) -> Result<(), Fault> {
        Self::CHECKS
            .iter()
            .try_for_each(|check| check(self, certificate, purpose))
    }

    /// Everything that is wrong with a certificate, as far as each check sees: for people who have to ask another for a
    /// better one. In the order of [`Self::inspect`], whose fault is the first; each check names the first that it meets.
    #[must_use]
    pub fn faults(
        &self,
        certificate: &Certificate,
        purpose: Option<ObjectIdentifier>,
    ) -> Vec<Fault> {
        Self::CHECKS
            .iter()
            .filter_map(|check| check(self, certificate, purpose).err())
            .collect()
    }

    /// The checks, in order. What only end entities say is read in them alone.
    const CHECKS: &'static [Inspection] = &[
        |profile, certificate, _| profile.inspect_key(certificate),
        |profile, certificate, _| profile.inspect_constraints(certificate),
        |profile, certificate, _| profile.inspect_extensions(certificate),
        |profile, certificate, _| profile.inspect_key_usage(certificate),
        Profile::inspect_extended_key_usage,
        |profile, certificate, _| profile.inspect_key_identifiers(certificate),
        |_, certificate, _| certificate.check_distribution_points(),
        |_, certificate, _| certificate.check_policies(),
        |profile, certificate, _| profile.inspect_end(certificate),
        |_, certificate, _| certificate.alternative_names().map(drop),
        |profile, certificate, _| profile.inspect_device(certificate),
        |_, certificate, _| certificate.scope().map(drop),
    ];

    fn inspect_key(&self, certificate: &Certificate) -> Result<(), Fault> {
        if self.keys.contains(&certificate.key_kind()) {
            return Ok(());
        }
        Err(Fault::Algorithm {
            what: format!(
                "a {} key, which a {} must not have",
                certificate.key_kind().name(),
                self.name
            ),
        })
    }

    fn inspect_end(&self, certificate: &Certificate) -> Result<(), Fault> {
        if certificate.not_after() >= NEVER && !self.may_never_expire {
            return Err(Fault::Validity {
                reason: "it never ends",
            });
        }
        Ok(())
    }

    /// What an end entity says of its device.
    fn inspect_device(&self, certificate: &Certificate) -> Result<(), Fault> {
        if self.position != Position::EndEntity {
            return Ok(());
        }
        certificate.device()?;
        certificate.check_metadata()?;
        self.inspect_hardware(certificate)?;
        certificate.check_no_rev_avail()
    }

    /// What the hardware of an attestation key signs, it signs with P-256: no other key can lie there.
    fn inspect_hardware(&self, certificate: &Certificate) -> Result<(), Fault> {
        match certificate.attested_by()? {
            Some(hardware) if certificate.key_kind() != KeyKind::P256 => Err(Fault::Key {
                reason: format!(
                    "the certificate says that it lies in hardware ({hardware}), which has P-256 keys, and it is {}",
                    certificate.key_kind().name()
                ),
            }),
            _ => Ok(()),
        }
    }

    /// RFC 5280 §4.2.1.9. First of the extensions, because "this is no CA" says more than "this lacks an extension".
    fn inspect_constraints(&self, certificate: &Certificate) -> Result<(), Fault> {
        let constraints = certificate.basic_constraints()?;
        let is_ca = constraints
            .as_ref()
            .is_some_and(|constraints| constraints.ca);
        match self.position {
            Position::EndEntity if is_ca => Err(Fault::LeafIsCa),
            // RFC 5280 §4.2.1.9: no pathLenConstraint unless cA is set.
            Position::EndEntity if constraints.is_some_and(|c| c.path_len_constraint.is_some()) => {
                Err(Fault::ExtensionMalformed {
                    extension: oid::name(oid::BASIC_CONSTRAINTS),
                })
            }
            Position::Intermediate | Position::Root if !is_ca => Err(Fault::NotACa),
            _ => Ok(()),
        }
    }

    fn inspect_extensions(&self, certificate: &Certificate) -> Result<(), Fault> {
        for (id, critical) in certificate.extensions() {
            let Some(rule) = self.extensions.iter().find(|rule| rule.extension == id) else {
                if critical {
                    return Err(Fault::ExtensionUnknown {
                        extension: oid::display(id),
                    });
                }
                continue;
            };
            if rule.presence == Presence::Forbidden {
                return Err(Fault::ExtensionForbidden {
                    extension: oid::name(id),
                    profile: self.name,
                });
            }
            let must_be_critical = match rule.criticality {
                Criticality::Critical => true,
                Criticality::NonCritical => false,
                Criticality::Either => continue,
            };
            if critical != must_be_critical {
                return Err(Fault::ExtensionCriticality {
                    extension: oid::name(id),
                    must_be_critical,
                });
            }
        }
        for rule in self
            .extensions
            .iter()
            .filter(|rule| rule.presence == Presence::Required)
        {
            let present = certificate.extensions().any(|(id, _)| id == rule.extension);
            // Absent key usages have codes of their own, below.
            if !present
                && rule.extension != oid::KEY_USAGE
                && rule.extension != oid::EXTENDED_KEY_USAGE
            {
                return Err(Fault::ExtensionMissing {
                    extension: oid::name(rule.extension),
                    profile: self.name,
                });
            }
        }
        Ok(())
    }

    /// RFC 5280 §4.2.1.3. Stricter: absent key usage permits nothing.
    fn inspect_key_usage(&self, certificate: &Certificate) -> Result<(), Fault> {
        let set = certificate
            .key_usage()?
            .map(|usage| usage.0)
            .unwrap_or_default();
        if let Some(missing) = self
            .key_usage_required
            .iter()
            .find(|bit| !set.contains(**bit))
        {
            return Err(Fault::KeyUsage {
                usage: usage_name(*missing),
                missing: true,
            });
        }
        let permitted = |bit: &KeyUsages| {
            self.key_usage_required.contains(bit) || self.key_usage_allowed.contains(bit)
        };
        match set.into_iter().find(|bit| !permitted(bit)) {
            Some(extra) => Err(Fault::KeyUsage {
                usage: usage_name(extra),
                missing: false,
            }),
            None => Ok(()),
        }
    }

    /// RFC 5280 §4.2.1.12. Stricter: anyExtendedKeyUsage stands for nothing.
    fn inspect_extended_key_usage(
        &self,
        certificate: &Certificate,
        purpose: Option<ObjectIdentifier>,
    ) -> Result<(), Fault> {
        let found = certificate.extended_key_usage()?;
        let listed = found.as_deref().unwrap_or_default();
        let (satisfied, needed) = match self.extended_key_usage {
            ExtendedKeyUsageRule::AbsentOrPathPurpose => (
                found.is_none() || purpose.is_some_and(|purpose| listed.contains(&purpose)),
                purpose.into_iter().collect(),
            ),
            ExtendedKeyUsageRule::Exactly(all) => (
                all.len() == listed.len() && all.iter().all(|id| listed.contains(id)),
                all.to_vec(),
            ),
            ExtendedKeyUsageRule::SomeOf(some) => (
                !listed.is_empty() && listed.iter().all(|id| some.contains(id)),
                some.to_vec(),
            ),
        };
        if satisfied {
            return Ok(());
        }
        Err(Fault::ExtendedKeyUsage {
            needed: usage_list(&needed),
            found: usage_list(listed),
        })
    }

    /// RFC 5280 §4.2.1.1: the authority key identifier names the issuer's key by keyIdentifier. Stricter: only so,
    /// because the other form is not checked by anyone.
    fn inspect_key_identifiers(&self, certificate: &Certificate) -> Result<(), Fault> {
        // RFC 5280 §4.2.1.2: nobody looks for an end entity's own, but what stands there is what it says it is.
        let own = certificate.subject_key_identifier()?;
        if own.is_some_and(|own| own.0.as_bytes().is_empty()) {
            return Err(Fault::KeyIdentifier {
                reason: "subjectKeyIdentifier is empty",
            });
        }
        let Some(identifier) = certificate.authority_key_identifier()? else {
            return Ok(());
        };
        if identifier.key_identifier.is_none() {
            return Err(Fault::KeyIdentifier {
                reason: "authorityKeyIdentifier has no keyIdentifier",
            });
        }
        if identifier.authority_cert_issuer.is_some()
            || identifier.authority_cert_serial_number.is_some()
        {
            return Err(Fault::KeyIdentifier {
                reason: "authorityKeyIdentifier names its issuer by name and number",
            });
        }
        Ok(())
    }
}

const fn usage_name(usage: KeyUsages) -> &'static str {
    match usage {
        KeyUsages::DigitalSignature => "digitalSignature",
        KeyUsages::NonRepudiation => "nonRepudiation",
        KeyUsages::KeyEncipherment => "keyEncipherment",
        KeyUsages::DataEncipherment => "dataEncipherment",
        KeyUsages::KeyAgreement => "keyAgreement",
        KeyUsages::KeyCertSign => "keyCertSign",
        KeyUsages::CRLSign => "cRLSign",
        KeyUsages::EncipherOnly => "encipherOnly",
        KeyUsages::DecipherOnly => "decipherOnly",
    }
}

fn usage_list(ids: &[ObjectIdentifier]) -> String {
    if ids.is_empty() {
        return "none".to_owned();
    }
    let names: Vec<_> = ids
        .iter()
        .map(|id| match oid::name(*id) {
            "an unknown extension" => id.to_string(),
            name => name.to_owned(),
        })
        .collect();
    names.join(", ")
}
