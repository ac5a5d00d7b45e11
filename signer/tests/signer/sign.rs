//! Signing files: what is written, what is refused, and that nothing half-written stays.

use crate::common::{Pki, component, generate, manifest, names, text};
use countersign_format::{Digest, Envelope, FormatError, SignedFile, Statement};
use countersign_keys::{Algorithm, Error, PublicKey, Signer, SigningKey};
use countersign_signer::{
    CertifiedKey, Chain, Manifest, Overwrite, SignError, SignOptions, default_output, sign_file,
    sign_reader,
};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

pub(crate) const FORCE: SignOptions = SignOptions {
    replace_signature: false,
    overwrite: Overwrite::Replace,
    issued_at: None,
};

/// Checks a signed file with the format and the public keys alone.
fn check(file: &[u8], component: &[u8]) -> Statement {
    let signed = SignedFile::parse(file).unwrap();
    assert_eq!(signed.component(), component, "the component was changed");
    let envelope = Envelope::decode(signed.signature()).unwrap();
    let statement = Statement::decode(envelope.statement_bytes()).unwrap();
    assert_eq!(*statement.component_digest(), Digest::of(component));
    assert_eq!(
        statement.component_size(),
        u64::try_from(component.len()).unwrap()
    );
    assert_eq!(envelope.signers().len(), statement.signers().len());
    for (index, (signer, id)) in envelope
        .signers()
        .iter()
        .zip(statement.signers())
        .enumerate()
    {
        let chain = Chain::from_der(signer.chain().to_vec()).unwrap();
        assert_eq!(chain.public_key().spki_sha256(), id.spki_sha256);
        assert_eq!(signer.algorithm(), id.algorithm);
        assert_eq!(Digest::of(&signer.chain().concat()), id.chain_sha256);
        chain
            .public_key()
            .verify(&envelope.to_be_signed(index).unwrap(), signer.signature())
            .unwrap();
    }
    statement
}

#[test]
fn a_signed_file_is_the_component_and_one_section() {
    let pki = Pki::new();
    // Below, at and above the size of a piece.
    for size in [0, 1, 65_536 - 20, 65_536, 300_000] {
        let bytes = component(size);
        let input = pki.write("app.wasm", &bytes);
        let output = default_output(&input);
        assert_eq!(output, pki.path("app.signed.wasm"));
        let signers = [pki.signer(Algorithm::Esp256, "device-1")];
        let signed = sign_file(&input, &output, &manifest(), &signers, &FORCE).unwrap();
        let statement = check(&fs::read(&output).unwrap(), &bytes);
        assert_eq!(statement, signed.statement);
        assert_eq!(statement.name().to_string(), "acme:valve");
        assert!(statement.grants().stdio.stdout && !statement.grants().stdio.stderr);
    }
}

#[test]
fn one_to_four_different_signers_in_the_statements_order() {
    let pki = Pki::new();
    let bytes = component(10);
    let input = pki.write("app.wasm", &bytes);
    let output = pki.path("out.wasm");
    let mut signers: Vec<CertifiedKey> = Vec::new();
    for (number, algorithm) in [
        Algorithm::Esp256,
        Algorithm::Ed25519,
        Algorithm::Esp256,
        Algorithm::Ed25519,
    ]
    .into_iter()
    .enumerate()
    {
        signers.push(pki.signer(algorithm, &format!("device-{number}")));
        sign_file(&input, &output, &manifest(), &signers, &FORCE).unwrap();
        assert_eq!(
            check(&fs::read(&output).unwrap(), &bytes).signers().len(),
            number + 1
        );
    }
    signers.push(pki.signer(Algorithm::Ed25519, "device-5"));
    let before = fs::read(&output).unwrap();
    let refused = |signers: &[CertifiedKey], words: &str| {
        let error = sign_file(&input, &output, &manifest(), signers, &FORCE).unwrap_err();
        assert!(
            matches!(error, SignError::Signers { .. }) && error.to_string().contains(words),
            "{error}"
        );
    };
    refused(&signers, "at most 4");
    refused(&[], "no signer");
    assert_eq!(fs::read(&output).unwrap(), before);
}

