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

/// Why there is no shortcut for "absent on both": found by a longer run of the random model that had it.
///
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

/// One step of the simulation below: which writer acts, which nodes its message reaches, what else arrives.
type Step = (u8, u8, u8);
type FateRule = fn(&[Ballot], &Current) -> Fate;

#[derive(Default)]
struct Writer {
    tried: Vec<Ballot>,
    /// What it was told in the end.
    done: Option<bool>,
    /// A proposal whose accepts are not sent yet, and whether success ends the write.
    pending: Option<(Ballot, Version, bool)>,
}

/// Three writers change one register as the coordinator does, each step one half of a round, while messages get lost
/// or arrive late. Says what went wrong: a writer in the final history twice, or told "done" and not in it.
fn simulate(steps: &[Step], rule: FateRule) -> Result<usize, String> {
    let mut nodes: Vec<Option<Register<Version>>> = vec![None; NODES];
    let mut writers: Vec<Writer> = (0..3).map(|_| Writer::default()).collect();
    let mut late: Vec<(usize, Ballot, Version)> = Vec::new();
    let take = |nodes: &mut Vec<Option<Register<Version>>>, n: usize, b, version| {
        let next = accept(nodes[n].as_ref(), Limits::default(), b, version);
        next.map(|row| nodes[n] = Some(row)).is_ok()
    };
    for (step, (who, reach, other)) in steps.iter().enumerate() {
        if other % 4 == 0 && !late.is_empty() {
            let (n, b, version) = late.swap_remove(usize::from(*other) % late.len());
            take(&mut nodes, n, b, version);
        }
        let writer = &mut writers[usize::from(*who) % 3];
        let reached = (0..NODES).filter(|n| reach & (1 << n) != 0);
        if let Some((b, version, ends)) = writer.pending.take() {
            let reached: Vec<_> = reached.collect();
            let acks = reached
                .iter()
                .filter(|n| take(&mut nodes, **n, b, version.clone()))
                .count();
            let missed = (0..NODES).filter(|n| !reached.contains(n));
            late.extend(missed.map(|n| (n, b, version.clone())));
            if acks >= QUORUM && ends {
                writer.done = Some(true);
            }
            if acks == 0 && reached.len() == NODES && writer.tried.last() == Some(&b) {
                writer.tried.pop();
            }
            continue;
        }
        let b = ballot(step as u64 + 1, who % 3);
        let mut promises = Vec::new();
        for n in reached {
            let row = prepare(nodes[n].as_ref(), Limits::default(), b).expect("ballots only rise");
            promises.push((row.accepted, row.value.clone()));
            nodes[n] = Some(row);
        }
        if promises.len() < QUORUM {
            continue;
        }
        promises.truncate(QUORUM);
        let now = current(promises);
        let fate = writer.done.is_none().then(|| rule(&writer.tried, &now));
        if fate == Some(Fate::NotApplied) {
            writer.tried.push(b);
            let version = Version::after(now.version.as_ref(), b, State::Tomb);
            writer.pending = Some((b, version, true));
            continue;
        }
        if fate == Some(Fate::Unknown) {
            writer.done = Some(false);
        }
        let applied = fate == Some(Fate::Applied);
        if applied && now.chosen {
            writer.done = Some(true);
        } else if let Some(version) = now.version {
            writer.pending = Some((b, version, applied)); // as a reader would
        }
    }
    judge(&nodes, &writers)
}

/// Counts the writers told "done", if the register's history is right.
fn judge(nodes: &[Option<Register<Version>>], writers: &[Writer]) -> Result<usize, String> {
    let newest = current(nodes.iter().map(|row| read(row.as_ref())).collect()).version;
    let history: Vec<_> = newest
        .iter()
        .flat_map(|v| v.before.iter().chain([&v.written]))
        .collect();
    for (who, writer) in writers.iter().enumerate() {
        let times = history
            .iter()
            .filter(|b| usize::from(b.node) == who)
            .count();
        if times > 1 || (writer.done == Some(true) && times == 0) {
            return Err(format!(
                "writer {who}, told {:?}, is in {history:?}",
                writer.done
            ));
        }
    }
    Ok(writers.iter().filter(|w| w.done == Some(true)).count())
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    proptest::collection::vec(any::<Step>(), 10..80)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_retried_write_takes_effect_once(steps in steps()) {
        let judged = simulate(&steps, fate);
        prop_assert!(judged.is_ok(), "{judged:?}");
    }
}

/// The simulation has to catch the mistakes the rule is there to avoid, and has to let writes succeed.
#[test]
fn writers_that_guess_their_fate_are_caught() {
    use proptest::strategy::ValueTree as _;
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let scripts: Vec<_> = (0..4_000)
        .map(|_| steps().new_tree(&mut runner).unwrap().current())
        .collect();
    let caught = |rule: FateRule| {
        scripts
            .iter()
            .filter(|s| simulate(s, rule).is_err())
            .count()
    };
    assert!(caught(|_, _| Fate::NotApplied) > 0, "trying again blindly");
    let hopeful: FateRule = |tried, now| match fate(tried, now) {
        Fate::NotApplied if !tried.is_empty() => Fate::Applied,
        other => other,
    };
    assert!(
        caught(hopeful) > 0,
        "taking an accept sent for an accept done"
    );
    let forgetful: FateRule = |tried, now| fate(&tried[tried.len().saturating_sub(1)..], now);
    assert!(caught(forgetful) > 0, "remembering the last try only");
    let done: usize = scripts.iter().map(|s| simulate(s, fate).unwrap()).sum();
    assert!(done > scripts.len(), "most scripts must see writes succeed");
}
