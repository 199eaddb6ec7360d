//! Rows that hold no object: tombstones, and promises of rounds that came to nothing.
//!
//! Kept in memory beside the rows, so that finding what can be collected reads no disk. After a start they are known
//! from the check of every row. Their age is how long they have been known here: ballots run ahead of the clock after
//! a restart, and clocks may be wrong.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;
use tokio::time::Instant;

use redb::ReadableDatabase as _;

use super::row::{Row, unseal};
use super::writer::Op;
use super::{Error, FENCE, FLOOR, Index, META, REG, redb, value};
use crate::ballot::Ballot;
use crate::register::{self, Limits, Register};
use crate::version::Version;

/// A key and the ballot at which its tombstone was accepted.
pub(crate) type Tombstone = (String, Ballot);

/// The leftovers of one node.
#[derive(Debug, Default)]
pub(crate) struct Leftovers(Mutex<Sets>);

#[derive(Debug, Default)]
struct Sets {
    tombstones: BTreeMap<String, Known>,
    promises: BTreeMap<String, Known>,
}

/// The round of a leftover and since when it is known.
#[derive(Clone, Copy, Debug)]
struct Known {
    ballot: Ballot,
    since: Instant,
}

/// The leftovers known for `age`.
fn old(known: &BTreeMap<String, Known>, age: Duration) -> impl Iterator<Item = (&String, Ballot)> {
    let old = known
        .iter()
        .filter(move |(_, known)| known.since.elapsed() >= age);
    old.map(|(key, known)| (key, known.ballot))
}

impl Leftovers {
    /// Takes note of a row as it is now; `None` when it was dropped.
    pub(super) fn note(&self, key: &str, row: Option<&Register<Version>>) {
        let mut sets = self.0.lock().expect("no panic while locked");
        let before = (sets.tombstones.remove(key), sets.promises.remove(key));
        let Some(row) = row else { return };
        let known = |ballot, before: Option<Known>| {
            let same = before.filter(|before| before.ballot == ballot);
            let since = Instant::now();
            same.unwrap_or(Known { ballot, since })
        };
        match &row.value {
            Some(version) if version.live().is_none() => {
                let known = known(row.accepted, before.0);
                sets.tombstones.insert(key.to_owned(), known);
            }
            Some(_) => {}
            None => {
                let known = known(row.promised, before.1);
                sets.promises.insert(key.to_owned(), known);
            }
        }
    }

    /// All rows were dropped.
    pub(super) fn clear(&self) {
        *self.0.lock().expect("no panic while locked") = Sets::default();
    }
}

impl Index {
    /// Tombstones on this node.
    pub(crate) fn tombstones(&self) -> usize {
        let sets = self.leftovers.0.lock().expect("no panic while locked");
        sets.tombstones.len()
    }

    /// At most `limit` tombstones that have been known for `age`.
    pub(crate) fn old_tombstones(&self, age: Duration, limit: usize) -> Vec<Tombstone> {
        let sets = self.leftovers.0.lock().expect("no panic while locked");
        let old = old(&sets.tombstones, age).take(limit);
        old.map(|(key, ballot)| (key.clone(), ballot)).collect()
    }

    /// At most `limit` keys about which nothing but a promise is known, and that for `age`.
    pub(crate) fn old_promises(&self, age: Duration, limit: usize) -> Vec<String> {
        let sets = self.leftovers.0.lock().expect("no panic while locked");
        let old = old(&sets.promises, age).take(limit);
        old.map(|(key, _)| key.clone()).collect()
    }

    /// For each tombstone, whether this node knows of nothing else under its key. Blocks.
    pub(crate) fn confirm(&self, tombstones: &[Tombstone]) -> Result<Vec<bool>, Error> {
        let read = self.db.begin_read().map_err(redb)?;
        let reg = read.open_table(REG).map_err(redb)?;
        let meta = read.open_table(META).map_err(redb)?;
        let limits = Limits {
            floor: value(&meta, FLOOR)?.unwrap_or(Ballot::ZERO),
            fence: value(&meta, FENCE)?.unwrap_or(Ballot::ZERO),
        };
        let confirm = |(key, ballot): &Tombstone| {
            let bytes = reg.get(key.as_str()).map_err(redb)?;
            let row: Option<Row> = bytes.map(|bytes| unseal(key, bytes.value())).transpose()?;
            let row = row.as_ref().map(|row| &row.register);
            let is_tombstone = |version: &Version| version.live().is_none();
            Ok(register::confirm(row, limits, *ballot, is_tombstone))
        };
        tombstones.iter().map(confirm).collect()
    }

    /// Drops the rows of tombstones that all nodes have confirmed, unless something newer is there by now. Returns
    /// how many; durable when it returns.
    pub(crate) async fn collect(&self, tombstones: Vec<Tombstone>) -> Result<u64, Error> {
        self.submit(|reply| Op::Collect { tombstones, reply }).await
    }

    /// Drops rows that are promises only. Returns how many; durable when it returns.
    pub(crate) async fn forget_promises(&self, keys: Vec<String>) -> Result<u64, Error> {
        self.submit(|reply| Op::ForgetPromises { keys, reply })
            .await
    }
}
