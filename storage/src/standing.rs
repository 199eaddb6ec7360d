//! Whether this node takes part in rounds.
//!
//! After a start it does not until another node has confirmed that its folder is the one that is known of it. If the
//! folder is another or an older one, promises are forgotten, and the node is [rebuilt](crate::rebuild) before it votes.
//! Until then it welcomes those that it knows, as all may have been started at once, and sends none of them to be rebuilt.
//!
//! A folder that a node has never seen may be its first or one that has taken the first one's place. It is the first
//! only if both others say that they have never seen this node vote: had a vote of it counted, one of them would know.
//! So the first start of a store takes all three nodes.

use std::collections::BTreeSet;
use std::sync::Mutex;

use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tracing::{info, warn};

use crate::wire::Verdict;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Standing {
    /// Nobody has confirmed the folder yet.
    Joining,
    Voting,
    Rebuilding,
}

/// The standing of a running node.
#[derive(Debug)]
pub(crate) struct Current {
    standing: watch::Sender<Standing>,
    /// The peers that have never seen this node vote.
    strangers: Mutex<BTreeSet<u8>>,
}

impl Current {
    pub(crate) fn new(standing: Standing) -> Self {
        Self {
            standing: watch::Sender::new(standing),
            strangers: Mutex::default(),
        }
    }

    pub(crate) fn get(&self) -> Standing {
        *self.standing.borrow()
    }

    pub(crate) fn watch(&self) -> watch::Receiver<Standing> {
        self.standing.subscribe()
    }

    /// Takes note of what another node, one of `peers`, says of this one's folder.
    pub(crate) fn hear(&self, peer: u8, verdict: Verdict, peers: usize) {
        let unknown = verdict == Verdict::Unknown && self.is_stranger_to_all(peer, peers);
        self.standing.send_if_modified(|standing| {
            let next = match (*standing, verdict) {
                (Standing::Joining, Verdict::Welcome) => Standing::Voting,
                (Standing::Joining, Verdict::Unknown) if unknown => {
                    info!("no other node has ever seen this one vote: its folder is the first");
                    Standing::Voting
                }
                (Standing::Joining | Standing::Voting, Verdict::Replaced) => {
                    warn!(
                        peer,
                        "node {peer} knows another folder of this node: rebuilding"
                    );
                    Standing::Rebuilding
                }
                (Standing::Joining | Standing::Voting, Verdict::RolledBack) => {
                    warn!(
                        peer,
                        "node {peer} has seen commits that this folder has lost: rebuilding"
                    );
                    Standing::Rebuilding
                }
                (same, _) => same,
            };
            let changed = *standing != next;
            *standing = next;
            changed
        });
    }

    /// Takes note that `peer` has never seen this node vote. Returns whether none of `peers` has.
    fn is_stranger_to_all(&self, peer: u8, peers: usize) -> bool {
        let mut strangers = self.strangers.lock().expect("no panic while locked");
        strangers.insert(peer);
        strangers.len() == peers
    }

    /// The rebuilding has ended.
    pub(crate) fn rebuilt(&self) {
        info!("rebuilt: this node votes again");
        self.standing.send_replace(Standing::Voting);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_the_first_if_both_others_say_so() {
        let current = Current::new(Standing::Joining);
        for _ in 0..2 {
            current.hear(2, Verdict::Unknown, 2);
            current.hear(3, Verdict::Undecided, 2);
            assert_eq!(current.get(), Standing::Joining);
        }
        current.hear(3, Verdict::Unknown, 2);
        assert_eq!(current.get(), Standing::Voting);
    }

    #[test]
    fn a_folder_that_one_node_has_never_seen_may_be_another_to_the_other() {
        let current = Current::new(Standing::Joining);
        current.hear(2, Verdict::Unknown, 2);
        current.hear(3, Verdict::Replaced, 2);
        assert_eq!(current.get(), Standing::Rebuilding);
        current.hear(3, Verdict::Unknown, 2);
        assert_eq!(current.get(), Standing::Rebuilding);
    }
}
