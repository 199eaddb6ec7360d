//! Bodies in `aws-chunked` form, before `s3s` reads them.
//!
//! `s3s` holds a chunk in memory until all of it is there, and some clients send a whole object as one. So a large chunk
//! is cut here into several that say the same. A signed one cannot be cut; it is refused when it is larger than any
//! client makes them.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, Bytes};
use http::{HeaderMap, Request};
use http_body_util::{BodyExt as _, BodyStream, StreamBody};
use hyper::body::{Frame, Incoming};

/// Largest chunk that is passed on.
const MOST: u64 = 256 * 1024;
/// Largest chunk with a signature; clients make them of 64 KiB to 1 MiB.
const MOST_SIGNED: u64 = 4 * 1024 * 1024;
/// Longest head of a chunk: its length and its signature.
const MOST_HEAD: usize = 1024;

/// The request as `s3s` is to see it.
pub(super) fn cut(request: Request<Incoming>) -> Request<s3s::Body> {
    if !is_chunked(request.headers()) {
        return request.map(s3s::Body::from);
    }
    request.map(|body| {
        let cut = Cut::new(BodyStream::new(body.map_err(io::Error::other)));
        s3s::Body::http_body_unsync(StreamBody::new(cut))
    })
}

fn is_chunked(headers: &HeaderMap) -> bool {
    let payload = headers.get("x-amz-content-sha256");
    payload.is_some_and(|payload| payload.as_bytes().starts_with(b"STREAMING-"))
}

/// What comes next in the body.
enum Next {
    /// The rest of a chunk's head.
    Head(Vec<u8>),
    /// So many bytes that pass as they are.
    Pass(u64),
    /// So many bytes of a chunk that is being cut, and of the piece that has been announced.
    Piece { left: u64, piece: u64 },
    /// All that follows passes as it is: the last chunk and what comes after it.
    Rest,
}

struct Cut<S> {
    body: S,
    next: Next,
    out: VecDeque<Bytes>,
}

impl<S> Cut<S> {
    fn new(body: S) -> Self {
        Self {
            body,
            next: Next::Head(Vec::new()),
            out: VecDeque::new(),
        }
    }

    fn take(&mut self, mut data: Bytes) -> io::Result<()> {
        while !data.is_empty() {
            match &mut self.next {
                Next::Rest => self.out.push_back(std::mem::take(&mut data)),
                Next::Pass(left) => {
                    let some = data.split_to(data.len().min(*left as usize));
                    *left -= some.len() as u64;
                    if *left == 0 {
                        self.next = Next::Head(Vec::new());
                    }
                    self.out.push_back(some);
                }
                Next::Piece { left, piece } => {
                    let some = data.split_to(data.len().min(*piece as usize));
                    *left -= some.len() as u64;
                    *piece -= some.len() as u64;
                    self.out.push_back(some);
                    let (left, ended) = (*left, *piece == 0);
                    if ended && left == 0 {
                        self.next = Next::Pass(2); // the end of the line after the chunk
                    } else if ended {
                        self.out.push_back(Bytes::from_static(b"\r\n"));
                        self.announce(left);
                    }
                }
                Next::Head(head) => {
                    head.push(data.get_u8());
                    if head.ends_with(b"\r\n") {
                        let head = std::mem::take(head);
                        self.begin(head)?;
                    } else if head.len() > MOST_HEAD {
                        return Err(io::Error::other("the head of a chunk does not end"));
                    }
                }
            }
        }
        Ok(())
    }

    fn begin(&mut self, head: Vec<u8>) -> io::Result<()> {
        let digits = head.iter().take_while(|b| b.is_ascii_hexdigit()).count();
        let size = std::str::from_utf8(&head[..digits]).ok();
        let size = size.and_then(|size| u64::from_str_radix(size, 16).ok());
        let Some(size) = size.filter(|size| *size < u64::MAX / 2) else {
            return Err(io::Error::other("a chunk has no length"));
        };
        let signed = head.contains(&b';');
        if signed && size > MOST_SIGNED {
            return Err(io::Error::other("a signed chunk is too large"));
        }
        if size > MOST && !signed {
            self.announce(size);
            return Ok(());
        }
        self.next = if size == 0 {
            Next::Rest
        } else {
            Next::Pass(size + 2)
        };
        self.out.push_back(head.into());
        Ok(())
    }

