//! Code that was compiled for a component elsewhere, and who vouches for it, described by `precompiled.cddl`.
//!
//! A file of precompiled code is a COSE_Sign1 (RFC 9052 §4.2, tag 18) and the code after it. What is signed names the
//! component, the code by its digest and size, and the one build of a host, target and processor that the code is for. It
//! vouches for the code alone: the component has its own signature, and code without it says nothing.
//!
//! Decoded as strictly as the envelope: what [`PrecompiledFile::parse`] accepts has one encoding, and every byte but the
//! signature is signed.

use crate::cbor::{MapWriter, Reader, Writer, length, within};
use crate::envelope::{
    HEADER_ALGORITHM, HEADER_CONTENT_TYPE, HEADER_X5CHAIN, check_chain, decode_chain,
    empty_unprotected, encode_chain, protected,
};
use crate::grants::{filled, read_texts, write_texts};
use crate::guest_data::{TAG_COSE_SIGN1, digest};
use crate::text::{check_label, sort_unique};
use crate::{Algorithm, Digest, FormatError, limits};

/// The content type that marks a COSE_Sign1 as vouching for precompiled code.
pub const PRECOMPILED_CONTENT_TYPE: &str = "application/vnd.countersign.precompiled-code+cbor";

/// What a file of precompiled code begins with: its kind and its form.
const HEAD: &[u8] = b"countersign precompiled code 1\n";

/// What the same begins with before anybody vouches for it. No host takes such a file.
const UNSIGNED_HEAD: &[u8] = b"countersign precompiled code, not signed 1\n";

/// The version of the statement that this crate reads and writes.
const VERSION: u64 = 1;

/// IANA registry "COSE Algorithms" (RFC 9054 §3.2): SHA-256.
const SHA_256: i64 = -16;

/// What is signed about a piece of code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PrecompiledStatement {
    component_digest: Digest,
    code_digest: Digest,
    code_size: u64,
    build: String,
    target: String,
    cpu: Vec<String>,
}

impl PrecompiledStatement {
    /// A statement about `code`, which was compiled from the component of this digest for the host of this build, this
    /// target, and a processor that has at least the features named.
    ///
    /// # Errors
    /// [`FormatError::Text`] for a text that its field may not hold, [`FormatError::LimitExceeded`] for one that is too long,
    /// or too much code.
    pub fn new(
        component_digest: Digest,
        code: &[u8],
        build: String,
        target: String,
        cpu: Vec<String>,
    ) -> Result<Self, FormatError> {
        Self::checked(Self {
            component_digest,
            code_digest: Digest::of(code),
            code_size: length(code.len()),
            build,
            target,
            cpu,
        })
    }

    /// SHA-256 of the component P.
    #[must_use]
    pub fn component_digest(&self) -> &Digest {
        &self.component_digest
    }

    /// SHA-256 of the code.
    #[must_use]
    pub fn code_digest(&self) -> &Digest {
        &self.code_digest
    }

    /// The size of the code, in bytes.
    #[must_use]
    pub const fn code_size(&self) -> u64 {
        self.code_size
    }

    /// Which build of a host the code is for.
    #[must_use]
    pub fn build(&self) -> &str {
        &self.build
    }

    /// The machine that the code is for, or `pulley64`, which is none.
    #[must_use]
    pub fn target(&self) -> &str {
        &self.target
    }

    /// What the processor must have beyond the target's least; sorted.
    #[must_use]
    pub fn cpu(&self) -> &[String] {
        &self.cpu
    }

