//! Key files between us and OpenSSL, in both directions, and the files that must be refused.
#![expect(
    clippy::unwrap_used,
    reason = "a test that meets something unexpected should panic"
)]

use countersign_backend_file::{FileKey, Overwrite, SystemRandom};
use countersign_keys::{Algorithm, Error, ErrorKind, Secret, SigningKey};
use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

const PASSPHRASE: &str = "correct horse battery staple";

fn openssl(arguments: &[&str]) -> Vec<u8> {
    let output = Command::new("openssl")
        .args(arguments)
        .output()
        .expect("openssl is needed for this test");
    assert!(
        output.status.success(),
        "openssl {arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    output.stdout
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn secret() -> Secret {
    Secret::new(PASSPHRASE.to_owned())
}

/// Fails the test if the passphrase is asked for.
fn not_asked() -> Result<Secret, Error> {
    panic!("the passphrase was asked for")
}

/// A key that OpenSSL made, in PKCS#8, mode 0600.
fn made_by_openssl(folder: &Path, algorithm: Algorithm) -> PathBuf {
    let path = folder.join(format!("{}.pem", algorithm.name()));
    match algorithm {
        Algorithm::Ed25519 => openssl(&["genpkey", "-algorithm", "ed25519", "-out", text(&path)]),
        _ => openssl(&[
            "genpkey",
            "-algorithm",
            "EC",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-out",
            text(&path),
        ]),
    };
    private(&path);
    path
}

fn private(path: &Path) {
    fs::set_permissions(path, Permissions::from_mode(0o600)).unwrap();
}

/// OpenSSL's opinion of a signature by `key`, given the public key it derives from `file` itself.
fn openssl_verifies(folder: &Path, key: &SigningKey, file: &Path) {
    let message = folder.join("message");
    fs::write(&message, b"open the valve").unwrap();
    let signature = folder.join("signature");
    fs::write(&signature, key.sign(b"open the valve").unwrap().to_x509()).unwrap();
    let public = folder.join("public.pem");
    let pass = format!("pass:{PASSPHRASE}");
    openssl(&[
        "pkey",
        "-in",
        text(file),
        "-passin",
        &pass,
        "-pubout",
        "-out",
        text(&public),
    ]);
    let mut arguments = vec![
        "pkeyutl",
        "-verify",
        "-pubin",
        "-inkey",
        text(&public),
        "-in",
        text(&message),
    ];
    arguments.extend(["-sigfile", text(&signature), "-rawin"]);
    if key.algorithm() == Algorithm::Esp256 {
        arguments.extend(["-digest", "sha256"]);
    }
    openssl(&arguments);
    let spki = openssl(&["pkey", "-pubin", "-in", text(&public), "-outform", "DER"]);
    assert_eq!(spki, key.public_key().to_spki_der());
}

const BOTH: [Algorithm; 2] = [Algorithm::Ed25519, Algorithm::Esp256];

#[test]
fn we_read_what_openssl_writes() {
    let folder = tempfile::tempdir().unwrap();
    for algorithm in BOTH {
        let plain = made_by_openssl(folder.path(), algorithm);
        let key = FileKey::open(&plain, not_asked).unwrap();
        assert_eq!(key.algorithm(), algorithm);
        openssl_verifies(folder.path(), &key, &plain);

        // openssl pkcs8 -topk8: PBKDF2 by default, and scrypt.
        let pass = format!("pass:{PASSPHRASE}");
        for option in [
            ["-v2", "aes-256-cbc"].as_slice(),
            &["-v2", "aes-128-cbc"],
            &["-scrypt"],
        ] {
            let encrypted = folder.path().join("encrypted.pem");
            let mut arguments = vec![
                "pkcs8",
                "-topk8",
                "-in",
                text(&plain),
                "-out",
                text(&encrypted),
            ];
            arguments.extend(["-passout", &pass]);
            arguments.extend(option);
            openssl(&arguments);
            private(&encrypted);
            let again = FileKey::open(&encrypted, || Ok(secret())).unwrap();
            assert_eq!(again.public_key(), key.public_key());
        }
    }
}

#[test]
fn openssl_reads_what_we_write() {
    let folder = tempfile::tempdir().unwrap();
    for algorithm in BOTH {
        for passphrase in [None, Some(secret())] {
            let path = folder.path().join("ours.pem");
            let key = FileKey::generate(algorithm, &mut SystemRandom).unwrap();
            key.save(&path, passphrase.as_ref(), Overwrite::Replace)
                .unwrap();
            let written = fs::read_to_string(&path).unwrap();
            assert_eq!(
                written.contains("BEGIN ENCRYPTED PRIVATE KEY"),
                passphrase.is_some()
            );

            let opened = FileKey::open(&path, || Ok(passphrase.clone().unwrap())).unwrap();
            assert_eq!(opened.public_key(), key.public_key());
            openssl_verifies(folder.path(), &opened, &path);
        }
    }
}

#[test]
fn a_saved_key_is_private_whatever_the_umask() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("key.pem");
    let key = FileKey::generate(Algorithm::Ed25519, &mut SystemRandom).unwrap();
    key.save(&path, None, Overwrite::Refuse).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o600);
    assert_eq!(
        fs::read_dir(folder.path()).unwrap().count(),
        1,
        "a temporary file was left behind"
    );
}

