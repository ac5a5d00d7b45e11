//! From a URI to its store, and to no other.

use countersign_keys::{Algorithm, ErrorKind, Found, KeyTemplate, KeyUri, Secret};
use countersign_stores::{Kind, SecretFor, StoreUri, Stores, detect};
use countersign_testing::tokens::{Module, PIN, in_own_process};

const PASSPHRASE: &str = "correct horse battery staple";

fn uri(text: &str) -> KeyUri {
    text.parse().unwrap()
}

#[test]
fn a_file_and_a_token_ask_each_for_their_own_secret() {
    in_own_process(Module::SoftHsm, "build", |tokens| {
        let stores = Stores::new(|wanted| {
            let secret = match wanted {
                SecretFor::File(_) | SecretFor::NewFile(_) => PASSPHRASE,
                SecretFor::Pin { token: "build", .. } => PIN,
                other => panic!("{other:?} was asked for"),
            };
            Ok(Some(Secret::new(secret.to_owned())))
        });
        let file = KeyUri::File(tokens.path("key.pem"));
        let token = uri(&tokens.uri_without_pin("build", "signing"));
        for key in [&file, &token] {
            let made = stores
                .of_key(key)
                .unwrap()
                .generate(key, &KeyTemplate::signing(Algorithm::Esp256))
                .unwrap();
            let opened = stores.open(key).unwrap();
            assert_eq!(opened.public_key(), &made.public);
            opened.sign(b"message").unwrap();
        }
        // Each lists its own key, and nobody is asked for what a URI says already.
        let nobody = Stores::without_secrets();
        let named: StoreUri = format!(
            "pkcs11:token=build?module-path={}&pin-source={}",
            tokens.module_path().display(),
            tokens.path("pin").display()
        )
        .parse()
        .unwrap();
        assert_eq!(nobody.of_name(&named).unwrap().list().unwrap().len(), 1);
        let error = nobody.open(&token).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Passphrase, "{error}");
        let error = nobody.open(&file).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Passphrase, "{error}");
    });
}

#[test]
fn tf01_a_store_that_is_not_there_is_said_and_no_other_takes_its_place() {
    let stores = Stores::new(|wanted| panic!("{wanted:?} was asked for"));
    for (text, kinds) in [
        (
            "pkcs11:token=t;object=k?module-path=/nonexistent.so",
            &[ErrorKind::NotFound][..],
        ),
        ("atecc608:/dev/i2c-99?slot=0", &[ErrorKind::NotFound]),
        ("exec:/nonexistent/signer", &[ErrorKind::NotFound]),
        ("/nonexistent/key.pem", &[ErrorKind::NotFound]),
        // Without the feature there is no such store; with it, there is no such device.
        (
            "tpm:door?tcti=device:/dev/nonexistent",
            &[ErrorKind::Unsupported, ErrorKind::NotFound],
        ),
    ] {
        let error = stores.open(&uri(text)).unwrap_err();
        assert!(kinds.contains(&error.kind()), "{text}: {error}");
        let message = error.to_string();
        assert!(
            text.starts_with('/')
                || message.rsplit_once("; ").is_some()
                || text.starts_with("exec:"),
            "{text}: no remedy in {message}"
        );
        // Nor is a key made.
        let made = Stores::without_secrets()
            .of_key(&uri(text))
            .and_then(|store| store.generate(&uri(text), &KeyTemplate::signing(Algorithm::Esp256)));
        assert!(made.is_err(), "{text}: {made:?}");
    }
}

#[cfg(not(feature = "tpm"))]
#[test]
fn tf01_a_build_without_tpm_support_says_so() {
    let error = Stores::without_secrets()
        .open(&uri("tpm:0x81010001"))
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(
        error
            .to_string()
            .starts_with("this build has no TPM support: built without the feature tpm; "),
        "{error}"
    );
}

#[test]
fn every_kind_of_store_is_looked_for_and_what_is_missing_says_why() {
    in_own_process(Module::SoftHsm, "build", |_| {
        let found = detect();
        for kind in [Kind::Tpm, Kind::Atecc608, Kind::Pkcs11] {
            assert!(
                found.iter().any(|(of, _)| *of == kind),
                "{kind:?}: {found:?}"
            );
        }
        for (kind, detected) in &found {
            match &detected.found {
                Found::Ready { example, .. } => assert_eq!(example.scheme(), kind.scheme()),
                Found::Missing { reason } => assert!(reason.contains("; "), "{reason}"),
            }
        }
        // SoftHSM's package registers it, and its token has been made for this test.
        assert!(
            found.iter().any(|(_, detected)| matches!(&detected.found, Found::Ready { description, .. } if description.contains("\"build\""))),
            "{found:?}"
        );
    });
}
