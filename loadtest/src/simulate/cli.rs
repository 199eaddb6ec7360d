//! The command line of a simulation.

use std::str::FromStr;
use std::time::Duration;

use clap::{Args, ValueEnum};

use super::report::{Report, Run};
use super::{Backend, Model, Policy, Service, run, service};

/// Below, simulated time would not fit; above, nothing is to be learned that a smaller number would not show.
const RATES: std::ops::RangeInclusive<f64> = 0.01..=10_000_000.0;
/// A backend that is slower than this is down.
const SLOWEST: f64 = 1000.0;
/// Utilisations of a sweep that has no step.
const POINTS: usize = 10;
/// Utilisations of any sweep.
const MOST_POINTS: usize = 100;

/// Simulates queues behind the balancer: requests arrive at random (Poisson), a policy chooses the backend, and each backend
/// works on them first come, first served.
///
/// Nothing is sent anywhere. Every policy gets the very same requests, and the same seed gives the same figures.
#[derive(Debug, Clone, Args)]
pub struct SimulateArgs {
    /// Requests per second on average, from 0.01 to 10000000
    #[arg(long, value_parser = rate, required_unless_present = "sweep", conflicts_with = "sweep")]
    rate: Option<f64>,

    /// How many backends there are
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=1000))]
    backends: u16,

    /// Requests that each backend works on at a time: its cores, or its workers; more wait in line
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1000))]
    workers: u16,

    /// Backends that take longer than the others, as 1@4: the first takes four times as long; several as 1@4,3@1.5
    #[arg(long, value_name = "BACKEND@TIMES", value_delimiter = ',')]
    slow: Vec<Slow>,

    /// How long a backend works on a request: fixed:2ms, exponential:2ms (the mean), lognormal:2ms,p99=10ms (the median and the
    /// 99th percentile), lognormal:mean=2ms,sigma=0.8, or `file:PATH` with one measured time in each line, as 2.5ms; in us, ms or s
    #[arg(long, default_value = "exponential:2ms", value_parser = Service::from_str)]
    service: Service,

    /// Who chooses the backend; several with commas, for a row each
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = [Policy::RoundRobin, Policy::LeastLoad])]
    policy: Vec<Policy>,

    /// What network and balancer add to each latency, as 0.3ms; in us, ms or s [default: nothing]
    #[arg(long, value_parser = service::parse_time)]
    overhead: Option<Duration>,

    /// Requests to measure in each run
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1..=100_000_000))]
    requests: u64,

    /// Requests that arrive before, while the queues fill [default: a tenth of --requests]
    #[arg(long, value_parser = clap::value_parser!(u64).range(0..=100_000_000))]
    warm_up: Option<u64>,

    /// Another seed gives another run of the same model
    #[arg(long, default_value_t = 1)]
    seed: u64,

    /// Instead of one rate, utilisations from one to another, as 0.5..0.95, or with a step, as 0.5..0.95/0.05. Utilisation is the
    /// rate over what all backends together can answer, from 0.01 to 0.999
    #[arg(long, value_name = "FROM..TO[/STEP]")]
    sweep: Option<Sweep>,

    /// How to print the figures
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

/// How the figures are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// Tables
    Text,
    /// One object
    Json,
}

/// A backend, counted from 1, that is slower.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Slow {
    backend: usize,
    times: f64,
}

/// Utilisations, in order.
#[derive(Debug, Clone, PartialEq)]
struct Sweep(Vec<f64>);

/// A command line that cannot be carried out. The exit status for it is 2.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Error {
    /// `--slow` and `--backends` do not fit.
    #[error(
        "--slow names backend {backend} of {backends}: write a number from 1 to {backends}, or more --backends"
    )]
    NoSuchBackend {
        /// As it was written.
        backend: usize,
        /// How many there are.
        backends: u16,
    },
    /// `--slow` says two things.
    #[error("--slow names backend {0} twice: write it once, as {0}@4")]
    Twice(usize),
    /// The rate of a sweep that starts there is out of range.
    #[error("--sweep would need {0} requests a second: write a --service between 1us and 60s")]
    Rate(String),
}

