//! Whose an ATECC608 is: the certificates that its maker put into it, judged under the roots that the operator names.
//!
//! The chip holds its chain compressed: of each certificate the signature, the dates and the kind. What is the same in all of a
//! kind comes from examples in the operator's folder: the certificates of any one chip of that kind (Trust&GO, TrustFLEX).
//!
//! Decided here: which files of the folder are roots, signers and chips, and where preconfigured chips have what (slots 0, 5 and
//! 10 to 12). That a chain leads to the root for this chip's serial number and key, and that the chip has that key, is decided by
//! [`MakerChain`].

use std::path::Path;

use der::{Decode as _, Encode as _};
use p256::ecdsa::Signature;
use x509_cert::Certificate;

use countersign_backend_atecc608::{
    Atecc608, CertificateInvalid, CertificateTemplate, CompressedCertificate, Kind, MakerChain,
    NotTheMakers, Serial, Slot, StoredCertificate, SubjectKey,
};
use countersign_keys::{Challenge, PublicKey};
use embedded_hal::delay::DelayNs;
use embedded_hal::i2c::I2c;

use super::super::chip::failed;
use super::MakerFolder;
use crate::Error;

/// Where preconfigured chips have the key that the maker certified, the hardware address that their certificates may name, the
/// chip's certificate, the key of who signed it, and that one's certificate.
const KEY: u8 = 0;
const ADDRESS: u8 = 5;
const DEVICE: u8 = 10;
const SIGNER_KEY: u8 = 11;
const SIGNER: u8 = 12;

/// What stands in a chip's subject before its serial number, and somewhere in its certificate before its hardware address, which
/// has twelve digits.
const SERIAL_PREFIX: &str = "sn";
const ADDRESS_PREFIX: &[u8] = b"eui48_";
const ADDRESS_DIGITS: usize = 12;

/// The makers whose chips are taken.
#[derive(Debug)]
pub struct ChipMakers {
    examples: Vec<Example>,
}

/// The chain of one chip, after which those of its kind are made again.
#[derive(Debug)]
struct Example {
    root: PublicKey,
    signer: Vec<u8>,
    signer_key: PublicKey,
    device: Vec<u8>,
    chip: Serial,
    /// The hardware address in its certificate, if it names one.
    address: Option<Vec<u8>>,
    /// The last four digits of the signer's name.
    number: Option<u16>,
}

impl ChipMakers {
    /// The certificates in the files of a folder, PEM: a root, and for each kind of chip the two certificates of any one chip, its
    /// signer's and its own.
    ///
    /// # Errors
    /// [`Error::Refused`] for a folder or file that others may write to, for what is no certificate, without a root, and without
    /// the chain of a chip that leads to one.
    pub fn read(folder: &Path) -> Result<Self, Error> {
        let found = MakerFolder::read(folder)?;
        let below: Vec<Found> = found
            .below
            .iter()
            .filter_map(|der| Found::of(der))
            .collect();
        let mut examples = Vec::new();
        for root in found.roots.iter().filter_map(|der| Found::of(der)) {
            if !root.is_signed_by(&root.key) {
                continue;
            }
            for signer in below.iter().filter(|found| found.is_signed_by(&root.key)) {
                for device in below.iter().filter(|found| found.is_signed_by(&signer.key)) {
                    examples.extend(Example::of(&root, signer, device));
                }
            }
        }
        if examples.is_empty() {
            return Err(Error::refused(format!(
                "{} has no chain of a chip that leads to a root: put the certificates of one chip of each kind there, PEM, its \
                 signer's and its own (subject sn…), as its maker's tools show them",
                folder.display()
            )));
        }
        Ok(Self { examples })
    }

    /// Whether the maker has something in this slot that a chip is judged by.
    #[must_use]
    pub(crate) fn uses(slot: Slot) -> bool {
        [ADDRESS, DEVICE, SIGNER_KEY, SIGNER].contains(&slot.number())
    }

    /// Judges a chip: its chain, and whether it has the certified key.
    ///
    /// # Errors
    /// [`Error::Attestation`] for one that none of these makers vouches for; [`Error::Keys`] when it cannot be asked.
    pub(crate) fn judge<I: I2c, D: DelayNs>(
        &self,
        chip: &mut Atecc608<I, D>,
        challenge: &Challenge,
    ) -> Result<(), Error> {
        let mut verdict = NotTheMakers::Chain(CertificateInvalid::Form);
        for example in &self.examples {
            let outcome = example
                .chain(chip)
                .and_then(|chain| chain.inspect(chip, challenge));
            match outcome {
                Ok(()) => return Ok(()),
                Err(NotTheMakers::Chip(error)) => return Err(failed(error)),
                // The chain holds, so no other example's will.
                Err(error @ NotTheMakers::Possession) => {
                    verdict = error;
                    break;
                }
                Err(error) => verdict = error,
            }
        }
        Err(Error::attestation(format!(
            "no known maker vouches for the chip: {verdict}; set it aside, or add its maker's certificates to the folder"
        )))
    }
}

