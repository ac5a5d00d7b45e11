//! The store of keys on software TPMs, one for each test.

mod provider;
