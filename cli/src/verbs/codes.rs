//! `codes`: the table of refusals. The table itself belongs to the trust store; here it is only shown.

use std::fmt::Write as _;

use anyhow::anyhow;
use countersign_trust_store::Code;
use serde_json::{Value, json};

use crate::shared::failure::Failure;
use crate::shared::output::{Output, Paint};

/// List the codes of refusals: what each means, what to do next, and its exit status
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  countersign codes
  countersign codes crl-stale
  countersign codes --markdown > codes.md")]
pub(crate) struct Arguments {
    /// Show only this code, such as crl-stale
    code: Option<String>,
    /// Print as versioned JSON
    #[arg(long, conflicts_with = "markdown")]
    json: bool,
    /// Print as a page in Markdown
    #[arg(long)]
    markdown: bool,
}

pub(crate) fn run(arguments: &Arguments, output: &mut Output) -> Result<(), Failure> {
    let codes = select(arguments.code.as_deref())?;
    if arguments.json {
        let codes: Vec<Value> = codes.iter().map(|code| describe(*code)).collect();
        output.json(&json!({ "version": 1, "codes": codes }));
    } else if arguments.markdown {
        output.raw(&markdown(&codes));
    } else {
        for code in codes {
            output.painted(
                Paint::Strong,
                code.as_str(),
                &format!(" (exit status {})", code.exit_status()),
            );
            output.line(&format!("  {}", code.meaning()));
            output.line(&format!("  {}", code.next_step()));
        }
    }
    Ok(())
}

/// One code in the words of every JSON answer.
pub(crate) fn describe(code: Code) -> Value {
    json!({
        "code": code.as_str(),
        "exit_status": code.exit_status(),
        "meaning": code.meaning(),
        "next_step": code.next_step(),
    })
}

fn select(word: Option<&str>) -> Result<Vec<Code>, Failure> {
    let Some(word) = word else {
        let mut all = Code::ALL.to_vec();
        all.sort_by_key(|code| (code.exit_status(), code.as_str()));
        return Ok(all);
    };
    let found = Code::ALL
        .iter()
        .find(|code| code.as_str() == word)
        .ok_or_else(|| {
            Failure::usage(anyhow!(
                "there is no code `{word}`; `countersign codes` lists all of them"
            ))
        })?;
    Ok(vec![*found])
}

fn markdown(codes: &[Code]) -> String {
    let mut page = String::from(
        "# Codes and exit statuses\n\n\
         Made by `countersign codes --markdown` from the table that the programs themselves use.\n\n\
         Every refusal has one of these codes, in messages, in `--json` and in audit records. Exit status 2 is none \
         of them: it means wrong usage or configuration, with a message that says what to change.\n\n\
         | exit | code | meaning | next step |\n|---|---|---|---|\n",
    );
    for code in codes {
        // Writing to a string cannot fail.
        let _ = writeln!(
            page,
            "| {} | `{}` | {} | {} |",
            code.exit_status(),
            code.as_str(),
            cell(code.meaning()),
            cell(code.next_step())
        );
    }
    page
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}
