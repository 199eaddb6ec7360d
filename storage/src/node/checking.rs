//! What scrubbing and comparing the nodes need of a node.

use std::sync::Arc;

use super::Node;
use super::bytes::Pulled;
use crate::blobs::check::Check;
use crate::error::Failure;
use crate::version::{BlobId, BlobRef, Version, encode};
use crate::wire::{DigestPage, DigestQuery};

impl Node {
    /// At most `limit` versions after `after`, in the order of their keys.
    pub(crate) async fn versions_after(
        &self,
        after: String,
        limit: usize,
    ) -> Result<Vec<(String, Version)>, Failure> {
        let index = Arc::clone(&self.index);
        let read = move || Ok(index.versions_after(&after, limit)?);
        self.own("reading the index", self.blocking(read).await)
    }

    /// The digests of a page of this node's live versions.
    pub(crate) async fn digests(&self, query: DigestQuery) -> Result<DigestPage, Failure> {
        self.voting()?;
        let index = Arc::clone(&self.index);
        let read = self.blocking(move || {
            let versions = index.versions_after(&query.after, query.limit as usize)?;
            let full = versions.len() == query.limit as usize;
            let upto = versions.last().filter(|_| full).map(|(key, _)| key.clone());
            let live = versions.into_iter().filter(|(_, it)| it.live().is_some());
            let digest = |version| *blake3::hash(&encode(&version)).as_bytes();
            let rows = live.map(|(key, version)| (key, digest(version))).collect();
            Ok(DigestPage { rows, upto })
        });
        self.own("reading the index", read.await)
    }

    /// Whether the version of `key` on this node names the blob.
    pub(crate) async fn names(&self, key: &str, blob: BlobId) -> Result<bool, Failure> {
        let (index, key) = (Arc::clone(&self.index), key.to_owned());
        let read = move || Ok(index.read(&key)?.1);
        let version = self.own("reading a register", self.blocking(read).await)?;
        let blobs = version.as_ref().map_or(&[][..], Version::blobs);
        Ok(blobs.iter().any(|named| named.id == blob))
    }

    /// Begins to verify a blob from the disk.
    pub(crate) async fn check(&self, blob: BlobRef) -> Result<Check, Failure> {
        let blobs = Arc::clone(&self.blobs);
        let check = move || {
            let check = blobs.check(&blob)?;
            check.uncached();
            Ok(check)
        };
        self.blocking(check).await
    }

    /// Verifies the next piece of a blob, and returns how many bytes that were. The check is gone when all is intact.
    pub(crate) async fn check_piece(
        &self,
        mut check: Check,
    ) -> Result<(Option<Check>, u64), Failure> {
        let checked = self.blocking(move || {
            let piece = check.piece()?;
            let bytes = piece.as_ref().map_or(0, Vec::len) as u64;
            if piece.is_none() {
                check.uncached();
            }
            Ok((piece.map(|_| check), bytes))
        });
        let (check, bytes) = checked.await?;
        self.counters.scrubbed_bytes.inc_by(bytes);
        Ok((check, bytes))
    }

    /// Replaces a blob that is not intact here. Returns whether it is now.
    pub(crate) async fn repair(self: &Arc<Self>, blob: BlobRef) -> bool {
        self.counters.scrub_found.inc();
        let repaired = self.pull(blob, self.id).await == Pulled::Here;
        self.counters.scrub_repaired.inc_by(u64::from(repaired));
        repaired
    }
}
