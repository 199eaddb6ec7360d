//! Receiving an object: limits before the body is read, the body with a limit and a deadline, its checksums.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::{Bytes, BytesMut};
use futures::StreamExt as _;
use http::HeaderMap;
use s3s::checksum::ChecksumHasher;
use s3s::crypto::{Checksum as _, Md5};
use s3s::dto::{Checksum, PutObjectInput, StreamingBlob};
use s3s::{S3ErrorCode, S3Request, S3Result, TrailingHeaders, s3_error};
use tokio::sync::OwnedSemaphorePermit;
use tracing::debug;

use crate::config::Config;
use crate::coordinator::Upload;
use crate::version::Headers;

/// Longest silence of a client in the middle of its body; it holds one of few upload places.
const STALL: Duration = Duration::from_secs(10);
const CHECKSUM: &str = "x-amz-checksum-";
/// The checksums that can be checked.
const SUMS: [&str; 5] = [
    "x-amz-checksum-crc32",
    "x-amz-checksum-crc32c",
    "x-amz-checksum-crc64nvme",
    "x-amz-checksum-sha1",
    "x-amz-checksum-sha256",
];

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

    /// Reads a body of which `expected` bytes are announced, with a limit on each silence and on the whole.
    async fn read(self, body: Option<StreamingBlob>, expected: u64) -> S3Result<Bytes> {
        let time = Duration::from_millis(expected.saturating_mul(1_000) / self.min_bytes_per_sec);
        let data = tokio::time::timeout(self.stall + time, self.collect(body, expected)).await;
        data.map_err(|_| s3_error!(RequestTimeout, "The body arrives too slowly."))?
    }

    async fn collect(self, body: Option<StreamingBlob>, expected: u64) -> S3Result<Bytes> {
        let mut data = BytesMut::with_capacity(expected as usize);
        let Some(mut body) = body else {
            return Ok(data.freeze());
        };
        loop {
            let next = tokio::time::timeout(self.stall, body.next()).await;
            let next = next.map_err(|_| s3_error!(RequestTimeout, "The body stopped arriving."))?;
            match next {
                None => return Ok(data.freeze()),
                Some(Ok(part)) if (data.len() + part.len()) as u64 > self.max_bytes => {
                    return Err(too_large(self.max_bytes));
                }
                Some(Ok(part)) => data.extend_from_slice(&part),
                Some(Err(error)) => {
                    debug!(%error, "body of an upload is broken");
                    return Err(s3_error!(
                        IncompleteBody,
                        "The body is incomplete or not what was signed."
                    ));
                }
            }
        }
    }
}

/// Refuses what can be refused without the body.
pub(super) fn check(input: &PutObjectInput, limits: Limits) -> S3Result {
    let max_bytes = limits.max_bytes;
    // Listings are XML, which cannot carry these.
    let no_xml = |c: char| c.is_control() || matches!(c, '\u{FFFE}' | '\u{FFFF}');
    if input.key.is_empty() || input.key.chars().any(no_xml) {
        return Err(s3_error!(
            InvalidArgument,
            "Keys must not be empty or hold control characters."
        ));
    }
    let encrypted =
        input.server_side_encryption.is_some() || input.sse_customer_algorithm.is_some();
    let locked = input.object_lock_mode.is_some() || input.object_lock_legal_hold_status.is_some();
    if encrypted || locked || input.tagging.is_some() || input.write_offset_bytes.is_some() {
        return Err(s3_error!(
            NotImplemented,
            "There is no encryption, no lock, no tagging and no appending."
        ));
    }
    let Some(length) = input.content_length else {
        return Err(s3_error!(MissingContentLength));
    };
    if u64::try_from(length).is_ok_and(|length| length > max_bytes) {
        return Err(too_large(max_bytes));
    }
    Ok(())
}

/// The checksums that come after the body, which is where newer clients send them.
pub(super) struct Trailer {
    headers: Option<TrailingHeaders>,
    /// Lower-case names.
    announced: Vec<String>,
}

impl Trailer {
    /// What `x-amz-trailer` says will come. A checksum that could not be checked is refused before the body.
    pub(super) fn announced(request: &S3Request<PutObjectInput>) -> S3Result<Self> {
        let mut announced = Vec::new();
        for value in request.headers.get_all("x-amz-trailer") {
            let names = value.to_str().map_err(|_| S3ErrorCode::InvalidArgument)?;
            announced.extend(
                names
                    .split(',')
                    .map(|name| name.trim().to_ascii_lowercase()),
            );
        }
        announced.retain(|name| name.starts_with(CHECKSUM));
        if !announced.iter().all(|name| SUMS.contains(&name.as_str())) {
            return Err(s3_error!(NotImplemented, "Unknown kind of checksum."));
        }
        Ok(Self {
            headers: request.trailing_headers.clone(),
            announced,
        })
    }

