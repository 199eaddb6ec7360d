//! Listing the bucket.

use s3s::dto::*;
use s3s::{S3Result, s3_error};

use super::reply::s3_error;
use super::{Api, timestamp};
use crate::list::{self, Item, Query, Start};
use crate::version::tag;

/// Most keys in one answer, as S3 has it.
const MAX_KEYS: i32 = 1_000;

impl Api {
    pub(super) async fn list(&self, input: ListObjectsV2Input) -> S3Result<ListObjectsV2Output> {
        self.check_bucket(&input.bucket)?;
        let max_keys = input.max_keys.unwrap_or(MAX_KEYS);
        if max_keys < 0 {
            return Err(s3_error!(InvalidArgument, "max-keys must not be negative."));
        }
        let max_keys = max_keys.min(MAX_KEYS);
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
        let query = Query {
            prefix: input.prefix.clone().unwrap_or_default(),
            delimiter: input.delimiter.clone(),
            start,
            max_keys: max_keys as usize,
        };
        let page = list::page(self.store.cluster(), &query)
            .await
            .map_err(s3_error)?;
        let key_count = page.items.len() as i32;
        let mut contents = Vec::new();
        let mut prefixes = Vec::new();
        for item in page.items {
            match item {
                Item::Object(key, summary) => contents.push(Object {
                    key: Some(key),
                    e_tag: Some(ETag::Strong(tag(summary.etag, summary.parts))),
                    size: Some(summary.size as i64),
                    last_modified: Some(timestamp(summary.last_modified_ms)),
                    ..Object::default()
                }),
                Item::Prefix(prefix) => prefixes.push(CommonPrefix {
                    prefix: Some(prefix),
                }),
            }
        }
        Ok(ListObjectsV2Output {
            name: Some(input.bucket),
            prefix: input.prefix,
            delimiter: input.delimiter,
            start_after: input.start_after,
            continuation_token: input.continuation_token,
            max_keys: Some(max_keys),
            key_count: Some(key_count),
            is_truncated: Some(page.next.is_some()),
            next_continuation_token: page.next.as_ref().map(Start::to_token),
            contents: Some(contents),
            common_prefixes: Some(prefixes),
            ..ListObjectsV2Output::default()
        })
    }
}
