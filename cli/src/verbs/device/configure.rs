//! `device configure`: a secure element made what its file says, step by step, with consent for what cannot be undone.

use std::path::PathBuf;

use anyhow::Context as _;
use countersign_stores::atecc608::ChipFile;
use serde_json::json;

use crate::shared::confirm;
use crate::shared::failure::Failure;
use crate::shared::output::{Output, say};

/// Configure an ATECC608 as its file says, and lock it: LOCKS CANNOT BE UNDONE
///
/// Prints what will be written and locked and what is lost by it, and asks for the chip's serial number. Locks that the file
/// does not name are not set. Slots are locked once they hold something: configure, make keys, and configure again.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  countersign device configure chip.toml
  countersign device configure chip.toml --plan
  countersign device configure chip.toml --serial 0123a1b2c3d4e5f6ee

A file:
  type = \"ATECC608\"
  bus = \"/dev/i2c-1\"
  address = 0x60
  keys = [0, 2]
  attestation-key = 1
  [lock]
  configuration = true
  data = true
  slots = [0]")]
pub(crate) struct Arguments {
    /// The file that describes the chip (TOML)
    file: PathBuf,
    /// Show what would be done, and do nothing
    #[arg(long, conflicts_with = "serial")]
    plan: bool,
    /// The chip's serial number, which stands for \"yes, this one\" (default: ask at the terminal)
    #[arg(long, value_name = "HEX")]
    serial: Option<String>,
    /// Print as versioned JSON
    #[arg(long)]
    json: bool,
}

#[cfg(target_os = "linux")]
pub(super) fn run(arguments: &Arguments, output: &mut Output) -> Result<(), Failure> {
    let name = arguments.file.display();
    let text = std::fs::read_to_string(&arguments.file)
        .with_context(|| format!("cannot read {name}"))
        .map_err(Failure::usage)?;
    let file = ChipFile::parse(&text)
        .with_context(|| format!("{name}"))
        .map_err(Failure::usage)?;
    let chip = countersign_stores::atecc608::Atecc608Provider::of_file(&file)?;
    let plan = chip.plan(&file)?;
    say(plan.to_string().trim_end());
    let does = !plan.is_empty() && !arguments.plan;
    if does {
        let serial = match &arguments.serial {
            Some(serial) => serial.clone(),
            None => confirm::typed(
                "Type the chip's serial number to do this: ",
                "give the chip's serial number by --serial if that is meant",
            )?,
        };
        chip.carry_out(&plan, &serial)?;
    }
    let serial = plan.serial().to_string();
    if arguments.json {
        output.json(&json!({
            "version": 1,
            "serial": serial,
            "for_ever": plan.is_for_ever(),
            "done": does,
        }));
    } else if does {
        output.line(&format!("Configured the chip {serial}"));
    } else {
        output.line(&format!("Nothing was done to the chip {serial}"));
    }
    Ok(())
}

#[cfg(not(target_os = "linux"))]
pub(super) fn run(_: &Arguments, _: &mut Output) -> Result<(), Failure> {
    Err(Failure::usage(anyhow::anyhow!(
        "I2C buses are known on Linux only; configure the chip there"
    )))
}
