//! `key list`: the signing keys of a store.

use countersign_stores::StoreUri;
use serde_json::{Value, json};

use super::show;
use crate::shared::failure::Failure;
use crate::shared::output::{Output, say};
use crate::shared::secrets::SecretArguments;

/// List the signing keys of a store
///
/// A store is named like a key in it, without what selects the key. `countersign device detect` lists the stores that this
/// machine has.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  countersign key list tpm:
  countersign key list 'pkcs11:token=build' --pin-file /run/secrets/pin
  countersign key list 'atecc608:/dev/i2c-1?address=0x60' --json
  countersign key list /etc/countersign/keys")]
pub(crate) struct Arguments {
    /// The store: tpm:, pkcs11:token=…, atecc608:/dev/i2c-…, or a folder with key files
    #[arg(value_name = "STORE")]
    store: StoreUri,
    #[command(flatten)]
    secrets: SecretArguments,
    /// Print as versioned JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &Arguments, output: &mut Output) -> Result<(), Failure> {
    let store = arguments.secrets.stores().of_name(&arguments.store)?;
    let keys = store.list()?;
    if arguments.json {
        let keys: Vec<Value> = keys.iter().map(show::describe).collect();
        output.json(&json!({
            "version": 1,
            "store": arguments.store.to_string(),
            "description": store.describe()?,
            "keys": keys,
        }));
        return Ok(());
    }
    for key in &keys {
        output.line(&key.uri.to_string());
        show::fields(key, output);
    }
    if keys.is_empty() {
        say(&format!(
            "{} holds no signing key; `countersign key generate` makes one",
            store.describe()?
        ));
    }
    Ok(())
}
