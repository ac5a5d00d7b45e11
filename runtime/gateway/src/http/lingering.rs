//! How a connection ends whose other side may still be sending: in stages, as RFC 9112 section 9.6 has it.
//!
//! A system that closes a connection on which bytes lie unread resets it, and the other side may lose the answer that was on
//! its way. So a side that was refused before it had sent everything is told that nothing more comes, and what it still sends
//! is read and thrown away, a while.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::body::{Body, Bytes, Frame, SizeHint};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::time::timeout;

/// How long the other side may go on sending, and how many bytes of it are taken.
const WHILE: Duration = Duration::from_secs(5);
const BYTES: u64 = 1 << 20;

/// Which request of a connection has a body of which something may still come.
#[derive(Default)]
pub(super) struct Unread {
    requests: AtomicU64,
    /// The number of that request; 0 if there is none.
    unread: Arc<AtomicU64>,
}

impl Unread {
    /// The body of the next request, which is watched until its end.
    pub(super) fn watch<B: Body>(&self, body: B) -> Watched<B> {
        let number = self
            .requests
            .fetch_add(1, Ordering::Relaxed)
            .saturating_add(1);
        let unread = if body.is_end_stream() { 0 } else { number };
        self.unread.store(unread, Ordering::Relaxed);
        Watched {
            body,
            number,
            unread: Arc::clone(&self.unread),
        }
    }

    pub(super) fn is_some(&self) -> bool {
        self.unread.load(Ordering::Relaxed) != 0
    }
}

/// Says that nothing more comes, and takes what does until the other side has closed, or too much came or for too long.
pub(super) async fn linger(stream: impl AsyncRead + AsyncWrite + Unpin) {
    let _ = timeout(WHILE, take(stream, BYTES)).await;
}

async fn take(mut stream: impl AsyncRead + AsyncWrite + Unpin, most: u64) {
    if stream.shutdown().await.is_ok() {
        let _ = tokio::io::copy(&mut stream.take(most), &mut tokio::io::sink()).await;
    }
}

/// A body that says when it was read to its end.
pub(super) struct Watched<B> {
    body: B,
    number: u64,
    unread: Arc<AtomicU64>,
}

impl<B: Body<Data = Bytes> + Unpin> Body for Watched<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let frame = Pin::new(&mut self.body).poll_frame(cx);
        let is_over = match &frame {
            Poll::Ready(None) => true,
            // Trailers are the last of a body; of one whose length was said, the last piece is.
            Poll::Ready(Some(Ok(frame))) => frame.is_trailers() || self.body.is_end_stream(),
            Poll::Ready(Some(Err(_))) | Poll::Pending => false,
        };
        if is_over {
            // If another request has begun meanwhile, it is that one's.
            let _ =
                self.unread
                    .compare_exchange(self.number, 0, Ordering::Relaxed, Ordering::Relaxed);
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;

    use super::*;

    #[tokio::test]
    async fn what_still_comes_is_taken_up_to_its_bound() {
        let (mut client, server) = tokio::io::duplex(64);
        let ending = tokio::spawn(take(server, 1_000));
        let mut end = Vec::new();
        client.read_to_end(&mut end).await.expect("it is told");
        assert_eq!(end, b"");
        let mut sent = 0;
        while client.write_all(&[0; 10]).await.is_ok() {
            sent += 10;
            assert!(sent <= 1_100);
        }
        assert!(sent >= 1_000);
        ending.await.expect("it ended");
    }

    #[tokio::test]
    async fn who_closes_ends_it() {
        let (client, server) = tokio::io::duplex(64);
        drop(client);
        timeout(Duration::from_secs(60), take(server, u64::MAX))
            .await
            .expect("it ends");
    }

    /// What hyper gives for a body in chunks: it does not know its end before it is asked once more.
    struct Chunks(u32);

    impl Body for Chunks {
        type Data = Bytes;
        type Error = std::convert::Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
            let left = self.0.checked_sub(1);
            self.0 = left.unwrap_or_default();
            Poll::Ready(left.map(|_| Ok(Frame::data(Bytes::from_static(b"x")))))
        }
    }

    #[tokio::test]
    async fn a_body_is_unread_until_its_end_and_the_next_one_is_another() {
        let unread = Unread::default();
        assert!(!unread.is_some());
        drop(unread.watch(http_body_util::Empty::<Bytes>::new()));
        assert!(!unread.is_some());
        let mut first = unread.watch(Chunks(2));
        for _ in 0..2 {
            first.frame().await.expect("one more").expect("no error");
            assert!(unread.is_some());
        }
        let mut second = unread.watch(Chunks(0));
        assert!(first.frame().await.is_none() && unread.is_some());
        assert!(second.frame().await.is_none() && !unread.is_some());
    }
}
