//! The replies of the admin listener.

use http::{HeaderName, HeaderValue, Response, StatusCode, header};
use serde::Serialize;
use serde_json::json;
use tracing::error;

/// Nothing but what the page itself brings along, and no other page around it.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; \
     img-src data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// What is sent back.
#[derive(Debug)]
pub(super) struct Reply {
    status: StatusCode,
    content_type: &'static str,
    body: String,
    more: Vec<(HeaderName, HeaderValue)>,
}

impl Reply {
    pub(super) fn new(status: StatusCode, content_type: &'static str, body: String) -> Self {
        Self {
            status,
            content_type,
            body,
            more: Vec::new(),
        }
    }

    pub(super) fn text(status: StatusCode, body: &str) -> Self {
        // The version is that of the metrics' format; to everybody else it says nothing.
        let content_type = "text/plain; version=0.0.4; charset=utf-8";
        Self::new(status, content_type, body.to_owned())
    }

    pub(super) fn json(value: &impl Serialize) -> Self {
        match serde_json::to_string(value) {
            Ok(text) => Self::new(StatusCode::OK, "application/json", text + "\n"),
            Err(error) => {
                error!(%error, "an answer of the admin listener cannot be written");
                Self::text(StatusCode::INTERNAL_SERVER_ERROR, "see the log\n")
            }
        }
    }

    pub(super) fn json_error(status: StatusCode, why: &str) -> Self {
        let body = json!({ "error": why }).to_string() + "\n";
        Self::new(status, "application/json", body)
    }

    pub(super) fn see_other(place: &str) -> Self {
        Self::text(StatusCode::SEE_OTHER, "").with(header::LOCATION, place)
    }

    pub(super) fn with(mut self, name: HeaderName, value: &str) -> Self {
        let value = HeaderValue::from_str(value).expect("it is made of ASCII here");
        self.more.push((name, value));
        self
    }

    pub(super) fn into_response(self) -> Response<Vec<u8>> {
        let mut response = Response::new(self.body.into_bytes());
        *response.status_mut() = self.status;
        let length = response.body().len();
        let headers = response.headers_mut();
        let fixed = [
            (header::CONTENT_TYPE, self.content_type),
            (header::CACHE_CONTROL, "no-store"),
            (header::CONTENT_SECURITY_POLICY, POLICY),
            (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
            (header::REFERRER_POLICY, "no-referrer"),
        ];
        for (name, value) in fixed {
            headers.insert(name, HeaderValue::from_static(value));
        }
        headers.insert(header::CONTENT_LENGTH, length.into());
        headers.extend(self.more);
        response
    }
}
