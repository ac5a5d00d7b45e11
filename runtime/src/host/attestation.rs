//! `countersign:device/attestation`: evidence of the device's state for a guest that was asked for it. Decides that an
//! attestation key is for this device, who may have evidence, and what it says; what evidence is worth is for whoever
//! asked.
//!
//! The host itself asks by [`Device::evidence`]; what it gets names no component, so that no component gets the same.
//!
//! A component asks for evidence as for a key: a key grant by the name under which the device lends its attestation, with
//! the context `evidence`. Quota, queue and records are those of signatures.

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use countersign_format::{
    AttestationHardware, ComponentClaim, Digest, EvidenceClaims, EvidenceDocument, EvidenceKind,
    EvidenceNonce, EvidenceProof, RuntimeClaim, SoftwareProof, evidence_challenge,
    evidence_to_be_signed,
};
use countersign_keys::{Challenge, ErrorKind, KeyProvider, KeyUri, PublicKey, SigningKey};
use countersign_trust_store::{Certificate, Fault};
use wasmtime::component::{HasData, Linker};

use super::device::Device;
use super::queue::{NoAnswer, Wanted};
use super::record::SigningOutcome;
use super::session::{Session, SignError};
use bindings::countersign::device::attestation as wit;

mod bindings {
    wasmtime::component::bindgen!({
        path: "../wit",
        world: "countersign:device/attester",
        imports: {
            "countersign:device/attestation.evidence": async | trappable,
            default: trappable,
        },
    });
}

/// The context in which a component must have been granted the attestation's name.
pub const CONTEXT: &str = "evidence";

/// Goes before what a key signs to show that it is here. No other message of ours, no certificate and no request begins so: those
/// are arrays of CBOR, or DER.
const POSSESSION: &[u8] = b"countersign possession v1\0";

/// Whose turn it is when the host asks: no component has this name.
const HOST: &str = "";

/// What vouches for the evidence.
enum Source {
    /// A TPM, for the present values of its registers.
    Boot {
        provider: Box<dyn KeyProvider>,
        key: KeyUri,
        registers: Vec<u8>,
    },
    /// A TPM or a secure element, for one of its keys.
    Key {
        provider: Box<dyn KeyProvider>,
        key: KeyUri,
        kind: EvidenceKind,
    },
    /// Nothing but a key.
    Software(SigningKey),
}

/// How a device answers when it is asked for evidence.
pub struct LentAttestation {
    source: Source,
    chain: Vec<Vec<u8>>,
    runtime: RuntimeClaim,
    configuration: Option<Digest>,
    pub(super) store: String,
}

impl LentAttestation {
    /// By the values of these registers, signed by the attestation key in a TPM. `chain` is that key's: DER, its own
    /// certificate first, without the root. `runtime` is this program, as it describes itself.
    #[must_use]
    pub fn of_boot(
        provider: Box<dyn KeyProvider>,
        key: KeyUri,
        registers: Vec<u8>,
        chain: Vec<Vec<u8>>,
        runtime: RuntimeClaim,
    ) -> Self {
        let source = Source::Boot {
            provider,
            key,
            registers,
        };
        Self::new(source, chain, runtime)
    }

    /// By what a TPM or an ATECC608 says of one of its keys. `chain` is that of its attestation key. Nothing if the store
    /// is of another kind: none other can vouch for a key.
    #[must_use]
    pub fn of_key(
        provider: Box<dyn KeyProvider>,
        key: KeyUri,
        chain: Vec<Vec<u8>>,
        runtime: RuntimeClaim,
    ) -> Option<Self> {
        let kind = match key {
            KeyUri::Tpm(_) => EvidenceKind::TpmKey,
            KeyUri::Atecc608(_) => EvidenceKind::Atecc608Key,
            _ => return None,
        };
        let source = Source::Key {
            provider,
            key,
            kind,
        };
        Some(Self::new(source, chain, runtime))
    }

    /// By a signature alone, which says that no hardware vouches for it.
    #[must_use]
    pub fn in_software(key: SigningKey, chain: Vec<Vec<u8>>, runtime: RuntimeClaim) -> Self {
        Self::new(Source::Software(key), chain, runtime)
    }

    fn new(source: Source, chain: Vec<Vec<u8>>, runtime: RuntimeClaim) -> Self {
        Self {
            source,
            chain,
            runtime,
            configuration: None,
            store: String::new(),
        }
    }

