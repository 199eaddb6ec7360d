//! S3 on the front: every operation there is, its conditions, and how the store's errors are told to a client.
//!
//! Clients retry. So 503 is said only of what certainly was not applied, contention is settled inside and never shown
//! as 409, and a write of unknown outcome gets no answer at all: its connection is reset ([`crate::serve::Reset`]).

use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use s3s::auth::SimpleAuth;
use s3s::dto::*;
use s3s::service::{S3Service, S3ServiceBuilder};
use s3s::{Body, S3, S3ErrorCode, S3Request, S3Response, S3Result, s3_error};
use tokio::sync::Semaphore;
use tracing::debug;

use crate::conditions::{Answer, Condition, ReadConditions};
use crate::config::Config;
use crate::coordinator::{Coordinator, Outcome};
use crate::list::{self, Item, Query, Start};
use crate::metrics::Metrics;
use crate::version::Live;

mod reply;
mod upload;

pub(crate) use reply::respond;
use reply::{not_applied, not_modified, outcome, s3_error};

/// Most keys in one answer, as S3 has it.
const MAX_KEYS: i32 = 1_000;

pub(crate) struct Api {
    store: Arc<Coordinator>,
    metrics: Arc<Metrics>,
    bucket: String,
    max_object_bytes: u64,
    uploads: Semaphore,
}

impl Api {
    /// The S3 service of a node.
    pub(crate) fn service(
        config: &Config,
        store: Arc<Coordinator>,
        metrics: Arc<Metrics>,
    ) -> S3Service {
        let api = Self {
            store,
            metrics,
            bucket: config.bucket.clone(),
            max_object_bytes: config.max_object_bytes,
            uploads: Semaphore::new(config.max_uploads),
        };
        let mut builder = S3ServiceBuilder::new(api);
        let secret = config.secret_access_key.expose();
        builder.set_auth(SimpleAuth::from_single(
            config.access_key_id.as_str(),
            secret,
        ));
        builder.build()
    }

    fn check_bucket(&self, bucket: &str) -> S3Result {
        if bucket == self.bucket {
            return Ok(());
        }
        Err(s3_error!(
            NoSuchBucket,
            "There is one bucket, and this is not it."
        ))
    }

    /// Counts and times an operation.
    async fn observe<T>(
        &self,
        operation: &'static str,
        work: impl Future<Output = S3Result<T>> + Send,
    ) -> S3Result<S3Response<T>> {
        let start = Instant::now();
        let result = work.await;
        let outcome = result.as_ref().err().map_or("ok", outcome);
        self.metrics.observe(operation, outcome, start.elapsed());
        debug!(
            operation,
            outcome,
            duration_ms = start.elapsed().as_millis() as u64,
            "{operation} {outcome}"
        );
        result.map(S3Response::new)
    }

    async fn put(&self, input: PutObjectInput) -> S3Result<PutObjectOutput> {
        self.check_bucket(&input.bucket)?;
        upload::check(&input, self.max_object_bytes)?;
        let condition = match (&input.if_none_match, &input.if_match) {
            (None, tag) => Condition::if_match(tag.as_ref()),
            (Some(ETagCondition::Any), None) => Condition::Absent,
            (Some(_), _) => {
                return Err(s3_error!(
                    NotImplemented,
                    "Only `If-None-Match: *` can guard a write."
                ));
            }
        };
        // Before a byte of the body is read, so that the client knows that nothing was stored.
        let Ok(_permit) = self.uploads.try_acquire() else {
            return Err(not_applied(
                S3ErrorCode::SlowDown,
                "Too many uploads at once.",
            ));
        };
        let key = input.key.clone();
        let upload = upload::receive(input, self.max_object_bytes).await?;
        let etag = hex::encode(upload.etag);
        match self
            .store
            .put(key, upload, condition)
            .await
            .map_err(s3_error)?
        {
            Outcome::Done => Ok(PutObjectOutput {
                e_tag: Some(ETag::Strong(etag)),
                ..PutObjectOutput::default()
            }),
            Outcome::ConditionFailed => Err(s3_error!(PreconditionFailed)),
        }
    }

