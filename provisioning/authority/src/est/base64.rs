//! The base64 of EST bodies: read with or without line breaks, written without (RFC 8951 §3.1).
//!
//! RFC 7030 had a Content-Transfer-Encoding header and line breaks; RFC 8951 dropped the header and has senders write
//! none, though receivers must take them. PEM and bare DER are taken too, because clients send them.

use base64ct::{Base64, Encoding as _};

use crate::problem::{Code, Problem};

/// The certificate request in a body: base64, with or without line breaks, PEM, or DER.
///
/// # Errors
/// [`Code::BadRequest`] for anything else.
pub fn request(body: &[u8]) -> Result<Vec<u8>, Problem> {
    // A SEQUENCE of more than 127 bytes, as every request is, begins with 30 8x, and the second is no character.
    if matches!(body, [0x30, 0x81..=0x84, ..]) {
        return Ok(body.to_vec());
    }
    let unreadable = || {
        Problem::new(Code::BadRequest)
            .detail("the body is not a PKCS#10 request in base64, PEM or DER")
    };
    let text = std::str::from_utf8(body).map_err(|_| unreadable())?;
    let mut base64 = String::with_capacity(text.len());
    for line in text.lines() {
        let line = line.trim();
        if !line.starts_with("-----") {
            base64.extend(line.chars().filter(|character| !character.is_whitespace()));
        }
    }
    if base64.is_empty() {
        return Err(unreadable());
    }
    Base64::decode_vec(&base64).map_err(|_| unreadable())
}

/// Bytes as a body.
#[must_use]
pub fn body(bytes: &[u8]) -> String {
    Base64::encode_string(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_reads_as_the_same_bytes() {
        let der = [&[0x30, 0x81, 0x90][..], &[7; 0x90]].concat();
        let flat = body(&der);
        let mut wrapped = String::new();
        for (place, character) in flat.chars().enumerate() {
            if place > 0 && place % 64 == 0 {
                wrapped.push_str("\r\n");
            }
            wrapped.push(character);
        }
        let pem = format!(
            "-----BEGIN CERTIFICATE REQUEST-----\n{wrapped}\n-----END CERTIFICATE REQUEST-----\n"
        );
        assert!(!flat.contains('\n'));
        for form in [flat.as_bytes(), wrapped.as_bytes(), pem.as_bytes(), &der] {
            assert_eq!(request(form).expect("reads"), der);
        }
        for bad in [&b""[..], b"\n\n", b"%%%", b"\xff\xfe", b"AAA"] {
            assert!(request(bad).is_err(), "{bad:?}");
        }
    }
}
