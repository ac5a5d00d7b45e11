//! The store of keys: one TPM, shared between threads.

use crate::device::{Device, Settings};
use crate::evidence;
use crate::failure::Failure;
use crate::keys::{self, Found};
use crate::policy::REGISTERS;
use crate::sign::{self, KeyRef, OpenKey};
use crate::template;
use crate::worker::{DEADLINE, Worker};
use countersign_keys::{
    Algorithm, Capabilities, Challenge, Error, ErrorKind, Evidence, KeyInfo, KeyProvider,
    KeyTemplate, KeyUri, KeyUsage, LockConsent, Secret, SigningKey, Tcti, TpmKey, TpmKeyName,
};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tss_esapi::constants::{CapabilityType, PropertyTag};
use tss_esapi::structures::CapabilityData;

/// The keys of one TPM 2.0.
///
/// The TPM does one thing at a time: calls are served in the order in which they come, by a thread of its own. Each ends
/// within the deadline (30 s unless set), with what was asked or with an error.
///
/// ```no_run
/// use countersign_backend_tpm::TpmProvider;
/// use countersign_keys::{Algorithm, KeyProvider, KeyTemplate, Tcti};
///
/// let tpm = TpmProvider::new(Tcti::default());
/// let key = "tpm:door".parse()?;
/// tpm.generate(&key, &KeyTemplate::signing(Algorithm::Esp256).bound_to(&[0, 7]))?;
/// let signature = tpm.open(&key)?.sign(b"open the valve")?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct TpmProvider {
    worker: Arc<Worker>,
}

/// How a TPM is reached and used, where that differs from the usual.
#[derive(Clone, Debug)]
pub struct TpmOptions {
    tcti: Tcti,
    owner: Secret,
    root: Option<Vec<u8>>,
    deadline: Duration,
}

impl TpmOptions {
    /// The TPM that `tcti` leads to, whose owner hierarchy has no password.
    #[must_use]
    pub fn new(tcti: Tcti) -> Self {
        Self {
            tcti,
            owner: Secret::new(Vec::new()),
            root: None,
            deadline: DEADLINE,
        }
    }

    /// The password of the owner hierarchy, which is needed to make and delete keys and to use nothing. At most 32 bytes.
    #[must_use]
    pub fn owner_password(mut self, password: Secret) -> Self {
        self.owner = password;
        self
    }

    /// The name of the storage root key that this TPM had when the device was provisioned
    /// ([`TpmProvider::root_name`]): a TPM with another one is refused with [`ErrorKind::OtherDevice`]. It also keeps
    /// whoever sits on the bus from putting a key of his own in its place, under which he could read along.
    #[must_use]
    pub fn expect_root(mut self, name: &[u8]) -> Self {
        self.root = Some(name.to_vec());
        self
    }

    /// How long a call may take, the wait for others included.
    #[must_use]
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// The store. The TPM is not asked for anything yet.
    #[must_use]
    pub fn build(self) -> TpmProvider {
        let settings = Settings {
            tcti: self.tcti,
            owner: self.owner,
            root: Mutex::new(self.root),
        };
        TpmProvider {
            worker: Arc::new(Worker::new(settings, self.deadline)),
        }
    }
}

impl TpmProvider {
    /// The keys of the TPM that `tcti` leads to. It is not asked for anything yet.
    #[must_use]
    pub fn new(tcti: Tcti) -> Self {
        TpmOptions::new(tcti).build()
    }

    /// The keys of the TPM that `tcti` leads to, if there is one that answers.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] if there is none, [`ErrorKind::Permissions`] if it may not be used; else what it reports.
    pub fn open_tcti(tcti: Tcti) -> Result<Self, Error> {
        let provider = Self::new(tcti);
        provider.describe()?;
        Ok(provider)
    }

    /// The name of the storage root key: the hash algorithm and the hash of its public area, 34 bytes. It is the same
    /// as long as the TPM is not cleared, and another in every TPM.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] if there is no such key yet; else what the TPM reports.
    pub fn root_name(&self) -> Result<Vec<u8>, Error> {
        self.worker
            .call("the storage root key was not read", |device| {
                device.check_root()?;
                device
                    .root_name()
                    .map(<[u8]>::to_vec)
                    .ok_or(Failure::Wrong("no storage root key"))
            })
    }

    /// The maker, by its identifier in the TCG's registry (TPM_PT_MANUFACTURER), and the version of the firmware: the two
    /// numbers TPM_PT_FIRMWARE_VERSION_1 and _2 as one. The TPM tells it; nothing vouches for it.
    ///
    /// # Errors
    /// What the TPM reports.
    pub fn firmware(&self) -> Result<([u8; 4], u64), Error> {
        self.worker
            .call("the TPM was not asked for its firmware", |device| {
                let maker = property(device, PropertyTag::Manufacturer)?;
                let high = property(device, PropertyTag::FirmwareVersion1)?;
                let low = property(device, PropertyTag::FirmwareVersion2)?;
                Ok((maker.to_be_bytes(), u64::from(high) << 32 | u64::from(low)))
            })
    }

