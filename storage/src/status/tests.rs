//! What is shown of the nodes, and its form.

use super::*;
use crate::scrub::{Run, State as Scrub};

pub(crate) fn node(node: u8, behind: [u64; 2]) -> NodeStatus {
    let others = (1..=3).filter(|other| *other != node);
    NodeStatus {
        node,
        standing: Standing::Voting,
        program: "0.1.0".to_owned(),
        objects: 12_345,
        object_bytes: 1_500_000_000,
        blobs: 12_350,
        blob_bytes: 1_500_900_000,
        tombstones: 7,
        space: Space {
            free_bytes: 30_000_000_000,
            total_bytes: 250_000_000_000,
            reserve_bytes: 5_000_000_000,
            full: false,
        },
        scrub: Scrub {
            running: None,
            last: Some(Run {
                started_ms: 1_795_000_000_000,
                ended_ms: 1_795_000_090_000,
                blobs: 12_350,
                bytes: 1_500_000_000,
                found: 2,
                repaired: 2,
            }),
            next_ms: 1_796_209_600_000,
        },
        behind: others.clone().zip(behind).collect(),
        feed_end: 20_000,
        pulled: others.zip(behind.map(|behind| 20_000 - behind)).collect(),
    }
}

/// Node 3 is down and has missed what the others have changed since.
pub(crate) fn degraded() -> Status {
    Status::assemble(1, 3, vec![node(1, [0, 11_000]), node(2, [4, 11_004])])
}

#[test]
fn what_a_node_has_missed_is_known_from_the_others_while_it_is_down() {
    let status = degraded();
    assert_eq!(status.state, State::Degraded);
    let third = &status.nodes[2];
    assert!(!third.up && third.about.is_none());
    assert_eq!(
        third.to_heal,
        BTreeMap::from([(1, Some(11_000)), (2, Some(11_004))])
    );
    assert_eq!(third.left(), 22_004);
    let first = &status.nodes[0];
    assert_eq!(first.to_heal, BTreeMap::from([(2, Some(4)), (3, None)]));
}

#[test]
fn the_state_is_that_of_a_quorum_of_voting_nodes() {
    let state = |said: Vec<NodeStatus>| Status::assemble(1, 3, said).state;
    let all = [1, 2, 3].map(|id| node(id, [0, 0]));
    assert_eq!(state(all.to_vec()), State::Healthy);
    let mut lagging = all.clone();
    lagging[1].behind.insert(3, 1);
    assert_eq!(state(lagging.to_vec()), State::Healing);
    assert_eq!(state(all[..2].to_vec()), State::Degraded);
    assert_eq!(state(all[..1].to_vec()), State::Unavailable);
    let mut rebuilding = all;
    rebuilding[2].standing = Standing::Rebuilding;
    assert_eq!(state(rebuilding.to_vec()), State::Degraded);
}

/// Programs read it: what changes here changes for them.
#[test]
fn the_json_form_is_what_it_was() {
    let json = serde_json::to_string_pretty(&degraded()).unwrap();
    assert_eq!(json.trim(), include_str!("status.json").trim());
    let back: Status = serde_json::from_str(&json).unwrap();
    assert_eq!(back, degraded());
}
