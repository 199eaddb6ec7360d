//! One node's own part of the store: its blobs, its registers, its ballots, and the rule that ties them together.
//!
//! The rule (I1): a node accepts a live version only when all its blobs are durable here. [`Node::accept`] is the one
//! place that upholds it. A node that is being rebuilt also takes over versions whose blobs cannot be had
//! ([`Node::adopt`]): it owes them, as if they had been damaged here, and a scrub fetches them.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex as SyncMutex};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::{Mutex, Semaphore};
use tokio::task::JoinHandle;
use tracing::{error, warn};

use crate::ballot::{Ballot, Counter, Next};
use crate::blobs::Blobs;
use crate::blobs::space::{Reserve, Room};
use crate::error::Failure;
use crate::index::leftovers::Tombstone;
use crate::index::{self, Index};
use crate::metrics::Counters;
use crate::peer::{Peer, now_micros};
use crate::register::Nack;
use crate::scrub::Scrub;
use crate::standing::{self, Standing};
use crate::tasks::Tasks;
use crate::version::{BlobId, Version};
use crate::wire::{
    Accept, FeedEnd, FeedPage, FeedQuery, Fence, ListPage, Listing, Prepare, Promise,
};

pub(crate) mod bytes;
mod checking;
mod joining;
mod rebuilding;
mod staging;
mod unused;

use bytes::{Pull, Pulled};
use staging::Staging;

/// How long to wait for one node before another is asked as well: far above a healthy answer for an image, far
/// below what a visitor notices.
pub(crate) const HEDGE: Duration = Duration::from_millis(150);
/// Blobs fetched from peers at one time, each piece by piece.
const PULLS: usize = 16;
const KIB: u64 = 1024;
/// Reads up to this size wait for no turn: they are over soon, and would wait behind large ones.
const SMALL_READ: u64 = 64 * KIB;

/// What became of an accept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Accepting {
    Accepted,
    Refused(Nack),
    /// The blobs are not here and could not be fetched.
    MissingBlob,
}

/// How a node treats its disk.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Disk {
    pub(crate) fsync: bool,
    pub(crate) reserve: Reserve,
    /// Bytes of blobs being read at one time, at least a piece.
    pub(crate) read_bytes: u64,
}

/// This process's node.
pub(crate) struct Node {
    id: u8,
    blobs: Arc<Blobs>,
    index: Arc<Index>,
    clock: Mutex<Counter>,
    peers: Vec<Arc<Peer>>,
    /// Blobs that other nodes are sending piece by piece.
    staging: Staging,
    pulls: Semaphore,
    /// Kibibytes of blobs that may be read from disk, and checked, at one time.
    reading: Arc<Semaphore>,
    /// Blobs being fetched, so that many who need one cost one fetch.
    pulling: SyncMutex<HashMap<BlobId, Pull>>,
    tasks: Tasks,
    counters: Counters,
    standing: standing::Current,
    scrub: Scrub,
    fsync: bool,
}

impl Node {
    /// Opens the folder. Blocks.
    pub(crate) fn open(
        id: u8,
        dir: &Path,
        store_id: [u8; 16],
        disk: Disk,
        peers: Vec<Arc<Peer>>,
        tasks: Tasks,
        counters: Counters,
    ) -> Result<Self, index::Error> {
        let index = Index::open(dir, store_id, disk.fsync)?;
        let blobs = Blobs::open_with(dir, disk.fsync, disk.reserve)?;
        index.claim(1 + peers.len())?;
        for peer in &peers {
            peer.remember(Arc::clone(index.members()));
        }
        let alone = peers.is_empty();
        let standing = if index.is_rebuilding()? {
            Standing::Rebuilding
        } else {
            Standing::Joining
        };
        Ok(Self {
            id,
            blobs: Arc::new(blobs),
            clock: Mutex::new(Counter::new(id, index.reserve_found())),
            index: Arc::new(index),
            peers,
            staging: Staging::default(),
            pulls: Semaphore::new(PULLS),
            reading: Arc::new(Semaphore::new((disk.read_bytes / KIB) as usize)),
            pulling: SyncMutex::default(),
            tasks,
            counters,
            standing: standing::Current::new(if alone { Standing::Voting } else { standing }),
            scrub: Scrub::new(dir),
            fsync: disk.fsync,
        })
    }

    pub(crate) fn id(&self) -> u8 {
        self.id
    }

    pub(crate) fn peers(&self) -> &[Arc<Peer>] {
        &self.peers
    }

