//! What an attestation says: an Entity Attestation Token's claims (RFC 9711), in deterministic CBOR.
//!
//! All of them are the host's own words. What hardware adds is that these words were said by the device whose key
//! signed, in answer to this nonce; a host that lies says something untrue, signed.

use crate::cbor::{MapWriter, Reader, Writer, length, within};
use crate::guest_data::{
    CLAIM_COMPONENT, CLAIM_COMPONENT_DIGEST, CLAIM_DEVICE, CLAIM_SIGNERS, digest,
};
use crate::text::check_label;
use crate::{BootId, ComponentName, DeviceIdentity, Digest, FormatError, limits, oid};

use super::EvidenceKind;

/// RFC 8392 §3.1.6: when it was said.
const CLAIM_ISSUED_AT: i64 = 6;
/// RFC 9711 §4.1.
const CLAIM_NONCE: i64 = 10;
/// RFC 9711 §4.3.2: what an attestation of ours is, by an object identifier.
const CLAIM_PROFILE: i64 = 265;
/// RFC 9711 §4.2.12: differs at each start.
const CLAIM_BOOT_SEED: i64 = 268;
/// RFC 9711 §4.2.6, §4.2.7: the program that says all this.
const CLAIM_SOFTWARE_NAME: i64 = 270;
const CLAIM_SOFTWARE_VERSION: i64 = 271;
/// Private claims, beside those of guest data.
const CLAIM_RUNTIME_DIGEST: i64 = -65_542;
const CLAIM_CONFIGURATION_DIGEST: i64 = -65_543;
const CLAIM_KIND: i64 = -65_544;

/// Fresh bytes of whoever asks, 8 to 64 of them (RFC 9711 §4.1), so that an old attestation does not answer.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct EvidenceNonce(Vec<u8>);

impl EvidenceNonce {
    /// The nonce with these bytes.
    ///
    /// # Errors
    /// [`FormatError::Malformed`] for less than 8 bytes, [`FormatError::LimitExceeded`] for more than 64.
    pub fn new(bytes: &[u8]) -> Result<Self, FormatError> {
        let count = length(bytes.len());
        within("nonce", limits::MAX_EVIDENCE_NONCE_BYTES, count)?;
        if count < limits::MIN_EVIDENCE_NONCE_BYTES {
            return Err(FormatError::Malformed {
                what: "a nonce of less than 8 bytes, which could be guessed",
                offset: 0,
            });
        }
        Ok(Self(bytes.to_vec()))
    }

    /// Its bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// The program that answers, as it describes itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuntimeClaim {
    name: String,
    version: String,
    digest: Option<Digest>,
}

impl RuntimeClaim {
    /// The program's name and version, and the SHA-256 of its file where it can tell.
    ///
    /// # Errors
    /// [`FormatError::Text`] and [`FormatError::LimitExceeded`] unless both are 1 to 64 characters of
    /// `A-Z a-z 0-9 . _ : + / -`, the first a letter or digit.
    pub fn new(name: &str, version: &str, digest: Option<Digest>) -> Result<Self, FormatError> {
        check_label("name of the runtime", name)?;
        check_label("version of the runtime", version)?;
        Ok(Self {
            name: name.to_owned(),
            version: version.to_owned(),
            digest,
        })
    }

    /// Its name, such as `countersign-gateway`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its version.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.version
    }

    /// SHA-256 of the running program's file, if it could be read. Only a measured boot shows that it is true.
    #[must_use]
    pub const fn digest(&self) -> Option<Digest> {
        self.digest
    }
}

/// The component that asked its host for an attestation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ComponentClaim {
    name: ComponentName,
    digest: Digest,
    signers: Vec<Digest>,
}

impl ComponentClaim {
    /// A component: its name, the SHA-256 of P, and the SHA-256 of the SubjectPublicKeyInfo of each of its signers in the
    /// order of its statement.
    ///
    /// # Errors
    /// [`FormatError::LimitExceeded`] or [`FormatError::Malformed`] unless there are 1 to 4 signers.
    pub fn new(
        name: ComponentName,
        digest: Digest,
        signers: Vec<Digest>,
    ) -> Result<Self, FormatError> {
        within(
            "number of signers",
            limits::MAX_SIGNERS,
            length(signers.len()),
        )?;
        if signers.is_empty() {
            return Err(FormatError::Malformed {
                what: "the claims name no signer of the component",
                offset: 0,
            });
        }
        Ok(Self {
            name,
            digest,
            signers,
        })
    }

    /// The component's name in its statement.
    #[must_use]
    pub const fn name(&self) -> &ComponentName {
        &self.name
    }

    /// SHA-256 of the component P.
    #[must_use]
    pub const fn digest(&self) -> Digest {
        self.digest
    }

