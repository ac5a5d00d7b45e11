//! What one component has of a device: the keys and contexts that its statement asks for and the operator allows.

use std::sync::Arc;
use std::time::{Duration, Instant};

use countersign_format::{
    ComponentName, Digest, DigestWriter, FormatError, GuestClaims, GuestData, GuestPayload,
    Statement, guest_data_to_be_signed,
};
use countersign_keys::{ErrorKind, SigningKey};
use countersign_trust_store::VerifiedComponent;

use super::device::Device;
use super::queue::{self, NoAnswer, Wanted};
use super::record::{SigningOutcome, SigningRecord};
use tracing::field::Empty;
use tracing::{Instrument as _, info_span};

use crate::grants::Ceiling;

/// Signatures a minute if the operator says nothing: one a second.
const PER_MINUTE: u32 = 60;
/// Records a minute of what a component asked for and was not granted.
const DENIALS_PER_MINUTE: u32 = 60;

/// What the operator allows a component at most with one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyCeiling {
    contexts: Option<Vec<String>>,
    per_minute: u32,
}

impl Default for KeyCeiling {
    /// Every context that the signed statement asks for, and 60 signatures a minute.
    fn default() -> Self {
        Self {
            contexts: None,
            per_minute: PER_MINUTE,
        }
    }
}

impl KeyCeiling {
    /// At most so many signatures a minute.
    #[must_use]
    pub fn per_minute(mut self, signatures: u32) -> Self {
        self.per_minute = signatures;
        self
    }

    /// Only these contexts.
    #[must_use]
    pub fn contexts<S: Into<String>>(mut self, contexts: impl IntoIterator<Item = S>) -> Self {
        self.contexts = Some(contexts.into_iter().map(Into::into).collect());
        self
    }
}

/// A key as far as both sides agree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct GrantedKey {
    pub(crate) name: String,
    pub(super) contexts: Vec<String>,
    pub(super) per_minute: u32,
}

impl GrantedKey {
    /// The keys that `statement` asks for and `ceiling` allows.
    pub(crate) fn intersection(statement: &Statement, ceiling: &Ceiling) -> Vec<Self> {
        let asked = statement.grants().keys.iter();
        asked
            .filter_map(|asked| {
                let allowed = ceiling.keys.get(&asked.name)?;
                let permitted = |context: &&String| {
                    let contexts = allowed.contexts.as_ref();
                    contexts.is_none_or(|contexts| contexts.contains(context))
                };
                Some(Self {
                    name: asked.name.clone(),
                    contexts: asked.contexts.iter().filter(permitted).cloned().collect(),
                    per_minute: asked.per_minute.unwrap_or(u32::MAX).min(allowed.per_minute),
                })
            })
            .collect()
    }
}

/// A device, as lent to one component.
#[derive(Clone, Debug)]
pub struct Session {
    device: Device,
    pub(super) component: Arc<Component>,
    keys: Arc<[GrantedKey]>,
}

/// Who asks.
#[derive(Debug)]
pub(super) struct Component {
    pub(super) name: ComponentName,
    pub(super) digest: Digest,
    pub(super) signers: Vec<Digest>,
}

impl Session {
    /// What `component` has of the device of `ceiling`; nothing if the ceiling has none, or both sides agree on no key.
    #[must_use]
    pub fn new(component: &VerifiedComponent, ceiling: &Ceiling) -> Option<Self> {
        let device = ceiling.device.clone()?;
        let statement = component.statement();
        let keys = GrantedKey::intersection(statement, ceiling);
        if keys.is_empty() {
            return None;
        }
        Some(Self {
            device,
            component: Arc::new(Component {
                name: statement.name().clone(),
                digest: component.digest(),
                signers: component
                    .signers()
                    .iter()
                    .map(|signer| signer.chain().key().spki_sha256())
                    .collect(),
            }),
            keys: keys.into(),
        })
    }

    /// The device.
    #[must_use]
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// What the component was granted.
    pub(super) fn keys(&self) -> &[GrantedKey] {
        &self.keys
    }

    /// Opens a key by its name.
    pub(super) fn open(&self, name: &str) -> Result<OpenKey, SignError> {
        let Some(place) = self.keys.iter().position(|key| key.name == name) else {
            self.record_denial(name, "");
            return Err(SignError::NotGranted);
        };
        if self.device.key(name).is_none() {
            return Err(SignError::UnknownKey);
        }
        Ok(OpenKey {
            session: self.clone(),
            place,
        })
    }

