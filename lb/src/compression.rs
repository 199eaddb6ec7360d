//! Whether a reply is compressed on its way to the visitor, and how. Pure: [`body`] does the work.

use http::{HeaderMap, StatusCode, Version, header};
use pingora::{
    http::{RequestHeader, ResponseHeader},
    protocols::http::compression::Algorithm,
};

use crate::config::clients::Compression;

pub mod body;

/// What to do with a reply.
#[derive(Debug, PartialEq, Eq)]
pub enum Choice {
    /// It stays as it is, whoever asks.
    Never,
    /// It would be compressed for others.
    NotForThisOne,
    /// It is compressed by this, at this level.
    With(Algorithm, u32),
}

/// Decides by the type and length of the reply and by `Accept-Encoding`; among equals the best algorithm wins.
///
/// Replies of unknown length are streams, where what the compressor holds back would be missed, and stay as they are.
pub fn choose(request: &RequestHeader, reply: &ResponseHeader, rules: &Compression) -> Choice {
    let levels = [
        (Algorithm::Zstd, rules.zstd_level),
        (Algorithm::Brotli, rules.brotli_level),
        (Algorithm::Gzip, rules.gzip_level),
    ];
    if levels.iter().all(|(_, level)| *level == 0) || !is_worth_it(reply, rules) {
        return Choice::Never;
    }
    // Before 1.1 there is no reply without a length but by closing the connection.
    if request.version < Version::HTTP_11 || leaks(&request.headers) {
        return Choice::NotForThisOne;
    }
    let accepted = levels.into_iter().filter(|(_, level)| *level > 0);
    let accepted = accepted.map(|(algorithm, level)| {
        let quality = quality(&request.headers, algorithm.as_str());
        (quality, algorithm, level)
    });
    let best = accepted.reduce(|best, next| if next.0 > best.0 { next } else { best });
    match best {
        Some((quality, algorithm, level)) if quality > 0.0 => Choice::With(algorithm, level),
        _ => Choice::NotForThisOne,
    }
}

fn is_worth_it(reply: &ResponseHeader, rules: &Compression) -> bool {
    let headers = &reply.headers;
    let text = |name: &header::HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    let whole = !matches!(
        reply.status,
        StatusCode::NO_CONTENT | StatusCode::PARTIAL_CONTENT | StatusCode::NOT_MODIFIED
    );
    let length = text(&header::CONTENT_LENGTH).and_then(|length| length.parse::<usize>().ok());
    let as_it_is = text(&header::CACHE_CONTROL).is_some_and(|say| say.contains("no-transform"));
    whole
        && !reply.status.is_informational()
        && !headers.contains_key(header::CONTENT_ENCODING)
        && !as_it_is
        && length.is_some_and(|length| length >= rules.min_bytes)
        && text(&header::CONTENT_TYPE).is_some_and(shrinks)
}

/// Types that are text at heart; pictures, archives and fonts for the web are compressed already.
fn shrinks(content_type: &str) -> bool {
    let media = content_type.split(';').next().unwrap_or_default().trim();
    let media = media.to_ascii_lowercase();
    let application = [
        "application/javascript",
        "application/json",
        "application/wasm",
        "application/xml",
    ];
    (media.starts_with("text/") && media != "text/event-stream")
        || media.starts_with("application/")
            && (media.ends_with("+json") || media.ends_with("+xml"))
        || application.contains(&media.as_str())
        || media == "image/svg+xml"
}

/// A site that makes somebody else's browser ask for pages, again and again with another guess in the address, can
/// learn from their lengths what they hold ("BREACH"). Its requests carry cookies, and the browser says whose they are.
fn leaks(request: &HeaderMap) -> bool {
    let site = request.get("sec-fetch-site").map(|site| site.as_bytes());
    let foreign = site.is_some_and(|site| site != b"same-origin" && site != b"none");
    foreign && request.contains_key(header::COOKIE)
}