    /// The checksums, now that the body has been read. All that were announced must be there.
    fn take(self) -> S3Result<HeaderMap> {
        let headers = self.headers.and_then(|headers| headers.take());
        let headers = headers.unwrap_or_default();
        if self.announced.iter().all(|name| headers.contains_key(name)) {
            return Ok(headers);
        }
        Err(s3_error!(
            InvalidRequest,
            "A checksum was announced and did not come."
        ))
    }
}

/// Reads and checks the body.
pub(super) async fn receive(
    mut input: PutObjectInput,
    trailer: Trailer,
    limits: Limits,
    place: OwnedSemaphorePermit,
) -> S3Result<Upload> {
    let expected = u64::try_from(input.content_length.unwrap_or(0)).unwrap_or(0);
    let expected = expected.min(limits.max_bytes);
    let data = limits.read(input.body.take(), expected).await?;
    let trailer = trailer.take()?;
    // Hashing takes longer than other requests should wait for this thread.
    let hashing = tokio::task::spawn_blocking(move || digest(input, &trailer, data, place));
    hashing.await.map_err(|_| S3ErrorCode::InternalError)?
}

fn digest(
    input: PutObjectInput,
    trailer: &HeaderMap,
    data: Bytes,
    place: OwnedSemaphorePermit,
) -> S3Result<Upload> {
    let etag = Md5::checksum(&data);
    if let Some(given) = &input.content_md5 {
        let given = STANDARD
            .decode(given)
            .map_err(|_| S3ErrorCode::InvalidDigest)?;
        if given != etag {
            return Err(s3_error!(BadDigest));
        }
    }
    check_sums(&given_in_headers(&input), &data)?;
    check_sums(&given_in_trailer(trailer)?, &data)?;
    let mut user: Vec<_> = input.metadata.unwrap_or_default().into_iter().collect();
    user.sort();
    Ok(Upload {
        blake3: *blake3::hash(&data).as_bytes(),
        data,
        etag,
        headers: Headers {
            content_type: input.content_type,
            cache_control: input.cache_control,
            content_disposition: input.content_disposition,
            content_encoding: input.content_encoding.as_deref().and_then(stored_encoding),
            content_language: input.content_language,
            user,
        },
        _place: place,
    })
}

/// A `Content-Encoding` without `aws-chunked`, which was of the transfer and is undone.
fn stored_encoding(given: &str) -> Option<String> {
    let parts = given.split(',').map(str::trim);
    let parts: Vec<_> = parts
        .filter(|part| !part.is_empty() && !part.eq_ignore_ascii_case("aws-chunked"))
        .collect();
    (!parts.is_empty()).then(|| parts.join(","))
}

fn given_in_headers(input: &PutObjectInput) -> Checksum {
    Checksum {
        checksum_crc32: input.checksum_crc32.clone(),
        checksum_crc32c: input.checksum_crc32c.clone(),
        checksum_crc64nvme: input.checksum_crc64nvme.clone(),
        checksum_sha1: input.checksum_sha1.clone(),
        checksum_sha256: input.checksum_sha256.clone(),
        ..Checksum::default()
    }
}

fn given_in_trailer(trailer: &HeaderMap) -> S3Result<Checksum> {
    let text = |name| -> S3Result<Option<String>> {
        let value = trailer.get(name).map(|value| value.to_str());
        let value = value.transpose().map_err(|_| S3ErrorCode::InvalidDigest)?;
        Ok(value.map(|value| value.trim().to_owned()))
    };
    let [crc32, crc32c, crc64nvme, sha1, sha256] = SUMS;
    Ok(Checksum {
        checksum_crc32: text(crc32)?,
        checksum_crc32c: text(crc32c)?,
        checksum_crc64nvme: text(crc64nvme)?,
        checksum_sha1: text(sha1)?,
        checksum_sha256: text(sha256)?,
        ..Checksum::default()
    })
}

/// Compares the checksums a client gave with those of the bytes that came.
fn check_sums(given: &Checksum, data: &[u8]) -> S3Result {
    let mut hasher = ChecksumHasher {
        crc32: given.checksum_crc32.is_some().then(Default::default),
        crc32c: given.checksum_crc32c.is_some().then(Default::default),
        sha1: given.checksum_sha1.is_some().then(Default::default),
        sha256: given.checksum_sha256.is_some().then(Default::default),
        crc64nvme: given.checksum_crc64nvme.is_some().then(Default::default),
    };
    hasher.update(data);
    if hasher.finalize() == *given {
        Ok(())
    } else {
        Err(s3_error!(BadDigest))
    }
}

fn too_large(max_bytes: u64) -> s3s::S3Error {
    s3_error!(EntityTooLarge, "An object may have {max_bytes} bytes.")
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
            min_bytes_per_sec: 1_000_000,
        };
        let trickle = futures::stream::unfold((), async |()| {
            tokio::time::sleep(Duration::from_millis(1)).await;
            Some((Ok::<_, std::io::Error>(Bytes::from_static(b"x")), ()))
        });
        let body = StreamingBlob::wrap(Box::pin(trickle));
        let error = limits.read(Some(body), 10).await.unwrap_err();
        assert_eq!(*error.code(), S3ErrorCode::RequestTimeout);
    }
}
