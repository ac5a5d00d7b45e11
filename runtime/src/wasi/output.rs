//! Standard output and error of a guest: where they go, and how much may go there.

use std::io::{self, IoSlice};
use std::os::fd::{AsFd as _, BorrowedFd};
use std::pin::Pin;
use std::sync::{Arc, OnceLock, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use rustix::fs::{FileType, fstat};
use rustix::io::{Errno, ReadWriteFlags, pwritev2};
use tokio::io::AsyncWrite;
use tokio::sync::{Mutex, MutexGuard};
use wasmtime_wasi::async_trait;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::pipe::AsyncWriteStream;
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamError, StreamResult};

use crate::grants::{LineSink, Output};
use crate::limits::ByteBudget;

/// Most bytes that a guest may hand over in one write, in bytes (64 KiB).
const CHUNK: usize = 64 << 10;

/// Standard output and standard error of one guest, which share one budget. A clone is the same two.
#[derive(Clone)]
pub(crate) struct Outputs(Arc<Both>);

struct Both {
    budget: ByteBudget,
    stdout: One,
    stderr: One,
}

/// One of the two, whatever handles a guest may have to it.
struct One {
    output: Output,
    /// Made when the system first does not take at once what the guest writes.
    worker: OnceLock<Worker>,
    /// Where lines go, if they go to the host.
    lines: Option<std::sync::Mutex<Lines>>,
}

/// Written by a task of its own: a reader that does not read delays the guest, and not its deadline. One for all the
/// handles that a guest may have to the same output.
type Worker = Arc<Mutex<AsyncWriteStream>>;

impl Outputs {
    pub(super) fn new(stdout: Output, stderr: Output, budget: ByteBudget) -> Self {
        Self(Arc::new(Both {
            budget,
            stdout: One::new(stdout),
            stderr: One::new(stderr),
        }))
    }

    pub(super) fn stdout(&self) -> Metered {
        Metered {
            outputs: self.clone(),
            stream: Standard::Output,
        }
    }

    pub(super) fn stderr(&self) -> Metered {
        Metered {
            outputs: self.clone(),
            stream: Standard::Error,
        }
    }

    /// Passes on the lines that a guest began which has ended.
    pub(crate) fn end_lines(&self) {
        for one in [&self.0.stdout, &self.0.stderr] {
            if let Some(lines) = &one.lines {
                lines.lock().unwrap_or_else(PoisonError::into_inner).end();
            }
        }
    }

    /// Waits until everything that the guest wrote has left this process. The worker dies with the store, and a guest
    /// need not flush before it ends.
    pub(crate) async fn drain(&self) {
        for one in [&self.0.stdout, &self.0.stderr] {
            if let Some(worker) = one.worker.get() {
                let mut stream = worker.lock().await;
                // Where the reader is gone, nobody misses the rest.
                if stream.flush().is_ok() {
                    stream.ready().await;
                }
            }
        }
    }
}

impl One {
    fn new(output: Output) -> Self {
        let lines = match &output {
            Output::Lines(sink) => Some(std::sync::Mutex::new(Lines {
                sink: sink.clone(),
                begun: Vec::new(),
            })),
            _ => None,
        };
        Self {
            output,
            worker: OnceLock::new(),
            lines,
        }
    }
}

/// One of the two outputs, and any handle to it.
#[derive(Clone)]
pub(crate) struct Metered {
    outputs: Outputs,
    stream: Standard,
}

impl Metered {
    fn one(&self) -> &One {
        match self.stream {
            Standard::Error => &self.outputs.0.stderr,
            Standard::Output => &self.outputs.0.stdout,
        }
    }

    /// The worker, if there is one.
    fn worker(&self) -> Option<&Worker> {
        self.one().worker.get()
    }
}

/// A stream of this process.
#[derive(Clone, Copy)]
enum Standard {
    Error,
    Output,
}

impl Standard {
    /// Writes what the system takes at once: what is left. Whoever writes the rest learns why it was not taken.
    fn write_at_once(self, bytes: Bytes) -> Bytes {
        match self {
            Self::Error => write_at_once(io::stderr().as_fd(), bytes),
            Self::Output => write_at_once(io::stdout().as_fd(), bytes),
        }
    }

