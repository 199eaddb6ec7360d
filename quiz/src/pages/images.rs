//! Pictures, videos and documents, straight from the store. The URL is the hash of the content, so a reply is good for
//! ever.
//!
//! Each reply holds a copy of its file until the visitor has taken it. Strangers who read slowly could fill the memory
//! with them, so copies have a budget and a time limit. A part of a file is read in blocks, each when the one before has
//! been taken: who looks into the middle of a video does not make us read all of it.

use std::convert::Infallible;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_RANGE,
    CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, HeaderName, HeaderValue, IF_NONE_MATCH,
};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use futures::{StreamExt, stream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use crate::app::App;
use crate::assets::IMMUTABLE;
use crate::config::Config;
use crate::error::Error;
use crate::images::{Format, ImageId};
use crate::pages::Name;

mod range;

use range::Part;

/// Takes what is sent to a visitor, a chunk at a time.
type Sender = mpsc::Sender<Bytes>;

/// How long a reader waits for a place in the budget before being told to come back.
const PATIENCE: Duration = Duration::from_secs(2);

/// What is handed to the connection at a time. It is copied: the connection may keep it for as long as it likes.
const CHUNK_BYTES: usize = 64 * 1024;

/// What is read of a part at a time: a few seconds of video.
const BLOCK_BYTES: u64 = 1024 * 1024;

/// What a thumbnail takes at most: its pixels as they are have less than 700 KiB, and encoding adds a few.
const THUMBNAIL_BYTES: usize = 1024 * 1024;

/// For files that are as they were uploaded, should one be opened as a page: no scripts, no forms, nothing loaded.
const SANDBOX: &str = "sandbox; default-src 'none'; frame-ancestors 'none'";

/// Memory for the pictures that are being sent, counted in KiB.
pub struct Budget {
    free: Arc<Semaphore>,
    /// What the largest file takes. How large one is shows only when it has been read.
    largest: u32,
}

impl Budget {
    pub(crate) fn new(config: &Config) -> Self {
        Self {
            free: Arc::new(Semaphore::new(config.picture_budget_bytes / 1024)),
            largest: kib(config.max_stored_bytes()),
        }
    }

    /// A place for a file of which only the name is known.
    async fn reserve_for(&self, id: &ImageId) -> Result<OwnedSemaphorePermit, Error> {
        if id.is_thumbnail() {
            self.reserve(THUMBNAIL_BYTES).await
        } else {
            self.take(self.largest).await
        }
    }

    /// A place for so many bytes.
    async fn reserve(&self, bytes: usize) -> Result<OwnedSemaphorePermit, Error> {
        self.take(kib(bytes).min(self.largest)).await
    }

    async fn take(&self, kib: u32) -> Result<OwnedSemaphorePermit, Error> {
        let place = Arc::clone(&self.free).acquire_many_owned(kib);
        tokio::time::timeout(PATIENCE, place)
            .await
            .context("waiting for memory for a picture: visitors read slowly or are many")
            .and_then(|place| place.context("the budget has been closed"))
            .map_err(Error::Unavailable)
    }
}

/// `GET /images/{id}`, and `HEAD`.
pub async fn show(
    State(app): State<App>,
    method: Method,
    Name(name): Name,
    headers: HeaderMap,
) -> Result<Response, Error> {
    let id: ImageId = name.parse().map_err(|_| Error::NotFound)?;
    let etag = format!("\"{id}\"");
    // Who knows the tag has the bytes: the store need not be asked.
    if names(&headers, &etag) {
        return Ok((StatusCode::NOT_MODIFIED, validators(&etag)).into_response());
    }
    let reply = if method == Method::HEAD {
        let size = app.images.size(&id).await?.ok_or(Error::NotFound)?;
        // The body is not sent, and the length is the one that it would have.
        ([(CONTENT_LENGTH, size.to_string())], Body::empty()).into_response()
    } else if range::is_asked_for(&headers, &etag) {
        let size = app.images.size(&id).await?.ok_or(Error::NotFound)?;
        match range::part(&headers, size) {
            Part::Whole => whole(&app, &id).await?,
            Part::Bytes(bytes) => part(&app, &id, bytes, size).await?,
            Part::Nothing => {
                let content_range = [(CONTENT_RANGE, format!("bytes */{size}"))];
                return Ok((StatusCode::RANGE_NOT_SATISFIABLE, content_range).into_response());
            }
        }
    } else {
        whole(&app, &id).await?
    };
    Ok((validators(&etag), described(&id), reply).into_response())
}

fn validators(etag: &str) -> [(HeaderName, &str); 3] {
    [
        (ETAG, etag),
        (CACHE_CONTROL, IMMUTABLE),
        (ACCEPT_RANGES, "bytes"),
    ]
}

/// What the file is. What a visitor made and we did not draw again can do nothing on our site: a video plays inside our
/// pages, a document is saved.
fn described(id: &ImageId) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(id.content_type()));
    if matches!(id.format(), Format::Mp4 | Format::Pdf) {
        headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(SANDBOX));
    }
    let shown = match id.format() {
        Format::Mp4 => Some("inline"),
        Format::Pdf => Some("attachment"),
        Format::Png | Format::Jpeg | Format::Gif => None,
    };
    if let Some(shown) = shown {
        let disposition = HeaderValue::try_from(format!("{shown}; filename=\"{id}\""));
        let disposition = disposition.expect("an id has letters, digits, a hyphen and a dot");
        headers.insert(CONTENT_DISPOSITION, disposition);
    }
    headers
}

