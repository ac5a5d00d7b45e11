//! The store of keys: one token, shared between threads.

use crate::connection::LoggedIn;
use crate::failure::Failure;
use crate::object::{self, PrivateKey, Selector};
use crate::pin::{PinFor, Source};
use crate::point;
use crate::slot::Present;
use crate::token::Token;
use countersign_keys::{
    Algorithm, Capabilities, Challenge, Error, ErrorKind, Evidence, KeyInfo, KeyProvider,
    KeyTemplate, KeyUri, KeyUsage, LockConsent, Pkcs11Key, Pkcs11Token, PublicKey, Secret, Signer,
    SigningKey,
};
use cryptoki::error::{Error as LibraryError, RvError};
use cryptoki::mechanism::eddsa::{EddsaParams, EddsaSignatureScheme};
use cryptoki::mechanism::{Mechanism, MechanismType};
use cryptoki::object::{Attribute, ObjectClass, ObjectHandle};
use cryptoki::session::Session;
use sha2::{Digest as _, Sha256};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

/// Bytes of the identifier that a new key gets where its URI has none.
const ID_BYTES: usize = 16;

/// The keys of one token.
///
/// A token is used in one session, by one thread at a time; others wait. A session that is lost, because the token was
/// taken out or its server restarted, is made anew once; the PIN is then asked for again, and the token must be the same.
pub struct Pkcs11Provider {
    token: Arc<Token>,
    /// What selects the token, and what its keys' URIs begin with.
    uri: Pkcs11Token,
    capabilities: Capabilities,
}

impl Pkcs11Provider {
    /// The token that a URI selects. Its PIN is asked for when it is needed first: in the file that the URI's
    /// `pin-source` names, or else from `ask`, whose `None` means that nobody knows it. A PIN that the token refused is
    /// the last one that this provider asks for.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] if there is no such module or token; [`ErrorKind::Ambiguous`] if there are several;
    /// [`ErrorKind::Unsupported`] if a file is no module; else what the module reports.
    pub fn new(
        token: &Pkcs11Token,
        ask: impl Fn(PinFor<'_>) -> Result<Option<Secret>, Error> + Send + Sync + 'static,
    ) -> Result<Self, Error> {
        let (opened, present) = Token::open(token, Source::new(token, ask)?)?;
        Ok(Self {
            capabilities: capabilities(&present)
                .map_err(|failure| failure.told_of(opened.name()))?,
            token: Arc::new(opened),
            uri: token.clone(),
        })
    }

    /// What a URI selects in this token, and how it is called in messages.
    fn key(&self, key: &KeyUri) -> Result<(Selector, String), Error> {
        let KeyUri::Pkcs11(named) = key else {
            return Err(Error::new(
                ErrorKind::Unsupported,
                format!(
                    "{key} is no key of a PKCS#11 token; use the store for {}: keys, or name one as in pkcs11:token=…;object=…",
                    key.scheme()
                ),
            ));
        };
        if !self.is_mine(named) {
            return Err(Error::new(
                ErrorKind::NotFound,
                format!(
                    "{key} is not a key of {}; open the token that it names",
                    self.token.name()
                ),
            ));
        }
        Ok((Selector::of(named), key.to_string()))
    }

    /// Whether a key's URI selects the same token by the same words. What says only how to reach a token does not count.
    fn is_mine(&self, key: &Pkcs11Key) -> bool {
        let theirs = key.token();
        let names = |attributes: &Pkcs11Token| -> Vec<(String, Vec<u8>)> {
            attributes
                .attributes()
                .filter(|(name, _)| *name != "pin-source")
                .map(|(name, value)| (name.to_owned(), value.to_vec()))
                .collect()
        };
        names(&theirs) == names(&self.uri)
    }

    fn unsupported(&self, what: &str) -> Error {
        Error::new(
            ErrorKind::Unsupported,
            format!("{} {what}; use another store", self.token.name()),
        )
    }
}

impl fmt::Debug for Pkcs11Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pkcs11Provider")
            .field("uri", &self.uri)
            .finish_non_exhaustive()
    }
}

