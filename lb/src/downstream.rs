//! A client connection in the form Pingora reads and writes.
//!
//! Pingora's own stream can only get a useful write buffer from Pingora's own listener; ours is plain tokio.

use std::{
    io::{self, IoSlice},
    net::SocketAddr,
    os::fd::AsRawFd,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use async_trait::async_trait;
use pingora::protocols::{
    GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl,
    TimingDigest, UniqueID, raw_connect::ProxyDigest,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt, BufWriter, ReadBuf},
    net::TcpStream,
};

use crate::recall::Recall;

/// Head and body of a usual page leave in one system call; with Pingora's 1460 bytes it takes two or three, which
/// costs a fifth of the throughput.
const WRITE_BUFFER_BYTES: usize = 16 * 1024;

/// An accepted TCP connection with a write buffer.
#[derive(Debug)]
pub(crate) struct Downstream {
    tcp: BufWriter<TcpStream>,
    digest: Arc<SocketDigest>,
    recall: Arc<Recall>,
}

impl Downstream {
    pub(crate) fn new(tcp: TcpStream, peer: SocketAddr) -> Self {
        let digest = SocketDigest::from_raw_fd(tcp.as_raw_fd());
        digest
            .peer_addr
            .set(Some(peer.into()))
            .expect("the cell is new and empty");
        Self {
            tcp: BufWriter::with_capacity(WRITE_BUFFER_BYTES, tcp),
            digest: Arc::new(digest),
            recall: Arc::default(),
        }
    }

    /// How the request that is on it can be called back from its backend.
    pub(crate) fn recall(&self) -> &Arc<Recall> {
        &self.recall
    }

    fn tcp(self: Pin<&mut Self>) -> Pin<&mut BufWriter<TcpStream>> {
        Pin::new(&mut self.get_mut().tcp)
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
        self.tcp().poll_read(cx, buf)
    }
}

impl AsyncWrite for Downstream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.tcp().poll_write(cx, buf)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.tcp().poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.tcp().poll_shutdown(cx)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.tcp().poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.tcp.is_write_vectored()
    }
}

#[async_trait]
impl Shutdown for Downstream {
    async fn shutdown(&mut self) {
        // The client may be gone already, and then there is nobody left to tell.
        let _ = self.tcp.shutdown().await;
    }
}

impl UniqueID for Downstream {
    fn id(&self) -> i32 {
        self.tcp.get_ref().as_raw_fd()
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
