//! One of the three replicas as a coordinator sees it: this node, called directly, or a peer, over the network.

use std::sync::Arc;

use bytes::Bytes;

use crate::ballot::Ballot;
use crate::error::Failure;
use crate::node::{Accepting, Node};
use crate::peer::Peer;
use crate::register::Nack;
use crate::version::{BlobId, BlobRef, Version};
use crate::wire::{Accept, ListPage, Listing, Prepare, Promise};

#[derive(Clone)]
pub(crate) enum Replica {
    Local(Arc<Node>),
    Remote(Arc<Peer>),
}

impl Replica {
    pub(crate) fn node(&self) -> u8 {
        match self {
            Self::Local(node) => node.id(),
            Self::Remote(peer) => peer.node(),
        }
    }

    /// A hint: whether it is worth sending bytes to.
    pub(crate) fn is_up(&self) -> bool {
        match self {
            Self::Local(_) => true,
            Self::Remote(peer) => peer.is_up(),
        }
    }

    /// A hint: whether it has room for a blob of `len` bytes.
    pub(crate) fn has_room(&self, len: u64) -> bool {
        match self {
            Self::Local(node) => node.has_room(len),
            Self::Remote(peer) => peer.has_room(len),
        }
    }

    pub(crate) async fn read(self, key: String) -> Result<(Ballot, Option<Version>), Failure> {
        match self {
            Self::Local(node) => node.read(key).await,
            Self::Remote(peer) => peer.read(key).await,
        }
    }

    pub(crate) async fn prepare(self, prepare: Prepare) -> Result<Result<Promise, Nack>, Failure> {
        match self {
            Self::Local(node) => node.prepare(prepare).await,
            Self::Remote(peer) => peer.prepare(prepare).await,
        }
    }

    pub(crate) async fn accept(self, accept: Accept) -> Result<Accepting, Failure> {
        match self {
            Self::Local(node) => node.accept(accept).await,
            Self::Remote(peer) => peer.accept(accept).await,
        }
    }

    pub(crate) async fn list(self, listing: Listing) -> Result<ListPage, Failure> {
        match self {
            Self::Local(node) => node.list(listing).await,
            Self::Remote(peer) => peer.list(listing).await,
        }
    }

    pub(crate) async fn put_blob(self, id: BlobId, data: Bytes) -> Result<(), Failure> {
        match self {
            Self::Local(node) => node.put_blob(id, data).await,
            Self::Remote(peer) => peer.put_blob(id, data).await,
        }
    }

    /// Sends the next piece of a blob.
    pub(crate) async fn stage(self, id: BlobId, offset: u64, data: Bytes) -> Result<(), Failure> {
        match self {
            Self::Local(node) => node.stage(id, offset, data).await,
            Self::Remote(peer) => peer.stage(id, offset, data).await,
        }
    }

    /// Ends a blob sent in pieces.
    pub(crate) async fn finish(self, blob: BlobRef) -> Result<(), Failure> {
        match self {
            Self::Local(node) => node.finish(blob).await,
            Self::Remote(peer) => peer.finish(blob).await,
        }
    }

    /// Gives up a blob sent in pieces.
    pub(crate) async fn abort(self, id: BlobId) -> Result<(), Failure> {
        match self {
            Self::Local(node) => node.abort(id).await,
            Self::Remote(peer) => peer.abort(id).await,
        }
    }
}
