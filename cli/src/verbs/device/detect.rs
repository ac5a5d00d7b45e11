//! `device detect`: every device for keys that this machine has, and why something is missing.

use countersign_keys::Found;
use countersign_stores::detect;
use serde_json::{Value, json};

use crate::shared::output::{Output, Paint};

/// List the hardware for keys that this machine has, and say why something is missing
///
/// Asks the kernel for TPMs, each I2C bus for a secure element (a wake pulse), and loads the PKCS#11 modules that are
/// installed in the usual places. No PIN is asked for, and nothing is changed.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  countersign device detect
  countersign device detect --json")]
pub(crate) struct Arguments {
    /// Print as versioned JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &Arguments, output: &mut Output) {
    let found = detect();
    if arguments.json {
        let devices: Vec<Value> = found
            .iter()
            .map(|(kind, detected)| match &detected.found {
                Found::Ready {
                    description,
                    example,
                } => json!({
                    "kind": kind.scheme(),
                    "place": detected.place,
                    "ready": true,
                    "description": description,
                    "example": example.to_string(),
                }),
                Found::Missing { reason } => json!({
                    "kind": kind.scheme(),
                    "place": detected.place,
                    "ready": false,
                    "reason": reason,
                }),
            })
            .collect();
        output.json(&json!({ "version": 1, "devices": devices }));
        return;
    }
    for (_, detected) in &found {
        match &detected.found {
            Found::Ready {
                description,
                example,
            } => {
                output.painted(Paint::Good, "ready", &format!("    {}", detected.place));
                output.field("device", description);
                output.field("key URI", &format!("{example}"));
            }
            Found::Missing { reason } => {
                output.painted(Paint::Dim, "missing", &format!("  {}", detected.place));
                output.field("why", reason);
            }
        }
    }
}
