//! The one place where an error becomes an answer: the visitor gets a short text and a request id, the log gets the chain.

use std::any::Any;

use askama::Template;
use axum::extract::Request;
use axum::http::header::{CACHE_CONTROL, HeaderValue};
use axum::http::{Method, StatusCode};
use axum::middleware::Next;
use axum::response::{Html, IntoResponse, Response};

use crate::assets::{self, Assets};
use crate::images::StoreError;
use crate::telemetry::RequestId;

/// Why a request gets no page of its own.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("nothing is there")]
    NotFound,
    #[error("the request cannot be read: {0}")]
    BadRequest(&'static str),
    #[error("the visitor may not see this")]
    Forbidden,
    #[error("the CSRF token is missing or wrong")]
    StaleForm,
    #[error("the method does not fit the address")]
    MethodNotAllowed,
    #[error("the request body is too large")]
    TooLarge,
    #[error("the request body has the wrong media type: {0}")]
    WrongMediaType(&'static str),
    #[error("a part of the site does not answer")]
    Unavailable(#[source] anyhow::Error),
    #[error("a fault of the program")]
    Internal(#[source] anyhow::Error),
}

/// Rides on a response until [`pages`] turns it into a page in the style of the site.
#[derive(Clone, Copy)]
struct ErrorText {
    title: &'static str,
    text: &'static str,
}

#[derive(Template)]
#[template(path = "error.html")]
struct ErrorTemplate<'a> {
    assets: &'static Assets,
    status: u16,
    title: &'a str,
    text: &'a str,
    request_id: &'a str,
}

impl Error {
    fn status(&self) -> StatusCode {
        match self {
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::BadRequest(_) => StatusCode::BAD_REQUEST,
            Self::Forbidden | Self::StaleForm => StatusCode::FORBIDDEN,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::WrongMediaType(_) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Internal(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    fn text(&self) -> ErrorText {
        let (title, text) = match self {
            Self::NotFound => (
                "Page not found",
                "There is nothing at this address. It may have been removed.",
            ),
            Self::BadRequest(text) => ("That request makes no sense", *text),
            Self::Forbidden => (
                "Not allowed",
                "Only the author of a quiz and the administrators can see this page.",
            ),
            Self::StaleForm => (
                "This form is out of date",
                "Nothing was changed. Go back, reload the page and try again. If that does not help, allow cookies for this site.",
            ),
            Self::MethodNotAllowed => (
                "That does not work here",
                "This address cannot be used in that way.",
            ),
            Self::TooLarge => (
                "Too much data",
                "The request is larger than this page accepts.",
            ),
            Self::WrongMediaType(text) => ("That kind of data does not work here", *text),
            Self::Unavailable(_) => (
                "We will be right back",
                "A part of the site does not answer at the moment. Try again in a few seconds.",
            ),
            Self::Internal(_) => (
                "Something went wrong",
                "This is our fault, not yours. Try again later.",
            ),
        };
        ErrorText { title, text }
    }

    fn log(&self) {
        match self {
            Self::Internal(source) => tracing::error!(error = format!("{source:#}"), "{self}"),
            Self::Unavailable(source) => tracing::warn!(error = format!("{source:#}"), "{self}"),
            _ => tracing::debug!("refused: {self}"),
        }
    }
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        self.log();
        let mut response = self.status().into_response();
        response.extensions_mut().insert(self.text());
        response
    }
}

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        if is_outage(&error) {
            Self::Unavailable(anyhow::Error::new(error).context("asking the database"))
        } else {
            Self::Internal(anyhow::Error::new(error).context("asking the database"))
        }
    }
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Unavailable(_) => {
                Self::Unavailable(anyhow::Error::new(error).context("asking the image store"))
            }
            _ => Self::Internal(anyhow::Error::new(error).context("asking the image store")),
        }
    }
}

impl From<askama::Error> for Error {
    fn from(error: askama::Error) -> Self {
        Self::Internal(anyhow::Error::new(error).context("rendering a page"))
    }
}

/// Classes of PostgreSQL errors that say "not now" or "not you" instead of "not this statement": connection, log-in,
/// no such database, out of resources, not in a fit state, operator intervention (shutdown, time limit).
const OUTAGE_CLASSES: [&str; 6] = ["08", "28", "3D", "53", "55", "57"];

/// Is the database away, rather than the statement wrong?
fn is_outage(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed
        | sqlx::Error::Io(_)
        | sqlx::Error::Tls(_) => true,
        sqlx::Error::Database(error) => error
            .code()
            .is_some_and(|code| OUTAGE_CLASSES.iter().any(|class| code.starts_with(class))),
        _ => false,
    }
}

/// What a visitor gets when a handler panics.
#[expect(
    clippy::needless_pass_by_value,
    reason = "the signature that catches panics"
)]
pub fn panicked(panic: Box<dyn Any + Send + 'static>) -> Response {
    let text = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("no message");
    Error::Internal(anyhow::anyhow!("a handler panicked: {text}")).into_response()
}

/// Layer that gives every [`Error`] its page.
pub async fn pages(request: Request, next: Next) -> Response {
    let id = request.extensions().get::<RequestId>().cloned();
    let head = request.method() == Method::HEAD;
    let mut response = next.run(request).await;
    let Some(ErrorText { title, text }) = response.extensions_mut().remove() else {
        return response;
    };
    let template = ErrorTemplate {
        assets: assets::get(),
        status: response.status().as_u16(),
        title,
        text,
        request_id: id.as_ref().map_or("unknown", RequestId::as_str),
    };
    // Cannot fail in practice: the template writes strings into a string. A plain text is the way out if it does.
    let html = template.render().unwrap_or_else(|_| title.to_owned());
    let (parts, page) = (response.into_parts().0, Html(html).into_response());
    let (page_parts, body) = page.into_parts();
    let mut response = Response::from_parts(
        parts,
        if head {
            axum::body::Body::empty()
        } else {
            body
        },
    );
    response.headers_mut().extend(page_parts.headers);
    response
        .headers_mut()
        .insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
