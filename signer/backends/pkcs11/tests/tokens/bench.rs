//! The store over a test's own tokens.

use countersign_backend_pkcs11::{Pkcs11Provider, Tries};
use countersign_keys::{
    Error, KeyInfo, KeyProvider as _, KeyTemplate, KeyUri, Pkcs11Token, Secret,
};
use countersign_testing::tokens::{PIN, Tokens};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The label of the token that every test has.
pub(crate) const LABEL: &str = "build";

pub(crate) fn key(text: &str) -> KeyUri {
    text.parse().expect("a key URI")
}

pub(crate) fn token_of(key: &KeyUri) -> Pkcs11Token {
    let KeyUri::Pkcs11(key) = key else {
        panic!("{key} is no pkcs11: URI")
    };
    key.token()
}

/// The store that a URI of a key names, with the PIN from the URI's file.
pub(crate) fn store(tokens: &Tokens) -> Pkcs11Provider {
    Pkcs11Provider::new(&token_of(&named(tokens, "any")), |_| Ok(None)).expect("the token is there")
}

pub(crate) fn named(tokens: &Tokens, name: &str) -> KeyUri {
    key(&tokens.uri(LABEL, name))
}

pub(crate) fn made(tokens: &Tokens, name: &str) -> KeyInfo {
    store(tokens)
        .generate(
            &named(tokens, name),
            &KeyTemplate::signing(countersign_keys::Algorithm::Esp256),
        )
        .expect("a new key")
}

/// A store whose PIN is asked for: who asks says `pin`, and counts.
pub(crate) fn asking(tokens: &Tokens, pin: &'static str) -> (Pkcs11Provider, Arc<AtomicUsize>) {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let uri = key(&tokens.uri_without_pin(LABEL, "any"));
    let store = Pkcs11Provider::new(&token_of(&uri), move |wanted| {
        assert_eq!(wanted.token, LABEL);
        count.fetch_add(1, Ordering::SeqCst);
        Ok(Some(Secret::new(pin.to_owned())))
    });
    (store.expect("the token is there"), asked)
}

/// Gives a wrong PIN through a provider of its own, and returns what is said.
pub(crate) fn wrong_pin(tokens: &Tokens) -> Error {
    let (store, _) = asking(tokens, "not-the-pin");
    store.list().expect_err("the PIN is wrong")
}

/// How many tries the token says it has left, as whoever is asked for the PIN learns.
pub(crate) fn tries(tokens: &Tokens) -> Tries {
    let (tell, told) = std::sync::mpsc::channel();
    let uri = key(&tokens.uri_without_pin(LABEL, "any"));
    let store = Pkcs11Provider::new(&token_of(&uri), move |wanted| {
        let _ = tell.send(wanted.tries);
        Ok(Some(Secret::new(PIN.to_owned())))
    })
    .expect("the token is there");
    store.list().expect("the PIN is right");
    told.recv().expect("it asked")
}
