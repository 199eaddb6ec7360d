//! The randomised model of the register with healing, collection and rebuilding: are the histories linearizable?
//!
//! Three acceptors, whose messages are lost, repeated and reordered; clients that put, delete, get and create one key
//! at the same time and give up at times; nodes that deliver to each other what they accepted; tombstones and bare
//! promises that are collected; a node that loses everything, or is set back to an older copy, and is rebuilt. Each way
//! of doing it wrong that [`Mode`] names has to be caught, or the model would prove nothing.

use std::collections::{BTreeMap, HashMap, HashSet};

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use super::*;

const NODES: usize = 3;
const OPERATIONS: usize = 8;
const STEPS: usize = 700;
/// More in `make test-full`.
const RUNS: u64 = 1_500;
/// Seeds a mutant may take to be caught in.
const SEEDS: u64 = 40_000;

/// What is done, and how wrongly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    /// Collection and rebuilding as they are.
    Right,
    /// A tombstone is dropped and the floor stays.
    NoFloor,
    /// The floor is the tombstone's ballot, below a later promise.
    FloorAtTombstone,
    /// Two nodes have confirmed, not three.
    TwoConfirmed,
    /// A bare promise is dropped and the floor stays.
    ForgottenPromise,
    /// A node that lost everything votes at once.
    UnfencedVote,
    /// A node that was set back keeps what the older copy holds.
    KeptCopy,
    /// A rebuilt node takes over what the others' feeds held when they were fenced, and misses what has moved on since.
    PulledToFence,
}

/// A value: the number of the operation that wrote it, or a tombstone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Value {
    Of(usize),
    Tomb,
}

impl Value {
    fn live(self) -> Option<usize> {
        match self {
            Self::Of(operation) => Some(operation),
            Self::Tomb => None,
        }
    }
}

type Row = Register<Value>;

