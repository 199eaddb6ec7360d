//! Storing one object: sent by a client, or copied from another.

use std::sync::Arc;

use http::HeaderMap;
use s3s::dto::*;
use s3s::{S3ErrorCode, S3Request, S3Result, s3_error};

use super::read::millis;
use super::reply::{s3_error, unknown};
use super::sums::{Received, Sums, Trailer};
use super::upload::{Body, stored_encoding};
use super::{Api, check_key, check_version, timestamp};
use crate::conditions::{Condition, ReadConditions};
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
        let sums = Sums::new(input.content_md5.clone(), given(&input), trailer);
        let body = Body::new(input.body, len, self.limits);
        let headers = Headers {
            content_type: input.content_type,
            cache_control: input.cache_control,
            content_disposition: input.content_disposition,
            content_encoding: input.content_encoding.as_deref().and_then(stored_encoding),
            content_language: input.content_language,
            user: user_metadata(input.metadata),
        };
        let written = self.store_object(input.key, headers, condition, body, sums);
        let (live, Received { checksum, .. }) = written.await?;
        Ok(PutObjectOutput {
            e_tag: Some(ETag::Strong(live.tag())),
            checksum_crc32: checksum.checksum_crc32,
            checksum_crc32c: checksum.checksum_crc32c,
            checksum_crc64nvme: checksum.checksum_crc64nvme,
            checksum_sha1: checksum.checksum_sha1,
            checksum_sha256: checksum.checksum_sha256,
            ..PutObjectOutput::default()
        })
    }

    async fn store_object(
        &self,
        key: String,
        headers: Headers,
        condition: Condition,
        body: Body,
        sums: Sums,
    ) -> S3Result<(Live, Received)> {
        let place = self.place()?;
        let store = Arc::clone(&self.store);
        let work = self.store.to_the_end(async move {
            let _place = place; // held also when the client has long gone
            let refused = match store.refuses(&key, &condition).await {
                Ok(refuses) => refuses.then(|| s3_error!(PreconditionFailed)),
                Err(error) => Some(s3_error(error)),
            };
            if let Some(refused) = refused {
                body.drain().await;
                return Err(refused);
            }
            let (stored, received) = body.store(&store, sums).await?;
            let new = Live {
                blobs: vec![stored.blob],
                size: stored.blob.len,
                etag: received.etag,
                headers,
                ..Live::default()
            };
            let written = store.write(&key, new, &stored.uploads, &condition).await;
            match written.map_err(s3_error)? {
                Some(live) => Ok((live, received)),
                None => Err(s3_error!(PreconditionFailed)),
            }
        });
        work.await.unwrap_or_else(|| Err(unknown()))
    }

    /// The bytes are read, checked and stored anew: two objects never share a blob.
    pub(super) async fn copy(
        &self,
        request: S3Request<CopyObjectInput>,
    ) -> S3Result<CopyObjectOutput> {
        let condition = condition_of(&request.headers)?;
        let input = request.input;
        self.check_bucket(&input.bucket)?;
        check_copy(&input)?;
        let conditions = ReadConditions {
            if_match: input.copy_source_if_match,
            if_none_match: input.copy_source_if_none_match,
            if_modified_since: input.copy_source_if_modified_since.as_ref().map(millis),
            if_unmodified_since: input.copy_source_if_unmodified_since.as_ref().map(millis),
        };
        let (from, source) = self.copy_source(&input.copy_source, &conditions).await?;
        let directive = input
            .metadata_directive
            .as_ref()
            .map(|given| given.as_str());
        let replace = directive == Some(MetadataDirective::REPLACE);
        if from == input.key && !replace {
            return Err(s3_error!(
                InvalidRequest,
                "A copy onto itself changes nothing without new metadata."
            ));
        }
        let headers = if replace {
            Headers {
                content_type: input.content_type,
                cache_control: input.cache_control,
                content_disposition: input.content_disposition,
                content_encoding: input.content_encoding,
                content_language: input.content_language,
                user: user_metadata(input.metadata),
            }
        } else {
            source.headers.clone()
        };
        let body = self.copied(&source, 0..source.size).await?;
        let sums = Sums::none();
        let (live, _) = self
            .store_object(input.key, headers, condition, body, sums)
            .await?;
        Ok(CopyObjectOutput {
            copy_object_result: Some(CopyObjectResult {
                e_tag: Some(ETag::Strong(live.tag())),
                last_modified: Some(timestamp(live.last_modified_ms)),
                ..CopyObjectResult::default()
            }),
            ..CopyObjectOutput::default()
        })
    }

    /// What is to be copied, and its key.
    pub(super) async fn copy_source(
        &self,
        source: &CopySource,
        conditions: &ReadConditions,
    ) -> S3Result<(String, Live)> {
        let CopySource::Bucket {
            bucket,
            key,
            version_id,
        } = source
        else {
            return Err(s3_error!(NotImplemented, "There are no access points."));
        };
        self.check_bucket(bucket)?;
        check_version(version_id.as_deref())?;
        match self.find(key, conditions).await {
            Ok(live) => Ok((key.to_string(), live)),
            Err(error) if *error.code() == S3ErrorCode::NotModified => {
                Err(s3_error!(PreconditionFailed))
            }
            Err(error) => Err(error),
        }
    }

    /// Part of an object as the body of another.
    pub(super) async fn copied(
        &self,
        source: &Live,
        range: std::ops::Range<u64>,
    ) -> S3Result<Body> {
        let len = range.end - range.start;
        self.limits.check(i64::try_from(len).ok())?;
        let bytes = self.open(source, range).await?;
        Ok(Body::new(bytes, len, self.limits))
    }
}

/// What a copy requires of the object that it would replace.
fn condition_of(headers: &HeaderMap) -> S3Result<Condition> {
    let given = |name| {
        let header = headers.get(name);
        let parsed = header.map(|value| ETagCondition::parse_http_header(value.as_bytes()));
        parsed.transpose().map_err(|_| S3ErrorCode::InvalidArgument)
    };
    let (absent, present) = (
        given(http::header::IF_NONE_MATCH)?,
        given(http::header::IF_MATCH)?,
    );
    condition(absent.as_ref(), present.as_ref())
}

fn check_copy(input: &CopyObjectInput) -> S3Result {
    check_key(&input.key)?;
    let encrypted = input.server_side_encryption.is_some()
        || input.sse_customer_algorithm.is_some()
        || input.copy_source_sse_customer_algorithm.is_some();
    let locked = input.object_lock_mode.is_some() || input.object_lock_legal_hold_status.is_some();
    refuse(encrypted || locked || input.tagging.is_some())
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
    refuse(encrypted || locked || input.tagging.is_some() || input.write_offset_bytes.is_some())
}

/// Refuses what would otherwise be left out silently.
pub(super) fn refuse(asked: bool) -> S3Result {
    if asked {
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
