//! Keys behind a program of one's own: `exec:COMMAND`.
//!
//! The command is split at blanks and run without a shell, with one more argument or two:
//!
//! - `COMMAND public-key` prints the public key, a PEM block `PUBLIC KEY` (SubjectPublicKeyInfo);
//! - `COMMAND sign ALG` reads the message to its end and prints the raw signature, 64 bytes. `ALG` is `ESP256`
//!   (`r ‖ s`, either `s`; the program hashes the message with SHA-256) or `Ed25519`.
//!
//! A status other than zero is a refusal, and the last of what the program wrote to stderr is its reason. What it
//! prints is verified before it is used, so a program that is wrong, or signs something else, is found out.

use countersign_keys::{
    Capabilities, Challenge, Error, ErrorKind, Evidence, KeyInfo, KeyProvider, KeyTemplate, KeyUri,
    LockConsent, PublicKey, Signer, SigningKey,
};
use der::pem;
use std::io::{Read, Write};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

/// How long a program may take for one answer: long enough for a person to touch a token.
pub const TIMEOUT: Duration = Duration::from_secs(60);

/// The most that is read of what a program prints, in bytes.
const MAX_OUTPUT: u64 = 16 * 1024;

/// How often a running program is looked at.
const POLL: Duration = Duration::from_millis(5);

/// A program as a store of the one key that it signs with. It opens and shows that key, and does nothing else: keys are
/// made and removed with the program's own means.
#[derive(Clone, Debug)]
pub struct ExecProvider {
    command: String,
    timeout: Duration,
}

impl ExecProvider {
    /// The key behind this command, with [`TIMEOUT`] for each answer.
    #[must_use]
    pub fn new(command: &str) -> Self {
        Self {
            command: command.to_owned(),
            timeout: TIMEOUT,
        }
    }

    /// The same with another time limit for each answer.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    fn check(&self, key: &KeyUri) -> Result<(), Error> {
        match key {
            KeyUri::Exec(command) if *command == self.command => Ok(()),
            KeyUri::Exec(_) => Err(Error::new(
                ErrorKind::NotFound,
                format!(
                    "{key} is another program than `{}`; open the one that it names",
                    self.command
                ),
            )),
            other => Err(Error::new(
                ErrorKind::Unsupported,
                format!(
                    "{other} is not behind a program of one's own; use the store for {}: keys",
                    other.scheme()
                ),
            )),
        }
    }

    fn cannot<T>(&self, what: &str, key: &KeyUri) -> Result<T, Error> {
        self.check(key)?;
        Err(self.unsupported(what))
    }

    fn unsupported(&self, what: &str) -> Error {
        Error::new(
            ErrorKind::Unsupported,
            format!(
                "`{}` is only asked to sign, and {what}; use the means of its own",
                self.command
            ),
        )
    }
}

impl KeyProvider for ExecProvider {
    fn describe(&self) -> Result<String, Error> {
        Ok(format!("the program `{}`", self.command))
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::none()
    }

    fn generate(&self, key: &KeyUri, _: &KeyTemplate) -> Result<KeyInfo, Error> {
        self.cannot("makes no keys here", key)
    }

    /// Asks the program for its public key.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] if there is no such program, [`ErrorKind::Timeout`], [`ErrorKind::Device`] if it refuses,
    /// [`ErrorKind::Malformed`] if it prints something else than an acceptable public key.
    fn open(&self, key: &KeyUri) -> Result<SigningKey, Error> {
        self.check(key)?;
        open(&self.command, self.timeout)
    }

    fn show(&self, key: &KeyUri) -> Result<KeyInfo, Error> {
        let opened = self.open(key)?;
        Ok(KeyInfo::new(key.clone(), opened.public_key().clone()))
    }

    fn list(&self) -> Result<Vec<KeyInfo>, Error> {
        Err(self.unsupported("lists no keys"))
    }

    fn delete(&self, key: &KeyUri) -> Result<(), Error> {
        self.cannot("removes no keys", key)
    }

    fn attest(&self, key: &KeyUri, _: &Challenge) -> Result<Evidence, Error> {
        self.cannot("vouches for no keys", key)
    }

    fn lock(&self, key: &KeyUri, _: &LockConsent) -> Result<(), Error> {
        self.cannot("locks nothing", key)
    }
}

fn open(command: &str, timeout: Duration) -> Result<SigningKey, Error> {
    let program = Program {
        words: command
            .split_ascii_whitespace()
            .map(str::to_owned)
            .collect(),
        timeout,
    };
    let printed = program.ask(&["public-key"], &[])?;
    let malformed = |why: String| {
        Error::new(
            ErrorKind::Malformed,
            format!("`{command} public-key` must print a PEM block PUBLIC KEY: {why}"),
        )
    };
    let (label, der) = pem::decode_vec(&printed).map_err(|error| malformed(error.to_string()))?;
    if label != "PUBLIC KEY" {
        return Err(malformed(format!("it printed a {label}")));
    }
    let public = PublicKey::from_spki_der(&der).map_err(|error| malformed(error.to_string()))?;
    Ok(SigningKey::new(ExecKey { program, public }))
}

