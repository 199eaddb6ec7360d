//! One request of a client and what its answer means.

use http::{HeaderName, HeaderValue, Method, StatusCode, header};
use reqwest::RequestBuilder;

/// A request to be sent.
pub(crate) struct Ask<'a> {
    pub(crate) method: Method,
    pub(crate) key: &'a str,
    pub(crate) condition: Option<(HeaderName, String)>,
    pub(crate) body: Vec<u8>,
}

impl<'a> Ask<'a> {
    pub(crate) fn new(method: Method, key: &'a str) -> Self {
        Self {
            method,
            key,
            condition: None,
            body: Vec::new(),
        }
    }

    pub(crate) fn request(self, http: &reqwest::Client, url: reqwest::Url) -> RequestBuilder {
        let mut request = http.request(self.method, url);
        if let Some((name, value)) = self.condition {
            request = request.header(name, HeaderValue::try_from(value).unwrap());
        }
        request.body(self.body)
    }
}

/// What a client was told.
pub(crate) enum Reply {
    Answer {
        status: StatusCode,
        tag: String,
        body: Vec<u8>,
    },
    /// Certainly not applied.
    Nothing,
    Unknown,
}

/// Sends a request once. Also tells why it was not served.
pub(crate) async fn answer(request: RequestBuilder) -> (Reply, Option<String>) {
    let reply = match request.send().await {
        Ok(reply) => reply,
        Err(error) if error.is_connect() => return (Reply::Nothing, Some(format!("{error:?}"))),
        Err(error) => return (Reply::Unknown, Some(format!("{error:?}"))),
    };
    let (status, headers) = (reply.status(), reply.headers().clone());
    let body = match reply.bytes().await {
        Ok(body) => body.to_vec(),
        // The head says what was done; only the bytes of a read are missing.
        Err(error) => return (Reply::Unknown, Some(format!("{error:?}"))),
    };
    let text = || Some(format!("{status} {}", String::from_utf8_lossy(&body)));
    match status.as_u16() {
        200 | 204 | 404 | 412 => {
            let tag = headers.get(header::ETAG).map(|tag| tag.to_str().unwrap());
            let tag = plain(tag.unwrap_or_default());
            (Reply::Answer { status, tag, body }, None)
        }
        400..500 => (Reply::Nothing, text()),
        503 if headers.contains_key("x-not-applied") => (Reply::Nothing, text()),
        _ => (Reply::Unknown, text()),
    }
}

/// A tag without its quotes.
pub(crate) fn plain(tag: &str) -> String {
    tag.trim_matches('"').to_owned()
}
