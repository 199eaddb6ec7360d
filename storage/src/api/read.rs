//! Reading one object: its conditions, its range, its headers.

use std::ops::Range;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{Stream, StreamExt as _};
use s3s::dto::*;
use s3s::{S3ErrorCode, S3Result, s3_error};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::reply::{not_applied, not_modified, s3_error};
use super::{Api, check_key, check_version, timestamp};
use crate::conditions::{Answer, ReadConditions};
use crate::coordinator::READ_AHEAD;
use crate::error::Error;
use crate::version::Live;
use crate::wire::PIECE_BYTES;

/// Longest wait for room in memory.
const WAIT: Duration = Duration::from_secs(1);
/// What room is counted in, as a semaphore counts no further than 32 bits.
const UNIT: u64 = 1024;

/// The memory that objects may take while they are read and sent.
pub(super) struct Room(Arc<Semaphore>);

impl Room {
    pub(super) fn new(bytes: u64) -> Self {
        Self(Arc::new(Semaphore::new(bytes.div_ceil(UNIT) as usize)))
    }

    async fn take(&self, bytes: u64) -> S3Result<OwnedSemaphorePermit> {
        let units = bytes.div_ceil(UNIT) as u32;
        let room = Arc::clone(&self.0).acquire_many_owned(units);
        match tokio::time::timeout(WAIT, room).await {
            Ok(Ok(room)) => Ok(room),
            _ => Err(not_applied(
                S3ErrorCode::SlowDown,
                "Too many reads at once.",
            )),
        }
    }
}

/// Most that one read has in memory: a piece being sent and those read ahead.
const READ_BYTES: u64 = (READ_AHEAD as u64 + 1) * PIECE_BYTES;

/// A body that gives its room back when the last of it is sent.
struct Sending {
    pieces: Mutex<BoxStream<'static, Result<Bytes, Error>>>,
    _room: OwnedSemaphorePermit,
}

impl Stream for Sending {
    type Item = Result<Bytes, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let pieces = self.pieces.get_mut().expect("nothing ever locks it");
        pieces.poll_next_unpin(cx)
    }
}

impl Api {
    /// The object, unless the request's conditions say otherwise.
    pub(super) async fn find(&self, key: &str, conditions: &ReadConditions) -> S3Result<Live> {
        check_key(key)?;
        let live = self.store.get(key).await.map_err(s3_error)?;
        let live = live.ok_or_else(|| s3_error!(NoSuchKey))?;
        match conditions.judge(&live) {
            Answer::Serve => Ok(live),
            Answer::Failed => Err(s3_error!(PreconditionFailed)),
            Answer::NotModified => Err(not_modified(&live)),
        }
    }

    /// Part of an object's bytes, on their way out. The first are here when this returns.
    pub(super) async fn open(
        &self,
        live: &Live,
        range: Range<u64>,
    ) -> S3Result<Option<StreamingBlob>> {
        let room = self
            .reads
            .take(READ_BYTES.min(range.end - range.start))
            .await?;
        let mut pieces = self.store.bytes(live, range).boxed();
        let first = pieces.next().await.transpose().map_err(s3_error)?;
        let first = futures::stream::iter(first.map(Ok));
        Ok(Some(StreamingBlob::wrap(Sending {
            pieces: Mutex::new(first.chain(pieces).boxed()),
            _room: room,
        })))
    }

    pub(super) async fn get(
        &self,
        input: GetObjectInput,
        signed: bool,
    ) -> S3Result<GetObjectOutput> {
        self.check_bucket(&input.bucket)?;
        if !signed && overrides_headers(&input) {
            return Err(s3_error!(
                InvalidRequest,
                "Headers of the reply can be chosen only with a signature."
            ));
        }
        check_version(input.version_id.as_deref())?;
        let conditions = ReadConditions {
            if_match: input.if_match,
            if_none_match: input.if_none_match,
            if_modified_since: input.if_modified_since.as_ref().map(millis),
            if_unmodified_since: input.if_unmodified_since.as_ref().map(millis),
        };
        let live = self.find(&input.key, &conditions).await?;
        let (range, content_range) = span(input.range, input.part_number, &live)?;
        let length = (range.end - range.start) as i64;
        let body = self.open(&live, range).await?;
        let tag = live.tag();
        Ok(GetObjectOutput {
            accept_ranges: Some("bytes".to_owned()),
            body,
            cache_control: live.headers.cache_control,
            content_disposition: live.headers.content_disposition,
            content_encoding: live.headers.content_encoding,
            content_language: live.headers.content_language,
            content_length: Some(length),
            content_range,
            content_type: live.headers.content_type,
            e_tag: Some(ETag::Strong(tag)),
            last_modified: Some(timestamp(live.last_modified_ms)),
            metadata: Some(live.headers.user.into_iter().collect()),
            parts_count: parts_count(input.part_number, live.parts),
            ..GetObjectOutput::default()
        })
    }

