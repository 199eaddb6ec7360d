//! What goes wrong with the nodes and the lines between them, and when.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;
use rand::{RngExt as _, SeedableRng as _};
use tokio::time::{Instant, sleep};

use crate::nodes::{Nodes, pairs};
use crate::proxy::Line;
use crate::workload::Workload;

/// How long something stays wrong, in milliseconds.
const HOLD_MS: std::ops::Range<u64> = 300..2_000;
/// The pause until the next, in milliseconds.
const PAUSE_MS: std::ops::Range<u64> = 50..500;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// `kill -9`, and a restart later.
    Killed(usize),
    Frozen(usize),
    /// All lines to and from a node.
    Isolated(usize, Line),
    /// One direction between two nodes.
    Cut(usize, usize, Line),
    /// Killed, and restarted with an empty folder.
    Wiped(usize),
    /// Killed, and restarted with an older copy of its folder.
    SetBack(usize),
    /// All nodes killed, as when the power fails.
    AllKilled,
}

#[derive(Clone, Copy)]
enum Card {
    Killed,
    Frozen,
    Isolated,
    Cut,
    Wiped,
    SetBack,
    AllKilled,
}

/// A time in which something was wrong.
#[derive(Clone, Debug)]
pub(crate) struct Trouble {
    pub(crate) from: u64,
    pub(crate) until: u64,
    pub(crate) faults: Vec<Fault>,
}

impl Fault {
    /// Whether clients of the node may be refused.
    pub(crate) fn hits(self, node: usize) -> bool {
        match self {
            Self::Killed(victim)
            | Self::Frozen(victim)
            | Self::Isolated(victim, _)
            | Self::Wiped(victim)
            | Self::SetBack(victim) => victim == node,
            Self::Cut(..) => false,
            Self::AllKilled => true,
        }
    }

    fn begin(self, nodes: &mut Nodes) {
        match self {
            Self::Killed(node) => nodes.kill(node),
            Self::Frozen(node) => nodes.freeze(node),
            Self::Isolated(node, line) => nodes.set_lines_of(node, line),
            Self::Cut(from, to, line) => nodes.set_line(from, to, line),
            Self::Wiped(node) => {
                nodes.kill(node);
                nodes.wipe(node);
            }
            Self::SetBack(node) => {
                nodes.kill(node);
                nodes.set_back(node);
            }
            Self::AllKilled => (0..3).for_each(|node| nodes.kill(node)),
        }
    }

    fn end(self, nodes: &mut Nodes) {
        match self {
            Self::Killed(node) => {
                nodes.back_up(node);
                nodes.restart(node);
            }
            Self::Wiped(node) | Self::SetBack(node) => nodes.restart(node),
            Self::Frozen(node) => nodes.thaw(node),
            Self::Isolated(node, _) => nodes.set_lines_of(node, Line::Open),
            Self::Cut(from, to, _) => nodes.set_line(from, to, Line::Open),
            Self::AllKilled => (0..3).for_each(|node| nodes.restart(node)),
        }
    }
}

/// Draws what goes wrong, every kind as often as every other.
pub(crate) struct Nemesis {
    random: StdRng,
    /// Two at a time.
    double: bool,
    cards: Vec<Card>,
}

impl Nemesis {
    pub(crate) fn new(seed: u64, double: bool) -> Self {
        Self {
            random: StdRng::seed_from_u64(seed),
            double,
            cards: Vec::new(),
        }
    }

    /// Lets things go wrong for `time`; everything is as it should be when this returns.
    pub(crate) async fn rage(
        &mut self,
        nodes: &mut Nodes,
        clients: &Workload,
        time: Duration,
    ) -> Vec<Trouble> {
        let end = Instant::now() + time;
        let mut troubles = Vec::new();
        while Instant::now() < end {
            let pause = self.millis(PAUSE_MS);
            sleep(pause).await;
            nodes.check_alive();
            let faults = self.draw(nodes);
            let from = clients.now();
            for fault in &faults {
                fault.begin(nodes);
                sleep(self.millis(0..200)).await;
            }
            sleep(self.millis(HOLD_MS)).await;
            for fault in &faults {
                fault.end(nodes);
                sleep(self.millis(0..200)).await;
            }
            nodes.wait_voting().await;
            let until = clients.now();
            println!("{from:>10} .. {until:>10} {faults:?}");
            troubles.push(Trouble {
                from,
                until,
                faults,
            });
        }
        troubles
    }

    fn millis(&mut self, range: std::ops::Range<u64>) -> Duration {
        Duration::from_millis(self.random.random_range(range))
    }

    fn draw(&mut self, nodes: &Nodes) -> Vec<Fault> {
        use Card::*;
        if self.cards.is_empty() {
            self.cards = if self.double {
                vec![
                    Killed, Killed, Frozen, Frozen, Isolated, Isolated, Cut, Cut, Cut, AllKilled,
                ]
            } else {
                vec![
                    Killed, Killed, Frozen, Frozen, Isolated, Cut, Cut, Wiped, SetBack,
                ]
            };
            self.cards.shuffle(&mut self.random);
        }
        let mut victims = [0, 1, 2];
        victims.shuffle(&mut self.random);
        let mut faults = Vec::new();
        for victim in victims.into_iter().take(if self.double { 2 } else { 1 }) {
            let Some(card) = self.cards.pop() else {
                break;
            };
            let fault = match card {
                Killed => Fault::Killed(victim),
                Frozen => Fault::Frozen(victim),
                Isolated => Fault::Isolated(victim, self.line()),
                Cut => {
                    let others: Vec<_> = pairs().filter(|(from, _)| *from == victim).collect();
                    let (from, to) = others[self.random.random_range(0..2)];
                    Fault::Cut(from, to, self.line())
                }
                Wiped => Fault::Wiped(victim),
                SetBack => match (0..3).find(|node| nodes.has_backup(*node)) {
                    Some(victim) => Fault::SetBack(victim),
                    None => Fault::Killed(victim),
                },
                AllKilled => return vec![Fault::AllKilled],
            };
            faults.push(fault);
        }
        faults
    }

    fn line(&mut self) -> Line {
        let lines = [
            Line::Refused,
            Line::Silent,
            Line::Silent,
            Line::Mute,
            Line::Breaking,
            Line::Slow(Duration::from_millis(100)),
        ];
        lines[self.random.random_range(0..lines.len())]
    }
}