/// How much a coding is wanted, from 0 to 1.
fn quality(request: &HeaderMap, coding: &str) -> f32 {
    let mut any = 0.0;
    let lines = request.get_all(header::ACCEPT_ENCODING).iter();
    let lines = lines.filter_map(|line| line.to_str().ok());
    for wish in lines.flat_map(|line| line.split(',')) {
        let mut parts = wish.split(';').map(str::trim);
        let name = parts.next().unwrap_or_default();
        let quality = parts
            .find_map(|part| part.strip_prefix("q="))
            .map_or(1.0, |q| q.parse().unwrap_or(0.0));
        if name.eq_ignore_ascii_case(coding) {
            return quality;
        }
        if name == "*" {
            any = quality;
        }
    }
    any
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decide(accept: &str, more: &[(&'static str, &str)], reply: &ResponseHeader) -> Choice {
        let mut request = RequestHeader::build("GET", b"/", None).unwrap();
        request.insert_header("accept-encoding", accept).unwrap();
        for (name, value) in more {
            request.insert_header(*name, *value).unwrap();
        }
        choose(&request, reply, &Compression::default())
    }

    fn reply(headers: &[(&'static str, &str)]) -> ResponseHeader {
        let mut reply = ResponseHeader::build(200, None).unwrap();
        reply.insert_header("content-type", "text/html").unwrap();
        reply.insert_header("content-length", "5000").unwrap();
        for (name, value) in headers {
            reply.insert_header(*name, *value).unwrap();
        }
        reply
    }

    #[test]
    fn the_best_that_the_client_wants_most_is_taken() {
        let with = |accept: &str| match decide(accept, &[], &reply(&[])) {
            Choice::With(algorithm, _) => algorithm.as_str(),
            Choice::NotForThisOne => "nothing",
            Choice::Never => "never",
        };
        for (accept, algorithm) in [
            ("gzip, deflate, br, zstd", "zstd"),
            ("gzip, deflate, br", "br"),
            ("gzip", "gzip"),
            ("GZIP;q=0.5, br;q=0.4", "gzip"),
            ("br;q=0, gzip;q=0.1", "gzip"),
            ("*", "zstd"),
            ("zstd;q=0, *;q=0.1", "br"),
            ("gzip;q=0", "nothing"),
            ("identity", "nothing"),
            ("deflate, x", "nothing"),
            ("gzip;q=x", "nothing"),
            ("", "nothing"),
        ] {
            assert_eq!(with(accept), algorithm, "{accept}");
        }
    }

    #[test]
    fn only_whole_texts_of_some_length_are_worth_it() {
        for fine in [
            ("content-type", "text/html; charset=utf-8"),
            ("content-type", "application/problem+json"),
            ("content-type", "image/svg+xml"),
            ("content-length", "1024"),
        ] {
            let choice = decide("gzip", &[], &reply(&[fine]));
            assert!(matches!(choice, Choice::With(..)), "{fine:?}");
        }
        for not in [
            ("content-type", "image/png"),
            ("content-type", "application/zip"),
            ("content-type", "font/woff2"),
            ("content-type", "text/event-stream"),
            ("content-length", "1023"),
            ("content-encoding", "br"),
            ("cache-control", "private, no-transform"),
        ] {
            assert_eq!(
                decide("gzip", &[], &reply(&[not])),
                Choice::Never,
                "{not:?}"
            );
        }
        let mut stream = reply(&[]);
        stream.remove_header("content-length");
        assert_eq!(decide("gzip", &[], &stream), Choice::Never);
        let mut part = reply(&[]);
        part.set_status(206).unwrap();
        assert_eq!(decide("gzip", &[], &part), Choice::Never);
    }

    #[test]
    fn another_site_learns_nothing_from_the_length_of_a_page_with_a_cookie() {
        let cookie = ("cookie", "session=1");
        for (site, compressed) in [
            ("cross-site", false),
            ("same-site", false),
            ("same-origin", true),
            ("none", true),
        ] {
            let choice = decide("gzip", &[cookie, ("sec-fetch-site", site)], &reply(&[]));
            assert_eq!(matches!(choice, Choice::With(..)), compressed, "{site}");
        }
        let stranger = decide("gzip", &[("sec-fetch-site", "cross-site")], &reply(&[]));
        assert!(matches!(stranger, Choice::With(..)));
    }
}
