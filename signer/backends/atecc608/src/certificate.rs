//! Certificates in slots: 72 bytes of each, and the rest from a certificate of the same kind.
//!
//! Decided here: the maker's compressed form ([`CompressedCertificate`]), how a whole certificate is made of it again
//! ([`CertificateTemplate`]), that nothing counts as rebuilt whose signature does not verify, and when a chip is its
//! maker's ([`MakerChain`]).
//!
//! Left to others: whether the certificate is trusted for anything.
//!
//! A compressed certificate holds the signature, the dates, and which kind it is. Everything that is the same in all
//! certificates of a kind comes from an example; the public key, the chip's serial number and what else is of this chip
//! alone come from the chip. So no template of anybody's has to be copied into this program.

mod compressed;
mod maker;
mod parts;
mod stored;
mod template;

pub use compressed::{CompressedCertificate, Kind, SerialSource};
pub use maker::{MakerChain, NotTheMakers};
pub use stored::{CertificateError, StoredCertificate, SubjectKey};
pub use template::{CertificateInvalid, CertificateTemplate, Subject};
