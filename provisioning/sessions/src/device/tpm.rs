//! A TPM in the fixture.
//!
//! Decided here: that its attestation key is one that signs only what the TPM says and stays in it, that this key certified
//! the device's, that both live in the TPM of the endorsement key (where the station has a TPM of its own to ask with), and
//! that its firmware is not known to be broken; and, where the station was given makers' roots, that one of these vouches for
//! that endorsement key.

use countersign_backend_tpm::{DataIndex, TpmProvider};
use countersign_format::{AttestationHardware, EvidenceProof};
use countersign_keys::{
    Algorithm, Challenge, ErrorKind, KeyInfo, KeyProvider, KeyTemplate, KeyUri, KeyUsage,
    PublicKey, Tcti, TpmKey, TpmKeyName,
};
use countersign_trust_store::TpmKeyArea;
use countersign_trust_store::firmware::{self, BROKEN, BrokenFirmware, TpmMaker};
use std::sync::Arc;

use super::chip::no_room;
use super::makers::tpm::TpmMakers;
use super::open::is_a_chip;
use super::{Attested, Device, Hardware, Memory};
use crate::Error;

/// The name of the attestation key that is made where there is none.
const ATTESTATION_KEY: &str = "attestation";

/// A TPM.
pub struct Tpm {
    keys: Arc<TpmProvider>,
    tcti: Option<Tcti>,
    memory: Option<TpmMemory>,
    stations: Option<Arc<TpmProvider>>,
    makers: Option<Arc<TpmMakers>>,
    broken: Vec<BrokenFirmware>,
}

/// An NV index.
struct TpmMemory {
    keys: Arc<TpmProvider>,
    index: DataIndex,
}

impl Tpm {
    /// The TPM that is reached like this; the machine's own if nothing is said.
    ///
    /// # Errors
    /// As [`TpmProvider::open_tcti`].
    pub fn open(tcti: Option<Tcti>) -> Result<Self, Error> {
        let keys = TpmProvider::open_tcti(tcti.clone().unwrap_or_default())?;
        Ok(Self {
            keys: Arc::new(keys),
            tcti,
            memory: None,
            stations: None,
            makers: None,
            broken: BROKEN.to_vec(),
        })
    }

    /// The chain goes into this index. Without one, it goes beside the TPM only.
    #[must_use]
    pub fn with_chain_at(mut self, index: DataIndex) -> Self {
        self.memory = Some(TpmMemory {
            keys: Arc::clone(&self.keys),
            index,
        });
        self
    }

    /// A TPM of the station's own makes the credential that only the device's TPM can open: so its attestation key is
    /// known to live beside its endorsement key. The two must not be one.
    #[must_use]
    pub fn asked_by(mut self, stations: Arc<TpmProvider>) -> Self {
        self.stations = Some(stations);
        self
    }

    /// Takes a TPM only if one of these makers vouches for it. That takes a TPM of the station's own, too ([`Self::asked_by`]):
    /// without it, nothing says that the device's keys live in the TPM that the maker made.
    #[must_use]
    pub fn of_makers(mut self, makers: Arc<TpmMakers>) -> Self {
        self.makers = Some(makers);
        self
    }

    /// Another list of known defects than [`BROKEN`].
    #[must_use]
    pub fn with_known_defects(mut self, broken: Vec<BrokenFirmware>) -> Self {
        self.broken = broken;
        self
    }

    /// The first attestation key in the order of names, by which the store has keys certified; made if there is none.
    fn attestation_key(&self) -> Result<KeyUri, Error> {
        let first = self
            .keys
            .list()?
            .into_iter()
            .find(|key| key.usage == KeyUsage::Attestation);
        if let Some(key) = first {
            return Ok(key.uri);
        }
        let uri = KeyUri::Tpm(TpmKey::new(
            TpmKeyName::Name(ATTESTATION_KEY.to_owned()),
            self.tcti.clone(),
        ));
        let template = KeyTemplate::attestation(Algorithm::Esp256);
        match self.keys.generate(&uri, &template) {
            Ok(_) => Ok(uri),
            // Another session with this TPM made it meanwhile.
            Err(error) if error.kind() == ErrorKind::Exists => Ok(uri),
            Err(error) => Err(error.into()),
        }
    }

