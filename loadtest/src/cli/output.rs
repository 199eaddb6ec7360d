//! Where reports go, and what the exit status makes of them.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, ValueEnum};

use super::Error;
use crate::report::{Report, VERSION, compare, html, json, text};
use crate::slo::Slo;

/// Not one request succeeded.
const NOTHING: u8 = 1;
/// The objective is broken, the run is worse than its baseline, or an action failed.
const BROKEN: u8 = 3;
/// The figures are not those of the server.
const INVALID: u8 = 4;

/// See the fields.
#[derive(Debug, Clone, Args)]
pub struct OutputArgs {
    /// How to print the report
    #[arg(long, env = "LOADTEST_FORMAT", value_enum, default_value_t = Format::Text)]
    pub format: Format,

    /// Also write the report as one page with charts to this file
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,

    /// Also write the report as JSON to this file, for `show`, `merge` and --baseline
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,

    /// What the server must meet, as 'p99<200ms,errors<0.1%'; if it does not, the exit status is 3
    #[arg(long, env = "LOADTEST_SLO")]
    pub slo: Option<Slo>,

    /// A report written with --json to compare with; if this run is worse, the exit status is 3
    #[arg(long, value_name = "FILE", env = "LOADTEST_BASELINE")]
    pub baseline: Option<PathBuf>,
}

/// How a report is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    Text,
    Json,
}

impl OutputArgs {
    /// Judges, prints and writes.
    pub(super) fn put_out(
        &self,
        mut report: Report,
        complain: &impl Fn(&str),
    ) -> Result<ExitCode, Error> {
        let baseline = self.baseline.as_deref().map(read).transpose()?;
        if let Some(slo) = &self.slo {
            report.slo = slo.judge(&report);
        }
        // On the terminal first: a disk that is full should not take the figures with it.
        print(&match self.format {
            Format::Text => text::render(&report, baseline.as_ref()),
            Format::Json => json::render(&report) + "\n",
        })?;
        if let Some(path) = &self.json {
            write(path, &json::render(&report))?;
        }
        if let Some(path) = &self.html {
            write(path, &html::render(&report, baseline.as_ref()))?;
        }
        let (status, words) = status(&report, baseline.as_ref());
        for words in words {
            complain(&words);
        }
        Ok(ExitCode::from(status))
    }

    /// Finds out before a run what would be in the way of its report afterwards.
    ///
    /// # Errors
    /// The baseline cannot be read, or a file cannot be written.
    pub(super) fn check(&self) -> Result<(), Error> {
        self.baseline.as_deref().map(read).transpose()?;
        for path in [&self.json, &self.html].into_iter().flatten() {
            fs::File::options()
                .append(true)
                .create(true)
                .open(path)
                .map_err(|error| cannot_write(path, &error))?;
        }
        Ok(())
    }
}

/// The exit status of a report, and why.
fn status(report: &Report, baseline: Option<&Report>) -> (u8, Vec<String>) {
    if report.requests.succeeded == 0 {
        return (NOTHING, vec!["no request succeeded".to_owned()]);
    }
    if !report.generator.valid {
        let reasons = report.generator.reasons.join("; ");
        return (INVALID, vec![format!("the run is invalid: {reasons}")]);
    }
    let mut words = Vec::new();
    let broken = report.slo.iter().filter(|verdict| !verdict.met);
    words.extend(broken.map(|verdict| {
        format!(
            "the objective {} is broken: {}",
            verdict.term, verdict.measured
        )
    }));
    words.extend(report.events.iter().filter_map(|event| {
        let error = event.error.as_ref()?;
        Some(format!("the action {:?} failed: {error}", event.action))
    }));
    if let Some(baseline) = baseline {
        let comparison = compare::compare(baseline, report);
        // What cannot be compared is not worse; the report says why.
        if comparison.caveats.is_empty() && comparison.regressed() {
            words.push("the run is worse than its baseline".to_owned());
        }
    }
    (if words.is_empty() { 0 } else { BROKEN }, words)
}

/// Reads a report that was written with `--json`.
pub(super) fn read(path: &Path) -> Result<Report, Error> {
    let text = fs::read_to_string(path)
        .map_err(|error| Error::World(format!("cannot read {}: {error}", path.display())))?;
    let report: Report = serde_json::from_str(&text).map_err(|error| {
        Error::Usage(format!(
            "{} is no report of version {VERSION}: write one with --json ({error})",
            path.display()
        ))
    })?;
    if report.version != VERSION {
        return Err(Error::Usage(format!(
            "{} is a report of version {}, and this program reads version {VERSION}: measure again",
            path.display(),
            report.version
        )));
    }
    Ok(report)
}

fn write(path: &Path, text: &str) -> Result<(), Error> {
    fs::write(path, text).map_err(|error| cannot_write(path, &error))
}

fn cannot_write(path: &Path, error: &io::Error) -> Error {
    Error::World(format!("cannot write {}: {error}", path.display()))
}

/// Writes to standard output. A reader that has gone, as `head` does, wants no more: this is no error.
pub(super) fn print(output: &str) -> Result<(), Error> {
    let mut stdout = io::stdout().lock();
    let written = stdout
        .write_all(output.as_bytes())
        .and_then(|()| stdout.flush());
    match written {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Error::World(format!("cannot write the report: {error}")))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Verdict;
    use crate::report::samples;

    #[test]
    fn the_status_tells_what_came_of_a_run() {
        let quiet = samples::quiet();
        assert_eq!(status(&quiet, None), (0, Vec::new()));
        let of = |change: fn(&mut Report)| {
            let mut report = samples::quiet();
            change(&mut report);
            status(&report, Some(&quiet))
        };
        assert_eq!(of(|report| report.requests.succeeded = 0).0, NOTHING);
        assert_eq!(of(|report| report.generator.valid = false).0, INVALID);
        let broken = |report: &mut Report| {
            report.slo = vec![Verdict {
                term: "p99<1ms".to_owned(),
                measured: "2 ms".to_owned(),
                met: false,
            }];
        };
        let (code, words) = of(broken);
        assert_eq!(
            (code, &words[..]),
            (
                BROKEN,
                &["the objective p99<1ms is broken: 2 ms".to_owned()][..]
            )
        );
        let slower = |report: &mut Report| report.achieved.rate_per_second /= 2.0;
        assert_eq!(of(slower).1, ["the run is worse than its baseline"]);
        // Another site is not a slower one.
        assert_eq!(
            of(|report| {
                report.achieved.rate_per_second /= 2.0;
                report.url.push_str("other");
            })
            .0,
            0
        );
        assert_eq!(
            of(|report| report.events = samples::eventful().events).0,
            BROKEN
        );
    }
}
