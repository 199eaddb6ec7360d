//! Which pages of other sites may call the API from a browser. No cookie means anything here, so none is let through.

use std::time::Duration;

use axum::http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue, LINK, RETRY_AFTER};
use axum::http::{HeaderName, Method};
use tower_http::cors::{AllowOrigin, CorsLayer};
use url::Url;

/// How long a browser may remember the answer to a preflight.
const MAX_AGE: Duration = Duration::from_secs(60 * 60);

/// Settings of the API.
#[derive(Clone, Debug, clap::Args)]
pub struct ApiConfig {
    /// Sites whose pages may call the API: `*` for all, or a comma list of origins like `https://app.example`; empty for none
    #[arg(long = "api-cors-origins", env = "QUIZ_API_CORS_ORIGINS", value_name = "ORIGINS", default_value = "*",
        value_parser = Origins::parse)]
    pub cors_origins: Origins,
}

/// Sites whose pages may call the API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origins {
    Any,
    /// Scheme, host and port as browsers write them; may be empty.
    These(Vec<HeaderValue>),
}

impl Origins {
    fn parse(text: &str) -> Result<Self, String> {
        if text.trim() == "*" {
            return Ok(Self::Any);
        }
        let origins = text.split(',').map(str::trim);
        let origins = origins.filter(|origin| !origin.is_empty());
        origins
            .map(origin)
            .collect::<Result<_, _>>()
            .map(Self::These)
    }
}

/// The layer that answers preflights and marks replies; none when no other site may call.
pub(super) fn layer(origins: &Origins) -> Option<CorsLayer> {
    let allowed = match origins {
        Origins::Any => AllowOrigin::any(),
        Origins::These(list) if list.is_empty() => return None,
        Origins::These(list) => AllowOrigin::list(list.iter().cloned()),
    };
    let exposed = [
        LINK,
        RETRY_AFTER,
        HeaderName::from_static("deprecation"),
        HeaderName::from_static("x-request-id"),
    ];
    let layer = CorsLayer::new()
        .allow_origin(allowed)
        .allow_methods([Method::GET, Method::PUT, Method::DELETE, Method::POST])
        .allow_headers([AUTHORIZATION, CONTENT_TYPE])
        .expose_headers(exposed)
        .max_age(MAX_AGE);
    Some(layer)
}

/// As a browser sends it in `Origin`: no path, lower case, no default port.
fn origin(text: &str) -> Result<HeaderValue, String> {
    let wrong = || {
        format!("{text} is not an origin: write it as https://app.example or http://127.0.0.1:8000")
    };
    let url = Url::parse(text).map_err(|_| wrong())?;
    let serialized = url.origin().ascii_serialization();
    let whole = text.trim_end_matches('/').eq_ignore_ascii_case(&serialized);
    if !matches!(url.scheme(), "http" | "https") || !whole {
        return Err(wrong());
    }
    HeaderValue::from_str(&serialized).map_err(|_| wrong())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_everybody_a_list_or_nobody() {
        assert_eq!(Origins::parse("*"), Ok(Origins::Any));
        assert_eq!(Origins::parse(""), Ok(Origins::These(Vec::new())));
        assert_eq!(
            Origins::parse("https://App.example, http://127.0.0.1:8000,"),
            Ok(Origins::These(vec![
                HeaderValue::from_static("https://app.example"),
                HeaderValue::from_static("http://127.0.0.1:8000"),
            ]))
        );
        assert!(layer(&Origins::These(Vec::new())).is_none());
    }

    #[test]
    fn what_is_not_an_origin_is_refused() {
        for wrong in [
            "app.example",
            "https://app.example/path",
            "file:///x",
            "*, https://a.example",
            "https://",
        ] {
            assert!(Origins::parse(wrong).is_err(), "{wrong}");
        }
    }
}
