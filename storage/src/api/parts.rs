//! Uploads in parts, as clients see them.

use std::ops::Range;
use std::sync::Arc;

use s3s::dto::*;
use s3s::{S3ErrorCode, S3Request, S3Result, s3_error};

use super::read::millis;
use super::reply::{s3_error, unknown};
use super::sums::{Received, Sums, Trailer};
use super::upload::{Body, stored_encoding};
use super::write::{condition, refuse, user_metadata};
use super::{Api, check_key, timestamp};
use crate::conditions::ReadConditions;
use crate::error::Error;
use crate::keys;
use crate::list::Start;
use crate::multipart::{MAX_PARTS, Named, Refused};
use crate::version::{Headers, Live, tag};

/// Most parts or uploads in one answer, as S3 has it.
const PAGE: i32 = 1_000;

/// Where a part belongs.
struct Place {
    key: String,
    id: String,
    number: u32,
}

impl Place {
    fn new(key: String, id: String, number: PartNumber) -> S3Result<Self> {
        check_key(&key)?;
        check_id(&id)?;
        let number = u32::try_from(number).ok();
        let number = number.filter(|number| (1..=MAX_PARTS).contains(number));
        let number = number.ok_or_else(|| {
            s3_error!(InvalidArgument, "Parts have numbers from 1 to {MAX_PARTS}.")
        })?;
        Ok(Self { key, id, number })
    }
}

impl Api {
    pub(super) async fn create_upload(
        &self,
        input: CreateMultipartUploadInput,
    ) -> S3Result<CreateMultipartUploadOutput> {
        self.check_bucket(&input.bucket)?;
        check_key(&input.key)?;
        let encrypted =
            input.server_side_encryption.is_some() || input.sse_customer_algorithm.is_some();
        let locked =
            input.object_lock_mode.is_some() || input.object_lock_legal_hold_status.is_some();
        refuse(encrypted || locked || input.tagging.is_some())?;
        let headers = Headers {
            content_type: input.content_type,
            cache_control: input.cache_control,
            content_disposition: input.content_disposition,
            content_encoding: input.content_encoding.as_deref().and_then(stored_encoding),
            content_language: input.content_language,
            user: user_metadata(input.metadata),
        };
        let (store, key) = (Arc::clone(&self.store), input.key.clone());
        let create = async move { store.create_upload(&key, headers).await };
        let created = self.store.to_the_end(create).await;
        let id = created.unwrap_or(Err(Error::Unknown));
        Ok(CreateMultipartUploadOutput {
            bucket: Some(input.bucket),
            key: Some(input.key),
            upload_id: Some(id.map_err(s3_error)?),
            checksum_algorithm: input.checksum_algorithm,
            checksum_type: input.checksum_type,
            ..CreateMultipartUploadOutput::default()
        })
    }

    pub(super) async fn upload_part(
        &self,
        request: S3Request<UploadPartInput>,
    ) -> S3Result<UploadPartOutput> {
        let trailer = Trailer::announced(&request)?;
        let input = request.input;
        self.check_bucket(&input.bucket)?;
        refuse(input.sse_customer_algorithm.is_some())?;
        let len = self.limits.check(input.content_length)?;
        let given = Checksum {
            checksum_crc32: input.checksum_crc32,
            checksum_crc32c: input.checksum_crc32c,
            checksum_crc64nvme: input.checksum_crc64nvme,
            checksum_sha1: input.checksum_sha1,
            checksum_sha256: input.checksum_sha256,
            ..Checksum::default()
        };
        let place = Place::new(input.key, input.upload_id, input.part_number)?;
        let body = Body::new(input.body, len, self.limits);
        let sums = Sums::new(input.content_md5, given, trailer);
        let (live, Received { checksum, .. }) = self.store_part(place, body, sums).await?;
        Ok(UploadPartOutput {
            e_tag: Some(ETag::Strong(live.tag())),
            checksum_crc32: checksum.checksum_crc32,
            checksum_crc32c: checksum.checksum_crc32c,
            checksum_crc64nvme: checksum.checksum_crc64nvme,
            checksum_sha1: checksum.checksum_sha1,
            checksum_sha256: checksum.checksum_sha256,
            ..UploadPartOutput::default()
        })
    }

    pub(super) async fn copy_part(
        &self,
        input: UploadPartCopyInput,
    ) -> S3Result<UploadPartCopyOutput> {
        self.check_bucket(&input.bucket)?;
        refuse(
            input.sse_customer_algorithm.is_some()
                || input.copy_source_sse_customer_algorithm.is_some(),
        )?;
        let place = Place::new(input.key, input.upload_id, input.part_number)?;
        let conditions = ReadConditions {
            if_match: input.copy_source_if_match,
            if_none_match: input.copy_source_if_none_match,
            if_modified_since: input.copy_source_if_modified_since.as_ref().map(millis),
            if_unmodified_since: input.copy_source_if_unmodified_since.as_ref().map(millis),
        };
        let (_, source) = self.copy_source(&input.copy_source, &conditions).await?;
        let range = match input.copy_source_range {
            None => 0..source.size,
            Some(text) => copy_range(&text, source.size)?,
        };
        let body = self.copied(&source, range).await?;
        let (live, _) = self.store_part(place, body, Sums::none()).await?;
        Ok(UploadPartCopyOutput {
            copy_part_result: Some(CopyPartResult {
                e_tag: Some(ETag::Strong(live.tag())),
                last_modified: Some(timestamp(live.last_modified_ms)),
                ..CopyPartResult::default()
            }),
            ..UploadPartCopyOutput::default()
        })
    }