    /// The one encoding.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut map = MapWriter::default();
        map.entry(1, |writer| writer.unsigned(VERSION));
        map.entry(2, |writer| writer.integer(SHA_256));
        map.entry(3, |writer| writer.bytes(self.component_digest.as_bytes()));
        map.entry(4, |writer| writer.bytes(self.code_digest.as_bytes()));
        map.entry(5, |writer| writer.unsigned(self.code_size));
        map.entry(6, |writer| writer.text(&self.build));
        map.entry(7, |writer| writer.text(&self.target));
        map.optional(8, filled(&self.cpu), write_texts);
        map.finish()
    }

    /// The file that a signer is given: the statement, and the code that it is about. No host takes it.
    #[must_use]
    pub fn write_unsigned(&self, code: &[u8]) -> Vec<u8> {
        framed(UNSIGNED_HEAD, &self.encode(), code)
    }

    /// Reads what [`Self::write_unsigned`] wrote: the statement, and the code.
    ///
    /// # Errors
    /// See [`FormatError`]; [`FormatError::Malformed`] if the code is not the one that the statement is about.
    pub fn parse_unsigned(bytes: &[u8]) -> Result<(Self, &[u8]), FormatError> {
        let (statement, code) = parts(UNSIGNED_HEAD, bytes, limits::MAX_STATEMENT_BYTES)?;
        let statement = Self::decode(statement)?;
        if statement.code_digest != Digest::of(code) || statement.code_size != length(code.len()) {
            return Err(FormatError::Malformed {
                what: "the code is not the one that the statement is about",
                offset: 0,
            });
        }
        Ok((statement, code))
    }

    fn decode(bytes: &[u8]) -> Result<Self, FormatError> {
        let mut reader = Reader::new(bytes);
        let mut keys = reader.map("a statement about code is a map", 16)?;
        let mut require = |reader: &mut Reader<'_>, expected: u64| match keys.next(reader)? {
            Some(key) if key == expected => Ok(()),
            _ => Err(reader
                .malformed("the statement lacks a required part, or it has one that is unknown")),
        };
        require(&mut reader, 1)?;
        let version = reader.unsigned("statement version")?;
        if version != VERSION {
            return Err(FormatError::VersionUnknown {
                found: version,
                supported: VERSION,
            });
        }
        require(&mut reader, 2)?;
        let found = reader.integer("digest algorithm")?;
        if found != SHA_256 {
            return Err(FormatError::AlgorithmForbidden {
                what: "digest algorithm",
                found,
            });
        }
        require(&mut reader, 3)?;
        let component_digest = digest(&mut reader)?;
        require(&mut reader, 4)?;
        let code_digest = digest(&mut reader)?;
        require(&mut reader, 5)?;
        let code_size = reader.unsigned("code size")?;
        require(&mut reader, 6)?;
        let build = reader.text("build", limits::MAX_TEXT_BYTES)?.to_owned();
        require(&mut reader, 7)?;
        let target = reader.text("target", limits::MAX_TEXT_BYTES)?.to_owned();
        let mut cpu = Vec::new();
        while let Some(key) = keys.next(&mut reader)? {
            match key {
                8 => cpu = read_texts(&mut reader, "processor features", false)?,
                _ => {
                    return Err(
                        reader.malformed("a part of the statement that the format does not have")
                    );
                }
            }
        }
        reader.finish("bytes are left over after the statement")?;
        let statement = Self::checked(Self {
            component_digest,
            code_digest,
            code_size,
            build,
            target,
            cpu,
        })?;
        // What is left to compare is the order that is sorted.
        if statement.encode() == bytes {
            Ok(statement)
        } else {
            Err(FormatError::Noncanonical {
                what: "a list that is not sorted",
                offset: 0,
            })
        }
    }

    fn checked(mut self) -> Result<Self, FormatError> {
        within("code", limits::MAX_CODE_BYTES, self.code_size)?;
        check_build(&self.build)?;
        check_label("target", &self.target)?;
        self.cpu
            .iter()
            .try_for_each(|feature| check_label("processor feature", feature))?;
        within(
            "processor features",
            limits::MAX_LIST_ENTRIES,
            length(self.cpu.len()),
        )?;
        sort_unique("processor features", &mut self.cpu)?;
        Ok(self)
    }
}

/// 1 to 255 printable ASCII characters.
fn check_build(text: &str) -> Result<(), FormatError> {
    within("build", limits::MAX_TEXT_BYTES, length(text.len()))?;
    if !text.is_empty() && text.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
        return Ok(());
    }
    Err(FormatError::text(
        "build",
        text,
        "a build is named in printable ASCII characters",
    ))
}

/// What a signer signs, before there is a signature: the Sig_structure of RFC 9052 §4.4 with its context "Signature1".
/// `chain` is leaf first, without root.
#[must_use]
pub fn precompiled_to_be_signed(
    algorithm: Algorithm,
    chain: &[Vec<u8>],
    statement: &PrecompiledStatement,
) -> Vec<u8> {
    let mut writer = Writer::default();
    writer.array(4);
    writer.text("Signature1");
    writer.bytes(&encode_header(algorithm, chain));
    writer.bytes(&[]);
    writer.bytes(&statement.encode());
    writer.finish()
}

/// A statement about code, and the signature on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PrecompiledSignature {
    algorithm: Algorithm,
    chain: Vec<Vec<u8>>,
    statement: PrecompiledStatement,
    signature: [u8; 64],
}

impl PrecompiledSignature {
    /// Puts the parts together. `chain` is leaf first, without root.
    ///
    /// # Errors
    /// [`FormatError::LimitExceeded`] or [`FormatError::Malformed`] unless there are 1 to 3 certificates of 1 byte to 8 KiB.
    pub fn new(
        algorithm: Algorithm,
        chain: Vec<Vec<u8>>,
        statement: PrecompiledStatement,
        signature: [u8; 64],
    ) -> Result<Self, FormatError> {
        check_chain(&chain)?;
        Ok(Self {
            algorithm,
            chain,
            statement,
            signature,
        })
    }

