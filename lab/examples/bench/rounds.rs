//! Rounds: what was measured in each, and what is said of all of them.

use std::fmt;

/// One figure in each round, in the order of the rounds.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Series(Vec<f64>);

impl Series {
    pub(crate) fn push(&mut self, value: f64) {
        self.0.push(value);
    }

    /// What this did in each round over what the peer did in the same.
    pub(crate) fn over(&self, peer: &Self) -> Self {
        let pairs = self.0.iter().zip(&peer.0);
        pairs
            .filter(|(_, peer)| **peer > 0.0)
            .map(|(own, peer)| own / peer)
            .collect()
    }

    /// The rate of who does one of this kind and one of the other in turn.
    pub(crate) fn in_turn(&self, other: &Self) -> Self {
        let pairs = self.0.iter().zip(&other.0);
        pairs
            .map(|(one, two)| 2.0 / (1.0 / one + 1.0 / two))
            .collect()
    }

    pub(crate) fn min(&self) -> f64 {
        self.0.iter().copied().fold(f64::INFINITY, f64::min)
    }

    pub(crate) fn max(&self) -> f64 {
        self.0.iter().copied().fold(f64::NEG_INFINITY, f64::max)
    }

    /// NaN when there was no round.
    pub(crate) fn median(&self) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        let middle = sorted.len() / 2;
        match sorted.len() {
            0 => f64::NAN,
            len if len % 2 == 1 => sorted[middle],
            _ => f64::midpoint(sorted[middle - 1], sorted[middle]),
        }
    }

    /// `min-median-max`, with so many digits after the point.
    pub(crate) fn range(&self, digits: usize) -> String {
        match self.0.as_slice() {
            [] => "-".to_owned(),
            [only] => number(*only, digits),
            _ => [self.min(), self.median(), self.max()]
                .map(|value| number(value, digits))
                .join("-"),
        }
    }

    /// The median alone.
    pub(crate) fn middle(&self, digits: usize) -> String {
        match self.0.is_empty() {
            true => "-".to_owned(),
            false => number(self.median(), digits),
        }
    }
}

impl FromIterator<f64> for Series {
    fn from_iter<I: IntoIterator<Item = f64>>(values: I) -> Self {
        Self(values.into_iter().collect())
    }
}

/// One measurement.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sample {
    /// Requests that succeeded, each second.
    pub(crate) rate: f64,
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
    /// Microseconds of a processor for each request, by component.
    pub(crate) cpu_us: Vec<(&'static str, f64)>,
    pub(crate) failed: u64,
    /// Whoever asked could not ask for more, so that more might have been served.
    pub(crate) saturated: bool,
}

/// What one contender did in all rounds.
#[derive(Debug, Clone, Default)]
pub(crate) struct Samples(Vec<Sample>);

impl Samples {
    pub(crate) fn push(&mut self, sample: Sample) {
        self.0.push(sample);
    }

    pub(crate) fn rate(&self) -> Series {
        self.0.iter().map(|sample| sample.rate).collect()
    }

    pub(crate) fn p50_ms(&self) -> Series {
        self.0.iter().map(|sample| sample.p50_ms).collect()
    }

    pub(crate) fn p99_ms(&self) -> Series {
        self.0.iter().map(|sample| sample.p99_ms).collect()
    }

    /// Of one component; empty when it had no part in it.
    pub(crate) fn cpu_us(&self, component: &str) -> Series {
        let of = |sample: &Sample| {
            let found = sample.cpu_us.iter().find(|(name, _)| *name == component);
            found.map(|(_, us)| *us)
        };
        self.0.iter().filter_map(of).collect()
    }

    pub(crate) fn failed(&self) -> u64 {
        self.0.iter().map(|sample| sample.failed).sum()
    }

    pub(crate) fn saturated(&self) -> bool {
        self.0.iter().any(|sample| sample.saturated)
    }
}

/// With so many digits after the point, and a comma between thousands.
pub(crate) fn number(value: f64, digits: usize) -> String {
    struct Grouped(f64, usize);
    impl fmt::Display for Grouped {
        fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
            let plain = format!("{:.*}", self.1, self.0);
            let (whole, rest) = plain.split_once('.').unwrap_or((&plain, ""));
            for (at, digit) in whole.char_indices() {
                let left = whole.len() - at;
                if at > 0 && left % 3 == 0 && !whole[..at].ends_with('-') {
                    out.write_str(",")?;
                }
                write!(out, "{digit}")?;
            }
            match rest {
                "" => Ok(()),
                rest => write!(out, ".{rest}"),
            }
        }
    }
    Grouped(value, digits).to_string()
}
