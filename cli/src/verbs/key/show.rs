//! `key show`: the public half of a key, and what its store knows of it.

use countersign_keys::{KeyInfo, KeyUsage, PublicKey};
use serde_json::{Value, json};

use super::ExistingKey;
use crate::shared::certificates::to_pem;
use crate::shared::failure::Failure;
use crate::shared::output::Output;

/// Show the public half of a key, and what its store knows of it
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  countersign key show build.key
  countersign key show build.key --pem > build.pub
  countersign key show 'pkcs11:token=build;object=signing'
  countersign key show 'exec:/opt/hsm/signer --slot 3' --json")]
pub(crate) struct Arguments {
    #[command(flatten)]
    key: ExistingKey,
    /// Print the public key as PEM (SubjectPublicKeyInfo)
    #[arg(long, conflicts_with = "json")]
    pem: bool,
    /// Print as versioned JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &Arguments, output: &mut Output) -> Result<(), Failure> {
    let key = arguments.key.store()?.show(&arguments.key.uri)?;
    if arguments.pem {
        output.raw(&to_pem("PUBLIC KEY", &key.public.to_spki_der())?);
    } else if arguments.json {
        let mut value = describe(&key);
        value["version"] = json!(1);
        output.json(&value);
    } else {
        output.line(&key.uri.to_string());
        fields(&key, output);
    }
    Ok(())
}

/// A key in the words of every JSON answer.
pub(super) fn describe(key: &KeyInfo) -> Value {
    let public = &key.public;
    json!({
        "key": key.uri.to_string(),
        "algorithm": public.algorithm().name(),
        "spki_sha256": public.spki_sha256().to_string(),
        "spki_pem": to_pem("PUBLIC KEY", &public.to_spki_der()).unwrap_or_default(),
        "usage": usage(key),
        "origin": key.origin.as_str(),
        "locked": key.locked,
        "boot_state": key.boot_state,
    })
}

/// A key for people.
pub(super) fn fields(key: &KeyInfo, output: &mut Output) {
    public_fields(&key.public, output);
    output.field("usage", usage(key));
    output.field("made in", key.origin.as_str());
    if key.locked {
        output.field("locked", "for ever");
    }
    if !key.boot_state.is_empty() {
        let registers: Vec<String> = key.boot_state.iter().map(u8::to_string).collect();
        output.field("bound to registers", &registers.join(", "));
    }
}

/// A public key for people.
pub(super) fn public_fields(public: &PublicKey, output: &mut Output) {
    output.field("algorithm", public.algorithm().name());
    output.field("public key SHA-256", &public.spki_sha256().to_string());
}

fn usage(key: &KeyInfo) -> &'static str {
    match key.usage {
        KeyUsage::Signing => "signing",
        KeyUsage::Attestation => "attestation",
        _ => "other",
    }
}
