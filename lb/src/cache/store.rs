//! The memory behind the cache: bounded by bytes, and what was not asked for the longest goes first.
//!
//! Pingora's own (`MemCache`) is for tests: it has no bound, copies each body for each hit, and hands on the beginning of a
//! body whose backend died as if it were whole. Here a reply is there once it is whole, and its room is taken before its
//! first byte comes, so that the bound holds for those that are on their way as well.

use std::{
    any::Any,
    collections::{BTreeMap, HashMap},
    ops::Range,
    sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError},
    time::SystemTime,
};

use async_trait::async_trait;
use bytes::Bytes;
use pingora::{
    Error, ErrorType, Result,
    cache::{
        CacheKey, CacheMeta, HitHandler, MissHandler, PurgeOutcome, PurgeTarget, PurgeType,
        Storage,
        key::{CacheHashKey, HashBinary},
        storage::{HandleHit, HandleMiss, MissFinishType},
        trace::SpanHandle,
    },
    http::ResponseHeader,
};
use tokio::task;

use super::length;
use crate::metrics::CacheNumbers;

/// What a reply costs beside its bytes: entries in two tables, and what the allocator wastes.
const OVERHEAD: usize = 512;

/// Bodies are handed on in pieces of this size, with others between, so that compressing a large one does not hold up
/// a thread.
const PIECE_BYTES: usize = 64 * 1024;

/// What a header of a reply costs beside its name and value: an entry in each of two tables.
const HEADER_OVERHEAD: usize = 200;

/// What Pingora's metadata of a reply become when the head is left out.
static NO_HEAD: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let head = ResponseHeader::build(200, Some(0)).expect("it is a status");
    let now = SystemTime::now();
    let packed = CacheMeta::new(now, now, 0, 0, head).serialize();
    packed.expect("an empty head can be packed").1
});

/// What is known of a reply beside its body. Pingora lends its metadata only as bytes, the head compressed: unpacking that
/// for each hit was a quarter of what the hit cost, so the head is kept as it is.
#[derive(Debug)]
struct Meta {
    times: Vec<u8>,
    head: ResponseHeader,
}

/// Replies, up to so many bytes.
pub struct Store(Arc<Mutex<Shelf>>);

struct Shelf {
    most: usize,
    /// By the replies and by those on their way.
    used: usize,
    /// By those on their way, which cannot be removed.
    reserved: usize,
    replies: HashMap<HashBinary, Reply>,
    /// The one that was not asked for the longest is the first.
    order: BTreeMap<u64, HashBinary>,
    turn: u64,
    numbers: CacheNumbers,
}

struct Reply {
    meta: Arc<Meta>,
    body: Bytes,
    turn: u64,
}

/// A reply that is sent from here.
struct Hit {
    body: Bytes,
    rest: Range<usize>,
    begun: bool,
}

/// A reply on its way here.
struct Arrival {
    shelf: Arc<Mutex<Shelf>>,
    key: HashBinary,
    meta: Arc<Meta>,
    body: Vec<u8>,
    length: usize,
    reserved: usize,
}

impl Store {
    /// An empty one.
    pub fn new(most: usize, numbers: CacheNumbers) -> Self {
        Self(Arc::new(Mutex::new(Shelf {
            most,
            used: 0,
            reserved: 0,
            replies: HashMap::new(),
            order: BTreeMap::new(),
            turn: 0,
            numbers,
        })))
    }

    /// Holds so many bytes from now on.
    pub fn resize(&self, most: usize) {
        let mut shelf = lock(&self.0);
        shelf.most = most;
        shelf.shrink(most);
        shelf.tell();
    }
}

/// A panic elsewhere leaves at worst a count that is too high.
fn lock(shelf: &Mutex<Shelf>) -> MutexGuard<'_, Shelf> {
    shelf.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Meta {
    fn of(meta: &CacheMeta) -> Result<Arc<Self>> {
        Ok(Arc::new(Self {
            times: meta.serialize()?.0,
            head: meta.response_header_copy(),
        }))
    }

    fn unpacked(&self) -> Result<CacheMeta> {
        let mut meta = CacheMeta::deserialize(&self.times, &NO_HEAD)?;
        *meta.response_header_mut() = self.head.clone();
        Ok(meta)
    }

    fn weight(&self) -> usize {
        let headers = self.head.headers.iter();
        let headers = headers.map(|(name, value)| name.as_str().len() + value.len());
        let headers: usize = headers.map(|bytes| bytes + HEADER_OVERHEAD).sum();
        self.times.len() + headers
    }
}

impl Reply {
    fn weight(&self) -> usize {
        weight(&self.meta, self.body.len())
    }
}

