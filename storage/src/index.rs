//! `index.redb`: the registers of one node and what else must survive a crash.
//!
//! Tables: `reg` (key → row), `feed` (sequence → key, one entry per key, moved on every change), `pulled` (peer's
//! feed → how far its feed has been pulled), `acked` (peer → how far it has pulled ours), `meta`. All values but
//! the feed's end with a checksum ([`row`]); the feed is checked against the rows it points to. One thread does all
//! the writing ([`writer`]); reads see the last durable commit.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use redb::{
    Database, ReadableDatabase as _, ReadableTable, ReadableTableMetadata as _, TableDefinition,
};
use serde::de::DeserializeOwned;
use tokio::sync::{mpsc, oneshot};

use crate::ballot::Ballot;
use crate::keys;
use crate::register::{Limits, Nack, Register};
use crate::superblock;
use crate::sys::{Worker, fs};
use crate::version::{DecodeError, Version};
use crate::wire::{ListPage, ListRow, Listing, Promise, Summary};

pub(crate) mod feed;
pub(crate) mod leftovers;
pub(crate) mod members;
mod row;
mod walk;
pub(crate) mod writer;

use feed::{Behind, Cursors};
use leftovers::Leftovers;
use members::Members;
use row::{Row, seal, unseal};
use writer::Op;

pub(crate) const FILE: &str = "index.redb";
const TEMPORARY: &str = "index.redb.new";
const REG: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("reg");
const FEED: TableDefinition<'_, u64, &str> = TableDefinition::new("feed");
const PULLED: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("pulled");
const ACKED: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("acked");
/// Of format 2, where nothing filled it.
const CURSOR: TableDefinition<'_, &[u8], u64> = TableDefinition::new("cursor");
const META: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("meta");

const STORE_ID: &str = "store_id";
const FLOOR: &str = "floor";
const FENCE: &str = "fence";
const RESERVE: &str = "ballot_reserve";
const NEXT_SEQ: &str = "next_seq";
const COMMITS: &str = "commits";
const CLUSTER: &str = "cluster_nodes";
const REBUILDING: &str = "rebuilding";
const FEED_ID: &str = "feed_id";

/// Operations waiting for the writer before callers have to wait too.
const QUEUE: usize = 1_024;

/// Why the index cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("index is missing: {0} (was the folder replaced by an older copy?)")]
    Missing(String),
    #[error("index belongs to another store than the superblock")]
    OtherStore,
    #[error(
        "this folder belongs to a cluster of {found}, not of {wanted}: to change that, export the objects and import them into a new store"
    )]
    OtherCluster { found: u64, wanted: u64 },
    #[error("index is in use: is another node running in this folder?")]
    InUse,
    #[error("index is damaged: the row of {0:?} is not what was written")]
    Damaged(String),
    #[error("index is damaged: {held} registers can be found, {expected} were written")]
    Incomplete { held: u64, expected: u64 },
    #[error("index is damaged so that reading it panicked, see above")]
    Panicked,
    #[error("index cannot be opened or read")]
    Redb(#[source] Box<redb::Error>),
    #[error("index holds something this program does not know")]
    Value(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("index cannot be read from disk")]
    Io(#[from] io::Error),
    #[error("index is closing")]
    Closing,
}

impl From<DecodeError> for Error {
    fn from(error: DecodeError) -> Self {
        Self::Value(Box::new(error))
    }
}

/// Any of redb's errors as ours.
fn redb<E: Into<redb::Error>>(error: E) -> Error {
    match error.into() {
        redb::Error::DatabaseAlreadyOpen => Error::InUse,
        error => Error::Redb(Box::new(error)),
    }
}

/// Objects that can be read, and their size, as this node knows them.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    objects: AtomicU64,
    bytes: AtomicU64,
}

impl Counts {
    pub(crate) fn get(&self) -> (u64, u64) {
        (
            self.objects.load(Ordering::Relaxed),
            self.bytes.load(Ordering::Relaxed),
        )
    }

    fn replace(&self, key: &str, old: Option<&Version>, new: &Version) {
        if keys::is_reserved(key) {
            return; // parts of uploads are no objects
        }
        if let Some(old) = old.and_then(Version::live) {
            self.objects.fetch_sub(1, Ordering::Relaxed);
            self.bytes.fetch_sub(old.size, Ordering::Relaxed);
        }
        if let Some(new) = new.live() {
            self.objects.fetch_add(1, Ordering::Relaxed);
            self.bytes.fetch_add(new.size, Ordering::Relaxed);
        }
    }

