//! Reports of several generators that drove one run together, made one.
//!
//! What can be exact is: counts are added, and the percentiles of all requests are those of the merged histograms.
//! Steps and the points of the series have no histogram. Each of their percentiles becomes the *worst* among the
//! generators, which the true one never exceeds: when nine in ten requests of every generator were faster than some
//! time, so were nine in ten of all.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;
use thiserror::Error;

use super::{
    Achieved, Errors, Event, Generator, Histograms, Offered, Percentiles, Point, Report, Requests,
    Series, Share, Step, VERSION, histogram, words,
};

/// Why the reports cannot be made one.
#[derive(Debug, Error)]
pub enum Error {
    #[error("there is nothing to merge: name at least one report")]
    Nothing,
    #[error(
        "report {number} is of version {version} and not {VERSION}: write it again with this quiz-loadtest"
    )]
    Version { number: usize, version: u32 },
    #[error(
        "report {number} has another {what} than report 1 ({other} and not {first}): \
         merge only generators that were given the same plan"
    )]
    Different {
        number: usize,
        what: &'static str,
        first: String,
        other: String,
    },
    #[error(
        "report {number} began {apart_secs} s before or after another, which is longer than the run: \
         merge only generators that ran at the same time"
    )]
    Apart { number: usize, apart_secs: f64 },
    #[error(
        "the {which} histogram of report {number} cannot be read, {source}: \
         the file is damaged or was cut short, copy it again"
    )]
    Histogram {
        number: usize,
        which: &'static str,
        source: histogram::Error,
    },
    #[error(
        "the {which} histogram of report {number} does not fit the others: \
         write all reports with one version of quiz-loadtest"
    )]
    Misfit { number: usize, which: &'static str },
}

/// One report of all. Rates, users, threads and cores are added, elapsed time is the longest. The run is invalid when
/// one generator's part is. The terms of the objective are left out, because they are to be judged again.
///
/// Generators start one after the other: their series and events are moved by the difference of their `started_at_ms`,
/// to the whole interval. What an event cost stays what the generator that did it saw.
///
/// # Errors
/// When there is no report, when they are not of one run, and when a histogram cannot be read.
pub fn merge(reports: &[Report]) -> Result<Report, Error> {
    let first = reports.first().ok_or(Error::Nothing)?;
    let begin = reports
        .iter()
        .map(|report| report.started_at_ms)
        .min()
        .unwrap_or(first.started_at_ms);
    for (index, report) in reports.iter().enumerate() {
        belongs(first, report, begin, index + 1)?;
    }
    let latency = histograms(reports, "latency", |report| {
        (&report.histograms.latency, &report.latency_us)
    })?;
    let service = histograms(reports, "service", |report| {
        (&report.histograms.service, &report.service_us)
    })?;
    Ok(Report {
        version: VERSION,
        started_at_ms: begin,
        url: first.url.clone(),
        scenario: first.scenario.clone(),
        offered: offered(reports, &first.offered),
        achieved: Achieved {
            rate_per_second: reports
                .iter()
                .map(|report| report.achieved.rate_per_second)
                .sum(),
            elapsed_secs: reports
                .iter()
                .map(|report| report.achieved.elapsed_secs)
                .fold(0.0, f64::max),
            body_bytes: sum(reports, |report| report.achieved.body_bytes),
        },
        requests: requests(reports, first.requests.late_after_ms),
        errors: errors(reports),
        latency_us: histogram::percentiles(&latency),
        service_us: histogram::percentiles(&service),
        steps: steps(reports),
        served_by: served_by(reports),
        series: series(reports, begin),
        events: events(reports, begin),
        generator: generator(reports),
        slo: Vec::new(),
        histograms: Histograms {
            latency: histogram::encode(&latency),
            service: histogram::encode(&service),
        },
    })
}

