//! The one bucket: there from the beginning and never gone.

use s3s::access::{S3Access, S3AccessContext};
use s3s::dto::*;
use s3s::{S3Result, s3_error};

use super::Api;
use super::reply::s3_error;
use crate::list::{self, Query, Start};

impl Api {
    pub(super) fn check_bucket(&self, bucket: &str) -> S3Result {
        if bucket == self.bucket {
            return Ok(());
        }
        Err(s3_error!(
            NoSuchBucket,
            "There is one bucket, and this is not it."
        ))
    }

    pub(super) fn create_bucket(&self, input: &CreateBucketInput) -> S3Result<CreateBucketOutput> {
        if input.bucket != self.bucket {
            return Err(s3_error!(
                TooManyBuckets,
                "There is one bucket, and this is not it; STORAGE_BUCKET names it."
            ));
        }
        Ok(CreateBucketOutput {
            location: Some(format!("/{}", self.bucket)),
        })
    }

    pub(super) async fn delete_bucket(
        &self,
        input: DeleteBucketInput,
    ) -> S3Result<DeleteBucketOutput> {
        self.check_bucket(&input.bucket)?;
        let query = Query {
            prefix: String::new(),
            delimiter: None,
            start: Start::Beginning,
            max_keys: 1,
        };
        let page = list::page(self.store.cluster(), &query).await;
        if page.map_err(s3_error)?.items.is_empty() {
            return Err(s3_error!(
                AccessDenied,
                "The one bucket cannot be deleted; it is empty."
            ));
        }
        Err(s3_error!(BucketNotEmpty))
    }
}

/// Who may do what: everything with a signature, and without one, if that is allowed, reading an object.
pub(super) struct Access {
    pub(super) anonymous_read: bool,
}

#[async_trait::async_trait]
impl S3Access for Access {
    async fn check(&self, cx: &mut S3AccessContext<'_>) -> S3Result {
        if cx.credentials().is_some() {
            return Ok(());
        }
        let reads = matches!(cx.s3_op().name(), "GetObject" | "HeadObject");
        if self.anonymous_read && reads {
            return Ok(());
        }
        Err(s3_error!(AccessDenied, "Signature is required"))
    }
}
