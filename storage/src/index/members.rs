//! What the nodes remember of each other's folders: whose change feed is which, and how many commits a folder held.
//!
//! A node whose folder was replaced by an empty one, or by an older copy, has forgotten promises. The others can tell:
//! the feed is another, or the folder holds fewer commits than they have seen. While it is rebuilt the node gets a
//! new feed, whose sequence numbers mean nothing to those who have pulled the old one.
//!
//! A node is met when it votes for the first time, as nobody knows yet what the folder is worth of one that does not.
//! Nothing that it says counts in a round before that is on disk: so of every node whose vote ever counted, who counted
//! it knows the folder.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use redb::{ReadableTable, Table};
use serde::{Deserialize, Serialize};

use super::row::seal;
use super::writer::Op;
use super::{COMMITS, Error, FEED_ID, FENCE, FLOOR, Index, REBUILDING, RESERVE, redb, value};
use crate::ballot::Ballot;
use crate::quorum::NODES;
use crate::sys;
use crate::version::Version;
use crate::wire::{Fence, Folder, Verdict};

/// A folder, as it was last seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Seen {
    feed_id: [u8; 16],
    commits: u64,
}

/// What is known of a node. They are two rows on disk, as older programs know only the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Member {
    seen: Seen,
    /// Which process of the node it was.
    run: u64,
}

impl Member {
    /// Judges a folder of the node. The second is whether it is news.
    fn judge(&self, folder: &Folder) -> (Verdict, bool) {
        let Seen { feed_id, commits } = self.seen;
        if self.run == folder.run {
            (Verdict::Welcome, folder.commits > commits)
        } else if feed_id != folder.feed_id {
            (Verdict::Replaced, false)
        } else if commits > folder.commits {
            (Verdict::RolledBack, false)
        } else {
            (Verdict::Welcome, true)
        }
    }
}

