//! `countersign_config`: what a runtime trusts and demands, said step by step before there is one.

use std::ffi::c_void;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use countersign_runtime::format::DeviceIdentity;
use countersign_runtime::trust_store::{AnchorSource, Policy, UnixTime};

use crate::error::{Error, Failure, answer, look};
use crate::passed::{Data, LineFunction, Lines, Text, given};

/// A root file is no larger, in bytes (1 MiB).
const MAX_ROOTS: usize = 1 << 20;

/// `countersign_config`.
#[derive(Default)]
pub(crate) struct Config(Mutex<Settings>);

/// What was said so far.
#[derive(Clone, Default)]
pub(crate) struct Settings {
    pub(crate) roots: Vec<AnchorSource>,
    pub(crate) policy: Policy,
    pub(crate) floor: Option<UnixTime>,
    pub(crate) audit: Option<Arc<Lines>>,
    /// A folder for compiled code, and how many bytes it may have.
    pub(crate) cache: Option<(PathBuf, u64)>,
}

impl Config {
    pub(crate) fn settings(&self) -> Settings {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn change(&self, change: impl FnOnce(&mut Settings)) {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

#[unsafe(no_mangle)]
pub(crate) extern "C" fn countersign_config_new() -> Option<Box<Config>> {
    look(None, || Some(Box::default()))
}

#[unsafe(no_mangle)]
pub(crate) extern "C" fn countersign_config_free(config: Option<Box<Config>>) {
    look((), || drop(config));
}

#[unsafe(no_mangle)]
pub(crate) extern "C" fn countersign_config_roots(
    config: Option<&Config>,
    pem: Data,
    length: usize,
) -> Option<Box<Error>> {
    answer(|| {
        let config = given(config, "config")?;
        if length > MAX_ROOTS {
            return Err(Failure::misuse(format!(
                "pem has {length} bytes, and roots have at most {MAX_ROOTS}"
            )));
        }
        let roots = countersign_roots::from_pem(pem.read(length, "pem")?)
            .map_err(|error| Failure::misuse(format!("pem holds no roots: {error}")))?;
        config.change(|settings| settings.roots.extend(roots));
        Ok(())
    })
}

#[unsafe(no_mangle)]
pub(crate) extern "C" fn countersign_config_compiled_in_roots(
    config: Option<&Config>,
) -> Option<Box<Error>> {
    answer(|| {
        let config = given(config, "config")?;
        let roots = countersign_roots::sources().map_err(crate::runtime::unusable)?;
        config.change(|settings| settings.roots.extend(roots));
        Ok(())
    })
}

#[unsafe(no_mangle)]
pub(crate) extern "C" fn countersign_config_signers(
    config: Option<&Config>,
    least: u8,
) -> Option<Box<Error>> {
    answer(|| {
        let config = given(config, "config")?;
        let policy = config
            .settings()
            .policy
            .with_min_signers(least)
            .map_err(|error| Failure::misuse(format!("least is {least}: {error}")))?;
        config.change(|settings| settings.policy = policy);
        Ok(())
    })
}

#[unsafe(no_mangle)]
pub(crate) extern "C" fn countersign_config_device(
    config: Option<&Config>,
    identity: Text,
    device_type: Text,
) -> Option<Box<Error>> {
    answer(|| {
        let config = given(config, "config")?;
        let identity = DeviceIdentity::parse(identity.read("identity")?)
            .map_err(|error| Failure::misuse(format!("identity: {error}")))?;
        let device_type = device_type.read_if_given("device_type")?;
        let device_type = device_type.map(str::to_owned);
        config.change(|settings| {
            settings.policy = settings.policy.clone().with_device(identity, device_type);
        });
        Ok(())
    })
}

#[unsafe(no_mangle)]
pub(crate) extern "C" fn countersign_config_time_floor(
    config: Option<&Config>,
    seconds: u64,
) -> Option<Box<Error>> {
    answer(|| {
        let floor = Some(UnixTime::from_secs(seconds));
        given(config, "config")?.change(|settings| settings.floor = floor);
        Ok(())
    })
}

#[unsafe(no_mangle)]
pub(crate) extern "C" fn countersign_config_code_cache(
    config: Option<&Config>,
    folder: Text,
    most: u64,
) -> Option<Box<Error>> {
    answer(|| {
        let cache = Some((PathBuf::from(folder.read("folder")?), most));
        given(config, "config")?.change(|settings| settings.cache = cache);
        Ok(())
    })
}

#[unsafe(no_mangle)]
pub(crate) extern "C" fn countersign_config_audit(
    config: Option<&Config>,
    function: Option<LineFunction>,
    user: *mut c_void,
) -> Option<Box<Error>> {
    answer(|| {
        let lines = Arc::new(Lines::new(function, user)?);
        given(config, "config")?.change(|settings| settings.audit = Some(lines));
        Ok(())
    })
}
