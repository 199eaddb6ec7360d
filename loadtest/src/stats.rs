//! Figures of a run, fed one sample at a time. Samples of the warm-up are counted and otherwise left out.

use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;

use crate::sample::{Failure, Outcome, Reply, Sample};
use crate::schedule::Schedule;

/// Times are kept in microseconds, from one to an hour; what lies beyond counts as the nearest end.
const LOWEST_MICROS: u64 = 1;
const HIGHEST_MICROS: u64 = 3_600_000_000;
/// Three significant digits: a figure is off by a thousandth at most.
const DIGITS: u8 = 3;

/// What is known so far.
#[derive(Debug, Clone)]
pub struct Stats {
    schedule: Schedule,
    /// Requests meant to start in the warm-up, however they ended, drops included.
    pub warm_up: u64,
    pub succeeded: u64,
    pub errors: Errors,
    pub dropped: u64,
    pub late_starts: u64,
    pub body_bytes: u64,
    /// Replies of any status, by the backend that `X-Served-By` names.
    pub served_by: BTreeMap<String, u64>,
    /// From the intended start until the end, of every request however it ended: without the slow failures a server
    /// that hangs or answers 504 would look faster than one that is slow. Failures that are quick count as well, so
    /// it means little without the errors beside it.
    pub latency: Histogram<u64>,
    /// From the actual start, of successes and timeouts.
    pub service: Histogram<u64>,
    /// When the last measured request ended.
    pub last_finished: Duration,
}

/// Failed requests by kind. A redirect is not an error.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Errors {
    pub status_4xx: u64,
    pub status_5xx: u64,
    pub connect: u64,
    pub timeout: u64,
    pub no_reply: u64,
    pub body: u64,
}

impl Errors {
    #[must_use]
    pub fn total(&self) -> u64 {
        self.by_kind().iter().map(|(_, count)| count).sum()
    }

    /// Every kind with its name, also those that did not occur.
    #[must_use]
    pub fn by_kind(&self) -> [(&'static str, u64); 6] {
        [
            ("status 4xx", self.status_4xx),
            ("status 5xx", self.status_5xx),
            ("connect", self.connect),
            ("timeout", self.timeout),
            ("no reply", self.no_reply),
            ("body", self.body),
        ]
    }
}

impl Stats {
    /// # Panics
    /// Never: the bounds of the histograms are constants that fit.
    #[must_use]
    pub fn new(schedule: Schedule) -> Self {
        let histogram = Histogram::new_with_bounds(LOWEST_MICROS, HIGHEST_MICROS, DIGITS)
            .expect("the bounds are constants that fit");
        Self {
            schedule,
            warm_up: 0,
            succeeded: 0,
            errors: Errors::default(),
            dropped: 0,
            late_starts: 0,
            body_bytes: 0,
            served_by: BTreeMap::new(),
            latency: histogram.clone(),
            service: histogram,
            last_finished: Duration::ZERO,
        }
    }

    pub fn record(&mut self, sample: &Sample) {
        if !self.schedule.is_measured(sample.intended_start) {
            self.warm_up += 1;
            return;
        }
        self.last_finished = self.last_finished.max(sample.finished);
        self.late_starts += u64::from(sample.started_late());
        self.latency.saturating_record(micros(sample.latency()));
        match &sample.outcome {
            Outcome::Reply(reply) => self.record_reply(sample, reply),
            Outcome::Failed(failure) => {
                let count = match failure {
                    Failure::Connect => &mut self.errors.connect,
                    Failure::Timeout => &mut self.errors.timeout,
                    Failure::NoReply => &mut self.errors.no_reply,
                    Failure::Body => &mut self.errors.body,
                };
                *count += 1;
                if *failure == Failure::Timeout {
                    self.record_service_time(sample);
                }
            }
            Outcome::Dropped => self.dropped += 1,
        }
    }

    /// Requests that ended, in the warm-up and after.
    #[must_use]
    pub fn ended(&self) -> u64 {
        self.warm_up + self.succeeded + self.errors.total() + self.dropped
    }

    fn record_reply(&mut self, sample: &Sample, reply: &Reply) {
        self.body_bytes += reply.body_bytes;
        if let Some(backend) = &reply.served_by {
            match self.served_by.get_mut(backend) {
                Some(count) => *count += 1,
                None => {
                    self.served_by.insert(backend.clone(), 1);
                }
            }
        }
        match reply.status {
            500.. => self.errors.status_5xx += 1,
            400.. => self.errors.status_4xx += 1,
            _ => {
                self.succeeded += 1;
                self.record_service_time(sample);
            }
        }
    }

    fn record_service_time(&mut self, sample: &Sample) {
        self.service
            .saturating_record(micros(sample.service_time()));
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros())
        .unwrap_or(HIGHEST_MICROS)
        .max(LOWEST_MICROS)
}
