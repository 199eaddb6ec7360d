//! Compares what the three nodes hold: one BLAKE3 on each over the keys and versions of all objects, in order.
//!
//! It goes page by page beside all other work. What differs is looked at again a few times, as a write reaches the nodes
//! one after the other: only what stays as it is and stays different counts. Tombstones are left out, as the nodes drop
//! them one after the other.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures::future::join_all;
use serde::{Deserialize, Serialize};
use tokio::time::sleep;
use tracing::debug;

use crate::node::Node;
use crate::wire::{DigestPage, DigestQuery};

/// Version of the JSON form. Fields may be added without a new one.
const FORMAT: u32 = 1;
/// Rows in one page.
const PAGE: u32 = 1_024;
/// Looks at what differs, beside the first, as long as it changes or vanishes, and the pause before each.
const LOOKS: usize = 8;
const PAUSE: Duration = Duration::from_millis(500);
/// Pages whose differences may be waited for in vain: when much differs, waiting makes it no better.
const PATIENT_PAGES: usize = 20;
/// Different keys that are named.
const NAMED: usize = 10;

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Verified {
    pub(crate) format: u32,
    pub(crate) identical: bool,
    pub(crate) nodes: Vec<Tree>,
    /// Keys that are not the same on all nodes, and some of them.
    pub(crate) different: u64,
    pub(crate) examples: Vec<String>,
}

/// What one node holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Tree {
    pub(crate) node: u8,
    /// `null` when the node could not be asked.
    pub(crate) digest: Option<String>,
    pub(crate) objects: u64,
}

/// The digests of one key on each node; `None` where there is no such object.
type Row = Vec<Option<[u8; 32]>>;

/// Compares all nodes.
pub(crate) async fn verify(node: &Node) -> Verified {
    let mut trees: Vec<_> = std::iter::once(node.id())
        .chain(node.peers().iter().map(|peer| peer.node()))
        .map(|node| (node, blake3::Hasher::new(), 0))
        .collect();
    let mut comparison = Comparison::default();
    let mut after = String::new();
    let complete = loop {
        let Some(page) = Page::read(node, &after).await else {
            break false;
        };
        let settled = comparison.settle(node, &after, page).await;
        for (key, row) in &settled.rows {
            for ((_, hasher, objects), digest) in trees.iter_mut().zip(row) {
                if let Some(digest) = digest {
                    hasher.update(&(key.len() as u64).to_le_bytes());
                    hasher.update(key.as_bytes());
                    hasher.update(digest);
                    *objects += 1;
                }
            }
        }
        match settled.upto {
            Some(upto) => after = upto,
            None => break true,
        }
    };
    trees.sort_by_key(|(node, ..)| *node);
    let tree = |(node, hasher, objects): (u8, blake3::Hasher, u64)| Tree {
        node,
        digest: complete.then(|| hasher.finalize().to_hex().to_string()),
        objects,
    };
    Verified {
        format: FORMAT,
        identical: complete && comparison.different == 0,
        nodes: trees.into_iter().map(tree).collect(),
        different: comparison.different,
        examples: comparison.examples,
    }
}

/// The same range of keys on all nodes.
struct Page {
    rows: BTreeMap<String, Row>,
    /// The rows are all up to this key; `None`: there are no more.
    upto: Option<String>,
}

impl Page {
    /// Asks all nodes; `None` when one of them does not answer, also when asked again.
    async fn read(node: &Node, after: &str) -> Option<Self> {
        let query = DigestQuery {
            after: after.to_owned(),
            limit: PAGE,
        };
        for attempt in 0..3 {
            if attempt > 0 {
                sleep(PAUSE).await;
            }
            let peers = join_all(node.peers().iter().map(|peer| peer.digests(&query)));
            let (own, peers) = tokio::join!(node.digests(query.clone()), peers);
            let answers: Result<Vec<_>, _> = std::iter::once(own).chain(peers).collect();
            match answers {
                Ok(pages) => return Some(Self::merge(pages)),
                Err(failure) => debug!("cannot compare: {}", failure.chain()),
            }
        }
        None
    }

    /// Up to where the page of every node reaches.
    fn merge(pages: Vec<DigestPage>) -> Self {
        let upto = pages.iter().filter_map(|page| page.upto.clone()).min();
        let nodes = pages.len();
        let mut rows: BTreeMap<String, Row> = BTreeMap::new();
        for (node, page) in pages.into_iter().enumerate() {
            for (key, digest) in page.rows {
                if upto.as_ref().is_none_or(|upto| key <= *upto) {
                    rows.entry(key).or_insert_with(|| vec![None; nodes])[node] = Some(digest);
                }
            }
        }
        Self { rows, upto }
    }

    /// The rows that are not the same everywhere.
    fn different(&self) -> BTreeMap<String, Row> {
        let differs = |(_, row): &(&String, &Row)| row.iter().any(|digest| *digest != row[0]);
        let rows = self.rows.iter().filter(differs);
        rows.map(|(key, row)| (key.clone(), row.clone())).collect()
    }
}

#[derive(Default)]
struct Comparison {
    patient: usize,
    different: u64,
    examples: Vec<String>,
}

impl Comparison {
    /// Looks again at what differs, and counts what stays so. What was on its way is made equal in the page.
    async fn settle(&mut self, node: &Node, after: &str, mut page: Page) -> Page {
        let first = page.different();
        let mut open = first.clone();
        let mut looks = 0;
        while !open.is_empty() && looks < LOOKS && self.patient < PATIENT_PAGES {
            looks += 1;
            sleep(PAUSE).await;
            let Some(again) = Page::read(node, after).await else {
                break;
            };
            let now = again.different();
            // The end may have moved, and what is beyond it is not known to be equal.
            let seen = |key: &String| again.upto.as_ref().is_none_or(|upto| key <= upto);
            open.retain(|key, row| !seen(key) || now.get(key) == Some(row));
        }
        self.patient += usize::from(!open.is_empty());
        self.different += open.len() as u64;
        let room = NAMED - self.examples.len();
        self.examples.extend(open.keys().take(room).cloned());
        let moved: BTreeSet<_> = first
            .keys()
            .filter(|key| !open.contains_key(*key))
            .collect();
        for key in moved {
            page.rows.remove(key);
        }
        page
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(keys: &[(&str, u8)], upto: Option<&str>) -> DigestPage {
        DigestPage {
            rows: keys
                .iter()
                .map(|(key, it)| ((*key).to_owned(), [*it; 32]))
                .collect(),
            upto: upto.map(str::to_owned),
        }
    }

    #[test]
    fn a_page_reaches_as_far_as_the_shortest_one_and_shows_what_differs() {
        let merged = Page::merge(vec![
            page(&[("a", 1), ("b", 1), ("c", 1)], Some("c")),
            page(&[("a", 1), ("c", 2), ("d", 1), ("e", 1)], None),
            page(&[("a", 1), ("b", 1), ("c", 1), ("d", 1)], Some("d")),
        ]);
        assert_eq!(merged.upto.as_deref(), Some("c"));
        assert!(merged.rows.keys().eq(["a", "b", "c"]));
        let different = merged.different();
        assert!(different.keys().eq(["b", "c"]));
        assert_eq!(different["b"], [Some([1; 32]), None, Some([1; 32])]);
    }
}
