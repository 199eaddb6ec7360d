//! What a request does with the three replicas: put, get, delete.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures::{Stream, StreamExt as _};
use tokio::sync::mpsc::unbounded_channel;

use crate::conditions::Condition;
use crate::error::Error;
use crate::failpoint;
use crate::fanout::{Fanout, Took, wait_for_quorum};
use crate::node::bytes::pieces;
use crate::peer::now_millis;
use crate::round::{Cluster, Step, Uploads};
use crate::version::{Live, State, Version};

/// Pieces of a blob read ahead of the client.
pub(crate) const READ_AHEAD: usize = 1;

/// Whether a write was done or its condition did not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Done,
    ConditionFailed,
}

/// The replicated store.
pub(crate) struct Coordinator {
    cluster: Arc<Cluster>,
}

impl Coordinator {
    pub(crate) fn new(cluster: Arc<Cluster>) -> Self {
        Self { cluster }
    }

    pub(crate) fn cluster(&self) -> &Arc<Cluster> {
        &self.cluster
    }

    /// Runs `work` to its end also when the client hangs up, so that it is done or not done, never halfway. `None`:
    /// this node is stopping and cut it short.
    pub(crate) async fn to_the_end<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Option<T> {
        self.cluster.node().tasks().spawn(work).await.ok().flatten()
    }

    /// Begins to store a blob of `len` bytes.
    pub(crate) async fn begin(&self, len: u64) -> Result<Fanout, Error> {
        self.expect_quorum(len).await?;
        Ok(Fanout::new(Arc::clone(&self.cluster), len))
    }

    /// Whether a write under `condition` would be refused now, which need not cost three copies of a body.
    pub(crate) async fn refuses(&self, key: &str, condition: &Condition) -> Result<bool, Error> {
        if *condition == Condition::Always {
            return Ok(false);
        }
        let current = self.cluster.read(key).await?;
        Ok(!condition.holds(current.as_ref().and_then(Version::live)))
    }

    /// Makes `new`, whose blobs are stored, the object under `key`, with the time of now. `None`: the condition did
    /// not hold.
    pub(crate) async fn write(
        &self,
        key: &str,
        new: Live,
        uploads: &Uploads,
        condition: &Condition,
    ) -> Result<Option<Live>, Error> {
        let settled = self.cluster.change(key, uploads, |current| {
            let current = current.and_then(Version::live);
            if !condition.holds(current) {
                return Step::Keep;
            }
            let after = current.map_or(0, |live| live.last_modified_ms + 1);
            Step::Write(State::Live(Live {
                last_modified_ms: now_millis().max(after),
                ..new.clone()
            }))
        });
        let settled = settled.await?;
        failpoint::pass("reply");
        let version = settled.version.filter(|_| settled.wrote);
        Ok(version.map(|version| match version.state {
            State::Live(live) => live,
            State::Tomb => new, // and deleted by somebody since
        }))
    }

    /// Fails at once when the heartbeats say that there is no quorum with room for `len` bytes and a fresh look
    /// confirms it: sending a large body only to find out would take longer than a client should wait.
    async fn expect_quorum(&self, len: u64) -> Result<(), Error> {
        if self.cluster.expects_quorum(len) {
            return Ok(());
        }
        let (sender, mut answers) = unbounded_channel();
        let took = |room: bool| if room { Took::Yes } else { Took::Full };
        let node = self.cluster.node();
        node.look_at_space().await;
        sender.send(took(node.has_room(len))).ok();
        for peer in self.cluster.node().peers() {
            let (peer, sender) = (Arc::clone(peer), sender.clone());
            let ping = self.cluster.node().folder();
            let asking = async move {
                let pong = peer.ping(&ping).await;
                let answer = pong.map_or(Took::Unreachable, |_| took(peer.has_room(len)));
                sender.send(answer).ok();
            };
            self.cluster.node().tasks().spawn(asking);
        }
        drop(sender);
        wait_for_quorum(self.cluster.replicas().len(), &mut answers).await
    }

    /// The object under `key`.
    pub(crate) async fn get(&self, key: &str) -> Result<Option<Live>, Error> {
        let version = self.cluster.read(key).await?;
        Ok(version.and_then(|version| match version.state {
            State::Live(live) => Some(live),
            State::Tomb => None,
        }))
    }

    /// Part of an object's bytes in pieces of at most a megabyte, every block of them checked.
    pub(crate) fn bytes(
        &self,
        live: &Live,
        range: Range<u64>,
    ) -> impl Stream<Item = Result<Bytes, Error>> + Send + 'static {
        let mut start = 0;
        let blobs = live.blobs.clone().into_iter();
        let wanted = blobs.flat_map(move |blob| {
            let (from, to) = (start, start + blob.len);
            start = to;
            let within = range.start.clamp(from, to) - from..range.end.clamp(from, to) - from;
            pieces(within).map(move |piece| (blob, piece))
        });
        let node = Arc::clone(self.cluster.node());
        let reads = futures::stream::iter(wanted).map(move |(blob, piece)| {
            let node = Arc::clone(&node);
            async move { node.get_blob_anywhere(blob, piece).await }
        });
        reads.buffered(READ_AHEAD)
    }

    /// Deletes an object; what is not there needs nothing. Goes on to its end when the client hangs up.
    pub(crate) async fn delete(
        self: &Arc<Self>,
        key: String,
        condition: Condition,
    ) -> Result<Outcome, Error> {
        let this = Arc::clone(self);
        let work = async move { this.delete_now(&key, &condition).await };
        let ended = self.to_the_end(work).await;
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
