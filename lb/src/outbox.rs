//! A write buffer that has no memory while there is nothing in it: of ten thousand visitors who keep their connection and
//! ask for nothing, none has any.

use std::{
    io::{self, ErrorKind, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Gathers what is written until it is flushed, or more than so many bytes. Reads pass through.
#[derive(Debug)]
pub(crate) struct Outbox<W> {
    wire: W,
    pending: Vec<u8>,
    /// Of `pending`, already sent.
    sent: usize,
    capacity: usize,
}

impl<W> Outbox<W> {
    pub(crate) fn new(wire: W, capacity: usize) -> Self {
        Self {
            wire,
            pending: Vec::new(),
            sent: 0,
            capacity,
        }
    }

    pub(crate) fn get_ref(&self) -> &W {
        &self.wire
    }

    /// The caller has seen that it fits.
    fn keep(&mut self, bytes: &[u8]) {
        if self.pending.capacity() == 0 {
            self.pending.reserve_exact(self.capacity);
        }
        self.pending.extend_from_slice(bytes);
    }
}

impl<W: AsyncWrite + Unpin> Outbox<W> {
    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.sent < self.pending.len() {
            let left = &self.pending[self.sent..];
            match ready!(Pin::new(&mut self.wire).poll_write(cx, left))? {
                0 => return Poll::Ready(Err(ErrorKind::WriteZero.into())),
                sent => self.sent += sent,
            }
        }
        self.pending = Vec::new();
        self.sent = 0;
        Poll::Ready(Ok(()))
    }

    /// Sends what is waiting if so many more bytes do not fit beside it.
    fn poll_room(&mut self, cx: &mut Context<'_>, bytes: usize) -> Poll<io::Result<()>> {
        if self.pending.len() + bytes > self.capacity {
            self.poll_drain(cx)
        } else {
            Poll::Ready(Ok(()))
        }
    }
}

impl<W: AsyncRead + Unpin> AsyncRead for Outbox<W> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().wire).poll_read(cx, buf)
    }
}

impl<W: AsyncWrite + Unpin> AsyncWrite for Outbox<W> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        ready!(this.poll_room(cx, buf.len()))?;
        if buf.len() >= this.capacity {
            return Pin::new(&mut this.wire).poll_write(cx, buf);
        }
        this.keep(buf);
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let bytes = bufs.iter().map(|buf| buf.len()).sum();
        ready!(this.poll_room(cx, bytes))?;
        if bytes >= this.capacity {
            return Pin::new(&mut this.wire).poll_write_vectored(cx, bufs);
        }
        for buf in bufs {
            this.keep(buf);
        }
        Poll::Ready(Ok(bytes))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_drain(cx))?;
        Pin::new(&mut this.wire).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_drain(cx))?;
        Pin::new(&mut this.wire).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

    use super::*;

    #[tokio::test]
    async fn what_is_written_leaves_at_the_flush_and_the_memory_with_it() {
        let (near, mut far) = duplex(1024);
        let mut outbox = Outbox::new(near, 64);
        outbox.write_all(b"head ").await.unwrap();
        outbox.write_all(b"body").await.unwrap();
        assert_eq!((outbox.pending.len(), outbox.pending.capacity()), (9, 64));
        outbox.flush().await.unwrap();
        assert_eq!(outbox.pending.capacity(), 0);
        let mut read = [0; 9];
        far.read_exact(&mut read).await.unwrap();
        assert_eq!(&read, b"head body");
    }

    #[tokio::test]
    async fn all_arrives_in_order_whatever_fits_and_however_slowly_it_is_read() {
        // Seven bytes at a time are taken, and writes are shorter and longer than the buffer.
        let (near, mut far) = duplex(7);
        let mut outbox = Outbox::new(near, 32);
        let text: Vec<u8> = (0..=255).cycle().take(5_000).collect();
        let sent = text.clone();
        let writing = async move {
            let mut rest = &sent[..];
            for length in [1, 31, 32, 33, 5, 100].into_iter().cycle() {
                let (now, later) = rest.split_at(length.min(rest.len()));
                let halves = now.split_at(now.len() / 2);
                let written = outbox
                    .write_vectored(&[IoSlice::new(halves.0), IoSlice::new(halves.1)])
                    .await
                    .unwrap();
                outbox.write_all(&now[written..]).await.unwrap();
                rest = later;
                if rest.is_empty() {
                    break;
                }
            }
            outbox.shutdown().await.unwrap();
        };
        let mut read = Vec::new();
        let (read_all, ()) = tokio::join!(far.read_to_end(&mut read), writing);
        read_all.unwrap();
        assert_eq!(read, text);
    }

    #[tokio::test]
    async fn a_reader_who_has_gone_is_an_error() {
        let (near, far) = duplex(7);
        drop(far);
        let mut outbox = Outbox::new(near, 32);
        outbox.write_all(b"lost").await.unwrap();
        outbox.flush().await.unwrap_err();
    }
}
