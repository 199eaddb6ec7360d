//! Storing one object.

use std::sync::Arc;

use s3s::dto::*;
use s3s::{S3Request, S3Result, s3_error};

use super::reply::{s3_error, unknown};
use super::sums::{Sums, Trailer};
use super::upload::{Body, stored_encoding};
use super::{Api, check_key};
use crate::conditions::Condition;
use crate::version::{Headers, Live};

impl Api {
    pub(super) async fn put(
        &self,
        request: S3Request<PutObjectInput>,
    ) -> S3Result<PutObjectOutput> {
        let trailer = Trailer::announced(&request)?;
        let input = request.input;
        self.check_bucket(&input.bucket)?;
        check_put(&input)?;
        let len = self.limits.check(input.content_length)?;
        let condition = condition(input.if_none_match.as_ref(), input.if_match.as_ref())?;
        let place = self.place()?;
        let sums = Sums::new(input.content_md5.clone(), given(&input), trailer);
        let body = Body::new(input.body, len, self.limits);
        let key = input.key;
        let new = Live {
            blobs: Vec::new(),
            size: len,
            etag: [0; 16],
            headers: Headers {
                content_type: input.content_type,
                cache_control: input.cache_control,
                content_disposition: input.content_disposition,
                content_encoding: input.content_encoding.as_deref().and_then(stored_encoding),
                content_language: input.content_language,
                user: user_metadata(input.metadata),
            },
            last_modified_ms: 0,
        };
        let store = Arc::clone(&self.store);
        let work = self.store.to_the_end(async move {
            let _place = place; // held also when the client has long gone
            if store.refuses(&key, &condition).await.map_err(s3_error)? {
                body.drain().await;
                return Err(s3_error!(PreconditionFailed));
            }
            let (stored, received) = body.store(&store, sums).await?;
            let new = Live {
                blobs: vec![stored.blob],
                etag: received.etag,
                ..new
            };
            let written = store.write(&key, new, &stored.uploads, &condition).await;
            match written.map_err(s3_error)? {
                Some(live) => Ok((live, received.checksum)),
                None => Err(s3_error!(PreconditionFailed)),
            }
        });
        let (live, checksum) = work.await.unwrap_or_else(|| Err(unknown()))?;
        Ok(PutObjectOutput {
            e_tag: Some(ETag::Strong(hex::encode(live.etag))),
            checksum_crc32: checksum.checksum_crc32,
            checksum_crc32c: checksum.checksum_crc32c,
            checksum_crc64nvme: checksum.checksum_crc64nvme,
            checksum_sha1: checksum.checksum_sha1,
            checksum_sha256: checksum.checksum_sha256,
            ..PutObjectOutput::default()
        })
    }
}

/// What a write requires of the object that is there.
pub(super) fn condition(
    if_none_match: Option<&ETagCondition>,
    if_match: Option<&ETagCondition>,
) -> S3Result<Condition> {
    match (if_none_match, if_match) {
        (None, tag) => Ok(Condition::if_match(tag)),
        (Some(ETagCondition::Any), None) => Ok(Condition::Absent),
        (Some(_), _) => Err(s3_error!(
            NotImplemented,
            "Only `If-None-Match: *` can guard a write."
        )),
    }
}

/// Refuses what can be refused without the body.
fn check_put(input: &PutObjectInput) -> S3Result {
    check_key(&input.key)?;
    let encrypted =
        input.server_side_encryption.is_some() || input.sse_customer_algorithm.is_some();
    let locked = input.object_lock_mode.is_some() || input.object_lock_legal_hold_status.is_some();
    if encrypted || locked || input.tagging.is_some() || input.write_offset_bytes.is_some() {
        return Err(s3_error!(
            NotImplemented,
            "There is no encryption, no lock, no tagging and no appending."
        ));
    }
    Ok(())
}

fn given(input: &PutObjectInput) -> Checksum {
    Checksum {
        checksum_crc32: input.checksum_crc32.clone(),
        checksum_crc32c: input.checksum_crc32c.clone(),
        checksum_crc64nvme: input.checksum_crc64nvme.clone(),
        checksum_sha1: input.checksum_sha1.clone(),
        checksum_sha256: input.checksum_sha256.clone(),
        ..Checksum::default()
    }
}

pub(super) fn user_metadata(metadata: Option<Metadata>) -> Vec<(String, String)> {
    let mut user: Vec<_> = metadata.unwrap_or_default().into_iter().collect();
    user.sort();
    user
}
