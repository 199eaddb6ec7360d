//! Receiving an object: limits before the body is read, the body piece by piece with deadlines.

use std::time::Duration;
use tokio::time::Instant;

use bytes::{Bytes, BytesMut};
use futures::StreamExt as _;
use s3s::dto::StreamingBlob;
use s3s::{S3ErrorCode, S3Result, s3_error};
use tokio::time::timeout;
use tracing::debug;

use super::reply::s3_error;
use super::sums::{Received, Sums};
use crate::config::Config;
use crate::coordinator::Coordinator;
use crate::error::Error;
use crate::fanout::{Stored, UPLOAD_PIECE_BYTES};
use crate::wire::PIECE_BYTES;

/// Longest silence of a client in the middle of its body; it holds one of few upload places.
const STALL: Duration = Duration::from_secs(10);
/// Longest time that the body of a refused upload is read for.
const DRAIN: Duration = Duration::from_millis(800);
/// What a body may cost.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    stall: Duration,
    max_bytes: u64,
    min_bytes_per_sec: u64,
}

impl Limits {
    pub(super) fn new(config: &Config) -> Self {
        Self {
            stall: STALL,
            max_bytes: config.max_object_bytes,
            min_bytes_per_sec: config.upload_min_bytes_per_sec,
        }
    }

    /// Refuses a body that is too large or of unknown length.
    pub(super) fn check(self, length: Option<i64>) -> S3Result<u64> {
        let Some(length) = length else {
            return Err(s3_error!(MissingContentLength));
        };
        let length = u64::try_from(length).map_err(|_| S3ErrorCode::InvalidArgument)?;
        if length > self.max_bytes {
            return Err(self.too_large());
        }
        Ok(length)
    }

    pub(super) fn max_bytes(self) -> u64 {
        self.max_bytes
    }

    pub(super) fn too_large(self) -> s3s::S3Error {
        s3_error!(
            EntityTooLarge,
            "An object may have {} bytes.",
            self.max_bytes
        )
    }
}

/// A body on its way in.
pub(super) struct Body {
    stream: Option<StreamingBlob>,
    limits: Limits,
    /// Bytes announced, and how many of them have come.
    len: u64,
    got: u64,
    /// What came beyond the last piece.
    rest: Bytes,
    /// Time spent waiting for the client, which the speed of the store has no part in.
    waited: Duration,
}

impl Body {
    pub(super) fn new(stream: Option<StreamingBlob>, len: u64, limits: Limits) -> Self {
        Self {
            stream,
            limits,
            len,
            got: 0,
            rest: Bytes::new(),
            waited: Duration::ZERO,
        }
    }

    /// The next piece: all of a small body, otherwise one of [`UPLOAD_PIECE_BYTES`]. `None` at the announced end.
    pub(super) async fn next(&mut self) -> S3Result<Option<Bytes>> {
        let size = if self.len <= PIECE_BYTES {
            self.len as usize
        } else {
            UPLOAD_PIECE_BYTES as usize
        };
        let mut piece = BytesMut::new();
        loop {
            let take = self.rest.len().min(size - piece.len());
            if take > 0 && piece.is_empty() {
                piece.reserve(size.min((self.len - self.got) as usize));
            }
            piece.extend_from_slice(&self.rest.split_to(take));
            self.got += take as u64;
            if piece.len() == size && size > 0 {
                return Ok(Some(piece.freeze()));
            }
            match self.part().await? {
                Some(part) if self.got + part.len() as u64 > self.len => {
                    return Err(incomplete());
                }
                Some(part) => self.rest = part,
                None if self.got < self.len => return Err(incomplete()),
                None => return Ok((!piece.is_empty()).then(|| piece.freeze())),
            }
        }
    }

    /// What the connection gives next, within the limits on each silence and on the whole.
    async fn part(&mut self) -> S3Result<Option<Bytes>> {
        let Some(stream) = &mut self.stream else {
            return Ok(None);
        };
        let Limits {
            stall,
            min_bytes_per_sec,
            ..
        } = self.limits;
        let allowed =
            stall + Duration::from_millis(self.len.saturating_mul(1_000) / min_bytes_per_sec);
        let began = Instant::now();
        let next = timeout(stall, stream.next()).await;
        self.waited += began.elapsed();
        let next = next.map_err(|_| s3_error!(RequestTimeout, "The body stopped arriving."))?;
        if self.waited > allowed {
            return Err(s3_error!(RequestTimeout, "The body arrives too slowly."));
        }
        next.transpose().map_err(|error| {
            // What is copied comes from this store.
            if let Some(error) = error.downcast_ref::<Error>() {
                return s3_error(*error);
            }
            debug!(%error, "body of an upload is broken");
            incomplete()
        })
    }

