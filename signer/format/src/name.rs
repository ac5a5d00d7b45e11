//! Component names and the patterns that a scope is made of.
//!
//! Names are compared byte for byte and matched by whole parts, never by prefix: `acme:*` says nothing about
//! `acme-evil:pump`. The alphabet leaves no room for case, Unicode or empty parts.

use core::fmt;
use core::str::FromStr;

use crate::FormatError;
use crate::cbor::{length, within};
use crate::limits::MAX_COMPONENT_NAME_BYTES;

const RULE: &str = "write namespace:name, each of lower-case words of letters and digits joined by single hyphens, \
                    starting with a letter, as in acme:pump-control";

/// A component's name, `namespace:name`, as WIT names packages: lower-case kebab case, at most 128 bytes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ComponentName {
    text: String,
    colon: usize,
}

impl ComponentName {
    /// Reads a name.
    ///
    /// # Errors
    /// [`FormatError::Text`] if it is not `namespace:name` in lower-case kebab case,
    /// [`FormatError::LimitExceeded`] over 128 bytes.
    pub fn parse(text: &str) -> Result<Self, FormatError> {
        within(
            "component name",
            MAX_COMPONENT_NAME_BYTES,
            length(text.len()),
        )?;
        match text.split_once(':') {
            Some((namespace, name)) if is_kebab(namespace) && is_kebab(name) => Ok(Self {
                text: text.to_owned(),
                colon: namespace.len(),
            }),
            _ => Err(FormatError::text("component name", text, RULE)),
        }
    }

    /// The whole name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The part before the colon.
    #[must_use]
    pub fn namespace(&self) -> &str {
        self.text.get(..self.colon).unwrap_or_default()
    }

    /// The part after the colon.
    #[must_use]
    pub fn name(&self) -> &str {
        self.text
            .get(self.colon.saturating_add(1)..)
            .unwrap_or_default()
    }
}

impl fmt::Display for ComponentName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for ComponentName {
    type Err = FormatError;

    fn from_str(text: &str) -> Result<Self, FormatError> {
        Self::parse(text)
    }
}

/// The part of a component name before its colon.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Namespace(String);

impl Namespace {
    /// Reads a namespace.
    ///
    /// # Errors
    /// [`FormatError::Text`] if it is not lower-case kebab case, [`FormatError::LimitExceeded`] over 126 bytes,
    /// which leave room for `:` and one character.
    pub fn parse(text: &str) -> Result<Self, FormatError> {
        within(
            "namespace",
            MAX_COMPONENT_NAME_BYTES.saturating_sub(2),
            length(text.len()),
        )?;
        if is_kebab(text) {
            Ok(Self(text.to_owned()))
        } else {
            Err(FormatError::text("namespace", text, RULE))
        }
    }

    /// The namespace.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Which components a signer may sign: one name, or every name of one namespace (`acme:*`).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NamePattern {
    /// This name alone.
    Exact(ComponentName),
    /// Every name of this namespace.
    Namespace(Namespace),
}

impl NamePattern {
    /// Reads `namespace:name` or `namespace:*`.
    ///
    /// # Errors
    /// [`FormatError::Text`] for anything else, a lone `*` among it; [`FormatError::LimitExceeded`] over 128 bytes.
    pub fn parse(text: &str) -> Result<Self, FormatError> {
        match text.strip_suffix(":*") {
            Some(namespace) => Namespace::parse(namespace).map(Self::Namespace),
            None => ComponentName::parse(text).map(Self::Exact),
        }
    }

    /// Whether `name` is one of those.
    #[must_use]
    pub fn matches(&self, name: &ComponentName) -> bool {
        match self {
            Self::Exact(exact) => exact == name,
            Self::Namespace(namespace) => namespace.as_str() == name.namespace(),
        }
    }

    /// Whether every name that `inner` matches is matched by this pattern too.
    #[must_use]
    pub fn contains(&self, inner: &Self) -> bool {
        match (self, inner) {
            (_, Self::Exact(name)) => self.matches(name),
            (Self::Namespace(outer), Self::Namespace(inner)) => outer == inner,
            (Self::Exact(_), Self::Namespace(_)) => false,
        }
    }
}

impl fmt::Display for NamePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(name) => name.fmt(f),
            Self::Namespace(namespace) => write!(f, "{namespace}:*"),
        }
    }
}

impl FromStr for NamePattern {
    type Err = FormatError;

    fn from_str(text: &str) -> Result<Self, FormatError> {
        Self::parse(text)
    }
}

/// Lower-case words of letters and digits, joined by single hyphens, the first starting with a letter.
fn is_kebab(text: &str) -> bool {
    text.bytes()
        .next()
        .is_some_and(|byte| byte.is_ascii_lowercase())
        && text.split('-').all(|word| {
            !word.is_empty()
                && word
                    .bytes()
                    .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> ComponentName {
        ComponentName::parse(text).unwrap()
    }

    fn pattern(text: &str) -> NamePattern {
        NamePattern::parse(text).unwrap()
    }

    #[test]
    fn names_split_at_their_colon() {
        let name = name("acme:pump-control-2");
        assert_eq!((name.namespace(), name.name()), ("acme", "pump-control-2"));
        assert_eq!(name.to_string(), "acme:pump-control-2");
        assert_eq!(
            "acme:pump-control-2".parse::<ComponentName>().unwrap(),
            name
        );
    }

    #[test]
    fn tc39_names_have_one_spelling() {
        for text in [
            "",
            ":",
            "acme",
            "acme:",
            ":pump",
            "Acme:pump",
            "acme:Pump",
            "acme:pump:x",
            "acme:pump/x",
            "acme:-pump",
            "acme:pump-",
            "acme:pu--mp",
            "acme:2pump",
            "2acme:pump",
            "acme:pümp",
            "acme: pump",
            "acme:pump\0",
            "acme:pump@1.0.0",
            "аcme:pump",
            "acme:*",
        ] {
            assert!(
                matches!(ComponentName::parse(text), Err(FormatError::Text { .. })),
                "{text:?}"
            );
        }
        assert!(ComponentName::parse(&format!("acme:{}", "p".repeat(123))).is_ok());
        assert!(matches!(
            ComponentName::parse(&format!("acme:{}", "p".repeat(124))),
            Err(FormatError::LimitExceeded {
                limit: 128,
                actual: 129,
                ..
            })
        ));
    }

    #[test]
    fn tc39_patterns_match_whole_parts() {
        assert!(pattern("acme:*").matches(&name("acme:pump")));
        assert!(pattern("acme:pump").matches(&name("acme:pump")));
        for other in ["acme-evil:pump", "acm:pump", "acmex:pump"] {
            assert!(!pattern("acme:*").matches(&name(other)), "{other}");
        }
        assert!(!pattern("acme:pump").matches(&name("acme:pump-2")));
        for wrong in [
            "*", ":*", "*:*", "acme:p*", "acme:**", "acme*", "Acme:*", "acme:*:*", "acme::*",
        ] {
            assert!(NamePattern::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn patterns_contain_patterns() {
        assert!(pattern("acme:*").contains(&pattern("acme:*")));
        assert!(pattern("acme:*").contains(&pattern("acme:pump")));
        assert!(pattern("acme:pump").contains(&pattern("acme:pump")));
        assert!(!pattern("acme:pump").contains(&pattern("acme:*")));
        assert!(!pattern("acme:*").contains(&pattern("acme-evil:*")));
        assert!(!pattern("acme:*").contains(&pattern("acme-evil:pump")));
    }
}
