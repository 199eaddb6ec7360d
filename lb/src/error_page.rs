//! The answers the balancer gives by itself: a small page, or JSON for whoever prefers it. They name the request
//! and never a backend, an address or a cause.

use bytes::Bytes;
use http::{HeaderMap, header};
use pingora::{Result, http::ResponseHeader};

use crate::forward;

/// What a visitor is told.
struct Words {
    title: &'static str,
    advice: &'static str,
}

/// Head and body of the answer to a request that cannot be proxied.
pub fn reply(status: u16, id: &str, request: &HeaderMap) -> Result<(ResponseHeader, Bytes)> {
    let words = words(status);
    let (content_type, body) = if prefers_json(request) {
        ("application/json", json(status, &words, id))
    } else {
        ("text/html; charset=utf-8", html(status, &words, id))
    };
    let mut head = ResponseHeader::build(status, Some(9))?;
    head.insert_header(header::CONTENT_TYPE, content_type)?;
    head.insert_header(header::CONTENT_LENGTH, body.len())?;
    head.insert_header(header::CACHE_CONTROL, "no-store")?;
    head.insert_header(
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; style-src 'unsafe-inline'",
    )?;
    head.insert_header(header::X_CONTENT_TYPE_OPTIONS, "nosniff")?;
    if matches!(status, 429 | 503) {
        head.insert_header(header::RETRY_AFTER, "1")?;
    }
    forward::sign(&mut head, id, None)?;
    Ok((head, Bytes::from(body)))
}

fn words(status: u16) -> Words {
    let (title, advice) = match status {
        400 => (
            "We could not read that request",
            "Please go back and try again.",
        ),
        408 => (
            "That took too long",
            "The upload was too slow, or stopped half way. Please try again.",
        ),
        413 => ("That upload is too large", "Please choose a smaller file."),
        429 => (
            "Too many requests at once",
            "Somebody at your address is in a hurry. Please try again in a moment.",
        ),
        431 => (
            "That request is too large",
            "Please delete the cookies of this site and try again.",
        ),
        502 => (
            "Something broke on the way",
            "Your last action may not have been saved. Please try again.",
        ),
        503 => (
            "We are not ready yet",
            "The site is starting or very busy. Please try again in a moment.",
        ),
        504 => (
            "The answer took too long",
            "Your last action may not have been saved. Please try again.",
        ),
        _ => ("Something went wrong", "Please try again in a moment."),
    };
    Words { title, advice }
}

fn json(status: u16, words: &Words, id: &str) -> String {
    let Words { title, advice } = words;
    // All parts are ours: fixed words and hexadecimal, nothing to escape.
    format!(r#"{{"status":{status},"title":"{title}","advice":"{advice}","request_id":"{id}"}}"#)
}

fn html(status: u16, words: &Words, id: &str) -> String {
    let Words { title, advice } = words;
    format!(
        r#"<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
:root {{ color-scheme: light dark; }}
body {{ font: 1.1rem/1.5 system-ui, sans-serif; max-width: 34rem; margin: 15vh auto; padding: 0 1.5rem; }}
h1 {{ font-size: 1.8rem; line-height: 1.2; }}
small {{ opacity: .7; }}
</style>
</head>
<body>
<h1>{title}</h1>
<p>{advice}</p>
<p><small>Error {status}. If you report this, please mention request <code>{id}</code>.</small></p>
</body>
</html>
"#
    )
}

/// Whether `Accept` ranks JSON above HTML. A tie, a wildcard or no header at all is a browser for us.
fn prefers_json(request: &HeaderMap) -> bool {
    let mut json = 0.0;
    let mut html = 0.0;
    let values = request.get_all(header::ACCEPT);
    for range in values
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
    {
        let mut parts = range.split(';').map(str::trim);
        let media = parts.next().unwrap_or_default().to_ascii_lowercase();
        let quality = parts
            .find_map(|part| part.strip_prefix("q="))
            .map_or(1.0, |q| q.parse().unwrap_or(0.0));
        match media.as_str() {
            "application/json" => json = quality,
            "text/html" => html = quality,
            _ => {}
        }
    }
    json > html
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accept(value: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(header::ACCEPT, http::HeaderValue::from_static(value))])
    }

    #[test]
    fn accept_decides_between_page_and_json() {
        for html in [
            "text/html,application/json;q=0.9",
            "*/*",
            "application/json;q=0, */*",
            "text/html",
        ] {
            assert!(!prefers_json(&accept(html)), "{html}");
        }
        for json in [
            "application/json",
            "text/html;q=0.5, application/json",
            "Application/JSON;q=0.1, */*",
        ] {
            assert!(prefers_json(&accept(json)), "{json}");
        }
        assert!(!prefers_json(&HeaderMap::new()));
    }

    #[test]
    fn both_forms_carry_the_request_id_and_are_not_stored() {
        for kind in ["text/html", "application/json"] {
            let (head, body) = reply(502, "abc123", &accept(kind)).unwrap();
            assert!(
                head.headers[header::CONTENT_TYPE]
                    .to_str()
                    .unwrap()
                    .starts_with(kind)
            );
            assert_eq!(head.headers[header::CACHE_CONTROL], "no-store");
            assert_eq!(head.headers["x-request-id"], "abc123");
            assert_eq!(
                head.headers[header::CONTENT_LENGTH],
                body.len().to_string().as_str()
            );
            assert!(String::from_utf8_lossy(&body).contains("abc123"));
        }
    }

    #[test]
    fn only_429_and_503_promise_a_better_moment() {
        let retry_after = |status| {
            reply(status, "x", &HeaderMap::new())
                .unwrap()
                .0
                .headers
                .get("retry-after")
                .cloned()
        };
        assert_eq!(retry_after(429).unwrap(), "1");
        assert_eq!(retry_after(503).unwrap(), "1");
        assert_eq!(retry_after(502), None);
    }
}
