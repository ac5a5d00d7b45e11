//! The bytes in which roots are compiled into a host: deterministic CBOR, an array of roots, each
//! `[certificate, purpose, scope or null, grace in seconds, [* revocation list]]`.
//!
//! They carry no authority of their own: whatever is decoded goes through [`crate::Anchors::new`].

use std::time::Duration;

use countersign_format::Scope;
use minicbor::{Decoder, Encoder, data::Type};

use crate::{AnchorError, AnchorSource, Purpose, anchor::MAX_ANCHORS};

/// A root holds at most this many revocation lists to start from.
const MAX_CRLS: u64 = 64;

/// Encodes roots for the section of a host.
///
/// # Errors
/// [`AnchorError::Damaged`] if a scope cannot be encoded.
pub fn encode_sources(sources: &[AnchorSource]) -> Result<Vec<u8>, AnchorError> {
    const CANNOT: AnchorError = AnchorError::Damaged {
        what: "a root cannot be encoded",
    };
    let mut encoder = Encoder::new(Vec::new());
    let done = (|| {
        encoder.array(sources.len().try_into().ok()?).ok()?;
        for source in sources {
            encoder.array(5).ok()?.bytes(&source.certificate).ok()?;
            encoder
                .u8(match source.purpose {
                    Purpose::Components => 0,
                    Purpose::PrecompiledCode => 1,
                })
                .ok()?;
            match &source.scope {
                Some(scope) => encoder.bytes(&scope.to_der().ok()?).ok()?,
                None => encoder.null().ok()?,
            };
            encoder.u64(source.crl_grace.as_secs()).ok()?;
            encoder.array(source.crls.len().try_into().ok()?).ok()?;
            for crl in &source.crls {
                encoder.bytes(crl).ok()?;
            }
        }
        Some(())
    })();
    done.map(|()| encoder.into_writer()).ok_or(CANNOT)
}

/// Decodes the section of a host.
///
/// # Errors
/// [`AnchorError::Damaged`], [`AnchorError::TooMany`].
pub fn decode_sources(bytes: &[u8]) -> Result<Vec<AnchorSource>, AnchorError> {
    let mut decoder = Decoder::new(bytes);
    let count = array(&mut decoder, "the list of roots")?;
    let actual = usize::try_from(count).unwrap_or(usize::MAX);
    if actual > MAX_ANCHORS {
        return Err(AnchorError::TooMany { actual });
    }
    let sources = (0..count)
        .map(|_| decode_source(&mut decoder))
        .collect::<Result<Vec<_>, _>>()?;
    if decoder.position() != bytes.len() {
        return Err(AnchorError::Damaged {
            what: "bytes after the roots",
        });
    }
    Ok(sources)
}

fn decode_source(decoder: &mut Decoder<'_>) -> Result<AnchorSource, AnchorError> {
    if array(decoder, "a root")? != 5 {
        return Err(AnchorError::Damaged { what: "a root" });
    }
    let certificate = bytes(decoder, "a root certificate")?;
    let purpose = match decoder.u8() {
        Ok(0) => Purpose::Components,
        Ok(1) => Purpose::PrecompiledCode,
        _ => {
            return Err(AnchorError::Damaged {
                what: "a root's purpose",
            });
        }
    };
    const SCOPE: AnchorError = AnchorError::Damaged {
        what: "a root's scope",
    };
    let scope = if matches!(decoder.datatype(), Ok(Type::Null)) {
        decoder.null().map_err(|_| SCOPE)?;
        None
    } else {
        Some(Scope::from_der(&bytes(decoder, "a root's scope")?).map_err(|_| SCOPE)?)
    };
    let grace = decoder.u64().map_err(|_| AnchorError::Damaged {
        what: "a root's grace",
    })?;
    let crls = array(decoder, "a root's revocation lists")?;
    if crls > MAX_CRLS {
        return Err(AnchorError::Damaged {
            what: "a root's revocation lists",
        });
    }
    let crls = (0..crls)
        .map(|_| bytes(decoder, "a revocation list"))
        .collect::<Result<_, _>>()?;
    Ok(AnchorSource {
        certificate,
        purpose,
        scope,
        crl_grace: Duration::from_secs(grace),
        crls,
    })
}

fn array(decoder: &mut Decoder<'_>, what: &'static str) -> Result<u64, AnchorError> {
    decoder
        .array()
        .ok()
        .flatten()
        .ok_or(AnchorError::Damaged { what })
}

fn bytes(decoder: &mut Decoder<'_>, what: &'static str) -> Result<Vec<u8>, AnchorError> {
    decoder
        .bytes()
        .map(<[u8]>::to_vec)
        .map_err(|_| AnchorError::Damaged { what })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sources() -> Vec<AnchorSource> {
        let mut second = AnchorSource::new(vec![4, 5]);
        second.purpose = Purpose::PrecompiledCode;
        second.crl_grace = Duration::from_secs(86_400);
        second.crls = vec![vec![6], vec![7, 8]];
        vec![AnchorSource::new(vec![1, 2, 3]), second]
    }

    #[test]
    fn what_was_encoded_is_decoded() {
        let encoded = encode_sources(&sources()).unwrap();
        assert_eq!(decode_sources(&encoded), Ok(sources()));
    }

    #[test]
    fn every_truncation_and_every_appended_byte_is_refused() {
        let encoded = encode_sources(&sources()).unwrap();
        for length in 0..encoded.len() {
            assert!(decode_sources(&encoded[..length]).is_err(), "{length}");
        }
        assert!(decode_sources(&[encoded.as_slice(), &[0]].concat()).is_err());
    }
}
