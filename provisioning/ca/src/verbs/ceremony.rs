//! `ceremony`: runs the commands of a script one after the other and writes down what was done: a transcript to be printed
//! and signed by hand.
//!
//! The transcript ends with the SHA-256 of everything before, so that the printed number vouches for the file. Secrets do not
//! get into it: passphrases and PINs are typed at the terminal, which is not recorded, and no verb prints a key.

use std::fmt;
use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::SystemTime;

use anyhow::Context as _;
use countersign_format::Digest;
use countersign_trust_store::UnixTime;
use serde::Serialize;

use super::Context;
use crate::arguments::Ceremony;
use crate::{bounded, durable};

/// The largest script, in bytes: a ceremony has some twenty commands.
const MAX_SCRIPT_BYTES: u64 = 64 * 1024;
/// The largest transcript that is checked, in bytes.
const MAX_TRANSCRIPT_BYTES: u64 = 8 * 1024 * 1024;
/// How the last line of a transcript begins.
const SEAL: &str = "SHA-256 of all lines above: ";

#[derive(Serialize)]
struct Report {
    version: u32,
    transcript: String,
    commands: usize,
    sha256: String,
}

pub(crate) fn run(context: &Context<'_>, dir: &Path, arguments: &Ceremony) -> anyhow::Result<()> {
    if let Some(transcript) = &arguments.check {
        return check(context, transcript);
    }
    let (Some(script), Some(out)) = (&arguments.script, &arguments.out) else {
        anyhow::bail!("give a script and --out FILE, or --check FILE")
    };
    let (read, commands) = commands(script)?;
    let program = std::env::current_exe().context("this program's own file is not known")?;
    let mut text = Transcript::create(out)?;
    head(
        context,
        &mut text,
        &program,
        (script, &Digest::of(&read)),
        arguments.participants,
    )?;
    let mut done = Ok(());
    let mut ran = 0_usize;
    for words in &commands {
        ran = ran.saturating_add(1);
        done = step(
            &mut text,
            &program,
            dir,
            &context.passphrase_file,
            words,
            ran,
        );
        if done.is_err() {
            break;
        }
    }
    let result = match &done {
        Ok(()) => format!("all {ran} commands were carried out"),
        Err(error) => format!("broken off at command {ran}: {error:#}"),
    };
    text.line(format_args!("Ended {}: {result}", now()?))?;
    let sha256 = text.seal()?;
    context.console.note(&format!(
        "print {}, and have everybody sign it",
        out.display()
    ));
    context.console.result(
        &format!("transcript  {}\nsha256      {sha256}\n", out.display()),
        &Report {
            version: 1,
            transcript: out.display().to_string(),
            commands: ran,
            sha256: sha256.clone(),
        },
    )?;
    done
}

/// What stands above the first command.
fn head(
    context: &Context<'_>,
    text: &mut Transcript,
    program: &Path,
    (script, digest): (&Path, &Digest),
    participants: u8,
) -> anyhow::Result<()> {
    let itself = std::fs::read(program)
        .map(|bytes| Digest::of(&bytes))
        .with_context(|| format!("{} could not be read", program.display()))?;
    text.line(format_args!("KEY CEREMONY"))?;
    text.line(format_args!(""))?;
    text.line(format_args!(
        "Begun {} by this machine's clock; by the clock in the room: ____________________",
        context.now
    ))?;
    text.line(format_args!(
        "Place: ______________________________________________________________"
    ))?;
    text.line(format_args!(
        "Program countersign-ca {}, SHA-256 {}",
        env!("CARGO_PKG_VERSION"),
        itself
    ))?;
    text.line(format_args!(
        "Script {}, SHA-256 {}",
        script.display(),
        digest
    ))?;
    text.line(format_args!(""))?;
    for number in 1..=participants {
        text.line(format_args!("{number}. Name: ______________________  Role: ______________  Signature: ______________________"))?;
    }
    text.line(format_args!(""))?;
    Ok(())
}