    /// SHA-256 of the SubjectPublicKeyInfo of each signer of the component.
    #[must_use]
    pub fn signers(&self) -> &[Digest] {
        &self.signers
    }
}

/// What an attestation says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EvidenceClaims {
    kind: EvidenceKind,
    nonce: EvidenceNonce,
    device: DeviceIdentity,
    boot: BootId,
    runtime: RuntimeClaim,
    component: Option<ComponentClaim>,
    configuration: Option<Digest>,
    issued_at: Option<u64>,
}

impl EvidenceClaims {
    /// What is always said. `kind` is said too, so that nothing in hardware can be passed off as something else in it, nor
    /// as software.
    #[must_use]
    pub const fn new(
        kind: EvidenceKind,
        nonce: EvidenceNonce,
        device: DeviceIdentity,
        boot: BootId,
        runtime: RuntimeClaim,
    ) -> Self {
        Self {
            kind,
            nonce,
            device,
            boot,
            runtime,
            component: None,
            configuration: None,
            issued_at: None,
        }
    }

    /// Says also which component asked.
    #[must_use]
    pub fn for_component(mut self, component: ComponentClaim) -> Self {
        self.component = Some(component);
        self
    }

    /// Says also what the program was configured with: the SHA-256 of its configuration.
    #[must_use]
    pub const fn with_configuration(mut self, digest: Digest) -> Self {
        self.configuration = Some(digest);
        self
    }

    /// Says also what time the device has, in seconds since 1970.
    ///
    /// # Errors
    /// [`FormatError::LimitExceeded`] after the year 9999.
    pub fn at(mut self, seconds: u64) -> Result<Self, FormatError> {
        within("time", limits::MAX_UNIX_SECONDS, seconds)?;
        self.issued_at = Some(seconds);
        Ok(self)
    }

    /// What vouches for the claims.
    #[must_use]
    pub const fn kind(&self) -> EvidenceKind {
        self.kind
    }

    /// What was asked with.
    #[must_use]
    pub const fn nonce(&self) -> &EvidenceNonce {
        &self.nonce
    }

    /// The device that answers.
    #[must_use]
    pub const fn device(&self) -> &DeviceIdentity {
        &self.device
    }

    /// The run of the host; of a tool that runs once, this answer.
    #[must_use]
    pub const fn boot(&self) -> BootId {
        self.boot
    }

    /// The program that answers.
    #[must_use]
    pub const fn runtime(&self) -> &RuntimeClaim {
        &self.runtime
    }

    /// The component that asked; none if the host or a person did.
    #[must_use]
    pub const fn component(&self) -> Option<&ComponentClaim> {
        self.component.as_ref()
    }

    /// SHA-256 of what the program was configured with, if it says.
    #[must_use]
    pub const fn configuration(&self) -> Option<Digest> {
        self.configuration
    }

    /// The device's own time, in seconds since 1970, if it says.
    #[must_use]
    pub const fn issued_at(&self) -> Option<u64> {
        self.issued_at
    }

    /// The one encoding.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut map = MapWriter::default();
        map.label(CLAIM_DEVICE, |writer| writer.text(self.device.as_str()));
        if let Some(component) = &self.component {
            map.label(CLAIM_COMPONENT, |writer| {
                writer.text(component.name.as_str());
            });
        }
        if let Some(seconds) = self.issued_at {
            map.label(CLAIM_ISSUED_AT, |writer| writer.unsigned(seconds));
        }
        map.label(CLAIM_NONCE, |writer| writer.bytes(self.nonce.as_bytes()));
        map.label(CLAIM_PROFILE, |writer| {
            writer.bytes(oid::EVIDENCE_PROFILE.as_bytes());
        });
        map.label(CLAIM_BOOT_SEED, |writer| writer.bytes(self.boot.as_bytes()));
        map.label(CLAIM_SOFTWARE_NAME, |writer| {
            writer.text(&self.runtime.name);
        });
        map.label(CLAIM_SOFTWARE_VERSION, |writer| {
            writer.array(1);
            writer.text(&self.runtime.version);
        });
        if let Some(component) = &self.component {
            map.label(CLAIM_COMPONENT_DIGEST, |writer| {
                writer.bytes(component.digest.as_bytes());
            });
            map.label(CLAIM_SIGNERS, |writer| write_signers(writer, component));
        }
        for (claim, value) in [
            (CLAIM_RUNTIME_DIGEST, self.runtime.digest),
            (CLAIM_CONFIGURATION_DIGEST, self.configuration),
        ] {
            if let Some(value) = value {
                map.label(claim, |writer| writer.bytes(value.as_bytes()));
            }
        }
        map.label(CLAIM_KIND, |writer| writer.unsigned(self.kind.number()));
        map.finish()
    }

    /// Reads claims that start at `base` in what the user gave.
    pub(super) fn decode(bytes: &[u8], base: u64) -> Result<Self, FormatError> {
        let mut reader = Reader::at(base, bytes);
        let mut read = Parts::default();
        let mut labels = reader.map("claims are a map", 32)?;
        while let Some(label) = labels.next_label(&mut reader)? {
            read.claim(label, &mut reader)?;
        }
        let missing = reader.malformed(
            "a claim is missing: device, nonce, profile, boot, software and kind are always there, and a component's \
             name, digest and signers only together",
        );
        reader.finish("bytes are left over after the claims")?;
        read.finish(missing)
    }
}

