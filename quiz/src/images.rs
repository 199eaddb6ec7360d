//! Pictures by content: an id is the SHA-256 of the bytes, and the bytes live in an object store.
//!
//! The store is whatever `QUIZ_STORE_URL` says: our storage nodes or any S3, a folder (a mounted `GlusterFS` or NFS), or
//! memory for tests. Several S3 endpoints stand in for each other (`failover.rs`), with no balancer in between.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use sha2::{Digest, Sha256};

use crate::picture::{Format, Picture};
use failover::Failover;

mod config;
mod failover;
#[cfg(test)]
mod tests;

pub use config::StoreConfig;

/// Never written: asking for it tells whether the store answers. Pictures sit one folder deeper.
const PROBE_KEY: &str = "images/ready";

/// Name of a stored picture: `<sha256 hex>.<png|jpg>`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ImageId {
    sha256: [u8; 32],
    format: Format,
}

impl ImageId {
    /// The id that this picture has, stored or not.
    pub fn of(picture: &Picture) -> Self {
        Self {
            sha256: Sha256::digest(&picture.bytes).into(),
            format: picture.format,
        }
    }

    pub fn content_type(&self) -> &'static str {
        self.format.content_type()
    }

    /// `images/<2 hex>/<sha256 hex>.<ext>`: 256 folders, so that none of a file store grows huge.
    pub fn key(&self) -> Path {
        let id = self.to_string();
        Path::from_iter(["images", &id[..2], &id])
    }
}

impl fmt::Display for ImageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}.{}",
            hex::encode(self.sha256),
            self.format.extension()
        )
    }
}

/// Not the name of a picture.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not an image id: 64 lower-case hexadecimal digits and .png or .jpg")]
pub struct ParseImageIdError;

impl FromStr for ImageId {
    type Err = ParseImageIdError;

    /// Strict: one picture has one name, which caches and the database compare as text.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (digits, extension) = text.split_once('.').ok_or(ParseImageIdError)?;
        let format = match extension {
            "png" => Format::Png,
            "jpg" => Format::Jpeg,
            _ => return Err(ParseImageIdError),
        };
        if digits.bytes().any(|b| b.is_ascii_uppercase()) {
            return Err(ParseImageIdError);
        }
        let mut sha256 = [0; 32];
        hex::decode_to_slice(digits, &mut sha256).map_err(|_| ParseImageIdError)?;
        Ok(Self { sha256, format })
    }
}

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

    /// Stores the picture durably under its content. Storing it again is fine and changes nothing.
    pub async fn put(&self, picture: &Picture) -> Result<ImageId, StoreError> {
        let id = ImageId::of(picture);
        let key = id.key();
        let write = |store: Arc<dyn ObjectStore>| {
            let (key, bytes) = (key.clone(), picture.bytes.clone());
            async move { Ok(store.put(&key, bytes.into()).await.map(drop)?) }
        };
        self.failover.first_success("put", write).await?;
        Ok(id)
    }

    /// The bytes of a picture, proved against its id, or `None` when there is no such picture.
    pub async fn get(&self, id: &ImageId) -> Result<Option<Bytes>, StoreError> {
        let read = |store: Arc<dyn ObjectStore>| {
            let id = id.clone();
            async move { read_checked(&*store, id).await }
        };
        self.failover.first_success("get", read).await
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

async fn read_checked(store: &dyn ObjectStore, id: ImageId) -> Result<Option<Bytes>, StoreError> {
    let found = match store.get(&id.key()).await {
        Ok(found) => found,
        Err(object_store::Error::NotFound { .. }) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let bytes = found.bytes().await?;
    if Sha256::digest(&bytes)[..] != id.sha256 {
        return Err(StoreError::Damaged(id));
    }
    Ok(Some(bytes))
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
    match store.head(&Path::from(PROBE_KEY)).await {
        Ok(_) | Err(object_store::Error::NotFound { .. }) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
