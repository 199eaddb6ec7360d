//! The figures of a finished run, ready to be printed, kept, merged and compared.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

mod build;
pub mod compare;
pub mod histogram;
pub mod html;
pub mod json;
pub mod merge;
pub mod text;
pub mod words;

/// Changes when a reader of an older version would misread what comes after. Version 1 had no steps, series, events,
/// generator, SLO and histograms.
pub const VERSION: u32 = 2;

/// What `--format json` prints, field by field. Fields may be added under the same version, none is renamed or removed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    pub version: u32,
    /// Milliseconds since 1970 (UTC), when the first request was meant to start.
    pub started_at_ms: u64,
    pub url: String,
    /// `url`, `visitor`, `player`, `author`, `api`, or a mix as `visitor:8,player:2`.
    pub scenario: String,
    pub offered: Offered,
    pub achieved: Achieved,
    pub requests: Requests,
    pub errors: Errors,
    /// From the intended start until the end, of every measured request however it ended; absent when none has.
    pub latency_us: Option<Percentiles>,
    /// From the actual start, of successes and timeouts; absent when there was neither.
    pub service_us: Option<Percentiles>,
    /// By the name of the step, as `home` or `check`. One entry named `url` when the scenario is one URL.
    pub steps: BTreeMap<String, Step>,
    /// Empty when no reply had an `X-Served-By`.
    pub served_by: BTreeMap<String, Share>,
    pub series: Series,
    /// What `chaos` did, in order. Empty otherwise.
    pub events: Vec<Event>,
    pub generator: Generator,
    /// One verdict per term of `--slo`.
    pub slo: Vec<Verdict>,
    pub histograms: Histograms,
}

/// What was asked for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Offered {
    /// In words: `constant 200/s, even`, `ramp 10/s to 500/s, poisson`, `closed, 50 users, think time 500 ms`.
    pub load: String,
    /// Mean over the measured part; absent in a closed loop, which offers as much as is answered.
    pub rate_per_second: Option<f64>,
    pub warm_up_secs: f64,
    pub duration_secs: f64,
    /// Virtual users, each with one connection: as many requests are under way at once, and no more.
    pub users: usize,
    pub timeout_secs: f64,
    pub threads: usize,
    /// Generators whose reports were merged into this one.
    pub generators: usize,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Achieved {
    /// Successes that ended in those `elapsed_secs`, per second.
    pub rate_per_second: f64,
    /// From the end of the warm-up to the end of the run, or to when it was stopped.
    pub elapsed_secs: f64,
    pub body_bytes: u64,
}

/// Measured requests. `planned` is the sum of `succeeded`, `failed` and `dropped`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Requests {
    pub planned: u64,
    pub succeeded: u64,
    pub failed: u64,
    /// Never sent, because no virtual user was free within the timeout.
    pub dropped: u64,
    /// Sent, but more than `late_after_ms` after the intended start.
    pub late_starts: u64,
    pub late_after_ms: u64,
    /// Meant to start before measuring began. They are in none of the other figures.
    pub warm_up: u64,
}

/// Failed requests by kind. A redirect is not an error, unless the step expects a page.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Errors {
    pub status_4xx: u64,
    pub status_5xx: u64,
    pub connect: u64,
    pub timeout: u64,
    pub no_reply: u64,
    pub body: u64,
    /// A complete reply that was not the one expected: another status, a marker missing, a right answer refused.
    pub check: u64,
    /// This machine had no port or no file left for another connection: no fault of the server's.
    #[serde(default)]
    pub local: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Percentiles {
    /// How many requests the figures stand for.
    pub count: u64,
    pub p50: u64,
    pub p90: u64,
    pub p99: u64,
    pub p99_9: u64,
    pub max: u64,
}

/// One kind of request of a journey.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Step {
    pub succeeded: u64,
    pub failed: u64,
    pub latency_us: Option<Percentiles>,
    /// The first failure, in words, as `expected 200, got 404` or `no connection`.
    pub first_failure: Option<String>,
}

/// What one backend answered, with any status.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Share {
    pub replies: u64,
    /// Of all replies that named a backend, from 0 to 1.
    pub share: f64,
}

/// The run in equal intervals from its beginning, warm-up included.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Series {
    pub interval_secs: f64,
    pub points: Vec<Point>,
}

/// One interval. All but `completed` are about the requests that were meant to start in it, whenever they ended.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// Begin of the interval, from the beginning of the run.
    pub at_secs: f64,
    pub planned: u64,
    pub failed: u64,
    pub dropped: u64,
    /// Requests that ended well in this interval, whenever they began.
    pub completed: u64,
    /// Latency; absent when none was planned.
    pub p50_us: Option<u64>,
    pub p90_us: Option<u64>,
    pub p99_us: Option<u64>,
    pub max_us: Option<u64>,
}

/// Something that was done to the server during the run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// When it was begun, from the beginning of the run.
    pub at_secs: f64,
    /// As written: `kill quiz-2`.
    pub action: String,
    /// How long the command took.
    pub took_secs: f64,
    /// What went wrong with the command itself, absent when it worked.
    pub error: Option<String>,
    /// Failed and dropped requests that were meant to start from a second before this event until a second before the
    /// next: those that were under way count for it.
    pub failed: u64,
    /// From the event until all was well for good (before the next event): no failures, and a p99 of at most twice what
    /// it was before the first event in most intervals of a second. Zero when nothing was noticed; absent when it never
    /// was well again, or when the action failed.
    pub recovery_secs: Option<f64>,
}

/// How the load tester itself fared. A run whose generator was saturated is invalid, not slow.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Generator {
    /// Processor time of the threads that send over that of the run, warm-up included: 1.5 is one and a half cores.
    pub cores_used: f64,
    /// Share of its time that the busiest thread spent on a processor, from 0 to 1.
    pub busiest_thread: f64,
    /// How late the generator handed out requests, and those that a virtual user was free for began, at the 99th
    /// percentile.
    pub lag_p99_us: u64,
    pub valid: bool,
    /// Why it is not valid, in words that say what to do.
    pub reasons: Vec<String>,
}

/// Whether one term of the objective holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// As written: `p99<200ms`.
    pub term: String,
    /// In the same unit as the term: `183.20 ms`, `0.02 %`.
    pub measured: String,
    pub met: bool,
}

/// `HdrHistogram` V2, compressed, in base64, as other tools read it; microseconds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Histograms {
    pub latency: String,
    pub service: String,
}

impl Errors {
    #[must_use]
    pub fn total(&self) -> u64 {
        words::kinds(self).iter().map(|(_, count)| count).sum()
    }

    /// Adds those of another thread or generator.
    pub fn add(&mut self, other: &Self) {
        self.status_4xx += other.status_4xx;
        self.status_5xx += other.status_5xx;
        self.connect += other.connect;
        self.timeout += other.timeout;
        self.no_reply += other.no_reply;
        self.body += other.body;
        self.check += other.check;
        self.local += other.local;
    }
}

#[cfg(test)]
pub(crate) mod samples;
