//! `completions`: a script that teaches a shell our verbs and options.

use clap::CommandFactory as _;
use clap_complete::Shell;

use crate::shared::failure::Failure;
use crate::shared::output::Output;

/// Print a completion script for a shell
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  countersign completions bash > /etc/bash_completion.d/countersign
  countersign completions zsh > ~/.zfunc/_countersign
  countersign completions fish > ~/.config/fish/completions/countersign.fish")]
pub(crate) struct Arguments {
    /// The shell to write for
    shell: Shell,
}

pub(crate) fn run(arguments: &Arguments, output: &mut Output) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(
        arguments.shell,
        &mut crate::Arguments::command(),
        "countersign",
        &mut script,
    );
    output.raw(&String::from_utf8_lossy(&script));
    Ok(())
}
