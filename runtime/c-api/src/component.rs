//! `countersign_component`: what was verified and not loaded yet.

use std::ffi::CString;
use std::sync::{Arc, Mutex, PoisonError};

use countersign_runtime::trust_store::{VerifiedComponent, VerifiedSigner};

use crate::error::{Failure, c_string, look};
use crate::passed::{Data, NO_TEXT, Text, lent};
use crate::runtime::Shared;

/// `countersign_component`.
pub(crate) struct Component {
    name: CString,
    version: CString,
    security_version: u64,
    /// SHA-256 of the key of each counted signer's root.
    roots: Vec<[u8; 32]>,
    /// Whose roots, policy and lists decided.
    by: Arc<Shared>,
    verified: Mutex<Option<VerifiedComponent>>,
}

impl Component {
    pub(crate) fn new(verified: VerifiedComponent, by: &Arc<Shared>) -> Self {
        let statement = verified.statement();
        let root = |signer: &VerifiedSigner| *signer.chain().anchor_spki_sha256().as_bytes();
        Self {
            name: c_string(&statement.name().to_string()),
            version: c_string(&statement.version().to_string()),
            security_version: statement.security_version(),
            roots: verified.signers().iter().map(root).collect(),
            by: Arc::clone(by),
            verified: Mutex::new(Some(verified)),
        }
    }

    /// Its bytes, once, for the runtime that verified it.
    pub(crate) fn take(&self, runtime: &Arc<Shared>) -> Result<VerifiedComponent, Failure> {
        if !Arc::ptr_eq(&self.by, runtime) {
            return Err(Failure::misuse(
                "component was verified by another runtime, under other roots and lists; verify it with this one".into(),
            ));
        }
        let mut verified = self.verified.lock().unwrap_or_else(PoisonError::into_inner);
        verified.take().ok_or_else(|| {
            Failure::misuse(
                "component was loaded before; verify it again, or start its guest again".into(),
            )
        })
    }
}

#[unsafe(no_mangle)]
pub(crate) extern "C" fn countersign_component_free(component: Option<Box<Component>>) {
    look((), || drop(component));
}

#[unsafe(no_mangle)]
pub(crate) extern "C" fn countersign_component_name(component: Option<&Component>) -> Text {
    component.map_or(NO_TEXT, |component| lent(&component.name))
}

#[unsafe(no_mangle)]
pub(crate) extern "C" fn countersign_component_version(component: Option<&Component>) -> Text {
    component.map_or(NO_TEXT, |component| lent(&component.version))
}

#[unsafe(no_mangle)]
pub(crate) extern "C" fn countersign_component_security_version(
    component: Option<&Component>,
) -> u64 {
    component.map_or(0, |component| component.security_version)
}

#[unsafe(no_mangle)]
pub(crate) extern "C" fn countersign_component_signers(component: Option<&Component>) -> usize {
    component.map_or(0, |component| component.roots.len())
}

#[unsafe(no_mangle)]
pub(crate) extern "C" fn countersign_component_root(
    component: Option<&Component>,
    signer: usize,
) -> Data {
    component
        .and_then(|component| component.roots.get(signer))
        .map_or(Data::NULL, |root| Data::of(root))
}
