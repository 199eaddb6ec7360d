//! A report beside an older one: what became better, what worse, and what is noise.
//!
//! Two runs of the same thing never agree to the last digit. A figure is called better or worse only when it moved
//! further than it does by itself, which [`tolerances`] puts into words.

use super::{Percentiles, Report, words};

/// Relative. Repeated runs against one idle server stay well within it.
const TIME_TOLERANCE: f64 = 0.10;
/// Waking a thread and a task takes a millisecond on a busy machine: two times closer than this are one.
const TIME_FLOOR_MICROS: f64 = 1_000.0;
/// Relative. The rate is a mean over the whole run, which is steadier than any percentile.
const RATE_TOLERANCE: f64 = 0.05;
/// Relative, for servers that fail all the time.
const ERROR_TOLERANCE: f64 = 0.10;
/// Absolute: 0.1 percentage points, one request in a thousand.
const ERROR_FLOOR: f64 = 0.001;
/// A percentile with fewer requests beyond it is the tale of a few requests.
const FEWEST_BEYOND: u64 = 10;

/// All figures of two runs, before and now.
#[derive(Debug, Clone, PartialEq)]
pub struct Comparison {
    /// Why the two may not be comparable, one sentence each. Empty when nothing is known against it.
    pub caveats: Vec<String>,
    pub rows: Vec<Row>,
}

/// One figure, before and now. Absent where the run did not have it.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// As `latency p99` or `step home: p99`.
    pub name: String,
    pub unit: Unit,
    pub before: Option<f64>,
    pub now: Option<f64>,
    pub judgement: Judgement,
}

/// What a figure counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    Micros,
    PerSecond,
    /// From 0 to 1.
    Share,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Judgement {
    Better,
    Worse,
    /// Within the tolerance.
    Same,
    /// One of the runs has no such figure, or too few requests for it.
    Unknown,
}

impl Comparison {
    /// Whether any figure became worse.
    #[must_use]
    pub fn regressed(&self) -> bool {
        self.count(Judgement::Worse) > 0
    }

    /// In one word: worse when any figure became worse, else better when any became better.
    #[must_use]
    pub fn verdict(&self) -> Judgement {
        [Judgement::Worse, Judgement::Better, Judgement::Same]
            .into_iter()
            .find(|judgement| self.count(*judgement) > 0)
            .unwrap_or(Judgement::Unknown)
    }

    /// How many figures were judged like this.
    #[must_use]
    pub fn count(&self, judgement: Judgement) -> usize {
        self.rows
            .iter()
            .filter(|row| row.judgement == judgement)
            .count()
    }
}

impl Row {
    /// Now over before; absent without both, and when it was nothing before.
    #[must_use]
    pub fn ratio(&self) -> Option<f64> {
        match (self.before, self.now) {
            (Some(before), Some(now)) if before > 0.0 => Some(now / before),
            _ => None,
        }
    }

    /// The change in words: relative, but for shares, which change by percentage points. Empty when there is none.
    #[must_use]
    pub fn change(&self) -> String {
        match (self.unit, self.before, self.now) {
            (Unit::Share, Some(before), Some(now)) => {
                format!("{:+.2} points", (now - before) * 100.0)
            }
            _ => match self.ratio() {
                // Beyond that a factor is easier to grasp than a percentage.
                Some(ratio) if ratio >= 10.0 => format!("x {ratio:.1}"),
                Some(ratio) => format!("{:+.1} %", (ratio - 1.0) * 100.0),
                None => String::new(),
            },
        }
    }
}

impl Unit {
    /// The figure with its unit.
    #[must_use]
    pub fn words(self, figure: Option<f64>) -> String {
        match (self, figure) {
            (_, None) => "(none)".to_owned(),
            (Self::Micros, Some(micros)) => words::time(micros as u64),
            (Self::PerSecond, Some(rate)) => words::rate(rate),
            (Self::Share, Some(share)) => words::percent(share),
        }
    }
}

impl Judgement {
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Better => "better",
            Self::Worse => "worse",
            Self::Same => "same",
            Self::Unknown => "not judged",
        }
    }
}

/// What counts as noise, in words.
#[must_use]
pub fn tolerances() -> String {
    format!(
        "Same means within the noise: {:.0} % and {} for times, {:.0} % for the rate, {:.0} % and {} percentage points \
         for errors.\nA percentile that fewer than {FEWEST_BEYOND} requests lie beyond is not judged.",
        TIME_TOLERANCE * 100.0,
        words::time(TIME_FLOOR_MICROS as u64),
        RATE_TOLERANCE * 100.0,
        ERROR_TOLERANCE * 100.0,
        ERROR_FLOOR * 100.0,
    )
}