    fn decode(bytes: &[u8]) -> Result<Self, FormatError> {
        const WHAT: &str = "what vouches for code is a COSE_Sign1 with tag 18";
        let mut reader = Reader::new(bytes);
        let error = reader.malformed(WHAT);
        if reader.tag(WHAT)? != TAG_COSE_SIGN1 {
            return Err(error);
        }
        reader.tuple("a COSE_Sign1 is an array of four", 4)?;
        let (header, at) = protected(&mut reader)?;
        let (algorithm, chain) = decode_header(header, at)?;
        empty_unprotected(&mut reader)?;
        let statement = reader.bytes(
            "the statement must be embedded as a byte string",
            limits::MAX_STATEMENT_BYTES,
        )?;
        let statement = PrecompiledStatement::decode(statement)?;
        let signature = reader.array_of("a signature is a byte string of 64 bytes")?;
        reader.finish("bytes are left over after the COSE_Sign1")?;
        Self::new(algorithm, chain, statement, signature)
    }

    fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::default();
        writer.tag(TAG_COSE_SIGN1);
        writer.array(4);
        writer.bytes(&encode_header(self.algorithm, &self.chain));
        writer.map(0);
        writer.bytes(&self.statement.encode());
        writer.bytes(&self.signature);
        writer.finish()
    }

    /// What the signature is over.
    #[must_use]
    pub fn to_be_signed(&self) -> Vec<u8> {
        precompiled_to_be_signed(self.algorithm, &self.chain, &self.statement)
    }

    /// The algorithm of the leaf's key and of the signature.
    #[must_use]
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The DER certificates: leaf first, then intermediates, no root. 1 to 3.
    #[must_use]
    pub fn chain(&self) -> &[Vec<u8>] {
        &self.chain
    }

    /// What is said of the code. True only if the signature is good and its chain leads to a root for precompiled code.
    #[must_use]
    pub fn statement(&self) -> &PrecompiledStatement {
        &self.statement
    }

    /// The signature, 64 bytes: `r ‖ s`, or Ed25519's.
    #[must_use]
    pub fn signature(&self) -> &[u8; 64] {
        &self.signature
    }
}

/// A file of precompiled code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PrecompiledFile<'a> {
    signature: PrecompiledSignature,
    code: &'a [u8],
}

impl<'a> PrecompiledFile<'a> {
    /// Reads a file, or its first bytes if they are
    /// [`MAX_PRECOMPILED_FRONT_BYTES`](limits::MAX_PRECOMPILED_FRONT_BYTES) or more. Whether the code is whole, and the one
    /// that is vouched for, is left to the trust store.
    ///
    /// # Errors
    /// See [`FormatError`]; [`FormatError::Purpose`] for a COSE_Sign1 that was made for something else.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, FormatError> {
        let (signature, code) = parts(HEAD, bytes, limits::MAX_SIGNATURE_BYTES)?;
        Ok(Self {
            signature: PrecompiledSignature::decode(signature)?,
            code,
        })
    }

    /// The one form of a file with this code.
    #[must_use]
    pub fn write(signature: &PrecompiledSignature, code: &[u8]) -> Vec<u8> {
        framed(HEAD, &signature.encode(), code)
    }

    /// Who vouches for what.
    #[must_use]
    pub fn signature(&self) -> &PrecompiledSignature {
        &self.signature
    }

    /// The code.
    #[must_use]
    pub fn code(&self) -> &'a [u8] {
        self.code
    }
}

fn framed(head: &[u8], said: &[u8], code: &[u8]) -> Vec<u8> {
    let size = u32::try_from(said.len()).unwrap_or(u32::MAX);
    [head, &size.to_be_bytes(), said, code].concat()
}

/// What is said of the code, at most so many bytes, and the code.
fn parts<'a>(head: &[u8], bytes: &'a [u8], most: u64) -> Result<(&'a [u8], &'a [u8]), FormatError> {
    let malformed = |what| FormatError::Malformed { what, offset: 0 };
    let rest = bytes.strip_prefix(head).ok_or(malformed(
        "a file of precompiled code begins with its name and form",
    ))?;
    let short = "the file ends before its code";
    let (size, rest) = rest.split_first_chunk::<4>().ok_or(malformed(short))?;
    let size = u64::from(u32::from_be_bytes(*size));
    within("statement and signature", most, size)?;
    usize::try_from(size)
        .ok()
        .and_then(|size| rest.split_at_checked(size))
        .ok_or(malformed(short))
}

fn encode_header(algorithm: Algorithm, chain: &[Vec<u8>]) -> Vec<u8> {
    let mut header = MapWriter::default();
    header.entry(HEADER_ALGORITHM, |writer| {
        writer.integer(algorithm.cose_id())
    });
    header.entry(HEADER_CONTENT_TYPE, |writer| {
        writer.text(PRECOMPILED_CONTENT_TYPE);
    });
    header.entry(HEADER_X5CHAIN, |writer| encode_chain(writer, chain));
    header.finish()
}

