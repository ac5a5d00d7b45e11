//! What of a chain a later revocation list can take back.

use countersign_format::Digest;

use std::{fmt, str::FromStr};

use crate::{Certificate, Crl, CrlNumber, algorithm::Checks};

/// Who issues certificates and lists, with the key that a root shows, or a chain that was judged good or led to a root when its lists
/// were consulted.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Issuer {
    name: Vec<u8>,
    key_identifier: Vec<u8>,
    spki: Vec<u8>,
}

impl Issuer {
    pub(crate) fn of(certificate: &Certificate) -> Self {
        let identifier = certificate.subject_key_identifier().ok().flatten();
        Self {
            name: certificate.subject_der().to_vec(),
            key_identifier: identifier
                .map(|identifier| identifier.0.as_bytes().to_vec())
                .unwrap_or_default(),
            spki: certificate.spki().to_vec(),
        }
    }

    /// Who has signed a list, once its signature verified, here or in a copy of it, whatever became of the chain for which it was
    /// consulted: others may be theirs.
    #[must_use]
    pub fn of_verified(list: &Crl) -> Option<Self> {
        let (name, key_identifier) = list.claimed_issuer();
        Some(Self {
            name: name.to_vec(),
            key_identifier: key_identifier.to_vec(),
            spki: list.verified_spki()?.to_vec(),
        })
    }

    /// Whether a list that claims to be its own, by name and key identifier, is signed with its key; nothing where the list claims
    /// to be another's.
    #[must_use]
    pub fn has_signed(&self, list: &Crl) -> Option<bool> {
        (list.claimed_issuer() == (&self.name, &self.key_identifier))
            .then(|| list.verify_once(&Checks::new(1), &self.spki).is_ok())
    }
}

/// A certificate of a chain that was judged good, as its issuer's lists name it.
///
/// For a host that keeps a component running for longer than its certificates are valid. Whether one of them was revoked is
/// then told by newer lists alone, whatever else the chain would be refused for by that time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    issuer: Issuer,
    serial: Vec<u8>,
}

impl fmt::Display for Link {
    /// Its four parts in hexadecimal, with dots between them: what [`FromStr`] reads.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = [
            &self.issuer.name,
            &self.issuer.key_identifier,
            &self.issuer.spki,
            &self.serial,
        ];
        for (number, part) in parts.into_iter().enumerate() {
            if number > 0 {
                f.write_str(".")?;
            }
            part.iter().try_for_each(|byte| write!(f, "{byte:02x}"))?;
        }
        Ok(())
    }
}

/// The text is none that [`Link`] writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a certificate's place in a chain as this program writes it")]
pub struct LinkFormatError;

impl FromStr for Link {
    type Err = LinkFormatError;

    /// A link of a chain that was judged good earlier. It can do nothing but revoke.
    fn from_str(text: &str) -> Result<Self, LinkFormatError> {
        let mut parts = text.split('.').map(from_hex);
        let mut next = || parts.next().flatten().ok_or(LinkFormatError);
        let link = Self {
            issuer: Issuer {
                name: next()?,
                key_identifier: next()?,
                spki: next()?,
            },
            serial: next()?,
        };
        match parts.next() {
            None => Ok(link),
            Some(_) => Err(LinkFormatError),
        }
    }
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let (pairs, []) = text.as_bytes().as_chunks::<2>() else {
        return None;
    };
    let digit = |byte: u8| {
        char::from(byte)
            .to_digit(16)
            .map(|digit| digit.to_le_bytes()[0])
    };
    pairs
        .iter()
        .map(|[high, low]| Some((digit(*high)? << 4) | digit(*low)?))
        .collect()
}

/// What lists say of a [`Link`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkStatus {
    /// SHA-256 of the issuer's SubjectPublicKeyInfo.
    pub issuer_spki_sha256: Digest,
    /// The number of the list that decides: the highest of those whose signature verifies.
    pub number: CrlNumber,
    /// Whether the certificate stands on it.
    pub revoked: bool,
}

impl Link {
    pub(super) fn new(certificate: &Certificate, issuer: &Certificate) -> Self {
        Self {
            issuer: Issuer::of(issuer),
            serial: certificate.serial_octets().to_vec(),
        }
    }

    /// Its issuer.
    #[must_use]
    pub const fn issuer(&self) -> &Issuer {
        &self.issuer
    }

    /// SHA-256 of the issuer's SubjectPublicKeyInfo.
    #[must_use]
    pub fn issuer_spki_sha256(&self) -> Digest {
        Digest::of(&self.issuer.spki)
    }

    /// What these lists say; nothing if none of them is its issuer's by name, key identifier and signature. Their dates do not
    /// count: a list that is out of date still revokes.
    #[must_use]
    pub fn status(&self, lists: &[Crl]) -> Option<LinkStatus> {
        let deciding = lists
            .iter()
            .filter(|list| self.issuer.has_signed(list) == Some(true))
            .max_by_key(|list| list.number())?;
        Some(LinkStatus {
            issuer_spki_sha256: self.issuer_spki_sha256(),
            number: deciding.number(),
            revoked: deciding.lists(&self.serial),
        })
    }
}
