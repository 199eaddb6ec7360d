//! The figures of simulated runs, as tables and as JSON.

use std::fmt::Write as _;
use std::time::Duration;

use serde::Serialize;

use super::outcome::Share;
use super::{Model, Outcome, Policy};

/// Changes when a reader of version 1 would misread what comes after.
const VERSION: u32 = 1;
/// More backends than these get no rows of their own in a table; JSON has them all.
const BACKENDS_SHOWN: usize = 12;
const NO_STEADY_STATE: &str =
    "is overloaded: a queue grows without end, and its figures with the number of requests";

/// What `--format json` prints, field by field.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    version: u32,
    model: Described,
    /// By rate, then by policy.
    runs: Vec<Run>,
}

/// What all runs have in common.
#[derive(Debug, Clone, Serialize)]
struct Described {
    backends: usize,
    workers: usize,
    /// Of each backend.
    slowness: Vec<f64>,
    mean_service_us: f64,
    overhead_us: f64,
    /// What all backends together can answer.
    capacity_per_second: f64,
    requests: u64,
    warm_up: u64,
    seed: u64,
}

/// One run.
#[derive(Debug, Clone, Serialize)]
pub struct Run {
    policy: Policy,
    rate_per_second: f64,
    /// The rate over the capacity.
    utilisation: f64,
    /// Whether some queue grows without end, so that the figures depend on how long the run is.
    overloaded: bool,
    throughput_per_second: f64,
    latency_us: Latency,
    mean_wait_us: f64,
    /// Of the requests, those that waited for a place, from 0 to 1.
    waited: f64,
    /// Requests that waited on average over time, on all backends.
    mean_queue: f64,
    backends: Vec<Figures>,
}

/// From the arrival to the end of the reply, overhead included.
#[derive(Debug, Clone, Serialize)]
struct Latency {
    mean: f64,
    p50: f64,
    p90: f64,
    p99: f64,
    p99_9: f64,
    max: f64,
}

/// Of one backend.
#[derive(Debug, Clone, Serialize)]
struct Figures {
    share: f64,
    utilisation: f64,
    mean_queue: f64,
    mean_in_flight: f64,
}

impl Run {
    /// Of what came of a model under a policy.
    #[must_use]
    pub fn new(model: &Model, policy: Policy, outcome: &Outcome) -> Self {
        let quantile = |quantile| micros(outcome.quantile(quantile));
        Self {
            policy,
            rate_per_second: model.rate,
            utilisation: model.utilisation(),
            overloaded: model.overloads(policy),
            throughput_per_second: outcome.throughput(),
            latency_us: Latency {
                mean: micros(outcome.mean_latency),
                p50: quantile(0.5),
                p90: quantile(0.9),
                p99: quantile(0.99),
                p99_9: quantile(0.999),
                max: quantile(1.0),
            },
            mean_wait_us: micros(outcome.mean_wait),
            waited: outcome.waited as f64 / outcome.requests.max(1) as f64,
            mean_queue: outcome.mean_queue(),
            backends: outcome.backends.iter().map(Figures::new).collect(),
        }
    }

    /// The bounds of a figure of its backends.
    fn bounds(&self, figure: impl Fn(&Figures) -> f64) -> (f64, f64) {
        let figures = self.backends.iter().map(figure);
        figures.fold((f64::INFINITY, 0.0), |(least, most), figure| {
            (figure.min(least), figure.max(most))
        })
    }
}

impl Figures {
    fn new(share: &Share) -> Self {
        Self {
            share: share.share,
            utilisation: share.utilisation,
            mean_queue: share.mean_queue,
            mean_in_flight: share.mean_in_flight,
        }
    }
}

impl Report {
    /// Of runs of models that differ in their rate only; `model` is any of them.
    #[must_use]
    pub fn new(model: &Model, runs: Vec<Run>) -> Self {
        let backends = &model.backends;
        let model = Described {
            backends: backends.len(),
            workers: backends.iter().map(|b| b.workers).max().unwrap_or(0),
            slowness: backends.iter().map(|b| b.slowness).collect(),
            mean_service_us: micros(model.service.mean()),
            overhead_us: micros(model.overhead),
            capacity_per_second: model.capacity(),
            requests: model.requests,
            warm_up: model.warm_up,
            seed: model.seed,
        };
        Self {
            version: VERSION,
            model,
            runs,
        }
    }

    /// One object, with a newline at the end.
    ///
    /// # Panics
    /// Never: the report has no maps whose keys are no strings.
    #[must_use]
    pub fn json(&self) -> String {
        serde_json::to_string_pretty(self).expect("plain structs of numbers and names") + "\n"
    }