    /// Reads what is left for a short while, so that the client is still there when it is told why it was refused.
    pub(super) async fn drain(mut self) {
        let all = async { while let Ok(Some(_)) = self.part().await {} };
        timeout(DRAIN, all).await.ok();
    }

    /// Stores the body as one blob, unless it is not what its sender said.
    pub(super) async fn store(
        mut self,
        store: &Coordinator,
        mut sums: Sums,
    ) -> S3Result<(Stored, Received)> {
        let begun = store.begin(self.len).await;
        let mut fanout = match begun {
            Ok(fanout) => fanout,
            Err(error) => {
                self.drain().await;
                return Err(s3_error(error));
            }
        };
        while let Some(piece) = self.next().await? {
            let (sent, hashed) = tokio::join!(fanout.send(piece.clone()), sums.add(piece));
            if let Err(error) = sent {
                drop(fanout);
                self.drain().await;
                return Err(s3_error(error));
            }
            sums = hashed?;
        }
        let received = sums.check()?;
        let stored = fanout.end().await.map_err(s3_error)?;
        Ok((stored, received))
    }
}

fn incomplete() -> s3s::S3Error {
    s3_error!(
        IncompleteBody,
        "The body is incomplete or not what was signed."
    )
}

/// A `Content-Encoding` without `aws-chunked`, which was of the transfer and is undone.
pub(super) fn stored_encoding(given: &str) -> Option<String> {
    let parts = given.split(',').map(str::trim);
    let parts: Vec<_> = parts
        .filter(|part| !part.is_empty() && !part.eq_ignore_ascii_case("aws-chunked"))
        .collect();
    (!parts.is_empty()).then(|| parts.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_encoding_of_the_transfer_is_not_stored() {
        assert_eq!(stored_encoding("aws-chunked"), None);
        assert_eq!(stored_encoding("aws-chunked,gzip").as_deref(), Some("gzip"));
        assert_eq!(
            stored_encoding("gzip, AWS-Chunked, br").as_deref(),
            Some("gzip,br")
        );
    }

    /// Each part comes in time, so only the whole can be too slow.
    #[tokio::test]
    async fn a_body_that_trickles_for_ever_is_given_up() {
        let limits = Limits {
            stall: Duration::from_millis(100),
            max_bytes: u64::MAX,
            min_bytes_per_sec: 1_000_000_000,
        };
        let trickle = futures::stream::unfold((), async |()| {
            tokio::time::sleep(Duration::from_millis(1)).await;
            Some((Ok::<_, std::io::Error>(Bytes::from_static(b"x")), ()))
        });
        let body = StreamingBlob::wrap(Box::pin(trickle));
        let mut body = Body::new(Some(body), 1_000_000, limits);
        let error = body.next().await.unwrap_err();
        assert_eq!(*error.code(), S3ErrorCode::RequestTimeout);
    }

    #[tokio::test]
    async fn a_body_is_cut_into_pieces_and_must_have_the_length_it_announced() {
        let limits = Limits {
            stall: Duration::from_secs(10),
            max_bytes: u64::MAX,
            min_bytes_per_sec: 1,
        };
        let body = |part: usize, parts: usize, len: u64| {
            let part = Bytes::from(vec![7; part]);
            let parts = (0..parts).map(move |_| Ok::<_, std::io::Error>(part.clone()));
            let stream = StreamingBlob::wrap(futures::stream::iter(parts));
            Body::new(Some(stream), len, limits)
        };
        let mut large = body(300_000, 5, 1_500_000);
        let mut sizes = Vec::new();
        while let Some(piece) = large.next().await.unwrap() {
            sizes.push(piece.len());
        }
        assert_eq!(
            sizes,
            [262_144, 262_144, 262_144, 262_144, 262_144, 189_280]
        );
        let mut small = body(1_000, 3, 3_000);
        assert_eq!(small.next().await.unwrap().unwrap().len(), 3_000);
        assert_eq!(small.next().await.unwrap(), None);
        assert_eq!(body(0, 0, 0).next().await.unwrap(), None);
        for len in [2_999, 3_001] {
            let mut wrong = body(1_000, 3, len);
            let mut ended = Ok(Some(Bytes::new()));
            while let Ok(Some(_)) = ended {
                ended = wrong.next().await;
            }
            assert_eq!(*ended.unwrap_err().code(), S3ErrorCode::IncompleteBody);
        }
    }
}