    /// The object, unless the request's conditions say otherwise.
    async fn find(&self, key: &str, conditions: &ReadConditions) -> S3Result<Live> {
        let live = self.store.get(key).await.map_err(s3_error)?;
        let live = live.ok_or_else(|| s3_error!(NoSuchKey))?;
        match conditions.judge(&live) {
            Answer::Serve => Ok(live),
            Answer::Failed => Err(s3_error!(PreconditionFailed)),
            Answer::NotModified => Err(not_modified(&live)),
        }
    }

    async fn get(&self, input: GetObjectInput) -> S3Result<GetObjectOutput> {
        self.check_bucket(&input.bucket)?;
        no_versions_or_parts(input.version_id.as_ref(), input.part_number)?;
        let conditions = ReadConditions {
            if_match: input.if_match,
            if_none_match: input.if_none_match,
            if_modified_since: input.if_modified_since.as_ref().map(millis),
            if_unmodified_since: input.if_unmodified_since.as_ref().map(millis),
        };
        let live = self.find(&input.key, &conditions).await?;
        let (range, content_range) = span(input.range, live.size)?;
        let length = (range.end - range.start) as i64;
        let data = self.store.bytes(&live, range).await.map_err(s3_error)?;
        Ok(GetObjectOutput {
            accept_ranges: Some("bytes".to_owned()),
            body: Some(blob_of(data)),
            cache_control: live.headers.cache_control,
            content_disposition: live.headers.content_disposition,
            content_encoding: live.headers.content_encoding,
            content_language: live.headers.content_language,
            content_length: Some(length),
            content_range,
            content_type: live.headers.content_type,
            e_tag: Some(ETag::Strong(hex::encode(live.etag))),
            last_modified: Some(timestamp(live.last_modified_ms)),
            metadata: Some(live.headers.user.into_iter().collect()),
            ..GetObjectOutput::default()
        })
    }

    async fn head(&self, input: HeadObjectInput) -> S3Result<HeadObjectOutput> {
        self.check_bucket(&input.bucket)?;
        no_versions_or_parts(input.version_id.as_ref(), input.part_number)?;
        let conditions = ReadConditions {
            if_match: input.if_match,
            if_none_match: input.if_none_match,
            if_modified_since: input.if_modified_since.as_ref().map(millis),
            if_unmodified_since: input.if_unmodified_since.as_ref().map(millis),
        };
        let live = self.find(&input.key, &conditions).await?;
        let (range, content_range) = span(input.range, live.size)?;
        Ok(HeadObjectOutput {
            accept_ranges: Some("bytes".to_owned()),
            cache_control: live.headers.cache_control,
            content_disposition: live.headers.content_disposition,
            content_encoding: live.headers.content_encoding,
            content_language: live.headers.content_language,
            content_length: Some((range.end - range.start) as i64),
            content_range,
            content_type: live.headers.content_type,
            e_tag: Some(ETag::Strong(hex::encode(live.etag))),
            last_modified: Some(timestamp(live.last_modified_ms)),
            metadata: Some(live.headers.user.into_iter().collect()),
            ..HeadObjectOutput::default()
        })
    }

    async fn delete(&self, input: DeleteObjectInput) -> S3Result<DeleteObjectOutput> {
        self.check_bucket(&input.bucket)?;
        no_versions_or_parts(input.version_id.as_ref(), None)?;
        if input.if_match_last_modified_time.is_some() || input.if_match_size.is_some() {
            return Err(s3_error!(
                NotImplemented,
                "Only If-Match can guard a delete."
            ));
        }
        self.delete_if(input.key, input.if_match).await?;
        Ok(DeleteObjectOutput::default())
    }

