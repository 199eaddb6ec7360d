//! What goes wrong, and when.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use quiz_storage::sys::simulated::disk::{Faults, Snapshot};
use quiz_storage::sys::simulated::{Machine, random_range};
use turmoil::Sim;

use crate::cluster::name;

/// How long something stays wrong, in milliseconds.
const HOLD_MS: std::ops::Range<u64> = 200..4_000;
/// The pause until the next begins, in milliseconds; several may overlap.
const PAUSE_MS: std::ops::Range<u64> = 50..2_000;
/// How long a node that ended stays down.
const DOWN_MS: std::ops::Range<u64> = 50..1_500;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// `kill -9`.
    Killed(usize),
    /// The power was cut: what was not synced is lost.
    PowerCut(usize),
    /// The power was cut everywhere.
    AllCut,
    /// Nothing reaches it or comes from it, and nothing gets lost.
    Frozen(usize),
    /// Nothing passes between two nodes.
    Parted(usize, usize),
    /// Nothing passes in one direction.
    OneWay(usize, usize),
    /// Nothing passes between a node and the two others.
    Isolated(usize),
    /// Little room or none for bytes.
    Full(usize, u64),
    /// Reading fails now and then.
    ReadErrors(usize),
    /// Writing or syncing fails now and then.
    WriteErrors(usize),
    /// Bytes change in blobs.
    Rot(usize),
    /// A folder set back to what it once was.
    SetBack(usize),
}

/// Lets things go wrong until a time, then mends all.
pub(crate) struct Nemesis {
    until: Duration,
    next: Duration,
    /// What is wrong and until when.
    wrong: Vec<(Fault, Duration)>,
    /// When a node that ended is started again.
    restarts: [Option<Duration>; 3],
    /// When each was started last.
    started: [Duration; 3],
    /// The only node whose disk forgets or changes what was durable: two of them would be too much for three copies.
    bad: usize,
    copy: Option<Snapshot>,
    counts: BTreeMap<&'static str, u64>,
    mended: bool,
}

fn millis(range: std::ops::Range<u64>) -> Duration {
    Duration::from_millis(random_range(range))
}

/// How many kinds of trouble there are.
pub(crate) const KINDS: usize = 12;

impl Nemesis {
    pub(crate) fn new(until: Duration) -> Self {
        Self {
            until,
            next: Duration::from_secs(1),
            wrong: Vec::new(),
            restarts: [None; 3],
            started: [Duration::ZERO; 3],
            bad: random_range(1..=3),
            copy: None,
            counts: BTreeMap::new(),
            mended: false,
        }
    }

