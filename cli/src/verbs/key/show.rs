//! `key show`: the public half of a key.

use countersign_keys::PublicKey;
use serde_json::{Value, json};

use super::ExistingKey;
use crate::shared::certificates::to_pem;
use crate::shared::failure::Failure;
use crate::shared::output::Output;

/// Show the public half of a key
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  countersign key show build.key
  countersign key show build.key --pem > build.pub
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
    let key = arguments.key.open()?;
    let public = key.public_key();
    if arguments.pem {
        output.raw(&to_pem("PUBLIC KEY", &public.to_spki_der())?);
    } else if arguments.json {
        output.json(&describe(public));
    } else {
        fields(public, output);
    }
    Ok(())
}

/// A public key in the words of every JSON answer.
pub(super) fn describe(public: &PublicKey) -> Value {
    json!({
        "version": 1,
        "algorithm": public.algorithm().name(),
        "spki_sha256": public.spki_sha256().to_string(),
        "spki_pem": to_pem("PUBLIC KEY", &public.to_spki_der()).unwrap_or_default(),
    })
}

/// A public key for people.
pub(super) fn fields(public: &PublicKey, output: &mut Output) {
    output.field("algorithm", public.algorithm().name());
    output.field("public key SHA-256", &public.spki_sha256().to_string());
}
