//! `countersign_runtime`: verifies and loads; and what it remembers.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use countersign_roots::{build_time, system_time};
use countersign_runtime::format::{ComponentName, Digest, limits};
use countersign_runtime::trust_store::{
    Anchors, Code, Crl, MAX_CRL_BYTES, Now, Rejection, TrustState, UnixTime, VerifiedComponent, pem,
};
use countersign_runtime::wasmtime::component::Linker;
use countersign_runtime::{CodeCache, GuestContext, Runtime as Verified};
use tokio::sync::Notify;

use crate::ceiling::Ceiling;
use crate::component::Component;
use crate::config::Config;
use crate::error::{Error, Failure, answer, look};
use crate::guest::Guest;
use crate::passed::{Data, NewObject, Text, given};

/// The largest signed file, in bytes.
const MAX_FILE_BYTES: u64 = limits::MAX_COMPONENT_BYTES + limits::MAX_SIGNATURE_BYTES + 64;

/// Lists all together, in bytes; PEM is longer than what it holds.
const MAX_LISTS_BYTES: usize = 2 * MAX_CRL_BYTES;

/// `countersign_runtime`.
pub(crate) struct Runtime {
    shared: Arc<Shared>,
    floor: UnixTime,
    state: Mutex<Remembered>,
}

/// What holds for the next component.
struct Remembered {
    /// Versions that worked and numbers of lists that were consulted. Neither falls.
    seen: TrustState,
    lists: Vec<Crl>,
}

impl Remembered {
    fn state(&self) -> TrustState {
        let mut state = self.seen.clone();
        for list in &self.lists {
            state.add_parsed_crl(list.clone());
        }
        state
    }
}

/// What guests go on using when their runtime was freed.
pub(crate) struct Shared {
    pub(crate) runtime: Verified,
    tokio: Option<tokio::runtime::Runtime>,
}

impl Shared {
    /// Runs `work` on this thread to its end, or until somebody is notified of `stop`.
    ///
    /// # Errors
    /// From a function that a guest's lines go to, or the audit's: they are called within another run. And when it was
    /// stopped.
    pub(crate) fn wait<R>(
        &self,
        stop: &Notify,
        work: impl Future<Output = R>,
    ) -> Result<R, Failure> {
        if tokio::runtime::Handle::try_current().is_ok() {
            return Err(Failure::misuse(
                "a guest cannot be run from a function that is called while one runs".into(),
            ));
        }
        match &self.tokio {
            Some(tokio) => tokio.block_on(async {
                tokio::select! {
                    biased;
                    () = stop.notified() => Err(Failure::Stopped),
                    done = work => Ok(done),
                }
            }),
            None => Err(Failure::host("the runtime is ending".into())),
        }
    }
}

impl Drop for Shared {
    /// Without waiting, since the last one may be freed where nobody may wait.
    fn drop(&mut self) {
        if let Some(tokio) = self.tokio.take() {
            tokio.shutdown_background();
        }
    }
}

/// Roots that nobody can trust.
pub(crate) fn unusable(error: impl std::fmt::Display) -> Failure {
    Failure::Refused(Code::RootUnusable, error.to_string())
}

#[unsafe(no_mangle)]
pub(crate) extern "C" fn countersign_runtime_new(
    config: Option<&Config>,
    mut runtime: NewObject<'_, Runtime>,
) -> Option<Box<Error>> {
    answer(|| {
        runtime.put(None, "the runtime")?;
        let settings = given(config, "config")?.settings();
        if settings.roots.is_empty() {
            return Err(Failure::Refused(
                Code::NoRoot,
                "there is no root in the configuration".into(),
            ));
        }
        let anchors = Anchors::new(settings.roots).map_err(unusable)?;
        let mut builder = Verified::builder(anchors).policy(settings.policy);
        if let Some((folder, most)) = settings.cache {
            let cache =
                CodeCache::open(&folder, most).map_err(|error| Failure::host(error.to_string()))?;
            builder = builder.code_cache(cache);
        }
        if let Some(audit) = settings.audit {
            builder = builder.audit(move |record| audit.line(&record.line(system_time())));
        }
        let tokio = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("countersign")
            .enable_all()
            .build()
            .map_err(|error| Failure::host(format!("no thread could be started: {error}")))?;
        let shared = Shared {
            runtime: builder.build()?,
            tokio: Some(tokio),
        };
        let made = Runtime {
            shared: Arc::new(shared),
            floor: build_time().max(settings.floor.unwrap_or(build_time())),
            state: Mutex::new(Remembered {
                seen: TrustState::remembering(),
                lists: Vec::new(),
            }),
        };
        runtime.put(Some(Box::new(made)), "the runtime")
    })
}

