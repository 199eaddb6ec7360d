//! How the store's errors are told to a client that retries.

use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use hyper::body::Incoming;
use s3s::dto::ETag;
use s3s::service::S3Service;
use s3s::{Body, S3Error, S3ErrorCode, s3_error};
use tracing::{debug, warn};

use super::chunks::cut;
use crate::error::Error;
use crate::serve::Reset;
use crate::version::Live;

/// Marks the reply that is never sent.
const OUTCOME: &str = "x-storage-outcome";
/// The code of a refusal for want of room.
const INSUFFICIENT: &str = "InsufficientStorage";
const UNKNOWN: HeaderValue = HeaderValue::from_static("unknown");

/// Serves one request of a connection, and resets the connection where no answer would be right.
pub(crate) async fn respond(
    service: S3Service,
    reset: Reset,
    request: Request<Incoming>,
) -> Result<Response<Body>, s3s::HttpError> {
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    if is_form(&request) {
        debug!(%method, path, "refused a form");
        let refused = s3_error!(MethodNotAllowed, "Objects are not posted by forms.");
        return refused
            .to_http_response()
            .map_err(|error| s3s::HttpError::new(error.into()));
    }
    let reply = service.call(cut(request)).await?;
    if reply.headers().get(OUTCOME) == Some(&UNKNOWN) {
        warn!(%method, path, "outcome of a write is unknown, resetting the connection");
        reset.arm();
        return Err(s3s::HttpError::new("outcome unknown".into()));
    }
    let status = reply.status().as_u16();
    if status >= 500 || status == 403 {
        warn!(%method, path, status, "answered {status}");
    }
    Ok(reply)
}

/// Whether this is an upload by an HTML form, which `s3s` would read into memory before it looks who sends it.
fn is_form<B>(request: &Request<B>) -> bool {
    let mut types = request.headers().get_all(header::CONTENT_TYPE).iter();
    request.method() == Method::POST
        && types.any(|kind| {
            let kind = kind.as_bytes().trim_ascii_start();
            kind.get(..10)
                .is_some_and(|kind| kind.eq_ignore_ascii_case(b"multipart/"))
        })
}

/// The store's errors as S3 says them.
pub(super) fn s3_error(error: Error) -> S3Error {
    match error {
        Error::Unavailable => not_applied(
            S3ErrorCode::ServiceUnavailable,
            "Too few storage nodes can be reached.",
        ),
        Error::NotStored => not_applied(
            S3ErrorCode::ServiceUnavailable,
            "Too few storage nodes could store it.",
        ),
        Error::Full => full(),
        Error::Contended => not_applied(
            S3ErrorCode::SlowDown,
            "Too many writers of this key at once.",
        ),
        Error::Unknown => unknown(),
        Error::Unreadable => S3Error::new(S3ErrorCode::InternalError),
    }
}

/// Of a write that may or may not take effect: the reply is never sent.
pub(super) fn unknown() -> S3Error {
    let mut error = S3Error::new(S3ErrorCode::InternalError);
    let outcome = (header::HeaderName::from_static(OUTCOME), UNKNOWN);
    error.set_headers(HeaderMap::from_iter([outcome]));
    error
}

/// A 5xx that may be retried whatever the request was.
pub(super) fn not_applied(code: S3ErrorCode, message: &'static str) -> S3Error {
    let mut error = S3Error::with_message(code, message);
    error.set_headers(HeaderMap::from_iter([
        (
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/xml"),
        ),
        (header::RETRY_AFTER, HeaderValue::from_static("1")),
        (
            header::HeaderName::from_static("x-not-applied"),
            HeaderValue::from_static("1"),
        ),
    ]));
    error
}

/// A 507: retrying helps once somebody has made room.
fn full() -> S3Error {
    let code = S3ErrorCode::Custom(INSUFFICIENT.into());
    let message = "Too few storage nodes have room for it. Reading and deleting goes on.";
    let mut error = not_applied(code, message);
    error.set_status_code(StatusCode::INSUFFICIENT_STORAGE);
    error
}

/// A 304, which repeats the tag a cache needs.
pub(super) fn not_modified(live: &Live) -> S3Error {
    let mut error = S3Error::new(S3ErrorCode::NotModified);
    let etag = ETag::Strong(live.tag()).to_http_header();
    error.set_headers(etag.into_iter().map(|etag| (header::ETAG, etag)).collect());
    error
}

/// The label of a failure in the metrics.
pub(super) fn outcome(error: &S3Error) -> &'static str {
    if error
        .headers()
        .is_some_and(|headers| headers.contains_key(OUTCOME))
    {
        return "unknown";
    }
    match error.code() {
        S3ErrorCode::NoSuchKey => "not_found",
        S3ErrorCode::PreconditionFailed | S3ErrorCode::NotModified => "condition",
        S3ErrorCode::ServiceUnavailable => "unavailable",
        S3ErrorCode::SlowDown => "busy",
        S3ErrorCode::Custom(code) if &**code == INSUFFICIENT => "full",
        S3ErrorCode::InternalError => "failed",
        _ => "refused",
    }
}
