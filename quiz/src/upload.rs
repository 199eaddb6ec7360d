//! Forms with a file, read as they arrive. What is too large is read to its end and thrown away: a server that
//! answers and closes in the middle of an upload makes browsers show a network error instead of the answer.

use axum::body::Bytes;
use axum::extract::multipart::{Field, MultipartError};
use axum::extract::{FromRequest, Multipart, Request};
use axum::http::StatusCode;
use axum::{RequestExt, body::Body};
use futures::StreamExt;

use crate::app::App;
use crate::csrf;
use crate::error::Error;
use crate::limits;
use crate::params;
use crate::visitor::Visitor;

mod pace;
mod places;
#[cfg(test)]
mod tests;

use pace::Behind;
pub use places::{Place, Places};

/// The most that is read of one request, thrown away or not. The balancer's own limit is half of it.
pub const MAX_BODY_BYTES: usize = 64 * 1024 * 1024;

/// The most that is kept of a text field: far more than is accepted, enough to give back what was typed.
const MAX_TEXT_BYTES: usize = 16 * 1024;

/// Texts of one form. Ours have half a dozen; without a limit a form of many could fill the memory.
const MAX_TEXTS: usize = 24;

/// Longer names are not those of our fields.
const MAX_NAME_BYTES: usize = 64;

/// A form with texts and at most one file, whose token belongs to its visitor.
#[derive(Default)]
pub struct Form {
    texts: Vec<(String, String)>,
    file: Option<Upload>,
}

/// The file of the form.
pub enum Upload {
    /// With its place among the uploads in memory.
    Kept(Bytes, Place),
    TooLarge,
    /// There was no place for it.
    Busy,
}

impl Form {
    /// Reads the whole request: a `multipart/form-data` body whose field `file` may hold a file. Nothing large is kept
    /// before the token of `visitor` was read: it comes first in our forms, so that another site's form costs no memory.
    /// Who has sent too many in a short time is refused before any of it is looked at.
    pub async fn read(
        request: Request,
        app: &App,
        visitor: &Visitor,
        file: &str,
    ) -> Result<Self, Error> {
        if !params::has_media_type(request.headers(), "multipart/form-data") {
            return Err(Error::WrongMediaType(|t| t.errors.must_be_multipart));
        }
        if let Err(refused) = limits::upload(app, visitor).await {
            discard(request).await;
            return Err(refused);
        }
        Self::parse(request, app, visitor, file).await
    }

    async fn parse(
        request: Request,
        app: &App,
        visitor: &Visitor,
        file: &str,
    ) -> Result<Self, Error> {
        let behind = Behind::default();
        let request = request.map(|body| pace::pace(body, behind.clone()));
        let mut multipart = Multipart::from_request(request, app)
            .await
            .map_err(|_| Error::BadRequest(|t| t.errors.no_boundary))?;
        let mut form = Self::default();
        let (mut token, mut early, mut too_many) = (Err(Error::StaleForm), false, false);
        while let Some(field) = multipart.next_field().await.map_err(broken)? {
            behind.caught_up();
            let name = field.name().unwrap_or_default().to_owned();
            if name == file {
                match &token {
                    Ok(()) if form.file.is_none() => {
                        form.file = read_file(field, app, visitor, &behind).await?
                    }
                    Ok(()) => drop(discard_field(field, &behind).await?),
                    Err(_) => early |= discard_field(field, &behind).await?,
                }
            } else if name == csrf::FIELD {
                token = visitor.check_csrf(Some(&read_text(field, &behind).await?));
            } else if field.file_name().is_some() || name.len() > MAX_NAME_BYTES {
                discard_field(field, &behind).await?;
            } else if form.texts.len() < MAX_TEXTS {
                form.texts.push((name, read_text(field, &behind).await?));
            } else {
                too_many |= discard_field(field, &behind).await?;
            }
        }
        token?;
        if early {
            return Err(Error::BadRequest(|t| t.errors.file_before_token));
        }
        if too_many {
            return Err(Error::TooLarge);
        }
        Ok(form)
    }

