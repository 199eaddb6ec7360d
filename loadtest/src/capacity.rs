//! The search for the highest rate that a server bears: up by a factor until the objective breaks, then halving the gap,
//! then a while at 80 % of what was found, and all of it again.

use std::fmt::Write as _;
use std::time::Duration;

use serde::Serialize;

use crate::report::Report;
use crate::slo::Slo;

/// Of what was found, what the server must bear for longer.
const HOLD: f64 = 0.8;
/// A rate that broke the objective while the generator was late is tried so often: a moment without a processor is no
/// limit of anybody.
const TRIES: usize = 3;

/// How to search. Rates are in requests per second.
#[derive(Debug, Clone, PartialEq)]
pub struct Search {
    pub slo: Slo,
    /// Where to begin.
    pub from: f64,
    /// Beyond it nothing is tried.
    pub to: f64,
    /// From one rate to the next while the objective holds: above 1.
    pub factor: f64,
    /// The gap is halved until it is this share of the rate: from 0 to 1.
    pub precision: f64,
    pub repeat: usize,
    /// How long each rate is tried.
    pub each: Duration,
    /// How long 80 % are held.
    pub hold: Duration,
}

/// What a search found, versioned like a [`Report`].
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Capacity {
    pub version: u32,
    pub url: String,
    pub scenario: String,
    pub slo: String,
    pub rounds: Vec<Round>,
    /// Of the rounds that found a capacity and held 80 % of it: lowest, median and highest. The others only tell what
    /// the server bears at least, or for a moment.
    pub min: Option<f64>,
    pub median: Option<f64>,
    pub max: Option<f64>,
}

/// One search.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Round {
    /// The highest rate at which the objective held; absent when it held at none.
    pub rate_per_second: Option<f64>,
    /// Why the search ended there.
    pub ended: Ended,
    pub trials: Vec<Trial>,
}

/// Why a search ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Ended {
    /// The objective holds there, breaks a little above, and holds at 80 % for longer.
    Found,
    /// As `Found`, but not even 80 % were held.
    NotHeld,
    /// It breaks at the lowest rate.
    BelowFrom,
    /// It holds at the highest rate: the server bears more.
    AboveTo,
    /// The load tester could not send more: the server may bear more.
    Generator,
    /// All virtual users were busy, and the objective holds for the time from the actual start: the server may bear more.
    Users,
    /// Told to stop.
    Stopped,
}

/// One rate.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Trial {
    pub rate_per_second: f64,
    pub achieved_per_second: f64,
    pub p99_us: Option<u64>,
    pub failed: u64,
    pub met: bool,
    /// It would be met if only service times counted, and more than one in a hundred requests waited for a user.
    pub lacks_users: bool,
    /// The generator kept up.
    pub valid: bool,
    pub holding: bool,
}

impl Trial {
    fn new(rate: f64, slo: &Slo, report: &Report, holding: bool) -> Self {
        let met = |report: &Report| slo.judge(report).iter().all(|verdict| verdict.met);
        let by_service = Report {
            latency_us: report.service_us.clone(),
            ..report.clone()
        };
        let waited = report.requests.late_starts + report.requests.dropped;
        Self {
            rate_per_second: rate,
            achieved_per_second: report.achieved.rate_per_second,
            p99_us: report.latency_us.as_ref().map(|latency| latency.p99),
            failed: report.requests.failed + report.requests.dropped,
            met: met(report),
            lacks_users: !met(report) && met(&by_service) && waited * 100 > report.requests.planned,
            valid: report.generator.valid,
            holding,
        }
    }
}

impl Search {
    /// One search. `attempt` sends at a rate for a time and reports; `None` when told to stop.
    pub async fn round(
        &self,
        mut attempt: impl AsyncFnMut(f64, Duration) -> Option<Report>,
        mut tell: impl FnMut(&Trial),
    ) -> Round {
        let mut trials = Vec::new();
        let (mut good, mut bad) = (None, None);
        let mut rate = self.from;
        let mut tries = 0;
        let ended = loop {
            let Some(report) = attempt(rate, self.each).await else {
                break Ended::Stopped;
            };
            let trial = Trial::new(rate, &self.slo, &report, false);
            tell(&trial);
            let (met, valid) = (trial.met, trial.valid);
            trials.push(trial);
            if !valid && !met {
                // Whether the server or the generator was too slow cannot be told.
                tries += 1;
                if tries == TRIES {
                    break Ended::Generator;
                }
                continue;
            }
            tries = 0;
            if trials.last().is_some_and(|trial| trial.lacks_users) {
                break Ended::Users;
            }
            if met {
                good = Some(rate);
            } else {
                bad = Some(rate);
            }
            match (good, bad) {
                (None, _) => break Ended::BelowFrom,
                (Some(good), None) if good >= self.to => break Ended::AboveTo,
                (Some(good), None) => rate = (good * self.factor).min(self.to),
                (Some(good), Some(bad)) if bad - good <= good * self.precision => {
                    break self.hold(good, &mut attempt, &mut tell, &mut trials).await;
                }
                (Some(good), Some(bad)) => rate = f64::midpoint(good, bad),
            }
        };
        Round {
            rate_per_second: good,
            ended,
            trials,
        }
    }

