//! JSON or XML: what a caller asked for, by the end of the address or by `Accept`.

use axum::Json;
use axum::http::HeaderMap;
use axum::http::header::{ACCEPT, CONTENT_TYPE, HeaderValue, VARY};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::error::ApiError;
use super::xml::{self, ToXml};

/// A format of quizzes and their lists, as a media type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Json,
    Xml,
    /// XML under its older name, for who asks for that one only.
    TextXml,
}

impl Format {
    /// In the order of preference of the site.
    const ALL: [Self; 3] = [Self::Json, Self::Xml, Self::TextXml];

    /// What the extension of the address says, else the best of `Accept`, else JSON.
    pub fn choose(extension: Option<&str>, headers: &HeaderMap) -> Result<Self, ApiError> {
        let chosen = match extension {
            Some("json") => Some(Self::Json),
            Some("xml") => Some(Self::Xml),
            Some(_) => None,
            None => accepted(headers),
        };
        chosen.ok_or(ApiError::NotAcceptable)
    }

    /// A reply in this format.
    pub fn reply<T: Serialize + ToXml>(self, value: &T) -> Response {
        let mut response = match self {
            Self::Json => Json(value).into_response(),
            Self::Xml | Self::TextXml => xml::document(value).into_response(),
        };
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, self.content_type());
        headers.append(VARY, HeaderValue::from_static("accept"));
        response
    }

    fn content_type(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Self::Json => "application/json",
            Self::Xml => "application/xml; charset=utf-8",
            Self::TextXml => "text/xml; charset=utf-8",
        })
    }

    fn media_type(self) -> (&'static str, &'static str) {
        match self {
            Self::Json => ("application", "json"),
            Self::Xml => ("application", "xml"),
            Self::TextXml => ("text", "xml"),
        }
    }
}

/// Cuts the last part of a path into its name and its extension.
pub fn split(segment: &str) -> (&str, Option<&str>) {
    match segment.split_once('.') {
        Some((name, extension)) => (name, Some(extension)),
        None => (segment, None),
    }
}

/// The format with the highest weight, of equal ones the one that we prefer (RFC 9110, 12.5.1).
fn accepted(headers: &HeaderMap) -> Option<Format> {
    let lines = headers.get_all(ACCEPT).into_iter();
    let ranges: Vec<Range<'_>> = lines
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(','))
        .filter_map(Range::parse)
        .collect();
    if ranges.is_empty() {
        return Some(Format::Json);
    }
    let mut best = None;
    for format in Format::ALL {
        let matching = ranges.iter().filter(|range| range.covers(format));
        let range = matching.max_by_key(|range| range.precision());
        let weight = range.map_or(0.0, |range| range.weight);
        if weight > best.map_or(0.0, |(_, best)| best) {
            best = Some((format, weight));
        }
    }
    best.map(|(format, _)| format)
}

/// An element of `Accept`.
struct Range<'a> {
    kind: &'a str,
    subtype: &'a str,
    weight: f32,
}

impl<'a> Range<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let mut parts = text.split(';').map(str::trim);
        let (kind, subtype) = parts.next()?.split_once('/')?;
        let weight = parts
            .filter_map(|part| part.split_once('='))
            .find(|(name, _)| name.trim_end().eq_ignore_ascii_case("q"));
        let weight = weight.map_or(1.0, |(_, weight)| weight.trim().parse().unwrap_or(0.0));
        Some(Self {
            kind,
            subtype,
            weight,
        })
    }

    fn covers(&self, format: Format) -> bool {
        let (kind, subtype) = format.media_type();
        let is = |given: &str, wanted| given == "*" || given.eq_ignore_ascii_case(wanted);
        is(self.kind, kind) && is(self.subtype, subtype)
    }

    /// The range that says most about a type decides about it.
    fn precision(&self) -> u8 {
        u8::from(self.kind != "*") + u8::from(self.subtype != "*")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn choose(extension: Option<&str>, accept: &str) -> Option<Format> {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_str(accept).unwrap());
        Format::choose(extension, &headers).ok()
    }

    #[test]
    fn the_extension_wins_over_accept() {
        assert_eq!(choose(Some("xml"), "application/json"), Some(Format::Xml));
        assert_eq!(choose(Some("json"), "application/xml"), Some(Format::Json));
        assert_eq!(choose(Some("pdf"), "*/*"), None);
        assert_eq!(choose(Some(""), "*/*"), None);
    }

    #[test]
    fn the_best_format_that_is_accepted_is_taken() {
        assert_eq!(
            Format::choose(None, &HeaderMap::new()).ok(),
            Some(Format::Json)
        );
        for (accept, format) in [
            ("*/*", Some(Format::Json)),
            ("application/*", Some(Format::Json)),
            ("application/xml", Some(Format::Xml)),
            ("TEXT/XML; charset=utf-8", Some(Format::TextXml)),
            ("text/*", Some(Format::TextXml)),
            ("application/xml, text/xml", Some(Format::Xml)),
            (
                "application/json;q=0.5, application/xml;q=0.9",
                Some(Format::Xml),
            ),
            ("application/json; q=0, */*", Some(Format::Xml)),
            (
                "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
                Some(Format::Xml),
            ),
            ("text/html", None),
            ("application/json;q=0", None),
            ("application/json;q=x", None),
        ] {
            assert_eq!(choose(None, accept), format, "{accept}");
        }
    }

    #[test]
    fn the_name_ends_at_the_first_dot() {
        assert_eq!(split("quizzes"), ("quizzes", None));
        assert_eq!(split("quizzes.xml"), ("quizzes", Some("xml")));
        assert_eq!(split("7.tar.gz"), ("7", Some("tar.gz")));
    }

    proptest! {
        #[test]
        fn no_header_makes_it_panic(accept in "[ -~]{0,60}") {
            choose(None, &accept);
        }
    }
}
