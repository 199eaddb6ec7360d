//! A report of what was counted.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{
    Achieved, Generator, Histograms, Offered, Report, Requests, Share, Step, VERSION, histogram,
};
use crate::sample::LATE_AFTER_MS;
use crate::stats::{self, Stats};
use crate::{Load, Plan};

/// The shortest time by which anything is divided.
const SHORTEST: Duration = Duration::from_millis(1);

impl Report {
    /// Without the time, the events and the verdicts, which come from elsewhere.
    #[must_use]
    pub fn of(plan: &Plan, stats: &Stats, elapsed: Duration, generator: Generator) -> Self {
        let (warm_up, duration) = (plan.load.warm_up(), plan.load.duration());
        // Less than was asked for when it was stopped. A moment is no time to have a rate in.
        let measured = elapsed
            .saturating_sub(warm_up)
            .clamp(SHORTEST.min(duration), duration)
            .as_secs_f64();
        let (load, rate_per_second) = match &plan.load {
            Load::Open(schedule) => (schedule.to_string(), Some(schedule.mean_rate())),
            Load::Closed { think, .. } => {
                let think = think.as_millis();
                (
                    format!("closed, {} users, think time {think} ms", plan.users),
                    None,
                )
            }
        };
        Self {
            version: VERSION,
            started_at_ms: 0,
            url: plan.target.url.clone(),
            scenario: plan.scenario.to_string(),
            offered: Offered {
                load,
                rate_per_second,
                warm_up_secs: warm_up.as_secs_f64(),
                duration_secs: duration.as_secs_f64(),
                users: plan.users,
                timeout_secs: plan.timeout.as_secs_f64(),
                threads: plan.threads,
                generators: 1,
            },
            achieved: Achieved {
                rate_per_second: stats.in_time as f64 / measured,
                elapsed_secs: measured,
                body_bytes: stats.body_bytes,
            },
            requests: Requests {
                planned: stats.planned(),
                succeeded: stats.succeeded,
                failed: stats.errors.total(),
                dropped: stats.dropped,
                late_starts: stats.late_starts,
                late_after_ms: LATE_AFTER_MS,
                warm_up: stats.warm_up,
            },
            errors: stats.errors,
            latency_us: histogram::percentiles(&stats.latency),
            service_us: histogram::percentiles(&stats.service),
            steps: stats
                .steps
                .iter()
                .map(|(name, step)| ((*name).to_owned(), Step::of(step)))
                .collect(),
            served_by: shares(&stats.served_by),
            series: stats.series.report(),
            events: Vec::new(),
            generator,
            slo: Vec::new(),
            histograms: Histograms {
                latency: histogram::encode(&stats.latency),
                service: histogram::encode(&stats.service),
            },
        }
    }
}

impl Step {
    fn of(step: &stats::Step) -> Self {
        Self {
            succeeded: step.succeeded,
            failed: step.failed,
            latency_us: histogram::percentiles(&step.latency),
            first_failure: step.first_failure.clone(),
        }
    }
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
