//! That an attestation key lives in the very TPM whose endorsement key its maker certified (credential activation).
//!
//! The authority encrypts a fresh secret to the endorsement key, for one attestation key by its name
//! ([`TpmProvider::make_credential`], which needs any TPM and no key in it). Only the TPM that holds both gives the secret
//! back ([`TpmProvider::activate_credential`]). The endorsement key is made from its template whenever it is needed and
//! flushed again: the same seed gives the same key.
//!
//! Left to others: whose certificate the endorsement key has, and comparing the secret.

use crate::device::Device;
use crate::failure::Failure;
use crate::provider::TpmProvider;
use crate::record;
use crate::{keys, sign};
use countersign_keys::{Error, ErrorKind, KeyUri, Secret};
use sha2::{Digest as _, Sha256};
use tss_esapi::abstraction::AsymmetricAlgorithmSelection;
use tss_esapi::abstraction::ek::create_ek_public_from_default_template_2;
use tss_esapi::constants::SessionType;
use tss_esapi::handles::{AuthHandle, KeyHandle};
use tss_esapi::interface_types::ecc::EccCurve;
use tss_esapi::interface_types::key_bits::RsaKeyBits;
use tss_esapi::interface_types::resource_handles::{Hierarchy, NvAuth};
use tss_esapi::interface_types::session_handles::{AuthSession, PolicySession};
use tss_esapi::structures::{Digest, EncryptedSecret, IdObject, Name, Nonce, Public};
use tss_esapi::traits::{Marshall as _, UnMarshall as _};

/// Where makers keep the certificate of a P-256 endorsement key (TCG EK Credential Profile, §2.2.1.4).
const P256_CERTIFICATE: u32 = 0x01c0_000a;

/// Where they keep that of an RSA one with 2048 bits.
const RSA_CERTIFICATE: u32 = 0x01c0_0002;

/// How much of an index is read at once: every TPM gives that much.
const CHUNK: u16 = 512;

/// The key that tells a TPM from all others.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct EndorsementKey {
    /// `TPMT_PUBLIC` as marshalled (TPM 2.0 part 2, §12.2.4).
    pub public_area: Vec<u8>,
    /// The maker's certificate, DER, as the TPM keeps it: nobody has judged it. Software TPMs have none.
    pub certificate: Option<Vec<u8>>,
}

/// A secret that one attestation key in one TPM can open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credential {
    /// The contents of `TPM2B_ID_OBJECT` (part 2, §12.4.3).
    pub blob: Vec<u8>,
    /// The contents of `TPM2B_ENCRYPTED_SECRET` (part 2, §11.4.3).
    pub encrypted_secret: Vec<u8>,
}

impl TpmProvider {
    /// The endorsement key: P-256, unless the maker certified an RSA key only.
    ///
    /// # Errors
    /// What the TPM reports; [`ErrorKind::Permissions`] if its endorsement hierarchy has a password.
    pub fn endorsement_key(&self) -> Result<EndorsementKey, Error> {
        self.worker()
            .call("the endorsement key was not read", |device| {
                let (algorithm, certificate) = choose(device)?;
                let (key, public) = make(device, algorithm)?;
                let public_area = public.marshall().map_err(Failure::from);
                Ok(EndorsementKey {
                    public_area: device.flush_after(key.into(), public_area)?,
                    certificate,
                })
            })
    }

    /// Encrypts a secret to an endorsement key, for one attestation key; both are given by their public areas, as the
    /// device sent them. Any TPM can do that; the secret is not protected on the way to it.
    ///
    /// # Errors
    /// [`ErrorKind::Malformed`] if these are no public areas; else what the TPM reports.
    pub fn make_credential(
        &self,
        endorsement_key: &[u8],
        attestation_key: &[u8],
        secret: &[u8; 32],
    ) -> Result<Credential, Error> {
        let public = Public::unmarshall(endorsement_key).map_err(|error| {
            Error::with_source(
                ErrorKind::Malformed,
                "the endorsement key is not a TPM's public area; ask the device for it again",
                error,
            )
        })?;
        // The name of an object is the hash of its public area (part 1, §16).
        let mut name = vec![0x00, 0x0b];
        name.extend_from_slice(&Sha256::digest(attestation_key));
        let secret = *secret;
        self.worker()
            .call("the credential was not made", move |device| {
                let key = device
                    .run(|context| context.load_external_public(public.clone(), Hierarchy::Null))?;
                let (secret, name) = (
                    Digest::try_from(secret.as_slice())?,
                    Name::try_from(name.clone())?,
                );
                let made = device
                    .run(|context| context.make_credential(key, secret.clone(), name.clone()));
                let (blob, encrypted) = device.flush_after(key.into(), made)?;
                Ok(Credential {
                    blob: blob.value().to_vec(),
                    encrypted_secret: encrypted.value().to_vec(),
                })
            })
    }