/// What a token can do, by its list of mechanisms.
fn capabilities(present: &Present) -> Result<Capabilities, Failure> {
    let mechanisms = present.module.get_mechanism_list(present.slot)?;
    let mut can = Capabilities::none();
    for (algorithm, needed) in [
        (
            Algorithm::Esp256,
            [MechanismType::ECC_KEY_PAIR_GEN, MechanismType::ECDSA],
        ),
        (
            Algorithm::Ed25519,
            [
                MechanismType::ECC_EDWARDS_KEY_PAIR_GEN,
                MechanismType::EDDSA,
            ],
        ),
    ] {
        if needed
            .iter()
            .all(|mechanism| mechanisms.contains(mechanism))
        {
            can.algorithms.push(algorithm);
        }
    }
    // CKF_HW_SLOT: the module's own word for a device that is no software.
    can.hardware = present.module.get_slot_info(present.slot)?.hardware_slot();
    can.generate = !can.algorithms.is_empty() && !present.info.write_protected();
    can.list = true;
    can.delete = !present.info.write_protected();
    Ok(can)
}

/// One line about a token, for people.
pub(crate) fn describe(present: &Present) -> Result<String, Failure> {
    let info = &present.info;
    let version = info.firmware_version();
    let kind = if present.module.get_slot_info(present.slot)?.hardware_slot() {
        "hardware"
    } else {
        "software, or of unknown kind"
    };
    let line = format!(
        "token \"{}\" of {} {}, serial number {}, firmware {}.{} ({kind})",
        info.label(),
        info.manufacturer_id(),
        info.model(),
        info.serial_number(),
        version.major(),
        version.minor()
    );
    // Labels are anybody's text.
    Ok(line
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect())
}

impl KeyProvider for Pkcs11Provider {
    fn describe(&self) -> Result<String, Error> {
        describe(&self.token.present()?).map_err(|failure| failure.told_of(self.token.name()))
    }

    fn capabilities(&self) -> Capabilities {
        self.capabilities.clone()
    }

