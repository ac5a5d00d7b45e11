//! Signing with a key that the TPM keeps.

use crate::device::Device;
use crate::failure::Failure;
use crate::keys;
use crate::policy::{self, Registers};
use crate::template;
use crate::worker::Worker;
use countersign_keys::{Error, ErrorKind, KeyUri, PublicKey, Signer};
use sha2::{Digest as _, Sha256};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tss_esapi::constants::response_code::Tss2ResponseCodeKind as Kind;
use tss_esapi::handles::KeyHandle;
use tss_esapi::interface_types::algorithm::HashingAlgorithm;
use tss_esapi::interface_types::resource_handles::Hierarchy;
use tss_esapi::interface_types::session_handles::AuthSession;
use tss_esapi::structures::{Digest, HashScheme, HashcheckTicket, SignatureScheme};
use tss_esapi::tss2_esys::{TPM2B_DIGEST, TPMT_TK_HASHCHECK};

/// Which key signs: the handle may hold another one some day, the name cannot.
#[derive(Clone, Debug)]
pub(crate) struct KeyRef {
    pub(crate) handle: u32,
    pub(crate) name: Vec<u8>,
    pub(crate) registers: Registers,
}

/// A key of the TPM, opened.
pub(crate) struct OpenKey {
    pub(crate) worker: Arc<Worker>,
    pub(crate) uri: KeyUri,
    pub(crate) key: KeyRef,
    pub(crate) public: PublicKey,
    /// The TPM counted a wrong password. It is not given another one, for it would take none from anybody in the end.
    pub(crate) counted: Arc<AtomicBool>,
}

impl Signer for OpenKey {
    fn public_key(&self) -> &PublicKey {
        &self.public
    }

    fn sign_unchecked(&self, message: &[u8]) -> Result<[u8; 64], Error> {
        let digest: [u8; 32] = Sha256::digest(message).into();
        let (key, uri, counted) = (
            self.key.clone(),
            self.uri.clone(),
            Arc::clone(&self.counted),
        );
        self.worker.call(
            &format!("the key {} did not sign", self.uri),
            move |device| {
                if counted.load(Ordering::SeqCst) {
                    return Err(has_password(&uri).into());
                }
                let result = sign(device, &uri, &key, &digest);
                if let Err(failure) = &result
                    && failure.kind() == Some(Kind::AuthFail)
                {
                    counted.store(true, Ordering::SeqCst);
                    return Err(has_password(&uri).into());
                }
                result
            },
        )
    }
}

fn has_password(uri: &KeyUri) -> Error {
    Error::new(
        ErrorKind::Permissions,
        format!(
            "the key {uri} has a password of its own, and the TPM counts wrong ones; use a key that was made with `countersign key generate`"
        ),
    )
}

fn sign(
    device: &mut Device,
    uri: &KeyUri,
    key: &KeyRef,
    digest: &[u8; 32],
) -> Result<[u8; 64], Failure> {
    let Some(loaded) = device.key(key.handle)? else {
        device.check_root()?;
        return Err(gone(uri).into());
    };
    if loaded.name != key.name {
        return Err(Error::new(
            ErrorKind::OtherKey,
            format!(
                "the key {uri} is not the one that was opened, for another one was put in its place; open it anew, and compare it with its certificate"
            ),
        )
        .into());
    }
    let numbers = key.registers.numbers();
    match command(device, loaded.key(), &numbers, digest) {
        Err(failure)
            if !numbers.is_empty()
                && matches!(failure.kind(), Some(Kind::PolicyFail | Kind::PcrChanged)) =>
        {
            Err(state_changed(device, uri, &key.registers)?.into())
        }
        result => result,
    }
}

/// The error of a key that is no longer there.
pub(crate) fn gone(uri: &KeyUri) -> Error {
    Error::new(
        ErrorKind::NotFound,
        format!(
            "the TPM has no key {uri}; make one with `countersign key generate`, or list its keys with `countersign key list`"
        ),
    )
}

/// TPM2_Sign (TPM 2.0 part 3, §20.2), with a key that may be bound to registers.
pub(crate) fn command(
    device: &mut Device,
    key: KeyHandle,
    registers: &[u8],
    digest: &[u8; 32],
) -> Result<[u8; 64], Failure> {
    if registers.is_empty() {
        let session = device.session()?;
        return command_under(device, session, key, digest);
    }
    policy::under_policy(device, registers, |device, session| {
        command_under(device, session, key, digest)
    })
}

