//! What parent and child say to each other when a component is compiled apart, and the child's side of it.
//!
//! ```text
//! request: key (32) ‖ address space (8) ‖ processor seconds (8) ‖ whether to interpret (8) ‖ component, to the end
//! answer:  kind (1) ‖ length (8) ‖ MAC (32) ‖ body
//! ```
//!
//! Numbers are little-endian. First come the imports, then the code; instead of either, why there is none.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::AsFd as _;

use countersign_format::limits::MAX_COMPONENT_BYTES;
use rustix::process::{Resource, Rlimit, Signal, setrlimit};

use super::CodeMemory;
use super::child::CompileLimits;
use super::seal::{self, Key, Usage};
use crate::engine;
use crate::error::LoadError;
use crate::imports::Import;
use crate::load;

/// What stands before the body of an answer, in bytes.
pub(super) const HEAD: usize = 1 + 8 + MAC;

/// BLAKE3's length, in bytes.
const MAC: usize = 32;

/// The longest reason that a child gives, in bytes (16 KiB).
const MAX_REASON: usize = 16 << 10;

/// Files and pipes that a child may have open.
const MAX_FILES: u64 = 32;

/// What a child answers.
pub(super) enum Answer {
    /// What the component imports.
    Imports(Vec<u8>),
    /// Its code.
    Code(Vec<u8>),
    /// It is no component that can be compiled.
    Invalid(String),
    /// It uses what is turned off.
    Feature(String),
}

const IMPORTS: u8 = 1;
const CODE: u8 = 2;
const INVALID: u8 = 3;
const FEATURE: u8 = 4;

/// What stands before the component in what a child is given.
pub(super) fn request(
    secret: &[u8; Key::BYTES],
    limits: &CompileLimits,
    interpreted: bool,
) -> Vec<u8> {
    // A limit of no processor time would be none at all to the kernel.
    let cpu = limits.cpu.as_secs().max(1);
    [
        &secret[..],
        &limits.memory_bytes.to_le_bytes(),
        &cpu.to_le_bytes(),
        &u64::from(interpreted).to_le_bytes(),
    ]
    .concat()
}

/// How long the body is that follows, if it may be.
pub(super) fn length(head: &[u8; HEAD], most: u64) -> io::Result<usize> {
    let [_, a, b, c, d, e, f, g, h, ..] = *head;
    let length = u64::from_le_bytes([a, b, c, d, e, f, g, h]);
    usize::try_from(length)
        .ok()
        .filter(|_| length <= most)
        .ok_or_else(|| invalid(&format!("it has {length} bytes, and may have {most}")))
}

/// The answer, if it was made by a child that has the key.
pub(super) fn open(key: &Key, head: &[u8; HEAD], body: Vec<u8>) -> io::Result<Answer> {
    let (said, mac) = head.split_at(HEAD - MAC);
    let mac: [u8; MAC] = mac.try_into().map_err(io::Error::other)?;
    if seal_of(key, said, &body) != mac {
        return Err(invalid("its seal is not that of this compilation"));
    }
    let text = |body: Vec<u8>| String::from_utf8(body).map_err(io::Error::other);
    match head[0] {
        IMPORTS => Ok(Answer::Imports(body)),
        CODE => Ok(Answer::Code(body)),
        INVALID => Ok(Answer::Invalid(text(body)?)),
        FEATURE => Ok(Answer::Feature(text(body)?)),
        _ => Err(invalid("it is of an unknown kind")),
    }
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

/// Compared in constant time by `blake3::Hash`.
fn seal_of(key: &Key, said: &[u8], body: &[u8]) -> blake3::Hash {
    let mut hasher = key.hasher(Usage::Answer);
    // Of a fixed length, and it holds that of the body.
    hasher.update(said);
    hasher.update(body);
    hasher.finalize()
}

/// Compiles for the process that started this one, and returns the status to end with. Takes its standard input and output.
///
/// A program that compiles apart ([`Builder::compile_apart`](crate::Builder::compile_apart)) calls this before anything else
/// when it is started with the arguments that it named there. It trusts nobody: whoever calls it gets what he could have
/// compiled himself.
#[must_use]
pub fn compile_for_parent() -> u8 {
    // Whoever waits for the answer learns from its absence.
    serve().map_or(1, |()| 0)
}

fn serve() -> io::Result<()> {
    // Without its parent nobody waits for it.
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    let mut input = File::from(io::stdin().as_fd().try_clone_to_owned()?);
    let mut key = [0; Key::BYTES];
    input.read_exact(&mut key)?;
    let mut number = || {
        let mut bytes = [0; 8];
        input.read_exact(&mut bytes)?;
        Ok::<_, io::Error>(u64::from_le_bytes(bytes))
    };
    let (memory, cpu, interpreted) = (number()?, number()?, number()? != 0);
    // Before the first byte of the component is read.
    for (resource, current, maximum) in [
        (Resource::As, memory, memory),
        // At the first it is ended by SIGXCPU, which says why.
        (Resource::Cpu, cpu, cpu.saturating_add(1)),
        (Resource::Nofile, MAX_FILES, MAX_FILES),
        (Resource::Fsize, 0, 0),
        (Resource::Core, 0, 0),
    ] {
        let limit = Rlimit {
            current: Some(current),
            maximum: Some(maximum),
        };
        setrlimit(resource, limit)?;
    }
    let mut component = Vec::new();
    input
        .take(MAX_COMPONENT_BYTES)
        .read_to_end(&mut component)?;
    let key = Key::new(key);
    let engine =
        engine::build(None, interpreted, None, CodeMemory::WhileUsed).map_err(io::Error::other)?;
    let permit = |imports: &[Import]| {
        let said = say(&key, IMPORTS, &seal::encode(imports));
        said.map_err(|error| LoadError::CompilerFailed {
            reason: error.to_string(),
            system: Some(error),
        })
    };
    match load::compile(&engine, &component, &permit) {
        Ok((_, code)) => say(&key, CODE, &code),
        Err(LoadError::FeatureForbidden { reason }) => say(&key, FEATURE, cut(&reason)),
        Err(LoadError::ComponentInvalid { reason }) => say(&key, INVALID, cut(&reason)),
        Err(other) => Err(io::Error::other(other)),
    }
}

fn say(key: &Key, kind: u8, body: &[u8]) -> io::Result<()> {
    let length = u64::try_from(body.len()).unwrap_or(u64::MAX).to_le_bytes();
    let said = [&[kind][..], &length].concat();
    let mut output = io::stdout().lock();
    output.write_all(&said)?;
    output.write_all(seal_of(key, &said, body).as_bytes())?;
    output.write_all(body)?;
    output.flush()
}

/// As much of a reason as is sent.
fn cut(reason: &str) -> &[u8] {
    let end = reason.floor_char_boundary(MAX_REASON);
    reason.get(..end).unwrap_or_default().as_bytes()
}
