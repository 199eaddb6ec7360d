//! The accept loop of all three listeners: HTTP/1.1, no delay, graceful shutdown, and a way to reset a connection.

use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http::{Request, Response};
use hyper::body::{Body, Incoming};
use hyper::server::conn::http1;
use hyper::service::Service;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, warn};

use crate::sys::net::{self, TcpListener, TcpStream};

/// Longest wait for the head of the next request, which is also how long an idle connection is kept: longer than
/// common clients keep theirs, so that the client closes first and no request meets a closing connection.
const IDLE: Duration = Duration::from_secs(120);
/// Pause after a failed accept; out of descriptors is the usual reason, and trying at once would only burn time.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How far a client may be behind the slowest rate at which it may take what is sent to it, and so also the longest time
/// that it may take nothing: its reply is in memory that long.
const WRITE_STALL: Duration = Duration::from_secs(30);

type StdError = Box<dyn std::error::Error + Send + Sync>;

/// How a server is told to end.
#[derive(Clone, Default)]
pub(crate) struct Stop {
    /// Accept no more, finish what is in flight.
    pub(crate) drain: CancellationToken,
    /// The grace period is over: close.
    pub(crate) close: CancellationToken,
}

/// Ends a connection with a TCP reset instead of a reply, for a write of unknown outcome.
///
/// A plain close would not do: an HTTP client takes it for "not sent" and sends the write again, which then fails its
/// own condition.
#[derive(Clone, Default)]
pub(crate) struct Reset(Arc<AtomicBool>);

impl Reset {
    pub(crate) fn arm(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Serves `listener` until told to stop and every connection has ended. `service` is made once per connection, which
/// ends when its client takes fewer than `min_bytes_per_sec` of what is sent.
pub(crate) async fn serve<S, B>(
    listener: TcpListener,
    min_bytes_per_sec: u64,
    service: impl Fn(Reset) -> S,
    stop: Stop,
    connections: TaskTracker,
) where
    S: Service<Request<Incoming>, Response = Response<B>> + Send + 'static,
    S::Future: Send,
    S::Error: Into<StdError>,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<StdError>,
{
    loop {
        let accepted = tokio::select! {
            biased; // a simulation decides all chance
            accepted = listener.accept() => accepted,
            () = stop.drain.cancelled() => return,
        };
        match accepted {
            Ok((stream, _)) => {
                let reset = Reset::default();
                let io = Resettable {
                    stream,
                    reset: reset.clone(),
                    pace: Pace::new(WRITE_STALL, min_bytes_per_sec),
                };
                connections.spawn(connection(io, service(reset), stop.clone()));
            }
            Err(error) => {
                warn!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn connection<S, B>(io: Resettable, service: S, stop: Stop)
where
    S: Service<Request<Incoming>, Response = Response<B>>,
    S::Error: Into<StdError>,
    B: Body + 'static,
    B::Error: Into<StdError>,
{
    if let Err(error) = net::prepare(&io.stream) {
        debug!(%error, "connection ended before it began");
        return;
    }
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(IDLE)
        .serve_connection(TokioIo::new(io), service);
    let mut connection = pin!(connection);
    let ended = tokio::select! {
        biased; // a simulation decides all chance
        ended = connection.as_mut() => ended,
        () = stop.drain.cancelled() => {
            connection.as_mut().graceful_shutdown();
            tokio::select! {
                biased; // a simulation decides all chance
                ended = connection.as_mut() => ended,
                () = stop.close.cancelled() => return,
            }
        }
    };
    if let Err(error) = ended {
        debug!(%error, "connection ended");
    }
}

/// A stream that closes with a reset when told so, and fails when the other side reads too slowly.
struct Resettable {
    stream: TcpStream,
    reset: Reset,
    pace: Pace,
}

impl Resettable {
    fn armed(&self) -> bool {
        self.reset.0.load(Ordering::Relaxed)
    }
}

/// How fast the other side takes what is sent. Waiting for it uses up patience, and what it takes gives some back, never
/// more than there was at first.
struct Pace {
    patience: Duration,
    min_bytes_per_sec: u64,
    left: Duration,
    /// Runs while a write makes no progress, for as long as there is patience left.
    stalled: Option<(Instant, Pin<Box<Sleep>>)>,
}

impl Pace {
    fn new(patience: Duration, min_bytes_per_sec: u64) -> Self {
        Self {
            patience,
            min_bytes_per_sec,
            left: patience,
            stalled: None,
        }
    }

    /// Turns a write that has waited too long into an error.
    fn watch(
        &mut self,
        cx: &mut Context<'_>,
        written: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        let Poll::Ready(written) = written else {
            let left = self.left;
            let begin = || (Instant::now(), Box::pin(sleep(left)));
            let (_, stalled) = self.stalled.get_or_insert_with(begin);
            ready!(stalled.as_mut().poll(cx));
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        };
        if let Some((since, _)) = self.stalled.take() {
            self.left = self.left.saturating_sub(since.elapsed());
        }
        if let Ok(bytes) = written {
            let earned = (bytes as u64).saturating_mul(1_000_000) / self.min_bytes_per_sec;
            self.left = (self.left + Duration::from_micros(earned)).min(self.patience);
        }
        Poll::Ready(written)
    }
}

impl Drop for Resettable {
    fn drop(&mut self) {
        if self.armed() {
            net::reset(&self.stream);
        }
    }
}

impl AsyncRead for Resettable {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Resettable {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.pace.watch(cx, written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.armed() {
            return Poll::Ready(Ok(())); // an orderly end would get ahead of the reset
        }
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.pace.watch(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests;
