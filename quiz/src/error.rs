//! The one place where an error becomes an answer: the visitor gets a short text and a request id, the log gets the chain.

use std::any::Any;
use std::time::Duration;

use askama::Template;
use axum::body::Body;
use axum::extract::Request;
use axum::http::header::{CACHE_CONTROL, CONTENT_LANGUAGE, HeaderValue, RETRY_AFTER, VARY};
use axum::http::{Method, StatusCode};
use axum::middleware::Next;
use axum::response::{Html, IntoResponse, Response};

use crate::domain::search::Invalid;
use crate::images::StoreError;
use crate::locale::{Language, Text, Texts};
use crate::telemetry::RequestId;
use crate::visitor::{Layout, PAGES_VARY};

/// What a client is told to wait when a part of the site does not answer: about as long as a part takes to start again.
const OUTAGE: Duration = Duration::from_secs(5);

/// Why a request gets no page of its own.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("nothing is there")]
    NotFound,
    #[error("the request cannot be read: {}", .0(Language::English.texts()))]
    BadRequest(Text),
    #[error("the visitor may not see this")]
    Forbidden,
    #[error("the CSRF token is missing or wrong")]
    StaleForm,
    #[error("the session has ended before its form came")]
    SessionExpired,
    #[error("the method does not fit the address")]
    MethodNotAllowed,
    #[error("the request body is too large")]
    TooLarge,
    #[error("the request body has the wrong media type: {}", .0(Language::English.texts()))]
    WrongMediaType(Text),
    #[error("too many requests, the next one is welcome in {0:?}")]
    TooMany(Duration),
    #[error("a part of the site does not answer")]
    Unavailable(#[source] anyhow::Error),
    #[error("a fault of the program")]
    Internal(#[source] anyhow::Error),
}

/// Rides on a response until [`pages`] turns it into a page in the style of the site, or the API into JSON.
#[derive(Clone)]
pub struct ErrorText {
    title: Text,
    text: Paragraph,
}

#[derive(Clone, Copy)]
enum Paragraph {
    Fixed(Text),
    /// Tells when to come back, in seconds.
    Wait(u64),
}

impl ErrorText {
    /// The heading.
    pub fn title(&self, t: &Texts) -> &'static str {
        (self.title)(t)
    }

    /// What has happened and what to do.
    pub fn text(&self, t: &Texts) -> String {
        match self.text {
            Paragraph::Fixed(text) => text(t).to_owned(),
            Paragraph::Wait(secs) => (t.errors.too_many_text)(secs),
        }
    }
}

#[derive(Template)]
#[template(path = "error.html")]
struct ErrorTemplate<'a> {
    page: Layout,
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
            Self::Forbidden | Self::StaleForm | Self::SessionExpired => StatusCode::FORBIDDEN,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::WrongMediaType(_) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::TooMany(_) => StatusCode::TOO_MANY_REQUESTS,
            Self::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Internal(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    fn text(&self) -> ErrorText {
        let (title, text): (Text, Text) = match self {
            Self::NotFound => (|t| t.errors.not_found, |t| t.errors.not_found_text),
            Self::BadRequest(text) => (|t| t.errors.bad_request, *text),
            Self::Forbidden => (|t| t.errors.forbidden, |t| t.errors.forbidden_text),
            Self::StaleForm => (|t| t.errors.stale_form, |t| t.errors.stale_form_text),
            Self::SessionExpired => (
                |t| t.flash.session_expired,
                |t| t.errors.session_expired_text,
            ),
            Self::MethodNotAllowed => (
                |t| t.errors.method_not_allowed,
                |t| t.errors.method_not_allowed_text,
            ),
            Self::TooLarge => (|t| t.errors.too_large, |t| t.errors.too_large_text),
            Self::WrongMediaType(text) => (|t| t.errors.wrong_media_type, *text),
            Self::TooMany(wait) => {
                return ErrorText {
                    title: |t| t.errors.too_many,
                    text: Paragraph::Wait(whole_secs(*wait)),
                };
            }
            Self::Unavailable(_) => (|t| t.errors.unavailable, |t| t.errors.unavailable_text),
            Self::Internal(_) => (|t| t.errors.internal, |t| t.errors.internal_text),
        };
        ErrorText {
            title,
            text: Paragraph::Fixed(text),
        }
    }

    /// When to come back, where that helps.
    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::TooMany(wait) => Some(*wait),
            Self::Unavailable(_) => Some(OUTAGE),
            _ => None,
        }
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
        if let Some(wait) = self.retry_after() {
            let secs = HeaderValue::from(whole_secs(wait));
            response.headers_mut().insert(RETRY_AFTER, secs);
        }
        response
    }
}

impl From<Invalid> for Error {
    fn from(invalid: Invalid) -> Self {
        Self::BadRequest(match invalid {
            Invalid::PageNo => |t| t.errors.page_number,
            Invalid::Search => |t| t.errors.search_too_long,
            Invalid::Sort => |t| t.errors.sort,
            Invalid::Cursor => |t| t.errors.cursor,
        })
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
/// no such database, transaction given up for another one (deadlock), out of resources, not in a fit state, operator
/// intervention (shutdown, time limit).
const OUTAGE_CLASSES: [&str; 7] = ["08", "28", "3D", "40", "53", "55", "57"];

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

/// Rounded up, and at least one: zero would invite to try again at once.
pub(crate) fn whole_secs(wait: Duration) -> u64 {
    wait.as_secs() + u64::from(wait.subsec_nanos() > 0).max(u64::from(wait.is_zero()))
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

/// Layer that gives every [`Error`] its page, in the language of the visitor.
pub async fn pages(request: Request, next: Next) -> Response {
    let id = request.extensions().get::<RequestId>().cloned();
    let head = request.method() == Method::HEAD;
    let language = Language::of(request.headers());
    let url = request.uri().path_and_query().map(ToString::to_string);
    let mut response = next.run(request).await;
    let Some(error) = response.extensions_mut().remove::<ErrorText>() else {
        return response;
    };
    let title = error.title(language.texts());
    let template = ErrorTemplate {
        page: Layout::plain(language, url.unwrap_or_default()),
        status: response.status().as_u16(),
        title,
        text: &error.text(language.texts()),
        request_id: id.as_ref().map_or("unknown", RequestId::as_str),
    };
    // Cannot fail in practice: the template writes strings into a string. A plain text is the way out if it does.
    let html = template.render().unwrap_or_else(|_| title.to_owned());
    let (page, body) = Html(html).into_response().into_parts();
    response.headers_mut().extend(page.headers);
    let headers = [
        (CACHE_CONTROL, HeaderValue::from_static("no-store")),
        (CONTENT_LANGUAGE, HeaderValue::from_static(language.tag())),
        (VARY, HeaderValue::from_static(PAGES_VARY)),
    ];
    response
        .headers_mut()
        .extend(headers.map(|(name, value)| (Some(name), value)));
    *response.body_mut() = if head { Body::empty() } else { body };
    response
}
