//! What every store of keys must pass, whatever it is made of: one suite for files, tokens, TPMs and secure elements.
//!
//! The suite asks for capabilities and then holds the store to them: what it claims must work, and what it does not
//! claim must end with [`ErrorKind::Unsupported`]. Signatures are verified by our code and, independently, by OpenSSL.
//! Each check has a name, which a failure begins with; all checks run, and all failures are told together.
//!
//! ```
//! use countersign_backend_file::FileProvider;
//! use countersign_keys::KeyUri;
//! use countersign_testing::conformance::Conformance;
//!
//! let folder = tempfile::tempdir()?;
//! let store = FileProvider::unencrypted().in_folder(folder.path());
//! Conformance::new(&store, |number| KeyUri::File(folder.path().join(format!("{number}.pem")))).run();
//! # Ok::<(), std::io::Error>(())
//! ```

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fmt::Debug;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::Command;
use std::thread;

use countersign_keys::{
    Algorithm, Challenge, Error, ErrorKind, Evidence, KeyInfo, KeyProvider, KeyTemplate, KeyUri,
    KeyUsage, LockConsent, PublicKey, Signature, SigningKey,
};
use der::pem::LineEnding;

/// Every algorithm that a store could claim.
const ALGORITHMS: [Algorithm; 2] = [Algorithm::Esp256, Algorithm::Ed25519];

/// How many threads sign at once.
const THREADS: usize = 8;

type Names<'a> = Box<dyn Fn(u32) -> KeyUri + 'a>;
type Reopen<'a> = Box<dyn Fn() -> Box<dyn KeyProvider> + 'a>;
type Judge<'a> = Box<dyn Fn(&Evidence, &PublicKey, &Challenge) -> Result<(), String> + 'a>;

/// The suite, for one store.
///
/// The names 0 and 1 are for keys of the first algorithm that the store claims, 2 and 3 for those of the second; the
/// name after these is of a key that does not exist. A store that cannot generate must hold the keys already.
pub struct Conformance<'a> {
    provider: &'a dyn KeyProvider,
    names: Names<'a>,
    reopen: Option<Reopen<'a>>,
    judge: Option<Judge<'a>>,
    secrets: Vec<Vec<u8>>,
    large: usize,
    not_applicable: BTreeSet<&'static str>,
    said: RefCell<Vec<String>>,
}

impl<'a> Conformance<'a> {
    /// The suite for this store, in which `names` gives the name of each key.
    pub fn new(provider: &'a dyn KeyProvider, names: impl Fn(u32) -> KeyUri + 'a) -> Self {
        Self {
            provider,
            names: Box::new(names),
            reopen: None,
            judge: None,
            secrets: Vec::new(),
            large: 1 << 20,
            not_applicable: BTreeSet::new(),
            said: RefCell::new(Vec::new()),
        }
    }

    /// How to reach the same store anew, as another process would: its keys must then be the same.
    #[must_use]
    pub fn reopened_by(mut self, reopen: impl Fn() -> Box<dyn KeyProvider> + 'a) -> Self {
        self.reopen = Some(Box::new(reopen));
        self
    }

    /// Who judges evidence; must be given for a store that claims to attest.
    #[must_use]
    pub fn evidence_judged_by(
        mut self,
        judge: impl Fn(&Evidence, &PublicKey, &Challenge) -> Result<(), String> + 'a,
    ) -> Self {
        self.judge = Some(Box::new(judge));
        self
    }

    /// A PIN, passphrase or other secret that the store was given: it must appear in nothing that the store says.
    #[must_use]
    pub fn secret(mut self, secret: &[u8]) -> Self {
        self.secrets.push(secret.to_vec());
        self
    }

    /// Leaves a check out, by its name; say in the caller why the device cannot be asked for it.
    #[must_use]
    pub fn without(mut self, check: &'static str) -> Self {
        self.not_applicable.insert(check);
        self
    }

