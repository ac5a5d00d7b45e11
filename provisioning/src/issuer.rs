//! Issuing: what goes into a root, an intermediate and a device's certificate, and what is refused.

use countersign_format::{AttestationHardware, DeviceMetadata, Scope, oid};
use countersign_keys::{Algorithm, PublicKey, SigningKey};
use countersign_trust_store::profile;
use der::asn1::OctetString;
use der::{Decode, Encode};
use rand_core::TryCryptoRng;
use spki::SubjectPublicKeyInfoRef;
use x509_cert::Certificate;
use x509_cert::builder::CertificateBuilder;
use x509_cert::builder::profile::BuilderProfile;
use x509_cert::certificate::TbsCertificate;
use x509_cert::ext::Extension;
use x509_cert::ext::pkix::{BasicConstraints, KeyUsage, KeyUsages, SubjectKeyIdentifier};
use x509_cert::name::Name;

use crate::crl::{self, RevocationList};
use crate::validity::{DEVELOPMENT_ROOT_DAYS, SECONDS_PER_DAY, Validity};
use crate::{CaName, DeviceName, Error, Profile, Serial, extensions, host_name, sign};

/// A certificate that was made, and what has to be recorded before it is handed out.
#[derive(Clone, Debug)]
pub struct Issued {
    /// The certificate, DER.
    pub certificate: Vec<u8>,
    /// Its serial.
    pub serial: Serial,
    /// Its period of validity.
    pub validity: Validity,
}

/// What a root says of itself.
#[derive(Clone, Debug)]
pub struct Root {
    /// Its name, as subject and issuer.
    pub name: CaName,
    /// Its period of validity.
    pub validity: Validity,
    /// How many authorities may follow each other below it: 1 allows intermediates that issue to devices only.
    pub path_length: u8,
    /// Whether it is marked as a root for development. Such a root lives at most 31 days.
    pub development: bool,
}

/// What an intermediate authority is given.
#[derive(Clone, Debug)]
pub struct Intermediate {
    /// Its name.
    pub name: CaName,
    /// Its period of validity, within its issuer's.
    pub validity: Validity,
    /// How many authorities may follow each other below it: 0 unless its issuer allows more.
    pub path_length: u8,
    /// The bounds of what signers below it may sign, if it is to have any of its own.
    pub scope: Option<Scope>,
}

/// What a device's certificate is given. Everything else follows from the [`Profile`].
#[derive(Clone, Debug)]
pub struct EndEntity {
    /// The device.
    pub name: DeviceName,
    /// What is known about it.
    pub metadata: DeviceMetadata,
    /// Its period of validity, within its issuer's. For [`Profile::IDevId`] the end is set to 99991231235959Z.
    pub validity: Validity,
    /// What it may sign; for [`Profile::ComponentSigner`] only.
    pub scope: Option<Scope>,
    /// The kind of hardware that the key lies in, for [`Profile::Attestation`] only; none for a key in software. Whoever fills
    /// it in vouches for it: verifiers believe what such a key says in that hardware's form.
    pub hardware: Option<AttestationHardware>,
    /// Host names; for [`Profile::Tls`] only.
    pub dns_names: Vec<String>,
    /// Whether to say that its revocation will never be published (RFC 9608).
    pub no_rev_avail: bool,
}

/// An authority: its certificate, and the key that belongs to it.
#[derive(Debug)]
pub struct Issuer<'k> {
    key: &'k SigningKey,
    name: Name,
    key_id: OctetString,
    validity: Validity,
    path_length: Option<u8>,
    scope: Option<Scope>,
}

