//! One connection to a TPM: its session, its storage root key, and the keys that were looked at.
//!
//! Every command that uses or makes a key goes under one HMAC session, which is salted with the storage root key: who
//! sits on the bus neither reads nor changes what counts without being noticed. The session lives as long as the
//! connection. What the TPM is told to keep in its working memory is flushed by whoever told it.

use crate::failure::{self, Failure};
use crate::template;
use countersign_keys::{Error, ErrorKind, PublicKey, Secret, Tcti};
use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::str::FromStr as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;
use tss_esapi::attributes::SessionAttributesBuilder;
use tss_esapi::constants::{CapabilityType, SessionType};
use tss_esapi::handles::{KeyHandle, ObjectHandle, PersistentTpmHandle, SessionHandle, TpmHandle};
use tss_esapi::interface_types::algorithm::HashingAlgorithm;
use tss_esapi::interface_types::dynamic_handles::Persistent;
use tss_esapi::interface_types::resource_handles::{Hierarchy, Provision};
use tss_esapi::interface_types::session_handles::AuthSession;
use tss_esapi::structures::{Auth, CapabilityData, Public, SymmetricDefinition};
use tss_esapi::{Context, TctiNameConf};

/// How often a command is sent to a TPM that is busy, with pauses of 10 ms, 20 ms, 40 ms and so on between: 2.5 s.
const TRIES: u32 = 9;

/// The pause after the first try.
const FIRST_PAUSE: Duration = Duration::from_millis(10);

/// How many handles are asked for at once (TPM2_GetCapability gives fewer if they do not fit).
const HANDLES_AT_ONCE: u32 = 64;

/// What a store knows of its TPM before it asks.
pub(crate) struct Settings {
    pub(crate) tcti: Tcti,
    /// The password of the owner hierarchy; empty if it has none.
    pub(crate) owner: Secret,
    /// The name of the storage root key, once it is known: another one means another TPM, or one that was cleared.
    pub(crate) root: Mutex<Option<Vec<u8>>>,
}

impl Settings {
    fn known_root(&self) -> Option<Vec<u8>> {
        self.root
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Remembers which TPM this is.
    pub(crate) fn learn(&self, device: &Device) {
        if let Some(name) = device.root_name() {
            self.root
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .get_or_insert_with(|| name.to_vec());
        }
    }
}

/// A connection.
pub(crate) struct Device {
    context: Context,
    tcti: Tcti,
    session: Option<AuthSession>,
    root: Option<KeyHandle>,
    known_root: Option<Vec<u8>>,
    keys: BTreeMap<u32, Loaded>,
    sound: bool,
    committed: bool,
    abandoned: Arc<AtomicBool>,
}

/// A key that the TPM keeps.
#[derive(Clone)]
pub(crate) struct Loaded {
    pub(crate) object: ObjectHandle,
    pub(crate) public: Public,
    /// Hash algorithm and hash of the public area (part 1, §16): it identifies the key.
    pub(crate) name: Vec<u8>,
}

impl Loaded {
    pub(crate) fn key(&self) -> KeyHandle {
        self.object.into()
    }

    /// The key, if this store can use it.
    pub(crate) fn p256(&self) -> Option<PublicKey> {
        template::p256_of(&self.public)
    }
}

impl Device {
    /// Connects. A TPM is not asked for anything yet.
    pub(crate) fn open(settings: &Settings) -> Result<Self, Failure> {
        let tcti = settings.tcti.clone();
        if let Some(path) = tcti.device() {
            // The library would say only that it failed.
            OpenOptions::new()
                .read(true)
                .write(true)
                .open(path)
                .map_err(|error| failure::of_device(path, crate::detect::group_of(path), error))?;
        }
        let context = TctiNameConf::from_str(tcti.as_str())
            .and_then(Context::new)
            .map_err(|error| match tcti.device() {
                Some(_) => Failure::from(error),
                None => Failure::Said(Error::with_source(
                    ErrorKind::NotFound,
                    format!("there is no TPM at {tcti}; start it, or name another with ?tcti="),
                    error,
                )),
            })?;
        let mut device = Self {
            context,
            tcti,
            session: None,
            root: None,
            known_root: settings.known_root(),
            keys: BTreeMap::new(),
            sound: true,
            committed: false,
            abandoned: Arc::default(),
        };
        let owner = Auth::try_from(settings.owner.expose())?;
        device.context.tr_set_auth(ObjectHandle::Owner, owner)?;
        Ok(device)
    }

