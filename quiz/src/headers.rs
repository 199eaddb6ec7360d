//! What every reply tells browsers about safety: pages, errors, files, pictures, the API. And the settings of headers.

use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::header::{HeaderName, HeaderValue, STRICT_TRANSPORT_SECURITY};
use axum::middleware::Next;
use axum::response::Response;

use crate::app::App;
use crate::client::Client;
use crate::config::secs;

/// Settings of the headers.
#[derive(Clone, Debug, clap::Args)]
pub struct HeadersConfig {
    /// How long browsers that came over HTTPS refuse to come without, in seconds; 0 leaves it to them. Not for sites that
    /// share their host name with something that has no HTTPS
    #[arg(long = "hsts-secs", value_name = "SECS", env = "QUIZ_HSTS_SECS", default_value = "0", value_parser = secs)]
    pub hsts: Duration,

    /// How long the balancer may show the home page, the list of all quizzes and the page about the author to every visitor who
    /// carries no cookie, in seconds up to 60: as old may they be; 0 renders each page for each visitor. Not behind a cache of
    /// others that does not keep replies apart by the headers that `Vary` names
    #[arg(long = "page-cache-secs", value_name = "SECS", env = "QUIZ_PAGE_CACHE_SECS", default_value = "0", value_parser = page_cache_secs)]
    pub page_cache: Duration,
}

/// What is deleted should not be shown for long.
const MOST_PAGE_CACHE: Duration = Duration::from_secs(60);

fn page_cache_secs(text: &str) -> Result<Duration, String> {
    secs(text)
        .ok()
        .filter(|time| *time <= MOST_PAGE_CACHE)
        .ok_or_else(|| "give a whole number of seconds, at most 60".to_owned())
}

/// On every reply, unless its handler is stricter. Nothing is inline and nothing comes from elsewhere.
const ALWAYS: [(&str, &str); 7] = [
    (
        "content-security-policy",
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; media-src 'self'; \
         connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    ),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
    (
        "permissions-policy",
        "accelerometer=(), camera=(), display-capture=(), geolocation=(), gyroscope=(), microphone=(), payment=(), usb=()",
    ),
    ("referrer-policy", "same-origin"),
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),
];

/// Layer of every reply.
pub async fn secure(
    State(app): State<App>,
    client: Client,
    request: Request,
    next: Next,
) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    for (name, value) in ALWAYS {
        headers
            .entry(HeaderName::from_static(name))
            .or_insert(HeaderValue::from_static(value));
    }
    // Browsers take it over HTTPS alone (RFC 6797, 7.2 and 8.1).
    let hsts_secs = app.config.headers.hsts.as_secs();
    if client.https && hsts_secs > 0 {
        let value = HeaderValue::try_from(format!("max-age={hsts_secs}"));
        let value = value.expect("a number is made of digits");
        headers.insert(STRICT_TRANSPORT_SECURITY, value);
    }
    response
}