fn belongs(first: &Report, report: &Report, begin: u64, number: usize) -> Result<(), Error> {
    if report.version != VERSION {
        return Err(Error::Version {
            number,
            version: report.version,
        });
    }
    let plan = |report: &Report| {
        [
            ("URL", report.url.clone()),
            ("scenario", report.scenario.clone()),
            ("interval", words::seconds(report.series.interval_secs)),
            ("warm-up", words::seconds(report.offered.warm_up_secs)),
            ("duration", words::seconds(report.offered.duration_secs)),
        ]
    };
    for ((what, first), (_, other)) in plan(first).into_iter().zip(plan(report)) {
        if first != other {
            return Err(Error::Different {
                number,
                what,
                first,
                other,
            });
        }
    }
    let apart_secs = (report.started_at_ms - begin) as f64 / 1e3;
    let offered = &first.offered;
    if apart_secs > offered.warm_up_secs + offered.duration_secs {
        return Err(Error::Apart { number, apart_secs });
    }
    Ok(())
}

fn histograms(
    reports: &[Report],
    which: &'static str,
    part: impl Fn(&Report) -> (&String, &Option<Percentiles>),
) -> Result<Histogram<u64>, Error> {
    let mut merged: Option<Histogram<u64>> = None;
    for (number, report) in (1..).zip(reports) {
        let (text, percentiles) = part(report);
        // Nothing measured, and nothing kept of it.
        if text.is_empty() && percentiles.is_none() {
            continue;
        }
        let next = histogram::decode(text).map_err(|source| Error::Histogram {
            number,
            which,
            source,
        })?;
        match &mut merged {
            None => {
                let mut next = next;
                next.auto(true);
                merged = Some(next);
            }
            Some(merged) => merged
                .add(&next)
                .map_err(|_| Error::Misfit { number, which })?,
        }
    }
    Ok(merged.unwrap_or_else(|| Histogram::new(3).expect("three digits fit")))
}

fn offered(reports: &[Report], first: &Offered) -> Offered {
    let loads: Vec<&str> = reports
        .iter()
        .map(|report| report.offered.load.as_str())
        .collect();
    let load = if reports.len() == 1 {
        first.load.clone()
    } else if loads.iter().all(|load| *load == first.load) {
        format!("{} times {}", loads.len(), first.load)
    } else {
        loads.join(" and ")
    };
    let add = |part: fn(&Offered) -> usize| {
        reports
            .iter()
            .map(|report| part(&report.offered))
            .fold(0, usize::saturating_add)
    };
    Offered {
        load,
        rate_per_second: reports
            .iter()
            .map(|report| report.offered.rate_per_second)
            .sum(),
        warm_up_secs: first.warm_up_secs,
        duration_secs: first.duration_secs,
        users: add(|offered| offered.users),
        timeout_secs: reports
            .iter()
            .map(|report| report.offered.timeout_secs)
            .fold(0.0, f64::max),
        threads: add(|offered| offered.threads),
        generators: add(|offered| offered.generators),
    }
}

fn requests(reports: &[Report], late_after_ms: u64) -> Requests {
    let add = |part: fn(&Requests) -> u64| sum(reports, |report| part(&report.requests));
    Requests {
        planned: add(|requests| requests.planned),
        succeeded: add(|requests| requests.succeeded),
        failed: add(|requests| requests.failed),
        dropped: add(|requests| requests.dropped),
        late_starts: add(|requests| requests.late_starts),
        late_after_ms,
        warm_up: add(|requests| requests.warm_up),
    }
}

fn errors(reports: &[Report]) -> Errors {
    let add = |part: fn(&Errors) -> u64| sum(reports, |report| part(&report.errors));
    Errors {
        status_4xx: add(|errors| errors.status_4xx),
        status_5xx: add(|errors| errors.status_5xx),
        connect: add(|errors| errors.connect),
        timeout: add(|errors| errors.timeout),
        no_reply: add(|errors| errors.no_reply),
        body: add(|errors| errors.body),
        check: add(|errors| errors.check),
        local: add(|errors| errors.local),
    }
}

fn steps(reports: &[Report]) -> BTreeMap<String, Step> {
    let mut steps: BTreeMap<String, Step> = BTreeMap::new();
    for (name, step) in reports.iter().flat_map(|report| &report.steps) {
        match steps.get_mut(name) {
            None => {
                steps.insert(name.clone(), step.clone());
            }
            Some(merged) => {
                merged.succeeded = merged.succeeded.saturating_add(step.succeeded);
                merged.failed = merged.failed.saturating_add(step.failed);
                merged.latency_us = worst(merged.latency_us.take(), step.latency_us.as_ref());
                if merged.first_failure.is_none() {
                    merged.first_failure.clone_from(&step.first_failure);
                }
            }
        }
    }
    steps
}