fn write_signers(writer: &mut Writer, component: &ComponentClaim) {
    writer.array(component.signers.len());
    for signer in &component.signers {
        writer.bytes(signer.as_bytes());
    }
}

/// Claims as far as they were read.
#[derive(Default)]
struct Parts<'b> {
    kind: Option<EvidenceKind>,
    nonce: Option<EvidenceNonce>,
    device: Option<DeviceIdentity>,
    profile: Option<()>,
    boot: Option<BootId>,
    software: Option<&'b str>,
    version: Option<&'b str>,
    digest: Option<Digest>,
    configuration: Option<Digest>,
    component: Option<ComponentName>,
    component_digest: Option<Digest>,
    signers: Option<Vec<Digest>>,
    issued_at: Option<u64>,
}

impl<'b> Parts<'b> {
    fn claim(&mut self, label: i64, reader: &mut Reader<'b>) -> Result<(), FormatError> {
        match label {
            CLAIM_DEVICE => {
                let text = reader.text("device identity", limits::MAX_TEXT_BYTES)?;
                self.device = Some(DeviceIdentity::parse(text)?);
            }
            CLAIM_COMPONENT => {
                let text = reader.text("component name", limits::MAX_COMPONENT_NAME_BYTES)?;
                self.component = Some(ComponentName::parse(text)?);
            }
            CLAIM_ISSUED_AT => self.issued_at = Some(reader.unsigned("time")?),
            CLAIM_NONCE => {
                let bytes = reader.bytes("nonce", limits::MAX_EVIDENCE_NONCE_BYTES)?;
                self.nonce = Some(EvidenceNonce::new(bytes)?);
            }
            CLAIM_PROFILE => {
                let profile = reader.bytes("profile", limits::MAX_TEXT_BYTES)?;
                if profile != oid::EVIDENCE_PROFILE.as_bytes() {
                    return Err(super::purpose("claims of another profile"));
                }
                self.profile = Some(());
            }
            CLAIM_BOOT_SEED => {
                let boot = reader.array_of("a boot is a byte string of 16 bytes")?;
                self.boot = Some(BootId::new(boot));
            }
            CLAIM_SOFTWARE_NAME => {
                self.software = Some(reader.text("name of the runtime", limits::MAX_TEXT_BYTES)?);
            }
            CLAIM_SOFTWARE_VERSION => {
                reader.tuple("a version is an array of one text", 1)?;
                self.version = Some(reader.text("version of the runtime", limits::MAX_TEXT_BYTES)?);
            }
            CLAIM_COMPONENT_DIGEST => self.component_digest = Some(digest(reader)?),
            CLAIM_SIGNERS => {
                self.signers = Some(reader.list("signers", limits::MAX_SIGNERS, false, digest)?);
            }
            CLAIM_RUNTIME_DIGEST => self.digest = Some(digest(reader)?),
            CLAIM_CONFIGURATION_DIGEST => self.configuration = Some(digest(reader)?),
            CLAIM_KIND => self.kind = Some(EvidenceKind::read(reader)?),
            _ => return Err(reader.malformed("a claim that the format does not have")),
        }
        Ok(())
    }

    fn finish(self, missing: FormatError) -> Result<EvidenceClaims, FormatError> {
        let (
            Some(kind),
            Some(nonce),
            Some(device),
            Some(()),
            Some(boot),
            Some(name),
            Some(version),
        ) = (
            self.kind,
            self.nonce,
            self.device,
            self.profile,
            self.boot,
            self.software,
            self.version,
        )
        else {
            return Err(missing);
        };
        let runtime = RuntimeClaim::new(name, version, self.digest)?;
        let mut claims = EvidenceClaims::new(kind, nonce, device, boot, runtime);
        match (self.component, self.component_digest, self.signers) {
            (None, None, None) => {}
            (Some(name), Some(digest), Some(signers)) => {
                claims.component = Some(ComponentClaim::new(name, digest, signers)?);
            }
            _ => return Err(missing),
        }
        claims.configuration = self.configuration;
        match self.issued_at {
            Some(seconds) => claims.at(seconds),
            None => Ok(claims),
        }
    }
}
