//! S3 on the front: every operation there is, its conditions, and how the store's errors are told to a client.
//!
//! Clients retry. So 503 is said only of what certainly was not applied, contention is settled inside and never shown
//! as 409, and a write of unknown outcome gets no answer at all: its connection is reset ([`crate::serve::Reset`]).

use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::time::Instant;

use s3s::auth::SimpleAuth;
use s3s::config::{S3Config, StaticConfigProvider};
use s3s::dto::*;
use s3s::service::{S3Service, S3ServiceBuilder};
use s3s::{S3, S3ErrorCode, S3Request, S3Response, S3Result, s3_error};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tracing::debug;

use crate::config::Config;
use crate::coordinator::Coordinator;
use crate::metrics::Metrics;

mod bucket;
mod chunks;
mod delete;
mod listing;
mod parts;
mod read;
mod reply;
mod sums;
mod upload;
mod write;

pub(crate) use reply::respond;
use reply::{not_applied, outcome};

/// Largest XML body, which is that of a delete: 1 000 keys of 1 KiB, their tags and the markup around them.
const MAX_XML_BYTES: usize = 2 * 1024 * 1024;

pub(crate) struct Api {
    store: Arc<Coordinator>,
    metrics: Arc<Metrics>,
    bucket: String,
    limits: upload::Limits,
    uploads: Arc<Semaphore>,
    reads: read::Room,
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
            limits: upload::Limits::new(config),
            uploads: Arc::new(Semaphore::new(config.max_uploads)),
            reads: read::Room::new(config.max_read_bytes),
        };
        let mut builder = S3ServiceBuilder::new(api);
        let secret = config.secret_access_key.expose();
        builder.set_auth(SimpleAuth::from_single(
            config.access_key_id.as_str(),
            secret,
        ));
        builder.set_access(bucket::Access {
            anonymous_read: config.anonymous_read,
        });
        builder.set_config(Arc::new(StaticConfigProvider::new(Arc::new(limits()))));
        builder.build()
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

    /// One of few places for an upload, taken before a byte of its body is read, so that the client knows that nothing
    /// was stored.
    fn place(&self) -> S3Result<OwnedSemaphorePermit> {
        let place = Arc::clone(&self.uploads).try_acquire_owned();
        place.map_err(|_| not_applied(S3ErrorCode::SlowDown, "Too many uploads at once."))
    }
}

/// The operations served; `s3s` answers `NotImplemented` to all others.
#[async_trait::async_trait]
impl S3 for Api {
    async fn put_object(
        &self,
        req: S3Request<PutObjectInput>,
    ) -> S3Result<S3Response<PutObjectOutput>> {
        self.observe("put", self.put(req)).await
    }

    async fn copy_object(
        &self,
        req: S3Request<CopyObjectInput>,
    ) -> S3Result<S3Response<CopyObjectOutput>> {
        self.observe("copy", self.copy(req)).await
    }