    /// Work that outlives the request that started it.
    pub(crate) fn tasks(&self) -> &Tasks {
        &self.tasks
    }

    /// Live objects and their size, as this node knows them.
    pub(crate) fn objects(&self) -> (u64, u64) {
        self.index.counts()
    }

    /// Blob files and their bytes on disk.
    pub(crate) fn usage(&self) -> (u64, u64) {
        self.blobs.usage()
    }

    /// What scrubbing of this node has come to.
    pub(crate) fn scrub(&self) -> &Scrub {
        &self.scrub
    }

    /// How full this node's disk is.
    pub(crate) fn space(&self) -> Room {
        self.blobs.space().about()
    }

    /// Whether there is room for `bytes` of blobs.
    pub(crate) fn has_room(&self, bytes: u64) -> bool {
        self.blobs.space().room() >= bytes.max(1)
    }

    /// Whether blobs were refused for want of room, and still would be.
    pub(crate) fn is_full(&self) -> bool {
        self.blobs.space().is_full()
    }

    /// Asks the disk how full it is.
    pub(crate) async fn look_at_space(&self) {
        let blobs = Arc::clone(&self.blobs);
        let looked = move || blobs.space().look().map_err(Failure::Write);
        // Logged there; what is known stays.
        self.own("asking for room on the disk", self.blocking(looked).await)
            .ok();
    }

    /// A ballot above `seen` and above every one this node has used.
    pub(crate) async fn next_ballot(&self, seen: Ballot) -> Result<Ballot, Failure> {
        // A folder that was set back has forgotten which ballots it used.
        self.voting()?;
        let mut clock = self.clock.lock().await;
        loop {
            match clock.next(now_micros(), seen) {
                Next::Ready(ballot) => return Ok(ballot),
                Next::Reserve(upto) => {
                    let reserved = self.index.reserve(upto).await;
                    self.own("reserving ballots", reserved.map_err(Into::into))?;
                    clock.granted(upto);
                }
            }
        }
    }

    pub(crate) async fn read(&self, key: String) -> Result<(Ballot, Option<Version>), Failure> {
        self.voting()?;
        let index = Arc::clone(&self.index);
        let read = self.blocking(move || Ok(index.read(&key)?)).await;
        self.own("reading a register", read)
    }

    pub(crate) async fn list(&self, listing: Listing) -> Result<ListPage, Failure> {
        self.voting()?;
        let index = Arc::clone(&self.index);
        let listed = self.blocking(move || Ok(index.list(&listing)?)).await;
        self.own("listing", listed)
    }

    pub(crate) async fn prepare(&self, prepare: Prepare) -> Result<Result<Promise, Nack>, Failure> {
        self.voting()?;
        let promise = self.index.prepare(prepare.key, prepare.ballot).await;
        self.own("promising", promise.map_err(Into::into))
    }

    pub(crate) fn feed_end(&self) -> FeedEnd {
        FeedEnd {
            feed_id: self.index.feed_id(),
            last_seq: self.index.last_seq(),
        }
    }

    /// A ballot that no promise of this node is above, for one that is being rebuilt.
    pub(crate) fn highest(&self) -> Result<Ballot, Failure> {
        self.voting()?;
        Ok(self.index.highest())
    }

    /// Refuses old ballots from now on, for a node that is being rebuilt.
    pub(crate) async fn fence(&self, fence: &Fence) -> Result<FeedEnd, Failure> {
        self.voting()?;
        let fenced = self.index.fence(fence).await;
        self.own("raising the fence", fenced.map_err(Into::into))?;
        Ok(self.feed_end())
    }

    /// Entries of this node's change feed that node `peer` has yet to look at.
    pub(crate) fn behind(&self, peer: u8) -> u64 {
        self.index.behind(peer)
    }

    /// Up to which change of this node `peer` has looked.
    pub(crate) fn acked(&self, peer: u8) -> u64 {
        self.index.acked(peer)
    }

    /// A page of this node's change feed, after taking note of how far the asking node is.
    pub(crate) async fn feed(&self, query: FeedQuery) -> Result<FeedPage, Failure> {
        if query.feed_id == self.index.feed_id() {
            let noted = self.index.acknowledge(query.puller, query.done).await;
            self.own("noting a cursor", noted.map_err(Into::into))?;
        }
        let index = Arc::clone(&self.index);
        let page = self.blocking(move || Ok(index.feed(&query)?)).await;
        self.own("reading the change feed", page)
    }

