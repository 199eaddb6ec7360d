//! Numbers of the pools that are read when somebody asks.

use std::sync::{Arc, Mutex, PoisonError};

use prometheus::{
    IntGaugeVec, Opts,
    core::{Collector, Desc},
    proto::MetricFamily,
};

use crate::pool::{Backend, Pool, State};

/// Reads the pool when somebody asks, so that gauges are never stale and gone backends leave no series behind.
pub(super) struct PoolGauges {
    pools: Vec<Arc<Pool>>,
    state: IntGaugeVec,
    in_flight: IntGaugeVec,
    panics: IntGaugeVec,
    waiting: IntGaugeVec,
    // Two scrapes at a time would empty the gauges under each other's hands.
    scraping: Mutex<()>,
}

impl PoolGauges {
    pub(super) fn new(pools: Vec<Arc<Pool>>) -> prometheus::Result<Self> {
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
