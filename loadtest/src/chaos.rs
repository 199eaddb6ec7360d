//! A timeline of what is done to the server while the load runs: `10s kill quiz-2; 20s cut nas1; 30s deploy 1.2.0`.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::{Duration, Instant};

use tokio::process::Command;
use tokio::sync::oneshot;

use crate::duration::parse_duration;
use crate::report::{Event, Point, Series};

mod via;

pub use via::{Deed, Via};

/// An action that takes longer is given up, and its report says so.
const LONGEST_ACTION: Duration = Duration::from_secs(300);

/// Actions in the order of their times.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timeline(Vec<Planned>);

/// One action.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Planned {
    /// From the beginning of the measured part.
    pub at: Duration,
    /// As written, without its time.
    pub action: String,
}

/// A timeline that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Error(String);

impl FromStr for Timeline {
    type Err = Error;

    /// Reads actions with their times, separated by semicolons or line ends. `at` before a time is allowed.
    fn from_str(text: &str) -> Result<Self, Error> {
        let mut planned: Vec<Planned> = Vec::new();
        for part in text.split([';', '\n']).map(str::trim) {
            if part.is_empty() {
                continue;
            }
            let part = part.strip_prefix("at ").unwrap_or(part);
            let (at, action) = part.split_once(' ').ok_or_else(|| {
                Error(format!(
                    "{part:?} has no action: write it as 10s kill quiz-2"
                ))
            })?;
            let at = parse_duration(at).map_err(|problem| Error(format!("{part:?}: {problem}")))?;
            planned.push(Planned {
                at,
                action: action.trim().to_owned(),
            });
        }
        if planned.is_empty() {
            return Err(Error(
                "the timeline is empty: write it as 10s kill quiz-2; 20s cut nas1".to_owned(),
            ));
        }
        planned.sort_by_key(|planned| planned.at);
        Ok(Self(planned))
    }
}

impl Timeline {
    /// When the last action begins.
    #[must_use]
    pub fn last(&self) -> Duration {
        self.0.last().map_or(Duration::ZERO, |planned| planned.at)
    }

    /// How each action is done, so that one that is not known is refused before the run.
    ///
    /// # Errors
    /// The action that is not known, and those that are.
    pub fn deeds(&self, via: &Via) -> Result<Vec<(Planned, Deed)>, Error> {
        self.0
            .iter()
            .map(|planned| {
                let deed = via.deed(&planned.action).map_err(Error)?;
                Ok((planned.clone(), deed))
            })
            .collect()
    }
}

/// Carries out the actions at their times from `begin`, one after the other, and tells what became of each. When the run
/// is `over`, the action under way is finished, as half a deploy is worse than a long one, and no other is begun.
/// Failures and recovery are filled in by [`judge`].
pub async fn carry_out(
    deeds: Vec<(Planned, Deed)>,
    folder: Option<PathBuf>,
    origin: Instant,
    begin: Duration,
    mut over: oneshot::Receiver<()>,
) -> Vec<Event> {
    let mut events = Vec::new();
    let mut is_over = false;
    for (planned, deed) in deeds {
        let at = begin + planned.at;
        if !is_over {
            is_over = tokio::select! {
                biased;
                _ = &mut over => true,
                () = tokio::time::sleep(at.saturating_sub(origin.elapsed())) => false,
            };
        }
        let started = origin.elapsed();
        let error = if is_over {
            Some("not done: the run was over".to_owned())
        } else {
            run(&deed, folder.as_ref()).await.err()
        };
        events.push(Event {
            at_secs: started.as_secs_f64(),
            action: planned.action,
            took_secs: origin.elapsed().saturating_sub(started).as_secs_f64(),
            error,
            failed: 0,
            recovery_secs: None,
        });
    }
    events
}