    /// Records that something was not granted. A component that asks again and again does not fill the operator's log: it
    /// has so many of these records a minute, and one that says that there would be more.
    pub(super) fn record_denial(&self, key: &str, context: &str) {
        let (name, now) = (self.component.name.as_str(), Instant::now());
        let outcome = match self
            .device
            .denials()
            .take(name, "", DENIALS_PER_MINUTE, now)
        {
            Ok(()) => SigningOutcome::NotGranted,
            Err(exhausted) if exhausted.first => SigningOutcome::NotGrantedAgain,
            Err(_) => return,
        };
        self.record(key, context, None, outcome).ok();
    }

    /// Hands a record to the host, which may be unable to keep it. Only a signature depends on that.
    pub(super) fn record(
        &self,
        key: &str,
        context: &str,
        payload: Option<Digest>,
        outcome: SigningOutcome,
    ) -> std::io::Result<()> {
        self.device.record(&SigningRecord {
            component: self.component.name.clone(),
            component_digest: self.component.digest,
            key: key.to_owned(),
            context: context.to_owned(),
            boot: self.device.boot(),
            payload,
            outcome,
        })
    }
}

/// Why a guest gets no signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SignError {
    Busy,
    ContextInvalid,
    HardwareFailure,
    MessageTooLarge,
    NotGranted,
    QuotaExceeded(Duration),
    UnknownKey,
}

/// A key that a guest has opened.
#[derive(Clone)]
#[expect(
    unreachable_pub,
    reason = "the generated bindings export it, within this crate"
)]
pub struct OpenKey {
    session: Session,
    place: usize,
}

impl OpenKey {
    fn granted(&self) -> Option<&GrantedKey> {
        self.session.keys.get(self.place)
    }

    /// Calls `read` with the key and its certificates.
    pub(super) fn with<R>(&self, read: impl FnOnce(&SigningKey, &[Vec<u8>]) -> R) -> Option<R> {
        let lent = self.session.device.key(&self.granted()?.name)?;
        Some(read(&lent.key, &lent.chain))
    }

    /// Whether the guest may sign as `context`.
    pub(super) fn check_context(&self, context: &str) -> Result<(), SignError> {
        let granted = self.granted().ok_or(SignError::UnknownKey)?;
        if granted.contexts.iter().any(|allowed| allowed == context) {
            return Ok(());
        }
        // The claims' own rule, so that there is one.
        if self.claims(context, 0).is_err() {
            return Err(SignError::ContextInvalid);
        }
        self.session.record_denial(&granted.name, context);
        Err(SignError::NotGranted)
    }

    /// Signs `payload` as `context`: on a thread of the key's store, in this component's turn; or here, where that is computing
    /// and nothing else, so that who signs much pays for it with time of his own. The record, for which a disk may have to be
    /// waited for, is kept on the store's thread in both cases.
    pub(super) async fn sign(
        &self,
        context: &str,
        payload: GuestPayload,
    ) -> Result<Vec<u8>, SignError> {
        self.check_context(context)?;
        let granted = self.granted().ok_or(SignError::UnknownKey)?;
        let digest = digest(&payload);
        let component = self.session.component.name.as_str();
        let device = &self.session.device;
        device
            .quotas()
            .take(component, &granted.name, granted.per_minute, Instant::now())
            .map_err(|exhausted| {
                if exhausted.first {
                    self.record(context, digest, SigningOutcome::QuotaExceeded)
                        .ok();
                }
                SignError::QuotaExceeded(exhausted.retry_after)
            })?;
        let lent = device.key(&granted.name).ok_or(SignError::UnknownKey)?;
        let queue = device.queue(&lent.store).ok_or(SignError::UnknownKey)?;
        let (key, signing_context) = (self.clone(), context.to_owned());
        let span = info_span!("sign", component, verdict = Empty);
        let sign = move || {
            let sequence = key.session.device.next_sequence();
            let signed = key.signed(&signing_context, payload, sequence);
            Made {
                key,
                context: signing_context,
                digest,
                sequence,
                signed,
            }
        };
        let deadline = device.deadline();
        let answer = if lent.key.is_computed_here() {
            match span.in_scope(|| queue::at_once(sign)) {
                Ok(made) => {
                    let asked = queue.ask(component, deadline, |wanted| made.kept(wanted));
                    asked.instrument(span.clone()).await
                }
                Err(failed) => Err(failed),
            }
        } else {
            let asked = queue.ask(component, deadline, |wanted| sign().kept(wanted));
            asked.instrument(span.clone()).await
        };
        let failed = match answer {
            Ok(signed) => {
                span.record("verdict", if signed.is_ok() { "signed" } else { "refused" });
                return signed;
            }
            Err(NoAnswer::Failed) => SigningOutcome::HardwareFailure("it panicked".to_owned()),
            Err(NoAnswer::Full) => {
                SigningOutcome::Busy("too many of its signatures wait".to_owned())
            }
            Err(NoAnswer::Late) => {
                SigningOutcome::Busy("the store did not come to it in time".to_owned())
            }
        };
        Err(self.fail(context, digest, failed))
    }

