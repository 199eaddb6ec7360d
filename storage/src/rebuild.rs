//! Rebuilds a node that has forgotten promises: its folder was replaced by an empty one or by an older copy.
//!
//! Nobody knows which ballots the node may have promised, so both others first refuse every ballot up to a fence above
//! all that were ever promised; what was chosen by then at least one of them has. Then the node drops every version of
//! its own, pulls both change feeds whole, keeps the newest of each key, and votes again. An older copy's own versions
//! would do no good, and one whose tombstone the others have collected since would bring back what was deleted. It
//! takes both others: with one of them down it waits.
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
        while let Err(failure) = rebuild(&node).await {
            warn!(
                "cannot rebuild yet, both other nodes are needed: {}",
                failure.chain()
            );
            sleep(PAUSE).await;
        }
        node.standing().rebuilt();
    }
}

async fn rebuild(node: &Arc<Node>) -> Result<(), Failure> {
    node.begin_rebuild().await?;
    let peers = node.peers();
    let highest = try_join_all(peers.iter().map(|peer| peer.highest())).await?;
    let highest = highest.into_iter().max().unwrap_or(Ballot::ZERO);
    let fence = Fence {
        fence: Ballot {
            micros: highest.micros.max(node.own_highest().micros) + 1,
            node: 0,
        },
        from: node.folder(),
    };
    node.raise_own_fence(&fence).await?;
    let ends = try_join_all(peers.iter().map(|peer| peer.fence(&fence))).await?;
    node.forget_all().await?;
    for (peer, end) in peers.iter().zip(ends) {
        let rows = adopt_all(node, peer, end.feed_id).await?;
        node.meet(peer.node(), end.feed_id);
        info!(
            peer = peer.node(),
            rows,
            "took over {rows} rows of node {}",
            peer.node()
        );
    }
    node.end_rebuild(fence.fence).await
}

/// Takes over all that a peer has accepted, up to the end of its feed as that is by then: what it held when it was
/// fenced may have changed since, and so have moved to any later place. Returns how many rows that were.
async fn adopt_all(node: &Arc<Node>, peer: &Arc<Peer>, feed_id: [u8; 16]) -> Result<u64, Failure> {
    let (mut looked, mut rows) = (0, 0);
    loop {
        let query = FeedQuery {
            feed_id,
            after: looked,
            done: looked,
            puller: node.id(),
            limit: PAGE,
        };
        let page = peer.feed(&query).await?;
        if page.feed_id != feed_id {
            return Err(Failure::NotVoting); // it has to be rebuilt itself
        }
        rows += page.rows.len() as u64;
        let adopting = futures::stream::iter(page.rows).map(|row| node.adopt(row, peer.node()));
        adopting
            .buffer_unordered(PARALLEL)
            .try_collect::<()>()
            .await?;
        looked = page.end;
        node.set_pulled(feed_id, looked).await?;
        if !page.more {
            return Ok(rows);
        }
    }
}
