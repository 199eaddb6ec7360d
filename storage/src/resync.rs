//! Heals this node: pulls each peer's change feed and accepts what is newer there than here.
//!
//! To accept what a peer has accepted is nothing but the late arrival of a message of the register protocol, so it is
//! safe at any time and in any order, and whether a coordinator remembers who missed what does not matter. How far a
//! peer's feed has been pulled is kept on disk; what lies above it is exactly what may be missing here.
//! After `CouchDB`'s replicator, which pulls a feed of one entry per changed document.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use tokio::time::{sleep, timeout};
use tracing::{debug, info, warn};

use crate::error::Failure;
use crate::node::Accepting;
use crate::peer::{Peer, now_micros};
use crate::round::{Cluster, Step, Uploads};
use crate::wire::{Accept, FeedPage, FeedQuery, FeedRow, Pong};

/// Rows in one page of a feed.
const PAGE: u32 = 512;
/// Rows healed at one time.
const PARALLEL: usize = 16;
/// Pause after something failed, and between looks at the feed when no heartbeat brings news.
const PAUSE: Duration = Duration::from_secs(1);
/// A change younger than this is most likely on its way here from its own coordinator.
const YOUNG: Duration = Duration::from_secs(1);

/// Pulls the feed of `peer`, for ever.
pub(crate) async fn pull(cluster: Arc<Cluster>, peer: Arc<Peer>) {
    let mut pong = peer.pong();
    let mut feed: Option<Feed> = None;
    loop {
        let known: Option<Pong> = *pong.borrow_and_update();
        let Some(known) = known.filter(|pong| pong.votes && cluster.node().votes()) else {
            timeout(PAUSE, pong.changed()).await.ok();
            continue;
        };
        if feed
            .as_ref()
            .is_none_or(|feed| feed.id != known.feed.feed_id)
        {
            feed = Feed::resume(&cluster, &peer, known.feed.feed_id).await.ok();
        }
        let more = match &mut feed {
            Some(feed) if feed.is_due(known.feed.last_seq) => feed.step().await,
            Some(_) => {
                // A heartbeat that brings news ends the wait.
                timeout(PAUSE, pong.changed()).await.ok();
                true
            }
            None => false,
        };
        if !more {
            sleep(PAUSE).await;
        }
    }
}

/// One peer's feed and how far it has been pulled.
struct Feed {
    cluster: Arc<Cluster>,
    peer: Arc<Peer>,
    id: [u8; 16],
    /// Everything up to here has been looked at.
    looked: u64,
    /// Everything up to here is dealt with, and this is on disk.
    done: u64,
    /// What the peer was told of `done`.
    told: Option<u64>,
    /// The first row that could not be healed, since the last time that all were tried.
    failed: Option<u64>,
    /// The first row whose blobs this node had no room for, since the last time that it had some.
    unfit: Option<u64>,
    healed: u64,
}

impl Feed {
    async fn resume(
        cluster: &Arc<Cluster>,
        peer: &Arc<Peer>,
        id: [u8; 16],
    ) -> Result<Self, Failure> {
        let done = cluster.node().pulled(id).await?;
        Ok(Self {
            cluster: Arc::clone(cluster),
            peer: Arc::clone(peer),
            id,
            looked: done,
            done,
            told: None,
            failed: None,
            unfit: None,
            healed: 0,
        })
    }

    fn is_due(&self, last: u64) -> bool {
        self.looked < last || self.is_to_be_tried_again() || self.told != Some(self.done)
    }

    fn is_to_be_tried_again(&self) -> bool {
        let fits = || self.unfit.is_some() && !self.cluster.node().is_full();
        self.failed.is_some() || fits()
    }

    /// Deals with one page. Returns whether to go on at once.
    async fn step(&mut self) -> bool {
        let query = FeedQuery {
            feed_id: self.id,
            after: self.looked,
            done: self.done,
            puller: self.cluster.node().id(),
            limit: PAGE,
        };
        let page = match self.peer.feed(&query).await {
            Ok(page) if page.feed_id == self.id => page,
            Ok(_) => return false, // the next heartbeat tells of the new feed
            Err(failure) => {
                debug!("cannot pull changes: {}", failure.chain());
                return false;
            }
        };
        self.told = Some(self.done);
        let (rows, end) = settled(page);
        if end == self.looked && !self.is_to_be_tried_again() {
            return false; // what there is is young, or there is nothing
        }
        let ended = self.heal_all(rows, end).await;
        if self.save().await.is_err() {
            return false; // logged there
        }
        ended
    }

