//! Keys as objects of a token: finding them, and what the token says of them.

use crate::connection::LoggedIn;
use crate::failure::Failure;
use crate::point;
use countersign_keys::{Error, ErrorKind, KeyInfo, Origin, Pkcs11Key, Pkcs11Token, PublicKey};
use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle};
use cryptoki::session::Session;

/// What selects keys in a token: a label, an identifier, both, or (for all of them) neither.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Selector {
    pub(crate) label: Option<Vec<u8>>,
    pub(crate) id: Option<Vec<u8>>,
}

/// A private key, as the token describes it.
#[derive(Clone, Debug)]
pub(crate) struct PrivateKey {
    pub(crate) handle: ObjectHandle,
    pub(crate) label: Vec<u8>,
    pub(crate) id: Vec<u8>,
    pub(crate) public: PublicKey,
    may_sign: bool,
    always_asks: bool,
    sensitive: bool,
    extractable: bool,
    never_extractable: bool,
    local: bool,
}

impl Selector {
    pub(crate) fn of(key: &Pkcs11Key) -> Self {
        Self {
            label: key.get("object").map(<[u8]>::to_vec),
            id: key.get("id").map(<[u8]>::to_vec),
        }
    }

    /// The objects of this class that it selects.
    pub(crate) fn objects(
        &self,
        session: &Session,
        class: ObjectClass,
    ) -> Result<Vec<ObjectHandle>, Failure> {
        let mut template = vec![Attribute::Class(class), Attribute::Token(true)];
        template.extend(self.attributes());
        Ok(session.find_objects(&template)?)
    }

    /// The attributes that a key must have to be selected.
    pub(crate) fn attributes(&self) -> impl Iterator<Item = Attribute> {
        let label = self.label.clone().map(Attribute::Label);
        label.into_iter().chain(self.id.clone().map(Attribute::Id))
    }
}

/// The one private key that `selector` selects. `uri` is what it is called in messages.
pub(crate) fn find(
    session: &LoggedIn<'_>,
    selector: &Selector,
    uri: &str,
) -> Result<PrivateKey, Failure> {
    let found = selector.objects(session.session, ObjectClass::PRIVATE_KEY)?;
    match found.as_slice() {
        [] => Err(Error::new(
            ErrorKind::NotFound,
            format!(
                "there is no key {uri} in the token; make one with `countersign key generate`, or correct object= and id= in the URI"
            ),
        )
        .into()),
        [handle] => read(session.session, *handle, uri),
        several => Err(Error::new(
            ErrorKind::Ambiguous,
            format!(
                "{uri} fits {} keys of the token; name one by id= as well (`countersign key list` shows them)",
                several.len()
            ),
        )
        .into()),
    }
}

/// Every signing key of the token of our two kinds. Others are passed over: they are somebody else's business.
pub(crate) fn all(session: &LoggedIn<'_>, uri: &str) -> Result<Vec<PrivateKey>, Failure> {
    let mut keys = Vec::new();
    for handle in Selector::default().objects(session.session, ObjectClass::PRIVATE_KEY)? {
        match read(session.session, handle, uri) {
            Ok(key) => keys.push(key),
            Err(Failure::Said(_)) => {}
            Err(failure) => return Err(failure),
        }
    }
    Ok(keys)
}

fn read(session: &Session, handle: ObjectHandle, uri: &str) -> Result<PrivateKey, Failure> {
    let told = session.get_attributes(
        handle,
        &[
            AttributeType::KeyType,
            AttributeType::EcParams,
            AttributeType::Label,
            AttributeType::Id,
            AttributeType::Sign,
            AttributeType::AlwaysAuthenticate,
            AttributeType::Sensitive,
            AttributeType::Extractable,
            AttributeType::NeverExtractable,
            AttributeType::Local,
        ],
    )?;
    let (mut kind, mut curve, mut label, mut id) = (None, Vec::new(), Vec::new(), Vec::new());
    let (mut may_sign, mut always_asks, mut local) = (false, false, false);
    // What a token does not tell counts as the worse.
    let (mut sensitive, mut extractable, mut never_extractable) = (false, true, false);
    for attribute in told {
        match attribute {
            Attribute::KeyType(value) => kind = Some(value),
            Attribute::EcParams(value) => curve = value,
            Attribute::Label(value) => label = value,
            Attribute::Id(value) => id = value,
            Attribute::Sign(value) => may_sign = value,
            Attribute::AlwaysAuthenticate(value) => always_asks = value,
            Attribute::Sensitive(value) => sensitive = value,
            Attribute::Extractable(value) => extractable = value,
            Attribute::NeverExtractable(value) => never_extractable = value,
            Attribute::Local(value) => local = value,
            _ => {}
        }
    }
    let selector = Selector {
        label: Some(label.clone()),
        id: Some(id.clone()).filter(|id| !id.is_empty()),
    };
    let public = public_half(session, handle, kind, &curve, &selector, uri)?;
    Ok(PrivateKey {
        handle,
        label,
        id,
        public,
        may_sign,
        always_asks,
        sensitive,
        extractable,
        never_extractable,
        local,
    })
}

