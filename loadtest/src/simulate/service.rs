//! How much work a request is: a distribution of service times, and how one is written.

use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

use hdrhistogram::Histogram;
use rand::RngExt as _;
use rand::rngs::StdRng;
use rand_distr::{Exp1, StandardNormal};

use super::{NANOS_PER_SEC, Nanos};
use crate::report::{Report, histogram};

/// The 99th percentile of the standard normal distribution.
const Z99: f64 = 2.326_347_874_040_841;
/// The unit of the histograms in reports.
const MICROSECOND: Duration = Duration::from_micros(1);
/// Longer is a typing error.
const LONGEST: Duration = Duration::from_secs(3600);

/// A distribution of the times that a usual backend works on a request.
#[derive(Debug, Clone, PartialEq)]
pub enum Service {
    /// Always the same.
    Fixed(Duration),
    /// Exponential: the coefficient of variation is 1.
    Exponential {
        /// Its mean.
        mean: Duration,
    },
    /// Lognormal, as times of web requests often look like: few are very long.
    Lognormal {
        /// Half of the requests take no longer: e to the power of mu.
        median: Duration,
        /// Standard deviation of the logarithm.
        sigma: f64,
    },
    /// As measured.
    Empirical(Empirical),
}

/// Measured times, each as likely as it was frequent.
#[derive(Debug, Clone, PartialEq)]
pub struct Empirical {
    // Each with the number of measurements up to and with it.
    times: Vec<(Nanos, u64)>,
}

/// A service time that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Not as it is to be written.
    #[error("{0}")]
    Syntax(String),
    /// There is no such file, or we may not read it.
    #[error("cannot read the service times in {path}: {source}")]
    Unreadable {
        /// As it was written.
        path: String,
        /// Why not.
        source: std::io::Error,
    },
}

impl Service {
    /// The mean, exactly.
    #[must_use]
    pub fn mean(&self) -> Duration {
        match self {
            Self::Fixed(time) => *time,
            Self::Exponential { mean } => *mean,
            Self::Lognormal { median, sigma } => median.mul_f64((sigma * sigma / 2.0).exp()),
            Self::Empirical(empirical) => empirical.mean(),
        }
    }

    /// One service time, in nanoseconds and at least one.
    pub(super) fn draw(&self, random: &mut StdRng) -> Nanos {
        let nanos = match self {
            Self::Fixed(time) => time.as_nanos() as f64,
            Self::Exponential { mean } => mean.as_nanos() as f64 * random.sample::<f64, _>(Exp1),
            Self::Lognormal { median, sigma } => {
                let normal: f64 = random.sample(StandardNormal);
                median.as_nanos() as f64 * (sigma * normal).exp()
            }
            Self::Empirical(empirical) => return empirical.draw(random),
        };
        (nanos.round() as Nanos).max(1)
    }

    /// From a list of measured times; nothing if it is empty.
    #[must_use]
    pub fn from_times(times: &[Duration]) -> Option<Self> {
        let mut times: Vec<Nanos> = times.iter().copied().map(super::nanos).collect();
        times.sort_unstable();
        Empirical::of(times.into_iter().map(|time| (time, 1)))
    }

    /// From a histogram of measured times, in which 1 stands for `unit`; nothing if it is empty.
    #[must_use]
    pub fn from_histogram(histogram: &Histogram<u64>, unit: Duration) -> Option<Self> {
        let unit = super::nanos(unit);
        let values = histogram.iter_recorded();
        Empirical::of(values.map(|value| {
            let time = histogram.median_equivalent(value.value_iterated_to());
            (time.saturating_mul(unit), value.count_at_value())
        }))
    }

    /// Reads a file with one time in each line, or the service times of a report that was written with `--json`.
    ///
    /// # Errors
    /// When it cannot be read, or what is wrong with which line.
    pub fn from_file(path: &str) -> Result<Self, Error> {
        let text = std::fs::read_to_string(Path::new(path)).map_err(|source| {
            let path = path.to_owned();
            Error::Unreadable { path, source }
        })?;
        if text.starts_with('{') {
            let wrong = |why: &dyn std::fmt::Display| Error::Syntax(format!("{path}: {why}"));
            let report: Report = serde_json::from_str(&text).map_err(|why| wrong(&why))?;
            let times = histogram::decode(&report.histograms.service).map_err(|why| wrong(&why))?;
            return Self::from_histogram(&times, MICROSECOND)
                .ok_or_else(|| wrong(&"the report has no service time"));
        }
        let mut times = Vec::new();
        for (number, line) in (1..).zip(text.lines().map(str::trim)) {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let time = parse_time(line)
                .map_err(|why| Error::Syntax(format!("{path}, line {number}: {why}")))?;
            times.push(time);
        }
        Self::from_times(&times).ok_or_else(|| {
            Error::Syntax(format!(
                "{path} has no times: write one in each line, as 2.5ms"
            ))
        })
    }
}

