//! The store of keys on software TPMs, one for each test.

mod extras;
mod faults;
mod provider;
mod proxy;
mod takeover;