fn worst(one: Option<Percentiles>, other: Option<&Percentiles>) -> Option<Percentiles> {
    let (Some(one), Some(other)) = (&one, other) else {
        return one.or_else(|| other.cloned());
    };
    Some(Percentiles {
        count: one.count.saturating_add(other.count),
        p50: one.p50.max(other.p50),
        p90: one.p90.max(other.p90),
        p99: one.p99.max(other.p99),
        p99_9: one.p99_9.max(other.p99_9),
        max: one.max.max(other.max),
    })
}

fn served_by(reports: &[Report]) -> BTreeMap<String, Share> {
    let mut replies: BTreeMap<&String, u64> = BTreeMap::new();
    for (backend, share) in reports.iter().flat_map(|report| &report.served_by) {
        let count = replies.entry(backend).or_default();
        *count = count.saturating_add(share.replies);
    }
    let total = replies.values().copied().fold(0, u64::saturating_add);
    replies
        .into_iter()
        .map(|(backend, replies)| {
            let share = if total == 0 {
                0.0
            } else {
                replies as f64 / total as f64
            };
            (backend.clone(), Share { replies, share })
        })
        .collect()
}

fn series(reports: &[Report], begin: u64) -> Series {
    let interval_secs = reports
        .first()
        .map_or(0.0, |report| report.series.interval_secs);
    if !interval_secs.is_normal() || interval_secs < 0.0 {
        return Series::default();
    }
    let mut points: BTreeMap<u64, Point> = BTreeMap::new();
    for report in reports {
        let late_secs = (report.started_at_ms - begin) as f64 / 1e3;
        for point in &report.series.points {
            let index = ((point.at_secs + late_secs) / interval_secs).round() as u64;
            let merged = points.entry(index).or_insert_with(|| Point {
                at_secs: index as f64 * interval_secs,
                ..Point::default()
            });
            merged.planned = merged.planned.saturating_add(point.planned);
            merged.failed = merged.failed.saturating_add(point.failed);
            merged.dropped = merged.dropped.saturating_add(point.dropped);
            merged.completed = merged.completed.saturating_add(point.completed);
            // An absent figure is less than any.
            merged.p50_us = merged.p50_us.max(point.p50_us);
            merged.p90_us = merged.p90_us.max(point.p90_us);
            merged.p99_us = merged.p99_us.max(point.p99_us);
            merged.max_us = merged.max_us.max(point.max_us);
        }
    }
    Series {
        interval_secs,
        points: points.into_values().collect(),
    }
}

fn events(reports: &[Report], begin: u64) -> Vec<Event> {
    let mut events: Vec<Event> = reports
        .iter()
        .flat_map(|report| {
            let late_secs = (report.started_at_ms - begin) as f64 / 1e3;
            report.events.iter().map(move |event| Event {
                at_secs: event.at_secs + late_secs,
                ..event.clone()
            })
        })
        .collect();
    events.sort_by(|one, other| one.at_secs.total_cmp(&other.at_secs));
    events
}

fn generator(reports: &[Report]) -> Generator {
    let reasons = (1..).zip(reports).flat_map(|(number, report)| {
        report.generator.reasons.iter().map(move |reason| {
            if reports.len() == 1 {
                reason.clone()
            } else {
                format!("generator {number}: {reason}")
            }
        })
    });
    let all = || reports.iter().map(|report| &report.generator);
    Generator {
        cores_used: all().map(|generator| generator.cores_used).sum(),
        busiest_thread: all()
            .map(|generator| generator.busiest_thread)
            .fold(0.0, f64::max),
        lag_p99_us: all()
            .map(|generator| generator.lag_p99_us)
            .max()
            .unwrap_or(0),
        valid: all().all(|generator| generator.valid),
        reasons: reasons.collect(),
    }
}

fn sum(reports: &[Report], part: impl Fn(&Report) -> u64) -> u64 {
    reports.iter().map(part).fold(0, u64::saturating_add)
}

#[cfg(test)]
mod tests;