async fn run(deed: &Deed, folder: Option<&PathBuf>) -> Result<(), String> {
    let command = deed.command()?;
    let (program, arguments) = command.split_first().ok_or("there is no command")?;
    let mut command = Command::new(program);
    command.args(arguments).kill_on_drop(true);
    if let Some(folder) = folder {
        command.current_dir(folder);
    }
    let output = tokio::time::timeout(LONGEST_ACTION, command.output())
        .await
        .map_err(|_| format!("it was given up after {} s", LONGEST_ACTION.as_secs()))?
        .map_err(|error| format!("{program} cannot be run: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let words = String::from_utf8_lossy(&output.stderr);
    let last = words.trim().lines().last().unwrap_or("it said nothing");
    Err(format!("{}: {last}", output.status))
}

/// How much worse the 99th percentile may be than before the first event and still count as well.
const WELL: u64 = 2;
/// Below this a percentile is noise: a tick of a runtime's clock, a moment without a processor.
const NOISE_MICROS: u64 = 20_000;
/// Requests that were under way when something was done to the server were meant to start a little before it.
const BEFORE_SECS: f64 = 1.0;
/// One slow request in a second is an accident: the median of so long a time says whether it was slow.
const WINDOW_SECS: f64 = 1.0;
/// So that 0.3 is not above three times 0.1.
const ROUNDING: f64 = 1e-6;

/// Counts what failed around each event until the next, and finds when all was well again.
pub fn judge(events: &mut [Event], series: &Series, warm_up_secs: f64) {
    let Some(first) = events.first().map(|event| event.at_secs) else {
        return;
    };
    let interval = series.interval_secs;
    let usual = median_p99(series.points.iter().filter(|point| {
        point.at_secs >= warm_up_secs && point.at_secs + interval <= first + ROUNDING
    }));
    // Where nothing was measured before, only failures tell.
    let limit = usual.map_or(u64::MAX, |usual| (usual * WELL).max(NOISE_MICROS));
    let window_secs = WINDOW_SECS.max(interval);
    let end = series
        .points
        .last()
        .map_or(0.0, |last| last.at_secs + interval);
    let slow = |point: &Point| {
        // The last second is judged as a whole.
        let from = point.at_secs.min(end - window_secs);
        let window = series.points.iter().filter(|other| {
            other.at_secs + ROUNDING >= from && other.at_secs + ROUNDING < from + window_secs
        });
        median_p99(window).is_some_and(|p99| p99 > limit)
    };
    let begins: Vec<f64> = events.iter().map(|event| event.at_secs).collect();
    for (index, event) in events.iter_mut().enumerate() {
        let begin = event.at_secs - BEFORE_SECS;
        let until = begins
            .get(index + 1)
            .map_or(f64::INFINITY, |next| next - BEFORE_SECS);
        let around: Vec<&Point> = series
            .points
            .iter()
            .filter(|point| point.at_secs + interval > begin + ROUNDING)
            .filter(|point| point.at_secs + interval <= until + ROUNDING)
            .collect();
        event.failed = around
            .iter()
            .map(|point| point.failed + point.dropped)
            .sum();
        if event.error.is_some() {
            // Nothing was done, so there is nothing to recover from.
            event.recovery_secs = None;
            continue;
        }
        let unwell = |point: &&Point| point.failed + point.dropped > 0 || slow(point);
        event.recovery_secs = match around.iter().copied().rfind(unwell) {
            None => Some(0.0),
            // The last interval of all was not well: nobody knows when it would have been.
            Some(last) if around.last().is_some_and(|end| end.at_secs <= last.at_secs) => None,
            Some(last) => Some((last.at_secs + interval - event.at_secs).max(0.0)),
        };
    }
}

fn median_p99<'a>(points: impl Iterator<Item = &'a Point>) -> Option<u64> {
    let mut p99: Vec<u64> = points.filter_map(|point| point.p99_us).collect();
    p99.sort_unstable();
    p99.get(p99.len() / 2).copied()
}

#[cfg(test)]
mod tests;
