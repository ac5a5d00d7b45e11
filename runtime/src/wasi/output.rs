//! Standard output and error of a guest: where they go, and how much may go there.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, OnceLock, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::io::AsyncWrite;
use tokio::sync::{Mutex, MutexGuard};
use wasmtime_wasi::async_trait;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::pipe::AsyncWriteStream;
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamError, StreamResult};

use crate::grants::{Captured, LineSink, Output};
use crate::limits::ByteBudget;

/// Most bytes that a guest may hand over in one write, in bytes (64 KiB).
const CHUNK: usize = 64 << 10;

/// One of the two outputs, with the budget that both share. A clone is the same output.
#[derive(Clone)]
pub(crate) struct Metered {
    output: Output,
    budget: ByteBudget,
    /// Made when the guest first asks for the output, so that a worker has a runtime to run in; none where nothing has to be
    /// waited for.
    worker: Option<Arc<OnceLock<Worker>>>,
    /// Where lines go, if they go to the host: one for all the handles that a guest may have to the same output.
    lines: Option<Arc<std::sync::Mutex<Lines>>>,
}

/// Written by a task of its own: a reader that does not read delays the guest, and not its deadline. One for all the
/// handles that a guest may have to the same output.
type Worker = Arc<Mutex<AsyncWriteStream>>;

impl Metered {
    pub(super) fn new(output: Output, budget: ByteBudget) -> Self {
        let lines = match &output {
            Output::Lines(sink) => Some(Arc::new(std::sync::Mutex::new(Lines {
                sink: sink.clone(),
                begun: Vec::new(),
            }))),
            _ => None,
        };
        let worker = match &output {
            Output::Stderr | Output::Stdout => Some(Arc::default()),
            Output::Capture(_) | Output::Discard | Output::Lines(_) => None,
        };
        Self {
            output,
            budget,
            worker,
            lines,
        }
    }

    /// Waits until everything that the guest wrote has left this process. The worker dies with the store, and a guest
    /// need not flush before it ends.
    pub(crate) async fn drain(&self) {
        if let Some(worker) = self.worker.as_ref().and_then(|worker| worker.get()) {
            let mut stream = worker.lock().await;
            // Where the reader is gone, nobody misses the rest.
            if stream.flush().is_ok() {
                stream.ready().await;
            }
        }
    }

    fn worker(&self, writer: impl AsyncWrite + Send + 'static) -> Sink {
        let start = || Arc::new(Mutex::new(AsyncWriteStream::new(CHUNK, writer)));
        Sink::Worker(match &self.worker {
            Some(worker) => Arc::clone(worker.get_or_init(start)),
            None => start(),
        })
    }
}

impl IsTerminal for Metered {
    fn is_terminal(&self) -> bool {
        match self.output {
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
        let sink = match (&self.output, &self.lines) {
            (_, Some(lines)) => Sink::Lines(Arc::clone(lines)),
            (Output::Capture(buffer), None) => Sink::Capture(buffer.clone()),
            (Output::Discard | Output::Lines(_), None) => Sink::Discard,
            (Output::Stderr, None) => self.worker(tokio::io::stderr()),
            (Output::Stdout, None) => self.worker(tokio::io::stdout()),
        };
        Box::new(MeteredStream {
            sink,
            budget: self.budget.clone(),
        })
    }
}

/// The guest wrote more than it may. Found again by type when the run has ended.
#[derive(Debug, thiserror::Error)]
#[error("the guest wrote more to its outputs than it may")]
pub(crate) struct LogBytesExhausted;

struct MeteredStream {
    sink: Sink,
    budget: ByteBudget,
}

enum Sink {
    Capture(Captured),
    Discard,
    Lines(Arc<std::sync::Mutex<Lines>>),
    Worker(Worker),
}

#[async_trait]
impl OutputStream for MeteredStream {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        if matches!(self.sink, Sink::Discard) {
            return Ok(());
        }
        if !self.budget.take(bytes.len()) {
            return Err(StreamError::Trap(LogBytesExhausted.into()));
        }
        match &mut self.sink {
            Sink::Capture(buffer) => buffer.push(&bytes),
            Sink::Discard => {}
            Sink::Lines(lines) => {
                // A panic of the host's function cannot leave a half-written vector behind.
                let mut lines = lines.lock().unwrap_or_else(PoisonError::into_inner);
                lines.write(&bytes);
            }
            Sink::Worker(worker) => idle(worker)?.write(bytes)?,
        }
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        match &mut self.sink {
            Sink::Capture(_) | Sink::Discard | Sink::Lines(..) => Ok(()),
            Sink::Worker(worker) => idle(worker)?.flush(),
        }
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        match &mut self.sink {
            Sink::Capture(_) | Sink::Discard | Sink::Lines(..) => Ok(CHUNK),
            Sink::Worker(worker) => idle(worker)?.check_write(),
        }
    }
}

#[async_trait]
impl Pollable for MeteredStream {
    async fn ready(&mut self) {
        match &mut self.sink {
            Sink::Capture(_) | Sink::Discard | Sink::Lines(..) => {}
            Sink::Worker(worker) => worker.lock().await.ready().await,
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

    fn pass_on(&mut self) {
        self.sink.line(&std::mem::take(&mut self.begun));
    }
}

/// The last line of a guest that ended without ending it.
impl Drop for Lines {
    fn drop(&mut self) {
        if !self.begun.is_empty() {
            self.pass_on();
        }
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

    #[tokio::test]
    async fn what_was_written_and_not_flushed_is_not_lost() {
        let output = Metered::new(Output::Stdout, ByteBudget::new(1_000));
        // Room for one byte: the worker is far behind the guest.
        let (writer, mut reader) = tokio::io::duplex(1);
        let reading = tokio::spawn(async move {
            let mut all = Vec::new();
            reader.read_to_end(&mut all).await.unwrap();
            all
        });
        let mut handle = MeteredStream {
            sink: output.worker(writer),
            budget: output.budget.clone(),
        };
        handle.write(Bytes::from_static(b"the last ")).unwrap();
        let mut other = output.p2_stream();
        other.write(Bytes::from_static(b"words")).unwrap();
        drop((handle, other));
        output.drain().await;
        drop(output);
        assert_eq!(reading.await.unwrap(), b"the last words");
    }

    #[test]
    fn lines_come_whole_in_parts_and_to_the_last() {
        let seen = Arc::new(std::sync::Mutex::new(Vec::new()));
        let sink = {
            let seen = Arc::clone(&seen);
            LineSink::new(move |line| seen.lock().unwrap().push(line.to_owned()))
        };
        let output = Metered::new(Output::Lines(sink), ByteBudget::new(100_000));
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
        drop(output);
        assert_eq!(seen.lock().unwrap().last().map(String::as_str), Some("x"));
    }

    #[tokio::test]
    async fn an_output_that_nobody_reads_takes_a_bounded_amount() {
        let output = Metered::new(Output::Stdout, ByteBudget::new(1 << 30));
        let (writer, _reader) = tokio::io::duplex(1);
        let mut first = MeteredStream {
            sink: output.worker(writer),
            budget: output.budget.clone(),
        };
        let mut other = output.p2_stream();
        first.write(vec![0; CHUNK].into()).unwrap();
        assert_eq!(
            other.check_write().unwrap(),
            0,
            "all handles share one buffer"
        );
    }
}