    /// With CKA_SENSITIVE, and without CKA_EXTRACTABLE. A new key counts only if the token then says the same of it, and
    /// after one signature; otherwise it is removed again.
    fn generate(&self, key: &KeyUri, template: &KeyTemplate) -> Result<KeyInfo, Error> {
        let (mut selector, uri) = self.key(key)?;
        if template.usage != KeyUsage::Signing {
            return Err(self.unsupported("makes no keys that sign only what the device states"));
        }
        if !template.boot_state.is_empty() {
            return Err(self.unsupported("cannot bind a key to the state of the boot"));
        }
        let algorithm = template.algorithm;
        if !self.capabilities.algorithms.contains(&algorithm) {
            return Err(self.unsupported(&format!("makes no {} keys", algorithm.name())));
        }
        let named = selector.clone();
        if selector.id.is_none() {
            selector.id = Some(random_id()?);
        }
        let work = move |session: &LoggedIn<'_>| {
            let before = named.objects(session.session, ObjectClass::PRIVATE_KEY)?;
            if !before.is_empty() {
                return Err(exists(&uri).into());
            }
            generate(session, algorithm, &selector)?;
            let made = object::find(session, &selector, &uri)?;
            let approved = approve(session, &made, &named, &uri);
            if let Err(failure) = approved {
                // The first failure is what matters.
                let _ = destroy(session, &made);
                return Err(failure);
            }
            Ok(made)
        };
        let made = self.token.with(true, work)?;
        made.info(&self.uri).ok_or_else(|| {
            Error::new(
                ErrorKind::Device,
                format!(
                    "{} kept neither label nor identifier of the new key; remove it with the maker's tool",
                    self.token.name()
                ),
            )
        })
    }

    fn open(&self, key: &KeyUri) -> Result<SigningKey, Error> {
        let (selector, uri) = self.key(key)?;
        let (wanted, name) = (selector.clone(), uri.clone());
        let (found, number) = self.token.with(false, move |session| {
            let found = object::find(session, &wanted, &name)?;
            found.inspect(&name)?;
            Ok((found, session.number))
        })?;
        Ok(SigningKey::new(OpenKey {
            token: Arc::clone(&self.token),
            handle: Arc::new(Mutex::new((number, found.handle))),
            public: found.public,
            selector,
            uri,
        }))
    }

    fn show(&self, key: &KeyUri) -> Result<KeyInfo, Error> {
        let (selector, uri) = self.key(key)?;
        let name = uri.clone();
        let found = self.token.with(false, move |session| {
            object::find(session, &selector, &name)
        })?;
        found.info(&self.uri).ok_or_else(|| {
            Error::new(
                ErrorKind::Malformed,
                format!(
                    "{uri} has neither label nor identifier; give it one with the maker's tool"
                ),
            )
        })
    }

    fn list(&self) -> Result<Vec<KeyInfo>, Error> {
        let uri = format!("pkcs11:{}", self.uri);
        let keys = self
            .token
            .with(false, move |session| object::all(session, &uri))?;
        let mut list: Vec<KeyInfo> = keys.iter().filter_map(|key| key.info(&self.uri)).collect();
        list.sort_by_key(|info| info.uri.to_string());
        Ok(list)
    }

    fn delete(&self, key: &KeyUri) -> Result<(), Error> {
        let (selector, uri) = self.key(key)?;
        self.token.with(true, move |session| {
            let found = object::find(session, &selector, &uri)?;
            destroy(session, &found)
        })
    }

    fn attest(&self, key: &KeyUri, _: &Challenge) -> Result<Evidence, Error> {
        self.key(key)?;
        Err(self.unsupported(
            "cannot vouch for a key: what a PKCS#11 module says of its attributes is no evidence",
        ))
    }

    fn lock(&self, key: &KeyUri, _: &LockConsent) -> Result<(), Error> {
        self.key(key)?;
        Err(self.unsupported("has nothing that could be locked through PKCS#11"))
    }
}

fn exists(uri: &str) -> Error {
    Error::new(
        ErrorKind::Exists,
        format!(
            "the token holds a key {uri} already, and a key is never replaced in silence; choose another name"
        ),
    )
}

fn random_id() -> Result<Vec<u8>, Error> {
    let mut id = vec![0; ID_BYTES];
    getrandom::fill(&mut id).map_err(|source| {
        Error::with_source(
            ErrorKind::Random,
            "the system gives no random numbers; see its log",
            source,
        )
    })?;
    Ok(id)
}

/// Makes both halves of a key.
fn generate(
    session: &LoggedIn<'_>,
    algorithm: Algorithm,
    selector: &Selector,
) -> Result<(), Failure> {
    let mechanism = match algorithm {
        Algorithm::Ed25519 => Mechanism::EccEdwardsKeyPairGen,
        _ => Mechanism::EccKeyPairGen,
    };
    let mut private = vec![
        Attribute::Token(true),
        Attribute::Private(true),
        Attribute::Sensitive(true),
        Attribute::Extractable(false),
        Attribute::Sign(true),
    ];
    private.extend(selector.attributes());
    let mut last = LibraryError::NotSupported;
    for curve in point::parameters(algorithm) {
        let mut public = vec![
            Attribute::Token(true),
            Attribute::Private(false),
            Attribute::Verify(true),
            Attribute::EcParams(curve.to_vec()),
        ];
        public.extend(selector.attributes());
        match session
            .session
            .generate_key_pair(&mechanism, &public, &private)
        {
            Ok(_) => return Ok(()),
            // This name of the curve it may not know; there may be another.
            Err(
                error @ LibraryError::Pkcs11(
                    RvError::CurveNotSupported
                    | RvError::DomainParamsInvalid
                    | RvError::AttributeValueInvalid
                    | RvError::TemplateInconsistent
                    | RvError::GeneralError
                    | RvError::FunctionFailed,
                    _,
                ),
            ) => last = error,
            Err(error) => return Err(error.into()),
        }
    }
    Err(last.into())
}

