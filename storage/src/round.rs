//! Rounds of the register protocol over the three replicas: always asked all, answered as soon as two agree.
//!
//! What is still under way when a round is decided goes on in the background, so a healthy third node is soon as
//! current as the others and a dead or frozen one holds up nobody.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::{BoxFuture, Shared};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::time::{Instant, sleep, timeout, timeout_at};

use crate::ballot::Ballot;
use crate::config::Deadlines;
use crate::error::{Error, Failure};
use crate::node::{Accepting, HEDGE, Node};
pub(crate) use crate::quorum::Step;
use crate::quorum::{Next, Settled, Tracker, Verdict, current, next_value, promised, quorum_of};
use crate::register::Nack;
use crate::replica::Replica;
use crate::sys;
use crate::version::Version;
use crate::wire::{Accept, ListPage, Listing, Prepare, Promise};

/// How long a round waits for the last node after another refused it: the refusal says that a higher round is on its
/// way, so a frozen third node is not waited for.
const AFTER_REFUSAL: Duration = Duration::from_millis(50);
/// Longest pause before trying again with a higher ballot; the real one is random below it, and shorter at first.
const MAX_BACKOFF_MS: u64 = 100;

/// For each node, the end of its blob upload: an accept is not sent before it, or it would fetch what is on its way.
pub(crate) type Uploads = HashMap<u8, Upload>;
/// The end of an upload to one node; whether it has the blob.
pub(crate) type Upload = Shared<BoxFuture<'static, bool>>;

enum Answer<T> {
    Yes(T),
    Refused(Nack),
    Failed,
}

enum Round<T> {
    Quorum(Vec<T>),
    Refused {
        at_least: Ballot,
        /// Every node refused, so nothing happened anywhere.
        by_all: bool,
    },
    Unreachable,
}

/// The three replicas.
pub(crate) struct Cluster {
    node: Arc<Node>,
    replicas: Vec<Replica>,
    deadlines: Deadlines,
}

impl Cluster {
    pub(crate) fn new(node: Arc<Node>, deadlines: Deadlines) -> Self {
        let peers = node.peers().iter().cloned().map(Replica::Remote);
        let replicas = std::iter::once(Replica::Local(Arc::clone(&node))).chain(peers);
        Self {
            replicas: replicas.collect(),
            node,
            deadlines,
        }
    }

    pub(crate) fn node(&self) -> &Arc<Node> {
        &self.node
    }

    pub(crate) fn replicas(&self) -> &[Replica] {
        &self.replicas
    }

    /// How many replicas have to agree.
    pub(crate) fn quorum(&self) -> usize {
        quorum_of(self.replicas.len())
    }

    /// Whether as many replicas as have to agree are believed up and to have room for a blob of `len` bytes.
    pub(crate) fn expects_quorum(&self, len: u64) -> bool {
        let promising = |replica: &&Replica| replica.is_up() && replica.has_room(len);
        self.replicas.iter().filter(promising).count() >= self.quorum()
    }

    /// The current version of `key`. One exchange when the first two answers agree; otherwise a round that makes one
    /// of them the chosen one, and so repairs the other.
    pub(crate) async fn read(&self, key: &str) -> Result<Option<Version>, Error> {
        let mut answers = self.ask_all(|replica| {
            let read = replica.read(key.to_owned());
            async move {
                read.await
                    .map_or_else(|failure| failed(&failure), Answer::Yes)
            }
        });
        let Round::Quorum(answers) = collect(self.replicas.len(), &mut answers).await else {
            return Err(Error::Unavailable);
        };
        let now = current(answers);
        if now.chosen {
            return Ok(now.version);
        }
        let settled = self.change(key, &Uploads::new(), |_| Step::Keep).await;
        Ok(settled?.version)
    }

    /// Changes `key`: `decide` sees the current version, as often as it takes, and what it returned last is what was
    /// done. Takes effect once or not at all, also when rounds of other writers cut in.
    pub(crate) async fn change(
        &self,
        key: &str,
        uploads: &Uploads,
        decide: impl Fn(Option<&Version>) -> Step,
    ) -> Result<Settled, Error> {
        let deadline = Instant::now() + self.deadlines.contention;
        let mut seen = Ballot::ZERO;
        let mut tried: Vec<Ballot> = Vec::new();
        let give_up = |tried: &[Ballot], error| {
            if tried.is_empty() {
                error
            } else {
                Error::Unknown
            }
        };
        for attempt in 0.. {
            if attempt > 0 {
                back_off(attempt).await;
            }
            if Instant::now() > deadline {
                return Err(give_up(&tried, Error::Contended));
            }
            let ballot = self.node.next_ballot(seen).await;
            let ballot = ballot.map_err(|_| give_up(&tried, Error::Unavailable))?;
            seen = ballot;
            let now = match self.prepare(key, ballot).await {
                Round::Quorum(promises) => promised(promises),
                Round::Refused { at_least, .. } => {
                    seen = seen.max(at_least);
                    continue;
                }
                Round::Unreachable => return Err(give_up(&tried, Error::Unavailable)),
            };
            let (value, wrote) = match next_value(&tried, &now, ballot, &decide)? {
                Next::Settled(settled) => return Ok(settled),
                Next::CarryOn(version, wrote) => (version, wrote),
                Next::Write(version) => {
                    tried.push(ballot);
                    (version, true)
                }
            };
            match self.accept(key, ballot, &value, uploads).await {
                Round::Quorum(_) => {
                    return Ok(Settled {
                        version: Some(value),
                        wrote,
                    });
                }
                Round::Refused { at_least, by_all } => {
                    seen = seen.max(at_least);
                    if by_all && tried.last() == Some(&ballot) {
                        tried.pop();
                    }
                }
                // The next prepare finds out whether it is the nodes or this round.
                Round::Unreachable => {}
            }
        }
        unreachable!("the loop ends by returning")
    }

