//! Files that belong to a quiz or a user: checked, stored under the hash of their content, and removed when nothing refers to them.
//!
//! # The life of a file
//!
//! 1. [`prepare`] checks an upload: pictures are drawn again by our own encoder, videos and documents are kept as they
//!    are, known by their first bytes.
//! 2. [`Prepared::save`] makes its row (or takes the one of the same bytes) and commits: from then on the sweep leaves the
//!    file alone for its grace period. Then the bytes are stored.
//! 3. The transaction that makes a quiz or a user refer to the row [claims](crate::db::attachments::claim) it. If it fails,
//!    the file stays behind, named by no page, until the [sweep] comes.
//! 4. The transaction that ends a reference [releases](crate::db::attachments::release) the row.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use axum::body::Bytes;
use axum::http::StatusCode;

use crate::app::App;
use crate::auth;
use crate::db;
use crate::error::Error;
use crate::images::{Format, ImageId, StoreError};
use crate::locale::Texts;
use crate::picture::{Limits, Picture, PictureError};
use crate::upload::{Place, Upload};

mod config;
mod kind;
pub mod sweep;
#[cfg(test)]
mod tests;
mod view;

pub use config::AttachmentConfig;
pub use view::{Kind, View};

/// How long a picture waits for its turn to be decoded.
const QUEUE_TIMEOUT: Duration = Duration::from_secs(15);

/// What a field of a form takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accept {
    /// Whatever a quiz may have.
    Any,
    /// Photos of users.
    PictureOnly,
}

/// Why a file is not accepted.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    #[error("the file is larger than {max_bytes} bytes")]
    TooLarge { max_bytes: usize },
    #[error("there is no place for one more upload")]
    Busy,
    #[error("not a file that is taken as {0:?}")]
    WrongType(Accept),
    #[error("the picture is refused")]
    Picture(#[from] PictureError),
    #[error("the image store does not answer")]
    StoreAway(#[source] StoreError),
}

/// A file that is fit to be stored. Holds its place among the uploads in memory.
#[derive(Debug)]
pub struct Prepared {
    /// Its name, unless the same content has one already.
    id: ImageId,
    bytes: Bytes,
    /// Width and height in pixels.
    size: Option<(u32, u32)>,
    thumbnail: Option<Bytes>,
    place: Place,
}

/// A file that is in the store, and whose row waits to be claimed. Holds its place in memory until it is dropped.
#[derive(Debug)]
pub struct Saved {
    /// Of its row in `attachments`.
    pub id: i64,
    _place: Place,
}

impl Refusal {
    /// The status of the page that tells it.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::TooLarge { .. } | Self::Picture(PictureError::TooManyBytes { .. }) => {
                StatusCode::PAYLOAD_TOO_LARGE
            }
            Self::Busy | Self::StoreAway(_) => StatusCode::SERVICE_UNAVAILABLE,
            Self::WrongType(_) | Self::Picture(PictureError::UnsupportedType) => {
                StatusCode::UNSUPPORTED_MEDIA_TYPE
            }
            Self::Picture(_) => StatusCode::UNPROCESSABLE_ENTITY,
        }
    }

    /// What the visitor reads: what is wrong, and what to do.
    pub fn text(&self, t: &Texts) -> String {
        let t = &t.attachments;
        match *self {
            Self::TooLarge { max_bytes }
            | Self::Picture(PictureError::TooManyBytes { max_bytes }) => (t.too_large)(max_bytes),
            Self::Busy => t.busy.to_owned(),
            Self::WrongType(Accept::Any) => t.wrong_type.to_owned(),
            Self::WrongType(Accept::PictureOnly) | Self::Picture(PictureError::UnsupportedType) => {
                t.wrong_photo_type.to_owned()
            }
            Self::Picture(PictureError::GrowsTooMuch) => t.grows_too_much.to_owned(),
            Self::Picture(PictureError::TooManyPixels {
                width,
                height,
                max_pixels,
            }) => (t.too_many_pixels)(width, height, max_pixels),
            Self::Picture(PictureError::AnimationTooLong {
                max_frames,
                max_pixels,
            }) => (t.animation_too_long)(max_frames, max_pixels),
            Self::Picture(PictureError::Broken) => t.broken.to_owned(),
            Self::StoreAway(_) => t.not_saved.to_owned(),
        }
    }
}

