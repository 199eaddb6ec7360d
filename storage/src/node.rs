//! One node's own part of the store: its blobs, its registers, its ballots, and the rule that ties them together.
//!
//! The rule (I1): a node accepts a live version only when all its blobs are durable here. [`Node::accept`] is the one
//! place that upholds it.

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
use crate::error::Failure;
use crate::index::leftovers::Tombstone;
use crate::index::{self, Index};
use crate::metrics::Counters;
use crate::peer::{Peer, now_micros};
use crate::register::Nack;
use crate::tasks::Tasks;
use crate::version::{BlobId, BlobRef, Version};
use crate::wire::{Accept, FeedPage, FeedQuery, ListPage, Listing, Pong, Prepare, Promise};

pub(crate) mod bytes;
mod staging;

use bytes::Pull;
use staging::Staging;

/// How long to wait for one node before another is asked as well: far above a healthy answer for an image, far
/// below what a visitor notices.
pub(crate) const HEDGE: Duration = Duration::from_millis(150);
/// Blobs fetched from peers at one time, each piece by piece.
const PULLS: usize = 16;

/// What became of an accept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Accepting {
    Accepted,
    Refused(Nack),
    /// The blobs are not here and could not be fetched.
    MissingBlob,
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
    /// Blobs being fetched, so that many who need one cost one fetch.
    pulling: SyncMutex<HashMap<BlobId, Pull>>,
    tasks: Tasks,
    counters: Counters,
    fsync: bool,
}

impl Node {
    /// Opens the folder. Blocks.
    pub(crate) fn open(
        id: u8,
        dir: &Path,
        store_id: [u8; 16],
        fsync: bool,
        peers: Vec<Arc<Peer>>,
        tasks: Tasks,
        counters: Counters,
    ) -> Result<Self, index::Error> {
        let index = Index::open(dir, store_id, fsync)?;
        let blobs = Blobs::open(dir, fsync)?;
        Ok(Self {
            id,
            blobs: Arc::new(blobs),
            clock: Mutex::new(Counter::new(id, index.reserve_found())),
            index: Arc::new(index),
            peers,
            staging: Staging::default(),
            pulls: Semaphore::new(PULLS),
            pulling: SyncMutex::default(),
            tasks,
            counters,
            fsync,
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

    /// A ballot above `seen` and above every one this node has used.
    pub(crate) async fn next_ballot(&self, seen: Ballot) -> Result<Ballot, Failure> {
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
        let index = Arc::clone(&self.index);
        let read = self.blocking(move || Ok(index.read(&key)?)).await;
        self.own("reading a register", read)
    }

    pub(crate) async fn list(&self, listing: Listing) -> Result<ListPage, Failure> {
        let index = Arc::clone(&self.index);
        let listed = self.blocking(move || Ok(index.list(&listing)?)).await;
        self.own("listing", listed)
    }

    pub(crate) async fn prepare(&self, prepare: Prepare) -> Result<Result<Promise, Nack>, Failure> {
        let promise = self.index.prepare(prepare.key, prepare.ballot).await;
        self.own("promising", promise.map_err(Into::into))
    }

    /// What a heartbeat of node `peer` is answered.
    pub(crate) fn pong(&self, peer: u8) -> Pong {
        Pong {
            store_id: self.index.store_id(),
            last_seq: self.index.last_seq(),
            behind: self.behind(peer),
        }
    }

    /// Entries of this node's change feed that node `peer` has yet to look at.
    pub(crate) fn behind(&self, peer: u8) -> u64 {
        self.index.behind(peer)
    }

    /// A page of this node's change feed, after taking note of how far the asking node is.
    pub(crate) async fn feed(&self, query: FeedQuery) -> Result<FeedPage, Failure> {
        if query.of == self.index.store_id() {
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

    /// Tombstones accepted before `before_micros`, not more than `limit`.
    pub(crate) fn old_tombstones(&self, before_micros: u64, limit: usize) -> Vec<Tombstone> {
        self.index.old_tombstones(before_micros, limit)
    }

    /// For each tombstone, whether this node knows of nothing else under its key.
    pub(crate) async fn confirm(&self, tombstones: Vec<Tombstone>) -> Result<Vec<bool>, Failure> {
        let index = Arc::clone(&self.index);
        let confirmed = self.blocking(move || Ok(index.confirm(&tombstones)?)).await;
        self.own("confirming tombstones", confirmed)
    }

    /// Drops tombstones that all nodes have confirmed. Returns how many were still there.
    pub(crate) async fn collect(&self, tombstones: Vec<Tombstone>) -> Result<u64, Failure> {
        let collected = self.index.collect(tombstones).await;
        let collected = self.own("collecting tombstones", collected.map_err(Into::into))?;
        self.counters.collected.inc_by(collected);
        Ok(collected)
    }

    /// Drops at most `limit` rows that are nothing but a promise from before `before_micros`.
    pub(crate) async fn forget_promises(
        &self,
        before_micros: u64,
        limit: usize,
    ) -> Result<(), Failure> {
        let keys = self.index.old_promises(before_micros, limit);
        if !keys.is_empty() {
            let forgotten = self.index.forget_promises(keys).await;
            self.own("dropping promises", forgotten.map_err(Into::into))?;
        }
        Ok(())
    }

    /// How far the feed of `store` has been pulled.
    pub(crate) async fn pulled(&self, store: [u8; 16]) -> Result<u64, Failure> {
        let index = Arc::clone(&self.index);
        let pulled = self.blocking(move || Ok(index.pulled(store)?)).await;
        self.own("reading a cursor", pulled)
    }

    /// Makes durable how far the feed of `store` has been pulled.
    pub(crate) async fn set_pulled(&self, store: [u8; 16], seq: u64) -> Result<(), Failure> {
        let saved = self.index.set_pulled(store, seq).await;
        self.own("saving a cursor", saved.map_err(Into::into))
    }

    /// Accepts a version once its blobs are durable here, fetching those that are not.
    pub(crate) async fn accept(self: &Arc<Self>, accept: Accept) -> Result<Accepting, Failure> {
        for blob in accept.version.blobs() {
            let (blobs, id) = (Arc::clone(&self.blobs), blob.id);
            let here = self
                .blocking(move || blobs.ensure_durable(id).map_err(Failure::Write))
                .await;
            if self.own("looking for a blob", here)? {
                continue;
            }
            if !self.pull(*blob, accept.source).await {
                warn!(key = accept.key, blob = %blob.id, "cannot accept: no node gives the blob");
                return Ok(Accepting::MissingBlob);
            }
        }
        let accepted = self.index.accept(accept.key, accept.ballot, accept.version);
        let accepted = accepted.await.map_err(Into::into);
        Ok(match self.own("accepting", accepted)? {
            Ok(()) => Accepting::Accepted,
            Err(nack) => Accepting::Refused(nack),
        })
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
    /// somebody has to do something about it.
    fn own<T>(&self, doing: &str, done: Result<T, Failure>) -> Result<T, Failure> {
        if let Err(failure) = &done {
            self.counters.local_failures.inc();
            error!("{doing} failed on this node: {}", failure.chain());
        }
        done
    }
}
