//! Blob files that no row names: which they are, and their deletion, which no row in the making notices.

use std::collections::HashSet;
use std::sync::Arc;

use super::Node;
use crate::blobs::pins::{Pin, Watch};
use crate::error::Failure;
use crate::version::{BlobId, Version};

/// Files looked at for each walk over the rows: 16 bytes and some for each.
const GROUP: usize = 1_000_000;

impl Node {
    /// Keeps a version's blobs from being deleted, whether they are here yet or not.
    pub(super) fn pin(&self, version: &Version) -> Pin {
        let ids = version.blobs().iter().map(|blob| blob.id);
        self.blobs.pin(ids.collect())
    }

    /// Writes a row, and holds the pin of its blobs until that is durable, also when the caller gives up meanwhile.
    pub(super) async fn until_durable<T: Send + 'static>(
        &self,
        pin: Pin,
        work: impl Future<Output = Result<T, Failure>> + Send + 'static,
    ) -> Result<T, Failure> {
        let written = self.tasks.spawn_to_end(async move {
            let written = work.await;
            drop(pin);
            written
        });
        written.await.unwrap_or(Err(Failure::Cancelled))
    }

    /// The end of this node's change feed, and a number that differs when the files are others.
    pub(crate) fn state_of_files(&self) -> (u64, (u64, u64)) {
        (self.index.last_seq(), self.blobs.usage())
    }

    /// Whether another node has, or has newer, all that changed here up to `seq`.
    pub(crate) fn is_known(&self, seq: u64) -> bool {
        let knows = |peer: &Arc<crate::peer::Peer>| self.index.acked(peer.node()) >= seq;
        self.peers.is_empty() || self.peers.iter().any(knows)
    }

    /// The blobs here that no row names, and what it takes to delete them.
    pub(crate) async fn unused(&self) -> Result<(Watch, HashSet<BlobId>), Failure> {
        let (blobs, index) = (Arc::clone(&self.blobs), Arc::clone(&self.index));
        let looked = self.blocking(move || {
            // First, so that it sees every row that is not read below.
            let watch = Watch::new(blobs);
            let mut unused = HashSet::new();
            let mut folders = watch.blobs().folders().map_err(Failure::Write)?;
            while !folders.is_empty() {
                let mut group = HashSet::new();
                while group.len() < GROUP
                    && let Some(folder) = folders.pop()
                {
                    group.extend(watch.blobs().inside(&folder).map_err(Failure::Write)?);
                }
                index.each_blob(|id| {
                    group.remove(&id);
                })?;
                unused.extend(group);
            }
            Ok((watch, unused))
        });
        self.own("looking for unused blobs", looked.await)
    }

    /// Deletes blobs that [`Node::unused`] has found, unless a row may name them by now.
    pub(crate) async fn delete_unused(
        &self,
        watch: Watch,
        unused: Vec<BlobId>,
    ) -> Result<(u64, u64), Failure> {
        let deleted = self.blocking(move || {
            let mut deleted = (0, 0);
            for id in unused {
                if let Some(bytes) = watch.delete(id).map_err(Failure::Write)? {
                    deleted = (deleted.0 + 1, deleted.1 + bytes);
                }
            }
            Ok(deleted)
        });
        let (files, bytes) = self.own("deleting unused blobs", deleted.await)?;
        self.counters.swept.inc_by(files);
        self.counters.swept_bytes.inc_by(bytes);
        Ok((files, bytes))
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::ballot::Ballot;
    use crate::blobs::space::Reserve;
    use crate::index::Index;
    use crate::metrics::Counters;
    use crate::node::{Accepting, Disk};
    use crate::tasks::Tasks;
    use crate::version::{BlobRef, Live, State};
    use crate::wire::{Accept, PIECE_BYTES, Verdict};

    pub(in crate::node) fn node() -> (tempfile::TempDir, Arc<Node>) {
        let dir = tempfile::tempdir().unwrap();
        Index::create(dir.path(), [1; 16]).unwrap();
        let (tasks, counters) = (Tasks::default(), Counters::new().unwrap());
        let node = Node::open(
            1,
            dir.path(),
            [1; 16],
            Disk {
                fsync: false,
                reserve: Reserve::default(),
                read_bytes: PIECE_BYTES,
            },
            Vec::new(),
            tasks,
            counters,
        );
        let node = Arc::new(node.unwrap());
        node.standing().hear(2, Verdict::Welcome, 2);
        (dir, node)
    }

    async fn delete_all(node: &Node) -> u64 {
        let (watch, unused) = node.unused().await.unwrap();
        let unused = unused.into_iter().collect();
        node.delete_unused(watch, unused).await.unwrap().0
    }

    /// Without the pins, a blob is found durable, deleted, and then named.
    #[tokio::test(flavor = "multi_thread")]
    async fn no_version_is_accepted_whose_blob_is_being_deleted() {
        let (_dir, node) = node();
        let sweeping = Arc::clone(&node);
        let (mut accepted, mut missed) = (0, 0);
        let sweep = tokio::spawn(async move {
            loop {
                delete_all(&sweeping).await;
            }
        });
        for micros in 1..2_000 {
            let blob = BlobRef {
                id: BlobId::random(),
                len: 5,
                blake3: *blake3::hash(b"bytes").as_bytes(),
            };
            node.put_blob(blob.id, "bytes".into()).await.unwrap();
            let ballot = Ballot { micros, node: 1 };
            let live = Live {
                blobs: vec![blob],
                size: 5,
                ..Live::default()
            };
            let accept = Accept {
                key: format!("{}", micros % 7),
                ballot,
                version: Version::after(None, Ballot::ZERO, ballot, State::Live(live)),
                source: 1,
            };
            match node.accept(accept).await.unwrap() {
                Accepting::Accepted => {
                    accepted += 1;
                    assert!(node.get_blob(blob, 0..5).await.is_ok(), "after {accepted}");
                }
                Accepting::MissingBlob => missed += 1,
                Accepting::Refused(nack) => panic!("{nack:?}"),
            }
        }
        sweep.abort();
        assert!(accepted > 0 && missed > 0, "{accepted} {missed}");
    }
}