#[test]
fn tb17_one_key_does_not_sign_twice() {
    let pki = Pki::new();
    let input = pki.write("app.wasm", component(10));
    let seed = [9; 32];
    let twin = |name| {
        let key: SigningKey =
            countersign_backend_file::FileKey::from_seed(Algorithm::Ed25519, &seed)
                .unwrap()
                .into();
        let chain = Chain::from_pem(pki.certify(&key, name).as_bytes()).unwrap();
        CertifiedKey::new(key, chain).unwrap()
    };
    let error = sign_file(
        &input,
        &pki.path("out.wasm"),
        &manifest(),
        &[twin("one"), twin("other")],
        &FORCE,
    )
    .unwrap_err();
    assert!(error.to_string().contains("given twice"), "{error}");
    assert!(!pki.path("out.wasm").exists());
}

#[test]
fn a_signed_input_is_refused_unless_it_is_replaced() {
    let pki = Pki::new();
    let bytes = component(100_000);
    let input = pki.write("app.wasm", &bytes);
    let (once, twice) = (pki.path("once.wasm"), pki.path("twice.wasm"));
    let first = [pki.signer(Algorithm::Esp256, "first")];
    let second = [pki.signer(Algorithm::Ed25519, "second")];
    sign_file(&input, &once, &manifest(), &first, &SignOptions::default()).unwrap();

    let error =
        sign_file(&once, &twice, &manifest(), &second, &SignOptions::default()).unwrap_err();
    assert!(
        matches!(error, SignError::AlreadySigned) && error.to_string().contains("--replace"),
        "{error}"
    );
    assert!(!twice.exists());
    assert!(
        !names(pki.folder.path())
            .iter()
            .any(|name| name.starts_with(".unfinished-"))
    );

    let replace = SignOptions {
        replace_signature: true,
        ..SignOptions::default()
    };
    sign_file(&once, &twice, &manifest(), &second, &replace).unwrap();
    let statement = check(&fs::read(&twice).unwrap(), &bytes);
    assert_eq!(
        statement.signers()[0].spki_sha256,
        second[0].key().public_key().spki_sha256()
    );
    // In place: input and output are one file.
    let force = SignOptions {
        overwrite: Overwrite::Replace,
        ..replace
    };
    sign_file(&twice, &twice, &manifest(), &first, &force).unwrap();
    check(&fs::read(&twice).unwrap(), &bytes);
}

#[test]
fn an_existing_output_is_not_touched_and_links_are_not_followed() {
    let pki = Pki::new();
    let input = pki.write("app.wasm", component(10));
    let victim = pki.write("victim", "precious");
    let link = pki.path("link.wasm");
    symlink(&victim, &link).unwrap();
    let signers = [pki.signer(Algorithm::Ed25519, "device")];
    for output in [&victim, &link] {
        let error = sign_file(
            &input,
            output,
            &manifest(),
            &signers,
            &SignOptions::default(),
        )
        .unwrap_err();
        assert!(
            matches!(error, SignError::Exists { .. }) && error.to_string().contains("--force"),
            "{error}"
        );
    }
    sign_file(&input, &link, &manifest(), &signers, &FORCE).unwrap();
    assert_eq!(fs::read_to_string(&victim).unwrap(), "precious");
    assert!(fs::symlink_metadata(&link).unwrap().is_file());
}