impl<'k> Issuer<'k> {
    /// Makes a self-signed root certificate over `key`.
    ///
    /// # Errors
    ///
    /// [`Error::ValidityTooLong`] for a development root of more than 31 days; [`Error::Sign`], [`Error::Random`].
    pub fn root<R>(key: &SigningKey, root: &Root, rng: &mut R) -> Result<Issued, Error>
    where
        R: TryCryptoRng + ?Sized,
    {
        let limit = DEVELOPMENT_ROOT_DAYS.saturating_mul(SECONDS_PER_DAY);
        if root.development && root.validity.seconds() > limit {
            return Err(Error::ValidityTooLong {
                what: "a development root",
                limit_days: DEVELOPMENT_ROOT_DAYS,
            });
        }
        let name = root.name.to_x509()?;
        let key_id = extensions::key_id(key.public_key())?;
        let mut extensions = authority_extensions(key.public_key(), &key_id, root.path_length)?;
        if root.development {
            extensions.push(extensions::development_root()?);
        }
        let contents = Contents {
            kind: &profile::ROOT,
            issuer: name.clone(),
            subject: name,
            extensions,
        };
        finish(contents, root.validity, key.public_key(), key, rng)
    }

    /// Takes an authority's certificate and its key.
    ///
    /// # Errors
    ///
    /// [`Error::IssuerUnfit`] when the certificate is not a CA's, may not sign certificates and revocation lists, has
    /// no subjectKeyIdentifier, or belongs to another key; [`Error::Encoding`] when it is not a certificate.
    pub fn new(key: &'k SigningKey, certificate: &[u8]) -> Result<Self, Error> {
        let encoding = || Error::encoding("the issuer's certificate");
        let certificate = Certificate::from_der(certificate).map_err(encoding())?;
        let tbs = certificate.tbs_certificate();
        let unfit = |reason: &str| Error::IssuerUnfit {
            subject: tbs.subject().to_string(),
            reason: reason.to_owned(),
        };

        let spki = tbs.subject_public_key_info().to_der().map_err(encoding())?;
        if spki != key.public_key().to_spki_der() {
            return Err(unfit(
                "the key that was opened is not this certificate's key",
            ));
        }
        let path_length = match tbs
            .get_extension::<BasicConstraints>()
            .map_err(encoding())?
        {
            Some((
                _,
                BasicConstraints {
                    ca: true,
                    path_len_constraint,
                },
            )) => path_len_constraint,
            _ => return Err(unfit("it is not a certification authority's certificate")),
        };
        match tbs.get_extension::<KeyUsage>().map_err(encoding())? {
            Some((_, usage)) if usage.key_cert_sign() && usage.crl_sign() => {}
            _ => {
                return Err(unfit(
                    "its key usage does not allow certificates and revocation lists",
                ));
            }
        }
        let key_id = match tbs
            .get_extension::<SubjectKeyIdentifier>()
            .map_err(encoding())?
        {
            Some((_, SubjectKeyIdentifier(key_id))) => key_id,
            None => return Err(unfit("it has no subjectKeyIdentifier")),
        };
        Ok(Self {
            key,
            name: tbs.subject().clone(),
            key_id,
            validity: Validity::from_x509(tbs.validity())?,
            path_length,
            scope: scope_of(tbs)?,
        })
    }

    /// The authority's own period of validity.
    #[must_use]
    pub fn validity(&self) -> Validity {
        self.validity
    }

    /// The bounds on what may be signed below it, if its certificate has any.
    #[must_use]
    pub fn scope(&self) -> Option<&Scope> {
        self.scope.as_ref()
    }

    /// Makes the certificate of an authority below this one.
    ///
    /// # Errors
    ///
    /// [`Error::IssuerUnfit`] when this authority may not have authorities below it, or not that deep;
    /// [`Error::OutsideIssuerValidity`]; [`Error::Scope`] when the scope is wider than this authority's;
    /// [`Error::KeyUnsupported`] when it is this authority's own key.
    pub fn intermediate<R>(
        &self,
        public_key: &PublicKey,
        intermediate: &Intermediate,
        rng: &mut R,
    ) -> Result<Issued, Error>
    where
        R: TryCryptoRng + ?Sized,
    {
        // RFC 5280 §4.2.1.9: pathLenConstraint counts the intermediates that may follow. Ours count strictly downwards.
        if self
            .path_length
            .is_some_and(|length| intermediate.path_length >= length)
        {
            return Err(self.unfit(format!(
                "its path length of {} leaves no room for an authority with a path length of {}",
                self.path_length.unwrap_or_default(),
                intermediate.path_length,
            )));
        }
        self.check_validity(intermediate.validity)?;
        self.check_key(public_key)?;
        self.check_scope(intermediate.scope.as_ref())?;

        let subject = intermediate.name.to_x509()?;
        if subject == self.name {
            return Err(Error::NameInvalid {
                field: "name",
                value: subject.to_string(),
                reason: "an authority needs another name than its issuer",
            });
        }
        let mut extensions =
            authority_extensions(public_key, &self.key_id, intermediate.path_length)?;
        if let Some(scope) = &intermediate.scope {
            extensions.push(extensions::component_scope(scope)?);
        }
        let contents = self.contents(&profile::INTERMEDIATE, subject, extensions);
        finish(contents, intermediate.validity, public_key, self.key, rng)
    }

