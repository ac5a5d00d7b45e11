//! The rehearsal before a signature: what is about to be signed is signed by a key that is thrown away, and judged by the
//! code of a host.
//!
//! What an authority's key once signed cannot be taken back, so a certificate that hosts would refuse must not come to be.
//! Its form is read before each signature (`sign`). Here the whole verdict is asked for, path, revocation, dates and scopes
//! included, with a stand-in for the issuer: its name, key identifier, period and bounds, but another key of the same kind.

use countersign_backend_file::FileKey;
use countersign_format::{DeviceIdentity, Scope};
use countersign_keys::{Algorithm, SigningKey};
use countersign_trust_store::{
    AnchorSource, Anchors, Now, PathProfile, Rejection, TrustState, UnixTime, oid, profile,
};
use der::asn1::OctetString;
use rand_core::TryCryptoRng;
use x509_cert::name::Name;

use crate::crl::{self, RevocationList};
use crate::draft::Draft;
use crate::fields::{self, Given};
use crate::profile::{Profile, ROOT, Rules};
use crate::validity::Validity;
use crate::{DeviceName, Error, Serial, extensions};

/// A key of the kind `algorithm` that nobody keeps.
pub(crate) fn throwaway_key<R>(algorithm: Algorithm, rng: &mut R) -> Result<SigningKey, Error>
where
    R: TryCryptoRng + ?Sized,
{
    FileKey::generate(algorithm, &mut &mut *rng)
        .map(SigningKey::new)
        .map_err(|source| Error::Sign { source })
}

/// Who stands in for an issuer: everything that its certificates say of it, and another key.
pub(crate) struct StandIn {
    pub(crate) key: SigningKey,
    pub(crate) name: Name,
    pub(crate) key_id: OctetString,
    pub(crate) validity: Validity,
    pub(crate) scope: Option<Scope>,
}

impl StandIn {
    /// Whether hosts that trust the issuer would accept `certificate`, of the kind `rules`, which the stand-in signed.
    pub(crate) fn judge<R>(
        &self,
        rules: &'static Rules,
        certificate: Vec<u8>,
        valid_from: UnixTime,
        rng: &mut R,
    ) -> Result<(), Error>
    where
        R: TryCryptoRng + ?Sized,
    {
        let path = PathProfile {
            end_entity: rules.kind,
            intermediate: &profile::INTERMEDIATE,
            // An IDevID has no purpose; a path needs one, and none of the others is stricter.
            purpose: rules
                .extended_key_usage
                .first()
                .unwrap_or(&oid::CLIENT_AUTH),
        };
        self.verify(&[certificate], &path, valid_from, rng)
    }

    /// The same for an authority's certificate, over the key `authority`, which then issues to a device.
    pub(crate) fn judge_authority<R>(
        &self,
        authority: &StandIn,
        certificate: Vec<u8>,
        rng: &mut R,
    ) -> Result<(), Error>
    where
        R: TryCryptoRng + ?Sized,
    {
        let from = authority.validity.not_before();
        let device = authority.device(rng)?;
        self.verify(&[device, certificate], &PathProfile::COMPONENTS, from, rng)
    }

    /// Whether hosts would accept this stand-in's own certificate, a root's, and what it issues.
    pub(crate) fn judge_root<R>(&self, certificate: Vec<u8>, rng: &mut R) -> Result<(), Error>
    where
        R: TryCryptoRng + ?Sized,
    {
        let device = self.device(rng)?;
        let at = self.validity.not_before();
        accept(
            AnchorSource::new(certificate),
            &[device],
            &PathProfile::COMPONENTS,
            at,
        )
    }

    fn verify<R>(
        &self,
        chain: &[Vec<u8>],
        path: &PathProfile,
        valid_from: UnixTime,
        rng: &mut R,
    ) -> Result<(), Error>
    where
        R: TryCryptoRng + ?Sized,
    {
        let at = valid_from.max(self.validity.not_before());
        let list = RevocationList {
            number: 1,
            validity: Validity::new(at, at)?,
            revoked: &[],
        };
        let mut source = AnchorSource::new(self.as_root(rng)?);
        source.scope.clone_from(&self.scope);
        source.crls = vec![crl::build(&list, &self.name, &self.key_id, &self.key)?];
        accept(source, chain, path, at)
    }

    /// The stand-in as a root, so that hosts can be asked whether they accept what is below it.
    fn as_root<R>(&self, rng: &mut R) -> Result<Vec<u8>, Error>
    where
        R: TryCryptoRng + ?Sized,
    {
        let draft = Draft {
            rules: &ROOT,
            issuer: self.name.clone(),
            subject: self.name.clone(),
            validity: self.validity,
            serial: Serial::generate(rng)?,
            given: Given {
                // What the issuer allows was checked when it was asked; hosts read chains no longer than this.
                path_length: Some(2),
                key_id: Some(&self.key_id),
                ..Given::new(self.key.public_key(), &self.key_id)
            },
        };
        // The name may be one that another company's authority chose.
        draft.sign_with(&self.key, fields::extensions(draft.rules, &draft.given)?)
    }

    /// A signer of components below the stand-in.
    fn device<R>(&self, rng: &mut R) -> Result<Vec<u8>, Error>
    where
        R: TryCryptoRng + ?Sized,
    {
        let key = throwaway_key(Algorithm::Esp256, rng)?;
        let identity: DeviceIdentity = "rehearsal"
            .parse()
            .map_err(|source| Error::Extension { source })?;
        let at = self.validity.not_before();
        Draft {
            rules: Profile::ComponentSigner.rules(),
            issuer: self.name.clone(),
            subject: DeviceName::new(identity.clone()).to_x509()?,
            validity: Validity::new(at, at)?,
            serial: Serial::generate(rng)?,
            given: Given {
                identity: Some(&identity),
                scope: self.scope.as_ref(),
                no_rev_avail: true,
                ..Given::new(key.public_key(), &self.key_id)
            },
        }
        .sign(&self.key)
    }
}

/// A stand-in for an authority that has no certificate yet: the key identifier is that of its throw-away key.
pub(crate) fn newcomer<R>(
    algorithm: Algorithm,
    name: &Name,
    validity: Validity,
    scope: Option<&Scope>,
    rng: &mut R,
) -> Result<StandIn, Error>
where
    R: TryCryptoRng + ?Sized,
{
    let key = throwaway_key(algorithm, rng)?;
    let key_id = extensions::key_id(key.public_key())?;
    Ok(StandIn {
        key,
        name: name.clone(),
        key_id,
        validity,
        scope: scope.cloned(),
    })
}

/// The verdict of a host with this root.
fn accept(
    source: AnchorSource,
    chain: &[Vec<u8>],
    path: &PathProfile,
    at: UnixTime,
) -> Result<(), Error> {
    let refused = |rejection| Error::Refused {
        rejection: Box::new(rejection),
    };
    Anchors::new(vec![source])
        .map_err(Rejection::from)
        .and_then(|anchors| {
            anchors.verify_chain(chain, path, &Now::at(at), &TrustState::stateless())
        })
        .map(|_| ())
        .map_err(refused)
}
