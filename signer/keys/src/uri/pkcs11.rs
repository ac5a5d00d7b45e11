//! PKCS#11 URIs, RFC 7512: which token, which object, which module.
//!
//! Stricter than the RFC in two points: a PIN in the URI (`pin-value`) is refused, because URIs are logged and seen
//! in process lists; unknown attributes are refused, because ignoring one may select another key.

use std::fmt;
use std::str::FromStr;

/// The key that a `pkcs11:` URI selects. Attributes that are absent match any value.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Pkcs11Key(Attributes);

/// The token that a `pkcs11:` URI selects, and how it is reached, without a key in it. Attributes that are absent match
/// any value.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Pkcs11Token(Attributes);

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Attributes {
    /// Name and value, in the order of [`PATH`].
    path: Vec<(&'static str, Vec<u8>)>,
    /// Name and value, in the order of [`QUERY`].
    query: Vec<(&'static str, Vec<u8>)>,
}

/// RFC 7512 §2.3, pk11-pattr, in the order in which we write them.
const PATH: [&str; 13] = [
    "token",
    "manufacturer",
    "serial",
    "model",
    "library-manufacturer",
    "library-description",
    "library-version",
    "slot-description",
    "slot-manufacturer",
    "slot-id",
    "object",
    "id",
    "type",
];

/// Those of [`PATH`] that select a key in a token.
const OF_A_KEY: [&str; 3] = ["object", "id", "type"];

/// RFC 7512 §2.3, pk11-qattr, without pin-value.
const QUERY: [&str; 3] = ["module-name", "module-path", "pin-source"];

/// Why a text is not an acceptable PKCS#11 URI.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Pkcs11Invalid {
    /// An attribute is unknown here.
    #[error(
        "pkcs11: does not know \"{attribute}\"; it would have to be ignored, and another key might match"
    )]
    Attribute {
        /// The attribute's name as given.
        attribute: String,
    },
    /// An attribute appears twice.
    #[error("pkcs11: has \"{attribute}\" twice")]
    Duplicate {
        /// The attribute's name.
        attribute: &'static str,
    },
    /// Something between the separators is not `name=value`, or a percent sign is not followed by two digits.
    #[error("pkcs11: cannot read \"{part}\"; write name=value, and special characters as %XX")]
    Form {
        /// The part as given.
        part: String,
    },
    /// Neither an object nor an id: the URI would match any key.
    #[error("pkcs11: must name the key, by object=LABEL or id=%XX…")]
    NoKey,
    /// The URI holds a PIN.
    #[error("pkcs11: must not hold a PIN, as URIs are logged; use pin-source=FILE")]
    PinValue,
    /// A key is named where a token is meant.
    #[error("pkcs11: names a token here; leave out \"{attribute}\", which selects a key in it")]
    NotAToken {
        /// The attribute that selects a key.
        attribute: &'static str,
    },
    /// The type is not that of a private key.
    #[error("pkcs11: type must be \"private\" or absent")]
    Type,
}

impl Pkcs11Key {
    /// Parses what follows `pkcs11:`.
    pub(super) fn parse(text: &str) -> Result<Self, Pkcs11Invalid> {
        Self::new(Attributes::parse(text)?)
    }

    fn new(attributes: Attributes) -> Result<Self, Pkcs11Invalid> {
        if attributes.get("object").is_none() && attributes.get("id").is_none() {
            return Err(Pkcs11Invalid::NoKey);
        }
        if attributes
            .get("type")
            .is_some_and(|value| value != b"private")
        {
            return Err(Pkcs11Invalid::Type);
        }
        Ok(Self(attributes))
    }

    /// The decoded value of an attribute of RFC 7512, such as `token`, `object`, `id` or `module-path`.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        self.0.get(name)
    }

    /// The token that the key is in.
    #[must_use]
    pub fn token(&self) -> Pkcs11Token {
        let mut attributes = self.0.clone();
        attributes.path.retain(|(name, _)| !OF_A_KEY.contains(name));
        Pkcs11Token(attributes)
    }
}

