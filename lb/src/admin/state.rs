//! How the balancer is at this moment, as `/state.json` tells it; the status page and `quiz-lb ctl status` show the same.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    process,
    sync::Arc,
    time::{Duration, Instant},
};

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use super::Admin;
use crate::{
    cache::Cache,
    metrics::Lookup,
    pool::{Backend, Minute, Pool},
};

/// The whole balancer.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct State {
    /// Of the program.
    pub version: String,
    /// Of the process.
    pub pid: u32,
    /// Since the process began to balance.
    pub uptime_secs: u64,
    /// Whether it is about to leave.
    pub draining: bool,
    /// Connections of clients that are open.
    pub connections: i64,
    /// Replies in memory.
    pub cache: CacheState,
    /// In the order of their names.
    pub pools: Vec<PoolState>,
}

/// The cache. Requests are those that it might have answered, since the process began to balance.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CacheState {
    /// Whether there is one.
    pub enabled: bool,
    /// Memory that it takes.
    pub bytes: i64,
    /// Memory that it may take.
    pub max_bytes: usize,
    /// Replies in it.
    pub objects: i64,
    /// By result, as in `lb_cache_requests_total`.
    pub requests: BTreeMap<String, u64>,
}

/// One pool.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PoolState {
    /// As in the configuration.
    pub name: String,
    /// As in the configuration.
    pub algorithm: String,
    /// Nobody is healthy, and those are tried that might be.
    pub panics: bool,
    /// Requests that wait because all are busy.
    pub waiting: usize,
    /// Requests that backends are working on.
    pub in_flight: usize,
    /// Of the last minute.
    pub requests_per_sec: f64,
    /// In the order of their addresses.
    pub backends: Vec<BackendState>,
}

/// One backend. Rates and latencies are those of the last minute.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct BackendState {
    /// Where it listens.
    pub address: SocketAddr,
    /// As in `lb_backend_state`.
    pub state: String,
    /// For how long.
    pub since_secs: u64,
    /// Why, if it is not healthy.
    pub reason: String,
    /// What is wanted of it: `on`, `drain` or `off`.
    pub switch: String,
    /// In comparison with others.
    pub weight: u32,
    /// Requests it is working on.
    pub in_flight: usize,
    /// Its part of the requests of its pool.
    pub share: f64,
    /// Requests that it answered or failed.
    pub requests: u32,
    /// The part of them that failed: no connection, a reset, silence or a server error.
    pub error_rate: f64,
    /// Mean time to the head of the reply; absent if there was none.
    pub latency_ms: Option<f64>,
    /// The same in steps of two seconds, the oldest first.
    pub latency_history_ms: Vec<Option<f64>>,
}

impl Admin {
    /// How it is now.
    pub(super) fn state(&self) -> State {
        let now = Instant::now();
        State {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: process::id(),
            uptime_secs: now.duration_since(self.begun).as_secs(),
            draining: *self.draining.borrow(),
            connections: self.metrics.open(),
            cache: look_into(&self.cache),
            pools: self.pools.iter().map(|pool| look_at(pool, now)).collect(),
        }
    }
}

fn look_into(cache: &Cache) -> CacheState {
    let (settings, numbers) = (cache.settings(), cache.numbers());
    let requests = Lookup::ALL.map(|lookup| (lookup.name().to_owned(), numbers.requests(lookup)));
    CacheState {
        enabled: settings.enabled,
        bytes: numbers.bytes(),
        max_bytes: settings.max_bytes,
        objects: numbers.objects(),
        requests: requests.into(),
    }
}

fn look_at(pool: &Arc<Pool>, now: Instant) -> PoolState {
    let backends = pool.backends();
    let minutes: Vec<_> = backends.iter().map(|backend| backend.minute(now)).collect();
    let requests: u32 = minutes.iter().map(|minute| minute.requests).sum();
    let algorithm = pool.settings().algorithm.to_possible_value();
    PoolState {
        name: pool.name().to_owned(),
        algorithm: algorithm.map_or_else(String::new, |value| value.get_name().to_owned()),
        panics: pool.panics(),
        waiting: pool.waiting(),
        in_flight: backends.iter().map(|backend| backend.in_flight()).sum(),
        requests_per_sec: f64::from(requests) / Duration::from_mins(1).as_secs_f64(),
        backends: backends
            .iter()
            .zip(minutes)
            .map(|(backend, minute)| BackendState::new(backend, minute, requests, now))
            .collect(),
    }
}

impl BackendState {
    fn new(backend: &Backend, minute: Minute, of_all: u32, now: Instant) -> Self {
        let (since, reason) = backend.standing();
        let part = |part: u32, whole: u32| f64::from(part) / f64::from(whole.max(1));
        Self {
            address: backend.addr(),
            state: backend.state().name().to_owned(),
            since_secs: now.saturating_duration_since(since).as_secs(),
            reason,
            switch: backend.switch().name().to_owned(),
            weight: backend.weight(),
            in_flight: backend.in_flight(),
            share: part(minute.requests, of_all),
            requests: minute.requests,
            error_rate: part(minute.failed, minute.requests),
            latency_ms: minute.latency_ms,
            latency_history_ms: minute.history_ms,
        }
    }
}
