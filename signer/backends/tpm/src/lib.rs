//! Signing keys in a TPM 2.0.
