//! What every store must do, and what a token must say of the keys in it.

use super::bench::{LABEL, asking, key, made, named, store, token_of};
use countersign_backend_pkcs11::{Pkcs11Provider, detect_among};
use countersign_keys::{
    Algorithm, ErrorKind, Found, KeyProvider as _, KeyTemplate, KeyUri, Origin,
};
use countersign_testing::conformance::Conformance;
use countersign_testing::tokens::{Module, PIN, Tokens, in_own_process};
use cryptoki::context::Pkcs11;
use cryptoki::error::{Error as LibraryError, RvError};
use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, AttributeType, ObjectClass};
use cryptoki::session::UserType;
use cryptoki::types::AuthPin;
use std::sync::atomic::Ordering;
use std::thread;

fn passes_the_suite(module: Module, algorithms: &[Algorithm]) {
    in_own_process(module, LABEL, |tokens| {
        let store = store(tokens);
        let can = store.capabilities();
        assert_eq!(can.algorithms, algorithms);
        assert!(can.generate && can.list && can.delete && !can.attest && !can.lock);
        Conformance::new(&store, |n| named(tokens, &format!("key-{n}")))
            .reopened_by(|| Box::new(super::bench::store(tokens)))
            .secret(PIN.as_bytes())
            .run();
    });
}

#[test]
fn softhsm_passes_the_suite_of_all_stores() {
    passes_the_suite(Module::SoftHsm, &[Algorithm::Esp256, Algorithm::Ed25519]);
}

#[test]
fn kryoptic_passes_the_suite_of_all_stores() {
    // Its Ed25519 wants a newer OpenSSL than Debian has; so the suite sees a token without it, too.
    passes_the_suite(Module::Kryoptic, &[Algorithm::Esp256]);
}

fn keeps_keys_inside(module_kind: Module) {
    in_own_process(module_kind, LABEL, |tokens| {
        let made = made(tokens, "inside");
        assert_eq!(made.origin, Origin::Device);
        // Whoever is logged in gets neither the scalar nor a wrapped copy of it.
        let module = Pkcs11::new(tokens.module_path()).expect("loaded already");
        let slot = module.get_slots_with_initialized_token().expect("slots")[0];
        let session = module.open_rw_session(slot).expect("a session");
        session
            .login(UserType::User, Some(&AuthPin::new(PIN.into())))
            .expect("logged in");
        let all = [Attribute::Class(ObjectClass::PRIVATE_KEY)];
        let private = session.find_objects(&all).expect("found")[0];
        let told = session
            .get_attributes(private, &[AttributeType::Value, AttributeType::Label])
            .expect("what it tells");
        assert_eq!(told, [Attribute::Label(b"inside".to_vec())]);
        let wrapping = session
            .generate_key(
                &Mechanism::AesKeyGen,
                &[
                    Attribute::ValueLen(32.into()),
                    Attribute::Wrap(true),
                    Attribute::Token(false),
                ],
            )
            .expect("a key to wrap with");
        let refused = [Mechanism::AesKeyWrapPad, Mechanism::AesKeyWrap]
            .map(|mechanism| session.wrap_key(&mechanism, wrapping, private));
        assert!(refused.iter().all(Result::is_err), "it was wrapped");
        // Not because the token could wrap nothing. (Kryoptic gives its reason in another way.)
        let for_the_keys_sake = |result: &Result<_, _>| {
            matches!(
                result,
                Err(LibraryError::Pkcs11(
                    RvError::KeyUnextractable | RvError::KeyNotWrappable,
                    _
                ))
            )
        };
        assert!(
            module_kind == Module::Kryoptic || refused.iter().any(for_the_keys_sake),
            "{refused:?}"
        );
        let KeyUri::Pkcs11(uri) = &made.uri else {
            panic!("another scheme")
        };
        assert_eq!(uri.get("object"), Some(b"inside".as_slice()));
        assert_eq!(uri.get("id").map(<[u8]>::len), Some(16));
    });
}

#[test]
fn softhsm_keeps_new_keys_inside() {
    keeps_keys_inside(Module::SoftHsm);
}

#[test]
fn kryoptic_keeps_new_keys_inside() {
    keeps_keys_inside(Module::Kryoptic);
}

fn a_key_that_can_leave_is_not_used(module: Module) {
    in_own_process(module, LABEL, |tokens| {
        // Made by another tool, to be backed up by it.
        let make = [
            "--login",
            "--pin",
            PIN,
            "--keypairgen",
            "--key-type",
            "EC:prime256v1",
            "--label",
            "leaves",
            "--id",
            "01",
            "--usage-sign",
            "--extractable",
        ];
        tokens.tool(&make);
        let store = store(tokens);
        let error = store
            .open(&named(tokens, "leaves"))
            .expect_err("it can be read out");
        assert_eq!(error.kind(), ErrorKind::Permissions);
        assert!(
            error.to_string().contains("CKA_EXTRACTABLE true"),
            "{error}"
        );
        // It is shown all the same, and not as one that stays inside.
        let shown = store.show(&named(tokens, "leaves")).expect("shown");
        assert_eq!(shown.origin, Origin::Unknown);
        assert_eq!(store.list().expect("listed").len(), 1);
    });
}