    /// All rows were dropped.
    fn clear(&self) {
        self.objects.store(0, Ordering::Relaxed);
        self.bytes.store(0, Ordering::Relaxed);
    }
}

/// The open index of a running node.
#[derive(Debug)]
pub(crate) struct Index {
    db: Arc<Database>,
    ops: Option<mpsc::Sender<Op>>,
    writer: Option<Worker>,
    counts: Arc<Counts>,
    behind: Arc<Behind>,
    leftovers: Arc<Leftovers>,
    members: Arc<Members>,
    last_seq: Arc<AtomicU64>,
    reserve: u64,
}

impl Index {
    /// Creates the index of a new folder. Returns false when there is one already that has been used.
    ///
    /// It is built under another name, so that under its own there is a whole one or none, whenever a crash comes;
    /// an unused one, of an earlier attempt that ended before its superblock, is replaced.
    pub(crate) fn create(dir: &Path, store_id: [u8; 16]) -> Result<bool, Error> {
        let (path, temporary) = (dir.join(FILE), dir.join(TEMPORARY));
        if fs::exists(&path)? && used(&path)? {
            return Ok(false);
        }
        if fs::exists(&temporary)? {
            fs::remove_file(&temporary)?;
        }
        build(&temporary, store_id)?;
        fs::File::open(&temporary)?.sync_all()?;
        fs::rename(&temporary, &path)?;
        fs::File::open(dir)?.sync_all()?;
        Ok(true)
    }

    /// Opens the index of store `store_id`, checks every row and starts the writer.
    pub(crate) fn open(dir: &Path, store_id: [u8; 16], fsync: bool) -> Result<Self, Error> {
        // redb panics on some damaged pages.
        let opened = catch_unwind(AssertUnwindSafe(|| Self::load(dir, store_id, fsync)));
        let opened = opened.unwrap_or(Err(Error::Panicked));
        if let Err(
            Error::Damaged(_) | Error::Incomplete { .. } | Error::Panicked | Error::Redb(_),
        ) = &opened
        {
            tracing::error!("the index cannot be used: {}", writer::ADVICE);
        }
        opened
    }

    fn load(dir: &Path, store_id: [u8; 16], fsync: bool) -> Result<Self, Error> {
        let path = dir.join(FILE);
        if !fs::exists(&path)? {
            return Err(Error::Missing(path.display().to_string()));
        }
        let db = fs::open_database(&path, fsync).map_err(redb)?;
        let found = {
            let read = db.begin_read().map_err(redb)?;
            let meta = read.open_table(META).map_err(redb)?;
            value::<[u8; 16]>(&meta, STORE_ID)?
        };
        if found != Some(store_id) {
            return Err(Error::OtherStore);
        }
        superblock::upgrade(dir)?; // the database is the lock of the folder
        upgrade(&db)?;
        let read = db.begin_read().map_err(redb)?;
        let meta = read.open_table(META).map_err(redb)?;
        let limits = Limits {
            floor: value(&meta, FLOOR)?.unwrap_or(Ballot::ZERO),
            fence: value(&meta, FENCE)?.unwrap_or(Ballot::ZERO),
        };
        let reserve = value(&meta, RESERVE)?.unwrap_or(0);
        let next_seq = value(&meta, NEXT_SEQ)?.unwrap_or(1).max(1);
        let counts = Arc::new(Counts::default());
        let feed = read.open_table(FEED).map_err(redb)?;
        let leftovers = Arc::new(Leftovers::default());
        let members = Arc::new(Members::load(&meta, store_id)?);
        let reg = read.open_table(REG).map_err(redb)?;
        check(&reg, &feed, |key, row| {
            members.raise(row.promised);
            if let Some(version) = &row.value {
                counts.replace(key, None, version);
            }
            leftovers.note(key, Some(row));
        })?;
        let cursors = Cursors::load(&read.open_table(ACKED).map_err(redb)?, &feed)?;
        let behind = Arc::new(Behind::default());
        cursors.publish(&behind);
        let last_seq = Arc::new(AtomicU64::new(next_seq - 1));
        drop((reg, feed, meta, read));
        let db = Arc::new(db);
        let (ops, queue) = mpsc::channel(QUEUE);
        let shared = writer::Shared {
            counts: Arc::clone(&counts),
            behind: Arc::clone(&behind),
            leftovers: Arc::clone(&leftovers),
            members: Arc::clone(&members),
            last_seq: Arc::clone(&last_seq),
        };
        let writer = writer::Writer::new(Arc::clone(&db), limits, next_seq, cursors, shared);
        let writer = Worker::start("index-writer", writer.run(queue))?;
        Ok(Self {
            db,
            ops: Some(ops),
            writer: Some(writer),
            counts,
            behind,
            leftovers,
            members,
            last_seq,
            reserve,
        })
    }