fn decode_header(bytes: &[u8], at: u64) -> Result<(Algorithm, Vec<Vec<u8>>), FormatError> {
    let purpose = |found: &str| FormatError::purpose(found, PRECOMPILED_CONTENT_TYPE);
    let mut reader = Reader::at(at, bytes);
    let (mut algorithm, mut chain, mut typed) = (None, None, false);
    let mut keys = reader.map("a protected header is a map", 8)?;
    while let Some(key) = keys.next(&mut reader)? {
        match (key, reader.major()) {
            (HEADER_ALGORITHM, _) => {
                algorithm = Some(Algorithm::require(reader.integer("signature algorithm")?)?);
            }
            (HEADER_CONTENT_TYPE, Some(0)) => {
                let format = reader.unsigned("content type")?;
                return Err(purpose(&format!("CoAP content format {format}")));
            }
            (HEADER_CONTENT_TYPE, _) => {
                match reader.text("content type", limits::MAX_TEXT_BYTES)? {
                    PRECOMPILED_CONTENT_TYPE => typed = true,
                    other => return Err(purpose(other)),
                }
            }
            (HEADER_X5CHAIN, _) => chain = Some(decode_chain(&mut reader)?),
            _ => return Err(reader.malformed("a header parameter that the format does not have")),
        }
    }
    if !typed {
        return Err(purpose("something without a content type"));
    }
    let missing = reader.malformed("the header lacks its algorithm or its certificates");
    reader.finish("bytes are left over in a protected header")?;
    algorithm.zip(chain).ok_or(missing)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file() -> Vec<u8> {
        let statement = PrecompiledStatement::new(
            Digest::of(b"component"),
            b"code",
            "countersign 0.1.0".to_owned(),
            "x86_64-unknown-linux-gnu".to_owned(),
            vec!["sse4.2".to_owned(), "avx2".to_owned()],
        )
        .expect("sound");
        assert_eq!(statement.cpu(), ["avx2", "sse4.2"]);
        let signature = PrecompiledSignature::new(
            Algorithm::Esp256,
            vec![vec![1; 100], vec![2; 50]],
            statement,
            [7; 64],
        );
        PrecompiledFile::write(&signature.expect("sound"), b"code")
    }

    #[test]
    fn ta08_a_file_has_one_encoding() {
        let bytes = file();
        let read = PrecompiledFile::parse(&bytes).expect("our own");
        assert_eq!(read.code(), b"code");
        assert_eq!(PrecompiledFile::write(read.signature(), read.code()), bytes);
        // Whatever byte changes before the code: it is refused, or read as something else and written as that.
        let code = bytes.len() - 4;
        for at in 0..code {
            for bit in 0..8 {
                let mut changed = bytes.clone();
                changed[at] ^= 1 << bit;
                if let Ok(other) = PrecompiledFile::parse(&changed) {
                    assert_ne!(other, read, "byte {at}");
                    let written = PrecompiledFile::write(other.signature(), other.code());
                    assert_eq!(written, changed, "byte {at}");
                }
            }
        }
        for end in 0..code {
            assert!(PrecompiledFile::parse(&bytes[..end]).is_err(), "{end}");
        }
    }

    #[test]
    fn ta01_what_nobody_signed_is_no_file_of_code() {
        let read = PrecompiledFile::parse(&file()).map(|file| file.signature().statement().clone());
        let statement = read.expect("our own");
        let unsigned = statement.write_unsigned(b"code");
        PrecompiledFile::parse(&unsigned).expect_err("it is not signed");
        let (again, code) = PrecompiledStatement::parse_unsigned(&unsigned).expect("our own");
        assert_eq!((again, code), (statement.clone(), &b"code"[..]));
        let other = statement.write_unsigned(b"cool");
        PrecompiledStatement::parse_unsigned(&other).expect_err("another code");
    }

    #[test]
    fn what_was_made_for_something_else_is_none() {
        let ours = PrecompiledFile::parse(&file()).map(|file| file.signature().encode());
        let bytes = ours.expect("our own");
        let other = "application/vnd.countersign.precompiled-cool+cbor";
        let at = bytes
            .windows(other.len())
            .position(|window| window == PRECOMPILED_CONTENT_TYPE.as_bytes())
            .expect("it is there");
        let changed = [&bytes[..at], other.as_bytes(), &bytes[at + other.len()..]].concat();
        let error = PrecompiledSignature::decode(&changed).expect_err("another type");
        assert!(matches!(error, FormatError::Purpose { .. }), "{error}");
    }
}
