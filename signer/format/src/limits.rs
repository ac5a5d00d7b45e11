//! Every limit of the format, in one place, each with its reason.
//!
//! They are part of the format: a file that exceeds one is refused by every reader and written by no signer.
//! All sizes are in bytes. Each is checked against what is claimed before anything of that size is read.

/// The component P. Real ones measure kilobytes to tens of megabytes; a verifier holds P in memory once, and small
/// gateways have 512 MiB.
pub const MAX_COMPONENT_BYTES: u64 = 256 * 1024 * 1024;

/// Code that was compiled for a component (512 MiB): twice the largest component, and several times what code takes.
pub const MAX_CODE_BYTES: u64 = 512 * 1024 * 1024;

/// The payload of S. Holds the largest statement and [`MAX_SIGNERS`] full chains
/// (16 KiB + 4 × 3 × 8 KiB = 112 KiB) with their framing.
pub const MAX_SIGNATURE_BYTES: u64 = 128 * 1024;

/// Top-level sections of a component. wit-component writes tens, composition tools some thousands; each costs the
/// reader a few steps.
pub const MAX_SECTIONS: u64 = 65_536;

/// Signers of one statement. Two serve a change of roots, three a quorum; each costs up to eight signature checks.
pub const MAX_SIGNERS: u64 = 4;

/// Certificates sent with one signature: leaf and two intermediates. The root is compiled in and never sent.
pub const MAX_CHAIN_CERTIFICATES: u64 = 3;

/// One certificate. Ours are about 700 bytes; those with post-quantum keys and signatures reach 6 KiB.
pub const MAX_CERTIFICATE_BYTES: u64 = 8 * 1024;

/// The encoded statement. A typical one measures 300 bytes; one with 64 device ids, 64 hosts and 16 documents,
/// about 8 KiB.
pub const MAX_STATEMENT_BYTES: u64 = 16 * 1024;

/// A component name, `namespace:name`. Fits the file names and registry keys made from it.
pub const MAX_COMPONENT_NAME_BYTES: u64 = 128;

/// A semantic version with its pre-release and build parts.
pub const MAX_VERSION_BYTES: u64 = 128;

/// Any other text: a path, a host (DNS allows 253), a media type (RFC 6838 allows 127 + 1 + 127).
pub const MAX_TEXT_BYTES: u64 = 255;

/// Entries of any list in a statement, a scope or device metadata. Longer lists belong into a type or a namespace.
pub const MAX_LIST_ENTRIES: u64 = 64;

/// Characters of a device identity; also of a device type, a revision, a capability, a key name and a context.
/// X.520 bounds serialNumber, which carries the identity in a certificate, to 64.
pub const MAX_DEVICE_ID: u64 = 64;

/// The DER value of one of our X.509 extensions. A scope of 24 full-length names still fits.
pub const MAX_EXTENSION_BYTES: u64 = 4 * 1024;

/// Seconds since 1970 of 9999-12-31T23:59:59Z, the last moment that X.509 and RFC 3339 can write.
pub const MAX_UNIX_SECONDS: u64 = 253_402_300_799;

/// The bytes of a signature: `r ‖ s` of ESP256, or Ed25519's.
pub const SIGNATURE_LENGTH: u64 = 64;

/// A guest's message that is signed whole. Longer ones are hashed on their way (COSE Hash Envelope).
pub const MAX_GUEST_MESSAGE_BYTES: u64 = 64 * 1024;

/// A device's signature on guest data: the largest message and a full chain (64 KiB + 3 × 8 KiB) with their framing.
pub const MAX_GUEST_DATA_BYTES: u64 = 96 * 1024;

/// The nonce of an attestation. RFC 9711 §4.1 allows 8 to 64 bytes.
pub const MIN_EVIDENCE_NONCE_BYTES: u64 = 8;

/// See [`MIN_EVIDENCE_NONCE_BYTES`].
pub const MAX_EVIDENCE_NONCE_BYTES: u64 = 64;

/// The claims of an attestation. Typical ones measure 300 bytes.
pub const MAX_EVIDENCE_CLAIMS_BYTES: u64 = 1024;

/// Platform configuration registers of one bank (TCG PC Client platforms have 24).
pub const MAX_REGISTERS: u64 = 24;