async fn whole(app: &App, id: &ImageId) -> Result<Response, Error> {
    let mut place = app.picture_budget.reserve_for(id).await?;
    let bytes = app.images.get(id).await?.ok_or(Error::NotFound)?;
    let place = place.split(kib(bytes.len()) as usize).unwrap_or(place);
    // Also what makes a reply that ends early an error at the reader's end.
    let length = [(CONTENT_LENGTH, bytes.len().to_string())];
    let send = async move |sender: Sender| {
        send(&sender, &bytes).await;
    };
    let body = body(place, app.config.request_timeout, send);
    Ok((length, body).into_response())
}

async fn part(app: &App, id: &ImageId, part: Range<u64>, size: u64) -> Result<Response, Error> {
    let place = app.picture_budget.reserve(BLOCK_BYTES as usize).await?;
    // The first block comes before the headers, so that a store that is away is a proper error.
    let block = block(&part);
    let bytes = app.images.get_range(id, block.clone()).await?;
    let bytes = bytes.ok_or(Error::NotFound)?;
    let described = [
        (CONTENT_LENGTH, (part.end - part.start).to_string()),
        (
            CONTENT_RANGE,
            format!("bytes {}-{}/{size}", part.start, part.end - 1),
        ),
    ];
    let (app, id, limit) = (app.clone(), *id, app.config.request_timeout);
    let send = async move |sender: Sender| {
        send_blocks(&app, &id, block.end..part.end, bytes, &sender).await;
    };
    let body = body(place, limit, send);
    Ok((StatusCode::PARTIAL_CONTENT, described, body).into_response())
}

/// Sends a block that has been read and then the others, as far as they are taken.
async fn send_blocks(
    app: &App,
    id: &ImageId,
    mut rest: Range<u64>,
    mut bytes: Bytes,
    sender: &Sender,
) {
    while send(sender, &bytes).await && !rest.is_empty() {
        let next = block(&rest);
        rest.start = next.end;
        match app.images.get_range(id, next).await {
            Ok(Some(read)) => bytes = read,
            Ok(None) => return,
            Err(error) => return tracing::warn!(%error, "a part of a file ends early"),
        }
    }
}

/// The first block of a part.
fn block(part: &Range<u64>) -> Range<u64> {
    part.start..part.end.min(part.start + BLOCK_BYTES)
}

/// Hands bytes over in chunks; `false` when nobody takes them any more.
async fn send(sender: &Sender, bytes: &Bytes) -> bool {
    for chunk in bytes.chunks(CHUNK_BYTES) {
        if sender.send(Bytes::copy_from_slice(chunk)).await.is_err() {
            return false;
        }
    }
    true
}

/// A body that gives its memory and its place back when it has been taken, and after `limit` in any case. That is the
/// work of a task: a connection that waits for its reader asks no body for anything.
fn body<F>(place: OwnedSemaphorePermit, limit: Duration, send: impl FnOnce(Sender) -> F) -> Body
where
    F: Future<Output = ()> + Send + 'static,
{
    let (sender, mut chunks) = mpsc::channel(1);
    let all_taken = send(sender);
    tokio::spawn(async move {
        let _place = place;
        if tokio::time::timeout(limit, all_taken).await.is_err() {
            tracing::debug!("a file was not taken in time");
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
