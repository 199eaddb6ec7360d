//! Listing: pages of keys from a quorum, merged so that every completed write shows, then folded by delimiter.
//!
//! Pages are read one after the other, so the newest row in them is not always what holds: an object in an early page
//! may be deleted, and its tombstone collected, before another node is asked. What a quorum of pages says of a key was
//! true while the listing ran; any other key is read.

use std::collections::BTreeMap;

use futures::{StreamExt as _, TryStreamExt as _};

use crate::ballot::Ballot;
use crate::error::Error;
use crate::keys;
use crate::round::Cluster;
use crate::wire::{ListPage, ListRow, Listing, Summary};

/// Rows in one page from a node: one exchange for a full answer to a client.
const PAGE: u32 = 1_000;
/// Keys read at a time of which the pages differ.
const READS: usize = 16;

/// What a client asks for.
#[derive(Clone, Debug)]
pub(crate) struct Query {
    pub(crate) prefix: String,
    pub(crate) delimiter: Option<String>,
    pub(crate) start: Start,
    pub(crate) max_keys: usize,
}

/// Where a listing begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Start {
    Beginning,
    /// After this key.
    After(String),
    /// After all keys with this prefix.
    AfterPrefix(String),
}

impl Start {
    /// The form a client carries to the next page. Opaque to it.
    pub(crate) fn to_token(&self) -> String {
        match self {
            Self::Beginning => String::new(),
            Self::After(key) => hex::encode(format!("k{key}")),
            Self::AfterPrefix(prefix) => hex::encode(format!("p{prefix}")),
        }
    }

