//! `attest key`: evidence of a key: that it was made in a device and cannot leave it.

use countersign_format::EvidenceKind;
use countersign_keys::{Error, ErrorKind, KeyUri};

use super::make::Making;
use crate::shared::failure::Failure;
use crate::shared::output::Output;
use crate::verbs::key::ExistingKey;

/// Have a device vouch for one of its keys: that it was made inside and cannot leave
///
/// The device's attestation key signs, so the chain is that key's. A TPM uses its attestation key (TPM2_Certify), an
/// ATECC608 the first slot whose key signs only the chip's own messages. Other stores cannot vouch for a key.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  countersign attest key tpm:signing --nonce 8f4e1c77a2b95d03 --chain ak-chain.pem --output key.eat
  countersign attest key 'atecc608:/dev/i2c-1?slot=0' --nonce 8f4e1c77a2b95d03 --chain slot1-chain.pem --output key.eat")]
pub(super) struct Arguments {
    #[command(flatten)]
    key: ExistingKey,
    #[command(flatten)]
    making: Making,
}

pub(super) fn run(arguments: &Arguments, output: &mut Output) -> Result<(), Failure> {
    let attestation = arguments.making.begin()?;
    let uri = &arguments.key.uri;
    let kind = match uri {
        KeyUri::Tpm(_) => EvidenceKind::TpmKey,
        KeyUri::Atecc608(_) => EvidenceKind::Atecc608Key,
        other => {
            return Err(Failure::key(Error::new(
                ErrorKind::Unsupported,
                format!(
                    "the store of {other} cannot vouch for a key; only a TPM and an ATECC608 can"
                ),
            )));
        }
    };
    let store = arguments.key.store()?;
    let claims = attestation.claims(kind)?;
    attestation.vouched(claims, |challenge| store.attest(uri, challenge), output)
}