#[test]
fn a_key_that_can_leave_softhsm_is_not_used() {
    a_key_that_can_leave_is_not_used(Module::SoftHsm);
}

#[test]
fn a_key_that_can_leave_kryoptic_is_not_used() {
    a_key_that_can_leave_is_not_used(Module::Kryoptic);
}

#[test]
fn keys_of_another_kind_are_passed_over_and_said_to_be_so() {
    in_own_process(Module::SoftHsm, LABEL, |tokens| {
        for (kind, label) in [("rsa:2048", "rsa"), ("EC:secp384r1", "p384")] {
            tokens.tool(&[
                "--login",
                "--pin",
                PIN,
                "--keypairgen",
                "--key-type",
                kind,
                "--label",
                label,
                "--sensitive",
            ]);
            let error = store(tokens)
                .open(&named(tokens, label))
                .expect_err("another kind");
            assert_eq!(error.kind(), ErrorKind::Malformed, "{error}");
        }
        let ours = made(tokens, "ours");
        let list = store(tokens).list().expect("listed");
        assert_eq!(list, [ours]);
    });
}

#[test]
fn threads_that_need_a_pin_at_once_ask_for_it_once() {
    in_own_process(Module::SoftHsm, LABEL, |tokens| {
        made(tokens, "shared");
        let (store, asked) = asking(tokens, PIN);
        let uri = key(&tokens.uri_without_pin(LABEL, "shared"));
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    store
                        .open(&uri)
                        .expect("opened")
                        .sign(b"m")
                        .expect("signed")
                });
            }
        });
        assert_eq!(asked.load(Ordering::SeqCst), 1);
    });
}

#[test]
fn a_key_is_named_by_label_by_identifier_or_by_both() {
    in_own_process(Module::SoftHsm, LABEL, |tokens| {
        let module = tokens.module_path();
        let module = module.display();
        let pin = tokens.path("pin");
        let uri = |what: &str| {
            key(&format!(
                "pkcs11:token={LABEL};{what}?module-path={module}&pin-source={}",
                pin.display()
            ))
        };
        let store = Pkcs11Provider::new(&token_of(&uri("id=%01")), |_| Ok(None)).expect("there");
        let template = KeyTemplate::signing(Algorithm::Esp256);
        let one = store
            .generate(&uri("id=%01"), &template)
            .expect("by identifier");
        let two = store
            .generate(&uri("object=two;id=%02"), &template)
            .expect("by both");
        for (what, made) in [
            ("id=%01", &one),
            ("id=%02", &two),
            ("object=two", &two),
            ("object=two;id=%02", &two),
        ] {
            assert_eq!(
                store.show(&uri(what)).expect("shown").public,
                made.public,
                "{what}"
            );
        }
        let error = store.show(&uri("object=two;id=%01")).expect_err("no such");
        assert_eq!(error.kind(), ErrorKind::NotFound);
    });
}

#[test]
fn a_module_and_its_tokens_are_detected_with_a_uri_that_works() {
    in_own_process(Module::SoftHsm, LABEL, |tokens| {
        let found = detect_among(&[tokens.module_path()]);
        let [detected] = found.as_slice() else {
            panic!("one token: {found:?}")
        };
        let Found::Ready {
            description,
            example,
        } = &detected.found
        else {
            panic!("not ready: {found:?}")
        };
        assert!(
            description.contains(LABEL) && description.contains("SoftHSM"),
            "{description}"
        );
        let store =
            Pkcs11Provider::new(&token_of(example), |_| Ok(None)).expect("as the example says");
        assert!(store.describe().expect("told").contains(LABEL));
    });
}

#[test]
fn a_module_without_tokens_and_a_file_that_is_none_are_detected_with_the_reason() {
    let tokens = Tokens::with(Module::SoftHsm, LABEL);
    let found = detect_among(&[tokens.path("conf")]);
    assert!(
        matches!(&found[..], [detected] if matches!(&detected.found, Found::Missing { reason } if reason.contains("cannot be loaded"))),
        "{found:?}"
    );
    in_own_process(Module::SoftHsm, LABEL, |tokens| {
        tokens.remove(LABEL);
        let found = detect_among(&[tokens.module_path()]);
        assert!(
            matches!(&found[..], [detected] if matches!(&detected.found, Found::Missing { reason } if reason.contains("initialise"))),
            "{found:?}"
        );
    });
}
