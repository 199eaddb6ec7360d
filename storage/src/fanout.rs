//! An upload on its way to all three replicas.
//!
//! A small blob is one message to each. A larger one travels in pieces through a short queue to each, so that it is
//! in memory only as far as the slowest replica is behind; one that holds up the other two is left behind, and fetches
//! the blob when it accepts the version. Two replicas with the whole blob on disk are enough to go on.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::stream::FuturesUnordered;
use futures::{FutureExt as _, StreamExt as _};
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::debug;

use crate::error::{Error, Failure};
use crate::node::HEDGE;
use crate::quorum::{Tracker, Verdict, quorum_of};
use crate::replica::Replica;
use crate::round::{Cluster, Uploads};
use crate::version::{BlobId, BlobRef};
use crate::wire::PIECE_BYTES;

/// Bytes of one piece from a client: small, as there are several in memory for every upload.
pub(crate) const UPLOAD_PIECE_BYTES: u64 = 256 * 1024;
/// Pieces waiting for one replica.
const QUEUE: usize = 4;
/// How long one replica may hold up the other two.
const PATIENCE: Duration = Duration::from_millis(250);

/// How long an upload goes on when too few replicas are believed up to end it. They are found out after a heartbeat and
/// its deadline, a second and a quarter, and all in all a client is not to wait for two seconds.
const LOST: Duration = Duration::from_millis(500);
/// Pause between two looks who is believed up.
const LOOK: Duration = Duration::from_millis(50);

/// What one replica made of a blob or a sign of life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Took {
    Yes,
    /// It was asked and could not.
    Refused,
    /// It has no room.
    Full,
    Unreachable,
}

impl Took {
    fn of(done: &Result<(), Failure>) -> Self {
        match done {
            Ok(()) => Self::Yes,
            Err(failure) if failure.is_full() => Self::Full,
            Err(failure) if failure.is_refusal() => Self::Refused,
            Err(_) => Self::Unreachable,
        }
    }
}

/// A blob that is durable on two nodes.
pub(crate) struct Stored {
    pub(crate) blob: BlobRef,
    /// What is still under way to the third.
    pub(crate) uploads: Uploads,
}

/// A blob being sent. Dropped before its end, it is given up everywhere.
pub(crate) struct Fanout {
    cluster: Arc<Cluster>,
    id: BlobId,
    len: u64,
    hash: blake3::Hasher,
    way: Way,
}

enum Way {
    Whole(Vec<Bytes>),
    Pieces {
        lanes: Vec<Lane>,
        done: UnboundedReceiver<Took>,
        uploads: Uploads,
    },
}

impl Fanout {
    /// Begins a blob of `len` bytes.
    pub(crate) fn new(cluster: Arc<Cluster>, len: u64) -> Self {
        let id = BlobId::random();
        let way = if len <= PIECE_BYTES {
            Way::Whole(Vec::new())
        } else {
            let (sender, done) = unbounded_channel();
            let mut uploads = Uploads::new();
            let lanes = cluster.replicas().iter();
            let others = cluster.expects_quorum(len);
            let lanes = lanes.map(|replica| {
                let full = others && !replica.has_room(len);
                let (lane, task) = Lane::start(&cluster, replica, id, full, sender.clone());
                uploads.insert(replica.node(), task);
                lane
            });
            Way::Pieces {
                lanes: lanes.collect(),
                done,
                uploads,
            }
        };
        Self {
            cluster,
            id,
            len: 0,
            hash: blake3::Hasher::new(),
            way,
        }
    }

    /// Sends the next bytes, at most [`PIECE_BYTES`]. Waits while the replicas are busy.
    pub(crate) async fn send(&mut self, data: Bytes) -> Result<(), Error> {
        self.len += data.len() as u64;
        self.hash.update(&data);
        match &mut self.way {
            Way::Whole(all) => all.push(data),
            Way::Pieces { lanes, done, .. } => {
                pass(&self.cluster, lanes, done, &Piece::Data(data)).await?;
            }
        }
        Ok(())
    }

