//! `countersign_guest`, which was loaded, and `countersign_instance`, which runs and answers calls.

use std::ffi::CString;
use std::sync::{Arc, Mutex, TryLockError};

use countersign_runtime::wasmtime::Store;
use countersign_runtime::wasmtime::component::{ComponentNamedList, Lift, Lower};
use countersign_runtime::{GuestContext, ReadyGuest, RunningGuest};
use tokio::sync::Notify;

use crate::buffer::Buffer;
use crate::error::{Error, Failure, answer, c_string, look};
use crate::passed::{Data, NO_TEXT, NewObject, Out, Text, given, lent};
use crate::runtime::Shared;

/// `countersign_guest`.
pub(crate) struct Guest {
    shared: Arc<Shared>,
    ready: ReadyGuest<GuestContext>,
    withheld: Vec<CString>,
    stop: Arc<Notify>,
}

impl Guest {
    pub(crate) fn new(shared: Arc<Shared>, ready: ReadyGuest<GuestContext>) -> Self {
        let withheld = ready.granted().withheld().iter();
        Self {
            withheld: withheld.map(|line| c_string(line)).collect(),
            shared,
            ready,
            stop: Arc::default(),
        }
    }
}

#[unsafe(no_mangle)]
pub(crate) extern "C" fn countersign_guest_free(guest: Option<Box<Guest>>) {
    look((), || drop(guest));
}

#[unsafe(no_mangle)]
pub(crate) extern "C" fn countersign_guest_withheld(guest: Option<&Guest>, index: usize) -> Text {
    guest
        .and_then(|guest| guest.withheld.get(index))
        .map_or(NO_TEXT, |line| lent(line))
}

#[unsafe(no_mangle)]
pub(crate) extern "C" fn countersign_guest_run(
    guest: Option<&Guest>,
    mut status: Out<'_, u8>,
) -> Option<Box<Error>> {
    answer(|| {
        status.put(1, "the status")?;
        let guest = given(guest, "guest")?;
        let ended = guest
            .shared
            .wait(&guest.stop, guest.ready.clone().run_command())??;
        status.put(ended, "the status")
    })
}

#[unsafe(no_mangle)]
pub(crate) extern "C" fn countersign_guest_start(
    guest: Option<&Guest>,
    mut instance: NewObject<'_, Instance>,
) -> Option<Box<Error>> {
    answer(|| {
        instance.put(None, "the instance")?;
        let guest = given(guest, "guest")?;
        let context = guest.ready.context()?;
        let store = Store::new(guest.ready.engine(), context);
        let running = guest
            .shared
            .wait(&guest.stop, guest.ready.clone().start(store))??;
        let started = Instance {
            shared: Arc::clone(&guest.shared),
            running: Mutex::new(running),
            stop: Arc::clone(&guest.stop),
        };
        instance.put(Some(Box::new(started)), "the instance")
    })
}

#[unsafe(no_mangle)]
pub(crate) extern "C" fn countersign_guest_stop(guest: Option<&Guest>) -> Option<Box<Error>> {
    answer(|| {
        given(guest, "guest")?.stop.notify_waiters();
        Ok(())
    })
}

/// `countersign_instance`.
pub(crate) struct Instance {
    shared: Arc<Shared>,
    running: Mutex<RunningGuest<GuestContext>>,
    stop: Arc<Notify>,
}

impl Instance {
    fn call<P, R>(
        &self,
        interface: Option<&str>,
        function: &str,
        parameters: P,
    ) -> Result<R, Failure>
    where
        P: ComponentNamedList + Lower + Send + Sync + 'static,
        R: ComponentNamedList + Lift + Send + Sync + 'static,
    {
        // It does one thing at a time. Waiting for the other call would be for ever where that one waits for this.
        let mut running = match self.running.try_lock() {
            Ok(running) => running,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => {
                return Err(Failure::misuse(
                    "instance is in another call; start one for each thread".into(),
                ));
            }
        };
        let call = running.call_export::<P, R>(interface, function, parameters);
        Ok(self.shared.wait(&self.stop, call)??)
    }
}

#[unsafe(no_mangle)]
pub(crate) extern "C" fn countersign_instance_free(instance: Option<Box<Instance>>) {
    look((), || drop(instance));
}

#[unsafe(no_mangle)]
pub(crate) extern "C" fn countersign_instance_call_bytes(
    instance: Option<&Instance>,
    interface: Text,
    function: Text,
    bytes: Data,
    length: usize,
    mut result: NewObject<'_, Buffer>,
) -> Option<Box<Error>> {
    answer(|| {
        result.put(None, "the result")?;
        let instance = given(instance, "instance")?;
        let interface = interface.read_if_given("interface")?;
        let parameter = bytes.read(length, "bytes")?.to_vec();
        let (bytes,): (Vec<u8>,) =
            instance.call(interface, function.read("function")?, (parameter,))?;
        result.put(Buffer::boxed(bytes), "the result")
    })
}

#[unsafe(no_mangle)]
pub(crate) extern "C" fn countersign_instance_call_text(
    instance: Option<&Instance>,
    interface: Text,
    function: Text,
    text: Data,
    length: usize,
    mut result: NewObject<'_, Buffer>,
) -> Option<Box<Error>> {
    answer(|| {
        result.put(None, "the result")?;
        let instance = given(instance, "instance")?;
        let interface = interface.read_if_given("interface")?;
        let parameter = std::str::from_utf8(text.read(length, "text")?)
            .map_err(|_| Failure::misuse("text is not UTF-8".into()))?
            .to_owned();
        let (text,): (String,) =
            instance.call(interface, function.read("function")?, (parameter,))?;
        result.put(Buffer::boxed(text.into_bytes()), "the result")
    })
}
