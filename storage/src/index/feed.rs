//! The change feed: what changed on this node, for peers to pull, and how far each of them has come.
//!
//! There is one entry per key, at the sequence number of its latest change, so what a peer has yet to look at is
//! exactly what is above its cursor, however often a key changed while the peer was away. The writer keeps count of it
//! as entries come and move, so that asking costs nothing.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::atomic::{AtomicU64, Ordering};

use redb::{ReadableDatabase as _, ReadableTable, Table};
use serde::{Deserialize, Serialize};

use super::row::{Row, seal, unseal};
use super::{Error, FEED, Index, META, NEXT_SEQ, PULLED, REG, redb, value};
use crate::quorum::NODES;
use crate::wire::{FeedPage, FeedQuery, FeedRow};

/// Most bytes of versions in one page, as far as whole rows go.
const PAGE_BYTES: usize = 1024 * 1024;

/// How far a peer has pulled this node's feed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Ack {
    pub(super) seq: u64,
}

/// The cursor of each node and the entries above it; for this one too, which never pulls.
#[derive(Debug, Default)]
pub(crate) struct Behind {
    counts: [AtomicU64; NODES],
    acked: [AtomicU64; NODES],
}

impl Behind {
    pub(crate) fn get(&self, node: u8) -> u64 {
        Self::of(&self.counts, node)
    }

    /// The node has, or has newer, what changed here up to this sequence number.
    pub(crate) fn acked(&self, node: u8) -> u64 {
        Self::of(&self.acked, node)
    }

    fn of(numbers: &[AtomicU64; NODES], node: u8) -> u64 {
        let number = numbers.get(usize::from(node).wrapping_sub(1));
        number.map_or(0, |number| number.load(Ordering::Relaxed))
    }
}

/// The cursors of the peers and their counts, as the writer keeps them.
#[derive(Debug, Default)]
pub(super) struct Cursors(BTreeMap<u8, (u64, u64)>);

impl Cursors {
    /// Reads the cursors and counts what is above them.
    pub(super) fn load(
        acked: &impl ReadableTable<u64, &'static [u8]>,
        feed: &impl ReadableTable<u64, &'static str>,
    ) -> Result<Self, Error> {
        let never = (0, above(feed, 0)?);
        let mut cursors: BTreeMap<u8, _> = (1..=NODES as u8).map(|node| (node, never)).collect();
        for entry in acked.iter().map_err(redb)? {
            let (node, bytes) = entry.map_err(redb)?;
            let node = node.value();
            let ack: Ack = unseal(&name(node), bytes.value())?;
            let count = above(feed, ack.seq)?;
            cursors.insert(node as u8, (ack.seq, count));
        }
        Ok(Self(cursors))
    }

    /// An entry came, moved from `old` or, for 0, is new; its new number is above every cursor.
    pub(super) fn added(&mut self, old: u64) {
        for (seq, count) in self.0.values_mut() {
            *count += u64::from(old <= *seq);
        }
    }

    /// The entry at `seq` is gone, together with its row.
    pub(super) fn removed(&mut self, seq: u64) {
        for (cursor, count) in self.0.values_mut() {
            *count -= u64::from(seq > *cursor);
        }
    }

    /// All entries are gone, together with their rows.
    pub(super) fn removed_all(&mut self) {
        for (_, count) in self.0.values_mut() {
            *count = 0;
        }
    }

    /// The peer has dealt with all up to `seq`. Returns whether that is news.
    pub(super) fn acknowledge(
        &mut self,
        node: u8,
        seq: u64,
        feed: &Table<'_, u64, &'static str>,
    ) -> Result<bool, Error> {
        let Some((before, count)) = self.0.get_mut(&node) else {
            return Ok(false); // there is no such node
        };
        if *before == seq {
            return Ok(false);
        }
        if *before < seq {
            for entry in feed.range(*before + 1..=seq).map_err(redb)? {
                entry.map_err(redb)?;
                *count -= 1;
            }
        } else {
            *count = above(feed, seq)?; // it was replaced and starts again
        }
        *before = seq;
        Ok(true)
    }