impl Pkcs11Token {
    /// The decoded value of an attribute of RFC 7512, such as `token`, `serial` or `module-path`.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        self.0.get(name)
    }

    /// Every attribute with its decoded value, in the order in which they are written.
    pub fn attributes(&self) -> impl Iterator<Item = (&'static str, &[u8])> {
        let all = self.0.path.iter().chain(&self.0.query);
        all.map(|(name, value)| (*name, value.as_slice()))
    }

    /// The same with this attribute too, in the place of one that it has already.
    ///
    /// # Errors
    /// [`Pkcs11Invalid::Attribute`] if there is none of this name for a token.
    pub fn with(mut self, name: &str, value: &[u8]) -> Result<Self, Pkcs11Invalid> {
        self.0.set(name, value)?;
        not_a_key(&self.0)?;
        Ok(self)
    }

    /// The key of this token with this label, this identifier, or both.
    ///
    /// # Errors
    /// [`Pkcs11Invalid::NoKey`] if neither is given.
    pub fn key(&self, label: Option<&[u8]>, id: Option<&[u8]>) -> Result<Pkcs11Key, Pkcs11Invalid> {
        let mut attributes = self.0.clone();
        for (name, value) in [("object", label), ("id", id)] {
            if let Some(value) = value {
                attributes.set(name, value)?;
            }
        }
        Pkcs11Key::new(attributes)
    }
}

impl FromStr for Pkcs11Token {
    type Err = Pkcs11Invalid;

    /// Parses what follows `pkcs11:`.
    fn from_str(text: &str) -> Result<Self, Pkcs11Invalid> {
        let attributes = Attributes::parse(text)?;
        not_a_key(&attributes)?;
        Ok(Self(attributes))
    }
}

fn not_a_key(attributes: &Attributes) -> Result<(), Pkcs11Invalid> {
    match OF_A_KEY.iter().find(|name| attributes.get(name).is_some()) {
        Some(attribute) => Err(Pkcs11Invalid::NotAToken { attribute }),
        None => Ok(()),
    }
}

impl Attributes {
    fn parse(text: &str) -> Result<Self, Pkcs11Invalid> {
        let (path, query) = text.split_once('?').unwrap_or((text, ""));
        if query
            .split('&')
            .any(|part| part == "pin-value" || part.starts_with("pin-value="))
        {
            return Err(Pkcs11Invalid::PinValue);
        }
        Ok(Self {
            path: attributes(path, ';', &PATH)?,
            query: attributes(query, '&', &QUERY)?,
        })
    }

    fn get(&self, name: &str) -> Option<&[u8]> {
        let all = self.path.iter().chain(&self.query);
        all.filter(|(known, _)| *known == name)
            .map(|(_, value)| value.as_slice())
            .next()
    }

    fn set(&mut self, name: &str, value: &[u8]) -> Result<(), Pkcs11Invalid> {
        for (known, part) in [
            (PATH.as_slice(), &mut self.path),
            (QUERY.as_slice(), &mut self.query),
        ] {
            if let Some(name) = known.iter().find(|candidate| **candidate == name) {
                part.retain(|(other, _)| other != name);
                part.push((name, value.to_vec()));
                in_order(part, known);
                return Ok(());
            }
        }
        Err(Pkcs11Invalid::Attribute {
            attribute: name.to_owned(),
        })
    }
}

fn attributes(
    text: &str,
    separator: char,
    known: &[&'static str],
) -> Result<Vec<(&'static str, Vec<u8>)>, Pkcs11Invalid> {
    let mut found: Vec<(&'static str, Vec<u8>)> = Vec::new();
    for part in text.split(separator).filter(|part| !part.is_empty()) {
        let form = || Pkcs11Invalid::Form {
            part: part.to_owned(),
        };
        let (name, value) = part.split_once('=').ok_or_else(form)?;
        let name = known
            .iter()
            .find(|candidate| **candidate == name)
            .ok_or_else(|| Pkcs11Invalid::Attribute {
                attribute: name.to_owned(),
            })?;
        if found.iter().any(|(other, _)| other == name) {
            return Err(Pkcs11Invalid::Duplicate { attribute: name });
        }
        found.push((name, percent_decode(value).ok_or_else(form)?));
    }
    in_order(&mut found, known);
    Ok(found)
}

/// One order, so that equal URIs compare and print alike.
fn in_order(found: &mut [(&'static str, Vec<u8>)], known: &[&'static str]) {
    found.sort_by_key(|(name, _)| known.iter().position(|candidate| candidate == name));
}

fn percent_decode(text: &str) -> Option<Vec<u8>> {
    let mut bytes = text.bytes();
    let mut decoded = Vec::new();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            decoded.push(byte);
            continue;
        }
        let digits = [bytes.next()?, bytes.next()?];
        if !digits.iter().all(u8::is_ascii_hexdigit) {
            return None;
        }
        decoded.push(u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?);
    }
    Some(decoded)
}

impl fmt::Display for Pkcs11Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for Pkcs11Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for Attributes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_attributes(f, "", ";", &self.path)?;
        write_attributes(f, "?", "&", &self.query)
    }
}