/// Whether a new key is what was asked for, and the only one of its name.
fn approve(
    session: &LoggedIn<'_>,
    made: &PrivateKey,
    named: &Selector,
    uri: &str,
) -> Result<(), Failure> {
    if !made.stays_inside() {
        return Err(Error::new(
            ErrorKind::Unsupported,
            format!(
                "the token does not promise that the new key {uri} stays inside, so it was removed again; use another token"
            ),
        )
        .into());
    }
    made.inspect(uri)?;
    // Somebody else may have made one at the same moment.
    if named
        .objects(session.session, ObjectClass::PRIVATE_KEY)?
        .len()
        != 1
    {
        return Err(exists(uri).into());
    }
    let message = b"the first signature of a new key";
    let raw = sign(session.session, made.handle, &made.public, message)?;
    countersign_keys::Signature::checked(&made.public, message, &raw).map_err(|error| {
        Error::with_source(
            ErrorKind::BadSignature,
            format!("the new key {uri} makes wrong signatures, so it was removed again; do not use this token"),
            error,
        )
    })?;
    Ok(())
}

/// Removes both halves. The private one goes first: without it the key is gone, whatever happens then.
fn destroy(session: &LoggedIn<'_>, key: &PrivateKey) -> Result<(), Failure> {
    let beside = object::public_objects(session.session, &key.selector())?;
    session.session.destroy_object(key.handle)?;
    for public in beside {
        session.session.destroy_object(public)?;
    }
    Ok(())
}

/// One signature, unverified.
fn sign(
    session: &Session,
    key: ObjectHandle,
    public: &PublicKey,
    message: &[u8],
) -> Result<[u8; 64], Failure> {
    let signature = if public.algorithm() == Algorithm::Ed25519 {
        let pure = Mechanism::Eddsa(EddsaParams::new(EddsaSignatureScheme::Ed25519));
        session.sign(&pure, key, message)?
    } else {
        session.sign(&Mechanism::Ecdsa, key, &Sha256::digest(message))?
    };
    signature.as_slice().try_into().map_err(|_| {
        Error::new(
            ErrorKind::Device,
            format!(
                "the token answered with a signature of {} bytes instead of 64; see whether the maker has a newer module",
                signature.len()
            ),
        )
        .into()
    })
}

/// A key of the token, opened.
struct OpenKey {
    token: Arc<Token>,
    selector: Selector,
    uri: String,
    public: PublicKey,
    /// The session in which the object was found, and its handle there.
    handle: Arc<Mutex<(u64, ObjectHandle)>>,
}

impl Signer for OpenKey {
    fn public_key(&self) -> &PublicKey {
        &self.public
    }

    fn sign_unchecked(&self, message: &[u8]) -> Result<[u8; 64], Error> {
        let (selector, uri) = (self.selector.clone(), self.uri.clone());
        let (public, known) = (self.public.clone(), Arc::clone(&self.handle));
        let message = message.to_vec();
        self.token.with(false, move |session| {
            let (number, mut handle) = *known.lock().unwrap_or_else(PoisonError::into_inner);
            if number != session.number {
                let found = object::find(session, &selector, &uri)?;
                if found.public != public {
                    return Err(exchanged(&uri).into());
                }
                found.inspect(&uri)?;
                handle = found.handle;
                *known.lock().unwrap_or_else(PoisonError::into_inner) = (session.number, handle);
            }
            sign(session.session, handle, &public, &message)
        })
    }
}

fn exchanged(uri: &str) -> Error {
    Error::new(
        ErrorKind::OtherKey,
        format!(
            "another key goes by the name of {uri} than when it was opened, and nothing was signed; open it again if that is right"
        ),
    )
}