    /// As [`read`](Self::read), and takes a URL-encoded form as well: one without a file, like a button that deletes.
    pub async fn read_any(
        request: Request,
        app: &App,
        visitor: &Visitor,
        file: &str,
    ) -> Result<Self, Error> {
        if !params::has_media_type(request.headers(), "application/x-www-form-urlencoded") {
            return Self::read(request, app, visitor, file).await;
        }
        let params = csrf::read_urlencoded(request, app).await?;
        visitor.check_csrf(params.get(csrf::FIELD))?;
        Ok(Self {
            texts: params.into_pairs(),
            file: None,
        })
    }

    /// The text of a field; of equal names the first counts.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.texts
            .iter()
            .find(|(found, _)| found == name)
            .map(|(_, text)| text.as_str())
    }

    /// The method that the form stands for: browsers send none but GET and POST.
    pub fn method(&self) -> Option<String> {
        self.text("_method").map(str::to_ascii_uppercase)
    }

    /// Did the visitor choose a file, taken or not?
    pub fn has_file(&self) -> bool {
        self.file.is_some()
    }

    /// The file, once; none when the visitor chose none.
    pub fn take_file(&mut self) -> Option<Upload> {
        self.file.take()
    }
}

/// Reads a body to its end without keeping it.
pub async fn discard(request: Request) {
    let body: Body = request.into_limited_body();
    let mut chunks = body.into_data_stream();
    while let Some(Ok(_)) = chunks.next().await {}
}

async fn read_text(field: Field<'_>, behind: &Behind) -> Result<String, Error> {
    let (mut bytes, whole) = read_up_to(field, behind, Bytes::new(), MAX_TEXT_BYTES).await?;
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
async fn read_file(
    mut field: Field<'_>,
    app: &App,
    visitor: &Visitor,
    behind: &Behind,
) -> Result<Option<Upload>, Error> {
    let named = field.file_name().is_some_and(|name| !name.is_empty());
    let first = chunk(&mut field, behind).await?.unwrap_or_default();
    if !named && first.is_empty() {
        return Ok(None);
    }
    let Ok(place) = app.upload_places.take(visitor).await else {
        discard_field(field, behind).await?;
        return Ok(Some(Upload::Busy));
    };
    let (bytes, whole) = read_up_to(field, behind, first, app.config.max_upload_bytes).await?;
    Ok(Some(if whole {
        Upload::Kept(bytes.into(), place)
    } else {
        Upload::TooLarge
    }))
}

/// Whether there was something in it.
async fn discard_field(field: Field<'_>, behind: &Behind) -> Result<bool, Error> {
    let (_, empty) = read_up_to(field, behind, Bytes::new(), 0).await?;
    Ok(!empty)
}

/// The first `max_bytes` of a field that begins with `first`, read to its end, and whether that is all of it.
async fn read_up_to(
    mut field: Field<'_>,
    behind: &Behind,
    first: Bytes,
    max_bytes: usize,
) -> Result<(Vec<u8>, bool), Error> {
    let mut kept = Vec::new();
    let mut whole = true;
    let mut next = Some(first);
    while let Some(bytes) = next {
        let room = max_bytes - kept.len();
        whole &= bytes.len() <= room;
        kept.extend_from_slice(&bytes[..bytes.len().min(room)]);
        next = chunk(&mut field, behind).await?;
    }
    Ok((kept, whole))
}

async fn chunk(field: &mut Field<'_>, behind: &Behind) -> Result<Option<Bytes>, Error> {
    let bytes = field.chunk().await.map_err(broken)?;
    behind.caught_up();
    Ok(bytes)
}

// By value, because that is how `map_err` hands it over.
#[expect(clippy::needless_pass_by_value, reason = "the signature of map_err")]
fn broken(error: MultipartError) -> Error {
    match error.status() {
        StatusCode::PAYLOAD_TOO_LARGE => Error::TooLarge,
        _ => Error::BadRequest(|t| t.errors.form_cut_short),
    }
}
