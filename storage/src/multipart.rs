//! Uploads in parts.
//!
//! An upload is a register, with the headers of its object, and so is each of its parts, with its blob ([`crate::keys`]).
//! Completing writes one version of the object that lists the blobs; nothing is copied. What removes an upload removes
//! its own record first and the parts after it, and a part looks for the upload again once it is recorded, so one of
//! the two always sees the other. What a crash leaves over, and uploads that nobody ends, are removed after a while:
//! the clock says when, an ordinary delete does it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt as _, TryStreamExt as _};
use s3s::crypto::{Checksum as _, Md5};
use tracing::{debug, info};

use crate::conditions::Condition;
use crate::coordinator::Coordinator;
use crate::error::Error;
use crate::fanout::Stored;
use crate::keys;
use crate::list::{Item, Query, Start, records};
use crate::peer::now_millis;
use crate::round::Uploads;
use crate::version::{BlobId, Headers, Live};
use crate::wire::Summary;

/// As S3 has it: the highest number of a part, and the least size of all but the last.
pub(crate) const MAX_PARTS: u32 = 10_000;
const MIN_PART_BYTES: u64 = 5 * 1024 * 1024;
/// Registers of one upload read or deleted at a time.
const AT_A_TIME: usize = 16;
/// Records in one page.
const PAGE: usize = 1_000;

/// A part as the client remembers it when it completes the upload.
#[derive(Clone, Debug)]
pub(crate) struct Named {
    pub(crate) number: u32,
    pub(crate) tag: String,
}

/// Why an upload is not completed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    NoUpload,
    NoPart(u32),
    Order,
    PartTooSmall(u32),
    TooLarge,
    ConditionFailed,
    Error(Error),
}

impl From<Error> for Refused {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

impl Coordinator {
    /// Begins an upload and returns its id.
    pub(crate) async fn create_upload(&self, key: &str, headers: Headers) -> Result<String, Error> {
        let id = BlobId::random().to_string();
        let record = Live {
            headers,
            ..Live::default()
        };
        let key = keys::upload(key, &id);
        self.write(&key, record, &Uploads::new(), &Condition::Always)
            .await?;
        Ok(id)
    }

    /// The record of an upload.
    pub(crate) async fn upload(&self, key: &str, id: &str) -> Result<Option<Live>, Error> {
        self.get(&keys::upload(key, id)).await
    }

    /// Records a part, whose blob is stored. `None`: there is no such upload any more.
    pub(crate) async fn write_part(
        self: &Arc<Self>,
        key: &str,
        id: &str,
        number: u32,
        stored: &Stored,
        etag: [u8; 16],
    ) -> Result<Option<Live>, Error> {
        let part = keys::part(id, number);
        let new = Live {
            blobs: vec![stored.blob],
            size: stored.blob.len,
            etag,
            ..Live::default()
        };
        let live = self.write(&part, new, &stored.uploads, &Condition::Always);
        let live = live.await?;
        // The part is recorded: no failure from here on may say that nothing was applied.
        let unknown = |_| Error::Unknown;
        if self.upload(key, id).await.map_err(unknown)?.is_some() {
            return Ok(live);
        }
        // Whoever removed the upload may have looked for its parts before this one was there.
        let deleted = self.delete(part, Condition::Always).await;
        deleted.map_err(unknown)?;
        Ok(None)
    }

    /// Parts of an upload by their numbers, and whether there are more.
    pub(crate) async fn parts(
        &self,
        id: &str,
        after: u32,
        limit: usize,
    ) -> Result<(Vec<(u32, Summary)>, bool), Error> {
        let start = Start::After(keys::part(id, after));
        let (found, more) = self.records(keys::parts(id), start, limit).await?;
        let number = |(key, about): (String, Summary)| Some((keys::parse_part(&key)?.1, about));
        Ok((found.into_iter().filter_map(number).collect(), more))
    }

    /// One page of records by their keys.
    pub(crate) async fn records(
        &self,
        prefix: String,
        start: Start,
        max_keys: usize,
    ) -> Result<(Vec<(String, Summary)>, bool), Error> {
        let query = Query {
            prefix,
            delimiter: None,
            start,
            max_keys,
        };
        let page = records(self.cluster(), &query).await?;
        let found = page.items.into_iter().filter_map(|item| match item {
            Item::Object(key, about) => Some((key, about)),
            Item::Prefix(_) => None,
        });
        Ok((found.collect(), page.next.is_some()))
    }

    /// Makes an object of the parts `named`, in this order. The upload is gone then.
    pub(crate) async fn complete_upload(
        self: &Arc<Self>,
        key: &str,
        id: &str,
        named: &[Named],
        condition: &Condition,
        max_bytes: u64,
    ) -> Result<Live, Refused> {
        if !named.is_sorted_by(|a, b| a.number < b.number) {
            return Err(Refused::Order);
        }
        let Some(upload) = self.upload(key, id).await? else {
            return self.completed_before(key, named).await;
        };
        let parts = self.named_parts(id, named).await?;
        let new = compose(named, &parts, upload.headers, max_bytes)?;
        let written = self.write(key, new, &Uploads::new(), condition).await?;
        let Some(live) = written else {
            return Err(Refused::ConditionFailed);
        };
        // The object is there whatever comes of this; what stays is removed later.
        if let Err(error) = self.abort_upload(key, id).await {
            debug!(key, id, %error, "a completed upload is still recorded");
        }
        Ok(live)
    }

