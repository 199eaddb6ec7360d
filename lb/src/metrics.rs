//! What the balancer counts, in a registry of its own.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use prometheus::{
    HistogramOpts, HistogramVec, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry, TextEncoder,
    core::{Collector, Desc},
    proto::MetricFamily,
};

use crate::{
    pool::{Backend, Pool, State},
    queue::GaveUp,
};

/// Label of requests that no backend answered.
const NO_BACKEND: &str = "none";

/// Seconds; a page costs milliseconds, an upload seconds.
const DURATION_BUCKETS: [f64; 12] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0,
];

/// The counters that requests move.
pub struct Metrics {
    registry: Registry,
    requests: IntCounterVec,
    duration: HistogramVec,
    retries: IntCounterVec,
    out_of_budget: IntCounterVec,
    turned_away: IntCounterVec,
    refused: IntCounterVec,
    in_flight: IntGauge,
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
}

/// Counts a request as in flight until dropped.
pub struct Active(IntGauge);

/// Reads the pool when somebody asks, so that gauges are never stale and gone backends leave no series behind.
struct PoolGauges {
    pools: Vec<Arc<Pool>>,
    state: IntGaugeVec,
    in_flight: IntGaugeVec,
    panics: IntGaugeVec,
    waiting: IntGaugeVec,
    // Two scrapes at a time would empty the gauges under each other's hands.
    scraping: Mutex<()>,
}

impl Metrics {
    /// Registers everything, the gauges of these pools included.
    pub fn new(pools: Vec<Arc<Pool>>) -> prometheus::Result<Self> {
        let duration = HistogramOpts::new(
            "lb_request_duration_seconds",
            "From the request head to the last byte of the reply, retries included.",
        );
        let metrics = Self {
            registry: Registry::new(),
            requests: IntCounterVec::new(
                Opts::new(
                    "lb_requests_total",
                    "Requests by pool, the backend that answered (none: the balancer) and status class (aborted: no whole reply).",
                ),
                &["pool", "backend", "class"],
            )?,
            duration: HistogramVec::new(
                duration.buckets(DURATION_BUCKETS.to_vec()),
                &["pool", "backend"],
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
                    "Connections and requests refused for what their client did, by reason: connections, in_flight, rate, slow_head, slow_body.",
                ),
                &["reason"],
            )?,
            in_flight: IntGauge::new("lb_requests_in_flight", "Requests being worked on.")?,
        };
        for pool in &pools {
            for phase in ["connect", "proxy"] {
                metrics.retries.with_label_values(&[pool.name(), phase]);
            }
        }
        let gauges = PoolGauges::new(pools)?;
        let own: [Box<dyn Collector>; 7] = [
            Box::new(metrics.out_of_budget.clone()),
            Box::new(metrics.turned_away.clone()),
            Box::new(metrics.refused.clone()),
            Box::new(metrics.requests.clone()),
            Box::new(metrics.duration.clone()),
            Box::new(metrics.retries.clone()),
            Box::new(metrics.in_flight.clone()),
        ];
        for collector in own {
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
        let backend = backend.unwrap_or(NO_BACKEND);
        self.requests
            .with_label_values(&[pool, backend, class(status)])
            .inc();
        self.duration
            .with_label_values(&[pool, backend])
            .observe(took.as_secs_f64());
    }

    /// Counts a retry after a failure in this phase, `connect` or `proxy`.
    pub fn retried(&self, pool: &str, phase: &str) {
        self.retries.with_label_values(&[pool, phase]).inc();
    }

    /// Counts a retry that was not made for want of a budget.
    pub fn out_of_budget(&self, pool: &str) {
        self.out_of_budget.with_label_values(&[pool]).inc();
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
        };
        self.refused.with_label_values(&[reason]).inc();
    }

    /// Everything in the Prometheus text format.
    pub fn render(&self) -> prometheus::Result<String> {
        TextEncoder::new().encode_to_string(&self.registry.gather())
    }
}