/// A key behind a program.
struct ExecKey {
    program: Program,
    public: PublicKey,
}

impl Signer for ExecKey {
    fn public_key(&self) -> &PublicKey {
        &self.public
    }

    fn sign_unchecked(&self, message: &[u8]) -> Result<[u8; 64], Error> {
        let printed = self
            .program
            .ask(&["sign", self.public.algorithm().name()], message)?;
        printed.as_slice().try_into().map_err(|_| {
            Error::new(
                ErrorKind::BadSignature,
                format!(
                    "`{}` printed {} bytes for a signature; it must print the raw 64 bytes and nothing else",
                    self.program.words.join(" "),
                    printed.len()
                ),
            )
        })
    }
}

struct Program {
    words: Vec<String>,
    timeout: Duration,
}

impl Program {
    /// Runs the program once: `input` to its stdin, its stdout back.
    fn ask(&self, arguments: &[&str], input: &[u8]) -> Result<Vec<u8>, Error> {
        let name = self.words.join(" ");
        let io = |source: std::io::Error| {
            Error::with_source(
                ErrorKind::Io,
                format!("`{name}` cannot be used: {source}"),
                source,
            )
        };
        let (program, rest) = self
            .words
            .split_first()
            .ok_or_else(|| Error::new(ErrorKind::NotFound, "exec: names no program"))?;
        let deadline = Instant::now().checked_add(self.timeout);
        let mut child = Command::new(program)
            .args(rest)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|source| {
                let kind = match source.kind() {
                    std::io::ErrorKind::NotFound => ErrorKind::NotFound,
                    std::io::ErrorKind::PermissionDenied => ErrorKind::Permissions,
                    _ => ErrorKind::Io,
                };
                Error::with_source(
                    kind,
                    format!("the signing program {program} cannot be started: {source}"),
                    source,
                )
            })?;

        // Each pipe has a thread, so that none can fill up and stop the program.
        let stdout = child.stdout.take().map(collect);
        let stderr = child.stderr.take().map(collect);
        if let Some(mut stdin) = child.stdin.take() {
            let input = input.to_vec();
            // A program that does not read its input makes this fail; its answer tells more.
            thread::spawn(move || stdin.write_all(&input));
        }
        let status = wait(&mut child, deadline).map_err(io)?;
        let Some(status) = status else {
            return Err(Error::new(
                ErrorKind::Timeout,
                format!(
                    "`{name}` did not answer within {} seconds and was stopped",
                    self.timeout.as_secs_f32()
                ),
            ));
        };
        // The pipes end with the program, unless it left a child of its own behind; that is not waited for.
        let printed = received(stdout, deadline);
        let complaint = received(stderr, deadline);
        if !status.success() {
            let complaint = String::from_utf8_lossy(&complaint);
            let reason = complaint
                .lines()
                .rfind(|line| !line.trim().is_empty())
                .unwrap_or("it gave no reason");
            return Err(Error::new(
                ErrorKind::Device,
                format!("`{name}` refused ({status}): {reason}"),
            ));
        }
        if u64::try_from(printed.len()).unwrap_or(u64::MAX) > MAX_OUTPUT {
            return Err(Error::new(
                ErrorKind::Malformed,
                format!("`{name}` printed more than {MAX_OUTPUT} bytes"),
            ));
        }
        Ok(printed)
    }
}

fn collect(pipe: impl Read + Send + 'static) -> Receiver<Vec<u8>> {
    let (sender, receiver) = channel();
    thread::spawn(move || {
        let mut bytes = Vec::new();
        let mut limited = pipe.take(MAX_OUTPUT.saturating_add(1));
        // What was read before an error still counts.
        let _ = limited.read_to_end(&mut bytes);
        // Nobody waits any more after a timeout.
        let _ = sender.send(bytes);
    });
    receiver
}

fn received(pipe: Option<Receiver<Vec<u8>>>, deadline: Option<Instant>) -> Vec<u8> {
    let left = deadline.map_or(TIMEOUT, |deadline| {
        deadline.saturating_duration_since(Instant::now())
    });
    pipe.and_then(|pipe| pipe.recv_timeout(left).ok())
        .unwrap_or_default()
}

/// Waits for the end, at most until the deadline; `None` if the program had to be stopped.
fn wait(child: &mut Child, deadline: Option<Instant>) -> std::io::Result<Option<ExitStatus>> {
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if deadline.is_none_or(|deadline| Instant::now() >= deadline) {
            child.kill()?;
            child.wait()?;
            return Ok(None);
        }
        thread::sleep(POLL);
    }
}
