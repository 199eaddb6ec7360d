//! Whether this node takes part in rounds.
//!
//! After a start it does not until another node has confirmed that its folder is the one that is known of it. If the
//! folder is another or an older one, promises are forgotten, and the node is [rebuilt](crate::rebuild) before it votes.
//! Until then it welcomes others, as all may have been started at once, and sends none of them to be rebuilt.

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
pub(crate) struct Current(watch::Sender<Standing>);

impl Current {
    pub(crate) fn new(standing: Standing) -> Self {
        Self(watch::Sender::new(standing))
    }

    pub(crate) fn get(&self) -> Standing {
        *self.0.borrow()
    }

    pub(crate) fn watch(&self) -> watch::Receiver<Standing> {
        self.0.subscribe()
    }

    /// Takes note of what another node says of this one's folder.
    pub(crate) fn hear(&self, peer: u8, verdict: Verdict) {
        self.0.send_if_modified(|standing| {
            let next = match (*standing, verdict) {
                (Standing::Joining, Verdict::Welcome) => Standing::Voting,
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

    /// The rebuilding has ended.
    pub(crate) fn rebuilt(&self) {
        info!("rebuilt: this node votes again");
        self.0.send_replace(Standing::Voting);
    }
}
