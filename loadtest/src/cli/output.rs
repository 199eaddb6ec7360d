//! Where reports go, and what the exit status makes of them.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, ValueEnum};

use super::Error;
use crate::report::{Report, VERSION, compare, html, json, text};
use crate::slo::Slo;

/// The objective is broken, or the run is worse than its baseline.
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
        if let Some(path) = &self.json {
            write(path, &json::render(&report))?;
        }
        if let Some(path) = &self.html {
            write(path, &html::render(&report, baseline.as_ref()))?;
        }
        print(&match self.format {
            Format::Text => text::render(&report, baseline.as_ref()),
            Format::Json => json::render(&report) + "\n",
        })?;
        if report.requests.succeeded == 0 {
            complain("no request succeeded");
            return Ok(ExitCode::FAILURE);
        }
        if !report.generator.valid {
            complain(&format!(
                "the run is invalid: {}",
                report.generator.reasons.join("; ")
            ));
            return Ok(ExitCode::from(INVALID));
        }
        let broken = report.slo.iter().any(|verdict| !verdict.met);
        let regressed =
            baseline.is_some_and(|baseline| compare::compare(&baseline, &report).regressed());
        if broken || regressed {
            return Ok(ExitCode::from(BROKEN));
        }
        Ok(ExitCode::SUCCESS)
    }
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
    fs::write(path, text)
        .map_err(|error| Error::World(format!("cannot write {}: {error}", path.display())))
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
