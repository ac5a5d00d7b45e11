//! PEM (RFC 7468), as answers carry it.

use countersign_keys::PublicKey;
use der::pem::{LineEnding, encode_string};

/// Certificates, one after the other.
#[must_use]
pub fn certificates(certificates: &[impl AsRef<[u8]>]) -> String {
    certificates
        .iter()
        .map(|der| block("CERTIFICATE", der.as_ref()))
        .collect()
}

/// A public key.
#[must_use]
pub fn public_key(key: &PublicKey) -> String {
    block("PUBLIC KEY", &key.to_spki_der())
}

/// Certificates in a text, if there is nothing else in it.
#[must_use]
pub fn read_certificates(text: &str) -> Option<Vec<Vec<u8>>> {
    countersign_trust_store::pem::certificates(text.as_bytes()).ok()
}

fn block(label: &str, der: &[u8]) -> String {
    // It fails for a text without end alone.
    encode_string(label, LineEnding::LF, der).unwrap_or_default()
}