    async fn store_part(&self, part: Place, body: Body, sums: Sums) -> S3Result<(Live, Received)> {
        let permit = self.place()?;
        let store = Arc::clone(&self.store);
        let work = self.store.to_the_end(async move {
            let _permit = permit; // held also when the client has long gone
            let Place { key, id, number } = part;
            let refused = match store.upload(&key, &id).await {
                Ok(upload) => upload.is_none().then(|| s3_error!(NoSuchUpload)),
                Err(error) => Some(s3_error(error)),
            };
            if let Some(refused) = refused {
                body.drain().await;
                return Err(refused);
            }
            let (stored, received) = body.store(&store, sums).await?;
            let written = store.write_part(&key, &id, number, &stored, received.etag);
            match written.await.map_err(s3_error)? {
                Some(live) => Ok((live, received)),
                None => Err(s3_error!(NoSuchUpload)),
            }
        });
        work.await.unwrap_or_else(|| Err(unknown()))
    }

    pub(super) async fn complete_upload(
        &self,
        input: CompleteMultipartUploadInput,
    ) -> S3Result<CompleteMultipartUploadOutput> {
        self.check_bucket(&input.bucket)?;
        check_key(&input.key)?;
        check_id(&input.upload_id)?;
        check_complete(&input)?;
        let condition = condition(input.if_none_match.as_ref(), input.if_match.as_ref())?;
        let named = named(input.multipart_upload.and_then(|parts| parts.parts))?;
        let (store, max_bytes) = (Arc::clone(&self.store), self.limits.max_bytes());
        let (key, id) = (input.key.clone(), input.upload_id);
        let complete = async move {
            let done = store.complete_upload(&key, &id, &named, &condition, max_bytes);
            done.await
        };
        let completed = self.store.to_the_end(complete).await;
        let completed = completed.unwrap_or(Err(Refused::Error(Error::Unknown)));
        let live = completed.map_err(|refused| self.refused(refused))?;
        Ok(CompleteMultipartUploadOutput {
            location: Some(format!("/{}/{}", input.bucket, input.key)),
            bucket: Some(input.bucket),
            key: Some(input.key),
            e_tag: Some(ETag::Strong(live.tag())),
            ..CompleteMultipartUploadOutput::default()
        })
    }

    fn refused(&self, refused: Refused) -> s3s::S3Error {
        match refused {
            Refused::NoUpload => s3_error!(NoSuchUpload),
            Refused::NoPart(number) => s3_error!(
                InvalidPart,
                "Part {number} was not uploaded or has another tag."
            ),
            Refused::Order => s3_error!(InvalidPartOrder),
            Refused::PartTooSmall(number) => s3_error!(
                EntityTooSmall,
                "Part {number} is too small, and only the last may be."
            ),
            Refused::TooLarge => self.limits.too_large(),
            Refused::ConditionFailed => s3_error!(PreconditionFailed),
            Refused::Error(error) => s3_error(error),
        }
    }

    pub(super) async fn abort_upload(
        &self,
        input: AbortMultipartUploadInput,
    ) -> S3Result<AbortMultipartUploadOutput> {
        self.check_bucket(&input.bucket)?;
        check_id(&input.upload_id)?;
        let (store, key) = (Arc::clone(&self.store), input.key);
        let abort = async move { store.abort_upload(&key, &input.upload_id).await };
        let aborted = self.store.to_the_end(abort).await;
        let aborted = aborted.unwrap_or(Err(Error::Unknown));
        if aborted.map_err(s3_error)? {
            Ok(AbortMultipartUploadOutput::default())
        } else {
            Err(s3_error!(NoSuchUpload))
        }
    }

    pub(super) async fn list_parts(&self, input: ListPartsInput) -> S3Result<ListPartsOutput> {
        self.check_bucket(&input.bucket)?;
        check_id(&input.upload_id)?;
        let limit = page(input.max_parts)?;
        let after = u32::try_from(input.part_number_marker.unwrap_or(0)).unwrap_or(0);
        let id = &input.upload_id;
        let upload = self.store.upload(&input.key, id).await.map_err(s3_error)?;
        if upload.is_none() {
            return Err(s3_error!(NoSuchUpload));
        }
        let parts = self.store.parts(id, after, limit).await;
        let (parts, more) = parts.map_err(s3_error)?;
        let last = parts.last().map(|(number, _)| *number as i32);
        let parts = parts.into_iter().map(|(number, about)| Part {
            part_number: Some(number as i32),
            size: Some(about.size as i64),
            e_tag: Some(ETag::Strong(tag(about.etag, about.parts))),
            last_modified: Some(timestamp(about.last_modified_ms)),
            ..Part::default()
        });
        Ok(ListPartsOutput {
            parts: Some(parts.collect()),
            is_truncated: Some(more),
            next_part_number_marker: last.filter(|_| more),
            part_number_marker: input.part_number_marker,
            max_parts: Some(limit as i32),
            bucket: Some(input.bucket),
            key: Some(input.key),
            upload_id: Some(input.upload_id),
            ..ListPartsOutput::default()
        })
    }

