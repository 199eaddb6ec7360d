//! The bytes of blobs on one node: written whole or in pieces, read from this disk or from a peer.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures::future::{BoxFuture, Shared};
use futures::stream::FuturesUnordered;
use futures::{FutureExt as _, StreamExt as _};
use tokio::sync::oneshot;
use tokio::time::timeout;
use tracing::debug;

use super::{HEDGE, KIB, Node, SMALL_READ};
use crate::blobs::{ReadError, Staged};
use crate::error::{Error, Failure};
use crate::version::{BlobId, BlobRef};
use crate::wire::PIECE_BYTES;

/// What became of fetching a blob that was missing here.
pub(super) type Pull = Shared<BoxFuture<'static, Pulled>>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pulled {
    Here,
    /// All other nodes answered, and none has it intact.
    Nowhere,
    /// This node has no room for it.
    NoRoom,
    /// It may be had later.
    Failed,
}

impl Node {
    /// Writes a blob; durable when this returns.
    pub(crate) async fn put_blob(&self, id: BlobId, data: Bytes) -> Result<(), Failure> {
        let blobs = Arc::clone(&self.blobs);
        let written = self
            .blocking(move || blobs.put(id, &data).map_err(Failure::Write))
            .await;
        self.own("writing a blob", written)
    }

    /// Writes the next piece of a blob, or the first, which begins it.
    pub(crate) async fn stage(&self, id: BlobId, offset: u64, data: Bytes) -> Result<(), Failure> {
        let begun = self.staging.take(id);
        if begun.as_ref().map_or(0, Staged::len) != offset {
            drop(begun); // its sender and this node do not agree, so it can never end
            return Err(Failure::NotStaged);
        }
        let blobs = Arc::clone(&self.blobs);
        let written = self.blocking(move || {
            let mut staged = begun
                .map_or_else(|| blobs.stage(id, data.len() as u64), Ok)
                .map_err(Failure::Write)?;
            staged.append(&data).map_err(Failure::Write)?;
            Ok(staged)
        });
        let staged = self.own("writing a piece of a blob", written.await)?;
        let staged = self.flush(staged);
        if self.staging.put(staged).is_some() {
            // Given up meanwhile, or there are two senders of one blob, which no node of ours is.
            return Err(Failure::NotStaged);
        }
        Ok(())
    }

    /// Starts to sync what has been written so far, which holds up nobody.
    fn flush(&self, mut staged: Staged) -> Staged {
        if self.fsync
            && let Some(flush) = staged.flush()
        {
            self.tasks.spawn_blocking(move || flush.run());
        }
        staged
    }

    /// Ends a blob that came in pieces; durable when this returns.
    pub(crate) async fn finish(&self, blob: BlobRef) -> Result<(), Failure> {
        let staged = self.staging.take(blob.id).ok_or(Failure::NotStaged)?;
        let blobs = Arc::clone(&self.blobs);
        let written = self
            .blocking(move || blobs.finish(staged, &blob).map_err(Failure::Write))
            .await;
        self.own("ending a blob", written)
    }

    /// Gives up a blob that came in pieces.
    pub(crate) async fn abort(&self, id: BlobId) -> Result<(), Failure> {
        let staged = self.staging.give_up(id);
        self.blocking(move || {
            drop(staged);
            Ok(())
        })
        .await
    }

    /// Gives up the blobs whose senders have fallen silent.
    pub(crate) async fn sweep(&self) {
        let abandoned = self.staging.abandoned();
        if !abandoned.is_empty() {
            let count = abandoned.len();
            debug!(count, "giving up {count} blobs whose rest never came");
            // Deleting is best effort, and what is left is deleted at the next start.
            let deleted = self.blocking(move || {
                drop(abandoned);
                Ok(())
            });
            deleted.await.ok();
        }
    }

