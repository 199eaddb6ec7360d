//! The checksums that a client gives of what it sends: before the body, after it, or as its MD5.

use crate::sys;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::HeaderMap;
use s3s::checksum::ChecksumHasher;
use s3s::crypto::{Checksum as _, Md5};
use s3s::dto::Checksum;
use s3s::{S3ErrorCode, S3Request, S3Result, TrailingHeaders, s3_error};

/// Bytes whose hashing holds up nobody.
const HASH_INLINE: usize = 32 * 1024;
const CHECKSUM: &str = "x-amz-checksum-";
/// The checksums that can be checked.
const KINDS: [&str; 5] = [
    "x-amz-checksum-crc32",
    "x-amz-checksum-crc32c",
    "x-amz-checksum-crc64nvme",
    "x-amz-checksum-sha1",
    "x-amz-checksum-sha256",
];

/// The checksums that come after the body, which is where newer clients send them.
pub(super) struct Trailer {
    headers: Option<TrailingHeaders>,
    /// Lower-case names.
    announced: Vec<String>,
}

impl Trailer {
    /// What `x-amz-trailer` says will come. A checksum that could not be checked is refused before the body.
    pub(super) fn announced<T>(request: &S3Request<T>) -> S3Result<Self> {
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
        if !announced.iter().all(|name| KINDS.contains(&name.as_str())) {
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

/// What the bytes of a body must add up to.
pub(super) struct Sums {
    md5: Md5,
    hasher: ChecksumHasher,
    given_md5: Option<String>,
    given: Checksum,
    trailer: Trailer,
}

/// What they added up to.
pub(super) struct Received {
    pub(super) etag: [u8; 16],
    /// Of the kinds that the client gave.
    pub(super) checksum: Checksum,
}

impl Sums {
    pub(super) fn new(given_md5: Option<String>, given: Checksum, trailer: Trailer) -> Self {
        let named = |name| trailer.announced.iter().any(|announced| announced == name);
        let [crc32, crc32c, crc64nvme, sha1, sha256] = KINDS.map(named);
        let hasher = ChecksumHasher {
            crc32: (crc32 || given.checksum_crc32.is_some()).then(Default::default),
            crc32c: (crc32c || given.checksum_crc32c.is_some()).then(Default::default),
            crc64nvme: (crc64nvme || given.checksum_crc64nvme.is_some()).then(Default::default),
            sha1: (sha1 || given.checksum_sha1.is_some()).then(Default::default),
            sha256: (sha256 || given.checksum_sha256.is_some()).then(Default::default),
        };
        Self {
            md5: Md5::new(),
            hasher,
            given_md5,
            given,
            trailer,
        }
    }

    /// Of bytes that were checked before.
    pub(super) fn none() -> Self {
        let trailer = Trailer {
            headers: None,
            announced: Vec::new(),
        };
        Self::new(None, Checksum::default(), trailer)
    }

    pub(super) async fn add(mut self, data: Bytes) -> S3Result<Self> {
        let inline = data.len() <= HASH_INLINE;
        let add = move || {
            self.md5.update(&data);
            self.hasher.update(&data);
            self
        };
        if inline {
            return Ok(add());
        }
        // Hashing takes longer than other requests should wait for this thread.
        let hashing = sys::blocking(add);
        hashing.await.map_err(|_| S3ErrorCode::InternalError.into())
    }

    /// Compares with what the client gave before the body and after it.
    pub(super) fn check(self) -> S3Result<Received> {
        let etag = self.md5.finalize();
        if let Some(given) = &self.given_md5 {
            let given = STANDARD
                .decode(given)
                .map_err(|_| S3ErrorCode::InvalidDigest)?;
            if given != etag {
                return Err(s3_error!(BadDigest));
            }
        }
        let checksum = self.hasher.finalize();
        let trailed = given_in_trailer(&self.trailer.take()?)?;
        for given in [self.given, trailed] {
            if !agree(&given, &checksum) {
                return Err(s3_error!(BadDigest));
            }
        }
        Ok(Received { etag, checksum })
    }
}

/// Whether each checksum given is that of the bytes.
fn agree(given: &Checksum, sums: &Checksum) -> bool {
    let pairs = [
        (&given.checksum_crc32, &sums.checksum_crc32),
        (&given.checksum_crc32c, &sums.checksum_crc32c),
        (&given.checksum_crc64nvme, &sums.checksum_crc64nvme),
        (&given.checksum_sha1, &sums.checksum_sha1),
        (&given.checksum_sha256, &sums.checksum_sha256),
    ];
    pairs
        .iter()
        .all(|(given, sum)| given.is_none() || given == sum)
}

fn given_in_trailer(trailer: &HeaderMap) -> S3Result<Checksum> {
    let text = |name| -> S3Result<Option<String>> {
        let value = trailer.get(name).map(|value| value.to_str());
        let value = value.transpose().map_err(|_| S3ErrorCode::InvalidDigest)?;
        Ok(value.map(|value| value.trim().to_owned()))
    };
    let [crc32, crc32c, crc64nvme, sha1, sha256] = KINDS;
    Ok(Checksum {
        checksum_crc32: text(crc32)?,
        checksum_crc32c: text(crc32c)?,
        checksum_crc64nvme: text(crc64nvme)?,
        checksum_sha1: text(sha1)?,
        checksum_sha256: text(sha256)?,
        ..Checksum::default()
    })
}
