//! Who takes part in rounds: this node, and the others in its eyes.

use super::Node;
use crate::error::Failure;
use crate::peer::Peer;
use crate::standing::{self, Standing};
use crate::wire::{Folder, Pong, Verdict};

impl Node {
    /// Whether this node takes part in rounds.
    pub(crate) fn votes(&self) -> bool {
        self.standing.get() == Standing::Voting
    }

    pub(crate) fn standing(&self) -> &standing::Current {
        &self.standing
    }

    pub(super) fn voting(&self) -> Result<(), Failure> {
        if self.votes() {
            return Ok(());
        }
        Err(Failure::NotVoting)
    }

    /// This node's folder, as it is shown to the others.
    pub(crate) fn folder(&self) -> Folder {
        self.index.members().folder(self.id)
    }

    /// Judges the folder of another node that has sent something, and remembers it.
    pub(crate) fn saw(&self, folder: &Folder) -> Verdict {
        self.index.members().saw(folder)
    }

    /// Makes durable what was seen of the other nodes' folders.
    pub(crate) async fn save_members(&self) {
        let saved = self.index.save_members().await;
        // Logged there.
        self.own("remembering the nodes", saved.map_err(Into::into))
            .ok();
    }

    /// What a heartbeat of another node is answered.
    pub(crate) fn pong(&self, ping: &Folder) -> Pong {
        let verdict = match (self.saw(ping), self.standing.get()) {
            // Also while being rebuilt: two that both wait for the other's word would wait for ever.
            (Verdict::Unknown, _) => Verdict::Unknown,
            (_, Standing::Rebuilding) => Verdict::Undecided,
            // What this folder remembers may itself be old: of two that send each other to be rebuilt, both would wait.
            (Verdict::Replaced | Verdict::RolledBack, Standing::Joining) => Verdict::Undecided,
            (verdict, _) => verdict,
        };
        Pong {
            feed: self.feed_end(),
            votes: self.votes(),
            behind: self.behind(ping.node),
            room: self.blobs.space().room(),
            verdict,
            seen: self.index.members().seen_of(ping.node),
        }
    }

    /// Takes note of what another node has answered to a heartbeat.
    pub(crate) fn heard(&self, peer: u8, pong: &Pong) {
        let members = self.index.members();
        let set_back = pong.seen.is_some_and(|seen| members.was_set_back(&seen));
        let verdict = if set_back {
            Verdict::RolledBack
        } else {
            pong.verdict
        };
        self.standing.hear(peer, verdict, self.peers.len());
        if pong.votes && !members.knows(peer) {
            self.meet(peer, pong.feed.feed_id); // the heartbeat's end makes it durable
        }
    }

    /// Whether this node and `peer` take part in each other's rounds, as far as is known.
    pub(crate) fn counts_on(&self, peer: &Peer) -> bool {
        let said = *peer.pong().borrow();
        let votes = said.is_some_and(|pong| pong.votes && pong.verdict == Verdict::Welcome);
        peer.is_up() && votes && self.index.members().knows(peer.node())
    }
}

#[cfg(test)]
mod tests {
    use super::super::unused::tests::node;
    use super::*;

    fn pong(node: &Node, seen: Folder) -> Pong {
        Pong {
            feed: node.feed_end(),
            votes: true,
            behind: 0,
            room: 0,
            verdict: Verdict::Welcome,
            seen: Some(seen),
        }
    }

    /// As a virtual machine is that goes on from a snapshot: to the others its messages are merely late.
    #[tokio::test]
    async fn a_node_that_was_set_back_with_its_memory_sees_it_by_what_others_have_seen() {
        let (_dir, node) = node();
        node.next_ballot(crate::ballot::Ballot::ZERO).await.unwrap();
        let now = node.folder();
        assert!(now.commits > 0);
        let ahead = now.commits + 1;
        for harmless in [
            now,
            Folder {
                run: 0,
                commits: ahead,
                ..now
            }, // another process, which the other node judges
            Folder {
                feed_id: [9; 16],
                commits: ahead,
                ..now
            }, // from before it was rebuilt
        ] {
            node.heard(2, &pong(&node, harmless));
            assert!(node.votes(), "{harmless:?}");
        }
        node.heard(
            2,
            &pong(
                &node,
                Folder {
                    commits: ahead,
                    ..now
                },
            ),
        );
        assert_eq!(node.standing().get(), Standing::Rebuilding);
    }
}