    /// Says also what this program was configured with: SHA-256 of its configuration.
    #[must_use]
    pub const fn configured(mut self, digest: Digest) -> Self {
        self.configuration = Some(digest);
        self
    }

    /// The store that answers, in the words of [`LentKey::in_store`](super::LentKey::in_store), so that both wait in one
    /// queue.
    #[must_use]
    pub fn in_store(mut self, store: impl Into<String>) -> Self {
        self.store = store.into();
        self
    }

    /// The attestation key's certificate.
    pub(super) fn leaf(&self) -> Option<&[u8]> {
        self.chain.first().map(Vec::as_slice)
    }

    /// The key that answers, if it is known before it is asked.
    pub(super) fn known_key(&self) -> Option<&PublicKey> {
        match &self.source {
            Source::Software(key) => Some(key.public_key()),
            Source::Boot { .. } | Source::Key { .. } => None,
        }
    }

    /// The hardware that vouches, as the attestation key's certificate must name it.
    pub(super) const fn hardware(&self) -> Option<AttestationHardware> {
        self.kind().hardware()
    }

    const fn kind(&self) -> EvidenceKind {
        match &self.source {
            Source::Boot { .. } => EvidenceKind::TpmQuote,
            Source::Key { kind, .. } => *kind,
            Source::Software(_) => EvidenceKind::Software,
        }
    }

    /// What this device says of itself now, to a component or to its own host, and what the hardware was asked to sign. Blocks.
    fn evidence(
        &self,
        device: &Device,
        nonce: EvidenceNonce,
        component: Option<ComponentClaim>,
    ) -> Result<(EvidenceDocument, Digest), EvidenceError> {
        let failed = |error: &dyn fmt::Display| EvidenceError::Hardware(error.to_string());
        let mut claims = EvidenceClaims::new(
            self.kind(),
            nonce,
            device.identity().clone(),
            device.boot(),
            self.runtime.clone(),
        );
        if let Some(component) = component {
            claims = claims.for_component(component);
        }
        if let Some(digest) = self.configuration {
            claims = claims.with_configuration(digest);
        }
        let challenge = evidence_challenge(&claims);
        let proof = self.prove(&claims).map_err(|error| match error.kind() {
            ErrorKind::Busy => EvidenceError::Busy(error.to_string()),
            _ => failed(&error),
        })?;
        let document = EvidenceDocument::new(claims, self.chain.clone(), proof)
            .map_err(|error| failed(&error))?;
        Ok((document, challenge))
    }

    /// Has these claims vouched for. Blocks.
    fn prove(&self, claims: &EvidenceClaims) -> Result<EvidenceProof, countersign_keys::Error> {
        let challenge = Challenge::new(*evidence_challenge(claims).as_bytes());
        let evidence = match &self.source {
            Source::Boot {
                provider,
                key,
                registers,
            } => provider.state(key, registers, &challenge)?,
            Source::Key { provider, key, .. } => provider.attest(key, &challenge)?,
            Source::Software(key) => {
                let algorithm = key.algorithm();
                let message = evidence_to_be_signed(algorithm, &self.chain, claims);
                return Ok(EvidenceProof::Software(SoftwareProof {
                    algorithm,
                    signature: *key.sign(&message)?.as_bytes(),
                }));
            }
        };
        let certified = self.leaf().map(key_of);
        if !matches!(&certified, Some(Ok(key)) if key == evidence.attestation_key()) {
            return Err(countersign_keys::Error::new(
                ErrorKind::Device,
                "another attestation key answered than the certificate is for: the chip was cleared or exchanged; \
                 provision this device again",
            ));
        }
        evidence.to_proof(&challenge)
    }
}

fn key_of(leaf: &[u8]) -> Result<PublicKey, Fault> {
    Certificate::parse(leaf)?.public_key()
}

impl fmt::Debug for LentAttestation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LentAttestation")
            .field("kind", &self.kind())
            .field("store", &self.store)
            .finish_non_exhaustive()
    }
}

/// Why a device gives its own host no evidence.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EvidenceError {
    /// Too many waiting, or the device did not come to it in time.
    #[error("the device has too much to do: {0}; try again later")]
    Busy(String),
    /// The key store failed; what it said.
    #[error("the device gives no evidence: {0}")]
    Hardware(String),
    /// The device lends no attestation.
    #[error("the device has no key for attestation; give it one")]
    NoAttestation,
    /// Nothing is lent under that name.
    #[error("no key of that name is lent; name one that is")]
    NotLent,
}

