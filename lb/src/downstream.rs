//! A client connection in the form Pingora reads and writes.
//!
//! Pingora's own stream can only get a useful write buffer from Pingora's own listener; ours is plain tokio.

use std::{
    io::{self, ErrorKind, IoSlice},
    net::SocketAddr,
    os::fd::AsRawFd,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, ready},
    time::Instant,
};

use async_trait::async_trait;
use pingora::protocols::{
    GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl, Stream,
    TimingDigest, UniqueID, http::ServerSession, raw_connect::ProxyDigest,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf},
    time::{Sleep, sleep_until},
};

use crate::{
    http2::Visit,
    metrics::{Metrics, Refusal},
    outbox::Outbox,
    pace::{Pace, Stage},
    recall::Recall,
    wire::Wire,
};

/// Head and body of a usual page leave in one system call; with Pingora's 1460 bytes it takes two or three, which
/// costs a fifth of the throughput.
const WRITE_BUFFER_BYTES: usize = 16 * 1024;

/// What a client is told that was too slow with its request head: Pingora has no page for a request it did not read.
const TOO_SLOW: &[u8] =
    b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";

/// What a client is told whose address has as many connections as it may.
pub(crate) const TOO_MANY: &[u8] =
    b"HTTP/1.1 429 Too Many Requests\r\nRetry-After: 1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";

/// An accepted connection with a write buffer, and with an end for a client that sends too slowly.
pub(crate) struct Downstream {
    wire: Outbox<Wire>,
    digest: Arc<SocketDigest>,
    recall: Arc<Recall>,
    pace: Mutex<Pace>,
    alarm: Option<Pin<Box<Sleep>>>,
    metrics: Arc<Metrics>,
}

/// The pace of the client on the other end of this stream.
pub(crate) fn pace_of(stream: &Stream) -> Option<MutexGuard<'_, Pace>> {
    let downstream = (**stream).as_any().downcast_ref::<Downstream>()?;
    let pace = downstream.pace.lock();
    Some(pace.unwrap_or_else(PoisonError::into_inner))
}

/// The same, by its request.
pub(crate) fn pace_in(session: &ServerSession) -> Option<MutexGuard<'_, Pace>> {
    match session.as_http1() {
        Some(session) => pace_of(session.stream()),
        None => Visit::of(session).map(Visit::pace),
    }
}

/// How this request can be called back from its backend.
pub(crate) fn recall_in(session: &ServerSession) -> Option<&Arc<Recall>> {
    match session.stream() {
        Some(stream) => {
            let downstream = (**stream).as_any().downcast_ref::<Downstream>()?;
            Some(&downstream.recall)
        }
        None => Visit::of(session).map(Visit::recall),
    }
}

impl Downstream {
    pub(crate) fn new(wire: Wire, client: SocketAddr, metrics: Arc<Metrics>) -> Self {
        let digest = SocketDigest::from_raw_fd(wire.tcp().as_raw_fd());
        digest
            .peer_addr
            .set(Some(client.into()))
            .expect("the cell is new and empty");
        Self {
            wire: Outbox::new(wire, WRITE_BUFFER_BYTES),
            digest: Arc::new(digest),
            recall: Arc::default(),
            pace: Mutex::default(),
            alarm: None,
            metrics,
        }
    }

    /// As one on which requests come side by side (`http2.rs`): each has a pace of its own.
    pub(crate) fn shared(mut self) -> Self {
        let pace = self.pace.get_mut().unwrap_or_else(PoisonError::into_inner);
        pace.expect(Stage::Anything);
        self
    }

    /// Waits with the client until it is too late.
    fn poll_too_late(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let pace = self.pace.get_mut().unwrap_or_else(PoisonError::into_inner);
        let Some(deadline) = pace.deadline(Instant::now()) else {
            return Poll::Pending;
        };
        let deadline = deadline.into();
        let alarm = self
            .alarm
            .get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        if alarm.deadline() != deadline {
            alarm.as_mut().reset(deadline);
        }
        ready!(alarm.as_mut().poll(cx));
        if pace.give_up() == Stage::Head {
            self.metrics.refused(Refusal::SlowHead);
            // A client that does not read what we say has nothing to complain about.
            if let Some(tcp) = self.wire.get_ref().plain() {
                let _ = tcp.try_write(TOO_SLOW);
            }
        } else {
            self.metrics.refused(Refusal::SlowBody);
        }
        Poll::Ready(())
    }

    fn wire(self: Pin<&mut Self>) -> Pin<&mut Outbox<Wire>> {
        Pin::new(&mut self.get_mut().wire)
    }
}

impl AsyncRead for Downstream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.recall.poll(cx) {
            return Poll::Ready(Err(io::Error::other("called back from its backend")));
        }
        let this = self.get_mut();
        let before = buf.filled().len();
        match Pin::new(&mut this.wire).poll_read(cx, buf) {
            Poll::Ready(Ok(())) => {
                let pace = this.pace.get_mut().unwrap_or_else(PoisonError::into_inner);
                if pace.stage() != Stage::Anything {
                    pace.received(buf.filled().len() - before, Instant::now());
                }
                Poll::Ready(Ok(()))
            }
            Poll::Pending => {
                ready!(this.poll_too_late(cx));
                Poll::Ready(Err(ErrorKind::TimedOut.into()))
            }
            failed => failed,
        }
    }
}

impl AsyncWrite for Downstream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.wire().poll_write(cx, buf)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.wire().poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.wire().poll_shutdown(cx)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.wire().poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.wire.is_write_vectored()
    }
}

impl std::fmt::Debug for Downstream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Downstream").field(&self.wire).finish()
    }
}

#[async_trait]
impl Shutdown for Downstream {
    async fn shutdown(&mut self) {
        // The client may be gone already, and then there is nobody left to tell.
        let _ = self.wire.shutdown().await;
    }
}

impl UniqueID for Downstream {
    fn id(&self) -> i32 {
        self.wire.get_ref().tcp().as_raw_fd()
    }
}

impl GetSocketDigest for Downstream {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        Some(Arc::clone(&self.digest))
    }
}

impl GetTimingDigest for Downstream {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        Vec::new()
    }
}

impl GetProxyDigest for Downstream {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        None
    }
}

impl Ssl for Downstream {}

impl Peek for Downstream {}
