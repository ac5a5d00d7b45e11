//! `key delete`: a key, for good.

use anyhow::anyhow;
use serde_json::json;

use super::ExistingKey;
use crate::shared::confirm;
use crate::shared::failure::Failure;
use crate::shared::output::Output;

/// Remove a key for good
///
/// What it signed can still be verified; nothing new can be signed, and no copy of a key in hardware exists. Its
/// certificates stay valid: have them revoked if the key may have been misused.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  countersign key delete tpm:door-2025
  countersign key delete 'pkcs11:token=build;object=old' --pin-file /run/secrets/pin --yes
  countersign key delete old.key")]
pub(crate) struct Arguments {
    #[command(flatten)]
    key: ExistingKey,
    /// Do not ask
    #[arg(long)]
    yes: bool,
    /// Print as versioned JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &Arguments, output: &mut Output) -> Result<(), Failure> {
    let uri = &arguments.key.uri;
    let store = arguments.key.store()?;
    let key = store.show(uri)?;
    if !store.capabilities().delete {
        // Says why not; nothing is removed.
        store.delete(uri)?;
        return Err(Failure::usage(anyhow!(
            "{uri} was to stay, and its store removed it"
        )));
    }
    let digest = key.public.spki_sha256();
    confirm::agreed(
        &format!("{uri} ({digest}) will be gone for ever, and nothing can bring it back"),
        arguments.yes,
    )?;
    store.delete(uri)?;
    if arguments.json {
        output.json(&json!({
            "version": 1,
            "deleted": uri.to_string(),
            "spki_sha256": digest.to_string(),
        }));
    } else {
        output.line(&format!("Removed {uri}"));
    }
    Ok(())
}
