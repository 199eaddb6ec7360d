//! What a coordinator may conclude, case by case.

use super::*;
use crate::register::{Limits, Register, accept, collect, confirm, prepare, read};
use crate::version::{Headers, Live};

mod simulation;

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
        forgotten: Ballot::ZERO,
    }
}

fn live() -> State {
    State::Live(Live {
        blobs: Vec::new(),
        size: 0,
        etag: [0; 16],
        headers: Headers::default(),
        last_modified_ms: 0,
        parts: 0,
    })
}

fn is_live(version: Option<&Version>) -> bool {
    version.and_then(Version::live).is_some()
}

/// What a writer wants.
#[derive(Clone, Copy)]
enum Kind {
    Put,
    Delete,
    /// `If-None-Match: *`
    Create,
}

impl Kind {
    fn step(self, now: Option<&Version>) -> Step {
        match (self, is_live(now)) {
            (Self::Put, _) | (Self::Create, false) => Step::Write(live()),
            (Self::Delete, true) => Step::Write(State::Tomb),
            (Self::Delete, false) | (Self::Create, true) => Step::Keep,
        }
    }
}

/// One node's register.
#[derive(Clone, Default)]
struct Acceptor {
    row: Option<Register<Version>>,
    limits: Limits,
}

/// Has the nodes `reached` promise `ballot`, and says what the first two of them show.
fn promise(nodes: &mut [Acceptor], reached: &[usize], ballot: Ballot) -> Option<Current> {
    let mut promises = Vec::new();
    for &n in reached {
        let Acceptor { row, limits } = &mut nodes[n];
        let next = prepare(row.as_ref(), *limits, ballot).ok()?;
        promises.push(Promise {
            accepted: next.accepted,
            version: next.value.clone(),
            forgotten: limits.floor,
        });
        *row = Some(next);
    }
    promises.truncate(quorum_of(NODES));
    (promises.len() == quorum_of(NODES)).then(|| promised(promises))
}

/// Sends an accept to one node; whether it took it.
fn take(nodes: &mut [Acceptor], n: usize, ballot: Ballot, version: Version) -> bool {
    let Acceptor { row, limits } = &mut nodes[n];
    let next = accept(row.as_ref(), *limits, ballot, version);
    next.map(|next| *row = Some(next)).is_ok()
}

#[test]
fn two_of_three_answers_decide_and_two_failures_end_the_wait() {
    let mut tracker = Tracker::of(NODES);
    assert_eq!(tracker.yes(), Verdict::Wait);
    assert_eq!(tracker.no(), Verdict::Wait);
    assert_eq!(tracker.yes(), Verdict::Reached);
    let mut tracker = Tracker::of(NODES);
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

/// A create is tried in a round that reaches one node alone, and refused in the next, which hears the other two.
#[test]
fn a_create_that_was_refused_never_appears() {
    const A: usize = 0;
    const B: usize = 1;
    const C: usize = 2;
    let mut nodes = vec![Acceptor::default(); NODES];
    let x = Version::after(None, Ballot::ZERO, ballot(10, 1), live());
    for n in [A, B, C] {
        take(&mut nodes, n, ballot(10, 1), x.clone());
    }
    let tomb = Version::after(Some(&x), Ballot::ZERO, ballot(20, 2), State::Tomb);
    take(&mut nodes, C, ballot(20, 2), tomb);
    let create = |now: Option<&Version>| Kind::Create.step(now);
    let now = promise(&mut nodes, &[B, C], ballot(30, 3)).unwrap();
    let Ok(Next::Write(ours)) = next_value(&[], &now, ballot(30, 3), &create) else {
        panic!("C shows the tombstone, so the create goes ahead");
    };
    take(&mut nodes, C, ballot(30, 3), ours);
    let now = promise(&mut nodes, &[A, B], ballot(40, 3)).unwrap();
    assert!(now.chosen, "A and B agree on X");
    let next = next_value(&[ballot(30, 3)], &now, ballot(40, 3), &create);
    let Ok(Next::CarryOn(again, false)) = next else {
        panic!("refused at once, though C still has the create: {next:?}");
    };
    for n in [A, B] {
        take(&mut nodes, n, ballot(40, 3), again.clone());
    }
    let now = promise(&mut nodes, &[B, C], ballot(50, 1)).unwrap();
    assert_eq!(now.version.unwrap().written, x.written, "X is still there");
}

#[test]
fn a_change_that_was_tried_and_now_finds_nothing_ends_in_doubt() {
    let keep = |_: Option<&Version>| Step::Keep;
    let none = seen(0, None);
    let tried = next_value(&[ballot(5, 1)], &none, ballot(6, 1), &keep);
    assert_eq!(tried.unwrap_err(), Error::Unknown);
    let fresh = next_value(&[], &none, ballot(6, 1), &keep);
    assert!(matches!(fresh, Ok(Next::Settled(_))));
}

#[test]
fn a_refusal_by_a_later_round_that_is_chosen_is_final_at_once() {
    let create = |now: Option<&Version>| Kind::Create.step(now);
    let theirs = Version::after(None, Ballot::ZERO, ballot(7, 2), live());
    let now = seen(7, Some(theirs.clone()));
    let next = next_value(&[ballot(5, 1)], &now, ballot(9, 1), &create);
    assert!(matches!(
        next,
        Ok(Next::Settled(Settled { wrote: false, .. }))
    ));
    let now = Current {
        chosen: false,
        ..now
    };
    let next = next_value(&[ballot(5, 1)], &now, ballot(9, 1), &create);
    assert!(matches!(next, Ok(Next::CarryOn(version, false)) if version == theirs));
}
