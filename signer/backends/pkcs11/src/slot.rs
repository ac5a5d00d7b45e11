//! Slots and the tokens in them: which one a URI selects.

use crate::failure::Failure;
use countersign_keys::{Error, ErrorKind, Pkcs11Token};
use cryptoki::context::Pkcs11;
use cryptoki::slot::{Slot, TokenInfo};
use std::path::{Path, PathBuf};

/// A token that is there, with what it says of itself.
#[derive(Clone, Debug)]
pub(crate) struct Present {
    pub(crate) module: Pkcs11,
    pub(crate) path: PathBuf,
    pub(crate) slot: Slot,
    pub(crate) info: TokenInfo,
    /// Name and value of every attribute by which a URI may select it (RFC 7512 §2.3).
    facts: Vec<(&'static str, String)>,
}

impl Present {
    /// Whether it is initialised: without that, it has no name and takes no PIN.
    pub(crate) fn is_ready(&self) -> bool {
        self.info.token_initialized()
    }

    /// How it is called in messages.
    pub(crate) fn name(&self) -> String {
        format!("the token \"{}\"", self.info.label())
    }

    /// A URI that selects this token of this module.
    pub(crate) fn uri(&self) -> Pkcs11Token {
        [
            ("token", self.info.label()),
            ("serial", self.info.serial_number()),
        ]
        .into_iter()
        .chain(self.path.to_str().map(|path| ("module-path", path)))
        .fold(Pkcs11Token::default(), |uri, (name, value)| {
            // These are attributes of a token.
            uri.clone().with(name, value.as_bytes()).unwrap_or(uri)
        })
    }

    fn is_selected_by(&self, wanted: &Pkcs11Token) -> bool {
        wanted.attributes().all(|(name, value)| {
            let fact = self.facts.iter().find(|(known, _)| *known == name);
            // What is no fact of a token says how to reach it, not which it is.
            fact.is_none_or(|(_, fact)| fact.as_bytes() == value)
        })
    }
}

/// All tokens of a module.
pub(crate) fn tokens(module: &Pkcs11, path: &Path) -> Result<Vec<Present>, Failure> {
    let library = module.get_library_info()?;
    let mut found = Vec::new();
    for slot in module.get_slots_with_token()? {
        let (place, info) = match (module.get_slot_info(slot), module.get_token_info(slot)) {
            (Ok(place), Ok(info)) => (place, info),
            // Taken out at this moment, or of a kind that the module does not know: the others count.
            (Err(error), _) | (_, Err(error)) if Failure::Library(error_of(&error)).is_lost() => {
                continue;
            }
            (Err(error), _) | (_, Err(error)) => return Err(error.into()),
        };
        let version = library.library_version();
        let facts = vec![
            ("token", info.label().to_owned()),
            ("manufacturer", info.manufacturer_id().to_owned()),
            ("serial", info.serial_number().to_owned()),
            ("model", info.model().to_owned()),
            ("library-manufacturer", library.manufacturer_id().to_owned()),
            (
                "library-description",
                library.library_description().to_owned(),
            ),
            (
                "library-version",
                format!("{}.{}", version.major(), version.minor()),
            ),
            ("slot-description", place.slot_description().to_owned()),
            ("slot-manufacturer", place.manufacturer_id().to_owned()),
            ("slot-id", slot.id().to_string()),
        ];
        found.push(Present {
            module: module.clone(),
            path: path.to_owned(),
            slot,
            info,
            facts,
        });
    }
    Ok(found)
}

/// The one token that a URI selects.
pub(crate) fn select(wanted: &Pkcs11Token) -> Result<Present, Error> {
    let candidates = crate::module::candidates(wanted)?;
    let one_is_named = candidates.len() == 1;
    let mut all = Vec::new();
    for path in candidates {
        let told = crate::module::load(&path).and_then(|module| {
            tokens(&module, &path).map_err(|failure| {
                failure.told_of(&format!("the PKCS#11 module {}", path.display()))
            })
        });
        match told {
            Ok(tokens) => all.extend(tokens),
            // Of several, one that does not work may have nothing to do with the token.
            Err(_) if !one_is_named => {}
            Err(error) => return Err(error),
        }
    }
    let there: Vec<String> = all
        .iter()
        .filter(|token| token.is_ready())
        .map(|token| format!("\"{}\"", token.info.label()))
        .collect();
    let mut selected: Vec<Present> = all
        .into_iter()
        .filter(|token| token.is_ready() && token.is_selected_by(wanted))
        .collect();
    let Some(first) = selected.pop() else {
        return Err(Error::new(
            ErrorKind::NotFound,
            format!(
                "there is no token pkcs11:{wanted} ({}); put it in, initialise it if it is new, or correct the URI",
                if there.is_empty() {
                    "no initialised token is there".to_owned()
                } else {
                    format!("there are: {}", there.join(", "))
                }
            ),
        ));
    };
    if !selected.is_empty() {
        return Err(Error::new(
            ErrorKind::Ambiguous,
            format!(
                "pkcs11:{wanted} fits {} tokens; name one by token=, serial=, slot-id= or module-path=",
                selected.len().saturating_add(1)
            ),
        ));
    }
    Ok(first)
}

/// The library's errors cannot be copied; this keeps what is asked of one here.
fn error_of(error: &cryptoki::error::Error) -> cryptoki::error::Error {
    match error {
        cryptoki::error::Error::Pkcs11(value, function) => {
            cryptoki::error::Error::Pkcs11(*value, *function)
        }
        _ => cryptoki::error::Error::InvalidValue,
    }
}