    /// Makes a device's certificate. The key comes from a [`CertificateRequest`](crate::CertificateRequest), or from
    /// where its possession was seen, such as a secure element in the same room.
    ///
    /// # Errors
    ///
    /// [`Error::OutsideIssuerValidity`], [`Error::ValidityTooLong`], [`Error::Scope`], [`Error::NameInvalid`] for host
    /// names where the profile has none, [`Error::Hardware`] where the profile has none or the key cannot lie in it,
    /// [`Error::KeyUnsupported`] when it is this authority's own key, [`Error::TooLarge`].
    pub fn end_entity<R>(
        &self,
        profile: Profile,
        public_key: &PublicKey,
        request: &EndEntity,
        rng: &mut R,
    ) -> Result<Issued, Error>
    where
        R: TryCryptoRng + ?Sized,
    {
        let rules = profile.rules();
        let validity = match rules.max_days {
            None => Validity::new(
                request.validity.not_before(),
                countersign_trust_store::UnixTime::NO_EXPIRY,
            )?,
            Some(limit_days)
                if request.validity.seconds() > limit_days.saturating_mul(SECONDS_PER_DAY) =>
            {
                return Err(Error::ValidityTooLong {
                    what: rules.name,
                    limit_days,
                });
            }
            Some(_) => {
                self.check_validity(request.validity)?;
                request.validity
            }
        };
        self.check_key(public_key)?;
        self.check_leaf_scope(profile, request.scope.as_ref())?;
        host_name::check(profile, &request.dns_names)?;
        check_hardware(profile, public_key, request.hardware)?;

        let mut extensions = vec![
            extensions::key_usage(KeyUsages::DigitalSignature)?,
            extensions::subject_key_identifier(public_key)?,
            extensions::authority_key_identifier(&self.key_id)?,
            extensions::subject_alt_name(request.name.identity(), &request.dns_names)?,
        ];
        if !rules.extended_key_usage.is_empty() {
            extensions.push(extensions::extended_key_usage(rules.extended_key_usage)?);
        }
        if let Some(scope) = &request.scope {
            extensions.push(extensions::component_scope(scope)?);
        }
        if let Some(hardware) = request.hardware {
            extensions.push(extensions::attested_by(hardware)?);
        }
        extensions.extend(extensions::metadata(&request.metadata)?);
        if request.no_rev_avail {
            extensions.push(extensions::no_rev_avail()?);
        }
        let contents = self.contents(rules.kind, request.name.to_x509()?, extensions);
        finish(contents, validity, public_key, self.key, rng)
    }

    /// Signs a revocation list. The caller makes sure that its number was never used before.
    ///
    /// # Errors
    ///
    /// [`Error::Sign`], [`Error::Encoding`].
    pub fn crl(&self, list: &RevocationList<'_>) -> Result<Vec<u8>, Error> {
        crl::build(list, &self.name, &self.key_id, self.key)
    }

    fn contents(
        &self,
        kind: &'static profile::Profile,
        subject: Name,
        extensions: Vec<Extension>,
    ) -> Contents {
        Contents {
            kind,
            issuer: self.name.clone(),
            subject,
            extensions,
        }
    }

