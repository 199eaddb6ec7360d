//! Writers change one register while messages get lost or arrive late: is each told the truth?

use proptest::prelude::*;

use super::*;

/// One step: which writer acts, which nodes its message reaches, what else arrives.
type Script = (u8, u8, u8);
type Rule =
    fn(&[Ballot], &Current, Ballot, &dyn Fn(Option<&Version>) -> Step) -> Result<Next, Error>;

/// The writers, by number.
const WRITERS: [Kind; 4] = [Kind::Put, Kind::Delete, Kind::Create, Kind::Create];

/// What a writer was told in the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    Wrote,
    Kept,
    Unknown,
}

#[derive(Default)]
struct Writer {
    tried: Vec<Ballot>,
    told: Option<Told>,
    /// A proposal whose accepts are not sent yet, and whether its success means that the change is written.
    pending: Option<(Ballot, Version, bool)>,
}

#[derive(Default)]
struct World {
    nodes: Vec<Acceptor>,
    writers: Vec<Writer>,
    /// Accepts under way.
    late: Vec<(usize, Ballot, Version)>,
    /// Versions that somebody was told are current.
    shown: Vec<Ballot>,
    /// What the tombstones that were collected remembered.
    past: Vec<Ballot>,
}

impl World {
    /// Sends a proposal's accepts.
    fn propose(
        &mut self,
        who: usize,
        reached: &[usize],
        (b, version, wrote): (Ballot, Version, bool),
    ) {
        let mut acks = 0;
        for n in 0..NODES {
            if reached.contains(&n) {
                acks += usize::from(take(&mut self.nodes, n, b, version.clone()));
            } else {
                self.late.push((n, b, version.clone()));
            }
        }
        if acks >= quorum_of(NODES) {
            self.tell(who, Some(&version), wrote);
        }
        let writer = &mut self.writers[who];
        if acks == 0 && reached.len() == NODES && writer.tried.last() == Some(&b) {
            writer.tried.pop();
        }
    }

    /// Collects the tombstone of node `first`, if there is one and all nodes confirm it; the nodes not `reached` miss the
    /// end of it.
    fn collect(&mut self, first: usize, reached: &[usize]) {
        let Some((tomb, version)) = self.nodes[first].row.as_ref().and_then(|row| {
            let version = row
                .value
                .clone()
                .filter(|version| version.live().is_none())?;
            Some((row.accepted, version))
        }) else {
            return;
        };
        let is_tomb = |version: &Version| version.live().is_none();
        let confirmed = |node: &Acceptor| confirm(node.row.as_ref(), node.limits, tomb, is_tomb);
        if !self.nodes.iter().all(confirmed) {
            return;
        }
        self.past
            .extend(version.before.iter().chain([&version.written]));
        for &n in reached {
            let Acceptor { row, limits } = &mut self.nodes[n];
            let floor = row.as_ref().and_then(|row| collect(row, *limits, tomb));
            if let Some(floor) = floor {
                limits.floor = floor;
                *row = None;
            }
        }
    }

    fn tell(&mut self, who: usize, version: Option<&Version>, wrote: bool) {
        self.shown.extend(version.map(|version| version.written));
        let told = if wrote { Told::Wrote } else { Told::Kept };
        self.writers[who].told.get_or_insert(told);
    }

    /// Begins a round: of the writer's change, or of a read once it knows its end.
    fn begin(&mut self, who: usize, reached: &[usize], b: Ballot, rule: Rule) {
        let Some(now) = promise(&mut self.nodes, reached, b) else {
            return;
        };
        let writer = &mut self.writers[who];
        let next = if writer.told.is_some() {
            rule(&[], &now, b, &|_| Step::Keep)
        } else {
            rule(&writer.tried, &now, b, &|now| WRITERS[who].step(now))
        };
        match next {
            Err(_) => writer.told = Some(Told::Unknown),
            Ok(Next::Settled(settled)) => self.tell(who, settled.version.as_ref(), settled.wrote),
            Ok(Next::CarryOn(version, wrote)) => writer.pending = Some((b, version, wrote)),
            Ok(Next::Write(version)) => {
                writer.tried.push(b);
                writer.pending = Some((b, version, true));
            }
        }
    }

