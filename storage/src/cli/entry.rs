//! What is kept of an object outside the store, beside its bytes.

use std::collections::BTreeMap;

use anyhow::Context as _;
use http::{HeaderMap, HeaderName, HeaderValue};
use serde::{Deserialize, Serialize};

/// The headers that a client has stored with an object, beside its own.
const KEPT: [&str; 5] = [
    "content-type",
    "cache-control",
    "content-disposition",
    "content-encoding",
    "content-language",
];
const USER: &str = "x-amz-meta-";

/// One line of a manifest.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) size: u64,
    /// As the store gave it: the MD5 of the content, or for an object uploaded in parts that of its parts' MD5s.
    pub(super) etag: String,
    /// Where its bytes are, below the folder; not used in an archive.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(super) file: String,
    /// MD5 of the content, when it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) md5: Option<String>,
    /// For people; the store gives a new one.
    #[serde(default)]
    pub(super) last_modified: String,
    /// Content type and the like, and user metadata with its prefix.
    #[serde(default)]
    pub(super) headers: BTreeMap<String, String>,
}

impl Entry {
    /// What the headers of a reply say of an object.
    pub(super) fn of(key: &str, size: u64, headers: &HeaderMap) -> Self {
        let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
        let one = |name| headers.get(name).map(text).unwrap_or_default();
        let kept = |name: &HeaderName| KEPT.contains(&name.as_str()) || is_user(name);
        let etag = one("etag");
        Self {
            key: key.to_owned(),
            size,
            file: String::new(),
            md5: plain_md5(&etag),
            etag,
            last_modified: one("last-modified"),
            headers: headers
                .iter()
                .filter(|(name, _)| kept(name))
                .map(|(name, value)| (name.to_string(), text(value)))
                .collect(),
        }
    }

    /// The headers to write it with.
    pub(super) fn headers(&self) -> anyhow::Result<HeaderMap> {
        let mut headers = HeaderMap::new();
        for (name, value) in &self.headers {
            let name: HeaderName = name.parse().context("name of a header")?;
            let value = HeaderValue::from_bytes(value.as_bytes())?;
            headers.insert(name, value);
        }
        if let Some(md5) = &self.md5 {
            use base64::Engine as _;
            let md5 = hex::decode(md5).context("MD5")?;
            let md5 = base64::engine::general_purpose::STANDARD.encode(md5);
            headers.insert("content-md5", HeaderValue::from_str(&md5)?);
        }
        Ok(headers)
    }

    /// Whether `there` is an object with the same bytes and headers.
    pub(super) fn is(&self, there: &Entry) -> bool {
        let same = self.md5.is_some() && self.md5 == there.md5 || self.etag == there.etag;
        same && self.size == there.size && self.headers == there.headers
    }
}

/// The MD5 in the tag of an object that was uploaded whole.
fn plain_md5(etag: &str) -> Option<String> {
    let tag = etag.trim_matches('"');
    (tag.len() == 32 && hex::decode(tag).is_ok()).then(|| tag.to_owned())
}

fn is_user(name: &HeaderName) -> bool {
    name.as_str().starts_with(USER)
}
