//! `countersign_ceiling`: what a guest may be granted at most, said step by step.

use std::ffi::{c_int, c_void};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use countersign_runtime::{Access, Ceiling as Allowed, Input, Limits, LineSink, Output};

use crate::buffer::Capture;
use crate::error::{Error, Failure, answer, look};
use crate::passed::{Data, LineFunction, Lines, Text, Texts, given};

/// `countersign_ceiling`.
#[derive(Default)]
pub(crate) struct Ceiling(Mutex<(Allowed, Limits)>);

impl Ceiling {
    pub(crate) fn get(&self) -> Allowed {
        let inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        inner.0.clone().limits(inner.1)
    }
}

/// Replaces what was allowed so far by what `change` makes of it; a failure leaves it as it was.
fn allow(
    ceiling: Option<&Ceiling>,
    change: impl FnOnce(Allowed) -> Result<Allowed, Failure>,
) -> Option<Box<Error>> {
    answer(|| {
        let mut inner = given(ceiling, "ceiling")?
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        inner.0 = change(inner.0.clone())?;
        Ok(())
    })
}

fn limit(ceiling: Option<&Ceiling>, set: impl FnOnce(&mut Limits)) -> Option<Box<Error>> {
    answer(|| {
        let mut inner = given(ceiling, "ceiling")?
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        set(&mut inner.1);
        Ok(())
    })
}

#[unsafe(no_mangle)]
pub(crate) extern "C" fn countersign_ceiling_new() -> Option<Box<Ceiling>> {
    look(None, || Some(Box::default()))
}

#[unsafe(no_mangle)]
pub(crate) extern "C" fn countersign_ceiling_free(ceiling: Option<Box<Ceiling>>) {
    look((), || drop(ceiling));
}

#[unsafe(no_mangle)]
pub(crate) extern "C" fn countersign_ceiling_args(
    ceiling: Option<&Ceiling>,
    args: Texts,
    count: usize,
) -> Option<Box<Error>> {
    allow(ceiling, |allowed| {
        Ok(allowed.args(args.read(count, "args")?))
    })
}

#[unsafe(no_mangle)]
pub(crate) extern "C" fn countersign_ceiling_env(
    ceiling: Option<&Ceiling>,
    name: Text,
    value: Text,
) -> Option<Box<Error>> {
    allow(ceiling, |allowed| {
        Ok(allowed.env(name.read("name")?, value.read("value")?))
    })
}

#[unsafe(no_mangle)]
pub(crate) extern "C" fn countersign_ceiling_stdin(
    ceiling: Option<&Ceiling>,
    bytes: Data,
    length: usize,
) -> Option<Box<Error>> {
    allow(ceiling, |allowed| {
        let bytes = bytes.read(length, "bytes")?.to_vec();
        Ok(allowed.stdin(Input::Bytes(bytes)))
    })
}

#[unsafe(no_mangle)]
pub(crate) extern "C" fn countersign_ceiling_inherit_stdin(
    ceiling: Option<&Ceiling>,
) -> Option<Box<Error>> {
    allow(ceiling, |allowed| Ok(allowed.stdin(Input::Inherit)))
}

/// Which of the two outputs: 1 is standard output, 2 standard error.
fn output(allowed: Allowed, stream: c_int, output: Output) -> Result<Allowed, Failure> {
    match stream {
        1 => Ok(allowed.stdout(output)),
        2 => Ok(allowed.stderr(output)),
        _ => Err(Failure::misuse(format!(
            "stream is {stream}, and must be 1 (standard output) or 2 (standard error)"
        ))),
    }
}

#[unsafe(no_mangle)]
pub(crate) extern "C" fn countersign_ceiling_output_inherit(
    ceiling: Option<&Ceiling>,
    stream: c_int,
) -> Option<Box<Error>> {
    let own = if stream == 2 {
        Output::Stderr
    } else {
        Output::Stdout
    };
    allow(ceiling, |allowed| output(allowed, stream, own))
}

#[unsafe(no_mangle)]
pub(crate) extern "C" fn countersign_ceiling_output_capture(
    ceiling: Option<&Ceiling>,
    stream: c_int,
    capture: Option<&Capture>,
) -> Option<Box<Error>> {
    allow(ceiling, |allowed| {
        let captured = given(capture, "capture")?.get();
        output(allowed, stream, Output::Capture(captured))
    })
}