    /// Ballots up to this one may have been used before this start.
    pub(crate) fn reserve_found(&self) -> u64 {
        self.reserve
    }

    /// Makes sure that this folder is one of `nodes`, which its first start decided. A single node that became one of
    /// three would be overruled by two that know nothing. Blocks.
    pub(crate) fn claim(&self, nodes: usize) -> Result<(), Error> {
        let wanted = nodes as u64;
        let write = self.db.begin_write().map_err(redb)?;
        {
            let mut meta = write.open_table(META).map_err(redb)?;
            match value(&meta, CLUSTER)? {
                Some(found) if found != wanted => {
                    return Err(Error::OtherCluster { found, wanted });
                }
                Some(_) => return Ok(()),
                None => meta
                    .insert(CLUSTER, &seal(CLUSTER, &wanted)[..])
                    .map_err(redb)?,
            };
        }
        write.commit().map_err(redb)
    }

    pub(crate) fn counts(&self) -> (u64, u64) {
        self.counts.get()
    }

    /// The last sequence number of the feed.
    pub(crate) fn last_seq(&self) -> u64 {
        self.last_seq.load(Ordering::Relaxed)
    }

    /// Entries of the feed that `node` has yet to look at.
    pub(crate) fn behind(&self, node: u8) -> u64 {
        self.behind.get(node)
    }

    /// `node` has, or has newer, what changed here up to this sequence number.
    pub(crate) fn acked(&self, node: u8) -> u64 {
        self.behind.acked(node)
    }

    /// Makes durable how far `feed` has been pulled.
    pub(crate) async fn set_pulled(&self, feed: [u8; 16], seq: u64) -> Result<(), Error> {
        self.submit(|reply| Op::Pulled { feed, seq, reply }).await
    }

    /// Makes durable how far `node` has pulled this node's feed.
    pub(crate) async fn acknowledge(&self, node: u8, seq: u64) -> Result<(), Error> {
        self.submit(|reply| Op::Acknowledge { node, seq, reply })
            .await
    }

    /// Makes a promise; durable when it returns.
    pub(crate) async fn prepare(
        &self,
        key: String,
        ballot: Ballot,
    ) -> Result<Result<Promise, Nack>, Error> {
        self.submit(|reply| Op::Prepare { key, ballot, reply })
            .await
    }

    /// Accepts a version, whose blobs must be durable; durable when it returns.
    pub(crate) async fn accept(
        &self,
        key: String,
        ballot: Ballot,
        version: Version,
    ) -> Result<Result<(), Nack>, Error> {
        self.submit(|reply| Op::Accept {
            key,
            ballot,
            version: Box::new(version),
            reply,
        })
        .await
    }

    /// Makes the ballot reserve durable.
    pub(crate) async fn reserve(&self, upto: u64) -> Result<(), Error> {
        self.submit(|reply| Op::Reserve { upto, reply }).await
    }

    async fn submit<T>(&self, op: impl FnOnce(oneshot::Sender<T>) -> Op) -> Result<T, Error> {
        let (reply, answer) = oneshot::channel();
        let ops = self.ops.as_ref().expect("only Drop takes the sender");
        ops.send(op(reply)).await.map_err(|_| Error::Closing)?;
        answer.await.map_err(|_| Error::Closing)
    }

    /// What is accepted for `key`. Blocks.
    pub(crate) fn read(&self, key: &str) -> Result<(Ballot, Option<Version>), Error> {
        let read = self.db.begin_read().map_err(redb)?;
        let reg = read.open_table(REG).map_err(redb)?;
        let Some(bytes) = reg.get(key).map_err(redb)? else {
            return Ok((Ballot::ZERO, None));
        };
        let row: Row = unseal(key, bytes.value())?;
        Ok(crate::register::read(Some(&row.register)))
    }

