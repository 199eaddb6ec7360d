//! Rebuilds a node that has forgotten promises: its folder was replaced by an empty one or by an older copy.
//!
//! Nobody knows which ballots the node may have promised, so both others first refuse every ballot up to a fence above
//! all that were ever promised; what was chosen by then at least one of them has. Then the node drops every version of
//! its own, pulls both change feeds whole, keeps the newest of each key, and votes again. An older copy's own versions
//! would do no good, and one whose tombstone the others have collected since would bring back what was deleted. It
//! takes both others: with one of them down it waits. A blob that neither gives, or that there is no room for, it does
//! not wait for: a scrub looks for it later.
//! The rules and their model are in [`crate::register`].

use std::sync::Arc;
use std::time::Duration;

use futures::future::try_join_all;
use futures::{StreamExt as _, TryStreamExt as _};
use tokio::time::sleep;
use tracing::{info, warn};

use crate::ballot::Ballot;
use crate::error::Failure;
use crate::node::Node;
use crate::peer::Peer;
use crate::standing::Standing;
use crate::wire::{FeedQuery, Fence};

/// Rows in one page of a feed.
const PAGE: u32 = 512;
/// Rows taken over at one time.
const PARALLEL: usize = 16;
/// Pause before trying again.
const PAUSE: Duration = Duration::from_secs(1);

/// Rebuilds the node whenever it has to be, for ever.
pub(crate) async fn watch(node: Arc<Node>) {
    let mut standing = node.standing().watch();
    loop {
        let needed = standing.wait_for(|standing| *standing == Standing::Rebuilding);
        if needed.await.is_err() {
            return;
        }
        let mut rebuilding = Rebuilding::new(Arc::clone(&node));
        while let Err(failure) = rebuilding.go_on().await {
            warn!(
                "cannot rebuild yet, both other nodes are needed: {}",
                failure.chain()
            );
            sleep(PAUSE).await;
        }
        node.standing().rebuilt();
    }
}

/// How far a rebuilding is. What was done is not done again when something fails, as long as the process runs.
struct Rebuilding {
    node: Arc<Node>,
    begun: bool,
    fence: Option<Fence>,
    /// Empty until both others are behind the fence.
    sources: Vec<Source>,
}

/// The change feed of one of the others.
struct Source {
    peer: Arc<Peer>,
    feed_id: [u8; 16],
    /// Everything up to here was taken over.
    looked: u64,
    rows: u64,
    /// Blobs that are not here although their versions are.
    owed: u64,
}

impl Rebuilding {
    fn new(node: Arc<Node>) -> Self {
        Self {
            node,
            begun: false,
            fence: None,
            sources: Vec::new(),
        }
    }

    /// Does what is left to do. An error means that it is to be called again.
    async fn go_on(&mut self) -> Result<(), Failure> {
        if !self.begun {
            self.node.begin_rebuild().await?;
            self.begun = true;
        }
        let fence = match self.fence {
            Some(fence) => fence,
            None => *self.fence.insert(self.next_fence().await?),
        };
        if self.sources.is_empty() {
            self.raise(&fence).await?;
        }
        for source in &mut self.sources {
            if let Err(failure) = source.adopt_all(&self.node).await {
                if matches!(failure, Failure::NotVoting) {
                    *self = Self::new(Arc::clone(&self.node));
                }
                return Err(failure);
            }
        }
        let owed: u64 = self.sources.iter().map(|source| source.owed).sum();
        if owed > 0 {
            self.node.scrub().start(); // once the node votes; what it cannot get it tries again after an hour
        }
        self.node.end_rebuild(fence.fence).await
    }

    /// A fence above all that was promised before this node stopped voting.
    async fn next_fence(&self) -> Result<Fence, Failure> {
        let peers = self.node.peers().iter();
        let highest = try_join_all(peers.map(|peer| peer.highest())).await?;
        let highest = highest.into_iter().max().unwrap_or(Ballot::ZERO);
        Ok(Fence {
            fence: Ballot {
                micros: highest.micros.max(self.node.own_highest().micros) + 1,
                node: 0,
            },
            from: self.node.folder(),
        })
    }

    /// Raises the fence everywhere, and drops all rows of this node.
    async fn raise(&mut self, fence: &Fence) -> Result<(), Failure> {
        let node = &self.node;
        node.raise_own_fence(fence).await?;
        let ends = try_join_all(node.peers().iter().map(|peer| peer.fence(fence))).await?;
        node.forget_all().await?;
        let sources = node.peers().iter().zip(ends).map(|(peer, end)| Source {
            peer: Arc::clone(peer),
            feed_id: end.feed_id,
            looked: 0,
            rows: 0,
            owed: 0,
        });
        self.sources = sources.collect();
        Ok(())
    }
}

impl Source {
    /// Takes over all that the peer has accepted, up to the end of its feed as that is by then: what it held when it
    /// was fenced may have changed since, and so have moved to any later place.
    async fn adopt_all(&mut self, node: &Arc<Node>) -> Result<(), Failure> {
        while self.adopt_page(node).await? {}
        let (peer, rows) = (self.peer.node(), self.rows);
        node.meet(peer, self.feed_id);
        info!(peer, rows, "took over {rows} rows of node {peer}");
        Ok(())
    }

    /// Returns whether there are more.
    async fn adopt_page(&mut self, node: &Arc<Node>) -> Result<bool, Failure> {
        let query = FeedQuery {
            feed_id: self.feed_id,
            after: self.looked,
            done: self.looked,
            puller: node.id(),
            limit: PAGE,
        };
        let page = self.peer.feed(&query).await?;
        if page.feed_id != self.feed_id {
            return Err(Failure::NotVoting); // it has to be rebuilt itself
        }
        let (rows, source) = (page.rows.len() as u64, self.peer.node());
        let adopting = futures::stream::iter(page.rows).map(|row| node.adopt(row, source));
        let owed: Vec<u64> = adopting.buffer_unordered(PARALLEL).try_collect().await?;
        node.set_pulled(self.feed_id, page.end).await?;
        self.looked = page.end;
        self.rows += rows;
        self.owed += owed.iter().sum::<u64>();
        Ok(page.more)
    }
}
