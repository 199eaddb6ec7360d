//! The one thread that writes the index: takes what is queued, commits it at once, and only then answers.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures::FutureExt as _;
use redb::{Database, Durability, Table, WriteTransaction};
use tokio::sync::{mpsc, oneshot};
use tracing::error;

use super::feed::{Behind, Cursors, put_acked, put_pulled};
use super::leftovers::{Leftovers, Tombstone};
use super::members::Members;
use super::row::{Row, seal, unseal};
use super::{
    ACKED, COMMITS, Counts, Error, FEED, FEED_ID, FENCE, FLOOR, META, NEXT_SEQ, PULLED, REBUILDING,
    REG, RESERVE, redb,
};
use crate::ballot::Ballot;
use crate::failpoint;
use crate::register::{self, Limits, Nack, Register};
use crate::sys;
use crate::version::Version;
use crate::wire::{Fence, Promise};

/// Most operations in one commit: enough that the cost of a sync is shared, little enough that nobody waits long.
const BATCH: usize = 256;

/// What to do about an index that cannot be read or written.
pub(super) const ADVICE: &str = "check the disk (space, kernel log, SMART) and start again; if the index is damaged, \
    `quiz-storage replace` puts it aside, and the node is rebuilt from both others; do not put an older copy in its \
    place, which has forgotten promises";

/// One change of the index and where its answer goes.
#[derive(Debug)]
pub(crate) enum Op {
    Prepare {
        key: String,
        ballot: Ballot,
        reply: oneshot::Sender<Result<Promise, Nack>>,
    },
    Accept {
        key: String,
        ballot: Ballot,
        version: Box<Version>,
        reply: oneshot::Sender<Result<(), Nack>>,
    },
    Reserve {
        upto: u64,
        reply: oneshot::Sender<()>,
    },
    Pulled {
        feed: [u8; 16],
        seq: u64,
        reply: oneshot::Sender<()>,
    },
    Acknowledge {
        node: u8,
        seq: u64,
        reply: oneshot::Sender<()>,
    },
    Collect {
        tombstones: Vec<Tombstone>,
        reply: oneshot::Sender<u64>,
    },
    ForgetPromises {
        keys: Vec<String>,
        reply: oneshot::Sender<u64>,
    },
    /// Makes durable what is known of the other nodes' folders.
    Save { reply: oneshot::Sender<()> },
    /// Raises the fence for a node that is being rebuilt, and takes note of that node's new feed.
    Fence {
        order: Box<Fence>,
        reply: oneshot::Sender<()>,
    },
    Rebuilding {
        feed_id: [u8; 16],
        reply: oneshot::Sender<()>,
    },
    /// Drops every row, of a node that is being rebuilt.
    ForgetAll { reply: oneshot::Sender<()> },
    Adopt {
        key: String,
        accepted: Ballot,
        version: Box<Version>,
        reply: oneshot::Sender<()>,
    },
    Rebuilt {
        fence: Ballot,
        reply: oneshot::Sender<()>,
    },
}

/// An answer that waits for its commit.
type Answer = Box<dyn FnOnce()>;

fn done(reply: oneshot::Sender<()>) -> Answer {
    Box::new(move || {
        reply.send(()).ok();
    })
}

/// What others read while the writer writes.
#[derive(Default)]
pub(super) struct Shared {
    pub(super) counts: Arc<Counts>,
    pub(super) behind: Arc<Behind>,
    pub(super) leftovers: Arc<Leftovers>,
    pub(super) members: Arc<Members>,
    pub(super) last_seq: Arc<AtomicU64>,
}

pub(super) struct Writer {
    db: Arc<Database>,
    limits: Limits,
    next_seq: u64,
    cursors: Cursors,
    shared: Shared,
}

struct Tables<'t> {
    reg: Table<'t, &'static str, &'static [u8]>,
    feed: Table<'t, u64, &'static str>,
    meta: Table<'t, &'static str, &'static [u8]>,
    pulled: Table<'t, &'static [u8], &'static [u8]>,
    acked: Table<'t, u64, &'static [u8]>,
}