/// Checks an upload and stores it: [`prepare`] and [`Prepared::save`] in one. Dropped half-way it leaves nothing but what
/// the sweep removes.
pub async fn save(
    app: &App,
    upload: Upload,
    accept: Accept,
) -> Result<Result<Saved, Refusal>, Error> {
    match prepare(app, upload, accept).await? {
        Ok(prepared) => prepared.save(app).await,
        Err(refusal) => Ok(Err(refusal)),
    }
}

/// Checks an upload without storing anything. A picture is decoded on a thread of its own, a bounded number at a time.
pub async fn prepare(
    app: &App,
    upload: Upload,
    accept: Accept,
) -> Result<Result<Prepared, Refusal>, Error> {
    let max_bytes = app.config.max_upload_bytes;
    let (bytes, place) = match upload {
        Upload::Kept(bytes, place) => (bytes, place),
        Upload::TooLarge => return Ok(Err(Refusal::TooLarge { max_bytes })),
        Upload::Busy => return Ok(Err(Refusal::Busy)),
    };
    let limits = Limits {
        max_bytes,
        max_pixels: app.config.max_pixels,
        max_frames: app.config.attachments.max_frames,
    };
    let turn = auth::take_turn(&Arc::clone(&app.picture_turns), QUEUE_TIMEOUT)
        .await
        .map_err(Error::Unavailable)?;
    let checked = tokio::task::spawn_blocking(move || {
        let _turn = turn;
        Prepared::check(bytes, accept, &limits, place)
    })
    .await;
    match checked {
        Ok(checked) => Ok(checked),
        // The decoders are other people's. One that panics has met a file that is not as it should be.
        Err(error) if error.is_panic() => {
            tracing::error!(%error, "a decoder panicked, its picture was refused");
            Ok(Err(PictureError::Broken.into()))
        }
        Err(error) => Err(Error::Internal(
            anyhow::Error::new(error).context("waiting for a picture to be decoded"),
        )),
    }
}

impl Prepared {
    /// Stores the file. The row comes first, so that the sweep cannot take the bytes away before the row is claimed.
    pub async fn save(self, app: &App) -> Result<Result<Saved, Refusal>, Error> {
        // What was decoded is within its limit of pixels; the columns hold what PostgreSQL calls an integer.
        let side = |pixels: u32| i32::try_from(pixels).unwrap_or(i32::MAX);
        let new = db::attachments::New {
            image_id: self.id.to_string(),
            mime: self.id.content_type(),
            size: self.size.map(|(width, height)| (side(width), side(height))),
        };
        let row = db::attachments::pin(&app.db, &new).await?;
        // A row that exists has a name of its own. One that this release cannot read is of a later one, and rare.
        let image_id = row.image_id.parse().context("reading the name of a file");
        match self.store(app, &image_id.map_err(Error::Internal)?).await {
            Ok(()) => {}
            Err(error @ StoreError::Unavailable(_)) => {
                tracing::warn!(%error, image_id = %row.image_id, "the image store does not answer, a file was not saved");
                return Ok(Err(Refusal::StoreAway(error)));
            }
            Err(error) => return Err(error.into()),
        }
        // Only now: others may show this row already.
        if self.thumbnail.is_some() {
            db::attachments::set_thumbnail(&app.db, row.id).await?;
        }
        let _place = self.place;
        Ok(Ok(Saved { id: row.id, _place }))
    }

    async fn store(&self, app: &App, id: &ImageId) -> Result<(), StoreError> {
        app.images.put(id, &self.bytes).await?;
        if let (Some(id), Some(bytes)) = (id.thumbnail(), &self.thumbnail) {
            app.images.put(&id, bytes).await?;
        }
        Ok(())
    }

    /// Blocks, for seconds if it has to.
    fn check(bytes: Bytes, accept: Accept, limits: &Limits, place: Place) -> Result<Self, Refusal> {
        match Picture::decode(&bytes, limits) {
            Ok(picture) => Ok(Self {
                id: ImageId::of(&picture.bytes, picture.format, rand::random()),
                bytes: picture.bytes,
                size: Some((picture.width, picture.height)),
                thumbnail: picture.thumbnail,
                place,
            }),
            Err(PictureError::UnsupportedType) => {
                let format: Option<Format> = match accept {
                    Accept::Any => kind::of(&bytes),
                    Accept::PictureOnly => None,
                };
                let format = format.ok_or(Refusal::WrongType(accept))?;
                Ok(Self {
                    id: ImageId::of(&bytes, format, rand::random()),
                    bytes,
                    size: None,
                    thumbnail: None,
                    place,
                })
            }
            Err(error) => Err(error.into()),
        }
    }
}
