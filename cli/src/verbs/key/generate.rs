//! `key generate`: a new key in any store.

use std::path::Path;

use anyhow::anyhow;
use clap::ValueEnum;
use countersign_backend_file::{FileKey, SystemRandom};
use countersign_format::Algorithm;
use countersign_keys::{KeyInfo, KeyTemplate, KeyUri, KeyUsage, Origin};
use serde_json::json;

use super::show;
use crate::shared::failure::Failure;
use crate::shared::files;
use crate::shared::output::{Output, say};
use crate::shared::passphrase;
use crate::shared::secrets::SecretArguments;

/// The highest number of a platform configuration register that a TPM of a computer has (PC Client profile §4.6.1).
const MAX_REGISTER: u8 = 23;

/// Make a new signing key
///
/// A key in a TPM, a token or a secure element is made inside it and never leaves. A key file is PKCS#8 in PEM, readable by
/// its owner alone (mode 0600), and encrypted unless you say otherwise.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  countersign key generate tpm:door --pcr 0,2,7
  countersign key generate tpm:attestation --attestation
  countersign key generate 'pkcs11:token=build;object=signing' --pin-file /run/secrets/pin
  countersign key generate 'atecc608:/dev/i2c-1?address=0x60&slot=0'
  countersign key generate build.key --algorithm ed25519 --passphrase-file /run/secrets/build
  countersign key generate test.key --unencrypted")]
pub(crate) struct Arguments {
    /// Where the key is to live: a key URI such as tpm:NAME or pkcs11:token=…;object=…, or a file
    #[arg(value_name = "KEY")]
    key: KeyUri,
    /// The kind of key; P-256 is what TPM and secure elements share
    #[arg(long, value_enum, default_value_t = Kind::P256)]
    algorithm: Kind,
    /// Bind the key to these registers of the boot: it signs only while they hold what they hold now (TPM)
    #[arg(long, value_name = "N,…", value_delimiter = ',', value_parser = clap::value_parser!(u8).range(0..=i64::from(MAX_REGISTER)))]
    pcr: Vec<u8>,
    /// Make a key that signs only what its device itself states (TPM, secure element)
    #[arg(long)]
    attestation: bool,
    #[command(flatten)]
    secrets: SecretArguments,
    /// Store a key file unencrypted, protected by file permissions alone
    #[arg(long, conflicts_with = "passphrase_file")]
    unencrypted: bool,
    /// Overwrite an existing file; the key in it is lost
    #[arg(long)]
    force: bool,
    /// Print the public half as versioned JSON
    #[arg(long)]
    json: bool,
}

/// The names that `openssl` and people use for the algorithms.
#[derive(Clone, Copy, ValueEnum)]
enum Kind {
    #[value(alias = "esp256")]
    P256,
    Ed25519,
}

pub(super) fn run(arguments: &Arguments, output: &mut Output) -> Result<(), Failure> {
    let template = template(arguments);
    let plain = template.usage == KeyUsage::Signing && template.boot_state.is_empty();
    let key = match &arguments.key {
        KeyUri::File(path) if plain => in_file(path, template.algorithm, arguments)?,
        key => {
            for (given, option) in [
                (arguments.force, "--force"),
                (arguments.unencrypted, "--unencrypted"),
            ] {
                if given && key.scheme() != "file" {
                    return Err(Failure::usage(anyhow!(
                        "{option} is for key files, and {key} is none; leave it out"
                    )));
                }
            }
            let store = arguments.secrets.stores().of_key(key)?;
            store.generate(key, &template)?
        }
    };
    if arguments.json {
        let mut value = show::describe(&key);
        value["version"] = json!(1);
        output.json(&value);
    } else {
        match &key.uri {
            KeyUri::File(path) => output.line(&format!("Made {}", path.display())),
            uri => output.line(&format!("Made {uri}")),
        }
        show::fields(&key, output);
    }
    Ok(())
}

fn template(arguments: &Arguments) -> KeyTemplate {
    let algorithm = match arguments.algorithm {
        Kind::P256 => Algorithm::Esp256,
        Kind::Ed25519 => Algorithm::Ed25519,
    };
    let template = if arguments.attestation {
        KeyTemplate::attestation(algorithm)
    } else {
        KeyTemplate::signing(algorithm)
    };
    template.bound_to(&arguments.pcr)
}

/// A file may be replaced, which no store of keys does by itself.
fn in_file(path: &Path, algorithm: Algorithm, arguments: &Arguments) -> Result<KeyInfo, Failure> {
    let existing = files::forced(arguments.force);
    files::check_output(path, existing)?;
    let passphrase = if arguments.unencrypted {
        None
    } else {
        Some(passphrase::for_new_key(
            arguments.secrets.file(),
            &path.display().to_string(),
        )?)
    };
    let key = FileKey::generate(algorithm, &mut SystemRandom)?;
    key.save(path, passphrase.as_ref(), existing)?;
    if passphrase.is_none() {
        say(&format!(
            "note: {} is not encrypted; whoever can read the file can sign with it",
            path.display()
        ));
    }
    let mut info = KeyInfo::new(KeyUri::File(path.to_owned()), key.public_key().clone());
    info.origin = Origin::Software;
    Ok(info)
}