    pub(super) fn publish(&self, behind: &Behind) {
        for (((seq, count), counts), acked) in
            self.0.values().zip(&behind.counts).zip(&behind.acked)
        {
            counts.store(*count, Ordering::Relaxed);
            acked.store(*seq, Ordering::Relaxed);
        }
    }
}

/// Entries above `seq`.
fn above(feed: &impl ReadableTable<u64, &'static str>, seq: u64) -> Result<u64, Error> {
    let above = (Bound::Excluded(seq), Bound::Unbounded);
    let mut count = 0;
    for entry in feed.range(above).map_err(redb)? {
        entry.map_err(redb)?;
        count += 1;
    }
    Ok(count)
}

/// What an acknowledgement's checksum is tied to.
pub(super) fn name(node: u64) -> String {
    format!("acked/{node}")
}

/// What a cursor's checksum is tied to.
fn pulled_name(feed: &[u8; 16]) -> String {
    format!("pulled/{}", hex::encode(feed))
}

/// Remembers how far `feed` has been pulled.
pub(super) fn put_pulled(
    table: &mut Table<'_, &'static [u8], &'static [u8]>,
    feed: [u8; 16],
    seq: u64,
) -> Result<(), Error> {
    let sealed = seal(&pulled_name(&feed), &seq);
    table.insert(&feed[..], &sealed[..]).map_err(redb)?;
    Ok(())
}

/// Remembers how far `node` has pulled.
pub(super) fn put_acked(
    table: &mut Table<'_, u64, &'static [u8]>,
    node: u8,
    seq: u64,
) -> Result<(), Error> {
    let node = u64::from(node);
    let sealed = seal(&name(node), &Ack { seq });
    table.insert(node, &sealed[..]).map_err(redb)?;
    Ok(())
}

impl Index {
    /// How far `feed` has been pulled. Blocks.
    pub(crate) fn pulled(&self, feed: [u8; 16]) -> Result<u64, Error> {
        let read = self.db.begin_read().map_err(redb)?;
        let table = read.open_table(PULLED).map_err(redb)?;
        match table.get(&feed[..]).map_err(redb)? {
            Some(bytes) => unseal(&pulled_name(&feed), bytes.value()),
            None => Ok(0),
        }
    }

    /// A page of this node's own feed. Blocks.
    pub(crate) fn feed(&self, query: &FeedQuery) -> Result<FeedPage, Error> {
        let mut page = FeedPage {
            feed_id: self.feed_id(),
            rows: Vec::new(),
            end: 0,
            more: false,
        };
        if query.feed_id != page.feed_id {
            return Ok(page);
        }
        let read = self.db.begin_read().map_err(redb)?;
        let feed = read.open_table(FEED).map_err(redb)?;
        let reg = read.open_table(REG).map_err(redb)?;
        let meta = read.open_table(META).map_err(redb)?;
        page.end = value(&meta, NEXT_SEQ)?.unwrap_or(1) - 1;
        let above = (Bound::Excluded(query.after), Bound::Unbounded);
        let mut bytes_read = 0;
        for entry in feed.range(above).map_err(redb)? {
            let (seq, key) = entry.map_err(redb)?;
            let (seq, key) = (seq.value(), key.value());
            if page.rows.len() == query.limit as usize || bytes_read > PAGE_BYTES {
                page.end = seq - 1;
                page.more = true;
                break;
            }
            let damaged = || Error::Damaged(key.to_owned());
            let bytes = reg.get(key).map_err(redb)?.ok_or_else(damaged)?;
            bytes_read += bytes.value().len();
            let row: Row = unseal(key, bytes.value())?;
            // The feed itself has no checksums; its rows have their place in it.
            let version = row.register.value.filter(|_| row.seq == seq);
            page.rows.push(FeedRow {
                seq,
                key: key.to_owned(),
                accepted: row.register.accepted,
                version: version.ok_or_else(damaged)?,
            });
        }
        Ok(page)
    }
}