#[test]
fn bad_inputs_leave_no_output() {
    let pki = Pki::new();
    let signers = [pki.signer(Algorithm::Ed25519, "device")];
    let output = pki.path("out.wasm");
    let good = component(1000);
    let mut trailing = good.clone();
    trailing.extend_from_slice(&[1, 2]);
    let cases: [(&str, Vec<u8>); 8] = [
        ("empty", Vec::new()),
        ("text", b"(component)".to_vec()),
        ("core", b"\0asm\x01\0\0\0".to_vec()),
        ("elf", b"\x7fELF\x02\x01\x01\0\0\0".to_vec()),
        ("cut", good[..500].to_vec()),
        ("preamble", good[..5].to_vec()),
        ("trailing", trailing),
        (
            "huge-section",
            b"\0asm\x0d\0\x01\0\0\xff\xff\xff\xff\x0f".to_vec(),
        ),
    ];
    for (name, bytes) in cases {
        let input = pki.write(name, &bytes);
        let error = sign_file(&input, &output, &manifest(), &signers, &FORCE).unwrap_err();
        assert!(matches!(error, SignError::Component(_)), "{name}: {error}");
        assert!(!output.exists(), "{name}");
    }
    for input in [pki.path("missing"), pki.folder.path().to_owned()] {
        let error = sign_file(&input, &output, &manifest(), &signers, &FORCE).unwrap_err();
        assert!(
            matches!(error, SignError::Io { action: "read", .. }),
            "{error}"
        );
    }
    let input = pki.write("good.wasm", &good);
    for output in [
        pki.path("no/such/folder/out.wasm"),
        pki.folder.path().to_owned(),
    ] {
        let error = sign_file(&input, &output, &manifest(), &signers, &FORCE).unwrap_err();
        assert!(
            matches!(
                error,
                SignError::Io {
                    action: "written",
                    ..
                }
            ),
            "{error}"
        );
    }
    assert!(
        !names(pki.folder.path())
            .iter()
            .any(|name| name.starts_with(".unfinished-"))
    );
}

#[test]
fn an_endless_input_ends() {
    let pki = Pki::new();
    let signers = [pki.signer(Algorithm::Ed25519, "device")];
    // One custom section that claims 4 GiB, from a source that would deliver them.
    let head = b"\0asm\x0d\0\x01\0\0\xff\xff\xff\xff\x0f\x04data";
    let mut endless = std::io::Read::chain(&head[..], std::io::repeat(7));
    let error = sign_reader(
        &mut endless,
        Path::new("-"),
        &pki.path("out.wasm"),
        &manifest(),
        &signers,
        &FORCE,
    )
    .unwrap_err();
    assert!(
        matches!(
            error,
            SignError::Component(FormatError::LimitExceeded { .. })
        ),
        "{error}"
    );
    assert!(!pki.path("out.wasm").exists());
}

#[test]
fn tb20_a_faulty_signer_leaves_no_output() {
    struct Faulty(PublicKey);
    impl Signer for Faulty {
        fn public_key(&self) -> &PublicKey {
            &self.0
        }
        fn sign_unchecked(&self, _: &[u8]) -> Result<[u8; 64], Error> {
            Ok([1; 64])
        }
    }
    let pki = Pki::new();
    let input = pki.write("app.wasm", component(10));
    for algorithm in [Algorithm::Esp256, Algorithm::Ed25519] {
        let good = pki.signer(algorithm, "device");
        let faulty = SigningKey::new(Faulty(good.key().public_key().clone()));
        let signers = [CertifiedKey::new(faulty, good.chain().clone()).unwrap()];
        let error =
            sign_file(&input, &pki.path("out.wasm"), &manifest(), &signers, &FORCE).unwrap_err();
        let SignError::Key(error) = error else {
            panic!("{error}")
        };
        assert_eq!(error.kind(), countersign_keys::ErrorKind::BadSignature);
        assert!(!pki.path("out.wasm").exists());
    }
}

#[test]
fn tb16_the_chains_leaf_must_be_of_the_signing_key() {
    let pki = Pki::new();
    let chain =
        Chain::from_pem(pki.certify(&generate(Algorithm::Esp256), "one").as_bytes()).unwrap();
    let error = CertifiedKey::new(generate(Algorithm::Esp256), chain).unwrap_err();
    assert!(error.to_string().contains("the signing key is"), "{error}");
}

#[test]
fn chains_that_a_desk_mistake_makes() {
    let pki = Pki::new();
    let leaf = pki.certify(&generate(Algorithm::Esp256), "leaf");
    let root = fs::read_to_string(pki.path("root.pem")).unwrap();
    let other = pki.certify(&generate(Algorithm::Ed25519), "other");
    for (pem, words) in [
        (String::new(), "no -----BEGIN CERTIFICATE"),
        ("hello".to_owned(), "no -----BEGIN CERTIFICATE"),
        (format!("{leaf}{root}"), "leave it out"),
        (format!("{leaf}{other}"), "leaf first"),
        (leaf.repeat(4), "leave the root out"),
        (leaf.replace("MII", "MIJ"), "cannot be read"),
        (leaf.replace("-----END CERTIFICATE-----", ""), "no end"),
        (
            fs::read_to_string(pki.path("root.key")).unwrap(),
            "PRIVATE KEY",
        ),
    ] {
        let error = Chain::from_pem(pem.as_bytes()).unwrap_err();
        assert!(
            error.to_string().contains(words),
            "{error} (expected: {words})"
        );
    }
    // Text around the blocks, as `openssl x509 -text` writes, is fine.
    Chain::from_pem(format!("subject=CN = leaf\n{leaf}\n# end").as_bytes()).unwrap();
    let rsa = crate::common::openssl(&[
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-subj",
        "/CN=r",
        "-keyout",
        "/dev/null",
    ]);
    assert!(Chain::from_pem(&rsa).is_err());
}

