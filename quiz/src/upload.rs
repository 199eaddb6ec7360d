//! The form that creates a quiz, read as it arrives. What is too large is read to its end and thrown away: a server that
//! answers and closes in the middle of an upload makes browsers show a network error instead of the answer.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use axum::body::Bytes;
use axum::extract::multipart::{Field, MultipartError};
use axum::extract::{FromRequest, Multipart, Request};
use axum::http::StatusCode;
use axum::{RequestExt, body::Body};
use futures::StreamExt;
use tokio::sync::OwnedSemaphorePermit;

use crate::app::App;
use crate::auth;
use crate::csrf;
use crate::error::Error;
use crate::params;
use crate::picture::{Limits, Picture, PictureError};
use crate::visitor::Visitor;

/// The most that is read of one request, thrown away or not. The balancer's own limit is half of it.
pub const MAX_BODY_BYTES: usize = 64 * 1024 * 1024;

/// The most that is kept of a text field: far more than is accepted, enough to give back what was typed.
const MAX_TEXT_BYTES: usize = 16 * 1024;

/// How long a picture waits for its turn to be decoded.
const QUEUE_TIMEOUT: Duration = Duration::from_secs(15);

/// How long a picture waits for a place in memory, and the rest of its form with it.
const PLACE_TIMEOUT: Duration = Duration::from_secs(2);

/// The fields as they arrived, with the visitor's own token; unknown ones are ignored.
#[derive(Default)]
pub struct QuizForm {
    pub question: Option<String>,
    pub answer: Option<String>,
    pub image: Option<Upload>,
}

/// The file of the form.
pub enum Upload {
    /// With its place among the uploads in memory.
    Kept(Bytes, OwnedSemaphorePermit),
    TooLarge,
    /// There was no place for it.
    Busy,
}

/// Why a picture is not accepted. `Display` is fit for the visitor.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    #[error("This picture is larger than {max}. Choose a smaller one.", max = human_size(*.max_bytes))]
    TooLarge { max_bytes: usize },
    #[error(
        "Too many pictures are being uploaded at the moment. Choose yours again and try again in a few seconds."
    )]
    Busy,
    #[error(transparent)]
    Picture(#[from] PictureError),
}

impl Refusal {
    /// The status of the page that tells it.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::TooLarge { .. } | Self::Picture(PictureError::TooManyBytes { .. }) => {
                StatusCode::PAYLOAD_TOO_LARGE
            }
            Self::Busy => StatusCode::SERVICE_UNAVAILABLE,
            Self::Picture(PictureError::UnsupportedType) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Picture(_) => StatusCode::UNPROCESSABLE_ENTITY,
        }
    }
}

impl QuizForm {
    /// Reads the whole request, and keeps nothing large before the token of `visitor` was read: it comes first in our
    /// form, so that another site's form costs no memory.
    pub async fn read(request: Request, app: &App, visitor: &Visitor) -> Result<Self, Error> {
        if !params::has_media_type(request.headers(), "multipart/form-data") {
            return Err(Error::WrongMediaType(|t| t.errors.must_be_multipart));
        }
        let mut multipart = Multipart::from_request(request, app)
            .await
            .map_err(|_| Error::BadRequest(|t| t.errors.no_boundary))?;
        let mut form = Self::default();
        let (mut token, mut early) = (Err(Error::StaleForm), false);
        while let Some(field) = multipart.next_field().await.map_err(broken)? {
            let name = field.name().unwrap_or_default().to_owned();
            match name.as_str() {
                csrf::FIELD => token = visitor.check_csrf(Some(&read_text(field).await?)),
                "question" => form.question = Some(read_text(field).await?),
                "answer" => form.answer = Some(read_text(field).await?),
                "image" if token.is_ok() => form.image = read_file(field, app).await?,
                "image" => early |= discard_field(field).await?,
                _ => drop(discard_field(field).await?),
            }
        }
        token?;
        if early {
            return Err(Error::BadRequest(|t| t.errors.file_before_token));
        }
        Ok(form)
    }
}