#[unsafe(no_mangle)]
pub(crate) extern "C" fn countersign_ceiling_output_lines(
    ceiling: Option<&Ceiling>,
    stream: c_int,
    function: Option<LineFunction>,
    user: *mut c_void,
) -> Option<Box<Error>> {
    allow(ceiling, |allowed| {
        let lines = Lines::new(function, user)?;
        let sink = LineSink::new(move |line| lines.line(line));
        output(allowed, stream, Output::Lines(sink))
    })
}

#[unsafe(no_mangle)]
pub(crate) extern "C" fn countersign_ceiling_directory(
    ceiling: Option<&Ceiling>,
    host: Text,
    guest: Text,
    writable: bool,
) -> Option<Box<Error>> {
    allow(ceiling, |allowed| {
        let access = if writable {
            Access::ReadWrite
        } else {
            Access::Read
        };
        Ok(allowed.directory(host.read("host")?, guest.read("guest")?, access)?)
    })
}

#[unsafe(no_mangle)]
pub(crate) extern "C" fn countersign_ceiling_directory_quota(
    ceiling: Option<&Ceiling>,
    guest: Text,
    bytes: u64,
) -> Option<Box<Error>> {
    allow(ceiling, |allowed| {
        Ok(allowed.directory_quota(guest.read("guest")?, bytes)?)
    })
}

#[unsafe(no_mangle)]
pub(crate) extern "C" fn countersign_ceiling_sockets(
    ceiling: Option<&Ceiling>,
    peers: Texts,
    count: usize,
) -> Option<Box<Error>> {
    allow(ceiling, |allowed| {
        Ok(allowed.sockets(peers.read(count, "peers")?))
    })
}

#[unsafe(no_mangle)]
pub(crate) extern "C" fn countersign_ceiling_wall_clock(
    ceiling: Option<&Ceiling>,
) -> Option<Box<Error>> {
    allow(ceiling, |allowed| Ok(allowed.wall_clock()))
}

#[unsafe(no_mangle)]
pub(crate) extern "C" fn countersign_ceiling_memory(
    ceiling: Option<&Ceiling>,
    bytes: u64,
) -> Option<Box<Error>> {
    limit(ceiling, |limits| limits.memory_bytes = bytes)
}

#[unsafe(no_mangle)]
pub(crate) extern "C" fn countersign_ceiling_time(
    ceiling: Option<&Ceiling>,
    milliseconds: u64,
) -> Option<Box<Error>> {
    limit(ceiling, |limits| {
        limits.run = Duration::from_millis(milliseconds);
    })
}

#[unsafe(no_mangle)]
pub(crate) extern "C" fn countersign_ceiling_processor_time(
    ceiling: Option<&Ceiling>,
    milliseconds: u64,
) -> Option<Box<Error>> {
    limit(ceiling, |limits| {
        limits.cpu = Duration::from_millis(milliseconds);
    })
}

#[unsafe(no_mangle)]
pub(crate) extern "C" fn countersign_ceiling_written(
    ceiling: Option<&Ceiling>,
    bytes: u64,
) -> Option<Box<Error>> {
    limit(ceiling, |limits| limits.log_bytes = bytes)
}

#[unsafe(no_mangle)]
pub(crate) extern "C" fn countersign_ceiling_handles(
    ceiling: Option<&Ceiling>,
    most: u64,
) -> Option<Box<Error>> {
    limit(ceiling, |limits| limits.handles = most)
}

#[unsafe(no_mangle)]
pub(crate) extern "C" fn countersign_ceiling_call_bytes(
    ceiling: Option<&Ceiling>,
    most: u64,
) -> Option<Box<Error>> {
    limit(ceiling, |limits| limits.hostcall_bytes = most)
}

#[unsafe(no_mangle)]
pub(crate) extern "C" fn countersign_ceiling_table_elements(
    ceiling: Option<&Ceiling>,
    most: u64,
) -> Option<Box<Error>> {
    limit(ceiling, |limits| limits.table_elements = most)
}
