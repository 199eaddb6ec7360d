//! Service level objectives: `p99<200ms,errors<0.1%` and whether a report meets them.

use std::fmt;
use std::str::FromStr;

use crate::report::{Percentiles, Report, Verdict};

/// All terms hold, or the objective is broken.
#[derive(Debug, Clone, PartialEq)]
pub struct Slo(Vec<Term>);

#[derive(Debug, Clone, PartialEq)]
struct Term {
    text: String,
    figure: Figure,
    /// In the figure's own unit.
    limit: f64,
    /// The figure must be below, else above.
    below: bool,
}

/// What is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Figure {
    P50,
    P90,
    P99,
    P99_9,
    Max,
    /// Failed and dropped requests, as a share of those planned.
    Errors,
    /// Successes per second.
    Rate,
    /// Successes per second, as a share of the rate that was offered.
    Achieved,
}

/// An objective that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no objective: write terms as p99<200ms,errors<0.1% of p50, p90, p99, p99.9 and max (us, ms, s), errors (%), \
     achieved (% of what was offered, as achieved>98%) and rate (per second, as rate>500)"
)]
pub struct Error(String);

const FIGURES: [(&str, Figure); 8] = [
    ("p50", Figure::P50),
    ("p90", Figure::P90),
    ("p99", Figure::P99),
    ("p99.9", Figure::P99_9),
    ("max", Figure::Max),
    ("errors", Figure::Errors),
    ("rate", Figure::Rate),
    ("achieved", Figure::Achieved),
];

impl Slo {
    /// Whether each term holds. One about latency does not, where nothing was measured.
    #[must_use]
    pub fn judge(&self, report: &Report) -> Vec<Verdict> {
        self.0.iter().map(|term| term.judge(report)).collect()
    }
}

impl Term {
    fn judge(&self, report: &Report) -> Verdict {
        let measured = self.figure.of(report);
        let met = measured.is_some_and(|measured| {
            if self.below {
                measured < self.limit
            } else {
                measured > self.limit
            }
        });
        Verdict {
            term: self.text.clone(),
            measured: measured
                .map_or_else(|| "nothing".to_owned(), |value| self.figure.show(value)),
            met,
        }
    }
}

impl Figure {
    fn of(self, report: &Report) -> Option<f64> {
        let latency =
            |pick: fn(&Percentiles) -> u64| report.latency_us.as_ref().map(|all| pick(all) as f64);
        let requests = &report.requests;
        match self {
            Self::P50 => latency(|all| all.p50),
            Self::P90 => latency(|all| all.p90),
            Self::P99 => latency(|all| all.p99),
            Self::P99_9 => latency(|all| all.p99_9),
            Self::Max => latency(|all| all.max),
            Self::Errors if requests.planned == 0 => None,
            Self::Errors => {
                Some((requests.failed + requests.dropped) as f64 / requests.planned as f64 * 100.0)
            }
            Self::Rate => Some(report.achieved.rate_per_second),
            Self::Achieved => {
                report.offered.rate_per_second?;
                let offered = requests.planned as f64 / report.achieved.elapsed_secs;
                (offered > 0.0).then(|| report.achieved.rate_per_second / offered * 100.0)
            }
        }
    }

    fn show(self, value: f64) -> String {
        match self {
            Self::Errors | Self::Achieved => format!("{value:.3} %"),
            Self::Rate => format!("{value:.1}/s"),
            _ if value < 1_000.0 => format!("{value:.0} us"),
            _ if value < 1_000_000.0 => format!("{:.2} ms", value / 1_000.0),
            _ => format!("{:.2} s", value / 1_000_000.0),
        }
    }

    /// The limit in this figure's unit: microseconds, percent or requests per second.
    fn parse_limit(self, text: &str) -> Option<f64> {
        let digits = text
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(text.len());
        let (number, unit) = text.split_at(digits);
        let number: f64 = number.parse().ok()?;
        let scale = match (self, unit) {
            (Self::Errors | Self::Achieved, "%") | (Self::Rate, "" | "/s") => 1.0,
            (Self::Errors | Self::Achieved | Self::Rate, _) => return None,
            (_, "us") => 1.0,
            (_, "ms") => 1_000.0,
            (_, "s") => 1_000_000.0,
            _ => return None,
        };
        Some(number * scale)
    }
}

impl FromStr for Slo {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let term = |part: &str| {
            let part = part.trim();
            let at = part.find(['<', '>'])?;
            let figure = part[..at].trim();
            let (_, figure) = FIGURES.into_iter().find(|(name, _)| *name == figure)?;
            Some(Term {
                text: part.to_owned(),
                figure,
                limit: figure.parse_limit(part[at + 1..].trim())?,
                below: part.as_bytes()[at] == b'<',
            })
        };
        text.split(',')
            .map(|part| term(part).ok_or_else(|| Error(part.to_owned())))
            .collect::<Result<_, _>>()
            .map(Self)
    }
}

impl fmt::Display for Slo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let terms: Vec<&str> = self.0.iter().map(|term| term.text.as_str()).collect();
        f.write_str(&terms.join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::tests::{one_of_each, report};

    fn verdicts(slo: &str) -> Vec<(bool, String)> {
        let slo: Slo = slo.parse().expect("an objective");
        slo.judge(&report(&one_of_each()))
            .into_iter()
            .map(|verdict| (verdict.met, verdict.measured))
            .collect()
    }

    #[test]
    fn each_term_is_judged_by_the_figure_that_it_names() {
        let report = report(&one_of_each());
        let max = report.latency_us.as_ref().expect("there was latency").max;
        assert!(verdicts(&format!("max<{}us", max + 1))[0].0);
        assert!(!verdicts(&format!("max<{max}us"))[0].0);
        // Seven of ten failed or were dropped.
        assert_eq!(
            verdicts("errors<70.1%,errors<70%"),
            [
                (true, "70.000 %".to_owned()),
                (false, "70.000 %".to_owned())
            ]
        );
        assert!(!verdicts("achieved>98%")[0].0);
        assert_eq!(
            verdicts("rate>1, p50<1s")
                .iter()
                .filter(|(met, _)| *met)
                .count(),
            2
        );
    }

    #[test]
    fn what_was_not_measured_does_not_meet_an_objective() {
        let mut report = report(&one_of_each());
        report.latency_us = None;
        report.requests.planned = 0;
        let slo: Slo = "p99<1s,errors<1%".parse().expect("an objective");
        assert!(
            slo.judge(&report)
                .iter()
                .all(|verdict| !verdict.met && verdict.measured == "nothing")
        );
    }

    #[test]
    fn an_objective_that_cannot_be_read_is_answered_with_how_to_write_it() {
        for bad in [
            "",
            "p99",
            "p99<200",
            "p98<1ms",
            "errors<1ms",
            "p99=1ms",
            "p99<1ms,,",
            "rate>1%",
        ] {
            let error = bad.parse::<Slo>().expect_err(bad).to_string();
            assert!(error.contains("p99<200ms"), "{bad:?}: {error}");
        }
    }
}
