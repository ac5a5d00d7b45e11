//! The signed file: bytes to envelope, statement and device identity, and back.
//!
//! ```text
//! signed file = P ‖ S
//! P  the component exactly as its compiler wrote it
//! S  one custom section "component-signature", last in the file; its payload is a COSE_Sign (RFC 9052)
//!    whose payload is the statement
//! ```
//!
//! This crate decides whether bytes are well formed and in their one canonical form, and turns them into types
//! that can only hold what the format allows. It knows no files, no clock, no keys and no trust: a decoded
//! [`Envelope`] is a well-formed claim, and nothing here says that it is true. `countersign-trust-store` does.
//!
//! Everything read here may come from an attacker. So every size is checked against [`limits`] before anything
//! is copied, no allocation follows a claimed length, nothing recurses, and the lints below keep every operation
//! that could panic out of the crate.
//!
//! What a device signs for its guests ([`GuestData`]) is a COSE_Sign1 of its own content type.
//!
//! What it says of itself when asked is an Entity Attestation Token's claims with what vouches for them
//! ([`EvidenceDocument`]).
//!
//! Many files that go together, for a gateway, are a bundle: its signed index ([`BundleIndex`], [`BundleEnvelope`]), and then
//! the parts that it names.
//!
//! The encodings are described in CDDL (RFC 8610) in `envelope.cddl`, `statement.cddl`, `guest-data.cddl`,
//! `precompiled.cddl`, `evidence.cddl`, `bundle.cddl` and `receipt.cddl` beside `src/`.

#![forbid(unsafe_code)]
#![deny(
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unreachable,
    clippy::unwrap_used
)]
#![cfg_attr(
    test,
    allow(
        clippy::arithmetic_side_effects,
        clippy::as_conversions,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic,
        clippy::unwrap_used,
        reason = "a test that meets something unexpected should panic"
    )
)]

mod algorithm;
mod bundle;
mod cbor;
mod device;
mod digest;
mod envelope;
mod error;
mod evidence;
mod extension;
mod grants;
mod guest_data;
mod layout;
pub mod limits;
mod name;
mod precompiled;
mod receipt;
#[cfg(test)]
mod samples;
mod section;
mod statement;
mod text;

pub use algorithm::Algorithm;
pub use bundle::{
    BUNDLE_CONTENT_TYPE, BUNDLE_MAGIC, BUNDLE_PREAMBLE_BYTES, BundleEnvelope, BundleFields,
    BundleIndex, BundlePart, Minimum, PartKind, bundle_preamble, bundle_to_be_signed,
    check_bundle_name, read_bundle_preamble,
};
pub use device::{DeviceIdentity, DeviceMetadata};
pub use digest::{Digest, DigestWriter};
pub use envelope::{CONTENT_TYPE, Envelope, SignerEntry, signer_to_be_signed};
pub use error::{FormatError, Found};
pub use evidence::{
    Atecc608Proof, ComponentClaim, EVIDENCE_CONTENT_TYPE, EvidenceClaims, EvidenceDocument,
    EvidenceKind, EvidenceNonce, EvidenceProof, RuntimeClaim, SoftwareProof, TpmKeyProof,
    TpmQuoteProof, evidence_challenge, evidence_to_be_signed,
};
pub use extension::{
    AttestationHardware, Scope, capabilities_from_der, capabilities_to_der, oid, text_from_der,
    text_to_der,
};
pub use extension::{development_root_from_der, development_root_to_der};
pub use grants::{DirectoryGrant, Grants, GuestLimits, KeyGrant, Stdio};
pub use guest_data::{
    BootId, GUEST_DATA_CONTENT_TYPE, GuestClaims, GuestData, GuestPayload, guest_data_to_be_signed,
};
pub use layout::{Layout, LayoutScanner, SignatureRange};
pub use name::{ComponentName, NamePattern, Namespace};
pub use precompiled::{
    PRECOMPILED_CONTENT_TYPE, PrecompiledFile, PrecompiledSignature, PrecompiledStatement,
    precompiled_to_be_signed,
};
pub use receipt::{
    RECEIPT_CONTENT_TYPE, Receipt, ReceiptBody, ReceiptBundle, ReceiptComponent, ReceiptFields,
    ReceiptRefusal, ReceiptService, ServiceState, receipt_nonce,
};
pub use section::{SECTION_NAME, SignedFile, signature_at_end, signature_section};
pub use statement::{Audience, Document, SignerId, Statement, StatementFields};
