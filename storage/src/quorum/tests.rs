//! What a coordinator may conclude, case by case.

use proptest::prelude::*;

use super::*;
use crate::register::{Limits, Register, accept, prepare, read};
use crate::version::State;

const fn ballot(micros: u64, node: u8) -> Ballot {
    Ballot { micros, node }
}

fn version(micros: u64, before: &[u64]) -> Version {
    Version {
        written: ballot(micros, 1),
        before: before.iter().map(|&m| ballot(m, 1)).collect(),
        state: State::Tomb,
    }
}

fn seen(accepted: u64, version: Option<Version>) -> Current {
    Current {
        accepted: ballot(accepted, 1),
        version,
        chosen: true,
    }
}

#[test]
fn two_of_three_answers_decide_and_two_failures_end_the_wait() {
    let mut tracker = Tracker::default();
    assert_eq!(tracker.yes(), Verdict::Wait);
    assert_eq!(tracker.no(), Verdict::Wait);
    assert_eq!(tracker.yes(), Verdict::Reached);
    let mut tracker = Tracker::default();
    assert_eq!(tracker.no(), Verdict::Wait);
    assert_eq!(tracker.yes(), Verdict::Wait);
    assert_eq!(tracker.no(), Verdict::Failed);
}

#[test]
fn only_equal_ballots_prove_that_a_value_is_chosen() {
    let newer = (ballot(5, 2), Some(version(5, &[])));
    let older = (ballot(3, 1), None);
    let now = current(vec![older, newer.clone()]);
    assert!(!now.chosen);
    assert_eq!((now.accepted, now.version), newer.clone());
    assert!(current(vec![newer.clone(), newer]).chosen);
}

/// A put reached nodes B and C; a delete then reached only B. A reader of A and B sees "nothing" and "deleted". Were
/// it to answer "absent" at once, the next reader, of A and C, would bring the object back.
#[test]
fn nothing_on_one_node_and_a_tombstone_on_another_prove_no_delete() {
    let open = Limits::default();
    let put = ballot(3, 1);
    let b = accept(None, open, put, version(3, &[])).unwrap();
    let c = b.clone();
    let b = accept(Some(&b), open, ballot(5, 2), version(5, &[3])).unwrap();
    let first = current(vec![read::<Version>(None), read(Some(&b))]);
    assert!(!first.chosen, "the reader has to run a round");
    let second = prepare::<Version>(None, open, ballot(7, 3)).unwrap();
    let c = prepare(Some(&c), open, ballot(7, 3)).unwrap();
    let second = current(vec![(second.accepted, second.value), (c.accepted, c.value)]);
    assert_eq!(
        second.version.unwrap().written,
        put,
        "and this one finds the object"
    );
}

#[test]
fn a_write_that_nobody_shows_did_not_happen() {
    assert_eq!(fate(&[], &seen(9, Some(version(9, &[])))), Fate::NotApplied);
    assert_eq!(
        fate(&[ballot(5, 1)], &seen(4, Some(version(4, &[])))),
        Fate::NotApplied
    );
    assert_eq!(
        fate(&[ballot(5, 1)], &seen(9, Some(version(9, &[2])))),
        Fate::NotApplied
    );
}

#[test]
fn a_write_found_as_the_value_or_in_its_history_happened() {
    assert_eq!(
        fate(&[ballot(5, 1)], &seen(9, Some(version(5, &[])))),
        Fate::Applied
    );
    assert_eq!(
        fate(&[ballot(5, 1)], &seen(9, Some(version(9, &[2, 5])))),
        Fate::Applied
    );
}

#[test]
fn a_history_that_ends_too_early_leaves_the_outcome_unknown() {
    let many: Vec<u64> = (10..18).collect();
    assert_eq!(
        fate(&[ballot(5, 1)], &seen(18, Some(version(18, &many)))),
        Fate::Unknown
    );
}

/// One step of the simulation below: which writer, and which of its three prepares and accepts arrive.
type Step = (u8, u8, u8);

proptest! {
    #![proptest_config(ProptestConfig { cases: 4_000, failure_persistence: None, ..ProptestConfig::default() })]

    /// Writers append themselves to a register through rounds whose messages get lost, and retry as the coordinator
    /// does. Whatever is lost, a writer told "done" is in the final history exactly once, and nobody is in it twice.
    #[test]
    fn a_retried_write_takes_effect_once(steps in proptest::collection::vec(any::<Step>(), 1..60)) {
        let mut nodes: Vec<Option<Register<Version>>> = vec![None; NODES];
        let mut tried: Vec<Vec<Ballot>> = vec![Vec::new(); 3];
        let mut done: Vec<Option<bool>> = vec![None; 3];
        let mut writes: Vec<(Ballot, usize)> = Vec::new();
        for (step, (who, hears, takes)) in steps.iter().enumerate() {
            let who = usize::from(*who) % 3;
            let b = ballot(step as u64 + 1, who as u8);
            let mut answers = Vec::new();
            for (n, row) in nodes.iter_mut().enumerate().filter(|(n, _)| hears & (1 << n) != 0) {
                let next = prepare(row.as_ref(), Limits::default(), b).unwrap();
                answers.push((n, (next.accepted, next.value.clone())));
                *row = Some(next);
            }
            if answers.len() < QUORUM {
                continue;
            }
            let now = current(answers.into_iter().take(QUORUM).map(|(_, a)| a).collect());
            // A writer that is done runs an identity round, as a reader would.
            let fate = if done[who].is_some() { None } else { Some(fate(&tried[who], &now)) };
            let identity = fate != Some(Fate::NotApplied);
            if fate == Some(Fate::Unknown) {
                done[who] = Some(false);
            }
            let value = if identity {
                let Some(version) = now.version else { continue };
                version
            } else {
                tried[who].push(b);
                writes.push((b, who));
                Version::after(now.version.as_ref(), b, State::Tomb)
            };
            let mut acks = 0;
            for (_, row) in nodes.iter_mut().enumerate().filter(|(n, _)| takes & (1 << n) != 0) {
                if let Ok(next) = accept(row.as_ref(), Limits::default(), b, value.clone()) {
                    *row = Some(next);
                    acks += 1;
                }
            }
            let settled = acks >= QUORUM || (identity && now.chosen);
            if settled && matches!(fate, Some(Fate::Applied | Fate::NotApplied)) {
                done[who] = Some(true);
            }
        }
        let last = ballot(1_000, 9);
        let all: Vec<_> = nodes.iter().map(|row| {
            let next = prepare(row.as_ref(), Limits::default(), last).unwrap();
            (next.accepted, next.value)
        }).collect();
        if let Some(version) = current(all).version {
            let history: Vec<_> = version.before.iter().copied().chain([version.written]).collect();
            for who in 0..3 {
                let times = history.iter().filter(|b| writes.contains(&(**b, who))).count();
                prop_assert!(times <= 1, "writer {who} took effect {times} times: {history:?}");
                prop_assert!(done[who] != Some(true) || times == 1, "writer {who} was told done");
            }
        } else {
            prop_assert!(!done.contains(&Some(true)));
        }
    }
}
