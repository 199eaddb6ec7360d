//! Listing the bucket, in the three ways that clients ask for it.

use s3s::dto::*;
use s3s::{S3Result, s3_error};

use super::reply::s3_error;
use super::{Api, timestamp};
use crate::list::{self, Item, Query, Start};
use crate::version::tag;
use crate::wire::Summary;

/// Most keys in one answer, as S3 has it.
const MAX_KEYS: i32 = 1_000;

/// What of a listing is asked in the same way by all.
struct Asked {
    prefix: Option<String>,
    delimiter: Option<String>,
    start: Start,
    max_keys: Option<i32>,
    names: Names,
}

/// One page of objects and folded prefixes.
struct Found {
    objects: Vec<(String, Summary)>,
    prefixes: Vec<CommonPrefix>,
    next: Option<Start>,
    max_keys: i32,
}

/// How keys are written.
#[derive(Clone, Copy)]
struct Names {
    url: bool,
}

impl Names {
    fn new(asked: Option<&EncodingType>) -> S3Result<Self> {
        match asked.map(EncodingType::as_str) {
            None | Some("") => Ok(Self { url: false }),
            Some(EncodingType::URL) => Ok(Self { url: true }),
            Some(_) => Err(s3_error!(InvalidArgument, "Keys are encoded as `url`.")),
        }
    }

    fn write(self, name: &str) -> String {
        if !self.url {
            return name.to_owned();
        }
        let mut text = String::new();
        for byte in name.bytes() {
            match byte {
                b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' | b'-' | b'.' | b'_' | b'~' | b'/' => {
                    text.push(char::from(byte));
                }
                _ => text.push_str(&format!("%{byte:02X}")),
            }
        }
        text
    }

    fn write_some(self, name: Option<String>) -> Option<String> {
        name.map(|name| self.write(&name))
    }

    /// What tells the client that it has to decode.
    fn kind(self) -> Option<EncodingType> {
        self.url
            .then(|| EncodingType::from_static(EncodingType::URL))
    }
}

impl Api {
    pub(super) async fn list(&self, input: ListObjectsV2Input) -> S3Result<ListObjectsV2Output> {
        self.check_bucket(&input.bucket)?;
        let start = match (&input.continuation_token, &input.start_after) {
            (Some(token), _) => Start::from_token(token).ok_or_else(|| {
                s3_error!(
                    InvalidArgument,
                    "The continuation token is not one of ours."
                )
            })?,
            (None, Some(key)) => Start::After(key.clone()),
            (None, None) => Start::Beginning,
        };
        let names = Names::new(input.encoding_type.as_ref())?;
        let found = self
            .found(Asked {
                prefix: input.prefix.clone(),
                delimiter: input.delimiter.clone(),
                start,
                max_keys: input.max_keys,
                names,
            })
            .await?;
        Ok(ListObjectsV2Output {
            name: Some(input.bucket),
            prefix: names.write_some(input.prefix),
            delimiter: names.write_some(input.delimiter),
            encoding_type: names.kind(),
            start_after: names.write_some(input.start_after),
            continuation_token: input.continuation_token,
            max_keys: Some(found.max_keys),
            key_count: Some((found.objects.len() + found.prefixes.len()) as i32),
            is_truncated: Some(found.next.is_some()),
            next_continuation_token: found.next.as_ref().map(Start::to_token),
            contents: Some(objects(found.objects, names)),
            common_prefixes: Some(found.prefixes),
            ..ListObjectsV2Output::default()
        })
    }

    /// The older way, which goes on from a key instead of a token.
    pub(super) async fn list_v1(&self, input: ListObjectsInput) -> S3Result<ListObjectsOutput> {
        self.check_bucket(&input.bucket)?;
        let names = Names::new(input.encoding_type.as_ref())?;
        let start = after(&input.marker, &input.prefix, &input.delimiter);
        let found = self
            .found(Asked {
                prefix: input.prefix.clone(),
                delimiter: input.delimiter.clone(),
                start,
                max_keys: input.max_keys,
                names,
            })
            .await?;
        Ok(ListObjectsOutput {
            name: Some(input.bucket),
            prefix: names.write_some(input.prefix),
            delimiter: names.write_some(input.delimiter),
            encoding_type: names.kind(),
            marker: names.write_some(Some(input.marker.unwrap_or_default())),
            max_keys: Some(found.max_keys),
            is_truncated: Some(found.next.is_some()),
            next_marker: names.write_some(found.next.map(key_of)),
            contents: Some(objects(found.objects, names)),
            common_prefixes: Some(found.prefixes),
            ..ListObjectsOutput::default()
        })
    }