impl Empirical {
    /// From times in order, with the number of measurements of each.
    fn of(times: impl Iterator<Item = (Nanos, u64)>) -> Option<Service> {
        let mut sum = 0;
        let times: Vec<_> = times
            .map(|(time, count)| {
                sum += count;
                (time.max(1), sum)
            })
            .collect();
        (sum > 0).then_some(Service::Empirical(Self { times }))
    }

    fn total(&self) -> u64 {
        self.times.last().map_or(0, |(_, sum)| *sum)
    }

    fn mean(&self) -> Duration {
        let mut before = 0;
        let mut weighed = 0.0;
        for (time, sum) in &self.times {
            weighed += *time as f64 * (sum - before) as f64;
            before = *sum;
        }
        Duration::from_secs_f64(weighed / self.total() as f64 / NANOS_PER_SEC)
    }

    fn draw(&self, random: &mut StdRng) -> Nanos {
        let number = random.random_range(0..self.total());
        let index = self.times.partition_point(|(_, sum)| *sum <= number);
        self.times[index].0
    }
}

impl FromStr for Service {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let (kind, rest) = text.split_once(':').unwrap_or((text, ""));
        let time = || parse_time(rest).map_err(Error::Syntax);
        match kind {
            "fixed" => Ok(Self::Fixed(time()?)),
            "exponential" => Ok(Self::Exponential { mean: time()? }),
            "lognormal" => lognormal(rest).map_err(Error::Syntax),
            "file" if !rest.is_empty() => Self::from_file(rest),
            _ => Err(Error::Syntax(
                "write fixed:2ms, exponential:2ms, lognormal:2ms,p99=10ms, lognormal:mean=2ms,sigma=0.8 or file:PATH"
                    .to_owned(),
            )),
        }
    }
}

/// By the median and the 99th percentile, or by the mean and sigma.
fn lognormal(text: &str) -> Result<Service, String> {
    let usage = || "write lognormal:2ms,p99=10ms (the median and the 99th percentile) or lognormal:mean=2ms,sigma=0.8";
    let (first, second) = text.split_once(',').ok_or_else(usage)?;
    if let (Some(mean), Some(sigma)) = (first.strip_prefix("mean="), second.strip_prefix("sigma="))
    {
        let mean = parse_time(mean)?;
        let sigma: f64 = sigma.parse().map_err(|_| usage())?;
        if !(0.0..=4.0).contains(&sigma) {
            return Err(format!(
                "sigma is {sigma}: write a number from 0 to 4, as sigma=0.8"
            ));
        }
        let median = mean.mul_f64((-sigma * sigma / 2.0).exp());
        return Ok(Service::Lognormal { median, sigma });
    }
    let median = parse_time(first.strip_prefix("p50=").unwrap_or(first))?;
    let p99 = parse_time(second.strip_prefix("p99=").ok_or_else(usage)?)?;
    if p99 < median {
        return Err(
            "p99 is below the median: write the median first, as lognormal:2ms,p99=10ms".to_owned(),
        );
    }
    let sigma = (p99.as_secs_f64() / median.as_secs_f64()).ln() / Z99;
    Ok(Service::Lognormal { median, sigma })
}