    /// Records why there is no signature, and says what the guest may know of it.
    fn fail(&self, context: &str, payload: Digest, outcome: SigningOutcome) -> SignError {
        let told = match outcome {
            SigningOutcome::Busy(_) => SignError::Busy,
            _ => SignError::HardwareFailure,
        };
        self.record(context, payload, outcome).ok();
        told
    }

    fn signed(
        &self,
        context: &str,
        payload: GuestPayload,
        sequence: u64,
    ) -> Result<Vec<u8>, SigningOutcome> {
        let format = |error: FormatError| SigningOutcome::HardwareFailure(error.to_string());
        let lent = self
            .granted()
            .and_then(|granted| self.session.device.key(&granted.name))
            .ok_or_else(|| SigningOutcome::HardwareFailure("the key is not lent".to_owned()))?;
        let algorithm = lent.key.algorithm();
        let claims = self.claims(context, sequence).map_err(format)?;
        let message = guest_data_to_be_signed(algorithm, &lent.chain, &claims, &payload);
        let signature = lent
            .key
            .sign(&message)
            .map_err(|error| match error.kind() {
                ErrorKind::Busy => SigningOutcome::Busy(error.to_string()),
                _ => SigningOutcome::HardwareFailure(error.to_string()),
            })?;
        let (chain, signature) = (lent.chain.clone(), *signature.as_bytes());
        GuestData::new(algorithm, chain, claims, payload, signature)
            .map(|data| data.encode())
            .map_err(format)
    }

    fn claims(&self, context: &str, sequence: u64) -> Result<GuestClaims, FormatError> {
        let component = &self.session.component;
        GuestClaims::new(
            self.session.device.identity().clone(),
            component.name.clone(),
            component.digest,
            component.signers.clone(),
            context,
            self.session.device.boot(),
            sequence,
        )
    }

    fn record(
        &self,
        context: &str,
        payload: Digest,
        outcome: SigningOutcome,
    ) -> std::io::Result<()> {
        let name = self.granted().map_or("", |granted| granted.name.as_str());
        self.session.record(name, context, Some(payload), outcome)
    }
}

/// What came of signing, before it has a record.
struct Made {
    key: OpenKey,
    context: String,
    digest: Digest,
    sequence: u64,
    signed: Result<Vec<u8>, SigningOutcome>,
}

impl Made {
    /// The signature, once its record is kept. What nobody waits for any more is thrown away without one: the asker's says that
    /// it was late.
    fn kept(self, wanted: &Wanted) -> Result<Vec<u8>, SignError> {
        let (key, context, digest) = (&self.key, self.context.as_str(), self.digest);
        if !wanted.keep() {
            return Err(SignError::Busy);
        }
        let failed = match self.signed {
            // No signature without its record.
            Ok(bytes) => match key.record(context, digest, SigningOutcome::Signed(self.sequence)) {
                Ok(()) => return Ok(bytes),
                Err(error) => SigningOutcome::HardwareFailure(format!(
                    "its record could not be kept, so the signature was thrown away: {error}"
                )),
            },
            Err(failed) => failed,
        };
        Err(key.fail(context, digest, failed))
    }
}

/// SHA-256 of a message, whether it is signed as it is or by its digest.
fn digest(payload: &GuestPayload) -> Digest {
    match payload {
        GuestPayload::Digest(digest) => *digest,
        GuestPayload::Message(message) => Digest::of(message),
    }
}

/// A long message on its way to be signed by its digest.
#[expect(
    unreachable_pub,
    reason = "the generated bindings export it, within this crate"
)]
pub struct OpenMessage {
    pub(super) key: OpenKey,
    pub(super) context: String,
    pub(super) digest: DigestWriter,
}