    async fn hold(
        &self,
        good: f64,
        attempt: &mut impl AsyncFnMut(f64, Duration) -> Option<Report>,
        tell: &mut impl FnMut(&Trial),
        trials: &mut Vec<Trial>,
    ) -> Ended {
        let rate = good * HOLD;
        for _ in 0..TRIES {
            let Some(report) = attempt(rate, self.hold).await else {
                return Ended::Stopped;
            };
            let trial = Trial::new(rate, &self.slo, &report, true);
            tell(&trial);
            let (met, valid) = (trial.met, trial.valid);
            trials.push(trial);
            if met {
                return Ended::Found;
            }
            if valid {
                return Ended::NotHeld;
            }
        }
        Ended::Generator
    }
}

impl Capacity {
    /// Puts the rounds together.
    #[must_use]
    pub fn new(url: String, scenario: String, slo: &Slo, rounds: Vec<Round>) -> Self {
        let mut found: Vec<f64> = rounds
            .iter()
            .filter(|round| round.ended == Ended::Found)
            .filter_map(|round| round.rate_per_second)
            .collect();
        found.sort_by(f64::total_cmp);
        let middle = found.len() / 2;
        let median = match found[..] {
            [] => None,
            _ if found.len() % 2 == 1 => Some(found[middle]),
            _ => Some(f64::midpoint(found[middle - 1], found[middle])),
        };
        Self {
            version: crate::report::VERSION,
            url,
            scenario,
            slo: slo.to_string(),
            min: found.first().copied(),
            median,
            max: found.last().copied(),
            rounds,
        }
    }

    /// For people.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = format!(
            "target    {}\nscenario  {}\nobjective {}\n\n",
            self.url, self.scenario, self.slo
        );
        for (number, round) in self.rounds.iter().enumerate() {
            let rate = round
                .rate_per_second
                .map_or_else(|| "none".to_owned(), |rate| format!("{rate:.0} requests/s"));
            // A String takes all that is written to it.
            let _ = writeln!(
                text,
                "round {}   {rate:<20} {}",
                number + 1,
                round.ended.words()
            );
        }
        let summary = match (self.min, self.median, self.max) {
            (Some(min), Some(median), Some(max)) => format!(
                "capacity  {median:.0} requests/s (median; {min:.0} to {max:.0}, which is {:.0} % of it)",
                (max - min) / median * 100.0
            ),
            _ => "capacity  not found: see the rounds".to_owned(),
        };
        let _ = writeln!(text, "\n{summary}");
        text
    }
}

impl Ended {
    /// What it means.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::Found => "and 80 % of it were held",
            Self::NotHeld => "but not even 80 % of it were held for longer: take less",
            Self::BelowFrom => "the objective breaks at the lowest rate: begin with less (--from)",
            Self::AboveTo => "the objective holds at the highest rate: try more (--to)",
            Self::Generator => {
                "the load tester could not send more: the server may bear more (--threads, or a second machine)"
            }
            Self::Users => "all virtual users were busy: the server may bear more (--users)",
            Self::Stopped => "stopped",
        }
    }
}

/// One line about a trial.
#[must_use]
pub fn line(trial: &Trial) -> String {
    format!(
        "{} {:>8.0}/s offered {:>8.0}/s achieved  p99 {:>10}  failed {:>6}  {}{}",
        if trial.holding { "hold" } else { "try " },
        trial.rate_per_second,
        trial.achieved_per_second,
        trial
            .p99_us
            .map_or_else(|| "none".to_owned(), crate::report::words::time),
        trial.failed,
        if trial.met { "holds" } else { "breaks" },
        if trial.valid {
            ""
        } else {
            " (generator saturated)"
        },
    )
}

#[cfg(test)]
mod tests;
