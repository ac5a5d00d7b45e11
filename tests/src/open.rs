//! A PKI taken apart: anything in it can be changed before everything is signed again.

use der::Encode;
use der::asn1::Any;

use crate::issuer_key::IssuerKey;
use crate::parts::{CertificateParts, CrlParts, assemble};
use crate::pki::TestPki;

/// The certificates and lists of a [`TestPki`] in their parts, each with the key that signs it.
#[derive(Clone, Debug)]
pub struct OpenPki {
    /// The device's first, then one authority above the other, the root last.
    pub certificates: Vec<OpenCertificate>,
    /// The lists, the root's first.
    pub lists: Vec<OpenList>,
}

/// A certificate, not signed yet.
#[derive(Clone, Debug)]
pub struct OpenCertificate {
    /// What is signed.
    pub parts: CertificateParts,
    /// The signature algorithm that is not signed; that of the parts if not said.
    pub outer_algorithm: Option<Any>,
    /// The key that the certificate is about.
    pub key: IssuerKey,
    /// The key that signs it.
    pub signer: IssuerKey,
}

/// A revocation list, not signed yet.
#[derive(Clone, Debug)]
pub struct OpenList {
    /// What is signed.
    pub parts: CrlParts,
    /// The signature algorithm that is not signed; that of the parts if not said.
    pub outer_algorithm: Option<Any>,
    /// The place of its issuer in [`OpenPki::certificates`].
    pub issuer: usize,
    /// The key that signs it.
    pub signer: IssuerKey,
}

/// What is handed to a verifier.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sealed {
    /// The root's certificate, DER.
    pub root: Vec<u8>,
    /// The certificates below it, the device's first.
    pub chain: Vec<Vec<u8>>,
    /// The lists.
    pub crls: Vec<Vec<u8>>,
}

impl OpenPki {
    /// Gives an authority a P-384 key: its certificate names it, and what it issued is signed with it.
    ///
    /// # Panics
    /// When the seed is no key.
    pub fn give_p384(&mut self, authority: usize, seed: &[u8; 32]) {
        let key = IssuerKey::p384(seed);
        let root = self.certificates.len().saturating_sub(1);
        for (place, certificate) in self.certificates.iter_mut().enumerate() {
            if place == authority {
                certificate.parts.subject_public_key_info = key.spki();
                certificate.key = key.clone();
            }
            let issuer = place.saturating_add(1).min(root);
            if issuer == authority {
                certificate.parts.signature = key.algorithm();
                certificate.signer = key.clone();
            }
        }
        for list in &mut self.lists {
            if list.issuer == authority {
                list.parts.signature = key.algorithm();
                list.signer = key.clone();
            }
        }
    }

    /// Signs everything as it now is.
    ///
    /// # Panics
    /// When a key fails.
    #[must_use]
    pub fn seal(&self) -> Sealed {
        let mut chain: Vec<Vec<u8>> = self
            .certificates
            .iter()
            .map(OpenCertificate::seal)
            .collect();
        let root = chain.pop().unwrap_or_default();
        let crls = self.lists.iter().map(OpenList::seal).collect();
        Sealed { root, chain, crls }
    }
}

impl OpenCertificate {
    /// Signs the certificate.
    ///
    /// # Panics
    /// When the key fails.
    #[must_use]
    pub fn seal(&self) -> Vec<u8> {
        let outer = self.outer_algorithm.as_ref();
        let algorithm = outer.unwrap_or(&self.parts.signature);
        signed(&self.parts, algorithm, &self.signer)
    }
}

impl OpenList {
    /// Signs the list.
    ///
    /// # Panics
    /// When the key fails.
    #[must_use]
    pub fn seal(&self) -> Vec<u8> {
        let outer = self.outer_algorithm.as_ref();
        let algorithm = outer.unwrap_or(&self.parts.signature);
        signed(&self.parts, algorithm, &self.signer)
    }
}

/// What is signed, the algorithm that is not, and the signature.
fn signed(parts: &impl Encode, algorithm: &Any, signer: &IssuerKey) -> Vec<u8> {
    let message = parts.to_der().expect("parts encode");
    assemble(&message, algorithm, &signer.sign(&message))
}

impl TestPki {
    /// Takes the PKI apart.
    ///
    /// # Panics
    /// When a certificate or list has not the fields of RFC 5280.
    #[must_use]
    pub fn open(&self) -> OpenPki {
        let authorities = self.issuer_keys();
        let count = self.chain().len();
        let authority = |place: usize| {
            // Authorities are counted from the root down, certificates from the device up.
            let from_root = count.saturating_sub(place);
            authorities
                .get(from_root)
                .expect("each authority has its key")
                .clone()
        };
        let ders = self.chain().iter().map(Vec::as_slice).chain([self.root()]);
        let certificates = ders
            .enumerate()
            .map(|(place, der)| OpenCertificate {
                parts: CertificateParts::of(der),
                outer_algorithm: None,
                key: match place {
                    0 => self.issuer_device_key(),
                    _ => authority(place),
                },
                signer: authority(place.saturating_add(1).min(count)),
            })
            .collect::<Vec<_>>();
        let lists = self
            .crls()
            .iter()
            .map(|der| {
                let parts = CrlParts::of(der);
                let issuer = certificates
                    .iter()
                    .rposition(|certificate| certificate.parts.subject == parts.issuer)
                    .expect("the issuer of each list is there");
                OpenList {
                    parts,
                    outer_algorithm: None,
                    issuer,
                    signer: authority(issuer),
                }
            })
            .collect();
        OpenPki {
            certificates,
            lists,
        }
    }

    /// This PKI with other certificates and lists. The keys stay.
    #[must_use]
    pub fn with(mut self, sealed: Sealed) -> Self {
        self.replace(sealed.root, sealed.chain, sealed.crls);
        self
    }
}
