//! What the balancer counts, in a registry of its own.

use std::{
    collections::BTreeSet,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use prometheus::{
    HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, Opts, Registry, TextEncoder,
    core::Collector,
};

use crate::{pool::Pool, queue::GaveUp};

mod cache;
mod gauges;
mod gone;

pub use cache::{CacheNumbers, Lookup};
use gauges::PoolGauges;
use gone::{Gone, Name};

/// Label of requests that no backend answered.
const NO_BACKEND: &str = "none";
/// Label of requests that the cache answered.
pub const CACHE: &str = "cache";
/// What requests end in.
const CLASSES: [&str; 6] = ["1xx", "2xx", "3xx", "4xx", "5xx", "aborted"];

/// Whether a connection to a backend was new.
const ORIGINS: [&str; 2] = ["new", "reused"];

/// Seconds; a page costs milliseconds, an upload seconds.
const DURATION_BUCKETS: [f64; 12] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0,
];

/// The counters that requests move.
pub struct Metrics {
    registry: Registry,
    pools: Vec<Arc<Pool>>,
    gone: Gone,
    requests: IntCounterVec,
    duration: HistogramVec,
    retries: IntCounterVec,
    out_of_budget: IntCounterVec,
    turned_away: IntCounterVec,
    refused: IntCounterVec,
    in_flight: IntGauge,
    ejections: IntCounterVec,
    upstream: IntCounterVec,
    accepted: IntCounter,
    lost_lines: IntCounter,
    cache: CacheNumbers,
    open: IntGauge,
}

/// Why a client was refused that asked for too much or sent too slowly.
#[derive(Clone, Copy, Debug)]
pub enum Refusal {
    /// Its address has as many connections as it may.
    Connections,
    /// Its address has as many requests in flight as it may.
    InFlight,
    /// Its address sent too many requests of late.
    Rate,
    /// The head of its request took too long.
    SlowHead,
    /// The body of its request came too slowly.
    SlowBody,
    /// It called off too many requests of one connection.
    Resets,
}

/// Counts a request as in flight, or a connection as open, until dropped.
pub struct Active(IntGauge);

impl Metrics {
    /// Registers everything, the gauges of these pools included.
    pub fn new(pools: Vec<Arc<Pool>>) -> prometheus::Result<Self> {
        let duration = HistogramOpts::new(
            "lb_request_duration_seconds",
            "From the request head to the last byte of the reply, retries included.",
        );
        let metrics = Self {
            registry: Registry::new(),
            pools: pools.clone(),
            gone: Gone::default(),
            requests: IntCounterVec::new(
                Opts::new(
                    "lb_requests_total",
                    "Requests by pool, the backend that answered (none: the balancer; cache: a kept reply) and status class (aborted: no whole reply).",
                ),
                &["pool", "backend", "class"],
            )?,
            duration: HistogramVec::new(
                duration.buckets(DURATION_BUCKETS.to_vec()),
                &["pool", "backend", "class"],
            )?,
            retries: IntCounterVec::new(
                Opts::new(
                    "lb_retries_total",
                    "Requests sent to another backend, by pool and the phase that failed.",
                ),
                &["pool", "phase"],
            )?,
            out_of_budget: IntCounterVec::new(
                Opts::new(
                    "lb_retries_out_of_budget_total",
                    "Retries that were not made because there were too many already, by pool.",
                ),
                &["pool"],
            )?,
            turned_away: IntCounterVec::new(
                Opts::new(
                    "lb_turned_away_total",
                    "Requests answered 503 because every backend was busy, by pool and reason: full, too_long.",
                ),
                &["pool", "reason"],
            )?,
            refused: IntCounterVec::new(
                Opts::new(
                    "lb_clients_refused_total",
                    "Connections and requests refused for what their client did, by reason: connections, in_flight, rate, slow_head, slow_body, resets.",
                ),
                &["reason"],
            )?,
            in_flight: IntGauge::new("lb_requests_in_flight", "Requests being worked on.")?,
            ejections: IntCounterVec::new(
                Opts::new(
                    "lb_ejections_total",
                    "How often a backend was ejected because its requests failed in a row.",
                ),
                &["pool", "backend"],
            )?,
            upstream: IntCounterVec::new(
                Opts::new(
                    "lb_upstream_connections_total",
                    "Connections that requests were sent on, by pool, backend and origin: new, reused.",
                ),
                &["pool", "backend", "origin"],
            )?,
            accepted: IntCounter::new(
                "lb_connections_total",
                "Connections of clients that were accepted.",
            )?,
            lost_lines: IntCounter::new(
                "lb_access_log_lost_total",
                "Lines of the access log that were dropped because they could not be written in time.",
            )?,
            cache: CacheNumbers::new()?,
            open: IntGauge::new("lb_connections", "Connections of clients that are open.")?,
        };
        for pool in &pools {
            for phase in ["connect", "proxy", "recall", "status"] {
                metrics.retries.with_label_values(&[pool.name(), phase]);
            }
        }
        let gauges = PoolGauges::new(pools)?;
        let own: [Box<dyn Collector>; 12] = [
            Box::new(metrics.ejections.clone()),
            Box::new(metrics.upstream.clone()),
            Box::new(metrics.accepted.clone()),
            Box::new(metrics.lost_lines.clone()),
            Box::new(metrics.open.clone()),
            Box::new(metrics.out_of_budget.clone()),
            Box::new(metrics.turned_away.clone()),
            Box::new(metrics.refused.clone()),
            Box::new(metrics.requests.clone()),
            Box::new(metrics.duration.clone()),
            Box::new(metrics.retries.clone()),
            Box::new(metrics.in_flight.clone()),
        ];
        for collector in own.into_iter().chain(metrics.cache.collectors()) {
            metrics.registry.register(collector)?;
        }
        metrics.registry.register(Box::new(gauges))?;
        Ok(metrics)
    }