    /// A row for each policy, then one for each backend.
    #[must_use]
    pub fn text(&self) -> String {
        let mut rows = vec![row([
            "policy", "rate/s", "util", "busiest", "waiting", "mean", "p50", "p90", "p99", "p99.9",
            "max",
        ])];
        rows.extend(self.runs.iter().map(|run| {
            let latency = &run.latency_us;
            row([
                run.policy.name(),
                &format!("{:.0}", run.throughput_per_second),
                &percent(run.utilisation),
                &percent(run.bounds(|figures| figures.utilisation).1),
                &format!("{:.2}", run.mean_queue),
                &time(latency.mean),
                &time(latency.p50),
                &time(latency.p90),
                &time(latency.p99),
                &time(latency.p99_9),
                &time(latency.max),
            ])
        }));
        let mut text = self.headline() + &table(&rows) + "\n" + &table(&self.by_backend());
        let overloaded = self.runs.iter().filter(|run| run.overloaded);
        for run in overloaded {
            let _ = writeln!(text, "\n{} {NO_STEADY_STATE}.", run.policy.name());
        }
        text
    }

    /// A row for each utilisation.
    #[must_use]
    pub fn sweep(&self) -> String {
        let mut rows: Vec<Vec<String>> = Vec::new();
        let mut head = row(["util", "rate/s"]);
        let mut last = None;
        for run in &self.runs {
            if last != Some(run.rate_per_second) {
                last = Some(run.rate_per_second);
                rows.push(row([
                    percent(run.utilisation).as_str(),
                    &format!("{:.0}", run.rate_per_second),
                ]));
            }
            if rows.len() == 1 {
                let name = run.policy.name();
                head.extend([format!("{name} p50"), format!("{name} p99")]);
            }
            let cells = match run.overloaded {
                true => row(["-", "-"]),
                false => row([time(run.latency_us.p50).as_str(), &time(run.latency_us.p99)]),
            };
            if let Some(row) = rows.last_mut() {
                row.extend(cells);
            }
        }
        rows.insert(0, head);
        let mut text = self.headline() + &table(&rows);
        if self.runs.iter().any(|run| run.overloaded) {
            text += "\n-: some backend is overloaded, and its queue grows without end.\n";
        }
        text
    }

    fn headline(&self) -> String {
        let model = &self.model;
        let mut text = format!(
            "{} {} of {} {}, mean service time {}, capacity {:.0}/s; {} requests, seed {}\n",
            model.backends,
            if model.backends == 1 {
                "backend"
            } else {
                "backends"
            },
            model.workers,
            if model.workers == 1 {
                "worker"
            } else {
                "workers"
            },
            time(model.mean_service_us),
            model.capacity_per_second,
            model.requests,
            model.seed,
        );
        let slow = model.slowness.iter().enumerate();
        for (index, slowness) in slow.filter(|(_, slowness)| **slowness != 1.0) {
            let _ = writeln!(text, "backend {} takes {slowness} times as long", index + 1);
        }
        text + "\n"
    }

    /// Share, utilisation and queue of each backend, or their bounds.
    fn by_backend(&self) -> Vec<Vec<String>> {
        let mut rows = vec![row(["policy", "backend", "share", "util", "waiting"])];
        for run in &self.runs {
            let name = run.policy.name();
            if run.backends.len() > BACKENDS_SHOWN {
                let between = |(least, most): (f64, f64), word: fn(f64) -> String| {
                    format!("{} to {}", word(least), word(most))
                };
                rows.push(row([
                    name,
                    "all",
                    &between(run.bounds(|figures| figures.share), percent),
                    &between(run.bounds(|figures| figures.utilisation), percent),
                    &between(run.bounds(|figures| figures.mean_queue), |queue| {
                        format!("{queue:.2}")
                    }),
                ]));
                continue;
            }
            for (index, figures) in run.backends.iter().enumerate() {
                rows.push(row([
                    name,
                    &(index + 1).to_string(),
                    &percent(figures.share),
                    &percent(figures.utilisation),
                    &format!("{:.2}", figures.mean_queue),
                ]));
            }
        }
        rows
    }
}

fn row<const N: usize>(cells: [&str; N]) -> Vec<String> {
    cells.map(str::to_owned).to_vec()
}

/// Columns as wide as they need; the first one begins at the left, the others end at the right.
fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for row in rows {
        let cells = row.iter().zip(&widths).enumerate();
        let cells = cells.map(|(column, (cell, width))| match column {
            0 => format!("{cell:<width$}"),
            _ => format!("  {cell:>width$}"),
        });
        text += cells.collect::<String>().trim_end();
        text.push('\n');
    }
    text
}

/// Microseconds in words of three or four digits.
fn time(micros: f64) -> String {
    match micros {
        ..1000.0 => format!("{micros:.0} us"),
        ..10_000.0 => format!("{:.2} ms", micros / 1e3),
        ..100_000.0 => format!("{:.1} ms", micros / 1e3),
        ..10_000_000.0 => format!("{:.0} ms", micros / 1e3),
        _ => format!("{:.0} s", micros / 1e6),
    }
}

fn percent(fraction: f64) -> String {
    format!("{:.1} %", fraction * 100.0)
}

fn micros(duration: Duration) -> f64 {
    duration.as_nanos() as f64 / 1e3
}