    /// Pages of keys from a quorum, and that of the last replica as well when they are not `enough`, unless it takes
    /// long or is suspected.
    pub(crate) async fn list(
        &self,
        listing: &Listing,
        enough: impl Fn(&[ListPage]) -> bool,
    ) -> Result<Vec<ListPage>, Error> {
        let mut answers = self.ask_all(|replica| {
            let page = replica.list(listing.clone());
            async move {
                page.await
                    .map_or_else(|failure| failed(&failure), Answer::Yes)
            }
        });
        let mut pages = match collect(self.replicas.len(), &mut answers).await {
            Round::Quorum(pages) => pages,
            Round::Refused { .. } | Round::Unreachable => return Err(Error::Unavailable),
        };
        if !enough(&pages)
            && self.replicas.iter().all(Replica::is_up)
            && let Ok(Some(Answer::Yes(page))) = timeout(HEDGE, answers.recv()).await
        {
            pages.push(page);
        }
        Ok(pages)
    }

    async fn prepare(&self, key: &str, ballot: Ballot) -> Round<Promise> {
        let mut answers = self.ask_all(|replica| {
            let key = key.to_owned();
            async move {
                match replica.prepare(Prepare { key, ballot }).await {
                    Ok(Ok(promise)) => Answer::Yes(promise),
                    Ok(Err(nack)) => Answer::Refused(nack),
                    Err(failure) => failed(&failure),
                }
            }
        });
        collect(self.replicas.len(), &mut answers).await
    }

    async fn accept(
        &self,
        key: &str,
        ballot: Ballot,
        version: &Version,
        uploads: &Uploads,
    ) -> Round<()> {
        let mut answers = self.ask_all(|replica| {
            let upload = uploads.get(&replica.node()).cloned();
            let accept = Accept {
                key: key.to_owned(),
                ballot,
                version: version.clone(),
                source: self.node.id(),
            };
            async move {
                if let Some(upload) = upload {
                    upload.await;
                }
                match replica.accept(accept).await {
                    Ok(Accepting::Accepted) => Answer::Yes(()),
                    Ok(Accepting::Refused(nack)) => Answer::Refused(nack),
                    Ok(Accepting::MissingBlob) => Answer::Failed,
                    Err(failure) => failed(&failure),
                }
            }
        });
        collect(self.replicas.len(), &mut answers).await
    }

    /// Asks all replicas at once. Each request runs to its end whether or not anybody still waits for it.
    fn ask_all<T, F>(&self, ask: impl Fn(Replica) -> F) -> UnboundedReceiver<T>
    where
        T: Send + 'static,
        F: Future<Output = T> + Send + 'static,
    {
        let (sender, answers) = unbounded_channel();
        for replica in &self.replicas {
            let answer = ask(replica.clone());
            let sender = sender.clone();
            // Nobody listening means that the others have decided.
            let task = answer.map(move |answer| sender.send(answer).ok());
            self.node.tasks().spawn(task);
        }
        answers
    }
}

fn failed<T>(failure: &Failure) -> Answer<T> {
    tracing::debug!(
        "a replica did not take part in a round: {}",
        failure.chain()
    );
    Answer::Failed
}

/// Waits for a quorum, for its impossibility, or, once a node refused, a short while for the rest.
async fn collect<T>(nodes: usize, answers: &mut UnboundedReceiver<Answer<T>>) -> Round<T> {
    let mut tracker = Tracker::of(nodes);
    let mut yes = Vec::new();
    let mut refused: Option<(Ballot, Instant)> = None;
    let mut refusals = 0;
    loop {
        let answer = match refused {
            Some((_, until)) => timeout_at(until, answers.recv()).await.unwrap_or(None),
            None => answers.recv().await,
        };
        let verdict = match answer {
            None => break,
            Some(Answer::Yes(answer)) => {
                yes.push(answer);
                tracker.yes()
            }
            Some(Answer::Refused(nack)) => {
                refusals += 1;
                let (highest, until) =
                    refused.unwrap_or((nack.at_least, Instant::now() + AFTER_REFUSAL));
                refused = Some((highest.max(nack.at_least), until));
                tracker.no()
            }
            Some(Answer::Failed) => tracker.no(),
        };
        match verdict {
            Verdict::Reached => return Round::Quorum(yes),
            Verdict::Failed if refused.is_none() => break,
            Verdict::Failed | Verdict::Wait => {}
        }
    }
    match refused {
        Some((at_least, _)) => Round::Refused {
            at_least,
            by_all: refusals == nodes,
        },
        None => Round::Unreachable,
    }
}

async fn back_off(attempt: u32) {
    let longest = MAX_BACKOFF_MS.min(4 << attempt.min(10));
    sleep(Duration::from_millis(sys::random_range(1..=longest))).await;
}
