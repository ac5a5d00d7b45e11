//! Sessions that are lost in the middle, and what may be there afterwards.
//!
//! Another part of the process ends the module's work (C_Finalize), which takes all sessions and handles away, as a
//! token that is taken out or a server that restarts does.

use super::bench::{LABEL, asking, key, made, named, store};
use countersign_keys::{ErrorKind, KeyProvider as _};
use countersign_testing::tokens::{Module, PIN, Tokens, in_own_process};
use cryptoki::context::Pkcs11;
use std::sync::atomic::Ordering;

fn lose_every_session(tokens: &Tokens) {
    let module = Pkcs11::new(tokens.module_path()).expect("the module that is loaded already");
    module.finalize().expect("ended");
}

fn a_lost_session_is_made_anew(module: Module) {
    in_own_process(module, LABEL, |tokens| {
        made(tokens, "k");
        let (store, asked) = asking(tokens, PIN);
        let uri = key(&tokens.uri_without_pin(LABEL, "k"));
        let opened = store.open(&uri).expect("opened");
        opened.sign(b"before").expect("signed");
        for round in 1..4 {
            lose_every_session(tokens);
            opened.sign(b"after").expect("signed in a new session");
            store.list().expect("listed in it");
            assert_eq!(asked.load(Ordering::SeqCst), round + 1, "a login each time");
        }
    });
}

#[test]
fn tf06_a_session_of_softhsm_that_is_lost_is_made_anew() {
    a_lost_session_is_made_anew(Module::SoftHsm);
}

#[test]
fn tf06_a_session_of_kryoptic_that_is_lost_is_made_anew() {
    a_lost_session_is_made_anew(Module::Kryoptic);
}

#[test]
fn tf08_another_key_under_the_same_name_signs_nothing() {
    in_own_process(Module::SoftHsm, LABEL, |tokens| {
        made(tokens, "k");
        let opened = store(tokens).open(&named(tokens, "k")).expect("opened");
        store(tokens).delete(&named(tokens, "k")).expect("removed");
        let error = opened.sign(b"m").expect_err("it is gone");
        assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");

        made(tokens, "k");
        let error = opened.sign(b"m").expect_err("it is another");
        assert_eq!(error.kind(), ErrorKind::OtherKey, "{error}");
        assert!(error.to_string().contains("another key"), "{error}");
        store(tokens)
            .open(&named(tokens, "k"))
            .expect("anew")
            .sign(b"m")
            .expect("signed");
    });
}

#[test]
fn tf08_a_public_key_that_is_not_the_private_keys_other_half_verifies_nothing() {
    in_own_process(Module::SoftHsm, LABEL, |tokens| {
        for (label, id) in [("k", "01"), ("l", "02")] {
            tokens.tool(&[
                "--login",
                "--pin",
                PIN,
                "--keypairgen",
                "--key-type",
                "EC:prime256v1",
                "--label",
                label,
                "--id",
                id,
                "--sensitive",
                "--usage-sign",
            ]);
        }
        // The public half of the second is put in the place of the first's.
        let foreign = tokens.path("foreign.der");
        let foreign = foreign.to_str().expect("UTF-8");
        tokens.tool(&[
            "--read-object",
            "--type",
            "pubkey",
            "--id",
            "02",
            "--output-file",
            foreign,
        ]);
        tokens.tool(&[
            "--login",
            "--pin",
            PIN,
            "--delete-object",
            "--type",
            "pubkey",
            "--id",
            "01",
        ]);
        tokens.tool(&[
            "--login",
            "--pin",
            PIN,
            "--write-object",
            foreign,
            "--type",
            "pubkey",
            "--id",
            "01",
            "--label",
            "k",
        ]);
        let error = store(tokens)
            .open(&named(tokens, "k"))
            .expect("it is not seen before")
            .sign(b"m")
            .expect_err("it is seen at the first signature");
        assert_eq!(error.kind(), ErrorKind::BadSignature, "{error}");
    });
}

#[test]
fn tf09_another_token_of_the_same_name_is_not_taken_for_the_first() {
    in_own_process(Module::SoftHsm, LABEL, |tokens| {
        made(tokens, "k");
        let (store, asked) = asking(tokens, PIN);
        let opened = store
            .open(&key(&tokens.uri_without_pin(LABEL, "k")))
            .expect("opened");
        lose_every_session(tokens);
        tokens.remove(LABEL);
        tokens.initialise(LABEL);
        let error = opened.sign(b"m").expect_err("another token");
        assert_eq!(error.kind(), ErrorKind::OtherDevice, "{error}");
        assert!(error.to_string().contains("was exchanged"), "{error}");
        assert_eq!(
            asked.load(Ordering::SeqCst),
            1,
            "its PIN was given to another token"
        );
    });
}
