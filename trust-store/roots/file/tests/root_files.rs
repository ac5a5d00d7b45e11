//! Root files on disk: what is read of them, and with which words a bad one fails the build.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use countersign_roots_file::{BuildInput, RootsFileError, build, parse, parse_with_files, read};
use countersign_testing::{Files, Role, TestPki, TestPkiBuilder};
use countersign_trust_store::{Purpose, UnixTime};
use tempfile::TempDir;

/// A folder with a PKI in it.
struct Bench {
    folder: TempDir,
    pki: TestPki,
    files: Files,
}

impl Bench {
    fn new() -> Self {
        Self::with(TestPki::builder())
    }

    fn with(builder: TestPkiBuilder) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let pki = builder.build();
        let files = pki.write(folder.path());
        Self { folder, pki, files }
    }

    fn write(&self, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
        let path = self.folder.path().join(name);
        std::fs::write(&path, text).expect("our own folder");
        path
    }

    /// What a build says to this text as `roots.toml`.
    fn toml_error(&self, text: &str) -> String {
        let path = self.write("tried.toml", text);
        let error = parse(&path).expect_err("a bad file is refused").to_string();
        assert!(!error.contains('\n'), "one line: {error}");
        match error.strip_prefix(&format!("{}", path.display())) {
            Some(rest) => rest.to_owned(),
            None => error,
        }
    }
}

fn input(path: &Path) -> BuildInput {
    BuildInput {
        roots: Some(path.into()),
        source_date_epoch: None,
    }
}

fn refused(path: &Path) -> String {
    build(&input(path))
        .expect_err("a bad root file fails the build")
        .to_string()
}

#[test]
fn a_pem_bundle_is_a_list_of_roots_for_components() {
    let (one, two) = (Bench::new(), Bench::new());
    let text = |bench: &Bench| std::fs::read_to_string(&bench.files.roots_pem).expect("PEM");
    let both = one.write(
        "both.pem",
        format!("first\n{}second\n{}", text(&one), text(&two)),
    );
    let sources = parse(&both).expect("two roots");
    let certificates: Vec<_> = sources
        .iter()
        .map(|source| source.certificate.as_slice())
        .collect();
    assert_eq!(certificates, [one.pki.root(), two.pki.root()]);
    assert!(
        sources
            .iter()
            .all(|source| source.purpose == Purpose::Components
                && source.scope.is_none()
                && source.crls.is_empty()
                && source.crl_grace.is_zero())
    );
}

#[test]
fn roots_toml_says_everything_and_its_paths_start_at_its_folder() {
    let bench = Bench::new();
    let path = bench.write(
        "full.toml",
        "[[root]]\npem = 'roots.pem'\npurpose = 'components'\nscope = ['acme:*', 'other:pump']\n\
         audience = { types = ['gateway'] }\ncrl-grace = '72h'\ncrls = ['crl-0.pem', 'crls.pem']\n\n\
         [[root]]\npem = './roots.pem'\npurpose = 'precompiled-code'\n",
    );
    let (sources, files) = parse_with_files(&path).expect("a good file");
    let [components, code] = sources.as_slice() else {
        panic!("{} roots", sources.len())
    };
    assert_eq!(components.purpose, Purpose::Components);
    assert_eq!(components.crl_grace, Duration::from_secs(72 * 3600));
    let lists = bench.pki.crls();
    assert_eq!(
        components.crls,
        [vec![lists[0].clone()], lists.to_vec()].concat()
    );
    let scope = components.scope.as_ref().expect("a scope");
    assert!(scope.admits(
        &"acme:pump".parse().expect("a name"),
        &countersign_format::Audience {
            devices: vec![],
            types: vec!["gateway".into()]
        }
    ));
    assert!(!scope.admits(&"acme:pump".parse().expect("a name"), &Default::default()));
    assert_eq!(
        (code.purpose, code.scope.is_none()),
        (Purpose::PrecompiledCode, true)
    );
    // A build runs again when one of them changes.
    assert_eq!(files.len(), 5, "{files:?}");
    assert_eq!(files[0], path);
}

