//! What a request does with the three replicas: put, get, delete.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures::FutureExt as _;
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::conditions::Condition;
use crate::error::{Error, Failure};
use crate::node::HEDGE;
use crate::peer::now_millis;
use crate::quorum::{QUORUM, Tracker, Verdict};
use crate::round::{Cluster, Step, Uploads};
use crate::version::{BlobId, BlobRef, Headers, Live, State, Version};

/// An object to store.
#[derive(Debug)]
pub(crate) struct Upload {
    pub(crate) data: Bytes,
    pub(crate) etag: [u8; 16],
    pub(crate) blake3: [u8; 32],
    pub(crate) headers: Headers,
    /// Held until the write has ended, also when the client has long gone: the bytes are in memory that long.
    pub(crate) _place: OwnedSemaphorePermit,
}

/// Whether a write was done or its condition did not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Done,
    ConditionFailed,
}

/// What one replica made of a blob or a sign of life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Took {
    Yes,
    /// It was asked and could not.
    Refused,
    Unreachable,
}

/// The replicated store.
pub(crate) struct Coordinator {
    cluster: Arc<Cluster>,
}

impl Coordinator {
    pub(crate) fn new(cluster: Arc<Cluster>) -> Self {
        Self { cluster }
    }

    pub(crate) fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// Stores an object. Goes on to its end when the client hangs up, so that it is done or not done, never halfway.
    pub(crate) async fn put(
        self: &Arc<Self>,
        key: String,
        upload: Upload,
        condition: Condition,
    ) -> Result<Outcome, Error> {
        let this = Arc::clone(self);
        let task = async move { this.put_now(&key, upload, &condition).await };
        let task = self.cluster.node().tasks().spawn(task);
        let ended = task.await.ok().flatten();
        ended.unwrap_or(Err(Error::Unknown))
    }

    async fn put_now(
        &self,
        key: &str,
        upload: Upload,
        condition: &Condition,
    ) -> Result<Outcome, Error> {
        // A condition that fails already need not cost three copies of the body.
        if *condition != Condition::Always {
            let current = self.cluster.read(key).await?;
            if !condition.holds(current.as_ref().and_then(Version::live)) {
                return Ok(Outcome::ConditionFailed);
            }
        }
        self.expect_quorum().await?;
        let blob = BlobRef {
            id: BlobId::random(),
            len: upload.data.len() as u64,
            blake3: upload.blake3,
        };
        let stored = CancellationToken::new();
        let (uploads, done) = self.send_blob(blob.id, &upload.data, &stored);
        wait_for_quorum(done).await?;
        stored.cancel();
        let settled = self.cluster.change(key, &uploads, |current| {
            let current = current.and_then(Version::live);
            if !condition.holds(current) {
                return Step::Keep;
            }
            let after = current.map_or(0, |live| live.last_modified_ms + 1);
            Step::Write(State::Live(Live {
                blobs: vec![blob],
                size: blob.len,
                etag: upload.etag,
                headers: upload.headers.clone(),
                last_modified_ms: now_millis().max(after),
            }))
        });
        Ok(if settled.await?.wrote {
            Outcome::Done
        } else {
            Outcome::ConditionFailed
        })
    }

    /// Fails at once when the heartbeats say that there is no quorum and a fresh look confirms it: sending a large
    /// body only to find out would take longer than a client should wait.
    async fn expect_quorum(&self) -> Result<(), Error> {
        let up = || self.cluster.replicas().iter().filter(|r| r.is_up()).count();
        if up() >= QUORUM {
            return Ok(());
        }
        let (sender, answers) = unbounded_channel();
        sender.send(Took::Yes).ok(); // this node
        for peer in self.cluster.node().peers() {
            let (peer, sender) = (Arc::clone(peer), sender.clone());
            let ping = async move {
                let pong = peer.ping().await;
                sender
                    .send(if pong { Took::Yes } else { Took::Unreachable })
                    .ok();
            };
            self.cluster.node().tasks().spawn(ping);
        }
        wait_for_quorum(answers).await
    }