    pub(crate) fn worker(&self) -> &Worker {
        &self.worker
    }

    fn tcti(&self) -> &Tcti {
        &self.worker.settings().tcti
    }

    /// The handle or name, if the URI is one of this TPM.
    pub(crate) fn name_in(&self, key: &KeyUri) -> Result<TpmKeyName, Error> {
        let KeyUri::Tpm(named) = key else {
            return Err(Error::new(
                ErrorKind::Unsupported,
                format!("{key} is no key of a TPM; name one as in tpm:NAME or tpm:0x81010001"),
            ));
        };
        match named.tcti() {
            Some(tcti) if tcti != self.tcti() => Err(Error::new(
                ErrorKind::NotFound,
                format!(
                    "{key} is not a key of the TPM at {}; open the TPM that it names",
                    self.tcti()
                ),
            )),
            _ => Ok(named.name().clone()),
        }
    }

    fn uri(&self, name: TpmKeyName) -> KeyUri {
        let tcti = (*self.tcti() != Tcti::default()).then(|| self.tcti().clone());
        KeyUri::Tpm(TpmKey::new(name, tcti))
    }

    fn info(&self, found: &Found) -> KeyInfo {
        let attributes = found.loaded.public.object_attributes();
        let mut info = KeyInfo::new(self.uri(found.name()), found.public.clone());
        info.usage = template::usage_of(attributes);
        info.origin = template::origin_of(attributes);
        info.boot_state = found.registers().numbers();
        info
    }

    fn unsupported(&self, what: &str) -> Error {
        Error::new(
            ErrorKind::Unsupported,
            format!("the TPM at {} {what}", self.tcti()),
        )
    }

    /// Looks a key up and does something with it.
    fn with_key<T: Send + 'static>(
        &self,
        key: &KeyUri,
        what: &str,
        work: impl Fn(&mut Device, Found) -> Result<T, Failure> + Send + Sync + 'static,
    ) -> Result<T, Error> {
        let (name, uri) = (self.name_in(key)?, key.clone());
        self.worker
            .call(&format!("the key {key} was not {what}"), move |device| {
                let found = keys::find(device, &name)?.ok_or_else(|| sign::gone(&uri))?;
                work(device, found)
            })
    }
}

impl KeyProvider for TpmProvider {
    fn describe(&self) -> Result<String, Error> {
        let tcti = self.tcti().clone();
        self.worker
            .call("the TPM was not asked what it is", move |device| {
                describe(device).map(|what| format!("{what} at {tcti}"))
            })
    }

    fn capabilities(&self) -> Capabilities {
        let mut capabilities = Capabilities::none();
        capabilities.algorithms = vec![Algorithm::Esp256];
        capabilities.hardware = true;
        capabilities.generate = true;
        capabilities.list = true;
        capabilities.delete = true;
        capabilities.attest = true;
        capabilities.boot_state = true;
        capabilities
    }

    /// Under the storage root key, which is made if there is none. The new key signs once before it is kept (an
    /// attestation key cannot).
    fn generate(&self, key: &KeyUri, template: &KeyTemplate) -> Result<KeyInfo, Error> {
        let name = self.name_in(key)?;
        if template.algorithm != Algorithm::Esp256 {
            return Err(self.unsupported("makes P-256 keys only; ask for ESP256"));
        }
        match template.usage {
            KeyUsage::Signing => {}
            KeyUsage::Attestation if template.boot_state.is_empty() => {}
            KeyUsage::Attestation => {
                return Err(self.unsupported(
                    "tells the state of the boot with an attestation key, which is not bound to it; leave the registers out",
                ));
            }
            _ => {
                return Err(self.unsupported(
                    "makes keys for signing and for attestation; ask for one of these",
                ));
            }
        }
        self.registers_exist(&template.boot_state)?;
        let template = template.clone();
        let found = self
            .worker
            .call(&format!("the key {key} was not made"), move |device| {
                keys::make(device, &name, &template)
            })?;
        Ok(self.info(&found))
    }

    fn open(&self, key: &KeyUri) -> Result<SigningKey, Error> {
        self.open_if(key, sign::usable)
    }

    fn show(&self, key: &KeyUri) -> Result<KeyInfo, Error> {
        let found = self.with_key(key, "shown", |_, found| Ok(found))?;
        Ok(self.info(&found))
    }

    fn list(&self) -> Result<Vec<KeyInfo>, Error> {
        let found = self.worker.call("the keys were not listed", keys::list)?;
        Ok(found.iter().map(|found| self.info(found)).collect())
    }

    fn delete(&self, key: &KeyUri) -> Result<(), Error> {
        self.with_key(key, "deleted", |device, found| keys::remove(device, &found))
    }