fn weight(meta: &Meta, body: usize) -> usize {
    meta.weight() + body + OVERHEAD
}

impl Shelf {
    /// Whether there is room for so much more, once others have gone. None goes for what does not fit all the same.
    fn make_room(&mut self, more: usize) -> bool {
        let fits = self.reserved + more <= self.most;
        if fits {
            self.shrink(self.most - more);
        }
        fits
    }

    fn shrink(&mut self, most: usize) {
        while self.used > most
            && let Some((_, oldest)) = self.order.pop_first()
        {
            self.remove(&oldest);
            self.numbers.evicted();
        }
    }

    fn remove(&mut self, key: &HashBinary) -> bool {
        let Some(reply) = self.replies.remove(key) else {
            return false;
        };
        self.order.remove(&reply.turn);
        self.used -= reply.weight();
        true
    }

    /// Its room has been taken before.
    fn put(&mut self, key: HashBinary, meta: Arc<Meta>, body: Bytes) {
        self.remove(&key);
        self.turn += 1;
        let turn = self.turn;
        self.order.insert(turn, key);
        self.replies.insert(key, Reply { meta, body, turn });
        self.tell();
    }

    fn get(&mut self, key: &HashBinary) -> Option<(Arc<Meta>, Bytes)> {
        let reply = self.replies.get_mut(key)?;
        self.order.remove(&reply.turn);
        self.turn += 1;
        reply.turn = self.turn;
        self.order.insert(reply.turn, *key);
        Some((Arc::clone(&reply.meta), reply.body.clone()))
    }

    fn tell(&self) {
        self.numbers.holds(self.used, self.replies.len());
    }
}

#[async_trait]
impl Storage for Store {
    async fn lookup(
        &'static self,
        key: &CacheKey,
        _trace: &SpanHandle,
    ) -> Result<Option<(CacheMeta, HitHandler)>> {
        let Some((meta, body)) = lock(&self.0).get(&key.combined_bin()) else {
            return Ok(None);
        };
        let rest = 0..body.len();
        Ok(Some((
            meta.unpacked()?,
            Box::new(Hit {
                body,
                rest,
                begun: false,
            }),
        )))
    }

    async fn get_miss_handler(
        &'static self,
        key: &CacheKey,
        meta: &CacheMeta,
        _trace: &SpanHandle,
    ) -> Result<MissHandler> {
        let Some(length) = length(meta.response_header()) else {
            return Err(full("a reply of unknown length"));
        };
        let meta = Meta::of(meta)?;
        let reserved = weight(&meta, length);
        let mut shelf = lock(&self.0);
        if !shelf.make_room(reserved) {
            return Err(full("no room in the cache"));
        }
        shelf.used += reserved;
        shelf.reserved += reserved;
        shelf.tell();
        Ok(Box::new(Arrival {
            shelf: Arc::clone(&self.0),
            key: key.combined_bin(),
            meta,
            body: Vec::with_capacity(length),
            length,
            reserved,
        }))
    }

    async fn purge(
        &'static self,
        target: PurgeTarget<'_>,
        _type: PurgeType,
        _trace: &SpanHandle,
    ) -> Result<PurgeOutcome> {
        let mut shelf = lock(&self.0);
        let removed = shelf.remove(&target.key().combined_bin());
        shelf.tell();
        Ok(match removed {
            true => PurgeOutcome::Purged(None),
            false => PurgeOutcome::NotFound,
        })
    }

    async fn update_meta(
        &'static self,
        key: &CacheKey,
        meta: &CacheMeta,
        _trace: &SpanHandle,
    ) -> Result<bool> {
        let meta = Meta::of(meta)?;
        let mut shelf = lock(&self.0);
        let key = key.combined_bin();
        // It may have gone since it was looked up.
        let Some((_, body)) = shelf.get(&key) else {
            return Ok(false);
        };
        shelf.remove(&key);
        let weight = weight(&meta, body.len());
        let fits = shelf.make_room(weight);
        if fits {
            shelf.used += weight;
            shelf.put(key, meta, body);
        }
        shelf.tell();
        Ok(fits)
    }

    fn as_any(&self) -> &(dyn Any + Send + Sync) {
        self
    }
}