#[test]
fn ta28_a_bad_roots_toml_is_refused_with_the_place() {
    let bench = Bench::new();
    let root = "[[root]]\npem = 'roots.pem'\npurpose = 'components'\n";
    let says = |text: &str, place: &str, words: &str| {
        let error = bench.toml_error(text);
        assert!(
            error.starts_with(place) && error.contains(words),
            "{text}\n  gives {error}"
        );
    };
    says("", ":1:1: ", "missing field `root`");
    says("root = []", ":1:8: ", "empty");
    says(
        "[[root]]\npurpose = 'components'\n",
        ":1:1: ",
        "missing field `pem`",
    );
    says(
        "[[root]]\npem = 'roots.pem'\n",
        ":1:1: ",
        "missing field `purpose`",
    );
    says(
        &format!("{root}scop = []\n"),
        ":4:1: ",
        "unknown field `scop`",
    );
    says(
        &format!("title = 1\n{root}"),
        ":1:1: ",
        "unknown field `title`",
    );
    says(
        &format!("{root}purpose = 'all'\n"),
        ":4:1: ",
        "duplicate key",
    );
    says(
        "[[root]]\npem = 'roots.pem'\npurpose = 'all'\n",
        ":3:11: ",
        "precompiled-code",
    );
    says(&format!("{root}scope = []\n"), ":4:9: ", "scope");
    says(
        &format!("{root}scope = ['acme:*', '*']\n"),
        ":4:20: ",
        "scope",
    );
    says(
        &format!("{root}audience = {{ types = [] }}\n"),
        ":4:12: ",
        "scope",
    );
    says(
        &format!("{root}scope = ['a:b']\naudience = {{ kinds = [] }}\n"),
        ":5:14: ",
        "unknown field `kinds`",
    );
    says(&format!("{root}crl-grace = '3'\n"), ":4:13: ", "72h");
    says(
        &format!("{root}crl-grace = '1ms'\n"),
        ":4:13: ",
        "whole seconds",
    );
    says(&format!("{root}crl-grace = 3\n"), ":4:13: ", "invalid type");
    says(
        &format!("{root}crls = ['none.crl']\n"),
        ":4:9: ",
        "none.crl: cannot be read",
    );
    says(
        "[[root]]\npem = '.'\npurpose = 'components'\n",
        ":2:7: ",
        "is a directory",
    );
    says("[[root]\n", ":1:", "");
    says("[[root]]\npem = \"a\n", ":2:", "");
}

#[test]
fn ta28_what_is_no_root_file_is_refused_with_the_reason() {
    let bench = Bench::new();
    let says = |path: &Path, words: &str| {
        let error = refused(path);
        assert!(error.contains(words), "{}: {error}", path.display());
        assert!(
            error.contains(&path.display().to_string()),
            "names the file: {error}"
        );
    };
    says(&bench.folder.path().join("missing.pem"), "No such file");
    says(bench.folder.path(), "is a directory");
    says(Path::new("/dev/null"), "not a regular file");
    says(&bench.write("empty.pem", ""), "empty");
    says(
        &bench.write("words.pem", "no certificate"),
        "BEGIN CERTIFICATE",
    );
    says(&bench.files.key, "private key");
    says(&bench.files.crls, "X509 CRL");
    says(
        &bench.write("der.pem", bench.pki.root()),
        "BEGIN CERTIFICATE",
    );
    says(&bench.write("big.pem", vec![b'\n'; 5 << 20]), "larger than");
    says(&bench.write("not-utf8.toml", [0xff, 0xfe]), "UTF-8");

    let root = std::fs::read_to_string(&bench.files.roots_pem).expect("PEM");
    let key = std::fs::read_to_string(&bench.files.key).expect("PEM");
    says(
        &bench.write("with-key.pem", format!("{root}{key}")),
        "private key",
    );
    says(&bench.write("twice.pem", format!("{root}{root}")), "twice");
    says(&bench.write("cut.pem", &root[..root.len() / 2]), "cut off");
}