    fn start(self) -> Worker {
        match self {
            Self::Error => start(tokio::io::stderr()),
            Self::Output => start(tokio::io::stdout()),
        }
    }
}

fn write_at_once(file: BorrowedFd<'_>, mut bytes: Bytes) -> Bytes {
    /// Where the file is, also one that has no places.
    const HERE: u64 = u64::MAX;
    // Who writes to a file waits for others that write to it at the same place, whatever he says of waiting (Linux: the lock of an
    // open file's position), and those may wait for a disk or a network.
    let is_file = fstat(file).map(|status| FileType::from_raw_mode(status.st_mode).is_file());
    if is_file != Ok(false) {
        return bytes;
    }
    while !bytes.is_empty() {
        match pwritev2(file, &[IoSlice::new(&bytes)], HERE, ReadWriteFlags::NOWAIT) {
            Ok(written) if written > 0 => drop(bytes.split_to(written.min(bytes.len()))),
            Err(Errno::INTR) => {}
            _ => break,
        }
    }
    bytes
}

fn start(writer: impl AsyncWrite + Send + 'static) -> Worker {
    Arc::new(Mutex::new(AsyncWriteStream::new(CHUNK, writer)))
}

impl IsTerminal for Metered {
    fn is_terminal(&self) -> bool {
        match self.one().output {
            Output::Capture(_) | Output::Discard | Output::Lines(_) => false,
            Output::Stderr => io::IsTerminal::is_terminal(&io::stderr()),
            Output::Stdout => io::IsTerminal::is_terminal(&io::stdout()),
        }
    }
}

impl StdoutStream for Metered {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        // Only WASI 0.3 asks for this one; what cannot be metered is refused.
        Box::new(Refused)
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

/// The guest wrote more than it may. Found again by type when the run has ended.
#[derive(Debug, thiserror::Error)]
#[error("the guest wrote more to its outputs than it may")]
pub(crate) struct LogBytesExhausted;

#[async_trait]
impl OutputStream for Metered {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        let one = self.one();
        if matches!(one.output, Output::Discard) {
            return Ok(());
        }
        if !self.outputs.0.budget.take(bytes.len()) {
            return Err(StreamError::Trap(LogBytesExhausted.into()));
        }
        let stream = match &one.output {
            Output::Capture(buffer) => {
                buffer.push(&bytes);
                return Ok(());
            }
            Output::Discard | Output::Lines(_) => {
                if let Some(lines) = &one.lines {
                    // A panic of the host's function cannot leave a half-written vector behind.
                    let mut lines = lines.lock().unwrap_or_else(PoisonError::into_inner);
                    lines.write(&bytes);
                }
                return Ok(());
            }
            Output::Stderr => Standard::Error,
            Output::Stdout => Standard::Output,
        };
        // At once, for as long as the system takes all of it; from then on by a worker, so that it stays in order.
        let rest = match one.worker.get() {
            Some(_) => bytes,
            None => stream.write_at_once(bytes),
        };
        if !rest.is_empty() {
            idle(one.worker.get_or_init(|| stream.start()))?.write(rest)?;
        }
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        match self.worker() {
            Some(worker) => idle(worker)?.flush(),
            None => Ok(()),
        }
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        match self.worker() {
            Some(worker) => idle(worker)?.check_write(),
            None => Ok(CHUNK),
        }
    }
}

#[async_trait]
impl Pollable for Metered {
    async fn ready(&mut self) {
        if let Some(worker) = self.worker() {
            worker.lock().await.ready().await;
        }
    }
}

/// What a guest wrote of a line that is not at its end, and where lines go.
struct Lines {
    sink: LineSink,
    begun: Vec<u8>,
}

impl Lines {
    /// Gives the host each line that is at its end, and every full measure of one that is not.
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            if *byte == b'\n' {
                self.pass_on();
                continue;
            }
            self.begun.push(*byte);
            if self.begun.len() == LineSink::MAX_BYTES {
                self.pass_on();
            }
        }
    }

    /// The last line, where it was not ended.
    fn end(&mut self) {
        if !self.begun.is_empty() {
            self.pass_on();
        }
    }

    fn pass_on(&mut self) {
        self.sink.line(&std::mem::take(&mut self.begun));
    }
}

/// The last line of a guest that ended without ending it.
impl Drop for Lines {
    fn drop(&mut self) {
        self.end();
    }
}

