//! What came of a simulated run: latencies of requests, and what the queues were like over time.

use std::time::Duration;

use hdrhistogram::Histogram;

use super::{NANOS_PER_SEC, Nanos};

/// Latencies are kept in nanoseconds, up to a day; what lies beyond counts as a day. That is the fate of a model that is
/// overloaded for long.
const HIGHEST: Nanos = 24 * 3600 * 1_000_000_000;
/// Three significant digits: a percentile is off by a thousandth at most. Means are exact.
const DIGITS: u8 = 3;

/// Figures of the measured part of a run: from the arrival of the first measured request until that of the last.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// Measured requests.
    pub requests: u64,
    /// From the first measured arrival to the last.
    pub span: Duration,
    /// Those that had to wait for a place.
    pub waited: u64,
    /// From the arrival to the end of the reply, overhead included, in nanoseconds.
    pub latency: Histogram<u64>,
    /// The same on average, exactly.
    pub mean_latency: Duration,
    /// How long requests waited for a place on average.
    pub mean_wait: Duration,
    /// In the order of the model.
    pub backends: Vec<Share>,
}

/// What became of one backend.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Share {
    /// Of the measured requests, from 0 to 1.
    pub share: f64,
    /// How much of its places was busy on average over time, from 0 to 1.
    pub utilisation: f64,
    /// Requests that waited there, on average over time.
    pub mean_queue: f64,
    /// Requests that waited or were worked on there, on average over time.
    pub mean_in_flight: f64,
}

impl Outcome {
    /// The latency that so much of the requests, from 0 to 1, did not exceed.
    #[must_use]
    pub fn quantile(&self, quantile: f64) -> Duration {
        Duration::from_nanos(self.latency.value_at_quantile(quantile))
    }

    /// Requests per second that arrived and were answered.
    #[must_use]
    pub fn throughput(&self) -> f64 {
        self.requests as f64 / self.span.as_secs_f64()
    }

    /// Requests that waited for a place on any backend, on average over time.
    #[must_use]
    pub fn mean_queue(&self) -> f64 {
        self.backends.iter().map(|backend| backend.mean_queue).sum()
    }
}

/// Counts while the run goes on.
pub(super) struct Tally {
    overhead: Nanos,
    measuring: bool,
    began: Nanos,
    now: Nanos,
    waited: u64,
    latency: Histogram<u64>,
    // 128 bits, because an hour of overload by millions of requests does not fit in 64.
    latencies: u128,
    waits: u128,
    stations: Vec<Station>,
}

/// Of one backend. The areas are integrals over time, in nanoseconds.
struct Station {
    workers: usize,
    in_flight: usize,
    since: Nanos,
    busy_area: u128,
    queue_area: u128,
    requests: u64,
}

impl Tally {
    pub(super) fn new(workers: impl Iterator<Item = usize>, overhead: Nanos) -> Self {
        let station = |workers| Station {
            workers,
            in_flight: 0,
            since: 0,
            busy_area: 0,
            queue_area: 0,
            requests: 0,
        };
        Self {
            overhead,
            measuring: false,
            began: 0,
            now: 0,
            waited: 0,
            latency: Histogram::new_with_bounds(1, HIGHEST, DIGITS)
                .expect("the bounds are constants that fit"),
            latencies: 0,
            waits: 0,
            stations: workers.map(station).collect(),
        }
    }

    /// From now on requests are measured.
    pub(super) fn begin(&mut self, now: Nanos) {
        self.measuring = true;
        self.began = now;
        for station in &mut self.stations {
            station.pass(now);
            station.busy_area = 0;
            station.queue_area = 0;
        }
    }

    /// The next event is now.
    pub(super) fn advance(&mut self, now: Nanos) {
        self.now = now;
    }

    /// A request arrived at a backend; its work there begins and ends at these times.
    pub(super) fn arrived(&mut self, station: usize, now: Nanos, begins: Nanos, ends: Nanos) {
        let station = &mut self.stations[station];
        station.pass(now);
        station.in_flight += 1;
        if !self.measuring {
            return;
        }
        station.requests += 1;
        let (wait, latency) = (begins - now, (ends - now).saturating_add(self.overhead));
        self.waited += u64::from(wait > 0);
        self.waits += u128::from(wait);
        self.latencies += u128::from(latency);
        self.latency.saturating_record(latency.max(1));
    }

    /// A request left a backend now.
    pub(super) fn departed(&mut self, station: usize) {
        let station = &mut self.stations[station];
        station.pass(self.now);
        station.in_flight -= 1;
    }

    pub(super) fn outcome(mut self) -> Outcome {
        let span = self.now - self.began;
        let requests = self.latency.len();
        for station in &mut self.stations {
            station.pass(self.now);
        }
        let mean = |sum: u128| {
            let mean = sum.checked_div(u128::from(requests)).unwrap_or(0);
            Duration::from_nanos(u64::try_from(mean).unwrap_or(u64::MAX))
        };
        let over_time = |area: u128| area as f64 / (span.max(1)) as f64;
        let share = |station: &Station| Share {
            share: station.requests as f64 / requests.max(1) as f64,
            utilisation: over_time(station.busy_area) / station.workers as f64,
            mean_queue: over_time(station.queue_area),
            mean_in_flight: over_time(station.busy_area + station.queue_area),
        };
        Outcome {
            requests,
            span: Duration::from_secs_f64(span as f64 / NANOS_PER_SEC),
            waited: self.waited,
            mean_latency: mean(self.latencies),
            mean_wait: mean(self.waits),
            backends: self.stations.iter().map(share).collect(),
            latency: self.latency,
        }
    }
}

impl Station {
    /// Time passes with as many requests as there are.
    fn pass(&mut self, now: Nanos) {
        let time = u128::from(now - self.since);
        let busy = self.in_flight.min(self.workers);
        self.busy_area += time * busy as u128;
        self.queue_area += time * (self.in_flight - busy) as u128;
        self.since = now;
    }
}