#[test]
fn a_key_that_others_may_read_is_refused_with_the_command_to_run() {
    let folder = tempfile::tempdir().unwrap();
    let path = made_by_openssl(folder.path(), Algorithm::Ed25519);
    for mode in [0o644, 0o640, 0o620, 0o604, 0o601, 0o660] {
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        let error = FileKey::open(&path, not_asked).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Permissions, "{mode:o}");
        assert!(
            error
                .to_string()
                .contains(&format!("chmod 600 {}", path.display())),
            "{error}"
        );
        // Through a link it is the same file.
        let link = folder.path().join("link.pem");
        let _ = fs::remove_file(&link);
        symlink(&path, &link).unwrap();
        assert_eq!(
            FileKey::open(&link, not_asked).unwrap_err().kind(),
            ErrorKind::Permissions
        );
    }
    for mode in [0o600, 0o400] {
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        FileKey::open(&path, not_asked).unwrap();
    }
}

#[test]
fn an_existing_file_is_never_overwritten_unasked_and_links_are_not_followed() {
    let folder = tempfile::tempdir().unwrap();
    let key = FileKey::generate(Algorithm::Ed25519, &mut SystemRandom).unwrap();
    let victim = folder.path().join("victim");
    fs::write(&victim, "precious").unwrap();
    let link = folder.path().join("key.pem");
    symlink(&victim, &link).unwrap();
    let dangling = folder.path().join("dangling.pem");
    symlink(folder.path().join("nowhere"), &dangling).unwrap();

    for path in [&victim, &link, &dangling, &folder.path().to_owned()] {
        let error = key.save(path, None, Overwrite::Refuse).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Exists, "{error}");
    }
    assert_eq!(
        key.save(folder.path(), None, Overwrite::Replace)
            .unwrap_err()
            .kind(),
        ErrorKind::Exists
    );

    key.save(&link, None, Overwrite::Replace).unwrap();
    assert_eq!(fs::read_to_string(&victim).unwrap(), "precious");
    assert!(fs::symlink_metadata(&link).unwrap().is_file());
    assert!(!folder.path().join("nowhere").exists());
}

#[test]
fn wrong_and_empty_passphrases() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("key.pem");
    let key = FileKey::generate(Algorithm::Esp256, &mut SystemRandom).unwrap();
    let empty = Secret::new(String::new());
    assert_eq!(
        key.save(&path, Some(&empty), Overwrite::Refuse)
            .unwrap_err()
            .kind(),
        ErrorKind::Passphrase
    );
    assert!(!path.exists());

    key.save(&path, Some(&secret()), Overwrite::Refuse).unwrap();
    let error = FileKey::open(&path, || Ok(Secret::new("wrong".to_owned()))).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Passphrase);
    assert!(!error.to_string().contains("wrong"), "{error}");
    let cancelled = || {
        Err(Error::new(
            ErrorKind::Passphrase,
            "no terminal to ask for the passphrase",
        ))
    };
    assert!(
        FileKey::open(&path, cancelled)
            .unwrap_err()
            .to_string()
            .contains("no terminal")
    );
}

