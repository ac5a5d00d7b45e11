//! A connection whose end waits for the other side's.
//!
//! A system that closes a connection on which something is still to be read tells the other side to give it up, and with it what
//! that side has not read yet (RFC 9112, 9.6): a client that sends too much would never see why it was refused. So the half that
//! is written to ends first, and what still comes is thrown away, for a moment.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Sleep, sleep};
use tokio_rustls::server::TlsStream;

/// How long the other side has to end.
const LINGER: Duration = Duration::from_secs(2);

/// The most bytes that are thrown away.
const MAX_BYTES: usize = 4 * 1024 * 1024;

/// A connection, and what its end still waits for.
pub(super) struct Lingering {
    stream: TlsStream<TcpStream>,
    ending: Option<Ending>,
}

struct Ending {
    until: Pin<Box<Sleep>>,
    /// Bytes that may still come.
    left: usize,
}

impl Lingering {
    pub(super) fn new(stream: TlsStream<TcpStream>) -> Self {
        Self {
            stream,
            ending: None,
        }
    }
}

impl AsyncRead for Lingering {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Lingering {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Self { stream, ending } = &mut *self;
        let ending = match ending {
            Some(ending) => ending,
            None => {
                ready!(Pin::new(&mut *stream).poll_shutdown(context))?;
                ending.insert(Ending {
                    until: Box::pin(sleep(LINGER)),
                    left: MAX_BYTES,
                })
            }
        };
        // Nobody reads what comes, so it is not decrypted.
        let (socket, _) = stream.get_mut();
        let mut space = [0; 8 * 1024];
        loop {
            if ending.left == 0 || ending.until.as_mut().poll(context).is_ready() {
                return Poll::Ready(Ok(()));
            }
            let mut buffer = ReadBuf::new(&mut space);
            ready!(Pin::new(&mut *socket).poll_read(context, &mut buffer))?;
            match buffer.filled().len() {
                0 => return Poll::Ready(Ok(())),
                read => ending.left = ending.left.saturating_sub(read),
            }
        }
    }
}
