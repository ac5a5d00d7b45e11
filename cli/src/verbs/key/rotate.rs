//! `key rotate`: a new key in the place of an old one, which stays until the new one has shown that it works.

use anyhow::anyhow;
use countersign_keys::{KeyInfo, KeyTemplate, KeyUri, KeyUsage};
use serde_json::json;

use super::{ExistingKey, show};
use crate::shared::confirm;
use crate::shared::failure::Failure;
use crate::shared::output::{Output, say};
use crate::shared::secrets::SecretArguments;

/// What the new key signs to show that it works.
const TRIAL: &[u8] = b"the first signature of a new key";

/// Make the key that follows another one
///
/// The new key is of the same kind as the old one, may be in another store, and signs once before it counts. The old one
/// stays: it is needed until the new one has its certificate. Only --delete-old removes it, after the new one was proven.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  countersign key rotate tpm:door-2025 tpm:door-2026
  countersign key rotate old.key 'pkcs11:token=build;object=signing' --pin-file /run/secrets/pin
  countersign key rotate 'pkcs11:token=build;object=a' 'pkcs11:token=build;object=b' --delete-old")]
pub(crate) struct Arguments {
    #[command(flatten)]
    old: ExistingKey,
    /// Where the new key is to live; a name that is free
    #[arg(value_name = "NEW")]
    new: KeyUri,
    /// File whose only line is the new key's passphrase, or its token's PIN, if it is another than the old one's
    #[arg(long, visible_alias = "new-pin-file", value_name = "FILE")]
    new_passphrase_file: Option<std::path::PathBuf>,
    /// Store a new key file unencrypted, protected by file permissions alone
    #[arg(long)]
    unencrypted: bool,
    /// Remove the old key once the new one has signed
    #[arg(long)]
    delete_old: bool,
    /// Do not ask before the old key is removed
    #[arg(long, requires = "delete_old")]
    yes: bool,
    /// Print as versioned JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &Arguments, output: &mut Output) -> Result<(), Failure> {
    let (old_uri, new_uri) = (&arguments.old.uri, &arguments.new);
    if old_uri == new_uri {
        return Err(Failure::usage(anyhow!(
            "the new key needs another name than {old_uri}: a key is never replaced in its place"
        )));
    }
    let old_store = arguments.old.store()?;
    let old = old_store.show(old_uri)?;
    if arguments.delete_old {
        if !old_store.capabilities().delete {
            return Err(Failure::usage(anyhow!(
                "the store of {old_uri} removes no keys; leave out --delete-old, and have the old key's certificate revoked"
            )));
        }
        confirm::agreed(
            &format!(
                "{old_uri} ({}) will be gone for ever once the new key has signed, and until that has a certificate nothing can be signed",
                old.public.spki_sha256()
            ),
            arguments.yes,
        )?;
    }

    let secrets = match &arguments.new_passphrase_file {
        Some(file) => SecretArguments::of_file(file.clone()),
        None => arguments.old.secrets.clone(),
    };
    let stores = if arguments.unencrypted {
        secrets.stores_unencrypted()
    } else {
        secrets.stores()
    };
    let new_store = stores.of_key(new_uri)?;
    let new = new_store.generate(new_uri, &like(&old))?;
    // By its name and from the beginning, as everybody will use it.
    if new.usage == KeyUsage::Signing {
        let opened = new_store.open(new_uri)?;
        opened.sign(TRIAL)?;
        if opened.public_key() != &new.public {
            return Err(Failure::usage(anyhow!(
                "{new_uri} opens another key than the one that was made; the old key was not touched"
            )));
        }
    }
    if arguments.delete_old {
        old_store.delete(old_uri)?;
    }

    if arguments.json {
        output.json(&json!({
            "version": 1,
            "old": show::describe(&old),
            "old_deleted": arguments.delete_old,
            "new": show::describe(&new),
        }));
    } else {
        output.line(&format!("Made {}", new.uri));
        show::fields(&new, output);
        if arguments.delete_old {
            output.line(&format!("Removed {old_uri}"));
        }
    }
    say(&format!(
        "next: ask for its certificate, `countersign key csr '{}' --device-id … --output new.csr`; sign with the old key until it is there{}",
        new.uri,
        if arguments.delete_old {
            ""
        } else {
            "; then have the old certificate revoked, and remove the old key by `countersign key delete`"
        }
    ));
    Ok(())
}

/// A key of the same kind, use and binding. Registers have their values of now.
fn like(old: &KeyInfo) -> KeyTemplate {
    let algorithm = old.public.algorithm();
    let template = match old.usage {
        KeyUsage::Attestation => KeyTemplate::attestation(algorithm),
        _ => KeyTemplate::signing(algorithm),
    };
    template.bound_to(&old.boot_state)
}