    /// Ends the blob, once two nodes have it on disk.
    pub(crate) async fn end(self) -> Result<Stored, Error> {
        let blob = BlobRef {
            id: self.id,
            len: self.len,
            blake3: *self.hash.finalize().as_bytes(),
        };
        let uploads = match self.way {
            Way::Whole(all) => whole(&self.cluster, self.id, join(all)).await?,
            Way::Pieces {
                mut lanes,
                mut done,
                uploads,
            } => {
                let (cluster, nodes) = (&self.cluster, self.cluster.replicas().len());
                pass(cluster, &mut lanes, &mut done, &Piece::End(blob)).await?;
                tokio::select! {
                    biased; // a simulation decides all chance
                    ended = wait_for_quorum(nodes, &mut done) => ended?,
                    () = lost(cluster) => return Err(Error::Unavailable),
                }
                lanes.into_iter().for_each(Lane::leave);
                uploads
            }
        };
        Ok(Stored { blob, uploads })
    }
}

fn join(mut all: Vec<Bytes>) -> Bytes {
    if all.len() == 1 {
        all.remove(0)
    } else {
        all.concat().into()
    }
}

#[derive(Clone)]
enum Piece {
    Data(Bytes),
    End(BlobRef),
}

/// The way to one replica.
struct Lane {
    replica: Replica,
    queue: mpsc::Sender<Piece>,
    /// Ends what is under way when the lane is dropped.
    cut: DropGuard,
}

impl Lane {
    fn start(
        cluster: &Cluster,
        replica: &Replica,
        id: BlobId,
        full: bool,
        took: UnboundedSender<Took>,
    ) -> (Self, crate::round::Upload) {
        let (queue, pieces) = mpsc::channel(QUEUE);
        let cut = CancellationToken::new();
        let (target, stop) = (replica.clone(), cut.clone());
        let tasks = cluster.node().tasks().clone();
        let carry = async move {
            let carried = if full {
                Err(Failure::Full)
            } else {
                let carried = stop.run_until_cancelled(carry(&target, id, pieces)).await;
                carried.unwrap_or(Err(Failure::TooSlow))
            };
            took.send(Took::of(&carried)).ok();
            if let Err(failure) = &carried {
                let node = target.node();
                debug!(blob = %id, node, "no copy on node {node}: {}", failure.chain());
                // Best effort: what is not told now is given up over there after a silence.
                tasks.spawn(target.abort(id));
            }
            carried.is_ok()
        };
        let task = cluster.node().tasks().spawn(carry);
        let task = task.map(|stored| stored.ok().flatten().unwrap_or(false));
        let lane = Self {
            replica: replica.clone(),
            queue,
            cut: cut.drop_guard(),
        };
        (lane, task.boxed().shared())
    }

    /// Lets what is under way go on by itself.
    fn leave(self) {
        self.cut.disarm();
    }
}

/// Brings the pieces of a blob to one replica, one after the other.
async fn carry(
    replica: &Replica,
    id: BlobId,
    mut pieces: mpsc::Receiver<Piece>,
) -> Result<(), Failure> {
    let mut offset = 0;
    while let Some(piece) = pieces.recv().await {
        match piece {
            Piece::Data(data) => {
                let len = data.len() as u64;
                replica.clone().stage(id, offset, data).await?;
                offset += len;
            }
            Piece::End(blob) => return replica.clone().finish(blob).await,
        }
    }
    Err(Failure::Cancelled)
}