    /// A new job begins, for a caller who may go away.
    pub(crate) fn begin(&mut self, abandoned: Arc<AtomicBool>) {
        self.committed = false;
        self.abandoned = abandoned;
    }

    /// From here on the TPM is changed, so this is done only for a caller who still waits, and not once more.
    pub(crate) fn commit(&mut self) -> Result<(), Failure> {
        if self.abandoned.load(Ordering::SeqCst) {
            return Err(Failure::Abandoned);
        }
        self.committed = true;
        Ok(())
    }

    pub(crate) fn is_committed(&self) -> bool {
        self.committed
    }

    /// A job failed like this.
    pub(crate) fn suffered(&mut self, failure: &Failure) {
        self.sound &= failure.leaves_device_sound();
        if failure.is_full_memory() {
            self.make_room();
        }
    }

    /// Whether the next job can have this connection.
    pub(crate) fn is_sound(&self) -> bool {
        self.sound
    }

    pub(crate) fn tcti(&self) -> &Tcti {
        &self.tcti
    }

    /// Sends a command, again and again while the TPM is busy, and without any session.
    pub(crate) fn run<T>(
        &mut self,
        mut command: impl FnMut(&mut Context) -> Result<T, tss_esapi::Error>,
    ) -> Result<T, Failure> {
        let mut pause = FIRST_PAUSE;
        let mut tries = 1;
        loop {
            match command(&mut self.context).map_err(Failure::from) {
                Err(Failure::Busy(_)) if tries < TRIES => {
                    if self.abandoned.load(Ordering::SeqCst) {
                        return Err(Failure::Abandoned);
                    }
                    thread::sleep(pause);
                    pause = pause.saturating_mul(2);
                    tries = tries.saturating_add(1);
                }
                result => return result,
            }
        }
    }

    /// The same under these sessions.
    pub(crate) fn run_under<T>(
        &mut self,
        sessions: (Option<AuthSession>, Option<AuthSession>),
        mut command: impl FnMut(&mut Context) -> Result<T, tss_esapi::Error>,
    ) -> Result<T, Failure> {
        let (first, second) = sessions;
        self.run(|context| context.execute_with_sessions((first, second, None), &mut command))
    }

    /// The same under the long-lived session.
    pub(crate) fn run_guarded<T>(
        &mut self,
        command: impl FnMut(&mut Context) -> Result<T, tss_esapi::Error>,
    ) -> Result<T, Failure> {
        let session = self.session()?;
        self.run_under((Some(session), None), command)
    }

    /// The long-lived session. There is none without a storage root key.
    pub(crate) fn session(&mut self) -> Result<AuthSession, Failure> {
        if let Some(session) = self.session {
            return Ok(session);
        }
        let session = self.start_session(SessionType::Hmac)?;
        self.session = Some(session);
        Ok(session)
    }

    /// A new session, salted with the storage root key; parameters that can be encrypted are.
    pub(crate) fn start_session(&mut self, kind: SessionType) -> Result<AuthSession, Failure> {
        let root = self.root()?;
        let session = self
            .run(|context| {
                context.start_auth_session(
                    Some(root),
                    None,
                    None,
                    kind,
                    SymmetricDefinition::AES_128_CFB,
                    HashingAlgorithm::Sha256,
                )
            })?
            .ok_or(Failure::Wrong("no session"))?;
        let (attributes, mask) = SessionAttributesBuilder::new()
            .with_continue_session(true)
            .with_decrypt(true)
            .with_encrypt(true)
            .build();
        self.run(|context| context.tr_sess_set_attributes(session, attributes, mask))?;
        Ok(session)
    }

