//! Certificates and CRLs out of PEM text (RFC 7468), for root files, embedded roots and `--crl`.
//!
//! Decides only what a text holds. A block that was not asked for is an error, never skipped: a file of roots that
//! also holds a private key is an accident that somebody should hear about. Whether a certificate may serve as a
//! trust anchor is for [`Anchors`](crate::Anchors) to say.

use pki_types::pem::{PemObject, SectionKind};

const BEGIN: &[u8] = b"-----BEGIN ";
const END: &[u8] = b"-----END ";
const DASHES: &[u8] = b"-----";

/// The DER bytes of every `CERTIFICATE` block, in the order of the text; at least one.
///
/// # Errors
/// [`PemError`] for a text without a certificate, with a block of another kind, or with a block that does not decode.
pub fn certificates(text: &[u8]) -> Result<Vec<Vec<u8>>, PemError> {
    blocks(text, "CERTIFICATE", SectionKind::Certificate)
}

/// The DER bytes of every CRL in `bytes`: `X509 CRL` blocks if it is PEM, else the bytes themselves as one CRL in DER.
///
/// # Errors
/// [`PemError`] for bytes that are neither, and as [`certificates`] for PEM.
pub fn crls(bytes: &[u8]) -> Result<Vec<Vec<u8>>, PemError> {
    if bytes.starts_with(&[0x30]) {
        return Ok(vec![bytes.to_vec()]);
    }
    blocks(bytes, "X509 CRL", SectionKind::Crl)
}

/// What is wrong with a PEM text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PemError {
    /// A block that begins on `line` (counted from 1) does not end, or is not base64.
    #[error("the PEM block that begins on line {line} is cut off or is not base64")]
    Malformed {
        /// The line of the `BEGIN`, counted from 1.
        line: usize,
    },
    /// No block of the wanted kind.
    #[error("it holds no `-----BEGIN {wanted}-----`{}", if *.empty { ": it is empty" } else { "" })]
    Missing {
        /// The label that was looked for.
        wanted: &'static str,
        /// Whether the text holds nothing but white space.
        empty: bool,
    },
    /// A private key, which has no business in a file that is handed around.
    #[error(
        "line {line} begins a private key; such a file is handed around and holds public things only: remove the key, and replace it if the file has left your hands"
    )]
    PrivateKey {
        /// The line of the `BEGIN`, counted from 1.
        line: usize,
    },
    /// A block of another kind.
    #[error("line {line} begins `{found}`, where only `{wanted}` may stand")]
    Unexpected {
        /// The label that was found.
        found: String,
        /// The label that was looked for.
        wanted: &'static str,
        /// The line of the `BEGIN`, counted from 1.
        line: usize,
    },
}

fn blocks(text: &[u8], wanted: &'static str, kind: SectionKind) -> Result<Vec<Vec<u8>>, PemError> {
    let mut found = Vec::new();
    let mut open: Option<(usize, Vec<u8>)> = None;
    for (number, line) in (1_usize..).zip(text.split_inclusive(|byte| *byte == b'\n')) {
        let trimmed = line.trim_ascii();
        if trimmed.starts_with(BEGIN) {
            if let Some((line, _)) = open {
                return Err(PemError::Malformed { line });
            }
            expect_label(trimmed, wanted, number)?;
            open = Some((number, Vec::new()));
        }
        let Some((begun, block)) = &mut open else {
            // RFC 7468 section 5.2: text outside the blocks explains and means nothing.
            continue;
        };
        block.extend_from_slice(trimmed);
        block.push(b'\n');
        if trimmed.starts_with(END) {
            let malformed = PemError::Malformed { line: *begun };
            match <(SectionKind, Vec<u8>)>::from_pem_slice(block) {
                Ok((decoded, der)) if decoded == kind && !der.is_empty() => found.push(der),
                _ => return Err(malformed),
            }
            open = None;
        }
    }
    if let Some((line, _)) = open {
        return Err(PemError::Malformed { line });
    }
    if found.is_empty() {
        return Err(PemError::Missing {
            wanted,
            empty: text.trim_ascii().is_empty(),
        });
    }
    Ok(found)
}