    /// Reads part of a blob, at most [`PIECE_BYTES`], from this node's disk. Checking it keeps a processor busy, of which
    /// those who answer need their share.
    pub(crate) async fn get_blob(
        &self,
        blob: BlobRef,
        range: Range<u64>,
    ) -> Result<Bytes, Failure> {
        let len = range.end - range.start;
        let turn = if len > SMALL_READ {
            let turn = Arc::clone(&self.reading).acquire_many_owned(len.div_ceil(KIB) as u32);
            Some(turn.await.map_err(|_| Failure::Cancelled)?)
        } else {
            None
        };
        let blobs = Arc::clone(&self.blobs);
        let read = move || {
            let read = blobs.read(&blob, range);
            drop(turn); // also when nobody waits for it any more
            Ok(read?)
        };
        let read = self.blocking(read).await;
        if let Err(Failure::Read(ReadError::Missing)) = read {
            return read; // no failure: it may have been down when the blob was written
        }
        self.own("reading a blob", read)
    }

    /// Reads part of a blob, at most [`PIECE_BYTES`], from this node's disk, or from a peer when it is not intact
    /// here; the copy here is then replaced. [`Error::Unreadable`] when all nodes answered and none has it intact.
    pub(crate) async fn get_blob_anywhere(
        self: &Arc<Self>,
        blob: BlobRef,
        range: Range<u64>,
    ) -> Result<Bytes, Error> {
        if let Ok(data) = self.get_blob(blob, range.clone()).await {
            return Ok(data);
        }
        // A small one is here in a moment, for all who wait for it. The reader of a large one need not wait.
        let repaired = timeout(HEDGE, self.pull(blob, self.id)).await;
        if repaired == Ok(Pulled::Here)
            && let Ok(data) = self.get_blob(blob, range.clone()).await
        {
            return Ok(data);
        }
        let fetched = self.fetch(&blob, range, self.id).await;
        fetched.map_err(|why| match why {
            Pulled::Nowhere => Error::Unreadable,
            Pulled::Here | Pulled::NoRoom | Pulled::Failed => Error::Unavailable,
        })
    }

    /// Fetches a blob that is missing or damaged here; those who need it meanwhile share the fetch.
    pub(super) fn pull(self: &Arc<Self>, blob: BlobRef, first: u8) -> Pull {
        let mut pulling = self.pulling.lock().expect("no panic while locked");
        if let Some(pull) = pulling.get(&blob.id) {
            return pull.clone();
        }
        let (sender, fetched) = oneshot::channel();
        let pull = fetched.map(|pulled| pulled.unwrap_or(Pulled::Failed));
        let pull = pull.boxed().shared();
        pulling.insert(blob.id, pull.clone());
        let node = Arc::clone(self);
        self.tasks.spawn(async move {
            let pulled = if node.is_intact(blob).await {
                Pulled::Here
            } else {
                node.pull_now(blob, first).await
            };
            let mut pulling = node.pulling.lock().expect("no panic while locked");
            pulling.remove(&blob.id);
            sender.send(pulled).ok();
        });
        pull
    }

    /// Whether all of a blob is here after all: an earlier fetch may have ended a moment ago.
    async fn is_intact(&self, blob: BlobRef) -> bool {
        let blobs = Arc::clone(&self.blobs);
        let check = move || Ok(blobs.verify(&blob, |_| ()).is_ok());
        self.blocking(check).await.unwrap_or(false)
    }

    async fn pull_now(&self, blob: BlobRef, first: u8) -> Pulled {
        let Ok(_permit) = self.pulls.acquire().await else {
            return Pulled::Failed;
        };
        self.counters.pulls.inc();
        let written = self.write_from_peers(blob, first).await;
        match self.own("keeping a blob of another node", written) {
            Ok(pulled) => pulled,
            Err(failure) if failure.is_full() => Pulled::NoRoom,
            Err(_) => Pulled::Failed,
        }
    }

    /// Writes a blob from what the peers give, piece by piece.
    async fn write_from_peers(&self, blob: BlobRef, first: u8) -> Result<Pulled, Failure> {
        let blobs = Arc::clone(&self.blobs);
        let stage = move || blobs.stage(blob.id, blob.len).map_err(Failure::Write);
        let mut staged = self.blocking(stage).await?;
        for range in pieces(0..blob.len) {
            let data = match self.fetch(&blob, range, first).await {
                Ok(data) => data,
                Err(pulled) => return Ok(pulled),
            };
            let append = move || {
                staged.append(&data).map_err(Failure::Write)?;
                Ok(staged)
            };
            staged = self.flush(self.blocking(append).await?);
        }
        let blobs = Arc::clone(&self.blobs);
        let finish = move || blobs.finish(staged, &blob).map_err(Failure::Write);
        self.blocking(finish).await?;
        Ok(Pulled::Here)
    }