    fn check_validity(&self, asked: Validity) -> Result<(), Error> {
        if self.validity.contains(&asked) {
            return Ok(());
        }
        Err(Error::OutsideIssuerValidity {
            asked_from: asked.not_before(),
            asked_until: asked.not_after(),
            issuer_from: self.validity.not_before(),
            issuer_until: self.validity.not_after(),
        })
    }

    /// A key has one purpose, and an authority's is to issue.
    fn check_key(&self, public_key: &PublicKey) -> Result<(), Error> {
        if public_key == self.key.public_key() {
            return Err(Error::KeyUnsupported {
                reason: "it is the authority's own".to_owned(),
            });
        }
        Ok(())
    }

    /// Each scope lies within the one above it, or hosts refuse the chain.
    fn check_scope(&self, scope: Option<&Scope>) -> Result<(), Error> {
        match (&self.scope, scope) {
            (Some(mine), Some(asked)) if !mine.contains(asked) => Err(Error::Scope {
                reason: format!(
                    "{} is wider than the issuer's own, {}",
                    describe(asked),
                    describe(mine)
                ),
            }),
            _ => Ok(()),
        }
    }

    fn check_leaf_scope(&self, profile: Profile, scope: Option<&Scope>) -> Result<(), Error> {
        if scope.is_some() && !profile.is_scoped() {
            return Err(Error::Scope {
                reason: format!("a {profile} certificate signs no components, so it has none"),
            });
        }
        if scope.is_none() && profile.is_scoped() && self.scope.is_none() {
            return Err(Error::Scope {
                reason: "say which components the device may sign, such as acme:*; without it every host refuses them".to_owned(),
            });
        }
        self.check_scope(scope)
    }

    fn unfit(&self, reason: String) -> Error {
        Error::IssuerUnfit {
            subject: self.name.to_string(),
            reason,
        }
    }
}

/// The kind of hardware says how an attestation is to be read, and that hardware has P-256 keys.
fn check_hardware(
    profile: Profile,
    public_key: &PublicKey,
    hardware: Option<AttestationHardware>,
) -> Result<(), Error> {
    let reason = match hardware {
        None => return Ok(()),
        Some(_) if profile != Profile::Attestation => {
            format!("a {profile} certificate does not say where its key lies; leave it out")
        }
        Some(_) if public_key.algorithm() != Algorithm::Esp256 => {
            "it holds P-256 keys, and this is another; give the attestation key that is in it"
                .to_owned()
        }
        Some(_) => return Ok(()),
    };
    Err(Error::Hardware { reason })
}

/// What an authority's certificate holds, root or not.
fn authority_extensions(
    public_key: &PublicKey,
    issuer_key_id: &OctetString,
    path_length: u8,
) -> Result<Vec<Extension>, Error> {
    Ok(vec![
        extensions::basic_constraints(path_length)?,
        extensions::key_usage(KeyUsages::KeyCertSign | KeyUsages::CRLSign)?,
        extensions::subject_key_identifier(public_key)?,
        extensions::authority_key_identifier(issuer_key_id)?,
    ])
}

/// The scope in a certificate, read as strictly as a host reads it.
fn scope_of(tbs: &TbsCertificate) -> Result<Option<Scope>, Error> {
    let found = tbs
        .extensions()
        .into_iter()
        .flatten()
        .find(|extension| extension.extn_id == oid::COMPONENT_SCOPE);
    found
        .map(|extension| {
            Scope::from_der(extension.extn_value.as_bytes()).map_err(|error| Error::Scope {
                reason: format!("the issuer's own cannot be read: {error}"),
            })
        })
        .transpose()
}

/// A scope in words.
fn describe(scope: &Scope) -> String {
    let list = |items: &[String]| items.join(", ");
    let components: Vec<String> = scope.components().iter().map(ToString::to_string).collect();
    let mut text = list(&components);
    if !scope.audience().devices.is_empty() {
        text.push_str(&format!(" for devices {}", list(&scope.audience().devices)));
    }
    if !scope.audience().types.is_empty() {
        text.push_str(&format!(" for types {}", list(&scope.audience().types)));
    }
    text
}

