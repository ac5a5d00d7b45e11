//! Standard output and error of a guest: where they go, and how much may go there.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::io::AsyncWrite;
use wasmtime_wasi::async_trait;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::pipe::AsyncWriteStream;
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamError, StreamResult};

use crate::grants::{Captured, Output};
use crate::limits::ByteBudget;

/// Most bytes that a guest may hand over in one write, in bytes (64 KiB).
const CHUNK: usize = 64 << 10;

/// One of the two outputs, with the budget that both share.
pub(super) struct Metered {
    output: Output,
    budget: ByteBudget,
}

impl Metered {
    pub(super) fn new(output: Output, budget: ByteBudget) -> Self {
        Self { output, budget }
    }
}

impl IsTerminal for Metered {
    fn is_terminal(&self) -> bool {
        match self.output {
            Output::Capture(_) | Output::Discard => false,
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
        let sink = match &self.output {
            Output::Capture(buffer) => Sink::Capture(buffer.clone()),
            Output::Discard => Sink::Discard,
            // Written by a worker: a reader that does not read delays the guest and not its deadline.
            Output::Stderr => Sink::Stream(AsyncWriteStream::new(CHUNK, tokio::io::stderr())),
            Output::Stdout => Sink::Stream(AsyncWriteStream::new(CHUNK, tokio::io::stdout())),
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
    Stream(AsyncWriteStream),
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
            Sink::Stream(stream) => stream.write(bytes)?,
        }
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        match &mut self.sink {
            Sink::Capture(_) | Sink::Discard => Ok(()),
            Sink::Stream(stream) => stream.flush(),
        }
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        match &mut self.sink {
            Sink::Capture(_) | Sink::Discard => Ok(CHUNK),
            Sink::Stream(stream) => stream.check_write(),
        }
    }
}

#[async_trait]
impl Pollable for MeteredStream {
    async fn ready(&mut self) {
        match &mut self.sink {
            Sink::Capture(_) | Sink::Discard => {}
            Sink::Stream(stream) => stream.ready().await,
        }
    }
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
