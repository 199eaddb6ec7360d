//! Files by content: an id holds the SHA-256 of the bytes, and the bytes live in an object store.
//!
//! The store is whatever `QUIZ_STORE_URL` says: our storage nodes or any S3, a folder (a mounted `GlusterFS` or NFS), or
//! memory for tests. Several S3 endpoints stand in for each other (`failover.rs`), with no balancer in between.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};

use failover::Failover;

mod config;
mod failover;
mod id;
#[cfg(test)]
mod tests;

pub use config::StoreConfig;
pub use id::{Format, ImageId, ParseImageIdError};

/// Never written: asking for it tells whether the store answers. Pictures sit one folder deeper.
const PROBE_KEY: &str = "images/ready";

/// What went wrong with the store. For logs and status codes; a visitor never sees the text.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// No endpoint gave an answer in time; trying later can help (503).
    #[error("the image store did not answer")]
    Unavailable(#[source] object_store::Error),
    /// The store answered no: credentials, bucket or folder are wrong (500).
    #[error("the image store refused the request")]
    Refused(#[source] object_store::Error),
    /// Every copy that could be read has other bytes than its name says (500).
    #[error("the stored bytes of {0} are damaged")]
    Damaged(ImageId),
}

impl StoreError {
    fn timed_out(limit: Duration) -> Self {
        Self::Unavailable(object_store::Error::Generic {
            store: "images",
            source: format!("no answer within {limit:?}").into(),
        })
    }
}

impl From<object_store::Error> for StoreError {
    fn from(error: object_store::Error) -> Self {
        match error {
            // Transport errors, time-outs and 5xx arrive as this one variant.
            object_store::Error::Generic { .. } | object_store::Error::JoinError { .. } => {
                Self::Unavailable(error)
            }
            _ => Self::Refused(error),
        }
    }
}

/// The pictures of the site. One per process; share it behind an `Arc`.
#[derive(Debug)]
pub struct ImageStore {
    failover: Failover<Arc<dyn ObjectStore>>,
    ready_timeout: Duration,
    /// Of a file store: its mount point, whose disappearance looks like "no such picture" otherwise.
    folder: Option<std::path::PathBuf>,
}

impl ImageStore {
    /// Opens the store without talking to it, except for a folder, which must be there and writable.
    pub fn from_config(config: &StoreConfig) -> anyhow::Result<Self> {
        let opened = config.open().context("opening the image store")?;
        Ok(Self {
            failover: Failover::new(opened.endpoints, config.patience()),
            ready_timeout: config.ready_timeout,
            folder: opened.folder,
        })
    }

    /// Stores a file durably. Storing it again is fine and changes nothing.
    pub async fn put(&self, id: &ImageId, bytes: &Bytes) -> Result<(), StoreError> {
        let write = |store: Arc<dyn ObjectStore>| {
            let (key, bytes) = (id.key(), bytes.clone());
            async move { Ok(store.put(&key, bytes.into()).await.map(drop)?) }
        };
        let size = bytes.len() as u64;
        self.failover.first_success("put", size, write).await
    }

    /// The bytes of a file, proved against its id, or `None` when there is no such file.
    pub async fn get(&self, id: &ImageId) -> Result<Option<Bytes>, StoreError> {
        let read = |store: Arc<dyn ObjectStore>| read_checked(store, *id);
        self.failover.first_success("get", 0, read).await
    }

    /// How many bytes a file has, or `None` when there is no such file.
    pub async fn size(&self, id: &ImageId) -> Result<Option<u64>, StoreError> {
        let ask = |store: Arc<dyn ObjectStore>| {
            let key = id.key();
            async move { found(store.head(&key).await.map(|meta| meta.size)) }
        };
        self.failover.first_success("head", 0, ask).await
    }

    /// Some bytes of a file, or `None` when there is no such file. The range is not empty and begins within the file.
    /// A part cannot be proved against the id: that is left to the store.
    pub async fn get_range(
        &self,
        id: &ImageId,
        range: Range<u64>,
    ) -> Result<Option<Bytes>, StoreError> {
        let read = |store: Arc<dyn ObjectStore>| {
            let (key, range) = (id.key(), range.clone());
            async move { found(store.get_range(&key, range).await) }
        };
        self.failover
            .first_success("get range", range.end - range.start, read)
            .await
    }

    /// Removes a file. One that is not there is fine.
    pub async fn delete(&self, id: &ImageId) -> Result<(), StoreError> {
        let remove = |store: Arc<dyn ObjectStore>| {
            let key = id.key();
            async move { found(store.delete(&key).await).map(drop) }
        };
        self.failover.first_success("delete", 0, remove).await
    }

    /// Whether the store would answer now: one endpoint out of all, within `QUIZ_STORE_READY_TIMEOUT_MS`.
    pub async fn ready(&self) -> Result<(), StoreError> {
        let limit = self.ready_timeout;
        let folder = self.folder.clone();
        self.failover
            .any(limit, move |store| probe(store, folder.clone()))
            .await
    }
}

async fn read_checked(
    store: Arc<dyn ObjectStore>,
    id: ImageId,
) -> Result<Option<Bytes>, StoreError> {
    let Some(answer) = found(store.get(&id.key()).await)? else {
        return Ok(None);
    };
    let bytes = answer.bytes().await?;
    if id.fits(&bytes) {
        Ok(Some(bytes))
    } else {
        Err(StoreError::Damaged(id))
    }
}

/// What is not there is an answer.
fn found<T>(answer: object_store::Result<T>) -> Result<Option<T>, StoreError> {
    match answer {
        Ok(value) => Ok(Some(value)),
        Err(object_store::Error::NotFound { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

async fn probe(
    store: Arc<dyn ObjectStore>,
    folder: Option<std::path::PathBuf>,
) -> Result<(), StoreError> {
    if let Some(folder) = folder {
        tokio::fs::metadata(folder)
            .await
            .map_err(|error| object_store::Error::Generic {
                store: "images",
                source: error.into(),
            })?;
    }
    // Not HEAD, whose answer has no body: a bucket that is not there would look like a picture that is not.
    match store.get(&Path::from(PROBE_KEY)).await {
        Err(error @ object_store::Error::NotFound { .. }) if !names_the_bucket(&error) => Ok(()),
        answer => Ok(answer.map(drop)?),
    }
}

/// Whether what is not there is the bucket. Every S3 has the same word for it.
fn names_the_bucket(error: &(dyn std::error::Error + 'static)) -> bool {
    let chain = std::iter::successors(Some(error), |error| error.source());
    chain
        .map(ToString::to_string)
        .any(|text| text.contains("NoSuchBucket"))
}