    async fn get_object(
        &self,
        req: S3Request<GetObjectInput>,
    ) -> S3Result<S3Response<GetObjectOutput>> {
        let signed = req.credentials.is_some();
        self.observe("get", self.get(req.input, signed)).await
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

    async fn create_multipart_upload(
        &self,
        req: S3Request<CreateMultipartUploadInput>,
    ) -> S3Result<S3Response<CreateMultipartUploadOutput>> {
        self.observe("create_upload", self.create_upload(req.input))
            .await
    }

    async fn upload_part(
        &self,
        req: S3Request<UploadPartInput>,
    ) -> S3Result<S3Response<UploadPartOutput>> {
        self.observe("put_part", Api::upload_part(self, req)).await
    }

    async fn upload_part_copy(
        &self,
        req: S3Request<UploadPartCopyInput>,
    ) -> S3Result<S3Response<UploadPartCopyOutput>> {
        self.observe("copy_part", self.copy_part(req.input)).await
    }

    async fn complete_multipart_upload(
        &self,
        req: S3Request<CompleteMultipartUploadInput>,
    ) -> S3Result<S3Response<CompleteMultipartUploadOutput>> {
        self.observe("complete_upload", self.complete_upload(req.input))
            .await
    }

    async fn abort_multipart_upload(
        &self,
        req: S3Request<AbortMultipartUploadInput>,
    ) -> S3Result<S3Response<AbortMultipartUploadOutput>> {
        self.observe("abort_upload", self.abort_upload(req.input))
            .await
    }

    async fn list_parts(
        &self,
        req: S3Request<ListPartsInput>,
    ) -> S3Result<S3Response<ListPartsOutput>> {
        self.observe("list_parts", Api::list_parts(self, req.input))
            .await
    }

    async fn list_multipart_uploads(
        &self,
        req: S3Request<ListMultipartUploadsInput>,
    ) -> S3Result<S3Response<ListMultipartUploadsOutput>> {
        self.observe("list_uploads", self.list_uploads(req.input))
            .await
    }

    async fn list_objects(
        &self,
        req: S3Request<ListObjectsInput>,
    ) -> S3Result<S3Response<ListObjectsOutput>> {
        self.observe("list", self.list_v1(req.input)).await
    }

    async fn list_object_versions(
        &self,
        req: S3Request<ListObjectVersionsInput>,
    ) -> S3Result<S3Response<ListObjectVersionsOutput>> {
        self.observe("list", self.list_versions(req.input)).await
    }

    async fn create_bucket(
        &self,
        req: S3Request<CreateBucketInput>,
    ) -> S3Result<S3Response<CreateBucketOutput>> {
        Api::create_bucket(self, &req.input).map(S3Response::new)
    }

    async fn delete_bucket(
        &self,
        req: S3Request<DeleteBucketInput>,
    ) -> S3Result<S3Response<DeleteBucketOutput>> {
        Api::delete_bucket(self, req.input)
            .await
            .map(S3Response::new)
    }

    async fn get_bucket_location(
        &self,
        req: S3Request<GetBucketLocationInput>,
    ) -> S3Result<S3Response<GetBucketLocationOutput>> {
        self.check_bucket(&req.input.bucket)?;
        Ok(S3Response::new(GetBucketLocationOutput::default()))
    }

    async fn get_bucket_versioning(
        &self,
        req: S3Request<GetBucketVersioningInput>,
    ) -> S3Result<S3Response<GetBucketVersioningOutput>> {
        self.check_bucket(&req.input.bucket)?;
        Ok(S3Response::new(GetBucketVersioningOutput::default()))
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
            // Nobody knows, and clients fail without one.
            creation_date: Some(timestamp(0)),
            ..Bucket::default()
        };
        Ok(S3Response::new(ListBucketsOutput {
            buckets: Some(vec![bucket]),
            ..ListBucketsOutput::default()
        }))
    }
}

/// Refuses keys that XML, which listings are, cannot carry. None is in the range that the store keeps for itself.
fn check_key(key: &str) -> S3Result {
    let no_xml = |c: char| c.is_control() || matches!(c, '\u{FFFE}' | '\u{FFFF}');
    if key.is_empty() || key.chars().any(no_xml) {
        return Err(s3_error!(
            InvalidArgument,
            "Keys must not be empty or hold control characters."
        ));
    }
    Ok(())
}

/// There is one version of an object, which is called `null`.
fn check_version(version: Option<&str>) -> S3Result {
    match version {
        None | Some("null" | "") => Ok(()),
        Some(_) => Err(s3_error!(NoSuchVersion, "There are no versions.")),
    }
}

/// What `s3s` may hold in memory before it has checked who asks.
fn limits() -> S3Config {
    let mut limits = S3Config::default();
    limits.xml_max_body_size = MAX_XML_BYTES;
    // Forms are refused before they get that far; this is the second lock.
    limits.post_object_max_file_size = 1;
    limits.form_max_field_size = 1;
    limits.form_max_fields_size = 1;
    limits.form_max_parts = 1;
    limits
}

fn timestamp(millis: u64) -> Timestamp {
    Timestamp::from(SystemTime::UNIX_EPOCH + Duration::from_millis(millis))
}
