//! When each request is meant to start. This depends on nothing that the server does: an open loop.

use std::f64::consts::TAU;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

mod parse;

pub use parse::{Error, read_trace};

/// Longer is a typing error. It also keeps all that is computed from a schedule far from overflowing.
pub const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

/// Most requests per second that may be asked for.
pub const HIGHEST_RATE: f64 = 1_000_000.0;

/// How the rate changes over the measured part. Rates are in requests per second.
#[derive(Debug, Clone, PartialEq)]
pub enum Shape {
    Constant(f64),
    /// From one rate to another, evenly.
    Ramp {
        from: f64,
        to: f64,
    },
    /// Each rate for an equal part of the time.
    Step(Vec<f64>),
    /// `base`, but `peak` from `at` and for `lasting`.
    Spike {
        base: f64,
        peak: f64,
        at: Duration,
        lasting: Duration,
    },
    /// `mean` plus and minus `amplitude`, beginning at `mean` and rising.
    Sine {
        mean: f64,
        amplitude: f64,
        period: Duration,
    },
    /// Intended starts as they were recorded, from the end of the warm-up, in order.
    Trace(Arc<[Duration]>),
}

/// How the requests are spread within the rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Arrivals {
    /// As evenly as the rate allows
    Even,
    /// As if many people who know nothing of each other sent them: exponential gaps
    Poisson,
}

/// First a warm-up at the rate with which the shape begins, then the shape.
#[derive(Debug, Clone, PartialEq)]
pub struct Schedule {
    pub shape: Shape,
    pub arrivals: Arrivals,
    /// At most [`LONGEST`].
    pub warm_up: Duration,
    /// At most [`LONGEST`].
    pub duration: Duration,
    /// Of the gaps of [`Arrivals::Poisson`].
    pub seed: u64,
}

impl Schedule {
    /// A constant rate, evenly spread.
    #[must_use]
    pub fn constant(rate: f64, warm_up: Duration, duration: Duration) -> Self {
        Self {
            shape: Shape::Constant(rate),
            arrivals: Arrivals::Even,
            warm_up,
            duration,
            seed: 0,
        }
    }

    /// From the first intended start to the end of the last interval.
    #[must_use]
    pub fn whole(&self) -> Duration {
        self.warm_up + self.duration
    }

    /// Whether a request that was meant to start then is measured.
    #[must_use]
    pub fn is_measured(&self, intended_start: Duration) -> bool {
        intended_start >= self.warm_up
    }

    /// Mean of the measured part.
    #[must_use]
    pub fn mean_rate(&self) -> f64 {
        let secs = self.duration.as_secs_f64();
        self.shape.requests(secs, secs) / secs
    }

    /// The intended starts in order, from the beginning of the run.
    #[must_use]
    pub fn starts(&self) -> Starts {
        Starts {
            schedule: self.clone(),
            // The first of evenly spaced requests is due at once.
            due: 0.0,
            begun: false,
            last: 0.0,
            traced: 0,
            rng: StdRng::seed_from_u64(self.seed),
        }
    }

    /// How many requests are meant to have started by `secs`, with fractions: the integral of the rate.
    fn requests(&self, secs: f64) -> f64 {
        let (warm_up, duration) = (self.warm_up.as_secs_f64(), self.duration.as_secs_f64());
        let before = self.shape.first_rate(duration) * secs.min(warm_up);
        before + self.shape.requests((secs - warm_up).max(0.0), duration)
    }

    /// When so many requests are meant to have started, not before `after`; `None` when the schedule ends sooner.
    fn time_of(&self, requests: f64, after: f64) -> Option<f64> {
        let end = self.whole().as_secs_f64();
        if let Shape::Constant(rate) = self.shape {
            // In one step, so that no rounding adds up.
            return Some(requests / rate).filter(|at| *at < end);
        }
        if self.requests(end) <= requests {
            return None;
        }
        // The integral only grows. Halving finds the place whatever its shape, in some fifty steps.
        let (mut low, mut high) = (after, end);
        while high - low > 1e-10 {
            let middle = f64::midpoint(low, high);
            if middle <= low || middle >= high {
                break;
            }
            if self.requests(middle) < requests {
                low = middle;
            } else {
                high = middle;
            }
        }
        Some(high).filter(|at| *at < end)
    }
}

