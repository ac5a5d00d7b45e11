//! Any verb that is not ours: the program `countersign-VERB` beside this one.
//!
//! Beside, never through PATH: a folder that someone else can write to must not be able to put a program behind one
//! of our names.

use std::ffi::OsString;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, anyhow};

use crate::shared::failure::Failure;

/// The programs that come with this one, and what each is for.
const KNOWN: &[(&str, &str)] = &[
    ("authority", "the provisioning service"),
    ("ca", "the offline certificate authority"),
    ("gateway", "the supervised runtime of an edge gateway"),
    ("run", "the runtime for one component"),
];

/// Our own verbs, for whoever mistyped one.
const OWN: &[&str] = &[
    "key",
    "device",
    "sign",
    "sign-code",
    "verify",
    "inspect",
    "attach",
    "detach",
    "strip",
    "codes",
    "completions",
];

pub(crate) fn run(words: &[OsString]) -> Result<(), Failure> {
    let (verb, rest) = words
        .split_first()
        .ok_or_else(|| Failure::usage(anyhow!("no verb given")))?;
    let verb = verb.to_str().filter(|verb| is_verb(verb)).ok_or_else(|| {
        Failure::usage(anyhow!(
            "`{}` is not a verb; see countersign --help",
            verb.display()
        ))
    })?;
    let own = std::env::current_exe()
        .context("cannot find out where this program lies, so not what lies beside it")
        .map_err(Failure::usage)?;
    let folder = own.parent().ok_or_else(|| {
        Failure::usage(anyhow!("this program lies in no folder: {}", own.display()))
    })?;
    let program = folder.join(format!(
        "countersign-{verb}{}",
        std::env::consts::EXE_SUFFIX
    ));
    if !program.is_file() {
        return Err(missing(verb, folder));
    }
    execute(Command::new(&program).args(rest))
        .with_context(|| format!("cannot execute {}", program.display()))
        .map_err(Failure::usage)
}

/// Becomes the other program, so that its status, its signals and its terminal are its own.
#[cfg(unix)]
fn execute(command: &mut Command) -> anyhow::Result<()> {
    use std::os::unix::process::CommandExt as _;
    Err(command.exec().into())
}

#[cfg(not(unix))]
fn execute(command: &mut Command) -> anyhow::Result<()> {
    let status = command.status()?;
    std::process::exit(status.code().unwrap_or(1));
}

/// Letters, digits and hyphens: nothing that could lead out of the folder.
fn is_verb(word: &str) -> bool {
    !word.is_empty()
        && word.len() <= 64
        && word.starts_with(|first: char| first.is_ascii_lowercase())
        && word
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
}

fn missing(verb: &str, folder: &Path) -> Failure {
    let folder = folder.display();
    if let Some((name, purpose)) = KNOWN.iter().find(|(name, _)| *name == verb) {
        return Failure::usage(anyhow!(
            "`{name}` needs countersign-{name} ({purpose}), and it is not in {folder}; \
             install the package countersign-{name} into the same folder as countersign"
        ));
    }
    let meant = OWN
        .iter()
        .copied()
        .chain(KNOWN.iter().map(|(name, _)| *name))
        .min_by_key(|known| distance(known, verb))
        .filter(|known| distance(known, verb) <= 2);
    match meant {
        Some(meant) => Failure::usage(anyhow!(
            "there is no verb `{verb}`; did you mean `{meant}`?"
        )),
        None => Failure::usage(anyhow!(
            "there is no verb `{verb}`, and no program countersign-{verb} in {folder}; see countersign --help"
        )),
    }
}

/// Edits (insert, delete, change) from one word to another.
fn distance(from: &str, to: &str) -> usize {
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (i, a) in from.bytes().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        let mut next = vec![left];
        for (b, above) in to.bytes().zip(row.iter().skip(1)) {
            let cost = diagonal + usize::from(a != b);
            left = cost.min(left + 1).min(above + 1);
            diagonal = *above;
            next.push(left);
        }
        row = next;
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::{distance, is_verb};

    #[test]
    fn a_verb_cannot_leave_the_folder() {
        assert!(is_verb("run") && is_verb("my-tool2"));
        for wrong in ["", "../run", "a/b", "Run", "-x", "a b", "a.b"] {
            assert!(!is_verb(wrong), "{wrong}");
        }
    }

    #[test]
    fn a_slip_of_the_fingers_is_two_edits_at_most() {
        assert_eq!(distance("sign", "sign"), 0);
        assert_eq!(distance("sign", "sgin"), 2);
        assert_eq!(distance("verify", "verfy"), 1);
        assert_eq!(distance("run", ""), 3);
    }
}
