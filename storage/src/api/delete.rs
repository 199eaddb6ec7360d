//! Deleting one object or many.

use std::sync::atomic::{AtomicBool, Ordering};

use futures::StreamExt as _;
use s3s::dto::*;
use s3s::{S3ErrorCode, S3Result, s3_error};

use super::reply::s3_error;
use super::{Api, check_key, check_version};
use crate::conditions::Condition;
use crate::coordinator::Outcome;
use crate::error::Error;

/// Most keys in one request, as S3 has it.
const MAX_KEYS: usize = 1_000;
/// Deletes of one request under way at a time: they share the commits of a group, and each asks three nodes twice, so
/// all at once would keep the last ones waiting beyond their deadline.
const AT_A_TIME: usize = 16;

impl Api {
    pub(super) async fn delete(&self, input: DeleteObjectInput) -> S3Result<DeleteObjectOutput> {
        self.check_bucket(&input.bucket)?;
        check_version(input.version_id.as_deref())?;
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
        check_version(object.version_id.as_deref())?;
        let tag = object.e_tag.map(ETagCondition::ETag);
        self.delete_if(object.key, tag).await
    }

    async fn delete_if(&self, key: String, tag: Option<ETagCondition>) -> S3Result {
        check_key(&key)?;
        let condition = Condition::if_match(tag.as_ref());
        match self.store.delete(key, condition).await.map_err(s3_error)? {
            Outcome::Done => Ok(()),
            Outcome::ConditionFailed => Err(s3_error!(PreconditionFailed)),
        }
    }

    /// `POST ?delete`, which is how `object_store` deletes even one object.
    pub(super) async fn delete_many(
        &self,
        input: DeleteObjectsInput,
    ) -> S3Result<DeleteObjectsOutput> {
        self.check_bucket(&input.bucket)?;
        let objects = input.delete.objects;
        if objects.len() > MAX_KEYS {
            return Err(s3_error!(
                MalformedXML,
                "One request may delete {MAX_KEYS} keys."
            ));
        }
        let mut deleted = Vec::new();
        let mut errors = Vec::new();
        let lost = &AtomicBool::new(false);
        let deletes = objects.into_iter().map(|object| async move {
            let key = object.key.clone();
            // When the nodes are gone, each of the others would wait for them as well.
            if lost.load(Ordering::Relaxed) {
                return (key, Err(s3_error(Error::Unavailable)));
            }
            let deleted = self.delete_one(object).await;
            if let Err(error) = &deleted
                && *error.code() == S3ErrorCode::ServiceUnavailable
            {
                lost.store(true, Ordering::Relaxed);
            }
            (key, deleted)
        });
        let mut results = futures::stream::iter(deletes).buffer_unordered(AT_A_TIME);
        while let Some((key, result)) = results.next().await {
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
}
