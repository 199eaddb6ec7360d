//! One member of a pool: what became of it, how slow it is, and how many requests it works on.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use http::HeaderValue;

use super::{
    lock,
    recent::{Minute, Recent},
    wishes::Wishes,
};
use crate::{
    latency::PeakEwma,
    life::{Life, State},
    queue::Queue,
    recall::Recall,
    selection,
};

/// One member of the pool. It lives as long as its address is listed; an address that leaves and returns is a
/// new `Backend`, because it may well be another machine.
#[derive(Debug)]
pub struct Backend {
    pub(super) addr: SocketAddr,
    name: Arc<str>,
    signature: HeaderValue,
    pub(super) id: u64,
    generation: u64,
    pub(super) weight: AtomicU32,
    pub(super) life: Mutex<Life>,
    pub(super) latency: Mutex<PeakEwma>,
    in_flight: AtomicUsize,
    probing: AtomicBool,
    // Whether it has ever kept a connection after a reply: of one that never does, closing says nothing.
    keeps: AtomicBool,
    // Of the requests that could go elsewhere, by the address in memory of each, which is its own.
    recalls: Mutex<HashMap<usize, Arc<Recall>>>,
    pub(super) wishes: Mutex<Wishes>,
    pub(super) standing: Mutex<(Instant, String)>,
    pub(super) recent: Mutex<Recent>,
    // Of its pool: told when a request ends.
    queue: Arc<Queue>,
}

/// Counts a request as in flight on its backend until dropped.
#[derive(Debug)]
pub struct InFlight {
    backend: Arc<Backend>,
    recall: Option<Arc<Recall>>,
}

impl Backend {
    pub(super) fn new(
        addr: SocketAddr,
        generation: u64,
        seasoned: bool,
        queue: Arc<Queue>,
    ) -> Self {
        let name = addr.to_string();
        let signature = HeaderValue::from_str(&name);
        Self {
            addr,
            id: selection::hash(name.as_bytes()),
            signature: signature.expect("an address is plain text"),
            name: name.into(),
            generation,
            weight: AtomicU32::new(1),
            life: Mutex::new(Life::new(seasoned)),
            latency: Mutex::new(PeakEwma::new(Instant::now())),
            in_flight: AtomicUsize::new(0),
            probing: AtomicBool::new(false),
            keeps: AtomicBool::new(false),
            recalls: Mutex::default(),
            wishes: Mutex::new(Wishes::new()),
            standing: Mutex::new((Instant::now(), String::new())),
            recent: Mutex::new(Recent::new(Instant::now())),
            queue,
        }
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The same as text, for labels and lines.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// The same as a header of its replies.
    pub fn signature(&self) -> &HeaderValue {
        &self.signature
    }

    /// Differs between two stays of one address in the pool.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Its state now.
    pub fn state(&self) -> State {
        lock(&self.life).state()
    }

    /// Requests it is working on.
    pub fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// Counts one more request until the guard is dropped, unless it has as many as it may.
    pub fn begin(self: &Arc<Self>, most: usize) -> Option<InFlight> {
        let more = |requests| (requests < most).then_some(requests + 1);
        self.in_flight
            .try_update(Ordering::Relaxed, Ordering::Relaxed, more)
            .ok()?;
        Some(InFlight {
            backend: Arc::clone(self),
            recall: None,
        })
    }

    /// Its share in comparison with others.
    pub fn weight(&self) -> u32 {
        self.weight.load(Ordering::Relaxed)
    }

    /// What it did in the last minute.
    pub fn minute(&self, now: Instant) -> Minute {
        lock(&self.recent).minute(now)
    }

    /// A request was answered after so long, and not with a server error.
    pub fn succeeded(&self, now: Instant, took: Duration) {
        lock(&self.recent).observe(now, took, false);
        lock(&self.latency).observe(now, took);
        lock(&self.life).succeeded(now);
    }

    /// It keeps the connection after its reply, or closes it.
    pub fn replied(&self, now: Instant, closes: bool) {
        if !closes {
            self.keeps.store(true, Ordering::Relaxed);
        } else if self.keeps.load(Ordering::Relaxed) {
            lock(&self.life).closing(now);
        }
    }

    /// Calls back the requests that could go elsewhere.
    pub(super) fn call_back(&self) {
        for recall in lock(&self.recalls).values() {
            recall.call();
        }
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
        &self.backend
    }

    /// From now on the request is called back when the backend is lost.
    pub(crate) fn reach_by(&mut self, recall: &Arc<Recall>) {
        recall.listen();
        lock(&self.backend.recalls).insert(key(recall), Arc::clone(recall));
        self.recall = Some(Arc::clone(recall));
    }

    /// From now on it is not. Says whether it was.
    pub(crate) fn stay(&mut self) -> bool {
        self.recall.take().is_some_and(|recall| {
            lock(&self.backend.recalls).remove(&key(&recall));
            recall.ignore()
        })
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.stay();
        self.backend.in_flight.fetch_sub(1, Ordering::Relaxed);
        if self.backend.queue.waiting() > 0 {
            self.backend.queue.freed();
        }
    }
}

fn key(recall: &Arc<Recall>) -> usize {
    Arc::as_ptr(recall).addr()
}
