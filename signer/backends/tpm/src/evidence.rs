//! What the TPM says of its keys and its state, signed by a restricted key: one with which nobody
//! can make a statement of the TPM's.
//!
//! Checked here, before it leaves: that the signature is the attestation key's over these very bytes, and that they
//! answer the challenge. What it is worth is for whoever asked.

use crate::device::Device;
use crate::failure::Failure;
use crate::keys::Found;
use crate::policy;
use crate::sign::scheme;
use crate::template;
use countersign_keys::{Challenge, PublicKey, TpmEvidence, TpmQuoteEvidence};
use tss_esapi::interface_types::session_handles::AuthSession;
use tss_esapi::structures::{Attest, AttestInfo, Data, Signature};
use tss_esapi::traits::Marshall as _;

/// How often a quote is asked for if registers change meanwhile.
const QUOTES: usize = 3;

/// `TPM2_Certify` of a key by an attestation key.
pub(crate) fn certify(
    device: &mut Device,
    key: &Found,
    by: &Found,
    challenge: &Challenge,
) -> Result<TpmEvidence, Failure> {
    let session = device.session()?;
    let data = Data::try_from(challenge.as_bytes().as_slice())?;
    // Two keys, two authorisations: the certified key's is empty, and what the session signs covers the whole command.
    let (attest, signature) = device
        .run_under((Some(AuthSession::Password), Some(session)), |context| {
            context.certify(key.loaded.object, by.loaded.key(), data.clone(), scheme())
        })?;
    let (attest, signature) = signed(&attest, &signature, &by.public, challenge)?;
    Ok(TpmEvidence {
        public_area: key.loaded.public.marshall()?,
        attest,
        signature,
        attestation_key: by.public.clone(),
    })
}

/// `TPM2_Quote` of registers by an attestation key.
pub(crate) fn quote(
    device: &mut Device,
    by: &Found,
    registers: &[u8],
    challenge: &Challenge,
) -> Result<TpmQuoteEvidence, Failure> {
    let data = Data::try_from(challenge.as_bytes().as_slice())?;
    let selection = policy::selection(registers)?;
    for _ in 0..QUOTES {
        let values = policy::read(device, registers)?;
        let (attest, signature) = device.run_guarded(|context| {
            context.quote(by.loaded.key(), data.clone(), scheme(), selection.clone())
        })?;
        let AttestInfo::Quote { info } = attest.attested() else {
            return Err(Failure::Wrong("something else than a quote"));
        };
        // Registers may have changed between reading and quoting.
        if info.pcr_digest().value() != policy::digest_of(&values) {
            continue;
        }
        let (attest, signature) = signed(&attest, &signature, &by.public, challenge)?;
        return Ok(TpmQuoteEvidence {
            attest,
            signature,
            registers: values,
            attestation_key: by.public.clone(),
        });
    }
    Err(Failure::Wrong(
        "quotes of other values than those of its registers",
    ))
}

fn signed(
    attest: &Attest,
    signature: &Signature,
    key: &PublicKey,
    challenge: &Challenge,
) -> Result<(Vec<u8>, [u8; 64]), Failure> {
    if attest.extra_data().value() != challenge.as_bytes() {
        return Err(Failure::Wrong("an answer to another challenge"));
    }
    let bytes = attest.marshall()?;
    let signature = template::raw_signature(signature)?;
    // In the form that verifies everywhere.
    let checked = countersign_keys::Signature::checked(key, &bytes, &signature)?;
    Ok((bytes, *checked.as_bytes()))
}