#[derive(Clone, Debug)]
enum Message {
    Prepare(usize, Ballot),
    Accept(Option<usize>, Ballot, Value),
    Read(usize),
    Confirm(Ballot),
    Collect(Ballot),
    AskHighest,
    Fence(Ballot),
    Pull(Ballot),
    // To whoever asked.
    Promised(usize, usize, Ballot, Ballot, Option<Value>),
    Refused(usize, Ballot, Ballot),
    Accepted(usize, usize, Ballot),
    Shown(usize, usize, Ballot, Option<Value>),
    Confirmed(usize, Ballot),
    Highest(usize, Ballot),
    Fenced(usize, Ballot),
    Pulled(usize, Ballot, Ballot, Option<Value>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Put,
    Delete,
    Get,
    /// `If-None-Match: *`
    Create,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Done,
    Failed,
    Saw(Option<usize>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Reading,
    Preparing,
    Accepting,
    Ended,
}

/// A client's operation.
#[derive(Clone, Debug)]
struct Operation {
    kind: Kind,
    invoked: usize,
    returned: Option<usize>,
    outcome: Outcome,
    phase: Phase,
    ballot: Ballot,
    at_least: Ballot,
    answers: BTreeMap<usize, (Ballot, Option<Value>)>,
    accepted: HashSet<usize>,
}

/// The rebuilding of a node that lost everything.
enum Rebuild {
    Asking(usize, BTreeMap<usize, Ballot>),
    Fencing(usize, Ballot, HashSet<usize>),
    Pulling(usize, Ballot, BTreeMap<usize, (Ballot, Option<Value>)>),
}

#[derive(Clone, Default)]
struct Acceptor {
    row: Option<Row>,
    limits: Limits,
    down: bool,
    /// What was accepted when it was fenced.
    at_fence: Ballot,
}

impl Acceptor {
    fn highest(&self) -> Ballot {
        let promised = self.row.as_ref().map_or(Ballot::ZERO, |row| row.promised);
        promised.max(self.limits.floor).max(self.limits.fence)
    }
}

struct World {
    mode: Mode,
    random: StdRng,
    nodes: Vec<Acceptor>,
    /// Messages to a node, and to those who asked.
    net: Vec<(Option<usize>, Message)>,
    operations: Vec<Operation>,
    counter: u64,
    used: HashSet<Ballot>,
    collecting: Option<(Ballot, HashSet<usize>)>,
    rebuilding: Option<Rebuild>,
    wiped: bool,
    /// An older copy of a node.
    copy: Option<(usize, Acceptor)>,
    now: usize,
}

impl World {
    fn new(seed: u64, mode: Mode) -> Self {
        Self {
            mode,
            random: StdRng::seed_from_u64(seed),
            nodes: vec![Acceptor::default(); NODES],
            net: Vec::new(),
            operations: Vec::new(),
            counter: 0,
            used: HashSet::new(),
            collecting: None,
            rebuilding: None,
            wiped: false,
            copy: None,
            now: 0,
        }
    }

    fn chance(&mut self, of: f64) -> bool {
        self.random.random_bool(of)
    }

    fn below(&mut self, end: usize) -> usize {
        self.random.random_range(0..end)
    }

    fn send_all(&mut self, message: &Message) {
        self.net
            .extend((0..NODES).map(|node| (Some(node), message.clone())));
    }

    fn send_others(&mut self, node: usize, message: &Message) {
        let others = (0..NODES).filter(|other| *other != node);
        self.net
            .extend(others.map(|other| (Some(other), message.clone())));
    }

    fn answer(&mut self, message: Message) {
        self.net.push((None, message));
    }

    /// Starts a round of operation `who` at a ballot that was never used; clocks lag.
    fn start_round(&mut self, who: usize) {
        for _ in 0..20 {
            self.counter += 1;
            let lag = [0, 0, 0, 1, 2, 3][self.below(6)];
            let ballot = ballot(
                self.counter.saturating_sub(lag).max(1),
                (who + 10 * self.below(20)) as u8,
            );
            if ballot <= self.operations[who].at_least || !self.used.insert(ballot) {
                continue;
            }
            let operation = &mut self.operations[who];
            operation.ballot = ballot;
            operation.phase = Phase::Preparing;
            operation.answers.clear();
            operation.accepted.clear();
            return self.send_all(&Message::Prepare(who, ballot));
        }
    }

    fn step(&mut self) {
        self.now += 1;
        let live: Vec<_> = (0..self.operations.len())
            .filter(|who| self.operations[*who].phase != Phase::Ended)
            .collect();
        let what: f64 = self.random.random();
        if what < 0.05 && self.operations.len() < OPERATIONS && live.len() < 3 {
            self.begin();
        } else if what < 0.065 && !live.is_empty() {
            // Impatience: again while nothing can have been accepted, else the outcome stays unknown.
            let who = live[self.below(live.len())];
            match self.operations[who].phase {
                Phase::Reading | Phase::Preparing => self.start_round(who),
                _ => self.operations[who].phase = Phase::Ended,
            }
        } else if what < 0.10 {
            self.heal();
        } else if what < 0.17 {
            self.collect();
        } else if what < 0.18 {
            self.forget_promise();
        } else if what < 0.19 && !self.wiped && self.now > 60 {
            self.wipe();
        } else if (0.19..0.2).contains(&what) && !self.wiped {
            let node = self.below(NODES);
            self.copy = Some((node, self.nodes[node].clone()));
        } else if !self.net.is_empty() {
            self.deliver();
        }
        if self.chance(0.02) {
            match &self.rebuilding {
                Some(Rebuild::Asking(node, _)) => self.send_others(*node, &Message::AskHighest),
                Some(Rebuild::Fencing(node, fence, _)) => {
                    self.send_others(*node, &Message::Fence(*fence));
                }
                Some(Rebuild::Pulling(node, fence, _)) => {
                    self.send_others(*node, &Message::Pull(*fence));
                }
                None => {}
            }
        }
    }

    fn begin(&mut self) {
        let kinds = [
            Kind::Put,
            Kind::Delete,
            Kind::Get,
            Kind::Create,
            Kind::Create,
            Kind::Delete,
        ];
        let kind = kinds[self.below(kinds.len())];
        let who = self.operations.len();
        self.operations.push(Operation {
            kind,
            invoked: self.now,
            returned: None,
            outcome: Outcome::Done,
            phase: Phase::Reading,
            ballot: Ballot::ZERO,
            at_least: Ballot::ZERO,
            answers: BTreeMap::new(),
            accepted: HashSet::new(),
        });
        if kind == Kind::Get {
            self.send_all(&Message::Read(who));
        } else {
            self.start_round(who);
        }
    }

    /// One node delivers to another what it accepted.
    fn heal(&mut self) {
        let (from, to) = (self.below(NODES), self.below(NODES));
        if self.mode == Mode::PulledToFence {
            return; // it hides the fault for a while
        }
        let node = &self.nodes[from];
        if let (Some(row), false) = (&node.row, node.down)
            && let Some(value) = row.value
        {
            let accept = Message::Accept(None, row.accepted, value);
            self.net.push((Some(to), accept));
        }
    }

    fn collect(&mut self) {
        if self.collecting.is_some() {
            if self.chance(0.03) {
                self.collecting = None;
            }
            return;
        }
        let first = self.below(NODES);
        if let Some(row) = &self.nodes[first].row
            && row.value == Some(Value::Tomb)
        {
            let tomb = row.accepted;
            self.collecting = Some((tomb, HashSet::new()));
            self.send_all(&Message::Confirm(tomb));
        }
    }

    fn forget_promise(&mut self) {
        let node = self.below(NODES);
        let mode = self.mode;
        let Acceptor {
            row, limits, down, ..
        } = &mut self.nodes[node];
        if let (Some(bare), false) = (&*row, *down)
            && let Some(floor) = forget_promise(bare, *limits)
        {
            if mode != Mode::ForgottenPromise {
                limits.floor = floor;
            }
            *row = None;
        }
    }

    fn wipe(&mut self) {
        self.wiped = true;
        let copy = self.copy.take().filter(|_| self.now.is_multiple_of(2));
        let (node, left) = copy.unwrap_or((self.below(NODES), Acceptor::default()));
        self.nodes[node] = left;
        if self.mode != Mode::UnfencedVote {
            self.nodes[node].down = true;
            self.rebuilding = Some(Rebuild::Asking(node, BTreeMap::new()));
            self.send_others(node, &Message::AskHighest);
        }
    }

    fn deliver(&mut self) {
        let mut at = self.below(self.net.len());
        // Rare as it is, this is found sooner when much happens before what is there is pulled.
        if self.mode == Mode::PulledToFence && matches!(self.net[at].1, Message::Pull(_)) {
            at = self.below(self.net.len());
        }
        let fate: f64 = self.random.random();
        let (to, message) = if (0.04..=0.08).contains(&fate) {
            self.net[at].clone() // it will come again
        } else {
            self.net.swap_remove(at)
        };
        if fate < 0.04 {
            return; // lost
        }
        match to {
            Some(node) if self.nodes[node].down => {}
            Some(node) => self.ask(node, message),
            None => self.hear(message),
        }
    }

    /// A message reaches a node.
    fn ask(&mut self, node: usize, message: Message) {
        let mode = self.mode;
        let Acceptor { row, limits, .. } = &mut self.nodes[node];
        let answer = match message {
            Message::Prepare(who, ballot) => match prepare(row.as_ref(), *limits, ballot) {
                Ok(next) => {
                    let answer = Message::Promised(who, node, ballot, next.accepted, next.value);
                    *row = Some(next);
                    answer
                }
                Err(nack) => Message::Refused(who, ballot, nack.at_least),
            },
            Message::Accept(who, ballot, value) => {
                let (accepted, _) = read(row.as_ref());
                let next = accept(row.as_ref(), *limits, ballot, value);
                // What heals is not asked for when it is not newer.
                let Ok(next) = next
                    .map_err(|_| ())
                    .and_then(|next| (ballot >= accepted).then_some(next).ok_or(()))
                else {
                    return;
                };
                *row = Some(next);
                match who {
                    Some(who) => Message::Accepted(who, node, ballot),
                    None => return,
                }
            }
            Message::Read(who) => {
                let (accepted, value) = read(row.as_ref());
                Message::Shown(who, node, accepted, value)
            }
            Message::Confirm(tomb) => {
                if !confirm(row.as_ref(), *limits, tomb, |value| *value == Value::Tomb) {
                    return;
                }
                Message::Confirmed(node, tomb)
            }
            Message::Collect(tomb) => {
                if let Some(floor) = row.as_ref().and_then(|row| collect(row, *limits, tomb)) {
                    limits.floor = match mode {
                        Mode::NoFloor => limits.floor,
                        Mode::FloorAtTombstone => limits.floor.max(tomb),
                        _ => floor,
                    };
                    *row = None;
                }
                return;
            }
            Message::AskHighest => Message::Highest(node, self.nodes[node].highest()),
            Message::Fence(fence) => {
                if limits.fence < fence {
                    limits.fence = fence;
                    self.nodes[node].at_fence = read(row.as_ref()).0;
                }
                Message::Fenced(node, fence)
            }
            Message::Pull(fence) => {
                let (accepted, value) = read(row.as_ref());
                let moved = self.nodes[node].at_fence != accepted;
                if mode == Mode::PulledToFence && moved {
                    Message::Pulled(node, fence, Ballot::ZERO, None)
                } else {
                    Message::Pulled(node, fence, accepted, value)
                }
            }
            answer => unreachable!("{answer:?} is no question"),
        };
        self.answer(answer);
    }

    /// An answer reaches whoever asked.
    fn hear(&mut self, message: Message) {
        match message {
            Message::Promised(who, ..)
            | Message::Refused(who, ..)
            | Message::Accepted(who, ..)
            | Message::Shown(who, ..) => self.hear_of(who, message),
            Message::Confirmed(node, tomb) => {
                let needed = if self.mode == Mode::TwoConfirmed {
                    2
                } else {
                    NODES
                };
                if let Some((ballot, confirmed)) = &mut self.collecting
                    && *ballot == tomb
                {
                    confirmed.insert(node);
                    if confirmed.len() == needed {
                        self.collecting = None;
                        self.send_all(&Message::Collect(tomb));
                    }
                }
            }
            Message::Highest(from, highest) => {
                if let Some(Rebuild::Asking(node, known)) = &mut self.rebuilding {
                    known.insert(from, highest);
                    if known.len() == 2 {
                        let highest = known.values().max().copied().unwrap();
                        let (node, fence) = (*node, ballot(highest.micros + 1, 0));
                        self.rebuilding = Some(Rebuild::Fencing(node, fence, HashSet::new()));
                        self.send_others(node, &Message::Fence(fence));
                    }
                }
            }
            Message::Fenced(from, of) => {
                if let Some(Rebuild::Fencing(node, fence, known)) = &mut self.rebuilding
                    && *fence == of
                {
                    known.insert(from);
                    if known.len() == 2 {
                        let (node, fence) = (*node, *fence);
                        self.rebuilding = Some(Rebuild::Pulling(node, fence, BTreeMap::new()));
                        self.send_others(node, &Message::Pull(fence));
                    }
                }
            }
            Message::Pulled(from, of, accepted, value) => self.restore(from, of, accepted, value),
            question => unreachable!("{question:?} is no answer"),
        }
    }

    fn restore(&mut self, from: usize, of: Ballot, accepted: Ballot, value: Option<Value>) {
        let Some(Rebuild::Pulling(node, fence, known)) = &mut self.rebuilding else {
            return;
        };
        if *fence != of {
            return;
        }
        known.insert(from, (accepted, value));
        if known.len() < 2 {
            return;
        }
        let node = &mut self.nodes[*node];
        let own = read(node.row.as_ref());
        let own = Some(own).filter(|_| self.mode == Mode::KeptCopy);
        let known = known.values().copied().chain(own);
        let (accepted, value) = known.max_by_key(|(accepted, _)| *accepted).unwrap();
        node.limits = Limits {
            floor: *fence,
            fence: *fence,
        };
        node.row = value.map(|value| rebuild(accepted, value, *fence));
        node.down = false;
        self.rebuilding = None;
    }

    fn hear_of(&mut self, who: usize, message: Message) {
        let now = self.now;
        let operation = &mut self.operations[who];
        match (message, operation.phase) {
            (Message::Shown(_, node, accepted, value), Phase::Reading) => {
                operation.answers.insert(node, (accepted, value));
                if operation.answers.len() < 2 {
                    return;
                }
                let mut shown = operation.answers.values();
                let (first, second) = (shown.next().unwrap(), shown.next().unwrap());
                if first.0 == second.0 {
                    operation.outcome = Outcome::Saw(first.1.and_then(Value::live));
                    operation.returned = Some(now);
                    operation.phase = Phase::Ended;
                } else {
                    self.start_round(who);
                }
            }
            (Message::Refused(_, ballot, at_least), Phase::Preparing)
                if ballot == operation.ballot =>
            {
                operation.at_least = operation.at_least.max(at_least);
                self.start_round(who);
            }
            (Message::Promised(_, node, ballot, accepted, value), Phase::Preparing)
                if ballot == operation.ballot =>
            {
                operation.answers.insert(node, (accepted, value));
                if operation.answers.len() == 2 {
                    self.propose(who);
                }
            }
            (Message::Accepted(_, node, ballot), Phase::Accepting)
                if ballot == operation.ballot =>
            {
                operation.accepted.insert(node);
                if operation.accepted.len() == 2 {
                    operation.returned = Some(now);
                    operation.phase = Phase::Ended;
                }
            }
            _ => {}
        }
    }

    fn propose(&mut self, who: usize) {
        let operation = &mut self.operations[who];
        let newest = operation
            .answers
            .values()
            .max_by_key(|(accepted, _)| *accepted);
        let current = newest.and_then(|(_, value)| *value);
        let live = current.and_then(Value::live);
        let (value, outcome) = match (operation.kind, live) {
            (Kind::Put, _) | (Kind::Create, None) => (Value::Of(who), Outcome::Done),
            (Kind::Delete, _) => (Value::Tomb, Outcome::Done),
            (Kind::Create, Some(_)) => (current.unwrap(), Outcome::Failed),
            (Kind::Get, _) => (current.unwrap_or(Value::Tomb), Outcome::Saw(live)),
        };
        operation.outcome = outcome;
        operation.phase = Phase::Accepting;
        let accept = Message::Accept(Some(who), operation.ballot, value);
        self.send_all(&accept);
    }
}

/// Whether some order of the operations, each between its call and its return, explains what all of them saw. What
/// never returned may have taken effect at any time after its call, or never. After Wing and Gong, "Testing and
/// verifying concurrent objects" (1993).
fn linearizable(history: &[Operation]) -> bool {
    fn go(
        history: &[Operation],
        done: u32,
        state: Option<usize>,
        seen: &mut HashMap<(u32, Option<usize>), bool>,
    ) -> bool {
        if let Some(known) = seen.get(&(done, state)) {
            return *known;
        }
        let waiting = |who: &usize| done & (1 << who) == 0;
        let all = 0..history.len();
        let pending = all.clone().filter(waiting);
        let first = pending
            .clone()
            .filter_map(|who| history[who].returned)
            .min();
        let Some(first) = first else {
            return true;
        };
        let explained = pending
            .filter(|who| history[*who].invoked <= first)
            .any(|who| {
                let operation = &history[who];
                let known = operation.returned.map(|_| operation.outcome);
                let next = match operation.kind {
                    Kind::Put => Some(Some(who)),
                    Kind::Delete => Some(None),
                    Kind::Get => {
                        let fits = known.is_none_or(|outcome| outcome == Outcome::Saw(state));
                        fits.then_some(state)
                    }
                    Kind::Create if state.is_none() => {
                        let fits = known.is_none_or(|outcome| outcome == Outcome::Done);
                        fits.then_some(Some(who))
                    }
                    Kind::Create => {
                        let fits = known.is_none_or(|outcome| outcome == Outcome::Failed);
                        fits.then_some(state)
                    }
                };
                next.is_some_and(|next| go(history, done | 1 << who, next, seen))
            });
        seen.insert((done, state), explained);
        explained
    }
    go(history, 0, None, &mut HashMap::new())
}

/// The history of one run.
fn run(seed: u64, mode: Mode) -> Vec<Operation> {
    let mut world = World::new(seed, mode);
    for _ in 0..STEPS {
        world.step();
    }
    world.operations
}

#[test]
fn with_collection_and_rebuilding_every_history_is_linearizable() {
    let runs = std::env::var_os("QUIZSTACK_MODEL_RUNS");
    let runs = runs.map_or(RUNS, |runs| runs.to_str().unwrap().parse().unwrap());
    let mut completed = 0;
    for seed in 0..runs {
        let history = run(seed, Mode::Right);
        assert!(linearizable(&history), "seed {seed}: {history:#?}");
        completed += history.iter().filter(|o| o.returned.is_some()).count() as u64;
    }
    assert!(completed > 3 * runs, "most operations must succeed");
}

fn is_caught(mode: Mode) {
    let caught = (0..SEEDS).find(|seed| !linearizable(&run(*seed, mode)));
    assert!(caught.is_some(), "{mode:?} must break some history");
}

#[test]
fn dropping_a_tombstone_without_a_floor_is_caught() {
    is_caught(Mode::NoFloor);
}

#[test]
fn a_floor_at_the_tombstone_s_own_ballot_is_caught() {
    is_caught(Mode::FloorAtTombstone);
}

#[test]
fn collecting_what_two_nodes_confirmed_is_caught() {
    is_caught(Mode::TwoConfirmed);
}

#[test]
fn dropping_a_bare_promise_without_a_floor_is_caught() {
    is_caught(Mode::ForgottenPromise);
}

#[test]
fn a_node_that_lost_everything_and_votes_at_once_is_caught() {
    is_caught(Mode::UnfencedVote);
}

#[test]
fn a_node_that_was_set_back_and_keeps_what_it_has_is_caught() {
    is_caught(Mode::KeptCopy);
}

#[test]
fn a_rebuilt_node_that_misses_what_has_moved_on_is_caught() {
    is_caught(Mode::PulledToFence);
}
