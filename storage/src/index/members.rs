//! What the nodes remember of each other's folders: whose change feed is which, and how many commits a folder held.
//!
//! A node whose folder was replaced by an empty one, or by an older copy, has forgotten promises. The others can tell:
//! the feed is another, or the folder holds fewer commits than they have seen. While it is rebuilt the node gets a
//! new feed, whose sequence numbers mean nothing to those who have pulled the old one.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use redb::{ReadableTable, Table};
use serde::{Deserialize, Serialize};

use super::row::seal;
use super::writer::Op;
use super::{COMMITS, Error, FEED_ID, FENCE, FLOOR, Index, REBUILDING, RESERVE, redb, value};
use crate::ballot::Ballot;
use crate::quorum::NODES;
use crate::version::Version;
use crate::wire::{Fence, Ping, Verdict};

/// A folder, as it was last seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Seen {
    feed_id: [u8; 16],
    commits: u64,
}

/// The folders of the others, and what a rebuilding one has to know of this.
#[derive(Debug, Default)]
pub(crate) struct Members {
    seen: Mutex<BTreeMap<u8, Seen>>,
    /// Those that differ from what is on disk.
    unsaved: Mutex<BTreeMap<u8, Seen>>,
    /// Durable commits of this folder.
    commits: AtomicU64,
    /// No ballot above this was promised, or used.
    highest: Mutex<Ballot>,
    feed_id: Mutex<[u8; 16]>,
}

impl Members {
    pub(super) fn load(
        meta: &impl ReadableTable<&'static str, &'static [u8]>,
        store_id: [u8; 16],
    ) -> Result<Self, Error> {
        let members = Self::default();
        // The first feed of a folder has the folder's name.
        *members.feed_id.lock().expect("no panic while locked") =
            value(meta, FEED_ID)?.unwrap_or(store_id);
        for node in 1..=NODES as u8 {
            if let Some(seen) = value(meta, &name(node))? {
                let mut all = members.seen.lock().expect("no panic while locked");
                all.insert(node, seen);
            }
        }
        let commits = value(meta, COMMITS)?.unwrap_or(0);
        members.commits.store(commits, Ordering::Relaxed);
        let limits = [FLOOR, FENCE].map(|name| value(meta, name));
        for limit in limits {
            members.raise(limit?.unwrap_or(Ballot::ZERO));
        }
        let reserve = value(meta, RESERVE)?.unwrap_or(0);
        members.raise(Ballot {
            micros: reserve,
            node: u8::MAX,
        });
        Ok(members)
    }

    pub(super) fn raise(&self, ballot: Ballot) {
        let mut highest = self.highest.lock().expect("no panic while locked");
        *highest = ballot.max(*highest);
    }

    pub(super) fn committed(&self, commits: u64) {
        self.commits.store(commits, Ordering::Relaxed);
    }

    pub(super) fn commits(&self) -> u64 {
        self.commits.load(Ordering::Relaxed)
    }

    /// Writes what is not on disk yet, along with whatever else is being committed.
    pub(super) fn save(
        &self,
        meta: &mut Table<'_, &'static str, &'static [u8]>,
    ) -> Result<(), Error> {
        let mut unsaved = self.unsaved.lock().expect("no panic while locked");
        for (node, seen) in std::mem::take(&mut *unsaved) {
            let name = name(node);
            let sealed = seal(&name, &seen);
            meta.insert(name.as_str(), &sealed[..]).map_err(redb)?;
        }
        Ok(())
    }

    fn note(&self, node: u8, seen: Seen) {
        let mut all = self.seen.lock().expect("no panic while locked");
        all.insert(node, seen);
        let mut unsaved = self.unsaved.lock().expect("no panic while locked");
        unsaved.insert(node, seen);
    }

    /// Judges a folder by what is known of it; the second is whether this is the first that is heard of its node.
    fn judge(&self, ping: &Ping) -> (Verdict, bool) {
        let all = self.seen.lock().expect("no panic while locked");
        match all.get(&ping.node) {
            None => (Verdict::Welcome, true),
            Some(seen) if seen.feed_id != ping.feed_id => (Verdict::Replaced, false),
            Some(seen) if seen.commits > ping.commits => (Verdict::RolledBack, false),
            Some(_) => (Verdict::Welcome, false),
        }
    }
}

fn name(node: u8) -> String {
    format!("seen/{node}")
}

impl Index {
    /// Commits of this folder that are on disk.
    pub(crate) fn commits(&self) -> u64 {
        self.members.commits()
    }

    /// Judges the folder of another node, and remembers it.
    pub(crate) async fn judge(&self, ping: &Ping) -> Result<Verdict, Error> {
        let (verdict, first) = self.members.judge(ping);
        if verdict == Verdict::Welcome {
            let seen = Seen {
                feed_id: ping.feed_id,
                commits: ping.commits,
            };
            self.members.note(ping.node, seen);
        }
        if first {
            // Before it may vote: from now on another folder in its place is known for what it is.
            self.submit(|reply| Op::Save { reply }).await?;
        }
        Ok(verdict)
    }

    /// A ballot that no promise made here is above.
    pub(crate) fn highest(&self) -> Ballot {
        *self.members.highest.lock().expect("no panic while locked")
    }

    /// Refuses ballots up to a fence, this node's own or that of another, whose feed is then known. Durable when it
    /// returns.
    pub(crate) async fn fence(&self, fence: &Fence) -> Result<(), Error> {
        let seen = Seen {
            feed_id: fence.feed_id,
            commits: 0,
        };
        self.members.note(fence.node, seen);
        let fence = fence.fence;
        self.submit(|reply| Op::Fence { fence, reply }).await
    }

    /// The name of this node's change feed.
    pub(crate) fn feed_id(&self) -> [u8; 16] {
        *self.members.feed_id.lock().expect("no panic while locked")
    }

    /// Marks this folder as one that must not vote until it is rebuilt, and gives it a new feed.
    pub(crate) async fn begin_rebuild(&self) -> Result<(), Error> {
        let feed_id = rand::random();
        self.submit(|reply| Op::Rebuilding { feed_id, reply })
            .await?;
        *self.members.feed_id.lock().expect("no panic while locked") = feed_id;
        Ok(())
    }

    /// Drops every row, while being rebuilt: those of an older copy may be of objects whose deletion all nodes have
    /// forgotten since. Durable when it returns.
    pub(crate) async fn forget_all(&self) -> Result<(), Error> {
        self.submit(|reply| Op::ForgetAll { reply }).await
    }

    /// Takes over what a peer has accepted, while being rebuilt, behind `fence`.
    pub(crate) async fn adopt(
        &self,
        key: String,
        accepted: Ballot,
        version: Version,
    ) -> Result<(), Error> {
        self.submit(|reply| Op::Adopt {
            key,
            accepted,
            version: Box::new(version),
            reply,
        })
        .await
    }

    /// Ends the rebuilding: everything up to the fence is known, and no row below it will be missed.
    pub(crate) async fn end_rebuild(&self, fence: Ballot) -> Result<(), Error> {
        self.submit(|reply| Op::Rebuilt { fence, reply }).await
    }

    /// Whether a rebuilding was begun and not ended. Blocks.
    pub(crate) fn is_rebuilding(&self) -> Result<bool, Error> {
        use redb::ReadableDatabase as _;
        let read = self.db.begin_read().map_err(redb)?;
        let meta = read.open_table(super::META).map_err(redb)?;
        Ok(value(&meta, REBUILDING)?.unwrap_or(false))
    }
}