#[test]
fn ta28_two_certificates_for_one_root_are_refused() {
    let bench = Bench::new();
    let other = std::fs::read_to_string(&Bench::new().files.roots_pem).expect("PEM");
    let root = std::fs::read_to_string(&bench.files.roots_pem).expect("PEM");
    bench.write("two.pem", root + &other);
    let path = bench.write(
        "two.toml",
        "[[root]]\npem = 'two.pem'\npurpose = 'components'\n",
    );
    assert!(matches!(
        parse(&path),
        Err(RootsFileError::NotOne { found: 2, .. })
    ));
}

#[test]
fn ta28_a_certificate_that_is_no_root_fails_the_build() {
    let bench = Bench::new();
    // The device's own certificate, an intermediate's, and roots that break a rule.
    let leaf = refused(&bench.files.chain);
    assert!(leaf.contains("cannot be trusted"), "{leaf}");
    let cases = [
        TestPki::builder().basic_constraints(Role::Root, false, None),
        TestPki::builder().key_usage(
            Role::Root,
            x509_cert::ext::pkix::KeyUsages::DigitalSignature,
        ),
        TestPki::builder().bend(Role::Root, |parts| {
            parts.push_extension(
                der::asn1::ObjectIdentifier::new_unwrap("1.2.3.4"),
                true,
                &[5, 0],
            );
        }),
    ];
    for builder in cases {
        let bench = Bench::with(builder);
        let reason = refused(&bench.files.roots_pem);
        assert!(
            reason.contains("root 0 (") && reason.contains("cannot be trusted"),
            "{reason}"
        );
    }
}

#[test]
fn tc40_a_development_root_of_32_days_fails_the_build() {
    const DAY: i64 = 24 * 3600;
    let short = Bench::with(TestPki::builder().development());
    build(&input(&short.files.roots_toml)).expect("31 days are allowed");
    let long = Bench::with(
        TestPki::builder()
            .development()
            .valid(Role::Root, -DAY, 31 * DAY + 1),
    );
    assert!(refused(&long.files.roots_pem).contains("31 days"));
}

#[test]
fn ta28_a_root_that_is_not_valid_at_the_time_of_the_build_fails_it() {
    let expired = Bench::with(TestPki::builder().valid(Role::Root, -2000, -1000));
    assert!(refused(&expired.files.roots_pem).contains("not valid at"));
    let future = Bench::with(TestPki::builder().valid(Role::Root, 1000, 2000));
    assert!(refused(&future.files.roots_pem).contains("not valid at"));

    // A reproducible build is judged at its own time.
    let then = expired.pki.time().as_secs() - 1500;
    let mut input = input(&expired.files.roots_pem);
    input.source_date_epoch = Some(OsString::from(then.to_string()));
    let built = build(&input).expect("valid at that time");
    assert_eq!(built.time, UnixTime::from_secs(then));
}

#[test]
fn ta28_the_environment_of_a_build_is_taken_by_its_word() {
    let bench = Bench::new();
    let with = |roots: Option<&str>, epoch: Option<&str>| {
        build(&BuildInput {
            roots: roots.map(OsString::from),
            source_date_epoch: epoch.map(OsString::from),
        })
    };
    let empty = with(None, Some("1700000000")).expect("no roots are no error");
    assert!(read(&empty.section).expect("a section").is_empty());
    assert_eq!(empty.time.as_secs(), 1_700_000_000);
    assert!(empty.files.is_empty());

    for (roots, epoch, words) in [
        (Some(""), None, "COUNTERSIGN_ROOTS is set but empty"),
        (Some("roots.pem"), None, "absolute"),
        (None, Some("yesterday"), "SOURCE_DATE_EPOCH"),
        (None, Some(""), "SOURCE_DATE_EPOCH"),
        (None, Some("-1"), "SOURCE_DATE_EPOCH"),
    ] {
        let error = with(roots, epoch).expect_err(words).to_string();
        assert!(error.contains(words), "{error}");
    }

    let built = build(&input(&bench.files.roots_toml)).expect("a good root");
    assert_eq!(
        read(&built.section).expect("a section"),
        [bench.pki.anchor_source()]
    );
}