impl Shape {
    /// The rate of the warm-up.
    fn first_rate(&self, duration: f64) -> f64 {
        match self {
            Self::Constant(rate) | Self::Ramp { from: rate, .. } => *rate,
            Self::Step(rates) => rates.first().copied().unwrap_or_default(),
            Self::Spike { base, .. } => *base,
            Self::Sine { mean, .. } => *mean,
            // A burst of a moment says nothing about a rate.
            Self::Trace(starts) => starts.len() as f64 / duration.max(1.0),
        }
    }

    /// The integral of the rate over the first `secs` of `duration` seconds.
    fn requests(&self, secs: f64, duration: f64) -> f64 {
        match self {
            Self::Constant(rate) => rate * secs,
            Self::Ramp { from, to } => from * secs + (to - from) * secs * secs / (2.0 * duration),
            Self::Step(rates) => {
                let part = duration / rates.len() as f64;
                rates
                    .iter()
                    .enumerate()
                    .map(|(step, rate)| rate * (secs - part * step as f64).clamp(0.0, part))
                    .sum()
            }
            Self::Spike {
                base,
                peak,
                at,
                lasting,
            } => {
                let in_spike = (secs - at.as_secs_f64()).clamp(0.0, lasting.as_secs_f64());
                base * secs + (peak - base) * in_spike
            }
            Self::Sine {
                mean,
                amplitude,
                period,
            } => {
                let turns = TAU / period.as_secs_f64();
                mean * secs + amplitude / turns * (1.0 - (turns * secs).cos())
            }
            Self::Trace(starts) => {
                starts.partition_point(|start| start.as_secs_f64() < secs) as f64
            }
        }
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Constant(rate) => write!(f, "constant {rate}/s"),
            Self::Ramp { from, to } => write!(f, "ramp {from}/s to {to}/s"),
            Self::Step(rates) => {
                let rates: Vec<String> = rates.iter().map(f64::to_string).collect();
                write!(f, "steps of {} requests/s", rates.join(", "))
            }
            Self::Spike {
                base,
                peak,
                at,
                lasting,
            } => write!(
                f,
                "{base}/s with a spike of {peak}/s after {} s for {} s",
                at.as_secs_f64(),
                lasting.as_secs_f64()
            ),
            Self::Sine {
                mean,
                amplitude,
                period,
            } => write!(
                f,
                "sine of {mean}/s plus and minus {amplitude}/s every {} s",
                period.as_secs_f64()
            ),
            Self::Trace(starts) => write!(f, "trace of {} requests", starts.len()),
        }
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.shape, self.arrivals) {
            (Shape::Trace(_), _) => self.shape.fmt(f),
            (shape, Arrivals::Even) => write!(f, "{shape}, even"),
            (shape, Arrivals::Poisson) => write!(f, "{shape}, poisson"),
        }
    }
}

/// The intended starts of a schedule, in order.
#[derive(Debug)]
pub struct Starts {
    schedule: Schedule,
    /// The next request starts when the integral of the rate comes to this. A Poisson process of any rate is one of
    /// rate 1 seen through that integral (Lewis and Shedler 1979).
    due: f64,
    begun: bool,
    last: f64,
    /// Requests of the trace that have been given out.
    traced: usize,
    rng: StdRng,
}

impl Iterator for Starts {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        if self.traced == 0
            && let Some(start) = self.next_by_rate()
        {
            return Some(start);
        }
        let Shape::Trace(starts) = &self.schedule.shape else {
            return None;
        };
        let start = starts.get(self.traced)?;
        self.traced += 1;
        Some(self.schedule.warm_up + *start)
    }
}

impl Starts {
    fn next_by_rate(&mut self) -> Option<Duration> {
        match self.schedule.arrivals {
            Arrivals::Even if self.begun => self.due += 1.0,
            Arrivals::Even => {}
            // 1 - x is never 0, whose logarithm is infinite.
            Arrivals::Poisson => self.due -= (1.0 - self.rng.random::<f64>()).ln(),
        }
        self.begun = true;
        self.last = match self.schedule.shape {
            Shape::Trace(_) => {
                let (warm_up, duration) = (
                    self.schedule.warm_up.as_secs_f64(),
                    self.schedule.duration.as_secs_f64(),
                );
                let at = self.due / self.schedule.shape.first_rate(duration);
                Some(at).filter(|at| *at < warm_up)?
            }
            _ => self.schedule.time_of(self.due, self.last)?,
        };
        Some(Duration::from_secs_f64(self.last))
    }
}

#[cfg(test)]
mod tests;
