//! The rules one by one, then single-register agreement under loss, repetition and reordering.

use proptest::prelude::*;

use super::*;

mod collection;

const fn ballot(micros: u64, node: u8) -> Ballot {
    Ballot { micros, node }
}

const OPEN: Limits = Limits {
    floor: Ballot::ZERO,
    fence: Ballot::ZERO,
};

#[test]
fn a_promise_is_kept_against_lower_and_equal_ballots() {
    let row = prepare::<u8>(None, OPEN, ballot(5, 1)).unwrap();
    assert_eq!(
        prepare(Some(&row), OPEN, ballot(5, 1)),
        Err(Nack {
            at_least: ballot(5, 1)
        })
    );
    assert!(accept(Some(&row), OPEN, ballot(4, 3), 7).is_err());
    assert!(accept(Some(&row), OPEN, ballot(5, 1), 7).is_ok());
}

#[test]
fn a_promise_carries_what_was_accepted() {
    let row = accept(None, OPEN, ballot(5, 1), 7).unwrap();
    let row = prepare(Some(&row), OPEN, ballot(9, 2)).unwrap();
    assert_eq!((row.accepted, row.value), (ballot(5, 1), Some(7)));
}

#[test]
fn an_accept_repeated_changes_nothing() {
    let row = accept(None, OPEN, ballot(5, 1), 7).unwrap();
    assert_eq!(accept(Some(&row), OPEN, ballot(5, 1), 7), Ok(row));
}

#[test]
fn an_absent_row_is_a_promise_at_the_floor() {
    let limits = Limits {
        floor: ballot(10, 2),
        fence: Ballot::ZERO,
    };
    assert!(prepare::<u8>(None, limits, ballot(10, 2)).is_err());
    assert!(accept(None, limits, ballot(10, 2), 7).is_err());
    assert!(prepare::<u8>(None, limits, ballot(10, 3)).is_ok());
    let row = accept(None, limits, ballot(11, 1), 7).unwrap();
    assert_eq!(read(Some(&row)), (ballot(11, 1), Some(7)));
}

#[test]
fn a_fence_refuses_old_ballots_for_rows_that_exist() {
    let row = accept(None, OPEN, ballot(5, 1), 7).unwrap();
    let limits = Limits {
        floor: Ballot::ZERO,
        fence: ballot(20, 0),
    };
    let nack = prepare(Some(&row), limits, ballot(20, 0)).unwrap_err();
    assert_eq!(nack.at_least, ballot(20, 0));
    assert!(accept(Some(&row), limits, ballot(19, 3), 8).is_err());
    assert!(accept(Some(&row), limits, ballot(20, 1), 8).is_ok());
}

/// A message on its way to an acceptor; the answers are delivered by the same bag.
#[derive(Clone, Debug)]
enum Message {
    Prepare(usize, usize, Ballot),
    Accept(usize, Ballot, usize),
    Promise(usize, usize, Ballot, Ballot, Option<usize>),
    Accepted(usize, Ballot, usize),
}

#[derive(Clone, Default)]
struct Proposer {
    ballot: Ballot,
    promises: Vec<(usize, Ballot, Option<usize>)>,
    sent: bool,
}

type AcceptRule =
    fn(Option<&Register<usize>>, Limits, Ballot, usize) -> Result<Register<usize>, Nack>;

/// Runs `script`: each step picks a message (or a proposer that starts a round) and its fate. Returns every value
/// that two acceptors accepted at one ballot.
fn chosen(script: &[(u8, u16, u8)], rule: AcceptRule) -> Vec<usize> {
    let mut rows: Vec<Option<Register<usize>>> = vec![None; 3];
    let mut proposers = vec![Proposer::default(); 3];
    let mut bag: Vec<Message> = Vec::new();
    let mut votes: Vec<(usize, Ballot, usize)> = Vec::new();
    for (step, &(what, pick, fate)) in script.iter().enumerate() {
        if what < 40 || bag.is_empty() {
            let who = usize::from(pick) % 3;
            // Clocks lag by up to three rounds; (step, node) keeps ballots unique.
            let micros =
                (step as u64 + 4).saturating_sub(u64::from(fate % 4)) * 1_000 + step as u64;
            proposers[who] = Proposer {
                ballot: ballot(micros, who as u8 + 1),
                ..Proposer::default()
            };
            bag.extend((0..3).map(|to| Message::Prepare(who, to, proposers[who].ballot)));
            continue;
        }
        let at = usize::from(pick) % bag.len();
        let message = bag[at].clone();
        if fate >= 30 {
            bag.swap_remove(at); // else it stays in the bag, to be delivered again
        }
        if (30..50).contains(&fate) {
            continue; // lost
        }
        match message {
            Message::Prepare(from, to, b) => {
                if let Ok(row) = prepare(rows[to].as_ref(), OPEN, b) {
                    bag.push(Message::Promise(from, to, b, row.accepted, row.value));
                    rows[to] = Some(row);
                }
            }
            Message::Accept(to, b, value) => {
                if let Ok(row) = rule(rows[to].as_ref(), OPEN, b, value) {
                    rows[to] = Some(row);
                    bag.push(Message::Accepted(to, b, value));
                }
            }
            Message::Promise(who, from, b, accepted, value) => {
                let proposer = &mut proposers[who];
                if proposer.ballot != b
                    || proposer.sent
                    || proposer.promises.iter().any(|p| p.0 == from)
                {
                    continue;
                }
                proposer.promises.push((from, accepted, value));
                if proposer.promises.len() == 2 {
                    proposer.sent = true;
                    let current = proposer.promises.iter().max_by_key(|p| p.1).unwrap().2;
                    let value = current.unwrap_or(100 + step); // its own, where nothing was accepted
                    bag.extend((0..3).map(|to| Message::Accept(to, b, value)));
                }
            }
            Message::Accepted(by, b, value) => {
                if !votes.contains(&(by, b, value)) {
                    votes.push((by, b, value));
                }
            }
        }
    }
    votes
        .iter()
        .filter(|(by, b, _)| votes.iter().any(|(other, at, _)| other != by && at == b))
        .map(|(_, _, value)| *value)
        .collect()
}

fn agrees(values: &[usize]) -> bool {
    values.windows(2).all(|pair| pair[0] == pair[1])
}

fn script() -> impl Strategy<Value = Vec<(u8, u16, u8)>> {
    proptest::collection::vec((any::<u8>(), any::<u16>(), any::<u8>()), 50..250)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn all_rounds_agree_on_one_value(script in script()) {
        let values = chosen(&script, accept);
        prop_assert!(agrees(&values), "two values were chosen: {values:?}");
    }
}

/// The simulation is worth something only if it catches a broken acceptor and does choose values with the right one.
#[test]
fn an_acceptor_that_breaks_its_promise_is_caught() {
    fn forgetful(
        row: Option<&Register<usize>>,
        _: Limits,
        ballot: Ballot,
        value: usize,
    ) -> Result<Register<usize>, Nack> {
        let promised = row.map_or(ballot, |row| row.promised.max(ballot));
        Ok(Register {
            promised,
            accepted: ballot,
            value: Some(value),
        })
    }
    use proptest::strategy::ValueTree;
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let scripts: Vec<_> = (0..2_000)
        .map(|_| script().new_tree(&mut runner).unwrap().current())
        .collect();
    assert!(scripts.iter().any(|s| !agrees(&chosen(s, forgetful))));
    let useful = scripts.iter().filter(|s| !chosen(s, accept).is_empty());
    assert!(useful.count() > 200, "most runs must choose something");
}