    async fn delete_one(&self, object: ObjectIdentifier) -> S3Result {
        no_versions_or_parts(object.version_id.as_ref(), None)?;
        let tag = object.e_tag.map(ETagCondition::ETag);
        self.delete_if(object.key, tag).await
    }

    async fn delete_if(&self, key: String, tag: Option<ETagCondition>) -> S3Result {
        let condition = Condition::if_match(tag.as_ref());
        match self.store.delete(key, condition).await.map_err(s3_error)? {
            Outcome::Done => Ok(()),
            Outcome::ConditionFailed => Err(s3_error!(PreconditionFailed)),
        }
    }

    /// `POST ?delete`, which is how `object_store` deletes even one object.
    async fn delete_many(&self, input: DeleteObjectsInput) -> S3Result<DeleteObjectsOutput> {
        self.check_bucket(&input.bucket)?;
        let mut deleted = Vec::new();
        let mut errors = Vec::new();
        let objects = input.delete.objects;
        // All at once: they share the commits of the group.
        let results = objects.into_iter().map(async |object| {
            let key = object.key.clone();
            (key, self.delete_one(object).await)
        });
        for (key, result) in futures::future::join_all(results).await {
            match result {
                Ok(()) => deleted.push(DeletedObject {
                    key: Some(key),
                    ..DeletedObject::default()
                }),
                // Deleting again is harmless, so an unknown outcome is said as an error of the one key.
                Err(error) => errors.push(s3s::dto::Error {
                    code: Some(error.code().as_str().to_owned()),
                    key: Some(key),
                    message: error.message().map(str::to_owned),
                    version_id: None,
                }),
            }
        }
        let quiet = input.delete.quiet.unwrap_or(false);
        Ok(DeleteObjectsOutput {
            deleted: (!quiet).then_some(deleted),
            errors: Some(errors),
            ..DeleteObjectsOutput::default()
        })
    }

    async fn list(&self, input: ListObjectsV2Input) -> S3Result<ListObjectsV2Output> {
        self.check_bucket(&input.bucket)?;
        let max_keys = input.max_keys.unwrap_or(MAX_KEYS);
        if max_keys < 0 {
            return Err(s3_error!(InvalidArgument, "max-keys must not be negative."));
        }
        let max_keys = max_keys.min(MAX_KEYS);
        let start = match (&input.continuation_token, &input.start_after) {
            (Some(token), _) => Start::from_token(token).ok_or_else(|| {
                s3_error!(
                    InvalidArgument,
                    "The continuation token is not one of ours."
                )
            })?,
            (None, Some(key)) => Start::After(key.clone()),
            (None, None) => Start::Beginning,
        };
        let query = Query {
            prefix: input.prefix.clone().unwrap_or_default(),
            delimiter: input.delimiter.clone(),
            start,
            max_keys: max_keys as usize,
        };
        let page = list::page(self.store.cluster(), &query)
            .await
            .map_err(s3_error)?;
        let key_count = page.items.len() as i32;
        let mut contents = Vec::new();
        let mut prefixes = Vec::new();
        for item in page.items {
            match item {
                Item::Object(key, summary) => contents.push(Object {
                    key: Some(key),
                    e_tag: Some(ETag::Strong(hex::encode(summary.etag))),
                    size: Some(summary.size as i64),
                    last_modified: Some(timestamp(summary.last_modified_ms)),
                    ..Object::default()
                }),
                Item::Prefix(prefix) => prefixes.push(CommonPrefix {
                    prefix: Some(prefix),
                }),
            }
        }
        Ok(ListObjectsV2Output {
            name: Some(input.bucket),
            prefix: input.prefix,
            delimiter: input.delimiter,
            start_after: input.start_after,
            continuation_token: input.continuation_token,
            max_keys: Some(max_keys),
            key_count: Some(key_count),
            is_truncated: Some(page.next.is_some()),
            next_continuation_token: page.next.as_ref().map(Start::to_token),
            contents: Some(contents),
            common_prefixes: Some(prefixes),
            ..ListObjectsV2Output::default()
        })
    }
}