    /// One page of accepted keys, tombstones included, in order. Blocks.
    pub(crate) fn list(&self, listing: &Listing) -> Result<ListPage, Error> {
        let read = self.db.begin_read().map_err(redb)?;
        let reg = read.open_table(REG).map_err(redb)?;
        let mut rows = Vec::new();
        for entry in reg.range(listing.from.as_str()..).map_err(redb)? {
            let (key, bytes) = entry.map_err(redb)?;
            let key = key.value();
            if listing.after && key == listing.from {
                continue;
            }
            if !key.starts_with(&listing.prefix) {
                break;
            }
            let row: Row = unseal(key, bytes.value())?;
            let Some(version) = row.register.value else {
                continue; // only promised
            };
            if rows.len() == listing.limit as usize {
                return Ok(ListPage { rows, more: true });
            }
            rows.push(ListRow {
                key: key.to_owned(),
                accepted: row.register.accepted,
                object: version.live().map(Summary::of),
            });
        }
        Ok(ListPage { rows, more: false })
    }
}

/// Whether an index has made promises or handed out ballots.
fn used(path: &Path) -> Result<bool, Error> {
    let db = fs::open_database(path, true).map_err(redb)?;
    let read = db.begin_read().map_err(redb)?;
    let reg = read.open_table(REG).map_err(redb)?;
    let meta = read.open_table(META).map_err(redb)?;
    // The store id is there from the beginning, anything else comes with the first operation.
    Ok(!reg.is_empty().map_err(redb)? || meta.len().map_err(redb)? > 1)
}

/// Brings an index of format 2 to format 3; one that is there already is left alone.
fn upgrade(db: &Database) -> Result<(), Error> {
    let current = {
        let read = db.begin_read().map_err(redb)?;
        match read.open_table(ACKED) {
            Ok(_) => true,
            Err(redb::TableError::TableDoesNotExist(_)) => false,
            Err(error) => return Err(redb(error)),
        }
    };
    if current {
        return Ok(());
    }
    let write = db.begin_write().map_err(redb)?;
    write.delete_table(CURSOR).map_err(redb)?;
    write.open_table(PULLED).map_err(redb)?;
    write.open_table(ACKED).map_err(redb)?;
    write.commit().map_err(redb)
}

/// Writes an empty index.
fn build(path: &Path, store_id: [u8; 16]) -> Result<(), Error> {
    let db = fs::create_database(path).map_err(redb)?;
    let write = db.begin_write().map_err(redb)?;
    {
        write.open_table(REG).map_err(redb)?;
        write.open_table(FEED).map_err(redb)?;
        write.open_table(PULLED).map_err(redb)?;
        write.open_table(ACKED).map_err(redb)?;
        let mut meta = write.open_table(META).map_err(redb)?;
        let id = seal(STORE_ID, &store_id);
        meta.insert(STORE_ID, &id[..]).map_err(redb)?;
    }
    write.commit().map_err(redb)
}

/// A value of `meta`.
fn value<T: DeserializeOwned>(
    meta: &impl ReadableTable<&'static str, &'static [u8]>,
    name: &str,
) -> Result<Option<T>, Error> {
    let bytes = meta.get(name).map_err(redb)?;
    bytes.map(|bytes| unseal(name, bytes.value())).transpose()
}

/// Checks every register, and that none is out of reach: a row that a damaged page hides is a promise forgotten. So
/// is its place in the feed, without which no peer would ever hear of it.
fn check(
    reg: &impl ReadableTable<&'static str, &'static [u8]>,
    feed: &impl ReadableTable<u64, &'static str>,
    note: impl Fn(&str, &Register<Version>),
) -> Result<(), Error> {
    let (mut held, mut changes) = (0, 0);
    for entry in reg.iter().map_err(redb)? {
        let (key, bytes) = entry.map_err(redb)?;
        let row: Row = unseal(key.value(), bytes.value())?;
        held += u64::from(reg.get(key.value()).map_err(redb)?.is_some());
        note(key.value(), &row.register);
        if row.seq > 0 {
            let entry = feed.get(row.seq).map_err(redb)?;
            if entry.is_none_or(|entry| entry.value() != key.value()) {
                return Err(Error::Damaged(key.value().to_owned()));
            }
            changes += 1;
        }
    }
    let entries = feed.len().map_err(redb)?;
    if entries != changes {
        return Err(Error::Incomplete {
            held: changes,
            expected: entries,
        });
    }
    let expected = reg.len().map_err(redb)?;
    if held == expected {
        Ok(())
    } else {
        Err(Error::Incomplete { held, expected })
    }
}

impl Drop for Index {
    /// Lets the writer finish what is queued, so that the file is closed when this returns.
    fn drop(&mut self) {
        self.ops = None;
        if let Some(writer) = self.writer.take() {
            writer.join();
        }
    }
}

#[cfg(test)]
mod tests;