    /// Runs every check.
    ///
    /// # Panics
    /// With the names of all checks that failed and what each found. A panic of one check is a failure of that check.
    pub fn run(self) {
        let mut failed = Vec::new();
        let mut unknown = self.not_applicable.clone();
        for (name, check) in CHECKS {
            if unknown.remove(name) {
                continue;
            }
            match catch_unwind(AssertUnwindSafe(|| check(&self))) {
                Ok(Ok(())) => {}
                Ok(Err(why)) => failed.push(format!("{name}: {why}")),
                Err(panic) => failed.push(format!("{name}: panicked: {}", words(&*panic))),
            }
        }
        assert!(unknown.is_empty(), "there are no such checks: {unknown:?}");
        assert!(
            failed.is_empty(),
            "{} of {} checks failed:\n{}",
            failed.len(),
            CHECKS.len(),
            failed.join("\n")
        );
    }

    fn name(&self, number: u32) -> KeyUri {
        (self.names)(number)
    }

    /// The claimed algorithms, each with the names of its two keys.
    fn claimed(&self) -> Vec<(Algorithm, KeyUri, KeyUri)> {
        (0u32..)
            .step_by(2)
            .zip(self.provider.capabilities().algorithms)
            .map(|(first, algorithm)| (algorithm, self.name(first), self.name(first + 1)))
            .collect()
    }

    /// The name of a key that does not exist.
    fn nobody(&self) -> KeyUri {
        let algorithms = self.provider.capabilities().algorithms.len();
        self.name(u32::try_from(2 * algorithms).expect("there are two algorithms"))
    }

    /// Remembers what the store said, for the check that no secret is in it.
    fn heard(&self, said: &dyn Debug) {
        self.said.borrow_mut().push(format!("{said:?}"));
    }

    fn ok<T: Debug>(&self, what: &str, result: Result<T, Error>) -> Result<T, String> {
        match &result {
            Ok(value) => self.heard(value),
            Err(error) => self.heard(error),
        }
        result.map_err(|error| format!("{what}: {error} [{}]", error.kind().as_str()))
    }

    /// Demands an error of this kind, in words that a person can act upon.
    fn refused<T: Debug>(
        &self,
        what: &str,
        kind: ErrorKind,
        result: Result<T, Error>,
    ) -> Result<Error, String> {
        let error = match result {
            Ok(value) => return Err(format!("{what}: was not refused, but gave {value:?}")),
            Err(error) => error,
        };
        self.heard(&error);
        if error.kind() != kind {
            return Err(format!(
                "{what}: {kind:?} is expected, and it is {:?}: {error}",
                error.kind()
            ));
        }
        let message = error.to_string();
        // A whole sentence in one line: what and why; then, behind the last semicolon, what to do.
        let remedy = message.rsplit_once("; ").map_or("", |(_, remedy)| remedy);
        if remedy.split_whitespace().count() < 2 || message.contains('\n') {
            return Err(format!(
                "{what}: the message has no remedy behind a semicolon, or several lines: {message}"
            ));
        }
        Ok(error)
    }

    fn unsupported<T: Debug>(&self, what: &str, result: Result<T, Error>) -> Result<(), String> {
        self.refused(what, ErrorKind::Unsupported, result).map(drop)
    }

    fn open(&self, key: &KeyUri) -> Result<SigningKey, String> {
        self.ok(&format!("opening {key}"), self.provider.open(key))
    }

    fn sign(&self, key: &SigningKey, message: &[u8]) -> Result<Signature, String> {
        self.ok("signing", key.sign(message))
    }
}

