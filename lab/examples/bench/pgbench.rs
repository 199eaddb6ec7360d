//! The peer of pages: `pgbench` running the very statements that a page makes the front-end send, as PostgreSQL's own log has
//! them.

use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use tokio::process::Command;
use tokio::time::Instant;

use crate::Form;
use crate::processes::Watched;
use crate::rounds::Sample;
use crate::site::{self, Site};

mod statements;

use statements::{Statement, script, statements};

/// Connections of a front-end to its database, its default: the peer has as many.
const CONNECTIONS: usize = 10;
/// What the front-end asks of each connection (`quiz/src/db.rs`): every execution is planned anew.
const AS_THE_FRONT_END: &str = "-c plan_cache_mode=force_custom_plan";
/// How long a setting of a running server may take to hold, and a line to reach the log.
const SOON: Duration = Duration::from_secs(20);

/// Whether a plan is made for each execution, as the front-end has it, or kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Plans {
    Anew,
    Kept,
}

/// The statements that are run in `database` while `ask` is answered.
pub(crate) async fn capture(
    site: &Site,
    database: &str,
    ask: impl AsyncFn() -> anyhow::Result<()>,
) -> anyhow::Result<Vec<Statement>> {
    // Whoever connects first asks for more than later ones.
    ask().await?;
    let postgres = &site.postgres;
    let logged = async |millis: &str| -> anyhow::Result<()> {
        // It holds for sessions that are open already, when they have read it.
        let set = format!("ALTER SYSTEM SET log_min_duration_statement = {millis}");
        postgres.sql("postgres", &set).await?;
        postgres
            .sql("postgres", "SELECT pg_reload_conf()")
            .await
            .map(drop)
    };
    let begin = site.log()?.len();
    logged("0").await?;
    let deadline = Instant::now() + SOON;
    // A session may begin to log in the midst of a page: what two pages in a row ask for is all of it.
    let mut last = Vec::new();
    let found = loop {
        let asked = site.log()?.len();
        ask().await?;
        tokio::time::sleep(Duration::from_millis(100)).await;
        let found = statements(&site.log()?[asked..], database);
        if !found.is_empty() && script(&found) == script(&last) {
            break found;
        }
        last = found;
        ensure!(
            Instant::now() < deadline,
            "PostgreSQL has not logged what a page asks for"
        );
    };
    logged("-1").await?;
    // Nothing is written beside what is measured.
    let quiet = async || -> anyhow::Result<bool> {
        let asked = site.log()?.len();
        ask().await?;
        tokio::time::sleep(Duration::from_millis(100)).await;
        Ok(statements(&site.log()?[asked..], database).is_empty())
    };
    while !quiet().await? {
        ensure!(
            Instant::now() < deadline,
            "PostgreSQL still logs (from byte {begin} on)"
        );
    }
    Ok(found)
}

/// Runs them again and again on as many connections as a front-end has.
pub(crate) async fn measure(
    site: &Site,
    database_url: &str,
    statements: &[Statement],
    plans: Plans,
) -> anyhow::Result<Sample> {
    let form: &Form = &site.form;
    let (text, variables) = script(statements);
    let file = site.files("pgbench")?.join("script.sql");
    std::fs::write(&file, text)?;
    let seconds = form.time.as_secs().max(1);
    let mut command = Command::new("setpriv");
    command
        .args(["--pdeathsig", "KILL", "--"])
        .arg(site.postgres.programs().join("pgbench"))
        .args(["--no-vacuum", "--protocol=prepared", "--jobs=1"])
        .arg(format!("--client={CONNECTIONS}"))
        .arg(format!("--time={seconds}"))
        .arg(format!("--file={}", file.display()));
    for (name, value) in variables {
        command.arg(format!("--define={name}={value}"));
    }
    command.arg(database_url);
    if plans == Plans::Anew {
        command.env("PGOPTIONS", AS_THE_FRONT_END);
    }
    let watched: Watched = site.watch_postgres();
    let before = watched.cpu();
    let within = Duration::from_secs(seconds) + site::patience();
    let said = site::run(command, "pgbench", within).await?;
    let used = watched.cpu().saturating_sub(before);
    let figure = |begin: &str| {
        let line = said.lines().find_map(|line| line.strip_prefix(begin));
        let word = line.and_then(|rest| rest.split_whitespace().next());
        word.and_then(|word| word.parse::<f64>().ok())
    };
    let rate = figure("tps = ").with_context(|| format!("pgbench tells no rate: {said}"))?;
    let done = figure("number of transactions actually processed: ").unwrap_or(0.0);
    if done == 0.0 {
        bail!("pgbench has done nothing: {said}");
    }
    Ok(Sample {
        rate,
        p50_ms: f64::NAN,
        p99_ms: f64::NAN,
        cpu_us: vec![(watched.component, used.as_secs_f64() * 1e6 / done)],
        failed: figure("number of failed transactions: ").unwrap_or(0.0) as u64,
        saturated: false,
    })
}