/// Runs one command and writes down what it said.
fn step(
    text: &mut Transcript,
    program: &Path,
    dir: &Path,
    passphrase_file: &Option<PathBuf>,
    words: &[String],
    number: usize,
) -> anyhow::Result<()> {
    let at = now()?;
    let shown = shlex::try_join(words.iter().map(String::as_str))
        .context("a word of the script holds a NUL")?;
    eprintln!("{number}. countersign-ca {shown}");
    text.line(format_args!("{number}. {at}  countersign-ca {shown}"))?;
    let mut command = Command::new(program);
    command.arg("--dir").arg(dir);
    if let Some(file) = passphrase_file
        && !words.iter().any(|word| word == "--unencrypted")
    {
        command.arg("--passphrase-file").arg(file);
    }
    let ran = command
        .args(words)
        .stdin(Stdio::inherit())
        .output()
        .with_context(|| format!("{} could not be started", program.display()))?;
    for (name, bytes) in [("out", &ran.stdout), ("err", &ran.stderr)] {
        for line in String::from_utf8_lossy(bytes).lines() {
            // Nothing that a command prints can look like another command's line.
            let line: String = line
                .chars()
                .map(|character| {
                    if character.is_control() {
                        ' '
                    } else {
                        character
                    }
                })
                .collect();
            eprintln!("   {line}");
            text.line(format_args!("   {name} | {line}"))?;
        }
    }
    let status = ran
        .status
        .code()
        .map_or_else(|| "none".to_owned(), |code| code.to_string());
    text.line(format_args!(
        "   exit status {status}        seen by: ______  ______"
    ))?;
    text.line(format_args!(""))?;
    anyhow::ensure!(
        ran.status.success(),
        "the command ended with the exit status {status}, and those after it were not carried out"
    );
    Ok(())
}

/// A transcript that is being written. Each line is on the disk before what it tells of goes on, so that whatever ends the ceremony,
/// what was done until then is told, without a seal.
struct Transcript {
    file: File,
    path: PathBuf,
    text: String,
}

impl Transcript {
    /// Begins one where nothing is.
    fn create(path: &Path) -> anyhow::Result<Self> {
        let file = File::create_new(path).map_err(|error| match error.kind() {
            std::io::ErrorKind::AlreadyExists => anyhow::anyhow!(
                "{} exists already and was not touched: a transcript is never replaced",
                path.display()
            ),
            _ => anyhow::Error::new(error)
                .context(format!("{} could not be written", path.display())),
        })?;
        let folder = path
            .parent()
            .filter(|folder| !folder.as_os_str().is_empty());
        durable::sync_folder(folder.unwrap_or(Path::new(".")))?;
        Ok(Self {
            file,
            path: path.to_owned(),
            text: String::new(),
        })
    }

    fn line(&mut self, line: fmt::Arguments<'_>) -> anyhow::Result<()> {
        let line = format!("{line}\n");
        self.file
            .write_all(line.as_bytes())
            .and_then(|()| self.file.sync_data())
            .with_context(|| {
                format!(
                    "{} could not be written, and nothing more is carried out",
                    self.path.display()
                )
            })?;
        self.text.push_str(&line);
        Ok(())
    }

    /// Adds the last line, and returns the number in it.
    fn seal(mut self) -> anyhow::Result<String> {
        let digest = Digest::of(self.text.as_bytes()).to_string();
        self.line(format_args!("{SEAL}{digest}"))?;
        Ok(digest)
    }
}

/// Whether a transcript is as it was written.
fn check(context: &Context<'_>, path: &Path) -> anyhow::Result<()> {
    let text = bounded::read_text(path, MAX_TRANSCRIPT_BYTES)?;
    let (above, stated) = text.rsplit_once(SEAL).with_context(|| {
        format!(
            "{} has no seal: it is no transcript, or was cut off",
            path.display()
        )
    })?;
    let sha256 = Digest::of(above.as_bytes()).to_string();
    anyhow::ensure!(
        stated == format!("{sha256}\n"),
        "{} was changed after it was written: its lines have the SHA-256 {sha256}, and it states {}",
        path.display(),
        stated.trim_end()
    );
    context.console.result(
        &format!("unchanged; compare with the paper: {sha256}\n"),
        &Report {
            version: 1,
            transcript: path.display().to_string(),
            commands: above.matches("   exit status ").count(),
            sha256: sha256.clone(),
        },
    )
}

/// A script's bytes and commands: a line each, words as a shell splits them, `#` begins a remark.
fn commands(path: &Path) -> anyhow::Result<(Vec<u8>, Vec<Vec<String>>)> {
    let text = bounded::read_text(path, MAX_SCRIPT_BYTES)?;
    let mut commands = Vec::new();
    for (number, line) in (1_usize..).zip(text.lines()) {
        let mut words = shlex::split(line).with_context(|| {
            format!("line {number} of {} has an open quotation", path.display())
        })?;
        if words.first().is_some_and(|word| word == "countersign-ca") {
            words.remove(0);
        }
        let Some(verb) = words.first() else { continue };
        anyhow::ensure!(
            verb != "ceremony",
            "line {number} of {} begins a ceremony within the ceremony",
            path.display()
        );
        commands.push(words);
    }
    anyhow::ensure!(
        !commands.is_empty(),
        "{} has no command: write one on each line, such as `init --org Acme --name 'Acme Root 2026'`",
        path.display()
    );
    Ok((text.into_bytes(), commands))
}

/// The clock, read anew for each command.
fn now() -> anyhow::Result<UnixTime> {
    let since = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .context("the clock of this machine is before 1970: set it")?;
    Ok(UnixTime::from_secs(since.as_secs()))
}
