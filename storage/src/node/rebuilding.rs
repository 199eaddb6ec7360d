//! What [`crate::rebuild`] needs of a node: from its first step to its last the node does not vote.

use std::sync::Arc;

use tracing::warn;

use super::Node;
use super::bytes::Pulled;
use crate::ballot::Ballot;
use crate::blobs::ReadError;
use crate::error::Failure;
use crate::wire::{FeedRow, Fence};

impl Node {
    /// Begins the rebuilding of this node: it stops voting until [`Node::end_rebuild`], also across a restart.
    pub(crate) async fn begin_rebuild(&self) -> Result<(), Failure> {
        let begun = self.index.begin_rebuild().await;
        self.own("beginning to rebuild", begun.map_err(Into::into))
    }

    /// A ballot that no promise which this node remembers is above.
    pub(crate) fn own_highest(&self) -> Ballot {
        self.index.highest()
    }

    /// Raises this node's own fence while it is being rebuilt.
    pub(crate) async fn raise_own_fence(&self, fence: &Fence) -> Result<(), Failure> {
        let fenced = self.index.fence(fence).await;
        self.own("raising the fence", fenced.map_err(Into::into))
    }

    /// Drops every version this node knows while it is being rebuilt; their blobs stay.
    pub(crate) async fn forget_all(&self) -> Result<(), Failure> {
        let forgotten = self.index.forget_all().await;
        self.own("dropping rows", forgotten.map_err(Into::into))
    }

    /// Takes over what a peer has accepted, once its blobs are durable here; those that are here already are checked.
    /// Returns how many of them no node gives or this one has no room for: the version counts all the same, or one
    /// unreadable object would keep the node from voting on all others.
    pub(crate) async fn adopt(self: &Arc<Self>, row: FeedRow, source: u8) -> Result<u64, Failure> {
        let pin = self.pin(&row.version);
        let mut owed = 0;
        for blob in row.version.blobs() {
            let (key, id) = (&row.key, blob.id);
            match self.pull(*blob, source).await {
                Pulled::Here => {}
                Pulled::Failed => return Err(Failure::Read(ReadError::Missing)),
                Pulled::Nowhere => {
                    warn!(key, blob = %id, "no other node has this blob intact: {key:?} is incomplete here");
                    owed += 1;
                    continue;
                }
                Pulled::NoRoom => {
                    warn!(key, blob = %id, "no room for this blob: {key:?} is incomplete here");
                    owed += 1;
                    continue;
                }
            }
            if !self.has_durable(blob.id).await? {
                return Err(Failure::Read(ReadError::Missing)); // gone again: the row is asked for once more
            }
        }
        let index = Arc::clone(&self.index);
        let adopted = self.until_durable(pin, async move {
            Ok(index.adopt(row.key, row.accepted, row.version).await?)
        });
        self.own("adopting", adopted.await)?;
        Ok(owed)
    }

    /// Takes the folder of another node, which rebuilds this one, for the one that is known.
    pub(crate) fn meet(&self, node: u8, feed_id: [u8; 16]) {
        self.index.meet(node, feed_id);
    }

    /// Ends the rebuilding; the node may vote from now on.
    pub(crate) async fn end_rebuild(&self, fence: Ballot) -> Result<(), Failure> {
        let ended = self.index.end_rebuild(fence).await;
        self.own("ending the rebuilding", ended.map_err(Into::into))?;
        self.counters.rebuilds.inc();
        Ok(())
    }
}
