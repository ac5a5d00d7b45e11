//! The store of keys on software TPMs, one for each test.

mod extras;
mod faults;
mod memory;
mod provider;
mod proxy;
