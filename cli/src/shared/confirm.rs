//! Asking a person before something is done that cannot be undone.

use std::io::{BufRead as _, IsTerminal as _, Write as _};

use anyhow::{Context as _, anyhow};

use crate::shared::failure::Failure;
use crate::shared::output::say;

/// Goes on only if `--yes` was given, or if a person at the terminal says yes. The warning is shown in any case.
pub(crate) fn agreed(warning: &str, yes: bool) -> Result<(), Failure> {
    say(&format!("warning: {warning}"));
    if yes {
        return Ok(());
    }
    match typed("Type yes to go on: ", "say --yes if that is meant")?.as_str() {
        "yes" => Ok(()),
        _ => Err(Failure::usage(anyhow!("nothing was done"))),
    }
}

/// A line that a person types, without the blanks around it. `otherwise` is what to give where there is no terminal.
pub(crate) fn typed(prompt: &str, otherwise: &str) -> Result<String, Failure> {
    if !std::io::stdin().is_terminal() {
        return Err(Failure::usage(anyhow!(
            "nothing was done, as there is no terminal to ask at; {otherwise}"
        )));
    }
    let failed = || "cannot read from the terminal";
    let mut stderr = std::io::stderr();
    stderr
        .write_all(prompt.as_bytes())
        .and_then(|()| stderr.flush())
        .with_context(failed)
        .map_err(Failure::usage)?;
    let mut line = String::new();
    std::io::stdin()
        .lock()
        .read_line(&mut line)
        .with_context(failed)
        .map_err(Failure::usage)?;
    Ok(line.trim().to_owned())
}