    /// Opens a credential that was made for this attestation key and this TPM: the secret in it.
    ///
    /// # Errors
    /// [`ErrorKind::Permissions`] if it was made for another TPM or another key, or altered, and if the attestation key may
    /// be elsewhere too;
    /// [`ErrorKind::NotFound`] if there is no such key.
    pub fn activate_credential(
        &self,
        attestation_key: &KeyUri,
        credential: &Credential,
    ) -> Result<Secret, Error> {
        let (name, uri) = (self.name_in(attestation_key)?, attestation_key.clone());
        let credential = credential.clone();
        self.worker().call(
            &format!("the credential for {attestation_key} was not opened"),
            move |device| {
                let found = keys::find(device, &name)?.ok_or_else(|| sign::gone(&uri))?;
                sign::never_elsewhere(device, &uri, &found)?;
                let blob = IdObject::try_from(credential.blob.clone())?;
                let encrypted = EncryptedSecret::try_from(credential.encrypted_secret.clone())?;
                let (algorithm, _) = choose(device)?;
                let (endorsement, _) = make(device, algorithm)?;
                let opened = open(device, endorsement, found.loaded.key(), &blob, &encrypted);
                device.flush_after(endorsement.into(), opened)
            },
        )
    }
}

/// TPM2_ActivateCredential (part 3, §12.5). The endorsement key's policy asks for its hierarchy's password.
fn open(
    device: &mut Device,
    endorsement: KeyHandle,
    attestation: KeyHandle,
    blob: &IdObject,
    encrypted: &EncryptedSecret,
) -> Result<Secret, Failure> {
    let session = device.start_session(SessionType::Policy)?;
    let opened = PolicySession::try_from(session)
        .map_err(Failure::from)
        .and_then(|policy| {
            device.run_under((Some(AuthSession::Password), None), |context| {
                context.policy_secret(
                    policy,
                    AuthHandle::Endorsement,
                    Nonce::default(),
                    Digest::default(),
                    Nonce::default(),
                    None,
                )
            })
        })
        .and_then(|_| {
            device.run_under((Some(AuthSession::Password), Some(session)), |context| {
                context.activate_credential(
                    attestation,
                    endorsement,
                    blob.clone(),
                    encrypted.clone(),
                )
            })
        });
    let flushed = device.flush_session(session);
    let secret = opened?;
    flushed?;
    Ok(Secret::new(secret.value().to_vec()))
}

/// Which endorsement key, and its certificate.
fn choose(device: &mut Device) -> Result<(AsymmetricAlgorithmSelection, Option<Vec<u8>>), Failure> {
    let p256 = AsymmetricAlgorithmSelection::Ecc(EccCurve::NistP256);
    if let Some(certificate) = certificate(device, P256_CERTIFICATE)? {
        return Ok((p256, Some(certificate)));
    }
    if let Some(certificate) = certificate(device, RSA_CERTIFICATE)? {
        return Ok((
            AsymmetricAlgorithmSelection::Rsa(RsaKeyBits::Rsa2048),
            Some(certificate),
        ));
    }
    Ok((p256, None))
}

fn certificate(device: &mut Device, index: u32) -> Result<Option<Vec<u8>>, Failure> {
    if device.nv_indices_from(index)?.first() != Some(&index) {
        return Ok(None);
    }
    device.root_or_new()?;
    let handle = record::open_index(device, index)?;
    let (public, _) = device.run_guarded(|context| context.nv_read_public(handle))?;
    if !public.attributes().written() {
        return Ok(None);
    }
    let size = u16::try_from(public.data_size()).unwrap_or(u16::MAX);
    // The owner may read what has no authorisation of its own.
    let by = if public.attributes().auth_read() {
        NvAuth::NvIndex(handle)
    } else {
        NvAuth::Owner
    };
    let mut bytes = Vec::new();
    let mut offset = 0;
    while offset < size {
        let length = CHUNK.min(size.saturating_sub(offset));
        let chunk = device.run_guarded(|context| context.nv_read(by, handle, length, offset))?;
        if chunk.value().len() != usize::from(length) {
            return Err(Failure::Wrong("less of an index than it was asked for"));
        }
        bytes.extend_from_slice(chunk.value());
        offset = offset.saturating_add(length);
    }
    Ok(Some(bytes))
}

fn make(
    device: &mut Device,
    algorithm: AsymmetricAlgorithmSelection,
) -> Result<(KeyHandle, Public), Failure> {
    device.root_or_new()?;
    let template = create_ek_public_from_default_template_2(algorithm, None)?;
    let made = device.run_guarded(|context| {
        context.create_primary(
            Hierarchy::Endorsement,
            template.clone(),
            None,
            None,
            None,
            None,
        )
    })?;
    Ok((made.key_handle, made.out_public))
}