    /// Fetches part of a blob from the peers: `first` and those believed up before the others, each next one after a
    /// pause or a failure, so that a frozen peer costs the pause.
    async fn fetch(&self, blob: &BlobRef, range: Range<u64>, first: u8) -> Result<Bytes, Pulled> {
        let mut peers: Vec<_> = self.peers.iter().collect();
        peers.sort_by_key(|peer| (!peer.is_up(), peer.node() != first));
        let mut peers = peers.into_iter();
        let mut attempts = FuturesUnordered::new();
        let mut nothing = Pulled::Nowhere;
        loop {
            match peers.next() {
                Some(peer) => attempts.push(peer.get_blob(blob, range.clone())),
                None if attempts.is_empty() => return Err(nothing),
                None => {}
            }
            tokio::select! {
                biased; // a simulation decides all chance
                Some(fetched) = attempts.next() => match fetched {
                    Ok(data) => return Ok(data),
                    Err(failure) => {
                        debug!(blob = %blob.id, "a peer gave no blob: {}", failure.chain());
                        if !matches!(failure, Failure::Status(404)) {
                            nothing = Pulled::Failed; // it did not get to look
                        }
                    }
                },
                () = tokio::time::sleep(HEDGE), if peers.len() > 0 => {}
            }
        }
    }
}

/// `range` of a blob, cut where its pieces end.
pub(crate) fn pieces(range: Range<u64>) -> impl Iterator<Item = Range<u64>> + Send {
    let mut start = range.start;
    std::iter::from_fn(move || {
        let end = range.end.min((start / PIECE_BYTES + 1) * PIECE_BYTES);
        let piece = start..end;
        start = end;
        (!piece.is_empty()).then_some(piece)
    })
}

#[cfg(test)]
mod tests {
    use super::super::unused::tests::node;
    use super::*;
    use crate::version::BlobId;

    async fn put(node: &Node, len: usize) -> BlobRef {
        let data = Bytes::from(vec![7; len]);
        let blob = BlobRef {
            id: BlobId::random(),
            len: len as u64,
            blake3: *blake3::hash(&data).as_bytes(),
        };
        node.put_blob(blob.id, data).await.unwrap();
        blob
    }

    #[tokio::test]
    async fn a_large_read_waits_for_its_turn_at_the_disk_and_a_small_one_does_not() {
        let (_dir, node) = node();
        let (large, small) = (put(&node, 500_000).await, put(&node, 20_000).await);
        let others = Arc::clone(&node.reading)
            .acquire_many_owned((PIECE_BYTES / KIB) as u32)
            .await;
        let mut waiting = std::pin::pin!(node.get_blob(large, 0..large.len));
        assert!(waiting.as_mut().now_or_never().is_none());
        let read = node.get_blob(small, 0..small.len).await.unwrap();
        assert_eq!(read.len(), 20_000);
        assert!(timeout(HEDGE, waiting.as_mut()).await.is_err());
        drop(others);
        assert_eq!(waiting.await.unwrap().len(), 500_000);
        // Its turn is over with it.
        assert_eq!(node.reading.available_permits() as u64, PIECE_BYTES / KIB);
    }

    #[test]
    fn pieces_cover_a_range_and_end_where_blocks_end() {
        let cut = |range| pieces(range).collect::<Vec<_>>();
        assert_eq!(cut(7..7), vec![]);
        assert_eq!(cut(3..9), vec![3..9]);
        let mib = PIECE_BYTES;
        assert_eq!(
            cut(mib - 1..2 * mib + 5),
            [mib - 1..mib, mib..2 * mib, 2 * mib..2 * mib + 5]
        );
    }
}