    pub(super) async fn head(&self, input: HeadObjectInput) -> S3Result<HeadObjectOutput> {
        self.check_bucket(&input.bucket)?;
        check_version(input.version_id.as_deref())?;
        let conditions = ReadConditions {
            if_match: input.if_match,
            if_none_match: input.if_none_match,
            if_modified_since: input.if_modified_since.as_ref().map(millis),
            if_unmodified_since: input.if_unmodified_since.as_ref().map(millis),
        };
        let live = self.find(&input.key, &conditions).await?;
        let (range, content_range) = span(input.range, input.part_number, &live)?;
        let tag = live.tag();
        Ok(HeadObjectOutput {
            accept_ranges: Some("bytes".to_owned()),
            cache_control: live.headers.cache_control,
            content_disposition: live.headers.content_disposition,
            content_encoding: live.headers.content_encoding,
            content_language: live.headers.content_language,
            content_length: Some((range.end - range.start) as i64),
            content_range,
            content_type: live.headers.content_type,
            e_tag: Some(ETag::Strong(tag)),
            last_modified: Some(timestamp(live.last_modified_ms)),
            metadata: Some(live.headers.user.into_iter().collect()),
            parts_count: parts_count(input.part_number, live.parts),
            ..HeadObjectOutput::default()
        })
    }
}

/// Anybody could otherwise have this host say what they like.
fn overrides_headers(input: &GetObjectInput) -> bool {
    input.response_cache_control.is_some()
        || input.response_content_disposition.is_some()
        || input.response_content_encoding.is_some()
        || input.response_content_language.is_some()
        || input.response_content_type.is_some()
        || input.response_expires.is_some()
}

/// The bytes to serve, and the header that says so when they are not all.
fn span(
    range: Option<s3s::dto::Range>,
    part: Option<PartNumber>,
    live: &Live,
) -> S3Result<(Range<u64>, Option<String>)> {
    let range = match (range, part) {
        (None, None) => return Ok((0..live.size, None)),
        (Some(range), None) => range.check(live.size)?,
        (None, Some(part)) => part_span(part, live)?,
        (Some(_), Some(_)) => {
            return Err(s3_error!(InvalidRequest, "Either a range or a part."));
        }
    };
    if range.is_empty() {
        if part.is_some() {
            return Ok((range, None)); // an empty part has no place to name
        }
        return Err(s3_error!(InvalidRange)); // the end of nothing
    }
    let header = format!("bytes {}-{}/{}", range.start, range.end - 1, live.size);
    Ok((range, Some(header)))
}

/// Where a part of an object is. One that came whole is its own first part.
fn part_span(part: PartNumber, live: &Live) -> S3Result<Range<u64>> {
    let missing = || s3_error!(InvalidRange, "There is no such part.");
    let before = usize::try_from(part)
        .ok()
        .and_then(|part| part.checked_sub(1));
    let before = before.ok_or_else(missing)?;
    let blob = live.blobs.get(before).ok_or_else(missing)?;
    let start = live.blobs[..before].iter().map(|blob| blob.len).sum();
    Ok(start..start + blob.len)
}

/// Said only to those who ask by part.
fn parts_count(asked: Option<PartNumber>, parts: u32) -> Option<PartsCount> {
    asked.filter(|_| parts > 0).map(|_| parts as PartsCount)
}

pub(super) fn millis(timestamp: &Timestamp) -> i64 {
    let mut text = Vec::new();
    // The one way to get at the number that needs no other crate.
    let seconds = timestamp
        .format(TimestampFormat::EpochSeconds, &mut text)
        .ok()
        .and_then(|()| String::from_utf8(text).ok()?.parse::<f64>().ok());
    seconds.map_or(0, |seconds| (seconds * 1_000.0) as i64)
}