    pub(crate) fn from_token(token: &str) -> Option<Self> {
        let text = String::from_utf8(hex::decode(token).ok()?).ok()?;
        match text.split_at_checked(1)? {
            ("k", key) => Some(Self::After(key.to_owned())),
            ("p", prefix) => Some(Self::AfterPrefix(prefix.to_owned())),
            _ => None,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Item {
    Object(String, Summary),
    /// All keys that begin so, folded into one.
    Prefix(String),
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Page {
    pub(crate) items: Vec<Item>,
    /// Where the next page begins, if there is one.
    pub(crate) next: Option<Start>,
}

/// One page of a listing. Holds every key whose write completed before it began and no key whose delete did; it is
/// no snapshot.
pub(crate) async fn page(cluster: &Cluster, query: &Query) -> Result<Page, Error> {
    if keys::is_reserved(&query.prefix) {
        return Ok(Page::default());
    }
    records(cluster, query).await
}

/// The same, of the keys that the store keeps for itself when the prefix is one of theirs.
pub(crate) async fn records(cluster: &Cluster, query: &Query) -> Result<Page, Error> {
    let mut items: Vec<Item> = Vec::new();
    let Some(mut listing) = first(query) else {
        return Ok(Page { items, next: None });
    };
    if query.max_keys == 0 {
        return Ok(Page { items, next: None });
    }
    let quorum = cluster.quorum();
    loop {
        let settled = |pages: &[ListPage]| merge(pages, quorum).is_settled();
        let merged = merge(&cluster.list(&listing, settled).await?, quorum);
        let rows = futures::stream::iter(merged.entries).map(|entry| settle(cluster, entry));
        let mut rows = rows.buffered(READS);
        while let Some(row) = rows.try_next().await? {
            let Some(item) = fold(query, row) else {
                continue; // a tombstone
            };
            if matches!(item, Item::Prefix(_)) && items.last() == Some(&item) {
                continue;
            }
            if items.len() == query.max_keys {
                let next = items.last().map(after);
                return Ok(Page { items, next });
            }
            items.push(item);
        }
        let Some(reach) = merged.reach else {
            return Ok(Page { items, next: None });
        };
        listing.from = reach;
        listing.after = true;
        // The rest of a folded prefix need not be read.
        if let Some(Item::Prefix(prefix)) = items.last()
            && listing.from.starts_with(prefix.as_str())
        {
            let Some(from) = successor(prefix) else {
                return Ok(Page { items, next: None });
            };
            listing.from = from;
            listing.after = false;
        }
    }
}

/// What is under a key, by the pages or, where they differ, by a read.
async fn settle(cluster: &Cluster, entry: Entry) -> Result<ListRow, Error> {
    match entry {
        Entry::Settled(row) => Ok(row),
        Entry::Doubtful(key) => {
            let version = cluster.read(&key).await?;
            Ok(ListRow {
                accepted: Ballot::ZERO, // of no more interest
                object: version.and_then(|version| version.live().map(Summary::of)),
                key,
            })
        }
    }
}

/// Where to begin reading. `None`: after everything.
fn first(query: &Query) -> Option<Listing> {
    let (from, after) = match &query.start {
        Start::Beginning => (String::new(), false),
        Start::After(key) => (key.clone(), true),
        Start::AfterPrefix(prefix) => (successor(prefix)?, false),
    };
    // An empty prefix is one of every key.
    let least = if query.prefix.is_empty() {
        keys::FIRST
    } else {
        query.prefix.as_str()
    };
    let before = from.as_str() < least;
    Some(Listing {
        from: if before { least.to_owned() } else { from },
        after: after && !before,
        prefix: query.prefix.clone(),
        limit: PAGE,
    })
}

fn fold(query: &Query, row: ListRow) -> Option<Item> {
    let summary = row.object?;
    let rest = &row.key[query.prefix.len()..];
    let delimiter = query.delimiter.as_deref().filter(|d| !d.is_empty());
    Some(
        match delimiter.and_then(|d| rest.find(d).map(|at| at + d.len())) {
            Some(end) => Item::Prefix(row.key[..query.prefix.len() + end].to_owned()),
            None => Item::Object(row.key, summary),
        },
    )
}

fn after(item: &Item) -> Start {
    match item {
        Item::Object(key, _) => Start::After(key.clone()),
        Item::Prefix(prefix) => Start::AfterPrefix(prefix.clone()),
    }
}

/// The least string above every string that begins with `prefix`.
fn successor(prefix: &str) -> Option<String> {
    let mut chars: Vec<char> = prefix.chars().collect();
    while let Some(last) = chars.pop() {
        if let Some(next) = (last..=char::MAX).nth(1) {
            chars.push(next);
            return Some(chars.into_iter().collect());
        }
    }
    None
}

/// A key of merged pages.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Entry {
    /// A quorum of the pages has this row.
    Settled(ListRow),
    /// No quorum of them agrees on it.
    Doubtful(String),
}

#[derive(Debug)]
struct Merged {
    /// In the order of their keys.
    entries: Vec<Entry>,
    /// The last key that every page reaches; `None`: there are no more.
    reach: Option<String>,
}

impl Merged {
    fn is_settled(&self) -> bool {
        let settled = |entry| matches!(entry, &Entry::Settled(_));
        self.entries.iter().all(settled)
    }
}

/// Joins pages that began at the same place, as far as all of them reach. Each was read after the listing began, so
/// a row that a quorum of them has was chosen and nothing had replaced it by then; what a quorum of them lacks, no
/// write that was complete by then has put there.
fn merge(pages: &[ListPage], quorum: usize) -> Merged {
    let reach = pages.iter().filter(|page| page.more);
    let reach = reach
        .filter_map(|page| page.rows.last())
        .map(|row| row.key.as_str())
        .min();
    let mut keys: BTreeMap<&str, Vec<&ListRow>> = BTreeMap::new();
    for row in pages.iter().flat_map(|page| &page.rows) {
        if reach.is_none_or(|reach| row.key.as_str() <= reach) {
            keys.entry(&row.key).or_default().push(row);
        }
    }
    let entries = keys.into_iter().filter_map(|(key, rows)| {
        if pages.len() - rows.len() >= quorum {
            return None;
        }
        let alike = |row: &&&ListRow| {
            let same = rows.iter().filter(|other| other.accepted == row.accepted);
            same.count() >= quorum
        };
        Some(match rows.iter().find(alike) {
            Some(row) => Entry::Settled((*row).clone()),
            None => Entry::Doubtful(key.to_owned()),
        })
    });
    Merged {
        entries: entries.collect(),
        reach: reach.map(str::to_owned),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ballot::Ballot;

    fn row(key: &str, micros: u64, live: bool) -> ListRow {
        ListRow {
            key: key.to_owned(),
            accepted: Ballot { micros, node: 1 },
            object: live.then_some(Summary {
                size: micros,
                etag: [0; 16],
                parts: 0,
                last_modified_ms: 0,
            }),
        }
    }

    fn page(rows: Vec<ListRow>, more: bool) -> ListPage {
        ListPage { rows, more }
    }

    fn settled(key: &str, micros: u64, live: bool) -> Entry {
        Entry::Settled(row(key, micros, live))
    }

    fn doubtful(key: &str) -> Entry {
        Entry::Doubtful(key.to_owned())
    }

    /// A page that was read early shows an object; then it was deleted, and its tombstone collected, and only then the
    /// other page was read. A page that was read early may also show a tombstone of a delete that never completes.
    #[test]
    fn no_row_counts_that_two_pages_do_not_share() {
        let early = page(
            vec![row("a", 1, true), row("b", 1, true), row("c", 2, false)],
            false,
        );
        let late = page(
            vec![row("b", 1, true), row("c", 1, true), row("d", 3, true)],
            false,
        );
        let merged = merge(&[early, late], 2);
        let expected = [
            doubtful("a"),
            settled("b", 1, true),
            doubtful("c"),
            doubtful("d"),
        ];
        assert_eq!(merged.entries, expected);
        assert_eq!(merged.reach, None);
    }

    #[test]
    fn a_third_page_settles_what_a_stale_node_does_not_know() {
        let stale = page(vec![row("a", 1, true), row("b", 1, true)], false);
        let fresh = page(vec![row("b", 2, false), row("c", 3, true)], false);
        let merged = merge(&[stale.clone(), fresh.clone()], 2);
        assert!(!merged.is_settled());
        let merged = merge(&[stale, fresh.clone(), fresh], 2);
        assert!(merged.is_settled(), "{merged:?}");
        assert_eq!(
            merged.entries,
            [settled("b", 2, false), settled("c", 3, true)]
        );
    }

    #[test]
    fn the_page_of_a_node_on_its_own_is_all_there_is() {
        let merged = merge(&[page(vec![row("a", 1, true)], false)], 1);
        assert_eq!(merged.entries, [settled("a", 1, true)]);
    }

    #[test]
    fn a_merge_reaches_only_as_far_as_every_page() {
        let short = page(vec![row("a", 1, true), row("b", 1, true)], true);
        let long = page(
            vec![row("a", 1, true), row("b", 1, true), row("d", 1, true)],
            true,
        );
        let merged = merge(&[short, long], 2);
        assert_eq!(
            merged.entries,
            [settled("a", 1, true), settled("b", 1, true)]
        );
        let c = "c may be on the first node, d is read again";
        assert_eq!(merged.reach.as_deref(), Some("b"), "{c}");
    }

    #[test]
    fn the_successor_is_above_the_whole_prefix() {
        assert_eq!(successor("a/").as_deref(), Some("a0"));
        assert_eq!(successor("a\u{10FFFF}").as_deref(), Some("b"));
        assert_eq!(successor("\u{D7FF}").as_deref(), Some("\u{E000}"));
        assert_eq!(successor("\u{10FFFF}"), None);
    }

    #[test]
    fn a_token_leads_back_to_its_place() {
        for start in [
            Start::After("ä/b".to_owned()),
            Start::AfterPrefix("p/".to_owned()),
        ] {
            assert_eq!(Start::from_token(&start.to_token()), Some(start));
        }
        assert_eq!(Start::from_token("zz"), None);
        assert_eq!(Start::from_token(""), None);
    }

    #[test]
    fn a_start_before_the_prefix_begins_at_the_prefix() {
        let query = Query {
            prefix: "m/".to_owned(),
            delimiter: None,
            start: Start::After("a".to_owned()),
            max_keys: 1,
        };
        let listing = first(&query).unwrap();
        assert_eq!((listing.from.as_str(), listing.after), ("m/", false));
    }

    #[test]
    fn a_listing_of_everything_leaves_out_what_the_store_keeps_for_itself() {
        let reserved = keys::part("0", 1);
        for start in [
            Start::Beginning,
            Start::After(String::new()),
            Start::After(reserved),
        ] {
            let query = Query {
                prefix: String::new(),
                delimiter: None,
                start,
                max_keys: 1,
            };
            let listing = first(&query).unwrap();
            assert_eq!(listing.from, keys::FIRST);
        }
    }
}