    pub(crate) fn flush_session(&mut self, session: AuthSession) -> Result<(), Failure> {
        let handle = ObjectHandle::from(SessionHandle::from(session));
        self.run(|context| context.flush_context(handle))
    }

    /// Flushes an object, whatever came of the work with it.
    pub(crate) fn flush_after<T>(
        &mut self,
        object: ObjectHandle,
        result: Result<T, Failure>,
    ) -> Result<T, Failure> {
        let flushed = self.run(|context| context.flush_context(object));
        let value = result?;
        flushed.map(|()| value)
    }

    /// The storage root key.
    pub(crate) fn root(&mut self) -> Result<KeyHandle, Failure> {
        if let Some(root) = self.root {
            return Ok(root);
        }
        let Some(found) = self.find_root()? else {
            return Err(self.no_root());
        };
        Ok(found)
    }

    /// The same, made and kept if there is none.
    pub(crate) fn root_or_new(&mut self) -> Result<(), Failure> {
        if self.root.is_none() && self.find_root()?.is_none() {
            if self.known_root.is_some() {
                return Err(Failure::OtherDevice);
            }
            self.make_root()?;
            self.find_root()?
                .ok_or(Failure::Wrong("no storage root key though it made one"))?;
        }
        Ok(())
    }

    /// Looks anew whether the TPM is still the same: an error if it was cleared or exchanged, or never had a root.
    pub(crate) fn check_root(&mut self) -> Result<(), Failure> {
        self.root = None;
        self.root().map(drop)
    }

    fn find_root(&mut self) -> Result<Option<KeyHandle>, Failure> {
        if !self.persistent_handles()?.contains(&template::ROOT) {
            return Ok(None);
        }
        let loaded = self.look_at(template::ROOT, None)?;
        if !template::is_root(&loaded.public) {
            return Err(Error::new(
                ErrorKind::Unsupported,
                format!(
                    "the key at {:#010x} of the TPM at {} is no storage root key; move it away with tpm2_evictcontrol",
                    template::ROOT,
                    self.tcti
                ),
            )
            .into());
        }
        if self
            .known_root
            .as_ref()
            .is_some_and(|name| *name != loaded.name)
        {
            return Err(Failure::OtherDevice);
        }
        self.known_root = Some(loaded.name.clone());
        self.root = Some(loaded.key());
        Ok(self.root)
    }

    fn make_root(&mut self) -> Result<(), Failure> {
        self.commit()?;
        // Without a storage root key there is nothing to salt a session with. The owner's password, if there is one,
        // is not sent: it goes into the HMAC.
        let session = self
            .run(|context| {
                context.start_auth_session(
                    None,
                    None,
                    None,
                    SessionType::Hmac,
                    SymmetricDefinition::AES_128_CFB,
                    HashingAlgorithm::Sha256,
                )
            })?
            .ok_or(Failure::Wrong("no session"))?;
        let (attributes, mask) = SessionAttributesBuilder::new()
            .with_continue_session(true)
            .build();
        self.run(|context| context.tr_sess_set_attributes(session, attributes, mask))?;
        let under = (Some(session), None);
        let template = template::root()?;
        let made = self.run_under(under, |context| {
            context.create_primary(Hierarchy::Owner, template.clone(), None, None, None, None)
        })?;
        let kept = self.keep(under, made.key_handle.into(), template::ROOT);
        self.flush_after(made.key_handle.into(), kept)?;
        self.flush_session(session)
    }

    /// Keeps an object at a handle (TPM2_EvictControl).
    pub(crate) fn keep(
        &mut self,
        under: (Option<AuthSession>, Option<AuthSession>),
        object: ObjectHandle,
        handle: u32,
    ) -> Result<(), Failure> {
        let place = Persistent::Persistent(PersistentTpmHandle::new(handle)?);
        self.run_under(under, |context| {
            context.evict_control(Provision::Owner, object, place)
        })
        .map(drop)
    }

    /// Removes what is kept at a handle.
    pub(crate) fn remove(&mut self, loaded: &Loaded, handle: u32) -> Result<(), Failure> {
        let session = self.session()?;
        self.keys.remove(&handle);
        let place = Persistent::Persistent(PersistentTpmHandle::new(handle)?);
        self.run_under((Some(session), None), |context| {
            context.evict_control(Provision::Owner, loaded.object, place)
        })
        .map(drop)
    }

