//! Pictures, straight from the store. The URL is the hash of the content, so a reply is good for ever.
//!
//! Each reply holds a copy of its picture until the visitor has taken it. Strangers who read slowly could fill the
//! memory with them, so copies have a budget and a time limit.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::header::{CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, ETAG, IF_NONE_MATCH};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use futures::{StreamExt, stream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use crate::app::App;
use crate::assets::IMMUTABLE;
use crate::config::Config;
use crate::error::Error;
use crate::images::ImageId;
use crate::pages::Name;

/// How long a reader waits for a place in the budget before being told to come back.
const PATIENCE: Duration = Duration::from_secs(2);

/// What is handed to the connection at a time. It is copied: the connection may keep it for as long as it likes.
const CHUNK_BYTES: usize = 64 * 1024;

/// Memory for the pictures that are being sent, counted in KiB.
pub struct Budget {
    free: Arc<Semaphore>,
    /// What the largest picture takes. How large one is shows only when it has been read.
    largest: u32,
}

impl Budget {
    pub(crate) fn new(config: &Config) -> Self {
        Self {
            free: Arc::new(Semaphore::new(config.picture_budget_bytes / 1024)),
            largest: kib(config.max_stored_bytes()),
        }
    }

    /// A place for a picture of any size.
    async fn reserve(&self) -> Result<OwnedSemaphorePermit, Error> {
        let place = Arc::clone(&self.free).acquire_many_owned(self.largest);
        tokio::time::timeout(PATIENCE, place)
            .await
            .context("waiting for memory for a picture: visitors read slowly or are many")
            .and_then(|place| place.context("the budget has been closed"))
            .map_err(Error::Unavailable)
    }
}

/// `GET /images/{id}`.
pub async fn show(
    State(app): State<App>,
    Name(name): Name,
    headers: HeaderMap,
) -> Result<Response, Error> {
    let id: ImageId = name.parse().map_err(|_| Error::NotFound)?;
    let etag = format!("\"{id}\"");
    let validators = [(ETAG, etag.as_str()), (CACHE_CONTROL, IMMUTABLE)];
    // Who knows the tag has the bytes: the store need not be asked.
    if names(&headers, &etag) {
        return Ok((StatusCode::NOT_MODIFIED, validators).into_response());
    }
    let mut place = app.picture_budget.reserve().await?;
    let bytes = app.images.get(&id).await?.ok_or(Error::NotFound)?;
    let place = place.split(kib(bytes.len()) as usize).unwrap_or(place);
    let described = [
        (CONTENT_TYPE, id.content_type().to_owned()),
        // Also what makes a reply that ends early an error at the reader's end.
        (CONTENT_LENGTH, bytes.len().to_string()),
    ];
    let body = send(bytes, place, app.config.request_timeout);
    Ok((validators, described, body).into_response())
}

/// A body that gives its memory and its place back when it has been taken, and after `limit` in any case. That is the
/// work of a task: a connection that waits for its reader asks no body for anything.
fn send(bytes: Bytes, place: OwnedSemaphorePermit, limit: Duration) -> Body {
    let (sender, mut chunks) = mpsc::channel(1);
    tokio::spawn(async move {
        let _place = place;
        let all_taken = async {
            for chunk in bytes.chunks(CHUNK_BYTES) {
                if sender.send(Bytes::copy_from_slice(chunk)).await.is_err() {
                    break;
                }
            }
        };
        if tokio::time::timeout(limit, all_taken).await.is_err() {
            tracing::debug!("a picture was not taken in time");
        }
    });
    let chunks = stream::poll_fn(move |context| chunks.poll_recv(context));
    Body::from_stream(chunks.map(Ok::<_, Infallible>))
}

/// Rounded up; what is too much for the type is more than any budget.
fn kib(bytes: usize) -> u32 {
    u32::try_from(bytes.div_ceil(1024)).unwrap_or(u32::MAX)
}

/// Does `If-None-Match` list this very tag? The star is left out: it asks whether the picture exists.
fn names(headers: &HeaderMap, etag: &str) -> bool {
    headers
        .get_all(IF_NONE_MATCH)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|tag| tag.trim().trim_start_matches("W/") == etag)
}