    /// The answer to a client that missed the first one and asks again: the object, if it is the one that these parts
    /// make.
    async fn completed_before(&self, key: &str, named: &[Named]) -> Result<Live, Refused> {
        let mut etags = Md5::new();
        for part in named {
            let etag = hex::decode(&part.tag).map_err(|_| Refused::NoUpload)?;
            etags.update(&etag);
        }
        let (etag, count) = (etags.finalize(), named.len() as u32);
        let live = self.get(key).await?;
        live.filter(|live| live.etag == etag && live.parts == count)
            .ok_or(Refused::NoUpload)
    }

    async fn named_parts(&self, id: &str, named: &[Named]) -> Result<Vec<Live>, Refused> {
        let parts = futures::stream::iter(named.to_vec()).map(|wanted| async move {
            let part = self.get(&keys::part(id, wanted.number)).await?;
            part.filter(|part| part.tag() == wanted.tag)
                .ok_or(Refused::NoPart(wanted.number))
        });
        parts.buffered(AT_A_TIME).try_collect().await
    }

    /// Removes an upload and what was uploaded for it. Returns false when there is none.
    pub(crate) async fn abort_upload(self: &Arc<Self>, key: &str, id: &str) -> Result<bool, Error> {
        let record = keys::upload(key, id);
        if self.get(&record).await?.is_none() {
            return Ok(false);
        }
        self.delete(record, Condition::Always).await?;
        let (this, id) = (Arc::clone(self), id.to_owned());
        self.cluster().node().tasks().spawn(async move {
            if let Err(error) = this.delete_parts(&id).await {
                debug!(id, %error, "parts of an upload stay for now");
            }
        });
        Ok(true)
    }

    async fn delete_parts(self: &Arc<Self>, id: &str) -> Result<(), Error> {
        loop {
            let start = Start::Beginning;
            let (found, more) = self.records(keys::parts(id), start, PAGE).await?;
            self.delete_all(found.into_iter().map(|(key, _)| key))
                .await?;
            if !more {
                return Ok(());
            }
        }
    }

    async fn delete_all(self: &Arc<Self>, keys: impl Iterator<Item = String>) -> Result<(), Error> {
        let deletes = keys.map(|key| self.delete(key, Condition::Always));
        let mut deletes = futures::stream::iter(deletes).buffer_unordered(AT_A_TIME);
        while deletes.try_next().await?.is_some() {}
        Ok(())
    }

    /// Removes uploads begun longer than `age` ago, and parts whose upload is gone.
    pub(crate) async fn expire_uploads(self: &Arc<Self>, age: Duration) -> Result<(), Error> {
        // An upload is recorded before its parts are, so none that has parts in the first list is missing in the
        // second one, unless it was removed.
        let parts = self.all_records(keys::PARTS).await?;
        let uploads = self.all_records(keys::UPLOADS).await?;
        let born = now_millis().saturating_sub(age.as_millis() as u64);
        let mut known = BTreeSet::new();
        for (record, about) in &uploads {
            let Some((key, id)) = keys::parse_upload(record) else {
                continue;
            };
            if about.last_modified_ms < born {
                info!(key, id, "removing an upload that nobody has completed");
                self.abort_upload(key, id).await?;
            }
            known.insert(id);
        }
        let strays = parts.into_iter().map(|(key, _)| key);
        let strays =
            strays.filter(|key| keys::parse_part(key).is_some_and(|(id, _)| !known.contains(id)));
        self.delete_all(strays).await
    }

    async fn all_records(&self, prefix: &str) -> Result<Vec<(String, Summary)>, Error> {
        let mut all = Vec::new();
        let mut start = Start::Beginning;
        loop {
            let (found, more) = self.records(prefix.to_owned(), start, PAGE).await?;
            all.extend(found);
            match all.last() {
                Some((last, _)) if more => start = Start::After(last.clone()),
                _ => return Ok(all),
            }
        }
    }
}

/// The object that the parts make.
fn compose(
    named: &[Named],
    parts: &[Live],
    headers: Headers,
    max_bytes: u64,
) -> Result<Live, Refused> {
    let mut new = Live {
        headers,
        parts: parts.len() as u32,
        ..Live::default()
    };
    let mut etags = Md5::new();
    let last = named.last().map(|part| part.number);
    for (part, Named { number, .. }) in parts.iter().zip(named) {
        if part.size < MIN_PART_BYTES && Some(*number) != last {
            return Err(Refused::PartTooSmall(*number));
        }
        new.blobs.extend(&part.blobs);
        new.size += part.size;
        etags.update(&part.etag);
    }
    if new.size > max_bytes {
        return Err(Refused::TooLarge);
    }
    new.etag = etags.finalize();
    Ok(new)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(byte: u8, size: u64) -> Live {
        Live {
            size,
            etag: [byte; 16],
            ..Live::default()
        }
    }

    #[test]
    fn an_object_of_parts_has_their_size_and_the_sum_of_their_sums() {
        let named = [1, 7].map(|number| Named {
            number,
            tag: String::new(),
        });
        let large = MIN_PART_BYTES;
        let compose = |parts: &[Live], max| compose(&named, parts, Headers::default(), max);
        let made = compose(&[part(1, large), part(2, 3)], u64::MAX).unwrap();
        assert_eq!((made.size, made.parts), (large + 3, 2));
        let sum = Md5::checksum(&[[1; 16], [2; 16]].concat());
        assert_eq!(made.tag(), format!("{}-2", hex::encode(sum)));
        let small = compose(&[part(1, 3), part(2, large)], u64::MAX);
        assert_eq!(small, Err(Refused::PartTooSmall(1)));
        let large = compose(&[part(1, large), part(2, 3)], large);
        assert_eq!(large, Err(Refused::TooLarge));
    }
}
