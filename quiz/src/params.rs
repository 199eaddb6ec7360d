//! Parameters of a query or a form, read strictly: text that is not UTF-8 is the client's mistake, not ours to guess at.

use std::borrow::Cow;

use axum::extract::FromRequestParts;
use axum::http::HeaderMap;
use axum::http::header::CONTENT_TYPE;
use axum::http::request::Parts;
use percent_encoding::percent_decode;

use crate::error::Error;

/// Name and value pairs. Names nobody asks for are ignored; of equal names the first counts.
#[derive(Clone, Debug, Default)]
pub struct Params(Vec<(String, String)>);

impl Params {
    /// Reads `application/x-www-form-urlencoded` bytes.
    pub fn parse(encoded: &[u8]) -> Result<Self, Error> {
        let mut pairs = Vec::new();
        for pair in encoded
            .split(|&byte| byte == b'&')
            .filter(|pair| !pair.is_empty())
        {
            let mut halves = pair.splitn(2, |&byte| byte == b'=');
            let name = decode(halves.next().unwrap_or_default())?;
            let value = decode(halves.next().unwrap_or_default())?;
            pairs.push((name, value));
        }
        Ok(Self(pairs))
    }

    /// The method that a form stands for: browsers send none but GET and POST.
    pub fn method(&self) -> Option<String> {
        self.get("_method").map(str::to_ascii_uppercase)
    }

    /// Where a form wants to lead: a path of this site, `/` unless it is one.
    pub fn local_path(&self, name: &str) -> &str {
        self.get(name).filter(|to| is_local(to)).unwrap_or("/")
    }

    /// The value of that name.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.all(name).next()
    }

    /// All values of that name.
    pub fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.0
            .iter()
            .filter(move |(found, _)| found == name)
            .map(|(_, value)| value.as_str())
    }

    /// All of them.
    pub(crate) fn into_pairs(self) -> Vec<(String, String)> {
        self.0
    }
}

/// A path of this site: browsers take `//host`, `/\\host` and the like for addresses of others.
fn is_local(to: &str) -> bool {
    let mut bytes = to.bytes();
    bytes.next() == Some(b'/')
        && !matches!(bytes.next(), Some(b'/' | b'\\'))
        && to.bytes().all(|byte| byte.is_ascii_graphic())
}

impl<S: Sync> FromRequestParts<S> for Params {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Error> {
        Self::parse(parts.uri.query().unwrap_or_default().as_bytes())
    }
}

/// Text of a visitor: UTF-8, and without the NUL that PostgreSQL cannot store.
pub fn text(bytes: &[u8]) -> Result<String, Error> {
    match std::str::from_utf8(bytes) {
        Ok(text) if !text.contains('\0') => Ok(text.to_owned()),
        _ => Err(Error::BadRequest(|t| t.errors.not_utf8)),
    }
}

/// Does `Content-Type` name this media type, whatever parameters follow?
pub fn has_media_type(headers: &HeaderMap, wanted: &str) -> bool {
    let given = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let given = given.split(';').next().unwrap_or_default().trim();
    given.eq_ignore_ascii_case(wanted)
}

fn decode(encoded: &[u8]) -> Result<String, Error> {
    let spaced: Vec<u8> = encoded
        .iter()
        .map(|&byte| if byte == b'+' { b' ' } else { byte })
        .collect();
    let decoded: Cow<'_, [u8]> = percent_decode(&spaced).into();
    text(&decoded)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_and_values_are_decoded() {
        let params = Params::parse(b"answer=a%26b+c%23&empty&search[]=x&answer=second").unwrap();
        assert_eq!(params.get("answer"), Some("a&b c#"));
        assert_eq!(params.get("empty"), Some(""));
        assert_eq!(params.get("search"), None);
    }

    #[test]
    fn broken_utf8_and_nul_are_refused() {
        assert!(matches!(
            Params::parse(b"answer=%ff%fe"),
            Err(Error::BadRequest(_))
        ));
        assert!(matches!(
            Params::parse(b"answer=a%00b"),
            Err(Error::BadRequest(_))
        ));
    }

    #[test]
    fn nobody_is_led_to_another_site() {
        for local in ["/", "/quizzes?search=%C3%A1&pageno=2"] {
            assert!(is_local(local), "{local}");
        }
        for foreign in [
            "",
            "https://evil.example",
            "//evil.example",
            "/\\evil.example",
            "/\t/evil.example",
            "javascript:alert(1)",
        ] {
            assert!(!is_local(foreign), "{foreign}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Params::parse(&bytes);
        }
    }
}