/// A time with its unit, fractions allowed: `2ms`, `0.25ms`, `200us`, `1.5s`.
pub(super) fn parse_time(text: &str) -> Result<Duration, String> {
    let usage = || format!("{text:?} is not a time: write a number and us, ms or s, as 2.5ms");
    let units = [("us", 1e-6), ("ms", 1e-3), ("s", 1.0)];
    let parts = units
        .iter()
        .find_map(|(unit, secs)| text.strip_suffix(unit).map(|number| (number, secs)));
    let (number, secs) = parts.ok_or_else(usage)?;
    if !number.starts_with(|first: char| first.is_ascii_digit() || first == '.') {
        return Err(usage());
    }
    let number: f64 = number.parse().map_err(|_| usage())?;
    let duration = Duration::try_from_secs_f64(number * secs).map_err(|_| usage())?;
    if duration.is_zero() || duration > LONGEST {
        return Err(format!(
            "{text:?} is out of range: write more than 0 and at most 3600s"
        ));
    }
    Ok(duration)
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng as _;

    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// The mean of many, in nanoseconds.
    fn mean_of_many(service: &Service) -> f64 {
        let mut random = StdRng::seed_from_u64(1);
        let draws = 200_000;
        let sum: f64 = (0..draws).map(|_| service.draw(&mut random) as f64).sum();
        sum / f64::from(draws)
    }

    #[test]
    fn a_service_time_is_written_with_its_distribution_and_units() {
        let parse = |text: &str| text.parse::<Service>().map_err(|error| error.to_string());
        assert_eq!(parse("fixed:2ms"), Ok(Service::Fixed(2 * MS)));
        let mean = Duration::from_micros(250);
        assert_eq!(
            parse("exponential:0.25ms"),
            Ok(Service::Exponential { mean })
        );
        let Ok(Service::Lognormal { median, sigma }) = parse("lognormal:2ms,p99=10ms") else {
            panic!("it is a lognormal one");
        };
        assert_eq!(median, 2 * MS);
        assert!((sigma - 0.6918).abs() < 1e-3, "{sigma}");
        assert_eq!(
            parse("lognormal:p50=2ms,p99=10ms"),
            parse("lognormal:2ms,p99=10ms")
        );
        let by_mean = parse("lognormal:mean=2ms,sigma=0.8").unwrap();
        assert!((by_mean.mean().as_secs_f64() - 0.002).abs() < 1e-8);
    }

    #[test]
    fn a_service_time_that_cannot_be_used_is_answered_with_one_that_can() {
        for bad in [
            "",
            "2ms",
            "fixed",
            "fixed:2",
            "fixed:0ms",
            "fixed:-1ms",
            "fixed:infs",
            "fixed:nans",
            "fixed:2h",
            "fixed:3601s",
            "lognormal:2ms",
            "lognormal:10ms,p99=2ms",
            "lognormal:mean=2ms,sigma=9",
            "lognormal:mean=2ms,sigma=NaN",
            "pareto:2ms",
            "file:",
        ] {
            let error = bad.parse::<Service>().expect_err(bad).to_string();
            assert!(error.contains("write "), "{bad}: {error}");
        }
        let error = "file:/does/not/exist".parse::<Service>().unwrap_err();
        assert!(error.to_string().contains("/does/not/exist"), "{error}");
    }

    // The means of 200,000 draws: the widest distribution here has a standard deviation of 1.2 means, so that four standard
    // errors are 1.1 %.
    #[test]
    fn draws_have_the_mean_that_is_claimed() {
        for text in [
            "fixed:2ms",
            "exponential:2ms",
            "lognormal:2ms,p99=10ms",
            "lognormal:mean=2ms,sigma=0.94",
        ] {
            let service: Service = text.parse().unwrap();
            let claimed = service.mean().as_nanos() as f64;
            let ratio = mean_of_many(&service) / claimed;
            assert!((ratio - 1.0).abs() < 0.011, "{text}: {ratio}");
        }
    }

    #[test]
    fn measured_times_are_drawn_as_often_as_they_were_measured() {
        let service = Service::from_times(&[10 * MS, MS, MS, MS]).unwrap();
        assert_eq!(service.mean(), Duration::from_micros(3250));
        let mut random = StdRng::seed_from_u64(1);
        let long = (0..10_000)
            .filter(|_| service.draw(&mut random) == 10_000_000)
            .count();
        // A quarter of 10,000, and five standard deviations of 43.
        assert!(long.abs_diff(2500) < 217, "{long}");

        let mut histogram = Histogram::new(3).unwrap();
        histogram.record_n(1000, 3).unwrap();
        histogram.record(10_000).unwrap();
        let same = Service::from_histogram(&histogram, Duration::from_micros(1)).unwrap();
        let ratio = same.mean().as_secs_f64() / service.mean().as_secs_f64();
        assert!(
            (ratio - 1.0).abs() < 0.001,
            "a histogram of three digits: {ratio}"
        );
        assert_eq!(Service::from_times(&[]), None);
    }
}
