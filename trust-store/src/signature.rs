//! Whether a signer's key signed what its envelope holds. Whether the key counts for anything is decided by its chain.

use countersign_format::SignerEntry;

use crate::{Certificate, Rejection};

/// RFC 9052 §4.4: the signature of the signer with this leaf certificate over `message`, its Sig_structure.
pub(crate) fn check(
    signer: usize,
    leaf: &Certificate,
    entry: &SignerEntry,
    message: &[u8],
) -> Result<(), Rejection> {
    let key = leaf.public_key().map_err(|fault| Rejection::Certificate {
        signer,
        depth: 0,
        subject: leaf.subject(),
        fault,
    })?;
    if key.algorithm() != entry.algorithm() {
        return Err(Rejection::AlgorithmMismatch {
            signer,
            stated: entry.algorithm().name(),
        });
    }
    key.verify(message, entry.signature())
        .map_err(|_| Rejection::SignatureInvalid {
            signer,
            subject: leaf.subject(),
        })
}
