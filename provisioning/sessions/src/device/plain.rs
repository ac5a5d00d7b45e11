//! Keys that nothing vouches for: in files, in tokens, behind programs. A station takes them only where it was told to.

use countersign_keys::{Challenge, KeyInfo, KeyProvider, KeyUri};

use super::{Attested, Device, Hardware, Memory};
use crate::Error;

/// A store of keys without evidence.
pub struct Plain(Box<dyn KeyProvider>);

impl Plain {
    /// The device whose keys these are.
    #[must_use]
    pub fn new(keys: Box<dyn KeyProvider>) -> Self {
        Self(keys)
    }
}

impl Device for Plain {
    fn keys(&self) -> &dyn KeyProvider {
        self.0.as_ref()
    }

    fn hardware(&self) -> Result<Option<Hardware>, Error> {
        Ok(None)
    }

    fn attest(&self, _: &KeyInfo, _: &Challenge) -> Result<Attested, Error> {
        Ok(Attested { by: None })
    }

    fn memory(&self) -> Option<&dyn Memory> {
        None
    }

    fn lock_serial(&self, _: &KeyUri) -> Result<Option<String>, Error> {
        Ok(None)
    }
}