/// Every figure of the two reports that can be compared.
#[must_use]
pub fn compare(before: &Report, now: &Report) -> Comparison {
    let rate = |report: &Report| Some(report.achieved.rate_per_second);
    let mut rows = vec![
        row(
            "rate of successes",
            Unit::PerSecond,
            rate(before),
            rate(now),
        ),
        row(
            "failed and dropped",
            Unit::Share,
            words::error_share(before),
            words::error_share(now),
        ),
    ];
    rows.extend(times("latency", &before.latency_us, &now.latency_us));
    rows.extend(times("service", &before.service_us, &now.service_us));
    for (name, step) in &now.steps {
        let Some(old) = before.steps.get(name) else {
            continue;
        };
        rows.push(row(
            &format!("step {name}: failed"),
            Unit::Share,
            share(old.failed, old.succeeded),
            share(step.failed, step.succeeded),
        ));
        let p99 = times(&format!("step {name}:"), &old.latency_us, &step.latency_us);
        rows.extend(p99.into_iter().filter(|row| row.name.ends_with(" p99")));
    }
    Comparison {
        caveats: caveats(before, now),
        rows,
    }
}

fn share(failed: u64, succeeded: u64) -> Option<f64> {
    let all = failed.saturating_add(succeeded);
    (all > 0).then(|| failed as f64 / all as f64)
}

fn times(name: &str, before: &Option<Percentiles>, now: &Option<Percentiles>) -> Vec<Row> {
    // Thousandths of the requests that lie beyond, and the figure itself.
    type Figure = (&'static str, u64, fn(&Percentiles) -> u64);
    let figures: [Figure; 5] = [
        ("p50", 500, |times| times.p50),
        ("p90", 100, |times| times.p90),
        ("p99", 10, |times| times.p99),
        ("p99.9", 1, |times| times.p99_9),
        ("max", 0, |times| times.max),
    ];
    if before.is_none() && now.is_none() {
        return Vec::new();
    }
    let is_firm = |times: &Option<Percentiles>, beyond: u64| {
        times
            .as_ref()
            .is_some_and(|times| times.count.saturating_mul(beyond) >= FEWEST_BEYOND * 1_000)
    };
    figures
        .into_iter()
        .map(|(percentile, beyond, figure)| {
            let figure =
                |times: &Option<Percentiles>| times.as_ref().map(|times| figure(times) as f64);
            let mut row = row(
                &format!("{name} {percentile}"),
                Unit::Micros,
                figure(before),
                figure(now),
            );
            if !is_firm(before, beyond) || !is_firm(now, beyond) {
                row.judgement = Judgement::Unknown;
            }
            row
        })
        .collect()
}

fn row(name: &str, unit: Unit, before: Option<f64>, now: Option<f64>) -> Row {
    let judgement = match (before, now) {
        (Some(before), Some(now)) => judge(unit, before, now),
        _ => Judgement::Unknown,
    };
    Row {
        name: name.to_owned(),
        unit,
        before,
        now,
        judgement,
    }
}

fn judge(unit: Unit, before: f64, now: f64) -> Judgement {
    let (tolerance, floor) = match unit {
        Unit::Micros => (TIME_TOLERANCE, TIME_FLOOR_MICROS),
        Unit::PerSecond => (RATE_TOLERANCE, 0.0),
        Unit::Share => (ERROR_TOLERANCE, ERROR_FLOOR),
    };
    // A little more than the tolerance, so that what is exactly at its edge in decimals is inside.
    let noise = (before * tolerance).max(floor) * (1.0 + 1e-9);
    let rose = now - before;
    if rose.abs() <= noise || !rose.is_finite() {
        Judgement::Same
    } else if (rose > 0.0) == (unit == Unit::PerSecond) {
        Judgement::Better
    } else {
        Judgement::Worse
    }
}

fn caveats(before: &Report, now: &Report) -> Vec<String> {
    let mut caveats = Vec::new();
    for (report, name) in [(before, "the baseline"), (now, "this run")] {
        if !report.generator.valid {
            caveats.push(format!(
                "{name} is invalid: its figures are those of its generator"
            ));
        }
    }
    let asked = [
        ("target", before.url.clone(), now.url.clone()),
        ("scenario", before.scenario.clone(), now.scenario.clone()),
        ("load", words::offered(before), words::offered(now)),
    ];
    for (name, before, now) in asked {
        if before != now {
            caveats.push(format!("another {name}: {before} before, {now} now"));
        }
    }
    for (one, other, place) in [(before, now, "the baseline"), (now, before, "this run")] {
        for name in one.steps.keys() {
            if !other.steps.contains_key(name) {
                caveats.push(format!("the step {name} is in {place} only"));
            }
        }
    }
    caveats
}

#[cfg(test)]
mod tests;
