//! The figures of a finished run, ready to be printed; and the line that shows how a run is doing.

use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::Plan;
use crate::sample::LATE_AFTER_MS;
use crate::stats::{Errors, Stats};

pub mod json;
pub mod text;

/// Changes when a reader of version 1 would misread what comes after.
const VERSION: u32 = 1;

/// What `--format json` prints, field by field. Fields may be added under the same version, none is renamed or removed.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    pub version: u32,
    pub url: String,
    pub offered: Offered,
    pub achieved: Achieved,
    pub requests: Requests,
    pub errors: Errors,
    /// From the intended start until the end, of every measured request however it ended; `None` when none has.
    pub latency_us: Option<Percentiles>,
    /// From the actual start, of successes and timeouts; `None` when there was neither.
    pub service_us: Option<Percentiles>,
    /// Empty when no reply had an `X-Served-By`.
    pub served_by: BTreeMap<String, Share>,
}

/// What was asked for.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Offered {
    pub rate_per_second: u32,
    pub warm_up_secs: f64,
    pub duration_secs: f64,
    pub connections: usize,
    pub timeout_secs: f64,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Achieved {
    /// Successes per second of `elapsed_secs`.
    pub rate_per_second: f64,
    /// From the end of the warm-up until the last request ended, and no less than the duration asked for.
    pub elapsed_secs: f64,
    pub body_bytes: u64,
}

/// Measured requests. `planned` is the sum of `succeeded`, `failed` and `dropped`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Requests {
    pub planned: u64,
    pub succeeded: u64,
    pub failed: u64,
    /// Never sent, because no connection was free within the timeout.
    pub dropped: u64,
    /// Sent, but more than `late_after_ms` after the intended start.
    pub late_starts: u64,
    pub late_after_ms: u64,
    /// Meant to start before measuring began, however and whenever they ended, those never sent included. They are in
    /// none of the other figures.
    pub warm_up: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Percentiles {
    /// How many requests the figures stand for.
    pub count: u64,
    pub p50: u64,
    pub p90: u64,
    pub p99: u64,
    pub p99_9: u64,
    pub max: u64,
}

/// What one backend answered, with any status.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Share {
    pub replies: u64,
    /// Of all replies that named a backend, from 0 to 1.
    pub share: f64,
}

impl Report {
    #[must_use]
    pub fn new(plan: &Plan, stats: &Stats) -> Self {
        let schedule = plan.schedule;
        let elapsed = schedule
            .duration
            .max(stats.last_finished.saturating_sub(schedule.warm_up))
            .as_secs_f64();
        Self {
            version: VERSION,
            url: plan.target.url.clone(),
            offered: Offered {
                rate_per_second: schedule.rate_per_second,
                warm_up_secs: schedule.warm_up.as_secs_f64(),
                duration_secs: schedule.duration.as_secs_f64(),
                connections: plan.connections,
                timeout_secs: plan.timeout.as_secs_f64(),
            },
            achieved: Achieved {
                rate_per_second: stats.succeeded as f64 / elapsed,
                elapsed_secs: elapsed,
                body_bytes: stats.body_bytes,
            },
            requests: Requests {
                planned: schedule.measured(),
                succeeded: stats.succeeded,
                failed: stats.errors.total(),
                dropped: stats.dropped,
                late_starts: stats.late_starts,
                late_after_ms: LATE_AFTER_MS,
                warm_up: stats.warm_up,
            },
            errors: stats.errors,
            latency_us: percentiles(&stats.latency),
            service_us: percentiles(&stats.service),
            served_by: shares(&stats.served_by),
        }
    }
}

/// How a run is doing, in one line.
#[must_use]
pub fn progress_line(stats: &Stats, elapsed: Duration) -> String {
    format!(
        "{:>4}s  {} done, {} in the warm-up  errors {}  dropped {}  late {}  p50 {} p99 {}",
        elapsed.as_secs(),
        stats.ended(),
        stats.warm_up,
        stats.errors.total(),
        stats.dropped,
        stats.late_starts,
        text::time(stats.latency.value_at_quantile(0.5)),
        text::time(stats.latency.value_at_quantile(0.99)),
    )
}

fn percentiles(histogram: &Histogram<u64>) -> Option<Percentiles> {
    (!histogram.is_empty()).then(|| Percentiles {
        count: histogram.len(),
        p50: histogram.value_at_quantile(0.5),
        p90: histogram.value_at_quantile(0.9),
        p99: histogram.value_at_quantile(0.99),
        p99_9: histogram.value_at_quantile(0.999),
        max: histogram.max(),
    })
}

fn shares(served_by: &BTreeMap<String, u64>) -> BTreeMap<String, Share> {
    let total: u64 = served_by.values().sum();
    let share = |replies: u64| Share {
        replies,
        share: replies as f64 / total as f64,
    };
    served_by
        .iter()
        .map(|(backend, replies)| (backend.clone(), share(*replies)))
        .collect()
}

#[cfg(test)]
mod tests;
