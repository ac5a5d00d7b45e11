//! Issuing: what goes into a root, an intermediate and a device's certificate, and what is refused.

use std::collections::BTreeSet;
use std::sync::Mutex;

use countersign_format::{AttestationHardware, DeviceMetadata, Scope, oid};
use countersign_keys::{Algorithm, PublicKey, SigningKey};
use countersign_trust_store::UnixTime;
use der::asn1::{ObjectIdentifier, OctetString};
use der::{Decode, Encode};
use rand_core::TryCryptoRng;
use x509_cert::Certificate;
use x509_cert::certificate::TbsCertificate;
use x509_cert::ext::pkix::{BasicConstraints, KeyUsage, SubjectKeyIdentifier};
use x509_cert::name::Name;

use crate::crl::{self, RevocationList};
use crate::draft::Draft;
use crate::fields::{self, Given};
use crate::profile::{self, Field, Life, Rules};
use crate::rehearsal::{self, StandIn};
use crate::validity::{DEVELOPMENT_ROOT_DAYS, SECONDS_PER_DAY, Validity};
use crate::{CaName, DeviceName, Error, Profile, Serial, extensions, host_name};

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
    /// What was rehearsed since this was made.
    rehearsed: Mutex<BTreeSet<Shape>>,
}

/// What two certificates have in common that hosts judge alike: the kind, the kind of key, and which extensions there are.
type Shape = (&'static str, &'static str, Vec<ObjectIdentifier>);

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
        if root.development {
            check_life("a development root", DEVELOPMENT_ROOT_DAYS, root.validity)?;
        }
        check_profile_life(&profile::ROOT, root.validity)?;
        let name = root.name.to_x509()?;
        let serial = Serial::generate(rng)?;
        let make = |key: &SigningKey| {
            Draft {
                rules: &profile::ROOT,
                issuer: name.clone(),
                subject: name.clone(),
                validity: root.validity,
                serial: serial.clone(),
                given: Given {
                    path_length: Some(root.path_length),
                    development: root.development,
                    ..Given::new(key.public_key(), &extensions::key_id(key.public_key())?)
                },
            }
            .sign(key)
        };
        let algorithm = key.public_key().algorithm();
        let newcomer = rehearsal::newcomer(algorithm, &name, root.validity, None, rng)?;
        newcomer.judge_root(make(&newcomer.key)?, rng)?;
        Ok(Issued {
            certificate: make(key)?,
            serial,
            validity: root.validity,
        })
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
            rehearsed: Mutex::default(),
        })
    }

    /// The authority's own period of validity.
    #[must_use]
    pub fn validity(&self) -> Validity {
        self.validity
    }

    /// How many authorities may follow each other below it; none if its certificate does not say.
    #[must_use]
    pub fn path_length(&self) -> Option<u8> {
        self.path_length
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
        let serial = Serial::generate(rng)?;
        self.intermediate_numbered(serial, public_key, intermediate, rng)
    }

    /// The same with a serial that was put on record before: so that whatever is signed is on record already.
    ///
    /// # Errors
    ///
    /// As [`Issuer::intermediate`].
    pub fn intermediate_numbered<R>(
        &self,
        serial: Serial,
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
        check_profile_life(&profile::INTERMEDIATE, intermediate.validity)?;
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
        let make = |public_key: &PublicKey, signer: &SigningKey| {
            Draft {
                rules: &profile::INTERMEDIATE,
                issuer: self.name.clone(),
                subject: subject.clone(),
                validity: intermediate.validity,
                serial: serial.clone(),
                given: Given {
                    path_length: Some(intermediate.path_length),
                    scope: intermediate.scope.as_ref(),
                    ..Given::new(public_key, &self.key_id)
                },
            }
            .sign(signer)
        };
        let stand_in = self.stand_in(rng)?;
        let newcomer = rehearsal::newcomer(
            public_key.algorithm(),
            &subject,
            intermediate.validity,
            intermediate.scope.as_ref().or(self.scope.as_ref()),
            rng,
        )?;
        let rehearsed = make(newcomer.key.public_key(), &stand_in.key)?;
        stand_in.judge_authority(&newcomer, rehearsed, rng)?;
        Ok(Issued {
            certificate: make(public_key, self.key)?,
            serial,
            validity: intermediate.validity,
        })
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
        let serial = Serial::generate(rng)?;
        self.end_entity_numbered(serial, profile, public_key, request, rng)
    }

    /// The same with a serial that was put on record before: so that whatever is signed is on record already.
    ///
    /// # Errors
    ///
    /// As [`Issuer::end_entity`].
    pub fn end_entity_numbered<R>(
        &self,
        serial: Serial,
        profile: Profile,
        public_key: &PublicKey,
        request: &EndEntity,
        rng: &mut R,
    ) -> Result<Issued, Error>
    where
        R: TryCryptoRng + ?Sized,
    {
        let rules = profile.rules();
        let validity = match rules.life {
            Life::WithoutEnd => Validity::new(request.validity.not_before(), UnixTime::NO_EXPIRY)?,
            Life::Days(_) => {
                check_profile_life(rules, request.validity)?;
                self.check_validity(request.validity)?;
                request.validity
            }
        };
        self.check_key(public_key)?;
        self.check_leaf_scope(profile, request.scope.as_ref())?;
        host_name::check(profile, &request.dns_names)?;
        check_hardware(profile, public_key, request.hardware)?;

        let draft = Draft {
            rules,
            issuer: self.name.clone(),
            subject: request.name.to_x509()?,
            validity,
            serial,
            given: Given {
                identity: Some(request.name.identity()),
                dns_names: &request.dns_names,
                metadata: Some(&request.metadata),
                scope: request.scope.as_ref(),
                hardware: request.hardware,
                no_rev_avail: request.no_rev_avail,
                ..Given::new(public_key, &self.key_id)
            },
        };
        self.rehearse(&draft, rng)?;
        // It may outlive its issuer, but is issued by one that lives. Of a shape that was rehearsed before, no host was asked.
        let starts = validity.not_before();
        if starts < self.validity.not_before() || starts > self.validity.not_after() {
            return Err(self.outside(validity));
        }
        Ok(Issued {
            certificate: draft.sign(self.key)?,
            serial: draft.serial,
            validity,
        })
    }

    /// Signs a revocation list. The caller makes sure that its number was never used before.
    ///
    /// # Errors
    ///
    /// [`Error::Sign`], [`Error::Encoding`].
    pub fn crl(&self, list: &RevocationList<'_>) -> Result<Vec<u8>, Error> {
        crl::build(list, &self.name, &self.key_id, self.key)
    }

    /// Asks a host for its verdict before the first certificate of a shape is signed. Those of the same shape that follow
    /// are read as a host reads them, each before its signature, but cost no rehearsal.
    fn rehearse<R>(&self, draft: &Draft<'_>, rng: &mut R) -> Result<(), Error>
    where
        R: TryCryptoRng + ?Sized,
    {
        let written = fields::extensions(draft.rules, &draft.given)?;
        let shape = (
            draft.rules.name,
            draft.given.public_key.algorithm().name(),
            written.iter().map(|extension| extension.extn_id).collect(),
        );
        if self
            .rehearsed
            .lock()
            .is_ok_and(|rehearsed| rehearsed.contains(&shape))
        {
            return Ok(());
        }
        let stand_in = self.stand_in(rng)?;
        let certificate = draft.sign(&stand_in.key)?;
        stand_in.judge(draft.rules, certificate, draft.validity.not_before(), rng)?;
        if let Ok(mut rehearsed) = self.rehearsed.lock() {
            rehearsed.insert(shape);
        }
        Ok(())
    }

    /// Everything that this authority's certificates say of it, with a key that is thrown away.
    fn stand_in<R>(&self, rng: &mut R) -> Result<StandIn, Error>
    where
        R: TryCryptoRng + ?Sized,
    {
        Ok(StandIn {
            key: rehearsal::throwaway_key(self.key.public_key().algorithm(), rng)?,
            name: self.name.clone(),
            key_id: self.key_id.clone(),
            validity: self.validity,
            scope: self.scope.clone(),
        })
    }

    fn check_validity(&self, asked: Validity) -> Result<(), Error> {
        if self.validity.contains(&asked) {
            return Ok(());
        }
        Err(self.outside(asked))
    }

    fn outside(&self, asked: Validity) -> Error {
        Error::OutsideIssuerValidity {
            asked_from: asked.not_before(),
            asked_until: asked.not_after(),
            issuer_from: self.validity.not_before(),
            issuer_until: self.validity.not_after(),
        }
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
        Some(_) if !profile.rules().carries(Field::AttestedBy) => {
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

/// As long as its kind may live.
fn check_profile_life(rules: &Rules, validity: Validity) -> Result<(), Error> {
    match rules.life {
        Life::WithoutEnd => Ok(()),
        Life::Days(limit_days) => check_life(rules.name, limit_days, validity),
    }
}

fn check_life(what: &'static str, limit_days: u64, validity: Validity) -> Result<(), Error> {
    if validity.seconds() > limit_days.saturating_mul(SECONDS_PER_DAY) {
        return Err(Error::ValidityTooLong { what, limit_days });
    }
    Ok(())
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