/// The public half: what the private key itself tells, or else the public key object beside it. That the two belong
/// together shows when a signature is verified.
fn public_half(
    session: &Session,
    private: ObjectHandle,
    kind: Option<KeyType>,
    curve: &[u8],
    selector: &Selector,
    uri: &str,
) -> Result<PublicKey, Failure> {
    let algorithm = kind
        .and_then(|kind| point::algorithm(kind, curve))
        .ok_or_else(|| {
            Error::new(
                ErrorKind::Malformed,
                format!("{uri} is a key of another kind; use a P-256 or Ed25519 key"),
            )
        })?;
    let mut found: Option<PublicKey> = None;
    for handle in std::iter::once(private).chain(public_objects(session, selector)?) {
        for attribute in session.get_attributes(
            handle,
            &[AttributeType::PublicKeyInfo, AttributeType::EcPoint],
        )? {
            let read = match attribute {
                Attribute::PublicKeyInfo(spki) => PublicKey::from_spki_der(&spki).ok(),
                Attribute::EcPoint(point) => point::public_key(algorithm, &point),
                _ => None,
            };
            let Some(read) = read.filter(|read| read.algorithm() == algorithm) else {
                continue;
            };
            if found.as_ref().is_some_and(|found| *found != read) {
                return Err(Error::new(
                    ErrorKind::Ambiguous,
                    format!(
                        "several public keys of the token go by the name of {uri}; remove the one that is not its other half"
                    ),
                )
                .into());
            }
            found = Some(read);
        }
    }
    found.ok_or_else(|| {
        Error::new(
            ErrorKind::Malformed,
            format!(
                "the token does not tell the public half of {uri}; put the public key object beside the private key"
            ),
        )
        .into()
    })
}

/// Public key objects that go by the private key's identifier, or by its label where it has no identifier.
pub(crate) fn public_objects(
    session: &Session,
    private: &Selector,
) -> Result<Vec<ObjectHandle>, Failure> {
    let beside = match &private.id {
        Some(id) => Selector {
            label: None,
            id: Some(id.clone()),
        },
        None => private.clone(),
    };
    if beside.attributes().next().is_none() {
        return Ok(Vec::new());
    }
    beside.objects(session, ObjectClass::PUBLIC_KEY)
}

impl PrivateKey {
    /// Refuses a key that could leave the token, or that cannot be used here.
    pub(crate) fn inspect(&self, uri: &str) -> Result<(), Error> {
        if self.extractable || !self.sensitive {
            return Err(Error::new(
                ErrorKind::Permissions,
                format!(
                    "{uri} can be read out of its token (CKA_SENSITIVE {}, CKA_EXTRACTABLE {}), so it is not used; make a new one with `countersign key generate`",
                    self.sensitive, self.extractable
                ),
            ));
        }
        if !self.may_sign {
            return Err(Error::new(
                ErrorKind::Permissions,
                format!("{uri} may not sign (CKA_SIGN is false); name another key"),
            ));
        }
        if self.always_asks {
            return Err(Error::new(
                ErrorKind::Unsupported,
                format!(
                    "{uri} wants its PIN again for every signature (CKA_ALWAYS_AUTHENTICATE); use a key that is made without that"
                ),
            ));
        }
        Ok(())
    }

    /// Whether the token says what a new key must be: made here, sensitive, and never to leave.
    pub(crate) fn stays_inside(&self) -> bool {
        self.local && self.sensitive && !self.extractable && self.never_extractable
    }

    /// What selects this key and no other.
    pub(crate) fn selector(&self) -> Selector {
        Selector {
            label: Some(self.label.clone()).filter(|label| !label.is_empty()),
            id: Some(self.id.clone()).filter(|id| !id.is_empty()),
        }
    }

    /// What is known of it. Nothing if it has neither label nor identifier, so that no URI can name it.
    pub(crate) fn info(&self, token: &Pkcs11Token) -> Option<KeyInfo> {
        let selector = self.selector();
        let uri = token
            .key(selector.label.as_deref(), selector.id.as_deref())
            .ok()?;
        let mut info = KeyInfo::new(countersign_keys::KeyUri::Pkcs11(uri), self.public.clone());
        info.origin = if self.stays_inside() {
            Origin::Device
        } else if self.local {
            Origin::Unknown
        } else {
            Origin::Imported
        };
        Some(info)
    }
}
