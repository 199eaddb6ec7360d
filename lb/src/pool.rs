//! The backends: who is a member, what became of it, and whose turn it is.
//!
//! Membership (`discovery.rs`), checks (`health.rs`) and failed requests write; requests only read a snapshot. The rules
//! are pure and elsewhere: `life.rs`, `selection.rs`, `latency.rs`, `budget.rs`.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use arc_swap::{ArcSwap, Guard};
use tokio::sync::watch;

use crate::{
    budget::Budget,
    config,
    life::{self, Life},
    queue::{GaveUp, Queue},
    selection::{Algorithm, Candidate, Choice, Memo, Turn},
};

mod backend;
mod orders;
mod recent;
mod wishes;

pub use self::{
    backend::{Backend, InFlight},
    recent::Minute,
    wishes::Order,
};
pub use crate::life::{News, Probe, State, Switch};

/// The members and their turn.
#[derive(Debug)]
pub struct Pool {
    name: String,
    settings: ArcSwap<config::Pool>,
    revision: watch::Sender<()>,
    members: ArcSwap<Members>,
    // Serialises the writers; readers never take it.
    writing: Mutex<()>,
    generations: AtomicU64,
    budget: Mutex<Budget>,
    queue: Arc<Queue>,
}

/// One consistent view.
#[derive(Debug, Default)]
struct Members {
    all: Vec<Arc<Backend>>,
    seats: Vec<Seat>,
    panics: bool,
    turn: Mutex<Turn>,
    memo: Memo,
}

/// A backend that may be chosen.
#[derive(Debug)]
struct Seat {
    backend: Arc<Backend>,
    weight: f64,
    slow_start: Option<(Instant, Duration)>,
}

/// Why a request gets no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoPlace {
    /// Nobody is healthy, or all were tried.
    NoBackend,
    /// Everybody is busy.
    Busy(GaveUp),
}

/// What came with a new list.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// Addresses that were not members before.
    pub joined: Vec<SocketAddr>,
    /// Addresses that are members no more.
    pub left: Vec<SocketAddr>,
    /// Those that an operator took out or let in again.
    pub switched: Vec<(SocketAddr, State)>,
}

impl Candidate for Seat {
    fn weight(&self, now: Instant) -> f64 {
        let share = self.slow_start.map_or(1.0, |(from, whole)| {
            life::share(now.saturating_duration_since(from), whole)
        });
        self.weight * share
    }

    fn whole_weight(&self) -> f64 {
        self.weight
    }

    fn load(&self, now: Instant) -> f64 {
        let requests = self.backend.in_flight() + 1;
        requests as f64 * lock(&self.backend.latency).secs(now)
    }

    fn id(&self) -> u64 {
        self.backend.id
    }
}

