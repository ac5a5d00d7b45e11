//! Looking for modules and tokens on this machine.

use crate::provider::describe;
use crate::slot::{self, Present};
use countersign_keys::{Detected, Found, KeyUri};
use std::path::{Path, PathBuf};
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

/// How long a module may take to tell its tokens. One that needs longer waits for a server that is not there.
const PATIENCE: Duration = Duration::from_secs(10);

/// Every PKCS#11 module in the usual places, with its tokens or the reason why there are none. Each module is loaded, so
/// its code runs in this process.
#[must_use]
pub fn detect() -> Vec<Detected> {
    let modules = crate::module::registered();
    if modules.is_empty() {
        return vec![missing(
            "PKCS#11 modules".to_owned(),
            "no module is in the usual places; install the one of the token's maker (to try: apt-get install softhsm2), or name it by module-path=/… in the key URI"
                .to_owned(),
        )];
    }
    detect_among(&modules)
}

/// The same for these modules.
#[must_use]
pub fn detect_among(modules: &[PathBuf]) -> Vec<Detected> {
    modules.iter().flat_map(|path| patiently(path)).collect()
}

fn patiently(path: &Path) -> Vec<Detected> {
    let (answer, answered) = channel();
    let own = path.to_owned();
    // Nobody waits any more after the deadline.
    thread::spawn(move || drop(answer.send(look(&own))));
    answered.recv_timeout(PATIENCE).unwrap_or_else(|_| {
        vec![missing(
            path.display().to_string(),
            format!(
                "the module did not answer within {} seconds; see whether its token or its server can be reached",
                PATIENCE.as_secs()
            ),
        )]
    })
}

fn look(path: &Path) -> Vec<Detected> {
    let place = path.display().to_string();
    let module = match crate::module::load(path) {
        Ok(module) => module,
        Err(error) => return vec![missing(place, error.to_string())],
    };
    let tokens = match slot::tokens(&module, path) {
        Ok(tokens) => tokens,
        Err(failure) => {
            let error = failure.told_of(&format!("the PKCS#11 module {place}"));
            return vec![missing(place, error.to_string())];
        }
    };
    let found: Vec<Detected> = tokens
        .iter()
        .filter(|token| token.is_ready())
        .map(|token| told(&place, token))
        .collect();
    if !found.is_empty() {
        return found;
    }
    let reason = if tokens.is_empty() {
        "the module finds no token; put one in, and see that its reader or server runs"
    } else {
        "the module has a slot and no initialised token in it; initialise one (pkcs11-tool --init-token, or the maker's tool)"
    };
    vec![missing(place, reason.to_owned())]
}

fn told(place: &str, token: &Present) -> Detected {
    let place = format!("{place}, slot {}", token.slot.id());
    let example = token.uri().key(Some(b"NAME"), None);
    match (describe(token), example) {
        (Ok(description), Ok(example)) => Detected {
            place,
            found: Found::Ready {
                description,
                example: KeyUri::Pkcs11(example),
            },
        },
        (Err(failure), _) => missing(place, failure.told_of(&token.name()).to_string()),
        (_, Err(error)) => missing(place, error.to_string()),
    }
}

fn missing(place: String, reason: String) -> Detected {
    Detected {
        place,
        found: Found::Missing { reason },
    }
}
