//! One node's own part of the store: its blobs, its registers, its ballots, and the rule that ties them together.
//!
//! The rule (I1): a node accepts a live version only when all its blobs are durable here. [`Node::accept`] is the one
//! place that upholds it.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use serde::{Deserialize, Serialize};
use tokio::sync::{Mutex, Semaphore};
use tokio_util::task::TaskTracker;
use tracing::warn;

use crate::ballot::{Ballot, Counter, Next};
use crate::blobs::{Blobs, ReadError};
use crate::error::Failure;
use crate::index::{self, Index};
use crate::peer::Peer;
use crate::register::Nack;
use crate::version::{BlobId, BlobRef, Version};
use crate::wire::{Accept, ListPage, Listing, Prepare};

/// How long to wait for one node before another is asked as well: far above a healthy answer for an image, far
/// below what a visitor notices.
pub(crate) const HEDGE: Duration = Duration::from_millis(150);
/// Blobs fetched from peers at one time for accepting; each may be as large as an object.
const PULLS: usize = 4;

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
    pulls: Semaphore,
    tasks: TaskTracker,
}

impl Node {
    /// Opens the folder. Blocks.
    pub(crate) fn open(
        id: u8,
        dir: &Path,
        store_id: [u8; 16],
        fsync: bool,
        peers: Vec<Arc<Peer>>,
        tasks: TaskTracker,
    ) -> Result<Self, index::Error> {
        let index = Index::open(dir, store_id, fsync)?;
        let blobs = Blobs::open(dir, fsync)?;
        Ok(Self {
            id,
            blobs: Arc::new(blobs),
            clock: Mutex::new(Counter::new(id, index.reserve_found())),
            index: Arc::new(index),
            peers,
            pulls: Semaphore::new(PULLS),
            tasks,
        })
    }

    pub(crate) fn id(&self) -> u8 {
        self.id
    }

    pub(crate) fn peers(&self) -> &[Arc<Peer>] {
        &self.peers
    }

    /// Work that outlives the request that started it.
    pub(crate) fn tasks(&self) -> &TaskTracker {
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
            let since = SystemTime::now().duration_since(UNIX_EPOCH);
            let wall = since.map_or(0, |since| since.as_micros() as u64);
            match clock.next(wall, seen) {
                Next::Ready(ballot) => return Ok(ballot),
                Next::Reserve(upto) => {
                    self.index.reserve(upto).await?;
                    clock.granted(upto);
                }
            }
        }
    }

    pub(crate) async fn read(&self, key: String) -> Result<(Ballot, Option<Version>), Failure> {
        let index = Arc::clone(&self.index);
        Ok(blocking(move || index.read(&key)).await??)
    }

    pub(crate) async fn list(&self, listing: Listing) -> Result<ListPage, Failure> {
        let index = Arc::clone(&self.index);
        Ok(blocking(move || index.list(&listing)).await??)
    }

    pub(crate) async fn prepare(
        &self,
        prepare: Prepare,
    ) -> Result<Result<(Ballot, Option<Version>), Nack>, Failure> {
        Ok(self.index.prepare(prepare.key, prepare.ballot).await?)
    }

    /// Accepts a version once its blobs are durable here, fetching those that are not.
    pub(crate) async fn accept(&self, accept: Accept) -> Result<Accepting, Failure> {
        for blob in accept.version.blobs() {
            let (blobs, id) = (Arc::clone(&self.blobs), blob.id);
            let here = blocking(move || blobs.ensure_durable(id)).await?;
            if here.map_err(Failure::Write)? {
                continue;
            }
            let _permit = self.pulls.acquire().await.map_err(|_| Failure::Cancelled)?;
            let Some(data) = self.fetch(blob, accept.source).await else {
                warn!(key = accept.key, blob = %blob.id, "cannot accept: no node gives the blob");
                return Ok(Accepting::MissingBlob);
            };
            self.put_blob(blob.id, data).await?;
        }
        let accepted = self.index.accept(accept.key, accept.ballot, accept.version);
        Ok(match accepted.await? {
            Ok(()) => Accepting::Accepted,
            Err(nack) => Accepting::Refused(nack),
        })
    }

    /// Writes a blob; durable when this returns.
    pub(crate) async fn put_blob(&self, id: BlobId, data: Bytes) -> Result<(), Failure> {
        let blobs = Arc::clone(&self.blobs);
        let written = blocking(move || blobs.put(id, &data)).await?;
        written.map_err(Failure::Write)
    }

    /// Reads part of a blob from this node's disk.
    pub(crate) async fn get_blob(
        &self,
        blob: BlobRef,
        range: Range<u64>,
    ) -> Result<Bytes, Failure> {
        let blobs = Arc::clone(&self.blobs);
        Ok(blocking(move || blobs.read(&blob, range)).await??)
    }

    /// Reads part of a blob from this node's disk, or from a peer when it is not intact here; a copy that had to come
    /// from a peer is kept.
    pub(crate) async fn get_blob_anywhere(
        self: &Arc<Self>,
        blob: BlobRef,
        range: Range<u64>,
    ) -> Option<Bytes> {
        match self.get_blob(blob, range.clone()).await {
            Ok(data) => return Some(data),
            Err(Failure::Read(ReadError::Missing)) => {}
            Err(failure) => {
                let failure = anyhow::Error::new(failure);
                warn!(blob = %blob.id, "own copy of a blob is not usable: {failure:#}");
            }
        }
        let data = self.fetch(&blob, self.id).await?;
        let (node, copy) = (Arc::clone(self), data.clone());
        self.tasks.spawn(async move {
            if let Err(failure) = node.put_blob(blob.id, copy).await {
                let failure = anyhow::Error::new(failure);
                warn!(blob = %blob.id, "cannot repair a blob: {failure:#}");
            }
        });
        Some(data.slice(range.start as usize..range.end as usize))
    }

    /// Fetches a blob from the peers: `first` and those believed up before the others, each next one after a pause or
    /// a failure, so that a frozen peer costs the pause.
    async fn fetch(&self, blob: &BlobRef, first: u8) -> Option<Bytes> {
        let mut peers: Vec<_> = self.peers.iter().collect();
        peers.sort_by_key(|peer| (!peer.is_up(), peer.node() != first));
        let mut attempts: FuturesUnordered<_> = peers
            .into_iter()
            .enumerate()
            .map(|(turn, peer)| async move {
                tokio::time::sleep(HEDGE * turn as u32).await;
                peer.get_blob(blob).await
            })
            .collect();
        while let Some(fetched) = attempts.next().await {
            if let Ok(data) = fetched {
                return Some(data);
            }
        }
        None
    }
}

/// Runs `work` where waiting for the disk holds up no other request.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Failure> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|_| Failure::Cancelled)
}
