//! `ceremony`: runs the commands of a script one after the other and writes down what was done: a transcript to be printed
//! and signed by hand.
//!
//! The transcript ends with the SHA-256 of everything before, so that the printed number vouches for the file. Secrets do not
//! get into it: passphrases and PINs are typed at the terminal, which is not recorded, and no verb prints a key.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::SystemTime;

use anyhow::Context as _;
use countersign_format::Digest;
use countersign_trust_store::UnixTime;
use serde::Serialize;

use super::Context;
use crate::arguments::Ceremony;
use crate::durable::{self, Existing};

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
    anyhow::ensure!(
        out.symlink_metadata().is_err(),
        "{} exists already and was not touched: a transcript is never replaced",
        out.display()
    );
    let commands = commands(script)?;
    let program = std::env::current_exe().context("this program's own file is not known")?;
    let mut text = String::new();
    head(context, &mut text, &program, script, arguments.participants)?;
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
    writeln!(text, "Ended {}: {result}", now()?)?;
    let sha256 = seal(&mut text);
    durable::write(out, text.as_bytes(), Existing::Refuse)?;
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
    text: &mut String,
    program: &Path,
    script: &Path,
    participants: u8,
) -> anyhow::Result<()> {
    let digest = |path: &Path| {
        std::fs::read(path)
            .map(|bytes| Digest::of(&bytes))
            .with_context(|| format!("{} could not be read", path.display()))
    };
    writeln!(text, "KEY CEREMONY")?;
    writeln!(text)?;
    writeln!(
        text,
        "Begun {} by this machine's clock; by the clock in the room: ____________________",
        context.now
    )?;
    writeln!(
        text,
        "Place: ______________________________________________________________"
    )?;
    writeln!(
        text,
        "Program countersign-ca {}, SHA-256 {}",
        env!("CARGO_PKG_VERSION"),
        digest(program)?
    )?;
    writeln!(
        text,
        "Script {}, SHA-256 {}",
        script.display(),
        digest(script)?
    )?;
    writeln!(text)?;
    for number in 1..=participants {
        writeln!(
            text,
            "{number}. Name: ______________________  Role: ______________  Signature: ______________________"
        )?;
    }
    writeln!(text)?;
    Ok(())
}

/// Runs one command and writes down what it said.
fn step(
    text: &mut String,
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
    writeln!(text, "{number}. {at}  countersign-ca {shown}")?;
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
            writeln!(text, "   {name} | {line}")?;
        }
    }
    let status = ran
        .status
        .code()
        .map_or_else(|| "none".to_owned(), |code| code.to_string());
    writeln!(
        text,
        "   exit status {status}        seen by: ______  ______"
    )?;
    writeln!(text)?;
    anyhow::ensure!(
        ran.status.success(),
        "the command ended with the exit status {status}, and those after it were not carried out"
    );
    Ok(())
}

/// Adds the last line, and returns the number in it.
fn seal(text: &mut String) -> String {
    let digest = Digest::of(text.as_bytes()).to_string();
    text.push_str(SEAL);
    text.push_str(&digest);
    text.push('\n');
    digest
}

/// Whether a transcript is as it was written.
fn check(context: &Context<'_>, path: &Path) -> anyhow::Result<()> {
    let failed = || format!("{} could not be read", path.display());
    let size = path.metadata().with_context(failed)?.len();
    anyhow::ensure!(
        size <= MAX_TRANSCRIPT_BYTES,
        "{} is {size} bytes, and no transcript is",
        path.display()
    );
    let text = std::fs::read_to_string(path).with_context(failed)?;
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

/// The commands of a script: a line each, words as a shell splits them, `#` begins a remark.
fn commands(path: &Path) -> anyhow::Result<Vec<Vec<String>>> {
    let failed = || format!("{} could not be read", path.display());
    let size = path.metadata().with_context(failed)?.len();
    anyhow::ensure!(
        size <= MAX_SCRIPT_BYTES,
        "{} is {size} bytes, and no script of a ceremony is",
        path.display()
    );
    let text = std::fs::read_to_string(path).with_context(failed)?;
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
    Ok(commands)
}

/// The clock, read anew for each command.
fn now() -> anyhow::Result<UnixTime> {
    let since = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .context("the clock of this machine is before 1970: set it")?;
    Ok(UnixTime::from_secs(since.as_secs()))
}
