//! `countersign:device/signing`: the guest's calls, each answered by its [`Session`]. Decides sizes; what is granted,
//! signed and recorded is decided in `session`.

use countersign_format::{Algorithm, DigestWriter, GuestPayload, limits};
use wasmtime::component::{HasData, Linker, Resource, ResourceTable};

use super::bindings::countersign::device::signing as wit;
use super::session::{OpenKey, OpenMessage, Session, SignError};

/// What the interface needs of a host's data.
pub struct SigningView<'a> {
    /// What this guest has of the device. `None`: nothing, every name is not granted.
    pub session: Option<&'a Session>,
    /// The guest's handles.
    pub table: &'a mut ResourceTable,
}

/// Selects [`SigningView`] of a host's data.
pub struct HasSigning;

impl HasData for HasSigning {
    type Data<'a> = SigningView<'a>;
}

/// Adds `countersign:device/signing@0.1.0` to a linker.
///
/// # Errors
/// What Wasmtime says if the linker has it already.
pub fn add_to_linker<T: Send + 'static>(
    linker: &mut Linker<T>,
    view: fn(&mut T) -> SigningView<'_>,
) -> wasmtime::Result<()> {
    wit::add_to_linker::<T, HasSigning>(linker, view)
}

impl From<SignError> for wit::Error {
    fn from(error: SignError) -> Self {
        match error {
            SignError::Busy => Self::Busy,
            SignError::ContextInvalid => Self::ContextInvalid,
            SignError::HardwareFailure => Self::HardwareFailure,
            SignError::MessageTooLarge => Self::MessageTooLarge,
            SignError::NotGranted => Self::NotGranted,
            SignError::QuotaExceeded(retry_after) => {
                // Up, so that who waits this long gets one.
                let millis = retry_after.as_millis().saturating_add(1);
                Self::QuotaExceeded(u64::try_from(millis).unwrap_or(u64::MAX))
            }
            SignError::UnknownKey => Self::UnknownKey,
        }
    }
}

fn check_size(bytes: &[u8]) -> Result<(), SignError> {
    match u64::try_from(bytes.len()) {
        Ok(length) if length <= limits::MAX_GUEST_MESSAGE_BYTES => Ok(()),
        _ => Err(SignError::MessageTooLarge),
    }
}

impl wit::Host for SigningView<'_> {
    fn open(&mut self, name: String) -> wasmtime::Result<Result<Resource<OpenKey>, wit::Error>> {
        let opened = match self.session {
            Some(session) => session.open(&name),
            None => Err(SignError::NotGranted),
        };
        Ok(match opened {
            Ok(key) => Ok(self.table.push(key)?),
            Err(error) => Err(error.into()),
        })
    }
}

impl wit::HostKey for SigningView<'_> {
    fn algorithm(&mut self, key: Resource<OpenKey>) -> wasmtime::Result<wit::Algorithm> {
        let algorithm = self.key(&key)?.with(|key, _| key.algorithm());
        match algorithm {
            Some(Algorithm::Ed25519) => Ok(wit::Algorithm::Ed25519),
            Some(Algorithm::Esp256) => Ok(wit::Algorithm::Esp256),
            _ => Err(wasmtime::Error::msg(
                "a lent key of an algorithm that the interface does not have",
            )),
        }
    }

    fn public_key(&mut self, key: Resource<OpenKey>) -> wasmtime::Result<Vec<u8>> {
        let spki = self
            .key(&key)?
            .with(|key, _| key.public_key().to_spki_der());
        Ok(spki.unwrap_or_default())
    }

    fn certificate_chain(&mut self, key: Resource<OpenKey>) -> wasmtime::Result<Vec<Vec<u8>>> {
        let chain = self.key(&key)?.with(|_, chain| chain.to_vec());
        Ok(chain.unwrap_or_default())
    }

    async fn sign(
        &mut self,
        key: Resource<OpenKey>,
        context: String,
        message: Vec<u8>,
    ) -> wasmtime::Result<Result<Vec<u8>, wit::Error>> {
        let key = self.key(&key)?.clone();
        if let Err(error) = check_size(&message) {
            return Ok(Err(error.into()));
        }
        let signed = key.sign(&context, GuestPayload::Message(message)).await;
        Ok(signed.map_err(Into::into))
    }

    fn begin(
        &mut self,
        key: Resource<OpenKey>,
        context: String,
    ) -> wasmtime::Result<Result<Resource<OpenMessage>, wit::Error>> {
        let key = self.key(&key)?.clone();
        if let Err(error) = key.check_context(&context) {
            return Ok(Err(error.into()));
        }
        Ok(Ok(self.table.push(OpenMessage {
            key,
            context,
            digest: DigestWriter::new(),
        })?))
    }

    fn drop(&mut self, key: Resource<OpenKey>) -> wasmtime::Result<()> {
        self.table.delete(key)?;
        Ok(())
    }
}

impl wit::HostMessage for SigningView<'_> {
    fn write(
        &mut self,
        message: Resource<OpenMessage>,
        bytes: Vec<u8>,
    ) -> wasmtime::Result<Result<(), wit::Error>> {
        if let Err(error) = check_size(&bytes) {
            return Ok(Err(error.into()));
        }
        self.table.get_mut(&message)?.digest.update(&bytes);
        Ok(Ok(()))
    }

    async fn finish(
        &mut self,
        message: Resource<OpenMessage>,
    ) -> wasmtime::Result<Result<Vec<u8>, wit::Error>> {
        let OpenMessage {
            key,
            context,
            digest,
        } = self.table.delete(message)?;
        let signed = key
            .sign(&context, GuestPayload::Digest(digest.finish()))
            .await;
        Ok(signed.map_err(Into::into))
    }

    fn drop(&mut self, message: Resource<OpenMessage>) -> wasmtime::Result<()> {
        self.table.delete(message)?;
        Ok(())
    }
}

impl SigningView<'_> {
    fn key(&self, key: &Resource<OpenKey>) -> wasmtime::Result<&OpenKey> {
        Ok(self.table.get(key)?)
    }
}