impl Drop for Active {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl PoolGauges {
    fn new(pools: Vec<Arc<Pool>>) -> prometheus::Result<Self> {
        let state = Opts::new(
            "lb_backend_state",
            "1 for the state a backend is in, 0 for the others.",
        );
        let in_flight = Opts::new(
            "lb_backend_requests_in_flight",
            "Requests a backend is working on.",
        );
        let waiting = Opts::new(
            "lb_queue_requests",
            "Requests that wait because every backend is busy.",
        );
        let panics = Opts::new(
            "lb_pool_panics",
            "1 while no backend is healthy and those are tried that might be.",
        );
        Ok(Self {
            pools,
            state: IntGaugeVec::new(state, &["pool", "backend", "state"])?,
            in_flight: IntGaugeVec::new(in_flight, &["pool", "backend"])?,
            panics: IntGaugeVec::new(panics, &["pool"])?,
            waiting: IntGaugeVec::new(waiting, &["pool"])?,
            scraping: Mutex::new(()),
        })
    }
}

impl PoolGauges {
    fn read(&self, pool: &str, backend: &Backend) {
        let (addr, now) = (backend.addr().to_string(), backend.state());
        for state in State::ALL {
            self.state
                .with_label_values(&[pool, addr.as_str(), state.name()])
                .set((state == now).into());
        }
        let in_flight = i64::try_from(backend.in_flight()).unwrap_or(i64::MAX);
        self.in_flight
            .with_label_values(&[pool, addr.as_str()])
            .set(in_flight);
    }
}

impl Collector for PoolGauges {
    fn desc(&self) -> Vec<&Desc> {
        [
            self.state.desc(),
            self.in_flight.desc(),
            self.panics.desc(),
            self.waiting.desc(),
        ]
        .concat()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        // What a panic left behind is emptied first thing.
        let _alone = self.scraping.lock().unwrap_or_else(PoisonError::into_inner);
        self.state.reset();
        self.in_flight.reset();
        for pool in &self.pools {
            let panics = self.panics.with_label_values(&[pool.name()]);
            panics.set(pool.panics().into());
            let waiting = self.waiting.with_label_values(&[pool.name()]);
            waiting.set(i64::try_from(pool.waiting()).unwrap_or(i64::MAX));
            for backend in pool.backends() {
                self.read(pool.name(), &backend);
            }
        }
        [
            self.state.collect(),
            self.in_flight.collect(),
            self.panics.collect(),
            self.waiting.collect(),
        ]
        .concat()
    }
}

fn class(status: Option<u16>) -> &'static str {
    match status.map(|status| status / 100) {
        Some(1) => "1xx",
        Some(2) => "2xx",
        Some(3) => "3xx",
        Some(4) => "4xx",
        Some(_) => "5xx",
        None => "aborted",
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, time::Instant};

    use super::*;
    use crate::{config, pool::Probe};

    #[test]
    fn the_text_shows_requests_retries_and_the_pool_as_it_is_now() {
        let pool = Arc::new(Pool::new("quiz", config::Pool::default()));
        let metrics = Metrics::new(vec![Arc::clone(&pool)]).unwrap();
        let now = Instant::now();
        pool.set_members(&BTreeMap::from([("10.0.0.1:1".parse().unwrap(), 1)]), now);
        let backend = pool.backends().remove(0);
        pool.record(&backend, Probe::Ready, now);
        let _guards = (backend.begin(1), metrics.begin());
        metrics.ended(
            "quiz",
            Some("10.0.0.1:1"),
            Some(204),
            Duration::from_millis(3),
        );
        metrics.ended("quiz", None, None, Duration::ZERO);
        metrics.retried("quiz", "connect");
        let text = metrics.render().unwrap();
        for line in [
            r#"lb_requests_total{backend="10.0.0.1:1",class="2xx",pool="quiz"} 1"#,
            r#"lb_requests_total{backend="none",class="aborted",pool="quiz"} 1"#,
            r#"lb_request_duration_seconds_bucket{backend="10.0.0.1:1",pool="quiz",le="0.005"} 1"#,
            r#"lb_retries_total{phase="connect",pool="quiz"} 1"#,
            r#"lb_backend_state{backend="10.0.0.1:1",pool="quiz",state="healthy"} 1"#,
            r#"lb_backend_state{backend="10.0.0.1:1",pool="quiz",state="warming"} 0"#,
            r#"lb_backend_requests_in_flight{backend="10.0.0.1:1",pool="quiz"} 1"#,
            "lb_requests_in_flight 1",
        ] {
            assert!(
                text.lines().any(|l| l == line),
                "{line} is missing in\n{text}"
            );
        }
        pool.set_members(&BTreeMap::new(), now);
        assert!(!metrics.render().unwrap().contains("lb_backend_state{"));
    }
    #[test]
    fn scrapes_at_the_same_time_do_not_disturb_each_other() {
        let pool = Arc::new(Pool::new("quiz", config::Pool::default()));
        let members = (1..=50).map(|port| (([10, 0, 0, 1], port).into(), 1));
        pool.set_members(&members.collect(), Instant::now());
        let metrics = Metrics::new(vec![pool]).unwrap();
        let scrape = || {
            let text = metrics.render().unwrap();
            text.lines()
                .filter(|l| l.starts_with("lb_backend_"))
                .count()
        };
        std::thread::scope(|scope| {
            let scrape_often = || (0..100).map(|_| scrape()).collect::<Vec<_>>();
            let scrapers: Vec<_> = (0..4).map(|_| scope.spawn(scrape_often)).collect();
            for scraper in scrapers {
                // Of each backend six states and the requests in flight.
                assert_eq!(scraper.join().unwrap(), [50 * 7; 100]);
            }
        });
    }
}
