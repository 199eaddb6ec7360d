//! The run in equal intervals.

use std::time::Duration;

use hdrhistogram::Histogram;

use super::micros;
use crate::report;
use crate::sample::{Outcome, Sample};

/// Interval lengths that read well on an axis, in milliseconds.
const LENGTHS_MS: [u64; 9] = [100, 200, 500, 1_000, 2_000, 5_000, 10_000, 60_000, 300_000];
/// More cannot be told apart in a chart.
const MOST_INTERVALS: u32 = 400;
/// Two significant digits keep an interval small: about ten kilobytes.
const DIGITS: u8 = 2;

/// Intervals of one length, from the beginning of the run.
#[derive(Debug, Clone)]
pub struct Series {
    pub length: Duration,
    pub intervals: Vec<Interval>,
}

/// All but `completed` are about the requests that were meant to start in it, whenever they ended.
#[derive(Debug, Clone)]
pub struct Interval {
    pub planned: u64,
    pub failed: u64,
    pub dropped: u64,
    /// Requests that ended well in it, whenever they began.
    pub completed: u64,
    /// Microseconds.
    pub latency: Histogram<u32>,
}

impl Series {
    pub(super) fn new(whole: Duration) -> Self {
        let longest = LENGTHS_MS[LENGTHS_MS.len() - 1];
        let length = LENGTHS_MS
            .into_iter()
            .find(|length| whole <= Duration::from_millis(*length) * MOST_INTERVALS)
            .unwrap_or(longest);
        Self {
            length: Duration::from_millis(length),
            intervals: Vec::new(),
        }
    }

    pub(super) fn record(&mut self, sample: &Sample) {
        let intended = self.at(sample.intended_start);
        intended.planned += 1;
        intended
            .latency
            .record(micros(sample.latency()))
            .expect("it grows as it must");
        match sample.outcome {
            Outcome::Succeeded => self.at(sample.finished).completed += 1,
            Outcome::Failed(_) => intended.failed += 1,
            Outcome::Dropped => intended.dropped += 1,
        }
    }

    pub(super) fn add(&mut self, other: &Self) {
        while self.intervals.len() < other.intervals.len() {
            self.intervals.push(Interval::new());
        }
        for (own, other) in self.intervals.iter_mut().zip(&other.intervals) {
            own.planned += other.planned;
            own.failed += other.failed;
            own.dropped += other.dropped;
            own.completed += other.completed;
            own.latency
                .add(&other.latency)
                .expect("it grows as it must");
        }
    }

    /// The interval that is under way at that time, or the last one before it.
    #[must_use]
    pub fn until(&self, time: Duration) -> Option<&Interval> {
        let index = self.index(time);
        self.intervals.get(index).or(self.intervals.last())
    }

    /// As it is reported.
    #[must_use]
    pub fn report(&self) -> report::Series {
        let points = self.intervals.iter().enumerate();
        report::Series {
            interval_secs: self.length.as_secs_f64(),
            points: points
                .map(|(index, interval)| interval.point(self.length.as_secs_f64() * index as f64))
                .collect(),
        }
    }

    fn at(&mut self, time: Duration) -> &mut Interval {
        let index = self.index(time);
        while self.intervals.len() <= index {
            self.intervals.push(Interval::new());
        }
        &mut self.intervals[index]
    }

    fn index(&self, time: Duration) -> usize {
        // Lengths are whole milliseconds; dividing nanoseconds would take numbers of 128 bits, for each request.
        let (time, length) = (time.as_millis() as u64, self.length.as_millis() as u64);
        usize::try_from(time / length).expect("a run has few intervals")
    }
}

impl Interval {
    fn new() -> Self {
        let mut latency = Histogram::new(DIGITS).expect("two digits are possible");
        latency.auto(true);
        Self {
            planned: 0,
            failed: 0,
            dropped: 0,
            completed: 0,
            latency,
        }
    }

    fn point(&self, at_secs: f64) -> report::Point {
        let quantile =
            |quantile| (!self.latency.is_empty()).then(|| self.latency.value_at_quantile(quantile));
        report::Point {
            at_secs,
            planned: self.planned,
            failed: self.failed,
            dropped: self.dropped,
            completed: self.completed,
            p50_us: quantile(0.5),
            p90_us: quantile(0.9),
            p99_us: quantile(0.99),
            max_us: quantile(1.0),
        }
    }
}
