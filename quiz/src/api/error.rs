//! Errors of the API: `{"error": "…"}` in English, with the status that says what kind it is.

use axum::Json;
use axum::body::Body;
use axum::extract::Request;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, HeaderValue, WWW_AUTHENTICATE,
};
use axum::http::{Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use crate::error::{Error, ErrorText};
use crate::locale::Language;

/// Why a call gets no answer. `Display` is what the caller reads.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    #[error("Unauthorized")]
    NoToken,
    #[error("Unauthorized")]
    WrongToken,
    #[error("Give one token, and give it once")]
    SeveralTokens,
    // The words of the original site, which clients may know.
    #[error("Ruta API no encontrada")]
    NoSuchRoute,
    #[error("There is no quiz with id={0}")]
    NoSuchQuiz(String),
    #[error("There is no user with id={0}")]
    NoSuchUser(String),
    #[error("This comes as JSON or as XML")]
    NotAcceptable,
    #[error("Conflict")]
    Conflict,
    #[error("{0}")]
    BadRequest(&'static str),
    /// Any error that pages have too.
    #[error(transparent)]
    Site(#[from] Error),
}

/// The body of every error.
#[derive(Serialize, ToSchema)]
pub struct ErrorJson {
    /// What is wrong, in English.
    pub error: String,
}

impl From<sqlx::Error> for ApiError {
    fn from(error: sqlx::Error) -> Self {
        Self::Site(error.into())
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let status = match self {
            Self::NoToken | Self::WrongToken => StatusCode::UNAUTHORIZED,
            Self::SeveralTokens | Self::BadRequest(_) => StatusCode::BAD_REQUEST,
            Self::NoSuchRoute | Self::NoSuchQuiz(_) | Self::NoSuchUser(_) => StatusCode::NOT_FOUND,
            Self::NotAcceptable => StatusCode::NOT_ACCEPTABLE,
            Self::Conflict => StatusCode::CONFLICT,
            // Gets its body in `as_json`, like the errors that no handler sees: panics, time limits.
            Self::Site(error) => return error.into_response(),
        };
        let mut response = (status, body(self.to_string())).into_response();
        if let Some(challenge) = self.challenge() {
            let challenge = HeaderValue::from_static(challenge);
            response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
        }
        response
    }
}

impl ApiError {
    /// `WWW-Authenticate` (RFC 6750, 3): the reason only for who tried.
    fn challenge(&self) -> Option<&'static str> {
        match self {
            Self::NoToken => Some("Bearer realm=\"api\""),
            Self::WrongToken => Some("Bearer realm=\"api\", error=\"invalid_token\""),
            Self::SeveralTokens => Some("Bearer realm=\"api\", error=\"invalid_request\""),
            _ => None,
        }
    }
}

/// Layer that gives every error its JSON, also those that come from a layer or from the framework.
pub async fn as_json(request: Request, next: Next) -> Response {
    let head = request.method() == Method::HEAD;
    let mut response = next.run(request).await;
    let status = response.status();
    let text = match response.extensions_mut().remove::<ErrorText>() {
        Some(text) => text.text(Language::English.texts()),
        None if is_bare(&response) => status.canonical_reason().unwrap_or("Error").to_owned(),
        None => return response,
    };
    let (json, mut bytes) = body(text).into_response().into_parts();
    if head {
        bytes = Body::empty();
    }
    let headers = response.headers_mut();
    headers.remove(CONTENT_LENGTH);
    headers.extend(json.headers);
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    *response.body_mut() = bytes;
    response
}

/// Is it an error that is not JSON yet?
fn is_bare(response: &Response) -> bool {
    let json = HeaderValue::from_static("application/json");
    let error = response.status().is_client_error() || response.status().is_server_error();
    error && response.headers().get(CONTENT_TYPE) != Some(&json)
}

fn body(error: String) -> Json<ErrorJson> {
    Json(ErrorJson { error })
}