impl<'t> Tables<'t> {
    fn open(write: &'t WriteTransaction) -> Result<Self, Error> {
        Ok(Self {
            reg: write.open_table(REG).map_err(redb)?,
            feed: write.open_table(FEED).map_err(redb)?,
            meta: write.open_table(META).map_err(redb)?,
            pulled: write.open_table(PULLED).map_err(redb)?,
            acked: write.open_table(ACKED).map_err(redb)?,
        })
    }

    fn row(&self, key: &str) -> Result<Option<Row>, Error> {
        use redb::ReadableTable as _;
        let bytes = self.reg.get(key).map_err(redb)?;
        bytes.map_or(Ok(None), |bytes| Ok(Some(unseal(key, bytes.value())?)))
    }

    fn put_row(&mut self, key: &str, row: &Row) -> Result<(), Error> {
        self.reg.insert(key, &seal(key, row)[..]).map_err(redb)?;
        Ok(())
    }

    fn put_flag(&mut self, name: &str, flag: bool) -> Result<(), Error> {
        self.meta
            .insert(name, &seal(name, &flag)[..])
            .map_err(redb)?;
        Ok(())
    }

    fn put_number(&mut self, name: &str, number: u64) -> Result<(), Error> {
        self.meta
            .insert(name, &seal(name, &number)[..])
            .map_err(redb)?;
        Ok(())
    }
}

impl Writer {
    pub(super) fn new(
        db: Arc<Database>,
        limits: Limits,
        next_seq: u64,
        cursors: Cursors,
        shared: Shared,
    ) -> Self {
        Self {
            db,
            limits,
            next_seq,
            cursors,
            shared,
        }
    }

    /// Serves until every sender is gone. An error or a panic (which is how redb meets some damaged pages) ends the
    /// process: what is on disk is not known any more, and a node that answers from memory it cannot vouch for, or
    /// says that it is ready and takes no write, is worse than one that is down.
    pub(super) async fn run(mut self, queue: mpsc::Receiver<Op>) {
        let error = match AssertUnwindSafe(self.serve(queue)).catch_unwind().await {
            Ok(Ok(())) => return,
            Ok(Err(error)) => format!("{:#}", anyhow::Error::new(error)),
            Err(_) => "the writer panicked, see above".to_owned(),
        };
        error!("cannot commit to the index, aborting: {error}; {ADVICE}");
        sys::abort();
    }

    async fn serve(&mut self, mut queue: mpsc::Receiver<Op>) -> Result<(), Error> {
        while let Some(first) = queue.recv().await {
            let mut batch = vec![first];
            while batch.len() < BATCH
                && let Ok(op) = queue.try_recv()
            {
                batch.push(op);
            }
            for answer in self.commit(batch)? {
                answer();
            }
        }
        Ok(())
    }

    fn commit(&mut self, batch: Vec<Op>) -> Result<Vec<Answer>, Error> {
        let mut write = self.db.begin_write().map_err(redb)?;
        write.set_durability(Durability::Immediate).map_err(redb)?;
        let promises = batch.iter().any(|op| matches!(op, Op::Prepare { .. }));
        let accepts = batch.iter().any(|op| matches!(op, Op::Accept { .. }));
        // To remember another node's commits is none that it would have to remember in its turn.
        let counts = batch.iter().any(|op| !matches!(op, Op::Save { .. }));
        let mut answers = Vec::with_capacity(batch.len());
        let mut tables = Tables::open(&write)?;
        for op in batch {
            answers.push(self.apply(&mut tables, op)?);
        }
        tables.put_number(NEXT_SEQ, self.next_seq)?;
        let commits = self.shared.members.commits() + u64::from(counts);
        tables.put_number(COMMITS, commits)?;
        let saved = self.shared.members.save(&mut tables.meta)?;
        drop(tables);
        pass(promises, "promise-begun");
        pass(accepts, "accept-begun");
        write.commit().map_err(redb)?;
        pass(promises, "promise-committed");
        pass(accepts, "accept-committed");
        let last_seq = self.next_seq - 1;
        self.shared.last_seq.store(last_seq, Ordering::Relaxed);
        self.cursors.publish(&self.shared.behind);
        self.shared.members.committed(commits);
        self.shared.members.are_met(saved);
        Ok(answers)
    }

