//! How the three nodes are: what each says of itself, and what is still to heal.
//!
//! Answered from memory. The other nodes are asked at the moment of the question; one that does not answer at once is
//! shown as down, and what it has missed is known from the others all the same.

use std::collections::BTreeMap;

use futures::future::join_all;
use serde::{Deserialize, Serialize};

use crate::blobs::space::Room;
use crate::node::Node;
use crate::quorum::quorum_of;
use crate::scrub;
use crate::standing::Standing;

/// Version of the JSON form. Fields may be added without a new one.
const FORMAT: u32 = 1;

/// What one node says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct NodeStatus {
    pub(crate) node: u8,
    pub(crate) standing: Standing,
    pub(crate) program: String,
    /// Live objects and their bytes.
    pub(crate) objects: u64,
    pub(crate) object_bytes: u64,
    /// Blob files, unused ones included, and their bytes.
    pub(crate) blobs: u64,
    pub(crate) blob_bytes: u64,
    pub(crate) tombstones: u64,
    pub(crate) space: Space,
    pub(crate) scrub: scrub::State,
    /// For each other node, the changes of this one that it has yet to look at.
    pub(crate) behind: BTreeMap<u8, u64>,
    /// The number of this node's latest change, and up to which number each other node has looked.
    pub(crate) feed_end: u64,
    pub(crate) pulled: BTreeMap<u8, u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Space {
    pub(crate) free_bytes: u64,
    pub(crate) total_bytes: u64,
    /// What blobs leave free.
    pub(crate) reserve_bytes: u64,
    /// The node takes no blobs, for want of room.
    pub(crate) full: bool,
}

impl From<Room> for Space {
    fn from(room: Room) -> Self {
        Self {
            free_bytes: room.free,
            total_bytes: room.total,
            reserve_bytes: room.reserve,
            full: room.full,
        }
    }
}

/// All three nodes, as the asked one sees them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Status {
    pub(crate) format: u32,
    /// The node that answers.
    pub(crate) asked: u8,
    pub(crate) replicas: u8,
    pub(crate) state: State,
    pub(crate) nodes: Vec<Member>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum State {
    Healthy,
    /// All nodes vote, and some have changes yet to look at.
    Healing,
    /// A quorum votes, a node does not.
    Degraded,
    /// No quorum votes.
    Unavailable,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Member {
    pub(crate) node: u8,
    pub(crate) up: bool,
    /// Changes of each other node that this one has yet to look at; `null` of a node that is down.
    pub(crate) to_heal: BTreeMap<u8, Option<u64>>,
    /// What the node says of itself; `null` when it is down.
    pub(crate) about: Option<NodeStatus>,
}

impl Member {
    /// Changes to look at, as far as is known.
    pub(crate) fn left(&self) -> u64 {
        self.to_heal.values().flatten().sum()
    }

    pub(crate) fn votes(&self) -> bool {
        let about = self.about.as_ref();
        about.is_some_and(|about| about.standing == Standing::Voting)
    }
}

impl Status {
    pub(crate) fn left(&self) -> u64 {
        self.nodes.iter().map(Member::left).sum()
    }

    /// Puts together what the nodes say of themselves; one that is not among them is down.
    pub(crate) fn assemble(asked: u8, replicas: usize, said: Vec<NodeStatus>) -> Self {
        let said: BTreeMap<u8, NodeStatus> = said.into_iter().map(|it| (it.node, it)).collect();
        let members = (1..=replicas as u8).map(|node| {
            let sources = (1..=replicas as u8).filter(|source| *source != node);
            let behind = |source| said.get(&source)?.behind.get(&node).copied();
            Member {
                node,
                up: said.contains_key(&node),
                to_heal: sources.map(|source| (source, behind(source))).collect(),
                about: said.get(&node).cloned(),
            }
        });
        let nodes: Vec<Member> = members.collect();
        let voting = nodes.iter().filter(|member| member.votes()).count();
        let left: u64 = nodes.iter().map(Member::left).sum();
        Self {
            format: FORMAT,
            asked,
            replicas: replicas as u8,
            state: match voting {
                all if all == replicas && left == 0 => State::Healthy,
                all if all == replicas => State::Healing,
                some if some >= quorum_of(replicas) => State::Degraded,
                _ => State::Unavailable,
            },
            nodes,
        }
    }
}

/// What this node says of itself.
pub(crate) fn of(node: &Node) -> NodeStatus {
    let (objects, object_bytes) = node.objects();
    let (blobs, blob_bytes) = node.usage();
    let others = (1..=1 + node.peers().len() as u8).filter(|other| *other != node.id());
    NodeStatus {
        node: node.id(),
        standing: node.standing().get(),
        program: env!("CARGO_PKG_VERSION").to_owned(),
        objects,
        object_bytes,
        blobs,
        blob_bytes,
        tombstones: node.tombstones() as u64,
        space: node.space().into(),
        scrub: node.scrub().state(),
        behind: others
            .clone()
            .map(|other| (other, node.behind(other)))
            .collect(),
        feed_end: node.feed_end().last_seq,
        pulled: others.map(|other| (other, node.acked(other))).collect(),
    }
}

/// Asks all nodes.
pub(crate) async fn of_all(node: &Node) -> Status {
    let peers = join_all(node.peers().iter().map(|peer| peer.status())).await;
    let said = std::iter::once(of(node)).chain(peers.into_iter().flatten());
    Status::assemble(node.id(), 1 + node.peers().len(), said.collect())
}

#[cfg(test)]
pub(crate) mod tests;