/// The folders of the others, and what a rebuilding one has to know of this.
#[derive(Debug, Default)]
pub(crate) struct Members {
    seen: Mutex<BTreeMap<u8, Member>>,
    /// Those that differ from what is on disk.
    unsaved: Mutex<BTreeMap<u8, Member>>,
    /// Those of which a folder is on disk.
    met: Mutex<BTreeSet<u8>>,
    /// Names this process.
    run: u64,
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
        let members = Self {
            run: sys::random(),
            ..Self::default()
        };
        // The first feed of a folder has the folder's name.
        *members.feed_id.lock().expect("no panic while locked") =
            value(meta, FEED_ID)?.unwrap_or(store_id);
        for node in 1..=NODES as u8 {
            if let Some(seen) = value(meta, &seen_name(node))? {
                let run = value(meta, &run_name(node))?.unwrap_or(0);
                let mut all = members.seen.lock().expect("no panic while locked");
                all.insert(node, Member { seen, run });
                members.are_met([node]);
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

    /// Writes what is not on disk yet, along with whatever else is being committed. Returns the nodes that this is
    /// of, for [`Members::are_met`].
    pub(super) fn save(
        &self,
        meta: &mut Table<'_, &'static str, &'static [u8]>,
    ) -> Result<Vec<u8>, Error> {
        let mut nodes = Vec::new();
        let mut unsaved = self.unsaved.lock().expect("no panic while locked");
        for (node, Member { seen, run }) in std::mem::take(&mut *unsaved) {
            nodes.push(node);
            let (seen_name, run_name) = (seen_name(node), run_name(node));
            let rows = [
                (&seen_name, seal(&seen_name, &seen)),
                (&run_name, seal(&run_name, &run)),
            ];
            for (name, row) in rows {
                meta.insert(name.as_str(), &row[..]).map_err(redb)?;
            }
        }
        Ok(nodes)
    }

    /// What [`Members::save`] has written of these nodes is on disk.
    pub(super) fn are_met(&self, nodes: impl IntoIterator<Item = u8>) {
        let mut met = self.met.lock().expect("no panic while locked");
        met.extend(nodes);
    }

    /// Judges a folder by what is known of it, and remembers it. Of a node that was never met nothing is remembered.
    ///
    /// Messages may overtake one another, so one that shows less than was seen of the same process is merely late:
    /// while a process runs, its folder loses nothing.
    pub(crate) fn saw(&self, folder: &Folder) -> Verdict {
        let mut all = self.seen.lock().expect("no panic while locked");
        let Some(known) = all.get(&folder.node) else {
            return Verdict::Unknown;
        };
        let (verdict, news) = known.judge(folder);
        if news {
            self.note(&mut all, folder);
        }
        let met = self.met.lock().expect("no panic while locked");
        if verdict == Verdict::Welcome && !met.contains(&folder.node) {
            return Verdict::Unknown; // a crash would forget it
        }
        verdict
    }

    /// What was seen of the folder of `node`.
    pub(crate) fn seen_of(&self, node: u8) -> Option<Folder> {
        let all = self.seen.lock().expect("no panic while locked");
        let Member { seen, run } = *all.get(&node)?;
        Some(Folder {
            node,
            feed_id: seen.feed_id,
            commits: seen.commits,
            run,
        })
    }

    /// Whether another node has seen commits of this very process that its folder does not hold now: the whole machine
    /// was set back, memory and all. Others cannot tell that from a message that is late; this node can, as what they
    /// have seen it held before.
    pub(crate) fn was_set_back(&self, seen: &Folder) -> bool {
        let own = self.folder(seen.node);
        let same = (seen.feed_id, seen.run) == (own.feed_id, own.run);
        same && seen.commits > own.commits
    }

    /// Whether a folder of this node is known, also after a crash.
    pub(crate) fn knows(&self, node: u8) -> bool {
        let met = self.met.lock().expect("no panic while locked");
        met.contains(&node)
    }

    /// The folder of this node, whose number is `node`.
    pub(crate) fn folder(&self, node: u8) -> Folder {
        Folder {
            node,
            feed_id: *self.feed_id.lock().expect("no panic while locked"),
            commits: self.commits(),
            run: self.run,
        }
    }

    /// Takes the new folder of a node that is being rebuilt for the one that is known.
    pub(super) fn rebuilding(&self, folder: &Folder) {
        let mut all = self.seen.lock().expect("no panic while locked");
        self.note(&mut all, folder);
    }

    fn meet(&self, node: u8, feed_id: [u8; 16]) {
        let mut all = self.seen.lock().expect("no panic while locked");
        let known = all.get(&node);
        if known.is_none_or(|known| known.seen.feed_id != feed_id) {
            let (commits, run) = (0, 0); // the next heartbeat says
            let folder = Folder {
                node,
                feed_id,
                commits,
                run,
            };
            self.note(&mut all, &folder);
        }
    }

    fn note(&self, all: &mut BTreeMap<u8, Member>, folder: &Folder) {
        let seen = Seen {
            feed_id: folder.feed_id,
            commits: folder.commits,
        };
        let member = Member {
            seen,
            run: folder.run,
        };
        all.insert(folder.node, member);
        let mut unsaved = self.unsaved.lock().expect("no panic while locked");
        unsaved.insert(folder.node, member);
    }
}

fn seen_name(node: u8) -> String {
    format!("seen/{node}")
}

fn run_name(node: u8) -> String {
    format!("run/{node}")
}

impl Index {
    /// A ballot that no promise made here is above.
    pub(crate) fn highest(&self) -> Ballot {
        *self.members.highest.lock().expect("no panic while locked")
    }

    /// Refuses ballots up to a fence, of a node that is being rebuilt: what was known of its folder is over, unless
    /// the fence is an old one. Durable when it returns.
    pub(crate) async fn fence(&self, order: &Fence) -> Result<(), Error> {
        let order = Box::new(*order);
        self.submit(|reply| Op::Fence { order, reply }).await
    }

    /// Takes the folder that another node has now for the one that is known, whatever was remembered: for a node that
    /// is being rebuilt, whose memory may be older than that folder. Durable with the next commit.
    pub(crate) fn meet(&self, node: u8, feed_id: [u8; 16]) {
        self.members.meet(node, feed_id);
    }

    /// Makes durable what was seen of the other nodes' folders since the last commit.
    pub(crate) async fn save_members(&self) -> Result<(), Error> {
        let unsaved = &self.members.unsaved;
        let nothing = unsaved.lock().expect("no panic while locked").is_empty();
        if nothing {
            return Ok(());
        }
        self.submit(|reply| Op::Save { reply }).await
    }

    /// What is remembered of folders.
    pub(crate) fn members(&self) -> &Arc<Members> {
        &self.members
    }

    /// The name of this node's change feed.
    pub(crate) fn feed_id(&self) -> [u8; 16] {
        *self.members.feed_id.lock().expect("no panic while locked")
    }

    /// Marks this folder as one that must not vote until it is rebuilt, and gives it a new feed.
    pub(crate) async fn begin_rebuild(&self) -> Result<(), Error> {
        let feed_id = sys::random();
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

#[cfg(test)]
mod tests {
    use super::*;

    fn ping(run: u64, commits: u64) -> Folder {
        Folder {
            node: 2,
            feed_id: [7; 16],
            commits,
            run,
        }
    }

    /// Members that have met node 2.
    fn met(folder: &Folder) -> Members {
        let members = Members::default();
        members.meet(2, folder.feed_id);
        members.are_met([2]);
        assert_eq!(members.saw(folder), Verdict::Welcome);
        members
    }

    #[test]
    fn a_node_is_unknown_until_what_is_known_of_it_is_on_disk() {
        let members = Members::default();
        assert_eq!(members.saw(&ping(1, 5)), Verdict::Unknown);
        assert_eq!(members.saw(&ping(1, 5)), Verdict::Unknown);
        members.meet(2, [7; 16]);
        assert_eq!(members.saw(&ping(1, 5)), Verdict::Unknown);
        assert!(!members.knows(2));
        members.are_met([2]);
        assert_eq!(members.saw(&ping(1, 5)), Verdict::Welcome);
    }

    #[test]
    fn a_heartbeat_that_was_overtaken_shows_no_loss() {
        let members = met(&ping(1, 5));
        assert_eq!(members.saw(&ping(1, 9)), Verdict::Welcome);
        assert_eq!(members.saw(&ping(1, 6)), Verdict::Welcome);
        // And takes nothing from what is known.
        assert_eq!(members.saw(&ping(2, 8)), Verdict::RolledBack);
        assert_eq!(members.saw(&ping(2, 9)), Verdict::Welcome);
    }

    #[test]
    fn a_heartbeat_from_before_a_rebuilding_changes_nothing() {
        let (old, new) = (
            ping(1, 9),
            Folder {
                feed_id: [8; 16],
                ..ping(1, 10)
            },
        );
        let members = met(&old);
        members.rebuilding(&new);
        assert_eq!(members.saw(&old), Verdict::Welcome);
        let copy = Folder { run: 2, ..old };
        assert_eq!(members.saw(&copy), Verdict::Replaced);
    }

    #[test]
    fn who_rebuilt_a_node_is_known_to_it_whatever_it_remembers() {
        let members = met(&Folder {
            feed_id: [6; 16],
            ..ping(1, 90)
        });
        members.meet(2, [7; 16]);
        assert_eq!(members.saw(&ping(2, 5)), Verdict::Welcome);
        members.meet(2, [7; 16]);
        assert_eq!(members.saw(&ping(3, 4)), Verdict::RolledBack);
    }
}