    fn apply(&mut self, tables: &mut Tables<'_>, op: Op) -> Result<Answer, Error> {
        // A caller that gave up no longer listens; what it asked for is done all the same.
        Ok(match op {
            Op::Prepare { key, ballot, reply } => {
                let promise = self.prepare(tables, &key, ballot)?;
                Box::new(move || {
                    reply.send(promise).ok();
                })
            }
            Op::Accept {
                key,
                ballot,
                version,
                reply,
            } => {
                let accepted = self.accept(tables, &key, ballot, *version)?;
                Box::new(move || {
                    reply.send(accepted).ok();
                })
            }
            Op::Reserve { upto, reply } => {
                tables.put_number(RESERVE, upto)?;
                self.shared.members.raise(Ballot {
                    micros: upto,
                    node: u8::MAX,
                });
                done(reply)
            }
            Op::Pulled { feed, seq, reply } => {
                put_pulled(&mut tables.pulled, feed, seq)?;
                done(reply)
            }
            Op::Collect { tombstones, reply } => {
                let mut dropped = 0;
                for (key, ballot) in tombstones {
                    let rule =
                        |row: &Register<Version>, limits| register::collect(row, limits, ballot);
                    dropped += u64::from(self.drop_row(tables, &key, rule)?);
                }
                Box::new(move || {
                    reply.send(dropped).ok();
                })
            }
            Op::ForgetPromises { keys, reply } => {
                let mut dropped = 0;
                for key in keys {
                    dropped += u64::from(self.drop_row(tables, &key, register::forget_promise)?);
                }
                Box::new(move || {
                    reply.send(dropped).ok();
                })
            }
            Op::Save { reply } => done(reply),
            Op::Fence { order, reply } => {
                let Fence { fence, from } = *order;
                // One that is late or repeated is of an earlier rebuilding, and so is the feed that it names.
                if fence > self.limits.fence {
                    self.shared.members.rebuilding(&from);
                }
                self.set_limits(tables, self.limits.floor, fence)?;
                done(reply)
            }
            Op::Rebuilding { feed_id, reply } => {
                tables.put_flag(REBUILDING, true)?;
                let sealed = seal(FEED_ID, &feed_id);
                tables.meta.insert(FEED_ID, &sealed[..]).map_err(redb)?;
                done(reply)
            }
            Op::ForgetAll { reply } => {
                self.forget_all(tables)?;
                done(reply)
            }
            Op::Adopt {
                key,
                accepted,
                version,
                reply,
            } => {
                self.adopt(tables, &key, accepted, *version)?;
                done(reply)
            }
            Op::Rebuilt { fence, reply } => {
                self.set_limits(tables, fence, fence)?;
                tables.put_flag(REBUILDING, false)?;
                done(reply)
            }
            Op::Acknowledge { node, seq, reply } => {
                if self.cursors.acknowledge(node, seq, &tables.feed)? {
                    put_acked(&mut tables.acked, node, seq)?;
                }
                done(reply)
            }
        })
    }

    fn prepare(
        &self,
        tables: &mut Tables<'_>,
        key: &str,
        ballot: Ballot,
    ) -> Result<Result<Promise, Nack>, Error> {
        let old = tables.row(key)?;
        let register = old.as_ref().map(|row| &row.register);
        let next = match register::prepare(register, self.limits, ballot) {
            Ok(next) => next,
            Err(nack) => return Ok(Err(nack)),
        };
        let promise = Promise {
            accepted: next.accepted,
            version: next.value.clone(),
            forgotten: self.limits.floor.max(self.limits.fence),
        };
        let seq = old.map_or(0, |row| row.seq);
        let row = Row {
            register: next,
            seq,
        };
        tables.put_row(key, &row)?;
        self.shared.members.raise(row.register.promised);
        self.shared.leftovers.note(key, Some(&row.register));
        Ok(Ok(promise))
    }

