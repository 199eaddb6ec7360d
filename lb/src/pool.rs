//! The backends: who is a member, who is healthy, and whose turn it is.
//!
//! Membership (`discovery.rs`) and health (`health.rs`) write; requests only read a snapshot, without a lock.

use std::{
    collections::BTreeSet,
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
};

use arc_swap::{ArcSwap, Guard};
use tokio::sync::watch;

use crate::config;

/// What the probes say of a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Known, but never ready so far: gets no request.
    Warming,
    /// Ready: gets requests.
    Healthy,
    /// Was ready once; drains or fails now.
    Unhealthy,
}

/// Outcome of one probe, or what a request found out before the next probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Probe {
    /// `/ready` answered 200.
    Ready,
    /// `/ready` answered 503: the backend asks to be left alone.
    Draining,
    /// Any other answer, none in time, or no connection for another reason than a refusal.
    Failed,
    /// A probe or a request was refused the connection: nobody listens. Whoever listens there next is a new process, which
    /// gets no request before it is ready, however quickly it was started again.
    Refused,
}

/// What a probe brought to light.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum News {
    /// The state changed to this one.
    Became(State),
    /// A backend that has never been ready has failed as often in a row as makes a healthy one unhealthy. Told once
    /// in a stay: it may be starting still, or wait for somebody to repair it.
    NeverReady,
}

/// A backend's state and the run of equal probes behind it: the rules, without any I/O.
#[derive(Clone, Copy, Debug)]
pub struct Record {
    state: State,
    consecutive_success: usize,
    consecutive_failure: usize,
    told_never_ready: bool,
}

/// One member of the pool. It lives as long as its address is listed; an address that leaves and returns is a
/// new `Backend`, because it may well be another machine.
#[derive(Debug)]
pub struct Backend {
    addr: SocketAddr,
    generation: u64,
    record: Mutex<Record>,
    in_flight: AtomicUsize,
    probing: AtomicBool,
}

/// Counts a request as in flight on its backend until dropped.
#[derive(Debug)]
pub struct InFlight(Arc<Backend>);

/// The members and their turn.
#[derive(Debug)]
pub struct Pool {
    name: String,
    settings: ArcSwap<config::Pool>,
    revision: watch::Sender<()>,
    members: ArcSwap<Members>,
    // Serialises the two writers; readers never take it.
    writing: Mutex<()>,
    turn: AtomicUsize,
    generations: AtomicU64,
}

/// One consistent view. `healthy` is kept apart so that a request pays one index, not a search.
#[derive(Debug, Default)]
struct Members {
    all: Vec<Arc<Backend>>,
    healthy: Vec<Arc<Backend>>,
}

/// Who came and went with a new list.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// Addresses that were not members before.
    pub joined: Vec<SocketAddr>,
    /// Addresses that are members no more.
    pub left: Vec<SocketAddr>,
}

impl State {
    /// Every state, for whoever lists them.
    pub const ALL: [Self; 3] = [Self::Warming, Self::Healthy, Self::Unhealthy];

    /// Lower-case name, as in metrics and logs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Warming => "warming",
            Self::Healthy => "healthy",
            Self::Unhealthy => "unhealthy",
        }
    }
}

impl Record {
    fn new() -> Self {
        Self {
            state: State::Warming,
            consecutive_success: 0,
            consecutive_failure: 0,
            told_never_ready: false,
        }
    }

    /// Takes one probe into account.
    fn observe(&mut self, probe: Probe, thresholds: &config::Checks) -> Option<News> {
        if probe == Probe::Ready {
            self.consecutive_success += 1;
            self.consecutive_failure = 0;
        } else {
            self.consecutive_failure += 1;
            self.consecutive_success = 0;
        }
        let up = self.consecutive_success >= thresholds.rise;
        let at_once = matches!(probe, Probe::Draining | Probe::Refused);
        let often = self.consecutive_failure >= thresholds.fall;
        let next = match self.state {
            State::Warming | State::Unhealthy if up => State::Healthy,
            State::Healthy if at_once || often => State::Unhealthy,
            State::Warming if often && !self.told_never_ready => {
                self.told_never_ready = true;
                return Some(News::NeverReady);
            }
            unchanged => unchanged,
        };
        let changed = next != self.state;
        self.state = next;
        changed.then_some(News::Became(next))
    }
}