    pub(super) async fn list_uploads(
        &self,
        input: ListMultipartUploadsInput,
    ) -> S3Result<ListMultipartUploadsOutput> {
        self.check_bucket(&input.bucket)?;
        if input
            .delimiter
            .as_ref()
            .is_some_and(|given| !given.is_empty())
        {
            return Err(s3_error!(
                NotImplemented,
                "Uploads are listed without delimiter."
            ));
        }
        let limit = page(input.max_uploads)?;
        let prefix = input.prefix.clone().unwrap_or_default();
        let start = match (
            input.key_marker.as_deref(),
            input.upload_id_marker.as_deref(),
        ) {
            (None | Some(""), _) => Start::Beginning,
            (Some(key), Some(id)) if !id.is_empty() => Start::After(keys::upload(key, id)),
            // After all uploads of that key.
            (Some(key), _) => Start::AfterPrefix(keys::upload(key, "")),
        };
        let prefix = format!("{}{prefix}", keys::UPLOADS);
        let found = self.store.records(prefix, start, limit).await;
        let (found, more) = found.map_err(s3_error)?;
        let mut uploads = Vec::new();
        for (record, about) in found {
            let Some((key, id)) = keys::parse_upload(&record) else {
                continue;
            };
            uploads.push(MultipartUpload {
                key: Some(key.to_owned()),
                upload_id: Some(id.to_owned()),
                initiated: Some(timestamp(about.last_modified_ms)),
                ..MultipartUpload::default()
            });
        }
        let last = uploads.last().filter(|_| more).cloned();
        Ok(ListMultipartUploadsOutput {
            next_key_marker: last.as_ref().and_then(|upload| upload.key.clone()),
            next_upload_id_marker: last.and_then(|upload| upload.upload_id),
            uploads: Some(uploads),
            is_truncated: Some(more),
            bucket: Some(input.bucket),
            prefix: input.prefix,
            key_marker: input.key_marker,
            upload_id_marker: input.upload_id_marker,
            max_uploads: Some(limit as i32),
            ..ListMultipartUploadsOutput::default()
        })
    }
}

/// Ids are ours; anything else would be part of a register's key.
fn check_id(id: &str) -> S3Result {
    if id.len() == 32 && id.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Ok(());
    }
    Err(s3_error!(NoSuchUpload))
}

/// Parts were checked when they came. A sum over the whole cannot be checked any more, so it is not taken.
fn check_complete(input: &CompleteMultipartUploadInput) -> S3Result {
    let full = input.checksum_type.as_ref().map(|kind| kind.as_str());
    let whole = [
        &input.checksum_crc32,
        &input.checksum_crc32c,
        &input.checksum_crc64nvme,
    ];
    if full == Some(ChecksumType::FULL_OBJECT) && whole.iter().any(|sum| sum.is_some()) {
        return Err(s3_error!(
            NotImplemented,
            "Checksums of whole objects in parts are not kept; give those of the parts."
        ));
    }
    Ok(())
}

fn named(parts: Option<Vec<CompletedPart>>) -> S3Result<Vec<Named>> {
    let malformed = || s3_error!(MalformedXML, "Every part needs its number and its tag.");
    let parts = parts.filter(|parts| !parts.is_empty());
    let named = parts.ok_or_else(malformed)?.into_iter().map(|part| {
        Some(Named {
            number: u32::try_from(part.part_number?).ok()?,
            tag: part.e_tag?.into_value(),
        })
    });
    named.collect::<Option<_>>().ok_or_else(malformed)
}

/// `bytes=FIRST-LAST`, both of which must be there.
fn copy_range(text: &str, size: u64) -> S3Result<Range<u64>> {
    let range = || {
        let (first, last) = text.strip_prefix("bytes=")?.split_once('-')?;
        let (first, last) = (first.parse::<u64>().ok()?, last.parse::<u64>().ok()?);
        (first <= last && last < size).then(|| first..last + 1)
    };
    range().ok_or_else(|| s3s::S3Error::new(S3ErrorCode::InvalidArgument))
}

fn page(asked: Option<i32>) -> S3Result<usize> {
    let asked = asked.unwrap_or(PAGE).min(PAGE);
    usize::try_from(asked).map_err(|_| S3ErrorCode::InvalidArgument.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_to_copy_lies_inside_its_source() {
        assert_eq!(copy_range("bytes=0-9", 10).unwrap(), 0..10);
        assert_eq!(copy_range("bytes=3-3", 10).unwrap(), 3..4);
        for wrong in ["bytes=0-10", "bytes=5-4", "bytes=-3", "bytes=3-", "0-3"] {
            assert!(copy_range(wrong, 10).is_err(), "{wrong}");
        }
    }
}
