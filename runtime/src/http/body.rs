//! Bodies: what comes in is bounded in size and pace, and what goes out does not look whole when its guest failed.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf as _, Bytes};
use hyper::body::{Body, Frame, SizeHint};
use tokio::task::AbortHandle;
use tokio::time::{Instant, Sleep, sleep};
use wasmtime_wasi_http::Error;
use wasmtime_wasi_http::p2::body::HyperOutgoingBody;

/// A body that a stranger sends: at most so many bytes, and never so long without one.
pub(super) struct Bounded<B> {
    inner: B,
    left: u64,
    pause: Duration,
    too_large: fn() -> Error,
    alarm: Option<Pin<Box<Sleep>>>,
    /// Whether somebody has waited since the last piece.
    waiting: bool,
}

impl<B> Bounded<B> {
    pub(super) fn new(inner: B, most: u64, pause: Duration, too_large: fn() -> Error) -> Self {
        Self {
            inner,
            left: most,
            pause,
            too_large,
            alarm: None,
            waiting: false,
        }
    }
}

impl<B> Body for Bounded<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<Error>,
{
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let this = &mut *self;
        let frame = match Pin::new(&mut this.inner).poll_frame(cx) {
            Poll::Ready(frame) => frame,
            Poll::Pending => {
                let pause = this.pause;
                let alarm = this.alarm.get_or_insert_with(|| Box::pin(sleep(pause)));
                // From the moment at which somebody waits: a reader who takes his time is not the sender's pause.
                if !std::mem::replace(&mut this.waiting, true) {
                    alarm.as_mut().reset(Instant::now() + pause);
                }
                return alarm
                    .as_mut()
                    .poll(cx)
                    .map(|()| Some(Err(Error::ConnectionReadTimeout)));
            }
        };
        this.waiting = false;
        Poll::Ready(match frame {
            Some(Ok(frame)) => {
                let length = frame.data_ref().map_or(0, |data| data.remaining());
                let length = u64::try_from(length).unwrap_or(u64::MAX);
                match this.left.checked_sub(length) {
                    Some(left) => {
                        this.left = left;
                        Some(Ok(frame))
                    }
                    None => {
                        this.left = 0;
                        Some(Err((this.too_large)()))
                    }
                }
            }
            Some(Err(error)) => Some(Err(error.into())),
            None => None,
        })
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// The body of a guest's answer, while the guest may still be writing it.
///
/// Dropped before its end, because nobody wants it any more, it ends the guest. An end that came about because the guest was
/// stopped is an error, so that what it did not write is not taken for the whole.
pub struct ResponseBody {
    inner: HyperOutgoingBody,
    /// How many bytes are owed, where the answer's headers say so.
    owed: Option<u64>,
    whole: bool,
    failed: Arc<AtomicBool>,
    guest: AbortHandle,
}

impl ResponseBody {
    pub(super) fn new(
        inner: HyperOutgoingBody,
        owed: Option<u64>,
        failed: Arc<AtomicBool>,
        guest: AbortHandle,
    ) -> Self {
        Self {
            whole: owed == Some(0) || inner.is_end_stream(),
            inner,
            owed,
            failed,
            guest,
        }
    }
}

impl std::fmt::Debug for ResponseBody {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ResponseBody")
            .field("owed", &self.owed)
            .finish_non_exhaustive()
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let this = &mut *self;
        let Poll::Ready(frame) = Pin::new(&mut this.inner).poll_frame(cx) else {
            return Poll::Pending;
        };
        Poll::Ready(match frame {
            Some(Ok(frame)) => {
                if let (Some(owed), Some(data)) = (&mut this.owed, frame.data_ref()) {
                    let length = u64::try_from(data.remaining()).unwrap_or(u64::MAX);
                    *owed = owed.saturating_sub(length);
                    this.whole = *owed == 0;
                }
                Some(Ok(frame))
            }
            None if this.failed.load(Ordering::Acquire) => Some(Err(Error::HttpResponseIncomplete)),
            None => {
                this.whole = true;
                None
            }
            failed => failed,
        })
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

impl Drop for ResponseBody {
    fn drop(&mut self) {
        if !self.whole {
            self.guest.abort();
        }
    }
}