/// Decodes the picture of a form on a thread of its own, a bounded number at a time. Its place in memory comes along, to
/// be held until the picture is stored.
pub async fn decode(
    app: &App,
    upload: Upload,
) -> Result<Result<(Picture, OwnedSemaphorePermit), Refusal>, Error> {
    let max_bytes = app.config.max_upload_bytes;
    let (bytes, place) = match upload {
        Upload::Kept(bytes, place) => (bytes, place),
        Upload::TooLarge => return Ok(Err(Refusal::TooLarge { max_bytes })),
        Upload::Busy => return Ok(Err(Refusal::Busy)),
    };
    let limits = Limits {
        max_bytes,
        max_pixels: app.config.max_pixels,
    };
    let turn = auth::take_turn(&Arc::clone(&app.picture_turns), QUEUE_TIMEOUT)
        .await
        .map_err(Error::Unavailable)?;
    let decoded = tokio::task::spawn_blocking(move || {
        let _turn = turn;
        Picture::decode(&bytes, &limits).map(|picture| (picture, place))
    })
    .await
    .context("waiting for a picture to be decoded")
    .map_err(Error::Internal)?;
    Ok(decoded.map_err(Refusal::from))
}

/// Reads a body to its end without keeping it.
pub async fn discard(request: Request) {
    let body: Body = request.into_limited_body();
    let mut chunks = body.into_data_stream();
    while let Some(Ok(_)) = chunks.next().await {}
}

async fn read_text(field: Field<'_>) -> Result<String, Error> {
    let (mut bytes, whole) = read_up_to(field, Bytes::new(), MAX_TEXT_BYTES).await?;
    if !whole && let Err(error) = std::str::from_utf8(&bytes) {
        // The cut may have gone through a character.
        let valid = error.valid_up_to();
        if bytes.len() - valid < 4 {
            bytes.truncate(valid);
        }
    }
    params::text(&bytes)
}

/// The file, unless none was chosen: browsers then send a part without name and content.
async fn read_file(mut field: Field<'_>, app: &App) -> Result<Option<Upload>, Error> {
    let named = field.file_name().is_some_and(|name| !name.is_empty());
    let first = field.chunk().await.map_err(broken)?.unwrap_or_default();
    if !named && first.is_empty() {
        return Ok(None);
    }
    let Ok(place) = auth::take_turn(&app.upload_places, PLACE_TIMEOUT).await else {
        discard_field(field).await?;
        return Ok(Some(Upload::Busy));
    };
    let (bytes, whole) = read_up_to(field, first, app.config.max_upload_bytes).await?;
    Ok(Some(if whole {
        Upload::Kept(bytes.into(), place)
    } else {
        Upload::TooLarge
    }))
}

/// Whether there was something in it.
async fn discard_field(field: Field<'_>) -> Result<bool, Error> {
    let (_, empty) = read_up_to(field, Bytes::new(), 0).await?;
    Ok(!empty)
}

/// The first `max_bytes` of a field that begins with `first`, read to its end, and whether that is all of it.
async fn read_up_to(
    mut field: Field<'_>,
    first: Bytes,
    max_bytes: usize,
) -> Result<(Vec<u8>, bool), Error> {
    let mut kept = Vec::new();
    let mut whole = true;
    let mut next = Some(first);
    while let Some(chunk) = next {
        let room = max_bytes - kept.len();
        whole &= chunk.len() <= room;
        kept.extend_from_slice(&chunk[..chunk.len().min(room)]);
        next = field.chunk().await.map_err(broken)?;
    }
    Ok((kept, whole))
}

// By value, because that is how `map_err` hands it over.
#[expect(clippy::needless_pass_by_value, reason = "the signature of map_err")]
fn broken(error: MultipartError) -> Error {
    match error.status() {
        StatusCode::PAYLOAD_TOO_LARGE => Error::TooLarge,
        _ => Error::BadRequest(|t| t.errors.form_cut_short),
    }
}

fn human_size(bytes: usize) -> String {
    const MIB: usize = 1024 * 1024;
    if bytes >= MIB && bytes.is_multiple_of(MIB) {
        format!("{} MiB", bytes / MIB)
    } else {
        format!("{} KiB", bytes.div_ceil(1024))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_refusal_of_a_picture_has_the_status_of_its_reason() {
        let too_many_bytes = PictureError::TooManyBytes { max_bytes: 1 };
        for (refusal, status) in [
            (Refusal::TooLarge { max_bytes: 1 }, 413),
            (too_many_bytes.into(), 413),
            (Refusal::Busy, 503),
            (PictureError::UnsupportedType.into(), 415),
            (PictureError::GrowsTooMuch.into(), 422),
            (PictureError::Broken.into(), 422),
        ] {
            assert_eq!(refusal.status().as_u16(), status, "{refusal}");
        }
    }
}