/// Queues a piece on every lane. One that has no room while two others have is left behind, after a moment, or at once
/// when it is believed down. Those that too few are left without are given up.
async fn pass(
    cluster: &Cluster,
    lanes: &mut Vec<Lane>,
    done: &mut UnboundedReceiver<Took>,
    piece: &Piece,
) -> Result<(), Error> {
    let nodes = cluster.replicas().len();
    let quorum = quorum_of(nodes);
    let suspects = |lanes: &[Lane]| lanes.iter().filter(|l| !l.replica.is_up()).count();
    let suspected = suspects(lanes);
    let mut waiting: FuturesUnordered<_> = lanes
        .drain(..)
        .map(async |lane| {
            let room = lane.queue.send(piece.clone()).await;
            room.is_ok().then_some(lane)
        })
        .collect();
    let mut until = None;
    let mut lost = pin!(lost(cluster));
    while let Some(taken) = {
        tokio::select! {
            biased; // a simulation decides all chance
            taken = waiting.next() => taken,
            () = sleep_until(until.unwrap_or_else(Instant::now)), if until.is_some() => None,
            () = &mut lost => None,
        }
    } {
        lanes.extend(taken);
        if lanes.len() == quorum {
            let patience = if suspects(lanes) < suspected {
                Duration::ZERO
            } else {
                PATIENCE
            };
            until = Some(Instant::now() + patience);
        }
    }
    drop(waiting);
    if lanes.len() >= quorum {
        return Ok(());
    }
    // Each lane that ended has said why.
    wait_for_quorum(nodes, done)
        .await
        .and(Err(Error::NotStored))
}

/// Ends when fewer replicas than have to agree have been believed up for a while.
async fn lost(cluster: &Cluster) {
    let mut since = None;
    loop {
        sleep(LOOK).await;
        let up = cluster.replicas().iter().filter(|r| r.is_up()).count();
        if up >= cluster.quorum() {
            since = None;
        } else if since.get_or_insert_with(Instant::now).elapsed() >= LOST {
            return;
        }
    }
}

/// Sends a blob that is one message to all replicas, until two have it. Those believed down or full get a late start,
/// when enough others are left, and nothing at all once a quorum has it: what is sent to a frozen node only fills memory.
async fn whole(cluster: &Cluster, id: BlobId, data: Bytes) -> Result<Uploads, Error> {
    let replicas = cluster.replicas();
    let len = data.len() as u64;
    let others = cluster.expects_quorum(len);
    let (sender, mut done) = unbounded_channel();
    let enough = CancellationToken::new();
    let mut uploads = Uploads::new();
    for replica in replicas {
        let late = others && !(replica.is_up() && replica.has_room(len));
        let (target, data, sender) = (replica.clone(), data.clone(), sender.clone());
        let enough = enough.clone();
        let send = async move {
            let pause = enough.run_until_cancelled(sleep(HEDGE));
            let stored = if late && pause.await.is_none() {
                Err(Failure::Suspected)
            } else {
                target.clone().put_blob(id, data).await
            };
            if let Err(failure) = &stored {
                let node = target.node();
                debug!(blob = %id, node, "no copy on node {node}: {}", failure.chain());
            }
            sender.send(Took::of(&stored)).ok();
            stored.is_ok()
        };
        let task = cluster.node().tasks().spawn(send);
        let ended = task.map(|stored| stored.ok().flatten().unwrap_or(false));
        uploads.insert(replica.node(), ended.boxed().shared());
    }
    drop(sender);
    wait_for_quorum(replicas.len(), &mut done).await?;
    enough.cancel();
    Ok(uploads)
}

/// Waits until a quorum has said yes, or cannot any more.
pub(crate) async fn wait_for_quorum(
    nodes: usize,
    answers: &mut UnboundedReceiver<Took>,
) -> Result<(), Error> {
    let mut tracker = Tracker::of(nodes);
    let mut error = Error::Unavailable;
    let mut full = 0;
    while let Some(took) = answers.recv().await {
        let verdict = match took {
            Took::Yes => tracker.yes(),
            Took::Refused => {
                error = Error::NotStored;
                tracker.no()
            }
            Took::Full => {
                full += 1;
                tracker.no()
            }
            Took::Unreachable => tracker.no(),
        };
        match verdict {
            Verdict::Reached => return Ok(()),
            Verdict::Failed => break,
            Verdict::Wait => {}
        }
    }
    // One full node alone does not keep a blob from being stored.
    if full > nodes - quorum_of(nodes) {
        return Err(Error::Full);
    }
    Err(error)
}

#[cfg(test)]
mod tests;