    /// The public area of a key, as the attestation key certified it; and that area's bytes.
    fn certified(
        &self,
        key: &KeyUri,
        challenge: &Challenge,
    ) -> Result<(TpmKeyArea, Vec<u8>, PublicKey), Error> {
        let evidence = self.keys.attest(key, challenge)?;
        let signer = evidence.attestation_key().clone();
        // Verifies the signature.
        let EvidenceProof::TpmKey(proof) = evidence.to_proof(challenge)? else {
            return Err(Error::attestation(
                "the TPM vouches in another way than TPMs do for keys; set it aside",
            ));
        };
        let area = TpmKeyArea::certified(&proof, challenge).map_err(Error::attestation)?;
        Ok((area, proof.public_area, signer))
    }

    /// Whether the attestation key lives in the TPM of the endorsement key: only that one opens the credential.
    fn lives_beside(
        &self,
        station: &TpmProvider,
        attestation_key: &KeyUri,
        area: &[u8],
    ) -> Result<(), Error> {
        let endorsement = self.keys.endorsement_key()?;
        let mut secret = [0; 32];
        getrandom::fill(&mut secret).map_err(|_| Error::refused(NO_RANDOM))?;
        let credential = station.make_credential(&endorsement.public_area, area, &secret)?;
        let opened = self
            .keys
            .activate_credential(attestation_key, &credential)
            .map_err(|error| {
                Error::attestation(format!(
                    "its attestation key does not live beside its endorsement key: {error}"
                ))
            })?;
        if opened.expose() == secret {
            return Ok(());
        }
        Err(Error::attestation(
            "the TPM opened the credential wrongly; set it aside",
        ))
    }
}

/// What is said when the system gives no random numbers.
const NO_RANDOM: &str = "the system gives no random numbers; look at the machine";

impl Device for Tpm {
    fn keys(&self) -> &dyn KeyProvider {
        self.keys.as_ref()
    }

    fn hardware(&self) -> Result<Option<Hardware>, Error> {
        let area = self.keys.endorsement_key()?.public_area;
        let digest = countersign_format::Digest::of(&area);
        Ok(Some(Hardware::new("tpm", &area, format!("EK {digest}"))))
    }

    fn attest(&self, key: &KeyInfo, challenge: &Challenge) -> Result<Attested, Error> {
        if let Some(makers) = &self.makers {
            if self.stations.is_none() {
                return Err(Error::refused(
                    "which maker's a TPM is says nothing of a device's keys before a TPM of the station has asked; name one",
                ));
            }
            let endorsement = self.keys.endorsement_key()?;
            makers.judge(&endorsement.public_area, endorsement.certificate.as_deref())?;
        }
        let (maker, version) = self.keys.firmware()?;
        firmware::inspect(TpmMaker(maker), version, &self.broken).map_err(Error::attestation)?;
        let attestation_key = self.attestation_key()?;
        let (vouching, vouching_area, _) = self.certified(&attestation_key, challenge)?;
        vouching.is_attestation_key().map_err(Error::attestation)?;
        let (area, _, signer) = self.certified(&key.uri, challenge)?;
        if signer != *vouching.key() {
            return Err(Error::attestation(
                "another key vouches than the TPM's attestation key; set it aside",
            ));
        }
        if *area.key() != key.public {
            return Err(Error::attestation(
                "the TPM vouches for another key than it shows; set it aside",
            ));
        }
        if let Some(station) = &self.stations {
            self.lives_beside(station, &attestation_key, &vouching_area)?;
        }
        Ok(Attested {
            // What a program that plays a TPM says is as sound as a chip's word, and vouches for nothing.
            by: is_a_chip(self.tcti.as_ref()).then_some(AttestationHardware::Tpm),
        })
    }

    fn memory(&self) -> Option<&dyn Memory> {
        let memory: &dyn Memory = self.memory.as_ref()?;
        Some(memory)
    }

    fn lock_serial(&self, _: &KeyUri) -> Result<Option<String>, Error> {
        Ok(None)
    }
}

impl Memory for TpmMemory {
    fn place(&self) -> String {
        format!("the TPM's index {}", self.index)
    }

    fn room(&self) -> usize {
        DataIndex::MAX_BYTES
    }

    fn write(&self, bytes: &[u8]) -> Result<(), Error> {
        if bytes.len() > self.room() {
            return Err(no_room(&self.place(), bytes.len(), self.room()));
        }
        Ok(self.keys.write_data(self.index, bytes)?)
    }

    fn read(&self) -> Result<Vec<u8>, Error> {
        Ok(self.keys.read_data(self.index)?)
    }
}