type Check = fn(&Conformance<'_>) -> Result<(), String>;

/// The checks, in the order in which they run: the first make the keys that the others use, the last remove them.
const CHECKS: [(&str, Check); 18] = [
    ("describes-itself", describes_itself),
    ("missing-key-is-not-found", missing_key_is_not_found),
    ("generates-what-was-asked", generates_what_was_asked),
    ("never-replaces-a-key", never_replaces_a_key),
    ("keys-differ", keys_differ),
    ("shows-the-key-that-opens", shows_the_key_that_opens),
    ("same-key-when-reopened", same_key_when_reopened),
    ("signs-every-length", signs_every_length),
    ("openssl-agrees", openssl_agrees),
    ("threads-sign-at-once", threads_sign_at_once),
    ("lists-what-there-is", lists_what_there_is),
    (
        "unclaimed-algorithms-are-refused",
        unclaimed_algorithms_are_refused,
    ),
    ("boot-state-as-claimed", boot_state_as_claimed),
    ("evidence-as-claimed", evidence_as_claimed),
    ("locks-as-claimed", locks_as_claimed),
    ("foreign-names-are-refused", foreign_names_are_refused),
    ("deletes-as-claimed", deletes_as_claimed),
    ("says-no-secret", says_no_secret),
];

fn describes_itself(suite: &Conformance<'_>) -> Result<(), String> {
    let description = suite.ok("describing", suite.provider.describe())?;
    demand(
        !description.trim().is_empty() && !description.contains('\n'),
        || format!("a description is one line, not {description:?}"),
    )?;
    let can = suite.provider.capabilities();
    demand(!can.generate || !can.algorithms.is_empty(), || {
        "it generates keys of no algorithm".to_owned()
    })
}

fn missing_key_is_not_found(suite: &Conformance<'_>) -> Result<(), String> {
    let nobody = suite.nobody();
    let missing = ErrorKind::NotFound;
    suite.refused("opening", missing, suite.provider.open(&nobody))?;
    suite.refused("showing", missing, suite.provider.show(&nobody))?;
    if suite.provider.capabilities().delete {
        suite.refused("deleting", missing, suite.provider.delete(&nobody))?;
    }
    Ok(())
}

fn generates_what_was_asked(suite: &Conformance<'_>) -> Result<(), String> {
    for (algorithm, first, second) in suite.claimed() {
        for name in [first, second] {
            let result = suite
                .provider
                .generate(&name, &KeyTemplate::signing(algorithm));
            if !suite.provider.capabilities().generate {
                suite.unsupported("generating", result)?;
                continue;
            }
            let made = suite.ok(&format!("generating {name}"), result)?;
            demand(made.public.algorithm() == algorithm, || {
                format!("{name} was to be of {algorithm:?}: {made:?}")
            })?;
            demand(
                made.usage == KeyUsage::Signing && made.boot_state.is_empty(),
                || format!("{name} was to sign and to depend on nothing: {made:?}"),
            )?;
            verified(&suite.open(&name)?, &made.public, b"first use")?;
        }
    }
    Ok(())
}

fn never_replaces_a_key(suite: &Conformance<'_>) -> Result<(), String> {
    if !suite.provider.capabilities().generate {
        return Ok(());
    }
    for (algorithm, name, _) in suite.claimed() {
        let before = suite.open(&name)?.public_key().clone();
        let again = suite
            .provider
            .generate(&name, &KeyTemplate::signing(algorithm));
        suite.refused("generating it twice", ErrorKind::Exists, again)?;
        verified(&suite.open(&name)?, &before, b"the old key still signs")?;
    }
    Ok(())
}

fn keys_differ(suite: &Conformance<'_>) -> Result<(), String> {
    let mut seen = BTreeSet::new();
    for (_, first, second) in suite.claimed() {
        for name in [first, second] {
            let spki = suite.open(&name)?.public_key().to_spki_der();
            demand(seen.insert(spki), || {
                format!("{name} is the same key as another")
            })?;
        }
    }
    Ok(())
}

fn shows_the_key_that_opens(suite: &Conformance<'_>) -> Result<(), String> {
    for (_, name, _) in suite.claimed() {
        let shown = suite.ok("showing", suite.provider.show(&name))?;
        let opened = suite.open(&name)?;
        demand(shown.public == *opened.public_key(), || {
            format!(
                "it shows {} and opens {}",
                shown.public,
                opened.public_key()
            )
        })?;
        // What it shows can be used as a name again, also after a round trip through its text.
        let named: KeyUri = shown
            .uri
            .to_string()
            .parse()
            .map_err(|error| format!("its own name {} is not one: {error}", shown.uri))?;
        demand(*suite.open(&named)?.public_key() == shown.public, || {
            format!("{named} opens another key")
        })?;
    }
    Ok(())
}

fn same_key_when_reopened(suite: &Conformance<'_>) -> Result<(), String> {
    for (_, name, _) in suite.claimed() {
        let public = suite.open(&name)?.public_key().clone();
        verified(&suite.open(&name)?, &public, b"opened twice")?;
        let Some(reopen) = &suite.reopen else {
            continue;
        };
        let anew = reopen();
        let key = suite.ok("opening it through another provider", anew.open(&name))?;
        verified(&key, &public, b"through another provider")?;
    }
    Ok(())
}

fn signs_every_length(suite: &Conformance<'_>) -> Result<(), String> {
    for (algorithm, name, _) in suite.claimed() {
        let key = suite.open(&name)?;
        for length in [0, 1, 31, 32, 33, 64, 1000, suite.large] {
            let message: Vec<u8> = (0u8..=250).cycle().take(length).collect();
            let signature = suite
                .sign(&key, &message)
                .map_err(|error| format!("{algorithm:?}, {length} bytes: {error}"))?;
            verifies(key.public_key(), &message, &signature)?;
        }
        let signature = suite.sign(&key, b"one")?;
        demand(
            key.public_key()
                .verify(b"two", signature.as_bytes())
                .is_err(),
            || "a signature verifies for another message".to_owned(),
        )?;
    }
    Ok(())
}

fn openssl_agrees(suite: &Conformance<'_>) -> Result<(), String> {
    for (_, first, second) in suite.claimed() {
        let (key, other) = (suite.open(&first)?, suite.open(&second)?);
        let message = b"open the valve";
        let signature = suite.sign(&key, message)?;
        demand(openssl(key.public_key(), message, &signature), || {
            "OpenSSL refuses the signature".to_owned()
        })?;
        demand(!openssl(other.public_key(), message, &signature), || {
            "OpenSSL takes the signature for another key's".to_owned()
        })?;
    }
    Ok(())
}

fn threads_sign_at_once(suite: &Conformance<'_>) -> Result<(), String> {
    for (_, first, second) in suite.claimed() {
        let keys = [suite.open(&first)?, suite.open(&second)?];
        let provider = suite.provider;
        let results: Vec<Result<(), String>> = thread::scope(|scope| {
            let threads: Vec<_> = (0..THREADS)
                .map(|number| {
                    let shared = &keys[number % 2];
                    let name = if number % 2 == 0 { &first } else { &second };
                    scope.spawn(move || {
                        for round in 0..3 {
                            let message = format!("thread {number}, round {round}");
                            verified(shared, shared.public_key(), message.as_bytes())?;
                            let own = provider
                                .open(name)
                                .map_err(|error| format!("opening in a thread: {error}"))?;
                            verified(&own, shared.public_key(), message.as_bytes())?;
                        }
                        Ok(())
                    })
                })
                .collect();
            threads
                .into_iter()
                .map(|thread| {
                    thread
                        .join()
                        .unwrap_or_else(|panic| Err(words(&*panic).to_owned()))
                })
                .collect()
        });
        results.into_iter().collect::<Result<Vec<()>, String>>()?;
    }
    Ok(())
}

fn lists_what_there_is(suite: &Conformance<'_>) -> Result<(), String> {
    if !suite.provider.capabilities().list {
        return suite.unsupported("listing", suite.provider.list());
    }
    let list = suite.ok("listing", suite.provider.list())?;
    for (_, first, second) in suite.claimed() {
        for name in [first, second] {
            let key = suite.open(&name)?;
            let entry = find(&list, key.public_key())
                .ok_or_else(|| format!("{name} is not in the list: {list:?}"))?;
            verified(
                &suite.open(&entry.uri)?,
                key.public_key(),
                b"by its listed name",
            )?;
        }
    }
    let keys: BTreeSet<Vec<u8>> = list.iter().map(|key| key.public.to_spki_der()).collect();
    demand(keys.len() == list.len(), || {
        format!("a key is listed twice: {list:?}")
    })
}

fn unclaimed_algorithms_are_refused(suite: &Conformance<'_>) -> Result<(), String> {
    let can = suite.provider.capabilities();
    for algorithm in ALGORITHMS {
        if !can.algorithms.contains(&algorithm) {
            let result = suite
                .provider
                .generate(&suite.nobody(), &KeyTemplate::signing(algorithm));
            suite.unsupported(&format!("generating {algorithm:?}"), result)?;
        }
    }
    nobody_was_made(suite)
}

fn boot_state_as_claimed(suite: &Conformance<'_>) -> Result<(), String> {
    let can = suite.provider.capabilities();
    if can.boot_state || !can.generate {
        // That binding works needs registers that can be extended; the store's own tests do that.
        return Ok(());
    }
    for algorithm in can.algorithms {
        let template = KeyTemplate::signing(algorithm).bound_to(&[7]);
        suite.unsupported(
            "binding to a register",
            suite.provider.generate(&suite.nobody(), &template),
        )?;
    }
    nobody_was_made(suite)
}

fn evidence_as_claimed(suite: &Conformance<'_>) -> Result<(), String> {
    let can = suite.provider.capabilities();
    let (challenge, other) = (Challenge::new([0x5a; 32]), Challenge::new([0xa5; 32]));
    for (algorithm, name, second) in suite.claimed() {
        let result = suite.provider.attest(&name, &challenge);
        if !can.attest {
            suite.unsupported("attesting", result)?;
            if can.generate {
                let template = KeyTemplate::attestation(algorithm);
                suite.unsupported(
                    "generating an attestation key",
                    suite.provider.generate(&suite.nobody(), &template),
                )?;
                nobody_was_made(suite)?;
            }
            continue;
        }
        let judge = suite
            .judge
            .as_ref()
            .ok_or("it attests, and the caller named nobody who judges (evidence_judged_by)")?;
        let evidence = suite.ok("attesting", result)?;
        let key = suite.open(&name)?;
        judge(&evidence, key.public_key(), &challenge)
            .map_err(|error| format!("its evidence does not convince: {error}"))?;
        demand(judge(&evidence, key.public_key(), &other).is_err(), || {
            "its evidence answers another challenge as well".to_owned()
        })?;
        let second = suite.open(&second)?;
        demand(
            judge(&evidence, second.public_key(), &challenge).is_err(),
            || "its evidence vouches for another key as well".to_owned(),
        )?;
        let again = suite.ok("attesting again", suite.provider.attest(&name, &other))?;
        judge(&again, key.public_key(), &other)
            .map_err(|error| format!("its second evidence does not convince: {error}"))?;
    }
    Ok(())
}

fn locks_as_claimed(suite: &Conformance<'_>) -> Result<(), String> {
    // No device has an empty serial number, so this consent covers none.
    let consent = LockConsent::for_device_with_serial("");
    for (_, name, _) in suite.claimed() {
        let result = suite.provider.lock(&name, &consent);
        if suite.provider.capabilities().lock {
            let before = suite.ok("showing", suite.provider.show(&name))?;
            suite.refused(
                "locking with another device's consent",
                ErrorKind::Permissions,
                result,
            )?;
            let after = suite.ok("showing", suite.provider.show(&name))?;
            demand(before == after, || {
                format!("a refused lock changed {before:?} to {after:?}")
            })?;
        } else {
            suite.unsupported("locking", result)?;
        }
    }
    Ok(())
}

fn foreign_names_are_refused(suite: &Conformance<'_>) -> Result<(), String> {
    let own = suite.name(0).scheme();
    for text in [
        "file:/nonexistent/key.pem",
        "tpm:foreign",
        "atecc608:/dev/i2c-99?slot=1",
        "pkcs11:token=foreign;object=foreign",
        "exec:/nonexistent/sign",
    ] {
        let foreign: KeyUri = text.parse().expect("it is a key URI");
        if foreign.scheme() == own {
            continue;
        }
        let provider = suite.provider;
        let template = KeyTemplate::signing(Algorithm::Esp256);
        let kind = ErrorKind::Unsupported;
        let challenge = Challenge::new([1; 32]);
        let consent = LockConsent::for_device_with_serial("00");
        for error in [
            suite.refused("opening", kind, provider.open(&foreign))?,
            suite.refused("showing", kind, provider.show(&foreign))?,
            suite.refused("generating", kind, provider.generate(&foreign, &template))?,
            suite.refused("deleting", kind, provider.delete(&foreign))?,
            suite.refused("attesting", kind, provider.attest(&foreign, &challenge))?,
            suite.refused("locking", kind, provider.lock(&foreign, &consent))?,
        ] {
            demand(error.to_string().contains(foreign.scheme()), || {
                format!("the refusal of {foreign} does not name its scheme: {error}")
            })?;
        }
    }
    Ok(())
}

fn deletes_as_claimed(suite: &Conformance<'_>) -> Result<(), String> {
    let can = suite.provider.capabilities();
    let mut gone = Vec::new();
    for (_, first, second) in suite.claimed() {
        for name in [first, second] {
            let key = suite.open(&name)?;
            let result = suite.provider.delete(&name);
            if !can.delete {
                suite.unsupported("deleting", result)?;
                verified(&suite.open(&name)?, key.public_key(), b"still there")?;
                continue;
            }
            suite.ok(&format!("deleting {name}"), result)?;
            let missing = ErrorKind::NotFound;
            suite.refused("opening it then", missing, suite.provider.open(&name))?;
            suite.refused("showing it then", missing, suite.provider.show(&name))?;
            suite.refused("deleting it twice", missing, suite.provider.delete(&name))?;
            if let Some(reopen) = &suite.reopen {
                suite.refused("opening it anew", missing, reopen().open(&name))?;
            }
            gone.push(key.public_key().clone());
        }
    }
    if can.list {
        let list = suite.ok("listing", suite.provider.list())?;
        for public in &gone {
            demand(find(&list, public).is_none(), || {
                format!("a deleted key is still listed: {list:?}")
            })?;
        }
    }
    Ok(())
}

fn says_no_secret(suite: &Conformance<'_>) -> Result<(), String> {
    let said = suite.said.borrow();
    for secret in &suite.secrets {
        let text = String::from_utf8_lossy(secret).into_owned();
        let bytes = format!("{secret:?}");
        let digits = hex::encode(secret);
        for form in [text.as_str(), bytes.trim_matches(['[', ']']), &digits] {
            // The secret itself is not repeated here either.
            if let Some(said) = said.iter().find(|said| said.contains(form)) {
                return Err(format!(
                    "a secret is in what it said: {}",
                    said.replace(form, "***")
                ));
            }
        }
    }
    Ok(())
}

fn nobody_was_made(suite: &Conformance<'_>) -> Result<(), String> {
    suite
        .refused(
            "opening what was refused",
            ErrorKind::NotFound,
            suite.provider.open(&suite.nobody()),
        )
        .map(drop)
}

fn find<'l>(list: &'l [KeyInfo], public: &PublicKey) -> Option<&'l KeyInfo> {
    list.iter().find(|key| key.public == *public)
}

