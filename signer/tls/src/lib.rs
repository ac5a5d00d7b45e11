//! TLS with a key in any store.