#[test]
fn documents_are_signed_by_their_digest() {
    let pki = Pki::new();
    let input = pki.write("app.wasm", component(10));
    pki.write("sbom.json", "{}");
    let toml = "name = \"acme:valve\"\nversion = \"1.0.0\"\n\
                [[documents]]\npath = \"sbom.json\"\nmedia-type = \"application/vnd.cyclonedx+json\"\n";
    let manifest = Manifest::load(&pki.write("component.toml", toml)).unwrap();
    let signers = [pki.signer(Algorithm::Ed25519, "d")];
    let output = pki.path("out.wasm");
    let signed = sign_file(&input, &output, &manifest, &signers, &FORCE).unwrap();
    assert_eq!(signed.statement.documents()[0].digest, Digest::of(b"{}"));

    fs::remove_file(pki.path("sbom.json")).unwrap();
    let error =
        sign_file(&input, &pki.path("other.wasm"), &manifest, &signers, &FORCE).unwrap_err();
    assert!(error.to_string().contains("sbom.json"), "{error}");
}

#[test]
fn the_default_output_stands_beside_the_input() {
    for (input, output) in [
        ("a/app.wasm", "a/app.signed.wasm"),
        ("app", "app.signed.wasm"),
        ("x.wat", "x.wat.signed.wasm"),
    ] {
        assert_eq!(default_output(Path::new(input)), PathBuf::from(output));
    }
}

/// Signs a component of 192 MiB in a process of its own, and looks at the most memory that it ever had.
#[test]
fn a_large_component_takes_little_memory() {
    const CHILD: &str = "COUNTERSIGN_TEST_LARGE_INPUT";
    if let Ok(input) = std::env::var(CHILD) {
        let pki = Pki::new();
        let input = PathBuf::from(input);
        let output = default_output(&input);
        sign_file(
            &input,
            &output,
            &manifest(),
            &[pki.signer(Algorithm::Esp256, "d")],
            &FORCE,
        )
        .unwrap();
        let status = fs::read_to_string("/proc/self/status").unwrap();
        println!(
            "{}",
            status
                .lines()
                .find(|line| line.starts_with("VmHWM:"))
                .unwrap()
        );
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let input = folder.path().join("large.wasm");
    // A custom section of 192 MiB; the file has holes, so it costs no disk.
    let mut head = b"\0asm\x0d\0\x01\0\0\x80\x80\x80\x60".to_vec();
    head.extend_from_slice(b"\x04data");
    fs::write(&input, &head).unwrap();
    let file = fs::OpenOptions::new().write(true).open(&input).unwrap();
    file.set_len(13 + 192 * 1024 * 1024).unwrap();
    let child = std::process::Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "sign::a_large_component_takes_little_memory",
            "--nocapture",
            "--test-threads=1",
        ])
        .env(CHILD, text(&input))
        .output()
        .unwrap();
    let printed = String::from_utf8(child.stdout).unwrap();
    assert!(
        child.status.success(),
        "{printed}{}",
        String::from_utf8_lossy(&child.stderr)
    );
    let line = printed
        .lines()
        .find_map(|line| line.split_once("VmHWM:"))
        .unwrap()
        .1;
    let kib: u64 = line.trim().trim_end_matches(" kB").trim().parse().unwrap();
    assert!(kib < 16 * 1024, "signing took {kib} KiB");
    assert!(fs::metadata(default_output(&input)).unwrap().len() > 192 * 1024 * 1024);
}
