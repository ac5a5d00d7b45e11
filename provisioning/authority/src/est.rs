//! EST (RFC 7030, RFC 8951): what its bodies look like.

pub mod base64;
pub mod pkcs7;