impl Example {
    /// The example of these three; none if the last is no chip's.
    fn of(root: &Found, signer: &Found, device: &Found) -> Option<Self> {
        let names = device.names();
        let digits = names
            .iter()
            .find_map(|name| name.strip_prefix(SERIAL_PREFIX))?;
        let mut chip = [0; 9];
        hex::decode_to_slice(digits, &mut chip).ok()?;
        let length = ADDRESS_PREFIX.len().saturating_add(ADDRESS_DIGITS);
        let address = device
            .der
            .windows(length)
            .find_map(|window| window.strip_prefix(ADDRESS_PREFIX));
        let number = signer.names().pop().and_then(|name| {
            let digits = name.get(name.len().checked_sub(4)?..)?;
            u16::from_str_radix(digits, 16).ok()
        });
        Some(Self {
            root: root.key.clone(),
            signer: signer.der.clone(),
            signer_key: signer.key.clone(),
            device: device.der.clone(),
            chip: Serial(chip),
            address: address.map(<[u8]>::to_vec),
            number,
        })
    }

    /// Where this chip has its chain, after this example. The numbers of the kinds are the chip's own word: they choose no key.
    fn chain<I: I2c, D: DelayNs>(
        &self,
        chip: &mut Atecc608<I, D>,
    ) -> Result<MakerChain, NotTheMakers> {
        let template = |der: &[u8], kind: Kind, issuer: &PublicKey| {
            let kind = Kind {
                signer: self.number.unwrap_or(kind.signer),
                ..kind
            };
            CertificateTemplate::of_example(der, self.chip, kind, issuer)
        };
        let signer = template(&self.signer, kind_in(chip, SIGNER)?, &self.root)
            .map_err(NotTheMakers::Chain)?;
        let mut device = template(&self.device, kind_in(chip, DEVICE)?, &self.signer_key)
            .map_err(NotTheMakers::Chain)?;
        let mut elements = Vec::new();
        if let Some(address) = &self.address {
            device = device.with_element(address).map_err(NotTheMakers::Chain)?;
            elements.push((slot(ADDRESS)?, 0));
        }
        Ok(MakerChain {
            root: self.root.clone(),
            signer: StoredCertificate {
                slot: slot(SIGNER)?,
                key: SubjectKey::Stored(slot(SIGNER_KEY)?),
                template: signer,
                elements: Vec::new(),
            },
            device: StoredCertificate {
                slot: slot(DEVICE)?,
                key: SubjectKey::Own(slot(KEY)?),
                template: device,
                elements,
            },
        })
    }
}

fn slot(number: u8) -> Result<Slot, NotTheMakers> {
    Slot::new(number).ok_or(NotTheMakers::Place)
}

/// The kind of the certificate in a slot.
fn kind_in<I: I2c, D: DelayNs>(
    chip: &mut Atecc608<I, D>,
    number: u8,
) -> Result<Kind, NotTheMakers> {
    let mut bytes = [0; 72];
    chip.read_slot(slot(number)?, &mut bytes)
        .map_err(NotTheMakers::Chip)?;
    let compressed = CompressedCertificate::of_bytes(bytes).map_err(NotTheMakers::Chain)?;
    Ok(compressed.kind())
}

/// A certificate of the folder, with a key on P-256.
struct Found {
    der: Vec<u8>,
    parsed: Certificate,
    key: PublicKey,
}

impl Found {
    fn of(der: &[u8]) -> Option<Self> {
        let parsed = Certificate::from_der(der).ok()?;
        let spki = parsed.tbs_certificate().subject_public_key_info();
        let key = PublicKey::from_spki_der(&spki.to_der().ok()?).ok()?;
        Some(Self {
            der: der.to_vec(),
            parsed,
            key,
        })
    }

    /// Whether its signature, by ECDSA with SHA-256, verifies under this key.
    fn is_signed_by(&self, key: &PublicKey) -> bool {
        let signed = || {
            let message = self.parsed.tbs_certificate().to_der().ok()?;
            // X.509 signatures have either of the two possible s.
            let signature = Signature::from_der(self.parsed.signature().as_bytes()?).ok()?;
            key.verify(&message, &signature.normalize_s().to_bytes())
                .ok()
        };
        signed().is_some()
    }

    /// The texts of its subject, in their order.
    fn names(&self) -> Vec<String> {
        self.parsed
            .tbs_certificate()
            .subject()
            .iter()
            .filter_map(|part| {
                std::str::from_utf8(part.value.value())
                    .ok()
                    .map(str::to_owned)
            })
            .collect()
    }
}
