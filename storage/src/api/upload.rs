//! Receiving an object: limits before the body is read, the body with a limit and a deadline, its checksums.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::{Bytes, BytesMut};
use futures::StreamExt as _;
use s3s::checksum::ChecksumHasher;
use s3s::crypto::{Checksum as _, Md5};
use s3s::dto::{PutObjectInput, StreamingBlob};
use s3s::{S3ErrorCode, S3Result, s3_error};
use tracing::debug;

use crate::coordinator::Upload;
use crate::version::Headers;

/// Longest silence of a client in the middle of its body; it holds one of few upload places.
const STALL: Duration = Duration::from_secs(10);

/// Refuses what can be refused without the body.
pub(super) fn check(input: &PutObjectInput, max_bytes: u64) -> S3Result {
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

/// Reads and checks the body.
pub(super) async fn receive(mut input: PutObjectInput, max_bytes: u64) -> S3Result<Upload> {
    let expected = u64::try_from(input.content_length.unwrap_or(0)).unwrap_or(0);
    let body = input.body.take();
    let data = read(body, expected.min(max_bytes), max_bytes).await?;
    // Hashing takes longer than other requests should wait for this thread.
    let hashing = tokio::task::spawn_blocking(move || digest(input, data));
    hashing.await.map_err(|_| S3ErrorCode::InternalError)?
}

async fn read(body: Option<StreamingBlob>, expected: u64, max_bytes: u64) -> S3Result<Bytes> {
    let mut data = BytesMut::with_capacity(expected as usize);
    let Some(mut body) = body else {
        return Ok(data.freeze());
    };
    loop {
        let next = tokio::time::timeout(STALL, body.next()).await;
        let next = next.map_err(|_| s3_error!(RequestTimeout, "The body stopped arriving."))?;
        match next {
            None => return Ok(data.freeze()),
            Some(Ok(part)) if (data.len() + part.len()) as u64 > max_bytes => {
                return Err(too_large(max_bytes));
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

fn digest(input: PutObjectInput, data: Bytes) -> S3Result<Upload> {
    let etag = Md5::checksum(&data);
    if let Some(given) = &input.content_md5 {
        let given = STANDARD
            .decode(given)
            .map_err(|_| S3ErrorCode::InvalidDigest)?;
        if given != etag {
            return Err(s3_error!(BadDigest));
        }
    }
    check_sums(&input, &data)?;
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
            content_encoding: input
                .content_encoding
                .filter(|encoding| encoding != "aws-chunked"),
            content_language: input.content_language,
            user,
        },
    })
}

/// Compares the checksums a client gave in `x-amz-checksum-*` headers.
fn check_sums(input: &PutObjectInput, data: &[u8]) -> S3Result {
    let mut hasher = ChecksumHasher {
        crc32: input.checksum_crc32.is_some().then(Default::default),
        crc32c: input.checksum_crc32c.is_some().then(Default::default),
        sha1: input.checksum_sha1.is_some().then(Default::default),
        sha256: input.checksum_sha256.is_some().then(Default::default),
        crc64nvme: input.checksum_crc64nvme.is_some().then(Default::default),
    };
    hasher.update(data);
    let found = hasher.finalize();
    let same = found.checksum_crc32 == input.checksum_crc32
        && found.checksum_crc32c == input.checksum_crc32c
        && found.checksum_sha1 == input.checksum_sha1
        && found.checksum_sha256 == input.checksum_sha256
        && found.checksum_crc64nvme == input.checksum_crc64nvme;
    if same {
        Ok(())
    } else {
        Err(s3_error!(BadDigest))
    }
}

fn too_large(max_bytes: u64) -> s3s::S3Error {
    s3_error!(EntityTooLarge, "An object may have {max_bytes} bytes.")
}