impl Device {
    /// Evidence of the device's state for the host itself: no component is named in it. It is made in the host's turn, as if the
    /// host were one more component. No record is made of it; that is the host's affair.
    ///
    /// # Errors
    /// [`EvidenceError`].
    pub async fn evidence(&self, nonce: EvidenceNonce) -> Result<Vec<u8>, EvidenceError> {
        let (_, lent) = self.attestation().ok_or(EvidenceError::NoAttestation)?;
        let queue = self
            .queue(&lent.store)
            .ok_or(EvidenceError::NoAttestation)?;
        let (device, lent) = (self.clone(), Arc::clone(lent));
        let work = move |wanted: &Wanted| {
            let (document, _) = lent.evidence(&device, nonce, None)?;
            if wanted.keep() {
                return Ok(document.encode());
            }
            Err(EvidenceError::Busy(
                "nobody waits for it any more".to_owned(),
            ))
        };
        answered(queue.ask(HOST, self.deadline(), work).await)
    }

    /// Has what is lent under this name, a key or the device's attestation, sign something that `challenge` makes new, and checks
    /// that: whether the key is here, and not its certificate alone. What is signed means nothing to anybody else.
    ///
    /// # Errors
    /// [`EvidenceError`] if it does not sign.
    pub async fn shows(&self, name: &str, challenge: [u8; 32]) -> Result<(), EvidenceError> {
        let Some(lent) = self.key_shared(name) else {
            let nonce = EvidenceNonce::new(&challenge);
            let nonce = nonce.map_err(|error| EvidenceError::Hardware(error.to_string()))?;
            return match self.attestation() {
                Some((attestation, _)) if attestation == name => {
                    self.evidence(nonce).await.map(|_| ())
                }
                _ => Err(EvidenceError::NotLent),
            };
        };
        let queue = self.queue(&lent.store).ok_or(EvidenceError::NotLent)?;
        let message = [POSSESSION, &challenge].concat();
        // A signature is verified under the public key before it is given.
        let work = move |_: &Wanted| match lent.key.sign(&message) {
            Ok(_) => Ok(()),
            Err(error) if error.kind() == ErrorKind::Busy => {
                Err(EvidenceError::Busy(error.to_string()))
            }
            Err(error) => Err(EvidenceError::Hardware(error.to_string())),
        };
        answered(queue.ask(HOST, self.deadline(), work).await)
    }
}

fn answered<T>(answer: Result<Result<T, EvidenceError>, NoAnswer>) -> Result<T, EvidenceError> {
    match answer {
        Ok(made) => made,
        Err(NoAnswer::Failed) => Err(EvidenceError::Hardware("it panicked".to_owned())),
        Err(NoAnswer::Full) => Err(EvidenceError::Busy(
            "too many of its wishes wait".to_owned(),
        )),
        Err(NoAnswer::Late) => Err(EvidenceError::Busy(
            "the store did not come to it in time".to_owned(),
        )),
    }
}

/// What the interface needs of a host's data.
#[derive(Debug)]
pub struct AttestationView<'a> {
    /// What this guest has of the device. `None`: nothing, evidence is not granted.
    pub session: Option<&'a Session>,
}

/// Selects [`AttestationView`] of a host's data.
#[derive(Debug)]
pub struct HasAttestation;

impl HasData for HasAttestation {
    type Data<'a> = AttestationView<'a>;
}

/// Adds `countersign:device/attestation@0.1.0` to a linker.
///
/// # Errors
/// What Wasmtime says if the linker has it already.
pub fn add_to_linker<T: Send + 'static>(
    linker: &mut Linker<T>,
    view: fn(&mut T) -> AttestationView<'_>,
) -> wasmtime::Result<()> {
    wit::add_to_linker::<T, HasAttestation>(linker, view)
}

impl wit::Host for AttestationView<'_> {
    async fn evidence(&mut self, nonce: Vec<u8>) -> wasmtime::Result<Result<Vec<u8>, wit::Error>> {
        let Some(session) = self.session else {
            return Ok(Err(wit::Error::NotGranted));
        };
        let Ok(nonce) = EvidenceNonce::new(&nonce) else {
            return Ok(Err(wit::Error::NonceInvalid));
        };
        Ok(evidence(session, nonce).await.map_err(Into::into))
    }
}

