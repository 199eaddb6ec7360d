//! Figures of a run, fed one sample at a time. Samples of the warm-up are in the series, and otherwise only counted.

use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;

use crate::report::Errors;
use crate::sample::{Failure, Outcome, Sample};

mod series;

pub use series::{Interval, Series};

/// Times are kept in microseconds, from one to an hour; what lies beyond counts as the nearest end.
const LOWEST_MICROS: u64 = 1;
const HIGHEST_MICROS: u64 = 3_600_000_000;
/// Three significant digits: a figure is off by a thousandth at most.
const DIGITS: u8 = 3;

/// What one thread, or all together, know so far.
#[derive(Debug, Clone)]
pub struct Stats {
    /// From the beginning of the run.
    measured_from: Duration,
    measured_until: Duration,
    /// Requests meant to start in the warm-up, however they ended, drops included.
    pub warm_up: u64,
    pub succeeded: u64,
    pub errors: Errors,
    pub dropped: u64,
    pub late_starts: u64,
    pub body_bytes: u64,
    /// Replies of any status, by the backend that `X-Served-By` names.
    pub served_by: BTreeMap<String, u64>,
    pub steps: BTreeMap<&'static str, Step>,
    /// From the intended start until the end, of every request however it ended: without the slow failures a server
    /// that hangs or answers 504 would look faster than one that is slow. Failures that are quick count as well, so
    /// it means little without the errors beside it.
    pub latency: Histogram<u64>,
    /// From the actual start, of successes and timeouts.
    pub service: Histogram<u64>,
    /// How late requests began for which a virtual user was free: the generator's own fault.
    pub lag: Histogram<u64>,
    /// When the last measured request ended.
    pub last_finished: Duration,
    /// Successes that ended in the measured time, whenever they began.
    pub in_time: u64,
    pub series: Series,
}

/// One kind of request.
#[derive(Debug, Clone)]
pub struct Step {
    pub succeeded: u64,
    pub failed: u64,
    pub latency: Histogram<u64>,
    pub first_failure: Option<String>,
}

impl Stats {
    /// Of a run of `whole`, of which the first `warm_up` is not measured.
    #[must_use]
    pub fn new(warm_up: Duration, whole: Duration) -> Self {
        Self {
            measured_from: warm_up,
            measured_until: whole,
            warm_up: 0,
            succeeded: 0,
            errors: Errors::default(),
            dropped: 0,
            late_starts: 0,
            body_bytes: 0,
            served_by: BTreeMap::new(),
            steps: BTreeMap::new(),
            latency: histogram(),
            service: histogram(),
            lag: histogram(),
            last_finished: Duration::ZERO,
            in_time: 0,
            series: Series::new(whole),
        }
    }

    pub fn record(&mut self, sample: &Sample) {
        self.series.record(sample);
        let in_time = self.measured_from..self.measured_until;
        self.in_time +=
            u64::from(sample.outcome == Outcome::Succeeded && in_time.contains(&sample.finished));
        if sample.intended_start < self.measured_from {
            self.warm_up += 1;
            return;
        }
        self.last_finished = self.last_finished.max(sample.finished);
        self.late_starts += u64::from(sample.started_late());
        self.body_bytes += sample.body_bytes;
        self.latency.saturating_record(micros(sample.latency()));
        if let Some(backend) = &sample.served_by {
            count(&mut self.served_by, backend);
        }
        self.record_step(sample);
        match &sample.outcome {
            Outcome::Succeeded => self.succeeded += 1,
            Outcome::Failed(failure) => *self.errors_like(failure) += 1,
            Outcome::Dropped => self.dropped += 1,
        }
        if matches!(
            sample.outcome,
            Outcome::Succeeded | Outcome::Failed(Failure::Timeout)
        ) {
            self.service
                .saturating_record(micros(sample.service_time()));
        }
    }

    /// Notes when a request was handed out, or taken up by a virtual user who was waiting for it.
    pub fn record_lag(&mut self, intended_start: Duration, taken: Duration) {
        if intended_start >= self.measured_from {
            let lag = taken.saturating_sub(intended_start);
            self.lag.saturating_record(micros(lag));
        }
    }

    /// Requests that ended, in the warm-up and after.
    #[must_use]
    pub fn ended(&self) -> u64 {
        self.warm_up + self.planned()
    }

    /// Measured requests that ended, drops included.
    #[must_use]
    pub fn planned(&self) -> u64 {
        self.succeeded + self.errors.total() + self.dropped
    }

    /// Adds what another thread knows of the same run.
    ///
    /// # Panics
    /// Never: all histograms have the same bounds, or grow.
    pub fn add(&mut self, other: &Self) {
        self.warm_up += other.warm_up;
        self.succeeded += other.succeeded;
        self.errors.add(&other.errors);
        self.dropped += other.dropped;
        self.late_starts += other.late_starts;
        self.body_bytes += other.body_bytes;
        for (backend, replies) in &other.served_by {
            *self.served_by.entry(backend.clone()).or_default() += replies;
        }
        for (name, step) in &other.steps {
            self.steps.entry(name).or_insert_with(Step::new).add(step);
        }
        for (own, other) in [
            (&mut self.latency, &other.latency),
            (&mut self.service, &other.service),
            (&mut self.lag, &other.lag),
        ] {
            own.add(other).expect("the bounds are the same");
        }
        self.last_finished = self.last_finished.max(other.last_finished);
        self.in_time += other.in_time;
        self.series.add(&other.series);
    }

    fn record_step(&mut self, sample: &Sample) {
        let step = self.steps.entry(sample.step).or_insert_with(Step::new);
        step.latency.saturating_record(micros(sample.latency()));
        match &sample.outcome {
            Outcome::Succeeded => step.succeeded += 1,
            Outcome::Failed(failure) => {
                step.failed += 1;
                if step.first_failure.is_none() {
                    step.first_failure = Some(failure.words().to_owned());
                }
            }
            Outcome::Dropped => step.failed += 1,
        }
    }

    fn errors_like(&mut self, failure: &Failure) -> &mut u64 {
        match failure {
            Failure::Local => &mut self.errors.local,
            Failure::Connect => &mut self.errors.connect,
            Failure::Timeout => &mut self.errors.timeout,
            Failure::NoReply => &mut self.errors.no_reply,
            Failure::Body => &mut self.errors.body,
            Failure::Status4xx(_) => &mut self.errors.status_4xx,
            Failure::Status5xx(_) => &mut self.errors.status_5xx,
            Failure::Check(_) => &mut self.errors.check,
        }
    }
}

impl Step {
    fn new() -> Self {
        Self {
            succeeded: 0,
            failed: 0,
            latency: histogram(),
            first_failure: None,
        }
    }

    fn add(&mut self, other: &Self) {
        self.succeeded += other.succeeded;
        self.failed += other.failed;
        self.latency
            .add(&other.latency)
            .expect("the bounds are the same");
        if self.first_failure.is_none() {
            self.first_failure.clone_from(&other.first_failure);
        }
    }
}

fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(LOWEST_MICROS, HIGHEST_MICROS, DIGITS)
        .expect("the bounds are constants that fit")
}

/// Without a new text where the name is known.
fn count(counts: &mut BTreeMap<String, u64>, name: &str) {
    match counts.get_mut(name) {
        Some(count) => *count += 1,
        None => {
            counts.insert(name.to_owned(), 1);
        }
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros())
        .unwrap_or(HIGHEST_MICROS)
        .clamp(LOWEST_MICROS, HIGHEST_MICROS)
}

#[cfg(test)]
pub(crate) mod tests;