/// A TPM's `TPMS_ATTEST` or `TPMT_PUBLIC`, as marshalled. A quote has about 130 bytes, the public area of a key with a
/// policy about 120.
pub const MAX_TPM_STRUCTURE_BYTES: u64 = 512;

/// An attestation: a full chain, the claims and what the hardware says of them (3 × 8 KiB + 1 KiB + 2 KiB), with their
/// framing.
pub const MAX_EVIDENCE_BYTES: u64 = 32 * 1024;

/// Roots that a receipt names: as many as a host may have.
pub const MAX_RECEIPT_ROOTS: u64 = 16;

/// Services in a receipt: more than a gateway's configuration may have.
pub const MAX_RECEIPT_SERVICES: u64 = 1024;

/// Refusals in a receipt: what somebody reads. All are in the gateway's audit log.
pub const MAX_RECEIPT_REFUSALS: u64 = 64;

/// Lists, versions and minimums in a receipt: all that a gateway remembers of each.
pub const MAX_RECEIPT_ENTRIES: u64 = 8192;

/// The name of a service, or a code, in a receipt.
pub const MAX_RECEIPT_NAME_BYTES: u64 = 64;

/// A reason, or the name of a signer, in a receipt.
pub const MAX_RECEIPT_TEXT_BYTES: u64 = 512;

/// The checkpoint of a gateway's records in a receipt: what one with its signature has, and room for witnesses.
pub const MAX_RECEIPT_CHECKPOINT_BYTES: u64 = 4096;

/// A receipt. That of a gateway with a thousand services and as many names of components has about 1 MiB.
pub const MAX_RECEIPT_BYTES: u64 = 4 * 1024 * 1024;

/// Parts of a bundle: a gateway's services with their lists and documents.
pub const MAX_BUNDLE_PARTS: u64 = 256;

/// Components for which a bundle may state a least security version. A plant has fewer names than that; versions of one name
/// cost one entry, however many are withdrawn.
pub const MAX_BUNDLE_MINIMUMS: u64 = 1024;

/// The index of a bundle. The largest (256 parts of 110 bytes, 1,024 minimums of 140) has about 170 KiB.
pub const MAX_BUNDLE_INDEX_BYTES: u64 = 192 * 1024;

/// The envelope around the index of a bundle: with [`MAX_SIGNERS`] full chains (4 × 3 × 8 KiB) and their framing.
pub const MAX_BUNDLE_ENVELOPE_BYTES: u64 = 304 * 1024;

/// All parts of a bundle together (2 GiB). A gateway may be told to take less.
pub const MAX_BUNDLE_BYTES: u64 = 2 << 30;

/// A part of a bundle that is a signed component: component, signature section, and the section's head.
pub const MAX_SIGNED_FILE_BYTES: u64 = MAX_COMPONENT_BYTES + MAX_SIGNATURE_BYTES + 64;

/// All of a file of precompiled code that stands before the code: who vouches for it, and the file's head.
pub const MAX_PRECOMPILED_FRONT_BYTES: u64 = MAX_SIGNATURE_BYTES + 64;

/// A part of a bundle that is a file of revocation lists. The largest list has 48 MiB, and PEM is longer by a third.
pub const MAX_LIST_PART_BYTES: u64 = 96 * 1024 * 1024;

/// A part of a bundle that is a configuration.
pub const MAX_CONFIGURATION_BYTES: u64 = 1024 * 1024;

/// A part of a bundle that is a document, such as an SBOM.
pub const MAX_DOCUMENT_BYTES: u64 = 64 * 1024 * 1024;

/// A part of a bundle that is precompiled code, which is several times as long as its component.
pub const MAX_PRECOMPILED_BYTES: u64 = 1 << 30;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ta25_ta26_tc30_sizes_in_bytes() {
        assert_eq!(MAX_COMPONENT_BYTES, 268_435_456);
        assert_eq!(MAX_SIGNATURE_BYTES, 131_072);
        assert_eq!(MAX_CERTIFICATE_BYTES, 8_192);
        assert_eq!(MAX_STATEMENT_BYTES, 16_384);
        assert_eq!(MAX_EXTENSION_BYTES, 4_096);
    }
}