    /// Tombstones on this node.
    pub(crate) fn tombstones(&self) -> usize {
        self.index.tombstones()
    }

    /// Tombstones known for `age`, not more than `limit`.
    pub(crate) fn old_tombstones(&self, age: Duration, limit: usize) -> Vec<Tombstone> {
        self.index.old_tombstones(age, limit)
    }

    /// For each tombstone, whether this node knows of nothing else under its key.
    pub(crate) async fn confirm(&self, tombstones: Vec<Tombstone>) -> Result<Vec<bool>, Failure> {
        self.voting()?;
        let index = Arc::clone(&self.index);
        let confirmed = self.blocking(move || Ok(index.confirm(&tombstones)?)).await;
        self.own("confirming tombstones", confirmed)
    }

    /// Drops tombstones that all nodes have confirmed. Returns how many were still there.
    pub(crate) async fn collect(&self, tombstones: Vec<Tombstone>) -> Result<u64, Failure> {
        self.voting()?;
        let collected = self.index.collect(tombstones).await;
        let collected = self.own("collecting tombstones", collected.map_err(Into::into))?;
        self.counters.collected.inc_by(collected);
        Ok(collected)
    }

    /// Drops at most `limit` rows that are nothing but a promise, and that for `age`.
    pub(crate) async fn forget_promises(&self, age: Duration, limit: usize) -> Result<(), Failure> {
        let keys = self.index.old_promises(age, limit);
        if !keys.is_empty() {
            let forgotten = self.index.forget_promises(keys).await;
            self.own("dropping promises", forgotten.map_err(Into::into))?;
        }
        Ok(())
    }

    /// How far `feed` has been pulled.
    pub(crate) async fn pulled(&self, feed: [u8; 16]) -> Result<u64, Failure> {
        let index = Arc::clone(&self.index);
        let pulled = self.blocking(move || Ok(index.pulled(feed)?)).await;
        self.own("reading a cursor", pulled)
    }

    /// Makes durable how far `feed` has been pulled.
    pub(crate) async fn set_pulled(&self, feed: [u8; 16], seq: u64) -> Result<(), Failure> {
        let saved = self.index.set_pulled(feed, seq).await;
        self.own("saving a cursor", saved.map_err(Into::into))
    }

    /// Accepts a version once its blobs are durable here, fetching those that are not.
    pub(crate) async fn accept(self: &Arc<Self>, accept: Accept) -> Result<Accepting, Failure> {
        self.voting()?;
        let pin = self.pin(&accept.version);
        for blob in accept.version.blobs() {
            if self.has_durable(blob.id).await? {
                continue;
            }
            // What is here after all may be of a write that has not ended.
            let pulled = self.pull(*blob, accept.source).await;
            if pulled != Pulled::Here || !self.has_durable(blob.id).await? {
                if !self.is_full() {
                    warn!(key = accept.key, blob = %blob.id, "cannot accept: no node gives the blob");
                }
                return Ok(Accepting::MissingBlob);
            }
        }
        let index = Arc::clone(&self.index);
        let accepted = self.until_durable(pin, async move {
            let accepted = index.accept(accept.key, accept.ballot, accept.version);
            Ok(accepted.await?)
        });
        let accepted = accepted.await;
        Ok(match self.own("accepting", accepted)? {
            Ok(()) => Accepting::Accepted,
            Err(nack) => Accepting::Refused(nack),
        })
    }

    /// Whether a blob is here for good.
    async fn has_durable(&self, id: BlobId) -> Result<bool, Failure> {
        let blobs = Arc::clone(&self.blobs);
        if blobs.is_durable(id) {
            return Ok(true);
        }
        let durable = move || blobs.ensure_durable(id).map_err(Failure::Write);
        let durable = self.blocking(durable).await;
        self.own("looking for a blob", durable)
    }

    /// Runs `work` where waiting for the disk holds up no other request.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Failure> {
        let task: JoinHandle<Result<T, Failure>> = self.tasks.spawn_blocking(work);
        task.await.unwrap_or(Err(Failure::Cancelled))
    }

    /// Counts and logs what failed on this node itself, whoever asked for it: unlike a node that cannot be reached,
    /// somebody has to do something about it. That the disk is full is said once, and not for each blob.
    fn own<T>(&self, doing: &str, done: Result<T, Failure>) -> Result<T, Failure> {
        if let Err(failure) = &done
            && !failure.is_full()
        {
            self.counters.local_failures.inc();
            error!("{doing} failed on this node: {}", failure.chain());
        }
        done
    }
}
