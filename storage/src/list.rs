//! Listing: pages of keys from two replicas, merged so that every completed write shows, then folded by delimiter.

use std::collections::BTreeMap;

use crate::error::Error;
use crate::keys;
use crate::round::Cluster;
use crate::wire::{ListPage, ListRow, Listing, Summary};

/// Rows in one page from a node: one exchange for a full answer to a client.
const PAGE: u32 = 1_000;

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
    loop {
        let merged = merge(cluster.list(&listing).await?);
        for row in merged.rows {
            listing.from.clone_from(&row.key);
            listing.after = true;
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
        if !merged.more {
            return Ok(Page { items, next: None });
        }
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

/// Joins pages that began at the same place: the newest row of each key, as far as all pages reach.
fn merge(pages: Vec<ListPage>) -> ListPage {
    let reach = pages.iter().filter(|page| page.more);
    let reach = reach
        .filter_map(|page| page.rows.last())
        .map(|row| row.key.clone())
        .min();
    let more = reach.is_some();
    let mut newest: BTreeMap<String, ListRow> = BTreeMap::new();
    for row in pages.into_iter().flat_map(|page| page.rows) {
        if reach.as_ref().is_some_and(|reach| row.key > *reach) {
            continue;
        }
        let known = newest.get(&row.key);
        if known.is_none_or(|known| known.accepted < row.accepted) {
            newest.insert(row.key.clone(), row);
        }
    }
    ListPage {
        rows: newest.into_values().collect(),
        more,
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

    #[test]
    fn the_newest_row_of_a_key_wins_and_a_tombstone_hides_an_older_object() {
        let stale = page(vec![row("a", 1, true), row("b", 1, true)], false);
        let fresh = page(
            vec![row("a", 2, false), row("b", 1, true), row("c", 3, true)],
            false,
        );
        let merged = merge(vec![stale, fresh]);
        let seen: Vec<_> = merged
            .rows
            .iter()
            .map(|r| (r.key.as_str(), r.object.is_some()))
            .collect();
        assert_eq!(seen, [("a", false), ("b", true), ("c", true)]);
        assert!(!merged.more);
    }

    #[test]
    fn a_merge_reaches_only_as_far_as_every_page() {
        let short = page(vec![row("a", 1, true), row("b", 1, true)], true);
        let long = page(vec![row("b", 2, true), row("d", 1, true)], true);
        let merged = merge(vec![short, long]);
        let keys: Vec<_> = merged.rows.iter().map(|r| r.key.as_str()).collect();
        assert_eq!(keys, ["a", "b"]);
        assert!(merged.more, "c may be on the first node, d is read again");
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