    /// Heals `rows`, which reach up to `end`. Returns false when it is time for a pause.
    async fn heal_all(&mut self, rows: Vec<FeedRow>, end: u64) -> bool {
        let (cluster, source) = (Arc::clone(&self.cluster), self.peer.node());
        let healing = rows.into_iter().map(|row| {
            let cluster = Arc::clone(&cluster);
            async move { (row.seq, heal(&cluster, source, row).await) }
        });
        let mut healing = futures::stream::iter(healing).buffer_unordered(PARALLEL);
        while let Some((seq, outcome)) = healing.next().await {
            match outcome {
                Ok(true) => self.healed += 1,
                Ok(false) => {}
                Err(Unhealed::Failed) => earlier(&mut self.failed, seq),
                Err(Unhealed::NoRoom) => earlier(&mut self.unfit, seq),
            }
        }
        drop(healing);
        if end > self.looked {
            self.looked = end;
            return true;
        }
        // The end of the feed: what failed is tried again, after a pause, together with what follows it.
        if let Some(first) = self.failed.take() {
            warn!(
                peer = source,
                "some changes of node {source} cannot be healed yet"
            );
            self.looked = first - 1;
        } else if let Some(first) = self.unfit.take_if(|_| !cluster.node().is_full()) {
            info!(
                peer = source,
                "fetching what there was no room for from node {source}"
            );
            self.looked = first - 1;
        }
        false
    }

    /// Makes durable how far all is dealt with.
    async fn save(&mut self) -> Result<(), Failure> {
        let unhealed = self.failed.into_iter().chain(self.unfit);
        let done = unhealed.map(|seq| seq - 1).fold(self.looked, u64::min);
        if done != self.done {
            self.cluster.node().set_pulled(self.id, done).await?;
            self.done = done;
        }
        if self.healed > 0 && self.failed.is_none() {
            let (healed, node) = (std::mem::take(&mut self.healed), self.peer.node());
            info!(
                peer = node,
                healed, "healed {healed} changes from node {node}"
            );
        }
        Ok(())
    }
}

/// The rows of a page that are not on their way anyhow, and the sequence number up to which they are all.
fn settled(page: FeedPage) -> (Vec<FeedRow>, u64) {
    let now = now_micros();
    let young = |row: &FeedRow| {
        // A clock that runs ahead makes nothing young for ever.
        now.checked_sub(row.accepted.micros)
            .is_some_and(|age| u128::from(age) < YOUNG.as_micros())
    };
    match page.rows.iter().position(young) {
        None => (page.rows, page.end),
        Some(first) => {
            let end = page.rows[first].seq - 1;
            let mut rows = page.rows;
            rows.truncate(first);
            (rows, end)
        }
    }
}

/// This node does not have the change yet; the reason is logged.
enum Unhealed {
    Failed,
    /// It takes no blobs now; changes without any go on.
    NoRoom,
}

fn earlier(first: &mut Option<u64>, seq: u64) {
    *first = Some(first.map_or(seq, |first| first.min(seq)));
}

/// Brings one key up to `row`. Returns whether that changed anything.
async fn heal(cluster: &Cluster, source: u8, row: FeedRow) -> Result<bool, Unhealed> {
    let node = cluster.node();
    let key = row.key;
    let newer_here = async || match node.read(key.clone()).await {
        Ok((accepted, _)) => Ok(accepted >= row.accepted),
        Err(_) => Err(Unhealed::Failed),
    };
    if newer_here().await? {
        return Ok(false);
    }
    let accept = Accept {
        key: key.clone(),
        ballot: row.accepted,
        version: row.version,
        source,
    };
    match node.accept(accept).await {
        Ok(Accepting::Accepted) => return Ok(true),
        Ok(Accepting::MissingBlob) if node.is_full() => return Err(Unhealed::NoRoom),
        Ok(Accepting::MissingBlob) | Err(_) => return Err(Unhealed::Failed),
        Ok(Accepting::Refused(_)) => {}
    }
    // This node has promised a later round, which never ended or has dropped a tombstone since. A round of its own
    // makes the current version the one of all nodes.
    let refreshed = cluster
        .change(&key, &Uploads::new(), |_| Step::Refresh)
        .await;
    if let Err(error) = refreshed {
        debug!(key, %error, "cannot settle a key for healing");
    }
    if newer_here().await? {
        Ok(true)
    } else {
        Err(Unhealed::Failed)
    }
}