    /// How often each thing went wrong.
    pub(crate) fn counts(&self) -> BTreeMap<&'static str, u64> {
        self.counts.clone()
    }

    /// To be called after each step.
    pub(crate) fn act(&mut self, sim: &mut Sim<'_>, machines: &[Machine]) {
        let now = sim.elapsed();
        let mut ended = Vec::new();
        self.wrong.retain(|(fault, until)| {
            let over = *until <= now;
            ended.extend(over.then_some(*fault));
            !over
        });
        for fault in ended {
            mend(fault, sim, machines);
        }
        for (machine, node) in machines.iter().zip(1..) {
            self.look_after(node, machine, sim, now);
        }
        if now >= self.until {
            if !self.mended {
                self.mended = true;
                for (fault, _) in std::mem::take(&mut self.wrong) {
                    mend(fault, sim, machines);
                }
            }
        } else if now >= self.next {
            self.next = now + millis(PAUSE_MS);
            self.begin(sim, machines, now);
        }
    }

    /// Starts a node again that has ended, after a while.
    fn look_after(&mut self, node: usize, machine: &Machine, sim: &mut Sim<'_>, now: Duration) {
        let restart = &mut self.restarts[node - 1];
        match *restart {
            None if !machine.is_on() && now > Duration::from_millis(5) => {
                sim.crash(name(node)); // it may have ended by itself
                *restart = Some(now + millis(DOWN_MS));
            }
            Some(at) if at <= now => {
                *restart = None;
                self.started[node - 1] = now;
                sim.bounce(name(node));
            }
            None | Some(_) => {}
        }
    }

    /// Whether the nodes beside this one have run for so long that they remember what they saw of it.
    fn are_settled(&self, node: usize, machines: &[Machine], now: Duration) -> bool {
        others(node).all(|other| {
            let since = now.saturating_sub(self.started[other - 1]);
            machines[other - 1].is_on() && since > Duration::from_secs(1)
        })
    }

    fn begin(&mut self, sim: &mut Sim<'_>, machines: &[Machine], now: Duration) {
        let node = random_range(1..=3);
        let other = (node + random_range(0..2)) % 3 + 1;
        let (fault, what) = match random_range(0..14) {
            0 | 1 => (Fault::Killed(node), "kills"),
            2 | 3 => (Fault::PowerCut(node), "power cuts"),
            4 => (Fault::AllCut, "power cuts everywhere"),
            5 => (Fault::Frozen(node), "freezes"),
            6 => (Fault::Parted(node, other), "cut lines"),
            7 => (Fault::OneWay(node, other), "one-way lines"),
            8 => (Fault::Isolated(node), "isolations"),
            9 => {
                let free = [0, 1_000_000, 4_200_000][random_range(0..3)];
                (Fault::Full(node, free), "full disks")
            }
            10 => (Fault::ReadErrors(node), "times of read errors"),
            11 => (Fault::WriteErrors(node), "times of write errors"),
            12 => (Fault::Rot(self.bad), "times of rot"),
            _ => (Fault::SetBack(self.bad), "folders set back or remembered"),
        };
        *self.counts.entry(what).or_default() += 1;
        tracing::info!(?fault, "begins at {now:?}");
        self.wrong.push((fault, now + millis(HOLD_MS)));
        let machine = |node: usize| &machines[node - 1];
        match fault {
            Fault::Killed(node) => machine(node).kill(),
            Fault::PowerCut(node) => cut_power(sim, machine(node), node),
            Fault::AllCut => (1..=3).for_each(|node| cut_power(sim, machine(node), node)),
            Fault::Frozen(node) => others(node).for_each(|other| sim.hold(name(node), name(other))),
            Fault::Parted(one, other) => sim.partition(name(one), name(other)),
            Fault::OneWay(from, to) => sim.partition_oneway(name(from), name(to)),
            Fault::Isolated(node) => {
                others(node).for_each(|other| sim.partition(name(node), name(other)));
            }
            Fault::Full(node, free) => machine(node).disk().set_free(Some(free)),
            Fault::ReadErrors(node) => machine(node).disk().set_faults(Faults {
                read: 0.01,
                ..Faults::default()
            }),
            Fault::WriteErrors(node) => machine(node).disk().set_faults(Faults {
                write: 0.005,
                sync: 0.005,
                ..Faults::default()
            }),
            Fault::Rot(node) => {
                for _ in 0..random_range(1..200) {
                    machine(node).disk().rot(Path::new("/data/blobs"));
                }
            }
            Fault::SetBack(node) => match self.copy.take() {
                None => self.copy = Some(machine(node).disk().snapshot()),
                // What a node has lost is known to those who have run for a while.
                Some(copy) if self.are_settled(node, machines, now) => {
                    cut_power(sim, machine(node), node);
                    machine(node).disk().restore(copy);
                }
                copy => self.copy = copy,
            },
        }
    }
}

fn others(node: usize) -> impl Iterator<Item = usize> {
    (1..=3).filter(move |other| *other != node)
}

/// Nobody is told: a machine without power closes no connection.
fn cut_power(sim: &mut Sim<'_>, machine: &Machine, node: usize) {
    if machine.is_on() {
        machine.cut_power();
        others(node).for_each(|other| sim.partition(name(node), name(other)));
        sim.crash(name(node));
        others(node).for_each(|other| sim.repair(name(node), name(other)));
    }
}

fn mend(fault: Fault, sim: &mut Sim<'_>, machines: &[Machine]) {
    match fault {
        Fault::Frozen(node) => others(node).for_each(|other| sim.release(name(node), name(other))),
        Fault::Parted(one, other) | Fault::OneWay(one, other) => {
            sim.repair(name(one), name(other));
        }
        Fault::Isolated(node) => {
            others(node).for_each(|other| sim.repair(name(node), name(other)));
        }
        Fault::Full(node, _) => machines[node - 1].disk().set_free(None),
        Fault::ReadErrors(node) | Fault::WriteErrors(node) => {
            machines[node - 1].disk().set_faults(Faults::default());
        }
        Fault::Killed(_)
        | Fault::PowerCut(_)
        | Fault::AllCut
        | Fault::Rot(_)
        | Fault::SetBack(_) => {}
    }
}