#[test]
fn what_is_not_a_usable_key_file_says_what_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("key.pem");
    let refused = |contents: &[u8]| {
        fs::write(&path, contents).unwrap();
        private(&path);
        let error = FileKey::open(&path, not_asked).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Malformed, "{error}");
        error.to_string()
    };

    assert!(refused(b"").contains("not PEM"));
    assert!(refused(&[0xff; 100]).contains("not PEM"));
    assert!(refused(&vec![b'a'; 17 * 1024]).contains("larger than"));
    let ec = openssl(&["ecparam", "-name", "prime256v1", "-genkey", "-noout"]);
    assert!(refused(&ec).contains("openssl pkcs8 -topk8"));
    let p384 = openssl(&[
        "genpkey",
        "-algorithm",
        "EC",
        "-pkeyopt",
        "ec_paramgen_curve:P-384",
    ]);
    assert!(refused(&p384).contains("P-256"));
    let explicit = openssl(&[
        "genpkey",
        "-algorithm",
        "EC",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-pkeyopt",
        "ec_param_enc:explicit",
    ]);
    assert!(refused(&explicit).contains("named curve"));
    let rsa = openssl(&[
        "genpkey",
        "-algorithm",
        "RSA",
        "-pkeyopt",
        "rsa_keygen_bits:2048",
    ]);
    assert!(refused(&rsa).contains("1.2.840.113549.1.1.1"));

    let good = FileKey::generate(Algorithm::Ed25519, &mut SystemRandom).unwrap();
    let other = folder.path().join("good.pem");
    good.save(&other, None, Overwrite::Refuse).unwrap();
    let public = openssl(&["pkey", "-in", text(&other), "-pubout"]);
    assert!(refused(&public).contains("public key"));
    let mut cut = fs::read(&other).unwrap();
    cut.truncate(60);
    refused(&cut);

    let missing = FileKey::open(&folder.path().join("none.pem"), not_asked).unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::NotFound);
    assert_eq!(
        FileKey::open(folder.path(), not_asked).unwrap_err().kind(),
        ErrorKind::Io
    );
    assert_eq!(
        FileKey::open(Path::new("/dev/zero"), not_asked)
            .unwrap_err()
            .kind(),
        ErrorKind::Io
    );
    let nowhere = folder.path().join("no/such/folder/key.pem");
    assert_eq!(
        good.save(&nowhere, None, Overwrite::Refuse)
            .unwrap_err()
            .kind(),
        ErrorKind::NotFound
    );
}

#[test]
fn a_named_pipe_is_refused_without_waiting() {
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("pipe");
    assert!(
        Command::new("mkfifo")
            .arg(&pipe)
            .status()
            .unwrap()
            .success()
    );
    assert_eq!(
        FileKey::open(&pipe, not_asked).unwrap_err().kind(),
        ErrorKind::Io
    );
}

#[test]
fn a_key_whose_halves_do_not_belong_together_is_refused() {
    // PKCS#8 version 2 carries the public key (RFC 5958): 30 51, version 1, Ed25519, seed, [1] public key.
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("key.pem");
    let der = |public: &[u8]| {
        let mut der = hex::decode("3051020101300506032b657004220420").unwrap();
        der.extend([7; 32]);
        der.extend([0x81, 0x21, 0x00]);
        der.extend(public);
        der
    };
    let right = FileKey::from_seed(Algorithm::Ed25519, &[7; 32])
        .unwrap()
        .public_key()
        .to_raw_bytes();
    let wrong = FileKey::from_seed(Algorithm::Ed25519, &[8; 32])
        .unwrap()
        .public_key()
        .to_raw_bytes();
    for (public, good) in [(right, true), (wrong, false)] {
        let der_path = folder.path().join("key.der");
        fs::write(&der_path, der(&public)).unwrap();
        let base64 = String::from_utf8(openssl(&["base64", "-in", text(&der_path)])).unwrap();
        fs::write(
            &path,
            format!("-----BEGIN PRIVATE KEY-----\n{base64}-----END PRIVATE KEY-----\n"),
        )
        .unwrap();
        private(&path);
        let opened = FileKey::open(&path, not_asked);
        assert_eq!(opened.is_ok(), good);
        if let Err(error) = opened {
            assert!(error.to_string().contains("does not belong"), "{error}");
        }
    }
}