#[unsafe(no_mangle)]
pub(crate) extern "C" fn countersign_runtime_free(runtime: Option<Box<Runtime>>) {
    look((), || drop(runtime));
}

#[unsafe(no_mangle)]
pub(crate) extern "C" fn countersign_runtime_lists(
    runtime: Option<&Runtime>,
    lists: Data,
    length: usize,
) -> Option<Box<Error>> {
    answer(|| {
        let runtime = given(runtime, "runtime")?;
        if length > MAX_LISTS_BYTES {
            return Err(Failure::Refused(
                Code::LimitExceeded,
                format!("lists has {length} bytes, and at most {MAX_LISTS_BYTES} are read"),
            ));
        }
        let lists = pem::crls(lists.read(length, "lists")?).map_err(|error| {
            Failure::Refused(
                Code::CrlInvalid,
                format!("lists holds no revocation list: {error}"),
            )
        })?;
        let lists = lists
            .iter()
            .map(|list| Crl::parse(list))
            .collect::<Result<Vec<_>, _>>()?;
        runtime.remembered().lists = lists;
        Ok(())
    })
}

#[unsafe(no_mangle)]
pub(crate) extern "C" fn countersign_runtime_note_version(
    runtime: Option<&Runtime>,
    root: Data,
    name: Text,
    security_version: u64,
) -> Option<Box<Error>> {
    answer(|| {
        let runtime = given(runtime, "runtime")?;
        let root: [u8; 32] = root
            .read(32, "root")?
            .try_into()
            .map_err(|_| Failure::misuse("root has not 32 bytes".into()))?;
        let name = ComponentName::parse(name.read("name")?)
            .map_err(|error| Failure::misuse(format!("name: {error}")))?;
        runtime
            .remembered()
            .seen
            .note_version(Digest::from_bytes(root), name, security_version);
        Ok(())
    })
}

#[unsafe(no_mangle)]
pub(crate) extern "C" fn countersign_verify(
    runtime: Option<&Runtime>,
    file: Data,
    length: usize,
    mut component: NewObject<'_, Component>,
) -> Option<Box<Error>> {
    answer(|| {
        component.put(None, "the component")?;
        let runtime = given(runtime, "runtime")?;
        if u64::try_from(length).is_ok_and(|length| length > MAX_FILE_BYTES) {
            return Err(Failure::Refused(
                Code::LimitExceeded,
                format!("the file has {length} bytes, and at most {MAX_FILE_BYTES} are read"),
            ));
        }
        let bytes = file.read(length, "file")?.to_vec();
        let now = Now::new(runtime.floor, Some(system_time()));
        let state = runtime.remembered().state();
        let verified = runtime.shared.runtime.verify(bytes, &now, &state);
        let verified = verified.inspect_err(|rejection| runtime.note_revoking(rejection))?;
        runtime.note_lists(&verified);
        let verified = Component::new(verified, &runtime.shared);
        component.put(Some(Box::new(verified)), "the component")
    })
}

#[unsafe(no_mangle)]
pub(crate) extern "C" fn countersign_load(
    runtime: Option<&Runtime>,
    component: Option<&Component>,
    ceiling: Option<&Ceiling>,
    mut guest: NewObject<'_, Guest>,
) -> Option<Box<Error>> {
    answer(|| {
        guest.put(None, "the guest")?;
        let runtime = given(runtime, "runtime")?;
        let component = given(component, "component")?;
        let ceiling = given(ceiling, "ceiling")?.get();
        let verified = component.take(&runtime.shared)?;
        let linker = Linker::<GuestContext>::new(runtime.shared.runtime.engine());
        let ready = runtime.shared.runtime.load(verified, &ceiling, &linker)?;
        let loaded = Guest::new(Arc::clone(&runtime.shared), ready);
        guest.put(Some(Box::new(loaded)), "the guest")
    })
}

impl Runtime {
    fn remembered(&self) -> MutexGuard<'_, Remembered> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on, no older list than one that revoked will do, and it must not be away.
    fn note_revoking(&self, rejection: &Rejection) {
        if let Some((issuer, number)) = rejection.revoking_list() {
            self.remembered().seen.note_crl_number(issuer, number);
        }
    }

    /// From now on, no older list of these issuers will do.
    fn note_lists(&self, verified: &VerifiedComponent) {
        let seen = &mut self.remembered().seen;
        for signer in verified.signers() {
            for (issuer, number) in signer.chain().revocation() {
                seen.note_crl_number(*issuer, *number);
            }
        }
    }
}