impl From<SignError> for wit::Error {
    fn from(error: SignError) -> Self {
        match error {
            SignError::Busy => Self::Busy,
            SignError::QuotaExceeded(retry_after) => {
                // Up, so that who waits this long gets one.
                let millis = retry_after.as_millis().saturating_add(1);
                Self::QuotaExceeded(u64::try_from(millis).unwrap_or(u64::MAX))
            }
            SignError::NotGranted | SignError::UnknownKey => Self::NotGranted,
            SignError::ContextInvalid | SignError::HardwareFailure | SignError::MessageTooLarge => {
                Self::HardwareFailure
            }
        }
    }
}

/// Evidence for a component, on a thread of the attestation's store, in the component's turn.
async fn evidence(session: &Session, nonce: EvidenceNonce) -> Result<Vec<u8>, SignError> {
    let device = session.device();
    let Some((name, lent)) = device.attestation() else {
        session.record_denial("", CONTEXT);
        return Err(SignError::NotGranted);
    };
    let granted = session
        .keys()
        .iter()
        .find(|key| key.name == name && key.contexts.iter().any(|context| context == CONTEXT));
    let Some(granted) = granted else {
        session.record_denial(name, CONTEXT);
        return Err(SignError::NotGranted);
    };
    let component = session.component.name.as_str();
    device
        .quotas()
        .take(component, name, granted.per_minute, Instant::now())
        .map_err(|exhausted| {
            if exhausted.first {
                let outcome = SigningOutcome::QuotaExceeded;
                session.record(name, CONTEXT, None, outcome).ok();
            }
            SignError::QuotaExceeded(exhausted.retry_after)
        })?;
    let queue = device.queue(&lent.store).ok_or(SignError::UnknownKey)?;
    let (mine, lent) = (session.clone(), Arc::clone(lent));
    let work = move |wanted: &Wanted| answer(&mine, &lent, nonce, wanted);
    let failed = match queue.ask(component, device.deadline(), work).await {
        Ok(Ok(bytes)) => return Ok(bytes),
        Ok(Err(outcome)) => outcome,
        Err(NoAnswer::Failed) => SigningOutcome::HardwareFailure("it panicked".to_owned()),
        Err(NoAnswer::Full) => SigningOutcome::Busy("too many of its wishes wait".to_owned()),
        Err(NoAnswer::Late) => {
            SigningOutcome::Busy("the store did not come to it in time".to_owned())
        }
    };
    let told = match failed {
        SigningOutcome::Busy(_) => SignError::Busy,
        _ => SignError::HardwareFailure,
    };
    session.record(name, CONTEXT, None, failed).ok();
    Err(told)
}

/// Makes the evidence, on a thread of the store. None leaves without its record, and what comes too late is thrown away
/// without one.
fn answer(
    session: &Session,
    lent: &LentAttestation,
    nonce: EvidenceNonce,
    wanted: &Wanted,
) -> Result<Vec<u8>, SigningOutcome> {
    let failed = |error: &dyn fmt::Display| SigningOutcome::HardwareFailure(error.to_string());
    let (device, asker) = (session.device(), &session.component);
    let sequence = device.next_sequence();
    let component = ComponentClaim::new(asker.name.clone(), asker.digest, asker.signers.clone())
        .map_err(|error| failed(&error))?;
    let made = lent.evidence(device, nonce, Some(component));
    let (document, challenge) = made.map_err(|error| match error {
        EvidenceError::Busy(reason) => SigningOutcome::Busy(reason),
        EvidenceError::Hardware(reason) => SigningOutcome::HardwareFailure(reason),
        EvidenceError::NoAttestation | EvidenceError::NotLent => failed(&error),
    })?;
    let bytes = document.encode();
    if !wanted.keep() {
        return Err(SigningOutcome::Busy(
            "nobody waits for it any more".to_owned(),
        ));
    }
    let name = device.attestation().map_or("", |(name, _)| name);
    session
        .record(
            name,
            CONTEXT,
            Some(challenge),
            SigningOutcome::Attested(sequence),
        )
        .map_err(|error| {
            failed(&format!(
                "its record could not be kept, so the evidence was thrown away: {error}"
            ))
        })?;
    Ok(bytes)
}