    /// Counts the writers told "written", if the register's history is right.
    fn judge(&self) -> Result<usize, String> {
        let shown = self.nodes.iter().map(|node| read(node.row.as_ref()));
        let newest = current(shown.collect()).version;
        let mut history: Vec<_> = newest
            .iter()
            .flat_map(|v| v.before.iter().chain([&v.written]))
            .chain(&self.past)
            .filter(|ballot| ballot.node > 0)
            .collect();
        history.sort();
        history.dedup();
        for (who, writer) in self.writers.iter().enumerate() {
            let mine = history.iter().filter(|b| usize::from(b.node) == who + 1);
            let right = match (writer.told, mine.count()) {
                (Some(Told::Wrote), times) => times == 1,
                (Some(Told::Kept), times) => times == 0,
                (Some(Told::Unknown) | None, times) => times <= 1,
            };
            if !right {
                let told = writer.told;
                return Err(format!("writer {who}, told {told:?}, is in {history:?}"));
            }
        }
        if let Some(lost) = self
            .shown
            .iter()
            .find(|b| b.node > 0 && !history.contains(b))
        {
            return Err(format!("{lost} was shown and is not in {history:?}"));
        }
        let wrote = |writer: &&Writer| writer.told == Some(Told::Wrote);
        Ok(self.writers.iter().filter(wrote).count())
    }
}

/// Four writers change one register as the coordinator does, each step one half of a round, while messages get lost
/// or arrive late. Says what went wrong: a writer in the final history twice, told "written" and not in it, told "not
/// written" and in it all the same, or a version that was shown to somebody and is not in it.
fn simulate(steps: &[Script], rule: Rule) -> Result<usize, String> {
    let mut world = World {
        nodes: vec![Acceptor::default(); NODES],
        writers: WRITERS.iter().map(|_| Writer::default()).collect(),
        ..World::default()
    };
    for (step, (who, reach, other)) in steps.iter().enumerate() {
        if other % 4 == 0 && !world.late.is_empty() {
            let which = usize::from(*other) % world.late.len();
            let (n, b, version) = world.late.swap_remove(which);
            take(&mut world.nodes, n, b, version);
        }
        let reached: Vec<_> = (0..NODES).filter(|n| reach & (1 << n) != 0).collect();
        if other % 4 == 1 {
            world.collect(usize::from(*who) % NODES, &reached);
        }
        let who = usize::from(*who) % WRITERS.len();
        if let Some(proposal) = world.writers[who].pending.take() {
            world.propose(who, &reached, proposal);
        } else {
            let b = ballot(step as u64 + 1, who as u8 + 1);
            world.begin(who, &reached, b, rule);
        }
    }
    world.judge()
}

fn steps() -> impl Strategy<Value = Vec<Script>> {
    proptest::collection::vec(any::<Script>(), 10..80)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_retried_change_takes_effect_as_its_writer_was_told(steps in steps()) {
        let judged = simulate(&steps, next_value);
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
    let caught = |rule: Rule| {
        let judged = scripts.iter().map(|script| simulate(script, rule));
        judged.filter(Result::is_err).count()
    };
    let blind: Rule = |_, now, b, decide| next_value(&[], now, b, decide);
    assert!(caught(blind) > 0, "trying again blindly");
    let hopeful: Rule = |tried, now, b, decide| match next_value(tried, now, b, decide)? {
        Next::Write(_) if !tried.is_empty() => Ok(Next::Settled(Settled {
            version: None,
            wrote: true,
        })),
        next => Ok(next),
    };
    assert!(
        caught(hopeful) > 0,
        "taking an accept sent for an accept done"
    );
    let forgetful: Rule =
        |tried, now, b, decide| next_value(&tried[tried.len().saturating_sub(1)..], now, b, decide);
    assert!(caught(forgetful) > 0, "remembering the last try only");
    let trusting: Rule = |tried, now, b, decide| {
        let whole = Current {
            forgotten: Ballot::ZERO,
            ..now.clone()
        };
        next_value(tried, &whole, b, decide)
    };
    assert!(
        caught(trusting) > 0,
        "taking nothing left for nothing written"
    );
    let hasty: Rule = |tried, now, b, decide| match next_value(tried, now, b, decide)? {
        Next::CarryOn(version, false) if now.chosen => Ok(Next::Settled(Settled {
            version: Some(version),
            wrote: false,
        })),
        next => Ok(next),
    };
    assert!(
        caught(hasty) > 0,
        "taking what is chosen for the end of an own try"
    );
    let careless: Rule = |tried, now, b, decide| match next_value(tried, now, b, decide)? {
        Next::CarryOn(version, wrote) => Ok(Next::Settled(Settled {
            version: Some(version),
            wrote,
        })),
        next => Ok(next),
    };
    assert!(
        caught(careless) > 0,
        "answering from what may not be chosen"
    );
    let done: usize = scripts
        .iter()
        .map(|script| simulate(script, next_value).unwrap())
        .sum();
    assert!(done > scripts.len(), "most scripts must see writes succeed");
}