fn expect_label(begin: &[u8], wanted: &'static str, line: usize) -> Result<(), PemError> {
    let label = begin
        .strip_prefix(BEGIN)
        .and_then(|rest| rest.strip_suffix(DASHES))
        .ok_or(PemError::Malformed { line })?;
    if label.ends_with(b"PRIVATE KEY") {
        return Err(PemError::PrivateKey { line });
    }
    if label != wanted.as_bytes() {
        let found = String::from_utf8_lossy(label)
            .chars()
            .filter(|c| !c.is_control())
            .take(64)
            .collect();
        return Err(PemError::Unexpected {
            found,
            wanted,
            line,
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const CERTIFICATE: &str = "-----BEGIN CERTIFICATE-----\nMAMCAQE=\n-----END CERTIFICATE-----\n";

    #[test]
    fn text_around_certificates_is_ignored_and_their_order_kept() {
        let second = "-----BEGIN CERTIFICATE-----\r\nMAMC\r\nAQI=\r\n-----END CERTIFICATE-----\r\n";
        let text = format!("subject=CN = a\n{CERTIFICATE}\n# the next one\n{second}");
        assert_eq!(
            certificates(text.as_bytes()),
            Ok(vec![vec![0x30, 3, 2, 1, 1], vec![0x30, 3, 2, 1, 2]])
        );
    }

    #[test]
    fn a_private_key_is_named_with_its_line() {
        for label in ["PRIVATE KEY", "EC PRIVATE KEY", "ENCRYPTED PRIVATE KEY"] {
            let text =
                format!("{CERTIFICATE}-----BEGIN {label}-----\nMAMCAQE=\n-----END {label}-----\n");
            assert_eq!(
                certificates(text.as_bytes()),
                Err(PemError::PrivateKey { line: 4 }),
                "{label}"
            );
        }
    }

    #[test]
    fn other_blocks_and_broken_ones_are_refused() {
        let csr =
            "-----BEGIN CERTIFICATE REQUEST-----\nMAMCAQE=\n-----END CERTIFICATE REQUEST-----\n";
        assert!(matches!(
            certificates(csr.as_bytes()),
            Err(PemError::Unexpected { line: 1, .. })
        ));
        // What a stranger named it is told without what would move a cursor, and cut.
        let named = format!("\u{1b}[2J{}", "A".repeat(100));
        let strange = format!("-----BEGIN {named}-----\nMAMCAQE=\n-----END {named}-----\n");
        assert_eq!(
            certificates(strange.as_bytes()),
            Err(PemError::Unexpected {
                found: format!("[2J{}", "A".repeat(61)),
                wanted: "CERTIFICATE",
                line: 1
            })
        );
        for broken in [
            "-----BEGIN CERTIFICATE-----\nMAMCAQE=\n",
            "-----BEGIN CERTIFICATE-----\nMAM*AQE=\n-----END CERTIFICATE-----\n",
            "-----BEGIN CERTIFICATE-----\nMAMCAQE=\n-----END X509 CRL-----\n",
            "-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n",
            "-----BEGIN CERTIFICATE\nMAMCAQE=\n-----END CERTIFICATE-----\n",
            "-----BEGIN CERTIFICATE-----\nMAMC\n-----BEGIN CERTIFICATE-----\nMAMCAQE=\n-----END CERTIFICATE-----\n",
        ] {
            assert_eq!(
                certificates(broken.as_bytes()),
                Err(PemError::Malformed { line: 1 }),
                "{broken}"
            );
        }
    }

    #[test]
    fn nothing_is_not_a_list_of_nothing() {
        assert_eq!(
            certificates(b" \n"),
            Err(PemError::Missing {
                wanted: "CERTIFICATE",
                empty: true
            })
        );
        assert_eq!(
            certificates(b"hello"),
            Err(PemError::Missing {
                wanted: "CERTIFICATE",
                empty: false
            })
        );
        assert_eq!(
            crls(b""),
            Err(PemError::Missing {
                wanted: "X509 CRL",
                empty: true
            })
        );
    }

    #[test]
    fn a_crl_may_be_der_or_pem() {
        let pem = "-----BEGIN X509 CRL-----\nMAMCAQE=\n-----END X509 CRL-----\n";
        assert_eq!(crls(pem.as_bytes()), Ok(vec![vec![0x30, 3, 2, 1, 1]]));
        assert_eq!(crls(&[0x30, 3, 2, 1, 1]), Ok(vec![vec![0x30, 3, 2, 1, 1]]));
    }
}
