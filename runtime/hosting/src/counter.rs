//! Counters in hardware, for programs that remember.

use countersign_keys::{CounterUri, Error, MonotonicCounter};
use countersign_stores::Stores;

/// The counter of this name, which is looked for when it is used.
///
/// # Errors
/// If this build or this machine has no such hardware.
pub fn open(counter: &CounterUri) -> Result<Box<dyn MonotonicCounter>, Error> {
    Stores::without_secrets().counter(counter)
}

/// The same; made where there is none.
///
/// # Errors
/// As [`open`], and if there is no room for it.
pub fn make(counter: &CounterUri) -> Result<Box<dyn MonotonicCounter>, Error> {
    Stores::without_secrets().new_counter(counter)
}