    /// Drops a row if `rule` says to which floor the node has to go for that.
    fn drop_row(
        &mut self,
        tables: &mut Tables<'_>,
        key: &str,
        rule: impl Fn(&Register<Version>, Limits) -> Option<Ballot>,
    ) -> Result<bool, Error> {
        let Some(row) = tables.row(key)? else {
            return Ok(false);
        };
        let Some(floor) = rule(&row.register, self.limits) else {
            return Ok(false);
        };
        self.set_limits(tables, floor, self.limits.fence)?;
        tables.reg.remove(key).map_err(redb)?;
        if row.seq > 0 {
            tables.feed.remove(row.seq).map_err(redb)?;
            self.cursors.removed(row.seq);
        }
        self.shared.leftovers.note(key, None);
        Ok(true)
    }

    fn accept(
        &mut self,
        tables: &mut Tables<'_>,
        key: &str,
        ballot: Ballot,
        version: Version,
    ) -> Result<Result<(), Nack>, Error> {
        let old = tables.row(key)?;
        let register: Option<&Register<Version>> = old.as_ref().map(|row| &row.register);
        let next = match register::accept(register, self.limits, ballot, version) {
            Ok(next) => next,
            Err(nack) => return Ok(Err(nack)),
        };
        self.put_version(tables, key, old.as_ref(), next)?;
        Ok(Ok(()))
    }

    /// Drops every row and its place in the feed.
    fn forget_all(&mut self, tables: &mut Tables<'_>) -> Result<(), Error> {
        tables.reg.retain(|_, _| false).map_err(redb)?;
        tables.feed.retain(|_, _| false).map_err(redb)?;
        self.cursors.removed_all();
        self.shared.leftovers.clear();
        self.shared.counts.clear();
        Ok(())
    }

    /// Takes over what a peer has accepted. There is no promise here that it could break: this node does not vote.
    fn adopt(
        &mut self,
        tables: &mut Tables<'_>,
        key: &str,
        accepted: Ballot,
        version: Version,
    ) -> Result<(), Error> {
        let old = tables.row(key)?;
        if old
            .as_ref()
            .is_some_and(|row| row.register.accepted >= accepted)
        {
            return Ok(());
        }
        let next = register::rebuild(accepted, version, self.limits.fence);
        self.put_version(tables, key, old.as_ref(), next)
    }

    /// Writes a row whose version has changed, and moves its entry in the feed.
    fn put_version(
        &mut self,
        tables: &mut Tables<'_>,
        key: &str,
        old: Option<&Row>,
        next: Register<Version>,
    ) -> Result<(), Error> {
        let before = old.and_then(|row| row.register.value.as_ref());
        if let Some(version) = &next.value {
            self.shared.counts.replace(key, before, version);
        }
        let old_seq = old.map_or(0, |row| row.seq);
        if old_seq > 0 {
            tables.feed.remove(old_seq).map_err(redb)?;
        }
        let seq = self.next_seq;
        self.next_seq += 1;
        self.cursors.added(old_seq);
        tables.feed.insert(seq, key).map_err(redb)?;
        let row = Row {
            register: next,
            seq,
        };
        tables.put_row(key, &row)?;
        self.shared.members.raise(row.register.promised);
        self.shared.leftovers.note(key, Some(&row.register));
        Ok(())
    }

    /// Raises the floor and the fence; neither ever goes down.
    fn set_limits(
        &mut self,
        tables: &mut Tables<'_>,
        floor: Ballot,
        fence: Ballot,
    ) -> Result<(), Error> {
        self.limits.floor = self.limits.floor.max(floor);
        self.limits.fence = self.limits.fence.max(fence);
        for (name, limit) in [(FLOOR, self.limits.floor), (FENCE, self.limits.fence)] {
            tables
                .meta
                .insert(name, &seal(name, &limit)[..])
                .map_err(redb)?;
            self.shared.members.raise(limit);
        }
        Ok(())
    }
}

fn pass(happens: bool, place: &'static str) {
    if happens {
        failpoint::pass(place);
    }
}