    /// Begins the next piece of a chunk of which `left` is to come.
    fn announce(&mut self, left: u64) {
        let piece = left.min(MOST);
        self.out.push_back(format!("{piece:x}\r\n").into());
        self.next = Next::Piece { left, piece };
    }
}

impl<S> futures::Stream for Cut<S>
where
    S: futures::Stream<Item = io::Result<Frame<Bytes>>> + Unpin,
{
    type Item = io::Result<Frame<Bytes>>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            if let Some(data) = self.out.pop_front() {
                return Poll::Ready(Some(Ok(Frame::data(data))));
            }
            let frame = match ready!(Pin::new(&mut self.body).poll_next(cx)) {
                Some(Ok(frame)) => frame,
                other => return Poll::Ready(other),
            };
            if let Ok(data) = frame.into_data()
                && let Err(error) = self.take(data)
            {
                return Poll::Ready(Some(Err(error)));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What becomes of `body` when it arrives `size` bytes at a time.
    fn cut(body: &[u8], size: usize) -> io::Result<Vec<u8>> {
        let mut cut = Cut::new(());
        for part in body.chunks(size) {
            cut.take(Bytes::copy_from_slice(part))?;
        }
        Ok(cut.out.into_iter().flatten().collect())
    }

    /// The content of a body in chunks, the largest of them, and what follows the last.
    fn read(mut body: &[u8]) -> (Vec<u8>, usize, Vec<u8>) {
        let (mut content, mut largest) = (Vec::new(), 0);
        loop {
            let end = body.windows(2).position(|pair| pair == b"\r\n").unwrap();
            let head = std::str::from_utf8(&body[..end]).unwrap();
            let size = usize::from_str_radix(head.split(';').next().unwrap(), 16).unwrap();
            body = &body[end + 2..];
            if size == 0 {
                return (content, largest, body.to_vec());
            }
            content.extend_from_slice(&body[..size]);
            assert_eq!(body[size..size + 2], *b"\r\n");
            largest = largest.max(size);
            body = &body[size + 2..];
        }
    }

    fn chunk(head: &str, data: &[u8]) -> Vec<u8> {
        [head.as_bytes(), b"\r\n", data, b"\r\n"].concat()
    }

    #[test]
    fn large_chunks_become_several_that_say_the_same() {
        let data: Vec<u8> = (0..1_000_000_u32).map(|i| i as u8).collect();
        let trailer = b"x-amz-checksum-crc32:NhCmhg==\r\n\r\n";
        let body = [
            chunk(&format!("{:x}", data.len()), &data),
            chunk("3", b"abc"),
            chunk(&format!("{:x}", MOST * 2), &data[..MOST as usize * 2]),
            b"0\r\n".to_vec(),
            trailer.to_vec(),
        ]
        .concat();
        let expected = [&data[..], b"abc", &data[..MOST as usize * 2]].concat();
        for size in [1, 7, 65_536, body.len()] {
            let (content, largest, rest) = read(&cut(&body, size).unwrap());
            assert!(content == expected);
            assert_eq!(largest as u64, MOST);
            assert_eq!(rest, trailer);
        }
    }

    #[test]
    fn signed_chunks_pass_as_they_are_unless_they_are_huge() {
        let body = [
            chunk("80000;chunk-signature=ab", &vec![1; 0x80000]),
            b"0;chunk-signature=cd\r\n\r\n".to_vec(),
        ]
        .concat();
        assert!(cut(&body, 1_000).unwrap() == body);
        for wrong in ["10000000;chunk-signature=ab", "", "xyz", "ffffffffffffffff"] {
            assert!(cut(&chunk(wrong, b""), 1_000).is_err(), "{wrong}");
        }
        assert!(cut(&[b'1'; 2_000], 10).is_err());
    }

    #[test]
    fn a_large_chunk_is_passed_on_before_it_is_complete() {
        let mut cut = Cut::new(());
        cut.take(Bytes::from_static(b"40000000\r\nabc")).unwrap();
        let out: Vec<u8> = cut.out.into_iter().flatten().collect();
        assert_eq!(out, b"40000\r\nabc");
    }
}