    /// Every object has one version, which is called `null`.
    pub(super) async fn list_versions(
        &self,
        input: ListObjectVersionsInput,
    ) -> S3Result<ListObjectVersionsOutput> {
        self.check_bucket(&input.bucket)?;
        let names = Names::new(input.encoding_type.as_ref())?;
        let start = after(&input.key_marker, &input.prefix, &input.delimiter);
        let found = self
            .found(Asked {
                prefix: input.prefix.clone(),
                delimiter: input.delimiter.clone(),
                start,
                max_keys: input.max_keys,
                names,
            })
            .await?;
        let versions = objects(found.objects, names).into_iter();
        let versions = versions.map(|object| ObjectVersion {
            key: object.key,
            e_tag: object.e_tag,
            size: object.size,
            last_modified: object.last_modified,
            is_latest: Some(true),
            version_id: Some("null".to_owned()),
            ..ObjectVersion::default()
        });
        let next = names.write_some(found.next.map(key_of));
        Ok(ListObjectVersionsOutput {
            versions: Some(versions.collect()),
            name: Some(input.bucket),
            prefix: names.write_some(input.prefix),
            delimiter: names.write_some(input.delimiter),
            encoding_type: names.kind(),
            key_marker: names.write_some(input.key_marker),
            version_id_marker: input.version_id_marker,
            max_keys: Some(found.max_keys),
            is_truncated: Some(next.is_some()),
            next_version_id_marker: next.as_ref().map(|_| "null".to_owned()),
            next_key_marker: next,
            common_prefixes: Some(found.prefixes),
            ..ListObjectVersionsOutput::default()
        })
    }

    async fn found(&self, asked: Asked) -> S3Result<Found> {
        let max_keys = asked.max_keys.unwrap_or(MAX_KEYS);
        if max_keys < 0 {
            return Err(s3_error!(InvalidArgument, "max-keys must not be negative."));
        }
        let max_keys = max_keys.min(MAX_KEYS);
        let query = Query {
            prefix: asked.prefix.unwrap_or_default(),
            delimiter: asked.delimiter,
            start: asked.start,
            max_keys: max_keys as usize,
        };
        let page = list::page(self.store.cluster(), &query)
            .await
            .map_err(s3_error)?;
        let mut found = Found {
            objects: Vec::new(),
            prefixes: Vec::new(),
            next: page.next,
            max_keys,
        };
        for item in page.items {
            match item {
                Item::Object(key, summary) => found.objects.push((key, summary)),
                Item::Prefix(prefix) => found.prefixes.push(CommonPrefix {
                    prefix: Some(asked.names.write(&prefix)),
                }),
            }
        }
        Ok(found)
    }
}

fn objects(found: Vec<(String, Summary)>, names: Names) -> Vec<Object> {
    let object = |(key, summary): (String, Summary)| Object {
        key: Some(names.write(&key)),
        e_tag: Some(ETag::Strong(tag(summary.etag, summary.parts))),
        size: Some(summary.size as i64),
        last_modified: Some(timestamp(summary.last_modified_ms)),
        storage_class: Some(ObjectStorageClass::from_static(
            ObjectStorageClass::STANDARD,
        )),
        ..Object::default()
    };
    found.into_iter().map(object).collect()
}

/// Where a page begins whose predecessor ended with `marker`. A folded prefix was shown whole.
fn after(marker: &Option<String>, prefix: &Option<String>, delimiter: &Option<String>) -> Start {
    let Some(marker) = marker.as_ref().filter(|marker| !marker.is_empty()) else {
        return Start::Beginning;
    };
    let (prefix, delimiter) = (
        prefix.as_deref().unwrap_or_default(),
        delimiter.as_deref().unwrap_or_default(),
    );
    let rest = marker
        .strip_prefix(prefix)
        .filter(|_| !delimiter.is_empty());
    match rest.and_then(|rest| rest.find(delimiter)) {
        Some(at) => Start::AfterPrefix(marker[..prefix.len() + at + delimiter.len()].to_owned()),
        None => Start::After(marker.clone()),
    }
}

fn key_of(start: Start) -> String {
    match start {
        Start::Beginning => String::new(),
        Start::After(key) | Start::AfterPrefix(key) => key,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_marker_inside_a_folded_prefix_goes_on_after_all_of_it() {
        let some = |text: &str| Some(text.to_owned());
        let after =
            |marker, prefix, delimiter| after(&some(marker), &some(prefix), &some(delimiter));
        assert_eq!(after("", "", "/"), Start::Beginning);
        assert_eq!(after("a/", "", "/"), Start::AfterPrefix("a/".to_owned()));
        assert_eq!(after("a/b", "", "/"), Start::AfterPrefix("a/".to_owned()));
        assert_eq!(after("a/b", "a/", "/"), Start::After("a/b".to_owned()));
        assert_eq!(after("a/b", "", ""), Start::After("a/b".to_owned()));
    }

    #[test]
    fn an_encoded_key_has_nothing_that_means_something_in_a_url() {
        let names = Names { url: true };
        assert_eq!(names.write("a/ä b+c%.~"), "a/%C3%A4%20b%2Bc%25.~");
        assert_eq!(Names { url: false }.write("a b"), "a b");
    }
}