fn write_attributes(
    f: &mut fmt::Formatter<'_>,
    first: &str,
    separator: &str,
    attributes: &[(&'static str, Vec<u8>)],
) -> fmt::Result {
    let mut lead = first;
    for (name, value) in attributes {
        write!(f, "{lead}{name}=")?;
        lead = separator;
        for byte in value {
            match byte {
                // RFC 3986 unreserved characters, and what RFC 7512 allows besides in every attribute.
                b'A'..=b'Z'
                | b'a'..=b'z'
                | b'0'..=b'9'
                | b'-'
                | b'.'
                | b'_'
                | b'~'
                | b':'
                | b'/' => {
                    write!(f, "{}", char::from(*byte))?;
                }
                _ => write!(f, "%{byte:02X}")?,
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_decoded_and_printed_in_one_order() {
        let key =
            Pkcs11Key::parse("id=%01%ff;token=Build%20HSM?module-path=/usr/lib/hsm.so").unwrap();
        assert_eq!(key.get("token"), Some(b"Build HSM".as_slice()));
        assert_eq!(key.get("id"), Some([0x01, 0xff].as_slice()));
        assert_eq!(key.get("object"), None);
        assert_eq!(
            key.to_string(),
            "token=Build%20HSM;id=%01%FF?module-path=/usr/lib/hsm.so"
        );
    }

    #[test]
    fn a_token_and_a_key_in_it_are_made_from_each_other() {
        let key = Pkcs11Key::parse("token=T;object=a%20b;id=%01?pin-source=file:/pin").unwrap();
        let token = key.token();
        assert_eq!(token.to_string(), "token=T?pin-source=file:/pin");
        assert_eq!(token.key(Some(b"a b"), Some(&[1])), Ok(key));
        assert_eq!(token.key(None, None), Err(Pkcs11Invalid::NoKey));
        assert_eq!(
            token
                .clone()
                .with("module-path", b"/m.so")
                .unwrap()
                .with("token", b"U")
                .unwrap()
                .to_string(),
            "token=U?module-path=/m.so&pin-source=file:/pin"
        );
        for text in ["token=T;object=a", "id=%01"] {
            assert!(
                matches!(
                    text.parse::<Pkcs11Token>(),
                    Err(Pkcs11Invalid::NotAToken { .. })
                ),
                "{text}"
            );
        }
        assert_eq!("".parse(), Ok(Pkcs11Token::default()));
        assert!(token.clone().with("object", b"a").is_err());
        assert!(token.with("pin-value", b"1234").is_err());
    }

    #[test]
    fn a_pin_in_the_uri_is_refused() {
        assert_eq!(
            Pkcs11Key::parse("object=k?pin-value=1234"),
            Err(Pkcs11Invalid::PinValue)
        );
    }

    #[test]
    fn what_could_select_another_key_is_refused() {
        for (text, error) in [
            ("token=T", Pkcs11Invalid::NoKey),
            ("", Pkcs11Invalid::NoKey),
            (
                "object=a;object=b",
                Pkcs11Invalid::Duplicate {
                    attribute: "object",
                },
            ),
            (
                "object=a;x-label=b",
                Pkcs11Invalid::Attribute {
                    attribute: "x-label".into(),
                },
            ),
            ("object=a;type=public", Pkcs11Invalid::Type),
            (
                "object=a%2",
                Pkcs11Invalid::Form {
                    part: "object=a%2".into(),
                },
            ),
            (
                "object=a%+1",
                Pkcs11Invalid::Form {
                    part: "object=a%+1".into(),
                },
            ),
            (
                "object",
                Pkcs11Invalid::Form {
                    part: "object".into(),
                },
            ),
        ] {
            assert_eq!(Pkcs11Key::parse(text), Err(error), "{text}");
        }
    }
}
