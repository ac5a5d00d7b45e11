//! Key files as a store of keys: the suite that every store passes, and what is peculiar to files.
use countersign_backend_file::{FileProvider, PassphraseFor};
use countersign_keys::{
    Algorithm, Capabilities, Challenge, Error, ErrorKind, Evidence, KeyInfo, KeyProvider,
    KeyTemplate, KeyUri, LockConsent, Origin, Secret, SigningKey,
};
use countersign_testing::conformance::Conformance;
use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::panic::AssertUnwindSafe;
use std::path::Path;

const PASSPHRASE: &str = "correct horse battery staple";

fn uri(folder: &Path, name: &str) -> KeyUri {
    KeyUri::File(folder.join(name))
}

fn encrypted() -> FileProvider {
    FileProvider::new(|_| Ok(Some(Secret::new(PASSPHRASE.to_owned()))))
}

fn message(error: &Error) -> String {
    error.to_string()
}

#[test]
fn files_pass_the_suite_of_all_stores() {
    let folder = tempfile::tempdir().unwrap();
    let store = FileProvider::unencrypted().in_folder(folder.path());
    Conformance::new(&store, |n| uri(folder.path(), &format!("key-{n}.pem")))
        .reopened_by(|| Box::new(FileProvider::unencrypted()))
        .run();
}

#[test]
fn encrypted_files_pass_the_suite_of_all_stores() {
    let folder = tempfile::tempdir().unwrap();
    let store = encrypted();
    Conformance::new(&store, |n| uri(folder.path(), &format!("key-{n}.pem")))
        .reopened_by(|| Box::new(encrypted()))
        .secret(PASSPHRASE.as_bytes())
        // Each opening computes 600,000 rounds of PBKDF2, and the plain files have passed this one.
        .without("threads-sign-at-once")
        .run();
}

/// A store that lies: it replaces keys, forgets to delete them, and claims to attest.
struct Lying(FileProvider);

impl KeyProvider for Lying {
    fn describe(&self) -> Result<String, Error> {
        self.0.describe()
    }
    fn capabilities(&self) -> Capabilities {
        let mut can = self.0.capabilities();
        can.attest = true;
        can
    }
    fn generate(&self, key: &KeyUri, template: &KeyTemplate) -> Result<KeyInfo, Error> {
        let _ = self.0.delete(key);
        self.0.generate(key, template)
    }
    fn open(&self, key: &KeyUri) -> Result<SigningKey, Error> {
        self.0.open(key)
    }
    fn show(&self, key: &KeyUri) -> Result<KeyInfo, Error> {
        self.0.show(key)
    }
    fn list(&self) -> Result<Vec<KeyInfo>, Error> {
        self.0.list()
    }
    fn delete(&self, _: &KeyUri) -> Result<(), Error> {
        Ok(())
    }
    fn attest(&self, key: &KeyUri, challenge: &Challenge) -> Result<Evidence, Error> {
        self.0.attest(key, challenge)
    }
    fn lock(&self, key: &KeyUri, consent: &LockConsent) -> Result<(), Error> {
        self.0.lock(key, consent)
    }
}

#[test]
fn the_suite_names_what_a_store_does_wrong() {
    let folder = tempfile::tempdir().unwrap();
    let store = Lying(FileProvider::unencrypted());
    let said = std::panic::catch_unwind(AssertUnwindSafe(|| {
        Conformance::new(&store, |n| uri(folder.path(), &format!("key-{n}.pem"))).run();
    }))
    .expect_err("the suite passed a store that lies");
    let said = said
        .downcast_ref::<String>()
        .expect("it says what is wrong");
    for check in [
        "missing-key-is-not-found: deleting",
        "never-replaces-a-key: generating it twice",
        "evidence-as-claimed: it attests",
        "foreign-names-are-refused: deleting",
        "deletes-as-claimed: opening it then",
    ] {
        assert!(said.contains(check), "{check} is missing: {said}");
    }
    assert!(said.starts_with("5 of 18 checks failed"), "{said}");
}

#[test]
fn a_generated_file_is_private_and_says_that_it_is_software() {
    let folder = tempfile::tempdir().unwrap();
    let key = uri(folder.path(), "key.pem");
    let made = encrypted()
        .generate(&key, &KeyTemplate::signing(Algorithm::Ed25519))
        .unwrap();
    assert_eq!((made.origin, made.locked), (Origin::Software, false));
    let file = folder.path().join("key.pem");
    assert_eq!(fs::metadata(&file).unwrap().mode() & 0o7777, 0o600);
    assert!(
        fs::read_to_string(&file)
            .unwrap()
            .starts_with("-----BEGIN ENCRYPTED PRIVATE KEY-----")
    );
    let error = FileProvider::unencrypted().open(&key).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Passphrase);
    assert!(message(&error).contains("give its passphrase"), "{error}");
}

#[test]
fn no_passphrase_is_asked_for_a_key_that_will_not_be_made() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("key.pem"), "taken").unwrap();
    let store = FileProvider::new(|what: PassphraseFor<'_>| panic!("{what:?} was asked for"));
    let error = store
        .generate(
            &uri(folder.path(), "key.pem"),
            &KeyTemplate::signing(Algorithm::Esp256),
        )
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Exists);
    assert_eq!(fs::read(folder.path().join("key.pem")).unwrap(), b"taken");
}

#[test]
fn only_keys_are_deleted_and_only_by_their_own_name() {
    let folder = tempfile::tempdir().unwrap();
    let store = FileProvider::unencrypted();
    let certificate = folder.path().join("certificate.pem");
    fs::write(&certificate, "-----BEGIN CERTIFICATE-----\n").unwrap();
    fs::set_permissions(
        &certificate,
        std::os::unix::fs::PermissionsExt::from_mode(0o600),
    )
    .unwrap();
    let error = store
        .delete(&KeyUri::File(certificate.clone()))
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Malformed);
    assert!(certificate.exists());

    let key = uri(folder.path(), "key.pem");
    store
        .generate(&key, &KeyTemplate::signing(Algorithm::Esp256))
        .unwrap();
    let link = folder.path().join("link.pem");
    symlink("key.pem", &link).unwrap();
    let error = store.delete(&KeyUri::File(link.clone())).unwrap_err();
    assert!(message(&error).contains("symbolic link"), "{error}");
    assert!(link.exists() && store.open(&key).is_ok());

    let error = store.delete(&uri(folder.path(), "")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Io);
    assert!(folder.path().exists());
}

#[test]
fn a_folder_lists_its_keys_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let store = FileProvider::unencrypted().in_folder(folder.path());
    assert_eq!(store.list().unwrap(), []);
    let mut made = Vec::new();
    for name in ["b.pem", "a.pem"] {
        let template = KeyTemplate::signing(Algorithm::Esp256);
        made.push(
            store
                .generate(&uri(folder.path(), name), &template)
                .unwrap(),
        );
    }
    made.reverse();
    fs::write(folder.path().join("c.pem"), "-----BEGIN CERTIFICATE-----").unwrap();
    fs::create_dir(folder.path().join("below")).unwrap();
    assert_eq!(store.list().unwrap(), made);

    // A key that cannot be shown is not passed over in silence.
    fs::write(
        folder.path().join("d.pem"),
        "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
    )
    .unwrap();
    let error = store.list().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Permissions);
    assert!(message(&error).contains("d.pem"), "{error}");
}