impl Backend {
    fn new(addr: SocketAddr, generation: u64) -> Self {
        Self {
            addr,
            generation,
            record: Mutex::new(Record::new()),
            in_flight: AtomicUsize::new(0),
            probing: AtomicBool::new(false),
        }
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Differs between two stays of one address in the pool.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Its state now.
    pub fn state(&self) -> State {
        lock(&self.record).state
    }

    /// Requests it is working on.
    pub fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// Counts one more request until the guard is dropped.
    pub fn begin(self: &Arc<Self>) -> InFlight {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        InFlight(Arc::clone(self))
    }

    /// True for one prober at a time; `probe_ended` lets the next one in.
    pub(crate) fn probe_begins(&self) -> bool {
        !self.probing.swap(true, Ordering::AcqRel)
    }

    pub(crate) fn probe_ended(&self) {
        self.probing.store(false, Ordering::Release);
    }
}

impl InFlight {
    /// The backend at work.
    pub fn backend(&self) -> &Backend {
        &self.0
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Pool {
    /// An empty pool.
    pub fn new(name: &str, settings: config::Pool) -> Self {
        Self {
            name: name.to_owned(),
            settings: ArcSwap::from_pointee(settings),
            revision: watch::Sender::new(()),
            members: ArcSwap::default(),
            writing: Mutex::new(()),
            turn: AtomicUsize::new(0),
            generations: AtomicU64::new(0),
        }
    }

    /// What it is called in the configuration.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The settings that hold now.
    pub fn settings(&self) -> Guard<Arc<config::Pool>> {
        self.settings.load()
    }

    /// Lets other settings hold from now on.
    pub fn adopt(&self, settings: config::Pool) {
        self.settings.store(Arc::new(settings));
        self.revision.send_replace(());
    }

    /// Changes with every `adopt`.
    pub fn revision(&self) -> watch::Receiver<()> {
        self.revision.subscribe()
    }

    /// The next healthy backend that this request has not tried.
    ///
    /// One counter for all connections, so that the shares are equal however few connections carry the requests.
    /// A retry takes no turn: with two backends of which one is dead, every request would meet the dead one first.
    pub fn select(&self, tried: &[SocketAddr]) -> Option<Arc<Backend>> {
        let members = self.members.load();
        let healthy = &members.healthy;
        if healthy.is_empty() {
            return None;
        }
        let turn = match tried {
            [] => self.turn.fetch_add(1, Ordering::Relaxed),
            _ => self.turn.load(Ordering::Relaxed),
        };
        let start = turn % healthy.len();
        let in_turn = healthy[start..].iter().chain(&healthy[..start]);
        in_turn
            .into_iter()
            .find(|backend| !tried.contains(&backend.addr))
            .cloned()
    }

    /// Whether `select` would find one, without taking a turn.
    pub fn has_untried(&self, tried: &[SocketAddr]) -> bool {
        self.members
            .load()
            .healthy
            .iter()
            .any(|backend| !tried.contains(&backend.addr))
    }

    /// Every member, in the order of addresses.
    pub fn backends(&self) -> Vec<Arc<Backend>> {
        self.members.load().all.clone()
    }

    /// Makes exactly these addresses the members. Those that stay keep their state; the new ones are warming.
    pub fn set_members(&self, addrs: &BTreeSet<SocketAddr>) -> Change {
        let _writing = lock(&self.writing);
        let old = self.members.load();
        let known = |addr: &SocketAddr| {
            old.all
                .iter()
                .find(|backend| backend.addr == *addr)
                .cloned()
        };
        let mut change = Change::default();
        let mut all = Vec::with_capacity(addrs.len());
        for addr in addrs {
            all.push(known(addr).unwrap_or_else(|| {
                change.joined.push(*addr);
                Arc::new(Backend::new(
                    *addr,
                    self.generations.fetch_add(1, Ordering::Relaxed),
                ))
            }));
        }
        let gone = old
            .all
            .iter()
            .map(|backend| backend.addr)
            .filter(|addr| !addrs.contains(addr));
        change.left.extend(gone);
        self.publish(all);
        change
    }

    /// Takes a probe into account.
    pub fn record(&self, backend: &Backend, probe: Probe) -> Option<News> {
        let _writing = lock(&self.writing);
        let news = lock(&backend.record).observe(probe, &self.settings().checks)?;
        if let News::Became(_) = news {
            self.publish(self.members.load().all.clone());
        }
        Some(news)
    }

    fn publish(&self, all: Vec<Arc<Backend>>) {
        let healthy = all
            .iter()
            .filter(|backend| backend.state() == State::Healthy)
            .cloned()
            .collect();
        self.members.store(Arc::new(Members { all, healthy }));
    }
}

/// A panic elsewhere leaves plain numbers behind these locks, which stay meaningful.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