impl SimulateArgs {
    /// Simulates and says what came of it: tables, or JSON, with a newline at the end.
    ///
    /// # Errors
    /// What to change on the command line.
    pub fn run(&self) -> Result<String, Error> {
        let models = self.models()?;
        let mut runs = Vec::with_capacity(models.len() * self.policy.len());
        for model in &models {
            for &policy in &self.policy {
                runs.push(Run::new(model, policy, &run(model, policy)));
            }
        }
        let report = Report::new(&models[0], runs);
        Ok(match self.format {
            Format::Json => report.json(),
            Format::Text if self.sweep.is_some() => report.sweep(),
            Format::Text => report.text(),
        })
    }

    /// One for the rate, or one for each utilisation of the sweep.
    fn models(&self) -> Result<Vec<Model>, Error> {
        let model = Model {
            rate: self.rate.unwrap_or(1.0),
            backends: self.slowed()?,
            service: self.service.clone(),
            overhead: self.overhead.unwrap_or_default(),
            warm_up: self.warm_up.unwrap_or(self.requests / 10),
            requests: self.requests,
            seed: self.seed,
        };
        let Some(Sweep(utilisations)) = &self.sweep else {
            return Ok(vec![model]);
        };
        let at = |utilisation: &f64| {
            let rate = utilisation * model.capacity();
            if !RATES.contains(&rate) {
                return Err(Error::Rate(rate.to_string()));
            }
            let model = model.clone();
            Ok(Model { rate, ..model })
        };
        utilisations.iter().map(at).collect()
    }

    fn slowed(&self) -> Result<Vec<Backend>, Error> {
        let usual = Backend {
            workers: usize::from(self.workers),
            slowness: 1.0,
        };
        let mut backends = vec![usual; usize::from(self.backends)];
        for (index, slow) in self.slow.iter().enumerate() {
            if self.slow[..index].iter().any(|s| s.backend == slow.backend) {
                return Err(Error::Twice(slow.backend));
            }
            let backend = slow
                .backend
                .checked_sub(1)
                .and_then(|i| backends.get_mut(i));
            let backend = backend.ok_or(Error::NoSuchBackend {
                backend: slow.backend,
                backends: self.backends,
            })?;
            backend.slowness = slow.times;
        }
        Ok(backends)
    }
}

impl FromStr for Slow {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts = text.split_once('@').and_then(|(backend, times)| {
            let (backend, times) = (backend.parse().ok()?, times.parse().ok()?);
            (1.0 / SLOWEST..=SLOWEST)
                .contains(&times)
                .then_some(Self { backend, times })
        });
        parts.ok_or_else(|| {
            "write the number of a backend and how many times as long it takes, from 0.001 to 1000, as 1@4".to_owned()
        })
    }
}

impl FromStr for Sweep {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let usage = "write two utilisations from 0.01 to 0.999, the lower one first, as 0.5..0.95 or 0.5..0.95/0.05";
        let (range, step) = match text.split_once('/') {
            Some((range, step)) => (range, Some(step)),
            None => (text, None),
        };
        let number = |text: &str| text.parse::<f64>().map_err(|_| usage.to_owned());
        let (from, to) = range.split_once("..").ok_or(usage)?;
        let (from, to) = (number(from)?, number(to)?);
        let fits = |utilisation| (0.01..=0.999).contains(&utilisation);
        if !fits(from) || !fits(to) || from > to {
            return Err(usage.to_owned());
        }
        let step = match step.map(number).transpose()? {
            Some(step) if step > 0.0 => step,
            Some(_) => return Err(usage.to_owned()),
            None => (to - from) / (POINTS - 1) as f64,
        };
        // A step that does not quite reach the end because of its binary fraction is meant to.
        let steps = if step > 0.0 {
            (to - from) / step + 1e-9
        } else {
            0.0
        };
        if steps >= MOST_POINTS as f64 {
            return Err(format!(
                "write a larger step: this makes more than {MOST_POINTS} rows"
            ));
        }
        let utilisation = |index: usize| from + index as f64 * step;
        Ok(Self((0..=steps as usize).map(utilisation).collect()))
    }
}

fn rate(text: &str) -> Result<f64, String> {
    let rate = text.parse().ok().filter(|rate| RATES.contains(rate));
    rate.ok_or_else(|| {
        "write a number of requests per second from 0.01 to 10000000, as 3000".to_owned()
    })
}

#[cfg(test)]
mod tests;