/// A guest does one thing at a time: while it writes, it does not wait for the same output.
fn idle(worker: &Worker) -> StreamResult<MutexGuard<'_, AsyncWriteStream>> {
    worker
        .try_lock()
        .map_err(|_| StreamError::trap("the output is being waited for"))
}

struct Refused;

impl AsyncWrite for Refused {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, _: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Err(io::ErrorKind::Unsupported.into()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncReadExt;

    /// A handle to an output that the system has not taken all of.
    fn written_by_a_worker(
        output: &Metered,
        writer: impl AsyncWrite + Send + 'static,
    ) -> Box<dyn OutputStream> {
        assert!(output.one().worker.set(start(writer)).is_ok());
        output.p2_stream()
    }

    /// What goes to this as standard output.
    fn stdout(output: Output, bytes: u64) -> (Outputs, Metered) {
        let outputs = Outputs::new(output, Output::Discard, ByteBudget::new(bytes));
        let stdout = outputs.stdout();
        (outputs, stdout)
    }

    #[test]
    fn what_the_system_does_not_take_at_once_is_left() {
        use std::io::Read as _;
        let (mut reader, writer) = io::pipe().unwrap();
        let line = Bytes::from_static(b"a line\n");
        assert!(write_at_once(writer.as_fd(), line.clone()).is_empty());
        // Nobody reads: it fills, and nobody waits.
        let much = Bytes::from(vec![b'x'; 1 << 20]);
        let rest = write_at_once(writer.as_fd(), much.clone());
        assert!(!rest.is_empty() && rest.len() < much.len());
        assert_eq!(write_at_once(writer.as_fd(), line.clone()), line);
        drop(writer);
        let mut all = Vec::new();
        reader.read_to_end(&mut all).unwrap();
        assert_eq!(all.len(), line.len() + much.len() - rest.len());
        assert!(all.starts_with(&line));
    }

    #[tokio::test]
    async fn what_was_written_and_not_flushed_is_not_lost() {
        let (outputs, output) = stdout(Output::Stdout, 1_000);
        // Room for one byte: the worker is far behind the guest.
        let (writer, mut reader) = tokio::io::duplex(1);
        let reading = tokio::spawn(async move {
            let mut all = Vec::new();
            reader.read_to_end(&mut all).await.unwrap();
            all
        });
        let mut handle = written_by_a_worker(&output, writer);
        handle.write(Bytes::from_static(b"the last ")).unwrap();
        let mut other = output.p2_stream();
        other.write(Bytes::from_static(b"words")).unwrap();
        drop((handle, other));
        outputs.drain().await;
        drop((output, outputs));
        assert_eq!(reading.await.unwrap(), b"the last words");
    }

    #[test]
    fn lines_come_whole_in_parts_and_to_the_last() {
        let seen = Arc::new(std::sync::Mutex::new(Vec::new()));
        let sink = {
            let seen = Arc::clone(&seen);
            LineSink::new(move |line| seen.lock().unwrap().push(line.to_owned()))
        };
        let (outputs, output) = stdout(Output::Lines(sink), 100_000);
        let mut handle = output.p2_stream();
        let mut other = output.p2_stream();
        handle.write(Bytes::from_static(b"one\ntw")).unwrap();
        other.write(Bytes::from_static(b"o\n\nbad \xff\n")).unwrap();
        handle
            .write(vec![b'x'; LineSink::MAX_BYTES + 1].into())
            .unwrap();
        drop((handle, other));
        let long = "x".repeat(LineSink::MAX_BYTES);
        assert_eq!(
            *seen.lock().unwrap(),
            ["one", "two", "", "bad \u{fffd}", &long]
        );
        drop((output, outputs));
        assert_eq!(seen.lock().unwrap().last().map(String::as_str), Some("x"));
    }

    #[tokio::test]
    async fn an_output_that_nobody_reads_takes_a_bounded_amount() {
        let (_outputs, output) = stdout(Output::Stdout, 1 << 30);
        let (writer, _reader) = tokio::io::duplex(1);
        let mut first = written_by_a_worker(&output, writer);
        let mut other = output.p2_stream();
        first.write(vec![0; CHUNK].into()).unwrap();
        assert_eq!(
            other.check_write().unwrap(),
            0,
            "all handles share one buffer"
        );
    }
}
