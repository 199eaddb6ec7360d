//! Pictures, straight from the store. The URL is the hash of the content, so a reply is good for ever.

use axum::extract::State;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_NONE_MATCH};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};

use crate::app::App;
use crate::assets::IMMUTABLE;
use crate::error::Error;
use crate::images::ImageId;
use crate::pages::Name;

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
    let bytes = app.images.get(&id).await?.ok_or(Error::NotFound)?;
    Ok((validators, [(CONTENT_TYPE, id.content_type())], bytes).into_response())
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