fn verified(key: &SigningKey, public: &PublicKey, message: &[u8]) -> Result<(), String> {
    let signature = key
        .sign(message)
        .map_err(|error| format!("signing: {error}"))?;
    verifies(public, message, &signature)
}

fn verifies(public: &PublicKey, message: &[u8], signature: &Signature) -> Result<(), String> {
    public
        .verify(message, signature.as_bytes())
        .map_err(|error| format!("a signature does not verify under {public}: {error}"))
}

fn demand(holds: bool, otherwise: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(otherwise()) }
}

fn words(panic: &(dyn std::any::Any + Send)) -> &str {
    panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("without words")
}

/// OpenSSL's verdict: whether `signature` is one of `key` over `message`.
///
/// # Panics
/// When there is no `openssl`, or a file cannot be written.
#[must_use]
pub fn openssl(key: &PublicKey, message: &[u8], signature: &Signature) -> bool {
    let folder = tempfile::tempdir().expect("a folder for OpenSSL");
    let file = |name: &str, contents: &[u8]| {
        let path = folder.path().join(name);
        fs::write(&path, contents).expect("a file for OpenSSL");
        path
    };
    let pem = der::pem::encode_string("PUBLIC KEY", LineEnding::LF, &key.to_spki_der())
        .expect("a public key is small");
    let mut command = Command::new("openssl");
    command.args(["pkeyutl", "-verify", "-rawin", "-pubin", "-inkey"]);
    command.arg(file("public.pem", pem.as_bytes()));
    command.arg("-in").arg(file("message", message));
    command
        .arg("-sigfile")
        .arg(file("signature", &signature.to_x509()));
    if key.algorithm() == Algorithm::Esp256 {
        command.args(["-digest", "sha256"]);
    }
    let output = command.output().expect("openssl is needed for this suite");
    let said = String::from_utf8_lossy(&output.stdout);
    // Both the status and the words, so that a usage error is not taken for a verdict.
    assert!(
        said.contains("Signature Verified Successfully")
            || said.contains("Signature Verification Failure"),
        "openssl gave no verdict: {said}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    output.status.success() && said.contains("Verified Successfully")
}