    /// Sends a blob to all replicas. Those believed down get a late start, when enough others are left, and nothing
    /// at all once `enough` says that a quorum has it: what is sent to a frozen node only fills memory. Such a node
    /// fetches the blob when it accepts the version.
    fn send_blob(
        &self,
        id: BlobId,
        data: &Bytes,
        enough: &CancellationToken,
    ) -> (Uploads, UnboundedReceiver<Took>) {
        let replicas = self.cluster.replicas();
        let others = replicas.iter().filter(|r| r.is_up()).count() >= QUORUM;
        let (sender, done) = unbounded_channel();
        let mut uploads = Uploads::new();
        for replica in replicas {
            let late = others && !replica.is_up();
            let (target, data, sender) = (replica.clone(), data.clone(), sender.clone());
            let enough = enough.clone();
            let send = async move {
                let pause = enough.run_until_cancelled(sleep(HEDGE));
                let stored = if late && pause.await.is_none() {
                    Err(Failure::Suspected)
                } else {
                    target.clone().put_blob(id, data).await
                };
                let took = match &stored {
                    Ok(()) => Took::Yes,
                    Err(failure) => {
                        let node = target.node();
                        debug!(blob = %id, node, "no copy on node {node}: {}", failure.chain());
                        if failure.is_refusal() {
                            Took::Refused
                        } else {
                            Took::Unreachable
                        }
                    }
                };
                sender.send(took).ok();
                stored.is_ok()
            };
            let task = self.cluster.node().tasks().spawn(send);
            let ended = task
                .map(|stored| stored.ok().flatten().unwrap_or(false))
                .boxed()
                .shared();
            uploads.insert(replica.node(), ended);
        }
        (uploads, done)
    }

    /// The object under `key`.
    pub(crate) async fn get(&self, key: &str) -> Result<Option<Live>, Error> {
        let version = self.cluster.read(key).await?;
        Ok(version.and_then(|version| match version.state {
            State::Live(live) => Some(live),
            State::Tomb => None,
        }))
    }

    /// Part of an object's bytes, every block of them checked.
    pub(crate) async fn bytes(&self, live: &Live, range: Range<u64>) -> Result<Bytes, Error> {
        let [blob] = live.blobs[..] else {
            warn!("object is made of several blobs, which this program does not read yet");
            return Err(Error::Unreadable);
        };
        let data = self.cluster.node().get_blob_anywhere(blob, range).await;
        data.ok_or(Error::Unreadable)
    }

    /// Deletes an object; what is not there needs nothing. Goes on to its end when the client hangs up.
    pub(crate) async fn delete(
        self: &Arc<Self>,
        key: String,
        condition: Condition,
    ) -> Result<Outcome, Error> {
        let this = Arc::clone(self);
        let task = async move { this.delete_now(&key, &condition).await };
        let task = self.cluster.node().tasks().spawn(task);
        let ended = task.await.ok().flatten();
        ended.unwrap_or(Err(Error::Unknown))
    }

    async fn delete_now(&self, key: &str, condition: &Condition) -> Result<Outcome, Error> {
        let outcome = |current: Option<&Live>| {
            if condition.holds(current) {
                Outcome::Done
            } else {
                Outcome::ConditionFailed
            }
        };
        // Most deletes of what is absent end here, without leaving a row for the key.
        let current = self.cluster.read(key).await?;
        if current.as_ref().and_then(Version::live).is_none() {
            return Ok(outcome(None));
        }
        let none = Uploads::new();
        let settled = self.cluster.change(key, &none, |current| {
            match current.and_then(Version::live) {
                Some(live) if condition.holds(Some(live)) => Step::Write(State::Tomb),
                Some(_) | None => Step::Keep,
            }
        });
        let settled = settled.await?;
        if settled.wrote {
            return Ok(Outcome::Done);
        }
        Ok(outcome(settled.version.as_ref().and_then(Version::live)))
    }
}

/// Waits until a quorum has said yes, or cannot any more.
async fn wait_for_quorum(mut answers: UnboundedReceiver<Took>) -> Result<(), Error> {
    let mut tracker = Tracker::default();
    let mut error = Error::Unavailable;
    while let Some(took) = answers.recv().await {
        let verdict = match took {
            Took::Yes => tracker.yes(),
            Took::Refused => {
                error = Error::NotStored;
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
    Err(error)
}
