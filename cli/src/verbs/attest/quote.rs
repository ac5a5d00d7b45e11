//! `attest quote`: the state of the boot, signed by an attestation key; without hardware, a signature that says so.

use anyhow::anyhow;
use countersign_format::{EvidenceKind, EvidenceProof, SoftwareProof, evidence_to_be_signed};

use super::make::Making;
use crate::shared::failure::Failure;
use crate::shared::output::{Output, say};
use crate::verbs::key::ExistingKey;

/// Have an attestation key sign the state of this machine's boot
///
/// A TPM signs the present values of its registers together with what this program says of the machine and the asker's
/// nonce. A key in software signs only what this program says; the attestation then states that it is from software, and
/// a verifier refuses it unless told otherwise.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  countersign attest quote tpm:attestation --nonce 8f4e1c77a2b95d03 --pcr 0,2,7 --chain ak-chain.pem --output state.eat
  countersign attest quote attest.key --nonce 8f4e1c77a2b95d03 --chain chain.pem --output state.eat")]
pub(super) struct Arguments {
    #[command(flatten)]
    key: ExistingKey,
    /// The registers of the SHA-256 bank to quote, such as 0,2,7 (TPM only)
    #[arg(long, value_name = "N,N", value_delimiter = ',', value_parser = clap::value_parser!(u8).range(0..=23))]
    pcr: Vec<u8>,
    #[command(flatten)]
    making: Making,
}

pub(super) fn run(arguments: &Arguments, output: &mut Output) -> Result<(), Failure> {
    let attestation = arguments.making.begin()?;
    let store = arguments.key.store()?;
    let uri = &arguments.key.uri;
    if !arguments.pcr.is_empty() {
        let mut registers = arguments.pcr.clone();
        registers.sort_unstable();
        registers.dedup();
        let claims = attestation.claims(EvidenceKind::TpmQuote)?;
        return attestation.vouched(
            claims,
            |challenge| store.state(uri, &registers, challenge),
            output,
        );
    }
    // Never a silent step down: where there is hardware, it is to be asked.
    if store.capabilities().hardware {
        return Err(Failure::usage(anyhow!(
            "{uri} is in hardware: give the registers to quote, as in --pcr 0,2,7, or use `countersign attest key` for \
             evidence of a key"
        )));
    }
    let claims = attestation.claims(EvidenceKind::Software)?;
    let key = store.open(uri)?;
    attestation.check_key(key.public_key())?;
    let algorithm = key.algorithm();
    let message = evidence_to_be_signed(algorithm, attestation.chain(), &claims);
    let signature = *key.sign(&message)?.as_bytes();
    say("note: no hardware vouches for this attestation; it says so");
    let proof = EvidenceProof::Software(SoftwareProof {
        algorithm,
        signature,
    });
    attestation.write(claims, proof, output)
}