#[async_trait]
impl HandleHit for Hit {
    async fn read_body(&mut self) -> Result<Option<Bytes>> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        if self.begun {
            task::yield_now().await;
        }
        self.begun = true;
        let end = self.rest.end.min(self.rest.start + PIECE_BYTES);
        let piece = self.body.slice(self.rest.start..end);
        self.rest.start = end;
        Ok(Some(piece))
    }

    async fn finish(
        self: Box<Self>,
        _storage: &'static (dyn Storage + Sync),
        _key: &CacheKey,
        _trace: &SpanHandle,
    ) -> Result<()> {
        Ok(())
    }

    fn can_seek(&self) -> bool {
        true
    }

    fn seek(&mut self, start: usize, end: Option<usize>) -> Result<()> {
        let end = end.map_or(self.body.len(), |end| end.min(self.body.len()));
        if start >= end {
            return Err(full("a part that is not there"));
        }
        self.rest = start..end;
        Ok(())
    }

    fn as_any(&self) -> &(dyn Any + Send + Sync) {
        self
    }

    fn as_any_mut(&mut self) -> &mut (dyn Any + Send + Sync) {
        self
    }
}

#[async_trait]
impl HandleMiss for Arrival {
    async fn write_body(&mut self, data: Bytes, _eof: bool) -> Result<()> {
        if self.body.len() + data.len() > self.length {
            return Err(full("more than its length"));
        }
        self.body.extend_from_slice(&data);
        Ok(())
    }

    async fn finish(mut self: Box<Self>) -> Result<MissFinishType> {
        if self.body.len() != self.length {
            return Err(full("less than its length"));
        }
        let (meta, body) = (Arc::clone(&self.meta), std::mem::take(&mut self.body));
        let mut shelf = lock(&self.shelf);
        shelf.reserved -= std::mem::take(&mut self.reserved);
        shelf.put(self.key, meta, body.into());
        Ok(MissFinishType::Created(self.length))
    }
}

impl Drop for Arrival {
    fn drop(&mut self) {
        if self.reserved > 0 {
            let mut shelf = lock(&self.shelf);
            shelf.used -= self.reserved;
            shelf.reserved -= self.reserved;
            shelf.tell();
        }
    }
}

fn full(why: &'static str) -> Box<Error> {
    Error::explain(ErrorType::InternalError, why)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn meta(headers: &[(&'static str, &'static str)]) -> CacheMeta {
        let mut head = ResponseHeader::build(203, None).unwrap();
        for (name, value) in headers {
            head.append_header(*name, *value).unwrap();
        }
        let now = SystemTime::now();
        let (fresh, created) = (now + Duration::from_secs(9), now - Duration::from_secs(7));
        let mut meta = CacheMeta::new(fresh, created, 5, 6, head);
        meta.set_variance([3; 16]);
        meta
    }

    #[test]
    fn what_is_kept_comes_out_as_it_was_put_in() {
        let put = meta(&[("X-Two", "a"), ("X-Two", "b"), ("ETag", "\"1\"")]);
        let out = Meta::of(&put).unwrap().unpacked().unwrap();
        assert_eq!(out.response_header().status, 203);
        assert_eq!(out.headers(), put.headers());
        let times = |meta: &CacheMeta| (meta.fresh_until(), meta.created(), meta.provenance());
        assert_eq!(times(&out), times(&put));
        let stale = |meta: &CacheMeta| {
            let limits = (meta.stale_while_revalidate_sec(), meta.stale_if_error_sec());
            (limits, meta.variance())
        };
        assert_eq!(stale(&out), stale(&put));
    }

    #[tokio::test]
    async fn a_large_body_comes_out_whole_and_in_order_from_wherever_it_is_read() {
        let body: Vec<_> = (0..PIECE_BYTES * 5 / 2)
            .map(|at| (at % 251) as u8)
            .collect();
        for (start, end) in [
            (0, None),
            (1, Some(PIECE_BYTES + 2)),
            (PIECE_BYTES * 2, None),
        ] {
            let mut hit = Hit {
                body: body.clone().into(),
                rest: 0..body.len(),
                begun: false,
            };
            hit.seek(start, end).unwrap();
            let mut read = Vec::new();
            while let Some(piece) = hit.read_body().await.unwrap() {
                assert!((1..=PIECE_BYTES).contains(&piece.len()));
                read.extend_from_slice(&piece);
            }
            assert!(read == body[start..end.unwrap_or(body.len())], "{start}");
        }
    }

    #[test]
    fn nothing_is_removed_for_a_reply_that_does_not_fit_beside_those_on_their_way() {
        let store = Store::new(10_000, CacheNumbers::new().unwrap());
        let mut shelf = lock(&store.0);
        let body = Bytes::from(vec![7; 1000]);
        let meta = Meta::of(&meta(&[])).unwrap();
        shelf.used += weight(&meta, body.len());
        shelf.put([1; 16], meta, body);
        shelf.used += 6_000;
        shelf.reserved += 6_000;
        assert!(!shelf.make_room(5_000));
        assert!(shelf.get(&[1; 16]).is_some());
        assert!(shelf.make_room(4_000));
        assert!(shelf.get(&[1; 16]).is_none());
        assert_eq!(shelf.used, 6_000);
    }
}