    fn no_root(&self) -> Failure {
        if self.known_root.is_some() {
            return Failure::OtherDevice;
        }
        Error::new(
            ErrorKind::NotFound,
            format!(
                "the TPM at {} has no storage root key, so it holds no keys; make one with `countersign key generate`, and if there were keys before, provision this device again, for the TPM was cleared",
                self.tcti
            ),
        )
        .into()
    }

    /// The key at a handle, or nothing if there is none.
    pub(crate) fn key(&mut self, handle: u32) -> Result<Option<Loaded>, Failure> {
        if let Some(loaded) = self.keys.get(&handle) {
            return Ok(Some(loaded.clone()));
        }
        if !self.persistent_handles()?.contains(&handle) {
            return Ok(None);
        }
        let session = self.session()?;
        let loaded = self.look_at(handle, Some(session))?;
        self.keys.insert(handle, loaded.clone());
        Ok(Some(loaded))
    }

    /// The same, asked anew even if it was looked at before.
    pub(crate) fn key_anew(&mut self, handle: u32) -> Result<Option<Loaded>, Failure> {
        self.keys.remove(&handle);
        self.key(handle)
    }

    fn look_at(&mut self, handle: u32, session: Option<AuthSession>) -> Result<Loaded, Failure> {
        let place = TpmHandle::Persistent(PersistentTpmHandle::new(handle)?);
        let object =
            self.run_under((session, None), |context| context.tr_from_tpm_public(place))?;
        let (public, name, _) = self.run_under((session, None), |context| {
            context.read_public(object.into())
        })?;
        let of_object = self.run(|context| context.tr_get_name(object))?;
        if of_object != name {
            return Err(Failure::Wrong("two names for one key"));
        }
        Ok(Loaded {
            object,
            public,
            name: name.value().to_vec(),
        })
    }

    /// What the TPM keeps, ascending.
    pub(crate) fn persistent_handles(&mut self) -> Result<Vec<u32>, Failure> {
        self.handles_from(0x8100_0000)
    }

    /// The NV indices from this one on, ascending.
    pub(crate) fn nv_indices_from(&mut self, first: u32) -> Result<Vec<u32>, Failure> {
        self.handles_from(first)
    }

    fn handles_from(&mut self, first: u32) -> Result<Vec<u32>, Failure> {
        let mut handles: Vec<u32> = Vec::new();
        let mut from = first;
        loop {
            let (data, more) = self.run(|context| {
                context.get_capability(CapabilityType::Handles, from, HANDLES_AT_ONCE)
            })?;
            let CapabilityData::Handles(list) = data else {
                return Err(Failure::Wrong("another list than that of its handles"));
            };
            let before = handles.len();
            for handle in list.into_inner() {
                let handle = u32::from(handle);
                // Ascending, and of one kind (part 3, §30.2): all else would have no end.
                if handle < from || handle >> 24 != first >> 24 {
                    return Err(Failure::Wrong("a list of handles out of order"));
                }
                handles.push(handle);
                from = handle.saturating_add(1);
            }
            if !more || handles.len() == before {
                return Ok(handles);
            }
        }
    }

    /// Flushes what lies in the working memory. Behind a resource manager that is what this connection put there;
    /// without one, nobody else can rely on it.
    fn make_room(&mut self) {
        self.session = None;
        for first in [0x8000_0000, 0x0200_0000] {
            for handle in self.handles_from(first).unwrap_or_default() {
                let Ok(handle) = TpmHandle::try_from(handle) else {
                    continue;
                };
                // What cannot be flushed was flushed by somebody else, or is not ours.
                let _ = self.run(|context| {
                    let object = context.tr_from_tpm_public(handle)?;
                    context.flush_context(object)
                });
            }
        }
    }

    /// The name of the storage root key, once it was seen.
    pub(crate) fn root_name(&self) -> Option<&[u8]> {
        self.root.as_ref().and(self.known_root.as_deref())
    }
}