/// Names and extensions, in the shape that x509-cert's builder asks for them.
struct Contents {
    /// The kind of certificate that hosts must find it to be.
    kind: &'static profile::Profile,
    issuer: Name,
    subject: Name,
    extensions: Vec<Extension>,
}

impl BuilderProfile for Contents {
    fn get_issuer(&self, _subject: &Name) -> Name {
        self.issuer.clone()
    }

    fn get_subject(&self) -> Name {
        self.subject.clone()
    }

    fn build_extensions(
        &self,
        _spk: SubjectPublicKeyInfoRef<'_>,
        _issuer_spk: SubjectPublicKeyInfoRef<'_>,
        _tbs: &TbsCertificate,
    ) -> x509_cert::builder::Result<Vec<Extension>> {
        Ok(self.extensions.clone())
    }
}

fn finish<R>(
    contents: Contents,
    validity: Validity,
    public_key: &PublicKey,
    key: &SigningKey,
    rng: &mut R,
) -> Result<Issued, Error>
where
    R: TryCryptoRng + ?Sized,
{
    let serial = Serial::generate(rng)?;
    let kind = contents.kind;
    let builder = CertificateBuilder::new(
        contents,
        serial.to_x509()?,
        validity.to_x509()?,
        sign::spki(public_key)?,
    )
    .map_err(|_| Error::Encoding {
        what: "a certificate",
        source: der::ErrorKind::Failed.into(),
    })?;
    let certificate = sign::build(builder, key, kind)?
        .to_der()
        .map_err(Error::encoding("a certificate"))?;
    Ok(Issued {
        certificate,
        serial,
        validity,
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use countersign_keys::Signer;

    use super::*;
    use crate::sign::testing::Counting;

    /// A key that notes whether it was asked to sign.
    struct Watched {
        public_key: PublicKey,
        asked: Arc<AtomicBool>,
    }

    impl Signer for Watched {
        fn public_key(&self) -> &PublicKey {
            &self.public_key
        }

        fn sign_unchecked(&self, _message: &[u8]) -> Result<[u8; 64], countersign_keys::Error> {
            self.asked.store(true, Ordering::Relaxed);
            Ok([0; 64])
        }
    }

    #[test]
    fn tg20_what_hosts_would_refuse_is_not_signed() {
        // RFC 8032 §7.1, test 3.
        let octets = "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025";
        let octets: Vec<u8> = (0..32)
            .map(|index| u8::from_str_radix(&octets[2 * index..2 * index + 2], 16).expect("hex"))
            .collect();
        let public_key = PublicKey::from_ed25519_bytes(&octets).expect("a key");
        let asked = Arc::new(AtomicBool::new(false));
        let key = SigningKey::new(Watched {
            public_key: public_key.clone(),
            asked: Arc::clone(&asked),
        });
        let name = CaName::new("Acme", "Root", None)
            .and_then(|name| name.to_x509())
            .expect("a name");
        let key_id = extensions::key_id(&public_key).expect("a key id");
        let sign = |change: fn(&mut Vec<Extension>)| {
            let mut extensions = authority_extensions(&public_key, &key_id, 1).expect("extensions");
            change(&mut extensions);
            let contents = Contents {
                kind: &profile::ROOT,
                issuer: name.clone(),
                subject: name.clone(),
                extensions,
            };
            let at = countersign_trust_store::UnixTime::from_secs(1_800_000_000);
            let validity = Validity::days(at, 10).expect("ten days");
            finish(contents, validity, &public_key, &key, &mut Counting(1))
        };
        let changes: [fn(&mut Vec<Extension>); 3] = [
            |extensions| drop(extensions.remove(0)),
            |extensions| extensions.push(extensions[0].clone()),
            |extensions| extensions[1].critical = false,
        ];
        for change in changes {
            let error = sign(change).expect_err("not a root");
            assert!(matches!(error, Error::Lint { .. }), "{error}");
        }
        assert!(!asked.load(Ordering::Relaxed), "the key was not asked");
        // A sound one reaches the key, whose signature of zeros is then noticed.
        assert!(matches!(sign(|_| ()), Err(Error::Sign { .. })));
        assert!(asked.load(Ordering::Relaxed));
    }
}
