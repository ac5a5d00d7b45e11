//! No module, no token, wrong PIN, locked, no such key, two of a name: what is said, and that nothing else signs.

use super::bench::{LABEL, asking, key, made, named, store, token_of, tries, wrong_pin};
use countersign_backend_pkcs11::{Pkcs11Provider, Tries};
use countersign_keys::{Error, ErrorKind, KeyProvider as _};
use countersign_testing::tokens::{Module, PIN, in_own_process};
use std::sync::atomic::Ordering;

fn refused(uri: &str) -> Error {
    let error = Pkcs11Provider::new(&token_of(&key(uri)), |_| panic!("a PIN was asked for"))
        .map(|store| store.open(&key(uri)))
        .and_then(|opened| opened)
        .expect_err("nothing is there");
    // What to do stands behind the last semicolon.
    let message = error.to_string();
    let remedy = message.rsplit_once("; ").expect("a remedy").1;
    assert!(remedy.split_whitespace().count() > 1, "{message}");
    error
}

#[test]
fn tf01_no_module_and_no_token_are_said_and_nothing_else_signs() {
    let error = refused("pkcs11:token=build;object=k?module-path=/nonexistent/module.so");
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(
        error.to_string().contains("/nonexistent/module.so"),
        "{error}"
    );

    let error = refused("pkcs11:token=build;object=k?module-path=module.so");
    assert_eq!(error.kind(), ErrorKind::Unsupported);

    in_own_process(Module::SoftHsm, LABEL, |tokens| {
        let error = refused(&tokens.uri("other", "k"));
        assert_eq!(error.kind(), ErrorKind::NotFound);
        // It says which there are.
        assert!(error.to_string().contains("\"build\""), "{error}");
        let uri = tokens
            .uri(LABEL, "k")
            .replace("token=build", "token=build;serial=0");
        assert_eq!(refused(&uri).kind(), ErrorKind::NotFound);
    });
}

#[test]
fn tf01_a_token_store_that_may_not_be_read_is_said() {
    in_own_process(Module::SoftHsm, LABEL, |tokens| {
        std::fs::remove_file(tokens.path("conf")).expect("ours");
        let error = refused(&tokens.uri(LABEL, "k"));
        assert!(
            matches!(error.kind(), ErrorKind::Device | ErrorKind::NotFound),
            "{error}"
        );
    });
}

fn a_wrong_pin_is_given_once(module: Module) {
    in_own_process(module, LABEL, |tokens| {
        made(tokens, "k");
        let (store, asked) = asking(tokens, "not-the-pin");
        for _ in 0..5 {
            let error = store.list().expect_err("the PIN is wrong");
            assert_eq!(error.kind(), ErrorKind::Passphrase);
            let message = error.to_string();
            assert!(
                message.contains("refused the PIN") && !message.contains("not-the-pin"),
                "{message}"
            );
            assert!(message.contains("tries"), "{message}");
        }
        assert_eq!(
            asked.load(Ordering::SeqCst),
            1,
            "a PIN that was refused was tried again"
        );
        // Another provider, to which a person gives the right one, is not kept away.
        asking(tokens, PIN)
            .0
            .open(&named(tokens, "k"))
            .expect("opened");
        // After that, a file is as good again.
        super::bench::store(tokens)
            .open(&named(tokens, "k"))
            .expect("opened");
    });
}

#[test]
fn tf03_a_wrong_pin_is_given_to_softhsm_once() {
    a_wrong_pin_is_given_once(Module::SoftHsm);
}

#[test]
fn tf03_a_wrong_pin_is_given_to_kryoptic_once() {
    a_wrong_pin_is_given_once(Module::Kryoptic);
}

#[test]
fn tf03_a_token_that_counts_is_believed_and_its_last_tries_are_left_to_a_person() {
    // Kryoptic locks a token after ten wrong PINs, and tells when few are left.
    in_own_process(Module::Kryoptic, LABEL, |tokens| {
        made(tokens, "k");
        let mut said = Vec::new();
        for _ in 0..9 {
            said.push(wrong_pin(tokens).to_string());
            let left = said.last().expect("just now");
            // As soon as the token tells, a PIN from a file is not risked, though it would be right.
            if !left.contains("does not tell") {
                let error = store(tokens).list().expect_err("a stored PIN");
                assert_eq!(error.kind(), ErrorKind::LockedOut);
                assert!(error.to_string().contains("by hand"), "{error}");
            }
        }
        assert!(said[0].contains("does not tell"), "{said:?}");
        assert!(said[7].contains("fewer tries"), "{said:?}");
        assert!(said[8].contains("one try is left"), "{said:?}");
        // A person learns that it is the last, types it right, and the count begins anew.
        assert_eq!(tries(tokens), Tries::Last);
        store(tokens)
            .open(&named(tokens, "k"))
            .expect("opened")
            .sign(b"m")
            .expect("signed");
        assert_eq!(tries(tokens), Tries::Unknown);
    });
}

#[test]
fn tf03_a_locked_token_is_said_to_be_locked_and_is_asked_for_no_pin() {
    in_own_process(Module::Kryoptic, LABEL, |tokens| {
        for _ in 0..9 {
            assert_eq!(wrong_pin(tokens).kind(), ErrorKind::Passphrase);
        }
        let last = wrong_pin(tokens);
        assert_eq!(last.kind(), ErrorKind::LockedOut, "{last}");
        let (store, asked) = asking(tokens, PIN);
        let error = store.list().expect_err("locked");
        assert_eq!(error.kind(), ErrorKind::LockedOut);
        assert!(error.to_string().contains("security officer"), "{error}");
        assert_eq!(
            asked.load(Ordering::SeqCst),
            0,
            "a PIN was wasted on a locked token"
        );
    });
}

#[test]
fn two_keys_of_a_name_are_not_guessed_at() {
    in_own_process(Module::SoftHsm, LABEL, |tokens| {
        for id in ["01", "02"] {
            tokens.tool(&[
                "--login",
                "--pin",
                PIN,
                "--keypairgen",
                "--key-type",
                "EC:prime256v1",
                "--label",
                "twin",
                "--id",
                id,
                "--sensitive",
                "--usage-sign",
            ]);
        }
        let store = store(tokens);
        let error = store
            .open(&named(tokens, "twin"))
            .expect_err("two of a name");
        assert_eq!(error.kind(), ErrorKind::Ambiguous);
        assert!(error.to_string().contains("fits 2 keys"), "{error}");
        assert_eq!(
            store
                .delete(&named(tokens, "twin"))
                .expect_err("two")
                .kind(),
            ErrorKind::Ambiguous
        );
        let one = key(&tokens
            .uri(LABEL, "twin")
            .replace("object=twin", "object=twin;id=%02"));
        store
            .open(&one)
            .expect("the identifier tells which")
            .sign(b"m")
            .expect("signed");
    });
}

#[test]
fn two_tokens_of_a_name_are_not_guessed_at() {
    in_own_process(Module::SoftHsm, LABEL, |tokens| {
        tokens.initialise(LABEL);
        let error = refused(&tokens.uri(LABEL, "k"));
        assert_eq!(error.kind(), ErrorKind::Ambiguous);
        assert!(error.to_string().contains("serial="), "{error}");
    });
}
