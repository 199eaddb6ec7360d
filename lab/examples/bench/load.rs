//! Visitors: the load tester in a closed loop, each visitor asking again as soon as it is answered.

use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, bail};
use serde::Deserialize;
use tokio::process::Command;

use crate::Form;
use crate::processes::Watched;
use crate::rounds::Sample;

/// How much longer than the load itself the load tester may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// What to ask for.
#[derive(Debug, Clone)]
pub(crate) struct Ask {
    pub(crate) url: String,
    /// As `Cookie: a=b`.
    pub(crate) header: Option<String>,
}

/// What is read of the load tester's report.
#[derive(Debug, Deserialize)]
struct Report {
    achieved: Achieved,
    requests: Requests,
    latency_us: Option<Percentiles>,
    generator: Generator,
}

#[derive(Debug, Deserialize)]
struct Achieved {
    rate_per_second: f64,
}

#[derive(Debug, Deserialize)]
struct Requests {
    succeeded: u64,
    failed: u64,
    dropped: u64,
    warm_up: u64,
}

#[derive(Debug, Deserialize)]
struct Percentiles {
    p50: u64,
    p99: u64,
}

#[derive(Debug, Deserialize)]
struct Generator {
    valid: bool,
}

impl Ask {
    pub(crate) fn for_page(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            header: None,
        }
    }

    pub(crate) fn with_cookie(url: impl Into<String>, cookie: &str) -> Self {
        Self {
            url: url.into(),
            header: Some(format!("Cookie: {cookie}")),
        }
    }

    /// Asks for the time of one measurement, and sees what the components used for it.
    pub(crate) async fn measure(&self, form: &Form, watched: &[Watched]) -> anyhow::Result<Sample> {
        let before: Vec<Duration> = watched.iter().map(Watched::cpu).collect();
        let report = self.run(form, form.time).await?;
        let requests = &report.requests;
        // All that were sent took their share, also those of the warm-up.
        let sent = (requests.succeeded + requests.failed + requests.warm_up).max(1);
        let used = watched.iter().zip(before).map(|(watched, before)| {
            let used = watched.cpu().saturating_sub(before);
            (watched.component, used.as_secs_f64() * 1e6 / sent as f64)
        });
        let millis = |of: fn(&Percentiles) -> u64| {
            let us = report.latency_us.as_ref().map(of);
            us.map_or(f64::NAN, |us| us as f64 / 1000.0)
        };
        Ok(Sample {
            rate: report.achieved.rate_per_second,
            p50_ms: millis(|latency| latency.p50),
            p99_ms: millis(|latency| latency.p99),
            cpu_us: used.collect(),
            failed: requests.failed + requests.dropped,
            saturated: !report.generator.valid,
        })
    }

    /// Lets caches and pools fill.
    pub(crate) async fn warm_up(&self, form: &Form) -> anyhow::Result<()> {
        let report = self.run(form, form.warm_up).await?;
        if report.requests.succeeded + report.requests.warm_up == 0 {
            bail!("nothing is served at {}", self.url);
        }
        Ok(())
    }

    async fn run(&self, form: &Form, time: Duration) -> anyhow::Result<Report> {
        let millis = |time: Duration| format!("{}ms", time.as_millis());
        // It may have this core to itself.
        let mut command = Command::new("setpriv");
        command
            .args(["--pdeathsig", "KILL", "--"])
            .arg(form.programs.join("quiz-loadtest"))
            .args(["run", &self.url, "--closed", "--threads", "1"])
            .args(["--users", &form.users.to_string()])
            .args([
                "--duration",
                &millis(time),
                "--warm-up",
                &millis(form.warm_up),
            ])
            .args(["--timeout", "10s", "--format", "json"]);
        if let Some(header) = &self.header {
            command.args(["--header", header]);
        }
        command.stdin(Stdio::null()).kill_on_drop(true);
        let output = tokio::time::timeout(time + form.warm_up + PATIENCE, command.output());
        let output = output
            .await
            .with_context(|| format!("the load at {} does not end", self.url))?
            .context("cannot run quiz-loadtest")?;
        // Its status says more than whether there is a report: a generator at its limit is told apart below.
        serde_json::from_slice(&output.stdout).with_context(|| {
            let why = String::from_utf8_lossy(&output.stderr);
            format!(
                "quiz-loadtest has no report ({}): {}",
                output.status,
                why.trim()
            )
        })
    }
}