/// The operations served; `s3s` answers `NotImplemented` to all others.
#[async_trait::async_trait]
impl S3 for Api {
    async fn put_object(
        &self,
        req: S3Request<PutObjectInput>,
    ) -> S3Result<S3Response<PutObjectOutput>> {
        self.observe("put", self.put(req.input)).await
    }

    async fn get_object(
        &self,
        req: S3Request<GetObjectInput>,
    ) -> S3Result<S3Response<GetObjectOutput>> {
        self.observe("get", self.get(req.input)).await
    }

    async fn head_object(
        &self,
        req: S3Request<HeadObjectInput>,
    ) -> S3Result<S3Response<HeadObjectOutput>> {
        self.observe("head", self.head(req.input)).await
    }

    async fn delete_object(
        &self,
        req: S3Request<DeleteObjectInput>,
    ) -> S3Result<S3Response<DeleteObjectOutput>> {
        self.observe("delete", self.delete(req.input)).await
    }

    async fn delete_objects(
        &self,
        req: S3Request<DeleteObjectsInput>,
    ) -> S3Result<S3Response<DeleteObjectsOutput>> {
        self.observe("delete_many", self.delete_many(req.input))
            .await
    }

    async fn list_objects_v2(
        &self,
        req: S3Request<ListObjectsV2Input>,
    ) -> S3Result<S3Response<ListObjectsV2Output>> {
        self.observe("list", self.list(req.input)).await
    }

    async fn head_bucket(
        &self,
        req: S3Request<HeadBucketInput>,
    ) -> S3Result<S3Response<HeadBucketOutput>> {
        self.check_bucket(&req.input.bucket)?;
        Ok(S3Response::new(HeadBucketOutput::default()))
    }

    async fn list_buckets(
        &self,
        _: S3Request<ListBucketsInput>,
    ) -> S3Result<S3Response<ListBucketsOutput>> {
        let bucket = Bucket {
            name: Some(self.bucket.clone()),
            ..Bucket::default()
        };
        Ok(S3Response::new(ListBucketsOutput {
            buckets: Some(vec![bucket]),
            ..ListBucketsOutput::default()
        }))
    }
}

fn no_versions_or_parts(version: Option<&ObjectVersionId>, part: Option<PartNumber>) -> S3Result {
    if version.is_some() || part.is_some() {
        return Err(s3_error!(
            NotImplemented,
            "There are no versions and no parts."
        ));
    }
    Ok(())
}

/// The bytes to serve, and the header that says so when they are not all.
fn span(range: Option<s3s::dto::Range>, size: u64) -> S3Result<(Range<u64>, Option<String>)> {
    let Some(range) = range else {
        return Ok((0..size, None));
    };
    let range = range.check(size)?;
    if range.is_empty() {
        return Err(s3_error!(InvalidRange)); // the end of nothing
    }
    let header = format!("bytes {}-{}/{size}", range.start, range.end - 1);
    Ok((range, Some(header)))
}

fn blob_of(data: Bytes) -> StreamingBlob {
    StreamingBlob::from(Body::from(data))
}

fn timestamp(millis: u64) -> Timestamp {
    Timestamp::from(SystemTime::UNIX_EPOCH + Duration::from_millis(millis))
}

fn millis(timestamp: &Timestamp) -> i64 {
    let mut text = Vec::new();
    // The one way to get at the number that needs no other crate.
    let seconds = timestamp
        .format(TimestampFormat::EpochSeconds, &mut text)
        .ok()
        .and_then(|()| String::from_utf8(text).ok()?.parse::<f64>().ok());
    seconds.map_or(0, |seconds| (seconds * 1_000.0) as i64)
}