fn command_under(
    device: &mut Device,
    session: AuthSession,
    key: KeyHandle,
    digest: &[u8; 32],
) -> Result<[u8; 64], Failure> {
    let digest = Digest::try_from(digest.as_slice())?;
    let signature = device.run_under((Some(session), None), |context| {
        context.sign(key, digest.clone(), scheme(), no_ticket()?)
    })?;
    template::raw_signature(&signature)
}

/// ECDSA with SHA-256.
pub(crate) fn scheme() -> SignatureScheme {
    SignatureScheme::EcDsa {
        hash_scheme: HashScheme::new(HashingAlgorithm::Sha256),
    }
}

/// The ticket that says that the TPM did not make the digest itself: a restricted key refuses it.
fn no_ticket() -> Result<HashcheckTicket, tss_esapi::Error> {
    HashcheckTicket::try_from(TPMT_TK_HASHCHECK {
        tag: tss_esapi::constants::tss::TPM2_ST_HASHCHECK,
        hierarchy: tss_esapi::handles::TpmHandle::from(Hierarchy::Null).into(),
        digest: TPM2B_DIGEST::default(),
    })
}

/// Says which registers changed since the key was made.
fn state_changed(
    device: &mut Device,
    uri: &KeyUri,
    registers: &Registers,
) -> Result<Error, Failure> {
    let numbers = registers.numbers();
    let now = Registers::of(&policy::read(device, &numbers)?);
    let changed: Vec<u8> = registers
        .iter()
        .zip(now.iter())
        .filter(|(then, now)| then != now)
        .map(|((number, _), _)| number)
        .collect();
    let which = if changed.is_empty() {
        "they changed while it signed".to_owned()
    } else {
        format!("changed since it was made: {}", joined(&changed))
    };
    Ok(Error::new(
        ErrorKind::StateChanged,
        format!(
            "the key {uri} is bound to the state of the boot (registers {}), and that is another one now ({which}); boot what was booted when the key was made, or make a new key",
            joined(&numbers)
        ),
    ))
}

/// `0, 2 and 7` would read better, and cannot be pasted into a command line.
pub(crate) fn joined(numbers: &[u8]) -> String {
    let words: Vec<String> = numbers.iter().map(ToString::to_string).collect();
    words.join(",")
}

/// Refuses a key that others may have too, whatever its name is.
pub(crate) fn never_elsewhere(
    device: &Device,
    uri: &KeyUri,
    found: &keys::Found,
) -> Result<(), Error> {
    let attributes = found.loaded.public.object_attributes();
    if template::never_elsewhere(attributes) {
        return Ok(());
    }
    let why = if attributes.sensitive_data_origin() {
        "may be taken out of"
    } else {
        "was put from outside into"
    };
    Err(Error::new(
        ErrorKind::Permissions,
        format!(
            "the key {uri} {why} the TPM at {} (fixedTPM {}, fixedParent {}, sensitiveDataOrigin {}), so others may have it too, and it is not used; look who did that, and make a new key with `countersign key generate`",
            device.tcti(),
            attributes.fixed_tpm(),
            attributes.fixed_parent(),
            attributes.sensitive_data_origin(),
        ),
    ))
}

/// The key's reference, unless others may have the key, or it needs a policy that nobody wrote down.
pub(crate) fn usable(device: &Device, uri: &KeyUri, found: &keys::Found) -> Result<KeyRef, Error> {
    never_elsewhere(device, uri, found)?;
    let attributes = found.loaded.public.object_attributes();
    if attributes.restricted() {
        return Err(Error::new(
            ErrorKind::Unsupported,
            format!(
                "the key {uri} signs only what the TPM at {} states itself; name a signing key",
                device.tcti()
            ),
        ));
    }
    if !attributes.user_with_auth() && found.registers().is_empty() {
        return Err(Error::new(
            ErrorKind::Unsupported,
            format!(
                "the key {uri} can be used under a policy only, and which one is not kept in the TPM; use a key that was made with `countersign key generate`"
            ),
        ));
    }
    Ok(keys::reference(found))
}