    /// Counts one more request in flight until the guard is dropped.
    pub fn begin(&self) -> Active {
        self.in_flight.inc();
        Active(self.in_flight.clone())
    }

    /// Counts a request that ended. `status` is absent when the client got no whole reply.
    pub fn ended(&self, pool: &str, backend: Option<&str>, status: Option<u16>, took: Duration) {
        let labels = [pool, backend.unwrap_or(NO_BACKEND), class(status)];
        self.requests.with_label_values(&labels).inc();
        let duration = self.duration.with_label_values(&labels);
        duration.observe(took.as_secs_f64());
    }

    /// Counts a retry after a failure in this phase: `connect`, `proxy`, `recall` if its backend was lost, `status` if it
    /// answered that it failed.
    pub fn retried(&self, pool: &str, phase: &str) {
        self.retries.with_label_values(&[pool, phase]).inc();
    }

    /// Counts a retry that was not made for want of a budget.
    pub fn out_of_budget(&self, pool: &str) {
        self.out_of_budget.with_label_values(&[pool]).inc();
    }

    /// Counts an ejection.
    pub fn ejected(&self, pool: &str, backend: SocketAddr) {
        let backend = backend.to_string();
        self.ejections.with_label_values(&[pool, &backend]).inc();
    }

    /// Counts a request that is sent on a connection to this backend.
    pub fn connected(&self, pool: &str, backend: &str, reused: bool) {
        let origin = ORIGINS[usize::from(reused)];
        let labels = [pool, backend, origin];
        self.upstream.with_label_values(&labels).inc();
    }

    /// Counts a connection of a client, as open until the guard is dropped.
    pub fn accepted(&self) -> Active {
        self.accepted.inc();
        self.open.inc();
        Active(self.open.clone())
    }

    /// Counts lines of the access log that are lost.
    pub fn lost_lines(&self) -> IntCounter {
        self.lost_lines.clone()
    }

    /// What the cache counts.
    pub fn cache(&self) -> &CacheNumbers {
        &self.cache
    }

    /// Connections of clients that are open.
    pub fn open(&self) -> i64 {
        self.open.get()
    }

    /// Counts a request that found every backend busy.
    pub fn turned_away(&self, pool: &str, why: GaveUp) {
        let reason = match why {
            GaveUp::Full => "full",
            GaveUp::TooLong => "too_long",
        };
        self.turned_away.with_label_values(&[pool, reason]).inc();
    }

    /// Counts a client that was refused.
    pub fn refused(&self, why: Refusal) {
        let reason = match why {
            Refusal::Connections => "connections",
            Refusal::InFlight => "in_flight",
            Refusal::Rate => "rate",
            Refusal::SlowHead => "slow_head",
            Refusal::SlowBody => "slow_body",
            Refusal::Resets => "resets",
        };
        self.refused.with_label_values(&[reason]).inc();
    }

    /// Everything in the Prometheus text format.
    pub fn render(&self) -> prometheus::Result<String> {
        self.render_at(Instant::now())
    }

    fn render_at(&self, now: Instant) -> prometheus::Result<String> {
        let shown = self.registry.gather();
        let text = TextEncoder::new().encode_to_string(&shown);
        for (pool, backend) in self.gone.over(&shown, &self.here(), now) {
            self.forget(&pool, &backend);
        }
        text
    }

    /// Who answers requests now.
    fn here(&self) -> BTreeSet<Name> {
        let of_pool = |pool: &Arc<Pool>| {
            let backends = pool.backends().into_iter();
            let backends = backends.map(|backend| backend.name().to_string());
            let all = backends.chain([NO_BACKEND, CACHE].map(str::to_owned));
            let name = pool.name().to_owned();
            all.map(move |backend| (name.clone(), backend))
        };
        self.pools.iter().flat_map(of_pool).collect()
    }

    /// Drops what was counted of a backend. What was never counted cannot be dropped, and that is all that can fail.
    fn forget(&self, pool: &str, backend: &str) {
        for class in CLASSES {
            let labels = [pool, backend, class];
            let _ = self.requests.remove_label_values(&labels);
            let _ = self.duration.remove_label_values(&labels);
        }
        for origin in ORIGINS {
            let _ = self.upstream.remove_label_values(&[pool, backend, origin]);
        }
        let _ = self.ejections.remove_label_values(&[pool, backend]);
    }
}

impl Drop for Active {
    fn drop(&mut self) {
        self.0.dec();
    }
}

fn class(status: Option<u16>) -> &'static str {
    match status {
        None => CLASSES[5],
        Some(status) => CLASSES[usize::from(status / 100).clamp(1, 5) - 1],
    }
}

#[cfg(test)]
mod tests;
