//! Collects tombstones: once all three nodes have confirmed that they know of nothing else under a key, no older value
//! is left that could come back, and all may drop the row.
//!
//! The rules that make this safe are in [`crate::register`] and need no clock; time only decides when to look. While
//! a node is down nothing is confirmed and tombstones wait. What a coordinator that crashed left behind (promises of
//! rounds that came to nothing) each node drops by itself.

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use tokio::time::sleep;
use tracing::{debug, info};

use crate::error::Failure;
use crate::node::Node;
use crate::wire::Tombstones;

/// Tombstones confirmed in one exchange.
const BATCH: usize = 1_000;
/// With more than this many entries to heal anywhere, collection waits: it raises the floor, and what arrives late
/// below the floor costs a round of its own.
const HEALING: u64 = 1_000;
/// A promise is dropped when no round can still be under way: what comes of that round afterwards is refused.
const PROMISE_AGE: Duration = Duration::from_secs(60);
/// Looks for something to collect this often for each age of a tombstone.
const LOOKS: u32 = 4;
/// Shortest and longest pause between two looks.
const PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(30));

/// Collects what is older than `age`, for ever.
pub(crate) async fn collect(node: Arc<Node>, age: Duration) {
    let pause = (age / LOOKS).clamp(PAUSE.0, PAUSE.1);
    // The nodes look in turn: the second usually finds that the first has done it.
    sleep(pause * u32::from(node.id()) / 3).await;
    loop {
        // Logged there.
        node.forget_promises(PROMISE_AGE.max(age), BATCH).await.ok();
        match step(&node, age).await {
            Ok(0) => sleep(pause).await,
            Ok(collected) => info!(collected, "collected {collected} tombstones"),
            Err(failure) => {
                debug!("cannot collect tombstones: {}", failure.chain());
                sleep(pause).await;
            }
        }
    }
}

/// Collects one batch. Returns how many this node has dropped.
async fn step(node: &Node, age: Duration) -> Result<u64, Failure> {
    let healing = node.peers().iter().any(|peer| {
        let here = peer.pong().borrow().map_or(0, |pong| pong.behind);
        !peer.is_up() || here.max(node.behind(peer.node())) > HEALING
    });
    if healing {
        return Ok(0);
    }
    let tombstones = node.old_tombstones(age, BATCH);
    if tombstones.is_empty() {
        return Ok(0);
    }
    let mut confirmed = node.confirm(tombstones.clone()).await?;
    let question = Tombstones { tombstones };
    let asked = node.peers().iter().map(|peer| peer.confirm(&question));
    for answers in join_all(asked).await {
        let answers = answers?;
        if answers.len() != confirmed.len() {
            return Err(Failure::WrongBytes);
        }
        for (all, one) in confirmed.iter_mut().zip(answers) {
            *all &= one;
        }
    }
    let tombstones: Vec<_> = question
        .tombstones
        .into_iter()
        .zip(confirmed)
        .filter_map(|(tombstone, confirmed)| confirmed.then_some(tombstone))
        .collect();
    if tombstones.is_empty() {
        return Ok(0);
    }
    // A peer that misses this keeps its row, and collects it itself: to it, ours are confirmed by the floor.
    let order = Tombstones { tombstones };
    let told = node.peers().iter().map(|peer| peer.collect(&order));
    for failure in join_all(told).await.into_iter().filter_map(Result::err) {
        debug!("a node did not hear of a collection: {}", failure.chain());
    }
    node.collect(order.tombstones).await
}