impl Pool {
    /// An empty pool.
    pub fn new(name: &str, settings: config::Pool) -> Self {
        let budget = Budget::new(Instant::now(), &settings.retries);
        Self {
            name: name.to_owned(),
            settings: ArcSwap::from_pointee(settings),
            revision: watch::Sender::new(()),
            members: ArcSwap::default(),
            writing: Mutex::new(()),
            generations: AtomicU64::new(0),
            budget: Mutex::new(budget),
            queue: Arc::default(),
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
        let _writing = lock(&self.writing);
        self.settings.store(Arc::new(settings));
        self.publish(self.members.load().all.clone());
        self.revision.send_replace(());
    }

    /// Changes with every `adopt`.
    pub fn revision(&self) -> watch::Receiver<()> {
        self.revision.subscribe()
    }

    /// Takes a place on the backend whose turn it is. While all are busy, waits for one.
    pub async fn take(&self, tried: &[SocketAddr], key: u64) -> Result<InFlight, NoPlace> {
        if tried.is_empty() {
            let settings = self.settings();
            lock(&self.budget).deposit(Instant::now(), &settings.retries);
        }
        let look = || match self.select(tried, key, Instant::now()) {
            Some(backend) => {
                let most = self.settings().crowd.max_in_flight;
                // Another thread may have been quicker; then it is not this one's turn any more.
                backend.begin(most).map(Ok)
            }
            None if self.has_untried(tried) => None,
            None => Some(Err(NoPlace::NoBackend)),
        };
        // Whoever waits is before whoever comes.
        if self.queue.waiting() == 0
            && let Some(found) = look()
        {
            return found;
        }
        let (most, limit) = {
            let crowd = &self.settings().crowd;
            (crowd.max_waiting, crowd.max_wait)
        };
        // A request that has failed elsewhere stands beside the line: it may need what the first in line does not.
        let found = match tried {
            [] => Box::pin(self.queue.wait(most, limit, look)).await,
            _ => Box::pin(self.queue.wait_aside(most, limit, look)).await,
        };
        found.map_err(NoPlace::Busy).flatten()
    }

    /// Whether there may be one more retry; it counts as made then.
    pub fn may_retry(&self, now: Instant) -> bool {
        lock(&self.budget).withdraw(now, &self.settings().retries)
    }

    /// How many requests wait for a place.
    pub fn waiting(&self) -> usize {
        self.queue.waiting()
    }

    /// Whose turn it is among those that this request has not tried and that are not too busy.
    pub fn select(&self, tried: &[SocketAddr], key: u64, now: Instant) -> Option<Arc<Backend>> {
        let members = self.members.load();
        let choice = Choice {
            algorithm: self.settings().algorithm,
            key,
            again: !tried.is_empty(),
            now,
            memo: &members.memo,
        };
        let most = self.settings().crowd.max_in_flight;
        let usable =
            |seat: &Seat| seat.backend.in_flight() < most && !tried.contains(&seat.backend.addr);
        // One turn for all connections, so that the shares are right however few connections carry the requests.
        let mut turn = (choice.algorithm == Algorithm::RoundRobin).then(|| lock(&members.turn));
        let mut nobodys = Turn::default();
        let turn = turn.as_deref_mut().unwrap_or(&mut nobodys);
        let index = choice.among(&members.seats, usable, turn, &mut rand::rng())?;
        Some(Arc::clone(&members.seats[index].backend))
    }

    /// Whether somebody could answer who was not tried, busy or not.
    pub fn has_untried(&self, tried: &[SocketAddr]) -> bool {
        let members = self.members.load();
        let mut seats = members.seats.iter();
        seats.any(|seat| !tried.contains(&seat.backend.addr))
    }

    /// Whether nobody is healthy, and those are tried that might be.
    pub fn panics(&self) -> bool {
        self.members.load().panics
    }

    /// Every member, in the order of addresses.
    pub fn backends(&self) -> Vec<Arc<Backend>> {
        self.members.load().all.clone()
    }

    /// Makes exactly these addresses the members, with these weights. Those that stay keep what became of them; the new
    /// ones are warming.
    pub fn set_members(&self, addrs: &BTreeMap<SocketAddr, u32>, now: Instant) -> Change {
        let _writing = lock(&self.writing);
        let (old, settings) = (self.members.load(), self.settings());
        let mut change = Change::default();
        let (mut reweighed, mut disabled) = (false, Vec::new());
        let mut all = Vec::with_capacity(addrs.len());
        for (addr, weight) in addrs {
            let known = old.all.iter().find(|backend| backend.addr == *addr);
            let backend = known.cloned().unwrap_or_else(|| {
                change.joined.push(*addr);
                let generation = self.generations.fetch_add(1, Ordering::Relaxed);
                let (seasoned, queue) = (old.all.is_empty(), Arc::clone(&self.queue));
                Arc::new(Backend::new(*addr, generation, seasoned, queue))
            });
            let switch = match settings.disabled.contains(addr) {
                true => Switch::Off,
                false => Switch::On,
            };
            lock(&backend.wishes).list(switch, *weight);
            let (other_weight, news) = backend.obey(now);
            reweighed |= other_weight;
            if let Some(News::Became(state)) = news {
                change.switched.push((*addr, state));
                disabled.extend((state == State::Disabled).then(|| Arc::clone(&backend)));
            }
            all.push(backend);
        }
        let gone = old.all.iter().map(|backend| backend.addr);
        change
            .left
            .extend(gone.filter(|addr| !addrs.contains_key(addr)));
        if reweighed || change != Change::default() {
            self.publish(all);
        }
        for backend in disabled.iter().filter(|backend| self.has_lost(backend)) {
            backend.call_back();
        }
        change
    }

    /// Takes a probe into account.
    pub fn record(&self, backend: &Backend, probe: Probe, now: Instant) -> Option<News> {
        let _writing = lock(&self.writing);
        let mut life = lock(&backend.life);
        let before = life.is_last_resort();
        let news = life.probe(now, probe, &self.settings().checks);
        let still = life.is_last_resort() == before;
        drop(life);
        if matches!(news, Some(News::Became(_))) || !still {
            self.publish(self.members.load().all.clone());
        }
        if news == Some(News::Became(State::Unhealthy)) && self.has_lost(backend) {
            backend.call_back();
        }
        news
    }

    /// Whether requests should rather be elsewhere than on this backend, and somebody is there to take them.
    pub fn has_lost(&self, backend: &Backend) -> bool {
        let lost = matches!(backend.state(), State::Unhealthy | State::Disabled);
        lost && !self.panics() && self.has_untried(&[backend.addr])
    }

    /// Takes a failed request into account.
    pub fn failed(&self, backend: &Backend, now: Instant, took: Duration) -> Option<News> {
        lock(&backend.recent).observe(now, took, true);
        lock(&backend.latency).failed(now, took);
        let _writing = lock(&self.writing);
        let rules = &self.settings().ejection;
        let ready =
            |backend: &&Arc<Backend>| matches!(backend.state(), State::Healthy | State::Ejected);
        let members = self.members.load();
        let all = members.all.iter().filter(ready).count();
        let mut ejected = members.all.iter();
        let ejected = ejected
            .by_ref()
            .filter(|b| b.state() == State::Ejected)
            .count();
        let room = (ejected + 1) * 100 <= all * rules.max_percent;
        let news = lock(&backend.life).failed(now, rules, room);
        if news.is_some() {
            self.publish(self.members.load().all.clone());
        }
        news
    }

    /// Ends what has lasted long enough, and tells what became of whom.
    pub fn tick(&self, now: Instant) -> Vec<(SocketAddr, News)> {
        let _writing = lock(&self.writing);
        let mut all = Vec::new();
        for backend in &self.members.load().all {
            let news = lock(&backend.life).tick(now);
            all.extend(news.map(|news| (backend.addr, news)));
        }
        if !all.is_empty() {
            self.publish(self.members.load().all.clone());
        }
        all
    }

    fn publish(&self, all: Vec<Arc<Backend>>) {
        let slow_start = self.settings().slow_start;
        let seats = |may: &dyn Fn(&Life) -> bool| -> Vec<Seat> {
            let chosen = all.iter().filter(|backend| may(&lock(&backend.life)));
            chosen
                .map(|backend| Seat::new(backend, slow_start))
                .collect()
        };
        let mut healthy = seats(&|life| life.state() == State::Healthy);
        let panics = healthy.is_empty();
        if panics {
            healthy = seats(&Life::is_last_resort);
        }
        self.members.store(Arc::new(Members {
            panics: panics && !healthy.is_empty(),
            seats: healthy,
            all,
            turn: Mutex::default(),
            memo: Memo::default(),
        }));
        self.queue.freed();
    }
}

impl Seat {
    fn new(backend: &Arc<Backend>, slow_start: Duration) -> Self {
        let from = lock(&backend.life).ramp_from();
        Self {
            backend: Arc::clone(backend),
            weight: f64::from(backend.weight.load(Ordering::Relaxed)),
            slow_start: from.map(|from| (from, slow_start)),
        }
    }
}

/// A panic elsewhere leaves plain numbers behind these locks, which stay meaningful.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