    /// By the first attestation key, in the order of their names.
    fn attest(&self, key: &KeyUri, challenge: &Challenge) -> Result<Evidence, Error> {
        let (challenge, tcti, uri) = (*challenge, self.tcti().clone(), key.clone());
        self.with_key(key, "attested", move |device, found| {
            sign::never_elsewhere(device, &uri, &found)?;
            let by = keys::list(device)?
                .into_iter()
                .find(|key| {
                    let attributes = key.loaded.public.object_attributes();
                    template::usage_of(attributes) == KeyUsage::Attestation
                        && template::never_elsewhere(attributes)
                })
                .ok_or_else(|| {
                    Error::new(
                        ErrorKind::Unsupported,
                        format!(
                            "the TPM at {tcti} has no attestation key; make one with `countersign key generate --attestation`"
                        ),
                    )
                })?;
            evidence::certify(device, &found, &by, &challenge).map(Evidence::Tpm)
        })
    }

    fn state(
        &self,
        attestation_key: &KeyUri,
        registers: &[u8],
        challenge: &Challenge,
    ) -> Result<Evidence, Error> {
        self.name_in(attestation_key)?;
        self.registers_exist(registers)?;
        if registers.is_empty() {
            return Err(self.unsupported(
                "vouches for registers, and none was named; name some, such as 0, 2 and 7",
            ));
        }
        let mut numbers = registers.to_vec();
        numbers.sort_unstable();
        numbers.dedup();
        let (challenge, uri) = (*challenge, attestation_key.clone());
        self.with_key(attestation_key, "used for a quote", move |device, by| {
            sign::never_elsewhere(device, &uri, &by)?;
            if !by.loaded.public.object_attributes().restricted() {
                // Its signature could have been made over anything, so it would say nothing.
                return Err(Error::new(
                    ErrorKind::Unsupported,
                    format!("the key {uri} signs what it is given, so a quote by it proves nothing; name an attestation key"),
                )
                .into());
            }
            evidence::quote(device, &by, &numbers, &challenge).map(Evidence::TpmQuote)
        })
    }

    fn lock(&self, key: &KeyUri, _: &LockConsent) -> Result<(), Error> {
        self.name_in(key)?;
        Err(self.unsupported(&format!(
            "has nothing to lock: the key {key} is what it was made as, and only its deletion is possible; leave it as it is"
        )))
    }
}

impl TpmProvider {
    /// Opens a key that passes this check. It is [`sign::usable`], but for the search of memory, which needs a key whose
    /// number it knows, and so one that came from outside.
    pub(crate) fn open_if(
        &self,
        key: &KeyUri,
        check: impl Fn(&Device, &KeyUri, &Found) -> Result<KeyRef, Error> + Send + Sync + 'static,
    ) -> Result<SigningKey, Error> {
        let uri = key.clone();
        let (key_ref, public) = self.with_key(key, "opened", move |device, found| {
            Ok((check(device, &uri, &found)?, found.public))
        })?;
        Ok(SigningKey::new(OpenKey {
            worker: Arc::clone(&self.worker),
            uri: key.clone(),
            key: key_ref,
            public,
            counted: Arc::default(),
        }))
    }

    fn registers_exist(&self, registers: &[u8]) -> Result<(), Error> {
        match registers.iter().find(|number| **number >= REGISTERS) {
            None => Ok(()),
            Some(number) => Err(self.unsupported(&format!(
                "has no register {number}; name registers between 0 and {}",
                REGISTERS - 1
            ))),
        }
    }
}

/// `TPM 2.0 of IBM (SW TPM), firmware 2019.1023.16.3636`.
fn describe(device: &mut Device) -> Result<String, Failure> {
    let maker = text(&[property(device, PropertyTag::Manufacturer)?]);
    let mut model = Vec::new();
    for tag in [
        PropertyTag::VendorString1,
        PropertyTag::VendorString2,
        PropertyTag::VendorString3,
        PropertyTag::VendorString4,
    ] {
        model.push(property(device, tag)?);
    }
    let high = property(device, PropertyTag::FirmwareVersion1)?;
    let low = property(device, PropertyTag::FirmwareVersion2)?;
    Ok(format!(
        "TPM 2.0 of {maker} ({}), firmware {:x}.{:x}.{:x}.{:x}",
        text(&model),
        high >> 16,
        high & 0xffff,
        low >> 16,
        low & 0xffff,
    ))
}

fn property(device: &mut Device, tag: PropertyTag) -> Result<u32, Failure> {
    let (data, _) = device
        .run(|context| context.get_capability(CapabilityType::TpmProperties, tag.into(), 1))?;
    match data {
        CapabilityData::TpmProperties(properties) => {
            Ok(properties.find(tag).map_or(0, |property| property.value()))
        }
        _ => Err(Failure::Wrong("another list than that of its properties")),
    }
}

/// Four characters in each number, filled up with zeros or blanks (TPM 2.0 part 2, §6.13).
fn text(numbers: &[u32]) -> String {
    let bytes = numbers.iter().flat_map(|number| number.to_be_bytes());
    let text: String = bytes
        .filter(|byte| byte.is_ascii_graphic() || *byte == b' ')
        .map(char::from)
        .collect();
    text.trim().to_owned()
}
